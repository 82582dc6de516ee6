"""The structure that every lesson shares: what it starts with, what it ends with, its exercises."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
REASONS = {"timing", "training-log", "scan-dependent"}
TAGS = {
    "exercise",
    "nbval-ignore-output",
    "raises-exception",
    "result-table",
    "solution",
    "taught",
    *REASONS,
}
FIGURE = re.compile(r"figure:[a-z0-9][a-z0-9_-]*")
MAX_CELL_LINES, MAX_FUNCTION_LINES, MAX_BYTES, MIN_ALT = 20, 10, 1_000_000, 20


def parameters():
    """One parameter a notebook; without notebooks, one that is skipped."""
    if PATHS:
        return [pytest.param(path, id=path.stem) for path in PATHS]
    return [pytest.param(None, marks=pytest.mark.skip(reason="there are no notebooks yet"))]


@pytest.fixture(params=parameters())
def path(request):
    return request.param


@pytest.fixture
def cells(path):
    return nbformat.read(path, as_version=4).cells


def code_cells(cells):
    """``(number, cell)`` of each code cell, counted from 1."""
    return list(enumerate((c for c in cells if c.cell_type == "code"), 1))


def tags(cell):
    return set(cell.metadata.get("tags", []))


def images(cell):
    """How many pictures the cell's stored outputs hold."""
    data = [output.get("data", {}) for output in cell.get("outputs", [])]
    return sum(any(kind.startswith("image/") for kind in d) for d in data)


def headings(cell):
    """``(level, text)`` of each heading in a markdown cell, code fences left out."""
    if cell.cell_type != "markdown":
        return []
    text = re.sub(r"^```.*?^```", "", cell.source, flags=re.M | re.S)
    return [(len(h), t.strip()) for h, t in re.findall(r"^(#+)\s+(.+)$", text, flags=re.M)]


def parse(source):
    """The syntax tree of a cell, IPython's magics left out."""
    return ast.parse("\n".join(re.sub(r"^(\s*)[%!].*", r"\1pass", s) for s in source.splitlines()))


def test_first_cell_states_the_question_objectives_minutes_and_prerequisites(path, cells):
    first, number = cells[0], path.stem.split("_")[0]
    assert first.cell_type == "markdown", "The first cell is text."
    text = first.source
    assert re.match(rf"# {number} \S", text), f"The first line is '# {number} Title'."
    assert "?" in text, "The first cell asks the question that the lesson answers."
    assert re.search(r"\b\d+ minutes\b", text), "The first cell says 'NN minutes'."
    assert "rerequisites" in text, "The first cell names the prerequisites."
    lines = text.splitlines()
    starts = [i for i, s in enumerate(lines) if re.search("objectives|after this lesson", s, re.I)]
    assert starts, "The first cell has a line with 'After this lesson you can' or 'Objectives'."
    after = "\n".join(lines[starts[0] + 1 :]).lstrip("\n")
    bullets = re.match(r"(?:[-*] .*\n?(?:[ \t]+\S.*\n?)*)*", after).group()
    count = len(re.findall(r"^[-*] ", bullets, flags=re.M))
    assert 3 <= count <= 5, (
        f"Three to five objectives stand in a list below that line, not {count}."
    )


def test_ends_with_recap_limits_and_next(cells):
    found = [(t, i) for i, c in enumerate(cells) for _, t in headings(c)]
    wanted = ["Recap", "What this lesson does not show", "Next"]
    assert [t for t, _ in found[-3:]] == wanted, f"The last three headings are {wanted}."
    assert all(c.cell_type == "markdown" for c in cells[found[-3][1] :]), "No code after Recap."
    last = "\n".join(c.source for c in cells[found[-1][1] :]).split("Next")[-1]
    assert re.search(r"\]\([^)]+\)", last), "Next holds a link."


def quiz_questions(cells):
    """The questions below ``## Quiz``: ``(text, [(option, explanation), ...])`` of each."""
    found = [(t, i) for i, c in enumerate(cells) for _, t in headings(c)]
    titles = [t for t, _ in found]
    assert "Quiz" in titles, "The lesson has no quiz: a heading '## Quiz' just before '## Recap'."
    at = titles.index("Quiz")
    assert titles[at + 1 :][:1] == ["Recap"], "'## Quiz' stands just before '## Recap'."
    part = cells[found[at][1] : found[at + 1][1]]
    assert all(c.cell_type == "markdown" for c in part), "A quiz is text: it runs nowhere."
    text = "\n\n".join(c.source for c in part).split("## Quiz", 1)[1]
    option = re.compile(
        r"<details><summary>(.+?)</summary>\n\n(.+?)\n\n</details>(?=\n|$)", flags=re.S
    )
    parts = re.split(r"^\*\*Question (\d+)\.\*\*", text, flags=re.M)
    numbers = [int(n) for n in parts[1::2]]
    assert numbers == list(range(1, len(numbers) + 1)), f"The questions are numbered {numbers}."
    assert len(option.findall(text)) == text.count("<details>"), (
        "An option is <details><summary>A. …</summary>, a blank line (without it, nothing in the "
        "explanation is read as Markdown), the explanation, a blank line, </details>."
    )
    return [(option.sub("", p).strip(), option.findall(p)) for p in parts[2::2]]


