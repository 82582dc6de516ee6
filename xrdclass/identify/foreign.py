"""Invented crystals: what a classifier must learn not to call one of its phases.

Random lattices of all crystal systems, random atoms in random space groups, and the same physics
as for the real phases. No real compound is copied, so that none is learnt by heart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from ..diffraction import (
    RADIATIONS,
    atomic_scattering_factor,
    lorentz_polarisation,
    planes_within,
    scattering_parameters,
)

#: Space groups that many compounds have; the others are drawn less often.
COMMON_GROUPS = (
    14, 62, 2, 15, 225, 166, 12, 167, 227, 194, 63, 136, 139, 141, 148, 61, 60, 19, 176, 221,
    216, 186, 164, 129, 11, 58, 57, 64, 154,
)  # fmt: skip
#: Those of halite, fluorite, diamond and many metals, and the part of crystals with one or two
#: sites on a body diagonal of these: a network overlooks such few lines unless it sees many.
SIMPLE_GROUPS, SIMPLE = (225, 227, 216, 221, 229), 0.15
#: Elements by how often minerals hold them, roughly.
ELEMENTS = {
    "O": 30, "Si": 8, "Al": 5, "Ca": 5, "Fe": 5, "S": 5, "Mg": 3, "Na": 3, "Pb": 3, "Cu": 3,
    "Zn": 3, "P": 3, "As": 2, "Mn": 2, "K": 2, "F": 2, "Cl": 2, "Ti": 2, "C": 2, "Ba": 1, "Sb": 1,
    "Ag": 1, "Bi": 1, "Sn": 1, "V": 1, "Ni": 1, "Co": 1, "Zr": 1, "Cr": 1, "B": 1, "Nb": 1,
    "W": 1, "Ce": 1, "Sr": 1, "Mo": 1, "Hg": 1, "Se": 1, "Te": 1, "U": 1, "Y": 1,
}  # fmt: skip
#: Smallest d-spacing kept, Å: 2theta = 83 degrees with Cu K-alpha.
D_MIN = 1.16
#: Lines kept of each crystal.
N_LINES = 220


@dataclass(frozen=True)
class ForeignCrystals:
    """The lines of crystals that are none of a classifier's phases.

    Attributes
    ----------
    d_spacing : float32, (n, N_LINES), Å; 0 where a crystal has fewer lines
    strength : float32, (n, N_LINES), multiplicity times |F|^2, the largest is 1
    """

    d_spacing: np.ndarray
    strength: np.ndarray

    def __len__(self) -> int:
        return len(self.d_spacing)


def invent_crystals(n: int, seed: int = 0) -> ForeignCrystals:
    """Invent ``n`` crystals; the same seed invents the same ones.

    One to nine kinds of atoms sit on special or general positions of a random space group, at
    9 to 22 Å^3 an atom; in simple ones one or two on the diagonal of a cube.
    """
    rng = np.random.default_rng(seed)
    lines = []
    while len(lines) < n:
        found = _lines(*_random_crystal(rng))
        if found is not None:
            lines.append(found)
    d_spacing, strength = np.moveaxis(np.array(lines, dtype=np.float32), 1, 0)
    return ForeignCrystals(d_spacing, strength)


@cache
def _operations(group: int) -> tuple[np.ndarray, np.ndarray]:
    from pymatgen.symmetry.groups import SpaceGroup

    operations = SpaceGroup.from_int_number(group).symmetry_ops
    matrices = np.array(sorted(op.affine_matrix.tolist() for op in operations))
    return matrices[:, :3, :3], matrices[:, :3, 3]


def _random_crystal(rng):
    """Cell vectors (3, 3) in Å, and element -> fractional coordinates (atoms, 3)."""
    simple = rng.random() < SIMPLE
    group = int(rng.choice(COMMON_GROUPS)) if rng.random() < 0.6 else int(rng.integers(1, 231))
    group = int(rng.choice(SIMPLE_GROUPS)) if simple else group
    rotations, translations = _operations(group)
    names, weights = list(ELEMENTS), np.array(list(ELEMENTS.values()), dtype=float)
    atoms: dict[str, list] = {}
    count = 0
    for _ in range(rng.integers(1, 3 if simple else 10)):
        site = rng.random(3)
        special = rng.choice([0, 0, 0.25, 0.5, 0.5, 1 / 3, 0.75, 2 / 3], 3)
        site = np.where(rng.random(3) < rng.choice([0.2, 0.5, 0.8, 1.0]), special, site)
        if rng.random() < 0.2:
            site[1] = site[0]
        if simple:
            site[:] = rng.choice([0, 0.125, 0.25, 0.5])
        orbit = (rotations @ site + translations) % 1
        orbit = np.unique(np.rint(orbit * 10_000).astype(int) % 10_000, axis=0) / 10_000
        element = names[rng.choice(len(names), p=weights / weights.sum())]
        atoms.setdefault(element, []).append(orbit)
        count += len(orbit)
        if count > 100:
            break
    volume = count * np.exp(rng.uniform(np.log(9), np.log(22)))
    return _random_cell(group, volume, rng), {e: np.concatenate(x) for e, x in atoms.items()}


def _random_cell(group: int, volume: float, rng) -> np.ndarray:
    """A cell of the space group's crystal system and of this volume in Å^3."""
    from pymatgen.core import Lattice

    lengths, angles = np.exp(rng.normal(0, 0.35, 3)), np.array([90.0, 90.0, 90.0])
    if group > 194:
        lengths[:] = 1
    elif group > 74:
        lengths[1] = lengths[0]
        lengths[2] = lengths[0] * np.exp(rng.normal(0.2, 0.6))
        angles[2] = 120 if group > 142 else 90
    elif group <= 2:
        angles = rng.uniform(75, 115, 3)
    elif group <= 15:
        angles[1] = rng.uniform(91, 118)
    lattice = Lattice.from_parameters(*lengths, *angles)
    return lattice.matrix * (volume / lattice.volume) ** (1 / 3)


