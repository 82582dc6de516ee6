"""Crystal structures: the five TiO2 phases, other families, or any folder of CIF files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import PhaseError
from .files.cif import download_cod, read_cif
from .files.cif_writing import CrystalData, write_cifs

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["CrystalData", "Phase", "download_cod", "find_cifs", "load_phases"]
__all__ += ["read_cif", "write_cifs", "CIF_FOLDER", "MINERALS_FOLDER", "ZIRCONIA_FOLDER"]

#: The five TiO2 phases. The numbers are the cited authors' own; these files are their one source.
CIF_FOLDER = Path(__file__).parent / "cifs"
#: Zirconium dioxide and the mineral it is made from. The two stabilised forms are written as pure
#: ZrO2: yttrium has one electron less than zirconium, and few oxygen sites are empty.
ZIRCONIA_FOLDER = CIF_FOLDER / "zirconia"
#: Common minerals and standards, which are none of these: halite, quartz, corundum, zincite ...
MINERALS_FOLDER = CIF_FOLDER / "minerals"


@dataclass(frozen=True)
class Phase:
    """One crystal structure that a classifier can name.

    Attributes
    ----------
    name : the CIF file's name without its ending
    label : int, the place of the name among all names, sorted
    structure : pymatgen Structure of the conventional cell, lengths in Å
    source : where the numbers come from
    """

    name: str
    label: int
    structure: Structure
    source: str


def load_phases(folder=None) -> list[Phase]:
    """Phases from a folder of CIF files, labelled in the order of their sorted names.

    Parameters
    ----------
    folder : path, optional
        A folder with ``.cif`` files. Without it, the five TiO2 phases.
        `ZIRCONIA_FOLDER` and `MINERALS_FOLDER` ship with the package, too.

    Raises
    ------
    PhaseError
        If the folder holds no CIF file, or one of them is no crystal structure.

    Examples
    --------
    >>> [phase.name for phase in load_phases()]
    ['anatase', 'beta-TiO2', 'brookite', 'rutile', 'TiO2-II']
    """
    paths = find_cifs(folder)
    return [Phase(p.stem, label, *read_cif(p)) for label, p in enumerate(paths)]


def find_cifs(folder=None) -> list[Path]:
    """The CIF files in a folder, sorted by name, capitals or not; see `load_phases`."""
    folder = Path(folder) if folder is not None else CIF_FOLDER
    if not folder.is_dir():
        raise PhaseError(f"Expected a folder of CIF files; {folder} is not a folder.")
    paths = [p for p in folder.iterdir() if p.suffix.lower() == ".cif" and p.is_file()]
    if not paths:
        raise PhaseError(f"The folder {folder} holds no .cif file; put one a phase into it.")
    paths.sort(key=lambda p: (p.stem.lower(), p.stem))
    stems = [p.stem.lower() for p in paths]
    if twice := [stem for stem in stems if stems.count(stem) > 1]:
        raise PhaseError(f"Two CIF files in {folder} are called {twice[0]!r}; rename one of them.")
    return paths
