"""Write the lessons for students: without solutions, the exercises still to be run.

The copies go to ``build/student/``. Of each lesson, the solutions are left out with the text that
comments on them, and the outputs of the exercise cells and their checks are emptied. All other
outputs stay. Files that the lessons read or link to are copied along, so that the folder can be
handed out as it is. A copy that was edited since is not overwritten: the command names it and
writes nothing. ``--nbgrader`` writes a course for nbgrader to ``build/nbgrader/`` instead, with
the solutions where it takes them out by itself.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

import nbformat
from common import NOTEBOOKS, ROOT, command_line, shown, tags, write

STUDENT, COURSE = ROOT / "build" / "student", ROOT / "build" / "nbgrader"
RECORD = ".written.json"  # file name -> SHA-256 of what was written, to see what was edited since
HEADING = re.compile(r"^#{1,6}\s", flags=re.M)
EXERCISE = re.compile(r"^### Exercise (\d)", flags=re.M)
LINK = re.compile(r"(\]\(|\b(?:src|href)=\")(?!\w+:|#|/)([^)#\"\s]+)")
POINTS = {"check": 2, "open": 3}  # as docs/instructors.md says
OPEN = "*Your answer to the open question, in a few sentences:*\n"
# nbgrader takes an error for a wrong answer; the checks only print.
GRADED = """import contextlib
import io

with contextlib.redirect_stdout(io.StringIO()) as said:
    {check}
print(said.getvalue())
assert said.getvalue().startswith("Right"), "This answer brings no points yet."
"""
CONFIG = """# Settings for nbgrader: run it in this folder. Some cells take longer than it waits.
c = get_config()  # noqa: F821
c.Execute.timeout = 600
c.ClearSolutions.code_stub = {"python": "# Replace the dots above; more lines may follow here."}
"""


def from_first_heading(text):
    """The text from its first heading on: what stands before it comments on a solution."""
    found = HEADING.search(text)
    return text[found.start() :] if found else ""


def exercise_after(text, number):
    """The exercise that goes on after a text, if ``number`` was the one before it; 0 if none."""
    if HEADING.search(text):
        last = [m.start() for m in HEADING.finditer(text)][-1]
        found = EXERCISE.match(text[last:])
        return int(found.group(1)) if found else 0
    return number


def without_solutions(notebook):
    """A copy without solutions, and without outputs of exercises and of their checks."""
    cells, exercise, after_solution = [], 0, False
    for cell in (nbformat.from_dict(json.loads(json.dumps(c))) for c in notebook.cells):
        if "solution" in tags(cell):
            after_solution = True
            continue
        if cell.cell_type == "markdown":
            if after_solution:
                cell.source = from_first_heading(cell.source)
                after_solution = not cell.source
            if not cell.source:
                continue
            exercise = exercise_after(cell.source, exercise)
        else:
            after_solution = False
            if exercise or "exercise" in tags(cell):
                cell.outputs, cell.execution_count = [], None
        cells.append(cell)
    copy = nbformat.from_dict(json.loads(json.dumps({**notebook, "cells": []})))
    copy.cells = cells
    return copy


def split_check(source):
    """The code before the call ``check.eN(...)``, the call, and the code after it; or all code."""
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Expr) and re.match(r"check\.e\d\(", ast.unparse(node)):
            parts = lines[: node.lineno - 1], lines[node.lineno - 1 : node.end_lineno]
            return ["\n".join(part).strip() for part in (*parts, lines[node.end_lineno :])]
    return source, "", ""


def marked(cell, name, points=0, answer=False):
    """The cell with nbgrader's metadata: an answer may be edited, all else is locked."""
    cell.metadata["nbgrader"] = {
        **{"schema_version": 3, "grade_id": name, "grade": points > 0, "solution": answer},
        **{"locked": not answer, "task": False, **({"points": points} if points else {})},
    }
    return cell


