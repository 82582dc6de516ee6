"""Full disks, folders that cannot be written to or vanish, odd names, killed and rival processes.

``python tests/test_files.py 200`` kills 200 processes while they write and prints what was left.
"""

import ctypes
import io
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from xrdclass import scans
from xrdclass.__main__ import _distinct, main
from xrdclass.errors import DataError
from xrdclass.evaluation import ideal_patterns
from xrdclass.files.writing import write_safely
from xrdclass.patterns import PatternSet, TwoThetaGrid
from xrdclass.phases import load_phases

pytestmark = pytest.mark.skipif(os.name == "nt", reason="these faults are made the POSIX way")

GRID = TwoThetaGrid(20, 60, 0.05)
QUICK = ["--two-theta", "20", "60", "--step", "0.05", "--n-train", "30", "--n-val", "6"]
#: Each command that writes, the files that it writes, and what it does so with.
COMMANDS = {
    "simulate": (["data.npz"], ["simulate", *QUICK, "--out", "data.npz"]),
    "simulate --npy": (["arrays/x_train.npy"], ["simulate", *QUICK, "--npy", "arrays"]),
    "add-noise": (["noisy.npz"], ["add-noise", "{given}/clean.npz", "--out", "noisy.npz"]),
    "train": (["net.keras"], ["train", "{given}/clean.npz", "--epochs", "1", "--out", "net.keras"]),
    "identify --plot": (["plots/rutile.png"], ["identify", "{given}/rutile.xy", "--plot", "plots"]),
}
FAULTS = ["full", "read-only", "gone"]


