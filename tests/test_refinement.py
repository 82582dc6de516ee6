"""The whole-pattern fit gives back what a scan was made from, with errors that are right."""

import os
from dataclasses import replace

import numpy as np
import pytest
from load_script import load_script

from xrdclass.diffraction import bragg, lorentz_polarisation, radiation
from xrdclass.errors import DataError
from xrdclass.identify import profile
from xrdclass.identify.evidence import FEATURES, Calibration, Evidence, LineRatios
from xrdclass.identify.profile import (
    Crystal,
    Instrument,
    LineSet,
    PhaseLines,
    anomalous_dispersion,
    phase_lines,
)
from xrdclass.identify.refinement import refine
from xrdclass.identify.start import counting_gain, one_sided, prepare
from xrdclass.phases import load_phases
from xrdclass.scans import Scan

fit = load_script("benchmarks/fit.py")
PHASES = {phase.name: phase for phase in [*load_phases(), *fit.round_robin_phases()]}
BARE = {name: fit.bare_lines(phase) for name, phase in PHASES.items()}
CU = radiation("Cu")
ANATASE, RUTILE, BROOKITE = (BARE[name] for name in ("anatase", "rutile", "brookite"))
needs_data = pytest.mark.skipif(
    not os.environ.get("XRDCLASS_DATA"), reason="XRDCLASS_DATA names no folder of measured scans"
)


def scan_of(lines, mass, seed=1, **options):
    return fit.simulated(lines, mass, np.random.default_rng(seed), **options)


def with_peak(scan, angle, height, fwhm=0.15):
    bell = height * np.exp(-4 * np.log(2) * ((scan.two_theta - angle) / fwhm) ** 2)
    return Scan(scan.two_theta, scan.intensity + bell, wavelength=scan.wavelength)


# --- lines -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BARE)
def test_lines_without_motion_and_dispersion_are_those_of_bragg(name):
    line_set = LineSet(BARE[name], CU, 10, 80)
    theta, area, _ = bragg(BARE[name].table, CU.mean, np.zeros((1, 3, 3)))
    angle = np.degrees(2 * theta[0])
    inside = (angle > 9) & (angle < 81) & (area[0] > profile.WEAKEST * line_set.unit)
    np.testing.assert_allclose(line_set.two_theta, angle[inside])
    np.testing.assert_allclose(line_set.area * line_set.unit, area[0][inside], rtol=1e-9)


def test_thermal_motion_weakens_lines_by_exp_minus_2_b_s_squared():
    still, moving = (LineSet(replace(RUTILE, b_iso=np.full(2, b)), CU, 10, 80) for b in (0.0, 0.7))
    ratio = moving.area * moving.unit / (still.area * still.unit)
    np.testing.assert_allclose(ratio, np.exp(-2 * 0.7 * still.s_squared), rtol=1e-9)


def test_dispersion_adds_to_what_an_atom_scatters():
    # Zinc's K edge lies just beyond copper's line: 1.6 electrons less, 0.7 out of phase.
    assert anomalous_dispersion("Zn", CU.mean) == pytest.approx(-1.56 + 0.68j, abs=0.05)
    assert abs(anomalous_dispersion("Zn", radiation("Mo").mean).real) < 0.4
    # In the (111) of fluorite only calcium takes part: |F| = 4 |f|.
    lines = replace(BARE["fluorite"], dispersion=np.array([[2 + 1.5j, 0j]] * 5))
    plain, with_it = (LineSet(p, CU, 25, 30) for p in (BARE["fluorite"], lines))
    first = np.sqrt(plain.unit / lorentz_polarisation(np.radians(plain.two_theta[0] / 2)) / 8) / 4
    expected = abs(first + 2 + 1.5j) ** 2 / first**2
    assert with_it.unit / plain.unit == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["beta-TiO2", "rutile"])