def test_quiz_explains_every_option_and_one_is_right(cells):
    questions = quiz_questions(cells)
    assert 3 <= len(questions) <= 4, f"Three or four questions, not {len(questions)}."
    for number, (question, options) in enumerate(questions, 1):
        assert question.endswith(("?", ".")), f"Question {number} asks something."
        assert 2 <= len(options) <= 4, f"Question {number} has {len(options)} options."
        letters = "".join(name[:3].replace(". ", "") for name, _ in options)
        assert letters == "ABCD"[: len(options)], f"Question {number}: options {letters}."
        assert "$" not in question + str(options), f"Question {number}: plain signs, no formulas."
        right = [letter for letter, (_, why) in zip(letters, options, strict=True)
                 if why.startswith("Right. ")]  # fmt: skip
        assert len(right) == 1, f"Question {number}: the right options are {right}, not one."
        for letter, (_, why) in zip(letters, options, strict=True):
            start = re.match(r"(Right|Not quite)\. ", why)
            assert start, f"Question {number}, {letter}: begins neither 'Right.' nor 'Not quite.'"
            assert len(why[start.end() :].split()) >= 5, f"Question {number}, {letter}: say why."


def test_quiz_cannot_be_answered_by_letter_alone():
    rights = [
        "ABCD"[[why.startswith("Right. ") for _, why in options].index(True)]
        for path in PATHS
        for _, options in quiz_questions(nbformat.read(path, as_version=4).cells)
    ]
    assert all(rights.count(letter) >= len(rights) / 6 for letter in "ABC"), rights


def test_quiz_cannot_be_answered_by_length_alone():
    lengths = [
        [(len(option), why.startswith("Right. ")) for option, why in options]
        for path in PATHS
        for _, options in quiz_questions(nbformat.read(path, as_version=4).cells)
    ]
    longest = sum(max(options)[1] for options in lengths)
    assert longest <= len(lengths) / 2, (
        f"{longest} of {len(lengths)} right options are the longest."
    )


def test_is_executed_top_to_bottom_without_errors(cells):
    counts = [cell.execution_count for _, cell in code_cells(cells)]
    assert None not in counts, f"Code cell {counts.index(None) + 1} was not run: make notebooks"
    assert counts == sorted(set(counts)), f"The cells were not run top to bottom: {counts}"
    for number, cell in code_cells(cells):
        if "raises-exception" not in tags(cell):
            errors = [o.evalue for o in cell.outputs if o.output_type == "error"]
            assert not errors, f"Code cell {number} stores an error: {errors}"


def test_stores_no_warnings(cells):
    for number, cell in code_cells(cells):
        if not tags(cell) & {"training-log", "timing"}:
            text = [o.text for o in cell.outputs if o.get("name") == "stderr"]
            assert not text, f"Code cell {number} stores what was written to stderr: {text}"
        assert "absl::" not in str(cell.outputs), f"Code cell {number} stores TensorFlow's chatter."


def test_is_stored_without_what_differs_between_runs(path, cells):
    metadata = nbformat.read(path, as_version=4).metadata
    assert set(metadata) <= {"kernelspec", "language_info"}, "Run make notebooks."
    assert metadata["kernelspec"]["name"] == "python3"
    assert metadata["language_info"] == {"name": "python"}, "Run make notebooks."
    assert not any("execution" in cell.metadata for cell in cells), "Run make notebooks."


def test_code_is_short(cells):
    for number, cell in code_cells(cells):
        lines = sum(bool(line.strip()) for line in cell.source.splitlines())
        tree = parse(cell.source)
        imports = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
        lines -= sum(n.end_lineno - n.lineno + 1 for n in imports)
        assert lines <= MAX_CELL_LINES, f"Code cell {number} has {lines} lines beside imports."
        if "taught" in tags(cell):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                length = node.end_lineno - node.lineno + 1
                assert length <= MAX_FUNCTION_LINES, (
                    f"{node.name} in code cell {number} has {length} lines. One that is what "
                    "the lesson teaches may be longer: tag its cell 'taught'."
                )


