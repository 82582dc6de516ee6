"""The pages that `make tutorial` writes: formulas, pictures and folds, with no network."""

import base64
import html
import re
import struct
from pathlib import Path

import nbformat
import pytest
from load_script import formulas, load_script, loaded_from_elsewhere

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))

run_lessons = load_script("tools/run_lessons.py")
pages = load_script("tools/pages.py")


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_page_shows_formulas_pictures_and_folded_solutions_offline(path):
    notebook = nbformat.read(path, as_version=4)
    page = run_lessons.html(notebook, path.stem)
    assert not loaded_from_elsewhere(page)
    texts = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    assert bool(formulas(page)) == any("$" in re.sub(r"`[^`]*`", "", text) for text in texts)
    found = re.findall(r"<img\b[^>]*\balt=(\"[^\"]+\"|'[^']+')", page)
    alts = [html.unescape(alt[1:-1]) for alt in found]
    drawn = [c for c in notebook.cells if "image/png" in str(c.get("outputs", ""))]
    assert alts == [c.metadata.alt for c in drawn]
    solutions = sum("solution" in c.metadata.get("tags", []) for c in notebook.cells)
    assert page.count("<summary>Show the solution") == solutions


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_pictures_have_twice_the_points_that_they_are_shown_with(path):
    outputs = [o for c in nbformat.read(path, as_version=4).cells for o in c.get("outputs", [])]
    for output in (o for o in outputs if "image/png" in o.get("data", {})):
        head = base64.b64decode(output.data["image/png"][:64])
        size = struct.unpack(">II", head[16:24])
        shown = output.metadata["image/png"]
        assert [points // 2 for points in size] == [shown["width"], shown["height"]]


@pytest.mark.parametrize(
    ("formula", "parts"),
    [
        (r"2d\sin\theta", ["<mi>d</mi><mspace", "<mi>sin</mi><mspace", "&#x003B8;"]),
        (r"\sin^2\theta", ["<msup><mi>sin</mi><mn>2</mn></msup><mi>"]),
        (r"\ln(1-p)", ['<mi>ln</mi><mo stretchy="false">']),
        (r"\tfrac12", ["<mfrac><mn>1</mn><mn>2</mn></mfrac>"]),
        (r"\mathbf a^*", ["<msup><mi>&#x1D41A;</mi>"]),
        (r"45° \dots", ["°", "&#x02026;"]),
        (r"\begin{pmatrix} h \\ k \end{pmatrix}", ["<mtr><mtd><mi>h</mi>", "&#x00029;"]),
    ],
)
def test_a_formula_becomes_mathml(formula, parts):
    for block, display in ((False, "inline"), (True, "block")):
        made = pages.mathml(formula, block)
        assert f'display="{display}"' in made and all(part in made for part in parts), made
