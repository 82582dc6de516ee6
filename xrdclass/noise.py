"""What a diffractometer adds to a pattern: scattering by air, background, counting statistics."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from .errors import DataError
from .patterns import PatternSet
from .settings import Settings, setting


@dataclass(frozen=True)
class Noise(Settings):
    """Ranges, (smallest, largest), of what is added to clean patterns.

    Air, background and hump are heights in parts of the pattern's strongest point, drawn evenly;
    counts evenly in the logarithm. The standard deviation of N counts is sqrt(N): 10,000 counts
    mean noise of 1 %, 400 counts of 5 %.
    """

    air: tuple = setting(
        (0.0, 0.3), "scattering by air at the first angle, from where it falls", high=1e9
    )
    background: tuple = setting((0.0, 0.3), "the highest point of a random smooth curve", high=1e9)
    hump: tuple = setting((0.0, 0.1), "the top of an amorphous hump", high=1e9)
    counts: tuple = setting((400.0, 10_000.0), "of the strongest point above all that", 1e-9, 1e12)

    @classmethod
    def from_relative(cls, low: float, high: float) -> Noise:
        """Counting noise between two parts of the strongest point, such as 0.01 and 0.05."""
        if not 1e-6 <= low <= high < 1:
            raise DataError(
                "Noise is two parts of the strongest point between 1e-6 and 1, rising; got "
                f"{low} and {high}."
            )
        return cls(counts=(high**-2, low**-2))


def air_scattering(two_theta, decay=10.0) -> np.ndarray:
    """Scattering by air: 1 at the first angle, falling exponentially over ``decay`` degrees."""
    two_theta = np.asarray(two_theta, dtype=float)
    return np.exp(-(two_theta - two_theta[0]) / decay)


def chebyshev_background(two_theta, coefficients) -> np.ndarray:
    """A smooth curve between 0 and 1: a Chebyshev series over the range, shifted and scaled.

    ``two_theta`` (points,) in degrees, ``coefficients`` (n, degree + 1); the result is
    (n, points), and zeros where the series is constant.
    """
    x = np.interp(two_theta, (two_theta[0], two_theta[-1]), (-1, 1))
    coefficients = np.atleast_2d(coefficients)
    curve = coefficients @ np.polynomial.chebyshev.chebvander(x, coefficients.shape[1] - 1).T
    curve -= curve.min(axis=1, keepdims=True)
    top = curve.max(axis=1, keepdims=True)
    return curve / np.where(top > 0, top, 1)


def amorphous_hump(two_theta, centre, fwhm) -> np.ndarray:
    """A broad Gaussian of height 1, as glass or a polymer gives it.

    ``centre`` and ``fwhm`` in degrees, floats or (n,); the result is (n, points) or (points,).
    """
    centre, fwhm = np.asarray(centre)[..., None], np.asarray(fwhm)[..., None]
    return np.exp(-4 * np.log(2) * ((two_theta - centre) / fwhm) ** 2)


def poisson_counts(expected, rng) -> np.ndarray:
    """Counts of a detector that expects this many: whole numbers, mean = variance = expected.

    Below eight they are drawn one by one. Above, each is the whole part of a function of a normal
    number z, many times as fast: the first terms of Giles 2016, doi 10.1145/2699466. Half a million
    counts show no difference. `DataError` if something negative or not finite is expected.
    """
    expected = np.asarray(expected, float)
    counts = _counts(expected.ravel(), np.random.default_rng(rng))
    return counts.astype(np.int64).reshape(expected.shape)


def _counts(expected, rng) -> np.ndarray:
    if not (expected.min(initial=0) >= 0 and expected.max(initial=0) < np.inf):  # nor NaN
        raise DataError("Expected counts must be finite and not negative.")
    z = _normal(expected.size, rng).reshape(expected.shape)
    t = z / np.sqrt(np.maximum(expected, 1))
    counts = (1 + t) * expected + (z * z + 2) * ((t / 270 - 1 / 72) * t + 1 / 6)
    counts = np.maximum(np.floor(counts), 0)
    few = expected < 8
    counts[few] = rng.poisson(expected[few])
    return counts


def _normal(n: int, rng) -> np.ndarray:
    """Normal numbers, float32: sums of two, each chosen by 16 random bits."""
    bits = rng.integers(0, 2**64, (n + 1) // 2, np.uint64).view(np.uint16)[: 2 * n]
    halves = np.take(_levels(), bits)
    return halves[:n] + halves[n:]


@functools.cache
def _levels() -> np.ndarray:  # equally probable, of variance 1/2
    return np.float32([NormalDist(0, 0.5**0.5).inv_cdf((i + 0.5) / 2**16) for i in range(2**16)])


def add_noise(patterns: PatternSet, noise: Noise = Noise(), seed: int = 0) -> PatternSet:  # noqa: B008
    """Patterns as a detector would count them: in counts, never negative.

    Only the shape of the clean patterns matters: each is scaled to its strongest point. The
    result's ``parameters`` hold also air, background, hump and counts. The same seed gives the
    same counts bit for bit.
    """
    grid, n, every = patterns.grid, len(patterns), max(round(0.2 / patterns.grid.step), 1)
    rng = np.random.Generator(np.random.SFC64(seed))  # the fastest of NumPy's
    drawn = {key: rng.uniform(*getattr(noise, key), n) for key in ("air", "background", "hump")}
    drawn["counts"] = np.exp(rng.uniform(*np.log(noise.counts), n))
    decay, series = rng.uniform(3, 20, (n, 1)), rng.normal(size=(n, 7)) / np.arange(1, 8)
    centre, fwhm = rng.uniform(15, 40, n), rng.uniform(5, 15, n)

    # What is smooth is computed every 0.2 degrees, with straight lines in between.
    knots = grid.start + grid.step * every * np.arange(grid.n_points // every + 2)
    knots = np.minimum(knots, grid.two_theta[-1])
    falling = 1 - np.arange(every) / every
    intensity = np.empty_like(patterns.intensity)
    for start in range(0, n, 32):  # so many fit a core's cache
        rows = slice(start, start + 32)
        air, background, hump, counts = (values[rows, None] for values in drawn.values())
        smooth = air * air_scattering(knots, decay[rows])
        smooth += background * chebyshev_background(knots, series[rows])
        smooth += hump * amorphous_hump(knots, centre[rows], fwhm[rows])
        ends = counts[..., None] * np.stack([smooth[:, :-1], smooth[:, 1:]], axis=-1)
        smooth = (ends @ [falling, 1 - falling]).reshape(len(ends), -1)[:, : grid.n_points]
        clean = patterns.intensity[rows]
        strongest = clean.max(axis=1, keepdims=True)
        scale = counts / np.where(strongest > 0, strongest, 1)
        expected = clean * scale.astype(np.float32) + smooth.astype(np.float32)
        intensity[rows] = _counts(expected, rng)
    return replace(patterns, intensity=intensity, parameters={**patterns.parameters, **drawn})
