"""Run the lessons: each notebook in a fresh kernel, in order, with its seconds and peak memory.

The notebooks stay as they are; executed copies are written as HTML to ``build/lessons/``.
``--in-place`` stores the outputs in the notebooks, ``--figures`` writes ``figures/NAME.png`` from
each cell tagged ``figure:NAME``.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import os
import re
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

# Before Jupyter is imported: this environment's kernel, and no debugger or TensorFlow chatter.
os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import nbformat  # noqa: E402
import psutil  # noqa: E402
from common import NOTEBOOKS, ROOT, command_line, tags, write  # noqa: E402
from nbclient import NotebookClient  # noqa: E402
from nbclient.exceptions import CellExecutionError, CellTimeoutError  # noqa: E402
from nbconvert import HTMLExporter  # noqa: E402
from pages import page  # noqa: E402

from xrdclass import rruff  # noqa: E402
from xrdclass.errors import DownloadError  # noqa: E402

HTML = ROOT / "build" / "lessons"
FIGURES = ROOT / "figures"
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
WIDGET = "application/vnd.jupyter.widget-view+json"

# Solutions and their outputs are folded.
FOLDED = """
{%- block codecell -%}
{%- if cell.metadata.get('jupyter', {}).get('source_hidden') -%}
<details><summary>Show the solution and what it prints</summary>{{ super() }}</details>
{%- else -%}{{ super() }}{%- endif -%}
{%- endblock codecell -%}
"""


@dataclass
class Result:
    """One executed notebook: what it holds, how long it took (s), its peak memory (bytes)."""

    path: Path
    notebook: nbformat.NotebookNode
    seconds: float
    memory: int
    error: str | None


class PeakMemory(threading.Thread):
    """The largest resident memory, in bytes, of this process's children taken together."""

    def __init__(self, interval=0.1):
        super().__init__(daemon=True)
        self.interval, self.peak, self._stopped = interval, 0, threading.Event()

    def run(self):
        me = psutil.Process()
        while not self._stopped.wait(self.interval):
            resident = 0
            for child in me.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    resident += child.memory_info().rss
                    self.peak = max(self.peak, high_water_mark(child.pid))
            self.peak = max(self.peak, resident)

    def stop(self):
        self._stopped.set()
        self.join()
        return self.peak


def high_water_mark(pid):
    """Peak resident memory of a process in bytes; Linux keeps it, so that no spike is missed."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def figure_names(notebook):
    """The names of the figures that a notebook's cells draw."""
    return [tag[7:] for cell in notebook.cells for tag in tags(cell) if tag.startswith("figure:")]


def describe(error, notebook, index, log):
    """Which cell failed, and the last lines of its error (of the kernel's log, if that died)."""
    cell = notebook.cells[index]
    number = sum(c.cell_type == "code" for c in notebook.cells[: index + 1])
    if isinstance(error, CellExecutionError):
        text = re.sub(r"\x1b\[[0-9;]*m", "", error.traceback).strip()
        last = [line for line in text.splitlines() if line.strip()][-6:]
    elif isinstance(error, CellTimeoutError):
        last = ["It took longer than the time limit, and was stopped."]
    else:
        last = ["The kernel stopped, perhaps for want of memory. Its last words:", *log[-5:]]
    first = cell.source.strip().splitlines()[:1] or [""]
    head = f"code cell {number} (cell {index + 1} of the notebook), which begins: {first[0]}"
    return "\n".join([head, *("    " + line for line in last)])


def execute(path, timeout, show):
    """Run one notebook in a fresh kernel whose working folder is the notebooks folder."""
    notebook = nbformat.read(path, as_version=4)
    at = {"index": 0}

    def on_cell_start(cell, cell_index):
        at["index"] = cell_index
        show(cell_index + 1, len(notebook.cells))

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=timeout,
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_start=on_cell_start,
    )
    memory, start, error = PeakMemory(), time.perf_counter(), None
    memory.start()
    # What a kernel writes past its notebook would tear the table apart: kept for when it dies.
    with tempfile.TemporaryFile() as log:
        try:
            client.execute(stderr=log)
        except (CellExecutionError, CellTimeoutError, RuntimeError) as problem:
            log.seek(0)
            lines = log.read().decode(errors="replace").splitlines()
            error = describe(problem, notebook, at["index"], lines)
        finally:
            peak = memory.stop()
    return Result(path, notebook, time.perf_counter() - start, peak, error)


def normalise(notebook, prefix):
    """Drop what differs from run to run or machine to machine, so that diffs stay small."""
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNELSPEC, "language_info": {"name": "python"}}
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen = set()
    for number, cell in enumerate(notebook.cells, 1):
        if not cell.get("id") or cell.id in seen:
            cell.id = f"{prefix}-{number:02d}"
        seen.add(cell.id)
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET, None)  # points to a live widget by a random name
    return notebook


