"""Identification: each step against known samples, the shipped network against clean scans."""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xrdclass.diffraction import lines, radiation, reflections
from xrdclass.errors import DataError, ModelError
from xrdclass.identify import identifier as identification
from xrdclass.identify.foreign import invent_crystals
from xrdclass.identify.identifier import (
    FALSE_ACCEPTANCE,
    PROPOSED,
    SHIPPED,
    VISIBLE_HEIGHT,
    VISIBLE_SIGNAL,
    Identifier,
    Judge,
    _choose_threshold,
    above_background,
    bring_to_grid,
    doubts,
    foreign_features,
    make_residual,
    measure,
    network_input,
    phase_features,
    share_signal,
    targets,
    train_identifier,
)
from xrdclass.identify.laboratory import Laboratory
from xrdclass.identify.mixtures import MIXTURE_GRID, MixtureSource
from xrdclass.identify.second_opinion import FEATURES, N_POINTS, TWO_THETA, Residual, all_lines
from xrdclass.models import compact_cnn, identifier_cnn
from xrdclass.patterns import TwoThetaGrid
from xrdclass.phases import load_phases
from xrdclass.scans import Scan, read_scan
from xrdclass.simulation import Variation, draw, peaks, render, simulate
from xrdclass.training import METADATA, Classifier, Keeper, read_metadata

DATA = os.environ.get("XRDCLASS_DATA")
PHASES = load_phases()
NAMES = tuple(phase.name for phase in PHASES)
TWO = [phase for phase in PHASES if phase.name in ("anatase", "rutile")]
LINES = all_lines(PHASES)
ANATASE, RUTILE = NAMES.index("anatase"), NAMES.index("rutile")
X = MIXTURE_GRID.two_theta
#: Samples without texture and shifts, of one cell and one size.
PLAIN = Laboratory(
    strain=0.0,
    texture=0.0,
    domain_size=(40.0, 40.0),
    micro_strain=(0.0, 0.0),
    zero_shift=(0.0, 0.0),
    displacement=(0.0, 0.0),
)


def scan_of(
    name, start=10.0, stop=80.0, step=0.02, shift=0.0, size=60.0, background=0.05, wavelength="Cu",
    seed=0, counts=20_000, descending=False,
):  # fmt: skip
    """A scan of one phase as a good laboratory measures it, with counting noise."""
    variation = Variation(
        strain=0.003,
        texture=0.0,
        domain_size=(size, size),
        profile="pseudo-voigt",
        eta=(0.5, 0.5),
        k_alpha2=True,
        caglioti=((0.004, 0.004), (-0.002, -0.002), (0.006, 0.006)),
        zero_shift=(shift, shift),
    )
    grid = TwoThetaGrid(start, stop, step)
    phase = PHASES[NAMES.index(name)]
    pattern = simulate([phase], 1, variation, grid, wavelength, seed).intensity[0]
    slope = np.exp(-(grid.two_theta - start) / 15) + 0.4
    expected = counts * (pattern + background * slope)
    seen = np.random.default_rng(seed).poisson(expected).astype(float)
    return Scan(grid.two_theta, seen, f"{name} {start:g}-{stop:g} {step:g}")


def on_grid(scan):
    """A scan's `Residual`."""
    counts, covered, _ = bring_to_grid(scan)
    parts = above_background(counts[None], covered[None])
    return make_residual(*(part[0] for part in parts))


def untrained(names=("one", "two"), seed=0):
    """An identifier of the right form that knows nothing."""
    import keras

    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    judges = [
        Judge(np.zeros(k), np.ones(k), [(rng.normal(size=(k, 1)), np.zeros(1))])
        for k in (3 + len(FEATURES), 6)
    ]
    network = identifier_cnn(N_POINTS, len(names) + 1)
    known = [LINES[ANATASE], LINES[RUTILE]][: len(names)]
    return Identifier(network, tuple(names), known, *judges, 0.6, {"measured": {"found": 0.5}})


# The scan above its background


