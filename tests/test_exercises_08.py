"""Lesson 08's checks: right answers, and wrong ones with what is said of them."""

import numpy as np
import pytest

from xrdclass.exercises import lesson_08 as check
from xrdclass.identify.mixtures import MIXTURE_GRID
from xrdclass.identify.refinement import refine
from xrdclass.identify.start import one_sided
from xrdclass.noise import Noise, add_noise
from xrdclass.phases import MINERALS_FOLDER, load_phases
from xrdclass.scans import Scan
from xrdclass.simulation import Variation, simulate

SHARED, OWN = (0.8808, 0.1192), (0.9526, 0.7311)


def said(capsys):
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_exercise_1_by_hand():
    three, one = np.exp([3, 1])
    assert SHARED == pytest.approx((three / (three + one), one / (three + one)), abs=1e-4)
    assert OWN == pytest.approx((three / (1 + three), one / (1 + one)), abs=1e-4)


@pytest.mark.parametrize(
    ("by_softmax", "by_sigmoid", "both", "part"),
    [
        (SHARED, OWN, False, "Right."),
        ([0.88, 0.12], np.array([0.95, 0.73]), np.bool_(False), "Right."),
        (SHARED, OWN, True, "What do softmax's numbers add up to?"),
        (SHARED, OWN, ..., "Replace the dots first: both"),
        (SHARED, OWN, "no", "True or False"),
        (SHARED, OWN, 0.5, "True or False"),
        (..., OWN, False, "Replace the dots first: by_softmax"),
        (SHARED, ..., False, "Replace the dots first: by_sigmoid"),
        (0.5, 1.0, False, "should be 2 numbers"),
        ([0.881, 0, 0, 0.119, 0], OWN, False, "it has 5"),
        ((0.5, 0.5), (1, 1), False, "Softmax, not yet. Divide each power"),
        (OWN, OWN, False, "Those are the sigmoids"),
        (SHARED[::-1], OWN, False, "Softmax, not yet. The two are exchanged"),
        ((1.0, 2.6e-8), OWN, False, "raised twice"),
        ((1, 0), OWN, False, "raised twice"),
        ((0.75, 0.25), OWN, False, "not the logits"),
        ((20.09, 2.718), OWN, False, "divide them by the sum"),
        ((88.08, 11.92), OWN, False, "Softmax, not yet. That looks like per cent"),
        (SHARED, SHARED, False, "the sigmoid of a difference"),
        (SHARED, OWN[::-1], False, "Sigmoid, not yet. The two are exchanged"),
        (SHARED, (0.707, 0.5298), False, "not softmax's numbers"),
        (SHARED, (1.0, 0.938), False, "Sigmoid, not yet. The logits were raised twice"),
        (SHARED, (0.0474, 0.2689), False, "the sign in the power"),
        (SHARED, (0.5658, 0.4342), False, "add up to 1"),
        (SHARED, (95.26, 73.11), False, "Sigmoid, not yet. That looks like per cent"),
        (SHARED, (1, 1), False, "Put each logit by itself"),
    ],
)
def test_exercise_1(by_softmax, by_sigmoid, both, part, capsys):
    check.e1(by_softmax, by_sigmoid, both)
    assert part in said(capsys)


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ([1, 0, None, 0, 0, 1], "Right."),
        ((1.0, 0, np.nan, False, 0, True), "Right."),
        (..., "Replace the dots"),
        ([1, 0, None, 0, 0], "Six outputs"),
        ([1, 0, "None", 0, 0, 1], "without quotes"),
        ([1, 0, ..., 0, 0, 1], "Write 1, 0 or None"),
        ([1, 0, 1, 0, 0, 1], "Not yet. brookite: is its height"),
        ([1, 0, 0, 0, 0, 1], "Not yet. brookite: is its height"),
        ([1, None, None, 0, 0, 1], "beta-TiO2: it is absent"),
        ([1, 0, None, 0, 0, 0], "foreign: does the invented crystal"),
        ([0, 0, None, 0, 0, 1], "anatase: is it there"),
    ],
)
def test_exercise_2(answer, part, capsys):
    check.e2(answer)
    assert part in said(capsys)


ABOVE, BELOW = one_sided(np.array([10.0, -10.0]))[0]


@pytest.mark.parametrize(
    ("above", "below", "part"),
    [
        (ABOVE, BELOW, "Right."),
        (8.26, 100, "Right."),
        (..., 100, "Replace the dots first: above"),
        (8.26, ..., "Replace the dots first: below"),
        (BELOW, ABOVE, "exchanged"),
        (ABOVE, ABOVE, "Below, not yet"),
        (ABOVE, -100, "Below, not yet"),
        (100, 100, "do not cost r squared"),
        (9, 100, "the most it can cost"),
        (100 / 9, 100, "The denominator"),
        (50, 100, "Above the model it is"),
    ],
)
def test_exercise_3(above, below, part, capsys):
    check.e3(above, below)
    assert part in said(capsys)


SHELF = {phase.name: phase for phase in load_phases(MINERALS_FOLDER)}
DUST = Noise(air=(0.3, 0.3), background=(0.05, 0.05), hump=(0, 0), counts=(4000, 4000))
RED = simulate([SHELF["hematite"]], 1, Variation(strain=0, texture=0.2), MIXTURE_GRID, seed=1)
COUNTS = add_noise(RED, DUST, seed=2).intensity[0].astype(float)
HEMATITE = Scan(MIXTURE_GRID.two_theta, COUNTS, "hematite")


def probability(name, cell_range):
    return refine(HEMATITE, [SHELF[name]], cell_range=cell_range).phases[name].probability


NARROW, WIDE = probability("corundum", 0.012), probability("corundum", 0.1)
ITSELF = probability("hematite", 0.012)


@pytest.mark.parametrize(
    ("narrow", "wide", "part"),
    [
        (NARROW, WIDE, "Right."),
        (round(NARROW, 2), round(WIDE, 2), "Right."),
        (..., WIDE, "Replace the dots first: narrow"),
        (NARROW, ..., "Replace the dots first: wide"),
        (NARROW, 100 * WIDE, "Per cent?"),
        (-0.1, WIDE, "Per cent?"),
        (WIDE, NARROW, "exchanged"),
        (NARROW, NARROW, "cell_range=0.1 passed on?"),
        (WIDE, WIDE, "Is cell_range set?"),
        (ITSELF, ITSELF, "hematite's own"),
        (0, 0.99, "Not yet. Both come from fits"),
        (0.05, 0.08, "Not yet. Both come from fits"),
        (0.0, 0.5, "Not yet. Both come from fits"),
        ("0", WIDE, "without quotes"),
        ([NARROW, WIDE], WIDE, "one number"),
    ],
)
def test_exercise_4(narrow, wide, part, capsys):
    check.e4(narrow, wide, HEMATITE)
    assert part in said(capsys)
