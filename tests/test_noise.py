"""Counting statistics with tolerances from their standard errors; the shapes that are added."""

import numpy as np
import pytest
from scipy import stats

from xrdclass.errors import DataError
from xrdclass.noise import (
    Noise,
    add_noise,
    air_scattering,
    amorphous_hump,
    chebyshev_background,
    poisson_counts,
)
from xrdclass.patterns import PatternSet, TwoThetaGrid

GRID = TwoThetaGrid(10, 60, 0.05)
NOTHING_ELSE = {"air": (0, 0), "background": (0, 0), "hump": (0, 0)}


def patterns(n=6, level=0.0):
    """One peak of height 1 at 30 degrees on a flat level."""
    one = np.exp(-(((GRID.two_theta - 30) / 0.2) ** 2))
    return PatternSet(np.tile(np.maximum(one, level), (n, 1)), np.zeros(n), ("a",), GRID)


@pytest.mark.parametrize("expected", [0.2, 0.5, 3.0, 40.0, 5000.0])
def test_counts_have_mean_and_variance_as_expected(expected):
    n = 200_000
    counts = poisson_counts(np.full(n, expected), 3)
    assert counts.dtype.kind == "i" and counts.min() >= 0
    # Standard errors of the mean and of the variance of n Poisson counts; five of them.
    assert abs(counts.mean() - expected) < 5 * np.sqrt(expected / n)
    assert abs(counts.var() - expected) < 5 * np.sqrt((expected + 2 * expected**2) / n)


@pytest.mark.parametrize("expected", [0.3, 2.5, 7.9, 8, 9, 12, 40, 300, 10_000])
def test_counts_follow_poissons_law(expected):
    """Each number of counts as often as the law says, by Pearson's chi-squared."""
    follows(poisson_counts(np.full(300_000, expected), 1), expected)


def test_rare_counts_are_as_frequent_as_they_should_be():
    """Four million: some hundred lie more than four standard deviations away."""
    follows(poisson_counts(np.full(4_000_000, 1000.0), 2), 1000)


@pytest.mark.parametrize("strongest", [4.0, 9.0, 30.0, 900.0])
def test_noisy_patterns_follow_poissons_law(strongest):
    noise = Noise(**NOTHING_ELSE, counts=(strongest, strongest))
    follows(add_noise(patterns(300, level=1), noise).intensity.ravel().astype(int), strongest)


def follows(counts, expected):
    """Numbers of counts that are expected less than ten times are taken together."""
    law = stats.poisson(expected)
    low, high = (end(10 / counts.size) for end in (law.ppf, law.isf))
    kept = np.clip(counts, low, high).astype(int) - int(low)
    times = len(counts) * law.pmf(np.arange(low, high + 1))
    times[0], times[-1] = len(counts) * law.cdf(low), len(counts) * law.sf(high - 1)
    assert stats.chisquare(np.bincount(kept, minlength=len(times)), times).pvalue > 1e-4


def test_a_low_flat_baseline_is_not_biased():
    """Half a count expected: normal noise clipped at zero would lift the baseline by 0.1."""
    n, strongest = 400, 100.0
    noise = Noise(**NOTHING_ELSE, counts=(strongest, strongest))
    found = add_noise(patterns(n, level=0.5 / strongest), noise)
    baseline = found.intensity[:, GRID.two_theta > 40].astype(float)
    assert abs(baseline.mean() - 0.5) < 5 * np.sqrt(0.5 / baseline.size)
    error = np.sqrt((0.5 + 2 * 0.5**2) / baseline.size)
    assert abs(baseline.var() - 0.5) < 5 * error
    top = found.intensity.max(axis=1).astype(float)
    assert abs(np.median(top) - strongest) < 30


def test_noise_of_a_part_of_the_strongest_peak():
    assert Noise.from_relative(0.01, 0.05).counts == pytest.approx((400, 10_000))
    noise = Noise(**NOTHING_ELSE, counts=Noise.from_relative(0.05, 0.05).counts)
    found = add_noise(patterns(3000), noise).intensity.astype(float)
    peak = found[:, np.argmax(patterns(1).intensity[0])]
    relative = peak.std() / peak.mean()
    assert relative == pytest.approx(0.05, abs=5 * 0.05 / np.sqrt(2 * 3000))


def test_noisy_patterns_are_counts_and_keep_what_is_known():
    clean = patterns(35)
    clean.parameters["domain_size"] = np.arange(len(clean), dtype=float)
    found = add_noise(clean, seed=1)
    assert (found.intensity >= 0).all() and np.array_equal(
        found.intensity, np.rint(found.intensity)
    )
    assert found.intensity.dtype == np.float32
    assert np.array_equal(found.parameters["domain_size"], clean.parameters["domain_size"])
    assert np.array_equal(found.labels, clean.labels) and found.grid == GRID
    for name in ("air", "background", "hump", "counts"):
        low, high = getattr(Noise(), name)
        values = found.parameters[name]
        assert (low <= values).all() and (values <= high).all()
        assert len(np.unique(values)) == len(values)


