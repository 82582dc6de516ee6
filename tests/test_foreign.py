"""Invented crystals: the same physics as the real phases, and within the limits that are stated."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.groups import SpaceGroup

from xrdclass.diffraction import bragg, lines, reflections
from xrdclass.identify.foreign import (
    COMMON_GROUPS,
    D_MIN,
    N_LINES,
    SIMPLE,
    SIMPLE_GROUPS,
    _lines,
    _operations,
    _random_cell,
    _random_crystal,
    invent_crystals,
)
from xrdclass.phases import MINERALS_FOLDER, Phase, load_phases

CU = 1.54184
KNOWN = {
    p.name: p.structure for p in load_phases(MINERALS_FOLDER) if p.name in ("halite", "zincite")
}
KNOWN["CsCl"] = Structure(Lattice.cubic(4.123), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
KNOWN["tilted"] = Structure(
    Lattice.from_parameters(5.1, 6.2, 4.3, 81, 97, 104),
    ["Ti", "Si", "O"],
    [[0.1, 0.2, 0.3], [0.55, 0.61, 0.83], [0.37, 0.05, 0.66]],
)


@pytest.fixture(scope="module")
def crystals():
    return invent_crystals(25, 1)


def lines_by_hand(structure):
    """d-spacings and strengths of a structure's lines, as a foreign crystal's are worked out."""
    atoms = {}
    for site in structure:
        atoms.setdefault(site.specie.symbol, []).append(site.frac_coords)
    atoms = {element: np.array(sites) for element, sites in atoms.items()}
    d_spacing, strength = _lines(np.array(structure.lattice.matrix), atoms)
    return d_spacing[d_spacing > 0], strength[d_spacing > 0]


def merged(d_spacing, strength):
    """Lines of one d-spacing as one, by falling d-spacing."""
    order = np.argsort(-d_spacing)
    d_spacing, strength = d_spacing[order], strength[order]
    group = np.concatenate([[0], np.cumsum(-np.diff(d_spacing) > 2e-4 * d_spacing[1:])])
    return np.bincount(group, d_spacing) / np.bincount(group), np.bincount(group, strength)


def lorentz_polarisation(d_spacing):
    theta = np.arcsin(CU / 2 / d_spacing)
    return (1 + np.cos(2 * theta) ** 2) / (np.sin(theta) ** 2 * np.cos(theta))


@pytest.mark.parametrize("name", KNOWN)
def test_lines_of_known_crystals_are_those_of_diffraction(name):
    structure = KNOWN[name]
    highest = np.degrees(2 * np.arcsin(CU / 2 / D_MIN))
    expected = lines(Phase(name, 0, structure, "test"), CU, (3, highest - 1e-6))
    d, intensity = merged(expected.d_spacing, expected.intensity)
    found_d, strength = merged(*lines_by_hand(structure))
    found = strength * lorentz_polarisation(found_d)
    # Lines below 0.1 % of the strongest may be left out; none is added.
    places = np.abs(found_d[:, None] - d).argmin(axis=1)
    assert np.allclose(found_d, d[places], rtol=3e-5)
    assert len(set(places)) == len(places)
    found, intensity = found / found.max(), intensity / intensity.max()
    assert np.allclose(found, intensity[places], rtol=2e-3, atol=2e-5)
    left_out = np.setdiff1d(np.arange(len(d)), places)
    assert (intensity[left_out] < 2e-3).all()


def test_extinctions_of_halite():
    """Face-centred: hkl all even or all odd; N = 3, 4, 8, 11, 12 ... the sums of three squares."""
    d, _ = lines_by_hand(KNOWN["halite"])
    sums = np.unique(np.rint((5.6406 / d) ** 2).astype(int))
    assert sums.tolist() == [3, 4, 8, 11, 12, 16, 19, 20]
    assert np.allclose(5.6406 / np.sqrt(np.rint((5.6406 / d) ** 2)), d, rtol=1e-6)


def test_the_same_seed_invents_the_same_crystals(crystals):
    again, other = invent_crystals(25, 1), invent_crystals(6, 2)
    assert np.array_equal(again.d_spacing, crystals.d_spacing)
    assert np.array_equal(again.strength, crystals.strength)
    assert not np.array_equal(other.d_spacing, crystals.d_spacing[:6])
    # A larger set begins with a smaller one.
    assert np.array_equal(invent_crystals(3, 2).strength, other.strength[:3])


def test_lines_lie_within_their_limits(crystals):
    d, strength = crystals.d_spacing, crystals.strength
    assert len(crystals) == 25 and d.shape == strength.shape == (25, N_LINES)
    assert d.dtype == strength.dtype == np.float32
    there = d > 0
    assert (there == (strength > 0)).all(), "Padding is zero in both."
    assert (np.diff(there.astype(int), axis=1) <= 0).all(), "Padding comes last."
    assert (there.sum(axis=1) >= 2).all()
    assert (d[there] > D_MIN - 1e-4).all() and (d[there] < 25 + 1e-4).all()
    assert strength.max(axis=1) == pytest.approx(np.ones(25))
    # Strongest as seen with copper first, however strong the factor of angle makes it.
    seen = np.where(there, strength * lorentz_polarisation(np.where(there, d, 2)), 0)
    assert (np.diff(seen, axis=1) <= 0.03 * seen[:, :1]).all()


def test_crystals_differ(crystals):
    counts = (crystals.d_spacing > 0).sum(axis=1)
    assert len(set(counts.tolist())) > 10 and counts.min() < counts.max() / 2
    assert len(np.unique(np.rint(100 * crystals.d_spacing[:, 0]))) > 20


@pytest.mark.parametrize(
    ("group", "system"),
    [(2, "triclinic"), (14, "monoclinic"), (62, "orthorhombic"), (136, "tetragonal"),
     (167, "hexagonal"), (194, "hexagonal"), (227, "cubic")],
)  # fmt: skip
def test_cells_have_the_system_and_volume_of_their_group(group, system):
    rng = np.random.default_rng(0)
    for volume in (40.0, 400.0):
        cell = Lattice(_random_cell(group, volume, rng))
        (a, b, c), angles = cell.abc, np.array(cell.angles)
        assert cell.volume == pytest.approx(volume)
        right = np.isclose(angles, 90)
        assert right.tolist() == {
            "triclinic": [False] * 3,
            "monoclinic": [True, False, True],
            "hexagonal": [True, True, False],
        }.get(system, [True] * 3)
        assert np.isclose(a, b) == (system in ("tetragonal", "hexagonal", "cubic"))
        assert np.isclose(a, c) == (system == "cubic")
        assert system != "hexagonal" or angles[2] == pytest.approx(120)


def test_atoms_obey_a_space_group():
    """Each element's atoms are mapped onto themselves by all operations of one of the groups."""
    rng = np.random.default_rng(3)
    kinds = set()
    for _ in range(8):
        state = rng.bit_generator.state
        _, atoms = _random_crystal(rng)
        copy = np.random.default_rng()
        copy.bit_generator.state = state
        simple, common = copy.random() < SIMPLE, copy.random() < 0.6
        group = int(copy.choice(COMMON_GROUPS)) if common else int(copy.integers(1, 231))
        group = int(copy.choice(SIMPLE_GROUPS)) if simple else group
        kinds.add(simple)
        assert not simple or len(atoms) <= 2
        rotations, translations = _operations(group)
        assert len(rotations) == SpaceGroup.from_int_number(group).order
        for sites in atoms.values():
            images = (sites @ rotations.transpose(0, 2, 1) + translations[:, None]).reshape(-1, 3)
            apart = images[:, None] - sites
            apart = np.abs(apart - np.rint(apart)).max(axis=2).min(axis=1)
            assert apart.max() < 5e-4, group
    assert kinds == {True, False}


