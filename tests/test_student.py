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
    hints = ["\n".join(text).count("<summary>Hint") for text in texts]
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
    top = symtable.symtable(source, cell.id, "exec")
    if what == "binds":
        bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
        return bound | {s.get_name() for s in top.get_symbols() if s.is_namespace()}
    tables, read = [top], set()
    for table in tables:  # grows: functions and comprehensions have names of their own
        tables += table.get_children()
        symbols = [s for s in table.get_symbols() if s.is_referenced()]
        read |= {s.get_name() for s in symbols if table is top or s.is_global()}
    return read


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


def to_be_answered(stub):
    """The names that an exercise leaves open: bound to dots, or functions to be written."""
    found = set()
    for node in ast.parse(stub).body:
        dots = any(isinstance(n, ast.Constant) and n.value is ... for n in ast.walk(node))
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif dots:
            stored = (n for n in ast.walk(node) if isinstance(n, ast.Name))
            found |= {n.id for n in stored if isinstance(n.ctx, ast.Store)}
    return found


def test_a_solution_answers_what_the_check_asks_about(pair):
    cells, _ = pair
    left, asked = set(), set()
    for cell in (c for c in cells if c.cell_type == "code"):
        check = nbformat.v4.new_code_cell(student.split_check(cell.source)[1])
        if "exercise" in tags(cell):
            left, asked = to_be_answered(cell.source), set()
        if "solution" in tags(cell):
            missing, asked = asked - names(cell, "binds"), set()
            assert not missing, f"{cell.id} leaves {missing} as the exercise has it"
        elif check.source:
            asked = left & names(check, "reads")


def test_links_lead_somewhere(folder):
    for path in folder.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                targets = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", cell.source)
                dead = [target for target in targets if not (folder / target).is_file()]
                assert not dead, f"{path.name}: {dead}"


def notebook(*sources):
    """A notebook of texts and of code, which ends with a sign ``#`` and a tag or nothing."""
    cells = []
    for source in sources:
        code, sign, tag = source.rpartition("#:")
        cell = nbformat.v4.new_code_cell(code) if sign else nbformat.v4.new_markdown_cell(source)
        cells.append(cell)
        cell.metadata["tags"] = [tag] if sign and tag else []
    return nbformat.v4.new_notebook(cells=cells)


def test_linked_figures_are_copied_along():
    copy = notebook("![peaks](../figures/verdicts.png), [next](02.ipynb), [web](https://a.b/c.png)")
    files = student.localise(copy, ROOT / "notebooks" / "01.ipynb", {"02.ipynb": "02.ipynb"})
    assert files == {"files/figures/verdicts.png": ROOT / "figures" / "verdicts.png"}
    expected = "![peaks](files/figures/verdicts.png), [next](02.ipynb), [web](https://a.b/c.png)"
    assert copy.cells[0].source == expected


def test_a_dead_link_is_an_error():
    with pytest.raises(SystemExit, match="no-such-file"):
        student.localise(notebook("![x](no-such-file.png)"), ROOT / "notebooks" / "01.ipynb", {})


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


def test_what_the_lessons_read_is_copied_along(folder):
    assert (folder / "mystery.xy").read_bytes() == (ROOT / "notebooks/mystery.xy").read_bytes()


EXERCISE = (
    "# 11 Lesson",
    "### Exercise 1: one\n\nHow much? Then an open question: why?",
    "part = ...#:exercise",
    "check.e1(\n    part,\n)\nprint(1)#:",
    "<details><summary>Hint</summary>\n\nHalf.\n\n</details>",
    "part = 0.5\ncheck.e1(part)#:solution",
    "It is half.\n\n## Next",
    "check.e1(0.5)#:",
)


def graded_cells(copy):
    """Grade_id -> cell, of the cells that nbgrader looks at."""
    found = [c for c in copy.cells if "nbgrader" in c.metadata]
    cells = {c.metadata.nbgrader.grade_id: c for c in found}
    assert len(cells) == len(found), "a grade_id occurs twice"
    return cells


def test_nbgrader_is_told_what_to_grade():
    cells = graded_cells(student.for_nbgrader(notebook(*EXERCISE)))
    answer, check, opened = cells.values()
    assert answer.source.startswith("part = ...\n### BEGIN SOLUTION\npart = 0.5\n")
    assert answer.source.endswith("### END SOLUTION")
    for cell, grade, solution in ((answer, 0, 1), (check, 1, 0), (opened, 1, 1)):
        data = cell.metadata.nbgrader
        assert (data.grade, data.solution, data.locked) == (grade, solution, not solution)
        assert data.schema_version == 3 and data.task is False
        assert ("points" in data) == data.grade and re.fullmatch(r"[\w-]+", data.grade_id)
    assert opened.cell_type == "markdown"


@pytest.mark.parametrize(("part", "right"), [(0.5, True), (0.4, False), (..., False)])
def test_the_graded_check_fails_unless_the_answer_is_right(part, right, capsys):
    class Check:
        @staticmethod
        def e1(part):
            print("Right." if part == 0.5 else "Not yet. Half?")

    cells = graded_cells(student.for_nbgrader(notebook(*EXERCISE)))
    try:
        exec(cells["e1-check"].source, {"check": Check, "part": part})
    except AssertionError:
        assert not right and "Not yet" in capsys.readouterr().out
    else:
        assert right and "1" in capsys.readouterr().out, "What follows the check runs, too."


def test_a_course_for_nbgrader_has_each_lesson_with_its_files(tmp_path):
    for name in student.make(tmp_path, nbgrader=True):
        path = tmp_path / name
        assert path.parent.name == path.stem and (path.parent / "mystery.xy").is_file()
        copy = nbformat.read(path, as_version=4)
        nbformat.validate(copy)
        cells = graded_cells(copy)
        for cell in copy.cells:
            if cell.cell_type == "markdown":
                for target in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", cell.source):
                    assert (path.parent / target).is_file(), f"{path.name}: {target}"
        regions = sum(cell.source.count("### BEGIN SOLUTION") for cell in cells.values())
        stubs = [c for c in copy.cells if "exercise" in tags(c)]
        assert regions == len(stubs) == sum("-answer-" in name for name in cells)
    assert "timeout" in (tmp_path / "nbgrader_config.py").read_text()
