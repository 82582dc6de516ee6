"""Profiles, rendering and what is drawn, against the formulas and against pymatgen."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice, Structure
from scipy.integrate import quad
from scipy.optimize import brentq

from xrdclass.diffraction import RADIATIONS, lines, reflections
from xrdclass.errors import DataError
from xrdclass.patterns import PatternSet, TwoThetaGrid
from xrdclass.phases import Phase, load_phases
from xrdclass.simulation import (
    BLOCK,
    ORIGINAL,
    PROFILES,
    REALISTIC,
    TOLERANCE,
    Variation,
    draw,
    gaussian,
    lorentzian,
    march_dollase,
    peak_shift,
    peaks,
    pseudo_voigt,
    render,
    scherrer_fwhm,
    simulate,
    simulate_batches,
    voigt,
)

CU = RADIATIONS["Cu"]
PHASES = load_phases()
RUTILE = next(phase for phase in PHASES if phase.name == "rutile")
TRICLINIC = Phase(
    "tilted",
    0,
    Structure(
        Lattice.from_parameters(5.1, 6.2, 4.3, 81, 97, 104),
        ["Ti", "Si", "O"],
        [[0.1, 0.2, 0.3], [0.55, 0.61, 0.83], [0.37, 0.05, 0.66]],
    ),
    "test",
)
#: A narrow, quick grid; nothing varies.
GRID = TwoThetaGrid(20, 45, 0.02)
FIXED = Variation(strain=0, texture=0, domain_size=(20, 20))
SHAPES = {
    "gaussian": lambda x, fwhm, eta: gaussian(x, fwhm),
    "lorentzian": lambda x, fwhm, eta: lorentzian(x, fwhm),
    "pseudo-voigt": pseudo_voigt,
    "voigt": voigt,
}


def drawn_as(table, n=1, **values):
    """What `draw` gives for a sample in which nothing varies, with some values replaced."""
    drawn = draw(table, FIXED, n, np.random.default_rng(0))
    for key, value in values.items():
        drawn[key] = np.broadcast_to(np.asarray(value, dtype=float), drawn[key].shape)
    return drawn


def place(table, *hkl):
    """The index of a reflection in a table, whichever of its equivalents stands for it."""
    same = (np.abs(table.equivalents) == np.abs(hkl)).all(axis=2).any(axis=1)
    return int(np.flatnonzero(same)[0])


def width_at_half(x, y):
    """Full width at half maximum of a single peak, interpolated between points."""
    half, top = y.max() / 2, int(y.argmax())
    left = np.interp(half, y[: top + 1], x[: top + 1])
    return np.interp(-half, -y[top:], x[top:]) - left


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("eta", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("fwhm", [0.05, 1.7])
def test_profiles_have_unit_area_and_the_width_asked_for(profile, eta, fwhm):
    def shape(x):
        return float(SHAPES[profile](x, fwhm, eta))

    near = quad(shape, 0, 20 * fwhm, points=[fwhm / 2, fwhm, 3 * fwhm], limit=200)[0]
    far = quad(shape, 20 * fwhm, np.inf)[0]
    assert 2 * (near + far) == pytest.approx(1, abs=1e-6)
    half = brentq(lambda x: shape(x) - shape(0) / 2, 0, 5 * fwhm)
    # The Voigt's width is Olivero and Longbothum's approximation, good to 0.02 %.
    assert 2 * half == pytest.approx(fwhm, rel=3e-4 if profile == "voigt" else 1e-9)
    assert shape(-0.3 * fwhm) == pytest.approx(shape(0.3 * fwhm))


def test_voigt_is_the_convolution_of_its_parts():
    fwhm, eta = 0.4, 0.5
    lorentz = eta * fwhm
    gauss = np.sqrt((fwhm - 0.5346 * lorentz) ** 2 - 0.2166 * lorentz**2)
    for x in (0.0, 0.13, 0.5, 2.0):
        integral = quad(
            lambda t, x=x: gaussian(t, gauss) * lorentzian(x - t, lorentz), -3, 3, points=[0, x]
        )[0]
        assert float(voigt(x, fwhm, eta)) == pytest.approx(integral, rel=1e-6)
    assert voigt(0.1, fwhm, 0.0) == pytest.approx(gaussian(0.1, fwhm))
    assert voigt(0.1, fwhm, 1.0) == pytest.approx(lorentzian(0.1, fwhm), rel=2e-4)


@pytest.mark.parametrize("profile", PROFILES)
def test_rendered_peaks_equal_the_direct_sum(profile):
    rng = np.random.default_rng(4)
    n, m = 7, 12
    two_theta = rng.uniform(18, 47, (n, m))  # some beyond the grid: only their tails are seen
    area, fwhm = rng.uniform(0, 5, (n, m)), rng.uniform(0.05, 0.4, (n, m))
    area[2, 3:6] = 0
    eta = rng.uniform(0, 1, n)
    found = render(GRID, two_theta, area, fwhm, profile, eta, tolerance=1e-6)
    x = GRID.two_theta[:, None]
    expected = np.array(
        [
            (area[i] * SHAPES[profile](x - two_theta[i], fwhm[i], eta[i])).sum(axis=1)
            for i in range(n)
        ]
    )
    assert found.shape == (n, GRID.n_points) and found.dtype == np.float32
    assert np.abs(found - expected).max() < 2e-5 * expected.max()
    coarse = render(GRID, two_theta, area, fwhm, profile, eta)
    heights = area / fwhm
    assert np.abs(coarse - expected).max() < m * TOLERANCE * heights.max()


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("offset", [0.0, 0.3, 0.5, 0.81])
def test_a_rendered_peak_keeps_its_area_and_its_place(profile, offset):
    grid = TwoThetaGrid(20, 60, 0.01)
    centre, area, fwhm = 40 + offset * grid.step, 3.0, 0.4
    one = np.ones((1, 1))
    y = render(grid, centre * one, area * one, fwhm * one, profile, 0.5, 1e-7)[0]
    x = grid.two_theta
    reach = 20.0
    inside = 2 / np.pi * np.arctan(2 * reach / fwhm)  # of a Lorentzian; the others lose less
    assert area * inside * (1 - 1e-4) < y.sum() * grid.step < area * (1 + 1e-4)
    near = np.abs(x - centre) < 1.5 * fwhm + 0.2 * grid.step
    y = y.astype(float) * near
    assert (x * y).sum() / y.sum() == pytest.approx(centre, abs=0.1 * grid.step)
    assert width_at_half(x[near], y[near]) == pytest.approx(fwhm, rel=2e-3)


def test_peaks_outside_the_grid_contribute_their_tails_only():
    width = np.full((1, 1), 0.2)
    area = np.ones((1, 1))
    for centre in (GRID.start - 0.1, GRID.stop + 0.1):
        y = render(GRID, np.array([[centre]]), area, width)[0]
        assert np.allclose(y, gaussian(GRID.two_theta - centre, 0.2), atol=TOLERANCE * 6)
        assert 0 < y.sum() * GRID.step < 0.2
    for centre in (GRID.start - 5, GRID.stop + 5, -30.0, 170.0):
        assert not render(GRID, np.array([[centre]]), area, width).any()


def test_a_peak_narrower_than_the_grid_keeps_its_area():
    y = render(GRID, np.array([[30.013]]), np.array([[2.0]]), np.array([[1e-4]]))[0]
    assert y.sum() * GRID.step == pytest.approx(2, rel=0.01)
    assert width_at_half(GRID.two_theta, y) == pytest.approx(2 * GRID.step, rel=0.15)


def test_nothing_to_render():
    assert not render(GRID, np.zeros((2, 3)), np.zeros((2, 3)), np.ones((2, 3))).any()
    with pytest.raises(DataError, match="profile must be one of gaussian"):
        render(GRID, np.zeros((1, 1)), np.ones((1, 1)), np.ones((1, 1)), "triangle")


def test_crystallite_size_widens_by_scherrer():
    # K lambda / (D cos theta) = 0.9 * 1.54184 / (200 * cos 15 degrees) = 0.0071830 rad.
    assert scherrer_fwhm(np.radians(15), 20, 1.54184) == pytest.approx(0.41156, abs=1e-5)
    sizes = (10.0, 40.0)
    for size in sizes:
        variation = replace(FIXED, domain_size=(size, size))
        pattern = simulate([RUTILE], 1, variation, TwoThetaGrid(23, 32, 0.01)).intensity[0]
        theta = np.arcsin(1.54184 * np.sqrt(2) / 4.5937 / 2)  # of 110
        by_hand = np.degrees(0.9 * 0.154184 / (size * np.cos(theta)))
        x = TwoThetaGrid(23, 32, 0.01).two_theta
        assert width_at_half(x, pattern.astype(float)) == pytest.approx(by_hand, rel=1e-3)


def test_microstrain_and_instrument_widen_by_their_formulas():
    table = reflections(RUTILE, 0.9)
    huge = 1e9
    two_theta, _, fwhm = peaks(
        table, drawn_as(table, domain_size=huge, micro_strain=0.002), FIXED, CU
    )
    tangent = np.tan(np.radians(two_theta / 2))
    assert np.allclose(fwhm, np.degrees(4 * 0.002 * tangent), rtol=1e-6)
    u, v, w = 0.03, -0.02, 0.01
    _, _, fwhm = peaks(table, drawn_as(table, domain_size=huge, caglioti=(u, v, w)), FIXED, CU)
    assert np.allclose(fwhm**2, u * tangent**2 + v * tangent + w, rtol=1e-6)
    # Contributions add in squares.
    both = drawn_as(table, domain_size=15, caglioti=(u, v, w))
    size = np.degrees(0.9 * 0.154184 / (15 * np.cos(np.radians(two_theta / 2))))
    assert np.allclose(peaks(table, both, FIXED, CU)[2] ** 2, fwhm**2 + size**2)


def test_doublet_lies_where_bragg_has_it_two_to_one():
    table = reflections(RUTILE, 0.9)
    single = peaks(table, drawn_as(table), FIXED, CU)
    two_theta, area, _ = peaks(table, drawn_as(table), replace(FIXED, k_alpha2=True), CU)
    d = 1.54184 / 2 / np.sin(np.radians(single[0][0] / 2))
    r = len(d)
    assert np.allclose(two_theta[0, :r], 2 * np.degrees(np.arcsin(1.540593 / 2 / d)))
    assert np.allclose(two_theta[0, r:], 2 * np.degrees(np.arcsin(1.544427 / 2 / d)))
    assert np.allclose(area[0, :r], 2 * area[0, r:])
    assert np.allclose(area[0, :r] + area[0, r:], single[1][0])

    # End to end: 321 of rutile near 82.4 degrees, drawn sharply, shows both lines.
    grid = TwoThetaGrid(81.7, 83.2, 0.005)
    fine = replace(FIXED, k_alpha2=True, domain_size=(300, 300))
    y = simulate([RUTILE], 1, fine, grid).intensity[0].astype(float)
    tops = np.flatnonzero((y[1:-1] > y[:-2]) & (y[1:-1] > y[2:])) + 1
    tops = tops[np.argsort(-y[tops])][:2]
    d = 1 / np.sqrt((9 + 4) / 4.5937**2 + 1 / 2.9587**2)
    wanted = [2 * np.degrees(np.arcsin(k / 2 / d)) for k in (1.540593, 1.544427)]
    assert np.allclose(grid.two_theta[tops], wanted, atol=0.006)
    assert y[tops[1]] / y[tops[0]] == pytest.approx(0.5, abs=0.02)


def test_doublet_of_a_single_wavelength_is_one_line():
    one = simulate([RUTILE], 1, FIXED, GRID, wavelength=1.2)
    two = simulate([RUTILE], 1, replace(FIXED, k_alpha2=True), GRID, wavelength=1.2)
    assert np.array_equal(one.intensity, two.intensity)


def test_zero_shift_and_displacement_move_peaks_by_their_formulas():
    table = reflections(RUTILE, 0.9)
    still = peaks(table, drawn_as(table), FIXED, CU)[0][0]
    moved = peaks(table, drawn_as(table, zero_shift=0.07), FIXED, CU)[0][0]
    assert np.allclose(moved - still, 0.07)
    cosine = np.cos(np.radians(still / 2))
    for radius in (150.0, 240.0):
        variation = replace(FIXED, radius=radius)
        moved = peaks(table, drawn_as(table, displacement=0.1), variation, CU)[0][0]
        assert np.allclose(moved - still, np.degrees(2 * 0.1 * cosine / radius))
    # End to end, at the first line: a sample too high appears at larger angles.
    grid = TwoThetaGrid(24, 31, 0.01)
    x = grid.two_theta
    centres = []
    for variation in (FIXED, replace(FIXED, zero_shift=(0.2, 0.2), displacement=(0.3, 0.3))):
        y = simulate([RUTILE], 1, variation, grid).intensity[0].astype(float)
        centres.append((x * y).sum() / y.sum())
    by_hand = 0.2 + np.degrees(2 * 0.3 * np.cos(np.radians(centres[0] / 2)) / 200)
    assert centres[1] - centres[0] == pytest.approx(by_hand, abs=1e-3)


@pytest.mark.parametrize("bragg_angle", [12.0, 35.0, 60.0])
@pytest.mark.parametrize("height", [0.2, -0.2])
def test_a_sample_too_high_moves_peaks_as_its_rays_do(bragg_angle, height):
    """Bragg-Brentano: source and detector stand at theta on a circle around the axis.

    The beam aims at the axis, meets the raised surface before it, and is diffracted by twice the
    Bragg angle. Where must the detector stand to see it?
    """
    radius, turn = 200.0, np.radians(2 * bragg_angle)

    def misses(theta):
        meets = np.array([-height / np.tan(theta), height])
        seen = radius * np.array([np.cos(theta), np.sin(theta)]) - meets
        return theta + np.arctan2(seen[1], seen[0]) - turn

    theta = brentq(misses, 0.8 * turn / 2, 1.2 * turn / 2)
    shift = np.degrees(2 * theta) - 2 * bragg_angle
    formula = peak_shift(np.radians(bragg_angle), 0.0, height, radius)
    assert shift == pytest.approx(formula, rel=0.01)
    assert np.sign(shift) == np.sign(height), "Too high means larger angles."


@pytest.mark.parametrize("r", [0.3, 0.7, 1.0, 1.6, 3.0])
def test_march_dollase_conserves_intensity(r):
    mean, _ = quad(lambda cosine: march_dollase(cosine**2, r), 0, 1)
    assert mean == pytest.approx(1, abs=1e-9)
    assert march_dollase(1.0, r) == pytest.approx(r**-3)
    assert march_dollase(0.0, r) == pytest.approx(r**1.5)
    if r == 1:
        assert np.allclose(march_dollase(np.linspace(0, 1, 5), r), 1)


def test_texture_of_rutile_by_hand():
    table = reflections(RUTILE, 1.2)
    variation = replace(FIXED, texture=0.5)
    plain = peaks(table, drawn_as(table), FIXED, CU)[1][0]
    r, a, c = 0.7, 4.5937, 2.9587

    def factor(hkl, axis):
        drawn = drawn_as(table, texture_r=r, texture_axis=axis)
        return (peaks(table, drawn, variation, CU)[1][0] / plain)[place(table, *hkl)]

    def by_hand(cos_squared):
        return (r**2 * cos_squared + (1 - cos_squared) / r) ** -1.5

    part_of_c = (1 / c**2) / (1 / a**2 + 1 / c**2)  # cos^2 between 101 and 001
    assert factor((1, 1, 0), (0, 0, 1)) == pytest.approx(by_hand(0))
    assert factor((0, 0, 2), (0, 0, 1)) == pytest.approx(by_hand(1))
    assert factor((1, 0, 1), (0, 0, 1)) == pytest.approx(by_hand(part_of_c))
    # Along 100 the equivalents differ: 101 leans towards the axis, 011 is normal to it.
    assert factor((1, 1, 0), (1, 0, 0)) == pytest.approx(by_hand(0.5))
    expected = (by_hand(1 - part_of_c) + by_hand(0)) / 2
    assert factor((1, 0, 1), (1, 0, 0)) == pytest.approx(expected)


def test_texture_in_a_monoclinic_cell_by_hand():
    """The texture axis is a plane normal: in an oblique cell not the cell vector of its indices."""
    phase = next(p for p in PHASES if p.name == "beta-TiO2")
    table = reflections(phase, 1.5)
    reciprocal = phase.structure.lattice.reciprocal_lattice_crystallographic.matrix
    r, axis = 1.4, np.array([1, 0, 1])
    drawn = drawn_as(table, texture_r=r, texture_axis=axis)
    factor = (
        peaks(table, drawn, replace(FIXED, texture=0.5), CU)[1][0]
        / peaks(table, drawn_as(table), FIXED, CU)[1][0]
    )
    normal = axis @ reciprocal
    for i, (h, k, m) in enumerate(table.hkl):
        # 2/m: hkl and h -k l, with their Friedel mates.
        normals = np.array([(h, k, m), (h, -k, m)]) @ reciprocal
        cosine = normals @ normal / np.linalg.norm(normals, axis=1) / np.linalg.norm(normal)
        weights = (r**2 * cosine**2 + (1 - cosine**2) / r) ** -1.5
        assert factor[i] == pytest.approx(weights.mean(), rel=1e-6)


def test_texture_is_drawn_as_strong_as_stated():
    table = reflections(RUTILE, 1.5)
    drawn = draw(table, ORIGINAL, 4000, np.random.default_rng(1))
    along, across = march_dollase(1.0, drawn["texture_r"]), march_dollase(0.0, drawn["texture_r"])
    weakest = np.minimum(along, across) / np.maximum(along, across)
    assert np.allclose(weakest, 1 - drawn["texture"])
    assert 0.2 <= weakest.min() < 0.21 and weakest.max() > 0.99
    assert 0.45 < (drawn["texture_r"] < 1).mean() < 0.55  # plates and needles


@pytest.mark.parametrize("variation", [ORIGINAL, REALISTIC], ids=["original", "realistic"])
def test_draws_fill_their_ranges(variation):
    table = reflections(PHASES[1], 1.5)
    drawn = draw(table, variation, 4000, np.random.default_rng(2))
    for name in ("domain_size", "micro_strain", "eta", "zero_shift", "displacement"):
        low, high = getattr(variation, name)
        span = 0.02 * (high - low)
        assert low <= drawn[name].min() <= low + span, name
        assert high - span <= drawn[name].max() <= high, name
    for column, (low, high) in zip(drawn["caglioti"].T, variation.caglioti, strict=True):
        assert low <= column.min() and column.max() <= high
    largest = np.abs(drawn["strain"]).max(axis=0)
    assert np.allclose(largest.diagonal(), variation.strain, rtol=0.02)
    assert largest[0, 2] == pytest.approx(variation.strain / 2, rel=0.02)


def test_reflections_reach_as_far_as_strain_brings_them():
    """At the extreme corners of the strain, none of the grid's reflections is missing."""
    needed = 1.3
    for phase in (RUTILE, PHASES[1], TRICLINIC):
        table = reflections(phase, needed, strain=0.04)
        for signs in np.random.default_rng(0).choice([-1, 1], (20, len(table.strain_basis))):
            strain = np.einsum("k,kij->ij", 0.04 * signs, table.strain_basis)
            wide = reflections(phase, needed / 1.3)
            inverse = np.linalg.inv(wide.lattice @ (np.eye(3) + strain))
            counts = []
            for some in (table, wide):
                seen = np.linalg.norm(some.hkl @ inverse.T, axis=1) <= 1 / needed
                counts.append(some.multiplicity[seen].sum())
            assert counts[0] == counts[1]


