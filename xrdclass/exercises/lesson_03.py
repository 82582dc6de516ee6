"""The checks of lesson 03, and the scan of its last exercise."""

from __future__ import annotations

import numpy as np

from ..diffraction import lines
from ..noise import Noise, poisson_counts
from ..patterns import DEFAULT_GRID
from ..phases import MINERALS_FOLDER, load_phases
from ..simulation import Variation, simulate
from .checking import check, slip, unusable

#: Exercise 1: a line and the background under it in parts of the strongest point, and how many
#: times as high as the noise the line shall be; then two relative noises.
LINE, UNDER, TIMES, NOISES = 0.02, 0.1, 3, (0.04, 0.01)


def e1(counts_needed, times_longer) -> None:
    """The counts that lift a weak line out of the noise, and what less noise costs in time."""
    right = UNDER * (TIMES / LINE) ** 2
    slips = {
        "The square is missing.": right**0.5,
        "That is enough for a line as high as the noise; three times as high is asked for.": right
        / 9,
        "That takes the line's own noise, too; here only what lies under it counts.": right
        * (1 + LINE / UNDER),
        "That is the noise of the strongest point, not of the background.": (TIMES / LINE) ** 2,
        "2 % is 0.02, and 10 % is 0.1.": 10 * (TIMES / 2) ** 2,
    }
    if problem := unusable(counts_needed=counts_needed, times_longer=times_longer):
        print(problem)
    elif abs(counts_needed / right - 1) > 0.01:
        rises, noise = LINE * counts_needed, np.sqrt(max(UNDER * counts_needed, 0))
        hint = f"There the line rises by {rises:.3g} counts, and the noise is {noise:.3g}."
        print("counts_needed, not yet.", slip(counts_needed, slips) or hint)
    else:
        ratio = NOISES[0] / NOISES[1]
        slips = {"That is the ratio of the noises; counts go as its square.": ratio}
        slips |= {"Turn it over.": ratio**-2, "Its root, not its square?": ratio**0.5}
        hint = "Compare the counts for 4 % with those for 1 %."
        check(times_longer, ratio**2, slips, hint, name="times_longer")


def e2(fast, highest_noise) -> None:
    """Noise for scans of 1 to 3 minutes, if 30 minutes give 9,000 counts."""
    if fast is ...:
        print("Replace the dots first.")
    elif not isinstance(fast, Noise):
        print(f"fast should be a Noise, such as Noise(counts=(100, 200)); it is {fast!r}.")
    elif not np.allclose(fast.counts, (300, 900)):
        low, high = fast.counts
        print(f"Not yet. One minute of thirty gives 300 counts; you draw {low:g} to {high:g}.")
    elif (fast.air, fast.background, fast.hump) != (Noise().air, Noise().background, Noise().hump):
        print("The counts are right. The other ranges are ratios: do they change with time?")
    else:
        slips = {
            "That is the smallest; few counts have much noise.": 900**-0.5,
            "As a part of 1, please, not in per cent.": 100 * 300**-0.5,
            "That is in counts; divide by the counts.": 300**0.5,
        }
        hint = "The relative noise of N counts is 1 / sqrt(N)."
        check(highest_noise, 300**-0.5, slips, hint, name="highest_noise")


def e3(by_eye, misfits, by_numbers, panels, model) -> None:
    """Which panel is the scan: by eye, and by the misfit of each to the model."""
    right = {name: np.sqrt(np.mean((y - model) ** 2 / model)) for name, y in panels.items()}
    letters = ", ".join(panels)
    if not isinstance(misfits, dict) or set(misfits) != set(panels):
        print(f"misfits should hold one number for each of {letters}.")
    elif problem := unusable(**{f"misfits, {name}": value for name, value in misfits.items()}):
        print(problem)
    elif wrong := [name for name in panels if abs(misfits[name] / right[name] - 1) > 0.005]:
        print(f"misfits, not yet: {wrong[0]} has another. misfit(intensity, model), all points?")
    elif by_numbers is ... or by_eye is ...:
        print("The misfits are right. Now write your two letters.")
    elif by_eye not in panels or by_numbers not in panels:
        print(f"by_eye and by_numbers should be one of the letters {letters}.")
    elif by_numbers != max(right, key=right.get):
        print(f"by_numbers, not yet. {by_numbers} fits the model no worse than by chance.")
    else:
        eye = "Your eye agreed" if by_eye == by_numbers else "Your eye chose another one"
        print(f"Right. {eye}; by guessing, one is right in one of four cases.")


def scaled_quartz() -> np.ndarray:
    """A scan of quartz on the usual grid, counted, scaled to 1000 and rounded; see exercise 4."""
    return _scaled()[0]


def _scaled():
    """The scan, the counts that its strongest point had, and the points far from any line."""
    quartz = next(p for p in load_phases(MINERALS_FOLDER) if p.name == "quartz")
    still = Variation(strain=0, texture=0, domain_size=(60, 60))
    clean = simulate([quartz], 1, still).intensity[0].astype(float)
    rng = np.random.default_rng(2027)
    counts = poisson_counts(rng.uniform(300, 500) * (clean + 0.04), rng)
    known = lines(quartz)
    visible = known.two_theta[known.intensity > 0.3]
    free = np.abs(DEFAULT_GRID.two_theta[:, None] - visible).min(axis=1) > 1
    return np.rint(counts * 1000 / counts.max()), counts.max(), free


def e4(strongest_counts, after_subtracting) -> None:
    """How many counts a scaled scan had, and what the same estimate gives less a background."""
    scan, truth, free = _scaled()
    level, variance = scan[free].mean(), (np.diff(scan, 4) ** 2 / 70)[free[2:-2]].mean()
    slips = {
        "Turned over: this is 1000 times the scale. Divide 1000 by it.": 1000 * variance / level,
        "That is the scale itself. What was 1000 before scaling?": variance / level,
        "The ratio of variance and mean is the scale, not its square.": 1000
        * (level / variance) ** 0.5,
    }
    lowered = 1000 * (level - 8) / variance
    if problem := unusable(strongest_counts=strongest_counts, after_subtracting=after_subtracting):
        print(problem)
    elif abs(strongest_counts / truth - 1) > 0.15:
        if abs(strongest_counts / lowered - 1) < 0.02:
            comment = "That is the estimate after subtracting: what is it worth?"
        else:
            hint = "Compare variance / level with the scale. Are the points free of quartz's lines?"
            comment = slip(strongest_counts, slips, 0.03) or hint
        print("strongest_counts, not yet.", comment)
    elif abs(after_subtracting / lowered - 1) > 0.05:
        print("The counts are right. For the second, put scaled - 8 into the same lines.")
    else:
        print(f"Right: the strongest point had {truth} counts.")
