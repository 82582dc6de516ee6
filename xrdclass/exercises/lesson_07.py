"""The checks of lesson 07."""

from __future__ import annotations

import numpy as np

from ..diffraction import convert_two_theta, lines, radiation
from ..noise import add_noise
from ..phases import MINERALS_FOLDER, load_phases
from ..simulation import Variation, simulate
from .checking import check, unusable


def e1(smallest, lead) -> None:
    """The least certainty of five, and the lead of one sum over four equal ones for 0.9."""
    of_smallest = {
        "A certainty of 0 for all five? Together they make 1.": 0,
        "Two phases that share everything give 0.5. There are five.": 0.5,
        "1 is the largest that it can state.": 1,
        "That looks like per cent: as a part of 1, please.": 20,
    }
    of_lead = {
        "That is against one other phase. There are four.": np.log(9),
        "There are four others, not five.": np.log(45),
        "That is the ratio of the exponentials; the lead is its logarithm.": 36,
        "Softmax takes powers of e: the natural logarithm.": np.log10(36),
        "That leads to 0.9 of the others; 0.9 of all is asked for.": np.log(4 * 0.9),
    }
    if problem := unusable(smallest=smallest, lead=lead):
        print(problem)
    elif not np.isclose(smallest, 0.2, rtol=0.01):
        hint = "Of five numbers with the sum 1, how large is the largest at least?"
        check(smallest, 0.2, of_smallest, hint, name="smallest")
    else:
        hint = "e^lead / (e^lead + 4) = 0.9: solve it, or try leads one after another."
        check(lead, np.log(36), of_lead, hint, 0.02, "lead")


def e2(passed, certainty) -> None:
    """The part of the other crystals above the threshold that 95 % of the TiO2 pass."""
    own, strange = certainty["TiO2, simulated"], certainty["other crystals, simulated"]
    threshold = np.quantile(own, 0.05)
    right = (strange > threshold).mean()
    slips = {
        "That is the threshold itself. Which part of the other crystals lies above it?": threshold,
        "That is the part that is rejected.": 1 - right,
        "That looks like per cent: as a part of 1, please.": 100 * right,
        "That is a number of patterns, not a part of them.": right * len(strange),
        "A threshold of 0.95 on the certainty is another thing.": (strange > 0.95).mean(),
        "That lets 5 % of the TiO2 pass, not 95 %.": (strange > np.quantile(own, 0.95)).mean(),
        "So many of the TiO2 pass. The threshold is theirs, the part is the others'.": 0.95,
    }
    check(passed, right, slips, "Is the threshold what 95 % of the TiO2 exceed?", 0.02, "passed")


def e3(strict, classifier) -> None:
    """A network trained with strain up to 0.5 %: right without shift, worse with 1.5 degrees."""
    if strict is ...:
        print("Replace the dots first: strict is no network yet.")
        return
    if strict is classifier:
        print("Not yet. That is the lesson's network; train one of your own.")
        return
    if not hasattr(strict, "predict") or getattr(strict, "grid", None) != classifier.grid:
        print("strict should be what fit(...) returns, trained on patterns of the lesson's grid.")
        return

    def hits(network, shift):
        ranges = Variation(strain=0.005, zero_shift=(shift, shift))
        test = add_noise(simulate(load_phases(), 20, ranges, classifier.grid, seed=11), seed=42)
        return int((network.predict(test.intensity).argmax(axis=1) == test.labels).sum())

    mine, old = (hits(network, -1.5) + hits(network, 1.5) for network in (strict, classifier))
    if hits(strict, 0) < 90:
        print("Not yet. Yours is often wrong without a shift, too. Did its training have noise?")
    elif mine > old - 30:
        print("Not yet. Yours forgives as much as the lesson's. Was it trained with strain=0.005?")
    else:
        print(f"Right. Shifted by 1.5 degrees, yours names {mine} of 200, the lesson's {old}.")


def e4(low, high, strongest) -> None:
    """The range that a cobalt scan needs for copper's 20 to 60 degrees; hematite's first line."""
    hematite = lines(next(p for p in load_phases(MINERALS_FOLDER) if p.name == "hematite"))
    line = hematite.two_theta[hematite.strongest(1)]
    copper = np.array([20.0, 60.0, *line])
    right, back = convert_two_theta(copper, "Cu", "Co"), convert_two_theta(copper, "Co", "Cu")
    ratio = radiation("Co").mean / radiation("Cu").mean
    slips = {
        "The other way round: cobalt's wavelength is the longer one.": back,
        "Those are theta; the axis shows two-theta.": right / 2,
        "Those are in radians.": np.radians(right),
        "Angles do not scale with the wavelength; their sines do.": ratio * copper,
        "The sine of theta scales, not that of two-theta.": np.degrees(
            np.arcsin(np.minimum(ratio * np.sin(np.radians(copper)), 1))
        ),
        "Those are copper's angles.": copper,
    }
    if problem := unusable(low=low, high=high, strongest=strongest):
        print(problem)
    else:
        hint = "sin(theta) = lambda / 2d: from copper's angle to d, from d to cobalt's angle."
        check([low, high, strongest], right, slips, hint, 0.003)
