"""What the whole-pattern fit is worth: weighed mixtures, simulated samples, its speed.

Run it with the name of a part; each prints a table.  Measured scans are looked for in the folder
that XRDCLASS_DATA names; nothing here learns from them.
"""

# ruff: noqa: E402
import os

for _name in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR"):
    os.environ[f"{_name}_NUM_THREADS"] = "1"  # before NumPy is imported: one core

import argparse
import json
import tarfile
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from xrdclass import rruff
from xrdclass.diffraction import radiation
from xrdclass.errors import UserError
from xrdclass.evaluation import in_percent
from xrdclass.identify.evidence import Calibration
from xrdclass.identify.foreign import invent_crystals
from xrdclass.identify.identifier import load_model
from xrdclass.identify.laboratory import Laboratory
from xrdclass.identify.mixtures import MIXTURE_GRID, MixtureSource
from xrdclass.identify.profile import AXES, phase_lines
from xrdclass.identify.refinement import refine
from xrdclass.identify.train import D_MIN, Fitted, fitted, lost_lines, visible
from xrdclass.noise import air_scattering, chebyshev_background
from xrdclass.patterns import TwoThetaGrid
from xrdclass.phases import MINERALS_FOLDER, Phase, load_phases
from xrdclass.scans import Scan, read_scan
from xrdclass.simulation import Variation, peaks, render

#: Weight per cent of corundum, zincite and fluorite in round-robin mixtures: Madsen et al. (2001),
#: J. Appl. Cryst. 34, 409-426.
WEIGHED = {
    "cpd-1a": (1.15, 4.04, 94.81),
    "cpd-1c": (5.04, 93.59, 1.36),
    "cpd-1e": (55.12, 15.25, 29.62),
    "cpd-1g": (31.37, 34.21, 34.42),
}
SAMPLES = Variation(texture=0.0, profile="pseudo-voigt", k_alpha2=True)
NAMED = 0.9  # a phase is named from this probability on


def round_robin_phases() -> list[Phase]:
    """Corundum, zincite and fluorite."""
    known = {phase.name: phase for phase in load_phases(MINERALS_FOLDER)}
    return [known[name] for name in ("corundum", "zincite", "fluorite")]


def bare_lines(phase: Phase, d_min: float = 1.1):
    """A phase's lines without dispersion and thermal motion, as `simulation` draws them."""
    lines = phase_lines(phase, d_min)
    return replace(lines, dispersion=0 * lines.dispersion, b_iso=0 * lines.b_iso)


def simulated(
    lines,
    mass,
    rng,
    counts=1e4,
    background=0.1,
    step=0.02,
    two_theta=(10.0, 85.0),
    shift=0.0,
    strain=0.0,
    domain_size=(40.0, 40.0),
    texture_r=1.0,
    wavelength="Cu",
):
    """A scan of phases with `bare_lines`, and what is true of each of them.

    ``mass``: parts by weight; ``strain``: the largest of either sign; ``domain_size``: smallest and
    largest, nm; ``counts`` at the top, ``background`` in parts of that; ``shift`` in degrees.
    """
    grid = TwoThetaGrid(two_theta[0], two_theta[1], step)
    source, pattern, truth = radiation(wavelength), 0, {}
    common = {
        "eta": rng.uniform(0, 1, 1),
        "caglioti": np.array([[0.005, -0.003, rng.uniform(0.002, 0.01)]]),
        "zero_shift": np.zeros(1),
        "displacement": np.array([np.radians(shift) * SAMPLES.radius / 2]),
    }
    for line, part in zip(lines, mass, strict=True):
        amounts = rng.uniform(-strain, strain, len(line.table.strain_basis))
        size = float(np.exp(rng.uniform(*np.log(domain_size))))
        drawn = {
            **common,
            "strain": np.tensordot(amounts, line.table.strain_basis, 1)[None],
            "texture": np.array([0.5]),
            "texture_r": np.array([texture_r]),
            "texture_axis": AXES[:1],
            "domain_size": np.array([size]),
            "micro_strain": rng.uniform(0, 0.001, 1),
        }
        variation = SAMPLES if texture_r == 1 else replace(SAMPLES, texture=0.5)
        two_theta_, area, fwhm = peaks(line.table, drawn, variation, source)
        area = 1e6 * part / line.mass_factor * area
        pattern = pattern + render(grid, two_theta_, area, fwhm, "pseudo-voigt", drawn["eta"])[0]
        lattice = line.table.lattice @ (np.eye(3) + drawn["strain"][0])
        lengths = np.linalg.norm(lattice, axis=1)
        truth[line.name] = {"mass": part, "cell": lengths, "domain_size": size, "strain": amounts}
    x = grid.two_theta
    shape = 0.5 + chebyshev_background(x, rng.normal(size=(1, 5)) / np.arange(1, 6))[0]
    shape += air_scattering(x, 10)
    expected = counts * (pattern / pattern.max() + background * shape / shape.mean())
    return Scan(x, rng.poisson(expected).astype(float), wavelength=source.mean), truth


