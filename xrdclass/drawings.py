"""The illustrations of the lessons: unit cells, Bragg's law, an instrument, kernels, layers."""

from __future__ import annotations

import itertools

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.patches import Arc

from .plots import COLOURS, DASHES, TWO_THETA, new_figure

_CORNERS = np.array(list(itertools.product((0, 1), repeat=3)))
_TURN = np.linspace(0, 2 * np.pi, 25)
#: Outlines in Å, towards the reader: circles for the anions, squares for the other atoms.
_CIRCLE = 0.2 * np.array([np.cos(_TURN), np.sin(_TURN), 0 * _TURN]).T
_SQUARE = 0.26 * np.array([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)])
_SHARED = "#F0E442"  # the yellow of Okabe & Ito


def plot_cells(phases):
    """Unit cells, three a row, all on one scale, each seen nearly along its shortest edge.

    The most electronegative element is drawn as circles, the others as squares inside the
    polyhedra that their neighbours form. An edge that two polyhedra share is drawn thick.
    """
    figure, axes = new_figure()
    elements = sorted({e for p in phases for e in p.structure.elements}, key=lambda e: -e.X)
    colours = {element: COLOURS[(1, 0, 2, 3, 6)[i % 5]] for i, element in enumerate(elements)}
    left = right = top = bottom = 0.0
    for i, phase in enumerate(phases):
        if i % 3 == 0:
            left, top = 0.0, bottom - 1.6
        view = _view(phase.structure.lattice.matrix)
        pieces = _pieces(phase.structure, view, colours)
        points = np.concatenate([outline for outline, *_ in pieces])
        low, high = points.min(axis=0), points.max(axis=0)
        shift = np.array([left - low[0], top - high[1], 0])
        pieces.sort(key=lambda piece: piece[0][:, 2].mean() + piece[4])  # the deepest come first
        outlines, faces, edges, widths, _ = zip(*pieces, strict=True)
        outlines = [(outline + shift)[:, :2] for outline in outlines]
        look = {"facecolors": faces, "edgecolors": edges, "linewidths": widths}
        axes.add_collection(PolyCollection(outlines, **look))
        axes.text(left, top + 0.5, phase.name, fontweight="bold")
        for name, edge in zip("abc", phase.structure.lattice.matrix @ view, strict=True):
            axes.text(*(edge / 2 + shift)[:2], name, style="italic", ha="center", va="center",
                      bbox={"facecolor": "white", "alpha": 0.8, "pad": 0.6, "lw": 0})  # fmt: skip
        left += high[0] - low[0] + 2
        right, bottom = max(right, left - 2), min(bottom, top - high[1] + low[1])
    for element in elements:
        marker = "o" if element == elements[0] else "s"
        axes.plot([], [], marker, color=colours[element], mec="black", label=str(element))
    axes.plot([], [], color=_SHARED, lw=3, label="edge that two polyhedra share")
    axes.plot([right - 5, right], 2 * [bottom - 1], color="black", lw=2)
    axes.text(right - 2.5, bottom - 1.2, "5 Å", ha="center", va="top")
    axes.legend(loc="lower left", ncols=4, borderpad=0, handlelength=1)
    axes.set(xlim=(-0.5, right + 0.5), ylim=(bottom - 2.2, 0), aspect="equal")
    axes.set_axis_off()
    figure.set_size_inches(9, 9 * (2.2 - bottom) / (right + 1))
    return figure


def _view(lattice) -> np.ndarray:
    """(3, 3): Cartesian coordinates times this are to the right, up, and towards the reader."""
    from scipy.spatial.transform import Rotation

    right, up = np.delete(lattice, np.linalg.norm(lattice, axis=1).round(3).argmin(), axis=0)
    x, z = right / np.linalg.norm(right), np.cross(right, up)
    z /= np.linalg.norm(z)
    turned = Rotation.from_euler("yx", (17, -14), degrees=True).as_matrix()
    return np.array([x, np.cross(z, x), z]).T @ turned.T


