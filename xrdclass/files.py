"""Writing files so that nothing half-written is left and nothing is lost."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .errors import DataError


def write_safely(path, write, overwrite: bool = False) -> Path:
    """Call ``write(file)`` on a temporary file beside ``path``, then move it into place.

    Nothing is left behind, and an existing file stays whole, if writing fails.

    Raises
    ------
    DataError
        If the file exists and ``overwrite`` is false, or the folder cannot be written to.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise DataError(f"{path} exists already; choose another name or ask for overwriting it.")
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(
            prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent
        )
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
