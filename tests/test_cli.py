"""Every command from a person's side: what it writes, prints and refuses, and its exit status."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from load_script import load_script

from xrdclass.__main__ import main
from xrdclass.evaluation import ideal_patterns
from xrdclass.patterns import PatternSet, TwoThetaGrid
from xrdclass.phases import CIF_FOLDER, load_phases
from xrdclass.simulation import Variation, simulate

long_run = load_script("tools/check_long.py")
NAMES = ["anatase", "beta-TiO2", "brookite", "rutile", "TiO2-II"]
GRID = TwoThetaGrid(20, 60, 0.05)
QUICK = ["--two-theta", "20", "60", "--step", "0.05", "--domain-sizes", "8", "15"]
QUICK += ["--strain", "0.01", "--n-train", "30", "--n-val", "6"]


def run(*arguments, capsys=None):
    """``(status, output, errors)`` of a command in this process."""
    with warnings.catch_warnings():
        # Python hides these from users; pytest shows them.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stopped:
            status = stopped.code
    seen = capsys.readouterr()
    return status, seen.out, seen.err


def assert_one_complaint(status, out, err, expected=2):
    assert status == expected and out == ""
    assert err.startswith("xrdclass") and err.endswith(".\n") and err.count("\n") == 1, err
    assert "Traceback" not in err


@pytest.fixture
def cli(capsys):
    return lambda *arguments: run(*arguments, capsys=capsys)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder in which simulate, add-noise and train have done their work, and scans."""
    folder = tmp_path_factory.mktemp("cli")
    assert main(["simulate", "--out", str(folder / "clean.npz"), "--seed", "1", *QUICK]) == 0
    noisy, model = str(folder / "noisy.npz"), str(folder / "model.keras")
    assert main(["add-noise", str(folder / "clean.npz"), "--out", noisy]) == 0
    assert main(["train", noisy, "--out", model, "--epochs", "12"]) == 0
    phases = load_phases()
    for phase, pattern in zip(
        phases, ideal_patterns(phases, GRID, domain_size=11).intensity, strict=True
    ):
        rows = zip(GRID.two_theta, 1000 * pattern + 10, strict=True)
        (folder / f"{phase.name}.xy").write_text("".join(f"{x:.2f} {y:.1f}\n" for x, y in rows))
    (folder / "broken.xy").write_text("This is a letter.\n")
    return folder


def test_simulate_writes_what_the_package_simulates(work):
    found = PatternSet.load(work / "clean.npz")
    variation = Variation(strain=0.01, domain_size=(8, 15))
    expected = simulate(load_phases(), 36, variation, GRID, seed=1)
    assert np.array_equal(found.intensity, expected.intensity)
    assert np.array_equal(found.labels, expected.labels)
    assert list(found.names) == NAMES and found.grid == GRID
    assert found.validation.reshape(5, 36)[:, 30:].all() and found.validation.sum() == 30


def test_simulate_writes_arrays_as_the_original_did(cli, tmp_path):
    cifs = tmp_path / "cifs"
    shutil.copytree(CIF_FOLDER, cifs)
    for name in NAMES[:3]:
        (cifs / f"{name}.cif").unlink()
    (cifs / "Copy.cif").write_bytes((cifs / "rutile.cif").read_bytes())
    status, out, err = cli("simulate", cifs, "--npy", tmp_path / "arrays", *QUICK)
    assert (status, err) == (0, "")
    assert "108 patterns of 3 phases (0 Copy, 1 rutile, 2 TiO2-II)" in out
    arrays = {path.stem: np.load(path) for path in (tmp_path / "arrays").iterdir()}
    assert {k: v.shape for k, v in arrays.items()} == {
        "x_train": (90, 801),
        "y_train": (90,),
        "x_val": (18, 801),
        "y_val": (18,),
    }
    assert np.bincount(arrays["y_train"]).tolist() == [30, 30, 30]
    assert np.bincount(arrays["y_val"]).tolist() == [6, 6, 6]
    assert arrays["x_train"].dtype == np.float32
    status, out, err = cli("simulate", cifs, "--npy", tmp_path / "arrays", *QUICK)
    assert_one_complaint(status, out, err)
    assert cli("simulate", cifs, "--npy", tmp_path / "arrays", "--force", *QUICK)[0] == 0


def test_add_noise_adds_counts(work):
    clean, noisy = (PatternSet.load(work / f"{name}.npz") for name in ("clean", "noisy"))
    assert np.array_equal(noisy.intensity, np.rint(noisy.intensity))
    assert np.array_equal(noisy.labels, clean.labels)
    assert (400 <= noisy.parameters["counts"]).all()
    assert (noisy.parameters["counts"] <= 10_000).all()


