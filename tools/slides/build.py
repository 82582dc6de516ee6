"""Build the slides in build/slides/: index.html for 90 minutes, half-day.html for half a day.

Each slide shows a picture or a table of a lesson, and at the next key what to see in it. A tall
picture comes once more, large, so that its letters can be read in the back row. Questions
of the quizzes follow, each with its answer at the next key. The lesson's prose is in the speaker's
notes (key S); Alt and a click enlarge a place. Nothing is run or loaded from elsewhere.
"""

from __future__ import annotations

import base64
import html
import importlib.util
import re
import shutil
import struct
import sys
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import NOTEBOOKS, ROOT, command_line, empty, shown, tags
from pages import markdown
from quizzes import questions

HERE = Path(__file__).resolve().parent
SLIDES = ROOT / "build" / "slides"
NEEDED = ("dist/reveal.css", "dist/reveal.js", "dist/theme/white.css")
NEEDED += ("plugin/notes/notes.js", "plugin/zoom/zoom.js")
#: Page -> lesson -> the sections that are shown; None: all.
PLANS = {
    "index": {
        "01": [
            "Five ways to arrange titanium and oxygen",
            "Planes and their distance",
            "Bragg's condition",
            "Five patterns",
            "Why five structures give five patterns",
            "One line is not enough",
        ],
        "02": ["One variation at a time", "Strain", "Texture", "Crystallite size"],
        "05": ["Clean or noisy patterns?"],
        "07": ["Minerals that are none of the five"],
    },
    "half-day": dict.fromkeys(("01", "02", "03", "04", "05", "06", "07")),
}
FIRST = "<h1>What does a network know?</h1><p>Phases of one composition, and a network that names "
FIRST += "them</p>"
LAST = "<h1>One sentence</h1><p>When would I trust this network?</p>"
LINES, COLUMNS = range(2, 13), range(10, 78)  # of a table that can be read from the back row
TALL, TALLER = 0.44, 0.57  # height over width, beyond what fits beside a text, and on a slide
LENGTH = 190  # letters below a picture
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>xrdclass: {name}</title>
<link rel="stylesheet" href="reveal/dist/reveal.css">
<link rel="stylesheet" href="reveal/dist/theme/white.css">
<link rel="stylesheet" href="slides.css">
</head>
<body>
<div class="reveal"><div class="slides">
{slides}
</div></div>
<script src="reveal/dist/reveal.js"></script>
<script src="reveal/plugin/notes/notes.js"></script>
<script src="reveal/plugin/zoom/zoom.js"></script>
<script>
Reveal.initialize({{hash: true, slideNumber: "c/t", center: false, controls: false, width: 960,
                   height: 540, margin: 0.02, plugins: [RevealNotes, RevealZoom]}});
</script>
</body>
</html>
"""


def section(*parts, kind=""):
    """A slide."""
    return f'<section class="{kind}">\n' + "\n".join(filter(None, parts)) + "\n</section>"


def notes(text):
    """The speaker's notes: a text without hints, its links as plain words."""
    text = re.sub(r"<details>.*?</details>", "", text, flags=re.S)
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)
    return f'<aside class="notes">{markdown(text)}</aside>'


def outputs(cell):
    """``(pictures as bytes, printed text)`` of a cell that is no exercise's."""
    if cell.cell_type != "code" or {"exercise", "solution"} & set(tags(cell)):
        return [], ""
    data = [output.get("data", {}) for output in cell.outputs]
    pictures = [base64.b64decode(d["image/png"]) for d in data if "image/png" in d]
    return pictures, "".join(output.get("text", "") for output in cell.outputs).rstrip()


def in_brief(text):
    """The first sentences of what there is to see, as many as fit below a picture."""
    found = re.search(r"^What to see.+?(?=\n\n|\Z)", text, flags=re.S | re.M)
    if not found:
        return ""
    sentences = re.split(r"(?<=[.?]) (?=[A-Z])", " ".join(found.group().split()))
    brief = sentences[0]
    for sentence in sentences[1:]:
        brief = f"{brief} {sentence}" if len(brief) + len(sentence) < LENGTH else brief
    return f'<div class="fragment see">{markdown(brief)}</div>'


