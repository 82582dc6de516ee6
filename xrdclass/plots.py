"""Every figure, from data handed in: one style, distinguishable without colour.

Each function draws a new figure and returns it; the caller saves it, if at all.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

#: Okabe & Ito (2008), "Color Universal Design": told apart with any kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
#: Line styles and markers that go with the colours, for print and for those who see none.
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
MARKERS = "osD^vPX"
TWO_THETA = "two-theta (degrees)"
INTENSITY = "intensity (strongest = 1)"

STYLE = {
    "figure.dpi": 80,
    "savefig.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "legend.frameon": False,
    "lines.linewidth": 1.2,
}


def _figure(*shape, **options):
    plt.rcParams.update(STYLE)
    return plt.subplots(*shape, **options)


def _stretch(intensity):
    """Shift and scale to 0...1 for drawing; a flat curve stays flat."""
    low, high = np.min(intensity), np.max(intensity)
    return (np.asarray(intensity) - low) / (high - low if high > low else 1)


def plot_stacked(two_theta, curves: dict, title=None, ylabel=INTENSITY, marks=()):
    """Curves one under the other, each scaled to its own range and named beside it.

    Parameters
    ----------
    two_theta : (points,), degrees, or one such array for each curve
    curves : name -> intensity (points,)
    marks : two-theta angles to mark with thin vertical lines
    """
    own_axes = np.ndim(two_theta[0]) == 1
    figure, axes = _figure(figsize=(9, 1.0 + 0.95 * len(curves)))
    for row, (name, values) in enumerate(curves.items()):
        axis = two_theta[row] if own_axes else two_theta
        base = len(curves) - 1 - row
        axes.plot(axis, base + 0.85 * _stretch(values), color=COLOURS[row % len(COLOURS)], lw=0.9)
        axes.annotate(
            name, (1, base + 0.1), xycoords=("axes fraction", "data"), xytext=(4, 0),
            textcoords="offset points", color=COLOURS[row % len(COLOURS)],
        )  # fmt: skip
    for angle in marks:
        axes.axvline(angle, color="0.75", lw=0.8, zorder=0)
    axes.set(xlabel=TWO_THETA, ylabel=ylabel, yticks=[], title=title)
    return figure


def plot_overlay(two_theta, curves: dict, title=None, ylabel=INTENSITY, xlim=None):
    """Curves over each other on one scale, told apart by colour and dashes.

    ``curves`` maps a name to intensity (points,); they are drawn as they are, unscaled.
    """
    figure, axes = _figure(figsize=(8, 3.4))
    for i, (name, values) in enumerate(curves.items()):
        axes.plot(two_theta, values, color=COLOURS[i % 7], ls=DASHES[i % 7], label=name)
    axes.set(xlabel=TWO_THETA, ylabel=ylabel, title=title, xlim=xlim)
    axes.legend()
    return figure


def plot_lines(lines_by_name: dict, xlim=(5, 90), labelled: int = 4):
    """Ideal stick patterns one under the other, the strongest lines with their hkl.

    ``lines_by_name`` maps a phase's name to `diffraction.Lines`.
    """
    figure, rows = _figure(
        len(lines_by_name), 1, figsize=(9, 1.35 * len(lines_by_name) + 0.6), sharex=True,
        squeeze=False,
    )  # fmt: skip
    for i, (axes, (name, lines)) in enumerate(zip(rows[:, 0], lines_by_name.items(), strict=True)):
        axes.vlines(lines.two_theta, 0, lines.intensity, color=COLOURS[i % 7], lw=1.4)
        placed = []
        for k in lines.strongest(3 * labelled):
            angle = lines.two_theta[k]
            # Labels that would lie on each other are left out.
            if len(placed) < labelled and all(abs(angle - other) > 5 for other in placed):
                placed.append(angle)
                axes.annotate(
                    hkl_text(lines.hkl[k]), (angle, lines.intensity[k]), xytext=(0, 2),
                    textcoords="offset points", ha="center", fontsize=9,
                )  # fmt: skip
        axes.set(ylim=(0, 125), yticks=[0, 100], xlim=xlim)
        axes.set_title(name, loc="right", fontsize=10, pad=-8, color=COLOURS[i % 7])
    rows[-1, 0].set_xlabel(TWO_THETA)
    figure.supylabel("intensity (strongest = 100)", fontsize=11)
    return figure


def hkl_text(hkl) -> str:
    """Miller indices as printed, a minus sign for a bar: (1 0 -1)."""
    return "(" + " ".join(str(int(i)) for i in hkl) + ")"


def plot_cells(phases, columns: int = 3):
    """Unit cells in perspective: cell edges, atoms by element, one panel a phase."""
    plt.rcParams.update(STYLE)
    rows = -(-len(phases) // columns)
    figure = plt.figure(figsize=(3.1 * columns, 3.1 * rows))
    elements = sorted({str(s) for p in phases for site in p.structure for s in site.species})
    for panel, phase in enumerate(phases, 1):
        axes = figure.add_subplot(rows, columns, panel, projection="3d")
        lattice = phase.structure.lattice.matrix
        corners = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T
        for i, one in enumerate(corners):
            for other in corners[i + 1 :]:
                if np.abs(one - other).sum() == 1:
                    axes.plot(*(np.array([one, other]) @ lattice).T, color="0.4", lw=1)
        for k, element in enumerate(elements):
            atoms = _atoms_with_faces(phase.structure, element)
            if len(atoms):
                axes.scatter(
                    *(atoms @ lattice).T, s=(110, 45)[k != len(elements) - 1],
                    color=COLOURS[(1, 0, 2, 3)[k % 4]], marker=MARKERS[k % 7], depthshade=True,
                    edgecolor="black", linewidth=0.4, label=element,
                )  # fmt: skip
        axes.set_title(phase.name, pad=-4)
        axes.set_aspect("equal")
        axes.set_axis_off()
        axes.view_init(elev=14, azim=-62)
    figure.legend(*axes.get_legend_handles_labels(), loc="lower right")
    return figure


def _atoms_with_faces(structure, element) -> np.ndarray:
    """Fractional coordinates of an element's atoms, those on faces drawn on both sides."""
    base = [site.frac_coords % 1 for site in structure if element in {str(s) for s in site.species}]
    shifts = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T
    atoms = (np.array(base).reshape(-1, 1, 3) + shifts).reshape(-1, 3)
    return atoms[(atoms <= 1 + 1e-6).all(axis=1)]


