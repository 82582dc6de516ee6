"""What is said of one measured scan, and how a scan is brought to a network's grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .diffraction import Radiation, convert_two_theta, radiation
from .errors import DataError
from .patterns import TwoThetaGrid, resample
from .scans import Scan


@dataclass(frozen=True)
class Finding:
    """What a network says of one scan.

    Attributes
    ----------
    name : of the scan
    phases : names of the phases found, none: ()
    foreign : whether there are peaks that none of the phases explains; a `training.Classifier`,
        with one answer out of several, cannot know, and always says False
    probability : for each phase, 0...1
    warnings : sentences about what makes the answer doubtful
    two_theta, signal : float, (points,), degrees and intensities: what a classifier was shown of
        the scan, where it has data; what an identifier fitted
    wavelength, wavelength_source : Å, and who said so: "given" by the caller, "stated" by the
        file, or "assumed"
    threshold : a phase is named from this probability on; None if the likeliest always is
    foreign_probability : that there are such peaks; None of a classifier
    refinement : the `identify.refinement.Refinement` that an identifier's answer rests on: weights,
        cells, sizes, what is unexplained or missing; None of a classifier
    """

    name: str
    phases: tuple[str, ...]
    foreign: bool
    probability: dict[str, float]
    warnings: tuple[str, ...]
    two_theta: np.ndarray
    signal: np.ndarray
    wavelength: float
    wavelength_source: str
    threshold: float | None = None
    foreign_probability: float | None = None
    refinement: object | None = None

    @property
    def answer(self) -> str:
        """The answer in words, such as "rutile (0.99), and something else"."""
        found = " + ".join(f"{phase} ({self.probability[phase]:.2f})" for phase in self.phases)
        if not self.foreign:
            return found or "none of the phases"
        return f"{found}, and something else" if found else "none of the phases; something else"


@dataclass(frozen=True)
class GridScan:
    """A scan on a grid: what `on_grid` gives."""

    intensity: np.ndarray  # float32, (grid.n_points,); beyond the scan's ends its outermost one
    covered: np.ndarray  # bool, (grid.n_points,): where the scan has data
    radiation: Radiation  # of the measurement
    source: str  # who said so, as in `Finding`
    warnings: tuple[str, ...]  # the scan's own, and sentences about what was changed


def on_grid(scan: Scan, grid: TwoThetaGrid, wavelength="Cu", measured_with=None) -> GridScan:
    """A scan on a grid, at the angles that another wavelength would have shown.

    Grid and ``wavelength``, a name or Å, are those of the patterns that the scan is to be compared
    with. ``measured_with`` is by default what the scan states, or else ``wavelength``. `DataError`
    if scan and grid do not overlap.
    """
    shown = radiation(wavelength)
    measured = radiation(measured_with or scan.wavelength or shown)
    source = "given" if measured_with else "stated" if scan.wavelength else "assumed"
    two_theta, intensity, warnings = scan.two_theta, scan.intensity, scan.warnings
    if abs(measured.mean - shown.mean) > 1e-3:
        two_theta = convert_two_theta(two_theta, measured, shown)
        reached = np.isfinite(two_theta)
        two_theta, intensity = two_theta[reached], intensity[reached]
        warnings += (
            f"Measured with {measured.name} radiation; its angles were converted to {shown.name}.",
        )
    try:
        values = resample(two_theta, intensity, grid)
    except DataError as error:
        raise DataError(f"{scan.name}: {error}") from None
    covered = (grid.two_theta >= two_theta[0]) & (grid.two_theta <= two_theta[-1])
    return GridScan(values, covered, measured, source, warnings)
