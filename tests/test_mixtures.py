"""Mixtures: what is said of a sample is what its pattern holds, by the physics of the phases."""

from dataclasses import fields, replace

import numpy as np
import pytest
import samples
from pymatgen.core import Lattice

from xrdclass.diffraction import bragg, lines, radiation, reflections
from xrdclass.errors import DataError
from xrdclass.identify import mixtures as module
from xrdclass.identify.foreign import ForeignCrystals, invent_crystals
from xrdclass.identify.laboratory import Laboratory, from_words
from xrdclass.identify.mixtures import K_BETA, MIXTURE_GRID, MixtureSource
from xrdclass.phases import load_phases

PHASES = load_phases()
NAMES = [phase.name for phase in PHASES]
ANATASE, RUTILE = NAMES.index("anatase"), NAMES.index("rutile")
X = MIXTURE_GRID.two_theta
#: One sample like the other: no strain, texture or shift; narrow peaks.
PLAIN = replace(samples.PLAIN, eta=(0.0, 0.0), caglioti=((0.0, 0.0), (0.0, 0.0), (0.01, 0.01)))


@pytest.fixture(scope="module")
def foreign():
    return invent_crystals(12, 5)


@pytest.fixture(scope="module")
def drawn(foreign):
    return MixtureSource(PHASES, foreign, 1).draw(300)


def strongest_line(label):
    table = lines(PHASES[label])
    return table.two_theta[table.strongest(1)[0]]


def test_the_same_seed_draws_the_same_samples(foreign):
    one, same, other = (MixtureSource(PHASES, foreign, s).draw(8) for s in (1, 1, 2))
    for key in vars(one):
        assert np.array_equal(getattr(one, key), getattr(same, key)), key
    assert not np.array_equal(one.counts, other.counts)
    source = MixtureSource(PHASES, foreign, 1)
    assert not np.array_equal(source.draw(8).counts, source.draw(8).counts)


def test_shapes_and_types(drawn):
    n, k, points = 300, len(PHASES), MIXTURE_GRID.n_points
    shapes = {key: (value.shape, value.dtype.kind) for key, value in vars(drawn).items()}
    assert len(drawn) == n and shapes == {
        "counts": ((n, points), "f"),
        "covered": ((n, points), "b"),
        "present": ((n, k), "b"),
        "foreign": ((n,), "b"),
        "height": ((n, k + 1), "f"),
        "signal_to_noise": ((n, k + 1), "f"),
        "mass": ((n, k), "f"),
        "domain_size": ((n,), "f"),
    }
    assert drawn.counts.dtype == np.float32
    few = drawn.subset(np.arange(n) < 3)
    assert len(few) == 3 and np.array_equal(few.mass, drawn.mass[:3])


def test_counts_are_finite_and_never_negative(drawn, foreign):
    assert np.isfinite(drawn.counts).all() and drawn.counts.min() >= 0
    assert (drawn.counts.max(axis=1) > 0).all()
    dim = MixtureSource(PHASES, foreign, 2).draw(20, counts=3.0, background=0.0)
    assert np.isfinite(dim.counts).all() and dim.counts.min() == 0
    bright = MixtureSource(PHASES, foreign, 2).draw(20, counts=1e6, background=20.0)
    assert np.isfinite(bright.counts).all() and (bright.counts.mean(axis=1) > 1e7).all()


def test_truth_is_consistent(drawn):
    present, k = drawn.present, len(PHASES)
    assert set(np.unique(present.sum(axis=1))) == {0, 1, 2, 3}
    total = drawn.mass.sum(axis=1)
    assert np.allclose(total, present.any(axis=1), atol=1e-12), "Parts add up to 1, or to 0."
    assert ((drawn.mass > 0) == present).all()
    assert ((drawn.height[:, :k] > 0) == present).all()
    assert ((drawn.height[:, k] > 0) == drawn.foreign).all()
    assert drawn.foreign[~present.any(axis=1)].all(), "No sample is empty."
    assert ((drawn.signal_to_noise > 0) == (drawn.height > 0)).all()
    assert (drawn.domain_size >= 4).all() and (drawn.domain_size <= 300).all()


def test_samples_without_a_phase_and_of_each_phase_are_drawn(drawn):
    assert 0.3 < (~drawn.present.any(axis=1)).mean() < 0.55
    assert drawn.present.sum(axis=0).min() > 0.4 * drawn.present.sum(axis=0).max()
    assert 0.2 < (~drawn.foreign).mean() < 0.5


