"""Crystal structures: the five TiO2 phases, a second family, or any folder of CIF files."""

from __future__ import annotations

import contextlib
import re
import tempfile
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import DataError, DownloadError, PhaseError
from .files.downloads import fetch
from .files.writing import write_safely

if TYPE_CHECKING:
    from pymatgen.core import Structure

CIF_FOLDER = Path(__file__).parent / "cifs"
#: The shipped files of the table `ZIRCONIA`: ``load_phases(ZIRCONIA_FOLDER)``.
ZIRCONIA_FOLDER = CIF_FOLDER / "zirconia"
COD_URL = "https://www.crystallography.net/cod/{entry}.cif"


#: Limits of a CIF file, far above the structures that powder patterns are told apart by. Below them
#: a structure and its reflections down to 1.2 Å take seconds and less than 500 MB of memory.
MAX_BYTES = 10_000_000
MAX_POSITIONS = 5_000  # listed atoms times symmetry operations
MAX_ATOM_VOLUME = 10_000_000  # Å3, atoms in the cell times the cell's volume
MAX_VOLUME = 100_000  # Å3

# What pymatgen does not know of an operation it leaves out, and a long one takes it minutes.
_OPERATION = re.compile(r"[xyzXYZ0-9+\-*/., ]{5,100}")


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


@dataclass(frozen=True)
class CrystalData:
    """A published structure: the numbers that a CIF file is written from.

    ``cell`` is (a, b, c, alpha, beta, gamma) in Å and degrees; ``atoms`` maps a site label to
    fractional coordinates. ``space_group`` is a full symbol as pymatgen spells it, with its first
    origin where there are two. ``cod`` is the entry in the Crystallography Open Database, if known.
    """

    title: str
    space_group: str
    number: int
    cell: tuple[float, float, float, float, float, float]
    atoms: dict[str, tuple[float, float, float]]
    source: str
    cod: int | None = None


#: The five TiO2 phases. The numbers are the cited authors' own; only rutile's COD entry is known
#: to hold the same ones.
SHIPPED = {
    "anatase": CrystalData(
        "Anatase, TiO2",
        "I4_1/amd",
        141,
        (3.7842, 3.7842, 9.5146, 90, 90, 90),
        {"Ti1": (0, 0, 0), "O1": (0, 0, 0.2081)},
        "Horn, Schwerdtfeger & Meagher (1972), Z. Kristallogr. 136, 273-281",
        9009086,
    ),
    "beta-TiO2": CrystalData(
        "beta-TiO2, TiO2(B), bronze type",
        "C2/m",
        12,
        (12.1787, 3.7412, 6.5249, 90, 107.054, 90),
        {
            "Ti1": (0.1969, 0, 0.2877),
            "Ti2": (0.1007, 0, 0.7092),
            "O1": (0.1294, 0, 0.0047),
            "O2": (0.2358, 0, 0.6561),
            "O3": (0.3642, 0, 0.2953),
            "O4": (0.0588, 0, 0.3723),
        },
        "Feist & Davies (1992), J. Solid State Chem. 101, 275-295",
        1528778,
    ),
    "brookite": CrystalData(
        "Brookite, TiO2",
        "Pbca",
        61,
        (9.174, 5.449, 5.138, 90, 90, 90),
        {
            "Ti1": (0.1289, 0.0972, 0.8628),
            "O1": (0.0095, 0.1491, 0.1835),
            "O2": (0.2314, 0.1110, 0.5366),
        },
        "Meagher & Lager (1979), Can. Mineral. 17, 77-85",
        8104269,
    ),
    "rutile": CrystalData(
        "Rutile, TiO2",
        "P4_2/mnm",
        136,
        (4.5937, 4.5937, 2.9587, 90, 90, 90),
        {"Ti1": (0, 0, 0), "O1": (0.30478, 0.30478, 0)},
        "Howard, Sabine & Dickson (1991), Acta Cryst. B47, 462-468",
        9015662,
    ),
    "TiO2-II": CrystalData(
        "TiO2-II, alpha-PbO2 type",
        "Pbcn",
        60,
        (4.515, 5.497, 4.939, 90, 90, 90),
        {"Ti1": (0, 0.171, 0.25), "O1": (0.286, 0.376, 0.412)},
        "Simons & Dachille (1967), Acta Cryst. 23, 334-336",
        1530026,
    ),
}