def for_nbgrader(notebook):
    """A copy whose exercises nbgrader can hand out, collect, run and grade."""
    solutions, exercise = {}, 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            exercise = exercise_after(cell.source, exercise)
        elif "solution" in tags(cell):
            solutions.setdefault(exercise, cell.source)
    copy, cells, exercise, to_answer = without_solutions(notebook), [], 0, False
    for cell in [*copy.cells, nbformat.v4.new_markdown_cell("# End")]:
        if cell.cell_type == "markdown":
            if HEADING.search(cell.source) and to_answer:
                answer = nbformat.v4.new_markdown_cell(OPEN, id=f"open-{exercise}")
                cells.append(marked(answer, f"e{exercise}-open", POINTS["open"], answer=True))
                to_answer = False
            exercise = exercise_after(cell.source, exercise)
            to_answer |= exercise > 0 and "open question" in cell.source.lower()
            cells.append(cell)
            continue
        before, check, after = split_check(cell.source) if exercise else (cell.source, "", "")
        if before:
            cells.append(cell)
            cell.source = before
        if "exercise" in tags(cell) and exercise:
            solution = solutions.pop(exercise, "# No solution is stored.")
            cell.source += f"\n### BEGIN SOLUTION\n{solution}\n### END SOLUTION"
            marked(cell, f"e{exercise}-answer-{cell.id}", answer=True)
        if check:
            source = GRADED.format(check=check.replace("\n", "\n    ")) + after
            grade = nbformat.v4.new_code_cell(source.strip(), id=f"check-{exercise}")
            cells.append(marked(grade, f"e{exercise}-check", POINTS["check"]))
    copy.cells = cells[:-1]
    return copy


def localise(notebook, source, places):
    """Point links into the folder; return the files to copy there: name there -> file here.

    ``places`` holds, for each lesson and each file beside it, where it lies, seen from a lesson.
    A lesson that is not handed out, and a file that does not exist, is an error: the copy would
    hold a dead link.
    """
    files = {}

    def change(match):
        start, target = match.groups()
        if target in places:
            return start + places[target]
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


def make(folder=STUDENT, force=False, notebooks=NOTEBOOKS, nbgrader=False):
    """Write the students' lessons into a folder, or a course for nbgrader; return their names.

    Raises
    ------
    SystemExit
        If a file there was edited since it was written, and ``force`` is not given.
    """
    folder, sources = Path(folder), sorted(Path(notebooks).glob("*.ipynb"))
    data = [path for path in Path(notebooks).iterdir() if path.suffix == ".xy"]
    beside = {path.name: path for path in data}
    places = {path.name: path.name for path in [*sources, *data]}
    if nbgrader:  # each lesson is an assignment, with a folder of its own
        places |= {path.name: f"../{path.stem}/{path.name}" for path in sources}
    contents, files = {}, {}
    for source in sources:
        notebook = nbformat.read(source, as_version=4)
        copy = for_nbgrader(notebook) if nbgrader else without_solutions(notebook)
        home = f"source/{source.stem}/" if nbgrader else ""
        linked = localise(copy, source, places)
        files |= {home + name: path for name, path in {**beside, **linked}.items()}
        contents[home + source.name] = (nbformat.writes(copy) + "\n").encode()
    names = sorted(contents)
    if nbgrader:
        contents["nbgrader_config.py"] = CONFIG.encode()
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
    write(folder / RECORD, json.dumps(record, indent=1) + "\n")
    return names


def main():
    """The command line."""
    parser = command_line(__doc__, STUDENT)
    parser.add_argument("--force", action="store_true", help="overwrite edited copies")
    parser.add_argument("--nbgrader", action="store_true", help="a course for nbgrader")
    args = parser.parse_args()
    if args.nbgrader and args.out == STUDENT:
        args.out = COURSE
    names = make(args.out, args.force, nbgrader=args.nbgrader)
    what = "lessons as assignments for nbgrader" if args.nbgrader else "lessons without solutions"
    print(f"{len(names)} {what}: {shown(args.out)}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
