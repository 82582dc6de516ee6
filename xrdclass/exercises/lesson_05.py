"""What the checks of lesson 05 say: steps, parts of the noise, a frozen layer, another material."""

from __future__ import annotations

import numpy as np

from ..noise import Noise, add_noise
from ..patterns import resample
from ..training import Classifier
from .checking import check, unusable
from .lesson_04 import tried

PARTS = ("air", "background", "hump", "counts")


def only(part: str) -> Noise:
    """Settings of `add_noise` with one part of the noise, and hardly any of the others."""
    silent = {"air": (0, 0), "background": (0, 0), "hump": (0, 0), "counts": (1e7, 1e7)}
    return Noise(**{**silent, part: getattr(Noise(), part)})


def e1(steps) -> None:
    """How often a training changes the weights: ``steps(patterns, batch_size, epochs)``.

    Each epoch ends with a batch of what is left.
    """
    inputs = np.array([(500, 32, 6), (100, 25, 3), (33, 32, 10)])
    answers = tried(steps, *inputs.tolist())
    if isinstance(answers, str):
        print(f"Not yet. Your function gives {answers}.")
        return
    patterns, batch, epochs = inputs.T
    batches = np.ceil(patterns / batch)
    slips = {
        "A batch is whole, or what is left at the end of an epoch: round up.": (
            epochs * patterns / batch
        ),
        "The small batch at the end of each epoch counts, too.": epochs * (patterns // batch),
        "Each epoch ends with a small batch of its own; round up before you multiply.": (
            np.ceil(epochs * patterns / batch)
        ),
        "That is one epoch. How many are there?": batches,
        "That counts patterns, not steps.": epochs * patterns,
        "One step a batch, not one an epoch.": epochs,
    }
    hint = "How many batches does an epoch need?"
    check(answers, epochs * batches, slips, hint, 1e-6, "steps(patterns, ...)")


def e2(alone, classifier: Classifier, patterns) -> None:
    """Which part of the noise misleads: ``alone`` maps each part to the part of right answers.

    Parameters
    ----------
    classifier : trained on clean patterns
    patterns : clean PatternSet to add each part to
    """
    if not isinstance(alone, dict) or set(alone) != set(PARTS):
        print(f"alone should hold one number for each of {', '.join(PARTS)}.")
        return
    if problem := unusable(**alone):
        print(problem)
        return
    right = {}
    for part in PARTS:
        noisy = add_noise(patterns, only(part), seed=2)
        seen = [resample(noisy.grid.two_theta, x, classifier.grid) for x in noisy.intensity]
        answers = classifier.predict(seen)
        right[part] = np.mean(answers.argmax(axis=1) == patterns.labels)
    off = [part for part in PARTS if abs(alone[part] - right[part]) > 0.12]
    if off and all(abs(alone[p] - 100 * right[p]) < 12 for p in PARTS):
        print("Not yet. Those are percents; accuracy is a part of 1.")
    elif off and all(abs(alone[p] + right[p] - 1) < 0.12 for p in PARTS):
        print("Not yet. Those are the wrong answers; count the right ones.")
    elif off:
        print(f"Not yet. With {off[0]} alone, {right[off[0]]:.2f} is right; measure that again.")
    else:
        worst, best = min(right, key=right.get), max(right, key=right.get)
        print(f"Right. Of the four, {worst} misleads most, {best} least.")


def e3(frozen, network, random_start) -> None:
    """The network trained with its first convolution as it was at the random start.

    Parameters
    ----------
    frozen : what ``fit`` returned
    network : the network handed to it
    random_start : weights of that convolution before
    """
    if frozen is ...:
        print("Replace the dots first: frozen has no answer yet.")
        return
    if not isinstance(frozen, Classifier):
        print(f"Not yet. Expected what fit(...) returns; got a {type(frozen).__name__}.")
        return
    if frozen.network is not network:
        print("Not yet. That trained another network: hand yours to fit as network=network.")
        return
    convolution = next(i for i, layer in enumerate(network.layers) if layer.get_weights())
    weightless = [i for i, v in enumerate(network.layers[:convolution]) if not v.trainable]
    if np.array_equal(network.layers[convolution].get_weights()[0], random_start):
        print("Right: trained, and the first convolution is as it was at the random start.")
    elif not network.layers[convolution].trainable:
        print("Not yet. It was frozen after the call of fit, so it was trained.")
    elif weightless:
        print(f"Not yet. layers[{weightless[0]}] averages and has no weights to freeze.")
    else:
        print("Not yet. The first convolution was trained: set its trainable = False before fit.")


def e4(scores, matrix) -> None:
    """Three methods on zirconia: which is right most often, and which two phases are confused.

    Parameters
    ----------
    scores : method -> part that is right, of matching, regression, network
    matrix : confusion matrix of matching, rows true, phases in the order of their names
    """
    if scores is ... or matrix is ...:
        print("Replace the dots first.")
    elif not isinstance(scores, dict) or set(scores) != {"matching", "regression", "network"}:
        print("scores should hold one number for each of matching, regression, network.")
    elif problem := unusable(**scores) or unusable((4, 4), matrix=matrix):
        print(problem)
    elif not all(0 <= value <= 1 for value in scores.values()):
        print("Not yet. Each score is a part of 1.")
    elif abs(np.trace(matrix) / np.sum(matrix) - scores["matching"]) > 0.005:
        print("Not yet. The matrix is not that of matching: its diagonal gives another score.")
    elif np.ptp(np.sum(matrix, axis=1)):
        print("Not yet. Rows are the truth: there are as many test patterns of each phase.")
    elif (best := max(scores, key=scores.get)) == "matching" or scores["matching"] > 0.9:
        print("Not yet. Were ideal patterns, training and test patterns all made of zirconia?")
    else:
        both = np.array(matrix) + np.transpose(matrix)
        np.fill_diagonal(both, 0)
        one, other = np.unravel_index(both.argmax(), both.shape)
        print(f"Right. Here {best} leads; phases {one} and {other} are told apart worst.")
