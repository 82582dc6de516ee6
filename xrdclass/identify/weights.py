"""The patterns of the phases found, fitted to a scan all together, and their parts by weight."""

from __future__ import annotations

from functools import cache

import numpy as np

from .background import TWO_THETA
from .second_opinion import Opinion, SmoothedScan, draw_lines

#: Peak widths and shifts that are tried when phases are fitted to a scan, degrees.
FITTED_WIDTHS = (0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.56, 0.8, 1.1, 1.6, 2.3)
FITTED_SHIFTS = (-0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06)
#: Peak widths of a sample's phases differ by at most this factor: fitted freely, a weak phase would
#: grow broad, own the tails of a strong one's peaks, and get a mass many times too large.
WIDTH_RATIO = 3.0
#: Straight pieces between so many points make up what the background's estimate has left.
BACKGROUND_NODES = 12


def share_signal(scan: SmoothedScan, opinions: dict[int, Opinion]):
    """Fit the patterns of the phases found to a scan, all together.

    Non-negative least squares; each phase has its own peak width and a shift of less than two
    steps, tried one after the other. The phase that explains most alone comes first. At the end a
    smooth background, positive or negative, is fitted beside them: what clipping has left of it
    would else count as peaks, above all for a phase with many lines.

    Returns
    -------
    patterns : {label: float (N_POINTS,)}, each phase's part of the signal
    areas : {label: area of the strongest line, degrees}
    """
    from scipy.optimize import nnls

    signal, background = scan.signal, _background_shapes()
    columns, shapes = {}, {}

    def fit(with_background=False):
        matrix = np.stack(list(columns.values()), axis=1)
        inside = scan.covered & (matrix.max(axis=1) > 0.01 * matrix.max())
        both = np.column_stack([matrix, signal])[inside]
        if with_background:  # least squares on what no background explains fits both at once
            base = background[inside]
            square = base.T @ base + 1e-6 * np.eye(base.shape[1])
            both = both - base @ np.linalg.solve(square, base.T @ both)
        scale, misfit = nnls(both[:, :-1], both[:, -1])
        # Points outside count too: a wider peak must not win by taking in fewer of them.
        return scale, misfit**2 + (signal[scan.covered & ~inside] ** 2).sum()

    def choose(label, candidates):
        tried = []
        for shape in candidates:
            columns[label] = draw_lines(opinions[label], *shape)
            tried.append((fit()[1], shape))
        misfit, shapes[label] = min(tried)
        columns[label] = draw_lines(opinions[label], *shapes[label])
        return misfit

    alone = {}
    for label in opinions:
        columns.clear()
        alone[label] = choose(label, [(width, 0.0) for width in FITTED_WIDTHS])
    columns.clear()
    order = sorted(alone, key=alone.get)

    def near(label):
        first = shapes[order[0]][0]
        limits = (0, np.inf) if label == order[0] else (first / WIDTH_RATIO, first * WIDTH_RATIO)
        return [width for width in FITTED_WIDTHS if limits[0] <= width <= limits[1]]

    for label in order:
        if label != order[0]:
            choose(label, [(width, 0.0) for width in near(label)])
        choose(label, [(shapes[label][0], shift) for shift in FITTED_SHIFTS])
    for label in order if len(order) > 1 else ():
        # A width that was chosen before the other phases took their peaks may be too large.
        choose(label, [(width, shapes[label][1]) for width in near(label)])
    scale = fit(with_background=True)[0] if order else []
    areas = {i: float(s) for i, s in zip(order, scale, strict=True)}
    return {i: areas[i] * columns[i] for i in sorted(order)}, areas


@cache
def _background_shapes() -> np.ndarray:
    nodes = np.linspace(TWO_THETA[0], TWO_THETA[-1], BACKGROUND_NODES)
    rows = [np.interp(TWO_THETA, nodes, row) for row in np.eye(BACKGROUND_NODES)]
    return np.stack(rows, axis=1)
