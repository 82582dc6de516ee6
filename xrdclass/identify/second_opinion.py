"""A second opinion from physics: are a phase's lines in the scan, where and as strong as they must?

A small fit, not a refinement: the cell (within about 1 %) and the sample's height are moved until
the phase's lines lie on peaks; then the peaks are compared with the lines one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..diffraction import bragg, radiation, reflections
from ..phases import Phase
from ..simulation import pseudo_voigt
from .background import N_POINTS, STEP, TWO_THETA, Lifted

#: Peak widths that are tried, degrees.
WIDTHS = (0.1, 0.2, 0.4, 0.8, 1.6)
MAX_STRAIN, MAX_SHIFT = 0.012, 0.3
#: What the largest moves cost of the alignment's score, the logarithm of a signal-to-noise ratio:
#: with four free parameters, a scan of many peaks fits something somewhere.
PENALTY = 0.5
WAVELENGTH = radiation("Cu").mean
_PADDED = 4096


@dataclass(frozen=True)
class PhaseLines:
    """A phase's lines, and how they move when cell and sample height change.

    Attributes
    ----------
    two_theta, intensity : float, (r,); degrees, the strongest is 1, strongest first
    moves : float, (r, k), degrees for a strain of 1 in each free parameter of the cell; last
        column: degrees for a shift of 1 degree at two-theta 0, as of a displaced sample
    strong : int, (s,), the strong lines, of neighbours the strongest only
    mass_factor : mass of the phase for a strongest line of area 1, up to a common constant
    """

    two_theta: np.ndarray
    intensity: np.ndarray
    moves: np.ndarray
    strong: np.ndarray
    mass_factor: float

    @classmethod
    def of(cls, phase: Phase, n_strong: int = 16) -> PhaseLines:
        """The up to 60 strongest lines of a phase for Cu K-alpha, with moderate vibrations."""
        table = reflections(phase, 1.16)
        theta, area, _ = bragg(table, WAVELENGTH, np.zeros((1, 3, 3)))
        area = area[0] * np.exp(-1.4 * (np.sin(theta[0]) / WAVELENGTH) ** 2)
        order = np.argsort(-area)[:60]
        theta, area, hkl = theta[0][order], area[order], table.hkl[order]
        normal = hkl @ np.linalg.inv(table.lattice).T
        normal = normal / np.linalg.norm(normal, axis=1, keepdims=True)
        # d stretches by n.strain.n along the plane normal n; Bragg's law differentiated.
        stretch = np.einsum("ri,kij,rj->rk", normal, table.strain_basis, normal)
        moves = -np.degrees(2 * np.tan(theta))[:, None] * stretch
        two_theta = np.degrees(2 * theta)
        strong: list[int] = []
        for i in np.flatnonzero(area > 0.04 * area[0])[: 3 * n_strong]:
            if all(abs(two_theta[i] - two_theta[j]) > 0.12 for j in strong):
                strong.append(int(i))
        cell_mass = phase.structure.density * phase.structure.volume**2
        return cls(
            two_theta,
            area / area[0],
            np.concatenate([moves, np.cos(theta)[:, None]], axis=1),
            np.array(strong[:n_strong]),
            float(cell_mass / area[0]),
        )

    def to_dict(self) -> dict:
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(self).items()}

    @classmethod
    def from_dict(cls, values: dict) -> PhaseLines:
        """What `to_dict` made; KeyError, TypeError or ValueError if it is nothing of the kind."""
        lines = cls(
            *(np.array(values[key], dtype=float) for key in ("two_theta", "intensity", "moves")),
            np.array(values["strong"], dtype=int),
            float(values["mass_factor"]),
        )
        r, k = lines.moves.shape
        fits = lines.two_theta.shape == lines.intensity.shape == (r,) and r <= 60 and 2 <= k <= 7
        if not fits or lines.strong.ndim != 1 or not set(lines.strong.tolist()) <= set(range(r)):
            raise ValueError("a phase's lines are no table of a line a row")
        numbers = [lines.two_theta, lines.intensity, lines.moves, np.array(lines.mass_factor)]
        if not all((abs(part) < 1e9).all() for part in numbers) or (lines.intensity < 0).any():
            raise ValueError("a phase's lines hold what is no number")
        return lines


@dataclass(frozen=True)
class Opinion:
    """What the lines say of one phase in one scan.

    Attributes
    ----------
    features : name -> number, what a judge sees of it
    two_theta, intensity : float, (r,), the phase's lines where they were found, strongest 1
    scale : height of the strongest line in the smoothed scan, by the weaker ones of the lines
    width : of the smoothing that fits the peaks best, degrees
    """

    features: dict[str, float]
    two_theta: np.ndarray
    intensity: np.ndarray
    scale: float
    width: float


class SmoothedScan:
    """A scan above its background, smoothed to each of `WIDTHS`, to be compared with phases.

    Parameters
    ----------
    lifted, i : the scan is number ``i`` of these
    """

    def __init__(self, lifted: Lifted, i: int):
        self.signal, self.covered = lifted.signal[i].astype(float), lifted.covered[i]
        signal, noise = self.signal, lifted.noise(i).astype(float)
        self._transform = np.fft.rfft(signal, _PADDED)
        self.smooth = [self.smoothed(width) for width in WIDTHS]
        self.contrast = [
            smooth - self.smoothed(2.6 * w) for smooth, w in zip(self.smooth, WIDTHS, strict=True)
        ]
        self.noises = [noise * np.sqrt(min(1, STEP / (1.06 * w))) for w in WIDTHS]
        self.evidence = [
            np.minimum(np.log1p(np.maximum(c / n, 0)), np.log1p(300))
            for c, n in zip(self.contrast, self.noises, strict=True)
        ]

    def smoothed(self, width: float) -> np.ndarray:
        """The signal convolved with a Gaussian of this full width at half maximum."""
        frequency = np.fft.rfftfreq(_PADDED, STEP)
        kernel = np.exp(-2 * (np.pi * frequency * width / 2.3548) ** 2)
        return np.fft.irfft(self._transform * kernel, _PADDED)[:N_POINTS]

    def fit(self, lines: PhaseLines) -> Opinion | None:
        """Compare with one phase; None if fewer than two of its strong lines are covered."""
        first, last = TWO_THETA[self.covered][[0, -1]]
        x = lines.two_theta[lines.strong]
        strong = lines.strong[(x > first + 0.3) & (x < last - 0.3)]
        if len(strong) < 2:
            return None
        found = [self._align(lines, strong, i) for i in range(len(WIDTHS))]
        over_chance = [
            score / (self.evidence[i][self.covered].mean() + 0.15)
            for i, (score, _) in enumerate(found)
        ]
        best = int(np.argmax(over_chance))
        score, moved = found[best]
        return self._compare(lines, strong, best, moved, over_chance[best], score)

    def _align(self, lines: PhaseLines, strong, scale: int):
        """The cell and shift that bring the strong lines onto peaks: a random search, refined."""
        rng = np.random.default_rng(0)  # the same scan always gets the same answer
        weight = np.sqrt(lines.intensity[strong])
        weight = weight / weight.sum()
        limits = np.full(lines.moves.shape[1], MAX_STRAIN)
        limits[-1] = MAX_SHIFT

        def score(moves):
            x = lines.two_theta[strong] + moves @ lines.moves[strong].T
            return self.evidence[scale][_place(x)] @ weight

        tried = rng.uniform(-1, 1, (500, len(limits))) * limits
        tried[:60] *= 0.3
        tried[0] = 0
        # The penalty chooses where to look; the place itself is the peaks' own.
        for spread, penalty in ((0.3, PENALTY), (0.1, PENALTY), (0.04, 0), (None, 0)):
            scores = score(tried)
            best = (scores - penalty * np.abs(tried / limits).mean(axis=1)).argmax()
            best, value = tried[best], float(scores[best])
            if spread is not None:
                tried = best + rng.normal(size=(200, len(limits))) * limits * spread
                tried = np.clip(np.concatenate([best[None], tried]), -limits, limits)
        return value, best

    def _compare(self, lines, strong, scale, moved, over_chance, score) -> Opinion:
        """Features of the phase's presence, line by line; lines of other phases do no harm."""
        width, smooth = WIDTHS[scale], self.smooth[scale]
        contrast, noise = self.contrast[scale], self.noises[scale]
        x = lines.two_theta + lines.moves @ moved
        first, last = TWO_THETA[self.covered][[0, -1]]
        shown = (x > first) & (x < last)
        drawn_width = np.sqrt(2) * width  # the peak's own width and the smoothing's
        model = _draw(x[shown], lines.intensity[shown], drawn_width)
        place = _place(x[strong])
        expected = np.maximum(model[place], 1e-6)
        observed = np.maximum(smooth[place], 0)
        ratio = observed / expected
        order = np.argsort(ratio)
        cumulated = np.cumsum(expected[order]) / expected.sum()
        low, middle = (
            ratio[order][min(np.searchsorted(cumulated, part), len(order) - 1)]
            for part in (0.3, 0.5)
        )
        weight = np.sqrt(lines.intensity[strong])
        seen = contrast[place] > 3 * noise[place]
        visible = middle * expected > 4 * noise[place]
        near = _near(place, int(1.2 * drawn_width / STEP)) & self.covered
        a, b = smooth[near], model[near]
        top = np.argsort(-expected)[:3]
        floor = 1e-9

        def part(numbers, of):
            return numbers.sum() / max(of.sum(), floor)

        logs = np.log(np.maximum(observed, 1e-4)), np.log(expected)
        total = max(np.maximum(smooth[self.covered], 0).sum(), floor)
        explained = np.clip(np.minimum(smooth, low * model)[self.covered], 0, None).sum() / total
        features = {
            "alignment over chance": over_chance,
            "alignment": score,
            "covered": np.minimum(observed, middle * expected).sum()
            / max(middle * expected.sum(), floor),
            "missing": (expected * (ratio < 0.3 * middle) * visible).sum()
            / max((expected * visible).sum(), floor),
            "peaks seen": part(weight * seen, weight),
            "visible peaks seen": (weight * visible * seen).sum()
            / max((weight * visible).sum(), floor),
            "correlation": _correlation(a, b),
            "cosine": a @ b / np.sqrt((a @ a) * (b @ b) + 1e-12),
            "correlation of logarithms": _correlation(*logs),
            "explained": explained,
            "clutter": (contrast > 4 * noise)[self.covered].mean(),
            "scale, 30 %": np.log(low + 1e-4),
            "scale, 50 %": np.log(middle + 1e-4),
            "signal": np.log(middle * expected.max() / noise[place].mean() + 1e-2),
            "strain": np.abs(moved[:-1] / MAX_STRAIN).max(initial=0),
            "shift": abs(moved[-1]) / MAX_SHIFT,
            "lines": len(strong),
            "width": np.log(width),
            "weakest of the top three": ratio[top].min() / max(middle, 1e-6),
            "contrast of the top three": (contrast[place] / np.maximum(observed, floor))[top].min(),
            "evenness of scale": low / max(middle, floor),
        }
        features = {
            name: float(np.clip(np.nan_to_num(float(value)), -20, 20))
            for name, value in features.items()
        }
        return Opinion(features, x[shown], lines.intensity[shown], float(low), width)


