"""Crystal structures from CIF files that others wrote: read, doubted in a sentence, or refused."""

from __future__ import annotations

import contextlib
import re
import tempfile
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DownloadError, PhaseError
from .downloads import fetch
from .writing import read_limited, write_safely

if TYPE_CHECKING:
    from pymatgen.core import Structure

COD_URL = "https://www.crystallography.net/cod/{entry}.cif"

#: Limits of a CIF file, far above the structures that powder patterns are told apart by. Below them
#: a structure and its reflections down to 1.2 Å take seconds and less than 500 MB of memory.
MAX_BYTES = 10_000_000
MAX_POSITIONS = 5_000  # listed atoms times symmetry operations
MAX_ATOM_VOLUME = 10_000_000  # Å3, atoms in the cell times the cell's volume
MAX_VOLUME = 100_000  # Å3

_NOTHING = ("", "?", ".")  # how a CIF file says that it does not say something
_BLOCK = re.compile(r"^[ \t]*data_", flags=re.MULTILINE | re.IGNORECASE)
_COLUMNS = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")
_IDENTITY = "x,y,z"
# pymatgen drops what is not ASCII, the minus of a coordinate or the bar of 'R 3\u0305 c' included.
_ASCII = str.maketrans("\u2010\u2011\u2012\u2013\u2014\u2212\u00a0\u2018\u2019", "------ ''")
# What pymatgen does not know of an operation it leaves out, and a long one takes it minutes.
_OPERATION = re.compile(r"[xyzXYZ0-9+\-*/., ]{5,100}")


def read_cif(path) -> tuple[Structure, str]:
    """The structure in a CIF file, and where its numbers come from.

    What is doubtful is said in warnings: partly occupied sites (their atoms scatter in
    proportion), symmetry that is not stated or in more than one sense, further crystals, atoms too
    close. Symmetry operations are used as listed; without them the space group, by any symbol.

    Raises `PhaseError` if the file cannot be read as a crystal structure, or if it states a space
    group that cannot be told from what it says.
    """
    path, notes = Path(path), []
    content = read_limited(path, MAX_BYTES, PhaseError, "a CIF file of one crystal structure")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pymatgen's; what matters of them is in the notes
            data = _crystal(content.decode("utf-8-sig", errors="replace"), notes)
            structure = _structure(data, notes)
    except PhaseError as error:
        raise PhaseError(f"{path} {error}") from None
    except Exception as error:
        said = str(error).strip().splitlines() if isinstance(error, ValueError) else []
        reason = said[-1][:200].rstrip(".") if said else "it cannot be made sense of"
        expected = "a cell, a space group or symmetry operations, atoms with fractional coordinates"
        found = f"{path} is not a crystal structure in CIF format: {reason}"
        raise PhaseError(f"{found}. Expected {expected}.") from None
    for note in notes:
        warnings.warn(f"{path.name}: {note}.", stacklevel=2)
    return structure, str(data.get("_publ_section_references") or f"CIF file {path.name}")


def _crystal(text: str, notes: list[str]) -> dict:
    """The data of the first block that lists atoms, names in small letters, with "_" for "."."""
    from pymatgen.io.cif import CifBlock

    text = "\n".join(text.translate(_ASCII).splitlines()).encode("ascii", "replace").decode()
    blocks = [b for b in _BLOCK.split(text)[1:] if re.search(r"_atom_site[._]fract_x", b, re.I)]
    if not blocks:
        raise ValueError("it lists no atoms with fractional coordinates")
    if len(blocks) > 1:
        names = [block.split(maxsplit=1)[0] for block in blocks[:5]] + ["..."] * (len(blocks) > 5)
        held = f"it holds {len(blocks)} crystals ({', '.join(names)})"
        notes.append(f"{held}; the first is taken. Put each into a file of its own")
    data = CifBlock.from_str("data_" + blocks[0]).data
    return {key.lower().replace(".", "_"): value for key, value in data.items()}