def test_derivatives_are_those_of_finite_differences(name, monkeypatch):
    monkeypatch.setattr(profile, "REACH", (300.0, 300.0))  # no profile ends within the scan
    monkeypatch.setattr(profile, "FARTHEST", 100.0)
    lines, x = LineSet(BARE[name], CU, 20, 60), np.arange(20, 60, 0.05)
    k = len(lines.basis)
    start = np.array([0.1, np.log(0.1), *np.full(k, 0.002), np.log(20), -7, 0.4, 0.3, 0.2])

    def draw(p):
        crystal = Crystal(1.0, p[2 : 2 + k], *p[2 + k :], axis=1)
        return lines.draw(x, crystal, Instrument(p[0], p[1]))

    drawn = draw(start)
    size = np.array([1e-4, 1e-2, *[1e-4] * k, *[1e-2] * 5])  # patterns are in single precision
    for j, column in enumerate([0, 1, *range(3, 3 + k + 5)]):
        step = size * np.eye(len(start))[j]
        slope = (draw(start + step)[:, 2] - draw(start - step)[:, 2]) / (2 * size[j])
        # Widths change a little with the angle, which the derivatives leave out.
        assert np.abs(slope - drawn[:, column]).max() < 0.005 * np.abs(slope).max()


def test_a_pattern_has_the_areas_of_its_lines():
    lines, x = LineSet(RUTILE, CU, 10, 80), np.arange(10, 80, 0.01)
    crystal = Crystal(1.0, np.zeros(2), eta=0.0)
    pattern = lines.draw(x, crystal, Instrument(0.0, np.log(0.1)))[:, 2]
    near = (x > 26) & (x < 29)
    assert pattern[near].sum() * 0.01 == pytest.approx(1, rel=1e-3)  # the strongest line's area


def test_prepared_lines_can_be_kept_in_a_file(tmp_path):
    lines = phase_lines(PHASES["brookite"], 1.5)
    np.savez(tmp_path / "lines.npz", **lines.to_arrays())
    with np.load(tmp_path / "lines.npz", allow_pickle=False) as file:
        kept = PhaseLines.from_arrays("brookite", lines.table.elements, file)
        scan, _ = scan_of((BROOKITE,), (1,), two_theta=(20.0, 55.0))
        found = [refine(scan, (p,)).phases["brookite"] for p in (lines, kept)]
        assert found[0].scale == pytest.approx(found[1].scale, rel=1e-4)  # kept in single precision
        assert (kept.name, kept.table.elements, kept.d_min) == ("brookite", ("O", "Ti"), 1.5)
        with pytest.raises(ValueError, match="geometric must be finite numbers of the shape"):
            wrong = {**file, "geometric": file["geometric"][:1]}
            PhaseLines.from_arrays("brookite", lines.table.elements, wrong)


# --- noise and loss --------------------------------------------------------------------------


def test_data_above_the_model_stop_to_count_and_a_missing_line_does_not():
    loss, weight = one_sided(np.array([-30.0, -3, 0, 3, 30, 3000]))
    assert loss[0] == 900 and loss[1] == 9
    assert loss[4] < loss[5] < 9
    assert weight[0] == 1 and weight[5] < 1e-9


@pytest.mark.parametrize(("scale", "mean"), [(1.0, 2000), (1.0, 0.3), (0.01, 50), (17.0, 400)])
def test_the_gain_is_variance_over_mean(scale, mean):
    rng = np.random.default_rng(3)
    x = np.arange(10, 80, 0.02)
    expected = mean * (1 + np.exp(-((x - 40) ** 2) / 0.02))
    assert counting_gain(scale * rng.poisson(expected), x) == pytest.approx(scale, rel=0.2)


def test_interpolated_points_are_not_taken_for_independent_ones():
    rng = np.random.default_rng(3)
    y = rng.poisson(500, 4001).astype(float)
    y[1:-1:2] = (y[:-2:2] + y[2::2]) / 2
    assert 0.9 < counting_gain(y, np.arange(4001) * 0.02) < 2.5


# --- recovery --------------------------------------------------------------------------------

CASES = {
    "usual": {},
    "displaced": {"shift": 0.28, "strain": 0.003},
    "other way, other cells": {"shift": -0.28, "strain": 0.011},
    "nanocrystals": {"domain_size": (4, 5), "counts": 2e4},
    "large crystals": {"domain_size": (800, 1000)},
    "a strong background": {"background": 3.0, "counts": 1e4},
    "a million counts": {"counts": 1e6, "background": 0.005},
    "forty counts": {"counts": 40, "background": 0.02},
    "fine steps": {"step": 0.005, "two_theta": (20, 60)},
    "coarse steps": {"step": 0.1, "domain_size": (15, 25)},
    "cobalt": {"wavelength": "Co", "two_theta": (15.0, 100.0)},
    "molybdenum": {"wavelength": "Mo", "two_theta": (8.0, 45.0), "step": 0.01},
}


