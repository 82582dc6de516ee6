"""Mixtures as laboratories measure them: a few phases, foreign crystals, background, any range.

What an identifier learns from. Each sample is drawn anew; none is ever seen twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from ..diffraction import change_wavelength, lorentz_polarisation, radiation, reflections
from ..errors import DataError
from ..noise import air_scattering, amorphous_hump, chebyshev_background
from ..patterns import TwoThetaGrid
from ..phases import Phase
from ..simulation import draw, observed_peaks, peaks, render
from .foreign import ForeignCrystals
from .laboratory import Laboratory

#: The axis that mixtures are drawn on and scans are brought to: Cu K-alpha angles.
MIXTURE_GRID = TwoThetaGrid(8.0, 82.0, 0.02)
#: Copper's K-beta line, Å, which a filter should hold back.
K_BETA = 1.39225
#: Strongest peaks of a sample that are rendered, and those of them that may have a K-beta ghost.
N_PEAKS, N_GHOSTS = 420, 30
#: Points that a line of usual width covers: the background's noise is that of their mean.
LINE_POINTS = 8


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
    signal_to_noise : float, (n, phases + 1), that height over the noise of the background, which
        is averaged over as many points as a line covers
    mass : float, (n, phases), parts by weight of the phases, adding up to 1 (0 if there is none)
    domain_size : float, (n,), nm, of most crystallites
    """

    counts: np.ndarray
    covered: np.ndarray
    present: np.ndarray
    foreign: np.ndarray
    height: np.ndarray
    signal_to_noise: np.ndarray
    mass: np.ndarray
    domain_size: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    def subset(self, index) -> Mixtures:
        """The samples at ``index`` (integers, a slice or a mask)."""
        return Mixtures(*(getattr(self, f.name)[index] for f in fields(self)))


class _Part(NamedTuple):
    """Peaks of one crystal in each of m samples."""

    rows: np.ndarray  # (m,), which samples
    two_theta: np.ndarray  # (m, peaks), degrees; the doublet's second half after the first
    area: np.ndarray
    fwhm: np.ndarray
    owner: int  # the phase's label, or the number of phases if it is foreign
    mass: float = 0.0  # of the crystal at area 1; unknown if it is foreign


