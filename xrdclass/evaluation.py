"""What a classifier's answers are worth: verdicts on scans, calibration, attention, mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .diffraction import convert_two_theta, radiation
from .errors import DataError
from .patterns import PatternSet, min_max_scale, resample

if TYPE_CHECKING:
    from .phases import Phase
    from .scans import Scan
    from .training import Classifier


@dataclass(frozen=True)
class Verdict:
    """What a classifier says of one scan.

    Attributes
    ----------
    name : of the scan
    phases : names of the phases found, none: ()
    foreign : whether there are peaks that none of the phases explains; a network with one answer
        out of five cannot know, and always says False
    probability : for each phase, 0...1
    warnings : sentences about what makes the verdict doubtful
    """

    name: str
    phases: tuple[str, ...]
    foreign: bool
    probability: dict[str, float]
    warnings: tuple[str, ...] = ()

    @property
    def answer(self) -> str:
        """The answer in words, such as "rutile (0.99), and something else"."""
        found = " + ".join(f"{phase} ({self.probability[phase]:.2f})" for phase in self.phases)
        if not self.foreign:
            return found or "none of the phases"
        return f"{found}, and something else" if found else "none of the phases; something else"


def prepare_scan(scan: Scan, classifier: Classifier, wavelength=None):
    """A scan on a classifier's grid and wavelength, and warnings about what that cost.

    Parameters
    ----------
    wavelength : a name or Å; by default the scan's own, or else the classifier's

    Returns
    -------
    intensity : float32, (grid.n_points,)
    warnings : list of sentences

    Raises
    ------
    DataError
        If the scan does not overlap the classifier's range.
    """
    warnings = []
    two_theta, intensity = scan.two_theta, scan.intensity
    measured = radiation(wavelength or scan.wavelength or classifier.wavelength)
    if abs(measured.mean - classifier.wavelength) > 1e-3:
        two_theta = convert_two_theta(two_theta, measured, classifier.wavelength)
        reached = np.isfinite(two_theta)
        two_theta, intensity = two_theta[reached], intensity[reached]
        warnings.append(
            f"Measured with {measured.name} radiation; its angles were converted to "
            f"{classifier.wavelength:g} Å."
        )
    grid = classifier.grid
    values = resample(two_theta, intensity, grid)
    low, high = max(two_theta[0], grid.start), min(two_theta[-1], grid.stop)
    if high - low < 0.8 * (grid.stop - grid.start):
        warnings.append(
            f"The scan covers {low:.1f} to {high:.1f} degrees of the {grid.start:g} to "
            f"{grid.stop:g} that the network was trained on; the rest was filled with a constant."
        )
    return values, warnings


def identify(classifier: Classifier, scan: Scan, wavelength=None) -> Verdict:
    """The phase that a network with one answer out of several names for a scan.

    Raises
    ------
    DataError
        If the scan does not overlap the classifier's range.
    """
    values, warnings = prepare_scan(scan, classifier, wavelength)
    if np.ptp(values) == 0:
        warnings.append("The scan is flat: no phase can be named.")
    warnings.append(
        f"This network always names one of its {len(classifier.names)} phases, also for a sample "
        "that is none of them."
    )
    probability = classifier.predict(values[None])[0]
    named = (classifier.names[int(probability.argmax())],) if np.ptp(values) else ()
    by_name = {n: float(p) for n, p in zip(classifier.names, probability, strict=True)}
    return Verdict(scan.name, named, False, by_name, tuple(warnings))


def cosine_similarity(patterns, references) -> np.ndarray:
    """Cosine of the angle between patterns and references, each first scaled to 0...1.

    Parameters
    ----------
    patterns : float, (n, points)
    references : float, (m, points)

    Returns
    -------
    float, (n, m), 1 for the same shape
    """
    a, b = min_max_scale(patterns), min_max_scale(references)
    a = a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-12)
    b = b / np.maximum(np.linalg.norm(b, axis=1, keepdims=True), 1e-12)
    return a @ b.T


def occlusion(classifier: Classifier, intensity, label: int, width: float = 2.0):
    """How much the probability of a label falls when part of a pattern is hidden.

    A window slides over the pattern in steps of half its width; what lies in it is replaced by
    the straight line between the window's ends.

    Parameters
    ----------
    intensity : float, (grid.n_points,)
    label : the answer to watch
    width : of the window, degrees

    Returns
    -------
    centres : float, (m,), degrees
    drop : float, (m,), the probability without a window minus that with it
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

    Parameters
    ----------
    probability : float, (n, classes)
    labels : int, (n,)

    Returns
    -------
    certainty, accuracy, count : float, float, int, (filled bins,)
    error : float
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


def mix(patterns: PatternSet, first, second, fraction) -> np.ndarray:
    """Mixtures by intensity: ``fraction`` of one pattern and the rest of another.

    Each pattern is scaled to a strongest point of 1 first, so that the fraction is one of peak
    heights, not of weight.

    Parameters
    ----------
    first, second : int, (n,), indices into ``patterns``
    fraction : float or (n,), of the first

    Returns
    -------
    float32, (n, points)
    """
    fraction = np.broadcast_to(np.asarray(fraction, dtype=np.float32), np.shape(first))[:, None]
    a, b = min_max_scale(patterns.intensity[first]), min_max_scale(patterns.intensity[second])
    return fraction * a + (1 - fraction) * b


def ideal_patterns(phases: Sequence[Phase], grid, wavelength="Cu", domain_size=30.0) -> PatternSet:
    """One pattern a phase, unstrained, without texture, from crystallites of one size (nm)."""
    from .simulation import Variation, simulate

    exact = Variation(strain=0, texture=0, domain_size=(domain_size, domain_size))
    return simulate(phases, 1, exact, grid, wavelength)
