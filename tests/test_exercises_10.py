"""Lesson 10's checks: right answers, and wrong ones with what is said of them."""

from dataclasses import replace

import numpy as np
import pytest

from xrdclass.diffraction import lines
from xrdclass.exercises import lesson_10 as check
from xrdclass.phases import ZIRCONIA_FOLDER, CrystalData, load_phases
from xrdclass.simulation import scherrer_fwhm

ATOMS = {"Ca1": (0, 0, 0), "F1": (0.25, 0.25, 0.25)}
FLUORITE = CrystalData("Fluorite", "Fm-3m", 225, (5.463, 5.463, 5.463, 90, 90, 90), ATOMS, "paper")


def said(capsys):
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        (FLUORITE, "Right: CaF2, 3.18 g/cm3"),
        (..., "Replace the dots"),
        ({"fluorite": FLUORITE}, "Expected CrystalData(...); it is a dict."),
        (replace(FLUORITE, cell=(0.5463, 0.5463, 0.5463, 90, 90, 90)), "as if they were in nm"),
        (replace(FLUORITE, atoms={"Ca1": (0, 0, 0), "F1": (0.5, 0.5, 0.5)}), "That is Ca4 F4"),
        (replace(FLUORITE, cell=(5.12, 5.12, 5.12, 90, 90, 90)), "handbook says Ca4 F8, 3.18"),
        (replace(FLUORITE, cell=(5.463, 5.463, 5.463)), "Not yet."),
        (replace(FLUORITE, atoms={"Ca1": (0, 0, 0)}), "That is Ca4"),
    ],
)
def test_exercise_1(entry, part, capsys):
    check.e1(entry)
    assert part in said(capsys)


TETRAGONAL = {phase.name: phase for phase in load_phases(ZIRCONIA_FOLDER)}["tetragonal-ZrO2"]
PATTERN = lines(TETRAGONAL)
PAIR = [(PATTERN.hkl == hkl).all(axis=1).argmax() for hkl in ((0, 0, 2), (1, 1, 0))]
GAP, HALF = np.ptp(PATTERN.two_theta[PAIR]), np.radians(PATTERN.two_theta[PAIR].mean() / 2)
SIZE = scherrer_fwhm(HALF, 1, 1.54184) / GAP  # the width goes as 1 / size


@pytest.mark.parametrize(
    ("size", "part"),
    [
        (SIZE, "Right."),
        (13, "Right."),
        (..., "Replace the dots first: merging_size"),
        (10 * SIZE, "in Å"),
        (SIZE / 0.9, "K = 0.9"),
        (2 * SIZE, "distance in theta"),
        (np.radians(SIZE), "in radians"),
        (SIZE * np.cos(HALF) / np.cos(2 * HALF), "half of two-theta"),
        (20, "solve Scherrer's formula"),
        ("13", "without quotes"),
    ],
)
def test_exercise_2(size, part, capsys):
    check.e2(size)
    assert part in said(capsys)


NAMES = ["baddeleyite", "cubic-ZrO2", "zircon"]
TRUTH = [{"zircon"}, set(), {"baddeleyite", "zircon"}]


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        (TRUTH, "Right, all of them."),
        ([["zircon"], (), frozenset(TRUTH[2])], "Right, all of them."),
        (..., "Replace the dots first."),
        ({"zircon"}, "Expected a list of 3 sets, one a scan."),
        (TRUTH[:2], "Expected a list of 3 sets, one a scan."),
        (["zircon", *TRUTH[1:]], "Not yet. scan 0: write a set, such as {'baddeleyite'} or set()."),
        ([{"zirkon"}, *TRUTH[1:]],
         "Not yet. scan 0: zirkon is none of your phases; a phase is in it that was not named."),
        ([*TRUTH[:2], {"zircon"}], "Not yet. scan 2: a phase is in it that was not named."),
        ([*TRUTH[:2], set()], "Not yet. scan 2: a phase is in it that was not named."),
        ([{"cubic-ZrO2"}, *TRUTH[1:]],
         "Not yet. scan 0: a phase is in it that was not named; cubic-ZrO2 is not in it."),
        ([set(), {"zircon"}, TRUTH[2]],
         "Not yet. scan 0: a phase is in it that was not named. scan 1: zircon is not in it."),
    ],
)  # fmt: skip
def test_exercise_3(answers, sentence, capsys):
    check.e3(answers, TRUTH, NAMES)
    assert said(capsys) == sentence
