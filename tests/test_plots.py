"""Figures: drawn from data handed in, axes named, told apart without colour, nothing left open."""

import base64
import io
from types import SimpleNamespace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from samples import fitted

from xrdclass import drawings, plots
from xrdclass.diffraction import lines
from xrdclass.evaluation import ideal_patterns
from xrdclass.findings import Finding
from xrdclass.patterns import TwoThetaGrid
from xrdclass.phases import load_phases
from xrdclass.simulation import peak_shift

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


def texts_of(figure):
    return [text.get_text() for text in figure.findobj(plt.Text)]


def finding(**changes):
    """A stand-in for a finding: rutile, and something that is not explained."""
    known = {
        "name": "mine",
        "phases": ("rutile",),
        "foreign": False,
        "probability": {"rutile": 0.9},
        "warnings": (),
        "two_theta": GRID.two_theta,
        "signal": CURVES["rutile"],
        "wavelength": 1.54184,
        "wavelength_source": "assumed",
        "threshold": 0.5,
    }
    return Finding(**{**known, **changes})


def layer(kind, shape, parameters, **sizes):
    """A stand-in for a layer of Keras."""
    output = SimpleNamespace(shape=(None, *shape))
    return type(kind, (SimpleNamespace,), {})(
        output=output, count_params=lambda: parameters, **sizes
    )


NETWORK = SimpleNamespace(
    input_shape=(None, 401, 1),
    layers=[
        layer("Conv1D", (401, 8), 128, kernel_size=(15,)),
        layer("AveragePooling1D", (80, 8), 0, pool_size=(5,)),
        layer("Flatten", (640,), 0),
        layer("Dense", (5,), 3205),
    ],
)
KERNELS = {"narrow": np.ones(5), "wide": np.ones(15)}
FIGURES = {
    "curves": lambda: plots.plot_curves([1, 2], {"a": [3, 4]}, "size (nm)", "part"),
    "stacked": lambda: plots.plot_stacked(GRID.two_theta, CURVES, title="t"),
    "stacked, own axes": lambda: plots.plot_stacked([GRID.two_theta] * 5, CURVES),
    "groups": lambda: plots.plot_groups(GRID.two_theta, dict.fromkeys("abc", CURVES), (25, 50)),
    "windows": lambda: plots.plot_windows(GRID.two_theta, CURVES, [(20, 60), (25, 26)], title="t"),
    "overlay": lambda: plots.plot_overlay(GRID.two_theta, CURVES, xlim=(20, 40)),
    "lines": lambda: plots.plot_lines({p.name: lines(p) for p in PHASES}),
    "history": lambda: plots.plot_history(
        {"clean": {"loss": [2, 1], "accuracy": [0.5, 1], "val_loss": [2, 2]}}
    ),
    "confusion": lambda: plots.plot_confusion(np.diag([3, 4, 0]), ["a", "b", "c"]),
    "occlusion": lambda: plots.plot_occlusion(
        GRID.two_theta, IDEAL.intensity[0], np.arange(21, 59), RNG.random(38), lines(PHASES[0])
    ),
    "calibration": lambda: plots.plot_calibration(
        {"ours": (np.array([0.7, 0.9]), np.array([0.6, 1.0]), np.array([5, 9]), 0.1)}
    ),
    "certainties": lambda: plots.plot_certainties({"a": RNG.random(20), "b": RNG.random(5)}),
    "finding": lambda: plots.plot_finding(fitted()),
    "weights": lambda: plots.plot_refinement(fitted().refinement),
    "classified": lambda: plots.plot_finding(finding(threshold=None)),
    "bragg": lambda: drawings.plot_bragg(2.0, 1.6, [20, 30]),
    "responses": lambda: drawings.plot_responses(
        GRID.two_theta, CURVES["rutile"], dict.fromkeys(KERNELS, CURVES["rutile"]), KERNELS, 0.1
    ),
}
WITHOUT_ANGLES = ("curves", "history", "confusion", "calibration", "certainties", "bragg")


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn_and_their_axes_named(name, tmp_path):
    figure = FIGURES[name]()
    assert isinstance(figure, plt.Figure) and plt.get_fignums() == [figure.number]
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 2000
    labels = [axes.get_xlabel() for axes in figure.axes]
    labels += [axes.get_ylabel() for axes in figure.axes]
    labels += [text.get_text() for text in (figure._supxlabel, figure._supylabel) if text]
    assert any("degrees" in label for label in labels) or name in WITHOUT_ANGLES
    assert sum(map(bool, labels)) >= 2


