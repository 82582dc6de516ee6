"""What a classifier's answers are worth: likeness, attention, calibration, mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .errors import DataError
from .patterns import PatternSet, min_max_scale

if TYPE_CHECKING:
    from .phases import Phase
    from .training import Classifier


def cosine_similarity(patterns, references) -> np.ndarray:
    """Cosine of the angle between patterns and references, each first scaled to 0...1.

    Of (n, points) and (m, points) the result is (n, m), 1 for the same shape.
    """
    a, b = min_max_scale(patterns), min_max_scale(references)
    a = a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-12)
    b = b / np.maximum(np.linalg.norm(b, axis=1, keepdims=True), 1e-12)
    return a @ b.T


def occlusion(classifier: Classifier, intensity, label: int, width: float = 2.0):
    """How much the probability of a label falls when part of a pattern is hidden.

    A window slides over the pattern in steps of half its width; what lies in it is replaced by
    the straight line between the window's ends. ``intensity`` is (grid.n_points,), ``width`` in
    degrees. Returned are the windows' centres, (m,), degrees, and how far the probability falls.
    """
    grid = classifier.grid
    size = max(2, round(width / grid.step))
    starts = np.arange(0, grid.n_points - size, size // 2)
    hidden = np.repeat(np.asarray(intensity, dtype=np.float32)[None], len(starts) + 1, axis=0)
    for row, start in zip(hidden[1:], starts, strict=True):
        row[start : start + size + 1] = np.linspace(row[start], row[start + size], size + 1)
    probability = classifier.predict(hidden)[:, label]
    return grid.two_theta[starts + size // 2], probability[0] - probability[1:]


def calibration(probability, labels, bins: int = 10):
    """Whether certainties are honest: accuracy against mean certainty, and the expected error.

    Guo et al. (2017), Proc. ICML, PMLR 70, 1321-1330: patterns are sorted into bins by the
    certainty of the answer; the error is the mean gap, weighted by the patterns in each bin.

    ``probability`` is (n, classes), ``labels`` are int, (n,).  Returned are certainty, accuracy and
    count of each filled bin, and the error.
    """
    probability, labels = np.asarray(probability), np.asarray(labels)
    if len(probability) == 0:
        raise DataError("Calibration needs at least one pattern.")
    certainty, right = probability.max(axis=1), probability.argmax(axis=1) == labels
    place = np.minimum((certainty * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    filled = count > 0
    mean_certainty = np.bincount(place, certainty, bins)[filled] / count[filled]
    accuracy = np.bincount(place, right, bins)[filled] / count[filled]
    error = float(np.average(np.abs(mean_certainty - accuracy), weights=count[filled]))
    return mean_certainty, accuracy, count[filled], error


def in_percent(hits, n, text: bool = True):
    """A share in % and its 95 % interval (Wilson 1927, J. Am. Stat. Assoc. 22, 209-212).

    Returns
    -------
    Words such as "90 % (60 to 98)", or without ``text`` the three numbers, nan if ``n`` is 0.

    Examples
    --------
    >>> in_percent(9, 10)
    '90 % (60 to 98)'
    >>> in_percent(0, 20)
    '0 % (0 to 16)'
    """
    z, n, share = 1.96, int(n), int(hits) / n if n else np.nan
    centre = (share + z**2 / 2 / max(n, 1)) / (1 + z**2 / max(n, 1))
    half = np.sqrt(share * (1 - share) / max(n, 1) + z**2 / 4 / max(n, 1) ** 2)
    half *= z / (1 + z**2 / max(n, 1))
    ends = np.clip([centre - half, centre + half], [0, share], [share, 1])
    numbers = tuple(100 * float(v) for v in (share, *ends))
    return "{:.0f} % ({:.0f} to {:.0f})".format(*numbers) if text else numbers


def mix(patterns: PatternSet, first, second, fraction) -> np.ndarray:
    """Mixtures by intensity: ``fraction`` of one pattern and the rest of another.

    Each pattern is scaled to a strongest point of 1 first, so that the fraction is one of peak
    heights, not of weight.  ``first`` and ``second`` are indices into ``patterns``, int, (n,), the
    fraction is one number or (n,); the mixtures are float32, (n, points).
    """
    fraction = np.broadcast_to(np.asarray(fraction, dtype=np.float32), np.shape(first))[:, None]
    a, b = min_max_scale(patterns.intensity[first]), min_max_scale(patterns.intensity[second])
    return fraction * a + (1 - fraction) * b


def ideal_patterns(phases: Sequence[Phase], grid, wavelength="Cu", domain_size=30.0) -> PatternSet:
    """One pattern a phase, unstrained, without texture, from crystallites of one size (nm)."""
    from .simulation import Variation, simulate

    exact = Variation(strain=0, texture=0, domain_size=(domain_size, domain_size))
    return simulate(phases, 1, exact, grid, wavelength)
