"""The shipped structures against the cited numbers; folders of CIF files; a database in small."""

import socket
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from xrdclass import phases
from xrdclass.diffraction import bragg, lines, reflections
from xrdclass.errors import DataError, DownloadError, PhaseError
from xrdclass.phases import (
    SHIPPED,
    ZIRCONIA,
    ZIRCONIA_FOLDER,
    CrystalData,
    cif_text,
    download_cod,
    load_phases,
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


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_cifs(tmp_path_factory.mktemp("cifs"))


@pytest.fixture(scope="module")
def read_back(written):
    return {phase.name: phase for phase in load_phases(written[0].parent)}


@pytest.fixture(scope="module")
def zirconia(tmp_path_factory):
    written = write_cifs(tmp_path_factory.mktemp("new") / "zirconia", ZIRCONIA)
    return {phase.name: phase for phase in load_phases(written[0].parent)}


@pytest.mark.parametrize("name", NAMES)
def test_written_structures_have_the_cited_numbers(read_back, name):
    number, cell, density, units = FACTS[name]
    structure = read_back[name].structure
    assert SpacegroupAnalyzer(structure, symprec=0.01).get_space_group_number() == number
    assert np.allclose(structure.lattice.parameters, cell, atol=1e-6)
    assert structure.density == pytest.approx(density, abs=0.002)
    assert structure.composition.as_dict() == {"Ti": units, "O": 2 * units}
    assert read_back[name].source == SHIPPED[name].source


@pytest.mark.parametrize("name", NAMES)
def test_titanium_has_six_oxygen_neighbours_at_chemical_distances(read_back, name):
    structure = read_back[name].structure
    for site in structure:
        if site.specie.symbol == "Ti":
            near = [n for n in structure.get_neighbors(site, 2.8) if n.specie.symbol == "O"]
            distances = np.round([neighbour.nn_distance for neighbour in near], 2)
            assert len(distances) == 6 and 1.78 <= distances.min() <= distances.max() <= 2.31


@pytest.mark.parametrize("name", ZIRCONIA_FACTS)
def test_zirconia_has_the_cited_numbers(zirconia, name):
    number, cell, (density, spread), atoms, _ = ZIRCONIA_FACTS[name]
    structure = zirconia[name].structure
    assert SpacegroupAnalyzer(structure, symprec=0.01).get_space_group_number() == number
    assert np.allclose(structure.lattice.parameters, cell, atol=1e-6)
    assert structure.density == pytest.approx(density, abs=spread)
    assert structure.composition.as_dict() == atoms
    assert zirconia[name].source == ZIRCONIA[name].source


@pytest.mark.parametrize("name", ZIRCONIA_FACTS)
def test_zirconium_has_its_oxygen_neighbours_at_the_published_distances(zirconia, name):
    structure, expected = zirconia[name].structure, ZIRCONIA_FACTS[name][4]
    for site in structure:
        near = [n for n in structure.get_neighbors(site, 2.8) if n.specie.symbol == "O"]
        distances = sorted(neighbour.nn_distance for neighbour in near)
        if site.specie.symbol == "Zr":
            assert distances == pytest.approx(list(expected), abs=0.01)
        if site.specie.symbol == "Si":
            assert distances[:4] == pytest.approx([1.622] * 4, abs=0.002)


@pytest.mark.parametrize("table", [SHIPPED, ZIRCONIA], ids=["TiO2", "zirconia"])
def test_shipped_files_are_what_write_cifs_writes(tmp_path, table):
    folder = phases.CIF_FOLDER if table is SHIPPED else ZIRCONIA_FOLDER
    written = write_cifs(tmp_path, table)
    assert sorted(p.name for p in folder.glob("*.cif")) == sorted(p.name for p in written)
    for path in written:
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_families_do_not_mix():
    assert [phase.name for phase in load_phases()] == NAMES
    assert [phase.name for phase in load_phases(ZIRCONIA_FOLDER)] == sorted(ZIRCONIA_FACTS)


def test_write_cifs_overwrites_only_when_asked(tmp_path):
    (tmp_path / "rutile.cif").write_text("mine")
    with pytest.raises(DataError, match="rutile.cif exists already"):
        write_cifs(tmp_path)
    assert (tmp_path / "rutile.cif").read_text() == "mine"
    write_cifs(tmp_path, overwrite=True)
    assert (tmp_path / "rutile.cif").read_text() == cif_text("rutile", SHIPPED["rutile"])


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
    with pytest.raises(
        PhaseError, match=r"x.cif is not a crystal structure in CIF format"
    ) as error:
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


def test_missing_symmetry_is_said(tmp_path):
    with pytest.warns(UserWarning, match="states no symmetry; .* the whole cell"):
        phase = load_one(tmp_path, cif(["Ti 0.1 0.2 0.3 1"], symmetry=""))
    assert len(phase.structure) == 1


@pytest.fixture
def cod(monkeypatch):
    """A server in the database's place; ``answers[path] = (status, content, stated length)``."""
    answers, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            status, content, length = answers.get(self.path, (404, b"Not Found", None))
            self.send_response(status)
            self.send_header("Content-Length", str(length or len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/cod/{{entry}}.cif"
    monkeypatch.setattr(phases, "COD_URL", url)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server.answers, server.asked = answers, asked
    yield server
    server.shutdown()
    server.server_close()


def test_download_comes_once(cod, tmp_path):
    text = cif_text("rutile", SHIPPED["rutile"]).encode()
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
    monkeypatch.setattr(phases, "COD_URL", f"http://127.0.0.1:{port}/{{entry}}.cif")
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
    ],
)
def test_an_entry_of_the_wrong_kind_is_a_sentence(tmp_path, entry, message):
    with pytest.raises(PhaseError, match=message):
        write_cifs(tmp_path, {"fluorite": entry})
    assert not list(tmp_path.iterdir())
    assert write_cifs(tmp_path, {"fluorite": FLUORITE})
