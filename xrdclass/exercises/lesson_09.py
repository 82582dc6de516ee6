"""The checks of lesson 09."""

from __future__ import annotations

import numpy as np

from ..identify.refinement import refine
from .checking import check, unusable


def e1(anatase_part, ratio) -> None:
    """Anatase's part by weight of areas 200 : 100; ``ratio`` of the strongest lines of a gram."""
    right = 200 / ratio / (200 / ratio + 100)
    slips = {
        "That is the part of the areas. A gram of anatase has the larger line.": 2 / 3,
        "That is rutile's part.": 1 - right,
        "Divide an area by that of one gram; do not multiply.": 2 * ratio / (2 * ratio + 1),
        "That looks like per cent: as a part of 1, please.": 100 * right,
        "That is the ratio of the two weights, not anatase's part of both.": 2 / ratio,
    }
    hint = "Divide each area by that of one gram, then take parts."
    check(anatase_part, right, slips, hint, name="anatase_part")


def e2(my_weights, fit) -> None:
    """Weights by Hill and Howard's formula from a fit's scale factors."""
    phases = list(fit.phases.values())
    right = np.array([phase.weight_percent for phase in phases]) / 100
    scale = np.array([phase.scale for phase in phases])
    only_scale = scale / scale.sum()
    per_volume = right / [phase.cell[:3].prod() for phase in phases]
    slips = {
        "Those are the scale factors alone; M and V are missing.": only_scale,
        "One V is missing: M V is the density times the volume squared.": per_volume
        / per_volume.sum(),
        "That looks like per cent: as parts of 1, please.": 100 * right,
    }
    hint = "S M V of each phase, over their sum; do the three add up to 1?"
    check(my_weights, right, slips, hint, 0.02, "my_weights")


def e3(displacement) -> None:
    """The displacement in mm that shifts lines by 0.05 degrees at 36 degrees, R = 145 mm."""
    half, shift = np.radians(36 / 2), np.radians(0.05)
    right = 145 * shift / (2 * np.cos(half))
    slips = {
        "The size is right; mind the sign: a sample too high moves lines to larger angles.": -right,
        "That is in metres.": right / 1000,
        "The 2 below the line is missing.": 2 * right,
        "theta is half of 36 degrees.": 145 * shift / (2 * np.cos(2 * half)),
        "The cosine got degrees; NumPy wants radians.": 145 * shift / (2 * np.cos(18)),
        "A shift in degrees has to become radians first.": 145 * 0.05 / (2 * np.cos(half)),
    }
    hint = "s = R * shift / (2 cos(theta)), with R in mm."
    check(displacement, right, slips, hint, 0.02, "displacement")


def e4(quartz, low, high, limestone, pair) -> None:
    """Quartz in limestone with its 95 % interval, as the fit of both phases gives it."""
    if problem := unusable(quartz=quartz, low=low, high=high):
        print(problem)
        return
    found = refine(limestone, pair).phases["quartz"]
    right, error = found.weight_percent, found.weight_error
    if np.isclose(quartz, 100 - right, rtol=0.02):
        print("Not yet. That is calcite's part.")
    elif np.isclose(quartz, right / 100, rtol=0.02):
        print("Not yet. In per cent, please.")
    elif not np.isclose(quartz, right, rtol=0.02):
        print("Not yet. Are both phases in the fit, and is it the weight of quartz?")
    elif np.allclose([low, high], [right - error, right + error], rtol=0.02):
        print("Not yet. One standard error holds two samples of three; 95 % want 1.96 of them.")
    elif not np.allclose([low, high], [right - 1.96 * error, right + 1.96 * error], rtol=0.03):
        print("Not yet. The interval reaches 1.96 standard errors to both sides.")
    else:
        print("Right. Did you say 'of the crystalline phases'?")