@pytest.mark.parametrize("case", CASES)
def test_the_fit_gives_back_what_a_scan_was_made_from(case):
    scan, truth = scan_of((ANATASE, RUTILE), (0.6, 0.4), **CASES[case])
    result = refine(scan, (ANATASE, RUTILE))
    few = "counts" in case or "nano" in case or "back" in case
    assert result.displacement == pytest.approx(
        CASES[case].get("shift", 0), abs=max(4 * result.displacement_error, 0.01)
    )
    for name, true in truth.items():
        found = result.phases[name]
        assert found.weight_error < (12 if few else 3)
        assert found.weight_percent == pytest.approx(
            100 * true["mass"], abs=3.5 * found.weight_error
        )
        error = np.maximum(4 * found.cell_error[:3], 3e-4 * true["cell"])
        assert (np.abs(found.cell[:3] - true["cell"]) < error).all()
        assert (error < 0.02 * true["cell"]).all()
        size = np.log(found.domain_size / true["domain_size"])
        assert abs(size) < 4 * found.domain_size_error / found.domain_size + 0.2
        if not 30 < true["domain_size"] < 100:  # larger ones hide behind the instrument's width
            assert np.isfinite(found.domain_size_error) == (true["domain_size"] < 30)


def test_stated_errors_are_those_that_are_made():
    rng, pulls = np.random.default_rng(8), []
    for _ in range(12):
        scan, _ = fit.simulated((BROOKITE, RUTILE), (0.3, 0.7), rng, strain=0.004, counts=3000)
        found = refine(scan, (BROOKITE, RUTILE)).phases["rutile"]
        pulls.append((found.weight_percent - 70) / found.weight_error)
    assert 0.2 < np.sqrt(np.mean(np.square(pulls))) < 1.6


def test_a_zero_shift_is_fitted_instead_of_a_displacement():
    scan, _ = scan_of((RUTILE,), (1,), counts=1e5)
    moved = Scan(scan.two_theta + 0.15, scan.intensity)
    result = refine(moved, (RUTILE,), displaced=False)
    assert result.displacement == pytest.approx(0.15, abs=0.01)
    assert result.r_wp < refine(moved, (RUTILE,)).r_wp + 1e-4


def test_a_cell_beyond_the_usual_range_is_found_if_it_may_be():
    scan, truth = scan_of((RUTILE,), (1,), strain=0.0)
    smaller = replace(RUTILE, table=replace(RUTILE.table, lattice=RUTILE.table.lattice * 0.975))
    result = refine(scan, (smaller,), cell_range=0.04)
    np.testing.assert_allclose(result.phases["rutile"].cell[:3], truth["rutile"]["cell"], rtol=1e-3)
    strict = refine(scan, (smaller,), shift_range=0.1)
    assert strict.phases["rutile"].evidence.coincidences < 3


# --- what is and what is not there -----------------------------------------------------------


def test_foreign_peaks_pull_nothing():
    scan, _ = scan_of((ANATASE, RUTILE), (0.5, 0.5))
    alone = refine(scan, (ANATASE, RUTILE))
    for angle in (31.0, 44.2, 58.3):
        scan = with_peak(scan, angle, 3e4)
    crowded = refine(scan, (ANATASE, RUTILE))
    change = crowded.phases["rutile"].weight_percent - alone.phases["rutile"].weight_percent
    assert abs(change) < 0.7
    foreign = sorted(peak["two_theta"] for peak in crowded.unexplained[:3])
    np.testing.assert_allclose(foreign, [31, 44.2, 58.3], atol=0.02)