def _place(two_theta) -> np.ndarray:
    """Indices of the points nearest to angles, kept within the axis."""
    return np.clip(np.rint((two_theta - TWO_THETA[0]) / STEP).astype(int), 0, N_POINTS - 1)


def _near(places, reach: int) -> np.ndarray:
    """Mask of the points within ``reach`` steps of any place."""
    mask = np.zeros(N_POINTS, dtype=bool)
    for place in places:
        mask[max(0, place - reach) : place + reach + 1] = True
    return mask


def _draw(two_theta, heights, width) -> np.ndarray:
    """Gaussians of these heights and one width, float, (N_POINTS,)."""
    return _sum_peaks(two_theta, heights, width, lambda u: np.exp(-4 * np.log(2) * u**2), 2.5)


def draw_lines(opinion: Opinion, width: float, shift: float = 0.0) -> np.ndarray:
    """A phase's pattern, the strongest line of area 1, float, (N_POINTS,).

    Each line is a doublet of half Lorentzian peaks, ``shift`` degrees beside where it was found.
    """
    source = radiation("Cu")
    apart = np.degrees(2 * np.tan(np.radians(opinion.two_theta / 2))) / source.mean
    x = opinion.two_theta + shift
    doublet = [x + apart * (length - source.mean) for length in (source.k_alpha1, source.k_alpha2)]
    heights = np.concatenate([opinion.intensity * 2, opinion.intensity]) / (3 * width)
    return _sum_peaks(
        np.concatenate(doublet), heights, width, lambda u: pseudo_voigt(u, 1.0, 0.5), 8
    )


def _sum_peaks(two_theta, heights, width, profile, reach) -> np.ndarray:
    points = int(reach * width / STEP) + 2
    index = _place(two_theta)[:, None] + np.arange(-points, points + 1)
    x = TWO_THETA[0] + index * STEP - two_theta[:, None]
    values = heights[:, None] * profile(x / width)
    inside = (index >= 0) & (index < N_POINTS)
    return np.bincount(index[inside], values[inside], minlength=N_POINTS)


def _correlation(a, b) -> float:
    if len(a) < 3 or a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def all_lines(phases: Sequence[Phase]) -> list[PhaseLines]:
    """`PhaseLines` of each phase."""
    return [PhaseLines.of(phase) for phase in phases]
