"""Start-up is light, and the examples of the benchmark chapter run."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from load_script import load_script

from xrdclass import rruff
from xrdclass.phases import load_phases
from xrdclass.simulation import ORIGINAL, draw, plan_simulation

ROOT = Path(__file__).resolve().parent.parent
SECONDS = "import time; t = time.process_time(); import {}; print(time.process_time() - t)"


def run(*arguments):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def fastest(module):
    """Seconds of its own time that a new process spends on an import, the best of five."""
    return min(float(run("-c", SECONDS.format(module))) for _ in range(5))


def test_import_and_help_cost_little_beside_numpy():
    numpy = fastest("numpy")
    assert fastest("xrdclass") < numpy
    assert fastest("xrdclass.__main__") < 2 * numpy


def test_dask_workers_draw_the_same_patterns():
    if importlib.util.find_spec("distributed") is None:
        pytest.skip("Dask is not installed: pip install -e '.[scale]'")
    said = run("benchmarks/dask_workers.py", "--n-per-phase", "140")
    assert "2 workers" in said and said.endswith("700 patterns: bit-identical\n")


def test_original_texture_factor_by_hand():
    factor = load_script("benchmarks/recipes.py").texture_factor
    hkl, axis = np.array([(1, 1, 0), (1, 0, 1), (0, 0, 2)]), np.array([(0, 0, 1)])
    by_hand = [1 - 0.6, 1 - 0.6 * (1 - 1 / np.sqrt(2)), 1]
    assert np.allclose(factor(hkl, axis, np.array([0.6])), [by_hand])


def test_fast_patterns_of_the_original_recipe_are_its_slow_ones():
    recipes = load_script("benchmarks/recipes.py")
    phase = load_phases()[0]
    fast = recipes.fast_patterns([phase], 2, seed=3)
    rng = np.random.default_rng(np.random.SeedSequence(3, spawn_key=(0, 0)))
    drawn = draw(plan_simulation([phase]).tables[0], ORIGINAL, 2, rng)
    slow, _ = recipes.slow_patterns((phase.structure, drawn), as_published=False)
    # The slow way rounds each angle to the grid: half a step on the flank of a peak.
    assert np.abs(fast.intensity - slow).max() < 0.05


@pytest.mark.parametrize("option", [[], ["--distribute"]])
def test_a_network_trains_on_a_stream(option):
    said = run("benchmarks/tf_data.py", "--steps", "4", "--batch-size", "8", *option)
    assert "32 patterns, each seen once" in said


def test_peers_are_given_the_scans_and_judged_by_what_is_in_them(tmp_path, monkeypatch, capsys):
    """Two stand-ins, and invented answers: the programs themselves need an installation."""
    peers, scans = load_script("benchmarks/peers.py"), tmp_path / "scans"
    monkeypatch.setattr(peers, "WORK", tmp_path / "work")
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "none")
    scans.mkdir()
    for entry in (rruff.CATALOGUE[0], rruff.CATALOGUE[4]):
        scan = rruff.stand_in(entry).scan
        table = np.column_stack([scan.two_theta, np.round(1000 * scan.intensity)])
        np.savetxt(scans / f"{entry.mineral}__{entry.rruff_id}.xy", table)
    truth = peers.write_scans(scans)
    assert truth == {
        "Anatase_R060277": (["anatase"], "calculated"),
        "Rutile_R040049": (["rutile"], "measured"),
    }
    given = {phase.name: phase.structure for phase in load_phases(peers.WORK / "cifs")}
    assert given == {phase.name: phase.structure for phase in load_phases()}
    answers = {"Anatase_R060277": [["anatase"], 0.1], "Rutile_R040049": [["brookite"], 0.2]}
    found = {"version": "1", "remark": "x", "ready": 1, "memory": 2e6, "answers": answers}
    peers.show("them", found, truth)
    out = capsys.readouterr().out
    assert re.search(r"measured +with one of the five +right  0 of  1, false  1", out)
    assert re.search(r"calculated +with one of the five +right  1 of  1, false  0", out)
