"""What `check` says of folders of CIF files: distances, lines, doubts, phases that look alike."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from test_phases import cif

from xrdclass.check import (
    check_cif,
    likeness,
    print_check,
    shortest_distances,
    strongest_lines,
)
from xrdclass.diffraction import lines
from xrdclass.evaluation import cosine_similarity, ideal_patterns
from xrdclass.patterns import TwoThetaGrid
from xrdclass.phases import CIF_FOLDER, MINERALS_FOLDER, ZIRCONIA_FOLDER, load_phases

TIO2 = load_phases()
RUTILE = TIO2[3]
QUARTZ = next(p for p in load_phases(MINERALS_FOLDER) if p.name == "quartz")


def test_distances_are_those_of_the_crystal():
    """Rutile by hand: four oxygen atoms near, two far; the edge between two octahedra; c."""
    a, c, x = 4.5937, 2.9587, 0.30478
    near = np.sqrt(2 * ((0.5 - x) * a) ** 2 + (c / 2) ** 2)
    edge = np.sqrt(2) * a * (1 - 2 * x)
    expected = {"Ti-O": near, "O-O": edge, "Ti-Ti": c}
    found = shortest_distances(RUTILE.structure)
    assert list(found) == list(expected) and found == pytest.approx(expected)


def test_the_strongest_lines_are_those_of_diffraction():
    strongest, found = strongest_lines(RUTILE), lines(RUTILE)
    assert [hkl for _, hkl in strongest[:3]] == [(1, 1, 0), (2, 1, 1), (1, 0, 1)]
    assert [angle for angle, _ in strongest] == list(found.two_theta[found.strongest(4)])


def test_lines_at_one_angle_are_one():
    """Quartz: (1 0 1) and (1 0 -1) are no equivalents, but have one spacing."""
    angles = [angle for angle, _ in strongest_lines(QUARTZ)]
    assert angles == pytest.approx([26.65, 20.87, 50.17, 59.98], abs=0.01)
    # Cobalt: arcsin(1.79026 / 1.54184 sin 13.325 degrees) twice.
    assert strongest_lines(QUARTZ, "Co")[0][0] == pytest.approx(31.04, abs=0.02)


def test_likeness_without_strain_is_the_cosine_similarity():
    patterns = ideal_patterns(TIO2, TwoThetaGrid(10, 90, 0.02)).intensity
    expected = cosine_similarity(patterns, patterns)
    assert np.allclose(likeness(TIO2, strain=0), expected, atol=0.003)


def test_a_cell_within_the_strain_makes_a_twin_and_a_larger_one_does_not():
    alike = []
    for strain in (0, 0.01, 0.04):
        other = RUTILE.structure.copy()
        other.apply_strain(strain)
        alike.append(likeness([RUTILE, replace(RUTILE, structure=other)])[0, 1])
    assert alike[0] == pytest.approx(1) and alike[1] > 0.98 and alike[2] < 0.5


def test_cubic_and_tetragonal_zirconia_are_twins_of_small_crystallites():
    phases = load_phases(ZIRCONIA_FOLDER)[1:3]
    small, large = (likeness(phases, domain_size=size)[0, 1] for size in (8, 50))
    assert small > 0.95 > large


def test_a_folder_is_printed_with_what_is_wrong_in_it(tmp_path, capsys):
    assert print_check(CIF_FOLDER)
    said = capsys.readouterr().out
    assert "rutile  TiO2  4.25 g/cm3\n    shortest distances Ti-O 1.95, O-O 2.54" in said
    assert "strongest lines 27.46 (1 1 0), 54.37 (2 1 1)" in said
    assert "!" not in said and "Hardly" not in said
    shutil.copy(CIF_FOLDER / "rutile.cif", tmp_path / "rutile.cif")
    copy = (CIF_FOLDER / "rutile.cif").read_text().replace("2.9587", "2.97")
    (tmp_path / "twin.cif").write_text(copy)
    (tmp_path / "half.cif").write_text(cif(["Ti 0 0 0 0.5"], (3, 3, 3, 90, 90, 90)))
    (tmp_path / "close.cif").write_text(cif(["Ti 0 0 0 1", "O 0.3 0 0 1"]))
    (tmp_path / "letter.cif").write_text("Dear colleague,")
    assert not print_check(tmp_path)
    said = capsys.readouterr().out
    assert "letter  not read\n    ! " in said and "letter.cif is not a crystal structure" in said
    assert "! half.cif: some sites are partly occupied" in said
    assert "! close.cif: Ti-O 1.23 Å is too close." in said
    assert "Hardly told apart (30 nm, cells within 1.2%), with similarity:" in said
    assert "    rutile, twin  0.98\n" in said and said.count(", twin") == 1


def test_a_folder_in_which_nothing_can_be_read(tmp_path, capsys):
    (tmp_path / "letter.cif").write_text("Dear colleague,")
    assert not print_check(tmp_path)
    assert "not read" in capsys.readouterr().out


@pytest.mark.parametrize("folder", [CIF_FOLDER, ZIRCONIA_FOLDER, MINERALS_FOLDER])
def test_no_bond_of_a_good_structure_is_called_too_close(folder):
    assert all(check_cif(path)[1] == [] for path in folder.glob("*.cif"))