def timed(scan, phases, **options):
    """A refinement and the milliseconds of one core that it took."""
    start = time.process_time()
    result = refine(scan, phases, **options)
    return result, 1e3 * (time.process_time() - start)


def interval(hits: int, n: int) -> str:
    """A share in % with its 95 % interval."""
    return "{:.2f} % ({:.2f} to {:.2f})".format(*in_percent(hits, n, text=False))


def weighed(args) -> tuple[float, float]:
    """Weighed mixtures of the round robin: RMS and worst error, wt%."""
    folder = Path(os.environ.get("XRDCLASS_DATA", ".")) / "measured" / "cpd"
    prepared = [phase_lines(phase) for phase in round_robin_phases()]
    errors = []
    print(f"{'sample':<8}" + "".join(f"{p.name:>24}" for p in prepared) + "    R_wp     ms")
    for name, true in WEIGHED.items():
        result, took = timed(read_scan(folder / f"{name}.xy"), prepared)
        row = ""
        for phase, weight in zip(prepared, true, strict=True):
            found = result.phases[phase.name]
            errors.append(found.weight_percent - weight)
            row += f"{found.weight_percent:9.2f} ± {found.weight_error:4.2f} ({weight:5.2f})"
        print(f"{name:<8}{row}{result.r_wp:8.3f}{took:7.0f}")
    rms, worst = np.sqrt(np.mean(np.square(errors))), np.abs(errors).max()
    print(f"RMS {rms:.2f} wt%, worst {worst:.2f} wt%")
    return float(rms), float(worst)


def recover(args):
    """Two phases from bad starts: weights, their intervals, cells."""
    rng = np.random.default_rng(args.seed)
    lines = [bare_lines(phase) for phase in load_phases()]
    errors, pulls, cells, times, lost = [], [], [], [], 0
    for _ in range(args.samples):
        pair = [lines[i] for i in rng.choice(len(lines), 2, replace=False)]
        part = rng.uniform(0.05, 0.95)
        scan, truth = simulated(
            pair,
            (part, 1 - part),
            rng,
            counts=10 ** rng.uniform(3, 5),
            background=10 ** rng.uniform(-2, 0.3),
            shift=rng.uniform(-0.28, 0.28),
            strain=0.01,
            domain_size=(10, 300),
        )
        result, took = timed(scan, pair)
        times.append(took)
        for name, true in truth.items():
            found = result.phases[name]
            if not found.found:
                lost += 1
                continue
            errors.append(found.weight_percent - 100 * true["mass"])
            pulls.append(errors[-1] / max(found.weight_error, 1e-9))
            cells.append(np.abs(found.cell[:3] / true["cell"] - 1).max())
    size, held = np.abs(errors), int((np.abs(pulls) < 1.96).sum())
    print(f"{2 * args.samples} phases in pairs, {lost} lost")
    print(
        f"weights: mean error {size.mean():.2f} points, 95 % within {np.quantile(size, 0.95):.2f}"
    )
    print(f"stated 95 % intervals hold for {interval(held, len(pulls))}")
    print(f"cells: median error {1e4 * np.median(cells):.1f}e-4, 95 % within", end=" ")
    print(f"{1e4 * np.quantile(cells, 0.95):.1f}e-4")
    print_times(times)


def print_times(times):
    print(f"ms a scan, one core: median {np.median(times):.0f}, worst {np.max(times):.0f}")


