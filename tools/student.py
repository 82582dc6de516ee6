"""Write the lessons for students: without solutions, the exercises still to be run.

The copies go to ``build/student/``. Of each lesson, the solutions are left out with the text that
comments on them, and the outputs of the exercise cells and their checks are emptied. All other
outputs stay. Files that the text links to are copied along, so that the folder can be handed out
as it is. A copy that was edited since is not overwritten: the command names it and writes nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
STUDENT = ROOT / "build" / "student"
RECORD = ".written.json"  # file name -> SHA-256 of what was written, to see what was edited since
HEADING = re.compile(r"^#{1,6}\s", flags=re.M)
EXERCISE = re.compile(r"^### Exercise \d", flags=re.M)
LINK = re.compile(r"(\]\(|\b(?:src|href)=\")(?!\w+:|#|/)([^)#\"\s]+)")


def tags(cell):
    """The cell's tags."""
    return cell.metadata.get("tags", [])


def from_first_heading(text):
    """The text from its first heading on: what stands before it comments on a solution."""
    found = HEADING.search(text)
    return text[found.start() :] if found else ""


def without_solutions(notebook):
    """A copy without solutions, and without outputs of exercises and of their checks."""
    cells, in_exercise, after_solution = [], False, False
    for cell in (nbformat.from_dict(json.loads(json.dumps(c))) for c in notebook.cells):
        if "solution" in tags(cell):
            after_solution = True
            continue
        if cell.cell_type == "markdown":
            if after_solution:
                cell.source = from_first_heading(cell.source)
                after_solution = not cell.source
            if HEADING.search(cell.source):
                last = [m.start() for m in HEADING.finditer(cell.source)][-1]
                in_exercise = bool(EXERCISE.match(cell.source[last:]))
            if not cell.source:
                continue
        else:
            after_solution = False
            if in_exercise or "exercise" in tags(cell):
                cell.outputs, cell.execution_count = [], None
        cells.append(cell)
    copy = nbformat.from_dict(json.loads(json.dumps({**notebook, "cells": []})))
    copy.cells = cells
    return copy


def localise(notebook, source, names):
    """Point links into the folder; return the files to copy there: name there -> file here.

    Links from one lesson to another stay. A lesson that is not handed out, and a file that does
    not exist, is an error: the copy would hold a dead link.
    """
    files = {}

    def change(match):
        start, target = match.groups()
        if target in names:
            return match.group()
        path = (source.parent / target).resolve()
        if not path.is_file() or path.suffix == ".ipynb":
            raise SystemExit(f"{source.name} links to {target}, which is not handed out.")
        there = f"files/{path.relative_to(ROOT).as_posix()}"
        files[there] = path
        return start + there

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(change, cell.source)
    return files


def digest(content):
    """SHA-256 of bytes, as text."""
    return hashlib.sha256(content).hexdigest()


def edited(folder, contents):
    """The files there that differ from what was last written, and from what will be."""
    record = folder / RECORD
    written = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    found = []
    for name, content in contents.items():
        path = folder / name
        if path.is_file():
            now = digest(path.read_bytes())
            if now not in (written.get(name), digest(content)):
                found.append(name)
    return found


def write(path, content):
    """Write bytes under a temporary name first: an interruption leaves the old file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def make(folder=STUDENT, force=False, notebooks=NOTEBOOKS):
    """Write the students' lessons into a folder; return their names.

    Raises
    ------
    SystemExit
        If a file there was edited since it was written, and ``force`` is not given.
    """
    folder, sources = Path(folder), sorted(Path(notebooks).glob("*.ipynb"))
    names, contents, files = {path.name for path in sources}, {}, {}
    for source in sources:
        copy = without_solutions(nbformat.read(source, as_version=4))
        files |= localise(copy, source, names)
        contents[source.name] = (nbformat.writes(copy) + "\n").encode()
    changed = edited(folder, contents)
    if changed and not force:
        raise SystemExit(
            f"Edited since they were written: {', '.join(changed)} in {folder}. Nothing was "
            "changed. Move them elsewhere, or overwrite them with ARGS=--force."
        )
    for name, content in contents.items():
        write(folder / name, content)
    for name, path in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)
    record = {name: digest(content) for name, content in contents.items()}
    write(folder / RECORD, (json.dumps(record, indent=1) + "\n").encode())
    return sorted(contents)


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", default=STUDENT, type=Path, help="folder to write to")
    parser.add_argument("--force", action="store_true", help="overwrite edited copies")
    args = parser.parse_args()
    names = make(args.out, args.force)
    out = args.out.resolve()
    shown = out.relative_to(ROOT) if out.is_relative_to(ROOT) else out
    print(f"{len(names)} lessons without solutions: {shown}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
