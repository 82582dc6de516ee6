"""A phase's lines, ready to be fitted: their places, strengths and shapes, with derivatives.

All that does not change in a fit is computed once: structure factors with anomalous dispersion and
thermal motion in `PhaseLines`, angles and strengths for one scan's wavelength in `LineSet`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np
from scipy.sparse import csc_matrix

from ..diffraction import (
    RADIATIONS,
    Radiation,
    Reflections,
    lorentz_polarisation,
    reciprocal_metric,
    reflections,
    structure_factor,
)
from ..phases import Phase
from ..simulation import doublet, gaussian, lorentzian, march_dollase, scherrer_fwhm, strain_fwhm

#: Displacement parameters B, Å^2, at room temperature as inorganic crystals usually have them:
#: hard ones with strong bonds less, large single-charged ions more.
USUAL_B = {
    0.3: "Be B C Al Si Cr Co Ni Fe Ru Rh Ir Os W Re Pt",
    0.4: "N O Mg Ti V Mn Zr Nb Mo Hf Ta Sn Ge Pd",
    0.6: "S Sc Cu Zn Ga As Se Y Cd Sb Te Ca Sr La Ce Pr Nd Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Th U",
    0.8: "F Li P Ba Au In",
    1.2: "Na Cl K Ag Br Rb I Cs Hg Tl Pb Bi",
    2.0: "H D",
}
_B = {symbol: b for b, symbols in USUAL_B.items() for symbol in symbols.split()}

#: Directions that preferred orientation is looked for along, as hkl.
AXES = np.array([(0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1)])
#: Lines below this part of the strongest are left out, and profiles cut where they fall below.
WEAKEST, TOLERANCE = 2e-3, 1e-3
#: How far a profile is drawn at least and at most, in widths at half maximum; and in degrees, where
#: that is more than the least: what lies beyond is as smooth as the background.
REACH, FARTHEST = (2.0, 16.0), 5.0
#: Means over intervals widen lines: this times the interval's square adds to the width's square,
#: 8 ln 2 times the variance 1/12 of an even distribution.
BIN_WIDTH = 8 * np.log(2) / 12


@cache
def anomalous_dispersion(symbol: str, wavelength: float) -> complex:
    """f' + i f'' of an element, electrons, from Chantler's tables in `xraydb`; 0 beyond them.

    C. T. Chantler (2000), J. Phys. Chem. Ref. Data 29, 597-1048. ``wavelength`` in Å.
    """
    import xraydb

    energy = 12398.42 / wavelength  # eV
    if symbol == "D" or xraydb.atomic_number(symbol) > 92:
        return 0j
    return complex(xraydb.f1_chantler(symbol, energy), xraydb.f2_chantler(symbol, energy))


@dataclass(frozen=True, eq=False)
class PhaseLines:
    """What a fit needs of a phase, whatever the scan; arrays only, so that a file can keep it.

    Attributes
    ----------
    name : the phase's name
    table : Reflections down to ``d_min``
    d_min : Å
    b_iso : float, (elements,), displacement parameters B, Å^2
    dispersion : complex, (anodes, elements), f' + i f'' with each of `diffraction.RADIATIONS`
    mass_factor : mass of the cell times its volume; a phase's weight is this times its scale
        factor (Hill & Howard 1987, J. Appl. Cryst. 20, 467-474)
    """

    name: str
    table: Reflections
    d_min: float
    b_iso: np.ndarray
    dispersion: np.ndarray
    mass_factor: float

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All but the words as float32 arrays, for a file."""
        arrays = {
            key: getattr(self, key) for key in ("d_min", "b_iso", "dispersion", "mass_factor")
        }
        arrays |= {key: getattr(self.table, key) for key in _OF_TABLE}
        for key in ("dispersion", "geometric"):
            arrays[key] = np.stack([arrays[key].real, arrays[key].imag])
        return {key: np.array(values, dtype=np.float32) for key, values in arrays.items()}

    @classmethod
    def from_arrays(cls, name: str, elements, arrays) -> PhaseLines:
        """What `to_arrays` made; ValueError if it does not fit together."""
        values = {key: np.asarray(a, dtype=float) for key, a in arrays.items()}
        r, n = len(values["hkl"]), len(elements)
        k, e = len(values["strain_basis"]), values["equivalents"].shape[1]
        shapes = {
            "lattice": (3, 3), "hkl": (r, 3), "multiplicity": (r,), "equivalents": (r, e, 3),
            "geometric": (2, r, n), "scattering": (n, 9), "strain_basis": (k, 3, 3), "b_iso": (n,),
            "dispersion": (2, len(RADIATIONS), n), "d_min": (), "mass_factor": (),
        }  # fmt: skip
        for key, shape in shapes.items():
            if values[key].shape != shape or not (np.abs(values[key]) < 1e12).all():
                raise ValueError(f"{key} must be finite numbers of the shape {shape}")
        if not r or k > 6 or abs(np.linalg.det(values["lattice"])) < 1e-3 or values["d_min"] <= 0:
            raise ValueError("a phase's lines are those of no crystal")
        for key in ("dispersion", "geometric"):
            values[key] = values[key][0] + 1j * values[key][1]
        for key in ("hkl", "equivalents"):
            values[key] = np.rint(values[key]).astype(int)
        table = {key: values.pop(key) for key in _OF_TABLE}
        table = Reflections(name, elements=tuple(map(str, elements)), **table)
        for key in ("d_min", "mass_factor"):
            values[key] = float(values[key])
        return cls(name, table, **{key: values[key] for key in shapes if key not in _OF_TABLE})


