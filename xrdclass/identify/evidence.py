"""What speaks for a phase in a fit, line by line and as a whole, in a few named numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..diffraction import change_wavelength
from ..errors import DataError
from .profile import AXES, Crystal, LineSet

#: A line should stand out if it is expected at so many standard deviations; full votes from here.
STANDS_OUT, SURE = 3.5, 8.0
#: Coincidences compare a line with all places so near to it, degrees.
NEIGHBOURHOOD = 12.0
#: An unexplained peak stands so many standard deviations above the model.
UNEXPLAINED = 6.0
#: Texture is fitted where it lowers the loss by more than this for its two parameters.
TEXTURE_PAYS = 16.0
#: How many numbers `foreign_features` gives.
N_FOREIGN_FEATURES = 4
#: Copper's K-beta line and tungsten's L-alpha line, which contaminated tubes show, as parts of
#: the wavelength of copper K-alpha; and how strong they can be, in parts of a line.
GHOSTS, GHOST_PART = (1.39225 / 1.54184, 1.47639 / 1.54184), 0.04


@dataclass(frozen=True)
class Evidence:
    """What speaks for a phase.

    Attributes
    ----------
    gain : how much the loss grows if the phase is left out and the others fitted anew
    possible : the same, had the scan been exactly as calculated
    coincidences : -ln(chance) that so many of its lines meet a peak of the expected height, less
        what missing lines and free parameters cost
    significance : its scale over the scale's standard error
    lines : how many of its lines should stand out, each as far as it would
    lacking : part of its lines' intensity that the scan lacks, by its other lines
    strained : sum of squares of the changes of cell and shift, over the expected ones
    domain_size : nm
    unexplained : how many peaks of the scan no phase explains
    missing : part of its lines' intensity that lacks beyond doubt, had its crystals no texture
    typical : how much stronger most of its lines are than the fit, which others keep low
    texture : |ln r| of March and Dollase
    """

    gain: float = 0.0
    possible: float = 0.0
    coincidences: float = 0.0
    significance: float = 0.0
    lines: float = 0.0
    lacking: float = 1.0
    strained: float = 0.0
    domain_size: float = 0.0
    unexplained: float = 0
    missing: float = 0.0
    typical: float = 1.0
    texture: float = 0.0

    @property
    def share(self) -> float:
        """The part of the possible gain that was gained; above 1 for what fits anything."""
        return self.gain / max(self.possible, 1.0)

    @property
    def features(self) -> np.ndarray:
        """What a calibrated probability is made from, (len(FEATURES),)."""
        return np.array(
            [
                np.log(max(self.gain, 1.0)),
                min(self.share, 1.0),
                np.sign(self.coincidences) * np.sqrt(abs(self.coincidences)),
                self.coincidences / max(self.lines, 1.0),
                np.log(max(self.significance, 0.3)),
                self.strained,
                np.log(max(self.domain_size, 1.0)),
                np.sqrt(self.missing),
                np.log(min(self.typical, 5.0)),
                self.texture,
                min(self.lines, 20.0),
                np.sqrt(self.unexplained),
            ]
        )

    def with_expected(self, expected: float) -> np.ndarray:
        """The same beside the logit of the probability before the fit, (len(FEATURES) + 1,)."""
        return np.append(self.features, logit(expected))


#: What `Evidence.features` holds.
FEATURES = tuple(
    "log gain, share of the possible gain, root of the coincidences, coincidences a line, "
    "log significance, strained, log domain size, root of the missing, log typical, texture, "
    "lines, root of the unexplained peaks".split(", ")
)


@dataclass(frozen=True, eq=False)
class Calibration:
    """A probability from a few numbers, by logistic regression.

    Attributes
    ----------
    mean, spread : float, (features,), that the features are scaled with
    weights : float, (features,)
    bias : float
    """

    mean: np.ndarray
    spread: np.ndarray
    weights: np.ndarray
    bias: float

    def probability(self, evidence: Evidence, expected: float | None = None) -> float:
        """That a phase is there, 0...1; 0 if it is not in the fit.

        ``expected``, the probability before the fit, counts if the calibration learnt from it.
        """
        if evidence.gain <= 0:
            return 0.0
        if len(self.weights) == len(FEATURES):
            return self(evidence.features)
        return self(evidence.with_expected(0.5 if expected is None else expected))

    def __call__(self, features) -> float:
        """0...1 for features, (features,)."""
        z = (features - self.mean) / self.spread @ self.weights + self.bias
        return float(1 / (1 + np.exp(-np.clip(z, -50, 50))))

    @classmethod
    def fit(cls, features, truth, ridge: float = 1.0) -> Calibration:
        """Learn from features, (n, features), and truth, (n,), 0 or 1; Newton's method.

        Raises
        ------
        DataError
            If there is nothing to learn from.
        """
        if not len(features):
            raise DataError("No fit found anything to learn from: train with more samples.")
        mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
        x = np.column_stack([(features - mean) / spread, np.ones(len(features))])
        w = np.zeros(x.shape[1])
        penalty = ridge * np.append(np.ones(x.shape[1] - 1), 0)
        for _ in range(50):
            p = 1 / (1 + np.exp(-np.clip(x @ w, -50, 50)))
            gradient = x.T @ (truth - p) - penalty * w
            hessian = (x.T * np.maximum(p * (1 - p), 1e-9)) @ x + np.diag(penalty + 1e-9)
            step = np.linalg.solve(hessian, gradient)
            w = w + step
            if np.abs(step).max() < 1e-8:
                break
        return cls(mean, spread, w[:-1], float(w[-1]))

    def to_dict(self) -> dict:
        values = {key: getattr(self, key).tolist() for key in ("mean", "spread", "weights")}
        return {**values, "bias": self.bias}

    @classmethod
    def from_dict(cls, values: dict, n: int) -> Calibration:
        """What `to_dict` made; ValueError if it has other than ``n`` features, or no numbers."""
        arrays = [np.array(values[key], dtype=float) for key in ("mean", "spread", "weights")]
        bias = float(values["bias"])
        if any(a.shape != (n,) for a in arrays):
            raise ValueError(f"a calibration has not {n} features")
        if not np.isfinite([*np.concatenate(arrays), bias]).all() or not (arrays[1] > 0).all():
            raise ValueError("a calibration holds what is no number, or a spread of 0")
        return cls(*arrays, bias)


def logit(p: float) -> float:
    """ln(p / (1 - p)), within +-14."""
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return float(np.log(p / (1 - p)))


#: Learnt by `benchmarks/fit.py calibrate` from simulated mixtures of the five TiO2 phases, when no
#: invented crystal was made simple on purpose.
USUAL = Calibration(
    mean=np.array(
        [5.08, 0.676, 0.733, -0.388, 1.48, 5.18, 2.84, 0.0342, 0.611, 0.0989, 7.61, 3.08]
    ),
    spread=np.array([1.58, 0.212, 2.98, 2, 1.06, 4.55, 1.06, 0.066, 0.603, 0.197, 6.3, 1.99]),
    weights=np.array(
        [0.905, 0.678, 0.0694, 0.728, 1.83, -1.34, 0.323, -0.391, -0.597, -0.283, 0.234, 0.359]
    ),
    bias=-0.5419,
)


@dataclass(frozen=True, eq=False)
class LineRatios:
    """Observed over calculated intensity of a phase's lines.

    Attributes
    ----------
    two_theta, width : float, (r,), degrees
    expected : float, (r,), calculated area
    ratio : float, (r,), observed over calculated; what other phases own is taken off
    weight : float, (r,), 1 over the ratio's variance, 0 for lines beyond the scan
    """

    two_theta: np.ndarray
    width: np.ndarray
    expected: np.ndarray
    ratio: np.ndarray
    weight: np.ndarray

    @property
    def typical(self) -> float:
        """The median of the ratios, weighted by intensity, at least 1.

        The fit keeps a phase low that lacks a strong line: its other lines are then too strong.
        """
        order = np.argsort(self.ratio)
        share = np.cumsum((self.expected * (self.weight > 0))[order])
        if not share[-1] > 0:
            return 1.0
        return max(1.0, float(self.ratio[order][np.searchsorted(share, share[-1] / 2)]))

    def missing(self, texture) -> float:
        """The part of the intensity that lacks beyond doubt, had a crystal not these factors."""
        relative = (1 / np.maximum(self.weight, 1e-12) - 0.06**2) * texture**2 + 0.06**2
        short = np.clip(0.6 - self.ratio * texture - 1.5 * np.sqrt(relative), 0, None)
        plain = self.expected / texture * (self.weight > 0)
        return float((plain * short).sum() / max(plain.sum(), 1e-300))


def line_ratios(model, i: int) -> LineRatios:
    """Observed over calculated intensity of each line of the model's phase ``i``."""
    lines, crystal = model.lines[i], model.crystals[i]
    x, y = model.measured.x, model.measured.y
    place, width, *_ = lines.shapes(crystal, model.instrument)
    area = lines.areas(crystal)
    pattern = crystal.scale * model.jacobian[:, model.scale_columns[i]]
    left = y - model.smooth - model.peaks
    variance = model.measured.variance + (0.06 * (model.peaks - pattern)) ** 2
    first, last = np.searchsorted(x, [place - width, place + width])
    last = np.maximum(last, first + 1)

    def total(values):
        cumulated = np.concatenate([[0.0], np.cumsum(values)])
        top = len(values)
        return cumulated[np.minimum(last, top)] - cumulated[np.minimum(first, top)]

    own = np.maximum(total(pattern), 1e-12 * max(pattern.sum(), 1e-30))
    ratio = np.clip(1 + total(left) / own, -1, 20)
    relative = total(variance) / own**2 + 0.06**2
    inside = (place - width > x[0]) & (place + width < x[-1])
    weight = np.where(inside, 1 / relative, 0)
    return LineRatios(place, width, crystal.scale * area, ratio, weight)


