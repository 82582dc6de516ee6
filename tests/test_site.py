"""The site: every lesson in it, solutions folded, nothing that loads from another host."""

import html
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from load_script import formulas, load_script, loaded_from_elsewhere

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))


build = load_script("tools/site/build.py")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return build.gather(tmp_path_factory.mktemp("site") / "source")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if importlib.util.find_spec("sphinx_book_theme") is None:
        pytest.skip("the extra 'site' is not installed: make site installs it")
    out = tmp_path_factory.mktemp("site") / "html"
    command = [sys.executable, ROOT / "tools" / "site" / "build.py", "--out", out]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return out


def test_first_page_has_every_lesson_with_its_question(source):
    text = (source / "index.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| \[(\d\d) [^\]]+\]\(notebooks/(\S+)\) \| (.+\?) \| (\d+) \|$", text, re.M
    )
    assert [name for _, name, _, _ in rows] == [path.name for path in LESSONS]
    assert all(f"notebooks/{path.stem}\n" in text for path in LESSONS), "table of contents"


def test_solutions_are_folded_and_pictures_keep_their_alt_text(source):
    for path in LESSONS:
        before = nbformat.read(path, as_version=4).cells
        after = nbformat.read(source / "notebooks" / path.name, as_version=4).cells
        for old, new in zip(before, after, strict=True):
            tags = old.metadata.get("tags", [])
            assert ("hide-cell" in new.metadata.get("tags", [])) == ("solution" in tags)
            assert old.get("outputs") == new.get("outputs"), "Nothing is run."
            if old.metadata.get("alt"):
                assert new.metadata.mystnb.image.alt == old.metadata.alt


def test_nothing_is_loaded_from_another_host(site):
    pages = [p for kind in ("html", "css", "js") for p in site.rglob(f"*.{kind}")]
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8", errors="replace")
        assert not loaded_from_elsewhere(text), page.relative_to(site)


def test_every_lesson_is_a_page_with_pictures_formulas_and_search(site):
    for path in LESSONS:
        page = (site / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")
        cells = nbformat.read(path, as_version=4).cells
        alts = {c.metadata.alt for c in cells if c.metadata.get("alt")}
        pictures = re.findall(r"<img\b[^>]*_images/[^>]*>", page)
        assert pictures
        for picture in pictures:
            link, alt = (re.search(rf'\b{key}="([^"]+)"', picture) for key in ("src", "alt"))
            assert (site / "notebooks" / link.group(1)).is_file()
            assert html.unescape(alt.group(1)) in alts, "A picture lost its alt text."
        solutions = sum("solution" in c.metadata.get("tags", []) for c in cells)
        assert len(re.findall(r"<details[^>]*class=\"[^\"]*hide", page)) == solutions
        assert page.count("Show the solution") == solutions
        assert bool(formulas(page)) == any(
            "$" in re.sub(r"`[^`]*`", "", c.source) for c in cells if c.cell_type == "markdown"
        )
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert "scherrer" in index and "notebooks/10_your_own_phases" in index
    first = (site / "index.html").read_text(encoding="utf-8")
    assert all(f'href="notebooks/{path.stem}.html"' in first for path in LESSONS)


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    pytest.importorskip("sphinx", reason="the extra 'site' is not installed: make site installs it")
    (tmp_path / "mine.txt").write_text("mine")
    command = [sys.executable, ROOT / "tools" / "site" / "build.py", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "holds files that are no such site" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