def test_peak_heights_survive_sloping_and_strong_backgrounds():
    centres, heights = np.array([15.0, 27, 40, 52, 68]), np.array([400.0, 1000, 250, 700, 120])
    width = 0.25
    shape = np.exp(-4 * np.log(2) * ((X[:, None] - centres) / width) ** 2) @ heights
    backgrounds = {
        "none": np.zeros_like(X),
        "slope": 800 - 9 * (X - 8),
        "air": 3000 * np.exp(-(X - 8) / 8) + 50,
        "strong": np.full_like(X, 5000.0),
        "hump": 100 + 600 * np.exp(-(((X - 25) / 20) ** 2)),
    }
    counts = np.stack([shape + b for b in backgrounds.values()])
    covered = np.ones(counts.shape, dtype=bool)
    signal, inside, level, scale = above_background(counts, covered)
    assert signal.shape == level.shape == inside.shape == (5, N_POINTS) and inside.all()
    assert np.allclose(signal.max(axis=1), 1)
    places = np.abs(TWO_THETA[:, None] - centres).argmin(axis=0)
    top = counts.max(axis=1)
    for row, unit, name in zip(signal, scale * top / 1e4, backgrounds, strict=True):
        # A hump or a steep slope is not quite followed; what counts is the height above what is
        # left of it on either side.
        beside = (row[places - 30] + row[places + 30]) / 2
        assert (row[places] - beside) * unit == pytest.approx(heights, rel=0.03, abs=15), name
        away = np.abs(TWO_THETA[:, None] - centres).min(axis=1) > 1.5
        left = np.abs(row[away]).max() * unit / 1000
        limit = {"none": 0.01, "strong": 0.01, "slope": 0.02, "hump": 0.1, "air": 0.3}[name]
        assert left < limit, name
    # The whole intensity comes back in the units of the signal.
    whole = counts[:, : 2 * N_POINTS].reshape(5, N_POINTS, 2).mean(axis=2)
    whole = 1e4 * whole / counts.max(axis=1, keepdims=True)
    assert np.allclose(level * scale[:, None], whole, rtol=1e-4, atol=0.01)


def test_nothing_lies_outside_the_coverage():
    rng = np.random.default_rng(0)
    counts = rng.poisson(500, (3, X.size)).astype(np.float32)
    covered = np.stack([X >= 20, X <= 60, (X >= 31) & (X <= 47)])
    counts[:, 2500] += 5000 * np.array([1, 0, 0])
    signal, inside, _, _ = above_background(counts, covered)
    assert (signal[~inside] == 0).all()
    for row, (low, high) in zip(inside, ((20, 82), (8, 60), (31, 47)), strict=True):
        seen = TWO_THETA[row]
        assert abs(seen[0] - low) < 0.05 and abs(seen[-1] - high) < 0.05
    # What stands outside the coverage changes nothing inside.
    other = np.where(covered, counts, np.float32(77_777))
    assert np.allclose(above_background(other, covered)[0], signal, atol=1e-6)


def test_the_unit_of_the_intensity_does_not_matter():
    counts, covered, _ = bring_to_grid(scan_of("rutile"))
    for factor in (1e-6, 1e6):
        parts = above_background((counts * factor)[None], covered[None])
        same = above_background(counts[None], covered[None])
        assert np.allclose(parts[0], same[0], atol=1e-5)
        assert np.allclose(parts[3], same[3], rtol=1e-4)


def test_network_input_is_a_root_and_the_coverage():
    signal = np.array([[-0.5, 0.0, 0.25, 1.0]])
    covered = np.array([[True, False, True, True]])
    seen = network_input(signal, covered)
    assert seen.dtype == np.float32 and seen.shape == (1, 4, 2)
    assert seen[0, :, 0].tolist() == [0, 0, 0.5, 1] and seen[0, :, 1].tolist() == [1, 0, 1, 1]
    found = MixtureSource(TWO, invent_crystals(3, 8), 0).draw(30)
    seen = network_input(*above_background(found.counts, found.covered)[:2])
    assert seen.min() >= 0 and seen.max() == pytest.approx(1, abs=1e-5) and np.isfinite(seen).all()


def test_noise_is_estimated_from_the_scan():
    """Of flat counts, the standard deviation of pairs' means: sqrt(counts / 2)."""
    rng = np.random.default_rng(1)
    counts = rng.poisson(900, (1, X.size)).astype(np.float32)
    counts[:, 1800:1812] += 20_000
    parts = above_background(counts, np.ones(counts.shape, dtype=bool))
    scan = make_residual(*(part[0] for part in parts))
    flat = TWO_THETA < 40
    assert np.median(scan.noise[flat]) == pytest.approx(scan.signal[flat].std(), rel=0.1)


# Scans of any range, step and wavelength


@pytest.mark.parametrize(("anode", "stop"), [("Co", 95.0), ("Mo", 36.0), ("Fe", 105.0)])
def test_other_wavelengths_are_brought_to_copper(anode, stop):
    scan = scan_of("rutile", 8.0, stop, 0.01, wavelength=anode, background=0.01)
    stated = replace(scan, wavelength=radiation(anode).mean)
    for given, argument in ((stated, None), (scan, anode)):
        counts, covered, notes = bring_to_grid(given, argument)
        assert counts.dtype == np.float32 and len(notes) == 1 and f"{anode} radiation" in notes[0]
        table = lines(PHASES[RUTILE], "Cu", (15, 70))
        strong = table.two_theta[table.strongest(3)]
        for place in strong:
            near = np.abs(X - place) < 1.0
            assert abs(X[near][counts[near].argmax()] - place) < 0.25
    # Not told, the angles are copper's own and the lines lie elsewhere.
    silent, _, notes = bring_to_grid(scan)
    near = np.abs(X - strong[0]) < 0.3
    assert notes == [] and silent[near].max() < 0.3 * counts[near].max()
    reached = np.degrees(
        2 * np.arcsin(np.sin(np.radians(stop / 2)) * 1.54184 / radiation(anode).mean)
    )
    assert X[covered][-1] == pytest.approx(min(reached, 82), abs=0.03)