def assess(model) -> list[Evidence]:
    """The evidence for each phase of a model."""
    model = model if model.jacobian is not None else model.draw()
    error = np.sqrt(model.covariance()[0].diagonal()[model.scale_columns])
    gains, others, result = model.gains(), len(unexplained_peaks(model)), []
    for i, crystal in enumerate(model.crystals):
        ratios, strain = line_ratios(model, i), crystal.strain / (model.cell_range / 2)
        seen, lacking = ratios.weight > STANDS_OUT**2, 1.0
        if seen.any():
            short = ratios.expected * np.clip(1 - ratios.ratio / ratios.typical, 0, 1)
            lacking = short[seen].sum() / ratios.expected[seen].sum()
        votes, lines = coincidences(model, i)
        evidence = (
            gains[i],
            model.refit(np.delete(np.arange(len(gains)), i), y=model.smooth + model.peaks),
            votes,
            crystal.scale / max(error[i], 1e-300),
            lines,
            lacking,
            strain @ strain + (model.shift / (model.shift_range / 2)) ** 2,
            np.exp(crystal.log_size),
            others,
            ratios.missing(model.lines[i].texture(crystal)[0]),
            ratios.typical,
            abs(crystal.log_r),
        )
        result.append(Evidence(*map(float, evidence)))
    return result