def _structure(data: dict, notes: list[str]) -> Structure:
    """The structure in a block of data, within the limits of size and of what atoms allow."""
    from pymatgen.analysis.diffraction.xrd import ATOMIC_SCATTERING_PARAMS

    if any(str(data.get(f"_cell_length_{a}", "-")).startswith("-") for a in "abc"):
        raise ValueError("its cell has no three positive lengths")
    sites = _sites(data, notes)
    lattice = _build(data, sites[:1], [_IDENTITY]).lattice
    if not np.isfinite(lattice.matrix).all():
        raise ValueError("its cell is not finite")
    structure = _build(data, sites, _operations(data, sites, lattice, notes))
    volume, atoms = float(structure.volume), structure.composition.num_atoms
    if not np.isfinite(structure.frac_coords).all():
        raise ValueError("its coordinates are not finite")
    if not atoms > 0:
        raise ValueError("it holds no atoms")
    if volume < 1 or volume / len(structure) < 1:
        space = f"its cell has {volume / atoms:.2g} Å3 an atom, where crystals have 5 to 50"
        raise ValueError(f"{space}; are its lengths in nm, where Å belong?")
    _check_size(volume, MAX_VOLUME, "Å3 in its cell")
    _check_size(len(structure), MAX_ATOM_VOLUME / volume, f"atoms in a cell of {volume:.0f} Å3")
    symbols = {species.symbol for species in structure.composition}
    if unknown := sorted(symbols - set(ATOMIC_SCATTERING_PARAMS)):
        found = f"names {', '.join(unknown)}, for which no X-ray scattering factor is known"
        raise PhaseError(f"{found}; expected chemical elements.")
    if not structure.is_ordered:
        notes.append("some sites are partly occupied; the pattern is that of their average")
    elif (distance := _shortest(structure)) < 0.6:
        what = f"two atoms are only {distance:.2f} Å apart; check its coordinates, its space group"
        notes.append(f"{what} and, if that has two, the origin")
    return structure


def _sites(data: dict, notes: list[str]) -> list[tuple[str, ...]]:
    """The listed atoms as text: label, element, x, y, z, occupancy."""
    columns = [data.get(f"_atom_site_{name}") for name in _COLUMNS]
    label, element, x, y, z, occupancy = ([c] if isinstance(c, str) else c for c in columns)
    label, element = label or element, element or label
    sites, unknown = [], []
    for row in zip(label, element, x, y, z, occupancy or ["1"] * len(x), strict=True):
        label, element, *place, occupancy = row
        element = label if element in _NOTHING else element
        if re.match(r"OH|O-H|H2O", element, flags=re.IGNORECASE):
            element = "O"  # its hydrogen has no place of its own, and hardly scatters
        if not re.match(r"[A-Za-z]|.* \+ ", element):
            raise ValueError(f"{element!r} names no element")
        if any(coordinate in _NOTHING for coordinate in place):
            raise ValueError(f"{label} has no coordinates")
        if occupancy in _NOTHING:  # "." stands for what the dictionary of CIF presumes: full
            unknown += [label] * (occupancy != ".")
            occupancy = "1"
        sites.append((label, element, *place, occupancy))
    if unknown:
        notes.append(f"the occupancy of {', '.join(unknown[:5])} is not known; taken as 1")
    return sites


def _build(data: dict, sites, operations: list[str]) -> Structure:
    """A structure by pymatgen, from a CIF file that says these things and no others."""
    from pymatgen.io.cif import CifParser

    keys = [key for key in data if re.match("_cell_(length|angle)_|.*(_setting|_system)$", key)]
    lines = ["data_x", *(f"{key} '{data[key]}'" for key in keys), "loop_"]
    lines += ["_space_group_symop_operation_xyz", *(f"'{text}'" for text in operations), "loop_"]
    lines += [f"_atom_site_{name}" for name in _COLUMNS]
    lines += [" ".join(f"'{value}'" for value in site) for site in sites]
    parser = CifParser.from_str("\n".join(lines), occupancy_tolerance=1.05)
    return parser.parse_structures(primitive=False, on_error="raise")[0]