#: What of a table of reflections is kept in a file.
_OF_TABLE = (
    "lattice", "hkl", "multiplicity", "equivalents", "geometric", "scattering", "strain_basis",
)  # fmt: skip


def phase_lines(phase: Phase, d_min: float = 0.8, strain: float = 0.015) -> PhaseLines:
    """Prepare a phase for fits that use d-spacings of at least ``d_min`` Å.

    Displacement parameters are those of the structure's site property ``b_iso`` if it has one,
    else usual values by element, `USUAL_B`.
    """
    structure, table, b_iso = phase.structure, reflections(phase, d_min, strain), []
    given = structure.site_properties.get("b_iso")
    for element in table.elements:
        own = [i for i, site in enumerate(structure) if element in {s.symbol for s in site.species}]
        b_iso.append(np.mean([given[i] for i in own]) if given else _B.get(element, 0.6))
    anodes = [r.mean for r in RADIATIONS.values()]
    dispersion = np.array([[anomalous_dispersion(e, a) for e in table.elements] for a in anodes])
    mass_factor = float(structure.density * structure.volume**2)
    return PhaseLines(phase.name, table, d_min, np.array(b_iso, float), dispersion, mass_factor)


@dataclass
class Crystal:
    """The state of one phase in a fit; what a cell, its crystallites and their orientation do."""

    scale: float  # of its pattern, whose strongest line has the area 1 (counts times degrees)
    strain: np.ndarray  # (k,), amounts of the table's basis strains
    log_size: float = float(np.log(40.0))  # natural logarithm of the crystallite size in nm
    log_strain: float = float(np.log(4e-4))  # the same of the micro-strain
    eta: float = 0.5  # Lorentzian part of the profile
    extra_b: float = 0.0  # added to all displacement parameters, Å^2
    log_r: float = 0.0  # logarithm of the March-Dollase parameter
    axis: int | None = None  # which of `AXES`, None without texture

    @property
    def shape(self) -> tuple[str, ...]:
        """The parameters beside scale and cell."""
        usual = ("log_size", "log_strain", "eta", "extra_b")
        return usual if self.axis is None else (*usual, "log_r")


@dataclass(frozen=True)
class Instrument:
    """What all phases of a scan share."""

    shift: float  # degrees; of a displaced sample times cos(theta)
    log_width: float  # logarithm of the instrument's width at half maximum, degrees
    displaced: bool = True  # whether the sample is displaced; else the shift is a zero shift
    step: float = 0.0  # width of the intervals that points are means of, degrees