def coincidences(model, i: int) -> tuple[float, float]:
    """-ln(chance) of the lines that stand out where they should, and how many should.

    For each line that should stand out, the chance is the part of all places near it whose
    intensity reaches 0.7 of what the line should have. A line that is not there takes off 3, each
    free parameter 1.
    """
    x, y = model.measured.x, model.measured.y
    lines, crystal = model.lines[i], model.crystals[i]
    pattern = crystal.scale * model.jacobian[:, model.scale_columns[i]]
    place, width, *_ = lines.shapes(crystal, model.instrument)
    area = lines.areas(crystal)
    order = np.argsort(-area / width)[:25]
    typical = float(np.median(width[order[:10]]))
    own = y - model.smooth - model.peaks + pattern
    step = float(np.median(np.diff(x)))
    n = max(int(np.ceil(1.2 * typical / step)), 1)
    kernel = np.exp(-4 * np.log(2) * (np.arange(-n, n + 1) * step / max(typical, step)) ** 2)
    kernel /= kernel.sum()
    seen, expected = (np.convolve(v, kernel, "same") for v in (own, pattern))
    sigma = np.sqrt(np.convolve(model.measured.variance, kernel**2, "same"))
    total, count, used = -(len(crystal.strain) + 1.0), 0.0, []
    for j in order:
        beyond = not x[0] + width[j] < place[j] < x[-1] - width[j]
        if beyond or any(abs(place[j] - u) < max(1.2 * width[j], 0.15) for u in used):
            continue
        used.append(place[j])
        at = int(np.argmin(np.abs(x - place[j])))
        z = expected[at] / sigma[at]
        if z < STANDS_OUT:
            continue
        certain, around = min(1.0, z / SURE), np.abs(x - place[j]) < NEIGHBOURHOOD
        chance = max((seen[around] >= 0.7 * expected[at]).mean(), 0.01)
        total += certain * (-np.log(chance) if seen[at] >= 0.7 * expected[at] else -3)
        count += certain
    return total, count


def intensity_scatter(model) -> float:
    """How far the phases' clear lines are from the calculated intensities, a relative deviation."""
    away = []
    for i in range(len(model.lines)):
        ratios = line_ratios(model, i)
        away.extend(np.abs(ratios.ratio - 1)[ratios.weight > 100])
    return 1.48 * float(np.median(away)) if len(away) > 5 else 0.0


