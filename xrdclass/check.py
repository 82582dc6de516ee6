"""What a folder of CIF files gives, to be looked at before anything is simulated."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from .diffraction import lines
from .errors import PhaseError
from .evaluation import ideal_patterns
from .patterns import TwoThetaGrid
from .phases import Phase, find_cifs, read_cif

#: From this similarity on, two phases are named as hardly told apart.
ALIKE = 0.95


def print_check(folder=None, wavelength="Cu", domain_size=30.0, strain=0.012) -> bool:
    """Print what the CIF files in a folder give; say whether all of them could be read.

    For each phase formula, density, shortest distances of its elements, strongest lines and
    warnings; then the pairs that a pattern hardly tells apart by `likeness`.
    """
    phases, all_read = [], True
    for path in find_cifs(folder):
        phase, said = check_cif(path, len(phases))
        if phase is None:
            print(f"{path.stem}  not read")
            all_read = False
        else:
            near = shortest_distances(phase.structure).items()
            strong = strongest_lines(phase, wavelength)
            formula = phase.structure.composition.reduced_formula
            print(f"{phase.name}  {formula}  {phase.structure.density:.2f} g/cm3")
            print("    shortest distances", ", ".join(f"{p} {d:.2f}" for p, d in near), "Å")
            places = ", ".join(f"{angle:.2f} ({h} {k} {m})" for angle, (h, k, m) in strong)
            print(f"    strongest lines {places} degrees")
            phases.append(phase)
        for sentence in said:
            print(f"    ! {sentence}")
    alike = np.triu(likeness(phases, wavelength, domain_size, strain), 1)
    if (alike > ALIKE).any():
        known = f"({domain_size:g} nm, cells within {strain:.1%})"
        print(f"Hardly told apart {known}, with similarity:")
    for i, j in np.argwhere(alike > ALIKE):
        print(f"    {phases[i].name}, {phases[j].name}  {alike[i, j]:.2f}")
    return all_read


def check_cif(path, label: int = 0) -> tuple[Phase | None, list[str]]:
    """A phase from a CIF file, and what is doubtful; none and the reason if it cannot be read.

    Beside the warnings of `read_cif`: elements closer than 0.7 times the sum of Slater's atomic
    radii, of which bonds have 0.75 to 1.1.
    """
    from pymatgen.core import Element

    path = Path(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            phase = Phase(path.stem, label, *read_cif(path))
        except PhaseError as error:
            return None, [str(error)]
    said = [str(w.message) for w in caught if w.category is UserWarning]
    for pair, distance in shortest_distances(phase.structure).items():
        radii = [Element(e).atomic_radius for e in pair.split("-")] if "/" not in pair else [None]
        if phase.structure.is_ordered and all(radii) and distance < 0.7 * sum(radii):
            said.append(f"{path.name}: {pair} {distance:.2f} Å is too close.")
    return phase, said


def shortest_distances(structure, reach: float = 4.0) -> dict[str, float]:
    """The shortest distance of each pair of elements, "Ti-O" -> Å, up to ``reach``, in order."""
    names = ["/".join(e.symbol for e in site.species.elements) for site in structure]
    order = [site.species.average_electroneg for site in structure]
    first, second, _, distance = structure.get_neighbor_list(reach)
    shortest: dict[str, float] = {}
    for i in np.argsort(distance):
        pair = sorted((order[k], names[k]) for k in (first[i], second[i]))
        shortest.setdefault("-".join(name for _, name in pair), float(distance[i]))
    return shortest


def strongest_lines(phase: Phase, wavelength="Cu", count: int = 4) -> list[tuple[float, tuple]]:
    """Angle (degrees) and indices of the strongest lines; those at the same angle are one."""
    found = lines(phase, wavelength)
    first = np.flatnonzero(np.diff(found.two_theta, prepend=0) > 1e-3)
    together = np.add.reduceat(found.intensity, first)
    chosen = first[np.argsort(-together, kind="stable")[:count]]
    return [(float(found.two_theta[i]), tuple(found.hkl[i].tolist())) for i in chosen]


def likeness(phases, wavelength="Cu", domain_size=30.0, strain=0.012) -> np.ndarray:
    """How alike the ideal patterns of phases are when their cells may differ a little.

    The cosine similarity of two patterns, largest over all isotropic strains up to ``strain``. On
    an axis of ln(sin theta) such a strain only shifts a pattern, as sin theta = wavelength / 2d.
    The result is (phases, phases), 1 if alike, for crystallites of ``domain_size`` nm.
    """
    if not phases:
        return np.zeros((0, 0))
    grid, step = TwoThetaGrid(10, 90, 0.02), 2e-4
    patterns = ideal_patterns(phases, grid, wavelength, domain_size).intensity
    theta = np.radians(grid.two_theta / 2)
    axis = np.arange(np.log(np.sin(theta[0])), np.log(np.sin(theta[-1])), step)
    sampled = np.arcsin(np.exp(axis))
    curves = np.array([np.interp(sampled, theta, pattern) for pattern in patterns])
    curves *= np.sqrt(np.tan(sampled))  # so that products add up as on the axis of theta
    curves /= np.linalg.norm(curves, axis=1, keepdims=True)
    shifts = range(-round(strain / step), round(strain / step) + 1)
    return np.max([curves @ np.roll(curves, k, axis=1).T for k in shifts], axis=0)