def _pieces(structure, view, colours) -> list:
    """What a cell is drawn of: (outline (n, 3) as seen in Å, face, edge, line width, lift).

    Pieces are lifted towards the reader by so many Å, to lie above what they belong to.
    """
    from scipy.spatial import ConvexHull

    lattice, anion = structure.lattice.matrix, max(structure.elements, key=lambda e: e.X)
    pieces, polyhedra, anions = [], [], {}
    for site in structure:
        places = site.frac_coords % 1 + _CORNERS  # atoms on faces stand on both sides
        element = site.species.elements[0]
        for centre in places[(places < 1 + 1e-6).all(axis=1)] @ lattice:
            if element == anion:
                anions[tuple(centre.round(2))] = centre
                continue
            pieces.append((centre @ view + _SQUARE, colours[element], "black", 0.6, 1.6))
            near = [n for n in structure.get_sites_in_sphere(centre, 3.5) if anion in n.species]
            reach = 1.35 * min((n.nn_distance for n in near), default=0)
            corners = {tuple(n.coords.round(2)): n.coords for n in near if n.nn_distance < reach}
            anions |= corners
            if len(corners) > 3:
                polyhedra.append(set(corners))
                outline = np.array(list(corners.values())) @ view
                for face in outline[ConvexHull(outline, qhull_options="QJ").simplices]:
                    normal = np.cross(face[1] - face[0], face[2] - face[0])
                    light = 0.5 + 0.5 * abs(normal[2]) / np.linalg.norm(normal)
                    colour = (*(np.array([0.42, 0.70, 0.92]) * light), 0.5)
                    pieces.append((face, colour, (0.2, 0.3, 0.4, 0.7), 0.5, 0.0))
    for one, other in itertools.combinations(polyhedra, 2):
        for ends in itertools.combinations(one & other, 2):
            pieces.append((np.array(ends) @ view, "none", "black", 4.2, 1.5))
            pieces.append((np.array(ends) @ view, "none", _SHARED, 2.8, 1.51))
    for place in anions.values():
        pieces.append((place @ view + _CIRCLE, colours[anion], "black", 0.6, 1.6))
    for one, other in itertools.combinations(_CORNERS, 2):
        if np.abs(other - one).sum() == 1:
            ends = np.linspace(one, other, 15) @ lattice @ view
            pieces += [(part, "none", "0.25", 1.0, 0.05) for part in itertools.pairwise(ends)]
    return [(np.array(outline), *rest) for outline, *rest in pieces]


def plot_bragg(d_spacing: float, wavelength: float, angles):
    """Two rays reflected by two planes, to scale (Å), one panel for each of the angles (degrees).

    The lower ray's way is longer by d sin(theta) before the lower plane and by as much behind it:
    both parts are drawn thick. Dashed lines run square to the rays from the crests of the upper
    wave: where they meet crests of the lower wave, too, the two rays are in step.
    """
    figure, panels = new_figure(1, len(angles), figsize=(5.2 * len(angles), 3.9), squeeze=False)
    reach = 3.4 * wavelength
    for axes, angle in zip(panels[0], angles, strict=True):
        sine, cosine = np.sin(np.radians(angle)), np.cos(np.radians(angle))
        half = d_spacing * sine
        for height in (0, -d_spacing):
            axes.axhline(height, color="0.85", lw=1, zorder=0)
            axes.plot(np.arange(-9, 10) * 1.5, np.full(19, height), "o", color="0.75", ms=5)
        for row, side in itertools.product((0, 1), (-1, 1)):
            along, across = np.array([[side * cosine, sine], [-side * sine, cosine]])
            way = np.linspace(0, 1.3 * reach, 800)[:, None]
            wave = 0.2 * np.cos(2 * np.pi * (side * way + row * half) / wavelength)
            ray = way * along - (0, row * d_spacing)
            axes.plot(*ray.T, color=COLOURS[row], lw=0.5)
            axes.plot(*(ray + wave * across).T, color=COLOURS[row], lw=1.4, ls=DASHES[row])
        for side in (-1, 1):
            along = np.array([side * cosine, sine])
            foot = half * along - (0, d_spacing)
            axes.plot(*np.transpose([(0, -d_spacing), foot]), color="black", lw=4, zorder=3)
            for crest in np.arange(4)[:, None] * wavelength * along:
                axes.plot(*np.transpose([crest, crest + foot]), color="0.4", lw=0.8, ls="--")
            axes.annotate("d sin θ", (foot - (0, d_spacing)) / 2, (2 * side, -1.6 * d_spacing),
                          ha="center", arrowprops={"arrowstyle": "-", "lw": 0.7})  # fmt: skip
        axes.plot([0, 0], [0, -d_spacing], color="black", lw=0.8)
        axes.text(-0.12, -0.5 * d_spacing, f"d = {d_spacing:g} Å", ha="right")
        for at, size, start in ((0, 3.2, 180 - angle), (0, 1.3 * d_spacing, 270)):
            axes.add_patch(Arc((0, at), size, size, theta1=start, theta2=start + angle))
        axes.text(-1.9 * np.cos(np.radians(angle / 2)), 0.1, "θ", ha="right")
        axes.text(0.45 * half, -0.7 * d_spacing, "θ", ha="center", va="top")
        path = f"2 d sin θ = {2 * half:.2f} Å\n= {2 * half / wavelength:.2f} wavelengths"
        axes.set_title(f"θ = {angle:.1f}°: {path} of {wavelength:g} Å")
        axes.text(0.1 - reach, 0.6 * reach, "in →", va="top")
        axes.text(reach, 0.6 * reach, "out →", va="top", ha="right")
        axes.set(xlabel="along the planes (Å)", ylabel="height (Å)", aspect="equal")
        axes.set(xlim=(-reach, reach), ylim=(-1.75 * d_spacing, 0.6 * reach))
    return figure


