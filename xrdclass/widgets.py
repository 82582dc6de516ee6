"""Widgets for the lessons: a figure that follows sliders, a button that reads one's own scans.

The one module that uses ipywidgets. Where there is no running kernel or no widget manager (a stored
notebook, GitHub, a web page) the same output is a picture, and text.
"""

from __future__ import annotations

import base64
import html
import io
import math
import textwrap
import warnings
from dataclasses import dataclass
from pathlib import PureWindowsPath

import matplotlib.pyplot as plt

from .answers import describe_finding, in_words
from .errors import UserError
from .plots import picture
from .reports import STYLE, Report, section
from .scans import parse_scan

VIEW = "application/vnd.jupyter.widget-view+json"
MISSING = """{} the package ipywidgets (pip install ipywidgets, then restart the kernel). \
Without it you see {}."""
NO_WAVELENGTH = (
    "The file states no wavelength: Cu K-alpha is assumed. For another tube, begin the file with a "
    "line that states its wavelength in Å, such as: # wavelength 1.7903"
)
STATUS = '<div role="status" style="line-height: 1.5">{}</div>'
# A larger message cuts Jupyter's connection to the browser, and nobody hears of it. What is dropped
# is handed to the button, which keeps its field of files to itself until it clicks it.
DROP = """<div style="border: 1px dashed #888; padding: 0.6em; max-width: 30em; line-height: 1.4"
 ondragover="event.preventDefault()" ondrop="event.preventDefault();
 const own = HTMLInputElement.prototype, click = own.click, files = event.dataTransfer.files;
 own.click = function () { this.files = files; this.dispatchEvent(new Event('change')); };
 try { this.closest('.widget-vbox').querySelector('.widget-upload').click(); }
 finally { own.click = click; }">
Or drop them here, at most 10 MB at a time.
If the button stops answering, run this cell (or load this page) again.</div>"""


@dataclass(frozen=True)
class Slider:
    """A slider: its label with the unit, its range, its start, its step (of log10 with ``log``)."""

    label: str
    low: float
    high: float
    start: float
    step: float
    log: bool = False


def explore(figure, update, **sliders: Slider) -> None:
    """Show a Matplotlib figure, and close it, with sliders below it that change it.

    ``update`` is called with the sliders' values by name. It changes the figure's curves in place
    (nothing is laid out anew) and returns a sentence to show below the figure, or None.
    """
    sentence = update(**{name: slider.start for name, slider in sliders.items()})
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once: a move of a slider draws, and no more
    shown = picture(figure)
    plt.close(figure)
    labels = ", ".join(slider.label for slider in sliders.values())
    text = f"Figure with sliders: {labels}. They move in a running notebook."
    missing = MISSING.format("The sliders need", "the figure as it starts")
    _display([(text, shown)], lambda: [_build(figure, update, sliders, shown, sentence)], missing)


def read_my_scan(answer, example=None) -> None:
    """Show what is answered for a scan, and a button for scans from the reader's own computer.

    ``answer`` is called with a `scans.Scan` and returns a new figure and a `findings.Finding`;
    ``example`` is the Scan that is answered first, and stands there where widgets do not run. What
    is uploaded may be in any format of `scans.read_scan` and is never written to a file; one that
    cannot be read is answered with the sentence of its error. All can be saved as a page.
    """
    answers, text, shown = [], [], None
    if example is not None:
        said, shown = _answered(answer, example)
        each = ", ".join(f"{name} {p:.2f}" for name, p in said["probability"].items())
        text = [f"{said['file']}: {in_words(said)}.", f"Probabilities: {each}.", *said["warnings"]]
        answers.append(said)
    text.append("In a running notebook, a button in this place reads scans of your own.")
    told = "\n".join(textwrap.fill(line, 88) for line in text)
    missing = MISSING.format("To upload a scan takes", "the answer for the example")
    outputs = (told, None), (f"The picture for {text[0]}", shown)
    _display(outputs, lambda: _build_upload(answer, answers), missing)


def _display(outputs, build, missing):
    """Display texts and pictures, with the widgets that ``build`` makes if there is ipywidgets."""
    from IPython.display import display

    try:
        views = [{VIEW: box._repr_mimebundle_()[VIEW]} for box in build()]
    except ImportError:
        print(missing)
        views = [{}] * len(outputs)
    for (text, shown), view in zip(outputs, views, strict=True):
        png, size = ({"image/png": part} if shown else {} for part in shown or (None, None))
        display({"text/plain": text, **png, **view}, raw=True, metadata=size)