class MixtureSource:
    """Draws mixtures of given phases and foreign crystals.

    Parameters
    ----------
    phases : in the order of their labels
    foreign : invented crystals
    seed : the same seed draws the same samples
    laboratory : ranges and probabilities to draw from

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
        laboratory: Laboratory = Laboratory(),  # noqa: B008
    ):
        if not phases or not len(foreign):
            raise DataError("Drawing mixtures needs at least one phase and one foreign crystal.")
        self.grid, self.radiation, self.foreign = MIXTURE_GRID, radiation("Cu"), foreign
        self.laboratory = laboratory
        sine = np.sin(np.radians((self.grid.stop + 1) / 2))
        d_min = self.radiation.k_alpha1 / 2 / sine
        self.tables = [reflections(phase, d_min, laboratory.strain) for phase in phases]
        # Mass = scale factor * mass of the cell * volume of the cell (Hill & Howard 1987, J. Appl.
        # Cryst. 20, 467-474); density * volume^2 is the same up to a constant.
        self.mass_factor = [p.structure.density * p.structure.volume**2 for p in phases]
        self.rng = np.random.default_rng(seed)

    def draw(
        self, n: int, n_phases=None, n_foreign=None, mass=None, counts=None, background=None
    ) -> Mixtures:
        """Draw ``n`` samples; what is not given is drawn as the laboratory says.

        Parameters
        ----------
        n_phases, n_foreign : how many of each in every sample, ints or (n,); by default near
            misses may be among what is foreign
        mass : float, (n, phases), parts by weight of the phases in each sample, in any unit; by
            default each phase's strongest line is drawn instead. A phase of mass 0 is absent,
            and ``n_phases`` has no meaning. Foreign crystals, which have no mass, have their
            strongest lines drawn in parts of the phases' strongest
        counts : of the highest peak, float or (n,)
        background : its mean, in parts of the highest peak, float or (n,)

        Raises
        ------
        DataError
            If ``mass`` has another shape, or holds what is negative or not finite.
        """
        k = len(self.tables)
        if mass is not None:
            mass = np.asarray(mass, dtype=float)
            if mass.shape != (n, k):
                raise DataError(
                    f"mass must have the shape (samples, phases) = {(n, k)}; got {mass.shape}."
                )
            if not np.isfinite(mass).all() or (mass < 0).any():
                raise DataError("Parts by weight must be finite and not negative.")
        sample = self._instrument(n)
        low, high = sample["low"][:, None], sample["high"][:, None]
        present, near_miss, lost_line, n_foreign = self._choose(n, n_phases, n_foreign, mass)
        parts, kinds = [], {"near miss": near_miss, "lines lost": lost_line}
        for label in range(k):
            rows = {"phase": present[:, label]} | {key: v == label for key, v in kinds.items()}
            for kind, chosen in rows.items():
                if chosen.any():
                    parts.append(self._phase_part(label, np.flatnonzero(chosen), sample, kind))
        for i in range(n_foreign.max(initial=0)):
            parts.append(self._foreign_part(np.flatnonzero(n_foreign > i), sample))
        two_theta, area, fwhm, owner, mass = self._assemble(n, parts, mass)

        height = area / fwhm
        top = np.maximum(height.max(axis=1, keepdims=True), 1e-30)
        area, height = area / top, height / top
        shown = (two_theta > low) & (two_theta < high)
        its_own = [shown & (owner == i) for i in range(k + 1)]
        strongest = np.stack([height.max(axis=1, where=w, initial=0) for w in its_own], axis=1)
        if two_theta.shape[1] > N_PEAKS:
            chosen = np.argsort(-height, axis=1)[:, :N_PEAKS]
            two_theta, area, fwhm = _columns(chosen, two_theta, area, fwhm)
        shape = self._with_k_beta(two_theta, area, fwhm)
        pattern = render(self.grid, *shape, self.laboratory.profile, sample["eta"])
        top = np.maximum(pattern.max(axis=1, keepdims=True), 1e-9)
        counts, noise = self._measure(pattern / top, counts, background)
        strongest /= top
        total = mass.sum(axis=1, keepdims=True)
        return Mixtures(
            counts=counts,
            covered=(self.grid.two_theta >= low) & (self.grid.two_theta <= high),
            present=present,
            foreign=(n_foreign > 0) | (near_miss >= 0) | (lost_line >= 0),
            height=strongest,
            signal_to_noise=strongest / np.maximum(noise, 1e-4)[:, None],
            mass=mass / np.where(total > 0, total, 1),
            domain_size=sample["domain_size"],
        )

    def _happens(self, probability, n: int) -> np.ndarray:
        return self.rng.random(n) < probability

    def _log_even(self, span, n: int) -> np.ndarray:
        return np.exp(self.rng.uniform(*np.log(span), n))

    def _instrument(self, n: int) -> dict:
        """What all crystals of a sample share, and the first and last angle of its scan."""
        rng, lab = self.rng, self.laboratory
        caglioti = np.stack([rng.uniform(*pair, n) for pair in lab.caglioti], axis=1)
        caglioti[:, 2] = self._log_even(lab.caglioti[2], n)
        return {
            "caglioti": caglioti,
            "zero_shift": rng.uniform(*lab.zero_shift, n) * self._happens(lab.zero_shift_chance, n),
            "displacement": rng.uniform(*lab.displacement, n)
            * self._happens(lab.displacement_chance, n),
            "eta": rng.uniform(*lab.eta, n),
            "domain_size": self._log_even(lab.domain_size, n),
            "low": self._one_or(self.grid.start, lab.whole_start, lab.start, n),
            "high": self._one_or(self.grid.stop, lab.whole_stop, lab.stop, n),
        }

    def _one_or(self, usual: float, chance: float, span, n: int) -> np.ndarray:
        """The usual angle by this chance, else one of a range."""
        return np.where(self._happens(chance, n), usual, self.rng.uniform(*span, n))

    def _choose(self, n: int, n_phases, n_foreign, mass):
        """Which phases, near misses and how many foreign crystals each sample holds."""
        rng, lab, k = self.rng, self.laboratory, len(self.tables)
        count = rng.choice(len(lab.n_phases), n, p=lab.n_phases) if n_phases is None else n_phases
        count = np.minimum(np.broadcast_to(count, n), k)
        present = np.argsort(np.argsort(rng.random((n, k)), axis=1), axis=1) < count[:, None]
        if mass is not None:
            present = mass > 0
            count = present.sum(axis=1)
        if n_foreign is not None:
            nothing = np.full(n, -1)
            return present, nothing, nothing, np.broadcast_to(n_foreign, n)
        alone = count == 0
        of_a_mixture, of_itself = lab.n_foreign, lab.n_foreign_alone
        foreign_alone = rng.choice(len(of_itself), n, p=of_itself)
        foreign = np.where(alone, foreign_alone, rng.choice(len(of_a_mixture), n, p=of_a_mixture))
        chance = np.where(alone, lab.near_miss_chance_alone, lab.near_miss_chance)
        near_miss = np.where(self._happens(chance, n), rng.integers(0, k, n), -1)
        near_miss[present[np.arange(n), near_miss] & (near_miss >= 0)] = -1
        lost = alone & (near_miss < 0) & self._happens(lab.lost_line_chance, n)
        lost_line = np.where(lost, rng.integers(0, k, n), -1)
        imitated = alone & ((near_miss >= 0) | lost)
        foreign = np.where(imitated & self._happens(lab.only_imitation, n), 0, foreign)
        return present, near_miss, lost_line, foreign

    def _sizes(self, rows, sample) -> np.ndarray:
        """Most crystals of a sample have one size, some their own."""
        own = self._log_even(self.laboratory.domain_size, len(rows))
        common = self._happens(self.laboratory.common_size, len(rows))
        return np.where(common, sample["domain_size"][rows], own)

    def _phase_part(self, label: int, rows, sample, kind) -> _Part:
        """Peaks of one phase in the samples ``rows``, or of something that imitates it."""
        n, lab, table = len(rows), self.laboratory, self.tables[label]
        drawn = draw(table, lab, n, self.rng)
        drawn.update({key: sample[key][rows] for key in sample})
        drawn["domain_size"] = self._sizes(rows, sample)
        mild = np.where(self._happens(lab.mild_texture, n), lab.mildness, 1)
        drawn["texture_r"] = 1 + mild * (drawn["texture_r"] - 1)
        usual = np.where(self._happens(lab.usual_cell, n), lab.usual_strain, 1)
        drawn["strain"] = usual[:, None, None] * drawn["strain"]
        if kind == "near miss":
            drawn["strain"] = self._near_miss_strain(table.strain_basis, n)
        two_theta, area, fwhm = peaks(table, drawn, lab, self.radiation)
        lines = len(table.hkl)
        copies = two_theta.shape[1] // lines  # the doublet's second half belongs to the same lines
        s_squared = (np.sin(np.radians(two_theta / 2)) / self.radiation.mean) ** 2
        area = area * np.exp(-2 * self.rng.uniform(*lab.vibration, n)[:, None] * s_squared)
        area = area * np.tile(self._scatter((n, lines), lab.grains), copies)
        if kind == "lines lost":
            seen = (two_theta > drawn["low"][:, None]) & (two_theta < drawn["high"][:, None])
            kept = self._without_strong_lines(two_theta[:, :lines], (area * seen)[:, :lines])
            area = area * np.tile(kept, copies)
        own = (label, self.mass_factor[label]) if kind == "phase" else (len(self.tables),)
        return _Part(rows, two_theta, area, fwhm, *own)

    def _scatter(self, shape, widths) -> np.ndarray:
        """Factors of too few grains in the beam, and of all that a model of texture leaves out."""
        width = self.rng.choice(widths, shape[0], p=self.laboratory.grain_shares)[:, None]
        return np.exp(width * self.rng.normal(size=shape))

    def _near_miss_strain(self, basis, n: int) -> np.ndarray:
        rng, (smallest, largest) = self.rng, self.laboratory.near_miss
        amounts = rng.uniform(-largest, largest, (n, len(basis)))
        large = rng.choice((-1, 1), n) * rng.uniform(smallest, largest, n)
        amounts[np.arange(n), rng.integers(0, len(basis), n)] = large
        lengths_only = np.abs(basis).max(axis=(1, 2)) > 0.99
        alike = self._happens(self.laboratory.near_miss_alike, n)[:, None]
        amounts = np.where(alike, large[:, None] * lengths_only, amounts)
        return np.einsum("nk,kij->nij", amounts, basis)

    def _without_strong_lines(self, two_theta, area) -> np.ndarray:
        """Factors that take away one or two of the three strongest lines, and all close to them."""
        rng, lab, n = self.rng, self.laboratory, len(area)
        kept, strongest = np.ones_like(area), np.argsort(-area, axis=1)[:, :3]
        first = rng.integers(0, strongest.shape[1], n)
        second = self._happens(lab.second_lost, n)
        second = np.where(second, rng.integers(0, strongest.shape[1], n), first)
        for lost in (first, second):
            centre = two_theta[np.arange(n), strongest[np.arange(n), lost], None]
            kept[np.abs(two_theta - centre) < lab.lost_width] = 0
        return kept

    def _foreign_part(self, rows, sample) -> _Part:
        """Peaks of one invented crystal in each of the samples ``rows``."""
        n, rng, lab, source = len(rows), self.rng, self.laboratory, self.radiation
        which = rng.integers(0, len(self.foreign), n)
        d_spacing = self.foreign.d_spacing[which] * rng.uniform(*lab.foreign_scale, n)[:, None]
        jitter = lab.foreign_jitter * self._happens(lab.foreign_jitter_chance, n)[:, None]
        d_spacing = d_spacing * (1 + jitter * rng.normal(size=d_spacing.shape))
        there = d_spacing > 0.51 * source.k_alpha2
        d_spacing = np.where(there, d_spacing, 2.0)
        theta = np.arcsin(source.mean / 2 / d_spacing)
        area = self.foreign.strength[which] * lorentz_polarisation(theta) * there
        area *= np.exp(-rng.uniform(*lab.foreign_vibration, n)[:, None] / (2 * d_spacing**2))
        area *= self._scatter(area.shape, lab.foreign_grains)
        drawn = {key: sample[key][rows] for key in ("caglioti", "zero_shift", "displacement")}
        drawn["micro_strain"] = rng.uniform(*lab.micro_strain, n)
        drawn["domain_size"] = self._sizes(rows, sample)
        return _Part(rows, *observed_peaks(theta, area, drawn, lab, source), len(self.tables))

    def _assemble(self, n: int, parts: Sequence[_Part], given_mass):
        """All peaks side by side and the masses; without these, the strongest lines are drawn."""
        total = max(1, sum(p.area.shape[1] for p in parts))  # a blank sample: one of no area
        two_theta, area = np.zeros((n, total)), np.zeros((n, total))
        fwhm, owner = np.ones((n, total)), np.full(total, len(self.tables))
        mass = np.zeros((n, len(self.tables)))
        start = 0
        for part in parts:
            rows, columns = part.rows, slice(start, start + part.area.shape[1])
            start = columns.stop
            scale = self._log_even(self.laboratory.height, len(rows)) / part.area.max(axis=1)
            if part.mass and given_mass is not None:
                scale = given_mass[rows, part.owner] / part.mass
            two_theta[rows, columns], fwhm[rows, columns] = part.two_theta, part.fwhm
            area[rows, columns] = part.area * scale[:, None]
            owner[columns] = part.owner
            if part.mass:
                mass[rows, part.owner] += scale * part.mass
        if given_mass is not None:
            # Scale factors have a unit of their own; what is foreign goes by the strongest line.
            own = owner < len(self.tables)
            top = area[:, own].max(axis=1, initial=0)
            area[:, own] /= np.where(top > 0, top, 1)[:, None]
        return two_theta, area, fwhm, owner, mass

    def _with_k_beta(self, two_theta, area, fwhm):
        """Some filters let a little K-beta through: ghosts of the strongest peaks."""
        n, lab = len(area), self.laboratory
        part = self.rng.uniform(*lab.k_beta, n) * self._happens(lab.k_beta_chance, n)
        count = min(N_GHOSTS, area.shape[1])
        strongest = np.argpartition(-area, count - 1, axis=1)[:, :count]
        angles, heights, widths = _columns(strongest, two_theta, area, fwhm)
        theta = change_wavelength(np.radians(angles / 2), self.radiation.mean, K_BETA)
        ghosts = (np.degrees(2 * theta), heights * part[:, None], widths)
        pairs = zip((two_theta, area, fwhm), ghosts, strict=True)
        return tuple(np.concatenate(pair, axis=1) for pair in pairs)

    def _measure(self, pattern, given_counts, background):
        """Counts over a background, and its noise in parts of the highest peak.

        The noise is that of a mean over `LINE_POINTS`; the shape of the background is left out.
        """
        rng, lab, n, x = self.rng, self.laboratory, len(pattern), self.grid.two_theta
        level = _given(background, self._log_even(lab.background, n))
        shape = rng.random(n)[:, None] + 1e-3
        series = rng.normal(size=(n, 6)) / np.arange(1, 7)
        shape = shape + rng.random(n)[:, None] * chebyshev_background(x, series)
        decay = rng.uniform(*lab.air_decay, n)[:, None]
        shape += lab.air * (rng.random(n) * rng.random(n))[:, None] * air_scattering(x, decay)
        shape /= shape.mean(axis=1, keepdims=True)
        hump = self._happens(lab.hump_chance, n) * rng.uniform(*lab.hump, n) * rng.random(n)
        centre, width = rng.uniform(*lab.hump_centre, n), rng.uniform(*lab.hump_width, n)
        counts = _given(given_counts, self._log_even(lab.counts, n))
        expected = pattern + level * shape + hump[:, None] * amorphous_hump(x, centre, width)
        expected *= counts
        # The normal law stands for Poisson's above 20 counts: the same to the eye, far faster.
        normal = rng.standard_normal(expected.shape, dtype=np.float32)
        seen = np.maximum(expected + np.sqrt(expected) * normal, 0)
        few = expected < 20
        seen[few] = rng.poisson(expected[few])
        coarse = self._happens(lab.coarse, n)
        middle = seen[coarse]
        middle[:, 1:-1:2] = (middle[:, :-2:2] + middle[:, 2::2]) / 2
        seen[coarse] = middle
        calculated = self._happens(lab.calculated, n) & (given_counts is None)
        seen[calculated] = 1000 * pattern[calculated]
        noise = np.where(calculated, 0, np.sqrt(level / counts / LINE_POINTS)[:, 0])
        return seen.astype(np.float32), noise


def _columns(chosen, *arrays):
    return [np.take_along_axis(array, chosen, 1) for array in arrays]


def _given(value, drawn) -> np.ndarray:
    """What the caller asked for, or else what was drawn, as a column (n, 1)."""
    return np.broadcast_to(drawn if value is None else value, drawn.shape).astype(float)[:, None]