class LineSet:
    """The lines of one phase within one scan's range.

    Parameters
    ----------
    lines : PhaseLines
    source : Radiation
    low, high : degrees; lines that no shift or strain brings into this range are left out

    Attributes
    ----------
    two_theta, area : float, (r,), degrees, of the unstrained cell, and areas, the strongest 1
    s_squared : float, (r,), (sin theta / lambda)^2, Å^-2
    unit : the area, in electrons squared, that was set to 1
    seen : the part of the strong lines' intensity, down to the table's end, that is in the range
    """

    def __init__(self, lines: PhaseLines, source: Radiation, low: float, high: float):
        table = lines.table
        q = table.hkl @ np.linalg.inv(table.lattice).T
        s_squared = (q * q).sum(axis=1) / 4
        sine = source.mean * np.sqrt(s_squared)
        area = _squared_structure_factors(lines, source) * table.multiplicity
        inside = np.flatnonzero(sine < 0.998)
        theta = np.arcsin(sine[inside])
        two_theta, area = np.degrees(2 * theta), area[inside] * lorentz_polarisation(theta)
        clearly = (two_theta > low + 0.3) & (two_theta < high - 0.3)
        strong = area * (area > 0.04 * area.max(initial=0))
        self.seen = strong[clearly].sum() / max(strong.sum(), 1e-300)
        near = (two_theta > low - 1) & (two_theta < high + 1)
        self.unit = area.max(initial=1e-300, where=near)
        kept = near & (area > WEAKEST * self.unit)
        chosen, self.area, self.two_theta = inside[kept], area[kept] / self.unit, two_theta[kept]
        self.phase, self.source, self.s_squared = lines, source, s_squared[chosen]
        self._pairs = (q[chosen, :, None] * q[chosen, None]).reshape(-1, 9).T
        self.basis, self._flat = table.strain_basis, table.strain_basis.reshape(-1, 9)
        self._equivalents, self._cosines = table.equivalents[chosen].astype(float), None

    @property
    def mass_factor(self) -> float:
        """Parts by weight that a scale of 1 means, for the unstrained cell."""
        return self.phase.mass_factor / self.unit

    def places(self, strain):
        """Bragg angles of a strained cell, radians, and d(2 theta)/d(strain), degrees, (r, k)."""
        inverse = np.linalg.inv(np.eye(3) + (strain @ self._flat).reshape(3, 3))
        metric = inverse @ inverse.T
        metrics = np.concatenate([metric[None], inverse @ self.basis @ metric])
        square, *slopes = metrics.reshape(-1, 9) @ self._pairs
        theta = np.arcsin(np.minimum(self.source.mean / 2 * np.sqrt(square), 0.998))
        return theta, (np.degrees(-2 * np.tan(theta)) / square * np.array(slopes)).T

    def texture(self, crystal: Crystal):
        """March-Dollase factor of each line and its derivative with respect to log r, (r,)."""
        if crystal.axis is None:
            return np.ones(len(self.area)), np.zeros(len(self.area))
        if self._cosines is None:  # cos^2 of the angle between normals and axes, (axes, r, e)
            metric = reciprocal_metric(self.phase.table.lattice)
            along = np.einsum("rej,jk,ak->are", self._equivalents, metric, AXES, optimize=True) ** 2
            lengths = np.einsum("aj,jk,ak->a", AXES, metric, AXES)[:, None, None]
            self._cosines = np.minimum(along / (lengths * 4 * self.s_squared[:, None]), 1)
        c, r = self._cosines[crystal.axis], np.exp(crystal.log_r)
        factor, along, across = march_dollase(c, r), r * r * c, (1 - c) / r
        slope = -1.5 * factor * (2 * along - across) / (along + across)
        return factor.mean(axis=1), slope.mean(axis=1)

    def shapes(self, crystal: Crystal, instrument: Instrument):
        """Where the lines lie and how wide they are, degrees, both of a doublet taken as one.

        Returns
        -------
        place, width : float, (r,)
        slopes : of the places: float, (r, 1 + k), with respect to shift and strain
        squares : float, (r, 3), squared widths of instrument, crystallite size and micro-strain
        """
        theta, slope = self.places(crystal.strain)
        cosine = np.cos(theta) if instrument.displaced else np.ones_like(theta)
        squares = np.empty((len(theta), 3))
        squares[:, 0] = np.exp(2 * instrument.log_width)
        squares[:, 1] = scherrer_fwhm(theta, np.exp(crystal.log_size), self.source.mean) ** 2
        squares[:, 2] = strain_fwhm(theta, np.exp(crystal.log_strain)) ** 2
        width = np.sqrt(squares.sum(axis=1) + BIN_WIDTH * instrument.step**2)
        place = np.degrees(2 * theta) + instrument.shift * cosine
        return place, width, np.column_stack([cosine, slope]), squares

    def areas(self, crystal: Crystal) -> np.ndarray:
        """Areas of the lines of a crystal with scale 1, doublets as one, (r,)."""
        fading = np.exp(-2 * crystal.extra_b * self.s_squared)
        return self.area * fading * self.texture(crystal)[0]

    def draw(self, x, crystal: Crystal, instrument: Instrument, slopes=True) -> np.ndarray:
        """The pattern at the angles ``x`` and its derivatives; the crystal's scale is left out.

        Widths of instrument, crystallite size and micro-strain add in squares, as in `simulation`.

        Returns
        -------
        float32, (n,), if no ``slopes`` are asked for; else (n, 2 + k + 5 or 6): derivatives with
        respect to the instrument's shift and log_width, then the pattern itself, then derivatives
        with respect to strain and what `Crystal.shape` names
        """
        place, width, moves, squares = self.shapes(crystal, instrument)
        texture, by_log_r = self.texture(crystal)
        area, split = self.areas(crystal), [(place, 1.0)]
        if self.source.k_alpha1 != self.source.k_alpha2:
            pair = doublet(np.radians(place / 2), self.source)
            split = [(np.degrees(2 * theta), part) for theta, part in pair]
        place = np.concatenate([place for place, _ in split])
        height = np.concatenate([part * area / width for _, part in split])
        wide, times = np.tile(width, len(split)), len(split)
        first, last = _windows(x, place, wide, height)
        number = last - first
        start = np.concatenate([[0], np.cumsum(number)])
        rows = np.arange(start[-1]) + np.repeat(first - start[:-1], number)
        # Single precision will do from here on, and is faster.
        u = (x[rows] - np.repeat(place, number)).astype(np.float32)
        u /= np.repeat(wide.astype(np.float32), number)
        square, eta = u * u, float(crystal.eta)
        bell, tails = gaussian(u, 1.0), lorentzian(u, 1.0)
        inner, outer = (1 - eta) * bell, eta * tails
        value = inner + outer
        sparse = csc_matrix((len(x), len(height)), dtype=np.float32)
        sparse.indices, sparse.indptr = rows.astype(np.int32), start.astype(np.int32)
        if not slopes:
            sparse.data = value
            return sparse @ height.astype(np.float32)
        bent = inner * (8 * math.log(2)) + outer * (8 / (1 + 4 * square))
        width, height = width[:, None], height[:, None]
        on_area = [np.ones_like(texture), -2 * self.s_squared, by_log_r / texture]
        k, end = len(self.basis), 6 + len(self.basis) + len(crystal.shape) - 3
        result = np.empty((end, len(x)), dtype=np.float32)
        for values, by, columns in (
            (value, np.transpose(on_area[: end - k - 5]), [2, *range(k + 6, end)]),
            (bent * u, moves / width, [0, *range(3, k + 3)]),
            (bent * square - value, squares * (1, -1, 1) / width**2, [1, k + 3, k + 4]),
            (tails - bell, np.ones_like(width), [k + 5]),
        ):
            sparse.data = values
            result[columns] = (sparse @ (height * np.tile(by, (times, 1))).astype(np.float32)).T
        return result.T


