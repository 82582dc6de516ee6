"""What `identify` and `quantify` print and draw: one answer a file, in order, as they come."""

from __future__ import annotations

import csv
import itertools
import json
import math
import signal
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from .errors import UserError
from .files.writing import write_safely

#: Scans that are read and identified together.
CHUNK = 32
REPORT = "Please report what 'python -X dev -m xrdclass ...' prints."


def printable(text) -> str:
    """Text on one line: names of files may hold line ends, control codes and broken bytes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def unexpected(error: Exception) -> str:
    """A sentence about an error that is our fault."""
    return f"A fault in xrdclass: {type(error).__name__}: {error}. {REPORT}"


def attempt(action: Callable, *arguments):
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
        return UserError(unexpected(error))


def answer_each(
    paths, read: Callable, work: Callable, describe: Callable, picture: Callable | None, names=None
) -> Iterator:
    """An answer for each file, and what failed with it, or None.

    Parameters
    ----------
    paths : of scan files
    read : from a path to a `scans.Scan`
    work : from a list of scans to as many results
    describe : from a result to what is printed, a dictionary
    picture : called with a scan, its result and the name of its picture; None draws none
    names : of the pictures; without them those of the files

    Yields
    ------
    answer : dict, as printed by ``--format json``
    problem : UserError or None
    """
    names = iter(names or _distinct(Path(path).stem for path in paths))
    remaining = iter(paths)
    while chunk := list(itertools.islice(remaining, CHUNK)):
        scans = [attempt(read, path) for path in chunk]
        results = iter(_work(work, [s for s in scans if not isinstance(s, UserError)]))
        for path, scan in zip(chunk, scans, strict=True):
            result = scan if isinstance(scan, UserError) else next(results)
            name, problem = f"{next(names)}.png", None
            if isinstance(result, UserError):
                answer, problem = {"file": str(path), "error": str(result)}, result
            else:
                answer = {"file": str(path), **describe(result)}
                if picture:  # an answer outlives a picture that cannot be written
                    drawn = attempt(picture, scan, result, name)
                    problem = drawn if isinstance(drawn, UserError) else None
            yield answer, problem


def answer_side_by_side(jobs: int, paths, prepare: Callable, *arguments) -> Iterator:
    """What `answer_each` yields, in order, by processes that get read to picture from `prepare`."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    names = list(_distinct(Path(path).stem for path in paths))
    parts = [[x[i : i + CHUNK] for x in (paths, names)] for i in range(0, len(paths), CHUNK)]
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, spawn, _prepare, (prepare, *arguments))
    try:
        yield from itertools.chain.from_iterable(pool.map(_answer_part, parts))
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(prepare, *arguments):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    _answer_part.functions = prepare(*arguments)[:4]


def _answer_part(part):
    return list(answer_each(part[0], *_answer_part.functions, part[1]))


def _work(work, scans):
    """Results or errors, one a scan: where a whole batch fails, each scan has its own try."""
    results = attempt(work, scans) if scans else []
    if not isinstance(results, UserError):
        return results
    return [results] if len(scans) == 1 else [r for s in scans for r in _work(work, [s])]


def describe_finding(finding) -> dict:
    """What is printed of a `findings.Finding`; weights are of the crystalline phases found."""
    answer = {
        "phases": list(finding.phases),
        "foreign": finding.foreign,
        "probability": {k: round(v, 4) for k, v in finding.probability.items()},
        "warnings": list(finding.warnings),
        "wavelength": round(finding.wavelength, 6),
        "wavelength_source": finding.wavelength_source,
        "two_theta": [round(float(end), 3) for end in finding.two_theta[[0, -1]]],
    }
    if finding.threshold is not None:
        answer["threshold"] = round(finding.threshold, 4)
    if finding.refinement is None:
        return answer
    fit = describe_refinement(finding.refinement)
    named = fit["phases"].items()
    weights = {n: {"value": p["weight_percent"], "error": p["error"]} for n, p in named}
    answer["foreign_probability"] = round(finding.foreign_probability, 4)
    answer["weight_percent"] = weights
    answer |= {key: {n: p[key] for n, p in named} for key in ("cell", "domain_size")}
    shared = ("upper_limit", "displacement", "r_wp", "unexplained", "missing_lines")
    return answer | {key: fit[key] for key in shared}


def describe_refinement(fit) -> dict:
    """What is printed of a `refinement.Refinement`; weights are of the phases found."""
    found = {name: phase for name, phase in fit.phases.items() if phase.found}

    def finite(value):  # an infinite error: the size is only a lower limit
        return round(value, 1) if value < math.inf else None

    return {
        "phases": {
            name: {
                "weight_percent": round(p.weight_percent, 2),
                "error": round(p.weight_error, 2),
                "cell": [round(x, 4) for x in p.cell.tolist()],
                "cell_error": [round(e, 5) if e > 0 else 0 for e in p.cell_error.tolist()],
                "domain_size": round(p.domain_size, 1),
                "domain_size_error": finite(p.domain_size_error),
                "texture_r": round(p.texture_r, 3),
            }
            for name, p in found.items()
        },
        "upper_limit": {
            name: round(p.upper_limit, 2) for name, p in fit.phases.items() if not p.found
        },
        "r_wp": round(fit.r_wp, 4),
        "displacement": round(fit.displacement, 4),
        "wavelength": round(fit.wavelength, 6),
        "two_theta": [round(float(end), 3) for end in fit.two_theta[[0, -1]]],
        "unexplained": [
            {
                "two_theta": round(p["two_theta"], 3),
                "d": round(p["d"], 4),
                "height": round(p["height"], 1),
            }
            for p in fit.unexplained
        ],
        "missing_lines": [
            {**line, **{key: round(line[key], 4) for key in ("two_theta", "d")}}
            for line in fit.missing
        ],
        "warnings": list(fit.warnings),
    }


