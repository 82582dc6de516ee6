"""Lesson 06's checks: right answers, and wrong ones with what is said of them."""

import numpy as np
import pytest

from xrdclass.exercises import lesson_06 as check
from xrdclass.rruff import kind_of

RIGHT = {"Anatase": 0, "Brookite": 0.05**0.5, "Rutile": 0.05**0.25}


def said(capsys):
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    ("lower", "part"),
    [
        (RIGHT, "Right."),
        ({k: np.float64(round(v, 3)) for k, v in RIGHT.items()}, "Right."),
        (..., "Replace the dots"),
        (0.47, "a dictionary"),
        ({"Anatase": 0}, "a dictionary"),
        (RIGHT | {"Rutile": ...}, "Replace the dots"),
        (RIGHT | {"Anatase": np.nan}, "not finite"),
        (RIGHT | {"Anatase": "0"}, "numbers"),
        ({"Anatase": 0.05**0.25, "Brookite": 0.05 ** (1 / 3), "Rutile": 0.05**0.25}, "calculated"),
        (RIGHT | {"Anatase": 1}, "exclude"),
        (RIGHT | {"Anatase": 0.05}, "No scan of anatase"),
        ({k: 100 * v for k, v in RIGHT.items()}, "per cent"),
        ({k: 1 - v for k, v in RIGHT.items()}, "may be wrong"),
        ({"Anatase": 0, "Brookite": 0.95**0.5, "Rutile": 0.95**0.25}, "not 95 %"),
        ({"Anatase": 1, "Brookite": 0.05**2, "Rutile": 0.05**4}, "root"),
        ({"Anatase": 4, "Brookite": 3, "Rutile": 4}, "Not yet. 0.05 **"),
    ],
)
def test_exercise_1(lower, part, capsys):
    check.e1(lower)
    assert part in said(capsys)


@pytest.mark.parametrize(
    ("scans", "part"),
    [
        (93, "Right."),
        (np.float64(93), "Right."),
        (..., "Replace the dots"),
        ("93", "without quotes"),
        (59, "without any wrong answer"),
        (20, "passes that test in 73.6%"),
        (92, "passes that test in 5"),
        (92.1, "Scans come whole"),
        (100, "fewer would do"),
        (1, "passes that test in 100"),
        (0, "show nothing"),
        (-3, "show nothing"),
    ],
)
def test_exercise_2(scans, part, capsys):
    check.e2(scans)
    assert part in said(capsys)


def test_exercise_2_is_the_exact_binomial_test():
    from scipy.stats import binom

    assert binom.cdf(1, 93, 0.05) <= 0.05 < binom.cdf(1, 92, 0.05)


def right_on(name, counts=3000, **heights):
    """Like the lesson's, of five scans: the mean is 0.1, 0.2 or 0.4 for the clean-trained one."""
    ((key, height),) = heights.items()
    assert height == 0.3
    part = {"air": 0.1, "background": 0.2, "hump": 0.4}[key] if name == "clean-trained" else 0.95
    return np.clip(part + np.array([-0.1, -0.05, 0, 0.05, 0.1]), 0, 1)


HARM = {"air": 0.1, "background": 0.2, "hump": 0.4}


@pytest.mark.parametrize(
    ("harm", "part"),
    [
        (HARM, "Right."),
        (HARM | {"hump": 0.42}, "Right."),
        (..., "Replace the dots"),
        ([0.1, 0.2, 0.4], "a dictionary"),
        ({"air": 0.1}, "a dictionary"),
        (HARM | {"air": ...}, "Replace the dots"),
        (HARM | {"hump": right_on("clean-trained", hump=0.3)}, "numbers"),
        ({k: 100 * v for k, v in HARM.items()}, "per cent"),
        ({k: 1 - v for k, v in HARM.items()}, "goes wrong"),
        (dict.fromkeys(HARM, 0.94), "noise-trained"),
        (HARM | {"hump": 0.7}, "One ingredient at a time"),
    ],
)
def test_exercise_3(harm, part, capsys):
    check.e3(harm, right_on)
    assert part in said(capsys)


@pytest.mark.parametrize(
    ("function", "part"),
    [
        (lambda s: kind_of(s) == "measured", "Right."),
        (lambda s: np.all(s.intensity % 1 == 0) | (np.mean(s.intensity == 0) < 0.1), "Right."),
        (..., "Replace the dots"),
        (True, "a function"),
        (lambda s: "yes", "True or False"),
        (lambda s: s.intensity % 1 == 0, "True or False"),
        (lambda s: s.counts.any(), "stops at counts of zincite: AttributeError"),
        (lambda s: bool((s.intensity % 1 == 0).all()), "scaled to 1000"),
        (lambda s: bool(np.mean(s.intensity == 0) < 0.1), "few counts"),
        (lambda s: True, "calculated pattern of zincite it says True"),
        (lambda s: False, "counts of zincite it says False"),
        (lambda s: bool(s.intensity.max() > 100), "few counts"),
    ],
)
def test_exercise_4(function, part, capsys):
    check.e4(function)
    assert part in said(capsys)
