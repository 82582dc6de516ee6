"""Widgets: a picture and a live view in one output, quick, and a sentence without ipywidgets.

Uploads: every file is answered, also a broken one, and none is written anywhere.
"""

import ast
import base64
import datetime
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
from load_script import load_script

from xrdclass import plots, widgets
from xrdclass.errors import DataError
from xrdclass.findings import Finding
from xrdclass.scans import Scan
from xrdclass.widgets import Slider, explore, read_my_scan

X = np.linspace(20, 60, 2000)

check_fuzz = load_script("tools/check_fuzz.py")


@pytest.fixture
def shown(monkeypatch):
    """What is displayed, in order."""
    outputs = []

    def display(data, raw, metadata):
        assert raw and set(metadata) == set(data) & {"image/png"}
        outputs.append(data)

    monkeypatch.setattr("IPython.display.display", display)
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
    figure, axes = plots.new_figure(figsize=(9, 3.4))
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
    assert "width: 720px" in image.value, "As wide as stored: half of its pixels."
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


def answer(scan):
    """A stand-in for a network: the phase depends on where the scan's strongest point lies."""
    angle = scan.two_theta[scan.intensity.argmax()]
    if angle > 50:
        raise DataError(f"{scan.name}: no phase <can> be named.")
    phase = "rutile" if angle < 40 else "anatase"
    notes = ("Measured with Co radiation.",) if scan.wavelength == 1.7903 else ()
    probability = {"anatase": 0.01, phase: 0.99}
    seen = scan.two_theta, scan.intensity, 1.54184, "assumed"
    finding = Finding(scan.name, (phase,), angle > 45, probability, notes, *seen)
    return plots.plot_finding(finding), finding


EXAMPLE = Scan(X, np.exp(-((X - 30) ** 2)), "an example", wavelength=1.5406)


def scan_file(place=30, head="# wavelength 1.5406\n", points=400):
    """The content of a scan file with one peak."""
    x = np.linspace(20, 60, points)
    lines = (f"{a:.3f} {1000 * np.exp(-((a - place) ** 2)) + 1:.1f}" for a in x)
    return (head + "\n".join(lines)).encode()


@pytest.fixture
def upload(shown, monkeypatch):
    """A function that uploads files, name -> content, and returns the HTML of the answers."""
    boxes, build = [], widgets._build_upload
    monkeypatch.setattr(widgets, "_build_upload", lambda *a: boxes.extend(build(*a)) or boxes)

    def load(**files):
        (button, _), results = boxes[0].children, boxes[1]
        button.value = [
            {"name": name, "type": "", "size": len(content), "content": memoryview(content),
             "last_modified": datetime.datetime(2024, 5, 6)}
            for name, content in files.items()
        ]  # fmt: skip
        return results.value

    read_my_scan(answer, EXAMPLE)
    return load


