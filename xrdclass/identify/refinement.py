"""One whole-pattern fit: background + sum of scale x calculated pattern, for any phases and scan.

The fit counts one-sidedly what is left. Where the model lies above the data it costs r^2, r being
the difference over the noise; where data lie above the model it costs r^2 / (1 + r^2 / 9). Peaks
that no phase owns cost little more than the background's noise and pull nothing, so that foreign
peaks need no model; a line that should be there and is not costs dearly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.interpolate import BSpline

from ..diffraction import RADIATIONS, Radiation, radiation
from ..errors import DataError
from ..phases import Phase
from ..scans import Scan
from .profile import AXES, Crystal, LineSet, PhaseLines, phase_lines

#: Where data above the model stop to count, in standard deviations.
SATURATION = 3.0
#: Parts of the calculated intensity and of the background that are never known better.
INTENSITY_ERROR, BACKGROUND_ERROR = 0.06, 0.002
#: What is expected before the scan is seen, (mean, standard deviation, smallest, largest).
EXPECTED = {
    "log_width": (np.log(0.08), 0.5, np.log(0.02), np.log(0.4)),
    "log_size": (np.log(40.0), 1.2, np.log(1.5), np.log(2000.0)),
    "log_strain": (np.log(4e-4), 1.0, np.log(1e-5), np.log(0.02)),
    "eta": (0.5, 0.3, 0.0, 1.0),
    "extra_b": (0.0, 0.4, -1.0, 2.5),
    "log_r": (0.0, 0.2, -0.7, 0.7),
}
#: Longest step of one iteration.
LONGEST = {
    "log_width": 0.4,
    "log_size": 0.8,
    "log_strain": 0.8,
    "eta": 0.3,
    "extra_b": 0.5,
    "log_r": 0.3,
}


def one_sided(r):
    """The loss of residuals r = (data - model) / noise, and the weight that r^2 has in it."""
    square = r * r
    saturated = 1 / (1 + square / SATURATION**2)
    above = r > 0
    return np.where(above, square * saturated, square), np.where(above, saturated**2, 1.0)


def counting_gain(y, x) -> float:
    """Variance over mean of the intensities: 1 for counts, less for scans that were smoothed.

    From second differences of blocks of one, two and four points, so that interpolated points
    are not taken for independent ones; a peak's flank counts no more than four sigma.
    """
    step, gains = np.median(np.diff(x)), []
    for size in (1, 2, 4):
        if len(y) < 12 * size or (size > 1 and size * step > 0.1):
            break
        block = y[: len(y) // size * size].reshape(-1, size).sum(axis=1)
        square = (block[:-2] - 2 * block[1:-1] + block[2:]) ** 2 / 6
        mean = np.convolve(np.maximum(block, 0), np.ones(9) / 9, "same")[1:-1]
        low = mean <= np.quantile(mean, 0.8)
        square, mean = square[low], np.maximum(mean[low], 1e-12 * max(y.max(), 1e-30))
        gain = square.sum() / mean.sum()
        for _ in range(8):
            gain = np.minimum(square, 16 * gain * mean).sum() / mean.sum()
        gains.append(gain)
    return max(gains)


@dataclass(eq=False)
class Measured:
    """A scan as the fit sees it: x (degrees), y, variance of y, and smooth functions under it."""

    x: np.ndarray
    y: np.ndarray
    variance: np.ndarray
    gain: float
    splines: np.ndarray
    roughness: np.ndarray
    floor: np.ndarray


def prepare(x, y, coarsest: float = 0.02) -> Measured:
    """Noise and background of a scan; points finer than ``coarsest`` degrees are averaged."""
    size = int(max(1, np.floor(coarsest / np.median(np.diff(x)) + 1e-6)))
    gain = counting_gain(y, x)
    if size > 1:
        n = len(x) // size * size
        x, y = (v[:n].reshape(-1, size).mean(axis=1) for v in (x, y))
        gain /= size
    top = max(y.max(), 1e-30)
    gain = max(gain, 1e-6 * top)
    smooth = np.convolve(np.pad(np.maximum(y, 0), 4, mode="edge"), np.ones(9) / 9, "valid")
    variance = gain * np.maximum(smooth, max(gain, 1e-4 * top * (gain <= 2e-6 * top)))
    splines = background_splines(x)
    second = np.diff(np.eye(splines.shape[1]), 2, axis=0)
    roughness = second.T @ second * (1e-4 * (splines**2 / variance[:, None]).sum() / len(splines.T))
    floor = lower_envelope(y, variance, splines, roughness)
    return Measured(x, y, variance, gain, splines, roughness, floor)


def background_splines(x) -> np.ndarray:
    """Cubic splines over a range, (n, m): some 2 degrees wide at small angles, 7 at large ones."""
    low, high = np.sqrt(x[[0, -1]])
    n = int(np.clip(np.ceil((high - low) / 0.45), 2, 24))
    knots = np.linspace(low, high, n + 1) ** 2
    knots = np.concatenate([[knots[0]] * 3, knots, [knots[-1]] * 3])
    return BSpline.design_matrix(np.clip(x, knots[0], knots[-1]), knots, 3).toarray()


def lower_envelope(y, variance, splines, roughness) -> np.ndarray:
    """A smooth curve under the peaks: least squares that count points above it at 2 %."""
    weight, curve = 1 / variance, y
    for i in range(12):
        part = weight * np.where(y > curve, 0.02 if i else 1, 1)
        a = splines.T * part
        curve = splines @ np.linalg.solve(a @ splines + roughness, a @ y)
    return curve


# --- where to start --------------------------------------------------------------------------


@dataclass(frozen=True)
class Start:
    """A place to start a phase's fit from."""

    score: float
    shift: float
    strain: np.ndarray