def test_curves_differ_in_more_than_colour():
    figure = plots.plot_overlay(GRID.two_theta, CURVES)
    styles = [line.get_linestyle() for line in figure.axes[0].get_lines()]
    patterns = {(str(line._dash_pattern), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(styles) == 5 and len(patterns) == 5
    colours = [line.get_color() for line in figure.axes[0].get_lines()]
    assert len(set(colours)) == 5


def test_intervals_stand_aside_and_end_where_they_should():
    low, high = np.array([0.1, 0.2, 0.4]), np.array([0.5, 0.6, 0.9])
    parts = {"a": [0.2, 0.4, 0.8], "b": [0.2, 0.4, 0.8], "c": [0.2, 0.4, 0.8]}
    ranges = dict.fromkeys(parts, (low, high))
    figure = plots.plot_curves([1, 10, 100], parts, "x", "y", ranges, xscale="log")
    (axes,) = figure.axes
    figure.canvas.draw()
    places = set()
    for line, bars in zip(axes.lines, axes.collections, strict=True):
        ends = np.array(bars.get_segments())
        assert np.allclose(ends[:, 0, 1], low) and np.allclose(ends[:, 1, 1], high)
        at = line.get_transform().transform(line.get_xydata())[:, 0]
        assert np.allclose(at, bars.get_transform().transform(ends[:, 0])[:, 0])
        places.add(round(at[1], 2))
        assert axes.bbox.x0 < at[0] and at[-1] < axes.bbox.x1
    assert len(places) == 3
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "10", "100"]


def test_sticks_stand_before_the_curves_and_show_above_them():
    figure = plots.plot_overlay(GRID.two_theta, CURVES, sticks=lines(PHASES[3]))
    (sticks,) = figure.axes[0].collections
    assert sticks.get_zorder() > max(line.get_zorder() for line in figure.axes[0].lines[:5])
    assert max(end for (_, (_, end)) in sticks.get_segments()) == pytest.approx(1)
    assert "ideal lines" in texts_of(figure)


def test_losses_have_a_logarithmic_axis_and_validation_is_hollow():
    history = {"loss": [2, 0.1], "val_loss": [2, 0.2], "accuracy": [0.5, 1]}
    loss, accuracy = plots.plot_history({"clean": history}).axes
    assert (loss.get_yscale(), accuracy.get_yscale()) == ("log", "linear")
    training, validation = loss.lines
    assert training.get_markerfacecolor() != validation.get_markerfacecolor() == "white"


@pytest.mark.parametrize("top", [1, 7, 95, 333, 652, 1000, 4999, 123_456])
def test_ticks_of_windows_do_not_touch(top):
    figure = plots.plot_windows(GRID.two_theta, {"scan": top * CURVES["rutile"]}, [(20, 60)])
    figure.canvas.draw()
    labels = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == 3
    assert all(low.y1 < high.y0 for low, high in zip(labels, labels[1:], strict=False))


def test_honest_certainties_lie_on_the_diagonal_within_their_intervals():
    certainty, count = np.array([0.6, 0.75, 0.9]), np.array([5, 20, 1000])
    figure = plots.plot_calibration({"ours": (certainty, certainty, count, 0.004)})
    (ranges,) = figure.axes[0].collections
    low, high = np.array(ranges.get_segments())[:, :, 1].T
    assert np.all((low < certainty) & (certainty < high)) and np.all(np.diff(high - low) < 0)
    assert np.array_equal(figure.axes[1].lines[0].get_ydata(), count)
    assert "ours (error 0.004)" in texts_of(figure)


def test_a_fit_and_what_it_leaves_have_one_scale_and_gaps_stay_empty():
    found = fitted()
    figure = plots.plot_finding(found)
    figure.canvas.draw()
    upper, _, lower = figure.axes
    scales = [np.ptp(axes.get_ylim()) / axes.bbox.height for axes in (upper, lower)]
    assert scales[1] == pytest.approx(scales[0], rel=0.02)
    assert upper.get_title() == f"mine: {found.answer}"
    for line in (*upper.lines[:3], lower.lines[1]):
        x, y = line.get_data()
        drawn = [(a, b) for a, b in zip(x, x[1:], strict=False) if a < 45.5 < b]
        assert len(x) > 100 and not drawn, "No line leads over angles that were not measured."
        assert np.isnan(y[(x > 44.75) & (x < 46.15)]).all()
    (marks,) = (line for line in upper.lines if line.get_label() == "not explained")
    angles = [peak["two_theta"] for peak in found.refinement.unexplained]
    assert list(marks.get_xdata()) == angles and abs(angles[0] - 31.7) < 0.1


def test_each_phase_has_a_row_of_ticks_where_its_lines_are():
    fit = fitted().refinement
    middle = plots.plot_finding(fitted()).axes[1]
    assert len({line.get_marker() for line in middle.lines}) == len(middle.collections) == 2
    for row, ticks in enumerate(middle.collections):
        name, weight = middle.texts[row].get_text().split("\n")
        ends = np.array([path.vertices for path in ticks.get_paths()])
        assert np.allclose(ends[..., 1].mean(axis=1), -row) and "±" in weight
        pattern, places = fit.phases[name].pattern, np.unique(ends[..., 0])
        top = fit.two_theta[pattern.argmax()]
        assert np.abs(places - top).min() < 0.1
        (marked,) = (line for line in middle.lines if line.get_ydata()[0] == -row)
        assert np.abs(marked.get_xdata() - top).min() < 0.1, "The strongest lines are marked."


def test_flat_curves_are_drawn():
    figure = plots.plot_stacked(GRID.two_theta, {"flat": np.ones(GRID.n_points)})
    assert np.isfinite(figure.axes[0].get_lines()[0].get_ydata()).all()


def test_the_title_is_the_answer():
    found = plots.plot_finding(finding(probability={"rutile": 0.875}))
    assert found.axes[0].get_title() in ("mine: rutile (0.88)", "mine: rutile (0.87)")
    none = plots.plot_finding(finding(phases=(), foreign=True, threshold=None))
    assert none.axes[0].get_title() == "mine: none of the phases; something else"


def test_stick_labels_are_the_strongest_lines():
    rutile = PHASES[3]
    figure = plots.plot_lines({"rutile": lines(rutile)}, labelled=1)
    (label,) = [t.get_text() for t in figure.axes[0].texts]
    assert sorted(label.strip("()").replace("-", "").split()) == ["0", "1", "1"]


def test_cells_are_drawn_for_every_phase():
    figure = drawings.plot_cells(PHASES)
    assert {phase.name for phase in PHASES} < set(texts_of(figure))
    figure.canvas.draw()


@pytest.mark.parametrize(("index", "count"), [(0, 12), (3, 4)])
def test_edges_that_octahedra_share_are_marked_and_short(index, count):
    # Of the Ti drawn, 12 pairs are 3.04 Å apart in anatase, 4 pairs 2.96 Å in rutile: along c, on
    # the upright edges. The O-O that they share are short, as Ti pushes Ti away: 2.46 and 2.53 Å
    # (Cromer & Herrington 1955, J. Am. Chem. Soc. 77, 4708-4709).
    structure = PHASES[index].structure
    colours = dict.fromkeys(structure.elements, "white")
    pieces = drawings._pieces(structure, np.eye(3), colours)
    edges = [outline for outline, _, colour, *_ in pieces if colour == drawings._SHARED]
    lengths = [np.linalg.norm(one - other) for one, other in edges]
    assert len(edges) == count
    assert np.allclose(lengths, 2.53 if index == 3 else 2.46, atol=0.03)


def test_the_path_difference_is_drawn_in_two_halves_to_scale():
    figure = drawings.plot_bragg(2.5, 1.2, [15])
    thick = [line.get_xydata() for line in figure.axes[0].lines if line.get_linewidth() == 4]
    lengths = [np.linalg.norm(start - end) for start, end in thick]
    assert np.allclose(lengths, 2 * [2.5 * np.sin(np.radians(15))])
    texts = texts_of(figure)
    assert texts.count("d sin θ") == 2 and "θ" in texts and "d = 2.5 Å" in texts


@pytest.mark.parametrize(("theta", "height"), [(20, 0), (20, 0.01), (50, 0.02), (35, -0.01)])
def test_a_raised_sample_moves_the_drawn_detector_as_the_formula_says(theta, height):
    axes = drawings.plot_diffractometer(theta, height).axes[0]
    (place,) = (line.get_xydata()[0] for line in axes.lines if line.get_marker() == "D")
    assert np.hypot(*place) == pytest.approx(1)
    shift = np.degrees(np.arctan2(place[1], place[0])) - theta
    assert shift == pytest.approx(peak_shift(np.radians(theta), 0, height, 1), rel=0.03)
    assert {"θ", "2θ", "tube", "sample", "detector"} <= set(texts_of(axes.figure))


def test_layers_show_the_sizes_of_kernels_and_windows():
    texts = texts_of(drawings.plot_layers({"small": NETWORK}))
    for text in ("pattern", "conv 15\n128", "average 5", "flatten", "dense\n3,205", "401 × 8"):
        assert text in [t.strip().replace(" \n", "\n") for t in texts]


def test_pictures_are_small_sharp_and_true():
    figure = plots.plot_overlay(GRID.two_theta, CURVES)
    png, size = plots.picture(figure)
    image = Image.open(io.BytesIO(base64.b64decode(png)))
    assert image.mode == "P" and image.size == (2 * size["width"], 2 * size["height"])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    assert np.abs(drawn - np.asarray(image.convert("RGB"))).max() < 50
    plain = io.BytesIO()
    figure.savefig(plain, format="png")
    assert len(png) * 3 / 4 < 0.6 * len(plain.getvalue())


def test_notebooks_show_figures_at_half_their_size(monkeypatch):
    shell = InteractiveShell()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    plots.use_style()
    data, metadata = shell.display_formatter.format(plt.subplots(figsize=(5, 2))[0])
    assert metadata["image/png"] == {"width": 400, "height": 160}
    assert Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).size == (800, 320)
