"""What the checks of lesson 05 say of right answers and of wrong ones."""

import numpy as np
import pytest

from xrdclass.exercises import lesson_05 as check
from xrdclass.models import compact_cnn
from xrdclass.noise import add_noise
from xrdclass.patterns import PatternSet, TwoThetaGrid
from xrdclass.training import Classifier, fit

FINE, GRID, NAMES = TwoThetaGrid(5, 90, 0.25), TwoThetaGrid(5, 90, 1.0), ("one", "other")


@pytest.mark.parametrize(
    ("function", "part"),
    [
        (lambda n, b, e: e * -(-n // b), "Right."),
        (lambda n, b, e: e * np.ceil(n / b), "Right."),
        (lambda n, b, e: e * n / b, "round up"),
        (lambda n, b, e: e * (n // b), "small batch"),
        (lambda n, b, e: -(-n * e // b), "before you multiply"),
        (lambda n, b, e: -(-n // b), "one epoch"),
        (lambda n, b, e: n * e, "counts patterns"),
        (lambda n, b, e: e, "One step a batch"),
        (lambda n, b, e: 96, "How many batches"),
        (lambda n, b, e: ..., "Replace the dots"),
        (lambda n, b, e: None, "Replace the dots"),
        (lambda n: n, "TypeError"),
        (96, "not a function"),
    ],
)
def test_e1(function, part, capsys):
    check.e1(function)
    said = capsys.readouterr().out
    assert part in said and said.count("\n") == 1


@pytest.fixture(scope="module")
def clean():
    """Two phases with one line each, 12 patterns."""
    intensity, labels = np.zeros((12, FINE.n_points)), np.arange(12) % 2
    for row, label in zip(intensity, labels, strict=True):
        row[100 + 100 * label : 108 + 100 * label] = 1
    return PatternSet(intensity, labels, NAMES, FINE)


class Slope:
    """Answers "other" unless the pattern is low at its start, as air scattering makes it high."""

    grid = GRID

    def predict(self, intensity):
        seen = np.array(intensity)
        first = np.where(seen[:, :3].mean(axis=1) > 0.02 * seen.max(axis=1), 1.0, 0.0)
        right = seen[:, 20:40].sum(axis=1) < seen[:, 45:65].sum(axis=1)
        other = np.maximum(first, right)
        return np.stack([1 - other, other], axis=1)


def measured(patterns):
    alone = {}
    for part in check.PARTS:
        noisy = add_noise(patterns, check.only(part), seed=2)
        seen = [np.interp(GRID.two_theta, FINE.two_theta, x) for x in noisy.intensity]
        alone[part] = np.mean(Slope().predict(seen).argmax(axis=1) == patterns.labels)
    return alone


def test_e2(clean, capsys):
    alone = measured(clean)
    assert alone["air"] < 0.7 < alone["counts"]
    worst = {part: 1.0 for part in check.PARTS}
    for answer in (
        alone,
        {part: 100 * value for part, value in alone.items()},
        {part: 1 - value for part, value in alone.items()},
        worst,
        {part: ... for part in check.PARTS},
        {"air": 1.0},
        "counts",
        ...,
    ):
        check.e2(answer, Slope(), clean)
    said = capsys.readouterr().out.splitlines()
    expected = ("Right. Of the four, ", "percents", "wrong answers", "measure that again",
                "Replace the dots", "one number for each", "one number for each",
                "one number for each")  # fmt: skip
    assert all(part in line for part, line in zip(expected, said, strict=True)), said


@pytest.mark.parametrize("part", check.PARTS)
def test_only_one_part_is_added(clean, part):
    drawn = add_noise(clean, check.only(part), seed=1).parameters
    loud = {p for p in ("air", "background", "hump") if drawn[p].max() > 0}
    if drawn["counts"].min() < 1e6:
        loud.add("counts")
    assert loud == {part}


def frozen(patterns, layer, late=False):
    """A network with this layer frozen before (or after) a short training, and its start."""
    network = compact_cnn(patterns.grid.n_points, 2, average=1)
    start = network.layers[1].get_weights()[0].copy()
    if layer is not None and not late:
        network.layers[layer].trainable = False
    classifier = fit(patterns, network=network, epochs=1, progress=False)
    if late:
        network.layers[layer].trainable = False
    return classifier, network, start


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"layer": 1}, "Right: "),
        ({"layer": None}, "was trained: set its trainable"),
        ({"layer": 0}, "layers[0] averages"),
        ({"layer": 1, "late": True}, "after the call of fit"),
    ],
)
def test_e3(options, part, clean, capsys):
    check.e3(*frozen(clean, **options))
    assert part in capsys.readouterr().out


def test_e3_wants_what_fit_returns(capsys):
    network = compact_cnn(GRID.n_points + 20, 2)
    check.e3(..., network, None)
    check.e3(network, network, None)
    check.e3(Classifier(None, NAMES, GRID), network, None)
    said = capsys.readouterr().out.splitlines()
    expected = ("Replace the dots", "what fit(...) returns", "another network")
    assert all(part in line for part, line in zip(expected, said, strict=True)), said


MATRIX = [[50, 0, 0, 0], [2, 24, 24, 0], [2, 19, 29, 0], [0, 0, 0, 50]]
SCORES = {"matching": 0.765, "regression": 0.85, "network": 0.94}


@pytest.mark.parametrize(
    ("scores", "matrix", "part"),
    [
        (SCORES, MATRIX, "Right. Here network leads; phases 1 and 2"),
        (SCORES | {"regression": 0.95}, MATRIX, "Right. Here regression leads"),
        (SCORES, np.array(MATRIX), "Right."),
        (SCORES | {"matching": 0.9}, MATRIX, "not that of matching"),
        ({k: 100 * v for k, v in SCORES.items()}, MATRIX, "a part of 1"),
        ({"matching": 1.0, "regression": 1.0, "network": 1.0}, 50 * np.eye(4), "all made of"),
        (SCORES, np.transpose(MATRIX), "Rows are the truth"),
        ({"matching": 1.0}, MATRIX, "one number for each"),
        (SCORES, np.eye(5), "4 x 4"),
        (..., MATRIX, "Replace the dots"),
        (SCORES, ..., "Replace the dots"),
    ],
)
def test_e4(scores, matrix, part, capsys):
    check.e4(scores, matrix)
    assert part in capsys.readouterr().out