def test_background_is_added_at_the_drawn_height():
    flat = PatternSet(np.zeros((500, GRID.n_points)), np.zeros(500), ("a",), GRID)
    counts = (1e6, 1e6)
    for name in ("air", "background", "hump"):
        noise = Noise(**{**NOTHING_ELSE, name: (0.2, 0.4)}, counts=counts)
        found = add_noise(flat, noise)
        top = found.intensity.max(axis=1) / 1e6
        assert np.allclose(top, found.parameters[name], rtol=0.02), name


def test_same_seed_same_counts():
    one, same, other = (add_noise(patterns(34), seed=seed) for seed in (4, 4, 5))
    assert np.array_equal(one.intensity, same.intensity)
    assert not np.array_equal(one.intensity, other.intensity)
    assert not np.array_equal(one.intensity[0], one.intensity[1])
    assert not np.array_equal(one.intensity[0], one.intensity[32])


def test_the_scale_of_clean_patterns_does_not_matter():
    clean = patterns(3)
    larger = clean.with_intensity(clean.intensity * 4096)
    assert np.array_equal(add_noise(clean).intensity, add_noise(larger).intensity)


def test_empty_sets_and_empty_patterns():
    assert len(add_noise(patterns(0))) == 0
    zero = patterns(2).with_intensity(np.zeros((2, GRID.n_points)))
    assert not add_noise(zero, Noise(**NOTHING_ELSE)).intensity.any()


def test_air_scattering_falls_by_e_over_the_decay():
    values = air_scattering(np.array([5.0, 15.0, 25.0]), decay=10)
    assert values == pytest.approx([1, np.exp(-1), np.exp(-2)])


def test_chebyshev_background_lies_between_0_and_1():
    rng = np.random.default_rng(0)
    curves = chebyshev_background(GRID.two_theta, rng.normal(size=(200, 7)))
    assert curves.shape == (200, GRID.n_points)
    assert np.allclose(curves.min(axis=1), 0) and np.allclose(curves.max(axis=1), 1)
    # T1 is a straight line from one end to the other, T2 = 2 x^2 - 1 a parabola.
    x = np.linspace(-1, 1, GRID.n_points)
    assert np.allclose(chebyshev_background(GRID.two_theta, [0, 1])[0], (x + 1) / 2)
    assert np.allclose(chebyshev_background(GRID.two_theta, [3, 0, 1])[0], x**2)
    assert not chebyshev_background(GRID.two_theta, [2.0]).any()


def test_amorphous_hump_has_its_centre_and_width():
    values = amorphous_hump(np.array([20.0, 25.0, 30.0]), 25.0, 10.0)
    assert values == pytest.approx([0.5, 1, 0.5])
    assert amorphous_hump(GRID.two_theta, np.array([20, 30]), np.array([5, 9])).shape == (
        2,
        GRID.n_points,
    )


@pytest.mark.parametrize("expected", [[-0.1, 1], [np.nan], [np.inf]])
def test_impossible_expectations_are_refused(expected):
    with pytest.raises(DataError, match="must be finite and not negative"):
        poisson_counts(expected, 0)


def test_negative_patterns_are_refused_not_clipped():
    clean = patterns(1)
    clean.intensity[0, 3] = -0.5
    with pytest.raises(DataError, match="not negative"):
        add_noise(clean, Noise(**NOTHING_ELSE))


@pytest.mark.parametrize(
    "settings",
    [{"air": (-0.1, 0.1)}, {"hump": (0.2, 0.1)}, {"background": (0, float("nan"))}]
    + [{"background": (0, float("inf"))}, {"counts": (0, 100)}, {"counts": (100, 1e20)}],
)
def test_impossible_noise_is_refused(settings):
    with pytest.raises(DataError, match=f"{next(iter(settings))} must be"):
        Noise(**settings)


@pytest.mark.parametrize("parts", [(0, 0.1), (0.1, 0.05), (0.1, 1), (-0.1, 0.1), (1e-200, 0.1)])
def test_impossible_parts_are_refused(parts):
    with pytest.raises(DataError, match="parts of the strongest point"):
        Noise.from_relative(*parts)


@pytest.mark.parametrize("settings", [{"counts": 300}, {"air": "0.1"}, {"hump": (0, 1, 2)}])
def test_a_setting_of_the_wrong_kind_is_a_sentence(settings):
    with pytest.raises(DataError, match=f"{next(iter(settings))} must be a range"):
        Noise(**settings)
