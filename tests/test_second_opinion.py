"""The second opinion: lines move as physics says; a missing line counts, a stranger does not."""

import json
from dataclasses import replace

import numpy as np
import pytest
from samples import scan_with

from xrdclass.diffraction import bragg, lines, radiation, reflections
from xrdclass.identify.background import STEP, TWO_THETA
from xrdclass.identify.judge import N_PHASE_FEATURES
from xrdclass.identify.second_opinion import (
    MAX_SHIFT,
    MAX_STRAIN,
    Opinion,
    PhaseLines,
    all_lines,
    draw_lines,
)
from xrdclass.phases import ZIRCONIA_FOLDER, load_phases
from xrdclass.simulation import Variation, draw, peaks

TIO2 = load_phases()
PHASES = {phase.name: phase for phase in [*TIO2, *load_phases(ZIRCONIA_FOLDER)]}
LINES = {name: PhaseLines.of(phase) for name, phase in PHASES.items()}
RUTILE = LINES["rutile"]
CU = radiation("Cu").mean


def peaks_on_axis(two_theta, heights, fwhm=0.25):
    """Gaussians on the axis of the second opinion, written out once more."""
    u = (TWO_THETA[:, None] - np.asarray(two_theta)) / fwhm
    return (np.asarray(heights) * np.exp(-4 * np.log(2) * u**2)).sum(axis=1)


def moved_rutile(strain_a=0.006, strain_c=-0.004, shift=0.12):
    """Rutile's lines in a strained cell and a displaced sample: angles, heights and (101)."""
    table = reflections(PHASES["rutile"], 1.16)
    strain = np.diag([strain_a, strain_a, strain_c])[None]
    theta, area, _ = bragg(table, CU, strain)
    theta, area = theta[0], area[0] * np.exp(-1.4 * (np.sin(theta[0]) / CU) ** 2)
    is_101 = (np.sort(np.abs(table.hkl), axis=1) == [0, 1, 1]).all(axis=1) & (table.hkl[:, 2] != 0)
    return np.degrees(2 * theta) + shift * np.cos(theta), area / area.max(), is_101


@pytest.mark.parametrize("name", LINES)
def test_lines_are_those_of_diffraction(name):
    phase, found = PHASES[name], LINES[name]
    highest = np.degrees(2 * np.arcsin(CU / 2 / 1.16))
    expected = lines(phase, "Cu", (5, highest))
    apart = np.abs(found.two_theta[:, None] - expected.two_theta)
    # Lines below 1e-5 of the strongest, which `lines` leaves out, are as good as extinct.
    assert apart.min(axis=1)[found.intensity > 1e-4].max() < 1e-6
    # Intensities too, but for the vibrations: exp(-2 B s^2) with B = 0.7.
    intensity = expected.intensity * np.exp(-1.4 / (2 * expected.d_spacing) ** 2)
    strong = np.sort(intensity)[::-1][: len(found.intensity)]
    assert np.allclose(found.intensity[: len(strong)], strong / strong[0], rtol=1e-6, atol=1e-5)
    assert (found.intensity[len(strong) :] < 2e-5).all()
    assert (np.diff(found.intensity) <= 1e-12).all() and found.intensity[0] == 1
    assert len(found.intensity) <= 60
    assert found.moves.shape == (
        len(found.intensity),
        len(reflections(phase, 1.16).strain_basis) + 1,
    )


@pytest.mark.parametrize("name", LINES)
def test_strong_lines_are_strong_and_apart(name):
    found = LINES[name]
    strong = found.two_theta[found.strong]
    assert 2 <= len(strong) <= 16 and found.strong[0] == 0
    assert (found.intensity[found.strong] > 0.04).all()
    assert np.diff(np.sort(strong)).min() > 0.12
    # A strong line that is not among them has a stronger neighbour there, or came too late.
    for i in np.flatnonzero(found.intensity > found.intensity[found.strong].min() + 1e-9):
        assert i in found.strong or np.abs(strong - found.two_theta[i]).min() <= 0.12


