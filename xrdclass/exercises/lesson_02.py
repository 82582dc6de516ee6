"""The checks of lesson 02."""

from __future__ import annotations

import itertools

import numpy as np

from ..diffraction import RADIATIONS, lines, reflections
from ..patterns import PatternSet
from ..phases import MINERALS_FOLDER, load_phases
from ..simulation import ORIGINAL, Variation, scherrer_fwhm
from .checking import slip, unusable

#: Widths and angles that exercise 1's function is tried with, degrees.
TRIED = ((0.45, 25.33), (0.2, 70.0))


def e1(crystallite_size) -> None:
    """A function that turns a width and an angle, in degrees, into a size in nm."""
    given, problem = _answers(crystallite_size, TRIED, "crystallite_size")
    if problem := problem or unusable((len(TRIED),), crystallite_size=given):
        print(problem)
        return
    width, angle = np.array(TRIED).T
    widths = {
        "": np.radians(width),
        "The width is in degrees; the formula wants radians.": width,
        "Half of the width went in; fwhm is the full one.": np.radians(width / 2),
    }
    cosines = {
        "": np.cos(np.radians(angle / 2)),
        "The angle in the cosine is theta, half of two_theta.": np.cos(np.radians(angle)),
        "The cosine got degrees; NumPy wants radians.": np.cos(angle / 2),
    }
    scales = {"": 0.09, "K is missing.": 0.1, "That is in Å; 10 Å are 1 nm.": 0.9}
    scales["K is missing, and that is in Å; 10 Å are 1 nm."] = 1.0
    for (w, width), (c, cosine), (s, scale) in itertools.product(
        widths.items(), cosines.items(), scales.items()
    ):
        if np.allclose(given, scale * RADIATIONS["Cu"].mean / (width * cosine), rtol=5e-3):
            slips = " ".join(part for part in (w, c, s) if part)
            print(f"Not yet. {slips}" if slips else "Right.")
            return
    back = scherrer_fwhm(np.radians(TRIED[0][1] / 2), max(given[0], 1e-9), RADIATIONS["Cu"].mean)
    print(f"Not yet. Your {given[0]:.3g} nm would make a width of {back:.3g}°, not {TRIED[0][0]}°.")


def _answers(function, arguments, name):
    """What a reader's function returns for each of some arguments, or why it does not."""
    if function is ... or not callable(function):
        return None, f"{name} should be a function; it is {function!r}."
    try:
        return [function(*each) for each in arguments], ""
    except Exception as problem:  # whatever a reader's function does wrong
        return None, f"{name} stops with {type(problem).__name__}: {problem}"


def e2(shift_101, shift_004, shift_200) -> None:
    """How far three lines of anatase move if c grows by 1 %, degrees."""
    anatase = load_phases()[0]
    stretched = lines(anatase, strain=np.diag([0, 0, 0.01]))
    wanted = {"shift_101": (1, 0, 1), "shift_004": (0, 0, 4), "shift_200": (2, 0, 0)}
    right = {
        name: float(np.subtract(*(p.two_theta[(p.hkl == hkl).all(axis=1)][0] for p in pair)))
        for pair in [(stretched, lines(anatase))]
        for name, hkl in wanted.items()
    }
    answers = {"shift_101": shift_101, "shift_004": shift_004, "shift_200": shift_200}
    if problem := unusable(**answers):
        print(problem)
        return
    for name, shift in answers.items():
        slips = {
            "Larger d, smaller angle: the sign is wrong.": -right[name],
            "That is in radians.": np.radians(right[name]),
            "That is for theta, not for two_theta.": right[name] / 2,
        }
        if abs(shift - right[name]) <= max(0.02 * abs(right[name]), 0.002):
            continue
        if abs(shift) > 5:
            comment = "That looks like the line's angle. By how much does it change?"
        elif name == "shift_200":
            comment = "(2 0 0) holds planes stacked along a. Has a changed?"
        else:
            comment = slip(shift, slips, 0.03) or "Is c alone longer, and by 1 %, not 10 %?"
        print(f"{name}, not yet. {comment}")
        return
    print("Right.")


def e3(nano, drawn, in_original) -> None:
    """Ranges for nanocrystalline anatase, five patterns from them with cobalt, and a judgement."""
    if nano is ... or drawn is ...:
        print("Replace the dots first.")
    elif not isinstance(nano, Variation):
        print(f"nano should be a Variation, such as Variation(strain=0.02); it is {nano!r}.")
    elif wrong := list(_unlike(nano)):
        print(f"nano, not yet: {'; '.join(wrong)}.")
    elif not isinstance(drawn, PatternSet):
        print(f"drawn should be what simulate returns; it is a {type(drawn).__name__}.")
    elif len(drawn) != 5 or drawn.names != ("anatase",):
        print(f"drawn holds {len(drawn)} patterns of {', '.join(drawn.names)}; five of anatase.")
    elif not np.isclose(drawn.wavelength, RADIATIONS["Co"].mean, atol=1e-3):
        print(f"drawn is for {drawn.wavelength} Å. Say simulate(..., wavelength='Co').")
    elif not _within(drawn.parameters["domain_size"], nano.domain_size):
        print("The patterns were not drawn from nano: other sizes. Pass it to simulate.")
    elif not isinstance(in_original, (bool, np.bool_)):
        print("The patterns are right. in_original should be True or False.")
    elif in_original:
        low = ORIGINAL.domain_size[0]
        print(
            f"The patterns are right. But how small is the smallest size of ORIGINAL? {low:g} nm."
        )
    else:
        print("Right.")


def _unlike(nano):
    """What differs from the sample of exercise 3, in words."""
    if not 0 < nano.strain <= 0.01:
        yield f"strain is {nano.strain:g}, and 1 % is 0.01"
    if nano.texture != 0:
        yield f"texture is {nano.texture:g}, and none is 0"
    if not np.allclose(nano.domain_size, (4, 12)):
        yield f"domain_size is {nano.domain_size}, in nm"
    if nano.profile != "pseudo-voigt":
        yield f"profile is {nano.profile!r}"
    if not nano.k_alpha2:
        yield "k_alpha2 is False, without the doublet"


def _within(values, limits) -> bool:
    return bool(np.min(values) >= limits[0] and np.max(values) <= limits[1])


def e4(absent) -> None:
    """A function that says of which hkl silicon has no line, for indices from 0 to 3."""
    silicon = next(p for p in load_phases(MINERALS_FOLDER) if p.name == "silicon")
    present = reflections(silicon, silicon.structure.lattice.a / 5.3).hkl  # as far as (3 3 3)
    seen = {tuple(sorted(np.abs(hkl).tolist())) for hkl in present}
    every = [hkl for hkl in itertools.product(range(4), repeat=3) if any(hkl)]
    given, problem = _answers(absent, every, "absent")
    if problem:
        print(problem)
    elif any(answer is ... for answer in given):
        print("Replace the dots first: absent returns some.")
    elif not all(isinstance(answer, (bool, np.bool_)) for answer in given):
        print(f"absent should return True or False; for (0, 0, 1) it returns {given[0]!r}.")
    else:
        right = [tuple(sorted(hkl)) not in seen for hkl in every]
        wrong = [hkl for hkl, a, r in zip(every, given, right, strict=True) if a != r]
        if wrong:
            they = "add up" if tuple(sorted(wrong[0])) in seen else "cancel, but for rounding"
            print(f"Not yet. The waves of {wrong[0]} {they}; your function says otherwise.")
        else:
            print("Right.")
