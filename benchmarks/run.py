"""Speed, memory and accuracy, beside the original recipe's.

Run by `make bench`. Prints a table as it goes and writes build/benchmark.json. What each row
means stands in benchmarks/README.md.
"""

# ruff: noqa: E402
import os

for _name in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR"):
    os.environ[f"{_name}_NUM_THREADS"] = "1"  # before NumPy is imported: one core

import argparse
import importlib.metadata
import importlib.util
import json
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from recipes import peak_memory, slow_patterns

from xrdclass.noise import add_noise
from xrdclass.patterns import DEFAULT_GRID
from xrdclass.phases import Phase, load_phases
from xrdclass.simulation import (
    BLOCK,
    ORIGINAL,
    REALISTIC,
    draw,
    plan_simulation,
    simulate,
    simulate_batches,
)

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "build" / "benchmark.json"
TAILS = replace(ORIGINAL, profile="pseudo-voigt", k_alpha2=True)
N_PER_PHASE = 120  # five phases: the 600 patterns of the original recipe
GOAL, GOAL_FACTOR, NOISE_GOAL = 3000, 3, 10_000
RATIO_GOALS = {"training": 8, "total": 20}
SEEDS = 5
ORIGINALS = 3  # runs of the original recipe
#: (phases, patterns of each) that are streamed, each in a process of its own.
STREAMS = [(5, 2000), (5, 20_000), (100, BLOCK), (1000, BLOCK)]
MILLION = (5, 200_000)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="of each speed (%(default)s)")
    parser.add_argument(
        "--full",
        action="store_true",
        help="draw all 600 patterns the original way, and stream a million: minutes more",
    )
    parser.add_argument("--only", choices=SECTIONS, help="one part of the table")
    parser.add_argument("--stream", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stream:
        print(json.dumps(stream(*options.stream)))
        return
    start = time.perf_counter()
    result = {"machine": machine(), "rows": {}}
    print("Machine: " + ", ".join(f"{k} {v}" for k, v in result["machine"].items()))
    for name, section in SECTIONS.items():
        if options.only in (None, name):
            section(Table(result), options)
    result["seconds"] = round(time.perf_counter() - start, 1)
    write(result)
    print(f"\n{result['seconds']:.0f} s; written to {OUT.relative_to(OUT.parent.parent)}")


class Table:
    """Rows that are printed as they come and kept for the JSON file."""

    def __init__(self, result):
        self.result = result

    def __call__(self, key, text, value, unit, remark=""):
        self.result["rows"][key] = {"value": value, "unit": unit, "what": text, "remark": remark}
        number = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
        print(f"  {text:<52s}{number:>10s} {unit:<12s} {remark}".rstrip(), flush=True)

    def value(self, key, column="value"):
        return self.result["rows"].get(key, {}).get(column, float("nan"))


def simulation(row, options):
    phases = load_phases()
    print(f"\nSimulation, one core: 600 patterns of five phases, {DEFAULT_GRID.n_points} points")
    simulate(phases, 2)  # the first call loads what is imported lazily
    speeds = {}
    for key, text, variation in (
        ("original", "original settings: Gaussian, no doublet", ORIGINAL),
        ("tails", "the same with pseudo-Voigt tails and doublet", TAILS),
        ("realistic", "REALISTIC: instrument, micro-strain, shifts too", REALISTIC),
    ):
        speeds[key], spread = speed(lambda v=variation: simulate(phases, N_PER_PHASE, v), options)
        remark = f"goal {GOAL:,}" if key == "original" else ""
        row(key, text, speeds[key], "patterns/s", f"{spread} {remark}".strip())
    factor = speeds["original"] / speeds["tails"]
    row("tails_factor", "tails and doublet cost", factor, "times", f"goal at most {GOAL_FACTOR}")
    clean = simulate(phases, N_PER_PHASE)
    row("noise", "add_noise", *noise_speed(clean, options))

    print("\nThe original generator's way: pymatgen for each pattern, a convolution for each peak")
    for key, text, as_published in (
        ("yardstick", "at its best: one pymatgen call a pattern", False),
        ("published", "as published: four calls, one symmetry search", True),
    ):
        slow = yardstick_speed(phases, as_published)
        row(key, text, slow, "patterns/s", f"ours are {speeds['original'] / slow:,.0f} times that")
    row(
        "ratio",
        "original settings are faster by",
        speeds["original"] / row.value("yardstick"),
        "times",
    )


def noise_speed(clean, options):
    rate, spread = speed(lambda: add_noise(clean), options)
    return rate, "patterns/s", f"{spread} goal {NOISE_GOAL:,}"


def recipes(row, options):
    print("\nFrom CIF files to a trained network, all cores, each run in a process of its own")
    full = ["--slow-per-phase", str(N_PER_PHASE)] if options.full else []
    ours, originals = [], []
    for seed in map(str, range(SEEDS)):  # by turns: a machine's speed drifts
        ours.append(in_its_own_process("recipes.py", "ours", "--seed", seed))
        if len(originals) < ORIGINALS:
            run = in_its_own_process("recipes.py", "original", "--seed", seed, *full)
            originals.append(run)
    row.result["recipes"] = {"original": originals, "ours": ours}

    def both(text, key, get, unit, digits=2):
        values = [get(run) for run in ours]
        one, other = (statistics.median(map(get, runs)) for runs in (originals, ours))
        ratio = one / other if other else None
        row.result["rows"][key] = {
            "what": text,
            "unit": unit,
            "original": one,
            "ours": other,
            "ours_from": min(values),
            "ours_to": max(values),
            "ratio": ratio,
        }
        spread = f"{min(values):.{digits}f} to {max(values):.{digits}f}"
        last = f"{ratio:9.1f}" if unit and ratio else " " * 9
        print(f"  {text:<36s}{one:10.{digits}f}{other:10.{digits}f}  {spread:<18s}{last}  {unit}")

    print(f"  {'':<36s}{'original':>10s}{'ours':>10s}  {'from, to':<18s}{'ratio':>9s}")
    for part in ("simulation", "noise", "training", "prediction", "total"):
        text = f"{part}, goal {RATIO_GOALS[part]} times" if part in RATIO_GOALS else part
        both(text, f"{part}_seconds", lambda run, p=part: run["seconds"][p], "s")
    both("training, time of all cores", "training_cpu", lambda run: run["cpu"]["training"], "s")
    both("total, time of all cores", "total_cpu", lambda run: run["cpu"]["total"], "s")
    both("training speed", "training_rate", lambda run: run["training_rate"], "patterns/s", 0)
    both("peak memory", "peak_memory", lambda run: run["peak_mb"], "MB", 0)
    both("accuracy, 1,000 simulated", "validation", lambda run: run["validation"], "", 3)
    both("accuracy, 1,000 harder ones", "hard", lambda run: run["hard"], "", 3)
    if originals[0]["measured_of"]:
        text = f"right of {originals[0]['measured_of']} RRUFF patterns"
        both(text, "measured", lambda run: run["measured"], "", 0)
    if originals[0]["extrapolated"]:
        print(
            "  The original's simulation is extrapolated from 4 of 120 patterns a phase "
            "(--full draws all)."
        )
    print(f"  Medians over {SEEDS} runs and seeds of ours and {ORIGINALS} of the original.")
    best = 5 * N_PER_PHASE / row.value("yardstick") / os.cpu_count()
    drawing = row.value("simulation_seconds", "original")
    lenient = row.value("total_seconds", "original") - drawing + best
    lenient /= row.value("total_seconds", "ours")
    if lenient == lenient:
        text = "total ratio, with one pymatgen call a pattern"
        row("lenient_ratio", text, lenient, "times", "instead of the published four")


def scale(row, options):
    print("\nScale, one core: patterns streamed and thrown away, structure factors included")
    for phases, n in [*STREAMS, *([MILLION] if options.full else [])]:
        run = in_its_own_process("run.py", "--stream", str(phases), str(n))
        total = phases * n
        row(
            f"stream_{phases}_{total}",
            f"{phases:,} phases, {total:,} patterns",
            total / run["seconds"],
            "patterns/s",
            f"{run['megabytes']:.0f} MB at most, {run['plan_mb']:.1f} MB of them the plan; "
            f"plan {run['plan_seconds']:.2f} s",
        )
    held = 1e6 * DEFAULT_GRID.n_points * 4 / 1e9
    row("memory_held", "for comparison: a million patterns held at once", held, "GB", "computed")
    said = in_its_own_process("tf_data.py", "--steps", "120", json_output=False)
    print("  tf_data.py, all cores: " + said)
    row.result["tf_data"] = said
    if importlib.util.find_spec("distributed"):
        said = in_its_own_process("dask_workers.py", "--n-per-phase", "2000", json_output=False)
        print("  dask_workers.py: " + said.replace("\n", "\n                   "))
        row.result["dask"] = said
    else:
        print("  dask_workers.py: left out, the extra 'scale' is not installed")


def start_up(row, options):
    print("\nStart-up, on the clock, in a new process each time")
    code = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
    command = Path(sys.executable).parent / "xrdclass"

    def median(arguments):
        seconds = []
        for _ in range(options.repeats + 1):
            start = time.perf_counter()
            done = subprocess.run(arguments, capture_output=True, text=True, check=True)
            whole = time.perf_counter() - start
            seconds.append(float(done.stdout) if "-c" in arguments else whole)
        return statistics.median(seconds[1:])  # the first one fills the file cache

    for module, goal in (("numpy", ""), ("xrdclass", "goal 0.3")):
        seconds = median([sys.executable, "-c", code.format(module)])
        row(f"import_{module}", f"import {module}", seconds, "s", goal)
    row(
        "help",
        "xrdclass --help, Python's own start included",
        median([command, "--help"]),
        "s",
        "goal 0.5",
    )


SECTIONS = {"start-up": start_up, "simulation": simulation, "recipes": recipes, "scale": scale}


def machine() -> dict:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(s.split(":", 1)[1].strip() for s in lines if s.startswith("model name"))
    except (OSError, StopIteration):
        pass
    versions = {
        name: importlib.metadata.version(name)
        for name in ("numpy", "scipy", "pymatgen", "tensorflow")
    }
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return {
        "CPU": model,
        "cores": os.cpu_count(),
        "load before": load,
        "system": platform.system(),
        "Python": platform.python_version(),
        **versions,
        "xrdclass": importlib.metadata.version("xrdclass"),
    }


def timed(function) -> float:
    """Seconds of one core's time; waiting for other programs does not count."""
    start = time.process_time()
    function()
    return time.process_time() - start


def speed(function, options) -> tuple[float, str]:
    """Patterns per second of a function that makes 600: the median, and the spread in words."""
    rates = [5 * N_PER_PHASE / timed(function) for _ in range(max(options.repeats, 1))]
    return statistics.median(rates), f"({min(rates):,.0f} to {max(rates):,.0f})"


def yardstick_speed(phases, as_published: bool, n_per_phase: int = 3) -> float:
    """Patterns per second of one core, drawn the original way; see `slow_patterns`."""
    tables = plan_simulation(phases).tables
    jobs = [
        (phase.structure, draw(table, ORIGINAL, n_per_phase, np.random.default_rng(0)))
        for phase, table in zip(phases, tables, strict=True)
    ]
    slow_patterns((jobs[0][0], {k: v[:1] for k, v in jobs[0][1].items()}))  # imports
    return len(phases) * n_per_phase / sum(slow_patterns(job, as_published)[1] for job in jobs)


def more_phases(phases, count: int) -> list[Phase]:
    """The five phases, then copies of them with cells up to 5 % larger or smaller."""
    rng = np.random.default_rng(0)
    some = []
    for label in range(count):
        base = phases[label % len(phases)]
        structure = base.structure.copy()
        if label >= len(phases):
            structure.scale_lattice(structure.volume * (1 + rng.uniform(-0.05, 0.05)) ** 3)
        some.append(Phase(f"{base.name} {label}", label, structure, "made for the benchmark"))
    return some


def stream(n_phases: int, n_per_phase: int) -> dict:
    """Draw patterns in this process and keep none: seconds of one core, and memory."""
    phases = more_phases(load_phases(), n_phases)
    start = time.process_time()
    plan = plan_simulation(phases)
    planned = time.process_time() - start
    arrays = [value for table in plan.tables for value in vars(table).values()]
    start = time.process_time()
    for _ in simulate_batches(phases, n_per_phase):
        pass
    return {
        "seconds": time.process_time() - start,
        "plan_seconds": planned,
        "plan_mb": sum(a.nbytes for a in arrays if isinstance(a, np.ndarray)) / 1e6,
        "megabytes": peak_memory(),
    }


def in_its_own_process(script: str, *arguments, json_output: bool = True):
    """What a script of this folder prints. It may use all cores."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    if script == "run.py":
        environment = None  # one core, as here
    done = subprocess.run(
        [sys.executable, HERE / script, *arguments],
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        sys.exit(f"{script} {' '.join(arguments)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1]) if json_output else done.stdout.strip()


def write(result: dict) -> None:
    OUT.parent.mkdir(exist_ok=True)
    temporary = OUT.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, OUT)


if __name__ == "__main__":
    main()
