"""The set-up behind make: once, by a Python that fits, in any folder. Nothing is installed here."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import xrdclass

ROOT = Path(__file__).resolve().parent.parent
#: A Python in name: it answers what venv.sh asks, makes "environments" of itself, and tells of it.
FAKE = """#!/bin/sh
case "$1 $2" in
-V*) echo Python ${FAKE:-3.12.1} ;;
"-c "*"3, 10"*) test "${FAKE:-3.12.1}" != 3.9.1 ;;
"-c "*"3, 11"*) test "${FAKE:-3.12.1}" != 3.10.1 ;;
"-c "*ensurepip*) test -z "$NO_PIP" ;;
"-m venv") echo made; for at; do :; done; mkdir -p "$at/bin" && cp "$0" "$at/bin/python" ;;
"-m pip") echo "pip $*"; test -z "$PIP_FAILS" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    """A folder with a space in its name that holds what the script reads."""
    folder = tmp_path / "a checkout"
    (folder / "tools").mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt", "tools/venv.sh"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "python").write_text(FAKE)
    (folder / "python").chmod(0o755)
    return folder


def run(folder, *arguments, **settings):
    """``(status, output, errors)`` of the script, called from elsewhere."""
    environment = {**os.environ, "PYTHON": str(folder / "python"), **settings}
    command = ["sh", str(folder / "tools" / "venv.sh"), *arguments]
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_sets_up_once_and_again_after_a_change_or_a_move(checkout):
    status, out, _ = run(checkout)
    assert status == 0 and "made" in out and "--constraint constraints.txt" in out
    assert run(checkout) == (0, "", "")
    os.utime(checkout / "constraints.txt", (2e9, 2e9))
    assert "made" in run(checkout)[1]
    os.utime(checkout / "constraints.txt", (1e9, 1e9))
    assert run(checkout)[1] == ""
    moved = checkout.rename(checkout.with_name("another place"))
    assert "made" in run(moved)[1]


def test_an_extra_is_installed_once(checkout):
    assert "--editable .[site]" in run(checkout, "site")[1]
    assert run(checkout, "site") == (0, "", "")
    status, out, err = run(checkout, "slides", FAKE="3.10.1")
    assert status == 1 and "needs Python 3.11" in err and "pip" not in out


@pytest.mark.parametrize(("name", "option"), [("oldest", "oldest.txt"), ("newest", "--upgrade")])
def test_oldest_and_newest_have_folders_of_their_own(checkout, name, option):
    status, out, _ = run(checkout, name)
    assert status == 0 and option in out
    assert (checkout / "build" / name / ".installed").is_file()
    assert not (checkout / ".venv").exists()
    if name == "oldest":
        bounds = (checkout / "build" / "oldest.txt").read_text().splitlines()
        assert "numpy==1.26" in bounds and all("==" in line for line in bounds)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"FAKE": "3.9.1"}, "Python 3.10 to 3.13 is needed"),
        ({"PYTHON": "no-such-python"}, "under the names: no-such-python."),
        ({"NO_PIP": "1"}, "python3-venv"),
        ({"PIP_FAILS": "1"}, "Run make again"),
    ],
)
def test_says_why_there_is_no_environment(checkout, settings, said):
    status, _, err = run(checkout, **settings)
    assert status == 1 and said in err
    assert "made" in run(checkout)[1], "The next run begins again."


def test_the_package_is_found_from_the_folder_above_its_clone(tmp_path):
    """That has a folder "xrdclass" without code, which an install by path is not hidden by."""
    (tmp_path / "xrdclass").mkdir()
    command = [sys.executable, "-c", "import xrdclass; print(xrdclass.__version__)"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == xrdclass.__version__, done.stderr
