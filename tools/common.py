"""What the tools share: where the lessons are, their command line, how they write files."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"


def command_line(doc, out=None, only=False):
    """A parser that says what the tool's docstring says first.

    With ``--out`` for tools that write to a folder, ``--only`` for those that run lessons.
    """
    parser = argparse.ArgumentParser(description=doc.split("\n\n")[0])
    if out:
        parser.add_argument("--out", default=out, type=Path, help="where to write to (%(default)s)")
    if only:
        known = {"nargs": "+", "default": [], "metavar": "06", "help": "just these lessons"}
        parser.add_argument("--only", **known)
    return parser


def shown(path):
    """A path as it is named to the user: relative to the checkout, if it lies in it."""
    path = path.resolve()
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def tags(cell):
    """The cell's tags."""
    return cell.metadata.get("tags", [])


def write(path, content):
    """Write text or bytes under a temporary name first: an interruption leaves the old file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(temporary, path)


def empty(folder, usual, mark, what):
    """Remove a folder that was built before: the usual one, or one that holds the file ``mark``."""
    if folder.exists() and any(folder.iterdir()):
        if folder.resolve() != usual and not (folder / mark).is_file():
            raise SystemExit(f"{folder} holds files that are no {what}; name an empty folder.")
        shutil.rmtree(folder)
