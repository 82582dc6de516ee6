"""The same numbers tomorrow: seeds, Python versions, threads (make check-reproduce).

Compares the data of a seed between the Pythons that are found, or those named
(ARGS="python3.10 python3.12"), and verdicts between training seeds and threads.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from xrdclass.identify.foreign import invent_crystals
from xrdclass.identify.mixtures import MixtureSource
from xrdclass.noise import add_noise
from xrdclass.patterns import TwoThetaGrid
from xrdclass.phases import load_phases
from xrdclass.simulation import BLOCK, ORIGINAL, REALISTIC, Variation, simulate

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
GRID = TwoThetaGrid(10, 80, 0.05)
VARIATIONS = {
    "original": ORIGINAL,
    "realistic": REALISTIC,
    "voigt": Variation(profile="voigt", k_alpha2=True, texture=0.5, micro_strain=(0, 0.002)),
}


def digests() -> dict[str, str]:
    """What seeds give, each as a hash of all its bits."""
    phases, found = load_phases(), {}

    def add(name, arrays):
        digest = hashlib.sha256()
        for array in arrays:
            digest.update(np.ascontiguousarray(array))
        found[name] = digest.hexdigest()[:16]

    for name, variation in VARIATIONS.items():
        clean = simulate(phases, BLOCK + 3, variation, GRID, seed=7)
        noisy = add_noise(clean, seed=8)
        for kind, patterns in (("clean", clean), ("noisy", noisy)):
            parameters = [patterns.parameters[key] for key in sorted(patterns.parameters)]
            add(f"{name}, {kind}", [patterns.intensity, patterns.labels, *parameters])
    mixtures = MixtureSource(phases, invent_crystals(20, 1), 2).draw(64)
    add("mixtures", [mixtures.counts, mixtures.present, mixtures.foreign, mixtures.height])
    return found


def ask(python, *arguments, **environment):
    """What this file prints in a process of its own, as JSON gives it."""
    # No user site, no folder of packages but the interpreter's own; the package from here.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONNOUSERSITE": "1", **environment}
    command = [str(python), __file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def verdicts(threads: int, seeds: int) -> dict:
    """Scan -> verdict of the shipped network, and of a network trained with each seed."""
    from xrdclass import rruff
    from xrdclass.identify.identifier import Identifier
    from xrdclass.patterns import split
    from xrdclass.scans import read_scan

    titania = [p.scan for p in rruff.find_patterns() if p.phase]
    titania += [rruff.stand_in(entry).scan for entry in rruff.CATALOGUE if entry.phase]
    folder = os.environ.get("XRDCLASS_DATA")
    files = sorted(Path(folder).rglob("*.txt")) if folder else []
    others = [read_scan(f) for f in files if "__R" in f.name or "ZnO" in f.name]
    scans = [*titania, *others]
    identifier, found = Identifier.load(), {}
    for i, finding in enumerate(identifier.identify(scans)):
        found[f"{i} {scans[i].name}"] = [
            [*finding.phases, "foreign" if finding.foreign else "", *finding.warnings],
            [round(p, 3) for p in finding.probability.values()],
        ]
    noisy = add_noise(simulate(load_phases(), 120, ORIGINAL, seed=1), seed=2)
    if seeds:  # only these networks need TensorFlow
        import tensorflow

        from xrdclass.training import fit

        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    for seed in range(seeds):
        classifier = fit(*split(noisy, 1 / 6, seed=3), epochs=15, seed=seed, progress=False)
        for i, finding in enumerate(classifier.identify(titania)):
            key = f"{i} {finding.name}, trained with seed {seed}"
            found[key] = [list(finding.phases), []]
    return found


def compare_verdicts(seeds: int) -> dict:
    """Verdicts with one thread and with two, and between the seeds of training."""
    libraries = ("OPENBLAS", "OMP", "MKL", "VECLIB_MAXIMUM")
    one, two = (
        ask(sys.executable, "verdicts", n, seeds, **{f"{x}_NUM_THREADS": str(n) for x in libraries})
        for n in (1, 2)
    )
    assert list(one) == list(two)
    counts = {
        "verdicts of the shipped network": sum("seed" not in key for key in one),
        "other with two threads": sum(one[key][0] != two[key][0] for key in one),
        "largest change of a probability": max(
            (abs(a - b) for key in one for a, b in zip(one[key][1], two[key][1], strict=True)),
        ),
    }
    if seeds:
        scans = {key.partition(", trained")[0] for key in one if "seed" in key}
        names = {s: {str(one[k][0]) for k in one if k.startswith(f"{s}, trained")} for s in scans}
        counts["scans given to networks of each seed"] = len(scans)
        counts["named otherwise by some seed"] = sum(len(found) > 1 for found in names.values())
    return counts


def python_with(python, version) -> Path:
    """A virtual environment with that Python and the tested versions of what the data need."""
    folder = ROOT / "build" / f"python{version}"
    inside = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([python, "-m", "venv", folder], check=True)
        install = [inside, "-m", "pip", "install", "-qq", "-c", ROOT / "constraints.txt"]
        subprocess.run([*install, "numpy", "scipy", "pymatgen", "h5py"], check=True)
        (folder / "ready").touch()
    return inside


def main(pythons):
    """Print all comparisons; the exit status is 1 if one of them fails."""
    mine, failed = digests(), False
    print(f"data of {len(mine)} kinds, all bits")
    here, seen = f"{sys.version_info[0]}.{sys.version_info[1]}", set()
    for name in pythons:
        asked = [name, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        try:
            version = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
        except OSError:
            version = ""
        if version not in {*VERSIONS} - {here} - seen:
            continue
        seen.add(version)
        same = ask(python_with(name, version), "digests") == mine
        failed |= not same
        print(f"  Python {version} and {here}: {'the same' if same else 'DIFFERENT'}")
    counts = compare_verdicts(seeds=5)
    for name, count in counts.items():
        print(f"{name}: {count:g}")
    failed |= bool(counts["other with two threads"] or counts["named otherwise by some seed"])
    return int(failed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["digests"]:
        print(json.dumps(digests()))
    elif sys.argv[1:2] == ["verdicts"]:
        print(json.dumps(verdicts(int(sys.argv[2]), int(sys.argv[3]))))
    else:
        sys.exit(main(sys.argv[1:] or ["python3", *(f"python{v}" for v in VERSIONS)]))
