"""Build the slides of the first session in build/slides/: open build/slides/index.html.

A slide is a lesson's cell: the heading it stands under, its stored picture or text, and what to see
in it, which shows at the next key. The lesson's prose is in the speaker's notes (key S). Nothing is
run, and nothing is loaded from elsewhere.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import sys
from pathlib import Path

import nbformat
from nbconvert import SlidesExporter
from traitlets.config import Config

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SLIDES = ROOT / "build" / "slides"
NEEDED = ("dist/reveal.css", "dist/reveal.js", "dist/theme/white.css", "plugin/notes/notes.js")
#: The cells that are shown, in order; a "+" shows the code as well.
SESSION = {
    "01": "cells planes-figure bragg-figure angle-by-hand+ ideal moved zoom",
    "02": "variations slider",
    "05": "curves table confusion",
    "07": "unknowns unknown-number",
}
FIRST = (
    "# What does a network know?\n\nFive crystals of one composition, and a network that names them"
)
LAST = "## One sentence\n\nWhen would I trust this network?"
TEMPLATE = """
{%- extends 'reveal/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_css -%}<link rel="stylesheet" href="slides.css">{%- endblock -%}
{%- block data_png scoped -%}
{%- set alt = cell.metadata.get('alt', '') | escape_html -%}
{{ super() | replace('<img ', '<img alt="' ~ alt ~ '" ') }}
{%- endblock -%}
{%- block footer_js -%}
<script src="reveal/dist/reveal.js"></script>
<script src="reveal/plugin/notes/notes.js"></script>
<script>Reveal.initialize({hash: true, slideNumber: "c/t", center: false,
                           width: 1100, height: 750, plugins: [RevealNotes]});</script>
</html>
{%- endblock -%}
"""


def load_mathml():
    """The site's function from a formula to MathML, which browsers draw themselves."""
    spec = importlib.util.spec_from_file_location("conf", ROOT / "tools" / "site" / "conf.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module._mathml


def text_cell(source, kind, mathml):
    """A slide's text, a fragment of it, or its notes; links and hints are for readers."""
    source = re.sub(r"<details>.*?</details>", "", source, flags=re.S)
    source = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", source)
    source = re.sub(r"\$\$(.+?)\$\$", lambda m: mathml(m.group(1), True), source, flags=re.S)
    source = re.sub(r"\$(.+?)\$", lambda m: mathml(m.group(1)), source, flags=re.S)
    cell = nbformat.v4.new_markdown_cell(source)
    cell.metadata["slideshow"] = {"slide_type": kind}
    return cell


def slide(cells, index, with_code, shown, mathml):
    """The cells that make a slide of a lesson's cell; ``shown`` holds the ids of all such."""
    text = "\n\n".join(c.source for c in cells[:index] if c.cell_type == "markdown")
    heading = re.findall(r"^## +(.+)$", text, flags=re.M)[-1]
    notes = re.split(r"^#+ .+$", text, flags=re.M)[-1].strip()
    cell = nbformat.from_dict(cells[index])
    cell.metadata["slideshow"] = {"slide_type": "-"}
    if not with_code:
        cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
    found = [text_cell(f"## {heading}", "slide", mathml), cell]
    following = (c for c in cells[index + 1 :] if c.cell_type == "markdown" or c.id in shown)
    seen = re.match(r"What to see: .+?(?=\n\n|\Z)", next(following).source, flags=re.S)
    if seen:
        found.append(text_cell(seen.group(), "fragment", mathml))
    return [*found, text_cell(notes, "notes", mathml)]


def gather():
    """One notebook of all slides."""
    mathml = load_mathml()
    cells = [text_cell(FIRST, "slide", mathml)]
    for number, names in SESSION.items():
        (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
        lesson = nbformat.read(path, as_version=4).cells
        shown = {f"l{number}-{name.rstrip('+')}": name.endswith("+") for name in names.split()}
        place = {cell.id: i for i, cell in enumerate(lesson)}
        for name, with_code in shown.items():
            cells += slide(lesson, place[name], with_code, shown, mathml)
    cells.append(text_cell(LAST, "slide", mathml))
    for i, cell in enumerate(cells):
        cell.id = f"slide-{i}"
    return nbformat.v4.new_notebook(cells=cells)


def build(out):
    """Write the slides, and what they load, into a folder."""
    found = importlib.util.find_spec("sphinx_revealjs")
    if found is None:
        raise SystemExit("The slides need the package sphinx-revealjs: make slides installs it.")
    reveal = Path(found.submodule_search_locations[0]) / "_static" / "revealjs"
    settings = Config()
    settings.SlidesExporter.reveal_url_prefix = "reveal"
    settings.SlidesExporter.reveal_theme = "white"
    settings.TagRemovePreprocessor.enabled = True
    settings.TagRemovePreprocessor.remove_input_tags = {"hide-input"}
    exporter = SlidesExporter(raw_template=TEMPLATE, config=settings)
    page = exporter.from_notebook_node(gather(), {"metadata": {"name": "xrdclass"}})[0]
    if out.exists() and any(out.iterdir()):
        if out != SLIDES and not (out / "slides.css").is_file():
            raise SystemExit(f"{out} holds files that are no slides; name an empty folder.")
        shutil.rmtree(out)
    for name in NEEDED:
        (out / "reveal" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(reveal / name, out / "reveal" / name)
    shutil.copytree(reveal / "dist" / "theme" / "fonts", out / "reveal/dist/theme/fonts")
    shutil.copyfile(HERE / "slides.css", out / "slides.css")
    (out / "index.html").write_text(page, encoding="utf-8")


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", default=SLIDES, type=Path, help="folder to write to")
    out = parser.parse_args().out.resolve()
    build(out)
    print(f"The slides: {out.relative_to(ROOT) if out.is_relative_to(ROOT) else out}/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
