"""Patterns of RRUFF out of archives and single files, each checked before it is kept."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import shutil
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from ..errors import DataError, DownloadError
from .downloads import UnreachableError, fetch
from .writing import write_safely

#: Many patterns at once, {address: SHA-256 if known}: RRUFF's as JARVIS processed them (figshare
#: 10.6084/m9.figshare.31817977, CC BY 4.0), then RRUFF's own archive on either host.
ARCHIVES = {
    "https://ndownloader.figshare.com/files/62967574": (
        "139e4ea9319fc7d7e31c08b5599a2afef7e6d9ea375f1076a4947b33bff9d59a"
    ),
    "https://www.rruff.net/zipped_data_files/powder/XY_RAW.zip": "",
    "https://rruff.info/zipped_data_files/powder/XY_RAW.zip": "",
}
MAX_MEMBER = 20_000_000  # bytes of one pattern in an archive
_ARCHIVED = re.compile(r"[A-Z]\d{6}")


def fill(
    folder: Path,
    entries: Iterable,
    fault,
    progress: bool = True,
    seconds: float | None = None,
    archives: dict[str, str] | None = None,
    timeout: float = 30,
) -> list[Path]:
    """Fetch what a folder lacks: from each archive in turn, then from its own address.

    Parameters
    ----------
    entries : with a ``rruff_id``, which names and headers of all copies contain, a ``mineral``,
        and ``file``, ``url`` and ``sha256`` ("" if not known) of the single file
    fault : ``fault(content, rruff_id, name)``: what speaks against a content, None if nothing does
    progress : show a bar for each archive
    seconds : for the whole; one archive gets half of what is left. By default each download has
        an end of its own, see `fetch`
    archives : {address: checksum} of zip files, by default `ARCHIVES`. One with a checksum holds a
        JSON list of records with ``##RRUFFID``, ``x`` and ``y``; others files named by their ID
    timeout : seconds without an answer after which an address counts as unreachable

    Returns
    -------
    the files, in the order of the entries

    Raises
    ------
    DownloadError
        If the folder cannot be written to, or something is still lacking.
    """
    entries, archives = list(entries), ARCHIVES if archives is None else archives
    problems, silent = [], set()
    end = time.monotonic() + (float("inf") if seconds is None else seconds)

    def ask(url: str, sha256: str, share: float) -> Path | None:
        left = min(20 * timeout, share * (end - time.monotonic()))
        path = Path(tempfile.mkdtemp(dir=work), "fetched")  # its own: one may come too late
        host = urlsplit(url).hostname
        try:
            if left > 0 and host not in silent:
                fetch(url, path, progress and share < 1, timeout, sha256, left)
                return path
        except DownloadError as error:
            problems.append(str(error))
            silent.update([host] if isinstance(error, UnreachableError) else [])

    try:
        folder.mkdir(parents=True, exist_ok=True)
        _tidy(folder)
        lacking = _lacking(folder, entries, fault)
        with tempfile.TemporaryDirectory(
            prefix=".download-", dir=folder, ignore_cleanup_errors=True
        ) as work:
            for url, sha256 in archives.items():
                archived = [entry for entry in lacking if _ARCHIVED.match(entry.rruff_id)]
                if archived and (path := ask(url, sha256, 0.5)):
                    problems += _unpack(path, url, sha256, archived, folder, fault)
                    lacking = _lacking(folder, lacking, fault)
            for entry in lacking:
                if entry.url and (path := ask(entry.url, entry.sha256, 1)):
                    content = path.read_bytes()
                    problems += _keep(content, entry, folder / entry.file, entry.url, fault)
        lacking = _lacking(folder, lacking, fault)
    except (OSError, DataError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DownloadError(
            f"The cache folder {folder} cannot be written to: {reason}. "
            "Choose another folder, or make this one writable."
        ) from None
    if lacking:
        problems += [f"the {seconds:g} s were over"] if time.monotonic() > end else []
        raise DownloadError(
            f"{len(entries) - len(lacking)} of {len(entries)} scans are in {folder}; could not be "
            f"fetched: {', '.join(entry.rruff_id for entry in lacking)}. "
            f"{'; '.join(dict.fromkeys(problems)) or 'No address was given'}. To work offline, "
            "put the files into a folder and set XRDCLASS_DATA to it."
        )
    return [path for entry in entries for path in _copies(folder, entry)]


def _tidy(folder: Path) -> None:
    """Remove what a killed run left behind; what is younger than an hour may be in use."""
    old = time.time() - 3600
    for path in folder.glob(".*"):
        with contextlib.suppress(OSError):  # another process may tidy at the same time
            if path.stat().st_mtime < old:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _copies(folder: Path, entry) -> list[Path]:
    copies = (p for p in folder.iterdir() if entry.rruff_id in p.name and p.name[0] != ".")
    return sorted(p for p in copies if p.is_file())


def _lacking(folder: Path, entries: list, fault) -> list:
    """The entries of which the folder has no file with the right content."""
    return [
        entry
        for entry in entries
        if all(_wrong(p.read_bytes(), entry, p.name, fault) for p in _copies(folder, entry))
    ]


def _wrong(content: bytes, entry, name: str, fault) -> str | None:
    known = entry.sha256 and hashlib.sha256(content).hexdigest() == entry.sha256
    return None if known else fault(content, entry.rruff_id, name)


def _keep(content: bytes, entry, path: Path, url: str, fault) -> list[str]:
    """Write what was fetched if its content is right; return what is wrong."""
    if error := _wrong(content, entry, path.name, fault):
        return [f"{url} did not send what was asked for: {error}"]
    write_safely(path, lambda file: file.write(content), overwrite=True)
    return []


def _unpack(archive: Path, url: str, sha256: str, wanted: list, folder: Path, fault) -> list[str]:
    """Keep what is wanted of an archive; return what went wrong."""
    problems = {entry.rruff_id: [f"{url} has no file of {entry.rruff_id}"] for entry in wanted}
    try:
        with zipfile.ZipFile(archive) as zipped:
            for entry, name, content in (_records if sha256 else _members)(zipped, wanted):
                if problems[entry.rruff_id]:
                    problems[entry.rruff_id] = _keep(content, entry, folder / name, url, fault)
    except DataError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError) as error:
        with archive.open("rb") as file:
            start = file.read(200).lstrip()[:1]
        found = {b"P": "a damaged one", b"<": "a web page"}.get(start, "other data")
        return [f"{url}: expected a zip archive; found {found} ({error})"]
    return sum(problems.values(), [])


def _members(zipped: zipfile.ZipFile, wanted: list):
    """Yield entry, name and content: its very file, then measured ones (``-1``), then others."""
    members = {}
    for member in zipped.infolist():
        place = PurePosixPath(member.filename.replace("\\", "/"))
        if not (place.is_absolute() or ".." in place.parts or ":" in member.filename):
            members[place.name] = member
    for entry in wanted:
        found = [name for name in members if entry.rruff_id in name]
        for *_, name in sorted((n != entry.file, "-1__" not in n, n) for n in found):
            with zipped.open(members[name]) as file:
                content = file.read(MAX_MEMBER + 1)  # whatever size it states
            if len(content) <= MAX_MEMBER:
                yield entry, re.sub(r"[^\w.()-]", "_", name), content


def _records(zipped: zipfile.ZipFile, wanted: list):
    """Yield the same of a JSON list, one record after the other: all would fill the memory."""
    entries, decode, text = {e.rruff_id: e for e in wanted}, json.JSONDecoder().raw_decode, ""
    (member,) = (m for m in zipped.infolist() if m.filename.endswith(".json"))
    with io.TextIOWrapper(zipped.open(member), encoding="utf-8") as file:
        while entries and len(text) < MAX_MEMBER and (piece := file.read(1 << 20)):
            text += piece
            with contextlib.suppress(json.JSONDecodeError):  # not yet the whole record
                while text := text.lstrip("[, \r\n\t"):
                    record, length = decode(text)
                    text = text[length:]
                    number = record.get("##RRUFFID") if isinstance(record, dict) else None
                    if entry := entries.pop(str(number), None):
                        name = f"{entry.mineral}__{entry.rruff_id}__Xray_Data_XY_Processed.txt"
                        yield entry, name, _as_text(record)


def _as_text(record: dict) -> bytes:
    """A record in RRUFF's format, marked as processed; its numbers may be strings."""
    head = [f"{key}={value}" for key, value in record.items() if key.startswith("##")]
    head.append("##INTENSITIES=processed; copy of figshare 10.6084/m9.figshare.31817977, CC BY 4.0")
    try:
        pairs = zip(record["x"], record["y"], strict=True)
        rows = [f"{float(x)!r}, {float(y)!r}" for x, y in pairs]
    except (KeyError, TypeError, ValueError):
        rows = []  # which the check will refuse
    return "\n".join([*(" ".join(line.split()) for line in head), *rows, "##END=", ""]).encode()
