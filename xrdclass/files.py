"""Writing and fetching files so that nothing half-written is left and nothing is lost."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from .errors import DataError, DownloadError

#: Seconds before the second and the third attempt at an address that answered, but failed.
PAUSES = (0.5, 1.0)


def write_safely(path, write, overwrite: bool = False) -> Path:
    """Call ``write(file)`` on a temporary file beside ``path``, then move it into place.

    Nothing is left behind, and an existing file stays whole, if writing fails. A link stays one:
    what it leads to is written.

    Raises
    ------
    DataError
        If the file exists and ``overwrite`` is false, if it is a folder or a device, or if the
        folder cannot be written to.
    """
    path, temporary = Path(path), None
    try:
        if path.is_symlink():
            path = Path(os.path.realpath(path))
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is no ordinary file; choose another name.")
        if path.exists() and not overwrite:
            raise DataError(
                f"{path} exists already; choose another name or ask for overwriting it."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{path.stem[:40]}-unfinished-"  # a name may be as long as names can be
        for left in path.parent.glob(f"{glob.escape(prefix)}*"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > 3600:  # by a process that was killed
                    left.unlink()
        handle, temporary = tempfile.mkstemp(prefix=prefix, dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.chmod(temporary, 0o666 & ~_umask())
        if overwrite or not _link(temporary, path):
            os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
    return path


def _link(temporary, path) -> bool:
    """Give a file its name unless that exists; false where the file system has no links."""
    try:
        os.link(temporary, path)
        return True
    except FileExistsError:
        raise DataError(f"{path} exists already; another process has just written it.") from None
    except OSError:
        return False


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class UnreachableError(DownloadError):
    """No answer from the host, so that its other files need not be tried."""


class _PassingError(DownloadError):
    """A fault that may be over a moment later."""


def fetch(url: str, path: Path, progress: bool = False, timeout: float = 30) -> None:
    """Download one address; the file appears only once it is complete.

    A download that broke off or a server at fault is tried again, twice. No answer at all is not:
    without a network that would only be a longer wait.

    Parameters
    ----------
    timeout : seconds without an answer or a further piece; twenty times as long for the whole

    Raises
    ------
    DownloadError
        If that fails; `UnreachableError` if there was no answer.
    """
    for pause in (*PAUSES, None):
        try:
            return _fetch_in_time(url, path, progress, timeout)
        except _PassingError:
            if pause is None:
                raise
            time.sleep(pause)


def _fetch_in_time(url: str, path: Path, progress: bool, timeout: float) -> None:
    """A server may send a byte now and then for hours: no timeout between pieces ends that."""
    outcome: list[BaseException | None] = []

    def run():
        try:
            _fetch_once(url, path, progress, timeout)
            outcome.append(None)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20 * timeout)
    if not outcome:
        raise DownloadError(f"{url} was sent too slowly: not complete after {20 * timeout:g} s")
    if outcome[0] is not None:
        raise outcome[0]


def _fetch_once(url: str, path: Path, progress: bool, timeout: float) -> None:
    import pooch
    import requests

    path.unlink(missing_ok=True)
    host = urlsplit(url).hostname or url
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # pooch would print the checksum as if it were to be kept
    patience = (min(timeout, 10), timeout)  # to connect, and between two pieces
    loader = pooch.HTTPDownloader(progressbar=progress, timeout=patience, chunk_size=1 << 16)
    try:
        pooch.retrieve(url, None, fname=path.name, path=path.parent, downloader=loader)
    except requests.HTTPError as error:
        status = error.response.status_code
        kind = _PassingError if status == 429 or status >= 500 else DownloadError
        raise kind(f"{url} answered {status}") from None
    except requests.exceptions.ChunkedEncodingError:
        raise _PassingError(f"the download of {url} broke off; try again") from None
    except (requests.ConnectionError, requests.Timeout):
        raise UnreachableError(f"{host} could not be reached") from None
    except requests.RequestException as error:
        raise DownloadError(f"{url} could not be fetched ({type(error).__name__})") from None
    finally:
        logger.setLevel(level)
