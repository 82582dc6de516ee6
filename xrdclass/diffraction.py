"""Where a crystal's reflections lie and how strong they are, for batches of strained cells."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from .errors import DataError
from .files.wavelengths import anode, in_angstrom

if TYPE_CHECKING:
    from .phases import Phase


@dataclass(frozen=True)
class Radiation:
    """The X-rays of one tube: mean K-alpha wavelength and the two lines of the doublet, in Å."""

    name: str
    mean: float
    k_alpha1: float
    k_alpha2: float


#: Doublets from Hölzer et al. (1997), Phys. Rev. A 56, 4554 (Cr to Cu), and Deslattes et al.
#: (2003), Rev. Mod. Phys. 75, 35 (Mo); means as in common use, close to (2 K-alpha1 + K-alpha2)/3.
RADIATIONS = {
    r.name: r
    for r in (
        Radiation("Cr", 2.29100, 2.289726, 2.293651),
        Radiation("Fe", 1.93735, 1.936041, 1.939973),
        Radiation("Co", 1.79026, 1.788996, 1.792835),
        Radiation("Cu", 1.54184, 1.540593, 1.544427),
        Radiation("Mo", 0.71073, 0.709317, 0.713607),
    )
}
#: Silver (Deslattes et al.), which lesson 01 leaves out.
_SELDOM = {"Ag": Radiation("Ag", 0.56089, 0.559422, 0.563813)}


def radiation(value) -> Radiation:
    """The radiation meant by a name, a wavelength or an energy.

    Names are "Cu", "CuKa1", "Co Kα", "cobalt"; lengths are in Å unless they have a unit, as
    "0.179 nm" or "17.4 keV" do. A length within 0.002 Å of an anode's doublet means that
    anode's; any other is a single line, such as a synchrotron's, without a doublet.

    Raises
    ------
    DataError
        If it is neither a known anode nor a wavelength between 0.1 and 10 Å.

    Examples
    --------
    >>> radiation("CuKa").mean, radiation(0.5).k_alpha2
    (1.54184, 0.5)
    """
    if isinstance(value, Radiation):
        return value
    text, tubes = str(value).strip(), RADIATIONS | _SELDOM
    if (name := anode(text)) in tubes:
        return tubes[name]
    length = in_angstrom(text) or 0.0
    if not 0.1 <= length <= 10:
        raise DataError(
            f"Expected a wavelength in Å between 0.1 and 10, or one of {', '.join(tubes)}, or one "
            f"with a unit such as '0.179 nm' or '17.4 keV'; got {text!r}."
        )
    for known in tubes.values():
        if known.k_alpha1 - 0.002 < length < known.k_alpha2 + 0.002:
            return known
    return Radiation(f"{length:g} Å", length, length, length)


@dataclass(frozen=True)
class Reflections:
    """What stays constant of a phase's reflections when its cell is strained.

    A homogeneous strain moves the lattice but keeps fractional coordinates, so the geometric
    structure factors G = sum over atoms of occupancy * exp(2 pi i h.x), one an element, are
    constants; only the atomic scattering factors change, with 1/d.

    Attributes
    ----------
    name : the phase's name
    lattice : float, (3, 3), rows are the cell vectors in Å
    hkl : int, (r, 3), one reflection of each set of symmetry equivalents
    multiplicity : int, (r,)
    equivalents : int, (r, e, 3), the equivalents, Friedel mates left out; all equally often
    elements : their symbols
    geometric : complex, (r, elements), G
    scattering : float, (elements, 9), atomic number, then a and b of the scattering factor
    strain_basis : float, (k, 3, 3), the strains that keep the crystal system
    """

    name: str
    lattice: np.ndarray
    hkl: np.ndarray
    multiplicity: np.ndarray
    equivalents: np.ndarray
    elements: tuple[str, ...]
    geometric: np.ndarray
    scattering: np.ndarray
    strain_basis: np.ndarray


def reflections(phase: Phase, d_min: float, strain: float = 0.0) -> Reflections:
    """All reflections of a phase with a d-spacing of at least ``d_min`` Å.

    With a ``strain``, also those that reach ``d_min`` once the free parameters of the cell change
    by up to so much.
    """
    structure = phase.structure
    lattice = np.array(structure.lattice.matrix)
    rotations, cartesian = _point_group(structure)
    strain_basis = _strain_basis(cartesian)
    d_min = d_min / (1 + strain * _largest_stretch(strain_basis))
    hkl, _ = planes_within(lattice, d_min)

    # The first of each set of equivalents (the largest code) stands for all of them.
    images = np.einsum("nk,gkl->ngl", hkl, rotations)
    codes = _code(images)
    representative = _code(hkl) == codes.max(axis=1)
    hkl, images, codes = hkl[representative], images[representative], codes[representative]
    multiplicity = np.array([len(np.unique(row)) for row in codes], dtype=int)

    elements, occupancy, coordinates = _scatterers(structure)
    geometric = np.exp(2j * np.pi * hkl @ coordinates.T) @ occupancy.T
    present = (np.abs(geometric) > 1e-5).any(axis=1)
    return Reflections(
        name=phase.name,
        lattice=lattice,
        hkl=hkl[present],
        multiplicity=multiplicity[present],
        equivalents=images[present][:, : len(rotations) // 2],
        elements=tuple(elements),
        geometric=geometric[present],
        scattering=np.array([scattering_parameters(e) for e in elements]),
        strain_basis=strain_basis,
    )


def _point_group(structure) -> tuple[np.ndarray, np.ndarray]:
    """The Laue group: rotations of Miller indices (g, 3, 3) and of space (g, 3, 3).

    The second half of the first array is the first half times -1. The symmetry finder forgives
    small distortions; operations that the cell itself does not have are left out, as they would
    move its lines.
    """
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    operations = SpacegroupAnalyzer(structure, symprec=0.01).get_symmetry_operations()
    matrices = np.unique(
        np.array([np.rint(op.rotation_matrix).astype(int) for op in operations]), axis=0
    )
    proper = matrices[np.rint(np.linalg.det(matrices)) > 0]
    improper = -matrices[np.rint(np.linalg.det(matrices)) < 0]
    proper = np.unique(np.concatenate([proper, improper]), axis=0)
    columns = np.array(structure.lattice.matrix).T
    metric = columns.T @ columns
    change = np.abs(proper.transpose(0, 2, 1) @ metric @ proper - metric).max(axis=(1, 2))
    proper = proper[change <= 1e-5 * metric.max()]
    cartesian = columns @ proper @ np.linalg.inv(columns)
    return np.concatenate([proper, -proper]), cartesian


def planes_within(lattice: np.ndarray, d_min: float) -> tuple[np.ndarray, np.ndarray]:
    """All hkl, (n, 3), except 000, whose d-spacing is at least ``d_min`` Å, and these, (n,)."""
    largest = np.floor(np.linalg.norm(lattice, axis=1) / d_min).astype(int)
    axes = [np.arange(-m, m + 1) for m in largest]
    hkl = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    hkl = hkl[hkl.any(axis=1)]
    d = d_spacing(hkl, lattice)
    return hkl[d >= d_min], d[d >= d_min]


def _code(hkl: np.ndarray) -> np.ndarray:
    """One integer for each hkl triple, ordered as the triples are."""
    return (hkl[..., 0] * 2048 + hkl[..., 1]) * 2048 + hkl[..., 2]


def _scatterers(structure) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Elements, occupancies (elements, sites) and fractional coordinates (sites, 3)."""
    coordinates = np.array([site.frac_coords for site in structure])
    elements = sorted({species.symbol for site in structure for species in site.species})
    occupancy = np.zeros((len(elements), len(structure)))
    for column, site in enumerate(structure):
        for species, amount in site.species.items():
            occupancy[elements.index(species.symbol), column] += amount
    return elements, occupancy, coordinates


