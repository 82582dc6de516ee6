"""Every command from a person's side: what it writes, prints and refuses, and its exit status."""

import csv
import ctypes
import io
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from load_script import load_script
from samples import NAMES, PHASES, RUTILE, noise_scan, scan_of, stop_after, write_scan

from xrdclass.__main__ import main
from xrdclass.answers import CHUNK
from xrdclass.diffraction import radiation
from xrdclass.patterns import PatternSet, TwoThetaGrid
from xrdclass.phases import CIF_FOLDER, load_phases
from xrdclass.simulation import Variation, simulate

long_run = load_script("tools/check_long.py")
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
def given(tmp_path_factory):
    """A folder in which simulate, add-noise and train have done their work, and scans."""
    folder = tmp_path_factory.mktemp("cli")
    clean, noisy, model = (str(folder / n) for n in ("clean.npz", "noisy.npz", "model.keras"))
    with redirect_stdout(io.StringIO()):
        assert main(["simulate", "--out", clean, "--seed", "1", *QUICK]) == 0
        assert main(["add-noise", clean, "--out", noisy]) == 0
        assert main(["train", noisy, "--out", model, "--epochs", "12"]) == 0
    for name in NAMES:
        write_scan(folder / f"{name}.xy", scan_of(name, size=11))
    write_scan(folder / "rutile-Co.xy", scan_of("rutile", size=11, wavelength="Co"))
    write_scan(folder / "noise.xy", noise_scan())
    (folder / "broken.xy").write_text("This is a letter.\n")
    return folder


def test_simulate_writes_what_the_package_simulates(given):
    found = PatternSet.load(given / "clean.npz")
    variation = Variation(strain=0.01, domain_size=(8, 15))
    expected = simulate(load_phases(), 36, variation, GRID, seed=1)
    assert np.array_equal(found.intensity, expected.intensity)
    assert np.array_equal(found.labels, expected.labels)
    assert found.names == NAMES and found.grid == GRID
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


def test_add_noise_adds_counts(given):
    clean, noisy = (PatternSet.load(given / f"{name}.npz") for name in ("clean", "noisy"))
    assert np.array_equal(noisy.intensity, np.rint(noisy.intensity))
    assert np.array_equal(noisy.labels, clean.labels)
    assert (400 <= noisy.parameters["counts"]).all()
    assert (noisy.parameters["counts"] <= 10_000).all()


@pytest.mark.parametrize("command", ["simulate", "add-noise", "train", "identify"])
def test_nothing_is_overwritten_without_force(cli, given, tmp_path, command):
    mine = tmp_path / ("rutile.png" if command == "identify" else "mine.keras")
    mine.write_text("mine")
    arguments = {
        "simulate": ["--out", mine, *QUICK],
        "add-noise": [given / "clean.npz", "--out", mine],
        "train": [given / "noisy.npz", "--out", mine, "--epochs", 1],
        "identify": [given / "rutile.xy", "--plot", tmp_path],
    }[command]
    status, out, err = cli(command, *arguments)
    assert status in (1, 2) and "exists already" in err and err.count("\n") == 1
    assert mine.read_text() == "mine"
    assert cli(command, *arguments, "--force")[0] == 0
    assert mine.read_bytes() != b"mine" and os.listdir(tmp_path) == [mine.name]


# identify, with a network of train and with the one that ships


@pytest.fixture(params=["classifier", "shipped"])
def model(request, given):
    return ["--model", given / "model.keras"] if request.param == "classifier" else []


