"""The pages in docs/: their links lead somewhere, and what they say of the lessons is so."""

import re
from pathlib import Path

import nbformat
import pytest
from load_script import load_script

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def headings(path):
    """The headings of a page, or of a notebook's text."""
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        text = "\n\n".join(c.source for c in cells if c.cell_type == "markdown")
    else:
        text = path.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return [h.strip() for h in re.findall(r"^#{1,6}\s+(.+)$", text, flags=re.M)]


def anchor(heading):
    """The anchor that GitHub and MyST make of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def dead_links(path):
    """The links of a page that lead nowhere, those to other hosts left out."""
    dead = []
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, part = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists():
            dead.append(link)
        elif part and part not in map(anchor, headings(target)):
            dead.append(link)
    return dead


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path):
    assert not dead_links(path)


def test_a_dead_link_or_anchor_would_be_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One\n\n[a](#one) [b](#two) [c](none.md) [d](page.md#one) [e](page.md#no)\n")
    assert dead_links(page) == ["#two", "none.md", "page.md#no"]


def quoted_sections():
    """``(page, lesson, section)`` for each section of a lesson that a page names in italics."""
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            lesson = None
            for link, quoted in re.findall(r"\]\(([^)]+\.ipynb)\)|\*([^*]+)\*", line):
                lesson = link or lesson
                if quoted and lesson:
                    yield page.name, lesson, quoted


def test_sections_that_are_named_exist():
    found = list(quoted_sections())
    assert len(found) > 15
    wrong = []
    for page, lesson, section in found:
        have = [re.sub("`", "", h) for h in headings(ROOT / "docs" / lesson)]
        if section not in have:
            wrong.append((page, lesson, section))
    assert not wrong


def test_instructors_page_has_every_lesson_with_its_minutes():
    text = (ROOT / "docs" / "instructors.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| \[[^\]]+\]\(\.\./notebooks/([^)]+)\) \| (\d+) \|", text, re.M))
    stated = {}
    for path in LESSONS:
        first = nbformat.read(path, as_version=4).cells[0].source
        stated[path.name] = re.search(r"(\d+) minutes", first).group(1)
    assert rows == stated


def test_every_lesson_has_a_script_of_three_to_five_minutes():
    text = (ROOT / "docs" / "instructors.md").read_text(encoding="utf-8")
    scripts = dict(
        re.findall(r"^### Screencast (\d\d): .+?\n(.+?)(?=^##)", text, flags=re.M | re.S)
    )
    assert sorted(scripts) == [path.name[:2] for path in LESSONS]
    for number, script in scripts.items():
        rows = re.findall(r"^\| (\d):(\d\d) \| [^|]+ \| ([^|]+) \|$", script, flags=re.M)
        starts = [60 * int(minutes) + int(seconds) for minutes, seconds, _ in rows]
        assert starts == sorted(set(starts)) and starts[0] == 0 and starts[-1] < 270, number
        words = [len(said.split()) for _, _, said in rows]
        assert 3 <= sum(words) / 105 <= 5, f"{number}: {sum(words)} words, spoken slowly"
        for start, end, count in zip(starts, starts[1:], words, strict=False):
            assert count / (end - start) < 2.6, f"{number}, {start} s: nobody speaks so fast"
        assert not re.search(r"\d\.\d", script.replace(":", "")), "Numbers change with a run."


def test_points_are_those_that_nbgrader_gives():
    text = (ROOT / "docs" / "instructors.md").read_text(encoding="utf-8")
    student = load_script("tools/student.py")
    assert f"| an exercise with a check | {student.POINTS['check']} |" in text
    assert f"| an open question | {student.POINTS['open']} |" in text


def test_glossary_words_occur_in_the_lesson_they_name():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| (\d\d) \|$", text, re.M)
    assert len(rows) > 40
    missing = []
    for word, number in rows:
        path = next(p for p in LESSONS if p.name.startswith(number))
        cells = nbformat.read(path, as_version=4).cells
        lesson = re.sub(r"[\s`*_-]+", " ", " ".join(c.source for c in cells)).lower()
        # Any of the words, in singular: "batch, step, epoch", "texture (preferred orientation)".
        forms = re.split(r"[,()]", word)
        stems = [re.sub(r"[\s_-]+", " ", f).strip().lower().removesuffix("s") for f in forms]
        if not any(stem and stem in lesson for stem in stems):
            missing.append((word, number))
    assert not missing
