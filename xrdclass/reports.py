"""Answers as a page: one file with everything that is known of each scan, and nothing fetched."""

from __future__ import annotations

import datetime
import html
import shutil
import tempfile
from pathlib import Path

from . import __version__
from .answers import in_words, phase_cells, printable, rows
from .files.writing import write_safely

SOURCES = {
    "given": "as given by whoever asked",
    "stated": "as the file states",
    "assumed": "assumed: the file states none",
}
STYLE = """<style>
.xrd { font: 16px/1.45 system-ui, sans-serif; color: #1a1a1a; max-width: 60rem; }
.widget-html-content { min-width: 0; } /* as narrow as the window, in a notebook, too */
.xrd.page { margin: 1rem auto; padding: 0 0.75rem; }
.xrd h2 { font-size: 1.15rem; margin: 2.2rem 0 0.2rem; }
.xrd a[href] { color: #0645ad; text-decoration: underline; }
.xrd h2, .xrd a, .xrd li, .xrd p { overflow-wrap: anywhere; }
.xrd .wide { overflow-x: auto; }
.xrd img { display: block; width: 100%; min-width: 34rem; height: auto; }
.xrd table { border-collapse: collapse; margin: 0.4rem 0; font-size: 0.92rem; }
.xrd th, .xrd td { padding: 0.2rem 1rem 0.2rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid #bbb; }
.xrd section th, .xrd section td { white-space: nowrap; }
.xrd ul { padding-left: 1.2rem; margin: 0.4rem 0; }
@media print { .xrd section { break-inside: avoid; } }
</style>"""
HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">"""


def safe(text) -> str:
    """Text for a page, whatever stands in it."""
    return html.escape(printable(text))


def section(answer: dict, attributes: str = "") -> str:
    """All that is known of one scan: picture, phases, what was assumed, what cannot be told."""
    name = Path(answer["file"]).name
    title = f"{name}: {in_words(answer)}"
    said = f'<section {attributes}><div role="status"><h2>{safe(title)}</h2></div>'
    if name != answer["file"]:
        said += f"<p>{safe(answer['file'])}</p>"
    if "picture" in answer:
        said += f'<div class="wide"><img alt="{safe(title)}" src="data:image/png;base64,'
        said += f'{answer["picture"]}"></div>'
    facts = [answer["error"]] if "error" in answer else _facts(answer)
    if "error" not in answer:
        head = ("phase", "probability", "weight", "cell (Å, degrees)", "crystallites")
        columns = zip(head, *map(phase_cells, rows(answer)), strict=True)
        lines = zip(*(column for column in columns if any(column[1:])), strict=True)
        said += table(*([safe(text) for text in line] for line in lines))
    return said + "<ul>" + "".join(f"<li>{safe(fact)}</li>" for fact in facts) + "</ul></section>"


def table(head, *lines) -> str:
    """A table of HTML cells."""
    lines = "".join(f"<tr><td>{'</td><td>'.join(line)}</td></tr>" for line in lines)
    head = f"<tr><th>{'</th><th>'.join(head)}</th></tr>"
    return f'<div class="wide"><table>{head}{lines}</table></div>'


def _facts(a: dict) -> list[str]:
    """Sentences on what was assumed, what was not found, and what cannot be told."""
    facts, range_ = [], "{:g} to {:g} degrees".format(*a["two_theta"])
    source = SOURCES.get(a.get("wavelength_source"), "")
    facts.append(f"Wavelength {a['wavelength']:g} Å{', ' * bool(source)}{source}; {range_}.")
    if "threshold" in a:
        facts.append(f"A phase is named from a probability of {a['threshold']:.2f} on.")
    if "foreign_probability" in a:
        facts.append(f"Probability of something else: {a['foreign_probability']:.2f}.")
    if "r_wp" in a:
        facts.append(
            "Weights are of the phases found: what they do not explain is not counted. Lines are "
            f"displaced by {a['displacement']:.3f} degrees; R_wp is {a['r_wp']:.3f}."
        )
    for key, text in (("unexplained", "Peaks that no phase explains"),
                      ("missing_lines", "Strong lines that the scan lacks")):  # fmt: skip
        peaks = [
            f"{p.get('phase', '')} {p['two_theta']:.2f} (d {p['d']:.3f} Å)".strip()
            for p in a.get(key, ())
        ]
        if peaks:
            more = f", and {len(peaks) - 10} more" if len(peaks) > 10 else ""
            facts.append(f"{text}: {', '.join(peaks[:10])}{more}.")
    return [*facts, *(f"Note: {text}" for text in a["warnings"])]


class Report:
    """A page of answers, which are added as they come; beyond 64 MB they wait on the disk."""

    def __init__(self, path=None):
        self.path, self._lines = path, []
        self._sections = tempfile.SpooledTemporaryFile(2**26)

    def add(self, answer: dict) -> None:
        """Add an answer as printed by ``--format json``, and its "picture", a PNG in base64."""
        n, notes = len(self._lines) + 1, len(answer.get("warnings", ())) or ""
        link = f'<a href="#scan-{n}">{safe(Path(answer["file"]).name)}</a>'
        self._lines.append((link, safe(in_words(answer)), f"{notes}"))
        self._sections.write(section(answer, f'id="scan-{n}"').encode() + b"\n")

    def write(self, file) -> None:
        """Write the page to an open binary file."""
        made = f"{datetime.datetime.now():%Y-%m-%d %H:%M}, xrdclass {__version__}"
        title = f"Phases in {len(self._lines)} scan{'s' * (len(self._lines) != 1)}"
        overview = table(("scan", "phases", "notes"), *self._lines)
        page = f'{HEAD}<title>{title}</title>{STYLE}</head><body class="xrd page">\n'
        file.write(f"{page}<h1>{title}</h1><p>{made}</p>\n{overview}\n".encode())
        self._sections.seek(0)
        shutil.copyfileobj(self._sections, file)
        file.write(b"</body></html>\n")

    def save(self, overwrite: bool = False) -> Path:
        """Write the page to its file; DataError if that exists or cannot be written."""
        return write_safely(self.path, self.write, overwrite)
