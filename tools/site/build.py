"""Build the site of all lessons in build/site/: open build/site/index.html in a browser.

The stored outputs are shown; nothing is run. Everything that the pages load lies beside them, so
that they can be read, and searched, without a network.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import NOTEBOOKS, ROOT, command_line, empty, shown, tags

HERE = Path(__file__).resolve().parent
SOURCE, SITE = ROOT / "build" / "site-source", ROOT / "build" / "site"
PAGES = [
    "docs/instructors.md",
    "docs/glossary.md",
    "docs/reliability.md",
    "CONTRIBUTING.md",
    "LICENSE-TEXT.md",
]
INDEX = """# Teach a neural network to read powder XRD

Titanium dioxide crystallises in several structures of one composition, and powder X-ray
diffraction (XRD) tells them apart. The first seven lessons go from five crystal structures to a
network that is trained on simulated patterns alone and names measured ones; they show where such a
network looks, and where it fails. The last three mend that.

These pages show the lessons as they ran. To run them, and to move their sliders, open them in
JupyterLab (`make lab`).

| lesson | question | minutes |
| --- | --- | --- |
{rows}

```{{toctree}}
:caption: Lessons
:hidden:

{lessons}
```

```{{toctree}}
:caption: More
:hidden:

For instructors <docs/instructors>
Glossary and notation <docs/glossary>
Reliability <docs/reliability>
Changing a lesson <CONTRIBUTING>
Licence of text and figures <LICENSE-TEXT>
```
"""


def prepare(notebook):
    """A lesson for the site: solutions folded, pictures with their alt text, titles as they are."""
    for cell in notebook.cells:
        cell.source = re.sub(r"\]\(\.\./README\.md[^)]*\)", "](../index.md)", cell.source)
        look = {}
        if "solution" in tags(cell):
            cell.metadata["tags"] = [*tags(cell), "hide-cell"]
            look |= {f"code_prompt_{do.lower()}": f"{do} the solution" for do in ("Show", "Hide")}
        if cell.metadata.get("alt"):
            look["image"] = {"alt": cell.metadata.alt}
        if look:
            cell.metadata["mystnb"] = look
    return notebook


def row(name, notebook):
    """A lesson's line in the table of the first page."""
    first = notebook.cells[0].source
    title = re.search(r"^# (.+)", first, re.M).group(1)
    minutes = re.search(r"(\d+) minutes", first).group(1)
    text = " ".join(first.split("After this lesson")[0].split("\n", 1)[1].replace("*", "").split())
    question = [s for s in re.split(r"(?<=[.?]) (?=[A-Z])", text) if s.endswith("?")][-1]
    return f"| [{title}](notebooks/{name}) | {question} | {minutes} |"


def gather(source=SOURCE):
    """Copy what the site is made of into one folder, and write its first page."""
    shutil.rmtree(source, ignore_errors=True)
    (source / "notebooks").mkdir(parents=True)
    rows, lessons = [], []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        rows.append(row(path.name, notebook))
        lessons.append(f"notebooks/{path.stem}")
        nbformat.write(prepare(notebook), source / "notebooks" / path.name)
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        text = re.sub(r"\]\(\.\./README\.md[^)]*\)", "](../index.md)", text)
        (source / page).parent.mkdir(exist_ok=True)
        (source / page).write_text(text, encoding="utf-8")
    shutil.copyfile(ROOT / "LICENSE", source / "LICENSE")
    (source / "_static").mkdir()
    shutil.copyfile(HERE / "site.css", source / "_static" / "site.css")
    shutil.copyfile(HERE / "conf.py", source / "conf.py")
    index = INDEX.format(rows="\n".join(rows), lessons="\n".join(lessons))
    (source / "index.md").write_text(index, encoding="utf-8")
    return source


def main():
    """The command line; the exit status is 1 if anything is amiss, such as a dead link."""
    out = command_line(__doc__, SITE).parse_args().out
    from sphinx.cmd.build import main as sphinx

    empty(out, SITE, "objects.inv", "such site")
    status = sphinx(["-q", "-W", "--keep-going", "-b", "html", str(gather()), str(out)])
    if not status:
        print(f"The site: {shown(out)}/index.html")
    return status


if __name__ == "__main__":
    sys.exit(main())