def test_identify_answers_in_the_documented_schema_and_draws(cli, given, model, tmp_path):
    names, plots = ["rutile", "broken", "anatase", "noise", "missing"], tmp_path / "new"
    paths = [given / f"{name}.xy" for name in names]
    status, out, err = cli("identify", *paths, *model, "--format", "json", "--plot", plots)
    answers = json.loads(out)
    assert sorted(os.listdir(plots)) == ["anatase.png", "noise.png", "rutile.png"]
    pictures = {path.read_bytes() for path in plots.iterdir()}
    assert len(pictures) == 3 and all(picture[:4] == b"\x89PNG" for picture in pictures)
    assert status == 1 and [a["file"] for a in answers] == [str(path) for path in paths]
    for answer in (answers[1], answers[4]):
        assert list(answer) == ["file", "error"] and answer["error"].endswith(".")
    complaints = err.splitlines()
    assert len(complaints) == 2 and all(line.startswith("xrdclass: ") for line in complaints)
    assert "broken.xy: expected a powder scan" in complaints[0]
    assert "There is no file" in complaints[1]
    for i, phases in ((0, ["rutile"]), (2, ["anatase"]), (3, [])):
        answer = answers[i]
        of_the_fit = [
            "threshold", "foreign_probability", "weight_percent", "cell", "domain_size",
            "upper_limit", "r_wp", "displacement", "unexplained", "missing_lines",
        ]  # fmt: skip
        assert list(answer) == [
            "file", "phases", "foreign", "probability", "warnings", "wavelength",
            "wavelength_source", "two_theta", *([] if model else of_the_fit),
        ]  # fmt: skip
        assert list(answer["probability"]) == list(NAMES) and type(answer["foreign"]) is bool
        assert all(0 <= value <= 1 for value in answer["probability"].values())
        assert all(isinstance(text, str) for text in answer["warnings"])
        assert (answer["wavelength"], answer["wavelength_source"]) == (1.54184, "assumed")
        assert answer["phases"] == phases or (model and i == 3), "A classifier names always one."
    assert answers[0]["foreign"] is False
    if model:
        assert "always names one of its 5" in answers[0]["warnings"][0]
    else:
        assert answers[0]["warnings"] == [] and 0.5 <= answers[0]["threshold"] < 1
        assert any("No peak" in text for text in answers[3]["warnings"])


