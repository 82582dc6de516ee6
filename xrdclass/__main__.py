"""The command line: `xrdclass` or `python -m xrdclass`."""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import sys
import textwrap
import warnings
from pathlib import Path

from . import __version__
from .errors import DataError, DownloadError, UserError


def main(arguments=None) -> int:
    """Run one command; return its exit status. No traceback reaches a user."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))
    warnings.showwarning = lambda message, *_: _complain(message, 0)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what a terminal cannot show, it gets as an escape
            stream.reconfigure(errors="backslashreplace")
    try:
        options = _parser().parse_args(arguments)
        status = options.run(options) or 0
        sys.stdout.flush()
        return status
    except UserError as error:
        return _complain(error, 2)
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt as stop:
        return _complain(f"stopped; {str(stop) or 'nothing half-written is left behind.'}", 130)
    except MemoryError:
        return _complain("there is not enough memory; ask for fewer patterns at a time.", 1)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return _complain(f"{name}{error.strerror or error}.", 1)
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        return _complain(f"{_unexpected(error)} {REPORT}", 1)
    finally:
        try:
            sys.stdout.flush()
        except OSError:
            # Nobody can read our output; keep Python from complaining at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


REPORT = "Please report what 'python -X dev -m xrdclass ...' prints."


def _unexpected(error: Exception) -> str:
    return f"A fault in xrdclass: {type(error).__name__}: {error}."


def _complain(message, status: int) -> int:
    print(f"xrdclass: {_printable(message)}", file=sys.stderr)
    return status


def _printable(text) -> str:
    """Text on one line: names of files may hold line ends, control codes and broken bytes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message}. See '{self.prog} --help'.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="xrdclass",
        description="Tell crystal phases apart by their powder X-ray diffraction patterns.",
    )
    parser.add_argument("--version", action="version", version=f"xrdclass {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name, run, text):
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    sub = command("simulate", _simulate, "Simulate patterns of the phases in a folder of CIFs.")
    sub.add_argument("cif_dir", nargs="?", help="folder of CIF files; default: the TiO2 phases")
    sub.add_argument("--out", help="pattern file to write, .npz")
    sub.add_argument("--npy", metavar="DIR", help="also write x_train.npy and so on into a folder")
    sub.add_argument("--two-theta", nargs=2, type=float, default=(5.0, 90.0), metavar="DEGREES")
    sub.add_argument("--step", type=float, default=0.01, help="degrees (%(default)s)")
    sub.add_argument("--wavelength", default="Cu", help="Cu, Co, Mo, Fe, Cr or Å (%(default)s)")
    sub.add_argument("--strain", type=float, default=0.04, help="largest strain (%(default)s)")
    sub.add_argument("--texture", type=float, default=0.8, help="strongest, 0-1 (%(default)s)")
    sub.add_argument("--domain-sizes", nargs=2, type=float, default=(20.0, 50.0), metavar="NM")
    sub.add_argument("--profile", default="gaussian", help="peak shape (%(default)s)")
    sub.add_argument("--k-alpha2", action="store_true", help="resolve the doublet")
    sub.add_argument("--n-train", type=_count, default=100, help="a phase (%(default)s)")
    sub.add_argument("--n-val", type=_whole, default=20, help="a phase (%(default)s)")
    sub.add_argument("--seed", type=_whole, default=0)
    sub.add_argument("--processes", type=_count, default=1)
    sub.add_argument("--force", action="store_true", help="overwrite existing files")

    sub = command("add-noise", _add_noise, "Add background and counting noise to patterns.")
    sub.add_argument("patterns", help="pattern file, .npz")
    sub.add_argument("--out", required=True, help="pattern file to write, .npz")
    sub.add_argument(
        "--noise",
        nargs=2,
        type=float,
        default=(0.01, 0.05),
        metavar="PART",
        help="counting noise of the strongest peak, smallest and largest (0.01 0.05)",
    )
    sub.add_argument("--seed", type=_whole, default=0)
    sub.add_argument("--force", action="store_true", help="overwrite an existing file")

    sub = command("train", _train, "Train a network on patterns.")
    sub.add_argument("patterns", help="pattern file, .npz")
    sub.add_argument("--out", required=True, help="classifier file to write, .keras")
    sub.add_argument("--network", default="compact", help="compact or original (%(default)s)")
    sub.add_argument("--epochs", type=_count, default=15, help="(%(default)s)")
    sub.add_argument("--batch-size", type=_count, default=32, help="(%(default)s)")
    sub.add_argument("--seed", type=_whole, default=0)
    sub.add_argument("--force", action="store_true", help="overwrite an existing file")

    sub = command(
        "train-identifier",
        _train_identifier,
        "Train a network that may also say 'none' or 'several', as identify uses for TiO2.",
    )
    sub.add_argument("cif_dir", nargs="?", help="folder of CIF files; default: the TiO2 phases")
    sub.add_argument("--out", required=True, help="classifier file to write, .keras")
    sub.add_argument("--samples", type=_count, default=60_000, help="mixtures (%(default)s)")
    sub.add_argument("--rounds", type=_count, default=3, help="portions of them (%(default)s)")
    sub.add_argument("--crystals", type=_count, default=800, help="invented (%(default)s)")
    sub.add_argument("--judged", type=_count, default=4000, help="mixtures (%(default)s)")
    sub.add_argument("--seed", type=_whole, default=0)
    sub.add_argument("--force", action="store_true", help="overwrite an existing file")

    sub = command("identify", _identify, "Name the phases in measured scans.")
    sub.add_argument("scans", nargs="+", metavar="SCAN", help="scan file")
    sub.add_argument("--model", help="classifier file, .keras; default: the one for TiO2")
    sub.add_argument("--wavelength", help="Cu, Co, Mo, Fe, Cr or Å, if the file does not say")
    sub.add_argument("--format", choices=("table", "json", "csv"), default="table")
    sub.add_argument("--plot", metavar="DIR", help="draw each scan into a folder")
    sub.add_argument("--force", action="store_true", help="overwrite existing plots")

    sub = command("rruff", _rruff, "List the RRUFF patterns and where each comes from.")
    sub.add_argument("--download", action="store_true", help="fetch what is missing")
    sub.add_argument("--dir", help="folder of scans to look in; default: $XRDCLASS_DATA")
    return parser


def _count(text: str) -> int:
    return _whole(text, 1)


def _whole(text: str, smallest: int = 0) -> int:
    """A whole number from ``smallest`` to what NumPy and Keras take as a seed."""
    if not (text.isdecimal() and smallest <= int(text) < 2**32):
        raise argparse.ArgumentTypeError(
            f"expected a whole number of at least {smallest}, got {text!r}"
        )
    return int(text)


def _bar(items, total, description):
    """A progress bar on a terminal, for what takes longer than a second."""
    from tqdm import tqdm

    return tqdm(items, total=total, desc=description, delay=1, disable=None, file=sys.stderr)


def _refuse_existing(path, force: bool) -> None:
    """Say no before hours of work, not after."""
    path = Path(path)
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is no ordinary file; choose another name.")
    if path.exists() and not force:
        raise DataError(f"{path} exists already; choose another name, or overwrite with --force.")


def _simulate(options) -> None:
    import numpy as np

    from .files.writing import write_safely
    from .patterns import PatternSet, TwoThetaGrid
    from .phases import load_phases
    from .simulation import BLOCK, Variation, simulate_batches

    if not (options.out or options.npy):
        raise DataError("Say where to write the patterns: --out FILE.npz, --npy DIR or both.")
    parts = [f"{a}_{b}.npy" for b in ("train", "val") for a in ("x", "y")]
    targets = [Path(options.npy) / part for part in parts] if options.npy else []
    for path in [*targets, *([options.out] if options.out else [])]:
        _refuse_existing(path, options.force)
    phases = load_phases(options.cif_dir)
    variation = Variation(
        strain=options.strain,
        texture=options.texture,
        domain_size=tuple(options.domain_sizes),
        profile=options.profile,
        k_alpha2=options.k_alpha2,
    )
    grid = TwoThetaGrid(*options.two_theta, options.step)
    n = options.n_train + options.n_val
    batches = simulate_batches(
        phases, n, variation, grid, options.wavelength, options.seed, options.processes
    )
    blocks = list(_bar(batches, len(phases) * -(-n // BLOCK), "simulating"))
    blocks.sort(key=lambda block: block.labels[0])
    patterns = PatternSet.concatenate(blocks)
    is_validation = np.arange(len(patterns)) % n >= options.n_train
    patterns.parameters["is_validation"] = is_validation
    patterns.parameters["wavelength"] = np.full(len(patterns), _mean(options.wavelength))
    if options.out:
        patterns.save(options.out, overwrite=options.force)
    for path in targets:
        chosen = patterns.subset(is_validation == path.stem.endswith("val"))
        array = chosen.intensity if path.stem.startswith("x") else chosen.labels
        write_safely(path, lambda file, array=array: np.save(file, array), options.force)
    names = ", ".join(f"{label} {name}" for label, name in enumerate(patterns.names))
    places = " and ".join(str(p) for p in (options.out, options.npy) if p)
    print(f"{len(patterns)} patterns of {len(phases)} phases ({names}) in {places}")


def _mean(wavelength) -> float:
    from .diffraction import radiation

    return radiation(wavelength).mean


def _add_noise(options) -> None:
    from .noise import Noise, add_noise
    from .patterns import PatternSet

    _refuse_existing(options.out, options.force)
    patterns = PatternSet.load(options.patterns)
    noisy = add_noise(patterns, Noise.from_relative(*options.noise), options.seed)
    noisy.save(options.out, overwrite=options.force)
    print(f"{len(noisy)} noisy patterns in {options.out}")


def _train(options) -> None:
    from .patterns import PatternSet, split
    from .training import Keeper, fit

    _refuse_existing(options.out, options.force)
    if Path(options.out).suffix != ".keras":
        raise DataError(f"A classifier file's name ends in .keras; got {options.out}.")
    patterns = PatternSet.load(options.patterns)
    held_back = patterns.parameters.get("is_validation")
    if held_back is None or not held_back.any():
        train, validation = split(patterns, 1 / 6, options.seed)
    else:
        train, validation = patterns.subset(~held_back), patterns.subset(held_back)
    lengths = patterns.parameters.get("wavelength")
    keep = Path(options.out).with_suffix(".training")
    classifier = _stoppable(
        fit,
        keep,
        train,
        validation,
        network=options.network,
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
        wavelength=1.54184 if lengths is None or not len(lengths) else float(lengths[0]),
    )
    classifier.save(options.out, overwrite=options.force)
    Keeper.remove(keep)
    kind, checked = ("validation", validation) if len(validation) else ("training", train)
    accuracy = classifier.history["val_accuracy" if len(validation) else "accuracy"][-1]
    print(f"{100 * accuracy:.1f} % of {len(checked)} {kind} patterns right; {options.out}")


def _stoppable(train, keep: Path, *arguments, **settings):
    """Train so that the same command goes on after Ctrl-C."""
    from .training import Keeper

    state, best = keep / Keeper.STATE, keep / Keeper.BEST
    if state.exists():
        print(f"{keep} keeps an earlier run; going on with it if it is the same.", file=sys.stderr)
    try:
        return train(*arguments, **settings, keep=keep)
    except KeyboardInterrupt as stop:
        if state.exists():
            also = f"; its best network so far is {best}" if best.exists() else ""
            stop.args = (f"{keep} keeps what was done{also}. Repeat the command to go on.",)
        raise


def _train_identifier(options) -> None:
    from .identify.identifier import train_identifier
    from .phases import load_phases
    from .training import Keeper

    _refuse_existing(options.out, options.force)
    if Path(options.out).suffix != ".keras":
        raise DataError(f"A classifier file's name ends in .keras; got {options.out}.")
    keep = Path(options.out).with_suffix(".training")
    identifier = _stoppable(
        train_identifier,
        keep,
        load_phases(options.cif_dir),
        options.samples,
        n_crystals=options.crystals,
        n_judged=options.judged,
        rounds=options.rounds,
        seed=options.seed,
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    identifier.save(options.out, overwrite=options.force)
    Keeper.remove(keep)
    measured = identifier.settings["measured"]
    found, wrong = 100 * measured["found"], 100 * measured["false_acceptance"]
    print(
        f"On {measured['samples']} simulated samples: {found:.1f} % of the visible phases found, "
        f"{wrong:.2f} % of samples without a phase given one; {options.out}"
    )


#: Scans that are read and identified together.
CHUNK = 32


def _identify(options) -> int:
    if options.wavelength:
        _mean(options.wavelength)  # a wrong name is one error, not one a file
    if options.plot:
        import matplotlib

        matplotlib.use("Agg")  # files only: no window, no display needed
    names, examine, draw = _examiner(options)
    failed = []

    def answers():
        for answer, error in _examined(options, examine, draw):
            if error is not None:
                failed.append(answer["file"])
                name = "" if Path(answer["file"]).name in str(error) else f"{answer['file']}: "
                _complain(f"{name}{error}", 1)
            yield answer

    {"json": _print_json, "csv": _print_csv, "table": _print_table}[options.format](
        answers(), names, options.scans
    )
    if failed and len(options.scans) > CHUNK:  # too many to have an eye on each
        _complain(f"{len(failed)} of {len(options.scans)} scans failed, as said above.", 1)
    return 1 if failed else 0


def _examined(options, examine, draw):
    """An answer for each scan, in order, and what failed with it, or None."""
    from .scans import read_scan

    pictures = iter(_distinct(Path(path).stem for path in options.scans))

    def attempt(action, *arguments):
        """What an action gives, or its error: one scan does not end the work on thousands."""
        try:
            return action(*arguments)
        except UserError as error:
            return error
        except MemoryError:
            return UserError("There is not enough memory to examine it.")
        except Exception as error:
            if sys.flags.dev_mode:
                raise
            return UserError(f"{_unexpected(error)} {REPORT}")

    def examine_each(scans):
        results = attempt(examine, scans) if scans else []
        if not isinstance(results, UserError):
            return results
        return [results] if len(scans) == 1 else [r for scan in scans for r in examine_each([scan])]

    # On a terminal the answers, which come one by one, are progress enough.
    paths = options.scans if sys.stdout.isatty() else _bar(options.scans, None, "identifying")
    paths = iter(paths)
    while chunk := list(itertools.islice(paths, CHUNK)):
        scans = [attempt(read_scan, path) for path in chunk]
        results = iter(examine_each([s for s in scans if not isinstance(s, UserError)]))
        for path, scan in zip(chunk, scans, strict=True):
            result = scan if isinstance(scan, UserError) else next(results)
            answer, picture, problem = {"file": str(path)}, f"{next(pictures)}.png", None
            if isinstance(result, UserError):
                answer["error"] = str(result)
                problem = result
            else:
                answer.update(_answer(getattr(result, "verdict", result)))
                if options.plot:  # an answer outlives a picture that cannot be written
                    target = Path(options.plot) / picture
                    drawn = attempt(_plot, target, draw, (scan, result), options.force)
                    problem = drawn if isinstance(drawn, UserError) else None
            yield answer, problem


def _examiner(options):
    """The names, a function from scans to results, and one from scan and result to a figure."""
    from .identify.identifier import SHIPPED, Identifier
    from .training import Classifier, read_metadata

    path = options.model or SHIPPED
    if read_metadata(path).get("kind") == "identifier":
        identifier = Identifier.load(path)

        def draw(scan, finding):
            from .identify.second_opinion import TWO_THETA
            from .plots import plot_finding

            return plot_finding(TWO_THETA, finding)

        return identifier.names, lambda s: identifier.identify(s, options.wavelength), draw
    from .evaluation import identify

    classifier = Classifier.load(path)

    def draw_verdict(scan, verdict):
        from .plots import plot_verdict

        return plot_verdict(scan, verdict)

    def examine(scans):
        return [identify(classifier, scan, options.wavelength) for scan in scans]

    return classifier.names, examine, draw_verdict


def _answer(verdict) -> dict:
    return {
        "phases": list(verdict.phases),
        "foreign": verdict.foreign,
        "probability": {k: round(v, 4) for k, v in verdict.probability.items()},
        "warnings": list(verdict.warnings),
    }


def _distinct(stems):
    """Each name, with a number where an earlier one is the same, or is so to Windows and macOS."""
    used = set()
    for stem in stems:
        names = itertools.chain([stem], (f"{stem}-{i}" for i in itertools.count(2)))
        used.add((name := next(name for name in names if name.casefold() not in used)).casefold())
        yield name


def _plot(target: Path, draw, what, force: bool) -> None:
    import matplotlib.pyplot

    from .files.writing import write_safely

    figure = draw(*what)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # letters of a name that the font lacks
            write_safely(target, lambda file: figure.savefig(file, format="png"), force)
    finally:
        matplotlib.pyplot.close(figure)


# Answers are printed as they come: what is stopped half-way has said all that it found.
def _print_json(answers, names, files) -> None:
    separator = "[\n"
    try:
        for answer in answers:
            text = json.dumps(answer, indent=1, ensure_ascii=False)
            try:
                text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
            except UnicodeEncodeError:
                text = json.dumps(answer, indent=1)
            print(separator + textwrap.indent(text, " "), end="", flush=True)
            separator = ",\n"
    except KeyboardInterrupt:
        print("[]" if separator == "[\n" else "\n]")
        raise
    print("\n]")


def _print_csv(answers, names, files) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "phases", "foreign", *names, "warnings", "error"])
    for a in answers:
        probability = a.get("probability", {})
        row = [
            a["file"],
            " + ".join(a.get("phases", [])),
            a.get("foreign", ""),
            *(probability.get(name, "") for name in names),
            " ".join(a.get("warnings", [])),
            a.get("error", ""),
        ]
        writer.writerow([_printable(value) for value in row])
        sys.stdout.flush()


def _print_table(answers, names, files) -> None:
    shown = [_printable(Path(file).name) for file in files]
    width, said = max(map(len, shown)), set()
    for name, a in zip(shown, answers, strict=True):
        if "error" in a:
            print(f"{name:{width}}  not read", flush=True)
            continue
        found = " + ".join(f"{p} ({a['probability'][p]:.2f})" for p in a["phases"]) or "none"
        foreign = ", and something else" if a["foreign"] else ""
        print(f"{name:{width}}  {found}{foreign}", flush=True)
        said.update(a["warnings"])
    for warning in sorted(said):
        print(f"Note: {warning}")


def _rruff(options) -> None:
    from .rruff import CATALOGUE, download, find_patterns

    found = {p.entry.rruff_id: p for p in find_patterns(options.dir)}
    if options.download:
        try:
            download([entry for entry in CATALOGUE if entry.rruff_id not in found])
        except DownloadError as error:
            _complain(error, 0)
        found = {p.entry.rruff_id: p for p in find_patterns(options.dir)}
    entries = list(CATALOGUE) + [
        p.entry for key, p in found.items() if key not in {e.rruff_id for e in CATALOGUE}
    ]
    for entry in entries:
        pattern = found.get(entry.rruff_id)
        state = f"{pattern.source}, {pattern.where}" if pattern else "not at hand"
        print(f"{entry.rruff_id:9s}{entry.phase or entry.mineral:12s}{state}")
    if len(found) < len(CATALOGUE) and not options.download:
        print("Fetch what is missing with --download, or name a folder of scans with --dir.")


if __name__ == "__main__":
    sys.exit(main())
