"""The slides: every cell that is named exists, and nothing loads from another host."""

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


def chosen():
    """``(lesson's number, cell)`` of each cell that is named for a slide."""
    for number, names in slides.SESSION.items():
        (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
        cells = {cell.id: cell for cell in nbformat.read(path, as_version=4).cells}
        for name in names.split():
            yield number, cells[f"l{number}-{name.rstrip('+')}"]


def test_each_named_cell_has_something_to_show_and_solves_no_exercise():
    for _, cell in chosen():
        assert cell.outputs and "solution" not in cell.metadata.get("tags", []), cell.id


def test_the_lessons_are_those_of_the_plan_for_one_session():
    text = (ROOT / "docs" / "instructors.md").read_text(encoding="utf-8")
    plan = text.split("### One session of 90 minutes")[1].split("### ")[0]
    assert set(slides.SESSION) == set(re.findall(r"\[(\d\d)\]", plan))


def test_nothing_is_loaded_from_another_host(folder):
    for page in (p for kind in ("html", "css") for p in folder.rglob(f"*.{kind}")):
        text = page.read_text(encoding="utf-8")
        assert not loaded_from_elsewhere(text), page.relative_to(folder)
    page = (folder / "index.html").read_text(encoding="utf-8")
    for link in re.findall(r"<(?:link|script)[^>]*\b(?:href|src)=\"([^\"]+)\"", page):
        assert (folder / link).is_file(), link


def test_slides_hold_headings_pictures_with_alt_text_formulas_and_notes(folder):
    page = (folder / "index.html").read_text(encoding="utf-8")
    slides_in = len(list(chosen())) + 2  # a first and a last one
    assert len(re.findall(r"<section\b", page)) == 2 * slides_in  # each in a column of its own
    assert page.count('<aside class="notes">') == slides_in - 2
    alts = {html.unescape(alt) for alt in re.findall(r'<img\b[^>]*\balt="([^"]+)"', page)}
    for _, cell in chosen():
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            assert cell.metadata.alt in alts
    assert formulas(page)


def test_a_folder_of_other_files_is_left_alone(folder, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match="holds files that are no slides"):
        slides.build(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    slides.build(folder)  # slides are built over slides
    assert (folder / "index.html").is_file()