def _windows(x, centre, width, height):
    """Which points each line is drawn at: the first, and the one after the last."""
    reach = np.sqrt(height / height.max() / TOLERANCE) / 2
    reach = width * np.minimum(np.maximum(reach, REACH[0]), REACH[1])
    reach = np.minimum(reach, np.maximum(REACH[0] * width, FARTHEST))
    return np.searchsorted(x, centre - reach), np.searchsorted(x, centre + reach)


@lru_cache(64)
def _squared_structure_factors(lines: PhaseLines, source: Radiation) -> np.ndarray:
    """|F|^2 with dispersion and thermal motion, the mean of hkl and -h-k-l, electrons squared."""
    table, anodes = lines.table, list(RADIATIONS.values())
    if source in anodes:
        dispersion = lines.dispersion[anodes.index(source)]
    else:
        dispersion = np.array([anomalous_dispersion(e, source.mean) for e in table.elements])
    s_squared = ((table.hkl @ np.linalg.inv(table.lattice).T) ** 2).sum(axis=1) / 4
    fading = table.geometric * np.exp(-np.outer(s_squared, lines.b_iso))
    pair = [replace(table, geometric=g) for g in (fading, fading.conj())]
    return sum(np.abs(structure_factor(t, s_squared, dispersion)) ** 2 for t in pair) / 2