def _distinct(stems):
    """Each name, with a number where an earlier one is the same, or is so to Windows and macOS."""
    used = set()
    for stem in stems:
        names = itertools.chain([stem], (f"{stem}-{i}" for i in itertools.count(2)))
        used.add((name := next(name for name in names if name.casefold() not in used)).casefold())
        yield name


def picture_of_finding(scan, finding):
    """A figure of an identifier's or a classifier's answer."""
    from .plots import plot_finding

    return plot_finding(finding)


def picture_of_refinement(scan, fit):
    """A figure of a fit."""
    from .plots import plot_refinement

    return plot_refinement(fit, scan.name)


def write_picture(picture: Callable, scan, result, target: Path, overwrite: bool) -> None:
    """Write one of the figures above as a PNG."""
    import matplotlib

    matplotlib.use("Agg")  # files only: no window, no display needed
    import matplotlib.pyplot

    figure = picture(scan, result)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # letters of a name that the font lacks
            write_safely(target, lambda file: figure.savefig(file, format="png"), overwrite)
    finally:
        matplotlib.pyplot.close(figure)


# Answers are printed as they come: what is stopped half-way has said all that it found.
def print_json(answers, names, files) -> None:
    """One array, an object a file."""
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


def print_csv(answers, names, files) -> None:
    """A line a file, with the probability of each phase."""
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
        writer.writerow([printable(value) for value in row])
        sys.stdout.flush()


def print_table(answers, names, files) -> None:
    """The answers in words, one below the other; notes stand under their file."""
    shown = [printable(Path(file).name) for file in files]
    width = max(map(len, shown))
    for name, a in zip(shown, answers, strict=True):
        if "error" in a:
            print(f"{name:{width}}  not read", flush=True)
            continue
        found = " + ".join(f"{p} ({a['probability'][p]:.2f})" for p in a["phases"]) or "none"
        foreign = ", and something else" if a["foreign"] else ""
        print(f"{name:{width}}  {found}{foreign}", flush=True)
        for warning in a["warnings"]:
            print(f"{'':{width}}  Note: {warning}", flush=True)


def print_weights_csv(answers, names, files) -> None:
    """A line a file and phase: of phases that were not found, what they have at most."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    cell = ["a", "b", "c", "alpha", "beta", "gamma"]
    own = ["weight_percent", "error", *cell, "domain_size", "upper_limit"]
    writer.writerow(["file", "phase", *own, "r_wp", "warnings", "problem"])
    for a in answers:
        rows = [[""] * (len(own) + 1)]
        if "error" not in a:
            limits, empty = a["upper_limit"], [""] * 9
            rows = [
                [n, p["weight_percent"], p["error"], *p["cell"], p["domain_size"], ""]
                for n, p in a["phases"].items()
            ] + [[n, *empty, limit] for n, limit in limits.items()]
        for row in rows:
            ends = a.get("r_wp", ""), " ".join(a.get("warnings", [])), a.get("error", "")
            writer.writerow([printable(value) for value in (a["file"], *row, *ends)])
        sys.stdout.flush()


def print_weights(answers, names, files) -> None:
    """For each file its phases: weight per cent, cell, crystallite size; notes stand under it."""
    wide = max(map(len, names))
    for a in answers:
        name = printable(Path(a["file"]).name)
        if "error" in a:
            print(f"{name}  not read", flush=True)
            continue
        print(f"{name}  R_wp {a['r_wp']:.3f}; weight % of the crystalline phases found")
        for phase, p in a["phases"].items():
            axes = zip("abc", p["cell"], strict=False)
            edges = ", ".join(f"{axis} {length:.4f}" for axis, length in axes)
            size = f"{p['domain_size']:.0f} nm" if p["domain_size_error"] else "large crystallites"
            weight = f"{p['weight_percent']:7.2f} ± {p['error']:.2f}"
            print(f"  {phase:{wide}} {weight}  {edges} Å, {size}")
        if not a["phases"]:  # limits are parts of what was found
            print("  none of the phases")
        for phase, limit in a["upper_limit"].items() if a["phases"] else ():
            print(f"  {phase:{wide}} not found; at most {limit:.2f}")
        for peak in a["unexplained"][:3]:
            print(f"  unexplained: a peak at {peak['two_theta']:.2f}, d {peak['d']:.3f} Å")
        for warning in a["warnings"]:
            print(f"  Note: {warning}", flush=True)


PRINTERS = {"table": print_table, "json": print_json, "csv": print_csv}
WEIGHT_PRINTERS = {"table": print_weights, "json": print_json, "csv": print_weights_csv}
