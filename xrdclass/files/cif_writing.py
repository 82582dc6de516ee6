"""Published structures, typed from a paper, as CIF files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import PhaseError
from .writing import write_safely


@dataclass(frozen=True)
class CrystalData:
    """A published structure: the numbers that a CIF file is written from.

    ``cell`` is (a, b, c, alpha, beta, gamma) in Å and degrees; ``atoms`` maps a site label to
    fractional coordinates x, y, z and, if it is not 1, the occupancy. Elements that share a site
    have a label each. ``space_group`` is a full symbol as pymatgen spells it, with its first
    origin where there are two. ``cod`` is the entry in the Crystallography Open Database, if known.
    """

    title: str
    space_group: str
    number: int
    cell: tuple[float, float, float, float, float, float]
    atoms: dict[str, tuple[float, ...]]
    source: str
    cod: int | None = None


def write_cifs(folder, table: dict[str, CrystalData], overwrite: bool = False) -> list[Path]:
    """Write a table of structures, name -> numbers, as CIF files into a folder; their paths.

    Raises `DataError` if a file exists and ``overwrite`` is false, or the folder, which is made if
    missing, cannot be written to; `PhaseError` if an entry is not as `CrystalData` says.
    """
    contents = {Path(folder) / f"{name}.cif": _text(name, data) for name, data in table.items()}
    return [write_safely(path, text, overwrite) for path, text in contents.items()]


def _text(name: str, data: CrystalData) -> bytes:
    """A CIF file for one published structure, with its symmetry operations written out."""
    from pymatgen.symmetry.groups import SpaceGroup

    fault = _fault(data)
    try:
        group = None if fault else SpaceGroup(data.space_group)
    except ValueError:
        wanted = "expected one as pymatgen spells it, such as 'P4_2/mnm'"
        fault = f"{data.space_group!r} is no space group; {wanted}"
    if not fault and group.int_number != data.number:
        fault = f"{data.space_group} has the number {group.int_number}, not {data.number}"
    if fault:
        raise PhaseError(f"{name}: {fault}.")
    operations = sorted((op.as_xyz_str() for op in group.symmetry_ops), key=lambda s: (len(s), s))
    keys = "length_a length_b length_c angle_alpha angle_beta angle_gamma".split()
    columns = "label type_symbol fract_x fract_y fract_z occupancy".split()
    lines = [
        f"# {data.title}",
        f"# Numbers from {data.source}.",
        "# Written by xrdclass.phases.write_cifs.",
        f"data_{name}",
        f"_chemical_name_mineral '{data.title}'",
        f"_publ_section_references '{data.source}'",
        f"_space_group_name_H-M_alt '{data.space_group.replace('_', '')}'",
        f"_space_group_IT_number {data.number}",
        *([f"_cod_database_code {data.cod}"] if data.cod else []),
        *(f"_cell_{key} {value}" for key, value in zip(keys, data.cell, strict=True)),
        *("loop_", "_space_group_symop_operation_xyz", *(f"'{text}'" for text in operations)),
        *("loop_", *(f"_atom_site_{column}" for column in columns)),
    ]
    for site, place in data.atoms.items():
        x, y, z, occupancy = (*place, 1)[:4]
        lines.append(f"{site} {site.rstrip('0123456789')} {x} {y} {z} {occupancy}")
    return ("\n".join(lines) + "\n").encode("ascii")


def _fault(data) -> str | None:
    """Why an entry would not make a crystal structure, or not the one meant."""

    def numbers(values, *counts):
        fine = isinstance(values, (tuple, list, np.ndarray)) and len(values) in counts
        return fine and all(isinstance(v, (int, float, np.number)) for v in values)

    if not isinstance(data, CrystalData):
        wanted = "CrystalData(title, space_group, number, cell, atoms, source)"
        return f"expected {wanted}; got {data!r}"
    cell, atoms = data.cell, data.atoms
    if not numbers(cell, 6):
        return f"the cell is six numbers, a to gamma; got {cell!r}"
    if max(cell[:3]) < 2:
        return f"the cell's edges are in Å; got {cell[:3]}, too short, as if they were in nm"
    if min(cell[3:]) < 10:
        return f"the cell's angles are in degrees; got {cell[3:]}"
    if not isinstance(atoms, dict) or not atoms:
        return f"the atoms are a dictionary, label -> x, y, z; got {atoms!r}"
    for site, place in atoms.items():
        if not numbers(place, 3, 4):
            wanted = "three fractional coordinates and perhaps an occupancy"
            return f"{site} has {wanted}; got {place!r}"
        if len(place) == 4 and not 0 < place[3] <= 1:
            return f"{site} has an occupancy above 0, up to 1; got {place[3]}"
    return None
