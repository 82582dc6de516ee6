"""Lesson 07's checks: right answers, and wrong ones with what is said of them."""

import numpy as np
import pytest

from xrdclass.evaluation import cosine_similarity, ideal_patterns
from xrdclass.exercises import lesson_07 as check
from xrdclass.patterns import TwoThetaGrid
from xrdclass.phases import load_phases

LEAD = np.log(36)


def said(capsys):
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    ("smallest", "lead", "part"),
    [
        (0.2, LEAD, "Right."),
        (1 / 5, 3.59, "Right."),
        (..., LEAD, "Replace the dots first: smallest"),
        (0.2, ..., "Replace the dots first: lead"),
        (0, LEAD, "Together they make 1"),
        (0.5, LEAD, "There are five"),
        (1, LEAD, "the largest that it can state"),
        (20, LEAD, "per cent"),
        (0.3, LEAD, "Of five numbers"),
        (0.2, np.log(9), "There are four"),
        (0.2, np.log(45), "not five"),
        (0.2, 36, "its logarithm"),
        (0.2, np.log10(36), "natural logarithm"),
        (0.2, np.log(3.6), "0.9 of all"),
        (0.2, 2, "e^lead"),
        (0.2, "3.58", "without quotes"),
        ([0.2] * 5, LEAD, "one number"),
    ],
)
def test_exercise_1(smallest, lead, part, capsys):
    check.e1(smallest, lead)
    assert part in said(capsys)


def test_exercise_1_by_softmax():
    powers = np.exp([LEAD, 0, 0, 0, 0])
    assert powers[0] / powers.sum() == pytest.approx(0.9)


RNG = np.random.default_rng(0)
CERTAINTY = {
    "TiO2, simulated": RNG.uniform(0.9, 1, 100),
    "other crystals, simulated": RNG.uniform(0.6, 1, 110),
}
OWN, STRANGE = CERTAINTY.values()
THRESHOLD = np.quantile(OWN, 0.05)
PASSED = (STRANGE > THRESHOLD).mean()


@pytest.mark.parametrize(
    ("passed", "part"),
    [
        (PASSED, "Right."),
        (..., "Replace the dots"),
        (STRANGE > THRESHOLD, "one number"),
        (THRESHOLD, "the threshold itself"),
        (1 - PASSED, "rejected"),
        (100 * PASSED, "per cent"),
        ((STRANGE > THRESHOLD).sum(), "a number of patterns"),
        ((STRANGE > 0.95).mean(), "another thing"),
        ((STRANGE > np.quantile(OWN, 0.95)).mean(), "5 % of the TiO2"),
        (0.95, "the others'"),
        (0.5, "Is the threshold"),
    ],
)
def test_exercise_2(passed, part, capsys):
    check.e2(passed, CERTAINTY)
    assert part in said(capsys)


class Matcher:
    """A stand-in for a network: the phase whose ideal pattern, moved a little, is most alike."""

    grid = TwoThetaGrid(20, 60, 0.05)

    def __init__(self, degrees, sign=1):
        self.moves, self.sign = np.arange(-degrees, degrees + 0.1, 0.25), sign
        window = np.hanning(22)  # half a degree
        self.blur = lambda rows: np.array([np.convolve(r, window, "same") for r in rows])
        self.ideal = self.blur(ideal_patterns(load_phases(), self.grid, domain_size=8).intensity)

    def predict(self, intensity):
        rows = self.blur(intensity)
        rows = np.maximum(rows - np.median(rows, axis=1, keepdims=True), 0)
        moved = [np.roll(self.ideal, round(m / self.grid.step), axis=1) for m in self.moves]
        return self.sign * np.max([cosine_similarity(rows, ideal) for ideal in moved], axis=0)


TOLERANT, SHARP = Matcher(1.5), Matcher(0)


@pytest.mark.parametrize(
    ("strict", "part"),
    [
        (SHARP, "Right. Shifted by 1.5 degrees, yours names"),
        (..., "Replace the dots"),
        (TOLERANT, "That is the lesson's network"),
        (Matcher(1.25), "forgives as much"),
        (Matcher(0, sign=-1), "without a shift, too"),
        ("strict", "what fit(...) returns"),
        (0.97, "what fit(...) returns"),
    ],
)
def test_exercise_3(strict, part, capsys):
    check.e3(strict, TOLERANT)
    assert part in said(capsys)


@pytest.mark.parametrize(
    ("answers", "part"),
    [
        ((23.26, 70.98, 38.69), "Right."),
        ((23.3, 71.0, 38.7), "Right."),
        ((..., 71, 38.7), "Replace the dots first: low"),
        ((17.21, 51.0, 28.45), "the longer one"),
        ((11.63, 35.49, 19.35), "theta; the axis"),
        ((0.406, 1.2388, 0.6753), "radians"),
        ((23.22, 69.67, 38.49), "sines do"),
        ((20, 60, 33.15), "copper's"),
        ((30, 70, 40), "from copper's angle to d"),
        (([23.3, 71], 71, 38.7), "one number"),
    ],
)
def test_exercise_4(answers, part, capsys):
    check.e4(*answers)
    assert part in said(capsys)
