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


def cif_text(name: str, data: CrystalData) -> str:
    """A CIF file for one published structure, with its symmetry operations written out.

    Raises
    ------
    PhaseError
        If an entry of the table is not of the kind that `CrystalData` names.
    """
    from pymatgen.symmetry.groups import SpaceGroup

    _check_entry(name, data)
    try:
        group = SpaceGroup(data.space_group)
    except ValueError:
        raise PhaseError(
            f"{name}: {data.space_group!r} is no space group as pymatgen spells it; expected a "
            "full symbol such as 'Fm-3m' or 'P4_2/mnm'."
        ) from None
    if group.int_number != data.number:
        raise PhaseError(
            f"{name}: {data.space_group} has the number {group.int_number}, not {data.number}."
        )
    operations = sorted((op.as_xyz_str() for op in group.symmetry_ops), key=lambda s: (len(s), s))
    keys = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
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
        "loop_",
        "_space_group_symop_operation_xyz",
        *(f"'{operation}'" for operation in operations),
        "loop_",
        "_atom_site_label",
        "_atom_site_type_symbol",
        "_atom_site_fract_x",
        "_atom_site_fract_y",
        "_atom_site_fract_z",
        "_atom_site_occupancy",
    ]
    for site, place in data.atoms.items():
        x, y, z, occupancy = (*place, 1)[:4]
        lines.append(f"{site} {site.rstrip('0123456789')} {x} {y} {z} {occupancy}")
    return "\n".join(lines) + "\n"


def _check_entry(name, data) -> None:
    """Raise a `PhaseError` for what would not make a crystal structure, or not the one meant."""

    def numbers(values, *counts):
        fine = isinstance(values, (tuple, list, np.ndarray)) and len(values) in counts
        return fine and all(isinstance(v, (int, float, np.number)) for v in values)

    if not isinstance(data, CrystalData):
        raise PhaseError(
            f"{name}: expected CrystalData(title, space_group, number, cell, atoms, source); "
            f"got {data!r}."
        )
    if not numbers(data.cell, 6):
        raise PhaseError(f"{name}: the cell is six numbers, a to gamma; got {data.cell!r}.")
    if max(data.cell[:3]) < 2:
        raise PhaseError(
            f"{name}: the cell's edges are in Å; got {data.cell[:3]}, too short for any crystal. "
            "Are they in nm?"
        )
    if min(data.cell[3:]) < 10:
        raise PhaseError(f"{name}: the cell's angles are in degrees; got {data.cell[3:]}.")
    if not isinstance(data.atoms, dict) or not data.atoms:
        raise PhaseError(
            f"{name}: the atoms are a dictionary, label -> x, y, z; got {data.atoms!r}."
        )
    for site, place in data.atoms.items():
        if not numbers(place, 3, 4):
            raise PhaseError(
                f"{name}: {site} has three fractional coordinates and perhaps an occupancy; "
                f"got {place!r}."
            )
        if len(place) == 4 and not 0 < place[3] <= 1:
            raise PhaseError(f"{name}: {site} has an occupancy above 0, up to 1; got {place[3]}.")


def write_cifs(folder, table: dict[str, CrystalData], overwrite: bool = False) -> list[Path]:
    """Write a table of structures, name -> numbers, as CIF files into a folder.

    Parameters
    ----------
    folder : made if it is missing

    Returns
    -------
    list of Path, one file an entry, with its name

    Raises
    ------
    DataError
        If a file exists and ``overwrite`` is false, or the folder cannot be written to.
    PhaseError
        If an entry of the table is not of the kind that `CrystalData` names.
    """
    contents = {name: cif_text(name, data).encode("ascii") for name, data in table.items()}
    return [
        write_safely(Path(folder) / f"{name}.cif", lambda file, c=content: file.write(c), overwrite)
        for name, content in contents.items()
    ]
