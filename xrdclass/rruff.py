"""Patterns of the RRUFF database: what the lessons evaluate, and where each pattern comes from.

RRUFF: Lafuente, Downs, Yang & Stone (2015), in Highlights in Mineralogical Crystallography, 1-30.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np

from .errors import DataError, DownloadError, ScanError
from .files.downloads import UnreachableError, fetch
from .files.writing import write_safely
from .scans import Scan, parse_scan, read_scan

DATA_VARIABLE = "XRDCLASS_DATA"
ARCHIVE_URLS = tuple(
    f"https://{host}/zipped_data_files/powder/XY_RAW.zip"
    for host in ("www.rruff.net", "rruff.info")
)
FILE_URL = "https://rruff.info/repository/sample_child_record_powder/by_minerals/"
MAX_MEMBER = 20_000_000  # bytes of one pattern in an archive
OFFLINE = f"To work offline, put RRUFF's files into a folder and set {DATA_VARIABLE} to it"

#: Common minerals that are not TiO2, for `download(other=True)`.
OTHER_MINERALS = tuple(
    "Albite Baddeleyite Barite Calcite Cassiterite Cerussite Corundum Cuprite Diamond Diopside "
    "Dolomite Fluorite Forsterite Galena Goethite Graphite Gypsum Halite Hematite Ilmenite "
    "Magnetite Pyrite Quartz Sphalerite Zincite Zircon".split()
)

_PHASES = {name: name for name in ("anatase", "brookite", "rutile")}
_PHASES |= {"TiO2-II": "tio2-ii", "beta-TiO2": r"(?:beta-tio2|tio2\(b\))"}
_ID = re.compile(r"(?<![A-Za-z0-9])[A-Z]\d[\dx]{5}(?![\dx])", re.IGNORECASE)
_MINERAL = re.compile(r"^([^\W\d_].*?)__[A-Z]\d[\dx]{5}", re.IGNORECASE)
_SUFFIXES = set(".xy .xye .csv .txt .dat .asc .ras .xrdml .brml .rasx .raw".split())
# RRUFF offers, under the same IDs, lists of lines, refinements and spectra: none is a scan.
_NOT_SCANS = re.compile(r"DIF_File|Refinement|Raman|Infrared|README", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """A RRUFF entry, or a file of the local folder that is not in the catalogue.

    Attributes
    ----------
    rruff_id : such as "R060277"; for a file without an ID, its name
    mineral : such as "Anatase"
    phase : the phase's name in `phases`, None if it is none of the five
    kind : "measured" (``-1`` in RRUFF's file names) or "calculated" (``-9``), None if not known
    file : its name on RRUFF
    """

    rruff_id: str
    mineral: str
    phase: str | None
    kind: str | None
    file: str


def _entry(rruff_id: str, mineral: str, number: int, kind: str) -> Entry:
    mark = {"measured": 1, "calculated": 9}[kind]
    file = f"{mineral}__{rruff_id}-{mark}__Powder__Xray_Data_XY_RAW__{number}.txt"
    return Entry(rruff_id, mineral, mineral.lower(), kind, file)


#: The eleven entries of the original guide's evaluation.
CATALOGUE = (
    _entry("R060277", "Anatase", 5487, "calculated"),
    _entry("R070582", "Anatase", 9462, "calculated"),
    _entry("R120013", "Anatase", 10993, "calculated"),
    _entry("R120064", "Anatase", 11316, "calculated"),
    _entry("R040049", "Rutile", 115, "measured"),
    _entry("R050031", "Rutile", 775, "measured"),
    _entry("R050417", "Rutile", 1724, "measured"),
    _entry("R060493", "Rutile", 5130, "measured"),
    _entry("R050363", "Brookite", 1549, "measured"),
    _entry("R050591", "Brookite", 1982, "measured"),
    _entry("R130225", "Brookite", 11921, "calculated"),
)
_BY_ID = {entry.rruff_id: entry for entry in CATALOGUE}


@dataclass(frozen=True, eq=False)
class RruffPattern:
    """An entry's scan with its origin.

    Attributes
    ----------
    source : "measured", "calculated by RRUFF", "stand-in", or "not recorded" where the file
        has a status that names neither of the first two
    where : "local folder", "cache", "network" or "simulated"
    """

    entry: Entry
    scan: Scan
    source: str
    where: str

    @property
    def name(self) -> str:
        return f"{self.entry.mineral} {self.entry.rruff_id}"

    @property
    def phase(self) -> str | None:
        return self.entry.phase


def find_patterns(
    data_dir=None, download: bool = False, cache_dir=None, progress: bool = False
) -> list[RruffPattern]:
    """The patterns of the five phases that are at hand, in the catalogue's order.

    Each entry is looked for in the local folder with its subfolders (any file whose name holds
    the ID), in the cache, and on the network if ``download`` is true. Other files of the local
    folder follow, by the mineral's name: ``rutile_lab3.xy`` is a rutile. Whether a pattern is
    measured is told by the file's ``##STATUS``, else by its name, else by the catalogue.

    Parameters
    ----------
    data_dir : folder, optional; by default the one that the variable XRDCLASS_DATA names
    download : fetch what is in neither folder; what cannot be fetched is told by a warning
    cache_dir : folder, optional; by default the user's cache
    progress : show a progress bar while downloading

    Raises
    ------
    DataError
        If ``data_dir`` is not a folder. A file that cannot be read is left out with a warning.
    """
    files = _files(_data_folder(data_dir))
    folder = _cache_folder(cache_dir)
    found = _catalogue_patterns(CATALOGUE, files, "local folder")
    absent = [entry for entry in CATALOGUE if entry.rruff_id not in found]
    found |= _catalogue_patterns(absent, _files(folder), "cache")
    absent = [entry for entry in absent if entry.rruff_id not in found]
    if download and absent:
        _download_or_warn(absent, folder, progress)
        found |= _catalogue_patterns(absent, _files(folder), "network")
    patterns = [found[entry.rruff_id] for entry in CATALOGUE if entry.rruff_id in found]
    known = set(_BY_ID)
    for path in files:
        entry = _entry_of(path)
        if entry is None or entry.phase is None:
            continue
        # Without an ID, files of one name are one scan in two formats only within a folder.
        key = entry.rruff_id if _ID.search(path.name) else path.with_suffix("")
        if key not in known and (pattern := _read(entry, path, "local folder")):
            known.add(key)
            patterns.append(pattern)
    return patterns


def find_other_minerals(data_dir=None, cache_dir=None) -> list[RruffPattern]:
    """The patterns at hand, local folder and cache, of minerals that are none of the five phases.

    Only files named in RRUFF's way count, ``Mineral__ID...``; ``phase`` is None. Sorted by name.

    Raises
    ------
    DataError
        If ``data_dir`` is not a folder.
    """
    found: dict[str, RruffPattern] = {}
    places = (_data_folder(data_dir), "local folder"), (_cache_folder(cache_dir), "cache")
    for folder, where in places:
        for path in _files(folder):
            entry = _entry_of(path)
            named = entry and _MINERAL.match(path.name) and entry.rruff_id not in _BY_ID
            if named and entry.phase is None and entry.rruff_id not in found:
                if pattern := _read(entry, path, where):
                    found[entry.rruff_id] = pattern
    return sorted(found.values(), key=lambda pattern: pattern.name)


def evaluation_patterns(
    data_dir=None, download: bool = False, cache_dir=None, progress: bool = False, seed: int = 0
) -> list[RruffPattern]:
    """What `find_patterns` finds or, if that is nothing at all, a stand-in for each entry."""
    found = find_patterns(data_dir, download, cache_dir, progress)
    return found or [stand_in(entry, seed) for entry in CATALOGUE]


def stand_in(entry: Entry, seed: int = 0) -> RruffPattern:
    """A simulated pattern in place of an entry that is not at hand; never a measurement.

    Its conditions are ones that training does not draw from: a Voigt profile and a sample
    displaced by 0.18 to 0.25 mm, with the doublet, a background and counting noise.

    Raises
    ------
    DataError
        If the entry's phase is none of the five.
    """
    from .diffraction import radiation
    from .noise import Noise, add_noise
    from .simulation import Variation, simulate

    phase = _shipped_phases().get(entry.phase)
    if phase is None:
        raise DataError(
            f"{entry.rruff_id} is {entry.mineral}, none of the five phases to simulate."
        )
    seeds = np.random.SeedSequence([seed, zlib.crc32(entry.rruff_id.encode())]).generate_state(2)
    variation = Variation(
        strain=0.004,
        texture=0.4,
        domain_size=(30, 80),
        profile="voigt",
        eta=(0.3, 0.7),
        k_alpha2=True,
        caglioti=((0.005, 0.015), (-0.008, -0.002), (0.004, 0.01)),
        displacement=(0.18, 0.25),
    )
    noise = Noise(air=(0, 0.1), background=(0.02, 0.1), hump=(0, 0.02), counts=(500, 6000))
    pattern = add_noise(simulate([phase], 1, variation, seed=int(seeds[0])), noise, int(seeds[1]))
    scan = Scan(
        pattern.grid.two_theta,
        pattern.intensity[0],
        name=f"{entry.mineral} {entry.rruff_id} (stand-in)",
        wavelength=radiation("Cu").mean,
        metadata={"NAMES": entry.mineral, "STATUS": "stand-in: simulated, not measured"},
    )
    return RruffPattern(entry, scan, "stand-in", "simulated")


@cache
def _shipped_phases() -> dict:
    from .phases import load_phases

    return {phase.name: phase for phase in load_phases()}


def _data_folder(data_dir) -> Path | None:
    folder = data_dir if data_dir is not None else os.environ.get(DATA_VARIABLE) or None
    if folder is None:
        return None
    if not Path(folder).is_dir():
        origin = "" if data_dir is not None else f", which {DATA_VARIABLE} names,"
        message = f"{folder}{origin} is not a folder; expected a folder of RRUFF scans."
        if data_dir is not None:
            raise DataError(message)
        warnings.warn(message, stacklevel=3)
        return None
    return Path(folder)


def _cache_folder(cache_dir) -> Path:
    if cache_dir is not None:
        return Path(cache_dir)
    import pooch

    return Path(pooch.os_cache("xrdclass")) / "rruff"


def _files(folder: Path | None) -> list[Path]:
    """The files below a folder that may be scans; raw data before processed ones."""
    if folder is None:
        return []
    paths = (Path(top, name) for top, _, names in os.walk(folder) for name in names)
    wanted = (p for p in paths if p.suffix.lower() in _SUFFIXES and not p.name.startswith("."))
    wanted = (p for p in wanted if not _NOT_SCANS.search(p.name))
    return sorted(wanted, key=lambda p: ("processed" in p.name.lower(), str(p)))


def _entry_of(path: Path) -> Entry | None:
    """The entry that a file outside the catalogue stands for; None if its name tells no mineral."""
    number, named = _ID.search(path.name), _MINERAL.match(path.name)
    text = (named[1] if named else path.stem).lower()
    phases = {p for p, word in _PHASES.items() if re.search(f"(?<![a-z]){word}(?![a-z])", text)}
    if named:
        mineral, phase = named[1], phases.pop() if phases else None
    elif len(phases) == 1:  # two names: a mixture
        phase = phases.pop()
        mineral = phase[0].upper() + phase[1:]
    else:
        return None
    return Entry(number[0] if number else path.stem, mineral, phase, None, path.name)


def _catalogue_patterns(entries, files: list[Path], where: str) -> dict[str, RruffPattern]:
    found = {}
    for entry in entries:
        for path in (p for p in files if entry.rruff_id.lower() in p.name.lower()):
            if pattern := _read(entry, path, where):
                found[entry.rruff_id] = pattern
                break
    return found


def _read(entry: Entry, path: Path, where: str) -> RruffPattern | None:
    try:
        scan = read_scan(path)
    except ScanError as error:
        warnings.warn(f"Left out: {error}", stacklevel=4)
        return None
    return RruffPattern(entry, scan, _source(entry, scan, path.name), where)


def _source(entry: Entry, scan: Scan, name: str) -> str:
    status = scan.metadata.get("STATUS", "").lower()
    mark = re.search(re.escape(entry.rruff_id) + r"-([19])(?!\d)", name, re.IGNORECASE)
    stated = status.split()[0].strip(";,.") if status else ""
    kind = stated if stated in ("measured", "calculated") else None
    kind = kind or (mark and {"1": "measured", "9": "calculated"}[mark[1]]) or entry.kind
    if kind is None and stated:
        return "not recorded"
    return "calculated by RRUFF" if kind == "calculated" else "measured"


def download(
    entries: Iterable[Entry] = CATALOGUE,
    cache_dir=None,
    progress: bool = True,
    other: bool = False,
    archive_urls: Iterable[str] | None = None,
    file_url: str | None = None,
    timeout: float = 30,
) -> list[Path]:
    """Fetch entries that are not in the cache yet; return their files.

    They are taken from RRUFF's archive of raw patterns, whichever address answers, then from the
    single files at their old address. No checksum is known, so each is checked by its content.

    Parameters
    ----------
    entries : the catalogue, or some of it
    cache_dir : folder, optional; by default the user's cache
    progress : show a progress bar
    other : also keep one entry of each of `OTHER_MINERALS` that the archive holds
    archive_urls, file_url : other addresses; by default `ARCHIVE_URLS` and `FILE_URL`
    timeout : seconds without an answer after which an address counts as unreachable; a whole file
        may take twenty times as long

    Raises
    ------
    DownloadError
        If the cache cannot be written to or an entry could not be fetched; what was fetched
        stays in the cache.
    """
    folder = _cache_folder(cache_dir)
    entries = list(entries)
    minerals = set(OTHER_MINERALS) if other else set()
    problems: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _tidy(folder)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as name:
            fetched = Path(name, "fetched")
            for url in ARCHIVE_URLS if archive_urls is None else archive_urls:
                wanted = {e.rruff_id: e.file for e in _uncached(entries, folder)}
                wanted |= {m: f"{m}__" for m in minerals if not any(folder.glob(f"{m}__*"))}
                if not wanted:
                    break
                try:
                    fetch(url, fetched, progress, timeout)
                    problems += _unpack(fetched, url, wanted, folder)
                    minerals = set()  # an archive holds what it holds
                except DownloadError as error:
                    problems.append(str(error))
            for entry in _uncached(entries, folder):
                url = (FILE_URL if file_url is None else file_url) + entry.file
                try:
                    fetch(url, fetched, False, timeout)
                    _keep(fetched.read_bytes(), entry.rruff_id, folder / entry.file, url)
                except UnreachableError as error:
                    problems.append(str(error))
                    break
                except DownloadError as error:
                    problems.append(str(error))
    except OSError as error:
        raise DownloadError(
            f"The cache folder {folder} cannot be written to: {error.strerror or error}. "
            "Choose another folder, or make this one writable."
        ) from None
    missing = [entry.rruff_id for entry in _uncached(entries, folder)]
    if missing or (minerals and problems):
        what = ", ".join(missing) or "the other minerals"
        reasons = "; ".join(dict.fromkeys(problems)) or "no address was given"
        raise DownloadError(f"From RRUFF could not be fetched: {what}. {reasons}. {OFFLINE}.")
    files = _files(folder)
    kept = [p for entry in entries for p in files if entry.rruff_id in p.name]
    return kept + [
        p for m in OTHER_MINERALS for p in files if other and p.name.startswith(f"{m}__")
    ]


def _tidy(folder: Path) -> None:
    """Remove what a killed run left behind; what is younger than an hour may be in use."""
    old = time.time() - 3600
    for path in folder.glob(".*"):
        with contextlib.suppress(OSError):  # another process may tidy at the same time
            if path.stat().st_mtime < old:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _download_or_warn(entries, folder: Path, progress: bool) -> None:
    try:
        download(entries, folder, progress)
    except DownloadError as error:
        warnings.warn(str(error), stacklevel=3)


def _uncached(entries: list[Entry], folder: Path) -> list[Entry]:
    """The entries of which the cache has no file with the right content."""
    files = _files(folder)
    return [entry for entry in entries if not any(_is_entry(entry, path) for path in files)]


def _is_entry(entry: Entry, path: Path) -> bool:
    try:
        return entry.rruff_id in path.name and not _fault(path.read_bytes(), entry.rruff_id, path)
    except OSError:
        return False


def _fault(content: bytes, rruff_id: str | None, name) -> str | None:
    """What speaks against this content being the entry's pattern, None if nothing does."""
    try:
        scan = parse_scan(content, name)
    except ScanError as error:
        return str(error).rstrip(".")
    stated = scan.metadata.get("RRUFFID", "no ID")
    low, high = scan.two_theta[[0, -1]]
    if rruff_id is not None and rruff_id not in stated.upper():
        return f"expected the RRUFF entry {rruff_id} in its header; found {stated}"
    if len(scan) < 1000 or low > 10 or high < 80:
        found = f"found {len(scan)} points from {low:g} to {high:g}"
        return f"expected at least 1000 points from 10 to 80 degrees; {found}"
    return None


def _keep(content: bytes, rruff_id: str | None, path: Path, origin: str) -> None:
    """Write a fetched pattern to the cache if its content is right."""
    if fault := _fault(content, rruff_id, path.name):
        raise DownloadError(f"{origin} did not send what was asked for: {fault}")
    try:
        write_safely(path, lambda file: file.write(content), overwrite=True)
    except DataError as error:
        raise DownloadError(str(error).rstrip(".")) from None


def _unpack(archive: Path, url: str, wanted: dict[str, str], folder: Path) -> list[str]:
    """Keep the wanted members, {ID or mineral: file name or its start}; return what went wrong."""
    problems = []
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = {}
            for member in zipped.infolist():
                place = PurePosixPath(member.filename.replace("\\", "/"))
                outside = place.is_absolute() or ".." in place.parts or ":" in member.filename
                if not (outside or _NOT_SCANS.search(place.name) or member.file_size > MAX_MEMBER):
                    members[place.name] = member
            for key, file in wanted.items():
                is_id = file != f"{key}__"
                names = [n for n in members if (key in n if is_id else n.startswith(file))]
                # First the very file, then measured ones.
                fault = f"{url} has no file of {key}" if is_id else None
                for *_, name in sorted((n != file, "-1__" not in n, n) for n in names):
                    own_name = re.sub(r"[^\w.()-]", "_", name)
                    try:
                        with zipped.open(members[name]) as file:
                            content = file.read(MAX_MEMBER + 1)  # whatever size it states
                        if len(content) > MAX_MEMBER:
                            raise DownloadError(f"{url} holds a file of {name} far too large")
                        _keep(content, key if is_id else None, folder / own_name, url)
                        fault = None
                        break
                    except DownloadError as error:
                        fault = str(error)
                problems += [fault] if fault else []
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError) as error:
        with archive.open("rb") as file:
            start = file.read(200).lstrip()[:1]
        found = {b"P": "a damaged one", b"<": "a web page"}.get(start, "other data")
        raise DownloadError(f"{url}: expected a zip archive; found {found} ({error})") from None
    return problems
