"""The slides: what the plans name is on them, large enough, and nothing loads from another host."""

import html
import importlib.util
import re
from pathlib import Path

import nbformat
import pytest
from load_script import formulas, load_script, loaded_from_elsewhere

ROOT = Path(__file__).resolve().parent.parent


slides = load_script("tools/slides/build.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if importlib.util.find_spec("sphinx_revealjs") is None:
        pytest.skip("the extra 'slides' is not installed: make slides installs it")
    out = tmp_path_factory.mktemp("slides")
    slides.build(out)
    return out


def lesson(number):
    (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    return path


def plan(heading):
    """Lesson -> the sections that a plan of the instructors' page names, but those to leave out."""
    text = (ROOT / "docs" / "instructors.md").read_text(encoding="utf-8")
    part = re.split(r"^###? ", text.split(heading)[1], maxsplit=1, flags=re.M)[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    found = {}
    for number, rest in re.findall(r"\b(0\d|10)\b(.*?)(?=\b0\d\b|$)", "\n".join(lines), flags=re.M):
        named = re.findall(r"\*([^*]+)\*", rest.split("Leave out")[0])
        found[number] = found.get(number, []) + named
    return found


@pytest.mark.parametrize(
    ("page", "heading"),
    [("index", "### One session of 90 minutes"), ("half-day", "### Half a day")],
)
def test_the_slides_show_every_lesson_and_section_of_their_plan(page, heading):
    wanted, have = plan(heading), slides.PLANS[page]
    assert set(have) == set(wanted)
    for number, sections in wanted.items():
        assert have[number] is None or set(sections) <= set(have[number])


def test_each_named_section_has_something_to_show():
    for number, sections in slides.PLANS["index"].items():
        cells = nbformat.read(lesson(number), as_version=4).cells
        headings = re.findall(r"^##+ (.+)$", "\n".join(c.source for c in cells), flags=re.M)
        assert set(sections) <= set(headings)
        shown = slides.lesson_slides(lesson(number), sections)
        assert any("<img" in slide or "<pre" in slide for slide in shown[1:])


def test_nothing_is_loaded_from_another_host(folder):
    for page in (p for kind in ("html", "css") for p in folder.rglob(f"*.{kind}")):
        assert not loaded_from_elsewhere(page.read_text("utf-8")), page.relative_to(folder)
    for name in slides.PLANS:
        page = (folder / f"{name}.html").read_text(encoding="utf-8")
        for link in re.findall(r"<(?:link|script)[^>]*\b(?:href|src)=\"([^\"]+)\"", page):
            assert (folder / link).is_file(), link


def test_slides_hold_pictures_with_alt_text_formulas_notes_and_questions():
    page = slides.plan_page("half-day")
    assert formulas(page) and page.count('<aside class="notes">') > 30
    alts = {html.unescape(alt) for alt in re.findall(r'<img alt="([^"]+)"', page)}
    for number in slides.PLANS["half-day"]:
        in_exercise = False
        for cell in nbformat.read(lesson(number), as_version=4).cells:
            headings = re.findall(r"^##+ (.+)$", cell.source, flags=re.M)
            if cell.cell_type == "markdown" and headings:
                in_exercise = headings[-1].startswith("Exercise")
            if "image/png" in str(cell.get("outputs", "")):
                own = "solution" in cell.metadata.get("tags", []) or in_exercise
                assert (cell.metadata.alt in alts) != own, cell.id
        for question in slides.questions(lesson(number)):
            assert page.count(slides.quiz_slide(question)) == 1
    assert not re.findall(r"<img (?!alt=\"[^\"])", page)


def test_letters_are_large_enough_for_the_back_row(folder):
    style = (folder / "slides.css").read_text(encoding="utf-8")
    page = (folder / "half-day.html").read_text(encoding="utf-8")
    sizes = re.findall(r"font-size: (\d+)px", style + page)
    assert len(sizes) > 10
    assert min(map(int, sizes)) >= 540 / 27  # of a slide that is 540 high
    for text in re.findall(r"<pre style=.*?>(.*?)</pre>", page, flags=re.S):
        size = int(re.search(r"font-size: (\d+)px", page[: page.index(text)][-40:]).group(1))
        lines = html.unescape(text).splitlines()
        assert 0.6 * size * max(map(len, lines)) < 960 and 1.35 * size * len(lines) < 480


def test_a_tall_picture_comes_again_in_halves():
    sizes = {(960, 300): 1, (960, 500): 2, (960, 900): 3}
    for size, number in sizes.items():
        header = b"\x89PNG\r\n\x1a\n" + bytes(8) + b"".join(n.to_bytes(4, "big") for n in size)
        assert len(slides.picture_slides("", header, "a picture", "", "")) == number


def test_a_folder_of_other_files_is_left_alone(folder, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match="holds files that are no slides"):
        slides.build(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    slides.build(folder)  # slides are built over slides
    assert (folder / "index.html").is_file()
