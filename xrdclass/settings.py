"""Settings: what is declared of one, once, is what is checked, documented and printed."""

from __future__ import annotations

import textwrap
from dataclasses import Field, field, fields

import numpy as np

from .errors import DataError


def setting(default, text, low=0.0, high=1.0, words=(), shares=False):
    """A field of `Settings`.

    Parameters
    ----------
    default : one number, or a tuple: two are a range, (smallest, largest); or one of ``words``
    text : its meaning and unit
    low, high : what each number must lie between
    words : the values to choose from, instead of numbers
    shares : whether the numbers add up to 1, as probabilities do, instead of rising
    """
    rule = {"text": text, "low": low, "high": high, "words": words, "shares": shares}
    return field(default=default, metadata=rule)


class Settings:
    """Base of frozen dataclasses of settings; `print` shows one as a table.

    A subclass changes a default by a plain value of the same name. What does not fit is refused.
    """

    def __init_subclass__(cls):
        inherited = getattr(cls, "__dataclass_fields__", {})
        for name, value in list(vars(cls).items()):
            if name in inherited:
                setattr(cls, name, field(default=value, metadata=inherited[name].metadata))
        own = {name: f for name, f in vars(cls).items() if isinstance(f, Field)}
        meanings = [f"    {name} : {f.metadata['text']}" for name, f in own.items()]
        head = [cls.__doc__ or "", "    Attributes", "    ----------"]
        cls.__doc__ = "\n".join([*head, *meanings, "    "])

    def __post_init__(self):
        for f in fields(self):
            value = getattr(self, f.name)
            expected = _unmet(value, np.shape(f.default), **f.metadata)
            if expected:
                raise DataError(f"{f.name} must be {expected}; got {value!r}.")

    def __str__(self):
        width = max(len(f.name) for f in fields(self)) + 2
        shown = {f.name: _shown(getattr(self, f.name)) for f in fields(self)}
        middle = min(max(map(len, shown.values())), 24) + 2
        rows = []
        for f in fields(self):
            start = f"{f.name:{width}}{shown[f.name]:{middle - 2}}  "
            gap = " " * (width + middle)
            rows += textwrap.wrap(start + f.metadata["text"], 100, subsequent_indent=gap)
        return "\n".join(rows)


def _unmet(value, shape, text, low, high, words, shares) -> str | None:
    """What a value should have been, or None if it is that."""
    if words:
        return None if value in words else f"one of {', '.join(map(str, words))}"
    many = {(): "one number", (2,): "a range, two rising numbers such as (1, 2) or twice the same,"}
    expected = f"{many.get(shape, f'rising numbers of shape {shape}')} between {low:g} and {high:g}"
    if shares:
        expected = f"{shape[0]} probabilities that add up to 1"
    try:
        numbers = np.asarray(value)
    except ValueError:
        return expected
    if numbers.dtype.kind not in "iuf" or numbers.shape != shape:
        return expected
    fine = (low <= numbers).all() and (numbers <= high).all()
    if shape:
        fine &= abs(numbers.sum() - 1) < 1e-6 if shares else (np.diff(numbers) >= 0).all()
    return None if fine else expected


def _shown(value) -> str:
    if not isinstance(value, (tuple, list)):
        return f"{value:.3g}" if isinstance(value, float) else str(value)
    between = " to " if len(value) == 2 else ", "
    return between.join(map(_shown, value))