def test_identify_names_all_phases_in_a_table_and_as_csv(cli, given, model):
    paths = [given / f"{name}.xy" for name in NAMES]
    status, out, err = cli("identify", *paths, *model)
    lines = [line for line in out.splitlines() if not line.startswith(" ")]
    assert (status, err) == (0, "")
    assert [line.split()[:2] for line in lines] == [[f"{name}.xy", name] for name in NAMES]
    notes = [line for line in out.splitlines() if line.startswith(" ")]
    assert len(notes) == (5 if model else 0) and all("Note: This network" in n for n in notes)
    status, out, err = cli("identify", *paths, given / "broken.xy", *model, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    found = [row["phase"] for row in rows if row["found"] == "True"]
    assert status == 1 and found == list(NAMES) and len(rows) == len(NAMES) ** 2 + 1
    assert all(float(row["probability"]) > 0.5 for row in rows if row["found"] == "True")
    assert all(row["weight_percent"] == "" for row in rows if row["found"] == "False")
    assert "expected a powder scan" in rows[-1]["problem"]


def test_identify_with_another_wavelength_or_beside_the_range(cli, given, model, tmp_path):
    (tmp_path / "beside.xy").write_text("".join(f"{x} {x % 7}\n" for x in range(90, 130)))
    arguments = [*model, "--format", "json"]
    status, out, err = cli("identify", tmp_path / "beside.xy", given / "rutile.xy", *arguments)
    answers = json.loads(out)
    assert status == 1 and "does not overlap" in answers[0]["error"] and err.count("\n") == 1
    assert answers[1]["phases"] == ["rutile"]
    cobalt_mean = radiation("Co").mean
    cobalt = ["identify", given / "rutile-Co.xy", *arguments]
    status, out, err = cli(*cobalt, "--wavelength", "Co")
    (answer,) = json.loads(out)
    assert (status, err) == (0, "") and answer["phases"] == ["rutile"]
    assert "Co radiation" in answer["warnings"][0]
    assert (answer["wavelength"], answer["wavelength_source"]) == (cobalt_mean, "given")
    (silent,) = json.loads(cli(*cobalt)[1])
    assert silent["phases"] != ["rutile"] and "Co rad" not in " ".join(silent["warnings"])


def test_identify_in_a_process_of_its_own_is_quiet(given, model):
    command = [sys.executable, "-m", "xrdclass", "identify", "rutile.xy", "broken.xy", *model]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    done = subprocess.run(command, cwd=given, capture_output=True, text=True, env=clean)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("xrdclass: broken.xy: expected a powder scan")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("rutile.xy  rutile (") and lines[-1] == "broken.xy  not read"


HEAVY = {"tensorflow", "keras", "h5py", "pymatgen", "matplotlib"}


@pytest.mark.parametrize(
    ("command", "needless"),
    [
        ("identify rutile.xy", HEAVY),
        ("identify rutile.xy noise.xy --format json --wavelength Cu", HEAVY),
        ("--help", HEAVY | {"numpy", "scipy", "tqdm"}),
        ("simulate --help", HEAVY | {"numpy", "scipy", "tqdm"}),
        ("--version", HEAVY | {"numpy", "scipy", "tqdm"}),
    ],
)
def test_a_command_imports_only_what_it_needs(given, command, needless):
    command = [sys.executable, "-X", "importtime", "-m", "xrdclass", *command.split()]
    done = subprocess.run(command, cwd=given, capture_output=True, text=True)
    lines = [line.split("|") for line in done.stderr.splitlines()]
    loaded = {line[-1].strip().split(".")[0] for line in lines if len(line) == 3}
    assert done.returncode == 0 and "argparse" in loaded, "What is imported was printed."
    assert not loaded & needless and {"numpy"} - needless <= loaded


def test_many_scans_some_of_them_broken(tmp_path):
    """tests/long_run.py does this with 10,000, and looks at the memory."""
    counts = long_run.run(100, tmp_path)
    assert counts["answered"] + counts["reported as broken"] == 100 and counts["exit status"] == 1
    assert counts["broken"] == counts["reported as broken"] == len(long_run.BROKEN)
    assert counts["named rightly"] == counts["answered"]
    assert counts["last line"] == "xrdclass: 6 of 100 scans failed, as said above."


# Training


def test_an_identifier_is_trained_from_a_folder_and_used(cli, given, tmp_path):
    shutil.copytree(CIF_FOLDER, tmp_path / "cifs")
    for name in ("beta-TiO2", "brookite", "TiO2-II"):
        (tmp_path / "cifs" / f"{name}.cif").unlink()
    model = tmp_path / "mine.npz"
    quick = ["--samples", 64, "--crystals", 3, "--fitted", 48, "--seed", 3]
    status, out, err = cli("train-identifier", tmp_path / "cifs", "--out", model, *quick)
    assert status == 0 and out.endswith(f"{model}\n") and "Traceback" not in err
    assert len(out.splitlines()) == 6, "A table of two phases; Keras prints nothing of its own."
    assert re.search(r"^anatase +\d+ of \d+ +\d+ of \d+ +\d+ of \d+$", out, flags=re.M)
    assert sorted(os.listdir(tmp_path)) == ["cifs", "mine.npz"]
    status, out, err = cli("identify", given / "rutile.xy", "--model", model, "--format", "json")
    (answer,) = json.loads(out)
    assert (status, err) == (0, "") and list(answer["probability"]) == ["anatase", "rutile"]
    before = model.read_bytes()
    status, out, err = cli("train-identifier", tmp_path / "cifs", "--out", model, *quick)
    assert_one_complaint(status, out, err)
    assert "exists already" in err and model.read_bytes() == before


def test_processes_side_by_side_give_the_same_answers_in_order(cli, given, tmp_path):
    scans = [tmp_path / f"{i}.xy" for i in range(CHUNK + 2)]
    for scan in scans:
        scan.symlink_to(given / "rutile.xy")
    scans[1] = tmp_path / "missing.xy"
    command = ["identify", "--format", "json", *scans]
    alone = cli(*command)
    assert cli(*command, "--jobs", 2) == alone and alone[0] == 1
    assert [a["file"] for a in json.loads(alone[1])] == [str(scan) for scan in scans]


def test_ctrl_c_says_what_is_kept_and_only_that(cli, given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["train", given / "noisy.npz", "--epochs", "3", "--out", "net.keras"]

    def press(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("xrdclass.training.import_keras", press)
        status, _, err = cli(*command)
    assert status == 130 and err.endswith("nothing half-written is left behind.\n")
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        status, _, err = cli(*command)
    best = Path("net.training", "best.keras")
    assert status == 130 and f"its best network so far is {best}. Repeat" in err
    status, _, err = cli(*command)
    assert status == 0 and "going on with it if it is the same" in err
    assert os.listdir() == ["net.keras"]


def test_few_patterns_train_without_a_validation_set(cli, tmp_path):
    grid = TwoThetaGrid(20, 30, 0.1)
    intensity = np.random.default_rng(0).random((2, grid.n_points))
    PatternSet(intensity, [0, 1], ("a", "b"), grid).save(tmp_path / "two.npz")
    model = tmp_path / "model.keras"
    status, out, _ = cli("train", tmp_path / "two.npz", "--out", model, "--epochs", 1)
    assert status == 0 and model.exists() and "% of 2 training patterns right" in out


# Help, lists and mistakes


def test_help_names_every_command(cli):
    status, out, err = cli("--help")
    assert status == 0 and err == ""
    for command in ("simulate", "add-noise", "train", "train-identifier", "identify", "rruff"):
        assert command in out
        status, text, _ = cli(command, "--help")
        assert status == 0 and text.startswith(f"usage: xrdclass {command}")
    assert cli("--version")[1].startswith("xrdclass 0.")


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


#: Commands, and what is wrong with them: without any arguments and with each of these.
MISTAKES = {
    "": ["", "unknown"],
    "simulate": ["", "missing --out x.npz", ". --out x.npz"],
    "simulate --out x.npz": [
        *(
            "--n-train 0",
            "--n-train many",
            "--n-val -1",
            "--seed -1",
            "--seed 1.5",
            "--processes 2",
        ),
        *("--strain 2", "--strain nan", "--texture 1.5", "--profile triangle", "--wavelength Xx"),
        *("--domain-sizes 50 20", "--domain-sizes 5 inf", "--two-theta 90 5", "--two-theta 5 8"),
        *("--step 0", "--n-train 1 --out text/x.npz --two-theta 20 60 --step 0.05"),
    ],
    "add-noise": ["missing.npz --out x.npz", "text --out x.npz"],
    "add-noise few.npz --out x.npz": [
        *("--noise 0.5 0.1", "--noise 1e-200 0.1", "--seed 5000000000"),
    ],
    "train": ["few.npz --out x.h5", "text --out x.keras", "short.npz --out x.keras"],
    "train few.npz --out x.keras": ["--network large", "--epochs 0", "--seed 5000000000"],
    "train-identifier": ["", "--out x.h5", "--out x.keras", "missing --out x.npz"],
    "train-identifier --out x.npz": ["--samples 0", "--seed -1", "--crystals few"],
    "identify": ["", "text --wavelength Xx", "text --model missing.keras", "text --model text"],
    "identify text --model model.keras": ["--format xml", "--wavelength Xx"],
    "rruff": ["--dir missing"],
}


@pytest.mark.parametrize("mistake", [f"{c} {m}" for c, rest in MISTAKES.items() for m in rest])
def test_mistakes_give_one_sentence_and_leave_nothing(cli, given, tmp_path, monkeypatch, mistake):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("mine")
    (tmp_path / "model.keras").symlink_to(given / "model.keras")
    for name, grid in (("few", TwoThetaGrid(20, 30, 0.1)), ("short", TwoThetaGrid(20, 30, 0.5))):
        intensity = np.random.default_rng(0).random((12, grid.n_points))
        PatternSet(intensity, np.arange(12) % 2, ("a", "b"), grid).save(f"{name}.npz")
    before = sorted(os.listdir())
    assert_one_complaint(*cli(*mistake.split()))
    assert sorted(os.listdir()) == before and (tmp_path / "text").read_text() == "mine"


def test_quantify_weighs_known_phases_and_draws(cli, given, tmp_path):
    scans = given / "rutile.xy", given / "broken.xy"
    status, out, err = cli("quantify", *scans, "--format", "json", "--plot", tmp_path / "plots")
    weighed, refused = json.loads(out)
    assert status == 1 and err.count("\n") == 1 and list(refused) == ["file", "error"]
    assert list(weighed["phases"]) == ["rutile"] and weighed["phases"]["rutile"]["error"] == 0
    known = PHASES[RUTILE].structure.lattice
    assert weighed["phases"]["rutile"]["cell"][:3] == pytest.approx(known.abc, rel=0.005)
    assert set(weighed["upper_limit"]) == set(NAMES) - {"rutile"} and 0 < weighed["r_wp"] < 0.3
    assert "Cu was assumed" in weighed["warnings"][0]
    assert (tmp_path / "plots" / "rutile.png").read_bytes()[:4] == b"\x89PNG"
    status, out, _ = cli("quantify", scans[0], "--wavelength", "Cu")
    assert status == 0 and "rutile  " in out and "a 4.59" in out and "assumed" not in out
    status, out, _ = cli("quantify", *scans, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["phase"] for row in rows[:1]] == ["rutile"] and len(rows) == len(NAMES) + 1
    assert rows[0]["weight_percent"] == "100.0" and rows[-1]["problem"]


@pytest.mark.parametrize("command", ["identify", "quantify"])
def test_a_report_of_all_scans_is_written_and_not_over_another(cli, given, tmp_path, command):
    scans = [given / f"{name}.xy" for name in ("rutile", "broken", "noise")]
    page = tmp_path / "r.html"
    status, out, err = cli(command, *scans, "--report", page, "--format", "json")
    answers, text = json.loads(out), page.read_text(encoding="utf-8")
    assert status == 1 and err.count("\n") == 1 and "picture" not in answers[0]
    assert text.count("<section") == 3 and text.count("<img") == 2 and "No peaks" in text
    assert all(f'href="#scan-{i}"' in text for i in (1, 2, 3)) and "expected a powder" in text
    page.write_text("mine")
    for name in (page, tmp_path / "x.xy"):
        assert_one_complaint(*cli(command, *scans, "--report", name))
    assert page.read_text() == "mine" and os.listdir(tmp_path) == ["r.html"]
    assert cli(command, scans[0], "--report", page, "--force")[0] == 0
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


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
    assert "states no symmetry" in lines[0] and "partly occupied" in lines[1]


# Full disks, folders that cannot be written to or vanish, closed outputs, odd names

posix = pytest.mark.skipif(os.name == "nt", reason="these faults are made the POSIX way")
#: Each command that writes, the file that it writes, and what it does so with.
COMMANDS = {
    "simulate": ("data.npz", ["simulate", *QUICK, "--out", "data.npz"]),
    "simulate --npy": ("arrays/x_train.npy", ["simulate", *QUICK, "--npy", "arrays"]),
    "add-noise": ("noisy.npz", ["add-noise", "{given}/clean.npz", "--out", "noisy.npz"]),
    "train": ("net.keras", ["train", "{given}/clean.npz", "--epochs", "1", "--out", "net.keras"]),
    "identify --plot": ("plots/rutile.png", ["identify", "{given}/rutile.xy", "--plot", "plots"]),
    "identify --report": ("r.html", ["identify", "{given}/rutile.xy", "--report", "r.html"]),
    "identify --model": (
        "plots/rutile.png",
        ["identify", "{given}/rutile.xy", "--model", "{given}/model.keras", "--plot", "plots"],
    ),
}
FAULTS = ["full", "read-only", "gone"]


def everything_in(folder):
    """Name -> content of all files below a folder."""
    files = (p for p in Path(folder).rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def obey_permissions():
    """Root, too, is to be refused what a folder's permissions refuse: drop CAP_DAC_OVERRIDE."""
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)


def suffer(fault):
    """Run every command under one fault, in this process; print what each said as JSON."""
    if fault == "full":  # no file can grow beyond this, as on a disk that is full
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    if fault == "gone":
        os.rmdir(os.getcwd())
    said = {}
    for name, (_, arguments) in COMMANDS.items():
        out, err = io.StringIO(), io.StringIO()
        filled = [a.format(given=os.environ["GIVEN"]) for a in arguments]
        with redirect_stdout(out), redirect_stderr(err):
            try:
                status = main([*filled, "--force"])
            except BaseException as error:
                status = f"{type(error).__name__}: {error}"
        said[name] = status, out.getvalue(), err.getvalue()
    print(json.dumps(said), flush=True)


@posix
@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_written_is_a_sentence_and_loses_nothing(given, tmp_path, fault):
    work = tmp_path / "work"
    work.mkdir()
    if fault != "gone":
        for target, _ in COMMANDS.values():
            (work / target).parent.mkdir(exist_ok=True)
            (work / target).write_text("mine")
    before = everything_in(work)
    if fault == "read-only":
        for folder in (work, work / "arrays", work / "plots"):
            folder.chmod(0o555)
    done = subprocess.run(
        [sys.executable, __file__, fault],
        cwd=work,
        capture_output=True,
        text=True,
        env={**os.environ, "GIVEN": str(given), "TF_CPP_MIN_LOG_LEVEL": "3"},
        preexec_fn=obey_permissions if fault == "read-only" and os.geteuid() == 0 else None,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    for name, (target, _) in COMMANDS.items():
        status, out, err = said[name]
        if fault == "full" and name == "identify --model":  # Keras unpacks a network on the disk
            assert status == 2 and "in the folder for temporary files" in err, err
            continue
        lines = [line for line in err.splitlines() if line.startswith("xrdclass")]
        assert status in (1, 2), f"{name}: {status} {out} {err}"
        assert len(lines) == 1 and lines[0].endswith(".") and "Traceback" not in err, err
        expected = "net.training" if name == "train" else target  # training says no at its start
        assert expected in lines[0] and "cannot be written" in lines[0], lines
        # The names of a folder's scans are not lost with a picture.
        assert ("rutile (1.00)" in out) == name.startswith("identify")
    assert not work.exists() or everything_in(work) == before


@posix
def test_a_disk_that_is_full(given, tmp_path):
    """A real one: a file system of 40 kB in memory, in a name space of its own."""
    script = (
        'set -e; mount -t tmpfs -o size=40k none "$1"; echo mine > "$1/data.npz"; cd "$1"; '
        'shift; set +e; "$@"; echo "status $?"; ls -A; head -c 9 data.npz'
    )
    command = [sys.executable, "-m", "xrdclass", "simulate", *QUICK, "--out", "data.npz", "--force"]
    shell = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    if not shutil.which("unshare") or subprocess.run([*shell[:4], "true"]).returncode:
        pytest.skip("This system does not let a test mount a small disk of its own.")
    done = subprocess.run([*shell, str(tmp_path), *command], capture_output=True, text=True)
    if "status" not in done.stdout:
        pytest.skip(f"No small disk could be mounted: {done.stderr.strip()}")
    assert "data.npz cannot be written: No space left on device." in done.stderr
    assert done.stdout.split() == ["status", "2", "data.npz", "mine"]


@posix
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("output", ["/dev/full", "closed", "pipe"])
@pytest.mark.parametrize("command", ["rruff", "identify rutile.xy --format csv", "--help"])
def test_what_cannot_be_printed_is_no_traceback(given, command, output, unbuffered):
    ending = {"/dev/full": "> /dev/full", "closed": ">&-", "pipe": "| true; exit ${PIPESTATUS[0]}"}
    done = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m xrdclass {command} {ending[output]}"],
        cwd=given,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    if output == "/dev/full" and command != "--help":
        assert done.stderr == "xrdclass: No space left on device.\n" and done.returncode == 1
    elif output == "/dev/full":  # argparse keeps it to itself from Python 3.11 on
        assert (done.returncode, done.stderr) in (
            (0, ""),
            (1, "xrdclass: No space left on device.\n"),
        )
    else:
        assert done.stderr == "" and done.returncode in ((0, 1) if output == "pipe" else (0,))


ODD = [
    "with space",
    "ü 測 ñ",
    "quote ' \" %s {0} $\\frac{",
    "-",
    b"\xff\xfe".decode(errors="surrogateescape"),
]


@posix
@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_any_name_of_a_file_or_folder(given, tmp_path, locale):
    """All commands in a chain, in a folder with an odd name, also where the locale is ASCII."""
    folder = tmp_path / ODD[1]
    folder.mkdir()
    files = [f"{name}.xy" for name in ODD]
    for file in files:
        shutil.copy(given / "rutile.xy", folder / file)
    plain = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": locale}

    def xrdclass(*arguments):
        command = [sys.executable, "-m", "xrdclass", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, env={**os.environ, **plain})
        assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
        return done.stdout.decode("ascii" if locale == "C" else "utf-8")

    xrdclass("simulate", *QUICK, "--out", "ß 1.npz")
    xrdclass("add-noise", "ß 1.npz", "--out", "ß 2.npz")
    xrdclass("train", "ß 2.npz", "--epochs", "1", "--out", "ß 3.keras")
    answers = json.loads(
        xrdclass("identify", "--format", "json", "--plot", "ß 4", "--", *(f"./{f}" for f in files))
    )
    named = [os.fsencode(a["file"]) for a in answers]
    assert named == [os.fsencode(f"./{file}") for file in files]
    assert all(a["phases"] == ["rutile"] for a in answers)
    assert sorted(os.listdir(folder / "ß 4")) == sorted(f"{name}.png" for name in ODD)
    table = xrdclass("identify", "--model", "ß 3.keras", *(f"./{file}" for file in files))
    assert len([line for line in table.splitlines() if not line.startswith(" ")]) == len(files)


@posix
def test_what_cannot_be_replaced_is_said_before_the_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("xrdclass.phases.load_phases", lambda folder: pytest.fail("It began."))
    for name in (str(tmp_path), "/dev/null"):
        assert main(["simulate", "--out", name, "--force"]) == 2
        assert "no ordinary file" in capsys.readouterr().err


if __name__ == "__main__":
    suffer(sys.argv[1])
