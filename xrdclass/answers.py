"""What `xrdclass identify` prints and draws: one answer for each file, in order, as they come."""

from __future__ import annotations

import csv
import itertools
import json
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


def answer_each(paths, read: Callable, identify: Callable, picture: Callable | None) -> Iterator:
    """An answer for each file, and what failed with it, or None.

    Parameters
    ----------
    paths : of scan files
    read : from a path to a `scans.Scan`
    identify : from a list of scans to as many `findings.Finding`
    picture : called with a finding and the name of its picture; None draws none

    Yields
    ------
    answer : dict, as printed by ``--format json``
    problem : UserError or None
    """
    names = _distinct(Path(path).stem for path in paths)
    remaining = iter(paths)
    while chunk := list(itertools.islice(remaining, CHUNK)):
        scans = [attempt(read, path) for path in chunk]
        results = iter(_identify(identify, [s for s in scans if not isinstance(s, UserError)]))
        for path, scan in zip(chunk, scans, strict=True):
            result = scan if isinstance(scan, UserError) else next(results)
            name, problem = f"{next(names)}.png", None
            if isinstance(result, UserError):
                answer, problem = {"file": str(path), "error": str(result)}, result
            else:
                answer = {"file": str(path), **_as_json(result)}
                if picture:  # an answer outlives a picture that cannot be written
                    drawn = attempt(picture, result, name)
                    problem = drawn if isinstance(drawn, UserError) else None
            yield answer, problem


def _identify(identify, scans):
    """Findings or errors, one a scan: where a whole batch fails, each scan has its own try."""
    results = attempt(identify, scans) if scans else []
    if not isinstance(results, UserError):
        return results
    return [results] if len(scans) == 1 else [r for s in scans for r in _identify(identify, [s])]


def _as_json(finding) -> dict:
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
    return answer


def _distinct(stems):
    """Each name, with a number where an earlier one is the same, or is so to Windows and macOS."""
    used = set()
    for stem in stems:
        names = itertools.chain([stem], (f"{stem}-{i}" for i in itertools.count(2)))
        used.add((name := next(name for name in names if name.casefold() not in used)).casefold())
        yield name


def write_picture(finding, target: Path, overwrite: bool) -> None:
    """Write a finding's figure as a PNG."""
    import matplotlib

    matplotlib.use("Agg")  # files only: no window, no display needed
    import matplotlib.pyplot

    from .plots import plot_finding

    figure = plot_finding(finding)
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


PRINTERS = {"table": print_table, "json": print_json, "csv": print_csv}