def test_unexplained_peaks_have_an_angle_a_spacing_and_a_height():
    scan, _ = scan_of((RUTILE,), (1,))
    (peak, *others) = refine(with_peak(scan, 31.5, 2000), (RUTILE,)).unexplained
    assert not others
    assert peak["two_theta"] == pytest.approx(31.5, abs=0.02)
    assert peak["d"] == pytest.approx(CU.mean / 2 / np.sin(np.radians(31.5 / 2)), abs=0.003)
    assert peak["height"] == pytest.approx(2000, rel=0.35)


def test_a_line_that_is_not_there_is_named_and_speaks_against_the_phase():
    scan, _ = scan_of((RUTILE,), (1,))
    whole = refine(scan, (RUTILE,)).phases["rutile"].evidence
    near = (scan.two_theta > 53.7) & (scan.two_theta < 55)
    level = np.median(scan.intensity[near][:10])
    weak = np.where(near, level + 0.2 * (scan.intensity - level), scan.intensity)
    result = refine(Scan(scan.two_theta, weak), (RUTILE,), texture=False)
    (missing,) = result.missing
    assert missing["phase"] == "rutile"
    assert missing["two_theta"] == pytest.approx(54.3, abs=0.2)
    evidence = result.phases["rutile"].evidence
    assert evidence.lacking > 0.1 > whole.lacking
    assert evidence.typical > 2 * whole.typical
    assert evidence.coincidences < whole.coincidences - 3


@pytest.mark.parametrize(
    ("ratio", "weight", "texture", "lacks"),
    [(0, 200, 1, True), (0, 4, 1, False), (0.8, 200, 1, False), (1, 200, 0.2, True)],
)
def test_only_what_lacks_beyond_doubt_is_missing(ratio, weight, texture, lacks):
    """A line of a third of all intensity; texture may have explained that it is not there."""
    three = np.array([2.0, 1.0 * texture, 0.2])
    ratios = LineRatios(three, three, three, np.array([1, ratio, 1]), np.array([200, weight, 200]))
    assert (ratios.missing(np.array([1, texture, 1])) > 0.03) == lacks


@pytest.mark.parametrize("absent", ["brookite", "beta-TiO2", "TiO2-II"])
def test_evidence_tells_true_phases_from_absent_ones(absent):
    scan, _ = scan_of((ANATASE, RUTILE), (0.9, 0.1), counts=5000)
    scan = with_peak(with_peak(scan, 30.8, 900), 56.6, 500)
    result = refine(scan, (ANATASE, RUTILE, BARE[absent]))
    true, false = result.phases["rutile"].evidence, result.phases[absent].evidence
    assert true.gain > 5 * false.gain
    assert true.coincidences > max(false.coincidences, 0) + 5
    assert 0.6 < true.share < 1.2


def test_what_a_scan_would_have_shown_is_an_upper_limit():
    held = []
    for seed in range(8):
        scan, _ = scan_of((RUTILE, ANATASE), (0.996, 0.004), seed=seed, counts=2000)
        phase = refine(scan, (RUTILE, ANATASE)).phases["anatase"]
        held.append(phase.upper_limit > 0.4)
        assert phase.upper_limit < 3
        assert phase.found or (phase.weight_percent == 0 and not phase.pattern.any())
    assert sum(held) >= 7


def test_texture_is_fitted_where_it_pays():
    plain, _ = scan_of((RUTILE, ANATASE), (0.5, 0.5))
    assert refine(plain, (RUTILE, ANATASE)).phases["rutile"].texture_axis is None
    scan, _ = scan_of((RUTILE, ANATASE), (0.5, 0.5), texture_r=0.75)
    for on in (True, False):
        result = refine(scan, (RUTILE, ANATASE), texture=on)
        rutile = result.phases["rutile"]
        if on:
            assert rutile.texture_axis == (0, 0, 1)
            assert rutile.texture_r == pytest.approx(0.75, abs=0.05)
            assert rutile.weight_percent == pytest.approx(50, abs=3)
            with_texture = result.r_wp
    assert with_texture < 0.9 * result.r_wp


def test_a_scan_without_crystals_holds_none():
    rng = np.random.default_rng(4)
    x = np.arange(10, 80, 0.02)
    hump = 300 + 800 * np.exp(-(((x - 25) / 9) ** 2))
    result = refine(Scan(x, rng.poisson(hump).astype(float)), list(BARE.values())[:5])
    assert not [p.name for p in result.phases.values() if p.evidence.coincidences > 2]
    assert not result.unexplained
    assert any("No peaks are seen" in sentence for sentence in result.warnings)


