"""Other programs that name phases by themselves, and ours, on the same scans: one table.

    .venv/bin/python benchmarks/peers.py [--scans FOLDER] [--only autoxrd] [--epochs 50]

XRD-AutoAnalyzer (``autoxrd``) and Dara (``dara-xrd``) come from PyPI into environments of their own
below build/peers/, 3 GB the first; nothing of this project depends on them. Each program is given
the five TiO2 structures and nothing else, and the scans that xrdclass.rruff finds, as text. A scan
is right if a program names just those of the five that are in it. What each program needs beyond
this, and what it went without, the table says. Both call the refinement engine BGMN, which they
fetch from their makers' pages.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "peers"
PACKAGES = {"xrdclass": "xrdclass", "autoxrd": "autoXRD", "dara": "dara-xrd"}
NO_ENGINE = "BGMN could not be fetched"


def main():
    """Write the scans, ask each program in a process of its own, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", help="folder, by default that of XRDCLASS_DATA and the cache")
    parser.add_argument("--only", nargs="+", choices=PACKAGES, default=list(PACKAGES))
    parser.add_argument("--epochs", type=int, default=50, help="of autoxrd's training")
    parser.add_argument("--minutes", type=float, default=120, help="that one program may take")
    parser.add_argument("--worker", choices=PACKAGES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options.worker, options.epochs)
    truth = write_scans(options.scans)
    if not truth:
        sys.exit("No measured scan is at hand: fetch them with xrdclass rruff --other --download.")
    print(f"{datetime.date.today()}: {len(truth)} scans, {os.cpu_count()} cores\n")
    for name in options.only:
        folder = WORK / name
        folder.mkdir(exist_ok=True)
        (folder / "answers.json").unlink(missing_ok=True)
        error = run(name, options)
        if error:
            print(f"{name}: {error}")
        else:
            show(name, json.loads((folder / "answers.json").read_text()), truth)


def write_scans(folder):
    """Scans as two columns, the five structures, and what is in each: {name: (phases, source)}."""
    from xrdclass import phases, rruff

    shutil.rmtree(WORK / "scans", ignore_errors=True)
    (WORK / "scans").mkdir(parents=True)
    shutil.rmtree(WORK / "cifs", ignore_errors=True)
    (WORK / "cifs").mkdir()
    names = [phase.name for phase in phases.load_phases()]
    for name in names:
        shutil.copy(phases.CIF_FOLDER / f"{name}.cif", WORK / "cifs")
    truth = {}
    found = rruff.find_patterns(folder) + rruff.find_other_minerals(folder)
    for pattern in found + rruff.find_mixtures(folder):
        known = {pattern.phase, *pattern.entry.weight_percent} & set(names)
        name = "".join(c if c.isalnum() else "_" for c in pattern.name)
        truth[name] = sorted(known), pattern.source.split()[0].strip(",")
        pairs = zip(pattern.scan.two_theta, pattern.scan.intensity, strict=True)
        rows = (f"{angle:.5f} {value:.5f}\n" for angle, value in pairs)
        (WORK / "scans" / f"{name}.xy").write_text("".join(rows))
    return truth


def run(name, options):
    """Install a program where it is not yet, and have it answer; what went wrong, if anything."""
    python, log = Path(sys.executable), WORK / f"{name}.log"
    if name != "xrdclass":
        venv = WORK / f"venv-{name}"
        python = venv / ("Scripts" if os.name == "nt" else "bin") / "python"
        if not (venv / "ready").exists():
            print(f"{name}: installing {PACKAGES[name]}, some minutes", flush=True)
            steps = [[sys.executable, "-m", "venv", venv]]
            steps += [[python, "-m", "pip", "install", "-q", PACKAGES[name]]]
            for step in steps:
                if subprocess.run(step).returncode:
                    return f"{PACKAGES[name]} could not be installed"
            (venv / "ready").touch()
    command = [python, __file__, "--worker", name, "--epochs", str(options.epochs)]
    paths = {"PYTHONPATH": str(ROOT)} if name == "xrdclass" else {}
    threads = {f"{k}_NUM_THREADS": "1" for k in ("OMP", "OPENBLAS")} if name == "xrdclass" else {}
    with open(log, "w") as file:
        try:
            done = subprocess.run(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=WORK / name,
                env={**os.environ, **paths, **threads, "TF_CPP_MIN_LOG_LEVEL": "3"},
                timeout=60 * options.minutes,
            )
        except subprocess.TimeoutExpired:
            return f"stopped after {options.minutes:g} minutes"
    if done.returncode:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        return f"{last[0] if last else 'no word'} (more in {log.relative_to(ROOT)})"