def test_missing_lines_of_crystals_that_are_too_large():
    huge = np.diag([80.0, 80.0, 80.0])
    assert _lines(huge, {"O": np.zeros((1, 3))}) is None
    tiny = np.diag([1.0, 1.0, 1.0])
    assert _lines(tiny, {"O": np.zeros((1, 3))}) is None


def test_strength_is_intensity_without_the_factors_of_angle():
    """Against `bragg` directly: multiplicity times |F|^2, the strongest 1."""
    structure = KNOWN["CsCl"]
    table = reflections(Phase("CsCl", 0, structure, "test"), D_MIN)
    theta, intensity, _ = bragg(table, CU, np.zeros((1, 3, 3)))
    d = CU / 2 / np.sin(theta[0])
    strongest = (intensity[0] / lorentz_polarisation(d)).max()
    d_found, strength = lines_by_hand(structure)
    for hkl, multiplicity in (((1, 1, 0), 12), ((1, 0, 0), 6), ((2, 1, 1), 24)):
        place = np.abs(d_found - 4.123 / np.linalg.norm(hkl)).argmin()
        row = np.abs(d - 4.123 / np.linalg.norm(hkl)).argmin()
        assert table.multiplicity[row] == multiplicity
        expected = intensity[0][row] / lorentz_polarisation(d[row]) / strongest
        assert strength[place] == pytest.approx(expected, rel=1e-4)
