"""Every figure, from data handed in: one style, distinguishable without colour.

Each function makes a new figure and returns it; the caller saves it, if at all. Lessons that plot
by hand call `use_style` once.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import gc
import io
import sys
import textwrap

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import ScaledTranslation

from .evaluation import in_percent
from .patterns import min_max_scale

#: Okabe & Ito (2008), "Color Universal Design": told apart with any kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
#: Line styles and markers that go with the colours, for print and for those who see none.
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
MARKERS = "osD^vPX"
TWO_THETA = "two-theta (degrees)"
INTENSITY = "intensity (strongest = 1)"
OWN_RANGES = "intensity (each curve from 0 to 1)"

STYLE = {
    "figure.dpi": 160,  # shown at half the size in a lesson: sharp on a projector
    "savefig.dpi": 160,
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "legend.frameon": False,
    "lines.linewidth": 1.2,
}


def use_style() -> None:
    """Plot every figure in the one style; in a notebook, show it sharp and store it small."""
    plt.rcParams.update(STYLE)
    ipython = sys.modules.get("IPython")
    if ipython and (shell := ipython.get_ipython()):
        png = shell.display_formatter.formatters["image/png"]
        if png.type_printers.get(plt.Figure) is not picture:
            plt.switch_backend(plt.get_backend())  # which sets its own PNG when it is loaded
            png.for_type(plt.Figure, picture)


def picture(figure) -> tuple[str, dict]:
    """A figure as PNG in base64, and the width and height to show it at: half of its own.

    At most 256 colours: less than half the bytes, and no difference to the eye.
    """
    from PIL import Image

    canvas, buffer = FigureCanvasAgg(figure), io.BytesIO()
    canvas.draw()  # savefig would draw everything twice, and a slider has to be quick
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image.quantize(256, Image.Quantize.FASTOCTREE, dither=0).save(buffer, "PNG")
    size = {"width": image.width // 2, "height": image.height // 2}
    return base64.b64encode(buffer.getvalue()).decode(), size


def new_figure(*shape, **options):
    """Figure and axes in the one style, as `matplotlib.pyplot.subplots`."""
    use_style()
    gc.collect()  # figures closed before: each keeps some ten megabytes in cycles
    with contextlib.suppress(AttributeError, OSError, TypeError):  # there is no such on Windows
        ctypes.CDLL(None).malloc_trim(0)  # what is free goes back to the system
    return plt.subplots(*shape, **options)


def look(i: int) -> dict:
    """Colour, line style and marker of curve number ``i``, for ``axes.plot(x, y, **look(i))``."""
    return {"color": COLOURS[i % 7], "linestyle": DASHES[i % 7], "marker": MARKERS[i % 7]}


def hkl_text(hkl) -> str:
    """Miller indices as printed, a minus sign for a bar: (1 0 -1)."""
    return "(" + " ".join(str(int(i)) for i in hkl) + ")"


def plot_curves(x, curves: dict, xlabel, ylabel, intervals=None, marked=True, **settings):
    """Named curves over one axis, name -> (n,), told apart by colour, dashes and markers.

    ``intervals`` are name -> (low, high), each (n,): where error bars begin and end. ``marked``
    sets markers at the points and names beside the axes. ``settings`` are of the axes, such as
    title, xlim, xscale; a logarithmic axis has a tick at each x, and yticks have lines.
    """
    figure, axes = new_figure(figsize=(7.5 if marked else 8, 3.5))
    for i, (name, values) in enumerate(curves.items()):
        style = look(i) if marked else look(i) | {"marker": ""}
        artists = axes.plot(x, values, ms=5, label=name, **style)
        if intervals:  # curves move aside: bars on each other cannot be told apart
            artists.append(axes.vlines(x, *intervals[name], color=COLOURS[i % 7]))
            aside = ScaledTranslation(0.06 * (i - len(curves) // 2), 0, figure.dpi_scale_trans)
            for artist in artists:
                artist.set_transform(axes.transData + aside)
    axes.set(xlabel=xlabel, ylabel=ylabel, **settings)
    if "yticks" in settings:
        axes.grid(axis="y", color="0.9")
    if settings.get("xscale") == "log":
        axes.set_xticks(x, [f"{value:g}" for value in x])
        axes.minorticks_off()
    axes.legend(**({"loc": "upper left", "bbox_to_anchor": (1, 1)} if marked else {}))
    return figure


def plot_overlay(two_theta, curves: dict, ylabel=INTENSITY, xlim=None, sticks=None):
    """Patterns over each other, name -> (points,), drawn as they are, unscaled.

    ``sticks`` are `diffraction.Lines` to draw before them, the strongest as high as 1.
    """
    figure = plot_curves(two_theta, curves, TWO_THETA, ylabel, marked=False, xlim=xlim)
    if sticks is not None:
        axes, heights = figure.axes[0], sticks.intensity / 100
        axes.vlines(sticks.two_theta, 0, heights, color="black", lw=0.8, zorder=3)
        axes.plot(sticks.two_theta, heights, "ko", ms=3, label="ideal lines")
        axes.legend()
    return figure


def plot_history(histories: dict):
    """Loss and accuracy of training, solid, and validation, dashed and hollow.

    ``histories`` maps a name to a classifier's ``history``.
    """
    figure, panels = new_figure(1, 2, figsize=(9.4, 3.4))
    for axes, metric in zip(panels, ("loss", "accuracy"), strict=True):
        for i, (name, history) in enumerate(histories.items()):
            solid = look(i) | {"linestyle": "-"}
            hollow = look(i) | {"linestyle": "--", "mfc": "white"}
            parts = (metric, "training", solid), (f"val_{metric}", "validation", hollow)
            for key, part, style in parts:
                if key in history:
                    epochs = np.arange(1, len(history[key]) + 1)
                    axes.plot(epochs, history[key], ms=4, label=f"{name}, {part}", **style)
        axes.set(xlabel="epoch", ylabel=metric)
    panels[0].set_yscale("log")
    panels[0].legend(fontsize=9)
    return figure


def plot_stacked(two_theta, curves: dict, title=None, ylabel=OWN_RANGES):
    """Curves one under the other, name -> (points,), each scaled to its range and named beside it.

    ``two_theta`` is (points,), degrees, or one such array for each curve.
    """
    figure, axes = new_figure(figsize=(9, 1.0 + 0.95 * len(curves)))
    _stack(axes, two_theta, curves, (-np.inf, np.inf))
    axes.set(xlabel=TWO_THETA, ylabel=ylabel, title=title)
    return figure


def plot_groups(two_theta, groups: dict, xlim=None, columns: int = 2):
    """One panel a group, title -> {name -> (points,)}, its curves stacked as by `plot_stacked`."""
    rows, most = -(-len(groups) // columns), max(map(len, groups.values()))
    size = (5.2 * columns, 0.5 + rows * (0.4 + 0.65 * most))
    figure, panels = new_figure(rows, columns, figsize=size, sharex=True, squeeze=False)
    xlim = xlim or (two_theta[0], two_theta[-1])
    for axes, (title, curves) in zip(panels.flat, groups.items(), strict=False):
        _stack(axes, two_theta, curves, xlim)
        axes.set(title=title, xlim=xlim)
    for axes in panels.flat[len(groups) :]:
        axes.set_axis_off()
    figure.supxlabel(TWO_THETA, fontsize=11)
    figure.supylabel(OWN_RANGES, fontsize=11)
    return figure


def _stack(axes, two_theta, curves, xlim):
    """Draw what each curve shows within xlim between 0 and 1, in a row with its name."""
    for row, (name, values) in enumerate(curves.items()):
        angles = np.asarray(two_theta[row] if np.ndim(two_theta[0]) else two_theta)
        seen, base = (angles >= xlim[0]) & (angles <= xlim[1]), len(curves) - 1 - row
        part = np.asarray(values)[seen]
        scaled = (part - part.min()) / (np.ptp(part) or 1)  # a flat curve stays flat
        axes.plot(angles[seen], base + 0.85 * scaled, color=COLOURS[row % 7], lw=0.9)
        place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        axes.annotate(name, (1, base + 0.05), (5, 0), fontsize=10, **place)
    axes.set_yticks([])


def plot_windows(two_theta, curves: dict, windows, ylabel="intensity (counts)", title=None):
    """Curves one under the other, a column for each window of angles, on one intensity scale.

    The intensity axis is a square root: counting noise then has the same height everywhere, and a
    weak background shows beside strong peaks. ``curves`` are name -> (points,), 0 or more,
    ``windows`` (first, last) in degrees, a column each, of which the first is the widest.
    """
    figure, panels = new_figure(
        len(curves), len(windows), figsize=(9.5, 0.8 + 1.15 * len(curves)), sharex="col",
        sharey=True, squeeze=False, width_ratios=(2.2,) + (1,) * (len(windows) - 1),
    )  # fmt: skip
    top = 1.1 * max(np.max(values) for values in curves.values())
    middle, high = (f"{part * top:.0e}" for part in (0.2, 0.8))  # far enough from each other
    for row, (name, values) in enumerate(curves.items()):
        for axes, (first, last) in zip(panels[row], windows, strict=True):
            seen = (two_theta >= first) & (two_theta <= last)
            width = 0.9 if last - first < 10 else 0.5
            axes.plot(two_theta[seen], values[seen], color=COLOURS[row % 7], lw=width)
            axes.set_yscale("function", functions=(lambda v: np.sqrt(np.maximum(v, 0)), np.square))
            axes.set(xlim=(first, last), ylim=(0, top), yticks=[0, float(middle), float(high)])
        panels[row, 0].set_title(name, loc="right", fontweight="bold", pad=-9)
    for axes in panels[-1]:
        axes.set_xlabel(TWO_THETA)
    figure.supylabel(ylabel, fontsize=11)
    figure.suptitle(title, fontsize=11)
    return figure


def plot_lines(lines_by_name: dict, xlim=(5, 90), labelled: int = 4):
    """Stick patterns, name -> `diffraction.Lines`, the strongest lines with their hkl."""
    n = len(lines_by_name)
    figure, rows = new_figure(n, 1, figsize=(9, 1.35 * n + 0.6), sharex=True, squeeze=False)
    for i, (axes, (name, lines)) in enumerate(zip(rows[:, 0], lines_by_name.items(), strict=True)):
        axes.vlines(lines.two_theta, 0, lines.intensity, color=COLOURS[i % 7], lw=1.4)
        near = 0.042 * (xlim[1] - xlim[0])  # a label would lie on that of a stronger line
        shown = [
            k for k in lines.strongest(3 * labelled)
            if xlim[0] < (angle := lines.two_theta[k]) < xlim[1]
            and lines.intensity[np.abs(lines.two_theta - angle) < near].max() == lines.intensity[k]
        ]  # fmt: skip
        for k in shown[:labelled]:
            place = lines.two_theta[k], lines.intensity[k] + 4
            axes.text(*place, hkl_text(lines.hkl[k]), ha="center", fontsize=9)
        axes.set(ylim=(0, 125), yticks=[0, 100], xlim=xlim)
        axes.set_title(name, loc="right", fontsize=10, pad=-8)
    rows[-1, 0].set_xlabel(TWO_THETA)
    figure.supylabel("intensity (strongest = 100)", fontsize=11)
    return figure


def plot_confusion(matrix, names, title=None):
    """A confusion matrix with its counts written in; rows are the truth."""
    matrix = np.asarray(matrix)
    figure, axes = new_figure(figsize=(1.6 + 0.75 * matrix.shape[1], 1.2 + 0.6 * len(matrix)))
    axes.imshow(matrix, cmap="Blues", vmin=0)
    for (i, j), count in np.ndenumerate(matrix):
        shade = "white" if count > 0.6 * matrix.max() else "black"
        axes.text(j, i, f"{count}", ha="center", va="center", color=shade)
    axes.set_xticks(range(matrix.shape[1]), names[: matrix.shape[1]], rotation=30, ha="right")
    axes.set_yticks(range(len(matrix)), names[: len(matrix)])
    axes.set(xlabel="answer", ylabel="truth", title=title)
    return figure


def plot_occlusion(two_theta, intensity, centres, drop, lines, title=None):
    """A pattern, its `diffraction.Lines`, and how much hiding each part lowers the certainty."""
    figure, (top, bottom) = new_figure(2, 1, figsize=(9, 4.2), sharex=True, height_ratios=(2, 1))
    top.plot(two_theta, min_max_scale(intensity), lw=0.8)
    heights = 0.1 * np.sqrt(lines.intensity / 100)
    top.vlines(lines.two_theta, -0.14, heights - 0.14, color="0.3", label="ideal lines (root)")
    top.legend(loc="upper right")
    top.set(ylabel=INTENSITY, title=title)
    bottom.fill_between(centres, drop, step="mid", color=COLOURS[1], alpha=0.8)
    bottom.set(xlabel=TWO_THETA, ylabel="fall of\ncertainty")
    return figure


def plot_calibration(curves: dict):
    """Accuracy against certainty, with intervals of 95 %, above the number of answers.

    Honest certainties lie on the diagonal. ``curves`` are name -> of `evaluation.calibration`.
    """
    figure, (top, bottom) = new_figure(2, 1, figsize=(5, 5), sharex=True, height_ratios=(3, 1))
    top.plot([0, 1], [0, 1], color="0.6", lw=1, label="honest")
    left = low = 1.0
    for i, (name, (certainty, accuracy, count, error)) in enumerate(curves.items()):
        answers = zip(np.round(accuracy * count).astype(int), count, strict=True)
        ranges = np.array([in_percent(*pair, text=False)[1:] for pair in answers]) / 100
        top.vlines(certainty, *np.transpose(ranges), color=COLOURS[i % 7], lw=1, alpha=0.7)
        top.plot(certainty, accuracy, label=f"{name} (error {error:.2g})", **look(i))
        bottom.plot(certainty, count, **look(i))
        left, low = min(left, *certainty), min(low, *certainty, *ranges.ravel())
    top.set(ylabel="part that is right", xlim=(left - 0.03, 1.02), ylim=(low - 0.03, 1.02))
    top.legend(fontsize=9)
    bottom.set(xlabel="certainty", ylabel="answers", yscale="log")
    return figure


def plot_certainties(groups: dict, title=None, xlabel="certainty of the answer"):
    """Histograms of certainty, 0...1: one panel a group, name -> (n,), on a shared axis."""
    size = (7, 1.1 + 1.35 * len(groups))
    figure, panels = new_figure(len(groups), 1, figsize=size, sharex=True, squeeze=False)
    for i, (axes, (name, values)) in enumerate(zip(panels[:, 0], groups.items(), strict=True)):
        axes.hist(values, bins=np.linspace(0, 1, 21), color=COLOURS[i % 7], hatch="/.-x"[i % 4])
        axes.set_title(f"{name} (n = {len(values)})", loc="left", fontsize=10)
        axes.set_ylabel("patterns")
    panels[-1, 0].set_xlabel(xlabel)
    figure.suptitle(title, fontsize=11)
    return figure


def plot_finding(finding):
    """A scan, what was fitted to it and what that leaves: `plot_refinement`, the answer above.

    ``finding`` is a `findings.Finding`. A classifier fits nothing: what it was shown is drawn.
    """
    title = f"{finding.name}: {finding.answer}"
    if finding.refinement is not None:
        return plot_refinement(finding.refinement, title)
    figure, axes = new_figure(figsize=(9, 3.2))
    axes.plot(finding.two_theta, finding.signal, lw=0.8)
    axes.set(xlabel=TWO_THETA, ylabel="intensity")
    axes.set_title(title, parse_math=False)
    return figure


def plot_refinement(fit, title=""):
    """A scan and the pattern fitted to it, the lines of each phase, and the difference.

    ``fit`` is a `refinement.Refinement`. Intensities are shown by their square root, in which
    counting noise has one height; the difference is that of the roots, on the same scale. Peaks
    that nothing explains are marked. Angles that were not measured stay empty.
    """
    parts = fit.counts, fit.calculated, fit.background
    x, counts, calculated, background = _with_gaps(
        fit.two_theta, *(np.sqrt(np.maximum(part, 0)) for part in parts)
    )
    difference, top = counts - calculated, max(np.nanmax(counts), 1)
    low, high = np.nanmin(difference), np.nanmax(difference)
    low, high = min(low, -0.13 * top), max(high, 0.13 * top)
    lines = list(zip(fit.model.lines, fit.model.crystals, strict=True))
    heights = [1.2 * top, 0.16 * top * len(lines), high - low]
    title = textwrap.fill(title, 80)
    above = 0.3 + 0.17 * title.count("\n")
    tall = 0.7 + above + 2.9 * sum(heights) / heights[0]
    figure, (upper, middle, lower) = new_figure(
        3, 1, figsize=(9, tall), sharex=True, height_ratios=np.maximum(heights, 1e-3 * top),
        layout="none",  # a layout engine would draw everything twice
    )  # fmt: skip
    figure.subplots_adjust(0.08, 0.52 / tall, 0.86, 1 - above / tall, hspace=0.09)
    upper.plot(x, counts, ".", color="0.6", ms=2.5, label="measured")
    for values, style, name in ((calculated, "-", "fit"), (background, "--", "background")):
        upper.plot(x, values, style, color="black", lw=0.8, label=name)
    if fit.unexplained:
        peaks = np.array([peak["two_theta"] for peak in fit.unexplained])
        near = [np.nanmax(counts[np.abs(x - angle) < 0.15], initial=0) for angle in peaks]
        place = np.add(near, 0.06 * top)
        upper.plot(peaks, place, "v", color=COLOURS[1], ms=6, label="not explained")
    upper.set(ylabel="square root of intensity", ylim=(0, heights[0]))
    upper.legend(loc="upper right", ncols=4, fontsize=9, borderaxespad=0)
    upper.set_title(title, parse_math=False)
    for row, (line, crystal) in enumerate(lines):
        phase, style = fit.phases[line.phase.name], look(row)
        angles = line.shapes(crystal, fit.model.instrument)[0]
        middle.vlines(angles, -row - 0.3, -row + 0.3, color=style["color"], lw=0.8)
        strongest = angles[np.argsort(-line.areas(crystal))[:4]]
        marks = {"ls": "", "marker": style["marker"], "ms": 5, "color": style["color"]}
        middle.plot(strongest, np.full(len(strongest), -row), **marks)
        name = phase.name if len(phase.name) < 19 else f"{phase.name[:17]}…"
        weight = f"{phase.weight_percent:.1f} ± {phase.weight_error:.1f} %" * (len(lines) > 1)
        place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        middle.annotate(
            f"{name}\n{weight}".strip(), (1, -row), (8, 0), fontsize=9, va="center", **place
        )
    middle.set(ylim=(0.5 - max(len(lines), 1), 0.5), yticks=[])
    middle.spines[:].set_visible(False)
    middle.tick_params(bottom=False)
    lower.axhline(0, color="0.8", lw=0.8)
    lower.plot(x, difference, color="0.2", lw=0.6)
    lower.set(xlabel=TWO_THETA, ylabel="difference", ylim=(low, high), xlim=(x[0], x[-1]))
    lower.locator_params(axis="y", nbins=max(round(6 * heights[2] / heights[0]), 2))
    return figure


def _with_gaps(x, *curves):
    """Angles and curves, (n,) each, broken where angles were left out: steps far above others.

    A point alone between two such steps is the mean that a fit took of both sides of a gap.
    """
    steps = np.diff(x)
    beside = np.pad(steps, 1, mode="edge")
    far = steps > 5 * np.minimum(beside[:-2], beside[2:])
    alone, before = np.pad(far[:-1] & far[1:], 1), 1 + np.flatnonzero(far)
    return [np.insert(np.where(alone, np.nan, values), before, np.nan) for values in (x, *curves)]
