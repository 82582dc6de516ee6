"""From CIF files to a trained network, the original way or ours: one run in a process of its own.

``python benchmarks/recipes.py ours --seed 0`` prints one JSON object; run.py calls it. Imports do
not count. Seconds are those of the clock; "cpu" has those of all cores together.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pymatgen.analysis.diffraction.xrd
import pymatgen.symmetry.analyzer
from pymatgen.core import Lattice, Structure
from scipy.ndimage import convolve1d

from xrdclass.diffraction import RADIATIONS, bragg
from xrdclass.models import import_keras
from xrdclass.noise import Noise, add_noise
from xrdclass.patterns import DEFAULT_GRID, PatternSet, split
from xrdclass.phases import load_phases
from xrdclass.rruff import find_patterns
from xrdclass.simulation import (
    ORIGINAL,
    REALISTIC,
    draw,
    observed_peaks,
    plan_simulation,
    render,
    scherrer_fwhm,
    simulate,
)
from xrdclass.training import fit

N_PER_PHASE = 120  # 100 to train on and 20 to validate
#: What neither recipe was trained for: other widths, shapes and shifts, strong background, and
#: counting noise of 13 to 32 % of the strongest peak.
HARD_NOISE = Noise(air=(0, 1), background=(0, 1), hump=(0, 0.5), counts=(10, 60))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", choices=("original", "ours"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--slow-per-phase",
        type=int,
        default=4,
        help="patterns that are really drawn the original way; the time of the rest is "
        "extrapolated from them (%(default)s of 120)",
    )
    options = parser.parse_args()
    import_keras()
    clock = Clock()
    original = options.recipe == "original"
    result = {"recipe": options.recipe, "seed": options.seed}
    if original:
        clean, extrapolated = original_patterns(options.slow_per_phase, options.seed, clock)
        result["extrapolated"] = extrapolated
    else:
        with clock("simulation"):
            clean = simulate(load_phases(), N_PER_PHASE, ORIGINAL, seed=options.seed)
    with clock("noise"):
        noisy = add_noise(clean, seed=1000 + options.seed)
        train, check = split(noisy, 1 / 6, seed=options.seed)
    how = ("original", 10) if original else ("compact", 8)
    with clock("training"):
        classifier = fit(train, check, *how, seed=options.seed, progress=False)
    with clock("prediction"):
        classifier.predict(check.intensity)
    result["seconds"] = dict(clock.seconds, total=sum(clock.seconds.values()))
    result["cpu"] = dict(clock.cpu, total=sum(clock.cpu.values()))
    result["peak_mb"] = peak_memory()
    result["parameters"] = classifier.network.count_params()
    result["training_rate"] = how[1] * len(train) / clock.seconds["training"]
    result["validation"], result["hard"] = (right(classifier, p) for p in judges())
    result["measured"], result["measured_of"] = right_on_measured(classifier)
    print(json.dumps(result))


class Clock:
    """Seconds by name: of the clock, and of all cores together."""

    def __init__(self):
        self.seconds, self.cpu = {}, {}

    @contextmanager
    def __call__(self, name):
        start, start_cpu = time.perf_counter(), time.process_time()
        yield
        self.seconds[name] = time.perf_counter() - start
        self.cpu[name] = time.process_time() - start_cpu


def judges() -> tuple[PatternSet, PatternSet]:
    """Simulated patterns that no recipe has seen, the same in every run: usual and hard ones."""
    phases = load_phases()
    usual = add_noise(simulate(phases, 200, ORIGINAL, seed=901), seed=902)
    hard = add_noise(simulate(phases, 200, REALISTIC, seed=903), HARD_NOISE, seed=904)
    return usual, hard


def right(classifier, patterns) -> float:
    """The part of the patterns that is named right."""
    return float((classifier.predict(patterns.intensity).argmax(axis=1) == patterns.labels).mean())


def right_on_measured(classifier) -> tuple[int, int]:
    """How many of RRUFF's patterns at hand are named right, and how many there are."""
    found = find_patterns()
    if not found:
        return 0, 0
    findings = classifier.identify([pattern.scan for pattern in found])
    return sum(f.phases == (p.phase,) for f, p in zip(findings, found, strict=True)), len(found)


# The original way: pymatgen for each pattern, a convolution for each peak, a process a core.


