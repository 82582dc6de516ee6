"""Measured scans: which the lessons use, where each comes from, and what stands in for it.

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
from pathlib import Path

import numpy as np

from .errors import DataError, DownloadError, ScanError
from .files.downloads import fill
from .scans import Scan, parse_scan, read_scan

DATA_VARIABLE = "XRDCLASS_DATA"

_PHASES = {name: name for name in ("anatase", "brookite", "rutile")}
_PHASES |= {"TiO2-II": "tio2-ii", "beta-TiO2": r"(?:beta-tio2|tio2\(b\))"}
_ID = re.compile(r"(?:^([^\W\d_].*?)__|(?<![a-z0-9]))([a-z]\d[\dx]{5})(?![\dx])", re.IGNORECASE)
_SUFFIXES = set(".xy .xye .csv .txt .dat .asc .prn .ras .xrdml .brml .rasx .raw".split())
# RRUFF offers, under the same IDs, lists of lines, refinements and spectra: none is a scan.
_NOT_SCANS = re.compile(r"^\.|DIF_File|Refinement|Raman|Infrared|README", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """A scan that can be fetched, or a file of the local folder that is in no list.

    Its kind is "measured" (``-1`` in RRUFF's file names) or "calculated" (``-9``), of other names
    as `kind_of` tells. What is not known is None or "".
    """

    rruff_id: str  # such as "R060277"; for what has no ID, the file's name
    mineral: str
    phase: str | None  # its name in `phases`, None if it is none of the five
    kind: str | None
    file: str  # the single file's name, its address and checksum
    url: str = ""
    sha256: str = ""
    weight_percent: dict[str, float] = field(default_factory=dict, hash=False)  # of a mixture


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

    Its source is "measured", "measured, processed", "measured, stripped" (of its background),
    "calculated by RRUFF", "calculated" (as `kind_of` tells), or "stand-in".
    """

    entry: Entry
    scan: Scan
    source: str
    where: str  # "local folder", "cache" or "simulated"

    @property
    def name(self) -> str:
        return f"{self.entry.mineral} {self.entry.rruff_id}"

    @property
    def phase(self) -> str | None:
        return self.entry.phase


def kind_of(scan: Scan) -> str:
    """Whether a scan is "measured", "stripped" of its background, or "calculated", by its numbers.

    The rule: a counter writes whole numbers, and seldom zero. What is not whole, and exactly zero
    at a tenth of its points or more, was stripped or calculated: calculated if it has no noise,
    which turns from rising to falling or back at two of three points, and here at under one.
    """
    if not (scan.intensity % 1).any() or np.mean(scan.intensity == 0) < 0.1:
        return "measured"
    slope = np.sign(np.diff(scan.intensity))
    turns = np.count_nonzero(np.diff(slope[slope != 0]))
    return "calculated" if turns < np.count_nonzero(slope) / 3 else "stripped"


def find_patterns(data_dir=None, cache_dir=None) -> list[RruffPattern]:
    """The patterns of the five phases that are at hand, in the catalogue's order.

    Each entry is looked for in the folder ``data_dir``, by default the one that the variable
    XRDCLASS_DATA names, with its subfolders (any file whose name holds the ID), then in the cache
    that `download` fills. Other files follow, by the mineral's name: ``rutile_lab3.xy`` is a
    rutile. Whether a pattern is measured is told by the file's ``##STATUS``, else by its name or
    the one on RRUFF, else by the list, else by `kind_of`. `DataError` if ``data_dir`` is not a
    folder; a file that cannot be read is left out with a warning.
    """
    return _find(lambda entry: entry.phase, data_dir, cache_dir)


def find_other_minerals(data_dir=None, cache_dir=None) -> list[RruffPattern]:
    """The like of other minerals, by name: of `OTHER_MINERALS` or a file ``Mineral__ID...``."""
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
    """A simulated pattern in place of an entry of the five phases; never a measurement.

    Its conditions are ones that training does not draw from: a Voigt profile and a sample
    displaced by 0.18 to 0.25 mm, with the doublet, a background and counting noise.
    """
    from .diffraction import radiation
    from .noise import Noise, add_noise
    from .phases import load_phases
    from .simulation import Variation, simulate

    phases = [phase for phase in load_phases() if phase.name == entry.phase]
    seeds = np.random.SeedSequence([seed, zlib.crc32(entry.rruff_id.encode())]).generate_state(2)
    caglioti = ((0.005, 0.015), (-0.008, -0.002), (0.004, 0.01))
    shape = {"profile": "voigt", "eta": (0.3, 0.7), "k_alpha2": True, "caglioti": caglioti}
    sample = {"strain": 0.004, "texture": 0.4, "domain_size": (30, 80)}
    sample["displacement"] = (0.18, 0.25)
    noise = Noise(air=(0, 0.1), background=(0.02, 0.1), hump=(0, 0.02), counts=(500, 6000))
    clean = simulate(phases, 1, Variation(**sample, **shape), seed=int(seeds[0]))
    noisy = add_noise(clean, noise, int(seeds[1]))
    name = f"{entry.mineral} {entry.rruff_id} (stand-in)"
    said = {"NAMES": entry.mineral, "STATUS": "stand-in: simulated, not measured"}
    axes = noisy.grid.two_theta, noisy.intensity[0]
    scan = Scan(*axes, name, wavelength=radiation("Cu").mean, metadata=said)
    return RruffPattern(entry, scan, "stand-in", "simulated")


def download(entries: Iterable[Entry] = CATALOGUE, cache_dir=None, **options) -> list[Path]:
    """Fetch entries that are not in the cache yet; return their files.

    What has no known checksum is checked by its content: ID, angles and number of points. The
    options, such as ``progress`` and ``seconds``, are those of `files.downloads.fill`. If the cache
    cannot be written to, or an entry not be fetched, a `DownloadError` says how many came and stay.
    """
    entries, folder = list(entries), _cache_folder(cache_dir)
    found, problems = fill(folder, entries, _fault, **options)
    lacking = [entry.rruff_id for entry in entries if entry.rruff_id not in found]
    if lacking:
        names = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if lacking[3:] else "")
        raise DownloadError(
            f"{len(found)} of {len(entries)} scans are in {folder}; could not be fetched: {names} "
            f"({'; '.join(problems[:4]) or 'no source has them'}); to work offline, put the "
            "files into a folder and set XRDCLASS_DATA to it."
        )
    return [found[entry.rruff_id] for entry in entries]


