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
        placed, span = [], xlim[1] - xlim[0]
        for k in lines.strongest(3 * labelled):
            angle, height = lines.two_theta[k], lines.intensity[k]
            # Labels that would lie on each other, or across a stronger line, are left out.
            near = np.abs(lines.two_theta - angle) < 0.02 * span
            hidden = np.any(near & (lines.intensity > height + 5)) or any(
                abs(angle - x) < 0.06 * span and abs(height - y) < 22 for x, y in placed
            )
            if len(placed) < labelled and not hidden and xlim[0] < angle < xlim[1]:
                placed.append((angle, height))
                axes.annotate(
                    hkl_text(lines.hkl[k]), (angle, height), xytext=(0, 2),
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
    """Unit cells, all on one scale, each seen nearly along its shortest edge.

    The most electronegative element is drawn as small circles, the others as squares inside the
    polyhedra that their neighbours form. Everything is drawn from the back to the front.
    """
    figure, axes = _figure(figsize=(9, 7))
    elements = sorted({e for p in phases for e in p.structure.elements}, key=lambda e: e.X)
    top, reach, depth = 0.0, 0.0, 0
    for start in range(0, len(phases), columns):
        left, bottom = 0.0, top
        for phase in phases[start : start + columns]:
            view = _view(phase.structure.lattice.matrix)
            polyhedra = [corners @ view for corners in _polyhedra(phase.structure)]
            corners = _CORNERS @ phase.structure.lattice.matrix @ view
            seen = np.concatenate([corners, *polyhedra])
            low, high = seen.min(axis=0), seen.max(axis=0)
            shift = np.array([left - low[0], top - high[1] - 1.5, 0])
            pieces = _cell_pieces(phase.structure, view, polyhedra, shift, elements)
            for _, piece in sorted(pieces, key=lambda item: item[0]):
                depth += 1
                piece.set_zorder(1 + depth / 1e4)
                axes.add_artist(piece)
            axes.text(left, top - 0.7, phase.name, va="center", fontweight="bold", zorder=3)
            _name_edges(axes, phase.structure.lattice.matrix @ view, corners.mean(axis=0), shift)
            left += high[0] - low[0] + 2.5
            bottom = min(bottom, top - 1.5 - (high[1] - low[1]))
        top, reach = bottom - 1.0, max(reach, left - 2.5)
    axes.plot([reach - 5, reach], [top + 0.3, top + 0.3], color="black", lw=2)
    axes.text(reach - 2.5, top + 0.1, "5 Å", ha="center", va="top")
    for i, element in enumerate(elements):
        face = _element_colour(i, len(elements))
        axes.scatter([], [], s=60 if face != COLOURS[1] else 30, color=face, edgecolor="black",
                     marker="o" if face == COLOURS[1] else "s", label=str(element))  # fmt: skip
    axes.legend(loc="lower left", ncols=len(elements), borderpad=0)
    axes.set(xlim=(-1, reach + 1), ylim=(top - 1, 0), aspect="equal")
    axes.set_axis_off()
    figure.set_size_inches(9, 9 * (1 - top) / (reach + 2))
    return figure


_CORNERS = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T


def _element_colour(i, n):
    """The most electronegative element is the last one."""
    return COLOURS[1] if i == n - 1 else COLOURS[(0, 2, 3, 5)[i % 4]]


def _view(lattice) -> np.ndarray:
    """(3, 3): Cartesian coordinates times this are to the right, up, and towards the reader."""
    lengths = np.linalg.norm(lattice, axis=1).round(3)
    right, up = np.delete(lattice, lengths.argmin(), axis=0)
    x = right / np.linalg.norm(right)
    z = np.cross(right, up)
    z /= np.linalg.norm(z)
    turn, tilt = np.radians(17), np.radians(14)
    about_y = np.array(
        [(np.cos(turn), 0, np.sin(turn)), (0, 1, 0), (-np.sin(turn), 0, np.cos(turn))]
    )
    about_x = np.array(
        [(1, 0, 0), (0, np.cos(tilt), np.sin(tilt)), (0, -np.sin(tilt), np.cos(tilt))]
    )
    return np.array([x, np.cross(z, x), z]).T @ about_y.T @ about_x


def _polyhedra(structure) -> list[np.ndarray]:
    """Corners (n, 3), Å, of the polyhedra around all atoms but the most electronegative ones."""
    anion = max(structure.elements, key=lambda element: element.X)
    polyhedra = []
    for element in set(structure.elements) - {anion}:
        for centre in _atoms_with_faces(structure, str(element)) @ structure.lattice.matrix:
            near = structure.get_sites_in_sphere(centre, 3.5)
            near = [n for n in near if anion in n.species.elements and n.nn_distance > 0.1]
            distances = np.array([n.nn_distance for n in near])
            if len(near):
                corners = np.array([n.coords for n in near])
                polyhedra.append(corners[distances < 1.35 * distances.min()])
    return polyhedra


def _cell_pieces(structure, view, polyhedra, shift, elements):
    """What a cell is drawn of: (depth, artist) pairs, deepest to be drawn first."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Circle, Polygon, RegularPolygon
    from scipy.spatial import ConvexHull, QhullError

    lattice, pieces = structure.lattice.matrix, []
    for corners in polyhedra:
        try:
            faces = ConvexHull(corners).simplices
        except (QhullError, ValueError):  # a flat or a small group is no polyhedron
            continue
        for face in corners[faces] + shift:
            lightness = 0.55 + 0.45 * abs(_normal(face)[2])
            colour = np.array([0.40, 0.66, 0.88]) * lightness
            style = {"facecolor": (*colour, 0.45), "edgecolor": (0.2, 0.3, 0.4, 0.6), "lw": 0.5}
            pieces.append((face[:, 2].mean(), Polygon(face[:, :2], **style)))
    for one in _CORNERS:
        for other in _CORNERS:
            if (other - one).sum() == 1 and np.abs(other - one).sum() == 1:
                ends = np.linspace(one, other, 15) @ lattice @ view + shift
                for a, b in zip(ends, ends[1:], strict=False):
                    line = Line2D(*np.array([a, b])[:, :2].T, color="black", lw=1.3,
                                  solid_capstyle="round")  # fmt: skip
                    pieces.append((a[2] + 0.05, line))
    for i, element in enumerate(elements):
        style = {"facecolor": _element_colour(i, len(elements)), "edgecolor": "black", "lw": 0.6}
        for x, y, z in _atoms_with_faces(structure, str(element)) @ lattice @ view + shift:
            if i == len(elements) - 1:
                atom = Circle((x, y), 0.24, **style)
            else:
                atom = RegularPolygon((x, y), 4, radius=0.46, orientation=np.pi / 4, **style)
            pieces.append((z + 0.3, atom))
    return pieces


def _normal(triangle):
    normal = np.cross(triangle[1] - triangle[0], triangle[2] - triangle[0])
    return normal / max(np.linalg.norm(normal), 1e-12)


def _name_edges(axes, edges, middle, shift):
    """Write a, b and c beside the three edges that meet at the origin."""
    for name, edge in zip("abc", edges, strict=True):
        out = (edge / 2 - middle)[:2]
        out -= out @ edge[:2] * edge[:2] / max(edge[:2] @ edge[:2], 1e-9)
        out /= max(np.linalg.norm(out), 1e-9)
        x, y = (edge / 2 + shift)[:2] + 0.45 * out
        axes.text(x, y, name, style="italic", ha="center", va="center", zorder=3,
                  bbox={"facecolor": "white", "alpha": 0.75, "pad": 0.6, "lw": 0})  # fmt: skip


def _atoms_with_faces(structure, element) -> np.ndarray:
    """Fractional coordinates of an element's atoms, those on faces drawn on both sides."""
    base = [site.frac_coords % 1 for site in structure if element in {str(s) for s in site.species}]
    if not base:
        return np.zeros((0, 3))
    atoms = (np.array(base).reshape(-1, 1, 3) + _CORNERS).reshape(-1, 3)
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
    axes.set(xlabel=TWO_THETA, ylabel="intensity")
    axes.set_title(_title(verdict), parse_math=False)
    return figure


def _title(verdict) -> str:
    # Drawn with parse_math=False: dollar signs in a file's name would make a formula of it.
    return f"{verdict.name}: {verdict.answer}"


def plot_bragg(d_spacing: float, wavelength: float, angles):
    """Two rays reflected by two planes, to scale, one panel for each angle theta.

    The path that the lower ray has more than the upper one, 2 d sin(theta), is drawn thick. Thin
    dashed lines run from the crests of the upper wave square to its ray: where they meet crests of
    the lower wave, too, the two rays are in step.

    Parameters
    ----------
    d_spacing, wavelength : Å
    angles : theta in degrees, one or more
    """
    figure, panels = _figure(1, len(angles), figsize=(5.2 * len(angles), 3.6), squeeze=False)
    reach = 4.3 * wavelength
    for axes, angle in zip(panels[0], angles, strict=True):
        sine, cosine = np.sin(np.radians(angle)), np.cos(np.radians(angle))
        extra = d_spacing * sine  # of path, on either side of the lower plane
        for row, height in enumerate((0, -d_spacing)):
            axes.axhline(height, color="0.85", lw=1, zorder=0)
            axes.plot(np.arange(-9, 10) * 1.5, np.full(19, height), "o", color="0.75", ms=5)
            for side in (-1, 1):
                way = side * np.linspace(0, reach, 600)
                ray = np.array([way * cosine, side * way * sine + height])
                wave = 0.25 * np.cos(2 * np.pi * (way + row * extra) / wavelength)
                axes.plot(*ray, color=COLOURS[row], lw=0.5)
                axes.plot(*(ray + wave * np.array([[-side * sine], [cosine]])),
                          color=COLOURS[row], lw=(1.4, 2)[row], ls=DASHES[row])  # fmt: skip
        for side in (-1, 1):
            foot = np.array([side * extra * cosine, extra * sine - d_spacing])
            axes.plot(*zip((0, -d_spacing), foot, strict=True), color="black", lw=4, zorder=3)
            for crest in np.arange(4) * wavelength:
                start = crest * np.array([side * cosine, sine])
                axes.plot(*zip(start, start + foot, strict=True), color="0.4", lw=0.8, ls="--")
        path = 2 * extra
        axes.set_title(
            f"theta = {angle:.1f}°: 2 d sin(theta) = {path:.2f} Å\n"
            f"= {path / wavelength:.2f} wavelengths"
        )
        at = -0.9 * reach
        axes.annotate("", (at, 0), (at, -d_spacing), arrowprops={"arrowstyle": "<->"})
        axes.text(at + 0.15, -1.17 * d_spacing, f"d = {d_spacing:g} Å", va="center")
        axes.text(0.02, 1, "in →", transform=axes.transAxes, va="top")
        axes.text(0.98, 1, "out →", transform=axes.transAxes, va="top", ha="right")
        axes.set(xlabel="along the planes (Å)", ylabel="height (Å)", aspect="equal")
        axes.set(xlim=(-reach, reach), ylim=(-1.3 * d_spacing, 0.55 * reach))
    return figure


def plot_groups(two_theta, groups: dict, xlim=None, columns: int = 2):
    """Small multiples: one panel a group, its curves one above the other with their names.

    Parameters
    ----------
    two_theta : float, (points,), degrees
    groups : title -> {name -> intensity (points,)}; each curve is scaled to its own range
    """
    rows = -(-len(groups) // columns)
    figure, panels = _figure(
        rows, columns, figsize=(5 * columns, 0.5 + 3 * rows), sharex=True, squeeze=False
    )
    low, high = xlim or (two_theta[0], two_theta[-1])
    seen = (two_theta >= low) & (two_theta <= high)
    for axes, (title, curves) in zip(panels.flat, groups.items(), strict=False):
        for i, (name, values) in enumerate(curves.items()):
            base = len(curves) - 1 - i
            colour = COLOURS[i % 7]
            axes.plot(two_theta[seen], base + 0.85 * _stretch(values[seen]), color=colour, lw=1)
            axes.annotate(
                name, (1, base + 0.05), xycoords=("axes fraction", "data"), xytext=(4, 0),
                textcoords="offset points", color=colour, fontsize=9,
            )  # fmt: skip
        axes.set(title=title, yticks=[], xlim=(low, high))
    for axes in panels.flat[len(groups) :]:
        axes.set_axis_off()
    for axes in panels[-1]:
        axes.set_xlabel(TWO_THETA)
    figure.supylabel(INTENSITY, fontsize=11)
    return figure


def plot_windows(two_theta, curves: dict, windows, ylabel="intensity (counts)", title=None):
    """Curves one under the other, a column for each window of angles, on one intensity scale.

    The intensity axis is a square root: counting noise then has the same height everywhere, and a
    weak background shows beside strong peaks.

    Parameters
    ----------
    two_theta : (points,), degrees
    curves : name -> intensity (points,), 0 or more
    windows : (first, last) angle of each column, degrees; the first column is the widest
    """
    widths = (2.2,) + (1,) * (len(windows) - 1)
    figure, panels = _figure(
        len(curves), len(windows), figsize=(9.5, 0.8 + 1.15 * len(curves)), sharex="col",
        sharey=True, squeeze=False, width_ratios=widths,
    )  # fmt: skip
    top = 1.1 * max(np.max(values) for values in curves.values())
    roots = (lambda v: np.sqrt(np.maximum(v, 0)), np.square)
    ticks = [t for t in (10, 100, 500, 1000, 2000, 5000, 10_000, 20_000) if t < top]
    ticks = ticks[:2] + ticks[2:][-1:]
    for row, (name, values) in enumerate(curves.items()):
        for axes, (low, high) in zip(panels[row], windows, strict=True):
            seen = (two_theta >= low) & (two_theta <= high)
            colour, width = COLOURS[row % len(COLOURS)], 0.9 if high - low < 10 else 0.5
            axes.plot(two_theta[seen], values[seen], color=colour, lw=width)
            axes.set_yscale("function", functions=roots)
            axes.set(xlim=(low, high), ylim=(0, top), yticks=ticks)
            axes.minorticks_off()
        panels[row, 0].set_title(name, loc="right", fontsize=10, pad=-9, color=colour)
    for axes in panels[-1]:
        axes.set_xlabel(TWO_THETA)
    figure.supylabel(ylabel, fontsize=11)
    figure.suptitle(title, fontsize=11)
    return figure


def plot_responses(two_theta, intensity, responses: dict, kernels: dict, step: float):
    """A pattern, and under it what each kernel makes of it, the kernel on the same scale beside.

    Parameters
    ----------
    two_theta, intensity : (points,), degrees and any unit
    responses : name -> (points,)
    kernels : name -> (size,), the same names; drawn to the pattern's scale of angles
    step : degrees from one point to the next
    """
    figure, panels = _figure(
        len(responses) + 1, 2, figsize=(9, 1.5 * len(responses) + 1.9), sharex="col",
        width_ratios=(1, 4),
    )  # fmt: skip
    panels[0, 0].set_axis_off()
    panels[0, 1].plot(two_theta, intensity, color="0.3", lw=0.8)
    panels[0, 1].set_title("the pattern", loc="left")
    for i, ((left, right), (name, values)) in enumerate(
        zip(panels[1:], responses.items(), strict=True)
    ):
        offset = (np.arange(len(kernels[name])) - (len(kernels[name]) - 1) / 2) * step
        left.axhline(0, color="0.8", lw=0.8)
        left.vlines(offset, 0, kernels[name], color=COLOURS[i % 7], lw=1.5)
        left.set(ylabel="weight")
        right.axhline(0, color="0.8", lw=0.8)
        right.plot(two_theta, values, color=COLOURS[i % 7])
        right.set_title(f"after the {name} kernel", loc="left")
    for axes in panels[:, 1]:
        axes.set(ylabel="counts")
    figure.align_ylabels()
    panels[-1, 0].set(xlabel="offset (degrees)")
    panels[-1, 1].set(xlabel=TWO_THETA, xlim=(two_theta[0], two_theta[-1]))
    return figure


def plot_layers(networks: dict):
    """Networks as rows of blocks, read from left to right.

    A block is as high as the logarithm of its number of points and as wide as its number of
    channels; blocks of layers with parameters are hatched.

    ``networks`` maps a name to rows of (layer, output shape without the batch, parameters).
    """
    figure, rows = _figure(len(networks), 1, figsize=(10.5, 3.2 * len(networks)), squeeze=False)
    for axes, (name, layers) in zip(rows[:, 0], networks.items(), strict=True):
        for x, (layer, shape, parameters) in enumerate(layers):
            height, channels = np.log10(shape[0]), shape[1] if len(shape) > 1 else 1
            width = 0.16 + 0.018 * channels
            axes.bar(
                x, height, width, color=COLOURS[6] if parameters else "0.85", edgecolor="black",
                hatch="//" if parameters else None, lw=0.8,
            )  # fmt: skip
            axes.text(x, height + 0.12, " × ".join(map(str, shape)), ha="center", fontsize=9)
            note = f"{layer}\n{parameters:,}" if parameters else layer
            axes.text(x, -0.12, note, ha="center", va="top", fontsize=9)
        axes.set(ylim=(-1.1, 4.7), xlim=(-0.6, len(layers) - 0.4), xticks=[], yticks=[])
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.set_title(name, loc="left")
    return figure


def plot_finding(finding):
    """A scan above its background, the patterns fitted under it, and the peaks that remain.

    ``finding`` is a `findings.Finding`.
    """
    two_theta = finding.two_theta
    figure, (top, bottom) = _figure(2, 1, figsize=(9, 4.6), sharex=True, height_ratios=(2, 1))
    top.plot(two_theta, finding.signal, color="0.45", lw=0.8, label="scan")
    for i, (name, pattern) in enumerate(finding.fitted.items()):
        top.plot(two_theta, pattern, color=COLOURS[i % 7], ls=DASHES[i % 7], label=name)
    top.set(ylabel=INTENSITY)
    top.set_title(_title(finding), parse_math=False)
    top.legend(loc="upper right")
    bottom.axhline(0, color="0.8", lw=0.8)
    bottom.plot(two_theta, finding.remaining, color="0.2", lw=0.7)
    bottom.set(xlabel=TWO_THETA, ylabel="remaining")
    return figure


def plot_detection(fractions, found: dict):
    """Detection curves: the part of samples in which a phase is found, against its weight.

    ``fractions`` (n,) are parts by weight, 0 to 1; ``found`` maps a name to parts found (n,). Half
    and nine tenths, where detection limits are read off, are marked.
    """
    figure, axes = _figure(figsize=(7.5, 3.8))
    percent = 100 * np.asarray(fractions)
    for level in (0.5, 0.9):
        axes.axhline(level, color="0.8", lw=0.8, zorder=0)
    for i, (name, parts) in enumerate(found.items()):
        style = {"color": COLOURS[i % 7], "ls": DASHES[i % 7], "marker": MARKERS[i % 7]}
        axes.plot(percent, parts, ms=5, label=name, **style)
    axes.set_xscale("log")
    axes.set_xticks(percent, [f"{p:g}" for p in percent])
    axes.minorticks_off()
    axes.set(xlabel="part by weight (%)", ylabel="part of samples\nin which it is found")
    axes.set(ylim=(-0.03, 1.05), yticks=[0, 0.5, 0.9, 1])
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure
