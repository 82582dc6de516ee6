"""identify over 10,000 scans, some of them broken (make check-long): it ends, memory stays flat.

After that, 200 processes are killed while they write. ``make check-long ARGS=300`` takes so many
scans; ``--write N FOLDER`` only writes the scans.
"""

import csv
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from common import ROOT, command_line

from xrdclass.noise import Noise, add_noise
from xrdclass.patterns import TwoThetaGrid
from xrdclass.phases import load_phases
from xrdclass.simulation import Variation, simulate

GRID = TwoThetaGrid(10, 80, 0.02)
BROKEN = {  # every one of a hundred scans that is broken, and how
    7: b"",
    23: b"This is a letter.\n",
    41: b"\x00\xff" * 500,
    58: b"".join(b"%d nan\n" % i for i in range(10, 60)),
    76: b"PK\x03\x04 cut off",
    93: None,  # missing
}


def write_scans(n, folder):
    """Write ``n`` scans; return name -> the phase in it, or None for a broken one."""
    phases = load_phases()
    variation = Variation(strain=0.003, texture=0, domain_size=(15, 50), profile="pseudo-voigt")
    sample = simulate(phases, 20, variation, GRID, seed=5)
    noisy = add_noise(sample, Noise(counts=(3000, 20000)), seed=6)
    angles, truth = [f"{x:.2f}" for x in GRID.two_theta], {}
    texts = [
        "".join(f"{x} {y:.0f}\n" for x, y in zip(angles, row, strict=True)).encode()
        for row in noisy.intensity
    ]
    for i in range(n):
        path, kind = Path(folder) / f"scan-{i:05d}.xy", i % 100
        truth[path.name] = None if kind in BROKEN else noisy.names[noisy.labels[i % len(texts)]]
        content = BROKEN.get(kind, texts[i % len(texts)])
        if content is not None:
            path.write_bytes(content)
    return truth


def watch(process, memory):
    """Append the resident memory in MB, four times a second, until the process ends."""
    with_memory = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            memory.append(with_memory.memory_info().rss / 1e6)
        except psutil.Error:
            return
        time.sleep(0.25)


def run(n, folder):
    """Identify ``n`` scans on the command line; return what came of it."""
    truth = write_scans(n, folder)
    command = [sys.executable, "-m", "xrdclass", "identify", "--format", "csv", *truth]
    start, memory = time.perf_counter(), []
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    watcher = threading.Thread(target=watch, args=(process, memory))
    watcher.start()
    out, err = process.communicate()
    watcher.join()
    rows = {}  # the phases found of each file, and why it was not read
    for row in csv.DictReader(out.splitlines()):
        phases, problem = rows.setdefault(row["file"], ([], row["problem"]))
        phases += [row["phase"]] * (row["found"] == "True")
    broken = {name for name, phase in truth.items() if phase is None}
    said = {line.split(": ")[1] for line in err.splitlines() if ".xy" in line.split(": ")[1]}
    said |= {name for name in broken if f"no file {name};" in err}
    # Memory once the first answers are out, and at the end.
    first, last = np.array_split(memory[len(memory) // 4 :], 2)
    return {
        "scans": n,
        "answered": sum(not problem for _, problem in rows.values()),
        "named rightly": sum(rows[name][0] == [truth[name]] for name in truth if truth[name]),
        "broken": len(broken),
        "reported as broken": len(broken & said & {f for f, row in rows.items() if row[1]}),
        "exit status": process.returncode,
        "last line": err.splitlines()[-1] if err else "",
        "seconds": round(time.perf_counter() - start, 1),
        "MB at first": round(float(np.median(first))),
        "MB at the end": round(float(np.median(last))),
        "most MB": round(max(memory)),
    }


def main():
    """Print what came of it; the exit status is 1 if a scan was lost, or memory grew."""
    parser = command_line(__doc__)
    parser.add_argument("scans", nargs="?", type=int, default=10_000)
    parser.add_argument("--write", nargs=2, metavar=("N", "FOLDER"))
    options = parser.parse_args()
    if options.write:
        write_scans(int(options.write[0]), options.write[1])
        return 0
    with tempfile.TemporaryDirectory() as folder:
        counts = run(options.scans, folder)
    for name, count in counts.items():
        print(f"{name}: {count}")
    lost = counts["scans"] - counts["answered"] - counts["reported as broken"]
    grown = counts["MB at the end"] - counts["MB at first"]
    print(f"lost: {lost}; memory grew by {grown} MB")
    killed = subprocess.run([sys.executable, ROOT / "tests" / "test_writing.py", "200"])
    return int(bool(lost or grown > 20 or counts["exit status"] != 1 or killed.returncode))


if __name__ == "__main__":
    sys.exit(main())