def missing_lines(model) -> list[dict]:
    """Strong lines of the phases in the fit, of which the scan has less than 0.4.

    0.4, that is, of what the phase's other lines let expect.
    """
    found = []
    for i, lines in enumerate(model.lines):
        ratios = line_ratios(model, i)
        seen = ratios.weight > STANDS_OUT**2
        strong = seen & (ratios.expected > 0.2 * ratios.expected.max(initial=0, where=seen))
        short = (0.4 * ratios.typical - ratios.ratio) * np.sqrt(ratios.weight) > 1.5
        for j in np.flatnonzero(strong & short):
            angle = float(ratios.two_theta[j])
            d = lines.source.mean / 2 / np.sin(np.radians(angle / 2))
            found.append({"phase": lines.phase.name, "two_theta": angle, "d": float(d)})
    return found


def unexplained_peaks(model, most: int = 30) -> list[dict]:
    """Peaks that no phase explains, highest first; ghosts of strong lines are left out."""
    x, width = model.measured.x, float(np.exp(model.log_width))
    step, source = float(np.median(np.diff(x))), model.source
    left = model.measured.y - model.smooth - model.peaks
    found = []
    for spread in (width, 3 * width):
        n = max(int(np.ceil(1.2 * spread / step)), 1)
        kernel = np.exp(-4 * np.log(2) * (np.arange(-n, n + 1) * step / max(spread, step)) ** 2)
        kernel /= kernel.sum()
        height = np.convolve(left, kernel, "same")
        sigma = np.sqrt(np.convolve(model.measured.variance, kernel**2, "same"))
        sigma = np.sqrt(sigma**2 + (0.2 * np.convolve(model.peaks, kernel, "same")) ** 2)
        top = (height[1:-1] >= height[:-2]) & (height[1:-1] > height[2:])
        top &= (height / sigma)[1:-1] > UNEXPLAINED
        if spread > 2.5 * step:  # a peak has more than one point: a spark or a stuck counter
            top &= np.abs(left[1:-1]) * kernel[n] < 0.6 * height[1:-1]
        found += [(height[i + 1], x[i + 1], spread) for i in np.flatnonzero(top)]
    found.sort(reverse=True)
    peaks, chosen = np.column_stack([x, model.measured.y - model.smooth]), []
    for height, angle, spread in found:
        if any(abs(angle - c["two_theta"]) < 3 * spread for c in chosen):
            continue
        theta = np.radians(angle / 2)
        ghost = False
        for part in GHOSTS if source.name == "Cu" else ():
            mirrored = np.degrees(2 * change_wavelength(theta, part, 1.0))
            strong = np.interp(mirrored, *peaks.T, right=0.0) if mirrored < x[-1] else 0.0
            ghost |= height < GHOST_PART * strong
        if not ghost:
            d = source.mean / 2 / np.sin(theta)
            chosen.append({"two_theta": float(angle), "d": float(d), "height": float(height)})
        if len(chosen) == most:
            break
    return chosen


def with_texture(model):
    """Give each phase the texture axis that pays most, where the lines' intensities say it pays."""
    crystals = list(model.crystals)
    for i, lines in enumerate(model.lines):
        axis, log_r, saved = likely_texture(line_ratios(model, i), lines)
        if saved > TEXTURE_PAYS:
            crystals[i] = replace(crystals[i], axis=axis, log_r=log_r)
    return replace(model, crystals=crystals, jacobian=None)


def likely_texture(ratios: LineRatios, lines: LineSet):
    """The axis and log r whose factors come nearest to the lines' ratios, and what that saves."""
    best = (None, 0.0, 0.0)
    plain = _misfit(ratios, np.ones(len(ratios.ratio)))
    if plain < TEXTURE_PAYS:
        return best
    for axis in range(len(AXES)):
        for log_r in np.linspace(-0.6, 0.6, 9):
            crystal = Crystal(1.0, np.zeros(len(lines.basis)), axis=axis, log_r=log_r)
            factor = lines.texture(crystal)[0]
            saved = plain - _misfit(ratios, factor)
            if saved > best[2]:
                best = axis, log_r, saved
    return best


def _misfit(ratios: LineRatios, factor) -> float:
    weight = ratios.weight
    scale = (weight * ratios.ratio * factor).sum() / max((weight * factor**2).sum(), 1e-30)
    return float((weight * (ratios.ratio - scale * factor) ** 2).sum())


def foreign_features(fit, expected: float) -> np.ndarray:
    """What speaks for peaks that are none of the phases', (4,).

    ``expected``, the probability before the fit; how many peaks are unexplained, and how high the
    highest is beside the scan's highest and beside its noise.
    """
    height = max((peak["height"] for peak in fit.unexplained), default=0.0)
    top = max(float((fit.counts - fit.background).max()), 1e-30)
    noise = float(np.sqrt(np.median(fit.model.measured.variance)))
    many = np.sqrt(len(fit.unexplained))
    parts = np.log([max(height / top, 1e-3), max(height / noise, 1.0)])
    return np.array([logit(expected), many, *parts])