def alone(phases, source, n: int, **given):
    """Like `identify.train.fitted`, but all phases are fitted and no network is asked."""
    prepared = [phase_lines(phase, D_MIN) for phase in load_phases()]
    for start in range(0, n, 64):
        drawn = source.draw(min(64, n - start), **given)
        for i, covered in enumerate(drawn.covered):
            scan = Scan(MIXTURE_GRID.two_theta[covered], drawn.counts[i, covered])
            fit = refine(scan, prepared, least_probability=NAMED)
            nothing = np.zeros(len(prepared) + 1)
            truth = drawn.present[i], drawn.foreign[i], visible(drawn)[i], drawn.height[i]
            yield Fitted(*truth, nothing, fit)


def asked(args, phases, seed, n, **given):
    """Samples fitted with the shipped network's proposals, or with ``--alone`` without."""
    source = MixtureSource(phases, invent_crystals(300, seed + 1), seed)
    if args.alone:
        return alone(phases, source, n, **given)
    model = load_model()
    return fitted(model, source, n, expect=model.names if args.expected else (), **given)


def calibrate(args):
    """Learn `evidence.USUAL`, the probability without a network, from simulated mixtures."""
    features, truth = [], []
    usual, crystals = Laboratory(), invent_crystals(300, args.seed + 1)
    labs = (usual, args.samples), (lost_lines(usual), args.samples // 10)
    sources = [(MixtureSource(load_phases(), crystals, args.seed, lab), n) for lab, n in labs]
    for one in chain(*(alone(load_phases(), *s) for s in sources)):
        for label, phase in enumerate(one.fit.phases.values()):
            if phase.evidence.gain > 0:
                features.append(phase.evidence.features)
                truth.append(one.present[label])
    print(json.dumps(Calibration.fit(np.array(features), np.array(truth, float)).to_dict()))


def stated(args, seed: int, n: int):
    """Of each of ``n`` samples: what is there, is seen, and how probable it is stated to be.

    The last of the phases + 1 columns is something else; and the seconds that it took.
    """
    rows, start = [], time.process_time()
    model = None if args.alone else load_model()
    for one in asked(args, load_phases(), seed, n):
        probability = [p.probability for p in one.fit.phases.values()]
        probability.append(model.is_foreign(one.fit, one.proposed) if model else 0.0)
        there = np.append(one.present, one.foreign)
        rows.append((there, there & one.visible, probability))
    return *map(np.array, zip(*rows, strict=True)), time.process_time() - start


def answers(args):
    """What is found and stated of samples as `make model` draws them."""
    share = -(-args.samples // args.jobs)
    seeds = [args.seed + 100 + 1000 * i for i in range(args.jobs)]
    with ProcessPoolExecutor(args.jobs) as pool:
        done = list(pool.map(stated, *zip(*[(args, seed, share) for seed in seeds], strict=True)))
    there, shown, said, took = zip(*done, strict=True)
    there, shown, said = (np.concatenate(v) for v in (there, shown, said))
    present, seen, probability = there[:, :-1], shown[:, :-1], said[:, :-1]
    empty, counted = ~present.any(axis=1), np.ones_like(present)
    if args.expected:  # of what somebody expects, half is there
        chance = present.mean() / (~present).mean()
        counted = present | (np.random.default_rng(0).random(present.shape) < chance)
    for threshold in (0.5, 0.8, 0.9, 0.95):
        named = probability >= threshold
        print(f"from {threshold}: visible phases found", interval((named & seen).sum(), seen.sum()))
        wrong = named[empty].any(axis=1).sum()
        print("   phase-free samples given one", interval(wrong, empty.sum()))
        print("   absent phases named", interval((named & ~present).sum(), (~present).sum()))
    named = probability >= NAMED
    for what, rows in (("no", ~there[:, -1]), ("some", there[:, -1])):
        hits = interval((named & seen)[rows].sum(), seen[rows].sum())
        print(f"from {NAMED}, beside {what} foreign crystals: visible phases found", hits)
    for low, high in ((0.2, 0.5), (0.5, 0.8), (0.8, 0.9), (0.9, 0.95), (0.95, 1.01)):
        inside = (probability >= low) & (probability < high) & counted
        if inside.any():
            print(f"stated {low} to {min(high, 1)}: {probability[inside].mean():.3f} on average; ")
            hits = interval(present[inside].sum(), inside.sum())
            print(f"   true {hits} of {inside.sum()}")
    if not args.alone:
        more, foreign, shown = said[:, -1] >= 0.5, there[:, -1], shown[:, -1]
        print("something else found", interval((more & shown).sum(), shown.sum()))
        print("   falsely stated", interval((more & ~foreign).sum(), (~foreign).sum()))
    print(f"{1e3 * sum(took) / len(there):.0f} ms a sample on one core, drawing included")


def zinc(args):
    """How much is found in zinc oxide: 10,000 counts at the top, 200 of background.

    Then of the same without crystals below 20 nm, whose lines are broad and low.
    """
    usual = Laboratory()
    for what, lab in {
        "as drawn": usual,
        "crystals from 20 nm": replace(usual, domain_size=(20.0, 300.0)),
    }.items():
        print(f"{what}:")
        _zinc(args, lab)


def _zinc(args, laboratory):
    phases, oxide = load_phases(), {p.name: p for p in load_phases(MINERALS_FOLDER)}["zincite"]
    model, n, percents = load_model(), min(args.samples, 64), (1, 2, 4, 8, 16, 32)
    source = MixtureSource([*phases, oxide], invent_crystals(1, 0), args.seed, laboratory)
    others = 0
    for label, phase in enumerate(phases):
        hits = np.zeros((len(percents), 2), dtype=int)
        for row, percent in zip(hits, percents, strict=True):
            mass = np.zeros((n, len(phases) + 1))
            mass[:, label], mass[:, -1] = percent, 100 - percent
            drawn = source.draw(n, mass=mass, n_foreign=0, counts=1e4, background=0.02)
            proposals = model.propose(drawn.counts, drawn.covered)
            for proposal, y, c in zip(proposals, drawn.counts, drawn.covered, strict=True):
                scan = Scan(MIXTURE_GRID.two_theta[c], y[c])
                for k, expect in enumerate(((), (phase.name,))):
                    fit = model.fit(scan, proposal, expect=expect)
                    row[k] += fit.phases[phase.name].found
                    others += sum(p.found for p in fit.phases.values() if p.name != phase.name)
        for k, how in enumerate(("open question", "expected")):
            shares = np.maximum.accumulate(hits[:, k] / n) + 1e-9 * np.arange(len(percents))
            half = np.exp(np.interp(0.5, shares, np.log(percents)))
            print(
                f"{phase.name:<10} {how:<14} found of {n} at {percents} wt%: {hits[:, k]}; ", end=""
            )
            print(f"half at {half:.1f} wt%")
    print(f"others named: {others} times in {2 * n * len(percents) * len(phases)} fits")


def relatives(args):
    """Crystals like the five phases, and invented ones: how many are given a name."""
    phases = load_phases()
    strangers = {
        "near relatives": {"near_miss_chance_alone": 1.0, "only_imitation": 1.0},
        "lost lines": {"near_miss_chance_alone": 0.0, "lost_line_chance": 1.0, "only_imitation": 1},
        "invented": {"near_miss_chance_alone": 0.0, "lost_line_chance": 0.0},
    }
    model, crystals = load_model(), invent_crystals(300, args.seed + 1)
    for kind, settings in strangers.items():
        laboratory = Laboratory(n_phases=(1.0, 0.0, 0.0, 0.0), **settings)
        source = MixtureSource(phases, crystals, args.seed, laboratory)
        n = sum(
            any(p.found for p in o.fit.phases.values()) for o in fitted(model, source, args.samples)
        )
        print(f"{kind}: given a name {interval(n, args.samples)}, {n} of {args.samples}")
    own = {p.name: p for p in load_phases(MINERALS_FOLDER)}
    for name in ("cassiterite", *(k for k in own if k != "cassiterite")):
        source = MixtureSource([own[name]], crystals, args.seed)
        mass = np.ones((64, 1))
        named = [
            any(p.found for p in o.fit.phases.values())
            for o in fitted(model, source, 64, mass=mass, n_foreign=0)
        ]
        print(f"{name}: given a name {sum(named)} of 64")


def weights(args):
    """Weights of two phases in drawn mixtures, as the fit of these two gives them.

    Then of the same without what limits them: the scatter of few grains, crystals below 20 nm.
    """
    usual, grains = Laboratory(), len(Laboratory.grains)
    for what, lab in {
        "as drawn": usual,
        "many grains": replace(usual, grains=(0.0,) * grains),
        "crystals from 20 nm": replace(usual, domain_size=(20.0, 300.0)),
    }.items():
        print(f"{what}: ", end="")
        _weights(args, lab)


def _weights(args, laboratory):
    phases = load_phases()
    prepared = [phase_lines(phase, D_MIN) for phase in phases]
    source = MixtureSource(phases, invent_crystals(300, args.seed + 1), args.seed, laboratory)
    drawn = source.draw(args.samples, n_phases=2, n_foreign=0)
    seen, errors, pulls, times = visible(drawn), [], [], []
    for i, (counts, covered) in enumerate(zip(drawn.counts, drawn.covered, strict=True)):
        pair = np.flatnonzero(drawn.present[i])
        if not seen[i, pair].all():
            continue
        scan = Scan(MIXTURE_GRID.two_theta[covered], counts[covered])
        result, took = timed(scan, [prepared[label] for label in pair])
        times.append(took)
        for label in pair:
            found = result.phases[phases[label].name]
            errors.append(found.weight_percent - 100 * drawn.mass[i, label])
            pulls.append(errors[-1] / max(found.weight_error, 1e-9))
    size, held = np.abs(errors), int((np.abs(pulls) < 1.96).sum())
    print(f"{len(times)} pairs of visible phases: mean error {size.mean():.2f} points, ", end="")
    print(f"median {np.median(size):.2f}, 95 % within {np.quantile(size, 0.95):.2f}")
    print(f"stated 95 % intervals hold for {interval(held, len(pulls))}")
    print_times(times)


def minerals(args):
    """`identify` on measured scans: right answers, measured and calculated scans apart."""
    model = load_model()
    groups = {
        "TiO2": rruff.evaluation_patterns(),
        "other minerals": rruff.find_other_minerals(),
        "mixtures": rruff.find_mixtures(),
    }
    for group, patterns in groups.items():
        patterns = [p for p in patterns if p.source != "simulated"]
        for kind in sorted({p.source for p in patterns}):
            rows = [p for p in patterns if p.source == kind]
            right = 0
            for p, finding in zip(rows, model.identify([p.scan for p in rows]), strict=True):
                parts = p.entry.weight_percent or {p.entry.phase: 100}
                right += set(finding.phases) == set(parts) & set(model.names)
            print(
                f"{group:<15} {kind:<25} right {right} of {len(rows)}: {interval(right, len(rows))}"
            )


def measured(args):
    """Measured scans, all five phases fitted and no network asked: evidence, true and false."""
    data = Path(os.environ.get("XRDCLASS_DATA", "."))
    prepared = [phase_lines(phase, 1.0) for phase in load_phases()]
    folders, times = [data / "measured" / name for name in ("tio2", "other", "mixtures")], []
    with tempfile.TemporaryDirectory() as unpacked:
        with tarfile.open(data / "field" / "scans.tar.gz") as archive:
            archive.extractall(unpacked, filter="data")
        files = [path for folder in [*folders, unpacked] for path in Path(folder).rglob("*")]
        print(f"{'scan':<36}{'phase':<11}   p    wt%   gain share coinc. signif. lacking nm")
        for path in sorted(path for path in files if path.is_file()):
            try:
                result, took = timed(read_scan(path), prepared, least_probability=0.03)
            except UserError:
                continue
            times.append(took)
            for phase in result.phases.values():
                e = phase.evidence
                p = phase.probability
                if p >= args.least:
                    print(f"{path.name[:35]:<36}{phase.name:<11}{p:5.2f}", end="")
                    print(f"{phase.weight_percent:7.1f}{e.gain:7.0f}{e.share:6.2f}", end="")
                    print(f"{e.coincidences:7.1f}{e.significance:8.1f}{e.lacking:8.2f}", end="")
                    print(f"{e.domain_size:6.0f}")
    print(f"{len(times)} scans read and fitted")
    print_times(times)


PARTS = {
    "measured": measured,
    "weighed": weighed,
    "recover": recover,
    "weights": weights,
    "calibrate": calibrate,
    "answers": answers,
    "zinc": zinc,
    "relatives": relatives,
    "minerals": minerals,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--samples", type=int, default=200, help="simulated ones (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes for answers")
    parser.add_argument("--least", type=float, default=0.02, help="probability that is shown")
    parser.add_argument(
        "--expected", action="store_true", help="expect all phases, absent ones too"
    )
    parser.add_argument("--alone", action="store_true", help="fit all phases, ask no network")
    args = parser.parse_args()
    PARTS[args.part](args)


if __name__ == "__main__":
    main()