def picture_slides(heading, picture, alt, see, said):
    """A picture, what to see in it at the next key, and a tall one once more, large."""
    width, height = struct.unpack(">II", picture[16:24])
    source = base64.b64encode(picture).decode()
    image = f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{source}">'
    slides = [section(heading, image, see, said)]
    if height / width > TALLER:
        slides += [section(image, kind=f"large {half}") for half in ("upper", "lower")]
    elif height / width > TALL:
        slides.append(section(image, kind="large"))
    return slides


def runs(cells):
    """Runs of code cells: ``(all text before, the cells, the text that follows)`` of each."""
    before, run = "", []
    for cell in cells:
        if cell.cell_type == "code":
            run.append(cell)
            continue
        if run:
            yield before, run, cell.source
        before, run = f"{before}\n\n{cell.source}", []


def lesson_slides(path, sections):
    """The slides of a lesson: its question, its pictures and tables, its quiz."""
    cells = nbformat.read(path, as_version=4).cells
    title, rest = re.match(r"# ([^\n]+)(.*)", cells[0].source, flags=re.S).groups()
    asked = re.findall(r"[A-Z][^.?]*\?", rest.replace("*", "").split("After this lesson")[0])
    slides = [section(f"<h1>{title}</h1>", f"<p>{' '.join(asked[0].split())}</p>")]
    for before, run, following in runs(cells):
        name = (re.findall(r"^##+ +(.+)$", before, flags=re.M) or ["Exercise"])[-1]
        if name.startswith("Exercise") or not (sections is None or name in sections):
            continue
        heading, see = f"<h2>{markdown(name)[3:-5]}</h2>", in_brief(following)
        said = re.split(r"^#+ .+$", before, flags=re.M)[-1] + "\n\n" + following.split("\n#")[0]
        drawn = [bool(outputs(cell)[0]) for cell in run]
        for k, cell in enumerate(run):
            pictures, table = outputs(cell)
            for picture in pictures:
                alt = cell.metadata.get("alt", "")
                slides += picture_slides(heading, picture, alt, see, notes(said))
            lines = table.splitlines()
            fits = len(lines) in LINES and max(map(len, lines)) in COLUMNS
            if see and fits and not any(drawn[: k + 1]):
                size = min(32, 1560 // max(map(len, lines)))
                text = f'<pre style="font-size: {size}px">{html.escape(table)}</pre>'
                slides.append(section(heading, text, "" if any(drawn) else see, notes(said)))
    return slides + [quiz_slide(q) for q in questions(path)] if sections is None else slides


def quiz_slide(question):
    """A question with its options, and at the next key which of them is right, and why."""
    rows = "".join(f"<li>{markdown(option)[3:-5]}</li>" for option, _, _ in question.options)
    rights = [right for _, _, right in question.options]
    at = rights.index(True)
    why = markdown(f"**{'ABCD'[at]}.** " + question.options[at][1].removeprefix("Right. "))
    answer = f'<div class="fragment see">{why}</div>'
    return section("<h2>Which is right?</h2>", markdown(question.text), f"<ol>{rows}</ol>", answer)


def plan_page(name):
    """The page of one plan."""
    slides = [section(FIRST)]
    for number, sections in PLANS[name].items():
        (path,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
        slides += lesson_slides(path, sections)
    return PAGE.format(name=name, slides="\n".join([*slides, section(LAST)]))


def build(out):
    """Write the slides, and what they load, into a folder."""
    found = importlib.util.find_spec("sphinx_revealjs")
    if found is None:
        raise SystemExit("The slides need the package sphinx-revealjs: make slides installs it.")
    reveal = Path(found.submodule_search_locations[0]) / "_static" / "revealjs"
    made = {name: plan_page(name) for name in PLANS}
    empty(out, SLIDES, "slides.css", "slides")
    for name in NEEDED:
        (out / "reveal" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(reveal / name, out / "reveal" / name)
    shutil.copytree(reveal / "dist" / "theme" / "fonts", out / "reveal/dist/theme/fonts")
    shutil.copyfile(HERE / "slides.css", out / "slides.css")
    for name, page in made.items():
        (out / f"{name}.html").write_text(page, encoding="utf-8")


def main():
    """The command line."""
    out = command_line(__doc__, SLIDES).parse_args().out
    build(out)
    print("The slides:", *(f"{shown(out)}/{name}.html" for name in PLANS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
