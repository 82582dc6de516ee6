"""Fetching, within bounds of time; only what is whole and right is kept."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import tempfile
import time
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from ..errors import DataError, DownloadError
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
_NO_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, KeyError, TypeError)


class UnreachableError(DownloadError):
    """No answer from the host, so that its other files need not be tried."""


def fetch(url, path, progress=False, timeout=30.0, sha256="", seconds=600.0) -> None:
    """Download one address, at the second attempt if need be; a file appears once it is complete.

    ``timeout`` are seconds without an answer or a further piece, ``seconds`` those after which no
    further piece is taken; ``sha256`` is what the file must have, "" if that is not known. Raises
    `DownloadError` if that fails; `UnreachableError` if there was no answer.
    """
    import pooch
    import requests
    from tqdm import tqdm

    end = time.monotonic() + seconds

    class Bar(tqdm):
        monitor_interval = 0  # no thread of its own

        def update(self, n=1):
            if time.monotonic() > end:
                raise TimeoutError
            super().update(n)

    timeout = min(timeout, seconds / 2)  # two attempts
    pooch.get_logger().setLevel("ERROR")  # it would tell of each attempt
    known, urls = {path.name: sha256 or None}, {path.name: url}
    files = pooch.create(path.parent, "", registry=known, urls=urls, retry_if_failed=1)
    try:
        with Bar(total=1, unit="B", unit_scale=True, disable=not progress, leave=False) as bar:
            waits = (min(timeout, 5), timeout)  # to connect, to answer
            files.fetch(path.name, downloader=pooch.HTTPDownloader(bar, timeout=waits))
    except TimeoutError:
        raise DownloadError(f"{url} took more than {round(seconds, 1):g} s") from None
    except requests.HTTPError as error:
        raise DownloadError(f"{url} answered {error.response.status_code}") from None
    except (requests.ConnectionError, requests.Timeout):
        raise UnreachableError(f"{urlsplit(url).hostname} could not be reached") from None
    except requests.RequestException as error:
        raise DownloadError(f"{url} could not be fetched ({type(error).__name__})") from None
    except ValueError:  # pooch's word for a wrong checksum
        raise DownloadError(f"{url} did not send what was asked for: another SHA-256") from None


def fill(folder, entries, fault, progress=True, seconds=600.0, archives=None, timeout=30.0):
    """Fetch what a folder lacks: from each archive in turn, then from its own address.

    Parameters
    ----------
    entries : as in `rruff`; names and headers of all copies contain their ``rruff_id``
    fault : ``fault(content, rruff_id, name)``: what speaks against a content, None if nothing does
    seconds : for the whole; one archive, reading included, gets half of what is left
    archives : {address: checksum} of zip files, by default `ARCHIVES`. One with a checksum holds a
        JSON list of records with ``##RRUFFID``, ``x`` and ``y``; others files named by their ID

    Returns {ID: file} of what the folder holds now, and a list of what went wrong; raises
    `DownloadError` if the folder cannot be written to.
    """
    end, found, problems, silent = time.monotonic() + seconds, {}, [], []
    archives = (ARCHIVES if archives is None else archives).items()
    archived = [entry for entry in entries if re.match(r"[A-Z]\d{6}", entry.rruff_id)]
    sources = [(url, known, _records if known else _members, archived) for url, known in archives]
    sources += [(entry.url, entry.sha256, None, [entry]) for entry in entries if entry.url]

    def check(content, entry, name):
        known = entry.sha256 and hashlib.sha256(content).hexdigest() == entry.sha256
        return None if known else fault(content, entry.rruff_id, name)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # refused now rather than after minutes
        for entry in entries:
            for path in sorted(folder.glob(f"[!.]*{entry.rruff_id[1:]}*"), reverse=True):
                if entry.rruff_id in path.name and not check(path.read_bytes(), entry, path.name):
                    found[entry.rruff_id] = path
        with tempfile.TemporaryDirectory() as work:
            for number, (url, sha256, read, some) in enumerate(sources):
                wanted = {e.rruff_id: e for e in some if e.rruff_id not in found}
                host, left = urlsplit(url).hostname, end - time.monotonic()
                if not wanted or left <= 0 or host in silent:
                    continue
                path, left = Path(work, str(number)), left / (2 if read else 1)
                stop = time.monotonic() + left
                try:
                    fetch(url, path, progress and bool(read), timeout, sha256, left)
                    single = ((path.read_bytes(), entry, entry.file) for entry in some)
                    for content, entry, name in read(path, wanted, stop) if read else single:
                        if entry.rruff_id in found:
                            continue
                        if error := check(content, entry, name):
                            problems.append(f"{url} did not send what was asked for: {error}")
                            continue
                        found[entry.rruff_id] = folder / name
                        write_safely(folder / name, content, overwrite=True)
                except UnreachableError:
                    silent.append(host)
                except DownloadError as error:
                    problems.append(str(error))
                except _NO_ARCHIVE as error:
                    problems.append(f"{url} sent no whole archive ({error})")
    except (OSError, DataError) as error:
        what = f"The cache folder {folder} cannot be written to"
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        advice = "Choose another folder, or make this one writable."
        raise DownloadError(f"{what}: {reason}. {advice}") from None
    over = [f"the {seconds:g} s were over"] if time.monotonic() > end else []
    over += [f"{', '.join(silent)} could not be reached"] if silent else []
    return found, list(dict.fromkeys(over + problems))


def _members(path: Path, wanted: dict, end: float):
    """Yield content, entry, name: its very file, then measured ones (``-1``), then others."""
    with zipfile.ZipFile(path) as zipped:
        members = {PurePosixPath(m.filename.replace("\\", "/")).name: m for m in zipped.infolist()}
        for number, entry in wanted.items():
            found = [name for name in members if number in name]
            for *_, name in sorted((n != entry.file, "-1__" not in n, n) for n in found):
                with zipped.open(members[name]) as file:  # whatever size it states
                    yield file.read(MAX_MEMBER), entry, re.sub(r"[^\w.()-]", "_", name)


def _records(path: Path, wanted: dict, end: float):
    """The same of a JSON list, in RRUFF's format; one by one, as all would fill the memory."""
    copy = "##INTENSITIES=processed; copy of figshare 10.6084/m9.figshare.31817977, CC BY 4.0"
    decode, text = json.JSONDecoder().raw_decode, ""
    with zipfile.ZipFile(path) as zipped:
        member = next(name for name in zipped.namelist() if name.endswith(".json"))
        file = io.TextIOWrapper(zipped.open(member), encoding="utf-8")
        while time.monotonic() < end and len(text) < MAX_MEMBER and (piece := file.read(1 << 20)):
            text += piece
            with contextlib.suppress(json.JSONDecodeError):  # not yet the whole record
                while text := text.lstrip("[, \r\n\t"):
                    record, length = decode(text)
                    text = text[length:]
                    if entry := wanted.get(dict(record).get("##RRUFFID")):
                        head = [f"{key}={value}" for key, value in record.items() if key[0] == "#"]
                        pairs = zip(record["x"], record["y"], strict=False)
                        lines = [*map(str.split, head), [copy], *pairs, ["##END=", ""]]
                        content = "\n".join(" ".join(map(str, line)) for line in lines)
                        name = f"{entry.mineral}__{entry.rruff_id}__Xray_Data_XY_Processed.txt"
                        yield content.encode(), entry, name