def html(notebook, title):
    """The executed notebook as one HTML page; of sliders, which need a kernel, the picture."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET, None)
    return page(HTMLExporter(), "lab/index.html.j2", FOLDED, notebook, title)


def write_figures(result):
    """Write the picture of each cell tagged ``figure:NAME``; return a complaint for each other."""
    complaints = []
    for cell in result.notebook.cells:
        images = [
            output.data["image/png"]
            for output in cell.get("outputs", [])
            if "image/png" in output.get("data", {})
        ]
        for name in (tag[7:] for tag in tags(cell) if tag.startswith("figure:")):
            if len(images) == 1:
                write(FIGURES / f"{name}.png", base64.b64decode(images[0]))
                print(f"    figures/{name}.png")
            else:
                complaints.append(f"the cell tagged figure:{name} drew {len(images)} pictures")
    return complaints


def result_table(notebooks):
    """The printed text of the cell tagged ``result-table``, or None."""
    for notebook in notebooks:
        for cell in notebook.cells:
            if "result-table" in tags(cell):
                texts = [o.get("text") or o.get("data", {}).get("text/plain") for o in cell.outputs]
                return "\n".join(text.rstrip() for text in texts if text)
    return None


def select(only, figures):
    """The notebooks to run, in order."""
    paths = sorted(NOTEBOOKS.glob("*.ipynb"))
    if not paths:
        sys.exit("There are no notebooks in notebooks/ to run.")
    for want in only:
        if not any(path.name.startswith(want) for path in paths):
            have = ", ".join(path.stem for path in paths)
            sys.exit(f"No notebook's name starts with {want!r}. There are: {have}.")
    if only:
        paths = [path for path in paths if path.name.startswith(tuple(only))]
    if figures:
        paths = [path for path in paths if figure_names(nbformat.read(path, as_version=4))]
    return paths


def lacking_scans():
    """The entries of the lists of measured scans that are neither in a folder nor in the cache."""
    found = (*rruff.find_patterns(), *rruff.find_other_minerals(), *rruff.find_mixtures())
    here = {pattern.entry.rruff_id for pattern in found}
    every = rruff.CATALOGUE + rruff.OTHER_MINERALS + rruff.MIXTURES
    return [entry for entry in every if entry.rruff_id not in here]


def fetch_scans(seconds):
    """Try once to fetch the measured scans that are not here; say in a sentence what came of it."""
    wanted, said = lacking_scans(), []

    def fetch():
        try:
            rruff.download(wanted, progress=False, seconds=0.9 * seconds, timeout=10)
        except DownloadError as error:
            said.append(f"Measured scans: {error}")

    if wanted:
        print(f"Measured scans: fetching {len(wanted)}, {seconds:g} s at most", flush=True)
        # The name of a host may be looked up for as long as the system likes.
        fetching = threading.Thread(target=fetch, daemon=True)
        fetching.start()
        fetching.join(seconds)
        left = f"{len(lacking_scans())} of {len(wanted)} are lacking after {seconds:g} s"
        here = "all have come" if not (said or fetching.is_alive()) else left
        print(*(said or [f"Measured scans: {here}."]), "", sep="\n", flush=True)


def arguments():
    """The command line."""
    parser = command_line(__doc__, only=True)
    parser.add_argument("--in-place", action="store_true", help="store the outputs")
    parser.add_argument("--figures", action="store_true", help="write figures/NAME.png")
    parser.add_argument("--fetch", type=float, metavar="60", help="seconds to fetch scans")
    parser.add_argument("--timeout", type=int, default=600, help="seconds a cell may take")
    return parser.parse_args()


def progress(name):
    """A function that shows which cell runs: on a terminal in place, elsewhere once a notebook."""
    if not sys.stdout.isatty():
        print(f"{name:<28} ", end="", flush=True)
        return lambda cell, n: None
    return lambda cell, n: print(f"\r{name:<28} cell {cell} of {n} ", end="", flush=True)


def finish(result, args):
    """Report one notebook and write what was asked for; return what went wrong, if anything."""
    clear = f"\r\x1b[K{result.path.stem:<28} " if sys.stdout.isatty() else ""
    state = "FAILED" if result.error else "ok"
    print(f"{clear}{result.seconds:6.1f} s {result.memory / 1e6:7.0f} MB  {state}", flush=True)
    write(HTML / f"{result.path.stem}.html", html(result.notebook, result.path.stem))
    if result.error:
        print(f"  {result.error}\n", flush=True)
        return [result.error]
    complaints = write_figures(result) if args.figures else []
    if args.in_place and not complaints:
        notebook = normalise(result.notebook, result.path.name.split("_")[0])
        write(result.path, nbformat.writes(notebook) + "\n")
    for complaint in complaints:
        print(f"  {complaint}; exactly one is needed.", flush=True)
    return complaints


def main():
    """Run the lessons; the exit status is 1 if one of them failed."""
    args = arguments()
    paths = select(args.only, args.figures and not args.in_place)
    if not paths:
        print("No notebook draws a figure: no cell is tagged figure:NAME.")
        return 0
    if args.fetch:
        fetch_scans(args.fetch)
    print(f"Running {len(paths)} notebook{'s' if len(paths) > 1 else ''}, each in a fresh kernel\n")
    print(f"{'notebook':<28} {'time':>8} {'peak memory':>10}", flush=True)
    results, failed = [], []
    for path in paths:
        result = execute(path, args.timeout, progress(path.stem))
        results.append(result)
        if finish(result, args):
            failed.append(path.name)
    seconds, peak = sum(r.seconds for r in results), max(r.memory for r in results)
    print(f"{'all':<28} {seconds:6.1f} s {peak / 1e6:7.0f} MB\n")
    print("Executed copies as web pages: build/lessons/")
    if args.in_place:
        print("Outputs stored in the notebooks that ran without an error.")
    if failed:
        print(f"\n{len(failed)} of {len(paths)} notebooks failed: {', '.join(failed)}")
        return 1
    if not args.figures:
        table = result_table(r.notebook for r in results)
        print(f"\n{table or 'No result table: no cell that ran is tagged result-table.'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
