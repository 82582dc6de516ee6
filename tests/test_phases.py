"""The shipped structures against the cited numbers; folders of CIF files; a database in small."""

import re
import socket
import warnings
from dataclasses import replace

import numpy as np
import pytest
import servers
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from xrdclass.diffraction import bragg, lines, reflections
from xrdclass.errors import DataError, DownloadError, PhaseError
from xrdclass.files import cif as cif_files
from xrdclass.phases import (
    CIF_FOLDER,
    MINERALS_FOLDER,
    ZIRCONIA_FOLDER,
    CrystalData,
    download_cod,
    load_phases,
    read_cif,
    write_cifs,
)

NAMES = ["anatase", "beta-TiO2", "brookite", "rutile", "TiO2-II"]
# Space group, cell (Å, degrees), density (g/cm3) and formula units a cell, from the literature.
FACTS = {
    "anatase": (141, (3.7842, 3.7842, 9.5146, 90, 90, 90), 3.893, 4),
    "beta-TiO2": (12, (12.1787, 3.7412, 6.5249, 90, 107.054, 90), 3.733, 8),
    "brookite": (61, (9.174, 5.449, 5.138, 90, 90, 90), 4.131, 8),
    "rutile": (136, (4.5937, 4.5937, 2.9587, 90, 90, 90), 4.248, 2),
    "TiO2-II": (60, (4.515, 5.497, 4.939, 90, 90, 90), 4.328, 4),
}
# Space group, cell, handbook density with its spread, atoms a cell, and the distances from Zr to O
# (Å): for zircon those that its authors print, for tetragonal ZrO2 four short and four long ones.
ZIRCONIA_FACTS = {
    "baddeleyite": (
        14, (5.1505, 5.2116, 5.3173, 90, 99.23, 90), (5.83, 0.03), {"Zr": 4, "O": 8},
        (2.05, 2.06, 2.15, 2.16, 2.18, 2.24, 2.27),
    ),
    "cubic-ZrO2": (
        225, (5.124, 5.124, 5.124, 90, 90, 90), (6.1, 0.05), {"Zr": 4, "O": 8}, (2.22,) * 8
    ),
    "tetragonal-ZrO2": (
        137, (3.5961, 3.5961, 5.177, 90, 90, 90), (6.1, 0.05), {"Zr": 2, "O": 4},
        (2.08,) * 4 + (2.37,) * 4,
    ),
    "zircon": (
        141, (6.607, 6.607, 5.982, 90, 90, 90), (4.65, 0.06), {"Zr": 4, "Si": 4, "O": 16},
        (2.131,) * 4 + (2.268,) * 4,
    ),
}  # fmt: skip
# Space group, handbook density (g/cm3), the shortest bond (Å) and the number of such neighbours.
MINERAL_FACTS = {
    "calcite": (167, 2.71, ("C", "O", 1.28, 3)),  # Effenberger et al. (1981): 1.2815
    "cassiterite": (136, 7.00, ("Sn", "O", 2.047, 2)),
    "corundum": (167, 3.99, ("Al", "O", 1.855, 3)),  # Lewis et al. (1982): 1.8551
    "diamond": (227, 3.515, ("C", "C", 1.5445, 4)),
    "fluorite": (225, 3.18, ("Ca", "F", 2.366, 8)),
    "galena": (225, 7.60, ("Pb", "S", 2.968, 6)),
    "halite": (225, 2.165, ("Na", "Cl", 2.820, 6)),
    "hematite": (167, 5.26, ("Fe", "O", 1.945, 3)),  # Blake et al. (1966): 1.945
    "periclase": (225, 3.58, ("Mg", "O", 2.106, 6)),
    "quartz": (154, 2.65, ("Si", "O", 1.605, 2)),  # Levien et al. (1980): 1.605
    "silicon": (227, 2.329, ("Si", "Si", 2.352, 4)),
    "sphalerite": (216, 4.09, ("Zn", "S", 2.342, 4)),
    "zincite": (186, 5.68, ("Zn", "O", 1.974, 3)),  # Kisi & Elcombe (1989): 1.9739
}
SHIPPED = {
    phase.name: (folder / f"{phase.name}.cif", phase)
    for folder in (CIF_FOLDER, ZIRCONIA_FOLDER, MINERALS_FOLDER)
    for phase in load_phases(folder)
}
CELL_KEYS = "length_a length_b length_c angle_alpha angle_beta angle_gamma".split()