@pytest.mark.parametrize("name", LINES)
def test_moves_are_the_derivatives_of_braggs_law(name):
    """Finite differences of strained cells' angles, worked out by `bragg` anew."""
    phase, found, small = PHASES[name], LINES[name], 1e-5
    table = reflections(phase, 1.16)
    plain, area, _ = bragg(table, CU, np.zeros((1, 3, 3)))
    area = area[0] * np.exp(-1.4 * (np.sin(plain[0]) / CU) ** 2)
    plain = np.degrees(2 * plain[0])
    alike = np.abs(found.two_theta[:, None] - plain) < 1e-9
    alike &= np.isclose(found.intensity[:, None], area / area.max(), rtol=1e-9)
    assert alike.any(axis=1).all()
    rows = alike.argmax(axis=1)
    for column, strain in enumerate(table.strain_basis):
        up, down = (bragg(table, CU, (sign * small * strain)[None])[0][0] for sign in (1, -1))
        slope = np.degrees(2 * (up - down)) / (2 * small)
        assert np.allclose(found.moves[:, column], slope[rows], rtol=1e-5, atol=1e-3)
    # A displaced sample, as the simulation moves its peaks: 2 s cos(theta) / R.
    variation = Variation(strain=0, texture=0, displacement=(0.3, 0.3))
    drawn = draw(table, variation, 1, np.random.default_rng(0))
    shift = peaks(table, drawn, variation, radiation("Cu"))[0][0] - plain
    unit = np.degrees(2 * 0.3 / variation.radius)
    assert np.allclose(found.moves[:, -1], shift[rows] / unit, atol=1e-9)


@pytest.mark.parametrize(
    ("strain_a", "strain_c", "shift"),
    [(0, 0, 0), (0.006, -0.004, 0.12), (-0.009, 0.003, -0.2), (0.002, 0.01, 0.25)],
)
def test_lines_are_found_where_they_have_moved_to(strain_a, strain_c, shift):
    x, heights, _ = moved_rutile(strain_a, strain_c, shift)
    opinion = scan_with(peaks_on_axis(x, heights)).fit(RUTILE)
    strong = np.flatnonzero(opinion.intensity > 0.1)
    nearest = x[heights > 0.05]
    apart = np.abs(opinion.two_theta[strong][:, None] - nearest).min(axis=1)
    assert apart.max() < 0.05
    assert opinion.features["covered"] > 0.9 and opinion.features["missing"] < 0.02
    assert opinion.features["peaks seen"] > 0.95 and opinion.features["explained"] > 0.4
    # Within the allowed ranges, which the features state in parts of.
    assert opinion.features["strain"] <= 1 and opinion.features["shift"] <= 1
    assert len(opinion.features) == N_PHASE_FEATURES - 3
    assert np.isfinite(list(opinion.features.values())).all()


def test_the_search_stays_within_its_limits():
    """Cassiterite's cell is 3 % larger than rutile's; no allowed strain brings it there."""
    x, heights, _ = moved_rutile(0.031, 0.077, 0)
    away = scan_with(peaks_on_axis(x, heights)).fit(RUTILE)
    there = scan_with(peaks_on_axis(*moved_rutile()[:2])).fit(RUTILE)
    allowed = np.abs(RUTILE.moves[:, :-1]).sum(axis=1) * MAX_STRAIN + MAX_SHIFT
    for opinion in (away, there):
        apart = np.abs(opinion.two_theta[:, None] - RUTILE.two_theta)
        assert (apart.min(axis=1) < allowed.max()).all()
    for name in ("alignment over chance", "covered", "visible peaks seen"):
        assert away.features[name] < 0.8 * there.features[name]