@pytest.mark.parametrize("n_phases", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("n_foreign", [0, 2, 4])
def test_numbers_of_phases_and_crystals_are_honoured(foreign, monkeypatch, n_phases, n_foreign):
    source, parts = MixtureSource(PHASES, foreign, 3), []
    original = source._foreign_part
    monkeypatch.setattr(
        source, "_foreign_part", lambda rows, sample: parts.append(rows) or original(rows, sample)
    )
    found = source.draw(12, n_phases=n_phases, n_foreign=n_foreign)
    assert (found.present.sum(axis=1) == n_phases).all()
    assert (found.foreign == (n_foreign > 0)).all()
    rows = [row for part in parts for row in part]
    assert [rows.count(i) for i in range(12)] == [n_foreign] * 12
    assert np.isfinite(found.counts).all()


def test_different_numbers_for_each_sample(foreign):
    found = MixtureSource(PHASES, foreign, 3).draw(4, n_phases=[0, 1, 2, 3], n_foreign=[1, 0, 2, 0])
    assert found.present.sum(axis=1).tolist() == [0, 1, 2, 3]
    assert found.foreign.tolist() == [True, False, True, False]


#: Settings without chance, and what all samples drawn with them must be.
SURE = [
    ({"n_phases": (0, 1, 0, 0)}, lambda s: s.present.sum(axis=1) == 1),
    ({"n_phases": (1, 0, 0, 0)}, lambda s: s.foreign & (s.mass == 0).all(axis=1)),
    (
        {"n_phases": (0, 1, 0, 0), "n_foreign": (1, 0, 0, 0), "near_miss_chance": 0},
        lambda s: ~s.foreign & (s.mass.max(axis=1) == 1),
    ),
    (
        {"n_phases": (0, 1, 0, 0), "n_foreign": (1, 0, 0, 0), "near_miss_chance": 1},
        lambda s: s.foreign | (s.signal_to_noise[:, -1] == 0),
    ),
    ({"whole_start": 1, "whole_stop": 1}, lambda s: s.covered.all(axis=1)),
    ({"whole_start": 0, "start": (20, 20)}, lambda s: X[s.covered.argmax(axis=1)] == X[600]),
    ({"calculated": 1}, lambda s: s.counts.max(axis=1) == 1000),
    ({"domain_size": (7, 7)}, lambda s: np.isclose(s.domain_size, 7)),
    (
        {"counts": (1e6, 1e6), "background": (2, 2), "calculated": 0},
        lambda s: abs(np.median(s.counts, axis=1) / 2e6 - 1) < 0.9,
    ),
]


@pytest.mark.parametrize(("settings", "holds"), SURE, ids=lambda x: None)
def test_samples_are_what_the_laboratory_says(foreign, settings, holds):
    found = MixtureSource(PHASES, foreign, 21, Laboratory(**settings)).draw(30)
    assert holds(found).all()


def test_a_laboratory_shows_every_setting_and_refuses_impossible_ones():
    shown = str(Laboratory(counts=(50, 60)))
    for f in fields(Laboratory):
        assert f"\n{f.name} " in f"\n{shown}", f.name
    assert "50 to 60" in shown and max(map(len, shown.splitlines())) < 110
    for name, wrong, said in (
        ("n_phases", (0.5, 0.6, 0.0, 0.0), "4 probabilities that add up to 1"),
        ("n_phases", (1.0,), "4 probabilities that add up to 1"),
        ("coarse", 1.5, "one number between 0 and 1"),
        ("counts", (0, 10), "a range"),
        ("grains", (0.3, 0.2, 0.1), "rising"),
        ("strain", 0.5, "one number between 0 and 0.2"),
        ("near_miss", "3 %", "a range"),
    ):
        with pytest.raises(DataError, match=f"{name} must be .*{said}.*; got"):
            Laboratory(**{name: wrong})


def test_coverage_is_one_stretch(drawn):
    edges = np.abs(np.diff(np.pad(drawn.covered, ((0, 0), (1, 1))).astype(int), axis=1))
    assert (edges.sum(axis=1) == 2).all()
    first, last = X[drawn.covered.argmax(axis=1)], X[::-1][drawn.covered[:, ::-1].argmax(axis=1)]
    assert (first <= 26.03).all() and (last >= 57.97).all()
    whole = drawn.covered.all(axis=1).mean()
    assert 0.15 < whole < 0.45


def peaks_drawn(source, monkeypatch, **options):
    """A draw, the peaks that went into its patterns, and the highest point of each pattern."""
    seen = {}

    def render(grid, two_theta, area, fwhm, *rest):
        pattern = original(grid, two_theta, area, fwhm, *rest)
        seen.update(two_theta=two_theta, height=area / fwhm, top=pattern.max(axis=1))
        return pattern

    original = module.render
    monkeypatch.setattr(module, "render", render)
    return source.draw(**options), seen


def test_every_phase_that_is_asked_for_is_in_the_pattern(foreign, monkeypatch):
    """Of many peaks the weakest are left out; never the strongest line of a visible phase."""
    source = MixtureSource(PHASES, foreign, 4)
    found, seen = peaks_drawn(source, monkeypatch, n=60, n_phases=3, n_foreign=3)
    checked = 0
    for row, label in zip(*np.nonzero(found.present), strict=True):
        height = found.height[row, label]
        if height < 0.03:
            continue
        same = np.isclose(seen["height"][row] / seen["top"][row], height, rtol=1e-6)
        places = seen["two_theta"][row][same]
        table = lines(PHASES[label], two_theta=(5, 88))
        # Cells differ by 1.2 % in each parameter, heights by 0.26 mm and zeros by 0.06 degrees.
        reach = 0.25 + 2.4 * np.tan(np.radians(table.two_theta / 2))
        assert (np.abs(places[:, None] - table.two_theta) < reach).any(), (row, NAMES[label])
        assert MIXTURE_GRID.start < places.min() and places.max() < MIXTURE_GRID.stop
        checked += 1
    assert checked > 100


@pytest.mark.parametrize("label", range(5), ids=NAMES)
def test_a_phase_alone_has_its_highest_point_at_a_strong_line(foreign, label):
    """Without texture, strain or shift, the pattern peaks where Bragg's law puts a strong line."""
    n = 20
    mass = np.zeros((n, 5))
    mass[:, label] = 3.0
    source = MixtureSource(PHASES, foreign, 5, PLAIN)
    found = source.draw(n, n_foreign=0, mass=mass, counts=1e5, background=0.001)
    table = lines(PHASES[label])
    strong = table.two_theta[table.intensity > 40]
    highest = X[found.counts.argmax(axis=1)]
    assert np.abs(highest[:, None] - strong).min(axis=1).max() < 0.08
    assert np.allclose(found.mass[:, label], 1) and not found.foreign.any()
    # Fewer than half of the samples have their order of lines changed by coarse grains.
    assert np.median(np.abs(highest - strongest_line(label))) < 0.08 or len(strong) > 1


def area_above(counts, low, high):
    """Sum between two angles, above the line through the ends."""
    inside = (X >= low) & (X <= high)
    part = counts[:, inside]
    ends = (part[:, :4].mean(axis=1) + part[:, -4:].mean(axis=1)) / 2
    return part.sum(axis=1) - ends * inside.sum()


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_mass_gives_the_areas_that_structure_factors_predict(foreign, share):
    """Equal volumes scatter as m |F|^2 LP / V^2: from `bragg`, cell volume and density alone."""
    n = 160
    mass = np.zeros((n, 5))
    mass[:, ANATASE], mass[:, RUTILE] = share, 1 - share
    source = MixtureSource(PHASES, foreign, 6, PLAIN)
    found = source.draw(n, n_foreign=0, mass=7 * mass, counts=1e5, background=0.002)
    assert np.allclose(found.mass, mass)
    seen = area_above(found.counts, 24.6, 26.0) / area_above(found.counts, 26.8, 28.2)

    predicted = {}
    for label, two_theta in ((ANATASE, 25.3), (RUTILE, 27.45)):
        phase = PHASES[label]
        theta, area, _ = bragg(reflections(phase, 1.5), 1.54184, np.zeros((1, 3, 3)))
        line = np.abs(np.degrees(2 * theta[0]) - two_theta).argmin()
        volume = phase.structure.volume
        illuminated = mass[0, label] / (phase.structure.density * volume**2)
        predicted[label] = area[0, line] * illuminated
    expected = predicted[ANATASE] / predicted[RUTILE]
    # Coarse grains scatter each line; their median does not move.
    assert np.median(seen) == pytest.approx(expected, rel=0.06)


def test_equal_masses_by_numbers_from_outside_the_package(foreign):
    """The reference intensity ratios I/Ic of databases: anatase near 5, rutile near 3.5."""
    mass = np.tile(np.array([[1.0, 0, 0, 1.0, 0]]), (160, 1))
    source = MixtureSource(PHASES, foreign, 7, PLAIN)
    found = source.draw(160, n_foreign=0, mass=mass, counts=1e5, background=0.002)
    seen = area_above(found.counts, 24.6, 26.0) / area_above(found.counts, 26.8, 28.2)
    assert 1.2 < np.median(seen) < 1.65


def test_mass_option_refuses_what_is_no_mass(foreign):
    source = MixtureSource(PHASES, foreign, 8)
    with pytest.raises(DataError, match=r"\(samples, phases\) = \(3, 5\); got \(2, 5\)"):
        source.draw(3, mass=np.ones((2, 5)))
    for wrong in (-0.1, np.nan, np.inf):
        with pytest.raises(DataError, match="finite and not negative"):
            source.draw(1, mass=[[0, wrong, 0, 1, 0]])
    with pytest.raises(DataError, match="at least one phase and one foreign crystal"):
        MixtureSource([], foreign)
    with pytest.raises(DataError, match="at least one phase and one foreign crystal"):
        MixtureSource(PHASES, ForeignCrystals(np.zeros((0, 3)), np.zeros((0, 3))))


def test_counts_and_background_are_what_was_asked_for(foreign):
    """Poisson statistics, where no peak is: variance = mean (interpolated scans left out)."""
    mass = np.tile(np.array([[0.0, 0, 0, 1.0, 0]]), (80, 1))
    source = MixtureSource(PHASES, foreign, 9, PLAIN)
    found = source.draw(80, n_foreign=0, mass=mass, counts=1000.0, background=0.5)
    flat = found.counts[:, (X > 58.5) & (X < 61.5)].astype(float)
    mean = flat.mean(axis=1)
    fitted = np.polynomial.polynomial.polyfit(np.arange(flat.shape[1]), flat.T, 2)
    smooth = np.polynomial.polynomial.polyval(np.arange(flat.shape[1]), fitted)
    ratio = (flat - smooth).var(axis=1) / mean
    assert 0.85 < np.median(ratio) < 1.1
    assert found.counts.mean(axis=1) == pytest.approx(np.full(80, 500 + 40), rel=0.25)
    highest = found.counts.max(axis=1)
    assert (highest > 1000).all() and 1300 < np.median(highest) < 1900


@pytest.mark.parametrize("label", range(5), ids=NAMES)
def test_near_misses_are_3_to_8_percent_off(foreign, label):
    source = MixtureSource(PHASES, foreign, 10)
    lattice = PHASES[label].structure.lattice
    basis = source.tables[label].strain_basis
    change = []
    for strain in source._near_miss_strain(basis, 150):
        assert np.allclose(strain, strain.T)
        cell = Lattice(lattice.matrix @ (np.eye(3) + strain))
        lengths = np.array(cell.abc) / lattice.abc - 1
        angles = np.radians(np.array(cell.angles) - lattice.angles)
        change.append(np.abs(np.concatenate([lengths, angles])))
    change = np.array(change)
    largest = change.max(axis=1)
    # A tilted cell's edges feel the shear too: a little less, or more, than the drawn amount.
    assert largest.min() > (0.029 if len(basis) < 4 else 0.02)
    assert largest.max() < (0.081 if len(basis) < 4 else 0.17)
    if PHASES[label].name in ("anatase", "rutile"):
        assert np.allclose(change[:, 0], change[:, 1]) and np.allclose(change[:, 3:], 0, atol=1e-9)
    # Far beyond what samples of the phase itself show, and many scaled evenly.
    assert largest.min() > 1.5 * Laboratory().strain
    even = np.ptp(change[:, :3], axis=1) < 1e-9
    assert 0.25 < even.mean() < 0.6 or len(basis) > 3


def test_imitations_are_foreign_and_not_present(foreign, monkeypatch):
    source = MixtureSource(PHASES, foreign, 11)
    chosen = {}
    original = source._choose

    def choose(*arguments):
        chosen["all"] = original(*arguments)
        return chosen["all"]

    monkeypatch.setattr(source, "_choose", choose)
    found = source.draw(500)
    present, near_miss, lost_line, count = chosen["all"]
    imitated = (near_miss >= 0) | (lost_line >= 0)
    assert (near_miss >= 0).sum() > 20 and (lost_line >= 0).sum() > 5
    assert found.foreign[imitated].all()
    rows = np.flatnonzero(near_miss >= 0)
    assert not found.present[rows, near_miss[rows]].any(), "Never beside the phase itself."
    rows = np.flatnonzero(lost_line >= 0)
    assert not found.present[rows].any()
    assert (found.foreign == (imitated | (count > 0))).all()


def test_lost_lines_are_strong_ones_with_all_that_would_hide_the_loss(foreign):
    source = MixtureSource(PHASES, foreign, 12)
    two_theta = np.tile(np.array([25.0, 36, 48, 25.6, 60, 70]), (200, 1))
    area = np.tile(np.array([100.0, 80, 60, 50, 20, 10]), (200, 1))
    kept = source._without_strong_lines(two_theta, area)
    assert set(np.unique(kept)) == {0, 1} and (kept[:, 4:] == 1).all()
    lost = kept[:, :3] == 0
    assert set(lost.sum(axis=1)) == {1, 2} and lost.any(axis=0).all()
    assert (kept[:, 3] == kept[:, 0]).all(), "Its neighbour at 0.6 degrees goes with it."


def test_cells_of_most_samples_are_close_to_the_tabulated_one(foreign, monkeypatch):
    source, seen = MixtureSource(PHASES, foreign, 14), []
    original = module.peaks

    def peaks(table, drawn, *rest):
        seen.append(np.abs(drawn["strain"]).max(axis=(1, 2)))
        return original(table, drawn, *rest)

    monkeypatch.setattr(module, "peaks", peaks)
    source.draw(400, n_phases=2, n_foreign=0)
    strain = np.concatenate(seen)
    assert 0.65 < (strain < 0.25 * 0.012).mean() < 0.85 and 0.008 < strain.max() <= 0.012 + 1e-12


def test_heights_are_those_of_lines_within_the_range(foreign):
    """Anatase's strongest line, (101) at 25.3 degrees, counts only where there are data."""
    mass = np.zeros((300, 5))
    mass[:, ANATASE] = 1
    found = MixtureSource(PHASES, foreign, 15, PLAIN).draw(300, n_foreign=0, mass=mass)
    begins = X[found.covered.argmax(axis=1)]
    # A doublet, one line on top of the other, is higher than either: the first has 0.75 of it.
    high, low = found.height[begins < 24.8, ANATASE], found.height[begins > 25.6, ANATASE]
    assert len(low) > 5 and high.min() > 0.7 and low.max() < 0.65


def test_k_beta_ghosts_lie_where_braggs_law_puts_them(foreign):
    source, wave = MixtureSource(PHASES, foreign, 13), radiation("Cu").mean
    table = lines(PHASES[RUTILE], two_theta=(5, 85))
    n = 300
    two_theta = np.tile(np.concatenate([table.two_theta, [80.0] * 30]), (n, 1))
    area = np.tile(np.concatenate([table.intensity, [1e-9] * 30]), (n, 1))
    fwhm = np.full_like(area, 0.1)
    x, a, w = source._with_k_beta(two_theta, area, fwhm)
    old = two_theta.shape[1]
    assert np.array_equal(x[:, :old], two_theta) and np.array_equal(a[:, :old], area)
    ghosts, heights = x[:, old:], a[:, old:]
    assert (w[:, old:] == 0.1).all()
    some = heights.max(axis=1) > 0
    assert 0.2 < some.mean() < 0.5 and heights.max() <= 0.03 * area.max()
    d_spacing = np.sort(wave / 2 / np.sin(np.radians(table.two_theta / 2)))
    # Copper's K-beta 1,3 as measured by Hölzer et al. (1997): 1.392234 Å.
    assert pytest.approx(1.392234, abs=1e-4) == K_BETA
    expected = np.degrees(2 * np.arcsin(1.392234 / 2 / d_spacing))
    strong = heights > 1e-3 * heights.max()
    apart = np.abs(ghosts[strong][:, None] - expected).min(axis=1)
    assert apart.max() < 0.01
    first = ghosts[np.flatnonzero(some)[0]]
    assert np.abs(first - np.degrees(2 * np.arcsin(1.392234 / 2 / 3.2482))).min() < 0.02


def test_a_laboratory_is_read_from_words():
    made = from_words([["counts", "1000", "5e4"], ["hump_chance", "0"]], strain=0.02)
    assert made == Laboratory(counts=(1000, 5e4), hump_chance=0.0, strain=0.02)
    for words, said in (
        (["color", "1"], "no setting 'color'"),
        (["strain", "much"], "strain must"),
    ):
        with pytest.raises(DataError, match=said):
            from_words([words])
