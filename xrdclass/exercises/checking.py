"""What the checks of the exercises say of an answer before they compare it, and of common slips."""

from __future__ import annotations

import numpy as np


def unusable(shape=(), **answers) -> str:
    """Say why answers are not the numbers that an exercise asks for.

    Parameters
    ----------
    shape : the shape that each answer should have; ``()`` for one number
    answers : name -> the reader's answer

    Returns
    -------
    One sentence about the first answer that cannot be checked; empty if all can.

    Examples
    --------
    >>> unusable(size=...)
    'Replace the dots first: size has no answer yet.'
    >>> unusable(size="18")
    "size is a text, '18'. Write one number, without quotes."
    >>> unusable(size=[18, 19])
    'size should be one number; it has 2.'
    >>> unusable(size=18.1)
    ''
    """
    for name, value in answers.items():
        if value is ...:
            return f"Replace the dots first: {name} has no answer yet."
        if isinstance(value, str):
            return f"{name} is a text, {value!r}. Write {_wanted(shape)}, without quotes."
        if isinstance(value, (dict, set)):
            return f"{name} should be {_wanted(shape)}; it is a {type(value).__name__}."
        try:
            array = np.asarray(value)
        except ValueError:  # a list of lists of unequal length
            return f"{name} should be {_wanted(shape)}; it is a nested list."
        if array.size and array.dtype.kind == "O" and any(v is ... for v in array.ravel()):
            return f"Replace the dots first: {name} still holds some."
        if array.dtype.kind not in "iuf":
            held = repr(value) if array.size < 10 else f"an array of {array.size}, of {array.dtype}"
            return f"{name} should be {_wanted(shape)}; it is {held}."
        if not shape and array.size == 1 and array.ndim:
            return f"{name} is one number in a list or array; take it out of that."
        if array.shape != tuple(shape):
            held = array.size if array.ndim == 1 else f"the shape {array.shape}"
            return f"{name} should be {_wanted(shape)}; it has {held}."
        if not np.isfinite(array).all():
            return f"{name} is not finite. Was something divided by zero?"
    return ""


def _wanted(shape) -> str:
    return "one number" if not shape else f"{' x '.join(map(str, shape))} numbers"


def slip(value, slips, rtol=0.01) -> str:
    """Recognise a wrong answer that comes from a common slip.

    Parameters
    ----------
    value : a number, or as many as each wrong answer has
    slips : sentence -> the wrong number that this slip gives
    rtol : how near the answer has to be, in parts of that number

    Returns
    -------
    The sentence of the first slip that fits, or an empty one.

    Examples
    --------
    >>> slip(181, {"That is in Å.": 181.2, "The width is in degrees.": 0.32})
    'That is in Å.'
    >>> slip(50, {"That is in Å.": 181.2})
    ''
    """
    for sentence, wrong in slips.items():
        if np.allclose(value, wrong, rtol=rtol, atol=1e-12):
            return sentence
    return ""


def check(answer, right, slips=None, hint="", tol=0.01, name="this") -> None:
    """Print one sentence about an answer: why it cannot be checked, or how it compares.

    Parameters
    ----------
    answer : the reader's answer
    right : the right one, a number or an array; a right answer has its shape
    slips : sentence -> the wrong answer that this slip gives
    hint : what to say of any other wrong answer
    tol : how near the answer has to be, in parts of each number
    name : what to call the answer

    Examples
    --------
    >>> check(18.2, 18.1)
    Right.
    >>> check(181, 18.1, {"That is in Å, not in nm.": 181})
    Not yet. That is in Å, not in nm.
    >>> check(20, 18.1, hint="What is the width in radians?")
    Not yet. What is the width in radians?
    >>> check(..., 18.1, name="size")
    Replace the dots first: size has no answer yet.
    """
    if problem := unusable(np.shape(right), **{name: answer}):
        print(problem)
    elif np.allclose(answer, right, rtol=tol, atol=1e-12):
        print("Right.")
    else:
        print(f"Not yet. {slip(answer, slips or {}, tol) or hint}".strip())
