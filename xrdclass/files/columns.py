"""Columns of numbers to scans: by the names that a header gives them, or by what they can be."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from .reading import MIN_POINTS, Found, NotAScan, goes_back, refuse_if

_MAX_LINE = 2000  # characters
#: What the name of a column says that it holds: the first that fits.
_NAMES = [
    ("peaks", r"^\(?h[ ,]?k[ ,]?l\)?$|^[hkl]$|^mult|fwhm"),
    ("aside", r"esd|sigma|^[σe±]$|std|err(or)?s?\b|_err|uncert|weight|calc|back|bkg|bgr|^bg"),
    ("aside", r"diff(erence)?\b|resid|^fit\b|time\b|^zeit|^sec|index|^n$|^no\.?$|^nr|number"),
    ("aside", r"frame|temp|date|monitor|^i_?0$|izero|points?\b|imagenum|^step|^#?$|timeper"),
    ("2theta", r"(2|two|zwei)[\s*_.-]*(th|θ|ϑ)|\btth|^2 ?[qt]$|°\W*2"),
    ("q", r"^q($|[^a-z]|val)|scattering vector|momentum"),
    ("d", r"^d($|[\s_]*[\[(/\s])|\bd[-_ ]?(spac|val)|netzebene"),
    ("theta", r"theta|θ|^th\b"),
    ("2theta", r"angle|winkel|ángulo|angolo|^°|^deg(rees?)?\.?$"),
    ("intensity", r"\bint(ens|\b)|intens|count|cts|cps|^i($|[\s_]*[\[(/])|[yi]_?obs|signal"),
    ("intensity", r"impuls|psd|acqui|\blin\b|^y$|photons"),
    ("other", r"omega|ω|\b(chi|phi|psi)\b|[χφψ]|energ|\bk?ev\b|raman|wave ?num|cm\W?-1|wellenz"),
    ("other", r"wave ?length|\bnm\b|^r($|[\s_]*[\[(])|\bmm\b|chan|m/z|\btof\b|potential|voltage"),
    ("x", r"^x$"),
]
_AXES = ("2theta", "x", "q", "d", "theta", "other", "aside")  # the first of these that there is
_NO_NAME = re.compile(r"^[\d.,+-]+$|=|\d[.,]\d\d")
_GENERAL = re.compile(r"\W*(?:int\w*|counts?|cps|cts|[iy]|[yi]_?obs)\W*", re.IGNORECASE)
_PER_ANGSTROM = re.compile(r"a\W*[-^(]|å|1/|/ ?a|ang|\ba\b", re.IGNORECASE)
_CHOOSE = "Choose two of these with columns=(X, Y) (--columns X Y)"


def _kind(name: str) -> str:
    name = " ".join(re.sub(r"[<>\"'*{}\\$^]", " ", name).split())
    return next((kind for kind, pattern in _NAMES if re.search(pattern, name, re.I)), "")


def names(header: list[str], width: int, wanted=()) -> list[str]:
    """The names that the last lines of a header give the columns; [] if it gives none."""
    last = [line for line in header[-8:] if line and len(line) <= _MAX_LINE]
    labels = [line for line in last[-3:] if not line.isdecimal()][-2:]  # one a line, as in .chi
    if [*map(_kind, labels)][1:] == ["intensity"] and _kind(labels[0]) in _AXES[:6]:
        return labels
    for line in reversed(last[-4:]):
        line = re.sub(r"^[\s#!;'%/*]+|(?i:^column\w*\s*:)", "", line)
        line = re.sub(r"<\s*([^<>]*?)\s*>", r"\1", line).strip("\t;, ")
        tight = re.sub(r"\s+(?=[\[(])|(?<=2) (?=th)", "", line)  # units belong to their names
        for separator in ("\t", ";", ",", r"\s{2,}", r"\s+"):
            words = separator == r"\s+"
            named = [name.strip(' "') for name in re.split(separator, tight if words else line)]
            kinds = [_kind(name) for name in named]
            if not 1 < len(named) <= width or any(map(_NO_NAME.search, named)):
                continue
            full = len(named) == width
            both = "intensity" in kinds and (full or "" not in kinds)
            # Two words may be any remark: they name columns only if one speaks of intensities.
            first = full and kinds[0] in _AXES[: 2 if words else 6]
            asked = wanted and {str(w).lower() for w in wanted} <= set(map(str.lower, named))
            if "peaks" in kinds or both or first or asked:
                return named
    return []


def scans(words: list[list[str]], names: list[str], chosen=None) -> list[Found]:
    """The scans that stand beside each other in columns of words, and below each other."""

    def numbers(place: int) -> np.ndarray:
        try:
            return np.array(words[place], dtype=float)
        except ValueError:
            raise NotAScan(f"text among the numbers of column {place + 1}") from None

    width, notes = len(words), []
    titles = names + [f"column {i + 1}" for i in range(len(names), width)]
    kinds = [_kind(name) for name in names] + [""] * (width - len(names))
    axes = {*kinds} & {*_AXES[:-1]}
    if chosen:
        places = {str(i + 1): i for i in range(width)}
        places |= {name.lower(): i for i, name in reversed([*enumerate(names)])}
        asked = [str(column).strip() for column in chosen]
        known = f", named {', '.join(map(ascii, names[:12]))}" if names else ""
        for word in asked:
            what = f"{width} columns{known}, none of them {ascii(word[:40])}"
            refuse_if(word.lower() not in places, what, _CHOOSE)
        pairs = [tuple(places[word.lower()] for word in asked)]
    elif "peaks" in kinds:
        name = ascii(names[kinds.index("peaks")])
        raise NotAScan(f"a list of peaks: a column is named {name}", "Give a whole scan")
    elif axes or (names and kinds[0] in ("", "aside")):
        kinds[0] = kinds[0] or ("" if axes else "x")
        pairs = _named(kinds, names, notes)
    else:
        pairs = _unnamed([numbers(i) for i in range(min(width, 12))], width, notes)
    found = []
    for i, j in pairs:
        x, y, axis, title = numbers(i), numbers(j), kinds[i], titles[i]
        if axis == "q":
            unit = title[1:].lower().replace("⁻", "-")
            other = "q" if _PER_ANGSTROM.search(unit) else f"q without a unit ({title})"
            axis = "q_nm" if re.search("nm|nanom", unit) else other
        elif axis not in ("2theta", "d", "theta"):
            axis = title if axis in ("other", "aside") else ""
        there = ~(np.isnan(x) & np.isnan(y))  # the longest of scans beside each other has more
        one = Found(x[there], y[there], axis, label=titles[j], warnings=list(notes))
        one.source = f"columns {i + 1} ({title}) and {j + 1} ({titles[j]})"
        for kind in {"d", "q"} & {*kinds} if axis in ("", "2theta") else ():
            beside = numbers(kinds.index(kind))  # which tells the wavelength, by Bragg's law
            each = 2 * (beside if kind == "d" else 2 * np.pi / beside) * np.sin(np.radians(x / 2))
            middle = float(np.nanmedian(each))
            if 0.3 < middle < 3 and np.ptp(np.nanquantile(each, [0.1, 0.9])) < 1e-3:
                one.wavelength = round(middle, 5)
        # Scans below each other part where the angles go back, unless they are out of order.
        ends = [0, *goes_back(one.x), one.x.size]
        parts = [slice(*part) for part in zip(ends, ends[1:], strict=False)]
        short = np.diff(ends).min() < MIN_POINTS
        found += [one] if short else [replace(one, x=one.x[p], y=one.y[p]) for p in parts]
    return found


def _named(kinds: list[str], names: list[str], notes: list[str]) -> list[tuple[int, int]]:
    """Axis and intensity of each scan, by what the names of the columns say."""
    axis = min((kind for kind in kinds if kind in _AXES), key=_AXES.index)
    axes = [i for i, kind in enumerate(kinds) if kind == axis]
    free = [i for i, kind in enumerate(kinds) if kind == "" and i != axes[0]]
    counts = [i for i, kind in enumerate(kinds) if kind == "intensity"]
    counts = counts or [i for i in free if i < len(names)] or free[:1]
    known = ", ".join(map(ascii, names[:12]))
    refuse_if(not counts, f"columns named {known}, none of intensities", _CHOOSE)
    if len(axes) > 1 and len(counts) >= len(axes):
        return [(max([a for a in axes if a < i], default=axes[0]), i) for i in counts]
    if len(axes) > 1:
        notes.append(f"Of the columns of angles, {ascii(names[axes[0]])} was taken.")
    general = [i for i in counts if i < len(names) and _GENERAL.fullmatch(names[i])]
    return [(axes[0], i) for i in general[:1] or counts]


def _unnamed(values: list[np.ndarray], width: int, notes: list[str]) -> list[tuple[int, int]]:
    """Axis and intensity of each scan, by what the numbers of the first columns can be."""
    only = [{*np.sign(np.diff(column))} in ({1}, {-1}) for column in values]
    ways = [one and abs(v).max() <= 180 for one, v in zip(only, values, strict=True)]
    start = 0
    if width > 2 and ways[1] and values[0][0] in (0, 1) and set(np.diff(values[0])) == {1}:
        start = 1
        notes.append("The first column counts the points; the second was taken for the angles.")
    elif not ways[0] and ways[1]:
        notes.append("The second column was taken for the angles: only it increases.")
        return [(1, 0)]
    pairs = range(0, len(values) - 1, 2)
    beside = len(values) > 3 and width % 2 == 0 and all(ways[i] for i in pairs)
    if beside and all(abs(values[i][0] - values[0][0]) < 30 and not ways[i + 1] for i in pairs):
        return [(i, i + 1) for i in range(0, width, 2)]
    y = start + 1
    if y + 1 < len(values) and not np.ptp(values[y]) and np.ptp(values[y + 1]):
        notes.append(f"Column {y + 1} is constant; column {y + 2} was taken for the intensities.")
        y += 1
    return [(start, y)]