@pytest.mark.parametrize("command", ["simulate", "add-noise", "train", "identify"])
def test_nothing_is_overwritten_without_force(cli, work, tmp_path, command):
    mine = tmp_path / ("rutile.png" if command == "identify" else "mine.keras")
    mine.write_text("mine")
    arguments = {
        "simulate": ["--out", mine, *QUICK],
        "add-noise": [work / "clean.npz", "--out", mine],
        "train": [work / "noisy.npz", "--out", mine, "--epochs", 1],
        "identify": [work / "rutile.xy", "--model", work / "model.keras", "--plot", tmp_path],
    }[command]
    status, out, err = cli(command, *arguments)
    assert status in (1, 2) and "exists already" in err and err.count("\n") == 1
    assert mine.read_text() == "mine"
    if command == "identify":
        assert not plt.get_fignums(), "A drawing that is not written is closed all the same."
    assert cli(command, *arguments, "--force")[0] == 0
    assert mine.read_bytes() != b"mine" and os.listdir(tmp_path) == [mine.name]


def test_identify_prints_a_table(cli, work):
    scans = [work / f"{name}.xy" for name in NAMES]
    status, out, err = cli("identify", *scans, "--model", work / "model.keras")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    for name, line in zip(NAMES, lines, strict=False):
        assert line.split()[:2] == [f"{name}.xy", name]
    assert lines[5].startswith("Note: ") and len(lines) == 6


def test_identify_prints_json_as_documented(cli, work):
    scans = [work / "rutile.xy", work / "broken.xy", work / "missing.xy", work / "anatase.xy"]
    status, out, err = cli("identify", *scans, "--model", work / "model.keras", "--format", "json")
    answers = json.loads(out)
    assert status == 1 and [a["file"] for a in answers] == [str(scan) for scan in scans]
    for answer, phase in ((answers[0], "rutile"), (answers[3], "anatase")):
        assert list(answer) == ["file", "phases", "foreign", "probability", "warnings"]
        assert answer["phases"] == [phase] and answer["foreign"] is False
        assert list(answer["probability"]) == NAMES
        assert all(0 <= value <= 1 for value in answer["probability"].values())
        assert answer["warnings"] and all(isinstance(w, str) for w in answer["warnings"])
    for answer in answers[1:3]:
        assert list(answer) == ["file", "error"] and answer["error"].endswith(".")
    complaints = err.splitlines()
    assert len(complaints) == 2 and all(line.startswith("xrdclass: ") for line in complaints)
    assert "broken.xy: expected a powder scan" in complaints[0]
    assert "There is no file" in complaints[1]