def atomic_scattering_factor(parameters, s_squared: np.ndarray, dispersion=0.0) -> np.ndarray:
    """Electrons that an atom scatters like, f = Z - 41.78214 s^2 sum a exp(-b s^2) + dispersion.

    ``parameters`` are an element's `scattering_parameters`; ``s_squared`` is
    (sin theta / lambda)^2 in Å^-2, of any shape.
    """
    z, a, b = parameters[0], parameters[1:5], parameters[5:]
    total = np.zeros_like(s_squared)
    for a_i, b_i in zip(a, b, strict=True):
        total += a_i * np.exp(-b_i * s_squared)
    return z + dispersion - 41.78214 * s_squared * total


@cache
def scattering_parameters(symbol: str) -> np.ndarray:
    """Z, four a and four b of an element, (9,), as pymatgen ships them."""
    from pymatgen.analysis.diffraction.xrd import ATOMIC_SCATTERING_PARAMS
    from pymatgen.core import Element

    a, b = np.array(ATOMIC_SCATTERING_PARAMS[symbol]).T
    return np.concatenate([[Element(symbol).Z], a, b])


def _strain_basis(rotations: np.ndarray) -> np.ndarray:
    """Symmetric strains that commute with the point group, so that the crystal system stays.

    Each unit strain is averaged over the group; what survives is a free parameter of the cell.
    The largest stretch of a basis strain is 1, the largest shear angle 1 radian.
    """
    basis = []
    for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        unit = np.zeros((3, 3))
        unit[i, j] = unit[j, i] = 1
        strain = (rotations @ unit @ rotations.transpose(0, 2, 1)).mean(axis=0)
        if np.abs(strain).max() < 1e-6:
            continue
        strain = strain / np.abs(strain).max() * (1 if i == j else 0.5)
        strain[np.abs(strain) < 1e-12] = 0
        known = np.array([b.ravel() for b in basis + [strain]])
        if np.linalg.matrix_rank(known, tol=1e-6) == len(known):
            basis.append(strain)
    return np.array(basis)


