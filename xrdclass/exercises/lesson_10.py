"""The checks of lesson 10."""

from __future__ import annotations

import tempfile

import numpy as np

from ..errors import UserError
from ..phases import CrystalData, load_phases, write_cifs
from .checking import check


def e1(entry) -> None:
    """A table entry of fluorite, judged by the structure that follows from it."""
    if entry is ...:
        print("Replace the dots first: fluorite has no entry yet.")
    elif not isinstance(entry, CrystalData):
        print(f"Expected CrystalData(...); it is a {type(entry).__name__}.")
    else:
        try:
            with tempfile.TemporaryDirectory() as folder:
                write_cifs(folder, {"fluorite": entry})
                structure = load_phases(folder)[0].structure
        except (UserError, TypeError, ValueError) as error:
            print(f"Not yet. {str(error).replace(folder, '').strip()}")
            return
        formula, density = structure.composition.reduced_formula, structure.density
        if formula == "CaF2" and abs(density - 3.18) < 0.01:
            print(f"Right: {formula}, {density:.2f} g/cm3, as in handbooks.")
        else:
            found = f"{structure.formula}, {density:.2f} g/cm3"
            print(f"Not yet. That is {found}; the handbook says Ca4 F8, 3.18. Cell? Atoms?")


def e2(merging_size) -> None:
    """The crystallite size in nm at which Scherrer's width is the distance of two lines."""
    gap, half = np.radians(0.645), np.radians(34.975 / 2)
    right = 0.9 * 0.154184 / (gap * np.cos(half))
    slips = {
        "A factor of ten off: is that in Å?": 10 * right,
        "Is the distance in radians?": np.radians(right),
        "Is theta half of two-theta?": right * np.cos(half) / np.cos(2 * half),
        "Is that the distance in theta? The width is one in two-theta.": 2 * right,
        "K = 0.9 is missing.": right / 0.9,
    }
    hint = "Width = distance; solve Scherrer's formula for D."
    check(merging_size, right, slips, hint, 0.03, "merging_size")


def e3(answers, truth, names) -> None:
    """Sets of phases, one a scan, against the truth."""
    if answers is ...:
        print("Replace the dots first.")
        return
    if not isinstance(answers, (list, tuple)) or len(answers) != len(truth):
        print(f"Expected a list of {len(truth)} sets, one a scan.")
        return
    pairs = enumerate(zip(answers, truth, strict=True))
    remarks = [f"scan {i}: {words}" for i, (a, t) in pairs if (words := _remark(a, t, names))]
    print("Not yet. " + " ".join(remarks) if remarks else "Right, all of them.")


def _remark(said, held, names) -> str:
    if isinstance(said, str) or not isinstance(said, (set, frozenset, list, tuple)):
        return f"write a set, such as {{{names[0]!r}}} or set()."
    said = set(said)
    parts = [f"{n} is none of your phases" for n in sorted(map(str, said - set(names)))]
    parts += ["a phase is in it that was not named"] * bool(held - said)
    parts += [f"{n} is not in it" for n in sorted((said & set(names)) - held)]
    return "; ".join(parts) + "." if parts else ""
