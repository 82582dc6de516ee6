"""The checks of lesson 06."""

from __future__ import annotations

import numpy as np

from ..diffraction import lines
from ..noise import poisson_counts
from ..patterns import DEFAULT_GRID
from ..phases import MINERALS_FOLDER, load_phases
from ..rruff import CATALOGUE
from ..scans import Scan
from .checking import check, slip, unusable

MINERALS = ("Anatase", "Brookite", "Rutile")
INGREDIENTS = ("air", "background", "hump")


def e1(lower) -> None:
    """{mineral: lower end of the true rate if all its measured entries are named right}."""
    if lower is ...:
        print("Replace the dots first: lower has no answer yet.")
    elif not isinstance(lower, dict) or set(lower) != set(MINERALS):
        print(f"lower should be a dictionary with a number for each of {', '.join(MINERALS)}.")
    else:
        measured, listed = (
            np.array([sum(e.mineral == m and e.kind in kinds for e in CATALOGUE) for m in MINERALS])
            for kinds in (("measured",), ("measured", "calculated"))
        )
        right = np.where(measured > 0, 0.05 ** (1 / np.maximum(measured, 1)), 0)
        slips = {
            "That counts the calculated patterns, too.": 0.05 ** (1 / listed),
            "No scan of anatase was right, for there is none. What does that exclude?": np.where(
                measured > 0, right, 1
            ),
            "No scan of anatase: not 0.05, a rate of 0.01 goes with that as well.": np.where(
                measured > 0, right, 0.05
            ),
            "That looks like per cent: as parts of 1, please.": 100 * right,
            "That is the part that may be wrong.": 1 - right,
            "5 %, not 95 %, is the chance that is left to such a rate.": np.where(
                measured > 0, 0.95 ** (1 / np.maximum(measured, 1)), 0
            ),
            "That is the rate to the power n; the n-th root is asked for.": 0.05**measured,
        }
        hint = "0.05 ** (1 / n), with n the measured entries of the mineral. And where n is 0?"
        check([lower[m] for m in MINERALS], right, slips, hint, name="lower")


def e2(scans_needed) -> None:
    """The fewest scans for "95 % right" if one wrong answer is allowed."""

    def chance(n):  # that a network which is right on 95 % makes at most one error
        return 0.95**n + n * 0.05 * 0.95 ** (n - 1)

    right = next(n for n in range(2, 1000) if chance(n) <= 0.05)
    slips = {
        "That is without any wrong answer.": next(n for n in range(1000) if 0.95**n <= 0.05),
        "Exactly one error is not the same as at most one.": next(
            n for n in range(20, 1000) if n * 0.05 * 0.95 ** (n - 1) <= 0.05
        ),
    }
    if problem := unusable(scans_needed=scans_needed):
        print(problem)
    elif scans_needed != round(scans_needed):
        print("Not yet. Scans come whole: round up.")
    elif scans_needed > right:
        print("Not yet. Enough, but fewer would do.")
    elif scans_needed == right:
        print("Right.")
    elif scans_needed < 1:
        print("Not yet. That many scans show nothing.")
    else:
        why = slip(scans_needed, slips, 0)
        odds = f"A network that is right on 95 % passes that test in {chance(scans_needed):.1%}."
        print(f"Not yet. {why} {odds}".replace("  ", " "))


def e3(harm, right_on) -> None:
    """{ingredient: part that the clean-trained network has right}, by the lesson's right_on."""
    if harm is ...:
        print("Replace the dots first: harm has no answer yet.")
    elif not isinstance(harm, dict) or set(harm) != set(INGREDIENTS):
        print(f"harm should be a dictionary with a number for each of {', '.join(INGREDIENTS)}.")
    else:
        right, other = (
            np.array([right_on(f"{name}-trained", **{key: 0.3}).mean() for key in INGREDIENTS])
            for name in ("clean", "noise")
        )
        slips = {
            "That looks like per cent: as parts of 1, please.": 100 * right,
            "That is what goes wrong.": 1 - right,
            "That is the noise-trained network.": other,
        }
        hint = "One ingredient at a time, height 0.3, the mean over all scans."
        answer = [harm[key] for key in INGREDIENTS]
        # Another machine's numbers may differ by one draw of fifty.
        close = not unusable((3,), harm=answer) and np.allclose(answer, right, atol=0.021)
        check(right if close else answer, right, slips, hint, name="harm")


def e4(is_measured) -> None:
    """A function that tells counted scans from calculated or stripped ones, by their numbers."""
    if is_measured is ...:
        print("Replace the dots first: is_measured does nothing yet.")
        return
    if not callable(is_measured):
        print("is_measured should be a function that takes a scan.")
        return
    for kind, scan, truth in made_scans():
        try:
            said = is_measured(scan)
        except Exception as error:  # the reader's code may do anything
            print(f"Your function stops at {kind}: {type(error).__name__}: {error}")
            return
        if not isinstance(said, (bool, np.bool_)):
            print(f"Your function should return True or False; of {kind} it returns {said!r}.")
            return
        if bool(said) != truth:
            print(f"Not yet. Of {kind} it says {bool(said)}.")
            return
    print("Right. It tells all of them apart, and it was shown no TiO2.")


def made_scans():
    """(what it is, Scan, whether its numbers are counts) of zincite and corundum."""
    shelf, rng = {p.name: p for p in load_phases(MINERALS_FOLDER)}, np.random.default_rng(6)
    x = DEFAULT_GRID.two_theta
    for name in ("zincite", "corundum"):
        ideal, clean = lines(shelf[name]), np.zeros(len(x))
        for angle, height in zip(ideal.two_theta, ideal.intensity, strict=True):
            near = slice(*np.searchsorted(x, (angle - 1, angle + 1)))
            clean[near] += height / 100 * np.exp(-(((x[near] - angle) / 0.1) ** 2))
        counts = poisson_counts(800 * clean + 40, rng)
        kinds = {
            "counts": (counts, True),
            "few counts, many of them zero,": (poisson_counts(60 * clean + 0.4, rng), True),
            "counts that were scaled to 1000": (counts * (1000 / counts.max()), True),
            "a calculated pattern": (1000 * np.where(clean > 1e-4, clean, 0), False),
            "a scan whose background was taken away": (np.maximum(counts - 47.3, 0), False),
        }
        for kind, (intensity, truth) in kinds.items():
            yield f"{kind} of {name}", Scan(x, intensity, name), truth
