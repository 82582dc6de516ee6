"""What the checks of lesson 04 say of right answers and of wrong ones."""

import numpy as np
import pytest

from xrdclass.exercises import lesson_04 as check
from xrdclass.models import import_keras
from xrdclass.patterns import PatternSet, TwoThetaGrid

LAYERS = [(10, 10), (15, 2), (2, 2), (9, 1), (2, 2), (9, 1), (2, 2)]


def test_parameters_are_those_of_a_keras_layer(capsys):
    def counted(size, channels, kernels):
        layer = import_keras().layers.Conv1D(kernels, size)
        layer.build((None, 100, channels))
        return layer.count_params()

    check.e1(counted)
    assert capsys.readouterr().out == "Right.\n"


@pytest.mark.parametrize(
    ("function", "part"),
    [
        (lambda s, c, k: (s * c + 1) * k, "Right."),
        (lambda s, c, k: s * c * k, "biases are missing"),
        (lambda s, c, k: (s + 1) * k, "spans all channels"),
        (lambda s, c, k: s * c + 1, "one kernel"),
        (lambda s, c, k: (s + 1) * c * k, "not one for each channel"),
        (lambda s, c, k: s * c * k + 1, "not one for all"),
        (lambda s, c, k: s + c + k, "Weights of one kernel"),
        (lambda s, c, k: ..., "Replace the dots"),
        (lambda s, c, k: None, "Replace the dots"),
        (lambda s: s, "TypeError"),
        (4640, "not a function"),
        (..., "Replace the dots"),
    ],
)
def test_e1(function, part, capsys):
    check.e1(function)
    said = capsys.readouterr().out
    assert part in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("layers", "part"),
    [
        (LAYERS, "Right."),
        ([list(pair) for pair in LAYERS], "Right."),
        (np.array(LAYERS), "Right."),
        (LAYERS[:1], "Add the other layers"),
        (LAYERS[:-1], "6 pairs"),
        ([(10, 10), (15, 1), *LAYERS[2:]], "layer 2 moves on by"),
        ([(10, 1), *LAYERS[1:]], "layer 1 moves on by"),
        ([*LAYERS[:2], (2, 1), *LAYERS[3:]], "layer 3 moves on by"),
        ([*LAYERS[:3], (15, 1), *LAYERS[4:]], "layer 4 spans"),
        ([LAYERS[0], *LAYERS[:0:-1]], "order matters"),
        ([5, 15, 2], "pair of two numbers"),
        ([(1, 2, 3)], "pair of two numbers"),
        (..., "pair of two numbers"),
    ],
)
def test_e2(layers, part, capsys):
    check.e2(layers)
    assert part in capsys.readouterr().out


@pytest.mark.parametrize(
    ("function", "part"),
    [
        (lambda x: x - x.min() / 2 + 0.1, "background is still there"),
        (lambda x: x, "gives back what it gets"),
        (lambda x: 0 * x, "spoil the peaks"),
        (lambda x: x - np.interp(np.arange(340), [0, 339], x[[0, -1]]), "Right: 100%"),
        (lambda x: x[:-1], "(339,)"),
        (lambda x: None, "nothing"),
        (lambda x: x / 0, "error"),
        (3, "not a function"),
    ],
)
def test_e3(function, part, capsys):
    """Two phases with one line each, on a slope; matching is by the highest point."""
    grid, noise = TwoThetaGrid(5, 90, 0.05), np.zeros((20, 1701))
    noise += np.linspace(3, 1, 1701)
    labels = np.arange(20) % 2
    for row, label in zip(noise, labels, strict=True):
        row[600 + 400 * label : 620 + 400 * label] += 1
    patterns = PatternSet(noise, labels, ("one", "other"), grid)

    def matched(patterns, fwhm, remove):
        means = patterns.intensity[:, :1700].reshape(-1, 340, 5).mean(axis=2)
        scaled = (means - means.min(axis=1, keepdims=True)) / np.ptp(means, axis=1, keepdims=True)
        return np.array([np.argmax(remove(x)) > 160 for x in scaled]).astype(int)

    with np.errstate(divide="raise", invalid="raise"):
        check.e3(function, patterns, matched)
    assert part in capsys.readouterr().out


def test_e4_knows_scherrers_width_and_its_slips(capsys):
    width = np.degrees(0.89 * 0.71 / (80 * np.cos(np.radians(6.9))))  # in degrees, Mo, 8 nm
    answers = [
        (width / 0.02, width / 0.06),
        (width / 0.02, np.floor(width / 0.06)),
        (width / 0.01, width / 0.03),
        (1.5418 / 0.7107 * width / 0.02, 1.5418 / 0.7107 * width / 0.06),
        (50, 2),
        (..., 7),
    ]
    for answer in answers:
        check.e4(*answer)
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["Right.", "Right."]
    expected = ("0.02 degrees", "molybdenum", "a third", "Replace the dots")
    assert all(part in line for part, line in zip(expected, said[2:], strict=True)), said


def test_a_function_that_fails_is_told_as_such():
    assert "ZeroDivisionError" in check.tried(lambda x: x / 0, (1,))
    assert check.tried(..., (1,)) is ...
