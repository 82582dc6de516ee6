"""Write the lessons' quizzes for a learning platform: Moodle XML and GIFT, in build/quizzes/.

Each option comes with what the lesson says of it. A lesson is a category. `make check-quizzes`
writes the files and reads them back.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass

import nbformat
from common import NOTEBOOKS, ROOT, command_line, shown, write
from pages import markdown

QUIZZES = ROOT / "build" / "quizzes"
OPTION = r"<details><summary>[A-D]\. (.+?)</summary>\s*(.+?)\s*</details>"


@dataclass
class Question:
    """A question in Markdown, and its options: ``(text, what is said of it, is it right)``."""

    lesson: str
    number: int
    text: str
    options: list[tuple[str, str, bool]]

    @property
    def name(self):
        return f"{self.lesson}, question {self.number}"


def questions(path):
    """The questions of a lesson's quiz."""
    cells = nbformat.read(path, as_version=4).cells
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    title = re.search(r"^# (.+)", text, re.M).group(1)
    quiz = re.split(r"^## ", text.split("\n## Quiz\n")[1], maxsplit=1, flags=re.M)[0]
    found = []
    for number, part in enumerate(re.split(r"^\*\*Question \d\.\*\* ", quiz, flags=re.M)[1:], 1):
        options = [(o, why, why.startswith("Right. ")) for o, why in re.findall(OPTION, part, re.S)]
        found.append(Question(title, number, part.split("<details>")[0].strip(), options))
    return found


def html(text):
    """Markdown as HTML; one paragraph without the tags around it."""
    return re.sub(r"\A<p>((?:(?!<p>).)*)</p>\Z", r"\1", markdown(text).strip(), flags=re.S)


def moodle(asked):
    """All questions as Moodle XML."""
    quiz, lesson = ET.Element("quiz"), None

    def texts(parent, tag, text, **attributes):
        ET.SubElement(ET.SubElement(parent, tag, attributes), "text").text = text

    for question in asked:
        if question.lesson != lesson:
            lesson = question.lesson
            item = ET.SubElement(quiz, "question", type="category")
            texts(item, "category", f"$course$/top/xrdclass/{lesson}")
        item = ET.SubElement(quiz, "question", type="multichoice")
        texts(item, "name", question.name)
        texts(item, "questiontext", html(question.text), format="html")
        for tag, text in (("single", "true"), ("shuffleanswers", "true"), ("defaultgrade", "1")):
            ET.SubElement(item, tag).text = text
        for option, why, right in question.options:
            fraction = "100" if right else "0"
            answer = ET.SubElement(item, "answer", fraction=fraction, format="html")
            ET.SubElement(answer, "text").text = html(option)
            texts(answer, "feedback", html(why), format="html")
    ET.indent(quiz)
    return ET.tostring(quiz, encoding="unicode", xml_declaration=True) + "\n"


def gift(asked):
    """All questions as GIFT."""
    lines, lesson = [], None

    def plain(text):
        return re.sub(r"([~=#{}:\\])", r"\\\1", " ".join(text.split()))

    for question in asked:
        if question.lesson != lesson:
            lesson = question.lesson
            lines.append(f"$CATEGORY: $course$/top/xrdclass/{lesson}\n")
        lines.append(f"::{plain(question.name)}::[html]{plain(html(question.text))} {{")
        for option, why, right in question.options:
            lines.append(f"  {'=~'[not right]}{plain(html(option))}#{plain(html(why))}")
        lines.append("}\n")
    return "\n".join(lines)


def make(folder=QUIZZES):
    """Write the quizzes of all lessons into a folder; return the questions."""
    asked = [question for path in sorted(NOTEBOOKS.glob("*.ipynb")) for question in questions(path)]
    write(folder / "xrdclass.xml", moodle(asked))
    write(folder / "xrdclass.gift", gift(asked))
    return asked


def main():
    """The command line."""
    out = command_line(__doc__, QUIZZES).parse_args().out
    print(f"{len(make(out))} questions: {shown(out)}/xrdclass.xml for Moodle, and xrdclass.gift")
    return 0


if __name__ == "__main__":
    sys.exit(main())
