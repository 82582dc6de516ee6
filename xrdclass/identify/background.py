"""Scans above their background, and what the network is shown of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .mixtures import MIXTURE_GRID

#: Two steps of the mixtures' grid are one step of everything that follows.
STEP = 2 * MIXTURE_GRID.step
N_POINTS = (MIXTURE_GRID.n_points - 1) // 2
TWO_THETA = MIXTURE_GRID.start + MIXTURE_GRID.step / 2 + STEP * np.arange(N_POINTS)


@dataclass(frozen=True)
class Lifted:
    """Scans above their background.

    Attributes
    ----------
    signal : float32, (n, N_POINTS), the strongest point 1
    covered : bool, (n, N_POINTS)
    """

    signal: np.ndarray
    covered: np.ndarray

    @property
    def network_input(self) -> np.ndarray:
        """What the network sees: the signal's square root, and where there are data."""
        root = np.sqrt(np.maximum(self.signal, 0))
        return np.stack([root, self.covered], axis=-1).astype(np.float32)


def above_background(counts, covered) -> Lifted:
    """Take the background away from scans on `MIXTURE_GRID`, and halve their points.

    The background is found by SNIP (Ryan et al. 1988, Nucl. Instrum. Methods B34, 396-402) on
    means of 0.1 degrees, with windows of up to 6 degrees to either side.

    Parameters
    ----------
    counts : float, (n, MIXTURE_GRID.n_points)
    covered : bool, the same shape, one stretch in each row
    """
    points = np.arange(counts.shape[1])
    first = covered.argmax(axis=1)[:, None]
    last = (counts.shape[1] - 1 - covered[:, ::-1].argmax(axis=1))[:, None]
    y = np.take_along_axis(counts, np.clip(points, first, last), 1)[:, : 2 * N_POINTS]
    y = np.maximum(y, 0).astype(np.float32)  # of a scan that somebody took a background from
    y = y * np.float32(1e4) / np.maximum(y.max(axis=1, keepdims=True), 1e-12)
    coarse = y.reshape(len(y), -1, 5).mean(axis=2)
    n = coarse.shape[1]
    ends = np.clip(first // 5, 0, n - 1), np.clip(last // 5, 0, n - 1)
    edge = np.pad(coarse, ((0, 0), (2, 2)), mode="edge")
    coarse = sum(w * edge[:, i : i + n] for i, w in enumerate((1, 2, 3, 2, 1))) / np.float32(9)
    base = _snip(coarse, *ends)
    place = (np.arange(y.shape[1]) - 2) / 5
    left = np.clip(np.floor(place).astype(int), 0, n - 2)
    part = np.clip(place - left, 0, 1).astype(np.float32)
    background = base[:, left] * (1 - part) + base[:, left + 1] * part
    pairs = (len(y), N_POINTS, 2)
    inside = covered[:, : 2 * N_POINTS].reshape(pairs).all(axis=2)
    signal = (y - background).reshape(pairs).mean(axis=2) * inside
    return Lifted(signal / np.maximum(signal.max(axis=1, keepdims=True), 1e-9), inside)


#: Distances of the neighbours, steps of 0.1 degrees. Each clips a hump as well as peaks; a few
#: distances, each about 0.7 times the last, take the peaks away and leave most of a hump.
_CLIPPING = (60, 42, 30, 21, 15, 10, 7, 5, 3, 2, 1)


def _snip(y, first, last) -> np.ndarray:
    """The background below peaks, by clipping to the mean of neighbours ever nearer.

    Beyond its ends ``first`` and ``last``, (n, 1), a scan goes on as its point reflection, or its
    mirror image where that is higher: a slope that stopped there would be taken for a peak.
    """
    v = np.log(np.log(np.sqrt(np.maximum(y, 0) + 1) + 1) + 1)
    reach = _CLIPPING[0]
    points = np.arange(-reach, y.shape[1] + reach)
    inside = np.clip(points, first, last)
    mirrored = np.take_along_axis(v, np.clip(2 * inside - points, first, last), 1)
    v = np.maximum(2 * np.take_along_axis(v, inside, 1) - mirrored, mirrored)
    for k in _CLIPPING:
        middle = v[:, k:-k]
        np.minimum(middle, (v[:, : -2 * k] + v[:, 2 * k :]) / 2, out=middle)
    v = np.maximum(v[:, reach:-reach], np.log(np.log(2) + 1))
    return (np.exp(np.exp(v) - 1) - 1) ** 2 - 1