def test_identify_prints_csv(cli, work):
    scans = [work / "brookite.xy", work / "broken.xy"]
    status, out, _ = cli("identify", *scans, "--model", work / "model.keras", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert status == 1 and len(rows) == 2
    assert list(rows[0]) == ["file", "phases", "foreign", *NAMES, "warnings", "error"]
    assert rows[0]["phases"] == "brookite" and float(rows[0]["brookite"]) > 0.5
    assert rows[1]["phases"] == "" and "expected a powder scan" in rows[1]["error"]


def test_identify_draws_scans(cli, work, tmp_path):
    status, _, err = cli(
        "identify", work / "rutile.xy", "--model", work / "model.keras", "--plot", tmp_path / "new"
    )
    assert (status, err) == (0, "")
    assert (tmp_path / "new" / "rutile.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_identify_with_another_wavelength_or_beside_the_range(cli, work, tmp_path):
    (tmp_path / "beside.xy").write_text("".join(f"{x} {x % 7}\n" for x in range(70, 100)))
    model = ["--model", work / "model.keras", "--format", "json"]
    status, out, err = cli("identify", tmp_path / "beside.xy", work / "rutile.xy", *model)
    answers = json.loads(out)
    assert status == 1 and "does not overlap" in answers[0]["error"] and err.count("\n") == 1
    assert answers[1]["phases"] == ["rutile"]
    status, out, _ = cli("identify", work / "rutile.xy", "--wavelength", "Co", *model)
    assert status == 0 and "Co radiation" in " ".join(json.loads(out)[0]["warnings"])


def test_identify_in_a_process_of_its_own_is_quiet(work):
    command = [sys.executable, "-m", "xrdclass", "identify", "rutile.xy", "--model", "model.keras"]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, env=clean)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("rutile.xy  rutile (")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Scans with counting noise, a scan without peaks, one of cobalt's and a broken file."""
    folder = tmp_path_factory.mktemp("scans")
    grid, rng, phases = TwoThetaGrid(10, 80, 0.02), np.random.default_rng(5), load_phases()
    sample = {"strain": 0.002, "texture": 0, "domain_size": (40, 40), "k_alpha2": True}
    sample |= {"profile": "pseudo-voigt", "eta": (0.5, 0.5)}

    def write(name, expected):
        rows = zip(grid.two_theta, rng.poisson(expected), strict=True)
        (folder / f"{name}.xy").write_text("".join(f"{x:.2f} {y}\n" for x, y in rows))

    for wavelength, suffix in (("Cu", ""), ("Co", "-Co")):
        patterns = simulate(phases, 1, Variation(**sample), grid, wavelength, seed=1).intensity
        for label in (0, 3):
            write(f"{phases[label].name}{suffix}", 10_000 * patterns[label] + 300)
    write("noise", np.full(grid.n_points, 40.0))
    (folder / "broken.xy").write_text("This is a letter.\n")
    return folder


def test_shipped_network_answers_in_the_documented_schema(cli, scans):
    names = ["rutile", "broken", "anatase", "noise", "missing"]
    paths = [scans / f"{name}.xy" for name in names]
    status, out, err = cli("identify", *paths, "--format", "json")
    answers = json.loads(out)
    assert status == 1 and [a["file"] for a in answers] == [str(path) for path in paths]
    for i in (1, 4):
        assert list(answers[i]) == ["file", "error"] and answers[i]["error"].endswith(".")
    complaints = err.splitlines()
    assert len(complaints) == 2 and all(line.startswith("xrdclass: ") for line in complaints)
    for i, phases in ((0, ["rutile"]), (2, ["anatase"]), (3, [])):
        answer = answers[i]
        assert list(answer) == ["file", "phases", "foreign", "probability", "warnings"]
        assert list(answer["probability"]) == NAMES and type(answer["foreign"]) is bool
        assert all(0 <= value <= 1 for value in answer["probability"].values())
        assert all(isinstance(text, str) for text in answer["warnings"])
        assert answer["phases"] == phases, answer
    assert answers[0]["warnings"] == [] and answers[0]["foreign"] is False
    assert any("No peak" in text for text in answers[3]["warnings"])


def test_shipped_network_in_a_table_and_as_csv(cli, scans):
    paths = [scans / "anatase.xy", scans / "noise.xy"]
    status, out, err = cli("identify", *paths)
    lines = out.splitlines()
    assert (status, err) == (0, "") and len(lines) == 3
    assert lines[0].startswith("anatase.xy  anatase (0.") or "anatase (1.00)" in lines[0]
    assert lines[1].startswith("noise.xy    none") and lines[2].startswith("Note: No peak")
    status, out, err = cli("identify", *paths, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (status, err) == (0, "") and [row["phases"] for row in rows] == ["anatase", ""]
    assert list(rows[0]) == ["file", "phases", "foreign", *NAMES, "warnings", "error"]


def test_shipped_network_with_another_wavelength(cli, scans):
    arguments = ["identify", scans / "rutile-Co.xy", "--format", "json"]
    status, out, err = cli(*arguments, "--wavelength", "Co")
    (answer,) = json.loads(out)
    assert (status, err) == (0, "") and answer["phases"] == ["rutile"]
    assert any("Co radiation" in text for text in answer["warnings"])
    (silent,) = json.loads(cli(*arguments)[1])
    assert silent["phases"] == [] and not any("radiation" in text for text in silent["warnings"])


def test_one_picture_for_each_scan(cli, scans, tmp_path):
    """Also where two scans in different folders have one name; a broken file has none."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "rutile.xy").write_bytes((scans / "anatase.xy").read_bytes())
    paths = [scans / "rutile.xy", tmp_path / "other" / "rutile.xy", scans / "broken.xy"]
    status, out, err = cli(
        "identify", *paths, scans / "noise.xy", "--format", "json", "--plot", tmp_path / "new"
    )
    assert status == 1 and err.count("\n") == 1 and "broken.xy" in err
    assert [a.get("phases") for a in json.loads(out)] == [["rutile"], ["anatase"], None, []]
    pictures = sorted((tmp_path / "new").iterdir())
    assert [path.name for path in pictures] == ["noise.png", "rutile-2.png", "rutile.png"]
    contents = [path.read_bytes() for path in pictures]
    assert all(content[:8] == b"\x89PNG\r\n\x1a\n" for content in contents)
    assert len(set(contents)) == 3 and not plt.get_fignums()


def test_shipped_network_in_a_process_of_its_own_is_quiet(scans):
    command = [sys.executable, "-m", "xrdclass", "identify", "noise.xy", "broken.xy"]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    done = subprocess.run(command, cwd=scans, capture_output=True, text=True, env=clean)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("xrdclass: broken.xy: expected a powder scan")
    assert done.stdout.splitlines()[:2] == ["noise.xy   none", "broken.xy  not read"] or (
        done.stdout.startswith("noise.xy   none, and something else\nbroken.xy  not read\n")
    )


def test_an_identifier_is_trained_from_a_folder_and_used(cli, scans, tmp_path):
    shutil.copytree(CIF_FOLDER, tmp_path / "cifs")
    for name in ("beta-TiO2", "brookite", "TiO2-II"):
        (tmp_path / "cifs" / f"{name}.cif").unlink()
    model = tmp_path / "mine.keras"
    quick = ["--samples", 64, "--rounds", 2, "--crystals", 3, "--judged", 48, "--seed", 3]
    status, out, err = cli("train-identifier", tmp_path / "cifs", "--out", model, *quick)
    assert status == 0 and "On 48 simulated samples" in out and str(model) in out
    assert "round 2 of 2: loss" in err and "Traceback" not in err
    status, out, err = cli("identify", scans / "rutile.xy", "--model", model, "--format", "json")
    (answer,) = json.loads(out)
    assert (status, err) == (0, "") and list(answer["probability"]) == ["anatase", "rutile"]
    before = model.read_bytes()
    status, out, err = cli("train-identifier", tmp_path / "cifs", "--out", model, *quick)
    assert_one_complaint(status, out, err)
    assert "exists already" in err and model.read_bytes() == before


def test_many_scans_some_of_them_broken(tmp_path):
    """tools/check_long.py does this with 10,000, and looks at the memory."""
    counts = long_run.run(100, tmp_path)
    assert counts["answered"] + counts["reported as broken"] == 100 and counts["exit status"] == 1
    assert counts["broken"] == counts["reported as broken"] == len(long_run.BROKEN)
    assert counts["named rightly"] == counts["answered"]
    assert counts["last line"] == "xrdclass: 6 of 100 scans failed, as said above."


def test_help_names_every_command(cli):
    status, out, err = cli("--help")
    assert status == 0 and err == ""
    for command in ("simulate", "add-noise", "train", "train-identifier", "identify", "rruff"):
        assert command in out
        status, text, _ = cli(command, "--help")
        assert status == 0 and text.startswith(f"usage: xrdclass {command}")
    assert cli("--version")[1].startswith("xrdclass 0.")


def test_help_needs_no_heavy_import():
    code = (
        "import sys\nfrom xrdclass.__main__ import main\n"
        "try: main(['simulate', '--help'])\nexcept SystemExit: pass\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"tensorflow", "keras", "matplotlib", "pymatgen", "numpy"}


def test_rruff_lists_the_catalogue(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("XRDCLASS_DATA", str(tmp_path))
    rows = "".join(f"{x / 10}, {100 + x % 5}\n" for x in range(50, 901))
    (tmp_path / "Rutile__R050031-1__Powder__Xray_Data_XY_RAW__775.txt").write_text(
        "##NAMES=Rutile\n##RRUFFID=R050031\n" + rows + "##END=\n"
    )
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "none")
    status, out, err = cli("rruff", "--dir", tmp_path)
    lines = out.splitlines()
    assert (status, err) == (0, "")
    states = {line.split()[0]: line.split(maxsplit=2)[2] for line in lines[:11]}
    assert len(states) == 11 and states.pop("R050031") == "measured, local folder"
    assert set(states.values()) == {"not at hand"} and "--download" in lines[11]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["unknown"],
        ["simulate"],
        ["simulate", "--out", "x.npz", "--n-train", "0"],
        ["simulate", "--out", "x.npz", "--n-train", "many"],
        ["simulate", "--out", "x.npz", "--n-val", "-1"],
        ["simulate", "--out", "x.npz", "--seed", "-1"],
        ["simulate", "--out", "x.npz", "--seed", "1.5"],
        ["simulate", "--out", "x.npz", "--processes", "2"],
        ["simulate", "--out", "x.npz", "--strain", "2"],
        ["simulate", "--out", "x.npz", "--strain", "nan"],
        ["simulate", "--out", "x.npz", "--texture", "1.5"],
        ["simulate", "--out", "x.npz", "--profile", "triangle"],
        ["simulate", "--out", "x.npz", "--domain-sizes", "50", "20"],
        ["simulate", "--out", "x.npz", "--domain-sizes", "5", "inf"],
        ["simulate", "--out", "x.npz", "--wavelength", "Xx"],
        ["simulate", "--out", "x.npz", "--two-theta", "90", "5"],
        ["simulate", "--out", "x.npz", "--two-theta", "5", "8"],
        ["simulate", "--out", "x.npz", "--step", "0"],
        ["simulate", "missing", "--out", "x.npz"],
        ["simulate", ".", "--out", "x.npz"],
        ["simulate", "--out", "text/x.npz", "--n-train", "1", "--n-val", "0", *QUICK[:5]],
        ["add-noise", "missing.npz", "--out", "x.npz"],
        ["add-noise", "text", "--out", "x.npz"],
        ["add-noise", "few.npz", "--out", "x.npz", "--noise", "0.5", "0.1"],
        ["add-noise", "few.npz", "--out", "x.npz", "--noise", "1e-200", "0.1"],
        ["add-noise", "few.npz", "--out", "x.npz", "--seed", "5000000000"],
        ["train", "few.npz", "--out", "x.h5"],
        ["train", "text", "--out", "x.keras"],
        ["train", "few.npz", "--out", "x.keras", "--network", "large"],
        ["train", "short.npz", "--out", "x.keras"],
        ["train", "few.npz", "--out", "x.keras", "--epochs", "0"],
        ["train", "few.npz", "--out", "x.keras", "--seed", "5000000000"],
        ["train-identifier"],
        ["train-identifier", "--out", "x.h5"],
        ["train-identifier", "--out", "text.keras", "--samples", "0"],
        ["train-identifier", "--out", "x.keras", "--seed", "-1"],
        ["train-identifier", "--out", "x.keras", "--crystals", "few"],
        ["train-identifier", "missing", "--out", "x.keras"],
        ["identify"],
        ["identify", "text", "--wavelength", "Xx"],
        ["identify", "text", "--model", "missing.keras"],
        ["identify", "text", "--model", "text"],
        ["identify", "text", "--model", "model.keras", "--format", "xml"],
        ["identify", "text", "--model", "model.keras", "--wavelength", "Xx"],
        ["rruff", "--dir", "missing"],
    ],
    ids=" ".join,
)
def test_bad_arguments_give_one_sentence_and_leave_nothing(
    cli, work, tmp_path, monkeypatch, arguments
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("mine")
    (tmp_path / "model.keras").symlink_to(work / "model.keras")
    for name, grid in (("few", TwoThetaGrid(20, 30, 0.1)), ("short", TwoThetaGrid(20, 30, 0.5))):
        intensity = np.random.default_rng(0).random((12, grid.n_points))
        PatternSet(intensity, np.arange(12) % 2, ("a", "b"), grid).save(f"{name}.npz")
    before = sorted(os.listdir())
    status, out, err = cli(*arguments)
    assert_one_complaint(status, out, err)
    assert sorted(os.listdir()) == before and (tmp_path / "text").read_text() == "mine"


def test_few_patterns_train_without_a_validation_set(cli, tmp_path):
    grid = TwoThetaGrid(20, 30, 0.1)
    intensity = np.random.default_rng(0).random((2, grid.n_points))
    PatternSet(intensity, [0, 1], ("a", "b"), grid).save(tmp_path / "two.npz")
    model = tmp_path / "model.keras"
    status, out, _ = cli("train", tmp_path / "two.npz", "--out", model, "--epochs", 1)
    assert status == 0 and model.exists() and "% of 2 training patterns right" in out


def test_a_structure_without_symmetry_warns_in_one_line(tmp_path):
    """In a process of its own: in this one, the package's warnings are errors."""
    text = "data_x\n"
    keys = "length_a length_b length_c angle_alpha angle_beta angle_gamma".split()
    text += "".join(f"_cell_{k} {v}\n" for k, v in zip(keys, (4, 5, 6, 90, 90, 90), strict=True))
    text += "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n"
    text += "_atom_site_fract_z\n_atom_site_occupancy\nTi1 0 0 0 0.5\nO1 .5 .5 .4 1\n"
    (tmp_path / "cifs").mkdir()
    (tmp_path / "cifs" / "half.cif").write_text(text)
    command = [sys.executable, "-m", "xrdclass", "simulate", "cifs", "--out", "x.npz", *QUICK]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "x.npz").exists()
    lines = done.stderr.splitlines()
    assert len(lines) == 2 and all(line.startswith("xrdclass: half.cif") for line in lines)
    assert "partly occupied" in lines[0] and "states no symmetry" in lines[1]