def cif(atoms, cell=(4.1, 5.2, 6.3, 80, 95, 101), symmetry="_space_group_name_H-M_alt 'P 1'\n"):
    """A CIF file's text; ``atoms`` are lines of symbol, x, y, z and occupancy."""
    columns = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")
    return (
        "data_x\n"
        + symmetry
        + "".join(f"_cell_{key} {value}\n" for key, value in zip(CELL_KEYS, cell, strict=True))
        + "loop_\n"
        + "".join(f"_atom_site_{column}\n" for column in columns)
        + "".join(f"A{i} {line}\n" for i, line in enumerate(atoms))
    )


def load_one(folder, text, name="x.cif"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return load_phases(folder)[0]


@pytest.mark.parametrize("name", [*FACTS, *ZIRCONIA_FACTS])
def test_shipped_structures_have_the_cited_numbers(name):
    if name in FACTS:
        number, cell, density, units = FACTS[name]
        density, atoms = (density, 0.002), {"Ti": units, "O": 2 * units}
    else:
        number, cell, density, atoms, _ = ZIRCONIA_FACTS[name]
    structure = SHIPPED[name][1].structure
    assert SpacegroupAnalyzer(structure, symprec=0.01).get_space_group_number() == number
    assert np.allclose(structure.lattice.parameters, cell, atol=1e-6)
    assert structure.density == pytest.approx(density[0], abs=density[1])
    assert structure.composition.as_dict() == atoms


@pytest.mark.parametrize("name", [*FACTS, *ZIRCONIA_FACTS])
def test_metals_have_their_oxygen_neighbours_at_the_published_distances(name):
    for site in (structure := SHIPPED[name][1].structure):
        near = [n for n in structure.get_neighbors(site, 2.8) if n.specie.symbol == "O"]
        distances = sorted(neighbour.nn_distance for neighbour in near)
        if site.specie.symbol == "Ti":
            assert len(distances) == 6 and 1.775 <= distances[0] <= distances[5] <= 2.315
        if site.specie.symbol == "Zr":
            assert distances == pytest.approx(list(ZIRCONIA_FACTS[name][4]), abs=0.01)
        if site.specie.symbol == "Si":
            assert distances[:4] == pytest.approx([1.622] * 4, abs=0.002)


@pytest.mark.parametrize("name", MINERAL_FACTS)
def test_minerals_have_handbook_densities_and_published_bonds(name):
    number, density, (centre, neighbour, bond, count) = MINERAL_FACTS[name]
    structure = SHIPPED[name][1].structure
    assert SpacegroupAnalyzer(structure, symprec=0.01).get_space_group_number() == number
    assert structure.density == pytest.approx(density, rel=0.003)
    site = next(s for s in structure if s.specie.symbol == centre)
    near = [n for n in structure.get_neighbors(site, 3) if n.specie.symbol == neighbour]
    distances = sorted(n.nn_distance for n in near)
    assert distances[:count] == pytest.approx([bond] * count, abs=0.004)
    assert len(distances) == count or distances[count] > bond + 0.005


def test_families_do_not_mix():
    assert [phase.name for phase in load_phases()] == NAMES
    assert [phase.name for phase in load_phases(ZIRCONIA_FOLDER)] == sorted(ZIRCONIA_FACTS)
    assert [phase.name for phase in load_phases(MINERALS_FOLDER)] == list(MINERAL_FACTS)
    for path, phase in SHIPPED.values():  # each says where its numbers are from
        assert f"# Numbers from {phase.source}." in path.read_text()
        assert re.search(r"\(1[89]\d\d\)|7th ed", phase.source)


def test_labels_follow_the_sorted_names(tmp_path):
    assert [(p.name, p.label) for p in load_phases()] == [(n, i) for i, n in enumerate(NAMES)]
    for name in ("b.cif", "a10.CIF", "C.cif", "A2.cif"):
        (tmp_path / name).write_text(cif(["Ti 0 0 0 1"]))
    (tmp_path / "notes.txt").write_text("not a structure")
    found = load_phases(tmp_path)
    assert [(p.name, p.label) for p in found] == [("a10", 0), ("A2", 1), ("b", 2), ("C", 3)]
    assert found[0].source == "CIF file a10.CIF"


@pytest.mark.parametrize(
    "text",
    ["", "\n \n", "This is a letter, not a structure.\n", "data_x\n_cell_length_a 4\n", "\0\1\2"]
    + [cif([]), cif(["Ti ? ? ? 1"]), cif(["Ti 0 0 0 1"], cell=(4, 5, 0, 90, 90, 90))]
    + [cif(["Ti 0 0 0 0.8", "Zr 0 0 0 0.7"])],
)
def test_what_is_no_structure_is_refused_in_one_sentence(tmp_path, text):
    with pytest.raises(PhaseError, match="x.cif is not a crystal structure in CIF") as error:
        load_one(tmp_path, text)
    assert "\n" not in str(error.value)


def test_folders_without_structures(tmp_path):
    with pytest.raises(PhaseError, match="is not a folder"):
        load_phases(tmp_path / "missing")
    with pytest.raises(PhaseError, match="holds no .cif file"):
        load_phases(tmp_path)
    (tmp_path / "a.cif").mkdir()
    with pytest.raises(PhaseError, match="holds no .cif file"):
        load_phases(tmp_path)


def test_unknown_element_and_two_files_of_one_name(tmp_path):
    with pytest.raises(PhaseError, match="names Xx.* expected chemical elements"):
        load_one(tmp_path / "one", cif(["Xx 0 0 0 1"]))
    for name in ("Rutile.cif", "rutile.CIF"):
        (tmp_path / name).write_text(cif(["Ti 0 0 0 1"]))
    if len(list(tmp_path.glob("*.[cC]*"))) < 2:
        pytest.skip("this file system does not tell the two names apart")
    with pytest.raises(PhaseError, match="called 'rutile'; rename one"):
        load_phases(tmp_path)


def test_partly_occupied_sites_scatter_in_proportion(tmp_path):
    shared = ["Ti 0 0 0 0.7", "Zr 0 0 0 0.3", "O 0.5 0.4 0.3 0.9"]
    with pytest.warns(UserWarning, match="x.cif: some sites are partly occupied"):
        phase = load_one(tmp_path / "a", cif(shared))
    expected = XRDCalculator(1.54184).get_pattern(phase.structure, two_theta_range=(5, 90))
    found = lines(phase)
    assert np.allclose(found.two_theta, expected.x, atol=1e-3)
    assert np.allclose(found.intensity, expected.y, atol=0.1)
    # By hand: one half-occupied atom alone scatters a quarter, whatever the angle.
    with pytest.warns(UserWarning, match="partly occupied"):
        half = load_one(tmp_path / "b", cif(["Ti 0 0 0 0.5"]))
    full = load_one(tmp_path / "c", cif(["Ti 0 0 0 1"]))
    areas = [bragg(reflections(p, 1.2), 1.54184, np.zeros((1, 3, 3)))[1] for p in (half, full)]
    assert np.allclose(areas[0], areas[1] / 4)


def read(folder, text):
    """A structure, and the warnings without the file's name."""
    (folder / "x.cif").write_text(text, encoding="utf-8")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        structure, _ = read_cif(folder / "x.cif")
    return structure, [str(w.message).removeprefix("x.cif: ") for w in caught]


def restated(name, *symmetry):
    """A shipped file's text with these lines in place of its space group and its operations."""
    text = SHIPPED[name][0].read_text()
    text = re.sub(r"_space_group_name_H-M_alt.*\n_space_group_IT_number.*\n", "", text)
    lines = "".join(f"{line}\n" for line in symmetry)
    return re.sub(r"loop_\n_space_group_symop_operation_xyz\n('.*\n)+", lambda _: lines, text)


def hm(symbol):
    return f"_symmetry_space_group_name_H-M '{symbol}'"


def hall(symbol):
    return f"_space_group_name_Hall '{symbol}'"


def number(value):
    return f"_symmetry_Int_Tables_number {value}"


IDENTITY = "loop_\n_symmetry_equiv_pos_as_xyz\n'x, y, z'"


def same(one, other):
    matcher = StructureMatcher(primitive_cell=False, scale=False, ltol=1e-3, stol=1e-3)
    return len(one) == len(other) and matcher.fit(one, other)


@pytest.mark.parametrize(
    ("name", "symmetry"),
    [("rutile", (hm(text),)) for text in (
        "P 42/m n m", "P42/mnm", "P 4_2/m n m", "P 4_2_/m n m", "P4(2)/mnm",
        "P 42/m 21/n 2/m", "P 42/m n m S", "p42/mnm", "P 4_2/m 2_1/n 2/m :X")]
    + [("anatase", (hm(text),)) for text in ("I 41/a m d S", "I41/amdS", "I 41/a m d :1")]
    + [("corundum", (hm(text),)) for text in ("R -3 c :H", "R -3 c H", "R-3cH", "R -3 c HR")]
    + [("corundum", (hm("R -3 c"),))]
    + [("halite", (hm(text),)) for text in ("F m 3 m", "Fm-3m", "F 4/m -3 2/m")]
    + [("beta-TiO2", (hm(text),)) for text in ("C 2/m", "C 1 2/m 1")]
    + [("baddeleyite", (hm("P 21/c"),)), ("TiO2-II", (hm("P b c n"),))]
    + [("rutile", (hall("-P 4n 2n"),)), ("corundum", (hall('-R 3 2"c'),))]
    + [("anatase", (hm("I 41/a m d"), hall(" I 4bw 2bw -1bw")))]
    + [("anatase", (hm("I 41/a m d"), "_space_group_IT_coordinate_system_code 1"))]
    + [("rutile", (number(136),)), ("beta-TiO2", (number(12),)), ("corundum", (number(167),))]
    + [("rutile", (hm("unheard of"), number(136))), ("rutile", (hm("P 42/m n m"), IDENTITY))]
    + [("rutile", (hm("?"), hall("."), number(136)))],
)  # fmt: skip
def test_a_space_group_without_operations_gives_the_same_crystal(tmp_path, name, symmetry):
    structure, said = read(tmp_path, restated(name, *symmetry))
    assert same(structure, SHIPPED[name][1].structure) and said == []


@pytest.mark.parametrize("name", SHIPPED)
def test_from_the_number_alone_the_sensible_setting_is_found(tmp_path, name):
    """For every shipped crystal; where the group has two origins, with a warning."""
    group = re.search(r"IT_number (\d+)", SHIPPED[name][0].read_text())[1]
    structure, said = read(tmp_path, restated(name, number(group)))
    assert same(structure, SHIPPED[name][1].structure)
    two_origins = group in ("137", "141", "227")
    assert len(said) == two_origins
    for words in ("has 2 settings", "'1' is taken, in which no atoms are closer"):
        assert all(words in sentence for sentence in said)


def test_the_second_origin_is_taken_where_it_is_meant(tmp_path):
    """Anatase as its authors count in the second origin: shifted by (0, -1/4, 1/8)."""
    text = SHIPPED["anatase"][0].read_text()
    moved = text.replace("Ti1 Ti 0 0 0", "Ti1 Ti 0 0.75 0.125")
    moved = moved.replace("O1 O 0 0 0.2081", "O1 O 0 0.75 0.3331")
    assert moved.count("0.75") == 2
    atoms = moved[moved.index("loop_\n_atom") :]
    cell = "".join(line + "\n" for line in text.splitlines() if line.startswith("_cell"))
    for symbol, warned in (("I 41/a m d Z", 0), ("I 41/a m d :2", 0), ("I 41/a m d", 1)):
        structure, said = read(tmp_path, f"data_x\n{hm(symbol)}\n{cell}{atoms}")
        assert same(structure, SHIPPED["anatase"][1].structure)
        assert len(said) == warned and all("'2' is taken" in sentence for sentence in said)


@pytest.mark.parametrize(
    ("symmetry", "message"),
    [
        ((hm("unheard of"),), "'unheard of', from which no single one can be told"),
        ((hm("unheard of"), IDENTITY), "no single one can be told"),
        ((hm("P 42/m n m"), number(137)), "'P 42/m n m' and '137', from which no single one"),
        ((hm("P n m a"), number(136)), "no single one can be told"),
        ((number(0),), "no single one can be told"),
        ((hm("P 1\u0305"),), "'P 1[?]', from which no single one can be told"),
        ((hm("F m -3 m"),), "has a cell without the symmetry of its space group, 'F m -3 m'"),
        ((hm("R -3 c RS"),), "has a cell without the symmetry"),
        (("""_space_group_magn.name_BNS "P 42/m' n m'" """,), "lists no symmetry operations"),
    ],
)
def test_a_space_group_that_cannot_be_told_is_refused(tmp_path, symmetry, message):
    """Never the listed atoms as the whole cell, in silence."""
    with pytest.raises(PhaseError, match=message):
        read(tmp_path, restated("rutile", *symmetry))


def test_a_number_beside_a_name_that_is_not_known_must_leave_no_choice(tmp_path):
    with pytest.raises(PhaseError, match="'unheard of' and '141', from which no single one"):
        read(tmp_path, restated("anatase", hm("unheard of"), number(141)))


def test_a_whole_cell_with_its_space_group_is_not_filled_again(tmp_path):
    """Some programs list all atoms, the identity, and the name of the group."""
    rutile = SHIPPED["rutile"][1].structure
    moved = rutile.frac_coords + (0.1, 0.2, 0.3)  # no origin of the group's
    atoms = [f"{s.specie} {x} {y} {z} 1" for s, (x, y, z) in zip(rutile, moved, strict=True)]
    cell = (4.5937, 4.5937, 2.9587, 90, 90, 90)
    structure, said = read(tmp_path, cif(atoms, cell, f"{hm('P 42/m n m')}\n{IDENTITY}\n"))
    assert same(structure, rutile) and said == []


@pytest.mark.parametrize(
    ("symmetry", "message"),
    [
        ((), "states no symmetry; .* the whole cell"),
        ((hm("?"), number(".")), "states no symmetry; .* the whole cell"),
        ((hm("P 42/m n m"), IDENTITY + "\n'-x,-y,-z'"), "lists 2 symmetry operations, but .* 16"),
        (("loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\n'y,z,x'",), "not have the symmetry"),
    ],
)
def test_doubtful_symmetry_is_said(tmp_path, symmetry, message):
    _, said = read(tmp_path, restated("rutile", *symmetry))
    assert len(said) == 1 and re.search(message, said[0])


def test_atoms_as_others_write_them(tmp_path):
    """Occupancies of "." (full) and "?", OH, elements by label, names with dots, other blocks."""
    text, rutile = SHIPPED["rutile"][0].read_text(), SHIPPED["rutile"][1].structure
    unknown = text.replace("2.9587", "2.9587(3)").replace("0 0 0 1", "0 0 0 .")
    for old, new, count in (
        ("0.30478 0 1", "0.30478 0 ?", 1),
        ("O1 O ", "O1 ? ", 0),
        ("O1 O ", "OH1 . ", 0),
        ("Ti1 Ti ", "Ti1 Ti4+ ", 0),
        ("_atom_site_fract", "_atom_site.fract", 0),
        ("_cell_length", "_Cell.Length", 0),
        ("\n", "\r", 0),
        ("'-x, -y, z'", "\u2018\u2212x,\u00a0\u2013y, z\u2019", 0),
        ("data_rutile", "data_global\n_journal_year 1991\nDATA_rutile", 0),
    ):
        assert old in unknown
        structure, said = read(tmp_path, unknown.replace(old, new))
        assert same(structure, rutile) and len(said) == count
        assert all("occupancy of O1 is not known; taken as 1" in sentence for sentence in said)
    with pytest.raises(PhaseError, match="O1 has no coordinates"):
        read(tmp_path, text.replace("O1 O 0.30478", "O1 O ."))


def test_of_several_crystals_the_first_is_taken_and_all_are_named(tmp_path):
    both = SHIPPED["rutile"][0].read_text() + SHIPPED["anatase"][0].read_text()
    structure, (said,) = read(tmp_path, both)
    assert same(structure, SHIPPED["rutile"][1].structure)
    assert "holds 2 crystals (rutile, anatase); the first is taken" in said


def test_absurd_distances_and_cells_in_nanometres_are_said(tmp_path):
    _, said = read(tmp_path, cif(["Ti 0 0 0 1", "O 0.05 0.05 0 1"]))
    assert re.search(r"two atoms are only 0.3\d Å apart", said[0])
    text = SHIPPED["rutile"][0].read_text().replace("4.5937", "0.45937")
    with pytest.raises(PhaseError, match="0.01 Å3 an atom, .* are its lengths in nm"):
        read(tmp_path, text.replace("2.9587", "0.29587"))


@pytest.fixture
def cod(monkeypatch):
    with servers.running(monkeypatch) as running:
        monkeypatch.setattr(cif_files, "COD_URL", running.url + "/cod/{entry}.cif")
        yield running


def test_download_comes_once(cod, tmp_path):
    text = SHIPPED["rutile"][0].read_bytes()
    cod.answers["/cod/9015662.cif"] = 200, text, None
    path = download_cod(9015662, tmp_path / "cache")
    assert path.read_bytes() == text and path.name == "9015662.cif"
    assert load_phases(tmp_path / "cache")[0].structure.density == pytest.approx(4.248, abs=0.002)
    assert download_cod("9015662", tmp_path / "cache") == path
    assert cod.asked == ["/cod/9015662.cif"]


@pytest.mark.parametrize(
    "answer, message",
    [
        ((404, b"Not Found", None), "could not be fetched"),
        ((500, b"", None), "could not be fetched"),
        ((200, b"<html><body>Maintenance</body></html>", None), "is not a crystal structure"),
        ((200, b"", None), "is not a crystal structure"),
        ((200, cif(["Ti 0 0 0 1"]).encode()[:200], 900), "could not be fetched"),
    ],
    ids=["404", "500", "page", "empty", "interrupted"],
)
def test_failed_download_leaves_nothing_behind(cod, tmp_path, answer, message):
    cod.answers["/cod/9015662.cif"] = answer
    with pytest.raises(DownloadError, match=message):
        download_cod(9015662, tmp_path)
    assert not list(tmp_path.rglob("*"))


def test_without_a_network_the_error_says_what_to_do(monkeypatch, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setattr(cif_files, "COD_URL", f"http://127.0.0.1:{port}/{{entry}}.cif")
    with pytest.raises(DownloadError, match="Without a network, use the shipped phases"):
        download_cod(9015662, tmp_path)


@pytest.mark.parametrize("entry", ["rutile", 12, "90156620", "9015 66", "../../a", -9015662, ""])
def test_what_is_no_entry_number_is_not_asked_for(cod, tmp_path, entry):
    with pytest.raises(DownloadError, match="seven digits"):
        download_cod(entry, tmp_path)
    assert cod.asked == []


FLUORITE = CrystalData(
    "Fluorite", "Fm-3m", 225, (5.463,) * 3 + (90,) * 3,
    {"Ca1": (0, 0, 0), "F1": (0.25, 0.25, 0.25)}, "a paper",
)  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (("Fm-3m", 5.463), "expected CrystalData"),
        (replace(FLUORITE, space_group="Fm3m"), "'Fm3m' is no space group"),
        (replace(FLUORITE, number=226), "has the number 225, not 226"),
        (replace(FLUORITE, cell=(5.463,)), "six numbers"),
        (replace(FLUORITE, cell=(5.463,) * 3 + (1.571,) * 3), "in degrees"),
        (replace(FLUORITE, atoms="Ca F"), "a dictionary"),
        (replace(FLUORITE, atoms={"Ca1": 0}), "Ca1 has three fractional coordinates"),
        (replace(FLUORITE, atoms={"Ca1": "0 0 0"}), "Ca1 has three fractional coordinates"),
        (replace(FLUORITE, atoms={"Ca1": (0, 0)}), "Ca1 has three fractional coordinates"),
        (replace(FLUORITE, atoms={"Ca1": (0, 0, 0, 1.2)}), "occupancy above 0, up to 1; got 1.2"),
        (replace(FLUORITE, cell=(0.5463,) * 3 + (90,) * 3), "edges are in Å; .* in nm"),
    ],
)
def test_an_entry_of_the_wrong_kind_is_a_sentence(tmp_path, entry, message):
    with pytest.raises(PhaseError, match=message):
        write_cifs(tmp_path, {"fluorite": entry})
    assert not list(tmp_path.iterdir())
    assert write_cifs(tmp_path, {"fluorite": FLUORITE})