def _operations(data: dict, sites, lattice, notes: list[str]) -> list[str]:
    """The symmetry operations: those listed, or else those of the space group that is stated.

    A single one, the identity, counts as none: only a file that states no other group is P1.
    """
    from pymatgen.core.operations import SymmOp
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    keys = [key for key in data if re.search(r"(symop_operation|equiv_pos_as)_xyz", key)]
    listed = data[keys[0]] if keys else []
    listed = [listed] if isinstance(listed, str) else listed
    if other := [text for text in listed if not _OPERATION.fullmatch(text)]:
        raise ValueError(f"{ascii(other[0][:40])} is no symmetry operation")
    _check_size(len(sites) * max(1, len(listed)), MAX_POSITIONS, "atomic positions")
    stated, settings, understood = _stated_settings(data)
    if listed and [text.lower().replace(" ", "") for text in listed] != [_IDENTITY]:
        rotations = np.array([SymmOp.from_xyz_str(text).rotation_matrix for text in listed])
        if _misfit(rotations, lattice) > 0.01:
            notes.append("its cell does not have the symmetry of the operations that it lists")
        orders, found = {len(s.rotations) for s in settings}, len(set(listed))
        if orders and found not in orders:
            has = f"but its space group, {stated}, has {min(orders)}; those listed are used"
            notes.append(f"it lists {found} symmetry operations, {has}")
        return listed
    if not stated and not listed:
        what = "it states no symmetry; its atoms are taken as the whole cell (P1)"
        notes.append(f"{what}. If they are the asymmetric unit only, add the space group")
    groups = {s.number for s in settings}
    if stated and listed and groups != {1}:  # are all atoms of the cell listed?
        whole = SpacegroupAnalyzer(_build(data, sites, [_IDENTITY]), symprec=0.01)
        stated = "" if whole.get_space_group_number() in groups else stated
    if not stated:
        return [_IDENTITY]
    misfit = [_misfit(s.rotations, lattice) for s in settings]
    if min(misfit, default=0) > 0.01:
        raise PhaseError(f"has a cell without the symmetry of its space group, {stated}.")
    fitting = [s for s, m in zip(settings, misfit, strict=True) if m <= min(misfit) + 1e-4]
    if not fitting or (len(fitting) > 1 and not understood):
        what = f"states its space group as {stated}, from which no single one can be told"
        expected = "expected a symbol such as 'P 42/m n m', or the operations"
        raise PhaseError(f"{what}, and lists no symmetry operations; {expected}.")
    positions = len(sites) * sum(len(s.rotations) for s in fitting)
    _check_size(positions, MAX_POSITIONS, "atomic positions")
    made = [map(SymmOp.from_rotation_and_translation, s.rotations, s.translations) for s in fitting]
    ways = [[operation.as_xyz_str() for operation in operations] for operations in made]
    if len(ways) == 1:
        return ways[0]
    distances = [_shortest(_build(data, sites, operations)) for operations in ways]
    best = int(np.argmax(distances))
    notes.append(
        f"its space group, {stated}, has {len(ways)} settings that fit the cell (origins or axes), "
        f"and it does not say which; '{fitting[best].choice}' is taken, in which no atoms are "
        f"closer than {distances[best]:.2f} Å. List the symmetry operations to be sure"
    )
    return ways[best]


def _misfit(rotations: np.ndarray, lattice) -> float:
    """How much rotations of coordinates, (n, 3, 3), change a cell's metric tensor, in parts."""
    metric = lattice.metric_tensor
    turned = rotations.transpose(0, 2, 1) @ metric @ rotations
    return float(np.abs(turned - metric).max() / metric.max())


def _shortest(structure: Structure, reach: float = 3.0) -> float:
    """The shortest distance between atoms, Å, up to ``reach``; 0 where they are packed absurdly."""
    if structure.volume < len(structure):  # less than 1 Å3 an atom
        return 0.0
    return float(structure.get_neighbor_list(reach)[3].min(initial=reach))


def _check_size(found: float, limit: float, what: str) -> None:
    if found > limit:
        most = f"more than can be computed here in seconds; expected at most {limit:.0f}"
        raise PhaseError(f"has {found:.0f} {what}, {most}.")


@dataclass(frozen=True, eq=False)
class _Setting:
    """A space group with its axes and its origin, one of 530, as spglib lists them."""

    number: int
    names: set[str]  # Hermann-Mauguin symbols, plain
    hall: str  # plain, too
    choice: str  # of origin (1, 2) or axes (H, R, b1, cab ...)
    rotations: np.ndarray
    translations: np.ndarray


