"""Grids, sets of patterns, scaling and resampling: numbers on a two-theta axis, no physics."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from .diffraction import radiation
from .errors import DataError
from .files.writing import write_safely


@dataclass(frozen=True)
class TwoThetaGrid:
    """An even two-theta axis in degrees; its last point is the one nearest to ``stop``.

    `DataError` if the step is not positive or the range is empty or outside 0-180 degrees.

    >>> TwoThetaGrid(5, 90, 0.01).n_points
    8501
    """

    start: float = 5.0
    stop: float = 90.0
    step: float = 0.01

    def __post_init__(self):
        if not (0 <= self.start < self.stop < 180 and 0 < self.step < self.stop - self.start):
            raise DataError(
                "A two-theta grid needs 0 <= start < stop < 180 degrees and a positive step that "
                f"fits in between; got {self.start} to {self.stop} in steps of {self.step}."
            )

    @property
    def n_points(self) -> int:
        return round((self.stop - self.start) / self.step) + 1

    @property
    def two_theta(self) -> np.ndarray:
        """float64, (n_points,), degrees."""
        return self.start + self.step * np.arange(self.n_points)

    def to_dict(self) -> dict:
        return asdict(self)


DEFAULT_GRID = TwoThetaGrid()
#: Patterns that are drawn together, from one random stream. Part of what a seed means.
BLOCK = 128
#: What a set has of each pattern, beside its parameters.
EACH = ("intensity", "labels", "validation")
#: What the name of a parameter begins with in a file.
PARAMETER = "parameter_"


@dataclass
class PatternSet:
    """Patterns on one grid, with what is known of each.

    Attributes
    ----------
    intensity : float32, shape (n, grid.n_points)
    labels : int64, shape (n,); an index into ``names``
    names : tuple of the phases' names, in the order of the labels
    grid : TwoThetaGrid
    parameters : dict of arrays whose first axis is n: what was drawn for each pattern
    wavelength : float, Å, that the angles are for; a name such as "Cu" stands for its mean
    validation : bool, shape (n,), kept out of training to check it; none by default
    """

    intensity: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    grid: TwoThetaGrid = DEFAULT_GRID
    parameters: dict[str, np.ndarray] = field(default_factory=dict)
    wavelength: float = "Cu"
    validation: np.ndarray | None = None

    def __post_init__(self):
        self.intensity = np.asarray(self.intensity, dtype=np.float32)
        self.labels = np.asarray(self.labels, dtype=np.int64)
        self.names = tuple(str(name) for name in self.names)
        self.wavelength = radiation(self.wavelength).mean
        n = len(self.labels)
        if self.intensity.shape != (n, self.grid.n_points):
            raise DataError(
                f"A pattern set of {n} labels on this grid needs intensities of shape "
                f"{(n, self.grid.n_points)}; got {self.intensity.shape}."
            )
        if n and not 0 <= self.labels.min() <= self.labels.max() < len(self.names):
            raise DataError(
                f"Labels must lie between 0 and {len(self.names) - 1}, one for each of "
                f"{', '.join(self.names)}; got {self.labels.min()} to {self.labels.max()}."
            )
        kept_out = np.zeros(n) if self.validation is None else self.validation
        self.validation = np.asarray(kept_out, dtype=bool)
        for key, values in {**self.parameters, "validation": self.validation}.items():
            if len(values) != n:
                raise DataError(f"Parameter {key!r} has {len(values)} values for {n} patterns.")

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, index) -> PatternSet:
        """The patterns at ``index`` (integers, a slice or a mask)."""
        arrays = {key: getattr(self, key)[index] for key in EACH}
        parameters = {key: values[index] for key, values in self.parameters.items()}
        return replace(self, parameters=parameters, **arrays)

    def with_intensity(self, intensity) -> PatternSet:
        """The same patterns with other intensities, shape (n, grid.n_points)."""
        return replace(self, intensity=intensity)

    @classmethod
    def concatenate(cls, sets: Sequence[PatternSet]) -> PatternSet:
        """One set out of several of the same grid, names and wavelength, else `DataError`."""
        if len({(s.grid, s.names, s.wavelength) for s in sets}) > 1:
            raise DataError("Only pattern sets of one grid, names and wavelength can be joined.")
        keys = [k for k in sets[0].parameters if all(k in s.parameters for s in sets)]
        arrays = {k: np.concatenate([getattr(s, k) for s in sets]) for k in EACH}
        parameters = {k: np.concatenate([s.parameters[k] for s in sets]) for k in keys}
        return replace(sets[0], parameters=parameters, **arrays)

    def save(self, path, overwrite: bool = False) -> Path:
        """Write a compressed ``.npz`` file without pickled objects; return its path.

        `DataError` if the file exists and ``overwrite`` is false, or cannot be written.
        """
        arrays = {f"{PARAMETER}{key}": values for key, values in self.parameters.items()}
        arrays |= {key: value for key, value in vars(self).items() if key != "parameters"}
        arrays |= {"names": np.array(self.names, dtype=str), "grid": json.dumps(asdict(self.grid))}

        def write(file):
            buffer = io.BytesIO()  # older NumPy complains later if the disk fills while it writes
            np.savez_compressed(buffer, **arrays)
            file.write(buffer.getbuffer())

        return write_safely(path, write, overwrite)

    @classmethod
    def load(cls, path) -> PatternSet:
        """Read a file that `save` wrote; `DataError` if it is missing or is no pattern set."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            names = [key for key in arrays if key.startswith(PARAMETER)]
            parameters = {name.removeprefix(PARAMETER): arrays.pop(name) for name in names}
            grid = TwoThetaGrid(**json.loads(str(arrays.pop("grid"))))
            if "wavelength" not in arrays:
                raise DataError(f"{path} does not say for which wavelength; simulate it again.")
            return cls(**arrays, grid=grid, parameters=parameters)
        except FileNotFoundError:
            raise DataError(f"There is no file {path}; expected patterns saved as .npz.") from None
        except DataError:
            raise
        except Exception as error:
            reason = str(error).rstrip(".")
            raise DataError(
                f"{path} is not a pattern set (.npz from 'xrdclass simulate'): {reason}."
            ) from None