def _largest_stretch(basis: np.ndarray) -> float:
    """The largest relative change of any length when each basis strain is drawn from -1 to 1."""
    corners = np.array(list(itertools.product((-1, 1), repeat=len(basis))))
    return float(np.abs(np.linalg.eigvalsh(np.einsum("nk,kij->nij", corners, basis))).max())


def reciprocal_metric(lattice) -> np.ndarray:
    """G*, Å^-2, of cells whose vectors are the rows of ``lattice``, (3, 3) or (n, 3, 3)."""
    inverse = np.linalg.inv(lattice)
    return inverse.swapaxes(-1, -2) @ inverse


def inverse_square(hkl, metric) -> np.ndarray:
    """1/d^2 = h G* h of hkl, (r, 3), for one metric or for n: (r,) or (n, r), Å^-2."""
    h, k, m = np.asarray(hkl, dtype=float).T
    quadratic = np.stack([h * h, k * k, m * m, 2 * k * m, 2 * h * m, 2 * h * k])
    return metric[..., (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)] @ quadratic


def d_spacing(hkl, lattice) -> np.ndarray:
    """Distances of the planes hkl, (r, 3), not 000, of one cell or of n: (r,) or (n, r), Å."""
    return 1 / np.sqrt(inverse_square(hkl, reciprocal_metric(lattice)))


def structure_factor(table: Reflections, s_squared, dispersion=0.0) -> np.ndarray:
    """F = sum over atoms of f exp(2 pi i h.x), the atoms of each element taken together.

    Parameters
    ----------
    table : Reflections of one phase
    s_squared : float, (n, r), (sin theta / lambda)^2 in each of n cells, Å^-2
    dispersion : (elements,), optional; what the wavelength adds to each element's f, electrons

    Returns
    -------
    complex, (n, r), electrons
    """
    added = np.broadcast_to(dispersion, len(table.elements))
    parts = zip(table.scattering, added, table.geometric.T, strict=True)
    return sum(atomic_scattering_factor(p, s_squared, extra) * g for p, extra, g in parts)


def lorentz_polarisation(theta) -> np.ndarray:
    """Factor (1 + cos^2 2theta) / (sin^2 theta cos theta) of an unpolarised tube; radians."""
    return (1 + np.cos(2 * theta) ** 2) / (np.sin(theta) ** 2 * np.cos(theta))


