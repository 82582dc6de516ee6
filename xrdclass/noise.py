"""What a diffractometer adds to a pattern: scattering by air, background, counting statistics."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .errors import DataError
from .patterns import BLOCK, PatternSet
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

    Parameters
    ----------
    two_theta : float, (points,), degrees
    coefficients : float, (n, degree + 1)

    Returns
    -------
    float, (n, points); zeros where the series is constant
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

    Raises
    ------
    DataError
        If something negative or not finite is expected.
    """
    expected = np.asarray(expected, dtype=float)
    if not np.isfinite(expected).all() or (expected < 0).any():
        raise DataError("Expected counts must be finite and not negative.")
    return np.random.default_rng(rng).poisson(expected)


def add_noise(patterns: PatternSet, noise: Noise = Noise(), seed: int = 0) -> PatternSet:  # noqa: B008
    """Patterns as a detector would count them.

    Parameters
    ----------
    patterns : clean patterns; only their shape matters, each is scaled to its strongest point
    noise : the ranges to draw from
    seed : the same seed gives the same counts bit for bit

    Returns
    -------
    PatternSet
        Intensities in counts, never negative. Its ``parameters`` hold also air, background, hump
        and counts.
    """
    two_theta = patterns.grid.two_theta
    intensity = np.empty_like(patterns.intensity)
    drawn = {key: np.empty(len(patterns)) for key in ("air", "background", "hump", "counts")}
    for block, start in enumerate(range(0, len(patterns), BLOCK)):
        rows = slice(start, min(start + BLOCK, len(patterns)))
        n = rows.stop - start
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(block,)))
        for key in ("air", "background", "hump"):
            drawn[key][rows] = rng.uniform(*getattr(noise, key), n)
        drawn["counts"][rows] = np.exp(rng.uniform(*np.log(noise.counts), n))
        decay = rng.uniform(3, 20, n)[:, None]
        series = rng.normal(size=(n, 7)) / np.arange(1, 8)
        centre, fwhm = rng.uniform(15, 40, n), rng.uniform(5, 15, n)

        clean = patterns.intensity[rows].astype(float)
        strongest = clean.max(axis=1, keepdims=True)
        expected = clean / np.where(strongest > 0, strongest, 1)
        expected += drawn["air"][rows, None] * air_scattering(two_theta, decay)
        expected += drawn["background"][rows, None] * chebyshev_background(two_theta, series)
        expected += drawn["hump"][rows, None] * amorphous_hump(two_theta, centre, fwhm)
        expected *= drawn["counts"][rows, None]
        intensity[rows] = poisson_counts(expected, rng)
    return replace(patterns, intensity=intensity, parameters={**patterns.parameters, **drawn})