def _fault(content: bytes, rruff_id: str, name) -> str | None:
    """What speaks against this content being the entry's pattern, None if nothing does."""
    try:
        scan = parse_scan(content, name)
    except ScanError as error:
        return str(error).rstrip(".")
    stated, (low, high) = scan.metadata.get("RRUFFID", "no ID"), scan.two_theta[[0, -1]]
    if rruff_id in stated.upper() and len(scan) >= 1000 and low <= 10 and high >= 80:
        return None
    found = f"{stated} with {len(scan)} points from {low:g} to {high:g}"
    return f"expected {rruff_id} with at least 1000 points from 10 to 80 degrees; found {found}"


def _cache_folder(cache_dir) -> Path:
    import pooch

    return Path(pooch.os_cache("xrdclass"), "rruff") if cache_dir is None else Path(cache_dir)


def _find(wanted, data_dir, cache_dir) -> list[RruffPattern]:
    """The first readable file of each wanted entry, listed ones first and in the list's order."""
    folder = data_dir if data_dir is not None else os.environ.get(DATA_VARIABLE) or None
    if folder is not None and not Path(folder).is_dir():
        origin = "" if data_dir is not None else f", which {DATA_VARIABLE} names,"
        raise DataError(f"{folder}{origin} is not a folder; expected a folder of RRUFF scans.")
    found: dict[object, RruffPattern] = {}
    for where, place in (("local folder", folder), ("cache", _cache_folder(cache_dir))):
        for path in _files(place) if place else ():
            entry = _entry_of(path)
            # Without an ID, files of one name are one scan in two formats only within a folder.
            own = entry in _LISTED or _ID.search(path.name)
            key = entry.rruff_id if entry and own else path.with_suffix("")
            if entry is None or not wanted(entry) or key in found:
                continue
            try:
                scan = read_scan(path)
                found[key] = RruffPattern(entry, scan, _source(entry, scan, path.name), where)
            except ScanError as error:
                warnings.warn(f"Left out: {error}", stacklevel=3)
    rank = {entry: number for number, entry in enumerate(_LISTED)}
    return sorted(found.values(), key=lambda pattern: rank.get(pattern.entry, len(rank)))


def _files(folder) -> list[Path]:
    """The files below a folder that may be scans; raw data before processed ones."""
    paths = (Path(top, name) for top, _, names in os.walk(folder) for name in names)
    wanted = (p for p in paths if p.suffix.lower() in _SUFFIXES and not _NOT_SCANS.search(p.name))
    return sorted(wanted, key=lambda p: ("processed" in p.name.lower(), str(p)))


def _entry_of(path: Path) -> Entry | None:
    """The entry that a file stands for; None if its name tells neither ID nor mineral."""
    for entry in _LISTED:
        if entry.rruff_id.lower() in path.name.lower():
            return entry
    mineral, number = match.groups() if (match := _ID.search(path.name)) else (None, None)
    text = (mineral or path.stem).lower()
    phases = [p for p, word in _PHASES.items() if re.search(f"(?<![a-z]){word}(?![a-z])", text)]
    if not mineral and len(phases) != 1:  # two names: a mixture
        return None
    phase = phases[0] if phases else None
    mineral = mineral or phase[0].upper() + phase[1:]
    return Entry(number or path.stem, mineral, phase, None, path.name)


def _source(entry: Entry, scan: Scan, name: str) -> str:
    """`RruffPattern.source` of an entry's file."""
    stated = re.match("measured|calculated", scan.metadata.get("STATUS", "").lower())
    names, number = f"{name} {entry.file}", re.escape(entry.rruff_id)
    mark = re.search(number + r"-([19])(?!\d)", names, re.IGNORECASE)
    known = stated[0] if stated else {"1": "measured", "9": "calculated"}.get(mark and mark[1])
    by_numbers = kind_of(scan)
    if (known or by_numbers) == "calculated" and (known or entry.kind != "measured"):
        return "calculated by RRUFF" if known else "calculated"
    if "processed" in scan.metadata.get("INTENSITIES", name).lower():
        return "measured, processed"
    return "measured" if by_numbers == "measured" else "measured, stripped"