def write_scan(path, name="rutile"):
    """An ideal scan of a phase as text."""
    phase = next(p for p in load_phases() if p.name == name)
    (pattern,) = ideal_patterns([phase], GRID, domain_size=20).intensity
    rows = zip(GRID.two_theta, 1000 * pattern + 10, strict=True)
    path.write_text("".join(f"{x:.2f} {y:.1f}\n" for x, y in rows))


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder with patterns and a scan to work on."""
    folder = tmp_path_factory.mktemp("given")
    with redirect_stdout(io.StringIO()):
        assert main(["simulate", *QUICK, "--out", str(folder / "clean.npz")]) == 0
    write_scan(folder / "rutile.xy")
    return folder


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


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_written_is_a_sentence_and_loses_nothing(given, tmp_path, fault):
    work = tmp_path / "work"
    work.mkdir()
    if fault != "gone":
        for (target,), _ in COMMANDS.values():
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
    for name, ((target,), _) in COMMANDS.items():
        status, out, err = said[name]
        if fault == "full" and name == "identify --plot":  # Keras unpacks a network on the disk
            assert status == 2 and "in the folder for temporary files" in err, err
            continue
        lines = [line for line in err.splitlines() if line.startswith("xrdclass")]
        assert status in (1, 2), f"{name}: {status} {out} {err}"
        assert len(lines) == 1 and lines[0].endswith(".") and "Traceback" not in err, err
        expected = "net.training" if name == "train" else target  # training says no at its start
        assert expected in lines[0] and "cannot be written" in lines[0], lines
        # The names of a folder's scans are not lost with a picture.
        assert ("rutile (1.00)" in out) == (name == "identify --plot")
    assert not work.exists() or everything_in(work) == before


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


NAMES = [
    "with space",
    "ü 測 ñ",
    "quote ' \" %s {0} $\\frac{",
    "-",
    b"\xff\xfe".decode(errors="surrogateescape"),
]


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_any_name_of_a_file_or_folder(given, tmp_path, locale):
    """All commands in a chain, in a folder with an odd name, also where the locale is ASCII."""
    folder = tmp_path / NAMES[1]
    folder.mkdir()
    files = [f"{name}.xy" for name in NAMES]
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
    assert sorted(os.listdir(folder / "ß 4")) == sorted(f"{name}.png" for name in NAMES)
    table = xrdclass("identify", "--model", "ß 3.keras", *(f"./{file}" for file in files))
    assert len([line for line in table.splitlines() if not line.startswith("Note")]) == len(files)


def test_a_fault_of_ours_is_a_sentence_and_costs_one_scan(given, tmp_path, monkeypatch, capsys):
    read, names = scans.read_scan, ["a.xy", "b.xy", "c.xy"]
    for name in names:
        shutil.copy(given / "rutile.xy", tmp_path / name)

    def read_or_fail(path, *rest):
        if str(path).endswith("b.xy"):
            raise RuntimeError("tea\nspilt")
        return read(path, *rest)

    monkeypatch.setattr(scans, "read_scan", read_or_fail)
    assert main(["identify", *(str(tmp_path / n) for n in names), "--format", "json"]) == 1
    out, err = capsys.readouterr()
    first, second, third = json.loads(out)
    assert first["phases"] == third["phases"] == ["rutile"] and "tea" in second["error"]
    assert err.count("\n") == 1 and "b.xy: A fault in xrdclass: RuntimeError: tea" in err


@pytest.mark.parametrize("stop", [0, 40])
def test_what_was_answered_before_a_stop_is_whole(given, monkeypatch, capsys, stop):
    """Ctrl-C while scan number ``stop`` is read: the answers of finished portions are there."""
    read, asked = scans.read_scan, []

    def read_or_stop(path, *rest):
        if len(asked) == stop:
            raise KeyboardInterrupt
        asked.append(path)
        return read(path, *rest)

    monkeypatch.setattr(scans, "read_scan", read_or_stop)
    assert main(["identify", *[str(given / "rutile.xy")] * 50, "--format", "json"]) == 130
    out, err = capsys.readouterr()
    assert [a["phases"] for a in json.loads(out)] == [["rutile"]] * (stop // 32 * 32)
    assert err == "xrdclass: stopped; nothing half-written is left behind.\n"


def test_devices_and_folders_are_not_replaced_and_links_stay(tmp_path):
    with pytest.raises(DataError, match="no ordinary file"):
        write_safely("/dev/null", lambda file: file.write(b"x"), overwrite=True)
    with pytest.raises(DataError, match="no ordinary file"):
        write_safely(tmp_path, lambda file: file.write(b"x"), overwrite=True)
    assert Path("/dev/null").is_char_device() and not os.listdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for overwrite in (False, True):
        write_safely(tmp_path / "link", lambda file: file.write(b"x"), overwrite)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_bytes() == b"x"


def test_what_cannot_be_replaced_is_said_before_the_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("xrdclass.phases.load_phases", lambda folder: pytest.fail("It began."))
    for name in (str(tmp_path), "/dev/null"):
        assert main(["simulate", "--out", name, "--force"]) == 2
        assert "no ordinary file" in capsys.readouterr().err


def test_a_name_may_be_as_long_as_names_can_be(tmp_path):
    path = tmp_path / ("n" * 250 + ".npz")
    write_safely(path, lambda file: file.write(b"x"))
    assert os.listdir(tmp_path) == [path.name]
    with pytest.raises(DataError, match="cannot be written: File name too long"):
        write_safely(tmp_path / ("n" * 300), lambda file: file.write(b"x"))


def test_pictures_of_names_that_only_differ_in_case_are_two():
    assert list(_distinct(["a", "A", "a"])) == ["a", "A-2", "a-3"]


def test_of_rival_writers_one_wins_and_the_others_are_told(tmp_path):
    path, barrier = tmp_path / "data", threading.Barrier(8)

    def write(i):
        def slowly(file):
            file.write(bytes([i]) * 1000)
            barrier.wait()

        try:
            write_safely(path, slowly)
            outcomes.append(i)
        except DataError as error:
            assert "exists already" in str(error)

    for _ in range(20):
        outcomes = []
        rivals = [threading.Thread(target=write, args=(i,)) for i in range(8)]
        for rival in rivals:
            rival.start()
        for rival in rivals:
            rival.join()
        assert len(outcomes) == 1 and path.read_bytes() == bytes(outcomes) * 1000
        assert os.listdir(tmp_path) == ["data"]
        path.unlink()


def test_what_a_killed_writer_left_goes_after_an_hour(tmp_path):
    old, new, mine = (tmp_path / n for n in (".a-unfinished-1.b", ".a-unfinished-2.b", ".a-1.b"))
    for path in (old, new, mine):
        path.write_text("half")
    for path in (old, mine):
        os.utime(path, (0, 0))
    write_safely(tmp_path / "a.b", lambda file: file.write(b"x"))
    assert sorted(os.listdir(tmp_path)) == [mine.name, new.name, "a.b"]


def kill_writers(times, folder, seed=0):
    """Kill processes that overwrite one pattern file again and again; count what was left."""
    path, rng = folder / "data.npz", random.Random(seed)
    counts = {"killed": 0, "whole": 0, "broken": 0, "leftovers": 0}
    for _ in range(times):
        writer = subprocess.Popen([sys.executable, __file__, "write", str(path)], stdout=-1)
        writer.stdout.readline()  # it has begun
        time.sleep(rng.uniform(0, 0.1))
        writer.send_signal(signal.SIGKILL)
        counts["killed"] += writer.wait() == -signal.SIGKILL
        writer.stdout.close()
        try:
            patterns = PatternSet.load(path)
            kinds = np.unique(patterns.intensity)
            counts["whole"] += len(kinds) == 1 and kinds[0] in (1, 2) and len(patterns) == 500
        except DataError:
            counts["broken"] += 1
    counts["leftovers"] = len(os.listdir(folder)) - 1
    return counts


def write_for_ever(path):
    grid = TwoThetaGrid(5, 90, 0.05)
    sets = [
        PatternSet(np.full((500, grid.n_points), v, np.float32), np.zeros(500, int), ("a",), grid)
        for v in (1, 2)
    ]
    if not Path(path).exists():
        sets[0].save(path)
    print(flush=True)
    for patterns in itertools.cycle(sets):
        patterns.save(path, overwrite=True)


def test_a_killed_writer_leaves_the_file_whole(tmp_path):
    counts = kill_writers(6, tmp_path)
    assert counts["killed"] == counts["whole"] == 6 and counts["broken"] == 0


if __name__ == "__main__":
    if sys.argv[1] in FAULTS:
        suffer(sys.argv[1])
    elif sys.argv[1] == "write":
        write_for_ever(sys.argv[2])
    else:
        with tempfile.TemporaryDirectory() as name:
            print(kill_writers(int(sys.argv[1]), Path(name)))