def test_copper_scans_stay_as_they_are():
    scan = Scan(X, 5 + 1000 * np.exp(-(((X - 30) / 0.1) ** 2)), "one", None, 1.540593)
    counts, covered, notes = bring_to_grid(scan)
    assert np.allclose(counts, scan.intensity, rtol=1e-5) and covered.all() and notes == []
    negative = replace(scan, intensity=scan.intensity - 10)
    assert bring_to_grid(negative)[0].min() == 0


@pytest.mark.parametrize(("low", "high"), [(82.5, 120), (1, 7.9), (81.5, 100), (5, 8.5)])
def test_scans_beside_the_range_are_refused_with_a_sentence(low, high):
    x = np.linspace(low, high, 500)
    with pytest.raises(DataError) as caught:
        bring_to_grid(Scan(x, 10 + x % 3, "mine"))
    assert str(caught.value).endswith(".")
    with pytest.raises(DataError):
        bring_to_grid(Scan(np.linspace(170, 179, 100), np.ones(100), "mine"), "Mo")


def test_a_short_range_is_doubted():
    for low, high, doubted in ((10, 80, 0), (20, 70, 0), (40, 52, 5), (60, 80, 5)):
        found = doubts(on_grid(scan_of("brookite", low, high)), LINES, NAMES)
        said = [text for text in found if "leaves out most of the lines" in text]
        assert len(said) == doubted, (low, high, found)
        assert all(f"{low:.1f}" in text and text.endswith(".") for text in said)
    # Lines are counted by their strength: most of beta-TiO2's lie below 30 degrees.
    (said,) = doubts(on_grid(scan_of("rutile", 30, 80)), LINES, NAMES)
    assert "lines of beta-TiO2" in said


@pytest.mark.parametrize("mean", [0.1, 0.4, 1.0, 30.0, 5000.0])
def test_pure_noise_is_doubted(mean):
    for seed in range(3):
        y = np.random.default_rng(seed).poisson(mean, X.size).astype(float)
        found = doubts(on_grid(Scan(X, y, "noise")), LINES, NAMES)
        assert len(found) == 1 and "No peak stands clearly above the noise" in found[0]


@pytest.mark.parametrize("options", [{"counts": 300}, {"size": 5.0}, {"background": 2.0}])
def test_scans_with_peaks_are_not_doubted(options):
    for name in NAMES:
        assert doubts(on_grid(scan_of(name, **options)), LINES, NAMES) == []


def test_a_flat_scan_is_doubted_and_holds_no_nan():
    scan = on_grid(Scan(X, np.full(X.size, 7.0), "flat"))
    assert np.isfinite(scan.signal).all() and np.isfinite(scan.noise).all()
    assert "No peak" in doubts(scan, LINES, NAMES)[0]


# Shares and weights


