"""What a CIF file says of its space group, in the many spellings in use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import numpy as np

#: How a CIF file says that it does not say something.
NOTHING = ("", "?", ".")


@dataclass(frozen=True, eq=False)
class Setting:
    """A space group with its axes and its origin, one of 530, as spglib lists them."""

    number: int
    names: set[str]  # Hermann-Mauguin symbols, plain
    hall: str  # plain, too
    choice: str  # of origin (1, 2) or axes (H, R, b1, cab ...)
    rotations: np.ndarray
    translations: np.ndarray


def stated_settings(data: dict) -> tuple[str, list[Setting], bool]:
    """What a block of data says of its space group: its words, settings and if it was understood.

    Without settings, it is not understood or contradicts itself. It may be that the group's number
    is understood, but not the name that stands beside it.
    """
    code = data.get("_space_group_it_coordinate_system_code", "")
    words, settings, named, unknown = [], all_settings(), False, False
    for key, text in data.items():
        about = re.match(r"_(symmetry_)?(space_group|int_tables)_.*(name|number)", key)
        said = about and "schoenflies" not in key and isinstance(text, str)
        if not said or text.strip() in NOTHING:
            continue
        words.append(f"'{text}'")
        if "number" in key:
            settings = [s for s in settings if str(s.number) == text.strip()]
            continue
        hall = [s for s in all_settings() if "hall" in key and s.hall == _plain(text, " ")]
        found = hall or _named(text, code)
        named, unknown = named or bool(found), unknown or not found
        settings = [s for s in settings if not found or s in found]
    if not named and not unknown:  # a number alone means the standard axes
        settings = [s for s in settings if s.choice in ("", "1", "2", "H", "R", "b", "b1")]
    if unknown and len(settings) == len(all_settings()):
        settings = []
    return " and ".join(dict.fromkeys(words)), settings, named or not unknown


def _named(text: str, code: str) -> list[Setting]:
    """The settings that a Hermann-Mauguin symbol may mean, with or without their choice.

    The choice follows a colon, as in 'F d -3 m :2' and 'R -3 c :H', or is a letter at the end, as
    in the ICSD: S and Z for the first and second origin, H and R for the axes, HR, HS, RS.
    """
    symbol, _, choice = text.partition(":")
    symbol, choice = _plain(symbol), _plain(choice or code)
    if not any(symbol in s.names for s in all_settings()):
        symbol, letters = re.fullmatch(r"(.*?)([hr]?[hrsz]|)", symbol).groups()
        choice = {"s": "1", "z": "2"}.get(letters, letters[:1]) or choice
    settings = [s for s in all_settings() if symbol in s.names]
    return [s for s in settings if choice and s.choice.lower().startswith(choice)] or settings


def _plain(symbol: str, blank: str = "") -> str:
    """Small letters, with one kind of blank: Hall's 'P 32' and 'P 3 2' differ, others need none."""
    return re.sub(r"[\s_()]+", blank, symbol).lower().strip()


@cache
def all_settings() -> list[Setting]:
    """The 530 settings, the standard one of each group first."""
    import spglib

    settings = []
    for hall_number in range(1, 531):
        kind = spglib.get_spacegroup_type(hall_number)
        names = {kind.international_full, kind.international.split("=")[-1]}
        if 3 <= kind.number <= 15:  # monoclinic: 'P 1 21/n 1' is written P21/n
            names |= {re.sub(r"\s1(?=\s|$)", "", name) for name in names}
        else:
            names.add(kind.international_short)
        names = {_plain(name) for name in names}
        names |= {name.replace("e", glide) for name in names for glide in "abc"}  # Cmca, now Cmce
        if kind.number >= 195:
            names |= {name.replace("-3", "3") for name in names}  # Fm3m, now Fm-3m
        hall, operations = kind.hall_symbol, spglib.get_symmetry_from_database(hall_number)
        settings.append(
            Setting(kind.number, names, _plain(hall, " "), kind.choice, *operations.values())
        )
    return settings