def original_patterns(n_slow: int, seed: int, clock) -> tuple[PatternSet, bool]:
    """600 patterns as the published generator draws them, and whether its time is extrapolated.

    ``n_slow`` patterns of each phase are drawn that way. If that is not all, the network learns
    from `fast_patterns`, whose lines agree with pymatgen's to 3e-5.
    """
    phases = load_phases()
    tables = plan_simulation(phases).tables
    jobs = []
    for phase, table in zip(phases, tables, strict=True):
        rng = np.random.default_rng([seed, phase.label])
        jobs.append((phase.structure, draw(table, ORIGINAL, n_slow, rng)))
    cores = os.cpu_count()
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(cores + 1)
    with context.Pool(cores, initializer=warm, initargs=(jobs[0], ready)) as pool:
        ready.wait(timeout=120)
        with clock("simulation"):
            load_phases()
            parts = pool.map(slow_patterns, jobs, chunksize=1)
    clock.cpu["simulation"] += sum(cpu for _, cpu in parts)
    if n_slow == N_PER_PHASE:
        labels = np.repeat(np.arange(len(parts)), n_slow)
        names = [phase.name for phase in phases]
        return PatternSet(np.concatenate([p for p, _ in parts]), labels, names), False
    clock.seconds["simulation"] *= N_PER_PHASE / n_slow
    clock.cpu["simulation"] *= N_PER_PHASE / n_slow
    return fast_patterns(phases, N_PER_PHASE, seed), True


def fast_patterns(phases, n: int, seed: int) -> PatternSet:
    """Patterns of `simulate` in the original settings, but with the original factor of texture."""
    source, parts = RADIATIONS["Cu"], []
    for label, table in enumerate(plan_simulation(phases).tables):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(label, 0)))
        drawn = draw(table, ORIGINAL, n, rng)
        theta, area, _ = bragg(table, source.mean, drawn["strain"])
        factor = texture_factor(table.hkl, drawn["texture_axis"], drawn["texture"])
        parts.append(
            render(DEFAULT_GRID, *observed_peaks(theta, area * factor, drawn, ORIGINAL, source))
        )
    intensity = np.concatenate(parts)
    labels = np.repeat(np.arange(len(phases)), n)
    intensity /= intensity.max(axis=1, keepdims=True)
    return PatternSet(intensity, labels, [phase.name for phase in phases])


def texture_factor(hkl, axis, texture) -> np.ndarray:
    """The original factor of preferred orientation, (n, r): indices as if the cell were cubic."""
    hkl, axis = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (hkl, axis))
    return 1 - texture[:, None] * (1 - np.abs(axis @ hkl.T))


def warm(job, ready) -> None:
    """Import what a process needs, before the clock starts."""
    structure, drawn = job
    slow_patterns((structure, {key: values[:1] for key, values in drawn.items()}))
    ready.wait()


def slow_patterns(job, as_published=True) -> tuple[np.ndarray, float]:
    """Patterns of one phase, and the seconds of this process's own time that they took."""
    structure, drawn = job
    start = time.process_time()
    calculator = pymatgen.analysis.diffraction.xrd.XRDCalculator(RADIATIONS["Cu"].mean)
    patterns = [
        slow_pattern(calculator, structure, {k: v[i] for k, v in drawn.items()}, as_published)
        for i in range(len(drawn["strain"]))
    ]
    return np.array(patterns, dtype=np.float32), time.process_time() - start


def slow_pattern(calculator, structure, drawn, as_published=True) -> np.ndarray:
    """One pattern, peak by peak.

    ``as_published``: the published generator asks for the crystal system for every pattern, and
    reads its list of lines from properties that compute it anew: four times a pattern.
    """
    grid = DEFAULT_GRID
    lattice = Lattice(structure.lattice.matrix @ (np.eye(3) + drawn["strain"]))
    strained = Structure(lattice, structure.species_and_occu, structure.frac_coords)
    if as_published:
        structure.get_space_group_info()
        for _ in range(3):
            calculator.get_pattern(strained, two_theta_range=(grid.start, grid.stop))
    sticks = calculator.get_pattern(strained, two_theta_range=(grid.start, grid.stop))
    two_theta = grid.two_theta
    pattern = np.zeros(grid.n_points)
    for angle, height, planes in zip(sticks.x, sticks.y, sticks.hkls, strict=True):
        hkl, axis = np.array([planes[0]["hkl"]]), drawn["texture_axis"][None]
        factor = texture_factor(hkl, axis, drawn["texture"][None])[0, 0]
        line = np.zeros(grid.n_points)
        place = np.argmin(np.abs(two_theta - angle))
        line[place] = height * factor
        fwhm = scherrer_fwhm(np.radians(angle / 2), drawn["domain_size"], calculator.wavelength)
        sigma = fwhm / np.sqrt(8 * np.log(2)) / grid.step
        x = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
        kernel = np.exp(-((x / sigma) ** 2) / 2)
        pattern += convolve1d(line, kernel / kernel.sum(), mode="constant")
    return pattern / pattern.max()


def peak_memory() -> float:
    """The most memory that this process has held, MB; its helpers' is not in it."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage may count what the parent held when it started this process
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


if __name__ == "__main__":
    main()
