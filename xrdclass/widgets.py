"""Sliders for the lessons: a figure that follows them, and a picture where widgets do not run.

The one module that uses ipywidgets. JupyterLab shows the sliders; where there is no running kernel
or no widget manager (a stored notebook, GitHub, a web page) the same output is a picture.
"""

from __future__ import annotations

import base64
import html
import io
import math
from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg

VIEW = "application/vnd.jupyter.widget-view+json"
MISSING = (
    "The sliders need the package ipywidgets (pip install ipywidgets, then restart the kernel). "
    "Without it you see the figure as it starts."
)


@dataclass(frozen=True)
class Slider:
    """A slider: its label with the unit, its range, where it starts, and its step.

    With ``log`` its steps are factors: a step of 0.1 is a tenth of a power of ten.
    """

    label: str
    low: float
    high: float
    start: float
    step: float
    log: bool = False


def explore(figure, update, **sliders: Slider) -> None:
    """Show a figure with sliders below it that change it.

    Parameters
    ----------
    figure : a Matplotlib figure; it is closed, so that it shows once
    update : called with the sliders' values by name, changes the figure's curves in place (quick,
        nothing is laid out anew) and returns a sentence to show below the figure, or None
    sliders : name of ``update``'s argument -> `Slider`
    """
    from IPython.display import display

    sentence = update(**{name: slider.start for name, slider in sliders.items()})
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once: a move of a slider draws, and no more
    picture = _png(figure)
    plt.close(figure)
    labels = ", ".join(slider.label for slider in sliders.values())
    output = {
        "text/plain": f"Figure with sliders: {labels}. They move in a running notebook.",
        "image/png": base64.b64encode(picture).decode(),
    }
    try:
        box = _build(figure, update, sliders, picture, sentence)
    except ImportError:
        print(MISSING)
    else:
        output[VIEW] = box._repr_mimebundle_()[VIEW]
    display(output, raw=True)


def _build(figure, update, sliders, picture, sentence):
    """The figure, the sentence and the sliders as one ipywidgets box."""
    import ipywidgets

    style = {"description_width": "16em"}
    wide = ipywidgets.Layout(width="min(42em, 100%)")
    knobs = {}
    for name, s in sliders.items():
        options = {"description": s.label, "step": s.step, "style": style, "layout": wide}
        if s.log:
            limits = {"min": math.log10(s.low), "max": math.log10(s.high)}
            knob = ipywidgets.FloatLogSlider(s.start, readout_format=".3g", **limits, **options)
        else:
            decimals = max(0, math.ceil(-math.log10(s.step) - 1e-9))
            knob = ipywidgets.FloatSlider(
                s.start, min=s.low, max=s.high, readout_format=f".{decimals}f", **options
            )
        knobs[name] = knob
    image, status = ipywidgets.HTML(), ipywidgets.HTML()

    def show(picture, sentence):
        settings = ", ".join(f"{k.description} {k.value:g}" for k in knobs.values())
        alt = html.escape(f"The figure for {settings}. {sentence or ''}".strip())
        data = base64.b64encode(picture).decode()
        style = "max-width: 100%; height: auto"
        image.value = f'<img alt="{alt}" style="{style}" src="data:image/png;base64,{data}">'
        status.value = f'<div role="status">{html.escape(sentence or "")}</div>'

    def follow(change):
        try:
            sentence = update(**{name: knob.value for name, knob in knobs.items()})
            show(_png(figure), sentence)
        except Exception as problem:  # an observer's error would vanish in a log nobody reads
            status.value = f"<b>{html.escape(f'{type(problem).__name__}: {problem}')}</b>"

    for knob in knobs.values():
        knob.observe(follow, names="value")
    show(picture, sentence)
    return ipywidgets.VBox([image, status, *knobs.values()])


def _png(figure) -> bytes:
    """The figure as it is now, as a PNG of its own size."""
    buffer = io.BytesIO()
    # Straight to the canvas: savefig would draw everything twice, and a slider has to be quick.
    FigureCanvasAgg(figure).print_png(buffer, pil_kwargs={"compress_level": 1})
    return buffer.getvalue()
