"""Mixtures as laboratories measure them: a few phases, foreign crystals, background, any range.

What `identification` trains on. Each sample is drawn anew; none is ever seen twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from ..diffraction import change_wavelength, lorentz_polarisation, radiation, reflections
from ..errors import DataError
from ..noise import air_scattering, amorphous_hump, chebyshev_background
from ..patterns import TwoThetaGrid
from ..phases import Phase
from ..simulation import Variation, draw, observed_peaks, peaks, render
from .foreign import ForeignCrystals

#: The axis that mixtures are drawn on and scans are brought to: Cu K-alpha angles.
MIXTURE_GRID = TwoThetaGrid(8.0, 82.0, 0.02)
#: Cells of one phase differ by little more than one per cent; beyond 3 % it is another compound.
SAMPLES = Variation(
    strain=0.012,
    texture=0.85,
    domain_size=(4.0, 300.0),
    micro_strain=(0.0, 0.004),
    profile="pseudo-voigt",
    k_alpha2=True,
    caglioti=((0.0, 0.02), (-0.01, 0.0), (0.001, 0.04)),
    zero_shift=(-0.06, 0.06),
    displacement=(-0.26, 0.26),
)
#: Of most samples the cell is known to 0.3 %; the others are doped, strained or very small.
USUAL_CELLS = 0.7
NEAR_MISS = (0.03, 0.08)
#: Copper's K-beta line, Å, which a filter should hold back.
K_BETA = 1.39225
#: Strongest peaks of a sample that are drawn.
N_PEAKS = 420


@dataclass
class Mixtures:
    """Drawn samples.

    Attributes
    ----------
    counts : float32, (n, points), as a detector counts them
    covered : bool, (n, points), where the scan has data
    present : bool, (n, phases)
    foreign : bool, (n,), whether there is anything else
    height : float, (n, phases + 1), the strongest line of each phase and of what is foreign within
        the range that has data, in parts of the sample's strongest
    signal : float, (n, phases + 1), that height over the background's noise
    mass : float, (n, phases), parts by weight of the phases, adding up to 1 (0 if there is none)
    domain_size : float, (n,), nm, of most crystallites
    """

    counts: np.ndarray
    covered: np.ndarray
    present: np.ndarray
    foreign: np.ndarray
    height: np.ndarray
    signal: np.ndarray
    mass: np.ndarray
    domain_size: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    def subset(self, index) -> Mixtures:
        """The samples at ``index`` (integers, a slice or a mask)."""
        return Mixtures(*(getattr(self, f.name)[index] for f in fields(self)))


class MixtureSource:
    """Draws mixtures of given phases and foreign crystals.

    Parameters
    ----------
    phases : in the order of their labels
    foreign : invented crystals
    seed : the same seed draws the same samples
    samples : ranges of cells, textures, sizes and instruments to draw from

    Raises
    ------
    DataError
        If there are no phases or no foreign crystals.
    """

    def __init__(
        self,
        phases: Sequence[Phase],
        foreign: ForeignCrystals,
        seed=0,
        samples: Variation = SAMPLES,
    ):
        if not phases or not len(foreign):
            raise DataError("Drawing mixtures needs at least one phase and one foreign crystal.")
        self.grid, self.radiation, self.foreign = MIXTURE_GRID, radiation("Cu"), foreign
        self.samples = samples
        sine = np.sin(np.radians((self.grid.stop + 1) / 2))
        d_min = self.radiation.k_alpha1 / 2 / sine
        self.tables = [reflections(phase, d_min, samples.strain) for phase in phases]
        # Mass = scale factor * mass of the cell * volume of the cell (Hill & Howard 1987, J. Appl.
        # Cryst. 20, 467-474); density * volume^2 is the same up to a constant.
        self.mass_factor = [p.structure.density * p.structure.volume**2 for p in phases]
        self.rng = np.random.default_rng(seed)

    def draw(
        self, n: int, n_phases=None, n_foreign=None, mass=None, counts=None, background=None
    ) -> Mixtures:
        """Draw ``n`` samples.

        Parameters
        ----------
        n_phases, n_foreign : how many of each in every sample; by default drawn: none to three
            phases and none to three foreign crystals, near misses among them
        mass : float, (n, phases), parts by weight of the phases in each sample, in any unit; by
            default each phase's strongest line is drawn instead. A phase of mass 0 is absent,
            and ``n_phases`` has no meaning. Foreign crystals, which have no mass, keep strongest
            lines of 3 to 100 % of the phases' strongest
        counts : of the highest peak, float or (n,); by default drawn from 160 to 100,000
        background : its mean, in parts of the highest peak, float or (n,); by default drawn from
            0.005 to 3

        Raises
        ------
        DataError
            If ``mass`` has another shape, or holds what is negative or not finite.
        """
        k = len(self.tables)
        mass = self._checked_mass(mass, n)
        sample = self._instrument(n)
        low, high = self._range(n)
        sample["low"], sample["high"] = low, high
        present, near_miss, lost_line, foreign_count = self._choose(n, n_phases, n_foreign, mass)
        parts = []
        for label in range(k):
            parts.append(self._phase_part(label, np.flatnonzero(present[:, label]), sample))
            parts.append(self._phase_part(label, np.flatnonzero(near_miss == label), sample, True))
            rows = np.flatnonzero(lost_line == label)
            parts.append(self._phase_part(label, rows, sample, lose_lines=True))
        for i in range(3):
            parts.append(self._foreign_part(np.flatnonzero(foreign_count > i), sample))
        parts = [part for part in parts if part is not None]
        two_theta, area, fwhm, owner, mass = self._assemble(n, parts, mass)

        height = area / fwhm
        top = np.maximum(height.max(axis=1, keepdims=True), 1e-30)
        area, height = area / top, height / top
        shown = (two_theta > low[:, None]) & (two_theta < high[:, None])
        strongest = np.stack(
            [height.max(axis=1, where=shown & (owner == i), initial=0) for i in range(k + 1)],
            axis=1,
        )
        if two_theta.shape[1] > N_PEAKS:
            chosen = np.argpartition(-height, N_PEAKS, axis=1)[:, :N_PEAKS]
            order = np.argsort(-np.take_along_axis(height, chosen, 1), axis=1)
            chosen = np.take_along_axis(chosen, order, 1)
            two_theta, area, fwhm = (
                np.take_along_axis(a, chosen, 1) for a in (two_theta, area, fwhm)
            )
        two_theta, area, fwhm = self._with_k_beta(two_theta, area, fwhm)
        pattern = render(self.grid, two_theta, area, fwhm, "pseudo-voigt", sample["eta"])
        top = np.maximum(pattern.max(axis=1, keepdims=True), 1e-9)
        counts, level = self._measure(pattern / top, counts, background)
        strongest /= top
        signal = strongest / np.maximum(level[:, None], 1e-4)
        total = mass.sum(axis=1, keepdims=True)
        return Mixtures(
            counts=counts,
            covered=(self.grid.two_theta >= low[:, None]) & (self.grid.two_theta <= high[:, None]),
            present=present,
            foreign=(foreign_count > 0) | (near_miss >= 0) | (lost_line >= 0),
            height=strongest,
            signal=signal,
            mass=mass / np.where(total > 0, total, 1),
            domain_size=sample["domain_size"],
        )

    def _checked_mass(self, mass, n: int):
        if mass is None:
            return None
        mass = np.asarray(mass, dtype=float)
        if mass.shape != (n, len(self.tables)):
            raise DataError(
                f"mass must have the shape (samples, phases) = {(n, len(self.tables))}; got "
                f"{mass.shape}."
            )
        if not np.isfinite(mass).all() or (mass < 0).any():
            raise DataError("Parts by weight must be finite and not negative.")
        return mass

    def _instrument(self, n: int) -> dict:
        """What all crystals of a sample share."""
        rng, samples = self.rng, self.samples
        caglioti = np.stack([rng.uniform(*pair, n) for pair in samples.caglioti], axis=1)
        caglioti[:, 2] = np.exp(rng.uniform(*np.log(samples.caglioti[2]), n))
        return {
            "caglioti": caglioti,
            "zero_shift": rng.uniform(*samples.zero_shift, n) * (rng.random(n) < 0.6),
            "displacement": rng.uniform(*samples.displacement, n) * (rng.random(n) < 0.7),
            "eta": rng.uniform(*samples.eta, n),
            "domain_size": np.exp(rng.uniform(*np.log(samples.domain_size), n)),
        }

    def _choose(self, n: int, n_phases, n_foreign, mass):
        """Which phases, near misses and how many foreign crystals each sample holds."""
        rng, k = self.rng, len(self.tables)
        count = rng.choice(4, n, p=(0.42, 0.30, 0.20, 0.08)) if n_phases is None else n_phases
        count = np.minimum(np.broadcast_to(count, n), k)
        present = np.argsort(np.argsort(rng.random((n, k)), axis=1), axis=1) < count[:, None]
        if mass is not None:
            present = mass > 0
            count = present.sum(axis=1)
        none, few = (0, 1, 2, 3), (0.45, 0.30, 0.17, 0.08)
        if n_foreign is not None:
            nothing = np.full(n, -1)
            return present, nothing, nothing, np.broadcast_to(n_foreign, n)
        alone = count == 0
        foreign = np.where(
            alone, rng.choice(3, n, p=(0.6, 0.25, 0.15)) + 1, rng.choice(none, n, p=few)
        )
        near_miss = np.where(rng.random(n) < np.where(alone, 0.22, 0.05), rng.integers(0, k, n), -1)
        near_miss[present[np.arange(n), near_miss] & (near_miss >= 0)] = -1
        lost_line = np.where(
            alone & (near_miss < 0) & (rng.random(n) < 0.02), rng.integers(0, k, n), -1
        )
        imitated = alone & ((near_miss >= 0) | (lost_line >= 0))
        foreign = np.where(imitated & (rng.random(n) < 0.6), 0, foreign)
        return present, near_miss, lost_line, foreign

    def _sizes(self, rows, sample) -> np.ndarray:
        """Most crystals of a sample have one size, some their own."""
        own = np.exp(self.rng.uniform(*np.log(self.samples.domain_size), len(rows)))
        return np.where(self.rng.random(len(rows)) < 0.6, sample["domain_size"][rows], own)

    def _phase_part(self, label: int, rows, sample, near_miss=False, lose_lines=False):
        """Peaks of one phase in the samples ``rows``, or of something that imitates it."""
        n, rng, table = len(rows), self.rng, self.tables[label]
        if not n:
            return None
        drawn = draw(table, self.samples, n, rng)
        drawn.update({key: sample[key][rows] for key in sample})
        drawn["domain_size"] = self._sizes(rows, sample)
        mild = rng.random(n) < 0.6
        drawn["texture_r"] = np.where(mild, 1 + 0.3 * (drawn["texture_r"] - 1), drawn["texture_r"])
        usual = rng.random(n) < USUAL_CELLS
        drawn["strain"] = np.where(usual[:, None, None], 0.25 * drawn["strain"], drawn["strain"])
        if near_miss:
            drawn["strain"] = self._near_miss_strain(table.strain_basis, n)
        two_theta, area, fwhm = peaks(table, drawn, self.samples, self.radiation)
        lines = two_theta.shape[1] // 2  # the doublet's second half belongs to the same lines
        s_squared = (np.sin(np.radians(two_theta / 2)) / self.radiation.mean) ** 2
        area = area * np.exp(-2 * rng.uniform(0, 2, n)[:, None] * s_squared)
        area = area * np.tile(self._scatter((n, lines), (0.03, 0.1, 0.25)), 2)
        if lose_lines:
            low, high = (sample[end][rows, None] for end in ("low", "high"))
            seen = (two_theta > low) & (two_theta < high)
            kept = self._without_strong_lines(two_theta[:, :lines], (area * seen)[:, :lines])
            area = area * np.tile(kept, 2)
        owner = len(self.tables) if near_miss or lose_lines else label
        factor = self.mass_factor[label] if owner == label else 0
        return rows, two_theta, area, fwhm, owner, factor

    def _scatter(self, shape, widths) -> np.ndarray:
        """Factors of too few grains in the beam, and of all that a model of texture leaves out."""
        width = self.rng.choice(widths, shape[0], p=(0.4, 0.4, 0.2))[:, None]
        return np.exp(width * self.rng.normal(size=shape))

    def _near_miss_strain(self, basis, n: int) -> np.ndarray:
        rng = self.rng
        amounts = rng.uniform(-NEAR_MISS[1], NEAR_MISS[1], (n, len(basis)))
        large = rng.choice((-1, 1), n) * rng.uniform(*NEAR_MISS, n)
        amounts[np.arange(n), rng.integers(0, len(basis), n)] = large
        lengths_only = np.abs(basis).max(axis=(1, 2)) > 0.99
        same = (rng.random(n) < 0.4)[:, None]
        amounts = np.where(same, large[:, None] * lengths_only, amounts)
        return np.einsum("nk,kij->nij", amounts, basis)

    def _without_strong_lines(self, two_theta, area) -> np.ndarray:
        """Factors that take away one or two of the three strongest lines, and all close to them."""
        rng, n = self.rng, len(area)
        kept, every = np.ones_like(area), np.arange(n)
        strongest = np.argsort(-area, axis=1)[:, :3]
        first = rng.integers(0, strongest.shape[1], n)
        second = np.where(rng.random(n) < 0.6, rng.integers(0, strongest.shape[1], n), first)
        for lost in (first, second):
            centre = two_theta[every, strongest[every, lost]][:, None]
            kept[np.abs(two_theta - centre) < 1] = 0
        return kept

    def _foreign_part(self, rows, sample):
        """Peaks of one invented crystal in each of the samples ``rows``."""
        n, rng, source = len(rows), self.rng, self.radiation
        if not n:
            return None
        which = rng.integers(0, len(self.foreign), n)
        d_spacing = self.foreign.d_spacing[which] * rng.uniform(0.9, 1.12, n)[:, None]
        jitter = 0.002 * (rng.random(n) < 0.5)[:, None]
        d_spacing = d_spacing * (1 + jitter * rng.normal(size=d_spacing.shape))
        there = d_spacing > 0.51 * source.k_alpha2
        d_spacing = np.where(there, d_spacing, 2.0)
        theta = np.arcsin(source.mean / 2 / d_spacing)
        area = self.foreign.strength[which] * lorentz_polarisation(theta) * there
        area = area * np.exp(-rng.uniform(0, 2.5, n)[:, None] / (2 * d_spacing**2))
        area = area * self._scatter(area.shape, (0.05, 0.3, 0.8))
        drawn = {key: sample[key][rows] for key in ("caglioti", "zero_shift", "displacement")}
        drawn["micro_strain"] = rng.uniform(*self.samples.micro_strain, n)
        drawn["domain_size"] = self._sizes(rows, sample)
        found = observed_peaks(theta, area, drawn, self.samples, source)
        return rows, *found, len(self.tables), 0

    def _assemble(self, n: int, parts, given_mass):
        """All peaks side by side and the masses; without these, strongest lines of 3 to 100 %."""
        total = max(1, sum(part[1].shape[1] for part in parts))  # a blank sample: one of no area
        two_theta, area = np.zeros((n, total)), np.zeros((n, total))
        fwhm, owner = np.ones((n, total)), np.full(total, len(self.tables))
        mass = np.zeros((n, len(self.tables)))
        start = 0
        for rows, x, a, w, whose, factor in parts:
            columns = slice(start, start + x.shape[1])
            start = columns.stop
            scale = np.exp(self.rng.uniform(np.log(0.03), 0, len(rows))) / a.max(axis=1)
            if factor and given_mass is not None:
                scale = given_mass[rows, whose] / factor
            two_theta[rows, columns], fwhm[rows, columns] = x, w
            area[rows, columns] = a * scale[:, None]
            owner[columns] = whose
            if factor:
                mass[rows, whose] += scale * factor
        if given_mass is not None:
            # Scale factors have a unit of their own; what is foreign goes by the strongest line.
            own = owner < len(self.tables)
            top = area[:, own].max(axis=1, initial=0)
            area[:, own] /= np.where(top > 0, top, 1)[:, None]
        return two_theta, area, fwhm, owner, mass

    def _with_k_beta(self, two_theta, area, fwhm):
        """Some filters let a little K-beta through: ghosts of the strongest peaks."""
        n, rng = len(area), self.rng
        part = rng.uniform(0, 0.03, n) * (rng.random(n) < 0.35)
        count = min(30, area.shape[1])
        strongest = np.argpartition(-area, count - 1, axis=1)[:, :count]
        angles = np.radians(np.take_along_axis(two_theta, strongest, 1) / 2)
        ghosts = np.degrees(2 * change_wavelength(angles, self.radiation.mean, K_BETA))
        heights = np.take_along_axis(area, strongest, 1) * part[:, None]
        widths = np.take_along_axis(fwhm, strongest, 1)
        pairs = ((two_theta, ghosts), (area, heights), (fwhm, widths))
        return tuple(np.concatenate(pair, axis=1) for pair in pairs)

    def _measure(self, pattern, given_counts, background):
        """Counts over a background, and the noise of the background's eighth neighbours' mean."""
        rng, n, x = self.rng, len(pattern), self.grid.two_theta
        level = _given(background, 10 ** rng.uniform(-2.3, 0.5, n))
        shape = rng.random(n)[:, None] + 1e-3
        series = rng.normal(size=(n, 6)) / np.arange(1, 7)
        shape = shape + rng.random(n)[:, None] * chebyshev_background(x, series)
        decay = rng.uniform(3, 25, n)[:, None]
        shape += 2 * (rng.random(n) * rng.random(n))[:, None] * air_scattering(x, decay)
        shape /= shape.mean(axis=1, keepdims=True)
        hump = (rng.random(n) < 0.35) * rng.uniform(0, 0.4, n) * rng.random(n)
        centre, width = rng.uniform(14, 40, n), rng.uniform(6, 16, n)
        counts = _given(given_counts, 10 ** rng.uniform(2.2, 5, n))
        expected = pattern + level * shape + hump[:, None] * amorphous_hump(x, centre, width)
        expected *= counts
        # The normal law stands for Poisson's above 20 counts: the same to the eye, far faster.
        normal = rng.standard_normal(expected.shape, dtype=np.float32)
        seen = np.maximum(expected + np.sqrt(expected) * normal, 0)
        few = expected < 20
        seen[few] = rng.poisson(expected[few])
        # A quarter of the scans were measured in steps of two points and are interpolated.
        coarse = rng.random(n) < 0.25
        middle = seen[coarse]
        middle[:, 1:-1:2] = (middle[:, :-2:2] + middle[:, 2::2]) / 2
        seen[coarse] = middle
        calculated = rng.random(n) < 0.04  # some databases hold calculated patterns
        calculated &= given_counts is None
        seen[calculated] = 1000 * pattern[calculated]
        noise = np.where(calculated, 0, np.sqrt(level / counts / 8)[:, 0])
        return seen.astype(np.float32), noise

    def _range(self, n: int):
        """First and last angle: half of the scans cover the whole grid, the others less of it."""
        rng = self.rng
        low = np.where(rng.random(n) < 0.55, self.grid.start, rng.uniform(8, 26, n))
        high = np.where(rng.random(n) < 0.5, self.grid.stop, rng.uniform(58, 82, n))
        return low, high


def _given(value, drawn) -> np.ndarray:
    """What the caller asked for, or else what was drawn, as a column (n, 1)."""
    return np.broadcast_to(drawn if value is None else value, drawn.shape).astype(float)[:, None]