def plot_diffractometer(theta: float, height: float = 0.0):
    """A diffractometer from the side: beam, sample, detector, and the angles theta and 2 theta.

    ``theta`` is in degrees, ``height``, of the sample's surface above the axis, in radii of the
    circle. Above it the beam meets the sample early, and what it reflects runs beside the dashed
    way that leads to the right angle.
    """
    figure, axes = new_figure(figsize=(8, 3.6))
    sine, cosine = np.sin(np.radians(theta)), np.cos(np.radians(theta))
    out, tube = np.array([cosine, sine]), np.array([-cosine, sine])
    meets = np.array([-height * cosine / sine, height])
    along = np.sqrt(1 - meets @ meets + (meets @ out) ** 2) - meets @ out  # as far as the circle
    detector = meets + along * out
    axes.add_patch(Arc((0, 0), 2, 2, theta1=-25, theta2=205, color="0.6", ls=":"))
    axes.plot(0, 0, "+", color="black", ms=12)
    if height:
        axes.plot(*np.transpose([(0, 0), out]), color="0.5", lw=1, ls="--")
    axes.fill_between([-0.3, 0.3], height - 0.06, height, color="0.75", zorder=0)
    axes.text(-0.32, height - 0.05, "sample", ha="right", va="top")
    for i, (start, end) in enumerate(((tube, meets), (meets, detector))):
        axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": COLOURS[i], "lw": 2})
    axes.plot(*np.transpose([meets, meets + 0.6 * (meets - tube)]), color=COLOURS[0], ls=":")
    for name, place, marker, side in (("tube", tube, "s", -1), ("detector", detector, "D", 1)):
        axes.plot(*place, marker, color="black", ms=9)
        axes.text(*(place * 1.06), name, ha="right" if side < 0 else "left", va="bottom")
    for size, first, last, name in ((0.7, 180 - theta, 180, "θ"), (0.9, -theta, theta, "2θ")):
        middle = np.radians((first + last) / 2)
        axes.add_patch(Arc(meets, size, size, theta1=first, theta2=last))
        axes.text(*(meets + 0.57 * size * np.array([np.cos(middle), np.sin(middle)])), name,
                  ha="center", va="center")  # fmt: skip
    axes.set(xlim=(-1.35, 1.35), ylim=(-0.45, 1.08), aspect="equal")
    axes.set_axis_off()
    return figure


def plot_responses(two_theta, intensity, responses: dict, kernels: dict, step: float):
    """A pattern, and under it what each kernel makes of it, with the kernel beside.

    ``responses`` are name -> (points,), ``kernels``, of the same names, name -> (size,), drawn to
    ``step``, the degrees from one point of the pattern to the next.
    """
    n = len(responses) + 1
    size = (9, 1.5 * n + 0.4)
    figure, panels = new_figure(n, 2, figsize=size, sharex="col", width_ratios=(1, 4))
    panels[0, 0].set_axis_off()
    panels[0, 1].plot(two_theta, intensity, color="0.3", lw=0.8)
    panels[0, 1].set_title("the pattern", loc="left")
    for i, ((left, right), name) in enumerate(zip(panels[1:], responses, strict=True)):
        offset = (np.arange(len(kernels[name])) - (len(kernels[name]) - 1) / 2) * step
        left.vlines(offset, 0, kernels[name], color=COLOURS[i % 7], lw=1.5)
        right.plot(two_theta, responses[name], color=COLOURS[i % 7])
        right.set_title(f"after the {name} kernel", loc="left")
        left.set_ylabel("weight")
    for axes in panels.flat:
        axes.axhline(0, color="0.8", lw=0.8, zorder=0)
    for axes in panels[:, 1]:
        axes.set(ylabel="counts", xlim=(two_theta[0], two_theta[-1]))
    left.set_xlabel("offset (degrees)")
    right.set_xlabel(TWO_THETA)
    figure.align_ylabels()
    return figure


def plot_layers(networks: dict):
    """Keras networks as rows of blocks, read from left to right.

    A block is as high as the logarithm of its number of points and as wide as the root of its
    number of channels; blocks of layers with parameters are hatched. Under each stand its layer,
    the size of its kernel or window, and the number of its parameters.
    """
    figure, rows = new_figure(len(networks), 1, figsize=(10.5, 3.2 * len(networks)), squeeze=False)
    for axes, (name, network) in zip(rows[:, 0], networks.items(), strict=True):
        blocks = [("pattern", network.input_shape[1:], 0)]
        for layer in network.layers:
            kind = type(layer).__name__.removesuffix("1D").replace("Pooling", "").lower()
            size = getattr(layer, "kernel_size", getattr(layer, "pool_size", ("",)))[0]
            blocks.append((f"{kind} {size}", layer.output.shape[1:], layer.count_params()))
        for x, (label, shape, parameters) in enumerate(blocks):
            height, channels = np.log10(shape[0]), shape[1] if len(shape) > 1 else 1
            style = {"color": COLOURS[6], "hatch": "//"} if parameters else {"color": "0.85"}
            axes.bar(x, height, 0.1 * channels**0.5, edgecolor="black", lw=0.8, **style)
            axes.text(x, height + 0.12, " × ".join(map(str, shape)), ha="center", fontsize=9)
            note = f"{label}\n{parameters:,}" if parameters else label
            axes.text(x, -0.12, note, ha="center", va="top", fontsize=9)
        axes.set(ylim=(-1.1, 4.7), xlim=(-0.6, len(blocks) - 0.4), xticks=[], yticks=[])
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.set_title(name, loc="left", fontweight="bold")
    return figure