def blurred(measured: Measured, width: float, step: float):
    """The scan above its floor, blurred by a Gaussian, and its noise, on an even axis."""
    x = np.arange(measured.x[0], measured.x[-1], step)
    n = int(np.ceil(1.5 * width / step))
    kernel = np.exp(-4 * np.log(2) * (np.arange(-n, n + 1) * step / width) ** 2)
    kernel /= kernel.sum()
    signal = np.interp(x, measured.x, measured.y - measured.floor)
    variance = np.interp(x, measured.x, measured.variance)
    spacing = np.median(np.diff(measured.x))
    seen = np.convolve(signal, kernel, "same")
    noise = np.convolve(variance, kernel**2, "same") * max(1, spacing / step)
    return seen, np.sqrt(noise)


def find_starts(lines: LineSet, levels, low, high, cell_range, displaced, shift_range):
    """Shifts and cells at which most lines of a phase meet a peak of fitting height.

    Every line votes, with the one-sided loss, for each trial; trials are refined from broad blurs
    of the scan to narrow ones.
    """
    order = np.argsort(-lines.area)
    k = len(lines.basis)
    theta, slope = lines.places(np.zeros(k), lines.source.mean)
    cosine = np.cos(theta) if displaced else np.ones_like(theta)
    trials = _lattice_points([np.linspace(-1, 1, 5)] * (k + 1))
    spread = np.array([shift_range] + [cell_range] * k)
    trials = trials * spread
    reach = spread / 2
    for i, (width, step, seen, noise) in enumerate(levels):
        chosen = []
        for j in order:
            if all(abs(lines.two_theta[j] - lines.two_theta[c]) > 0.8 * width for c in chosen):
                chosen.append(j)
            if len(chosen) == 16:
                break
        chosen = np.array(chosen)
        apart = lines.two_theta[chosen][:, None] - lines.two_theta
        height = np.exp(-4 * np.log(2) * (apart / (1.2 * width)) ** 2) @ lines.area
        moves = np.concatenate([cosine[chosen][:, None], slope[chosen]], axis=1)
        place = lines.two_theta[chosen] + trials @ moves.T
        inside = (place > low) & (place < high)
        index = np.clip(np.rint((place - low) / step).astype(int), 0, len(seen) - 1)
        z, sigma = np.where(inside, seen[index], 0), noise[index]
        prior = ((trials / spread * 2) ** 2).sum(axis=1)
        score = _votes(z, sigma, height, inside) - 0.5 * prior
        best = np.argsort(-score)
        if i + 1 == len(levels):
            return [Start(score[b], trials[b, 0], trials[b, 1:]) for b in best[:40]]
        kept = []
        for shift in np.unique(np.round(trials[:, 0], 6)) if i == 0 else [None]:
            rows = best if shift is None else best[np.abs(trials[best, 0] - shift) < 1e-5]
            kept.extend(rows[: 5 if i == 0 else 16])
        reach = reach / 2
        offsets = _lattice_points([np.array([-1.0, 0, 1])] * (k + 1)) * reach
        trials = (trials[kept][:, None] + offsets).reshape(-1, k + 1)
    return []


