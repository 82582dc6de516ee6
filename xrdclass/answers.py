"""What `identify` and `quantify` print and draw: one answer a file, in order, as they come."""

from __future__ import annotations

import csv
import gc
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
FAULT = "Please report what 'python -X dev -m xrdclass ...' prints."
CELL = ("a", "b", "c", "alpha", "beta", "gamma")
#: What is known of each phase found, and the names of the errors.
ERRORS = {"weight_percent": "error", "cell": "cell_error", "domain_size": "domain_size_error"}
#: The columns of the CSV output: first those of a phase, then those of its scan.
COLUMNS = (
    *("file", "phase", "found", "probability", "weight_percent", "error", *CELL),
    *(*(f"{name}_error" for name in CELL), "domain_size", "domain_size_error", "upper_limit"),
    *("threshold", "foreign", "foreign_probability", "r_wp", "displacement", "wavelength"),
    *("wavelength_source", "unexplained", "missing_lines", "warnings", "problem"),
)


def printable(text) -> str:
    """Text on one line: names of files may hold line ends, control codes and broken bytes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def unexpected(error: Exception) -> str:
    """A sentence about an error that is our fault."""
    return f"A fault in xrdclass: {type(error).__name__}: {error}. {FAULT}"


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


def answer_each(paths, read: Callable, work: Callable, describe: Callable, picture, names=None):
    """Yield an answer for each file, as ``--format json`` prints it, and a `UserError` or None.

    Of each path ``read`` gives a `scans.Scan`, ``work`` of a list of those as many results, and
    ``describe`` of a result a dictionary. ``picture`` is None or called with scan, result and a
    name, by default the file's; what it gives, unless None, becomes the answer's "picture".
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
                drawn = attempt(picture, scan, result, name) if picture else None
                if isinstance(drawn, UserError):  # an answer outlives its picture
                    problem = drawn
                elif drawn is not None:
                    answer["picture"] = drawn
            yield answer, problem


def answer_side_by_side(jobs: int, paths, prepare: Callable, *arguments) -> Iterator:
    """What `answer_each` yields, in order, by processes that get read to picture from `prepare`.

    Both ``prepare`` and its arguments have to be what `pickle` takes.
    """
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
    _answer_part.functions = prepare(*arguments)


def _answer_part(part):
    return list(answer_each(part[0], *_answer_part.functions, part[1]))


def _work(work, scans):
    """Results or errors, one a scan: where a whole batch fails, each scan has its own try."""
    results = attempt(work, scans) if scans else []
    if not isinstance(results, UserError):
        return results
    return [results] if len(scans) == 1 else [r for s in scans for r in _work(work, [s])]


def _distinct(stems):
    """Each name, with a number where an earlier one is the same, or is so to Windows and macOS."""
    used = set()
    for stem in stems:
        names = itertools.chain([stem], (f"{stem}-{i}" for i in itertools.count(2)))
        used.add((name := next(name for name in names if name.casefold() not in used)).casefold())
        yield name


def describe_finding(finding) -> dict:
    """What is printed of a `findings.Finding`."""
    answer = {
        "phases": list(finding.phases),
        "foreign": bool(finding.foreign),
        "probability": _rounded(finding.probability),
        "warnings": list(finding.warnings),
        "wavelength": round(finding.wavelength, 6),
        "wavelength_source": finding.wavelength_source,
        "two_theta": [round(float(end), 3) for end in finding.two_theta[[0, -1]]],
    }
    for key in ("threshold", "foreign_probability"):
        if getattr(finding, key) is not None:
            answer[key] = round(getattr(finding, key), 4)
    if finding.refinement is not None:
        known = describe_refinement(finding.refinement, finding.phases)
        phases = known.pop("phases")
        for key, error in ERRORS.items():
            answer[key] = {n: {"value": p[key], "error": p[error]} for n, p in phases.items()}
        known["warnings"] = list(dict.fromkeys([*finding.warnings, *known["warnings"]]))
        answer |= known
    return answer


