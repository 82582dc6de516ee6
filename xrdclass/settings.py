"""Settings: what is declared of one, once, is what is checked and printed."""

from __future__ import annotations

from dataclasses import field, fields

import numpy as np

from .errors import DataError


def setting(default, text, low=0.0, high=1.0, words=(), shares=False):
    """A field of `Settings`: its default, its meaning and unit in words, and what it must be.

    That is one number between ``low`` and ``high``, or a tuple of rising ones, two being a range;
    with ``shares`` numbers that add up to 1; or one of ``words``.
    """
    return field(default=default, metadata={"text": text, "rule": (low, high, words, shares)})


class Settings:
    """Base of frozen dataclasses of settings; `print` shows one as a table.

    A subclass changes a default by a plain value of the same name. What does not fit is refused.
    """

    def __init_subclass__(cls):
        inherited = getattr(cls, "__dataclass_fields__", {})
        for name in inherited.keys() & vars(cls).keys():
            setattr(cls, name, field(default=vars(cls)[name], metadata=inherited[name].metadata))

    def __post_init__(self):
        for f in fields(self):
            value = getattr(self, f.name)
            expected = _unmet(value, np.shape(f.default), *f.metadata["rule"])
            if expected:
                raise DataError(f"{f.name} must be {expected}; got {value!r}.")

    def __str__(self):
        width = max(len(f.name) for f in fields(self))
        return "\n".join(
            f"{f.name:{width}}  {_shown(getattr(self, f.name)):22}  {f.metadata['text']}"
            for f in fields(self)
        )


def _unmet(value, shape, low, high, words, shares) -> str | None:
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
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if not isinstance(value, (tuple, list)):
        return str(value)
    return (" to " if len(value) == 2 else ", ").join(map(_shown, value))
