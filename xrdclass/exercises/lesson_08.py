"""The checks of lesson 08."""

from __future__ import annotations

import numpy as np

from ..identify.start import one_sided
from .checking import check, slip, unusable

#: What training asks of the sample of exercise 2: 1, 0, or None for nothing.
ASKED = {"anatase": 1, "beta-TiO2": 0, "brookite": None, "rutile": 0, "TiO2-II": 0, "foreign": 1}


def e1(with_softmax, with_sigmoid) -> None:
    """The largest value for the less likely of two phases: softmax 1/2, sigmoid 1."""
    of_softmax = {
        "Then nothing is left for the other phase: all five add up to 1.": 1,
        "So it is if all five are alike. Only two need to share.": 0.2,
        "That looks like per cent: as a part of 1, please.": 50,
        "Nothing forces it down to 0.": 0,
    }
    of_sigmoid = {
        "Independent outputs share nothing.": 0.5,
        "That looks like per cent: as a part of 1, please.": 100,
    }
    if problem := unusable(with_softmax=with_softmax, with_sigmoid=with_sigmoid):
        print(problem)
    elif abs(with_softmax - 0.5) > 0.01:
        print("Softmax, not yet.", slip(with_softmax, of_softmax, 0) or "All five add up to 1.")
    elif abs(with_sigmoid - 1) > 0.01:
        hint = "What keeps both from being larger? Try larger logits."
        print("Sigmoid, not yet.", slip(with_sigmoid, of_sigmoid, 0) or hint)
    else:
        print("Right. Softmax has to share out; independent outputs do not.")


def e2(answer) -> None:
    """Six answers: 1 or 0 where training asks, None where it does not."""
    why = dict.fromkeys(ASKED, "it is absent, and absence is asked about")
    why["anatase"] = "is it there, and are both limits met?"
    why["brookite"] = "is 0.02 of the strongest line enough to be asked about?"
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


def e4(narrow, wide) -> None:
    """Corundum's probability in a scan of hematite, with cells of 1.2 % and of 10 %."""
    if problem := unusable(narrow=narrow, wide=wide):
        print(problem)
    elif not (0 <= narrow <= 1 and 0 <= wide <= 1):
        print("Not yet. A probability lies between 0 and 1. Per cent?")
    elif narrow > 0.1 >= wide:
        print("Not yet. The two are exchanged: a wider range lets more pass.")
    elif narrow > 0.1:
        print("Not yet. With 1.2 % corundum's lines cannot reach. Is the scan hematite's?")
    elif wide <= narrow + 0.02:
        print("Not yet. With 10 % its lines do reach. Is cell_range=0.1 passed on?")
    else:
        print("Right. Now decide where you would draw the line, and why.")