def describe_refinement(fit, named=None) -> dict:
    """What is printed of a `refinement.Refinement`; weights are of the phases found.

    ``named`` are the names of those that count as found, by default all in the fit. A size
    without an error is only a lower limit.
    """
    found = {n: p for n, p in fit.phases.items() if p.found and (named is None or n in named)}
    return {
        "phases": {
            name: {
                "weight_percent": round(p.weight_percent, 2),
                "error": round(p.weight_error, 2),
                "cell": [round(x, 4) for x in p.cell.tolist()],
                "cell_error": [round(e, 5) if e > 0 else 0 for e in p.cell_error.tolist()],
                "domain_size": round(p.domain_size, 1),
                "domain_size_error": round(e, 1) if (e := p.domain_size_error) < math.inf else None,
                "texture_r": round(p.texture_r, 3),
            }
            for name, p in found.items()
        },
        "upper_limit": {
            name: round(p.upper_limit, 2) for name, p in fit.phases.items() if name not in found
        },
        "r_wp": round(fit.r_wp, 4),
        "displacement": round(fit.displacement, 4),
        "wavelength": round(fit.wavelength, 6),
        "two_theta": [round(float(end), 3) for end in fit.two_theta[[0, -1]]],
        "unexplained": [_rounded(peak) for peak in fit.unexplained],
        "missing_lines": [_rounded(line) for line in fit.missing],
        "warnings": list(fit.warnings),
    }


def _rounded(known: dict) -> dict:
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in known.items()}


def rows(answer: dict) -> list[dict]:
    """An answer of either command as lines of a table, one a phase, with the keys of `COLUMNS`."""
    scan = {key: answer[key] for key in COLUMNS if key in answer and key not in ERRORS}
    scan |= {"problem": answer.get("error", ""), "warnings": " ".join(answer.get("warnings", ()))}
    for key in ("unexplained", "missing_lines"):
        scan[key] = " ".join(f"{peak['two_theta']:.2f}" for peak in answer.get(key, ()))
    found, lines = answer.get("phases", ()), []
    limits, probability = answer.get("upper_limit", {}), answer.get("probability", {})
    for name in dict.fromkeys([*found, *probability, *limits]) or [""]:
        if isinstance(found, dict):
            own = dict(found.get(name, {}))
        else:
            parts = {key: answer.get(key, {}).get(name) for key in ERRORS}
            own = {key: part["value"] for key, part in parts.items() if part}
            own |= {ERRORS[key]: part["error"] for key, part in parts.items() if part}
        for key in ("cell", "cell_error"):
            columns = (column + key.removeprefix("cell") for column in CELL)
            own |= zip(columns, own.get(key, ()), strict=False)
        own |= {"phase": name, "found": name in found if name else ""}
        own |= {"probability": probability.get(name), "upper_limit": limits.get(name)}
        known = scan | own
        lines.append({key: "" if (v := known.get(key)) is None else v for key in COLUMNS})
    return lines


def in_words(answer: dict) -> str:
    """Which phases there are, how probable and, of several, how much; the nearest if none."""
    if "error" in answer:
        return "not read"
    found = [row for row in rows(answer) if row["found"]]
    parts = [row["phase"] for row in found]
    for i, row in enumerate(found):
        if row["probability"] != "":
            parts[i] += f" ({row['probability']:.2f})"
        if row["weight_percent"] != "" and len(found) > 1:
            parts[i] += f" {row['weight_percent']:.1f} ± {row['error']:.1f} %"
    words = " + ".join(parts) or "none of the phases"
    if answer.get("foreign"):
        words += ", and something else" if parts else "; something else"
    if not parts and "threshold" in answer:
        p, name = max((p, name) for name, p in answer["probability"].items())
        nearest = f"nearest: {name}" if p >= 0.005 else "each"
        words += f" ({nearest} {p:.2f}; named from {answer['threshold']:.2f} on)"
    return words