@pytest.mark.parametrize("phase", [*PHASES, TRICLINIC], ids=lambda phase: phase.name)
def test_strained_patterns_equal_pymatgens_sticks(phase):
    """Whole patterns: pymatgen on each strained structure, drawn as plain sums of Gaussians."""
    grid = TwoThetaGrid(20, 70, 0.02)
    variation = replace(FIXED, strain=0.04, domain_size=(25, 25))
    found = simulate([phase], 4, variation, grid, seed=5)
    for intensity, strain in zip(found.intensity, found.parameters["strain"], strict=True):
        assert np.abs(strain).max() > 1e-3
        lattice = Lattice(phase.structure.lattice.matrix @ (np.eye(3) + strain))
        structure = Structure(lattice, phase.structure.species, phase.structure.frac_coords)
        sticks = XRDCalculator(1.54184).get_pattern(structure, two_theta_range=(15, 75))
        width = np.degrees(0.9 * 1.54184 / (250 * np.cos(np.radians(sticks.x / 2))))
        expected = (sticks.y * gaussian(grid.two_theta[:, None] - sticks.x, width)).sum(axis=1)
        assert np.abs(intensity - expected / expected.max()).max() < 5e-3


def test_patterns_are_clean_and_labelled():
    found = simulate(PHASES, 3, REALISTIC, GRID)
    assert found.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3
    assert found.names == tuple(phase.name for phase in PHASES) and found.grid == GRID
    assert np.isfinite(found.intensity).all() and (found.intensity >= 0).all()
    assert np.allclose(found.intensity.max(axis=1), 1)
    assert found.intensity.dtype == np.float32