def two_phases(areas, fwhm=0.2, shift=0.0):
    """A signal of anatase and rutile with strongest lines of these areas (degrees)."""
    signal = np.zeros(N_POINTS)
    variation = replace(PLAIN, domain_size=(1e6, 1e6), caglioti=((0, 0), (0, 0), (fwhm**2,) * 2))
    grid = TwoThetaGrid(float(TWO_THETA[0]), float(TWO_THETA[-1]), 0.04)
    for label, area in zip((ANATASE, RUTILE), areas, strict=True):
        table = reflections(PHASES[label], 1.1)
        drawn = draw(table, variation, 1, np.random.default_rng(0))
        x, a, w = peaks(table, drawn, variation, radiation("Cu"))
        a = a * np.exp(-1.4 * (np.sin(np.radians(x / 2)) / 1.54184) ** 2)
        a = a / (a[:, : a.shape[1] // 2] * 1.5).max() * area
        signal += render(grid, x + shift, a, w, "pseudo-voigt", 0.5)[0]
    return signal


@pytest.mark.parametrize("areas", [(1.0, 1.0), (1.0, 0.2), (0.1, 1.0)])
@pytest.mark.parametrize("fwhm", [0.15, 0.3, 0.6])
def test_shares_are_the_areas_that_were_put_in(areas, fwhm):
    signal = two_phases(areas, fwhm, 0.05)
    top = signal.max()
    noise = 1e-3 * np.random.default_rng(0).normal(size=N_POINTS)
    scan = Residual(signal / top + noise, np.full(N_POINTS, 1e-3), np.ones(N_POINTS, dtype=bool))
    opinions = {label: scan.fit(LINES[label]) for label in (ANATASE, RUTILE)}
    patterns, found = share_signal(scan, opinions)
    assert set(found) == {ANATASE, RUTILE}
    for label, area in zip((ANATASE, RUTILE), areas, strict=True):
        assert found[label] * top == pytest.approx(area, rel=0.12, abs=0.02)
        assert patterns[label].shape == (N_POINTS,) and patterns[label].min() >= 0
    # A tenth of a phase under another's broad peaks comes out 18 % too large.
    assert found[ANATASE] / found[RUTILE] == pytest.approx(areas[0] / areas[1], rel=0.2)
    left = scan.signal - sum(patterns.values())
    assert (left**2).sum() < 0.1 * (scan.signal**2).sum()
    assert share_signal(scan, {}) == ({}, {})


def test_weight_fractions_of_equal_masses_are_equal():
    """A drawn 50:50 mixture without texture, fitted: from cell volumes to scans and back."""
    n = 24
    mass = np.zeros((n, 5))
    mass[:, [ANATASE, RUTILE]] = 1
    source = MixtureSource(PHASES, invent_crystals(2, 9), 21, PLAIN)
    found = source.draw(n, n_foreign=0, mass=mass, counts=30_000, background=0.05)
    found.covered[:] = True
    part = []
    for row in zip(*above_background(found.counts, found.covered), strict=True):
        scan = make_residual(*row)
        opinions = {label: scan.fit(LINES[label]) for label in (ANATASE, RUTILE)}
        areas = share_signal(scan, opinions)[1]
        weight = {label: areas[label] * LINES[label].mass_factor for label in areas}
        part.append(weight[ANATASE] / sum(weight.values()))
    assert np.median(part) == pytest.approx(0.5, abs=0.05)
    assert np.abs(np.array(part) - 0.5).max() < 0.25


def test_strangers_left_over_are_seen_by_the_judge_of_foreign():
    signal = two_phases((1.0, 0.5))
    top = signal.max()
    stranger = np.exp(-(((TWO_THETA - 31.7) / 0.1) ** 2))
    everywhere = np.ones(N_POINTS, dtype=bool)
    tops = []
    for part in (0.0, 0.3):
        scan = Residual(signal / top + part * stranger, np.full(N_POINTS, 2e-3), everywhere)
        opinions = {label: scan.fit(LINES[label]) for label in (ANATASE, RUTILE)}
        fitted, _ = share_signal(scan, opinions)
        tops.append(foreign_features(np.full(6, 0.5), fitted, scan))
    without, beside = tops
    assert beside[1] > without[1] + 1 and beside[2] > without[2] + 1 and beside[3] < without[3]
    assert without[0] == pytest.approx(0) and without[4] == beside[4] == 2
    assert np.isfinite(tops).all()


# The judge


@pytest.fixture(scope="module")
def toy():
    rng = np.random.default_rng(0)
    features = rng.normal(5, 3, (600, 4))
    truth = (features[:, 0] > features[:, 2]).astype(float)
    return features, truth, Judge.fit(features[:450], truth[:450], seed=1)


def test_a_judge_learns_what_can_be_told_apart(toy):
    features, truth, judge = toy
    probability = judge.probability(features[450:])
    assert probability.shape == (150,) and probability.min() >= 0 and probability.max() <= 1
    assert ((probability > 0.5) == truth[450:]).mean() > 0.9
    clear = np.abs(features[450:, 0] - features[450:, 2]) > 6
    assert (np.abs(probability - truth[450:])[clear] < 0.2).all()


def test_a_judge_needs_right_and_wrong_proposals():
    for n in (0, 7):
        with pytest.raises(DataError, match="right and wrong proposals; among .*--judged"):
            Judge.fit(np.ones((n, 3)), np.ones(n))


def test_a_judge_survives_a_file(toy):
    features, _, judge = toy
    again = Judge.from_dict(json.loads(json.dumps(judge.to_dict())), features.shape[1])
    assert np.array_equal(again.probability(features), judge.probability(features))
    one = judge.probability(features[7])
    assert one.shape == (1,) and one[0] == pytest.approx(judge.probability(features)[7])


def test_judges_see_the_network_and_the_opinion():
    scan = on_grid(scan_of("rutile"))
    opinion = scan.fit(LINES[RUTILE])
    proposed = np.array([0.1, 0.2, 0.3, 0.9, 0.0, 1.0])
    seen = phase_features(RUTILE, proposed, opinion)
    assert seen.shape == (3 + len(FEATURES),) and np.isfinite(seen).all()
    assert seen[:2] == pytest.approx(np.log([9, 3 / 7])) and seen[2] == pytest.approx(13.8, abs=0.1)
    assert np.array_equal(seen[3:], opinion.features)


def test_the_threshold_keeps_its_promise():
    """At most this part of the samples without a phase is given one; at the threshold they are."""
    rng = np.random.default_rng(0)
    for n in (50, 1000, 2600):
        worst = rng.uniform(0, 0.95, n)
        worst[: n // 100] = np.linspace(0.8, 0.96, n // 100) if n > 100 else worst[: n // 100]
        threshold = _choose_threshold(worst.tolist())
        accepted = (worst >= threshold).sum()
        assert accepted <= FALSE_ACCEPTANCE * n
        assert (worst >= threshold - 0.05).sum() > accepted, "And not needlessly high."
    assert _choose_threshold([]) == 0.5 and _choose_threshold([0.01] * 600) == 0.5
    assert _choose_threshold([0.9999] * 600) == 0.97


def test_nothing_is_asked_of_what_cannot_be_seen():
    found = MixtureSource(PHASES, invent_crystals(3, 8), 5).draw(200)
    asked = targets(found)
    truth, weight = asked[..., 0] > 0, asked[..., 1] > 0
    assert asked.shape == (200, 6, 2) and (truth[:, :5] == found.present).all()
    assert (truth[:, 5] == found.foreign).all()
    hidden = (found.height < VISIBLE_HEIGHT) | (found.signal < VISIBLE_SIGNAL)
    assert weight[~truth].all() and (weight[truth] == ~hidden[truth]).all()
    assert 0 < (~weight[truth]).sum() < truth.sum() / 2


# Training and files


@pytest.fixture(scope="module")
def tiny():
    """A short run of the recipe on two phases, and what it reported."""
    said = []
    found = train_identifier(
        TWO, n_samples=256, n_crystals=10, n_judged=96, rounds=2, passes=6, report=said.append
    )
    return found, said


@pytest.fixture(scope="module")
def unseen():
    return MixtureSource(TWO, invent_crystals(10, 77), 99).draw(160)


def test_a_short_run_learns(tiny, unseen):
    """Ranks fresh samples with a phase before those without, far better than chance."""
    identifier, said = tiny
    losses = [float(line.split("loss ")[1].split(" ")[0]) for line in said if "loss" in line]
    assert len(losses) == 2
    proposed = identifier.propose(unseen.counts, unseen.covered)
    assert proposed.shape == (160, 3) and proposed.min() >= 0 and proposed.max() <= 1
    asked = targets(unseen)
    # Saying how often each is there, and no more, costs this much a sample.
    often = (asked[..., 0] * asked[..., 1]).sum(axis=0) / asked[..., 1].sum(axis=0)
    chance = -often * np.log(often) - (1 - often) * np.log(1 - often)
    assert losses[1] < 0.7 * chance.sum()
    for label in range(3):
        weight, truth = asked[:, label, 1] > 0, asked[:, label, 0] > 0
        there, absent = proposed[truth & weight, label], proposed[~truth, label]
        ranked = (there[:, None] > absent).mean()
        assert ranked > 0.65, f"area under the curve of output {label}: {ranked:.2f}"


def test_a_stopped_run_goes_on_with_the_samples_that_come_next(tmp_path, monkeypatch):
    """A run stopped after a round draws the same samples as one that was not."""

    def run(keep, said, phases=TWO):
        return train_identifier(
            phases,
            128,
            n_crystals=10,
            n_judged=64,
            rounds=3,
            passes=1,
            keep=keep,
            report=said.append,
        )

    drawn, draw = [], MixtureSource.draw

    def recorded(self, *arguments, **settings):
        mixtures = draw(self, *arguments, **settings)
        drawn.append(float(mixtures.counts.sum()))
        return mixtures

    monkeypatch.setattr(MixtureSource, "draw", recorded)
    whole = []
    run(None, whole)
    expected, drawn[:] = list(drawn), []
    save, stopped, resumed = Keeper.save, [], []
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):

        def stop(keeper, record):
            save(keeper, record)
            if record.get("rounds") == 2:
                raise KeyboardInterrupt

        patch.setattr(Keeper, "save", stop)
        run(tmp_path / "kept", stopped)
    kept = (tmp_path / "kept" / "state.npz").read_bytes()
    strained = TWO[0].structure.copy()
    strained.apply_strain(0.01)
    with pytest.raises(DataError, match=r"other patterns or settings \(phases\)"):
        run(tmp_path / "kept", [], [replace(TWO[0], structure=strained), TWO[1]])
    assert (tmp_path / "kept" / "state.npz").read_bytes() == kept
    run(tmp_path / "kept", resumed)
    assert drawn == expected
    assert len([s for s in stopped if s.startswith("round")]) == 2
    assert [s for s in resumed if "round" in s][0] == "going on after round 2 of 3"
    assert len([s for s in resumed if s.startswith("round")]) == 1


def test_settings_tell_how_it_was_trained(tiny):
    identifier, said = tiny
    settings = identifier.settings
    assert identifier.names == ("anatase", "rutile") and 0.5 <= identifier.threshold <= 0.97
    assert settings["samples"] == 256 and settings["crystals"] == 10 and settings["passes"] == 6
    assert set(settings["versions"]) == {"xrdclass", "keras"} and settings["seed"] == 0
    assert settings["measured"]["samples"] == 96
    assert any("judge trained" in line for line in said) and any("threshold" in x for x in said)


def test_measured_figures_are_counts_of_answers(tiny, unseen):
    """Worked out again from the answers one by one."""
    identifier = tiny[0]
    few = unseen.subset(slice(0, 50))
    found = measure(identifier, [few.subset(slice(0, 30)), few.subset(slice(30, 50))])
    hits = wrong = accepted = seen = 0
    asked = targets(few)
    for i, result in enumerate(identifier.examine(few.counts, few.covered)):
        probability, fitted, areas = identifier.decide(*result)
        named = {label for label in range(2) if probability[label] >= identifier.threshold}
        assert set(fitted) == set(areas) == named
        visible = {label for label in range(2) if asked[i, label].all()}
        seen += len(visible)
        hits += len(named & visible)
        wrong += bool([label for label in named if not few.present[i, label]])
        accepted += bool(named) and not few.present[i].any()
    assert found["samples"] == 50 and found["found"] == pytest.approx(hits / seen, abs=1e-4)
    assert found["wrong"] == pytest.approx(wrong / 50, abs=1e-4)
    without = (~few.present.any(axis=1)).sum()
    assert found["false_acceptance"] == pytest.approx(accepted / without, abs=1e-4)


def test_saved_and_loaded_it_answers_the_same(tiny, unseen, tmp_path):
    identifier = tiny[0]
    path = identifier.save(tmp_path / "mine.keras")
    again = Identifier.load(path)
    assert (again.names, again.threshold) == (identifier.names, identifier.threshold)
    assert again.settings == json.loads(json.dumps(identifier.settings))
    few = unseen.subset(slice(0, 20))
    one, other = (i.examine(few.counts, few.covered) for i in (identifier, again))
    for left, right in zip(one, other, strict=True):
        assert np.allclose(left[0], right[0], atol=1e-6) and set(left[1]) == set(right[1])
        assert np.allclose(identifier.decide(*left)[0], again.decide(*right)[0], atol=1e-4)
    assert path.stat().st_size < 2_000_000
    with pytest.raises(DataError, match="exists already"):
        identifier.save(path)


def test_a_silent_run_prints_nothing(capfd):
    from xrdclass.identify.identifier import _draw_inputs

    source = MixtureSource(TWO, invent_crystals(2, 3), 0)
    inputs, truth = _draw_inputs(source, 5)
    assert inputs.shape == (5, N_POINTS, 2) and truth.shape == (5, 3, 2)
    assert capfd.readouterr() == ("", "")


def test_files_of_the_other_kind_are_refused(tmp_path):
    grid = TwoThetaGrid(20, 30, 0.1)
    classifier = Classifier(compact_cnn(grid.n_points, 2), ("a", "b"), grid)
    classifier.save(tmp_path / "classifier.keras")
    untrained().save(tmp_path / "identifier.keras")
    with pytest.raises(ModelError, match="no identifier of xrdclass: it holds a classifier"):
        Identifier.load(tmp_path / "classifier.keras")
    with pytest.raises(ModelError, match="it holds an identifier"):
        Classifier.load(tmp_path / "identifier.keras")
    assert Identifier.load(tmp_path / "identifier.keras").threshold == 0.6


def with_metadata(path, target, change):
    """A copy of a file of `Identifier.save` with other metadata."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.infolist():
            content = old.read(member)
            if member.filename == METADATA:
                known = json.loads(content)
                change(known)
                content = json.dumps(known).encode()
            new.writestr(member.filename, content)
    return target


def test_damaged_and_foreign_files_are_refused_with_a_sentence(tmp_path):
    whole = untrained().save(tmp_path / "whole.keras")
    content = whole.read_bytes()
    cases = {"text": b"This is a letter.", "empty": b"", "half": content[: len(content) // 2]}
    for name, part in cases.items():
        (tmp_path / f"{name}.keras").write_bytes(part)
    changes = {
        "grid": lambda known: known["grid"].update(step=0.05),
        "no grid": lambda known: known.pop("grid"),
        "no judge": lambda known: known.update(judge=None),
        "other names": lambda known: known["names"].append("three"),
        "no lines": lambda known: known.pop("lines"),
        "threshold": lambda known: known.update(threshold="high"),
    }
    for name, change in changes.items():
        with_metadata(whole, tmp_path / f"{name}.keras", change)
    for name in [*cases, *changes, "missing"]:
        with pytest.raises(ModelError) as caught:
            Identifier.load(tmp_path / f"{name}.keras")
        assert str(caught.value).endswith(".") and "\n" not in str(caught.value), name
    with pytest.raises(ModelError, match="another grid"):
        Identifier.load(tmp_path / "grid.keras")


def test_loading_is_light_until_a_network_is_used():
    code = (
        "import sys\nfrom xrdclass.identify.identifier import SHIPPED, Identifier\n"
        "from xrdclass.training import read_metadata\nread_metadata(SHIPPED)\n"
        "print(*{m.split('.')[0] for m in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"tensorflow", "keras", "matplotlib"} & set(done.stdout.split())


# The shipped network


@pytest.fixture(scope="module")
def shipped():
    return Identifier.load()


def test_the_shipped_file_is_small_and_complete():
    assert SHIPPED.stat().st_size < 2_000_000
    known = read_metadata(SHIPPED)
    assert known["kind"] == "identifier" and tuple(known["names"]) == NAMES
    assert known["grid"] == MIXTURE_GRID.to_dict() and 0.5 <= known["threshold"] < 1
    settings = known["settings"]
    assert {"samples", "crystals", "seed", "seconds", "versions", "measured"} <= set(settings)
    assert set(settings["versions"]) >= {"xrdclass", "keras"}
    measured = settings["measured"]
    assert measured["samples"] >= 4000 and measured["false_acceptance"] < 0.01
    assert measured["found"] > 0.5 and measured["foreign_found"] > 0.9
    with zipfile.ZipFile(SHIPPED) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {
            "metadata.json", "config.json", "model.weights.h5", METADATA
        }  # fmt: skip


def test_the_shipped_lines_are_those_of_the_shipped_structures(shipped):
    for found, expected in zip(shipped.lines, LINES, strict=True):
        assert np.allclose(found.two_theta, expected.two_theta, atol=1e-6)
        assert np.allclose(found.moves, expected.moves, atol=1e-6)
        assert found.mass_factor == pytest.approx(expected.mass_factor)
    assert shipped.network.output_shape == (None, 6)


CONDITIONS = {
    "plain": {},
    "fine steps": {"step": 0.005},
    "coarse steps": {"step": 0.05},
    "20 to 70": {"start": 20.0, "stop": 70.0},
    "5 to 65": {"start": 5.0, "stop": 65.0},
    "wide": {"start": 3.0, "stop": 120.0, "step": 0.03},
    "zero shift up": {"shift": 0.15},
    "zero shift down": {"shift": -0.15},
    "5 nm": {"size": 5.0},
    "microns": {"size": 2000.0},
    "strong background": {"background": 2.0},
    "cobalt": {"wavelength": "Co", "start": 12.0, "stop": 95.0},
    "molybdenum": {"wavelength": "Mo", "start": 4.0, "stop": 36.0, "step": 0.01},
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_clean_scans_are_named(shipped, condition):
    options = CONDITIONS[condition]
    scans = [scan_of(name, seed=3, **options) for name in NAMES]
    wavelength = options.get("wavelength")
    findings = shipped.identify(scans, wavelength)
    found = {n: f.verdict.phases for n, f in zip(NAMES, findings, strict=True)}
    assert found == {name: (name,) for name in NAMES}
    for name, finding in zip(NAMES, findings, strict=True):
        assert finding.mass == {name: 1.0} and set(finding.fitted) == {name}
        # Under the peaks, the fit goes up and down as the scan does.
        under = finding.fitted[name] > 0.05
        assert np.corrcoef(finding.fitted[name][under], finding.signal[under])[0, 1] > 0.8
        probability = finding.verdict.probability
        assert list(probability) == list(NAMES) and probability[name] >= shipped.threshold
        assert [w for w in finding.verdict.warnings if "radiation" not in w] == []


def test_descending_scans_are_named(shipped, tmp_path):
    scan = scan_of("anatase")
    rows = zip(scan.two_theta[::-1], scan.intensity[::-1], strict=True)
    (tmp_path / "down.xy").write_text("".join(f"{x:.3f} {y:.0f}\n" for x, y in rows))
    (finding,) = shipped.identify([read_scan(tmp_path / "down.xy")])
    assert finding.verdict.phases == ("anatase",) and finding.verdict.name == "down"


def test_drawn_pure_phases_are_named(shipped):
    """Samples of the training's kind, never drawn before; what can be seen is found."""
    right = total = 0
    source = MixtureSource(PHASES, invent_crystals(2, 41), 4242)
    for label in range(5):
        mass = np.zeros((12, 5))
        mass[:, label] = 1
        found = source.draw(12, mass=mass, n_foreign=0, counts=10_000, background=0.1)
        for result in shipped.examine(found.counts, found.covered):
            fitted = shipped.decide(*result)[1]
            right += set(fitted) == {label}
            total += 1
    assert right >= 0.8 * total, f"{right} of {total}"


def test_foreign_samples_are_given_no_name(shipped):
    found = MixtureSource(PHASES, invent_crystals(60, 31_337), 8).draw(
        250, n_phases=0, n_foreign=np.random.default_rng(0).integers(1, 4, 250)
    )
    answers = np.array(
        [shipped.decide(*r)[0] for r in shipped.examine(found.counts, found.covered)]
    )
    named = (answers[:, :5] >= shipped.threshold).any(axis=1)
    assert named.mean() <= 0.02
    visible = targets(found)[:, 5].all(axis=1)
    assert (answers[visible, 5] >= 0.5).mean() > 0.9


def test_a_mixture_is_found_with_its_weights(shipped):
    mass = np.zeros((6, 5))
    mass[:, [ANATASE, RUTILE]] = 0.5
    source = MixtureSource(PHASES, invent_crystals(2, 9), 22, PLAIN)
    found = source.draw(6, n_foreign=0, mass=mass, counts=30_000, background=0.05)
    scans = [Scan(X, counts.astype(float), "mixture") for counts in found.counts]
    for finding in shipped.identify(scans):
        assert finding.verdict.phases == ("anatase", "rutile")
        assert sum(finding.mass.values()) == pytest.approx(1)
        assert finding.mass["anatase"] == pytest.approx(0.5, abs=0.25)


def test_the_same_answer_alone_and_in_a_batch(shipped):
    scans = [scan_of(name, seed=9) for name in NAMES]
    scans += [
        scan_of("rutile", 20, 70),
        Scan(X, np.random.default_rng(0).poisson(50, X.size) * 1.0),
    ]
    together = shipped.identify(scans)
    for scan, there in zip(scans, together, strict=True):
        (alone,) = shipped.identify([scan])
        assert alone.verdict.phases == there.verdict.phases
        assert alone.verdict.foreign == there.verdict.foreign
        assert alone.verdict.warnings == there.verdict.warnings
        for name, value in alone.verdict.probability.items():
            assert value == pytest.approx(there.verdict.probability[name], abs=1e-3)
        assert np.allclose(alone.signal, there.signal)
    assert shipped.identify([]) == []


def test_noise_and_short_ranges_get_a_warning_and_no_name(shipped):
    noise = Scan(X, np.random.default_rng(0).poisson(40, X.size).astype(float), "noise")
    short = scan_of("rutile", 40, 52)
    first, second = shipped.identify([noise, short])
    assert first.verdict.phases == () and "No peak" in first.verdict.warnings[0]
    assert len(second.verdict.warnings) == 5 and first.mass == {}
    assert first.fitted == {} and np.array_equal(first.remaining, first.signal)


def test_only_proposed_phases_are_looked_for(shipped, monkeypatch):
    counts, covered, _ = bring_to_grid(scan_of("rutile"))
    row = np.array([PROPOSED / 2, PROPOSED * 2, 0, 0.9, 0, 0.1])
    monkeypatch.setattr(shipped, "_ask", lambda inputs: row[None])
    ((proposed, opinions, _),) = shipped.examine(counts[None], covered[None])
    assert set(opinions) == {1, 3} and np.array_equal(proposed, row)
    probability, found = shipped.find(proposed, opinions)
    assert (probability[[0, 2, 4]] == 0).all() and set(found) <= {1, 3}


# Measured scans: looked at, never trained on


def measured(*patterns):
    return [path for p in patterns for path in sorted(Path(DATA).rglob(p))] if DATA else []


def mineral(path):
    return path.name.split("__")[0].lower()


RRUFF = measured("*__R*.txt")
TIO2 = [path for path in RRUFF if mineral(path) in NAMES]
OTHER = [path for path in RRUFF if mineral(path) not in NAMES]
needs_rruff = pytest.mark.skipif(
    not (TIO2 and OTHER), reason="XRDCLASS_DATA names no folder of scans named as on RRUFF"
)


@needs_rruff
def test_measured_tio2_is_named(shipped):
    findings = shipped.identify([read_scan(path) for path in TIO2])
    found = {p.name: f.verdict.phases for p, f in zip(TIO2, findings, strict=True)}
    assert found == {path.name: (mineral(path),) for path in TIO2}


@needs_rruff
def test_measured_minerals_without_tio2_are_not(shipped):
    findings = shipped.identify([read_scan(path) for path in OTHER])
    found = {p.name: f.verdict.phases for p, f in zip(OTHER, findings, strict=True)}
    assert found == dict.fromkeys(found, ())


@pytest.mark.skipif(
    len(measured("*ZnO*.xrdml")) < 2, reason="XRDCLASS_DATA names no folder with the ZnO mixtures"
)
def test_measured_mixtures(shipped):
    paths = measured("*ZnO*.xrdml")
    for path, finding in zip(paths, shipped.identify([read_scan(p) for p in paths]), strict=True):
        verdict = finding.verdict
        assert verdict.phases == (("anatase",) if "TiO2" in path.name else ()), path.name
        assert verdict.foreign, path.name


def test_the_module_has_one_shipped_network():
    assert Path(identification.__file__).parent / "networks" / "tio2.keras" == SHIPPED


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"names": "anatase"}, "expected a list of different names"),
        ({"lines": []}, "have 0 lists of lines"),
        ({"threshold": float("nan")}, "its threshold is nan"),
        ({"judge": None}, "is no identifier of xrdclass"),
        ({"judge": {"mean": [0.0], "spread": [1.0], "layers": [[[[1.0]], [0.0]]]}}, "does not see"),
        ({"judge": {"mean": [0.0], "spread": [0.0], "layers": [[[[1.0]], [0.0]]]}}, "spread of 0"),
    ],
)
def test_doctored_descriptions_are_refused(tiny, tmp_path, monkeypatch, change, said):
    path = tiny[0].save(tmp_path / "network.keras")
    known = {**read_metadata(path), **change}
    monkeypatch.setattr(identification, "read_metadata", lambda path: known)
    with pytest.raises(ModelError, match=said) as error:
        Identifier.load(path)
    assert "Train it again" in str(error.value) and "\n" not in str(error.value)