def with_error(value: float, error, decimals: int = 4) -> str:
    """A number as crystallographers print it: 3.7852(3), the error in units of the last digit."""
    if not error:
        return f"{value:.{decimals}f}"
    decimals = min(max(1 - math.floor(math.log10(error)), 0), decimals)
    return f"{value:.{decimals}f}({max(round(error * 10**decimals), 1)})"


def phase_cells(row: dict) -> list[str]:
    """Of a row, as shown to people: phase, probability, weight %, cell, crystallite size."""
    shown = [row["phase"], "" if row["probability"] == "" else f"{row['probability']:.2f}"]
    if row["weight_percent"] == "":
        limit = row["upper_limit"]  # a part of the phases found, so 100 where there are none
        limit = "" if limit == "" or limit > 99 else f", at most {limit:.1f} %"
        return [*shown, "found" if row["found"] else f"not found{limit}", "", ""]
    names = ["a", *(n for n in "bc" if row[n] != row["a"])]
    names += [n for n in ("alpha", "beta", "gamma") if row[f"{n}_error"]]
    cell = ", ".join(f"{n} {with_error(row[n], row[f'{n}_error'])}" for n in names)
    weight, size = "100 %", "large crystallites"
    if row["error"]:
        weight = f"{row['weight_percent']:.1f} ± {row['error']:.1f} %"
    if row["domain_size_error"]:
        digits = int(row["domain_size"] < 20)
        size = f"{row['domain_size']:.{digits}f} ± {row['domain_size_error']:.{digits}f} nm"
    return [*shown, weight, cell, size]


def draw(scan, result, name: str, folder=None, overwrite=False, keep=False) -> str | None:
    """Write the figure of a Finding or a Refinement as a PNG; ``keep`` gives one for a report."""
    import matplotlib

    first = "matplotlib.pyplot" not in sys.modules
    matplotlib.use("Agg")  # files only: no window, no display needed
    import matplotlib.pyplot

    from . import plots

    if first:  # what was loaded stays: to look through it after each figure takes a third of all
        gc.freeze()
    if hasattr(result, "answer"):
        figure = plots.plot_finding(result)
    else:
        figure = plots.plot_refinement(result, f"{scan.name}: R_wp {result.r_wp:.3f}")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # letters of a name that the font lacks
            if folder:
                target = Path(folder) / name
                write_safely(target, lambda file: figure.savefig(file, format="png"), overwrite)
            if keep:
                figure.set_dpi(110)  # small and quick, and sharp enough on a page
                return plots.picture(figure)[0]
    finally:
        matplotlib.pyplot.close(figure)


# Answers are printed as they come: what is stopped half-way has said all that it found.
def print_json(answers, files) -> None:
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


def print_csv(answers, files) -> None:
    """A line a file and phase: of phases that were not found, what they have at most."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    for answer in answers:
        for row in rows(answer):
            writer.writerow(map(printable, row.values()))
        sys.stdout.flush()


def print_table(answers, files) -> None:
    """The answers in words, one below the other, with what `quantify` says of each phase."""
    width = max(len(printable(Path(file).name)) for file in files)
    for a in answers:
        lines = [in_words(a)]
        if isinstance(a.get("phases"), dict):
            cells = [phase_cells(row) for row in rows(a)]
            wide = max(len(name) for name, *_ in cells)
            lines += [f"{name:{wide}}  {'  '.join(filter(None, rest))}" for name, *rest in cells]
            angles = ", ".join(f"{peak['two_theta']:.2f}" for peak in a["unexplained"][:5])
            lines += [f"R_wp {a['r_wp']:.3f}"] + [f"unexplained peaks: {angles}"] * bool(angles)
        lines += [f"Note: {warning}" for warning in a.get("warnings", ())]
        for name, line in itertools.zip_longest([Path(a["file"]).name], lines, fillvalue=""):
            print(f"{printable(name):{width}}  {printable(line)}", flush=True)


PRINTERS = {"table": print_table, "json": print_json, "csv": print_csv}
