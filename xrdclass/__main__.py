"""The command line: `xrdclass` or `python -m xrdclass`."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from functools import partial
from pathlib import Path

from . import __version__
from .answers import printable, unexpected
from .errors import DataError, DownloadError, UserError
from .files.writing import check_target


def main(arguments=None) -> int:
    """Run one command; return its exit status. No traceback reaches a user."""
    warnings.showwarning = lambda message, *_: _complain(message, 0)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))
        if hasattr(getattr(sys, name), "reconfigure"):  # what it cannot show, it gets as an escape
            getattr(sys, name).reconfigure(errors="backslashreplace")
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
        return _complain(unexpected(error), 1)
    finally:
        try:
            sys.stdout.flush()
        except OSError:
            # Nobody can read our output; keep Python from complaining at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message, status: int) -> int:
    print(f"xrdclass: {printable(message)}", file=sys.stderr)
    return status


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message}. See '{self.prog} --help'.\n")


def _whole(text: str, smallest: int = 0) -> int:
    """A whole number from ``smallest`` to what NumPy and Keras take as a seed."""
    if text.isdecimal() and smallest <= int(text) < 2**32:
        return int(text)
    raise argparse.ArgumentTypeError(
        f"expected a whole number of at least {smallest}, got {text!r}"
    )


_count = partial(_whole, smallest=1)
PAIR = {"nargs": 2, "type": float}
#: Options of several commands.
SHARED = {
    "cif_dir": {"nargs": "?", "help": "folder of CIF files; default: the TiO2 phases"},
    "patterns": {"help": "pattern file, .npz"},
    "--seed": {"type": _whole, "default": 0},
    "--force": {"action": "store_true", "help": "overwrite existing files"},
    "scans": {"nargs": "+", "metavar": "SCAN", "help": "scan file"},
    "--wavelength": {"help": "such as Co, CoKa1, 1.789, 0.1789nm or 17.4keV"},
    "--axis": {"help": "2theta, theta, q (1/Å), q_nm (1/nm) or d (Å)"},
    "--columns": {"nargs": 2, "metavar": ("X", "Y"), "help": "numbers from 1, or names"},
    "--scan": {"type": _count, "help": "which one of a file with several"},
    "--format": {"choices": ("table", "json", "csv"), "default": "table"},
    "--plot": {"metavar": "DIR", "help": "draw each scan into a folder"},
    "--report": {"metavar": "FILE", "help": "write all answers as a page, .html"},
    "--jobs": {"type": _count, "default": 1, "help": "processes, for many scans (%(default)s)"},
}
WRITING, READING = ("--seed", "--force"), tuple(SHARED)[3:]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="xrdclass",
        description="Tell crystal phases apart by their powder X-ray diffraction patterns.",
    )
    parser.add_argument("--version", action="version", version=f"xrdclass {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def command(run, text, *shared, prepare=None):
        name = (prepare or run).__name__[1:].replace("_", "-")
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run, prepare=prepare)
        for flag in shared:
            sub.add_argument(flag, **SHARED[flag])
        return sub.add_argument

    text = "Simulate patterns of the phases in a folder of CIFs."
    add = command(_simulate, text, "cif_dir", *WRITING)
    add("--out", help="pattern file to write, .npz")
    add("--npy", metavar="DIR", help="also write x_train.npy and so on into a folder")
    add("--two-theta", metavar="DEGREES", default=(5.0, 90.0), **PAIR)
    add("--domain-sizes", metavar="NM", default=(20.0, 50.0), **PAIR)
    add("--step", type=float, default=0.01, help="degrees (%(default)s)")
    add("--wavelength", default="Cu", help="Cu, Co, Mo, Fe, Cr or Å (%(default)s)")
    add("--strain", type=float, default=0.04, help="largest strain (%(default)s)")
    add("--texture", type=float, default=0.8, help="strongest, 0-1 (%(default)s)")
    add("--profile", default="gaussian", help="peak shape (%(default)s)")
    add("--k-alpha2", action="store_true", help="resolve the doublet")
    add("--n-train", type=_count, default=100, help="a phase (%(default)s)")
    add("--n-val", type=_whole, default=20, help="a phase (%(default)s)")

    text = "Add background and counting noise to patterns."
    add = command(_add_noise, text, "patterns", *WRITING)
    add("--out", required=True, help="pattern file to write, .npz")
    text = "counting noise of the strongest peak, smallest and largest (0.01 0.05)"
    add("--noise", metavar="PART", default=(0.01, 0.05), help=text, **PAIR)

    add = command(_train, "Train a network on patterns.", "patterns", *WRITING)
    add("--out", required=True, help="classifier file to write, .keras")
    add("--network", default="compact", help="compact or original (%(default)s)")
    add("--epochs", type=_count, default=15, help="(%(default)s)")
    add("--batch-size", type=_count, default=32, help="(%(default)s)")

    text = "Train a network that may also say 'none' or 'several', as identify uses for TiO2."
    add = command(_train_identifier, text, "cif_dir", *WRITING)
    add("--out", required=True, help="identifier file to write, .npz")
    add("--samples", type=_count, default=40_000, help="mixtures (%(default)s)")
    add("--crystals", type=_count, default=800, help="invented (%(default)s)")
    add("--fitted", type=_count, default=600, help="fits calibrated (%(default)s)")
    add("--strain", type=float, help="largest change of a cell length, relative")
    add("--domain-sizes", metavar="NM", help="of crystallites", **PAIR)
    add("--two-theta", metavar="DEGREES", help="of all scans", **PAIR)
    text = "another setting of the samples to expect"
    add("--set", nargs="+", action="append", default=[], metavar=("NAME", "VALUE"), help=text)

    add = command(_answer, "Name the phases in measured scans.", *READING, prepare=_identify)
    add("--model", help="file of train or train-identifier; default: the one for TiO2")
    add("--expect", action="append", default=[], metavar="PHASE", help="fit it anyway")

    text = "Weight fractions of known phases, by one fit to a scan."
    add = command(_answer, text, *READING, prepare=_quantify)
    add("--phases", metavar="CIF_DIR", help=SHARED["cif_dir"]["help"])
    add("--least", type=float, default=0.5, help="less probable phases stay out (%(default)s)")

    add = command(_check, "Say what a folder of CIF files gives, and which are twins.")
    add("cif_dir", help="folder of CIF files")
    add("--wavelength", default="Cu", help="Cu, Co, Mo, Fe, Cr or Å (%(default)s)")

    add = command(_rruff, "List the RRUFF patterns and where each comes from.")
    add("--download", action="store_true", help="fetch what is missing")
    add("--other", action="store_true", help="also other minerals and mixtures")
    add("--dir", help="folder of scans to look in; default: $XRDCLASS_DATA")
    return parser


def _bar(items, total, desc, delay=1):
    """A progress bar on a terminal, for what takes longer than a second."""
    from tqdm import tqdm

    return tqdm(items, total=total, desc=desc, delay=delay, disable=None, file=sys.stderr)


def _simulate(options) -> None:
    import numpy as np

    from .files.writing import write_safely
    from .patterns import TwoThetaGrid
    from .phases import load_phases
    from .simulation import Variation, simulate

    if not (options.out or options.npy):
        raise DataError("Say where to write the patterns: --out FILE.npz, --npy DIR or both.")
    parts = [f"{a}_{b}.npy" for b in ("train", "val") for a in ("x", "y")]
    targets = [Path(options.npy) / part for part in parts] if options.npy else []
    for path in [*targets, *([options.out] if options.out else [])]:
        check_target(path, options.force)
    phases = load_phases(options.cif_dir)
    settings = {key: getattr(options, key) for key in ("strain", "texture", "profile", "k_alpha2")}
    variation = Variation(domain_size=tuple(options.domain_sizes), **settings)
    grid = TwoThetaGrid(*options.two_theta, options.step)
    n = options.n_train + options.n_val
    bar = partial(_bar, desc="simulating")
    patterns = simulate(phases, n, variation, grid, options.wavelength, options.seed, bar)
    patterns.validation = np.arange(len(patterns)) % n >= options.n_train
    if options.out:
        patterns.save(options.out, overwrite=options.force)
    for path in targets:
        chosen = patterns.subset(patterns.validation == path.stem.endswith("val"))
        array = chosen.intensity if path.stem.startswith("x") else chosen.labels
        write_safely(path, lambda file, array=array: np.save(file, array), options.force)
    names = ", ".join(f"{label} {name}" for label, name in enumerate(patterns.names))
    places = " and ".join(str(p) for p in (options.out, options.npy) if p)
    print(f"{len(patterns)} patterns of {len(phases)} phases ({names}) in {places}")


def _add_noise(options) -> None:
    from .noise import Noise, add_noise
    from .patterns import PatternSet

    check_target(options.out, options.force)
    patterns = PatternSet.load(options.patterns)
    noisy = add_noise(patterns, Noise.from_relative(*options.noise), options.seed)
    noisy.save(options.out, overwrite=options.force)
    print(f"{len(noisy)} noisy patterns in {options.out}")


def _train(options) -> None:
    from .patterns import PatternSet, split
    from .training import fit

    check_target(options.out, options.force, ".keras")
    patterns = PatternSet.load(options.patterns)
    if patterns.validation.any():
        chosen = patterns.validation
        train, validation = patterns.subset(~chosen), patterns.subset(chosen)
    else:
        train, validation = split(patterns, 1 / 6, options.seed)
    settings = {key: getattr(options, key) for key in ("network", "epochs", "batch_size")}
    classifier = _trained(options, fit, train, validation, **settings)
    kind, checked = ("validation", validation) if len(validation) else ("training", train)
    accuracy = classifier.history["val_accuracy" if len(validation) else "accuracy"][-1]
    print(f"{100 * accuracy:.1f} % of {len(checked)} {kind} patterns right; {options.out}")


def _trained(options, train, *arguments, **settings):
    """Train, so that the same command goes on after Ctrl-C, and save what came of it."""
    from .files.kept_runs import Keeper

    keep = Path(options.out).with_suffix(".training")
    state, best = keep / Keeper.STATE, keep / Keeper.BEST
    if state.exists():
        print(f"{keep} keeps an earlier run; going on with it if it is the same.", file=sys.stderr)
    try:
        trained = train(*arguments, **settings, seed=options.seed, keep=keep)
    except KeyboardInterrupt as stop:
        if state.exists():
            also = f"; its best network so far is {best}" if best.exists() else ""
            stop.args = (f"{keep} keeps what was done{also}. Repeat the command to go on.",)
        raise
    trained.save(options.out, overwrite=options.force)
    Keeper.remove(keep)
    return trained


def _train_identifier(options) -> None:
    from .identify.laboratory import from_words
    from .identify.train import print_measured, train_identifier
    from .phases import load_phases

    sizes = options.domain_sizes and tuple(options.domain_sizes)
    given = {"strain": options.strain, "domain_size": sizes}
    changes = {key: value for key, value in given.items() if value is not None}
    if options.two_theta:
        low, high = options.two_theta
        if not low < high:
            raise DataError(f"--two-theta is the first and the last angle; got {low:g} {high:g}.")
        changes |= {"start": (low, low), "whole_start": 0.0}
        changes |= {"stop": (high, high), "whole_stop": 0.0}
    settings = {"laboratory": from_words(options.set, **changes)}
    check_target(options.out, options.force, ".npz")
    phases = load_phases(options.cif_dir)
    settings |= {"n_crystals": options.crystals, "n_fitted": options.fitted}
    settings["progress"] = partial(_bar, None, delay=0)
    identifier = _trained(options, train_identifier, phases, options.samples, **settings)
    print_measured(identifier.settings["measured"])
    print(options.out)


def _identify(options):
    """What `_prepared` wants of identify: from scans to results, and from a result to words."""
    from .answers import describe_finding
    from .identify.identifier import SHIPPED, load_model

    model = load_model(options.model or SHIPPED)
    if options.expect and not hasattr(model, "fit"):
        raise DataError("--expect is for identifiers, which fit phases; a classifier does not.")
    more = {"expect": options.expect} if options.expect else {}
    return lambda scans: model.identify(scans, options.wavelength, **more), describe_finding


def _quantify(options):
    """The like of quantify."""
    from .answers import describe_refinement
    from .identify.profile import phase_lines
    from .identify.refinement import refine
    from .phases import load_phases

    phases = [phase_lines(phase) for phase in load_phases(options.phases)]

    def quantify(scan):
        fit = refine(scan, phases, options.wavelength, least_probability=options.least)
        if not (options.wavelength or scan.wavelength):
            fit.warnings.insert(0, "The file states no wavelength: Cu was assumed.")
        fit.warnings[:0] = scan.warnings
        return fit

    return lambda scans: [quantify(scan) for scan in scans], describe_refinement


def _prepared(options):
    """What `answer_each` wants: read, work, describe, picture. Each process makes its own."""
    # Matrices are small here: a second thread brings little, and beside other work costs a lot.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from .answers import draw
    from .diffraction import radiation
    from .scans import read_scan

    if options.wavelength:
        radiation(options.wavelength)  # a wrong name is one error, not one a file
    picture = None
    if options.plot or options.report:
        keep = {"keep": options.report is not None, "overwrite": options.force}
        picture = partial(draw, folder=options.plot, **keep)

    def read(path):
        return read_scan(path, options.wavelength, options.axis, options.columns, options.scan)

    return read, *options.prepare(options), picture


def _answer(options) -> int:
    """Read scans, work on them, print what is to be said of each, draw and report them."""
    from .answers import CHUNK, PRINTERS, answer_each, answer_side_by_side

    functions, scans, failed, report = _prepared(options), options.scans, [], None
    if options.report:
        from .reports import Report

        report = Report(check_target(options.report, options.force, ".html"))

    def answers():
        if options.jobs > 1 and len(scans) > CHUNK:
            found = answer_side_by_side(options.jobs, scans, _prepared, options)
        else:
            found = answer_each(scans, *functions)
        # On a terminal the answers, which come one by one, are progress enough.
        shown = sys.stdout.isatty()
        for answer, problem in found if shown else _bar(found, len(scans), "reading"):
            if problem is not None:
                failed.append(answer["file"])
                named = Path(answer["file"]).name in str(problem)
                _complain(f"{'' if named else answer['file'] + ': '}{problem}", 0)
            kept = dict(answer)
            answer.pop("picture", None)
            yield answer
            if report:
                report.add(kept)

    try:
        PRINTERS[options.format](answers(), scans)
    finally:  # also of what was stopped half-way
        if report:
            report.save(options.force)
    if failed and len(scans) > CHUNK:  # too many to have an eye on each
        _complain(f"{len(failed)} of {len(scans)} scans failed, as said above.", 1)
    return 1 if failed else 0


def _check(options) -> int:
    from .check import print_check

    return 0 if print_check(options.cif_dir, options.wavelength) else 1


def _rruff(options) -> None:
    from . import rruff

    kinds = 3 if options.other else 1
    finders = (rruff.find_patterns, rruff.find_other_minerals, rruff.find_mixtures)[:kinds]
    wanted = sum((rruff.CATALOGUE, rruff.OTHER_MINERALS, rruff.MIXTURES)[:kinds], ())

    def at_hand():
        return {p.entry.rruff_id: p for find in finders for p in find(options.dir)}

    found = at_hand()
    if options.download:
        try:
            rruff.download([entry for entry in wanted if entry.rruff_id not in found])
        except DownloadError as error:
            _complain(error, 0)
        found = at_hand()
    listed = {e.rruff_id: e for e in (*wanted, *(p.entry for p in found.values()))}
    for key, entry in listed.items():
        state = f"{found[key].source}, {found[key].where}" if key in found else "not at hand"
        print(f"{key:32s}{entry.phase or entry.mineral:14s}{state}")
    if not found.keys() >= {e.rruff_id for e in wanted} and not options.download:
        print("Fetch what is missing with --download, or name a folder of scans with --dir.")


if __name__ == "__main__":
    from importlib import import_module

    # By its name, as the processes of --jobs look for its functions.
    sys.exit(import_module("xrdclass.__main__").main())