def plot_history(histories: dict, metrics=("loss", "accuracy")):
    """Training curves: one panel a metric, training solid, validation dashed.

    ``histories`` maps a name to a classifier's ``history``.
    """
    figure, panels = _figure(1, len(metrics), figsize=(4.5 * len(metrics), 3.2), squeeze=False)
    for axes, metric in zip(panels[0], metrics, strict=True):
        for i, (name, history) in enumerate(histories.items()):
            for key, dash, text in (
                (metric, "-", "training"),
                (f"val_{metric}", "--", "validation"),
            ):
                if key in history:
                    epochs = np.arange(1, len(history[key]) + 1)
                    axes.plot(
                        epochs, history[key], dash, marker=MARKERS[i % 7], ms=4,
                        color=COLOURS[i % 7], label=f"{name}, {text}",
                    )  # fmt: skip
        axes.set(xlabel="epoch", ylabel=metric)
    panels[0, 0].legend(fontsize=9)
    return figure


def plot_kernels(kernels, step: float, columns: int = 8):
    """The filters of a first layer, small multiples on one scale.

    ``kernels`` is (points, 1, filters); ``step`` the degrees from one point to the next.
    """
    kernels = np.asarray(kernels)[:, 0]
    rows = -(-kernels.shape[1] // columns)
    figure, panels = _figure(
        rows, columns, figsize=(1.15 * columns, 1.2 * rows + 0.3), sharex=True, sharey=True,
        squeeze=False,
    )  # fmt: skip
    offset = (np.arange(len(kernels)) - (len(kernels) - 1) / 2) * step
    for axes, kernel in zip(panels.flat, kernels.T, strict=False):
        axes.axhline(0, color="0.8", lw=0.8)
        axes.plot(offset, kernel)
        axes.set_xticks([0])
    figure.supxlabel(f"offset, {offset[0]:.2f} to {offset[-1]:.2f} degrees", fontsize=10)
    figure.supylabel("weight", fontsize=10)
    return figure


def plot_confusion(matrix, names, title=None):
    """A confusion matrix with its counts written in; rows are the truth."""
    matrix = np.asarray(matrix)
    figure, axes = _figure(figsize=(1.6 + 0.75 * matrix.shape[1], 1.2 + 0.6 * len(matrix)))
    axes.imshow(matrix, cmap="Blues", vmin=0)
    for i, row in enumerate(matrix):
        for j, count in enumerate(row):
            shade = "white" if count > 0.6 * matrix.max() else "black"
            axes.text(j, i, f"{count}", ha="center", va="center", color=shade)
    axes.set_xticks(range(matrix.shape[1]), names[: matrix.shape[1]], rotation=30, ha="right")
    axes.set_yticks(range(len(matrix)), names[: len(matrix)])
    axes.set(xlabel="answer", ylabel="truth", title=title)
    return figure


def plot_occlusion(two_theta, intensity, centres, drop, lines=None, title=None):
    """A pattern, its known lines, and how much hiding each part lowers the certainty."""
    figure, (top, bottom) = _figure(
        2, 1, figsize=(9, 4.2), sharex=True, height_ratios=(2, 1)
    )  # fmt: skip
    top.plot(two_theta, _stretch(intensity), lw=0.8)
    if lines is not None:
        top.vlines(
            lines.two_theta, -0.12, -0.12 + 0.1 * np.sqrt(lines.intensity / 100), color="0.3"
        )
    top.set(ylabel=INTENSITY, title=title)
    bottom.fill_between(centres, drop, step="mid", color=COLOURS[1], alpha=0.8)
    bottom.set(xlabel=TWO_THETA, ylabel="fall of\ncertainty")
    return figure


def plot_calibration(curves: dict):
    """Accuracy against certainty; honest certainties lie on the diagonal.

    ``curves`` maps a name to (certainty, accuracy, count, error) of `evaluation.calibration`.
    """
    figure, axes = _figure(figsize=(4.4, 4))
    axes.plot([0, 1], [0, 1], color="0.6", lw=1, label="honest")
    for i, (name, (certainty, accuracy, count, error)) in enumerate(curves.items()):
        axes.plot(
            certainty, accuracy, color=COLOURS[i % 7], ls=DASHES[i % 7],
            label=f"{name} (error {error:.2f})",
        )  # fmt: skip
        size = 20 + 120 * np.sqrt(count / max(np.max(count), 1))
        axes.scatter(certainty, accuracy, s=size, color=COLOURS[i % 7], marker=MARKERS[i % 7])
    axes.set(xlabel="certainty", ylabel="part that is right", xlim=(0, 1.03), ylim=(0, 1.03))
    axes.legend(fontsize=9)
    return figure


def plot_certainties(groups: dict, bins=20, title=None):
    """Histograms of certainty, one panel a group on a shared axis.

    ``groups`` maps a name to certainties (n,), 0...1.
    """
    figure, panels = _figure(
        len(groups), 1, figsize=(7, 1.1 + 1.35 * len(groups)), sharex=True, squeeze=False
    )
    for i, (axes, (name, values)) in enumerate(zip(panels[:, 0], groups.items(), strict=True)):
        axes.hist(
            values, bins=np.linspace(0, 1, bins + 1), color=COLOURS[i % 7], hatch="/.-x"[i % 4]
        )
        axes.set_title(f"{name} (n = {len(values)})", loc="left", fontsize=10)
        axes.set_ylabel("patterns")
    panels[-1, 0].set_xlabel("certainty of the answer")
    figure.suptitle(title, fontsize=11)
    return figure


def plot_verdict(scan, verdict):
    """A scan with the answer above it."""
    figure, axes = _figure(figsize=(9, 3.2))
    axes.plot(scan.two_theta, scan.intensity, lw=0.8)
    answer = " + ".join(f"{p} ({verdict.probability[p]:.2f})" for p in verdict.phases) or "none"
    axes.set(xlabel=TWO_THETA, ylabel="intensity", title=f"{verdict.name}: {answer}")
    return figure
