"""The checks of lesson 01."""

from __future__ import annotations

import numpy as np

from ..diffraction import RADIATIONS, d_spacing, lines
from ..phases import MINERALS_FOLDER, load_phases
from .checking import check, slip, unusable

COPPER, COBALT = RADIATIONS["Cu"].mean, RADIATIONS["Co"].mean


def _ideal() -> dict:
    return {phase.name: lines(phase) for phase in load_phases()}


def e1(d_101, two_theta_101) -> None:
    """Anatase's planes (101): their distance in Å and their angle with copper."""
    anatase = load_phases()[0].structure.lattice.matrix
    d = d_spacing(np.array([[1, 0, 1]]), anatase)[0]
    theta = np.degrees(np.arcsin(COPPER / (2 * d)))
    of_d = {
        "That is 1/d^2: take its root, then the inverse.": d**-2,
        "That is 1/d.": 1 / d,
        "That is d^2: take its root.": d**2,
        "In Å, please, not in nm.": d / 10,
    }
    of_angle = {
        "That is theta; the axis shows two_theta.": theta,
        "That is theta, and in radians.": np.radians(theta),
        "That is in radians.": np.radians(2 * theta),
        "The 2 of 2 d is missing.": 2 * np.degrees(np.arcsin(COPPER / d)),
    }
    if problem := unusable(d_101=d_101, two_theta_101=two_theta_101):
        print(problem)
    elif abs(d_101 - d) > 2e-3:
        hint = slip(d_101, of_d, 1e-3) or "1/d^2 is a sum of two squares."
        print(f"d, not yet: {d_101:.4f} Å. {hint}")
    elif abs(two_theta_101 - 2 * theta) > 0.02:
        hint = "Solve Bragg's condition for theta; double it."
        print("d is right, the angle is not.", slip(two_theta_101, of_angle, 1e-3) or hint)
    else:
        print("Right.")


def e2(peaks, explained, present, answer) -> None:
    """Which phase owns the peaks: how many it explains, how many of its lines are there."""
    ideal = _ideal()
    for given, what, right in (
        (explained, "explained", lambda p: _near(peaks, p.two_theta)),
        (present, "present", lambda p: _near(p.two_theta[p.strongest(3)], peaks)),
    ):
        if not isinstance(given, dict) or set(given) != set(ideal):
            print(f"{what} should hold one number for each of: {', '.join(ideal)}.")
            return
        if problem := unusable(**{f"{what}, {name}": n for name, n in given.items()}):
            print(problem)
            return
        if wrong := [name for name in ideal if given[name] != right(ideal[name])]:
            print(f"{what}, not yet: {given[wrong[0]]:g} for {wrong[0]}. Count within 0.2°.")
            return
    best = max(ideal, key=lambda name: explained[name] + present[name])
    if answer is ...:
        print("Both counts are right. Which phase is it?")
    elif not isinstance(answer, str) or answer not in ideal:
        print(f"{answer!r} is no phase's name. Write one of these: {', '.join(ideal)}.")
    elif answer != best:
        print(f"Both counts are right. But do they speak for {answer}?")
    else:
        print("Right.")


def _near(some, others) -> int:
    """How many of some angles have one of the others within 0.2 degrees."""
    some, others = np.asarray(some, dtype=float), np.asarray(others, dtype=float)
    return int((np.abs(some[:, None] - others).min(axis=1) < 0.2).sum())


def e3(own) -> None:
    """For each phase the angles of lines of its own: 15 % or more, 0.4° from all others' of 5 %."""
    ideal, wrong = _ideal(), []
    if not isinstance(own, dict) or set(own) != set(ideal):
        print(f"own should hold a list for each of: {', '.join(ideal)}.")
        return
    for name, given in own.items():
        if given is ... or np.ndim(given) != 1 or isinstance(given, set):
            print(f"{name}: replace the dots by a list of angles; it may be empty.")
            return
        angles = np.array(given, dtype=float)
        others = [p.two_theta[p.intensity >= 5] for n, p in ideal.items() if n != name]
        strong = ideal[name].two_theta[ideal[name].intensity >= 15]
        distance = np.abs(strong[:, None] - np.concatenate(others)).min(axis=1)
        right = strong[distance > 0.4]
        here = [np.abs(strong - a).min() < 0.06 for a in angles]
        free = [np.abs(right - a).min(initial=9) < 0.06 for a in angles]
        if not all(here):
            angle = angles[here.index(False)]
            wrong.append(f"{name} has no line of 15 % or more at {angle:.2f}")
        elif not all(free):
            angle = angles[free.index(False)]
            wrong.append(f"{name}'s line at {angle:.2f} is too close to another phase's")
        elif len(angles) != len(right):
            wrong.append(f"{name} has {'more' if len(angles) < len(right) else 'fewer'} than given")
    print(f"Not yet: {'; '.join(wrong)}." if wrong else "Right.")


def e4(d_100, d_101, with_cobalt, read_as_copper) -> None:
    """Quartz: two distances, (101)'s angle with cobalt, and what is read there as copper's."""
    quartz = next(p for p in load_phases(MINERALS_FOLDER) if p.name == "quartz")
    lattice = quartz.structure.lattice
    right_100, right_101 = d_spacing(np.array([[1, 0, 0], [1, 0, 1]]), lattice.matrix)
    sine = COBALT / (2 * right_101)
    theta = np.degrees(np.arcsin(sine))
    given = {"d_100": d_100, "d_101": d_101, "with_cobalt": with_cobalt}
    if problem := unusable(**given, read_as_copper=read_as_copper):
        print(problem)
    elif abs(d_100 - right_100) > 2e-3:
        slips = {
            "That is the edge a, as if it stood upright on b.": lattice.a,
            "That is 1/d.": 1 / right_100,
            "That is half of a: the angle between a and b is 120°.": lattice.a / 2,
        }
        print("d_100, not yet.", slip(d_100, slips, 1e-3) or "Is gamma 120°, in radians?")
    elif abs(d_101 - right_101) > 2e-3:
        print("d_100 is right, d_101 is not. Is the cell's third row (0, 0, c)?")
    elif abs(with_cobalt - 2 * theta) > 0.02:
        copper = 2 * np.degrees(np.arcsin(COPPER / (2 * right_101)))
        slips = {"That is theta.": theta, "That is the angle with copper.": copper}
        slips["That is in radians."] = np.radians(2 * theta)
        print("with_cobalt, not yet.", slip(with_cobalt, slips, 1e-3) or "Bragg's condition again.")
    else:
        slips = {
            "The program sees the same angle, and takes another wavelength.": right_101,
            "theta is half of the angle.": COPPER / (2 * np.sin(np.radians(2 * theta))),
            "The other way round: the program puts in copper's.": COBALT**2 / (2 * COPPER * sine),
        }
        hint = "wavelength / (2 sin theta), with copper's and the angle of with_cobalt."
        check(read_as_copper, COPPER / (2 * sine), slips, hint, 1e-3, "read_as_copper")
