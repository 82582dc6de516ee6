"""A phase's lines, ready to be fitted: their places, strengths and shapes, with derivatives.

All that does not change in a fit is computed once: structure factors with anomalous dispersion and
thermal motion in `PhaseLines`, angles and strengths for one scan's wavelength in `LineSet`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

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
from ..errors import DataError
from ..phases import Phase
from ..simulation import gaussian, lorentzian, march_dollase, scherrer_fwhm, strain_fwhm

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
#: How far a profile is drawn at least and at most, in widths at half maximum.
REACH = 2.0, 16.0


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

    def dispersion_at(self, source: Radiation) -> np.ndarray:
        """f' + i f'' of each element, from the stored tables where the radiation is a tube's."""
        for anode, values in zip(RADIATIONS.values(), self.dispersion, strict=True):
            if anode == source:
                return values
        return np.array([anomalous_dispersion(e, source.mean) for e in self.table.elements])


def phase_lines(phase: Phase, d_min: float = 0.8, strain: float = 0.015) -> PhaseLines:
    """Prepare a phase for fits that use d-spacings of at least ``d_min`` Å.

    Displacement parameters are those of the structure's site property ``b_iso`` if it has one,
    else usual values by element, `USUAL_B`.
    """
    structure = phase.structure
    table = reflections(phase, d_min, strain)
    given = structure.site_properties.get("b_iso")
    b_iso = []
    for element in table.elements:
        sites = [
            i for i, site in enumerate(structure) if element in {s.symbol for s in site.species}
        ]
        b_iso.append(np.mean([given[i] for i in sites]) if given else _B.get(element, 0.6))
    dispersion = [
        [anomalous_dispersion(e, r.mean) for e in table.elements] for r in RADIATIONS.values()
    ]
    return PhaseLines(
        name=phase.name,
        table=table,
        d_min=d_min,
        b_iso=np.array(b_iso, dtype=float),
        dispersion=np.array(dispersion, dtype=complex),
        mass_factor=float(structure.density * structure.volume**2),
    )


@dataclass
class Crystal:
    """The state of one phase in a fit; what a cell, its crystallites and their orientation do.

    Attributes
    ----------
    scale : of its pattern, whose strongest line has the area 1 (counts times degrees)
    strain : (k,), amounts of the table's basis strains
    log_size, log_strain : natural logarithms of the crystallite size in nm and the micro-strain
    eta : Lorentzian part of the profile
    extra_b : added to all displacement parameters, Å^2
    log_r, axis : March-Dollase parameter's logarithm, and which of `AXES`, None without texture
    """

    scale: float
    strain: np.ndarray
    log_size: float = float(np.log(40.0))
    log_strain: float = float(np.log(4e-4))
    eta: float = 0.5
    extra_b: float = 0.0
    log_r: float = 0.0
    axis: int | None = None

    @property
    def shape(self) -> tuple[str, ...]:
        """The parameters beside scale and cell."""
        usual = ("log_size", "log_strain", "eta", "extra_b")
        return usual if self.axis is None else (*usual, "log_r")


class LineSet:
    """The lines of one phase within one scan's range.

    Parameters
    ----------
    lines : PhaseLines
    source : Radiation
    low, high : degrees; lines that no shift or strain brings into this range are left out

    Attributes
    ----------
    q : float, (r, 3), reciprocal vectors of the unstrained cell, 1/Å
    area : float, (r,), areas, the strongest 1
    unit : the area, in electrons squared, that was set to 1
    """

    def __init__(self, lines: PhaseLines, source: Radiation, low: float, high: float):
        table = lines.table
        q = table.hkl @ np.linalg.inv(table.lattice).T
        s_squared = (q * q).sum(axis=1) / 4
        sine = source.mean * np.sqrt(s_squared)
        edges = np.sin(np.radians(np.clip([low - 1, high + 1], 0.01, 179) / 2))
        inside = np.flatnonzero((sine > edges[0]) & (sine < edges[1]))
        if not len(inside):
            raise DataError(f"{lines.name} has no lines between {low:.1f} and {high:.1f} degrees.")
        theta = np.arcsin(sine[inside])
        area = _squared_structure_factors(lines, source)[inside] * table.multiplicity[inside]
        area *= lorentz_polarisation(theta)
        kept = area > WEAKEST * area.max()
        chosen, self.area, theta = inside[kept], area[kept], theta[kept]
        self.phase, self.source, self.unit = lines, source, self.area.max()
        self.area = self.area / self.unit
        self.q, self.s_squared = q[chosen], s_squared[chosen]
        self.two_theta = np.degrees(2 * theta)
        self.basis = table.strain_basis
        self._equivalents, self._cosines = table.equivalents[chosen], None
        single = source.k_alpha1 == source.k_alpha2
        self.doublet = (
            [(source.mean, 1.0)] if single else [(source.k_alpha1, 2 / 3), (source.k_alpha2, 1 / 3)]
        )

    @property
    def mass_factor(self) -> float:
        """Parts by weight that a scale of 1 means, for the unstrained cell."""
        return self.phase.mass_factor / self.unit

    @property
    def cos_squared(self) -> np.ndarray:
        """cos^2 of the angle between each line's normals and each of `AXES`, (axes, r, e)."""
        metric = reciprocal_metric(self.phase.table.lattice)
        h = self._equivalents.astype(float)
        along = np.einsum("rej,jk,ak->are", h, metric, AXES, optimize=True) ** 2
        lengths = np.einsum("aj,jk,ak->a", AXES, metric, AXES)[:, None, None]
        return np.minimum(along / (lengths * 4 * self.s_squared[:, None]), 1)

    def places(self, strain, wavelength):
        """Bragg angles, radians, and d(2 theta)/d(strain), degrees, (r, k), of a strained cell."""
        inverse = np.linalg.inv(np.eye(3) + np.tensordot(strain, self.basis, 1))
        q = self.q @ inverse
        square = (q * q).sum(axis=1)
        theta = np.arcsin(np.minimum(wavelength / 2 * np.sqrt(square), 0.9999))
        relative = -np.einsum("ri,kij,rj->rk", q, inverse @ self.basis, q, optimize=True)
        slope = np.degrees(2 * np.tan(theta))[:, None] * relative / square[:, None]
        return theta, slope

    def table(self, crystal: Crystal, shift: float, log_width: float, displaced: bool = True):
        """Angles, widths and areas of the lines of a crystal with scale 1, doublets as one."""
        theta, _ = self.places(crystal.strain, self.source.mean)
        place = np.degrees(2 * theta) + shift * (np.cos(theta) if displaced else 1)
        width = (
            np.exp(2 * log_width)
            + scherrer_fwhm(theta, np.exp(crystal.log_size), self.source.mean) ** 2
        )
        width = np.sqrt(width + strain_fwhm(theta, np.exp(crystal.log_strain)) ** 2)
        fading = np.exp(-2 * crystal.extra_b * self.s_squared)
        return place, width, self.area * fading * self.texture(crystal)[0]

    def texture(self, crystal: Crystal):
        """March-Dollase factor of each line and its derivative with respect to log r, (r,)."""
        if crystal.axis is None:
            return np.ones(len(self.area)), np.zeros(len(self.area))
        if self._cosines is None:
            self._cosines = self.cos_squared
        c, r = self._cosines[crystal.axis], np.exp(crystal.log_r)
        base = r * r * c + (1 - c) / r
        slope = -1.5 * base**-2.5 * (2 * r * r * c - (1 - c) / r)
        return march_dollase(c, r).mean(axis=1), slope.mean(axis=1)

    def draw(self, x, crystal: Crystal, shift: float, log_width: float, displaced: bool = True):
        """The pattern at the angles ``x`` and its derivatives.

        Widths of instrument, crystallite size and micro-strain add in squares, as in `simulation`.

        Parameters
        ----------
        x : float, (n,), degrees, increasing
        crystal : its scale is left out
        shift : degrees; times cos(theta) if the sample is ``displaced``, else a zero shift
        log_width : logarithm of the instrument's width, degrees

        Returns
        -------
        float, (n, 2 + k + 5 or 6): derivatives with respect to shift and log_width, then the
        pattern itself, then derivatives with respect to strain, log_size, log_strain, eta, extra_b
        and, if there is texture, log_r
        """
        texture, by_log_r = self.texture(crystal)
        fading = np.exp(-2 * crystal.extra_b * self.s_squared)
        size, micro_strain = np.exp(crystal.log_size), np.exp(crystal.log_strain)
        tables = []
        for wavelength, part in self.doublet:
            theta, slope = self.places(crystal.strain, wavelength)
            cosine = np.cos(theta) if displaced else np.ones_like(theta)
            by_size = scherrer_fwhm(theta, size, wavelength) ** 2
            by_strain = strain_fwhm(theta, micro_strain) ** 2
            width = np.sqrt(np.exp(2 * log_width) + by_size + by_strain)
            centre = np.degrees(2 * theta) + shift * cosine
            area = part * self.area * texture * fading
            tables.append((centre, width, area, cosine, slope, by_size, by_strain))
        centre, width, area, cosine, slope, by_size, by_strain = (
            np.concatenate(column) for column in zip(*tables, strict=True)
        )
        twice = np.tile(np.arange(len(self.area)), len(tables))

        rows, line = _windows(x, centre, width, area)
        u, w = x[rows] - centre[line], width[line]
        bell, tails = gaussian(u, w), lorentzian(u, w)
        square = (u / w) ** 2
        eta, ln2 = crystal.eta, np.log(2)
        inner, outer = (1 - eta) * bell * (8 * ln2), eta * tails * (8 / (1 + 4 * square))
        value = eta * tails + (1 - eta) * bell
        by_centre = (inner + outer) * u / w**2
        by_width = ((inner + outer) * square - value) / w

        ones = np.ones_like(area)
        on_value = [ones, -2 * self.s_squared[twice]]
        textured = crystal.axis is not None
        if textured:
            on_value.append((by_log_r / texture)[twice])
        on_centre = [cosine, *slope.T]
        on_width = [
            c / width for c in (np.full_like(area, np.exp(2 * log_width)), -by_size, by_strain)
        ]
        shape = len(x), len(area)
        start = np.concatenate([[0], np.cumsum(np.bincount(line, minlength=len(area)))])

        def spread(values, columns):
            weights = area[:, None] * np.stack(columns, axis=1)
            return csc_matrix((values, rows, start), shape=shape) @ weights

        v = spread(value, on_value)
        c = spread(by_centre, on_centre)
        f = spread(by_width, on_width)
        e = spread(tails - bell, [ones])
        return np.concatenate(
            [c[:, :1], f[:, :1], v[:, :1], c[:, 1:], f[:, 1:], e, v[:, 1:]], axis=1
        )


def _windows(x, centre, width, area):
    """Which points each line is drawn at: their indices, and the line each belongs to."""
    height = area / width
    reach = np.sqrt(height / height.max() / TOLERANCE) / 2
    reach = width * np.clip(reach, *REACH)
    first, last = np.searchsorted(x, centre - reach), np.searchsorted(x, centre + reach)
    count = last - first
    line = np.repeat(np.arange(len(centre)), count)
    begin = np.cumsum(count) - count
    return np.arange(len(line)) + (first - begin)[line], line


def _squared_structure_factors(lines: PhaseLines, source: Radiation) -> np.ndarray:
    """|F|^2 with dispersion and thermal motion, the mean of hkl and -h-k-l, electrons squared."""
    table = lines.table
    s_squared = ((table.hkl @ np.linalg.inv(table.lattice).T) ** 2).sum(axis=1) / 4
    fading = table.geometric * np.exp(-np.outer(s_squared, lines.b_iso))
    dispersion = lines.dispersion_at(source)
    pair = [replace(table, geometric=g) for g in (fading, fading.conj())]
    return sum(np.abs(structure_factor(t, s_squared, dispersion)) ** 2 for t in pair) / 2
