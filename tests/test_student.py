"""The students' lessons: no solution left, exercises and checks kept, nothing of theirs lost."""

import ast
import builtins
import re
import symtable
from pathlib import Path

import nbformat
import pytest
from load_script import load_script

ROOT = Path(__file__).resolve().parent.parent
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))


student = load_script("tools/student.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    student.make(folder)
    return folder


@pytest.fixture(params=[pytest.param(path, id=path.stem) for path in PATHS])
def pair(request, folder):
    """The cells of a lesson and those of its copy."""
    path = request.param
    copy = nbformat.read(folder / path.name, as_version=4)
    nbformat.validate(copy)
    return nbformat.read(path, as_version=4).cells, copy.cells


def tags(cell):
    return set(cell.metadata.get("tags", []))


def test_every_lesson_has_a_copy(folder):
    assert [p.name for p in sorted(folder.glob("*.ipynb"))] == [p.name for p in PATHS]


def test_no_solution_is_left(pair):
    cells, copies = pair
    assert not any("solution" in tags(cell) for cell in copies)
    text = "\n".join(cell.source for cell in copies)
    for cell in cells:
        if "solution" in tags(cell):
            # Each line of a solution that says something; what occurs outside it may stay.
            lines = {line.strip() for line in cell.source.splitlines() if len(line.strip()) > 12}
            elsewhere = "\n".join(c.source for c in cells if "solution" not in tags(c))
            kept = [line for line in lines if line in text and line not in elsewhere]
            assert lines and not kept, f"Lines of the solution {cell.id} are left: {kept}"


def test_no_comment_on_a_solution_is_left(pair):
    cells, copies = pair
    text = "\n".join(cell.source for cell in copies)
    for before, cell in zip(cells, cells[1:], strict=False):
        if "solution" in tags(before) and cell.cell_type == "markdown":
            comment = re.split(r"^#", cell.source, maxsplit=1, flags=re.M)[0].strip()
            assert not comment or comment not in text, f"{cell.id} tells the solution"


def test_all_else_is_kept_in_order(pair):
    cells, copies = pair
    for kind in ("exercise", "figure"):
        wanted = [c.id for c in cells if any(t.startswith(kind) for t in tags(c))]
        assert [c.id for c in copies if any(t.startswith(kind) for t in tags(c))] == wanted
    code = [(c.id, c.source) for c in cells if c.cell_type == "code" and "solution" not in tags(c)]
    assert [(c.id, c.source) for c in copies if c.cell_type == "code"] == code
    texts = [[c.source for c in part if c.cell_type == "markdown"] for part in pair]
    headings = [re.findall("^#+ .*", "\n\n".join(text), re.M) for text in texts]
    assert headings[0] == headings[1]
    hints = ["\n".join(text).count("<summary>Hint</summary>") for text in texts]
    assert hints[0] == hints[1] > 0


def test_exercises_and_their_checks_are_empty_and_the_rest_is_not(pair):
    cells, copies = pair
    stored, start = {c.id: c.get("outputs") for c in cells}, False
    for cell in copies:
        if cell.cell_type == "markdown":
            found = re.findall(r"^#+ (.*)", cell.source, re.M)
            start = found[-1].startswith("Exercise") if found else start
        elif start or "exercise" in tags(cell):
            assert cell.outputs == [] and cell.execution_count is None, cell.id
        else:
            assert cell.outputs == stored[cell.id], cell.id
    assert any("exercise" in tags(cell) for cell in copies)


def names(cell, what):
    """The global names that a code cell binds, or those that it reads."""
    source = "\n".join(re.sub(r"^(\s*)[%!].*", r"\1pass", s) for s in cell.source.splitlines())
    if what == "binds":
        top = symtable.symtable(source, cell.id, "exec")
        bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
        return bound | {s.get_name() for s in top.get_symbols() if s.is_namespace()}
    return {n.id for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Name)}


def test_no_cell_needs_what_only_a_solution_defines(pair):
    cells, copies = pair
    kept, bound = {c.id for c in copies}, set(dir(builtins))
    only_solved = set()
    for cell in (c for c in cells if c.cell_type == "code"):
        if cell.id in kept:
            missing = names(cell, "reads") & only_solved - names(cell, "binds")
            assert not missing, f"{cell.id} reads {missing}, which a solution defines"
            bound |= names(cell, "binds")
            only_solved -= bound
        else:
            only_solved |= names(cell, "binds") - bound


def test_links_lead_somewhere(folder):
    for path in folder.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                targets = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", cell.source)
                dead = [target for target in targets if not (folder / target).is_file()]
                assert not dead, f"{path.name}: {dead}"


def notebook(text):
    cell = nbformat.v4.new_markdown_cell(text)
    return nbformat.v4.new_notebook(cells=[cell])


def test_linked_figures_are_copied_along():
    copy = notebook("![peaks](../figures/verdicts.png), [next](02.ipynb), [web](https://a.b/c.png)")
    files = student.localise(copy, ROOT / "notebooks" / "01.ipynb", {"02.ipynb"})
    assert files == {"files/figures/verdicts.png": ROOT / "figures" / "verdicts.png"}
    expected = "![peaks](files/figures/verdicts.png), [next](02.ipynb), [web](https://a.b/c.png)"
    assert copy.cells[0].source == expected


def test_a_dead_link_is_an_error():
    with pytest.raises(SystemExit, match="no-such-file"):
        student.localise(notebook("![x](no-such-file.png)"), ROOT / "notebooks" / "01.ipynb", set())


def test_an_edited_copy_is_not_overwritten(tmp_path):
    first = student.make(tmp_path)[0]
    student.make(tmp_path)  # untouched: written again
    mine = (tmp_path / first).read_text(encoding="utf-8").replace("phase", "my phase", 1)
    (tmp_path / first).write_text(mine, encoding="utf-8")
    other = tmp_path / PATHS[1].name
    before = other.stat().st_mtime_ns
    with pytest.raises(SystemExit, match=first):
        student.make(tmp_path)
    assert (tmp_path / first).read_text(encoding="utf-8") == mine
    assert other.stat().st_mtime_ns == before
    student.make(tmp_path, force=True)
    assert (tmp_path / first).read_text(encoding="utf-8") != mine


def test_a_file_of_unknown_origin_is_not_overwritten(tmp_path):
    (tmp_path / PATHS[0].name).write_text("{}", encoding="utf-8")
    with pytest.raises(SystemExit):
        student.make(tmp_path)
    assert (tmp_path / PATHS[0].name).read_text(encoding="utf-8") == "{}"