# --- answers and requests --------------------------------------------------------------------


def test_parts_add_up_to_the_whole():
    scan, _ = scan_of((ANATASE, RUTILE), (0.7, 0.3))
    result = refine(scan, (PHASES["anatase"], PHASES["rutile"]))
    assert list(result.phases) == ["anatase", "rutile"]
    assert sum(p.weight_percent for p in result.phases.values()) == pytest.approx(100)
    parts = sum(p.pattern for p in result.phases.values())
    np.testing.assert_allclose(result.calculated, result.background + parts)
    assert result.two_theta.shape == result.counts.shape == result.background.shape
    assert 0 < result.r_wp < 0.2


def test_a_scan_is_not_changed_by_its_unit():
    scan, _ = scan_of((ANATASE, RUTILE), (0.7, 0.3))
    weights = [
        refine(Scan(scan.two_theta, unit * scan.intensity), (ANATASE, RUTILE))
        .phases["rutile"]
        .weight_percent
        for unit in (1, 1e-3)
    ]
    assert weights[0] == pytest.approx(weights[1], abs=0.05)


@pytest.mark.parametrize(
    ("x", "phases", "said"),
    [
        (np.arange(20, 60, 0.02), (), "at least one phase"),
        (np.arange(1, 4, 0.01), (RUTILE,), "No phase has lines between"),
        (np.arange(170, 179, 0.01), (RUTILE,), "fewer than ten points"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_with_a_sentence(x, phases, said):
    with pytest.raises(DataError, match=said):
        refine(Scan(x, np.full(len(x), 5.0)), phases)


def test_a_phase_without_lines_in_the_range_cannot_be_seen():
    scan, _ = scan_of((ANATASE, RUTILE), (0.5, 0.5), two_theta=(20.0, 26.2))
    result = refine(scan, (RUTILE, ANATASE))
    assert result.phases["anatase"].found
    assert result.phases["rutile"].upper_limit == 100
    assert any("leaves out most of the lines of rutile" in said for said in result.warnings)
    assert any("anatase: fewer than two" in sentence for sentence in result.warnings)


@pytest.mark.parametrize("level", [0.0, 5.0, -3.0])
def test_a_flat_scan_shows_no_crystals(level):
    x = np.arange(20, 60, 0.02)
    result = refine(Scan(x, np.full(len(x), level)), (RUTILE, ANATASE))
    assert not any(phase.found for phase in result.phases.values())
    assert result.warnings == ["No peaks are seen: the scan shows no crystals."]
    assert all(phase.upper_limit > 99 for phase in result.phases.values())


def odd_scans():
    rng, (scan, _) = np.random.default_rng(0), scan_of((RUTILE,), (1,))
    x, y = scan.two_theta, scan.intensity
    even = np.arange(20, 60, 0.02)
    spike = np.where(np.arange(len(even)) == 500, 1e9, rng.poisson(10, len(even)))
    gap = np.concatenate([even[:500], even[-500:]])
    return {
        "ten points": (np.linspace(26, 29, 10), rng.poisson(100, 10)),
        "steps of a degree": (np.arange(5, 90, 1.0), rng.poisson(100, 85)),
        "background taken off": (x, y - y.mean()),
        "upside down": (x, -y),
        "one hot pixel": (even, spike),
        "saturated": (x, np.minimum(y, 2000)),
        "a huge unit": (x, y * 1e12),
        "a tiny unit": (x, y * 1e-12),
        "a gap": (gap, rng.poisson(50, 1000)),
        "from 0 degrees": (np.arange(0, 90, 0.02), rng.poisson(50, 4500)),
        "to 180 degrees": (np.arange(10, 179.9, 0.05), rng.poisson(50, 3398)),
        "one count": (even, np.where(np.arange(len(even)) == 700, 1.0, 0)),
    }


@pytest.mark.parametrize("kind", odd_scans())
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_odd_scans_get_a_finite_answer_too(kind):
    result = refine(Scan(*odd_scans()[kind]), (ANATASE, RUTILE))
    for phase in result.phases.values():
        numbers = phase.scale, phase.weight_percent, phase.weight_error, phase.upper_limit
        assert np.isfinite(numbers).all()
    assert np.isfinite([result.r_wp, result.displacement, result.displacement_error]).all()
    rutile = "background" in kind or "saturated" in kind or "unit" in kind
    assert [p.name for p in result.phases.values() if p.found] == ["rutile"] * rutile


@pytest.mark.parametrize("cut", [501, 503, 505])
def test_no_mean_of_points_reaches_across_a_gap(cut):
    x = np.arange(20, 60, 0.01)
    kept = np.arange(len(x)) < cut
    kept |= x > 40
    seen = prepare(x[kept], 100 + x[kept], coarsest=0.05)
    assert not ((seen.x > x[cut - 1]) & (seen.x < 40)).any() and len(seen.x) < 600
    np.testing.assert_allclose(seen.y, 100 + seen.x)


# --- probability -----------------------------------------------------------------------------


def test_a_calibration_learns_probabilities_and_can_be_kept():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4000, len(FEATURES)))
    logit = 1.5 * features[:, 3] - features[:, 5] - 0.5
    truth = rng.random(4000) < 1 / (1 + np.exp(-logit))
    learnt = Calibration.fit(features, truth.astype(float))
    np.testing.assert_allclose((learnt.weights / learnt.spread)[[3, 5]], [1.5, -1], atol=0.2)
    kept = Calibration.from_dict(learnt.to_dict(), len(FEATURES))
    evidence = Evidence(500.0, 600.0, 20.0, 30.0, 10.0, 0.02, 0.3, 40.0)
    assert kept.probability(evidence) == pytest.approx(learnt.probability(evidence))
    assert kept.probability(Evidence()) == 0
    with pytest.raises(ValueError, match="features"):
        Calibration.from_dict({**learnt.to_dict(), "weights": [1.0]}, len(FEATURES))


@needs_data
def test_weighed_mixtures_come_out_as_weighed():
    rms, worst = fit.weighed(None)
    assert rms < 1.0
    assert worst < 2.0


# --- what a network expects --------------------------------------------------------------------


def test_only_expected_phases_are_tried_and_the_others_have_limits():
    scan, _ = scan_of((ANATASE, RUTILE), (0.7, 0.3))
    result = refine(scan, (ANATASE, RUTILE, BROOKITE), expected={"anatase": 0.9, "brookite": 0.2})
    assert result.phases["anatase"].found and not result.phases["rutile"].found
    assert result.phases["rutile"].evidence == Evidence() and result.unexplained
    nothing = refine(scan, (ANATASE, RUTILE, BROOKITE), expected={})
    assert not any(phase.found for phase in nothing.phases.values())
    limits = [phase.upper_limit for phase in nothing.phases.values()]
    assert limits == pytest.approx([100] * 3)
    assert len(nothing.unexplained) > 10


def test_a_phase_that_joins_does_not_push_the_others_away():
    """The least expected of three, and a wrong one, find their place beside the first."""
    scan, truth = scan_of((ANATASE, RUTILE), (0.6, 0.4), shift=0.1)
    expected = {"anatase": 0.9, "rutile": 0.05, "brookite": 0.05}
    result = refine(scan, tuple(PHASES[name] for name in expected), expected=expected)
    for name, true in truth.items():
        found = result.phases[name]
        assert abs(found.weight_percent - 100 * true["mass"]) < 3 * found.weight_error


def test_improbable_phases_leave_the_fit_and_their_evidence_stays():
    scan, _ = scan_of((ANATASE,), (1.0,))
    certain = refine(scan, (ANATASE,)).phases["anatase"]
    assert certain.found and certain.probability > 0.99
    doubtful = Calibration(
        np.zeros(len(FEATURES)), np.ones(len(FEATURES)), np.zeros(len(FEATURES)), -2.0
    )
    left = refine(scan, (ANATASE,), least_probability=0.5, calibration=doubtful).phases["anatase"]
    assert not left.found and left.weight_percent == 0
    assert left.probability == pytest.approx(1 / (1 + np.exp(2))) and left.evidence.gain > 100