def test_a_missing_strong_line_argues_against_a_phase():
    x, heights, is_101 = moved_rutile()
    assert heights[is_101][0] > 0.35, "The second strongest."
    whole = scan_with(peaks_on_axis(x, heights)).fit(RUTILE)
    without = scan_with(peaks_on_axis(x[~is_101], heights[~is_101])).fit(RUTILE)
    assert whole.features["missing"] < 0.02
    assert without.features["missing"] > 0.1
    assert without.features["covered"] < whole.features["covered"] - 0.05
    assert without.features["peaks seen"] < whole.features["peaks seen"]


@pytest.mark.parametrize("place", [31.7, 36.0, 47.5, 70.0])
def test_a_strange_strong_peak_does_not(place):
    """Another phase may own it; only what is explained becomes less."""
    x, heights, _ = moved_rutile()
    pure = peaks_on_axis(x, heights)
    whole = scan_with(pure).fit(RUTILE)
    with_stranger = scan_with(pure + peaks_on_axis([place], [5.0])).fit(RUTILE)
    assert with_stranger.features["missing"] <= whole.features["missing"] + 0.01
    assert with_stranger.features["peaks seen"] > 0.9
    assert with_stranger.features["explained"] < 0.7 * whole.features["explained"]


@pytest.mark.parametrize(
    ("low", "high", "seen"),
    [(8.0, 26.0, 0), (26.0, 30.0, 1), (53.0, 55.5, 1), (26.0, 37.0, 2), (30.0, 45.0, 4)],
)
def test_fewer_than_two_covered_lines_give_no_opinion(low, high, seen):
    covered = (TWO_THETA > low) & (TWO_THETA < high)
    x, heights, _ = moved_rutile(0, 0, 0)
    strong = RUTILE.two_theta[RUTILE.strong]
    assert ((strong > low + 0.3) & (strong < high - 0.3)).sum() == seen
    opinion = scan_with(peaks_on_axis(x, heights), covered=covered).fit(RUTILE)
    assert (opinion is not None) == (seen >= 2)
    if opinion is not None:
        inside = (opinion.two_theta > low) & (opinion.two_theta < high)
        assert inside.all() and len(opinion.intensity) == len(opinion.two_theta)


def test_lines_beyond_the_range_are_not_missing():
    x, heights, _ = moved_rutile()
    covered = (TWO_THETA > 20) & (TWO_THETA < 60)
    opinion = scan_with(peaks_on_axis(x, heights), covered=covered).fit(RUTILE)
    assert opinion.features["missing"] < 0.02 and opinion.features["covered"] > 0.9


def test_every_phase_recognises_itself_best():
    """Of the five phases' opinions on a pure pattern, the phase's own has the highest agreement."""
    every = dict(zip([p.name for p in TIO2], all_lines(TIO2), strict=True))
    for name, own in every.items():
        scan = scan_with(peaks_on_axis(own.two_theta, own.intensity))
        agreed = {n: scan.fit(other).features["covered"] for n, other in every.items()}
        assert max(agreed, key=agreed.get) == name and agreed[name] > 0.9, agreed


def test_the_same_scan_gets_the_same_opinion():
    signal = peaks_on_axis(*moved_rutile()[:2])
    one, again = (scan_with(signal).fit(RUTILE) for _ in range(2))
    assert one.features == again.features
    assert np.array_equal(one.two_theta, again.two_theta)


def test_smoothing_keeps_areas_and_adds_widths():
    scan = scan_with(peaks_on_axis([40.0], [1.0], 0.3), noise=1e-9)
    smooth = scan.smoothed(0.4)
    assert smooth.sum() == pytest.approx(scan.signal.sum(), rel=1e-6)
    above = TWO_THETA[smooth > smooth.max() / 2]
    assert above[-1] - above[0] == pytest.approx(0.5, abs=2 * STEP), "sqrt(0.3^2 + 0.4^2)"