def bragg(table: Reflections, wavelength: float, strain: np.ndarray):
    """Bragg angles and integrated intensities of a batch of strained cells.

    Bragg's law, and intensity = multiplicity * |F|^2 * Lorentz-polarisation factor, without
    texture or absorption.

    Parameters
    ----------
    table : Reflections of one phase
    wavelength : Å
    strain : float, (n, 3, 3), symmetric; a cell vector v becomes v (1 + strain)

    Returns
    -------
    theta : float, (n, r), radians; NaN where a reflection lies beyond 2theta = 180 degrees
    intensity : float, (n, r), arbitrary units, 0 where theta is NaN
    reciprocal_metric : float, (n, 3, 3), so that 1/d^2 = h G* h, Å^-2
    """
    metric = reciprocal_metric(table.lattice @ (np.eye(3) + strain))
    s_squared = inverse_square(table.hkl, metric) / 4  # (sin theta / lambda)^2
    sine = wavelength * np.sqrt(s_squared)
    theta = np.arcsin(np.where(sine < 1, sine, np.nan))
    factor = structure_factor(table, s_squared)
    intensity = table.multiplicity * (factor.real**2 + factor.imag**2) * lorentz_polarisation(theta)
    return theta, np.where(sine < 1, intensity, 0.0), metric


def change_wavelength(theta, wavelength: float, other: float) -> np.ndarray:
    """Where the planes that reflect one wavelength at ``theta`` reflect another; radians.

    NaN where the other one is too long for their d-spacing.
    """
    with np.errstate(invalid="ignore"):
        return np.arcsin(np.sin(theta) * other / wavelength)


@dataclass(frozen=True)
class Lines:
    """The lines of an ideal powder pattern, by increasing angle.

    Attributes
    ----------
    hkl : int, (r, 3)
    multiplicity : int, (r,)
    d_spacing : float, (r,), Å
    two_theta : float, (r,), degrees
    intensity : float, (r,), the strongest is 100
    """

    hkl: np.ndarray
    multiplicity: np.ndarray
    d_spacing: np.ndarray
    two_theta: np.ndarray
    intensity: np.ndarray

    def strongest(self, count: int) -> np.ndarray:
        """The indices of the strongest lines, strongest first."""
        return np.argsort(-self.intensity, kind="stable")[:count]


def lines(phase: Phase, wavelength="Cu", two_theta=(5.0, 90.0), strain=None) -> Lines:
    """The lines of a phase within a range of angles.

    Parameters
    ----------
    phase : Phase
    wavelength : a name such as "Cu" or a length in Å
    two_theta : first and last angle, degrees
    strain : float, (3, 3), optional; a symmetric strain of the cell

    Returns
    -------
    Lines
        Reflections weaker than 1e-5 of the strongest are left out, as in pymatgen.
    """
    length = radiation(wavelength).mean
    strain = np.zeros((3, 3)) if strain is None else np.asarray(strain, dtype=float)
    stretch = 1 + np.abs(np.linalg.eigvalsh(strain)).max()
    d_min = length / 2 / np.sin(np.radians(two_theta[1] / 2)) / stretch
    table = reflections(phase, d_min * (1 - 1e-9))
    theta, intensity, _ = bragg(table, length, strain[None])
    angle = np.degrees(2 * theta[0])
    intensity = intensity[0]
    inside = (angle >= two_theta[0]) & (angle <= two_theta[1])
    inside &= intensity > 1e-5 * intensity[inside].max(initial=0)
    order = np.flatnonzero(inside)[np.argsort(angle[inside], kind="stable")]
    return Lines(
        hkl=table.hkl[order],
        multiplicity=table.multiplicity[order],
        d_spacing=length / 2 / np.sin(theta[0][order]),
        two_theta=angle[order],
        intensity=100 * intensity[order] / intensity[order].max(initial=1e-300),
    )


def convert_two_theta(two_theta, measured_with, shown_for) -> np.ndarray:
    """The angles, (n,), degrees, at which the same d-spacings appear with another wavelength.

    Wavelengths are names such as "Co" or lengths in Å. NaN where the other one cannot reach the
    d-spacing.
    """
    theta = np.radians(np.asarray(two_theta, dtype=float) / 2)
    lengths = radiation(measured_with).mean, radiation(shown_for).mean
    return np.degrees(2 * change_wavelength(theta, *lengths))
