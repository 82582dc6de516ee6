"""Fetching addresses, within bounds of time, so that a file appears only once it is complete."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import DownloadError

#: Seconds before the second and the third attempt at an address that answered, but failed.
PAUSES = (0.5, 1.0)


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