def assert_same(one, other):
    assert np.array_equal(one.intensity, other.intensity)
    assert np.array_equal(one.labels, other.labels) and one.names == other.names
    assert one.parameters.keys() == other.parameters.keys()
    for key, values in one.parameters.items():
        assert np.array_equal(values, other.parameters[key]), key


def test_same_seed_same_bits_with_a_progress_bar_or_without():
    settings = (PHASES[2:4], BLOCK + 2, REALISTIC, TwoThetaGrid(25, 35, 0.1), "Cu")
    alone, told = simulate(*settings, seed=7), []

    def bar(batches, total):
        for batch in batches:
            told.append((len(batch), total))
            yield batch

    assert len(alone) == 2 * (BLOCK + 2) and alone.wavelength == CU.mean
    assert_same(simulate(*settings, seed=7, progress=bar), alone)
    assert told == [(BLOCK, 4), (BLOCK, 4), (2, 4), (2, 4)]
    assert not np.array_equal(simulate(*settings, seed=8).intensity, alone.intensity)
    assert simulate(PHASES[:1], 1, grid=GRID, wavelength="Co").wavelength == 1.79026


def test_batches_are_the_same_patterns_the_phases_taking_turns():
    settings = (PHASES[2:4], BLOCK + 2, ORIGINAL, TwoThetaGrid(25, 35, 0.1))
    blocks = list(simulate_batches(*settings, seed=7))
    assert [(b.labels[0], len(b)) for b in blocks] == [(0, BLOCK), (1, BLOCK), (0, 2), (1, 2)]
    joined = PatternSet.concatenate([*blocks[::2], *blocks[1::2]])
    assert_same(joined, simulate(*settings, seed=7))