def _build(figure, update, sliders, shown, sentence):
    """The figure, the sentence and the sliders as one ipywidgets box."""
    import ipywidgets

    wide, knobs = ipywidgets.Layout(width="min(42em, 100%)"), {}
    for name, s in sliders.items():
        limits = (math.log10(s.low), math.log10(s.high)) if s.log else (s.low, s.high)
        decimals = max(0, math.ceil(-math.log10(s.step) - 1e-9))
        knobs[name] = (ipywidgets.FloatLogSlider if s.log else ipywidgets.FloatSlider)(
            s.start, description=s.label, min=limits[0], max=limits[1], step=s.step, layout=wide,
            style={"description_width": "16em"}, readout_format=".3r" if s.log else f".{decimals}f",
        )  # fmt: skip
    image, status = ipywidgets.HTML(), ipywidgets.HTML()

    def show(shown, sentence):
        settings = ", ".join(f"{k.description} {k.value:g}" for k in knobs.values())
        alt = html.escape(f"The figure for {settings}. {sentence or ''}".strip())
        png, wide = shown[0], f"width: {shown[1]['width']}px; max-width: 100%; height: auto"
        image.value = f'<img alt="{alt}" style="{wide}" src="data:image/png;base64,{png}">'
        status.value = STATUS.format(html.escape(sentence or ""))

    def follow(change):
        try:
            sentence = update(**{name: knob.value for name, knob in knobs.items()})
            show(picture(figure), sentence)
        except Exception as problem:  # an observer's error would vanish in a log nobody reads
            status.value = f"<b>{html.escape(_told(problem))}</b>"

    for knob in knobs.values():
        knob.observe(follow, names="value")
    show(shown, sentence)
    return ipywidgets.VBox([image, status, *knobs.values()])


def _build_upload(answer, answers):
    """The button, and all that is known of what was uploaded last."""
    import ipywidgets

    wide = ipywidgets.Layout(width="min(24em, 100% - 4px)")  # the button has a margin
    options = {"multiple": True, "layout": wide, "tooltip": "Choose files on this computer"}
    button = ipywidgets.FileUpload(description="Choose scans to read", **options)
    note, results = ipywidgets.HTML(DROP), ipywidgets.HTML(_page(answers))

    def follow(change):
        files = [(_name(file["name"]), bytes(file["content"])) for file in change["new"]]
        if files:  # none: the choice was called off
            names = html.escape(", ".join(name for name, _ in files))
            results.value = STATUS.format(f"Reading {names} …")
            results.value = _page([_read(answer, *file) for file in files])

    button.observe(follow, names="value")
    return [ipywidgets.VBox([button, note]), results]


def _read(answer, name, content) -> dict:
    """What is said of an uploaded file, or why it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as a letter that the figure's font lacks
            return _answered(answer, parse_scan(content, name))[0]
    except Exception as problem:  # an observer's error would vanish in a log nobody reads
        return {"file": name, "error": _told(problem)}


def _answered(answer, scan) -> tuple[dict, tuple]:
    """What is said of a scan, with its picture inside, and the picture as `picture` gives it."""
    figure, finding = answer(scan)
    try:
        shown = picture(figure)
    finally:
        plt.close(figure)
    name = scan.path.name if scan.path else scan.name
    said = {"file": name, **describe_finding(finding), "picture": shown[0]}
    if scan.wavelength is None:
        said["warnings"].insert(0, NO_WAVELENGTH)
    return said, shown


def _page(answers) -> str:
    """The answers as they are shown, and a link that saves them as a page of their own."""
    if not answers:
        return ""
    report, page = Report(), io.BytesIO()
    for answer in answers:
        report.add(answer)
    report.write(page)
    saved = f"data:text/html;base64,{base64.b64encode(page.getvalue()).decode()}"
    link = f'<p><a download="report.html" href="{saved}">Save this as a report</a></p>'
    return f'{STYLE}<div class="xrd">{link}{"".join(map(section, answers))}</div>'


def _name(name: str) -> str:
    """The last part of an uploaded file's name, without what cannot be shown."""
    last = PureWindowsPath(name).name  # both kinds of slashes part it
    return "".join(letter for letter in last if letter.isprintable()) or "scan"


def _told(problem) -> str:
    sentence = isinstance(problem, UserError)
    return str(problem) if sentence else f"{type(problem).__name__}: {problem}"
