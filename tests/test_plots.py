"""Figures: drawn from data handed in, axes named, told apart without colour, nothing left open."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from xrdclass import plots
from xrdclass.diffraction import lines
from xrdclass.evaluation import Verdict, ideal_patterns
from xrdclass.patterns import TwoThetaGrid
from xrdclass.phases import load_phases
from xrdclass.scans import Scan

GRID = TwoThetaGrid(20, 60, 0.1)
PHASES = load_phases()
IDEAL = ideal_patterns(PHASES, GRID)
CURVES = dict(zip(IDEAL.names, IDEAL.intensity, strict=True))
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def close_figures():
    plt.close("all")
    yield
    plt.close("all")


def names_of(axes):
    return [label for a in axes for label in (a.get_xlabel(), a.get_ylabel())]


FIGURES = {
    "stacked": lambda: plots.plot_stacked(GRID.two_theta, CURVES, title="t", marks=[25.3]),
    "stacked, own axes": lambda: plots.plot_stacked([GRID.two_theta] * 5, CURVES),
    "overlay": lambda: plots.plot_overlay(GRID.two_theta, CURVES, xlim=(20, 40)),
    "lines": lambda: plots.plot_lines({p.name: lines(p) for p in PHASES}),
    "history": lambda: plots.plot_history(
        {"clean": {"loss": [2, 1], "accuracy": [0.5, 1], "val_loss": [2, 2]}}
    ),
    "kernels": lambda: plots.plot_kernels(RNG.normal(size=(15, 1, 16)), 0.05),
    "confusion": lambda: plots.plot_confusion(np.diag([3, 4, 0]), ["a", "b", "c"]),
    "occlusion": lambda: plots.plot_occlusion(
        GRID.two_theta, IDEAL.intensity[0], np.arange(21, 59), RNG.random(38), lines(PHASES[0])
    ),
    "calibration": lambda: plots.plot_calibration(
        {"ours": (np.array([0.7, 0.9]), np.array([0.6, 1.0]), np.array([3, 9]), 0.1)}
    ),
    "certainties": lambda: plots.plot_certainties({"a": RNG.random(20), "b": RNG.random(5)}),
    "verdict": lambda: plots.plot_verdict(
        Scan(GRID.two_theta, IDEAL.intensity[3]),
        Verdict("mine", ("rutile",), False, {"rutile": 0.9}),
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn_and_their_axes_named(name, tmp_path):
    figure = FIGURES[name]()
    assert isinstance(figure, plt.Figure) and plt.get_fignums() == [figure.number]
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 2000
    texts = [t.get_text() for t in (figure._supxlabel, figure._supylabel) if t is not None]
    texts += names_of(figure.axes)
    assert any("degrees" in t for t in texts) or name in (
        "history",
        "confusion",
        "calibration",
        "certainties",
    )
    assert sum(bool(t) for t in texts) >= 2


def test_cells_are_drawn_for_every_phase():
    figure = plots.plot_cells(PHASES)
    titles = " ".join(axes.get_title() for axes in figure.axes)
    titles += " ".join(text.get_text() for text in figure.findobj(plt.Text))
    assert all(phase.name in titles for phase in PHASES)
    figure.canvas.draw()


def test_curves_differ_in_more_than_colour():
    figure = plots.plot_overlay(GRID.two_theta, CURVES)
    styles = [line.get_linestyle() for line in figure.axes[0].get_lines()]
    patterns = {(str(line._dash_pattern), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(styles) == 5 and len(patterns) == 5
    colours = [line.get_color() for line in figure.axes[0].get_lines()]
    assert len(set(colours)) == 5


def test_flat_curves_are_drawn():
    figure = plots.plot_stacked(GRID.two_theta, {"flat": np.ones(GRID.n_points)})
    assert np.isfinite(figure.axes[0].get_lines()[0].get_ydata()).all()


def test_verdict_names_the_answer():
    scan = Scan(GRID.two_theta, IDEAL.intensity[3])
    found = plots.plot_verdict(scan, Verdict("mine", ("rutile",), False, {"rutile": 0.875}))
    assert found.axes[0].get_title() in ("mine: rutile (0.88)", "mine: rutile (0.87)")
    none = plots.plot_verdict(scan, Verdict("mine", (), True, {"rutile": 0.1}))
    assert none.axes[0].get_title() == "mine: none of the phases; something else"


def test_stick_labels_are_the_strongest_lines():
    rutile = PHASES[3]
    figure = plots.plot_lines({"rutile": lines(rutile)}, labelled=1)
    (label,) = [t.get_text() for t in figure.axes[0].texts]
    assert sorted(label.strip("()").replace("-", "").split()) == ["0", "1", "1"]