#: Zirconium dioxide and the mineral it is made from. The two stabilised forms are written as pure
#: ZrO2: yttrium has one electron less than zirconium, and few oxygen sites are empty.
ZIRCONIA = {
    "baddeleyite": CrystalData(
        "Baddeleyite, monoclinic ZrO2",
        "P2_1/c",
        14,
        (5.1505, 5.2116, 5.3173, 90, 99.230, 90),
        {
            "Zr1": (0.2754, 0.0395, 0.2083),
            "O1": (0.0700, 0.3317, 0.3447),
            "O2": (0.4496, 0.7569, 0.4792),
        },
        "Howard, Hill & Reichert (1988), Acta Cryst. B44, 116-120",
    ),
    # The cell is of material that is cubic at room temperature, which pure ZrO2 is not.
    "cubic-ZrO2": CrystalData(
        "Cubic ZrO2, fluorite type",
        "Fm-3m",
        225,
        (5.124, 5.124, 5.124, 90, 90, 90),
        {"Zr1": (0, 0, 0), "O1": (0.25, 0.25, 0.25)},
        "Askeland & Wright, The Science and Engineering of Materials, 7th ed. (the cell)",
    ),
    "tetragonal-ZrO2": CrystalData(
        "Tetragonal ZrO2",
        "P4_2/nmc",
        137,
        (3.5961, 3.5961, 5.1770, 90, 90, 90),
        {"Zr1": (0, 0, 0), "O1": (0, 0.5, 0.203)},
        "Lutterotti & Scardi (1990), J. Appl. Cryst. 23, 246-252",
        2300612,
    ),
    # The authors count from the other origin: their oxygen is at (0, 1/4 - y, z - 1/8).
    "zircon": CrystalData(
        "Zircon, ZrSiO4",
        "I4_1/amd",
        141,
        (6.607, 6.607, 5.982, 90, 90, 90),
        {"Zr1": (0, 0, 0), "Si1": (0, 0, 0.5), "O1": (0, 0.1839, 0.3203)},
        "Robinson, Gibbs & Ribbe (1971), Am. Mineral. 56, 782-790",
    ),
}


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
        *(
            f"{site} {site.rstrip('0123456789')} {x} {y} {z} 1"
            for site, (x, y, z) in data.atoms.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def _check_entry(name, data) -> None:
    """Raise a `PhaseError` for what would not make a crystal structure, or not the one meant."""

    def numbers(values, n):
        fine = isinstance(values, (tuple, list, np.ndarray)) and len(values) == n
        return fine and all(isinstance(v, (int, float, np.number)) for v in values)

    if not isinstance(data, CrystalData):
        raise PhaseError(
            f"{name}: expected CrystalData(title, space_group, number, cell, atoms, source); "
            f"got {data!r}."
        )
    if not numbers(data.cell, 6):
        raise PhaseError(f"{name}: the cell is six numbers, a to gamma; got {data.cell!r}.")
    if min(data.cell[3:]) < 10:
        raise PhaseError(f"{name}: the cell's angles are in degrees; got {data.cell[3:]}.")
    if not isinstance(data.atoms, dict) or not data.atoms:
        raise PhaseError(
            f"{name}: the atoms are a dictionary, label -> x, y, z; got {data.atoms!r}."
        )
    for site, place in data.atoms.items():
        if not numbers(place, 3):
            raise PhaseError(f"{name}: {site} has three fractional coordinates; got {place!r}.")


def write_cifs(
    folder=CIF_FOLDER, table: dict[str, CrystalData] = SHIPPED, overwrite: bool = False
) -> list[Path]:
    """Write a table of structures as CIF files into a folder; return their paths.

    Parameters
    ----------
    folder : made if it is missing
    table : name -> numbers: `SHIPPED`, the five TiO2 phases; `ZIRCONIA`; or one of your own

    Raises
    ------
    DataError
        If a file exists and ``overwrite`` is false, or the folder cannot be written to.
    PhaseError
        If an entry of the table is not of the kind that `CrystalData` names.
    """
    paths = []
    for name, data in table.items():
        text = cif_text(name, data).encode("ascii")
        path = Path(folder) / f"{name}.cif"
        paths.append(write_safely(path, partial(_write, text), overwrite))
    return paths


def _write(content: bytes, file) -> None:
    file.write(content)


def load_phases(folder=None) -> list[Phase]:
    """Phases from a folder of CIF files, labelled in the order of their sorted names.

    Parameters
    ----------
    folder : path, optional
        A folder with ``.cif`` files. Without it, the five TiO2 phases.
        `ZIRCONIA_FOLDER` is the other one that ships with the package.

    Raises
    ------
    PhaseError
        If the folder holds no CIF file, or one of them is no crystal structure.

    Examples
    --------
    >>> [phase.name for phase in load_phases()]
    ['anatase', 'beta-TiO2', 'brookite', 'rutile', 'TiO2-II']
    """
    folder = Path(folder) if folder is not None else CIF_FOLDER
    if not folder.is_dir():
        raise PhaseError(f"Expected a folder of CIF files; {folder} is not a folder.")
    paths = [p for p in folder.iterdir() if p.suffix.lower() == ".cif" and p.is_file()]
    if not paths:
        raise PhaseError(f"The folder {folder} holds no .cif file; put one a phase into it.")
    paths.sort(key=lambda p: (p.stem.lower(), p.stem))
    stems = [p.stem.lower() for p in paths]
    for one, other in zip(stems, stems[1:], strict=False):
        if one == other:
            raise PhaseError(f"Two CIF files in {folder} are called {one!r}; rename one of them.")
    return [Phase(p.stem, label, *read_cif(p)) for label, p in enumerate(paths)]


def read_cif(path) -> tuple[Structure, str]:
    """The structure in a CIF file, and where its numbers come from.

    Partly occupied sites are kept: their atoms scatter in proportion to their occupancy. A
    warning says so, and another one says if the file states no symmetry.

    Raises
    ------
    PhaseError
        If the file cannot be read as a crystal structure.
    """
    from pymatgen.io.cif import CifParser

    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise PhaseError(f"{path} cannot be read: it is not an ordinary file.")
        if (size := path.stat().st_size) > MAX_BYTES:
            raise PhaseError(
                f"{path} has {size / 1e6:.0f} MB; no CIF file of one crystal structure is expected "
                f"to be larger than {MAX_BYTES / 1e6:.0f} MB."
            )
        text = path.read_bytes().decode("utf-8", errors="replace")
    except (OSError, ValueError) as error:
        if isinstance(error, PhaseError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise PhaseError(f"{path} cannot be read: {reason}.") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parser = CifParser.from_str(text, occupancy_tolerance=1.05)
            blocks = list(parser.as_dict().values())
            _check_size(path, sum(map(_positions, blocks)), MAX_POSITIONS, "atomic positions")
            if any(str(b.get(f"_cell_length_{a}")).startswith("-") for b in blocks for a in "abc"):
                raise ValueError("a length of its cell is negative")
            structure = parser.parse_structures(primitive=False)[0]
            volume = float(structure.volume)
            if not np.isfinite(structure.frac_coords).all() or not np.isfinite(volume):
                raise ValueError("its cell or its coordinates are not finite")
            if volume < 1:  # Å3; an atom needs more
                raise ValueError(f"its cell has a volume of {volume:.3g} Å3")
            if not any(sum(site.species.values()) > 0 for site in structure):
                raise ValueError("it holds no atoms")
    except PhaseError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise PhaseError(
            f"{path} is not a crystal structure in CIF format: {reason[:200].rstrip('.')}. "
            "Expected a cell, a space group or symmetry operations, and atoms with fractional "
            "coordinates."
        ) from None
    block = blocks[0]
    _check_size(path, volume, MAX_VOLUME, "Å3 in its cell")
    limit = MAX_ATOM_VOLUME / volume
    _check_size(path, len(structure), limit, f"atoms in a cell of {volume:.0f} Å3")
    _check_elements(path, structure)
    if not structure.is_ordered:
        warnings.warn(
            f"{path.name}: some sites are partly occupied; the pattern is that of the average "
            "structure, without any ordering.",
            stacklevel=2,
        )
    if not any("symop" in key or "symmetry_equiv" in key or "H-M" in key for key in block):
        warnings.warn(
            f"{path.name} states no symmetry; its atoms are taken as the whole cell (P1). If it "
            "lists the asymmetric unit only, add the space group.",
            stacklevel=2,
        )
    source = str(block.get("_publ_section_references") or f"CIF file {path.name}")
    return structure, source


def _positions(block: dict) -> int:
    """At most so many positions follow from the atoms and the symmetry that a CIF block lists."""
    listed = block.get("_atom_site_fract_x", block.get("_atom_site_label", ()))
    listed = 1 if isinstance(listed, str) else len(listed)
    operations = [v for k, v in block.items() if "symop_operation" in k or "equiv_pos_as_xyz" in k]
    if operations:
        operations = [[v] if isinstance(v, str) else v for v in operations]
        for text in (text for group in operations for text in group):
            if not _OPERATION.fullmatch(text):
                raise ValueError(f"{ascii(text[:40])} is no symmetry operation")
        return listed * max(map(len, operations))
    named = ("H-M", "Hall", "Int_Tables", "IT_number")
    symbols = {str(v).replace(" ", "") for k, v in block.items() if any(n in k for n in named)}
    return listed * (192 if symbols - {"P1", "1"} else 1)  # no space group has more


def _check_size(path: Path, found: float, limit: float, what: str) -> None:
    if found > limit:
        raise PhaseError(
            f"{path} has {found:.0f} {what}, more than can be computed here in seconds; expected "
            f"at most {limit:.0f}."
        )


def _check_elements(path: Path, structure: Structure) -> None:
    from pymatgen.analysis.diffraction.xrd import ATOMIC_SCATTERING_PARAMS

    known = set(ATOMIC_SCATTERING_PARAMS)
    unknown = {
        str(species)
        for site in structure
        for species in site.species
        if getattr(species, "symbol", None) not in known
    }
    if unknown:
        raise PhaseError(
            f"{path} names {', '.join(sorted(unknown))}, for which no X-ray scattering factor is "
            "known; expected chemical elements."
        )


def download_cod(entry: int | str, folder=None) -> Path:
    """Fetch one CIF file from the Crystallography Open Database, once; return its path.

    Parameters
    ----------
    entry : the COD number, seven digits
    folder : path, optional
        Where to keep the file; by default the user's cache.

    Raises
    ------
    DownloadError
        If the number is no COD number, the database cannot be reached, or what it sends is not a
        crystal structure.
    """
    import pooch

    entry = str(entry)
    if not (entry.isdecimal() and len(entry) == 7):
        raise DownloadError(
            f"A COD entry is a number of seven digits, such as 9015662; got {entry!r}."
        )
    folder = Path(folder) if folder is not None else Path(pooch.os_cache("xrdclass")) / "cod"
    path = folder / f"{entry}.cif"
    if path.exists():
        with contextlib.suppress(PhaseError):  # what is broken is fetched again
            read_cif(path)
            return path
    url = COD_URL.format(entry=entry)
    with tempfile.TemporaryDirectory() as name:
        fetched = Path(name) / path.name
        try:
            fetch(url, fetched)
        except DownloadError as error:
            raise DownloadError(
                f"COD entry {entry} could not be fetched: {error}. Without a network, use the "
                "shipped phases or put CIF files into a folder of your own."
            ) from None
        try:
            read_cif(fetched)
        except PhaseError as error:
            raise DownloadError(f"What {url} sent is not a crystal structure: {error}") from None
        try:
            return write_safely(path, partial(_write, fetched.read_bytes()), overwrite=True)
        except DataError as error:
            raise DownloadError(str(error)) from None
