"""Sliders: a picture and a live view in one output, quick, and a sentence without ipywidgets."""

import ast
import base64
import re
import sys
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import ipywidgets
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest

from xrdclass import widgets
from xrdclass.widgets import Slider, explore

X = np.linspace(20, 60, 2000)


@pytest.fixture
def shown(monkeypatch):
    """What is displayed, in order."""
    outputs = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: outputs.append(data))
    yield outputs
    plt.close("all")


@pytest.fixture
def built(monkeypatch):
    """The boxes that are built."""
    boxes, build = [], widgets._build
    monkeypatch.setattr(widgets, "_build", lambda *a: boxes.append(build(*a)) or boxes[-1])
    return boxes


def peak(update=None):
    """A figure with one peak that a slider moves, shown with its slider."""
    figure, axes = plt.subplots(figsize=(9, 3.4))
    (curve,) = axes.plot(X, X)
    axes.set(ylim=(0, 1.1))

    def move(place):
        curve.set_ydata(np.exp(-((X - place) ** 2)))
        return f"peak at {place:.1f} <degrees>"

    explore(figure, update or move, place=Slider("place (degrees)", 20, 60, 30, 0.5))
    return figure


def test_one_output_holds_picture_and_live_view(shown):
    figure = peak()
    (output,) = shown
    assert set(output) == {"text/plain", "image/png", widgets.VIEW}
    assert base64.b64decode(output["image/png"]).startswith(b"\x89PNG")
    assert "place (degrees)" in output["text/plain"]
    assert not plt.fignum_exists(figure.number), "A figure left open would show a second time."


def test_a_moved_slider_changes_picture_sentence_and_alt_text(shown, built):
    peak()
    image, status, slider = built[0].children
    before = image.value
    assert base64.b64encode(base64.b64decode(shown[0]["image/png"])).decode() in before
    slider.value = 45
    assert image.value != before
    assert "peak at 45.0 &lt;degrees&gt;" in status.value
    assert 'alt="The figure for place (degrees) 45.' in image.value
    slider.value = 30
    assert image.value == before, "The same settings give the same picture."


def test_answers_within_a_tenth_of_a_second(shown, built):
    peak()
    slider, seconds = built[0].children[-1], []
    for value in range(31, 41):
        start = time.perf_counter()
        slider.value = value
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.1


def test_an_error_is_shown_and_not_swallowed(shown, built):
    def fails(place):
        if place > 40:
            raise ValueError("too <far>")

    peak(fails)
    _, status, slider = built[0].children
    slider.value = 50
    assert "ValueError: too &lt;far&gt;" in status.value


def test_logarithmic_sliders(shown, built):
    figure, _ = plt.subplots()
    seen = []
    counts = Slider("counts", 100, 10_000, 400, 0.1, log=True)
    explore(figure, lambda counts: seen.append(counts), counts=counts)
    slider = built[0].children[-1]
    assert isinstance(slider, ipywidgets.FloatLogSlider)
    assert seen == [400] and slider.value == pytest.approx(400)
    slider.value = 10_000
    assert seen[-1] == pytest.approx(10_000)


def test_without_ipywidgets_a_sentence_and_the_picture(shown, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    peak()
    assert "pip install ipywidgets" in capsys.readouterr().out
    assert set(shown[0]) == {"text/plain", "image/png"}


@pytest.mark.parametrize("lesson", ["01", "02", "03", "07"])
def test_lessons_store_a_picture_for_readers_without_widgets(lesson):
    (path,) = (Path(__file__).parent.parent / "notebooks").glob(f"{lesson}_*.ipynb")
    cells = [c for c in nbformat.read(path, as_version=4).cells if "widgets.explore(" in c.source]
    assert len(cells) == 1, "One idea to try, in one place."
    (output,) = cells[0].outputs
    assert set(output.data) == {"text/plain", "image/png"}, "make notebooks"
    assert 1 <= cells[0].source.count("widgets.Slider(") <= 3
    text = output.data["text/plain"]
    labels = re.findall(r'widgets\.Slider\(\s*"([^"]+)"', cells[0].source)
    assert all(label in text for label in labels)


def bound(tree):
    """The names that a cell binds at its top level: assignments, loops, functions, imports."""
    names, scopes = set(), (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.ListComp, ast.SetComp)
    stack = list(tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        if not isinstance(node, (*scopes, ast.DictComp, ast.GeneratorExp)):
            stack += ast.iter_child_nodes(node)
    return names


@pytest.mark.parametrize("lesson", ["01", "02", "03", "07"])
def test_no_later_cell_changes_what_a_slider_uses(lesson):
    """A slider is moved after the whole lesson ran: it must still find what its cell had."""
    (path,) = (Path(__file__).parent.parent / "notebooks").glob(f"{lesson}_*.ipynb")
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    trees = [ast.parse(re.sub(r"^[%!].*", "pass", c.source, flags=re.M)) for c in cells]
    at = next(i for i, c in enumerate(cells) if "widgets.explore(" in c.source)
    functions = {
        node.name: node for tree in trees[: at + 1] for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }  # fmt: skip
    (call,) = [
        n for n in ast.walk(trees[at])
        if isinstance(n, ast.Call) and ast.unparse(n.func) == "widgets.explore"
    ]  # fmt: skip
    used, todo = set(), [call.args[1].id]
    while todo:
        name = todo.pop()
        if name not in used:
            used.add(name)
            if name in functions:
                walked = list(ast.walk(functions[name]))
                own = {n.arg for n in walked if isinstance(n, ast.arg)}
                own |= {
                    n.id for n in walked if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
                }
                todo += {n.id for n in walked if isinstance(n, ast.Name)} - own
    changed = {name for tree in trees[at + 1 :] for name in bound(tree)} & used
    assert not changed, f"Later cells of lesson {lesson} overwrite {sorted(changed)}"
