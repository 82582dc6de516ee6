"""What is known of a scan before it is fitted: its noise, its background, where lines may lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from ..simulation import scherrer_fwhm
from .profile import Crystal, Instrument, LineSet

#: Where data above the model stop to count, in standard deviations.
SATURATION = 3.0
#: How far the background is expected to depart from the curve under the peaks, in parts of it.
BACKGROUND_SPREAD = 0.4


def one_sided(r):
    """The loss of residuals r = (data - model) / noise, and the weight that r^2 has in it.

    r^2 where the model lies above the data, r^2 / (1 + r^2 / 9) where data lie above the model.
    """
    saturated = 1 / (1 + (np.maximum(r, 0) / SATURATION) ** 2)
    return r * r * saturated, saturated * saturated


def counting_gain(y, x) -> float:
    """Variance over mean of the intensities: 1 for counts, less for scans that were smoothed.

    From second differences of blocks of one, two and four points, so that interpolated points
    are not taken for independent ones; a peak's flank counts no more than four sigma.
    """
    step, gains = np.median(np.diff(x)), []
    for size in (1, 2, 4):
        if size > 1 and (len(y) < 12 * size or size * step > 0.1):
            break
        block = y[: len(y) // size * size].reshape(-1, size).sum(axis=1)
        square = (block[:-2] - 2 * block[1:-1] + block[2:]) ** 2 / 6
        mean = np.convolve(np.maximum(block, 0), np.ones(9) / 9, "same")[1:-1]
        low = mean <= np.quantile(mean, 0.8)
        square, mean = square[low], np.maximum(mean[low], 1e-12 * max(np.abs(y).max(), 1e-30))
        gain = square.sum() / mean.sum()
        for _ in range(8):
            gain = np.minimum(square, 16 * gain * mean).sum() / mean.sum()
        gains.append(gain)
    return max(gains)


@dataclass(eq=False)
class Measured:
    """A scan as the fit sees it."""

    x: np.ndarray  # float, (n,), degrees
    y: np.ndarray  # intensities, and their variance
    variance: np.ndarray
    step: float  # degrees, the width of intervals that the points are means of; 0 if they are not
    counting: tuple[float, float]  # variance over mean of single points, least mean reckoned with
    splines: np.ndarray  # float, (n, m), smooth functions that make up the background
    expected: np.ndarray  # float, (m,), coefficients of a curve under the peaks
    stiffness: np.ndarray  # float, (m, m), what it costs to depart from them

    @property
    def floor(self) -> np.ndarray:
        """A background to start from, (n,)."""
        return self.splines @ self.expected


def prepare(
    x, y, coarsest: float = 0.02, softness: float = 0.0, before: Measured | None = None
) -> Measured:
    """Noise and background of a scan.

    Points finer than ``coarsest`` degrees are averaged. With a ``softness``, intensities above the
    floor count as uncertain by this part of them, and what lies beside them by a third of that, so
    that a fit that is far off finds its way. What is known of the scan from ``before`` is kept.
    """
    low, high = x[[0, -1]]
    counting = gain, least = before.counting if before else _counting(x, y)
    step = float(np.median(np.diff(x)))
    size = int(max(1, np.floor(coarsest / step + 1e-6)))
    index = np.arange(len(x))  # since the last gap in the scan: no mean reaches across one
    index -= np.maximum.accumulate(np.where(np.diff(x, prepend=x[0]) > 3 * step, index, 0))
    first = np.flatnonzero(index % size == 0)
    size = np.diff(np.append(first, len(x)))
    x, y = (np.add.reduceat(v, first) / size for v in (x, y))
    spacing = float(np.median(np.diff(x)))
    half = int(np.clip(round(0.06 / spacing), 1, 6))
    smooth = uniform_filter1d(np.maximum(y, 0), 2 * half + 1, mode="nearest")
    variance = gain / size * np.maximum(smooth, least / size)
    splines = background_splines(x, low, high)
    second = np.diff(np.eye(splines.shape[1]), 2, axis=0)
    roughness = second.T @ second * (1e-4 * (splines**2 / variance[:, None]).sum() / len(splines.T))
    expected = before.expected if before else lower_envelope(y, variance, splines, roughness)
    spread = BACKGROUND_SPREAD * np.abs(expected) + np.sqrt(variance.min())
    stiffness = roughness + np.diag(spread**-2)
    if softness:
        above = np.maximum(smooth - splines @ expected, 0)
        near = maximum_filter1d(above, 2 * int(0.6 / spacing) + 1)
        variance = variance + softness**2 * (above**2 + 0.1 * near**2)
    step = spacing if size.max() > 1 else 0.0
    return Measured(x, y, variance, step, counting, splines, expected, stiffness)


def _counting(x, y) -> tuple[float, float]:
    """Variance over mean of single points, and the least mean that is reckoned with."""
    gain = counting_gain(y, x)
    top = max(y.max(), np.ptp(y), 1e-3 * np.abs(y).max()) or 1.0
    # Nobody counts more than two million at a point: such a scan was calculated or smoothed.
    return (1e-4 * top, 0.1 * top) if gain < 5e-7 * top else (gain, gain)


def background_splines(x, low: float, high: float) -> np.ndarray:
    """Cubic splines over a range, (n, m): some 2 degrees wide at small angles, 7 at large ones."""
    low, high = np.sqrt([max(low, 0), high])
    n = int(np.clip(np.ceil((high - low) / 0.45), 2, 24))
    knots = np.linspace(low, high, n + 1) ** 2
    knots = np.concatenate([[knots[0]] * 3, knots, [knots[-1]] * 3])
    return BSpline(knots, np.eye(n + 3), 3)(np.clip(x, knots[0], knots[-1]))


def lower_envelope(y, variance, splines, roughness) -> np.ndarray:
    """A smooth curve under the peaks, (m,): least squares that count points above it at 2 %."""
    every = max(1, len(y) // 1500)
    y, weight, splines = y[::every], every / variance[::every], splines[::every]
    curve = y
    for i in range(10):
        part = weight * np.where(y > curve, 0.02 if i else 1, 1)
        a = splines.T * part
        found = np.linalg.solve(a @ splines + roughness, a @ y)
        curve = splines @ found
    return found


#: Widths of the blurs through which lines are looked for, degrees; each level halves the steps.
BLURS = (0.6, 0.3, 0.15)
#: Trials kept for each shift after each level.
KEPT = (5, 3, 1)
#: Most trials at first; a tenth of them around each kept one.
TRIALS = 900
#: Lines that vote, and which of the scales that they ask for are tried: quantiles.
VOTERS, PARTS = 12, np.array([0.15, 0.35, 0.55, 0.75, 1.0])


@dataclass(frozen=True, eq=False)
class Blur:
    """A scan above its floor, blurred by a Gaussian, on an even axis; float32, in a unit."""

    width: float
    low: float
    step: float
    unit: float
    signal: np.ndarray
    noise: np.ndarray

    def at(self, angles):
        """Signal and noise at the nearest points, and whether the scan reaches there."""
        index = np.rint((angles - self.low) / self.step).astype(int)
        inside = (index >= 0) & (index < len(self.signal))
        index = np.clip(index, 0, len(self.signal) - 1)
        return np.where(inside, self.signal[index], 0), self.noise[index], inside


def blurred(measured: Measured, width: float) -> Blur:
    """The scan seen through a blur of a full width at half maximum in degrees."""
    step = width / 6
    x = np.arange(measured.x[0], measured.x[-1], step)
    kernel = np.exp(-4 * np.log(2) * (np.arange(-9, 10) / 6) ** 2)
    kernel /= kernel.sum()
    cumulated = np.concatenate([[0], np.cumsum(measured.y - measured.floor)])
    edges = np.searchsorted(measured.x, [x - step / 2, x + step / 2])
    count = edges[1] - edges[0]
    mean = (cumulated[edges[1]] - cumulated[edges[0]]) / np.maximum(count, 1)
    between = np.interp(x, measured.x, measured.y - measured.floor)
    signal = _smoothed(np.where(count > 0, mean, between), kernel)
    variance = np.interp(x, measured.x, measured.variance) / np.maximum(count, 1)
    spacing = max(1.0, np.median(np.diff(measured.x)) / step)
    noise = np.sqrt(_smoothed(variance, kernel**2) * spacing)
    unit = float(np.sqrt(np.median(measured.variance)))
    signal, noise = ((values / unit).astype(np.float32) for values in (signal, noise))
    return Blur(width, x[0], step, unit, signal, noise)


def _smoothed(values, kernel) -> np.ndarray:
    """A convolution as long as the values, though they be fewer than the kernel's."""
    half = len(kernel) // 2
    return np.convolve(np.pad(values, half, mode="edge"), kernel, "valid")


