"""What lesson 01's checks say of right answers, and of the wrong ones that students give."""

import numpy as np
import pytest
from pymatgen.core import Lattice

from xrdclass.diffraction import RADIATIONS, lines
from xrdclass.exercises import lesson_01 as check
from xrdclass.phases import load_phases

COPPER, COBALT = RADIATIONS["Cu"].mean, RADIATIONS["Co"].mean
ANATASE = load_phases()[0].structure.lattice
D = ANATASE.d_hkl((1, 0, 1))
ANGLE = 2 * np.degrees(np.arcsin(COPPER / 2 / D))
IDEAL = {phase.name: lines(phase) for phase in load_phases()}
PEAKS = np.array([25.4, 25.7, 30.9, 36.3, 48.1])


def said(capsys, exercise, *answers):
    """The one line that a check prints."""
    exercise(*answers)
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return out.strip()


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ((D, ANGLE), "Right."),
        ((round(D, 3), round(ANGLE, 2)), "Right."),
        ((np.array(D), np.float32(ANGLE)), "Right."),
        ((..., ANGLE), "Replace the dots first: d_101"),
        ((D, ...), "Replace the dots first: two_theta_101"),
        ((str(D), ANGLE), "without quotes"),
        ((D**2, ANGLE), "take its root"),
        ((1 / D, ANGLE), "That is 1/d."),
        ((D**-2, ANGLE), "take its root, then the inverse"),
        ((D / 10, ANGLE), "not in nm"),
        ((2.38, ANGLE), "a sum of two squares"),
        ((D, ANGLE / 2), "That is theta; the axis"),
        ((D, np.radians(ANGLE)), "That is in radians"),
        ((D, np.radians(ANGLE / 2)), "theta, and in radians"),
        ((D, 2 * np.degrees(np.arcsin(COPPER / D))), "The 2 of 2 d"),
        ((D, 30), "Solve Bragg's condition"),
    ],
)
def test_a_peak_by_hand(answer, part, capsys):
    assert part in said(capsys, check.e1, *answer)


def counts(name):
    pattern = IDEAL[name]
    explained = sum(np.abs(pattern.two_theta - peak).min() < 0.2 for peak in PEAKS)
    top = pattern.two_theta[pattern.strongest(3)]
    return explained, sum(np.abs(PEAKS - angle).min() < 0.2 for angle in top)


EXPLAINED, PRESENT = ({name: counts(name)[i] for name in IDEAL} for i in (0, 1))


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ((EXPLAINED, PRESENT, "brookite"), "Right."),
        ((EXPLAINED, PRESENT, "anatase"), "do they speak for anatase"),
        ((EXPLAINED, PRESENT, "Brookite"), "no phase's name"),
        ((EXPLAINED, PRESENT, ...), "Which phase is it?"),
        ((dict.fromkeys(IDEAL, ...), PRESENT, "brookite"), "Replace the dots first"),
        ((PRESENT, EXPLAINED, "brookite"), "explained, not yet"),
        ((EXPLAINED, dict.fromkeys(IDEAL, 3), "brookite"), "present, not yet"),
        ((5, PRESENT, "brookite"), "one number for each"),
        (({"rutile": 1}, PRESENT, "rutile"), "one number for each"),
    ],
)
def test_name_the_phase(answer, part, capsys):
    assert part in said(capsys, check.e2, PEAKS, *answer)


def own(strong=15, weak=5, distance=0.4, digits=2):
    """The lines of its own of each phase, under other limits too."""
    found = {}
    for name, pattern in IDEAL.items():
        others = np.concatenate(
            [p.two_theta[p.intensity >= weak] for n, p in IDEAL.items() if n != name]
        )
        high = pattern.two_theta[pattern.intensity >= strong]
        found[name] = [round(a, digits) for a in high if np.abs(others - a).min() > distance]
    return found


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (own(), "Right."),
        (own(digits=1), "Right."),
        ({name: np.array(angles) for name, angles in own().items()}, "Right."),
        (dict.fromkeys(IDEAL, ...), "replace the dots by a list"),
        (dict.fromkeys(IDEAL, 27.46), "replace the dots by a list"),
        ("rutile", "a list for each of"),
        ({"rutile": []}, "a list for each of"),
        (own(distance=0.1), "too close to another phase's"),
        (own(strong=5), "no line of 15 % or more"),
        (own(strong=50), "has more than given"),
        (dict.fromkeys(IDEAL, []), "has more than given"),
        (own() | {"rutile": [41.27, 41.27, 41.27, 41.27]}, "rutile has fewer than given"),
    ],
)
def test_a_line_of_its_own(answer, part, capsys):
    assert part in said(capsys, check.e3, answer)


QUARTZ = Lattice.hexagonal(4.916, 5.4054)
D_100, D_101 = QUARTZ.d_hkl((1, 0, 0)), QUARTZ.d_hkl((1, 0, 1))
WITH_COBALT = 2 * np.degrees(np.arcsin(COBALT / 2 / D_101))
AS_COPPER = D_101 * COPPER / COBALT


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ((D_100, D_101, WITH_COBALT, AS_COPPER), "Right."),
        ((round(D_100, 3), round(D_101, 3), round(WITH_COBALT, 2), round(AS_COPPER, 3)), "Right."),
        ((..., ..., ..., ...), "Replace the dots first: d_100"),
        ((4.916, D_101, WITH_COBALT, AS_COPPER), "as if it stood upright"),
        ((2.458, D_101, WITH_COBALT, AS_COPPER), "half of a"),
        ((1 / D_100, D_101, WITH_COBALT, AS_COPPER), "That is 1/d"),
        ((4.0, D_101, WITH_COBALT, AS_COPPER), "in radians?"),
        ((D_100, 3.5, WITH_COBALT, AS_COPPER), "third row"),
        ((D_100, D_101, WITH_COBALT / 2, AS_COPPER), "That is theta"),
        ((D_100, D_101, 26.647, AS_COPPER), "with copper"),
        ((D_100, D_101, np.radians(WITH_COBALT), AS_COPPER), "in radians"),
        ((D_100, D_101, 40, AS_COPPER), "Bragg's condition"),
        ((D_100, D_101, WITH_COBALT, D_101), "takes another wavelength"),
        ((D_100, D_101, WITH_COBALT, D_101 * COBALT / COPPER), "other way round"),
        ((D_100, D_101, WITH_COBALT, COPPER / 2 / np.sin(np.radians(WITH_COBALT))), "half of the"),
        ((D_100, D_101, WITH_COBALT, 1), "copper's and the angle"),
    ],
)
def test_sand_and_the_wrong_tube(answer, part, capsys):
    assert part in said(capsys, check.e4, *answer)