def _lines(cell, atoms):
    """d-spacings and strengths, (2, N_LINES); None for a cell too large or without lines."""
    largest = np.floor(np.linalg.norm(cell, axis=1) / D_MIN).astype(int)
    if (2 * largest + 1).prod() > 40_000:
        return None
    hkl, d = planes_within(cell, D_MIN)
    kept = (hkl[:, 0] >= 0) & (d < 25)  # Friedel mates have -h
    hkl, q = hkl[kept], 1 / d[kept]
    factor = np.zeros(len(q), dtype=complex)
    for element, sites in atoms.items():
        # Single precision will do, and is faster.
        angle = (2 * np.pi * (hkl @ sites.T)).astype(np.float32)
        geometric = np.cos(angle).sum(axis=1) + 1j * np.sin(angle).sum(axis=1)
        f = atomic_scattering_factor(scattering_parameters(element), q**2 / 4)
        factor += f * geometric
    strength = np.abs(factor) ** 2 * np.where(hkl[:, 0] > 0, 2, 1)
    # Reflections of one d-spacing are one line.
    _, line = np.unique(np.rint(q * 20_000).astype(int), return_inverse=True)
    strength, q = np.bincount(line, strength), np.bincount(line, q) / np.bincount(line)
    visible = strength * lorentz_polarisation(np.arcsin(RADIATIONS["Cu"].mean * q / 2))
    order = np.argsort(-visible)[:N_LINES]
    order = order[visible[order] > 1e-3 * visible[order[0]]] if len(order) else order
    if len(order) < 2:
        return None
    result = np.zeros((2, N_LINES))
    result[0, : len(order)] = 1 / q[order]
    result[1, : len(order)] = strength[order] / strength[order].max()
    return result
