"""Measured scans: what the lessons evaluate, where each comes from, and what stands in for it.

Most are of RRUFF: Lafuente, Downs, Yang & Stone (2015), in Highlights in Mineralogical
Crystallography, 1-30. sources.tsv lists them all, with addresses and checksums.
"""

from __future__ import annotations

import csv
import os
import re
import warnings
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from .errors import DataError, ScanError
from .files.archives import fill
from .scans import Scan, parse_scan, read_scan

DATA_VARIABLE = "XRDCLASS_DATA"

_PHASES = {name: name for name in ("anatase", "brookite", "rutile")}
_PHASES |= {"TiO2-II": "tio2-ii", "beta-TiO2": r"(?:beta-tio2|tio2\(b\))"}
_ID = re.compile(r"(?<![A-Za-z0-9])[A-Z]\d[\dx]{5}(?![\dx])", re.IGNORECASE)
_MINERAL = re.compile(r"^([^\W\d_].*?)__[A-Z]\d[\dx]{5}", re.IGNORECASE)
_SUFFIXES = set(".xy .xye .csv .txt .dat .asc .prn .ras .xrdml .brml .rasx .raw".split())
# RRUFF offers, under the same IDs, lists of lines, refinements and spectra: none is a scan.
_NOT_SCANS = re.compile(r"DIF_File|Refinement|Raman|Infrared|README", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """A scan that can be fetched, or a file of the local folder that is in no list.

    Attributes
    ----------
    rruff_id : such as "R060277"; for what has no ID, the file's name
    mineral : such as "Anatase"
    phase : the phase's name in `phases`, None if it is none of the five
    kind : "measured" (``-1`` in RRUFF's file names), "calculated" (``-9``), "calculated or
        stripped" (see `is_stripped`), None if not known
    file, url, sha256 : the single file's name, address and checksum, "" if not known
    weight_percent : {mineral: part} of a weighed mixture, else empty
    """

    rruff_id: str
    mineral: str
    phase: str | None
    kind: str | None
    file: str
    url: str = ""
    sha256: str = ""
    weight_percent: dict[str, float] = field(default_factory=dict, hash=False)


def _listed(row: dict[str, str]) -> Entry:
    parts = (part.rsplit(" ", 1) for part in row["weight_percent"].split(", ") if part)
    weights = {mineral: float(percent) for mineral, percent in parts}
    return Entry(**{**row, "phase": row["phase"] or None, "weight_percent": weights})


_LINES = Path(__file__).with_name("sources.tsv").read_text(encoding="utf-8").splitlines()
_LISTED = tuple(map(_listed, csv.DictReader(_LINES, delimiter="\t")))
#: The eleven entries of the original guide's evaluation.
CATALOGUE = tuple(entry for entry in _LISTED if entry.phase)
#: The minerals of the tables of results, none of them TiO2.
OTHER_MINERALS = tuple(e for e in _LISTED if not (e.phase or e.weight_percent))
#: Weighed mixtures; the ``cpd`` ones by Madsen et al. (2001), J. Appl. Cryst. 34, 409-426.
MIXTURES = tuple(entry for entry in _LISTED if entry.weight_percent)


@dataclass(frozen=True, eq=False)
class RruffPattern:
    """An entry's scan with its origin.

    Attributes
    ----------
    source : "measured", "measured, processed", "measured, stripped" (of its background),
        "calculated by RRUFF", "calculated or stripped" (see `is_stripped`), or "stand-in"
    where : "local folder", "cache" or "simulated"
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


def is_stripped(scan: Scan) -> bool:
    """Whether a pattern was calculated or stripped of its background, told by its numbers alone.

    The rule: a counter writes whole numbers, and seldom zero. These are not all whole, and at
    least a tenth of them are exactly zero.
    """
    return bool((scan.intensity % 1).any() and np.mean(scan.intensity == 0) >= 0.1)


def find_patterns(data_dir=None, cache_dir=None) -> list[RruffPattern]:
    """The patterns of the five phases that are at hand, in the catalogue's order.

    Each entry is looked for in the local folder with its subfolders (any file whose name holds
    the ID), then in the cache that `download` fills. Other files follow, by the mineral's name:
    ``rutile_lab3.xy`` is a rutile. Whether a pattern is measured is told by the file's
    ``##STATUS``, else by its name, else by the catalogue, else by `is_stripped`.

    Parameters
    ----------
    data_dir : folder, optional; by default the one that the variable XRDCLASS_DATA names
    cache_dir : folder, optional; by default the user's cache

    Raises
    ------
    DataError
        If ``data_dir`` is not a folder. A file that cannot be read is left out with a warning.
    """
    return _find(lambda entry: entry.phase, data_dir, cache_dir)


def find_other_minerals(data_dir=None, cache_dir=None) -> list[RruffPattern]:
    """The like of minerals that are none of the five phases; sorted by name, ``phase`` is None.

    They are known by their ID (`OTHER_MINERALS`) or by a name in RRUFF's way, ``Mineral__ID...``.
    """
    found = _find(lambda entry: not entry.phase and not entry.weight_percent, data_dir, cache_dir)
    return sorted(found, key=lambda pattern: pattern.name)


def find_mixtures(data_dir=None, cache_dir=None) -> list[RruffPattern]:
    """The like of weighed mixtures, in the order of `MIXTURES`."""
    return _find(lambda entry: entry.weight_percent, data_dir, cache_dir)


def evaluation_patterns(data_dir=None, cache_dir=None, seed: int = 0) -> list[RruffPattern]:
    """What `find_patterns` finds or, if that is nothing at all, a stand-in for each entry."""
    found = find_patterns(data_dir, cache_dir)
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


def download(entries: Iterable[Entry] = CATALOGUE, cache_dir=None, **options) -> list[Path]:
    """Fetch entries that are not in the cache yet; return their files.

    What has no known checksum is checked by its content: ID, angles and number of points.

    Parameters
    ----------
    entries : the catalogue, `OTHER_MINERALS`, `MIXTURES` or some of them
    cache_dir : folder, optional; by default the user's cache
    options : ``progress``, ``seconds`` for the whole and others, see `files.archives.fill`

    Raises
    ------
    DownloadError
        If the cache cannot be written to or an entry could not be fetched; what was fetched
        stays in the cache. The message says how many came.
    """
    return fill(_cache_folder(cache_dir), entries, _fault, **options)


def _fault(content: bytes, rruff_id: str, name) -> str | None:
    """What speaks against this content being the entry's pattern, None if nothing does."""
    try:
        scan = parse_scan(content, name)
    except ScanError as error:
        return str(error).rstrip(".")
    stated = scan.metadata.get("RRUFFID", "no ID")
    low, high = scan.two_theta[[0, -1]]
    if rruff_id not in stated.upper():
        return f"expected the RRUFF entry {rruff_id} in its header; found {stated}"
    if len(scan) < 1000 or low > 10 or high < 80:
        found = f"found {len(scan)} points from {low:g} to {high:g}"
        return f"expected at least 1000 points from 10 to 80 degrees; {found}"
    return None


def _find(wanted, data_dir, cache_dir) -> list[RruffPattern]:
    """The first readable file of each wanted entry, listed ones first and in the list's order."""
    folder = data_dir if data_dir is not None else os.environ.get(DATA_VARIABLE) or None
    if folder is not None and not Path(folder).is_dir():
        origin = "" if data_dir is not None else f", which {DATA_VARIABLE} names,"
        message = f"{folder}{origin} is not a folder; expected a folder of RRUFF scans."
        if data_dir is not None:
            raise DataError(message)
        warnings.warn(message, stacklevel=3)
        folder = None
    found: dict[object, RruffPattern] = {}
    for where, place in (("local folder", folder), ("cache", _cache_folder(cache_dir))):
        for path in _files(place):
            entry = _entry_of(path)
            if entry is None or not wanted(entry):
                continue
            # Without an ID, files of one name are one scan in two formats only within a folder.
            own = entry in _LISTED or _ID.search(path.name)
            key = entry.rruff_id if own else path.with_suffix("")
            if key not in found and (pattern := _read(entry, path, where)):
                found[key] = pattern
    rank = {entry: number for number, entry in enumerate(_LISTED)}
    return sorted(found.values(), key=lambda pattern: rank.get(pattern.entry, len(rank)))


def _cache_folder(cache_dir) -> Path:
    import pooch

    return Path(pooch.os_cache("xrdclass"), "rruff") if cache_dir is None else Path(cache_dir)


def _files(folder) -> list[Path]:
    """The files below a folder that may be scans; raw data before processed ones."""
    if folder is None:
        return []
    paths = (Path(top, name) for top, _, names in os.walk(folder) for name in names)
    wanted = (p for p in paths if p.suffix.lower() in _SUFFIXES and not p.name.startswith("."))
    wanted = (p for p in wanted if not _NOT_SCANS.search(p.name))
    return sorted(wanted, key=lambda p: ("processed" in p.name.lower(), str(p)))


def _entry_of(path: Path) -> Entry | None:
    """The entry that a file stands for; None if its name tells neither ID nor mineral."""
    for entry in _LISTED:
        if entry.rruff_id.lower() in path.name.lower():
            return entry
    number, named = _ID.search(path.name), _MINERAL.match(path.name)
    text = (named[1] if named else path.stem).lower()
    phases = {p for p, word in _PHASES.items() if re.search(f"(?<![a-z]){word}(?![a-z])", text)}
    if not named and len(phases) != 1:  # two names: a mixture
        return None
    phase = phases.pop() if phases else None
    mineral = named[1] if named else phase[0].upper() + phase[1:]
    return Entry(number[0] if number else path.stem, mineral, phase, None, path.name)


def _read(entry: Entry, path: Path, where: str) -> RruffPattern | None:
    try:
        scan = read_scan(path)
    except ScanError as error:
        warnings.warn(f"Left out: {error}", stacklevel=4)
        return None
    return RruffPattern(entry, scan, _source(entry, scan, path.name), where)


def _source(entry: Entry, scan: Scan, name: str) -> str:
    """`RruffPattern.source` of an entry's file."""
    stated = re.match("measured|calculated", scan.metadata.get("STATUS", "").lower())
    mark = re.search(re.escape(entry.rruff_id) + r"-([19])(?!\d)", name, re.IGNORECASE)
    kind = stated[0] if stated else {"1": "measured", "9": "calculated"}.get(mark and mark[1])
    kind = kind or entry.kind
    if kind == "calculated":
        return "calculated by RRUFF"
    if is_stripped(scan):
        return "measured, stripped" if kind == "measured" else "calculated or stripped"
    processed = scan.metadata.get("INTENSITIES", name).lower()
    return "measured, processed" if "processed" in processed else "measured"