def min_max_scale(intensity) -> np.ndarray:
    """Scale each pattern to 0...1; a flat pattern becomes zeros.

    Of (points,) or (n, points) the result is float32 of the same shape; `DataError` if a pattern
    has no points or holds NaN or infinity.

    >>> min_max_scale([2.0, 4.0, 3.0]).tolist()
    [0.0, 1.0, 0.5]
    """
    intensity = np.asarray(intensity)
    if intensity.dtype != np.float32:
        intensity = intensity.astype(float)
    if intensity.ndim == 0 or intensity.shape[-1] == 0:
        raise DataError("A pattern without points cannot be scaled.")
    low = intensity.min(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        span = intensity.max(axis=-1, keepdims=True) - low
    if not np.isfinite(span).all():
        raise DataError("A pattern that holds NaN or infinity cannot be scaled; remove them first.")
    return ((intensity - low) / np.where(span > 0, span, 1)).astype(np.float32, copy=False)


def resample(two_theta, intensity, grid: TwoThetaGrid = DEFAULT_GRID) -> np.ndarray:
    """A scan's intensity, (m,), at increasing angles, on a grid: float32, (grid.n_points,).

    Between the scan's points the intensity is interpolated linearly. Where the scan is finer than
    the grid, the points nearest to each grid point are averaged, so that no counts are thrown
    away. Beyond the scan's ends its outermost intensity is carried on. `DataError` if scan and
    grid do not overlap.
    """
    two_theta = np.asarray(two_theta, dtype=float)
    intensity = np.asarray(intensity, dtype=float)
    if two_theta.size == 0 or two_theta[-1] < grid.start or two_theta[0] > grid.stop:
        seen = f"{two_theta[0]:g} to {two_theta[-1]:g}" if two_theta.size else "no angles"
        raise DataError(
            f"The scan ({seen} degrees) does not overlap the grid "
            f"({grid.start:g} to {grid.stop:g} degrees)."
        )
    axis = grid.two_theta
    values = np.interp(axis, two_theta, intensity)
    if two_theta.size > 1 and np.median(np.diff(two_theta)) < 0.75 * grid.step:
        nearest = np.rint((two_theta - grid.start) / grid.step).astype(int)
        inside = (nearest >= 0) & (nearest < grid.n_points)
        count = np.bincount(nearest[inside], minlength=grid.n_points)
        total = np.bincount(nearest[inside], intensity[inside], minlength=grid.n_points)
        values = np.where(count > 0, total / np.maximum(count, 1), values)
    return values.astype(np.float32)


def split(patterns: PatternSet, fraction: float, seed=0) -> tuple[PatternSet, PatternSet]:
    """Split at random into two sets, the second with ``fraction`` of each label's patterns."""
    if not 0 < fraction < 1:
        raise DataError(f"The fraction to split off must lie between 0 and 1; got {fraction}.")
    rng = np.random.default_rng(seed)
    second = np.zeros(len(patterns), dtype=bool)
    for label in np.unique(patterns.labels):
        members = rng.permutation(np.flatnonzero(patterns.labels == label))
        second[members[: round(fraction * len(members))]] = True
    return patterns.subset(~second), patterns.subset(second)
