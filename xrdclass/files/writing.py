"""Reading and writing files: limits on what is read, nothing half-written, nothing lost."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import time
from pathlib import Path

from ..errors import DataError, UserError


def read_limited(path, limit: int, error: type[UserError], expected: str) -> bytes:
    """The bytes of an ordinary file, which should be what ``expected`` says.

    Raises
    ------
    error
        If there is no such file, it is no ordinary one, over ``limit`` bytes, or not to be read.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise error(f"There is no file {path}; check the name and the folder.")
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "not an ordinary file"
            raise error(f"{path} is {kind}; expected {expected}.")
        check_size(path.stat().st_size, limit, path, error, expected)
        return path.read_bytes()
    except error:
        raise
    except (OSError, ValueError) as problem:  # a name with a null byte is a ValueError
        reason = getattr(problem, "strerror", None) or problem
        raise error(f"{path} cannot be read: {reason}. Check its permissions.") from None


def check_size(size: int, limit: int, path, error: type[UserError], expected: str) -> None:
    """Refuse so many bytes if they are more than ``limit``; see `read_limited`."""
    if size > limit:
        raise error(f"{path} has {size / 1e6:.0f} MB; {expected} has at most {limit / 1e6:.0f} MB.")


def check_target(path, overwrite: bool, suffix: str = "") -> Path:
    """Say no before hours of work, not after: a file that may be written later.

    Raises `DataError` if the name does not end in ``suffix``, the file exists and ``overwrite`` is
    false, or it is a folder or a device.
    """
    path = Path(path)
    if suffix and path.suffix != suffix:
        raise DataError(f"The name of this file ends in {suffix}; got {path}.")
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is no ordinary file; choose another name.")
    if path.exists() and not overwrite:
        instead = "choose another name or ask for overwriting it (overwrite=True, --force)"
        raise DataError(f"{path} exists already; {instead}.")
    return path


def write_safely(path, write, overwrite: bool = False) -> Path:
    """Write bytes, or call ``write(file)``, beside ``path``, then move the file into place.

    Nothing is left behind, and an existing file stays whole, if writing fails. A link stays one:
    what it leads to is written.

    Raises `DataError` as `check_target` does, or if the folder cannot be written to.
    """
    path, temporary = Path(path), None
    try:
        if path.is_symlink():
            path = Path(os.path.realpath(path))
        check_target(path, overwrite)
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{path.stem[:40]}-unfinished-"  # a name may be as long as names can be
        for left in path.parent.glob(f"{glob.escape(prefix)}*"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > 3600:  # by a process that was killed
                    left.unlink()
        temporary = path.with_name(prefix + secrets.token_hex(8))
        with open(temporary, "xb") as file:
            write(file) if callable(write) else file.write(write)
        try:
            (os.replace if overwrite else os.link)(temporary, path)  # a link replaces nothing
        except FileExistsError:
            raise DataError(f"{path} exists already; another process just wrote it.") from None
        except OSError:
            if overwrite:
                raise
            os.replace(temporary, path)  # on file systems without links
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        with contextlib.suppress(OSError):
            if temporary:
                temporary.unlink()
    return path
