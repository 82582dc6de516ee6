"""Fetching addresses, within bounds of time, so that a file appears only once it is complete."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TimeIsUp
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import DownloadError

#: Seconds before the second and the third attempt at an address that answered, but failed.
PAUSES = (0.5, 1.0)
PIECE = 1 << 14  # bytes


class UnreachableError(DownloadError):
    """No answer from the host, so that its other files need not be tried."""


class _PassingError(DownloadError):
    """A fault that may be over a moment later."""


def fetch(
    url: str,
    path: Path,
    progress: bool = False,
    timeout: float = 30,
    sha256: str | None = None,
    seconds: float | None = None,
) -> None:
    """Download one address; the file appears only once it is complete.

    A download that broke off or a server at fault is tried again, twice. No answer at all is not:
    without a network that would only be a longer wait.

    Parameters
    ----------
    timeout : seconds without an answer or a further piece
    sha256 : what the file must have, if that is known
    seconds : for the whole, attempts included; by default twenty times ``timeout``

    Raises
    ------
    DownloadError
        If that fails; `UnreachableError` if there was no answer.
    """
    seconds = 20 * timeout if seconds is None else seconds
    end, outcome = time.monotonic() + seconds, Future()

    def run():
        for pause in (*PAUSES, None):
            try:
                return outcome.set_result(_fetch(url, path, progress, timeout, sha256, end))
            except BaseException as error:
                passing = isinstance(error, _PassingError) and time.monotonic() < end
                if pause is None or not passing:
                    return outcome.set_exception(error)
            time.sleep(pause)

    # No timeout ends an answer of a byte now and then, or a slow look-up of the host's name.
    threading.Thread(target=run, daemon=True).start()
    try:
        outcome.result(seconds)
    except TimeIsUp:
        took = f"not complete after {round(seconds, 1):g} s"
        raise DownloadError(f"{url} was sent too slowly: {took}") from None


def _fetch(url, path, progress, timeout, sha256, end):
    import pooch
    import requests
    from tqdm import tqdm

    def load(address, name, _):
        patience = (min(timeout, 10), timeout)  # to connect, and between two pieces
        with requests.get(address, stream=True, timeout=patience) as answer:
            answer.raise_for_status()
            pieces = answer.iter_content(PIECE)
            if progress:
                total = -(-int(answer.headers.get("Content-Length", 0)) // PIECE)
                pieces = tqdm(pieces, total=total or None, unit="B", unit_scale=PIECE)
            with open(name, "wb") as file:
                for piece in pieces:
                    if time.monotonic() > end:  # nobody waits for it any longer
                        raise TimeIsUp
                    file.write(piece)

    path.unlink(missing_ok=True)
    host = urlsplit(url).hostname or url
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # pooch would print the checksum as if it were to be kept
    try:
        pooch.retrieve(url, sha256 or None, path.name, path.parent, downloader=load)
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
    except ValueError:  # pooch's word for a wrong checksum
        raise DownloadError(f"{url} did not send what was asked for: another SHA-256") from None
    finally:
        logger.setLevel(level)