def test_upload_without_widgets_shows_the_answer_for_the_example(shown, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    read_my_scan(answer, EXAMPLE)
    assert "pip install ipywidgets" in capsys.readouterr().out
    text, picture = shown
    assert set(text) == {"text/plain"} and set(picture) == {"text/plain", "image/png"}
    first, second, last = text["text/plain"].splitlines()
    assert first == "an example: rutile (0.99)."
    assert second == "Probabilities: anatase 0.01, rutile 0.99."
    assert "running notebook" in last
    assert not plt.get_fignums(), "A figure left open would show a second time."


def test_upload_starts_with_the_example(shown, upload):
    text, picture = shown
    assert set(text) == {"text/plain", widgets.VIEW}
    assert set(picture) == {"text/plain", "image/png", widgets.VIEW}
    html = upload()  # no file: the choice was called off
    assert picture["image/png"] in html and "an example: rutile (0.99)" in html
    assert widgets.NO_WAVELENGTH not in html


def test_an_uploaded_scan_is_answered_with_picture_alt_text_and_sentences(upload):
    html = upload(**{"mine.xy": scan_file(47)})
    said = "mine.xy: anatase (0.99), and something else"
    assert f'alt="{said}"' in html and "an example" not in html
    assert f"<h2>{said}</h2>" in html and "<td>anatase</td><td>0.99</td>" in html


def test_what_was_answered_can_be_saved_as_a_page(upload):
    html = upload(**{"mine.xy": scan_file(47), "b.txt": b"no <scan>"})
    (saved,) = re.findall(r'download="report.html" href="data:text/html;base64,([^"]+)"', html)
    page = base64.b64decode(saved).decode()
    assert page.startswith("<!DOCTYPE html>") and "no &lt;scan&gt;" in page
    for section in re.findall(r"<div role=.status.>.*?</section>", page):
        assert section in html, "It says what is shown."


def test_several_files_are_answered_in_order_and_a_broken_one_stops_none(upload, capfd):
    files = {"a.xy": scan_file(30), "b.txt": b"no <scan>", "c.dat": scan_file(42)}
    html = upload(**files)
    assert html.count("<img") == 2 and html.count('role="status"') == 3
    a, b, c = (html.index(text) for text in ("a.xy: rutile", "b.txt: not read", "c.dat: anatase"))
    assert a < b < c and "no &lt;scan&gt;" in html
    assert "d.xy" in upload(**{"d.xy": scan_file(42)}) and not plt.get_fignums()
    assert capfd.readouterr() == ("", ""), "Nothing is written beside the answer."


@pytest.mark.parametrize(
    ("name", "shown_as"),
    [
        ("../../x.xy", "x.xy"),
        ("..\\..\\x.xy", "x.xy"),
        ("C:\\scans\\x.xy", "x.xy"),
        ("Titanweiß Анатаз 二酸化.xy", "Titanweiß Анатаз 二酸化.xy"),
        ("<b>&$x^$.xy", "&lt;b&gt;&amp;$x^$.xy"),
        ("a\u202e\0\n.xy", "a.xy"),
        ("..", ".."),
        ("", "scan"),
    ],
)
def test_odd_names_are_shown_and_harmless(upload, name, shown_as, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert f">{shown_as}: rutile (0.99)<" in upload(**{name: scan_file()})
    assert not list(tmp_path.iterdir()), "An upload is written nowhere."
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_answered_is_said_in_a_sentence(upload, monkeypatch):
    assert "far: no phase &lt;can&gt; be named." in upload(**{"far.xy": scan_file(55)})
    assert "an empty file" in upload(**{"empty.xy": b""})
    assert "empty.zip: expected a powder scan" in upload(**{"empty.zip": b"PK\3\4" + bytes(90)})
    monkeypatch.setattr("xrdclass.scans.MAX_BYTES", 100)
    assert "large.xy has 0 MB; a powder scan" in upload(**{"large.xy": scan_file()})
    monkeypatch.setattr(widgets, "parse_scan", lambda *a: 1 / 0)
    assert "ZeroDivisionError: division by zero" in upload(**{"mine.xy": scan_file()})


def test_the_wavelength_is_the_stated_one_or_said_to_be_assumed(upload):
    assert widgets.NO_WAVELENGTH in upload(**{"bare.xy": scan_file(head="")})
    line = widgets.NO_WAVELENGTH.rpartition(": ")[2] + "\n"
    html = upload(**{"co.xy": scan_file(head=line)})
    assert "Measured with Co radiation." in html and widgets.NO_WAVELENGTH not in html


@pytest.mark.parametrize("kind", sorted(check_fuzz.samples()))
def test_every_format_can_be_uploaded(upload, kind):
    for content in check_fuzz.samples()[kind]:
        html = upload(**{f"scan.{kind}": content})
        assert f">scan.{kind}: rutile (0.99)<" in html and "<img" in html


@pytest.mark.parametrize("lesson", ["06", "08"])
def test_lessons_store_the_answer_for_readers_without_widgets(lesson):
    (path,) = (Path(__file__).parent.parent / "notebooks").glob(f"{lesson}_*.ipynb")
    cells = [c for c in nbformat.read(path, as_version=4).cells if "read_my_scan(" in c.source]
    (cell,) = [c for c in cells if c.cell_type == "code"]
    text, picture = (output.data for output in cell.outputs)
    assert set(text) == {"text/plain"}, "make notebooks"
    assert set(picture) == {"text/plain", "image/png"}
    assert re.match(r".+: (rutile|brookite) \(\d\.\d\d\)\.\nProbabilities: ", text["text/plain"])


@pytest.mark.parametrize("lesson", ["01", "02", "03", "04", "05", "07"])
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


@pytest.mark.parametrize("lesson", ["01", "02", "03", "04", "05", "06", "07", "08"])
def test_no_later_cell_changes_what_a_widget_uses(lesson):
    """A slider is moved after the whole lesson ran: it must still find what its cell had."""
    (path,) = (Path(__file__).parent.parent / "notebooks").glob(f"{lesson}_*.ipynb")
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    trees = [ast.parse(re.sub(r"^[%!].*", "pass", c.source, flags=re.M)) for c in cells]
    shows = {"widgets.explore": 1, "widgets.read_my_scan": 0}  # where the function stands
    at = next(i for i, c in enumerate(cells) if any(f"{name}(" in c.source for name in shows))
    functions = {
        node.name: node for tree in trees[: at + 1] for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }  # fmt: skip
    (call,) = [
        n for n in ast.walk(trees[at])
        if isinstance(n, ast.Call) and ast.unparse(n.func) in shows
    ]  # fmt: skip
    used, todo = set(), [call.args[shows[ast.unparse(call.func)]].id]
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
