"""How fast patterns are simulated on one core, beside the way the original generator works.

Run by `make bench`. Prints a table as it goes and writes build/benchmark.json. What each row
means stands in benchmarks/README.md.
"""

# ruff: noqa: E402
import os

for _name in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR"):
    os.environ[f"{_name}_NUM_THREADS"] = "1"  # before NumPy is imported: one core

import argparse
import importlib.metadata
import json
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice, Structure

from xrdclass.noise import add_noise
from xrdclass.patterns import DEFAULT_GRID
from xrdclass.phases import Phase, load_phases
from xrdclass.simulation import (
    BLOCK,
    ORIGINAL,
    REALISTIC,
    draw,
    plan_simulation,
    scherrer_fwhm,
    simulate,
    simulate_batches,
)

OUT = Path(__file__).resolve().parent.parent / "build" / "benchmark.json"
TAILS = replace(ORIGINAL, profile="pseudo-voigt", k_alpha2=True)
N_PER_PHASE = 120  # five phases: the 600 patterns of the original recipe
GOAL, GOAL_FACTOR = 3000, 3


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="of each speed (%(default)s)")
    parser.add_argument("--stream", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stream:
        print(streaming_memory(options.stream))
        return
    start = time.perf_counter()
    result = {"machine": machine(), "rows": {}}
    phases = load_phases()

    def row(key, text, value, unit, remark=""):
        result["rows"][key] = {"value": value, "unit": unit, "what": text, "remark": remark}
        number = f"{value:,.0f}" if value >= 20 else f"{value:.2f}"
        print(f"  {text:<52s}{number:>10s} {unit:<12s} {remark}".rstrip(), flush=True)

    print("One core of: " + ", ".join(f"{k} {v}" for k, v in result["machine"].items()))
    print(f"\nSimulation: 600 patterns of five phases, {DEFAULT_GRID.n_points} points")
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

    print("\nThe original generator's way: pymatgen for each pattern, a convolution for each peak")
    yardstick = yardstick_speed(phases)
    row("yardstick", "one call and its convolutions", yardstick, "patterns/s")
    row("ratio", "original settings are faster by", speeds["original"] / yardstick, "times")

    print(f"\nMore phases: {BLOCK} patterns of each, streamed, structure factors included")
    sets = {count: more_phases(phases, count) for count in (5, 20, 100)}
    seconds = {count: [] for count in sets}
    for _ in range(3):  # in turns, so that what else the machine does falls on all alike
        for count, some in sets.items():
            seconds[count].append(timed(lambda some=some: consume(simulate_batches(some, BLOCK))))
    cost = {c: statistics.median(values) / (c * BLOCK) for c, values in seconds.items()}
    for count in sets:
        growth = f"{cost[count] / cost[5]:.2f} times the cost of a pattern with 5"
        row(f"phases_{count}", f"{count} phases", 1 / cost[count], "patterns/s", growth)

    print("\nMemory of streaming, patterns thrown away as they come")
    memory = {n: streaming_in_a_process_of_its_own(n) for n in (2000, 20_000)}
    for n, megabytes in memory.items():
        row(f"memory_{n}", f"peak of a process that draws {n:,} patterns", megabytes, "MB")
    held = 20_000 * DEFAULT_GRID.n_points * 4 / 1e6
    row("memory_held", "for comparison: 20,000 patterns held at once", held, "MB", "computed")

    print("\nNoise: background and Poisson counts on 600 patterns")
    clean = simulate(phases, N_PER_PHASE)
    noisy, spread = speed(lambda: add_noise(clean), options)
    row("noise", "add_noise", noisy, "patterns/s", spread)

    result["seconds"] = round(time.perf_counter() - start, 1)
    write(result)
    print(f"\n{result['seconds']:.0f} s; written to {OUT.relative_to(OUT.parent.parent)}")


def machine() -> dict:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(s.split(":", 1)[1].strip() for s in lines if s.startswith("model name"))
    except (OSError, StopIteration):
        pass
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "scipy", "pymatgen")}
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


def consume(batches) -> None:
    """Draw every batch and keep none."""
    for _ in batches:
        pass


def timed(function) -> float:
    """Seconds of one core's time; waiting for other programs does not count."""
    start = time.process_time()
    function()
    return time.process_time() - start


def speed(function, options) -> tuple[float, str]:
    """Patterns per second of a function that makes 600: the median, and the spread in words."""
    rates = [5 * N_PER_PHASE / timed(function) for _ in range(max(options.repeats, 1))]
    return statistics.median(rates), f"({min(rates):,.0f} to {max(rates):,.0f})"


def yardstick_speed(phases, n_per_phase: int = 3) -> float:
    """Patterns per second with one XRDCalculator call a pattern, one convolution a peak.

    Strains and crystallite sizes are drawn as `simulate` draws them. A Gaussian kernel ends four
    standard deviations from its centre, so that the convolutions are short ones.
    """
    plan = plan_simulation(phases, ORIGINAL, DEFAULT_GRID, "Cu", 0)
    rng = np.random.default_rng(0)
    drawn = [draw(table, ORIGINAL, n_per_phase, rng) for table in plan.tables]
    calculator = XRDCalculator(plan.radiation.mean)

    def run():
        for phase, values in zip(phases, drawn, strict=True):
            for strain, size in zip(values["strain"], values["domain_size"], strict=True):
                one_by_one(calculator, phase.structure, strain, size)

    return len(phases) * n_per_phase / timed(run)


def one_by_one(calculator, structure, strain, domain_size) -> np.ndarray:
    """One pattern, peak by peak."""
    grid = DEFAULT_GRID
    lattice = Lattice(structure.lattice.matrix @ (np.eye(3) + strain))
    strained = Structure(lattice, structure.species_and_occu, structure.frac_coords)
    sticks = calculator.get_pattern(strained, two_theta_range=(grid.start, grid.stop))
    pattern = np.zeros(grid.n_points)
    for angle, intensity in zip(sticks.x, sticks.y, strict=True):
        signal = np.zeros(grid.n_points)
        signal[min(round((angle - grid.start) / grid.step), grid.n_points - 1)] = intensity
        fwhm = scherrer_fwhm(np.radians(angle / 2), domain_size, calculator.wavelength)
        sigma = fwhm / np.sqrt(8 * np.log(2)) / grid.step
        x = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
        kernel = np.exp(-((x / sigma) ** 2) / 2)
        pattern += np.convolve(signal, kernel / kernel.sum(), mode="same")
    return pattern / pattern.max()


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


def streaming_memory(n: int) -> float:
    """Peak memory of this process in MB once it has drawn ``n`` patterns and kept none."""
    import resource

    consume(simulate_batches(load_phases(), n // 5))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


def streaming_in_a_process_of_its_own(n: int) -> float:
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--stream", str(n)], capture_output=True, text=True
        )
        return float(done.stdout)
    except ValueError:  # no resource module: Windows
        return float("nan")


def write(result: dict) -> None:
    OUT.parent.mkdir(exist_ok=True)
    temporary = OUT.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, OUT)


if __name__ == "__main__":
    main()
