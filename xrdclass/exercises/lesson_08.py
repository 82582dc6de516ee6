"""The checks of lesson 08."""

from __future__ import annotations

import numpy as np

from ..identify.refinement import refine
from ..identify.start import one_sided
from ..phases import MINERALS_FOLDER, load_phases
from .checking import check, slip, unusable

#: What training asks of the sample of exercise 2: 1, 0, or None for nothing.
ASKED = {"anatase": 1, "beta-TiO2": 0, "brookite": None, "rutile": 0, "TiO2-II": 0, "foreign": 1}


def e1(by_softmax, by_sigmoid, both) -> None:
    """Anatase's and rutile's outputs from logits of 3, 1 and -20 for the rest, in two ways.

    ``both`` says whether softmax can give each of two phases more than one half.
    """
    logits = np.array([3.0, 1, -20, -20, -20])
    powers = np.exp(logits)

    def softmax(z):
        return (np.exp(z) / np.exp(z).sum())[:2]

    def sigmoid(z):
        return 1 / (1 + np.exp(-z[:2]))

    shared, own = softmax(logits), sigmoid(logits)
    of_softmax = {
        "Those are the sigmoids.": own,
        "The two are exchanged: anatase comes first.": shared[::-1],
        "The logits were raised twice: e^z goes in once.": softmax(powers),
        "The powers of e are shared out, not the logits.": [0.75, 0.25],
        "The powers are right; divide them by the sum of all five.": powers[:2],
        "That looks like per cent: as parts of 1, please.": 100 * shared,
    }
    of_sigmoid = {
        "That is softmax again, or the sigmoid of a difference: each logit goes in alone.": shared,
        "The two are exchanged: anatase comes first.": own[::-1],
        "The logits go in, not softmax's numbers.": sigmoid(shared),
        "The logits were raised twice: e^-z goes in once.": sigmoid(powers),
        "Look at the sign in the power: large logits give large outputs.": 1 - own,
        "Nothing makes independent outputs add up to 1.": own / own.sum(),
        "That looks like per cent: as parts of 1, please.": 100 * own,
    }
    if problem := unusable((2,), by_softmax=by_softmax, by_sigmoid=by_sigmoid):
        print(problem)
    elif not np.allclose(by_softmax, shared, rtol=0.01):
        hint = "Divide each power by the sum of all five."
        print("Softmax, not yet.", _rounded_slip(by_softmax, of_softmax) or hint)
    elif not np.allclose(by_sigmoid, own, rtol=0.01):
        hint = "Put each logit by itself into 1 / (1 + e^-z)."
        print("Sigmoid, not yet.", _rounded_slip(by_sigmoid, of_sigmoid) or hint)
    elif both is ...:
        print("Replace the dots first: both has no answer yet.")
    elif not isinstance(both, (bool, np.bool_)):
        print(f"both should be True or False; it is {both!r}.")
    else:
        right = "Right. Softmax has to share out; independent outputs do not."
        print("Both, not yet. What do softmax's numbers add up to?" if both else right)


def _rounded_slip(value, slips) -> str:
    return slip(np.round(value, 3), {words: np.round(wrong, 3) for words, wrong in slips.items()})


def e2(answer) -> None:
    """Six answers: 1 or 0 where training asks, None where it does not."""
    why = dict.fromkeys(ASKED, "it is absent, and absence is asked about")
    why["anatase"] = "is it there, and are both limits met?"
    why["brookite"] = "is its height enough to be asked about?"
    why["foreign"] = "does the invented crystal count as foreign, and can it be seen?"
    if answer is ...:
        print("Replace the dots by a list of six.")
    elif not isinstance(answer, (list, tuple, np.ndarray)) or len(answer) != 6:
        print(f"Six outputs, five phases and 'foreign', as a list; got {answer!r}.")
    elif any(isinstance(a, str) or a is ... for a in answer):
        print("Write 1, 0 or None, without quotes, for each of the six.")
    else:
        pairs = zip(ASKED.items(), answer, strict=True)
        wrong = [f"{name}: {why[name]}" for (name, right), a in pairs if not _same(a, right)]
        print("Not yet. " + " ".join(wrong) if wrong else "Right.")


def _same(answer, right) -> bool:
    missing = answer is None or answer != answer  # None, or not a number
    return missing if right is None else not missing and answer == right


def e3(above, below) -> None:
    """The one-sided loss of residuals of +10 and -10."""
    of_above, of_below = one_sided(np.array([10.0, -10.0]))[0]
    if problem := unusable(above=above, below=below):
        print(problem)
    elif np.allclose([above, below], [of_below, of_above], rtol=0.01):
        print("Not yet. The two are exchanged: a line without a peak costs more.")
    elif not np.isclose(below, of_below, rtol=0.01):
        print("Below, not yet. There it costs r squared.")
    else:
        slips = {
            "Data above the model do not cost r squared.": of_below,
            "That is the most it can cost; 10 standard deviations do not reach it.": 9,
            "The denominator is 1 + r squared / 9.": 100 / 9,
        }
        check(above, of_above, slips, "Above the model it is r^2 / (1 + r^2 / 9).")


def e4(narrow, wide, hematite) -> None:
    """Corundum's probability in a scan of hematite, with cells of 1.2 % and of 10 %."""
    if problem := unusable(narrow=narrow, wide=wide):
        print(problem)
        return
    if not (0 <= narrow <= 1 and 0 <= wide <= 1):
        print("Not yet. A probability lies between 0 and 1. Per cent?")
        return
    shelf = {phase.name: phase for phase in load_phases(MINERALS_FOLDER)}

    def fitted(name, cell_range):
        return refine(hematite, [shelf[name]], cell_range=cell_range).phases[name].probability

    low, high = right = [fitted("corundum", cell_range) for cell_range in (0.012, 0.1)]
    sentences = {
        "Right. Now decide where you would draw the line, and why.": right,
        "Not yet. The two are exchanged: a wider range lets more pass.": [high, low],
        "Not yet. With 10 % corundum's lines do reach. Is cell_range=0.1 passed on?": [low, low],
        "Not yet. With 1.2 % corundum's lines do not reach. Is cell_range set?": [high, high],
        "Not yet. That is hematite's own. Fit corundum.": [fitted("hematite", 0.012)] * 2,
    }
    off = {words: np.abs(np.subtract([narrow, wide], p)).max() for words, p in sentences.items()}
    nearest = min(off, key=off.get)  # the first of several
    other = "Not yet. Both come from fits of corundum to the scan of hematite."
    print(nearest if off[nearest] <= 0.01 else other)