def _stated_settings(data: dict) -> tuple[str, list[_Setting], bool]:
    """What a block of data says of its space group: its words, settings and if it was understood.

    Without settings, it is not understood or contradicts itself. It may be that the group's number
    is understood, but not the name that stands beside it.
    """
    code = data.get("_space_group_it_coordinate_system_code", "")
    words, settings, named, unknown = [], _all_settings(), False, False
    for key, text in data.items():
        about = re.match(r"_(symmetry_)?(space_group|int_tables)_.*(name|number)", key)
        said = about and "schoenflies" not in key and isinstance(text, str)
        if not said or text.strip() in _NOTHING:
            continue
        words.append(f"'{text}'")
        if "number" in key:
            settings = [s for s in settings if str(s.number) == text.strip()]
            continue
        hall = [s for s in _all_settings() if "hall" in key and s.hall == _plain(text, " ")]
        found = hall or _named(text, code)
        named, unknown = named or bool(found), unknown or not found
        settings = [s for s in settings if not found or s in found]
    if not named and not unknown:  # a number alone means the standard axes
        settings = [s for s in settings if s.choice in ("", "1", "2", "H", "R", "b", "b1")]
    if unknown and len(settings) == len(_all_settings()):
        settings = []
    return " and ".join(dict.fromkeys(words)), settings, named or not unknown


def _named(text: str, code: str) -> list[_Setting]:
    """The settings that a Hermann-Mauguin symbol may mean, with or without their choice.

    The choice follows a colon, as in 'F d -3 m :2' and 'R -3 c :H', or is a letter at the end, as
    in the ICSD: S and Z for the first and second origin, H and R for the axes, HR, HS, RS.
    """
    symbol, _, choice = text.partition(":")
    symbol, choice = _plain(symbol), _plain(choice or code)
    if not any(symbol in s.names for s in _all_settings()):
        symbol, letters = re.fullmatch(r"(.*?)([hr]?[hrsz]|)", symbol).groups()
        choice = {"s": "1", "z": "2"}.get(letters, letters[:1]) or choice
    settings = [s for s in _all_settings() if symbol in s.names]
    return [s for s in settings if choice and s.choice.lower().startswith(choice)] or settings


def _plain(symbol: str, blank: str = "") -> str:
    """Small letters, with one kind of blank: Hall's 'P 32' and 'P 3 2' differ, others need none."""
    return re.sub(r"[\s_()]+", blank, symbol).lower().strip()


@cache
def _all_settings() -> list[_Setting]:
    """The 530 settings, the standard one of each group first."""
    import spglib

    settings = []
    for hall_number in range(1, 531):
        kind = spglib.get_spacegroup_type(hall_number)
        names = {kind.international_full, kind.international.split("=")[-1]}
        if 3 <= kind.number <= 15:  # monoclinic: 'P 1 21/n 1' is written P21/n
            names |= {re.sub(r"\s1(?=\s|$)", "", name) for name in names}
        else:
            names.add(kind.international_short)
        names = {_plain(name) for name in names}
        names |= {name.replace("e", glide) for name in names for glide in "abc"}  # Cmca, now Cmce
        if kind.number >= 195:
            names |= {name.replace("-3", "3") for name in names}  # Fm3m, now Fm-3m
        hall, found = _plain(kind.hall_symbol, " "), spglib.get_symmetry_from_database(hall_number)
        operations = found["rotations"], found["translations"]
        settings.append(_Setting(kind.number, names, hall, kind.choice, *operations))
    return settings


def download_cod(entry: int | str, folder=None) -> Path:
    """Fetch a CIF file from the Crystallography Open Database, once; return its path.

    Parameters
    ----------
    entry : the COD number, seven digits
    folder : where to keep the file; by default the user's cache

    Raises `DownloadError` if that is no COD number, the database cannot be reached, or sends no
    crystal structure; `DataError` if the folder cannot be written to.
    """
    import pooch

    entry = str(entry)
    if not re.fullmatch("[0-9]{7}", entry):
        wanted = "A COD entry is a number of seven digits, such as 9015662"
        raise DownloadError(f"{wanted}; got {entry!r}.")
    folder = Path(folder) if folder is not None else Path(pooch.os_cache("xrdclass")) / "cod"
    path, url = folder / f"{entry}.cif", COD_URL.format(entry=entry)
    with contextlib.suppress(PhaseError):  # what is missing or broken is fetched
        read_cif(path)
        return path
    with tempfile.TemporaryDirectory() as name:
        fetched = Path(name) / path.name
        try:
            fetch(url, fetched)
            read_cif(fetched)
        except PhaseError as error:
            raise DownloadError(f"What {url} sent is not a crystal structure: {error}") from None
        except DownloadError as error:
            instead = "use the shipped phases or put CIF files into a folder of your own"
            what = f"COD entry {entry} could not be fetched: {error}"
            raise DownloadError(f"{what}. Without a network, {instead}.") from None
        content = fetched.read_bytes()
    return write_safely(path, content, overwrite=True)