@dataclass(frozen=True, eq=False)
class Starts:
    """Where a phase's lines may lie, for each of several shifts.

    Attributes
    ----------
    score : float, (shifts,), what its lines gain, -inf where nothing was tried
    strain : float, (shifts, k)
    scale : float, (shifts,), its scale if its lines are narrow
    """

    score: np.ndarray
    strain: np.ndarray
    scale: np.ndarray


def find_starts(lines: LineSet, blurs, shifts, cell_range: float, displaced: bool) -> Starts:
    """Cells for which most lines of a phase meet a peak of fitting height, shift by shift.

    Every line votes, with the one-sided loss, for each trial; trials are refined from broad blurs
    of the scan to narrow ones.
    """
    k = len(lines.basis)
    theta, slope = lines.places(np.zeros(k))
    moves = np.column_stack([np.cos(theta) if displaced else np.ones_like(theta), slope])
    step = np.array([(shifts[-1] - shifts[0]) / 4] + [cell_range / 2] * k)
    trials = _corners(np.arange(-2, 3), k + 1, TRIALS) * step
    for level, (blur, kept) in enumerate(zip(blurs, KEPT, strict=True)):
        voters = _apart(lines, 0.8 * blur.width)
        place = lines.two_theta[voters] + trials @ moves[voters].T
        signal, noise, inside = blur.at(place)
        distance = lines.two_theta[voters][:, None] - lines.two_theta
        height = np.exp(-4 * np.log(2) * (distance / (1.2 * blur.width)) ** 2) @ lines.area
        height = height.astype(np.float32)
        votes, scale = _votes(signal, noise, height, inside)
        votes = votes - 0.5 * ((trials / step) ** 2 / 4).sum(axis=1)
        order = np.argsort(-votes)
        nearest = np.abs(trials[order, :1] - shifts).argmin(axis=1)
        # The best few of each shift, and what lies between them on a lattice twice as fine.
        best = [order[nearest == i][:kept] for i in range(len(shifts))]
        if level + 1 < len(blurs):
            step = step / 2
            finer = (
                trials[np.concatenate(best)][:, None]
                + _corners(np.arange(-1, 2), k + 1, TRIALS // 10) * step
            )
            trials = finer.reshape(-1, k + 1)
    first = np.array([b[0] if len(b) else -1 for b in best])
    score = np.where(first < 0, -np.inf, votes[first])
    return Starts(score, trials[first, 1:], scale[first] * blur.unit * blur.width / 0.94)


def _corners(values, n: int, most: int) -> np.ndarray:
    """The points of a lattice in n dimensions, (points, n), or so many of them, evenly spread."""
    total = len(values) ** n
    chosen = np.arange(total)
    if total > most:
        # Multiples of the golden section, modulo 1, leave no large gaps.
        golden = (np.arange(1, most) * 0.6180339887498949) % 1
        chosen = np.unique([*(golden * total).astype(int), total // 2])
    return values[(chosen[:, None] // len(values) ** np.arange(n)) % len(values)]


def _apart(lines: LineSet, distance: float) -> list[int]:
    """The strongest lines, none nearer to a stronger one than a distance in degrees."""
    chosen: list[int] = []
    for j in np.argsort(-lines.area):
        if all(abs(lines.two_theta[j] - lines.two_theta[c]) > distance for c in chosen):
            chosen.append(j)
        if len(chosen) == VOTERS:
            break
    return chosen


def _votes(signal, noise, height, inside):
    """What explaining the lines gains at the best scale, and that scale, for each trial.

    Scales are tried that fit one of the lines exactly: where foreign peaks lie upon some, the
    others still agree on one.
    """
    scales = np.sort(np.where(inside, signal / height, 0), axis=1)
    scales = np.maximum(scales[:, np.rint(PARTS * (scales.shape[1] - 1)).astype(int)], 0)
    gains = []
    nothing = one_sided(signal / noise)[0]
    for scale in scales.T:
        expected = scale[:, None] * height
        wide = np.sqrt(noise**2 + (np.float32(0.25) * expected) ** 2)
        gains.append(((nothing - one_sided((signal - expected) / wide)[0]) * inside).sum(axis=1))
    best = np.argmax(gains, axis=0)
    return np.max(gains, axis=0), scales[np.arange(len(best)), best]


#: A further shift is tried if it is so far off, in degrees, and has this part of the most votes.
SECOND = 0.08, 0.6


class Search:
    """Where each phase's lines may lie in a scan; see `find_starts`.

    Attributes
    ----------
    shifts : float, (shifts,), degrees, that were tried
    found : `Starts` of each phase
    """

    def __init__(self, measured: Measured, lines, cell_range, shift_range, displaced=True):
        self.lines, self.displaced = lines, displaced
        self.blurs = [blurred(measured, width) for width in BLURS]
        self.shifts = np.linspace(-shift_range, shift_range, 17)
        self.found = [
            find_starts(line, self.blurs, self.shifts, cell_range, displaced) for line in lines
        ]

    def likely_shifts(self, phases, most: int = 2) -> list[float]:
        """The shifts that most lines of these phases (places in the list) vote for."""
        votes = sum(np.maximum(self.found[i].score, 0) for i in phases)
        chosen: list[float] = []
        for at in np.argsort(-votes):
            if len(chosen) == most or votes[at] < SECOND[1] * votes.max():
                break
            if all(abs(self.shifts[at] - other) > SECOND[0] for other in chosen):
                chosen.append(float(self.shifts[at]))
        return chosen

    def crystal(self, i: int, shift: float) -> Crystal:
        """The phase ``i`` as it may be if the shift is this one."""
        line, starts, at = self.lines[i], self.found[i], np.abs(self.shifts - shift).argmin()
        probe = Crystal(1.0, starts.strain[at])
        place = line.shapes(probe, Instrument(shift, 0.0, self.displaced))[0]
        width = _width(line, place, self.blurs)
        size = scherrer_fwhm(0.35, 1.0, line.source.mean) / max(width, 0.1)
        return Crystal(
            scale=starts.scale[at] * np.hypot(1, width / BLURS[-1]),
            strain=starts.strain[at],
            log_size=float(np.log(np.clip(size, 2.5, 60))),
        )


def _width(lines: LineSet, place, blurs) -> float:
    """Width of the strongest lines, degrees, from how much a broad blur lowers them."""
    strong = [j for j in _apart(lines, 2 * BLURS[0])[:6]]
    (broad, _, inside), (narrow, noise, _) = blurs[0].at(place[strong]), blurs[-1].at(place[strong])
    clear = inside & (narrow > 4 * noise) & (broad > 0)
    if not clear.any():
        return 0.25
    q = np.clip(np.median(narrow[clear] / broad[clear]), 1.03, 0.98 * BLURS[0] / BLURS[-1]) ** 2
    return float(np.sqrt((BLURS[0] ** 2 - q * BLURS[-1] ** 2) / (q - 1)))