def _lattice_points(axes):
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))


def _votes(z, sigma, height, inside):
    """What explaining the lines gains at the best scale, for each trial, (trials,)."""
    ratio = np.where(inside, z / height, 0).max(axis=1)
    best = np.full(len(z), -np.inf)
    nothing = one_sided(z / sigma)[0]
    for part in (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.08):
        expected = part * ratio[:, None] * height
        wide = np.sqrt(sigma**2 + (0.25 * expected) ** 2)
        loss = one_sided((z - expected) / wide)[0]
        best = np.maximum(best, np.where(inside, nothing - loss, 0).sum(axis=1))
    return best


# --- the fit ---------------------------------------------------------------------------------


@dataclass
class State:
    """All parameters of a fit."""

    crystals: list[Crystal]
    shift: float = 0.0
    log_width: float = EXPECTED["log_width"][0]
    background: np.ndarray | None = None


class Fit:
    """A scan, the phases' lines and the present state; see `refine`."""

    def __init__(self, measured, line_sets, state, cell_range, shift_range, displaced):
        self.measured, self.line_sets, self.state = measured, line_sets, state
        self.cell_range, self.shift_range, self.displaced = cell_range, shift_range, displaced
        self.damping = 1e-3

    # Parameters as one vector: shift, log_width, then each crystal's, then the background's.

    def names(self) -> list[tuple[int, str]]:
        result = [(-1, "shift"), (-1, "log_width")]
        for i, crystal in enumerate(self.state.crystals):
            result.append((i, "scale"))
            result += [(i, "strain")] * len(crystal.strain)
            result += [(i, n) for n in ("log_size", "log_strain", "eta", "extra_b")]
            result += [(i, "log_r")] * (crystal.axis is not None)
        return result

    def pack(self, state: State) -> np.ndarray:
        values = [np.array([state.shift, state.log_width])]
        for c in state.crystals:
            shape = [c.log_size, c.log_strain, c.eta, c.extra_b]
            shape += [c.log_r] * (c.axis is not None)
            values.append(np.concatenate([[c.scale], c.strain, shape]))
        return np.concatenate([*values, state.background])

    def unpack(self, vector) -> State:
        at, crystals = 2, []
        for c in self.state.crystals:
            k = len(c.strain)
            shape = dict(zip(("log_size", "log_strain", "eta", "extra_b"), vector[at + 1 + k :]))
            n = 5 + k
            if c.axis is not None:
                shape["log_r"] = vector[at + n]
                n += 1
            crystals.append(
                replace(c, scale=vector[at], strain=vector[at + 1 : at + 1 + k], **shape)
            )
            at += n
        return State(crystals, vector[0], vector[1], vector[at:])

    def limits(self):
        """Mean, weight (1/variance), smallest, largest and longest step of each parameter."""
        rows = []
        for _, name in self.names():
            if name == "shift":
                rows.append(
                    (0, self.shift_range / 2, -1.2 * self.shift_range, 1.2 * self.shift_range, 0.1)
                )
            elif name == "strain":
                rows.append((0, self.cell_range / 2, -self.cell_range, self.cell_range, 0.004))
            elif name == "scale":
                rows.append((0, np.inf, 0, np.inf, np.inf))
            else:
                rows.append((*EXPECTED[name], LONGEST[name]))
        m = self.measured.splines.shape[1]
        rows += [(0, np.inf, -np.inf, np.inf, np.inf)] * m
        mean, spread, low, high, step = np.array(rows).T
        return mean, 1 / spread**2, low, high, step

    def draw(self, state: State):
        """The derivatives, (n, parameters), and the sum of all peaks, (n,)."""
        x = self.measured.x
        columns, peaks = [None], np.zeros(len(x))
        common = np.zeros((len(x), 2))
        for lines, c in zip(self.line_sets, state.crystals, strict=True):
            drawn = lines.draw(x, c, state.shift, state.log_width, self.displaced)
            common += c.scale * drawn[:, :2]
            peaks += c.scale * drawn[:, 2]
            drawn[:, 3:] *= c.scale
            columns.append(drawn[:, 2:])
        columns[0] = common
        return np.concatenate([*columns, self.measured.splines], axis=1), peaks

    def sigma(self, peaks, background):
        m = self.measured
        return np.sqrt(
            m.variance + (INTENSITY_ERROR * peaks) ** 2 + (BACKGROUND_ERROR * background) ** 2
        )

    def run(self, iterations: int, tolerance=1e-3):
        """Levenberg-Marquardt steps on the one-sided loss."""
        y = self.measured.y
        mean, weight, low, high, longest = self.limits()
        roughness = np.zeros((len(mean),) * 2)
        m = len(self.measured.roughness)
        roughness[-m:, -m:] = self.measured.roughness
        linear = np.array([n == "scale" for _, n in self.names()] + [True] * m)
        owner = np.array([i for i, _ in self.names()] + [-2] * m)
        is_scale = np.array([n == "scale" for _, n in self.names()] + [False] * m)
        vector = self.pack(self.state)
        jacobian, peaks = self.draw(self.state)

        def whole(vector, peaks, sigma):
            background = self.measured.splines @ vector[-m:]
            r = (y - background - peaks) / sigma
            loss, w = one_sided(r)
            prior = weight @ (vector - mean) ** 2 + vector @ roughness @ vector
            return loss.sum() + prior, r, w

        self.count = 0
        for _ in range(iterations):
            sigma = self.sigma(peaks, self.measured.splines @ vector[-m:])
            loss, r, w = whole(vector, peaks, sigma)
            scaled = jacobian * (np.sqrt(w) / sigma)[:, None]
            hessian = scaled.T @ scaled + np.diag(weight) + roughness
            gradient = scaled.T @ (np.sqrt(w) * r) - weight * (vector - mean) - roughness @ vector
            for _ in range(6):
                a = hessian + np.diag(np.where(linear, 1e-9, self.damping) * np.diag(hessian))
                a += 1e-12 * np.eye(len(a))
                free = np.ones(len(a), dtype=bool)
                for _ in range(len(self.line_sets) + 1):
                    step = np.zeros(len(a))
                    step[free] = np.linalg.solve(a[np.ix_(free, free)], gradient[free])
                    negative = free & is_scale & (vector + step < 0)
                    if not negative.any():
                        break
                    free &= ~np.isin(owner, owner[negative])
                    step[negative] = -vector[negative]
                step[~free & is_scale] = -vector[~free & is_scale]
                step = np.clip(step, -longest, longest)
                trial = np.clip(vector + step, low, high)
                state = self.unpack(trial)
                new_jacobian, new_peaks = self.draw(state)
                new_loss, *_ = whole(trial, new_peaks, sigma)
                self.count += 1
                if new_loss < loss + 1e-9 * abs(loss):
                    break
                self.damping *= 8
            else:
                break
            self.damping = max(self.damping / 4, 1e-6)
            vector, jacobian, peaks, self.state = trial, new_jacobian, new_peaks, state
            if loss - new_loss < tolerance * (1 + 0.02 * loss):
                break
        self.jacobian, self.peaks, self.vector = jacobian, peaks, vector
        self.loss = whole(vector, peaks, self.sigma(peaks, self.measured.splines @ vector[-m:]))[0]
        return self
