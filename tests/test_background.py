"""Scans above their background: peaks survive, units and missing ranges do not matter."""

import numpy as np
import pytest
from samples import TWO, X, scan_of

from xrdclass.identify.background import N_POINTS, TWO_THETA, Lifted, above_background
from xrdclass.identify.foreign import invent_crystals
from xrdclass.identify.mixtures import MIXTURE_GRID, MixtureSource


def test_the_axis_is_pairs_of_the_mixtures_points():
    pairs = MIXTURE_GRID.two_theta[: 2 * N_POINTS].reshape(-1, 2).mean(axis=1)
    assert np.allclose(pairs, TWO_THETA)


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
    lifted = above_background(counts, np.ones(counts.shape, dtype=bool))
    shapes = lifted.signal.shape, lifted.covered.shape
    assert shapes == ((5, N_POINTS),) * 2 and lifted.covered.all()
    assert np.allclose(lifted.signal.max(axis=1), 1)
    places = np.abs(TWO_THETA[:, None] - centres).argmin(axis=0)
    for row, name in zip(lifted.signal, backgrounds, strict=True):
        # A hump or a steep slope is not quite followed; what counts is the height above what is
        # left of it on either side.
        beside = (row[places - 30] + row[places + 30]) / 2
        unit = heights.max() / (row[places] - beside).max()
        assert (row[places] - beside) * unit == pytest.approx(heights, rel=0.03, abs=15), name
        away = np.abs(TWO_THETA[:, None] - centres).min(axis=1) > 1.5
        left = np.abs(row[away]).max() * unit / 1000
        limit = {"none": 0.01, "strong": 0.01, "slope": 0.02, "hump": 0.1, "air": 0.3}[name]
        assert left < limit, name


def test_nothing_lies_outside_the_coverage():
    rng = np.random.default_rng(0)
    counts = rng.poisson(500, (3, X.size)).astype(np.float32)
    covered = np.stack([X >= 20, X <= 60, (X >= 31) & (X <= 47)])
    counts[:, 2500] += 5000 * np.array([1, 0, 0])
    lifted = above_background(counts, covered)
    assert (lifted.signal[~lifted.covered] == 0).all()
    for row, (low, high) in zip(lifted.covered, ((20, 82), (8, 60), (31, 47)), strict=True):
        seen = TWO_THETA[row]
        assert abs(seen[0] - low) < 0.05 and abs(seen[-1] - high) < 0.05
    # What stands outside the coverage changes nothing inside.
    other = np.where(covered, counts, np.float32(77_777))
    assert np.allclose(above_background(other, covered).signal, lifted.signal, atol=1e-6)


@pytest.mark.parametrize("change", [lambda y: y * 1e-6, lambda y: y * 1e6, lambda y: y - 1e-9])
def test_the_unit_of_the_intensity_does_not_matter(change):
    counts = scan_of("rutile", 8, 82).intensity[None]
    covered = np.ones(counts.shape, dtype=bool)
    one, other = above_background(counts, covered), above_background(change(counts), covered)
    assert np.allclose(one.signal, other.signal, atol=1e-5)


def test_intensities_below_zero_are_none():
    """As in scans that somebody took a background from."""
    counts = scan_of("rutile", 8, 82, background=0.001).intensity[None] - 30
    covered = np.ones(counts.shape, dtype=bool)
    assert counts.min() < 0
    one, other = above_background(counts, covered), above_background(counts.clip(0), covered)
    assert np.array_equal(one.signal, other.signal)
    nothing = above_background(0 * counts - 5, covered)
    assert (nothing.network_input[..., 0] == 0).all()


def test_the_network_sees_a_root_and_the_coverage():
    signal = np.array([[-0.5, 0.0, 0.25, 1.0]])
    covered = np.array([[True, False, True, True]])
    seen = Lifted(signal, covered).network_input
    assert seen.dtype == np.float32 and seen.shape == (1, 4, 2)
    assert seen[0, :, 0].tolist() == [0, 0, 0.5, 1] and seen[0, :, 1].tolist() == [1, 0, 1, 1]
    found = MixtureSource(TWO, invent_crystals(3, 8), 0).draw(30)
    seen = above_background(found.counts, found.covered).network_input
    assert seen.min() >= 0 and seen.max() == pytest.approx(1, abs=1e-5) and np.isfinite(seen).all()
