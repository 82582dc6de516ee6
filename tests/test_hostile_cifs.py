"""CIF files that are broken, huge, disordered or no crystals: a structure, or one PhaseError."""

import time
import warnings

import numpy as np
import pytest
from test_phases import SHIPPED, cif

from xrdclass.errors import PhaseError
from xrdclass.files.cif import MAX_BYTES
from xrdclass.phases import load_phases

FM3M = "_symmetry_Int_Tables_number 225\n"
OPERATION = "loop_\n_symmetry_equiv_pos_as_xyz\n"


def atoms(number):
    rng = np.random.default_rng(0)
    return ["Ti {:.4f} {:.4f} {:.4f} 1".format(*rng.random(3)) for _ in range(number)]


def cube(edge):
    return (edge, edge, edge, 90, 90, 90)


def load(folder, content):
    """The phase, or one PhaseError that is a line naming the file; never over 5 s."""
    path = folder / "x.cif"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (phase,) = load_phases(folder)
    except PhaseError as error:
        message = str(error)
        assert str(path) in message and "\n" not in message and message.endswith(".")
        raise
    finally:
        assert time.perf_counter() - start < 5
    assert np.isfinite(phase.structure.frac_coords).all() and phase.structure.volume > 0
    return phase


BROKEN = {
    "no atoms there": cif(["Ti 0 0 0 0"]),
    "negative occupancy": cif(["Ti 0 0 0 -1"]),
    "occupancy NaN": cif(["Ti 0 0 0 nan"]),
    "occupancy infinite": cif(["Ti 0 0 0 inf"]),
    "coordinate NaN": cif(["Ti nan 0 0 1"]),
    "coordinate infinite": cif(["Ti inf 0 0 1"]),
    "cell NaN": cif(["Ti 0 0 0 1"], cell=("nan", 4, 4, 90, 90, 90)),
    "cell negative": cif(["Ti 0 0 0 1"], cell=(-4, 4, 4, 90, 90, 90)),
    "cell tiny": cif(["Ti 0 0 0 1"], cell=cube(1e-9)),
    "angle zero": cif(["Ti 0 0 0 1"], cell=(4, 4, 4, 0, 90, 90)),
    "angles that do not close": cif(["Ti 0 0 0 1"], cell=(4, 4, 4, 10, 90, 170)),
    "division by zero": cif(["Ti 0 0 0 1"], symmetry=OPERATION + "'1/0,y,z'\n"),
    "code": cif(["Ti 0 0 0 1"], symmetry=OPERATION + "'__import__(os).abort(),y,z'\n"),
    "long operation": cif(["Ti 0 0 0 1"], symmetry=OPERATION + f"'x+{'1' * 5000},y,z'\n"),
    "molecule": "data_x\nloop_\n_atom_site_label\n_atom_site_Cartn_x\n_atom_site_Cartn_y\n"
    "_atom_site_Cartn_z\nC1 0 0 0\nO1 0 0 1.2\n",
    "protein": "data_1ABC\n_cell.length_a 50\nloop_\n_atom_site.id\n_atom_site.Cartn_x\n1 0.5\n",
    "powder data": "data_x\nloop_\n_pd_meas_2theta_scan\n_pd_meas_counts_total\n5 10\n6 11\n",
    "liquid": "data_x\n_chemical_formula_sum 'H2 O'\n_cell_length_a ?\n_cell_volume ?\n",
    "page": "<!DOCTYPE html><html><body>404</body></html>",
    "zeros": bytes(1000),
    "empty lines": "data_x\n" + " \n" * 500_000 + "_atom_site_fract_x 0\n",
    "empty loops": "data_x\n" + "loop_\n" * 20_000,
    "open quote": "data_x\n_a '" + "'" * 50_000,
    "open text": "data_x\n_a\n;\n" + "x" * 500_000,
}
HUGE = {
    "a cell of a millimetre": cif(atoms(1), cell=cube(1e7)),
    "a large cell": cif(atoms(3), cell=cube(60)),
    "many atoms": cif(atoms(6000), cell=cube(100)),
    "many atoms in a large cell": cif(atoms(1000), cell=cube(30)),
    "much symmetry": cif(atoms(300), cell=cube(25), symmetry=FM3M),
    "many operations": cif(atoms(1), symmetry=OPERATION + "'x,y,z'\n" * 6000),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_what_is_broken_or_no_crystal(tmp_path, fault):
    with pytest.raises(PhaseError, match="is not a crystal structure in CIF format"):
        load(tmp_path, BROKEN[fault])


@pytest.mark.parametrize("fault", HUGE)
def test_what_is_huge(tmp_path, fault):
    with pytest.raises(PhaseError, match="more than can be computed here in seconds; expected at"):
        load(tmp_path, HUGE[fault])


def test_a_large_file(tmp_path):
    structure = cif(atoms(3))
    with pytest.raises(
        PhaseError, match="has 11 MB; a CIF file of one crystal structure has at most 10 MB"
    ):
        load(tmp_path, structure + "#" * (MAX_BYTES + 600_000))
    # Measured intensities within a CIF file are usual, and no reason to refuse it.
    rows = "   1   0   0   10.00    1.00\n" * 100_000
    assert len(load(tmp_path, f"{structure}_shelx_hkl_file\n;\n{rows};\n").structure) == 3


def test_what_is_unusual_but_a_crystal(tmp_path):
    (tmp_path / "x.cif").write_text(cif(["Ti 0 0 0 0.5", "Zr 0 0 0 0.5", "O 0.5 0.5 0.5 0.01"]))
    with pytest.warns(UserWarning, match="partly occupied"):
        load_phases(tmp_path)
    faujasite = cif(atoms(8), cell=cube(20), symmetry="_space_group_name_H-M_alt 'F d -3 m'\n")
    with pytest.raises(PhaseError, match="atoms in a cell of 8000"):  # all in general positions
        load(tmp_path, faujasite)
    assert len(load(tmp_path, cif(atoms(300), cell=cube(20))).structure) == 300


def test_changed_files(tmp_path):
    counts = {"files": 0, "structures": 0, "refused": 0}
    starts = [path.read_bytes() for path, _ in SHIPPED.values()]
    rng = np.random.default_rng(0)
    pieces = b"?,.,0,-1,1e9,nan,inf,loop_,data_y,',\n;\n,_cell_length_a,1/0,Xx,9999999".split(b",")
    for i in range(100):
        data = bytearray(starts[i % len(starts)])
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(len(data)))
            match rng.integers(4):
                case 0:
                    data[at] = rng.integers(256)
                case 1:
                    del data[at : at + int(rng.integers(1, 60))]
                case 2:
                    data[at:at] = pieces[rng.integers(len(pieces))]
                case 3:
                    end = next((k for k in range(at, len(data)) if data[k] in b" \n'"), at)
                    data[at:end] = pieces[rng.integers(len(pieces))]
        counts["files"] += 1
        try:
            load(tmp_path, bytes(data))
            counts["structures"] += 1
        except PhaseError:
            counts["refused"] += 1
    print(counts)
    assert counts["structures"] > 10 and counts["refused"] > 10