def test_pictures_have_alt_text(cells):
    for number, cell in code_cells(cells):
        if images(cell):
            alt = cell.metadata.get("alt", "")
            assert len(alt) >= MIN_ALT, f"Code cell {number}: the metadata lack an 'alt' text."
    for cell in cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"!\[\s*\]\(", cell.source), "An image in the text lacks alt text."


def test_exercises_have_stub_hint_and_checked_solution(cells):
    found = [(i, h) for i, c in enumerate(cells) for h in headings(c)]
    found = [(i, h) for i, h in found if re.match(r"Exercise \d", h[1])]
    starts, titles = [i for i, _ in found], [h for _, h in found]
    assert 2 <= len(starts) <= 4, f"Two to four '### Exercise N' headings, not {len(starts)}."
    seen = 0
    for number, (start, title) in enumerate(zip(starts, titles, strict=True), 1):
        assert re.fullmatch(rf"Exercise {number}\b.*", title[1]) and title[0] == 3, (
            f"The heading of exercise {number} is '### Exercise {number}', not {title}."
        )
        stop = next((i for i in range(start + 1, len(cells)) if headings(cells[i])), len(cells))
        part = cells[start:stop]
        stubs = [i for i, c in enumerate(part) if "exercise" in tags(c)]
        solutions = [i for i, c in enumerate(part) if "solution" in tags(c)]
        assert stubs and solutions and stubs[0] < solutions[0], (
            f"Exercise {number} needs a code cell tagged 'exercise', then one tagged 'solution'."
        )
        text = "\n".join(c.source for c in part if c.cell_type == "markdown")
        assert "<details>" in text, f"Exercise {number} needs a hint in <details>."
        solved = [part[i] for i in solutions]
        folded = {"source_hidden": True, "outputs_hidden": True}
        assert all(c.metadata.get("jupyter") == folded for c in solved), (
            f"Exercise {number}: the solution's metadata need jupyter: {folded}."
        )
        assert any(isinstance(n, ast.Assert) for c in solved for n in ast.walk(parse(c.source))), (
            f"The solution of exercise {number} asserts its result."
        )
        seen += len(stubs) + len(solutions)
    assert seen == sum(len(tags(c) & {"exercise", "solution"}) for c in cells), (
        "A cell tagged 'exercise' or 'solution' stands outside an exercise."
    )


def test_tags_are_known_and_an_unchecked_output_has_a_reason(cells):
    code = code_cells(cells)
    for number, cell in code:
        unknown = {t for t in tags(cell) - TAGS if not FIGURE.fullmatch(t)}
        assert not unknown, f"Code cell {number} has unknown tags: {sorted(unknown)}"
        assert ("nbval-ignore-output" in tags(cell)) == bool(tags(cell) & REASONS), (
            f"Code cell {number}: 'nbval-ignore-output' and one of {sorted(REASONS)} go together."
        )
        assert "NBVAL" not in cell.source, f"Code cell {number}: use a tag, not a comment."
        if "scan-dependent" in tags(cell):
            following = [c.source for n, c in code if n in (number, number + 1)]
            assert any(isinstance(n, ast.Assert) for s in following for n in ast.walk(parse(s))), (
                f"Code cell {number} is scan-dependent: it, or the next one, asserts its result."
            )


def test_installs_nothing_and_is_small(path, cells):
    for number, cell in code_cells(cells):
        assert not re.search(r"^\s*[!%]+\s*(pip|conda|mamba|uv)\b", cell.source, flags=re.M), (
            f"Code cell {number} installs something."
        )
    size = path.stat().st_size
    assert size < MAX_BYTES, f"{path.name} is {size / 1e6:.1f} MB: fewer or smaller pictures."


def all_tags():
    """``(notebook, tag, cell)`` of every tag in every notebook."""
    for path in PATHS:
        for cell in nbformat.read(path, as_version=4).cells:
            for tag in tags(cell):
                yield path.stem, tag, cell


def test_lesson_06_prints_the_result_table():
    if not any(path.stem.startswith("06") for path in PATHS):
        pytest.skip("there is no lesson 06 yet")
    where = [name for name, tag, _ in all_tags() if tag == "result-table"]
    assert len(where) == 1 and where[0].startswith("06"), f"result-table is tagged in: {where}"


def test_each_figure_is_drawn_by_one_cell():
    drawn = [(tag[7:], name, images(cell)) for name, tag, cell in all_tags() if "figure:" in tag]
    names = [name for name, _, _ in drawn]
    assert len(names) == len(set(names)), f"Two cells draw a figure of one name: {drawn}"
    assert all(count == 1 for _, _, count in drawn), f"A figure's cell draws one picture: {drawn}"
    folder = ROOT / "figures"
    files = {f.name for f in folder.iterdir() if f.name[0] != "."} if folder.is_dir() else set()
    assert files == {f"{name}.png" for name in names}, "Run make notebooks."
