"""What the checks of lesson 04 say: parameters, the field of view, a baseline, another material."""

from __future__ import annotations

import numpy as np

from ..diffraction import radiation
from ..models import compact_cnn
from ..patterns import DEFAULT_GRID, min_max_scale
from ..simulation import scherrer_fwhm
from .checking import check


def tried(function, *inputs):
    """What a reader's function gives for each input; a sentence if it fails."""
    if function is ...:
        return ...
    if not callable(function):
        return f"not a function but {function!r}"
    try:
        return [... if (value := function(*each)) is None else value for each in inputs]
    except Exception as error:
        return f"an error, {type(error).__name__}: {error}"


def e1(parameters) -> None:
    """How many numbers training chooses in a convolution: ``parameters(size, channels, kernels)``.

    Weights of each kernel, size times channels, and one bias; all that for each kernel.
    """
    inputs = np.array([(9, 16, 32), (35, 1, 16), (3, 5, 7)])
    answers = tried(parameters, *inputs.tolist())
    if isinstance(answers, str):
        print(f"Not yet. Your function gives {answers}.")
        return
    size, channels, kernels = inputs.T
    slips = {
        "The biases are missing: one for each kernel.": size * channels * kernels,
        "Each kernel spans all channels, not one.": (size + 1) * kernels,
        "That is one kernel. How many are there?": size * channels + 1,
        "One bias a kernel, not one for each channel.": (size + 1) * channels * kernels,
        "One bias for each kernel, not one for all.": size * channels * kernels + 1,
    }
    hint = "Weights of one kernel, and its bias, times kernels."
    check(answers, (size * channels + 1) * kernels, slips, hint, 0, "parameters(size, ...)")


def e2(layers) -> None:
    """The compact network's layers as pairs (points spanned, step to the next), in their order.

    Right are the pairs that its Keras layers state.
    """
    right = []
    for layer in compact_cnn(DEFAULT_GRID.n_points, 5).layers:
        size = getattr(layer, "kernel_size", getattr(layer, "pool_size", None))
        if size:
            right.append((size[0], layer.strides[0]))
    try:
        pairs = [tuple(int(value) for value in pair) for pair in layers]
    except (TypeError, ValueError):
        pairs = [()]
    if any(len(pair) != 2 for pair in pairs):
        print("Each layer is a pair of two numbers: (points spanned, step to the next).")
    elif pairs == right[:1]:
        print("Add the other layers first.")
    elif pairs == right:
        print("Right.")
    elif len(pairs) != len(right):
        print(f"{len(pairs)} pairs; one averaging, three convolutions and three poolings make 7.")
    elif sorted(pairs) == sorted(right):
        print("Not yet. A pooling follows each convolution, so the order matters.")
    else:
        at = next(i for i, pair in enumerate(pairs) if pair != right[i])
        size, step = (mine == asked for mine, asked in zip(pairs[at], right[at], strict=True))
        what = "spans" if not size else "moves on by"
        print(f"Not yet. Look again at how many points layer {at + 1} {what}.")


def e3(without_background, patterns, matched) -> None:
    """A baseline that has learnt nothing: more than 0.85 of noisy patterns is a success.

    Parameters
    ----------
    without_background : from means of 0.25 degrees, (340,), to as many without background
    patterns : PatternSet to answer
    matched : the lesson's function, (patterns, fwhm, without_background) -> answers
    """
    given = min_max_scale(patterns.intensity)[0, :1700].reshape(340, 5).mean(axis=1)
    trial = tried(without_background, (given.copy(),))
    if isinstance(trial, str):
        print(f"Not yet. Your function gives {trial}.")
        return
    trial = trial[0] if trial is not ... else trial
    if trial is ... or np.shape(trial) != given.shape or not np.isfinite(trial).all():
        shape = "nothing" if trial is ... else f"the shape {np.shape(trial)}"
        print(f"It should return {len(given)} finite numbers; what comes is {shape}.")
        return
    score = np.mean(matched(patterns, 2, without_background) == patterns.labels)
    if score > 0.85:
        print(f"Right: {score:.0%} without a single training pattern.")
    elif np.allclose(trial, given):
        print(f"Not yet: {score:.0%}. It gives back what it gets.")
    else:
        left = np.median(np.abs(trial)) > 0.05
        reason = "The background is still there." if left else "Does it spoil the peaks?"
        print(f"Not yet: {score:.0%}. {reason}")


def e4(wide, together) -> None:
    """Crystallites of 8 nm, molybdenum, steps of 0.02 degrees, a line at 13.8.

    Scherrer's width in points, and how many points may become one if three are to remain across
    the width.
    """
    step, angle, size = 0.02, np.radians(13.8 / 2), 8.0
    width = scherrer_fwhm(angle, size, radiation("Mo").mean)
    copper = scherrer_fwhm(angle, size, radiation("Cu").mean)
    right = np.array([width / step, width / step / 3])
    slips = {
        "That is copper's wavelength; the tube is molybdenum.": right * copper / width,
        "The steps are 0.02 degrees here, not 0.01.": right * 2,
        "Scherrer's formula wants theta, half of the angle on the axis.": (
            right * np.cos(angle) / np.cos(2 * angle)
        ),
        "The width comes in degrees already.": np.radians(right),
    }
    if wide is not ... and together is not ... and np.ndim(together) == 0:
        together = right[1] if together == np.floor(right[1]) else together
    hint = "The width in degrees over the step; a third of that for the second number."
    check([wide, together], right, slips, hint, 0.02, "wide, together")