def test_no_two_patterns_blocks_or_phases_are_drawn_alike():
    tetragonal = [PHASES[0], PHASES[3]]  # as many free parameters, so as many random numbers
    found = simulate(tetragonal, 2 * BLOCK, ORIGINAL, TwoThetaGrid(25, 35, 0.1))
    for name in ("domain_size", "texture"):
        assert len(np.unique(found.parameters[name])) == 4 * BLOCK


def test_streaming_holds_a_few_blocks_only():
    grid = TwoThetaGrid(20, 60, 0.02)
    block_bytes = BLOCK * grid.n_points * 4

    def peak(blocks):
        tracemalloc.start()
        count = sum(len(b) for b in simulate_batches([RUTILE], blocks * BLOCK, ORIGINAL, grid))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == blocks * BLOCK
        return most

    few, many = peak(4), peak(12)
    assert many - few < block_bytes / 2


@pytest.mark.parametrize(
    "name, value",
    [("strain", -0.01), ("strain", 0.5), ("strain", float("nan"))]
    + [("texture", 1.0), ("texture", -0.1)]
    + [("domain_size", (0, 10)), ("domain_size", (30, 20)), ("domain_size", (1, np.inf))]
    + [("micro_strain", (0.1, 0.0)), ("micro_strain", (-0.1, 0.1))]
    + [("profile", "triangle"), ("eta", (0.5, 1.2)), ("eta", (0.9, 0.1)), ("radius", 0)]
    + [("caglioti", ((0, 1), (0, 1))), ("caglioti", (1, 0, 0)), ("k_alpha2", "yes")],
)
def test_impossible_variations_are_refused(name, value):
    with pytest.raises(DataError, match=f"{name} must be .*; got"):
        Variation(**{name: value})


def test_nothing_to_simulate():
    for phases, n in (([], 3), (PHASES, 0), (PHASES, -1)):
        with pytest.raises(DataError, match="at least one phase and one pattern"):
            simulate(phases, n)
    with pytest.raises(DataError, match="rutile has no reflection up to 10 degrees"):
        simulate([RUTILE], 1, grid=TwoThetaGrid(5, 10, 0.01))


def test_a_range_between_peaks_stays_empty_and_finite():
    found = simulate([RUTILE], 2, FIXED, TwoThetaGrid(29, 33, 0.01)).intensity
    assert not found.any() or np.isfinite(found).all()
    first = lines(RUTILE).two_theta[0]
    assert not simulate([RUTILE], 1, FIXED, TwoThetaGrid(first + 3, first + 5, 0.1)).intensity.any()


@pytest.mark.parametrize(
    "settings",
    [
        {"domain_size": 12},
        {"domain_size": "4-12"},
        {"zero_shift": 0.1},
        {"eta": (0, None)},
        {"strain": "1%"},
        {"texture": (0, 1)},
    ],
)
def test_a_setting_of_the_wrong_kind_is_a_sentence(settings):
    with pytest.raises(DataError, match=f"{next(iter(settings))} must be"):
        Variation(**settings)