def test_write_cifs_overwrites_only_when_asked(tmp_path):
    (tmp_path / "fluorite.cif").write_text("mine")
    with pytest.raises(DataError, match="fluorite.cif exists already"):
        write_cifs(tmp_path, {"fluorite": FLUORITE})
    assert (tmp_path / "fluorite.cif").read_text() == "mine"
    (path,) = write_cifs(tmp_path, {"fluorite": FLUORITE}, overwrite=True)
    assert same(read_cif(path)[0], SHIPPED["fluorite"][1].structure)
    assert read_cif(path)[1] == "a paper"


def test_occupancies_of_a_typed_structure(tmp_path):
    """Fluorite with yttrium on a tenth of the calcium sites, and the fluorine that this brings."""
    atoms = {"Ca1": (0, 0, 0, 0.9), "Y1": (0, 0, 0, 0.1), "F1": (0.25, 0.25, 0.25)}
    atoms["F2"] = (0.5, 0.5, 0.5, 0.1)
    with pytest.warns(UserWarning, match="partly occupied"):
        structure, _ = read_cif(*write_cifs(tmp_path, {"mixed": replace(FLUORITE, atoms=atoms)}))
    found = structure.composition.as_dict()
    assert found == pytest.approx({"Ca": 3.6, "Y": 0.4, "F": 8.4})