@pytest.mark.parametrize("width", [0.1, 0.4, 1.1])
@pytest.mark.parametrize("place", [25.3, 70.0])
def test_drawn_lines_have_area_one(width, place):
    one = Opinion({}, np.array([place]), np.array([1.0]), 1.0, 0.1)
    drawn = draw_lines(one, width)
    # Half Lorentzian, cut off eight widths away: 2 % of the area lies beyond.
    assert drawn.sum() * STEP == pytest.approx(1, abs=0.03)
    centre = (drawn * TWO_THETA).sum() / drawn.sum()
    assert centre == pytest.approx(place, abs=0.01), "The mean of the doublet."
    shifted = draw_lines(one, width, 0.06)
    assert (shifted * TWO_THETA).sum() / shifted.sum() == pytest.approx(place + 0.06, abs=0.01)
    two = replace(one, two_theta=np.array([place, 50.0]), intensity=np.array([1.0, 0.4]))
    assert draw_lines(two, width).sum() == pytest.approx(1.4 * drawn.sum(), rel=0.01)


def test_a_drawn_doublet_is_split_as_its_wavelengths_are():
    one = Opinion({}, np.array([70.0]), np.array([1.0]), 1.0, 0.1)
    drawn = draw_lines(one, 0.08)
    tops = np.flatnonzero((drawn[1:-1] > drawn[:-2]) & (drawn[1:-1] > drawn[2:])) + 1
    sine = np.sin(np.radians(35.0)) / CU
    source = radiation("Cu")
    places = [np.degrees(2 * np.arcsin(sine * w)) for w in (source.k_alpha1, source.k_alpha2)]
    assert np.allclose(TWO_THETA[tops], places, atol=STEP)
    assert drawn[tops[0]] / drawn[tops[1]] == pytest.approx(2, rel=0.25)


def test_lines_survive_a_file():
    again = PhaseLines.from_dict(json.loads(json.dumps(RUTILE.to_dict())))
    for key, value in vars(RUTILE).items():
        assert np.array_equal(getattr(again, key), value), key
    x, heights, _ = moved_rutile()
    scan = scan_with(peaks_on_axis(x, heights))
    assert scan.fit(again).features == scan.fit(RUTILE).features


@pytest.mark.parametrize(
    "change",
    [
        {"two_theta": None},
        {"two_theta": "abc"},
        {"two_theta": [25.0]},
        {"intensity": [float("nan")] * len(RUTILE.intensity)},
        {"intensity": [-1.0] * len(RUTILE.intensity)},
        {"moves": [1.0]},
        {"moves": [[]] * len(RUTILE.intensity)},
        {"moves": [[1.0] * 1000] * len(RUTILE.intensity)},
        {"strong": [0, 99]},
        {"strong": [-1]},
        {"strong": [[0]]},
        {"strong": ["a"]},
        {"mass_factor": float("inf")},
        {key: [] for key in ("two_theta", "intensity", "moves", "strong")},
    ],
    ids=str,
)
def test_what_is_no_list_of_lines_is_refused(change):
    with pytest.raises((TypeError, ValueError)):
        PhaseLines.from_dict({**RUTILE.to_dict(), **change})


def test_mass_factors_are_masses_for_equal_lines():
    """Mass for a strongest line of area 1: density times V^2 over the line, from `lines` alone."""
    factor = {}
    for name in ("anatase", "rutile"):
        structure = PHASES[name].structure
        theta, area, _ = bragg(reflections(PHASES[name], 1.5), CU, np.zeros((1, 3, 3)))
        area = (area * np.exp(-1.4 * (np.sin(theta) / CU) ** 2)).max()
        factor[name] = structure.density * structure.volume**2 / area
    expected = factor["anatase"] / factor["rutile"]
    found = LINES["anatase"].mass_factor / RUTILE.mass_factor
    assert found == pytest.approx(expected, rel=1e-9)
    # Anatase scatters more strongly than rutile: reference intensity ratios near 5 and 3.5.
    assert 1 / 1.65 < found < 1 / 1.2
