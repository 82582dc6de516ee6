"""What lesson 02's checks say of right answers, and of the wrong ones that students give."""

from dataclasses import replace

import numpy as np
import pytest

from xrdclass.diffraction import RADIATIONS, lines
from xrdclass.exercises import lesson_02 as check
from xrdclass.phases import load_phases
from xrdclass.simulation import ORIGINAL, Variation, scherrer_fwhm, simulate

COPPER = RADIATIONS["Cu"].mean
PHASES = load_phases()


def said(capsys, exercise, *answers):
    """The one line that a check prints."""
    exercise(*answers)
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return out.strip()


def size(width=np.radians, angle=lambda two_theta: np.radians(two_theta / 2), k=0.9, unit=10):
    """An answer to exercise 1: Scherrer's formula with what a student may have put into it."""
    return lambda fwhm, at: k * COPPER / (width(fwhm) * np.cos(angle(at))) / unit


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        (size(), ["Right."]),
        (lambda w, a: np.array(size()(w, a)), ["Right."]),
        (size(width=float), ["Not yet. The width is in degrees"]),
        (size(width=lambda w: np.radians(w / 2)), ["Half of the width"]),
        (size(angle=np.radians), ["half of two_theta"]),
        (size(angle=lambda a: a / 2), ["cosine got degrees"]),
        (size(k=1), ["K is missing."]),
        (size(unit=1), ["That is in Å"]),
        (size(k=1, unit=1), ["K is missing, and that is in Å"]),
        (size(width=float, unit=1), ["width is in degrees", "That is in Å"]),
        (size(angle=np.radians, k=1), ["half of two_theta", "K is missing"]),
        (lambda w, a: 30.0, ["would make a width"]),
        (lambda w, a: -1.0, ["would make a width"]),
        (lambda w, a: ..., ["Replace the dots first"]),
        (lambda w, a: None, ["crystallite_size should be"]),
        (lambda w, a: w / 0, ["stops with ZeroDivisionError"]),
        (lambda w: 1.0, ["stops with TypeError"]),
        (18.1, ["should be a function"]),
        (..., ["should be a function"]),
    ],
)
def test_the_size_from_a_width(answer, parts, capsys):
    text = said(capsys, check.e1, answer)
    assert all(part in text for part in parts), text


def test_the_formula_of_the_check_is_the_packages():
    for width, angle in check.TRIED:
        back = scherrer_fwhm(np.radians(angle / 2), size()(width, angle), COPPER)
        assert back == pytest.approx(width)


def angle_of(hkl, strain=0.0):
    found = lines(PHASES[0], strain=np.diag([0, 0, strain]))
    return found.two_theta[(found.hkl == hkl).all(axis=1)][0]


S101, S004 = (angle_of(hkl, 0.01) - angle_of(hkl) for hkl in [(1, 0, 1), (0, 0, 4)])


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ((S101, S004, 0), "Right."),
        ((round(S101, 3), round(S004, 3), 0.0), "Right."),
        ((S101, -2 * np.degrees(0.01 * np.tan(np.radians(37.822 / 2))), 0), "Right."),
        ((..., ..., ...), "Replace the dots first: shift_101"),
        ((-S101, -S004, 0), "shift_101, not yet. Larger d, smaller angle"),
        ((S101, -S004, 0), "shift_004, not yet. Larger d, smaller angle"),
        ((S101, np.radians(S004), 0), "in radians"),
        ((S101, S004 / 2, 0), "for theta"),
        ((25.294, 37.434, 48.088), "looks like the line's angle"),
        ((S101, S004, S004), "Has a changed?"),
        ((S004, S101, 0), "shift_101, not yet. Is c alone longer"),
        ((S101, 10 * S004, 0), "1 %, not 10 %"),
        ((S101, S004, "0"), "without quotes"),
    ],
)
def test_one_strain_three_lines(answer, part, capsys):
    assert part in said(capsys, check.e2, *answer)


NANO = Variation(strain=0.01, texture=0, domain_size=(4, 12), profile="pseudo-voigt", k_alpha2=True)


def drawn(variation=NANO, phase=0, n=5, tube="Co"):
    return simulate([PHASES[phase]], n, variation, wavelength=tube)


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ((NANO, drawn(), False), "Right."),
        ((replace(NANO, strain=0.009), drawn(), False), "Right."),
        ((replace(NANO, domain_size=[4, 12]), drawn(), np.bool_(False)), "Right."),
        ((..., ..., ...), "Replace the dots"),
        ((NANO, ..., False), "Replace the dots"),
        ((0.01, drawn(), False), "should be a Variation"),
        ((Variation(), drawn(), False), "strain is 0.04, and 1 % is 0.01; texture"),
        ((replace(NANO, strain=0), drawn(), False), "strain is 0"),
        ((replace(NANO, texture=0.1), drawn(), False), "none is 0"),
        ((replace(NANO, domain_size=(4, 20)), drawn(), False), "domain_size is (4, 20)"),
        ((replace(NANO, profile="gaussian"), drawn(), False), "profile is 'gaussian'"),
        ((replace(NANO, k_alpha2=False), drawn(), False), "without the doublet"),
        ((NANO, drawn().intensity, False), "it is a ndarray"),
        ((NANO, drawn(n=4), False), "drawn holds 4 patterns of anatase; five"),
        ((NANO, drawn(phase=3), False), "of rutile; five of anatase"),
        ((NANO, drawn(tube="Cu"), False), "wavelength='Co'"),
        ((NANO, drawn(ORIGINAL), False), "not drawn from nano"),
        ((NANO, drawn(), True), "smallest size of ORIGINAL? 20 nm"),
        ((NANO, drawn(), "no"), "True or False"),
        ((NANO, drawn(), ...), "True or False"),
    ],
)
def test_ranges_for_nanocrystalline_anatase(answer, part, capsys):
    assert part in said(capsys, check.e3, *answer)


def waves(h, k, m):
    first = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    places = np.concatenate([first, first + 0.25])
    return np.exp(2j * np.pi * places @ (h, k, m)).sum()


def rule(h, k, m):
    if h % 2 == k % 2 == m % 2 == 1:
        return False
    return not (h % 2 == k % 2 == m % 2 == 0 and (h + k + m) % 4 == 0)


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (lambda *hkl: abs(waves(*hkl)) < 1e-9, "Right."),
        (lambda *hkl: bool(abs(waves(*hkl)) < 1e-9), "Right."),
        (rule, "Right."),
        (lambda h, k, m: (h + k + m) % 2 == 1, "The waves of (0, 0, 2) cancel"),
        (lambda h, k, m: len({h % 2, k % 2, m % 2}) > 1, "The waves of (0, 0, 2) cancel"),
        (lambda h, k, m: True, "The waves of (0, 2, 2) add up"),
        (lambda *hkl: waves(*hkl) == 0, "cancel, but for rounding; your"),
        (lambda *hkl: abs(waves(*hkl)), "should return True or False"),
        (lambda *hkl: ..., "Replace the dots"),
        (lambda h, k: True, "stops with TypeError"),
        (True, "should be a function"),
    ],
)
def test_which_lines_silicon_lacks(answer, part, capsys):
    assert part in said(capsys, check.e4, answer)
