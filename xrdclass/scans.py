"""Measured scans: from the files that diffractometers and databases write to `Scan`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .diffraction import radiation
from .errors import DataError, ScanError
from .files import instruments, reading, text
from .files.reading import AXES, MAX_BYTES, NotAScan
from .files.wavelengths import in_angstrom
from .files.writing import check_size, read_limited

EXPECTED = "a powder scan, lines of two numbers: 2θ in degrees, then intensity"


@dataclass(frozen=True, eq=False)
class Scan:
    """One powder scan. The arrays are copies and cannot be written to.

    Attributes
    ----------
    two_theta, intensity : float64, (n,), finite: degrees, increasing; counts or another unit
    name : the file's name without its ending, or any other title
    path : the file, if there is one
    wavelength : Å, None if nobody states it
    metadata : what the file's ``##KEY=value`` lines state, keys in capitals
    warnings : sentences about what was assumed and what looks odd
    source : the format, and of text the columns that were taken

    Raises
    ------
    ScanError
        If the arrays are not as described.
    """

    two_theta: np.ndarray
    intensity: np.ndarray
    name: str = ""
    path: Path | None = None
    wavelength: float | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self):
        for key in ("two_theta", "intensity"):
            values = np.array(getattr(self, key), dtype=np.float64)
            values.flags.writeable = False
            object.__setattr__(self, key, values)
        object.__setattr__(self, "metadata", dict(self.metadata))
        object.__setattr__(self, "warnings", tuple(self.warnings))
        x, y = self.two_theta, self.intensity
        if x.ndim != 1 or x.shape != y.shape or x.size == 0:
            shapes = f"arrays of the shapes {x.shape} and {y.shape}"
            raise ScanError(f"A scan needs one intensity for each angle; got {shapes}.")
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise ScanError("A scan's numbers must be finite; got NaN or infinity. Remove them.")
        if (np.diff(x) <= 0).any():
            raise ScanError("A scan's angles must increase from point to point. Sort them.")
        if self.wavelength is not None and not 0.01 <= self.wavelength <= 100:
            raise ScanError(f"A wavelength in Å was expected; got {self.wavelength}.")

    def __len__(self) -> int:
        return self.two_theta.size


def read_scan(path, wavelength=None, axis=None, columns=None, scan=None) -> Scan:
    """Read a powder scan from a text or instrument file, whatever its ending says.

    Columns are taken by their names; without names, the first is 2θ and the second intensity.
    q, d and θ become 2θ by Bragg's law, λ = 2 d sin θ and q = 2π/d.

    Parameters
    ----------
    path : the file; README lists the formats
    wavelength : a name such as "Co" or Å, used instead of what the file states
    axis : what the angles are if they are not 2θ: "theta", "q" (1/Å), "q_nm" (1/nm) or "d" (Å)
    columns : two numbers, from 1, or names: the columns of angles and of intensities
    scan : which one, from 1, of a file with several

    Raises
    ------
    ScanError
        If the file cannot be read or is no powder scan. No other error comes from its content.
    """
    content = read_limited(path, MAX_BYTES, ScanError, EXPECTED)
    return parse_scan(content, path, wavelength, axis, columns, scan)


def parse_scan(content: bytes, path, wavelength=None, axis=None, columns=None, scan=None) -> Scan:
    """Like `read_scan`, for a file's content; ``path`` gives the name and is not opened."""
    if wavelength is not None:
        radiation(wavelength)  # it is the caller's fault if that is none
    if axis not in (None, *AXES):
        raise DataError(f"An axis is one of {', '.join(AXES)}; got {axis!r}.")
    path = Path(path)
    check_size(len(content), MAX_BYTES, path, ScanError, EXPECTED)
    try:
        with np.errstate(all="ignore"):  # the checks come after the arithmetic
            content = reading.gunzipped(content)
            found = instruments.read(content, columns)
            one = reading.chosen(found or text.read(content, columns, axis is not None), scan)
            axis = reading.checked_axis(one, axis)
            length = _length(one.wavelength if wavelength is None else wavelength, one.warnings)
            if axis in ("q", "q_nm", "d") and length is None:
                length = radiation("Cu").mean  # d stays what it is, whatever it is shown with
            two_theta = _by_bragg(one.x, axis, length)
            if axis != "2theta":
                instead = " Say axis='2theta' (--axis) if it was 2θ." if axis == "theta" else ""
                one.warnings.append(f"Its axis, {AXES[axis]}, was converted to 2θ.{instead}")
            two_theta, intensity = reading.ordered(two_theta, one.y)
    except NotAScan as problem:
        found = " ".join(problem.found.split())  # on one line, whatever stands in the file
        raise ScanError(f"{path}: expected {EXPECTED}; found {found}. {problem.advice}.") from None
    # The file's name without its ending, as text that can be shown, whatever its bytes are.
    name = os.fsencode(path.stem).decode("utf-8", "replace")
    notes = [*one.warnings, *reading.oddities(two_theta, intensity)]
    return Scan(two_theta, intensity, name, path, length, one.metadata, notes, one.source)


def _length(value, notes: list[str]) -> float | None:
    """A wavelength in Å; an anode's name gives its mean K-alpha wavelength."""
    if value is None:
        return None
    try:
        found = radiation(value)  # checks it, too
        return round(in_angstrom(str(value)) or found.mean, 6)
    except DataError:
        notes.append(f"The file states the radiation {ascii(value)}, which is not known here.")
        return None


def _by_bragg(values: np.ndarray, axis: str, wavelength: float) -> np.ndarray:
    """2θ in degrees, from λ = 2 d sin θ and q = 2π/d; NaN where the wavelength cannot reach."""
    if axis in ("theta", "2theta"):
        return values * (2 if axis == "theta" else 1)
    d = values if axis == "d" else 2 * np.pi / values * (10 if axis == "q_nm" else 1)
    return np.degrees(2 * np.arcsin(wavelength / (2 * d)))