def show(name, found, truth):
    """The rows of one program."""
    memory = f"{found['memory'] / 1e6:,.0f} MB" if found["memory"] else "not known"
    print(f"{name} {found['version']}: {found['remark']}")
    print(f"  ready after {found['ready']:.0f} s, peak memory {memory}")
    for source in sorted({source for _, source in truth.values()}, reverse=True):
        rows = [(set(truth[n][0]), *found["answers"][n]) for n in truth if truth[n][1] == source]
        for present in (True, False):
            some = [
                (true, set(said), seconds) for true, said, seconds in rows if bool(true) is present
            ]
            if some:
                what = "with one of the five" if present else "with none of the five"
                right = sum(true == said for true, said, _ in some)
                false = sum(bool(said - true) for true, said, _ in some)
                median = statistics.median(seconds for *_, seconds in some)
                print(
                    f"  {source:<11}{what:<22} right {right:2d} of {len(some):2d}, "
                    f"false {false:2d}, median {median:.3f} s a scan"
                )
    print(flush=True)


def work(name, epochs):
    """One program's answers to all scans, in its own environment; writes answers.json."""
    start = time.perf_counter()
    remark, ask = {"xrdclass": ask_xrdclass, "autoxrd": ask_autoxrd, "dara": ask_dara}[name](epochs)
    ready, answers = time.perf_counter() - start, {}
    for path in sorted((WORK / "scans").glob("*.xy")):
        start = time.perf_counter()
        answers[path.stem] = ask(path), time.perf_counter() - start
        print(path.stem, *answers[path.stem], flush=True)
    memory = 0
    if resource:
        unit = 1 if sys.platform == "darwin" else 1024
        who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        memory = max(resource.getrusage(each).ru_maxrss for each in who) * unit
    version = importlib.metadata.version(PACKAGES[name])
    result = {"version": version, "remark": remark, "ready": ready, "memory": memory}
    Path("answers.json").write_text(json.dumps({**result, "answers": answers}))


def ask_xrdclass(_):
    from xrdclass.identify.identifier import load_model
    from xrdclass.scans import read_scan

    identify = load_model().identify
    return "its shipped network", lambda path: list(identify([read_scan(path)])[0].phases)


def ask_autoxrd(epochs):
    """With the defaults of its own train and run scripts; a trained network is kept."""
    import numpy as np

    cnn, dara, spectrum_generation, analysis = (
        import_module(f"autoXRD.{name}")
        for name in ("cnn", "dara", "spectrum_generation", "spectrum_analysis")
    )
    model, trained = Path(f"Model-{epochs}.h5"), Path(f"Model-{epochs}.txt")
    Path("temp").mkdir(exist_ok=True)
    shutil.copytree(WORK / "cifs", "References", dirs_exist_ok=True)
    if not (spectra := Path("spectra.npy")).exists():
        drawn = spectrum_generation.SpectraGenerator(
            "References", 50, 0.5, 5.0, 30.0, 0.03, 0.5, 70.0, 10.0, 80.0, separate=False
        )
        np.save(spectra, drawn.augmented_spectra)
    if not trained.exists():
        start = time.perf_counter()
        cnn.main(np.load(spectra), epochs, 0.2, False, fmodel=str(model))
        trained.write_text(f"{epochs} epochs in {time.perf_counter() - start:.0f} s")
    remark = f"trained for {trained.read_text()}"
    scans = str(WORK / "scans")
    settings = dict(min_conf=40, wavelength="CuKa", parallel=False, model_path=str(model))
    try:
        dara.BGMNWorker()
    except Exception:  # whatever: its download has no error of its own
        keras = import_module("tensorflow.keras")
        with keras.utils.custom_object_scope({"CustomDropout": analysis.CustomDropout}):
            loaded = keras.models.load_model(model, compile=False)
        network = analysis.KerasDropoutPrediction(loaded)
        names = sorted(path.stem for path in Path("References").glob("*.cif"))

        def first(path):  # its strongest phase: taking that away needs the engine
            seen = analysis.SpectrumAnalyzer(scans, path.name, 3, 5.0, 40).formatted_spectrum
            part, number, *_ = network.predict(seen, 40)
            return [names[int(np.argmax(part))]] if number else []

        return f"{remark}; {NO_ENGINE}: its network alone, one phase a scan at most", first
    whole = analysis.PhaseIdentifier(scans, "References", 3, 5.0, **settings)
    return remark, lambda path: [n for n in whole.classify_mixture(path.name)[1] if n != "None"]


def ask_dara(_):
    """With its defaults; of solutions that it holds for equally good, the first."""
    try:
        import_module("dara.bgmn_worker").BGMNWorker()
    except Exception as error:
        sys.exit(f"{NO_ENGINE}, without which it cannot run ({type(error).__name__})")
    phases = [str(path) for path in sorted((WORK / "cifs").glob("*.cif"))]

    def ask(path):
        found = import_module("dara").search_phases(str(path), phases)
        return [group[0].path.stem for group in found[0].phases] if found else []

    return "its defaults", ask


if __name__ == "__main__":
    main()
