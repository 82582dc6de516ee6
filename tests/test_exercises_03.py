"""What lesson 03's checks say of right answers, and of the wrong ones that students give."""

import numpy as np
import pytest

from xrdclass.diffraction import lines
from xrdclass.exercises import lesson_03 as check
from xrdclass.noise import Noise, poisson_counts
from xrdclass.patterns import DEFAULT_GRID
from xrdclass.phases import MINERALS_FOLDER, load_phases


def said(capsys, exercise, *answers):
    """The one line that a check prints."""
    exercise(*answers)
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return out.strip()


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ((2250, 16), "Right."),
        ((2250.0001, 15.9), "Right."),
        ((np.int64(2250), np.float32(16)), "Right."),
        ((..., 16), "Replace the dots first: counts_needed"),
        ((2250, ...), "Replace the dots first: times_longer"),
        (([2250], 16), "one number"),
        ((47.4, 16), "The square is missing"),
        ((250, 16), "three times as high"),
        ((2700, 16), "own noise"),
        ((22500, 16), "of the strongest point"),
        ((22.5, 16), "2 % is 0.02"),
        ((1000, 16), "rises by 20 counts, and the noise is 10"),
        ((-5, 16), "not yet"),
        ((2250, 4), "ratio of the noises"),
        ((2250, 1 / 16), "Turn it over"),
        ((2250, 2), "Its root"),
        ((2250, 3), "Compare the counts"),
    ],
)
def test_counts_for_a_weak_line(answer, part, capsys):
    assert part in said(capsys, check.e1, *answer)


def test_a_line_counted_so_stands_three_times_above_the_noise():
    n = check.UNDER * (check.TIMES / check.LINE) ** 2
    under = poisson_counts(np.full(100_000, check.UNDER * n), 1)
    assert check.LINE * n / under.std() == pytest.approx(check.TIMES, rel=0.02)


FAST = Noise(counts=(300, 900))


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ((FAST, 300**-0.5), "Right."),
        ((Noise(counts=[300, 900]), 0.058), "Right."),
        ((..., 0.058), "Replace the dots"),
        ((FAST, ...), "Replace the dots first: highest_noise"),
        (((300, 900), 0.058), "should be a Noise"),
        ((Noise(), 0.058), "you draw 400 to 10000"),
        ((Noise(counts=(9000, 27000)), 0.058), "One minute of thirty"),
        ((Noise(counts=(300, 900), air=(0, 0.03)), 0.058), "do they change with time"),
        ((FAST, 1 / 30), "That is the smallest"),
        ((FAST, 5.77), "not in per cent"),
        ((FAST, 300**0.5), "in counts"),
        ((FAST, 0.1), "1 / sqrt(N)"),
    ],
)
def test_noise_for_a_fast_scan(answer, part, capsys):
    assert part in said(capsys, check.e2, *answer)


MODEL = 20 + 400 * np.exp(-(np.linspace(-30, 30, 4001) ** 2))
PANELS = {letter: poisson_counts(MODEL, seed).astype(float) for seed, letter in enumerate("ABCD")}
PANELS["B"] = poisson_counts(1.2 * MODEL, 9).astype(float)
MISFITS = {k: np.sqrt(np.mean((y - MODEL) ** 2 / MODEL)) for k, y in PANELS.items()}


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (("B", MISFITS, "B"), "Right. Your eye agreed"),
        (("C", MISFITS, "B"), "Right. Your eye chose another"),
        (("B", {k: round(v, 2) for k, v in MISFITS.items()}, "B"), "Right."),
        (("B", MISFITS, "A"), "no worse than by chance"),
        (("B", MISFITS, "E"), "one of the letters A, B, C, D"),
        (("B", MISFITS, ...), "write your two letters"),
        (("B", dict.fromkeys("ABCD", ...), "B"), "Replace the dots first"),
        (("B", {k: v**2 for k, v in MISFITS.items()}, "B"), "misfits, not yet"),
        (("B", 1.0, "B"), "one number for each of A, B, C, D"),
    ],
)
def test_which_one_is_the_scan(answer, part, capsys):
    assert part in said(capsys, check.e3, *answer, PANELS, MODEL)


QUARTZ = lines(next(p for p in load_phases(MINERALS_FOLDER) if p.name == "quartz"))
SCAN = check.scaled_quartz()


def estimate(subtract=0.0, distance=1.0, power=1.0):
    """The strongest point's counts from the ratio of level and variance between the lines."""
    visible = QUARTZ.two_theta[QUARTZ.intensity > 0.3]
    free = np.abs(DEFAULT_GRID.two_theta[:, None] - visible).min(axis=1) > distance
    level = SCAN[free].mean() - subtract
    variance = (np.diff(SCAN, 4) ** 2 / 70)[free[2:-2]].mean()
    return 1000 * (level / variance) ** power


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ((estimate(), estimate(8)), "Right: the strongest point had"),
        ((estimate(distance=0.8), estimate(8, distance=0.8)), "Right"),
        ((round(estimate(), -1), round(estimate(8))), "Right"),
        ((..., ...), "Replace the dots"),
        ((1000 / (estimate() / 1000), estimate(8)), "Turned over"),
        ((1000 / estimate(), estimate(8)), "the scale itself"),
        ((estimate(power=0.5), estimate(8)), "not its square"),
        ((estimate(8), estimate(8)), "what is it worth"),
        ((1000, estimate(8)), "free of quartz's lines"),
        ((estimate(), estimate()), "put scaled - 8"),
    ],
)
def test_how_many_counts_a_scaled_scan_had(answer, part, capsys):
    assert part in said(capsys, check.e4, *answer)


def test_the_scan_was_scaled_to_1000_and_rounded():
    assert SCAN.max() == 1000 and (SCAN == np.rint(SCAN)).all() and SCAN.min() >= 0
