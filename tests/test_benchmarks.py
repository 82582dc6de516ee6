"""Start-up is light, and the examples of the benchmark chapter run."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("option", [[], ["--distribute"]])
def test_a_network_trains_on_a_stream(option):
    said = run("benchmarks/tf_data.py", "--steps", "4", "--batch-size", "8", *option)
    assert "32 patterns, each seen once" in said
