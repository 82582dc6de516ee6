"""The exported quizzes, read back as a learning platform reads them (make check-quizzes).

Writes both files to build/quizzes/, reads each by its format's rules, and compares every question,
option, explanation and right answer with what the lessons say.
"""

import html
import re
import sys
import xml.etree.ElementTree as ET

from common import command_line, shown
from quizzes import QUIZZES, make


def words(text):
    """What a reader sees of HTML or Markdown: no tags, no stars, no line breaks."""
    return " ".join(re.sub(r"[*`_]", "", html.unescape(re.sub(r"<[^>]+>", "", text))).split())


def from_moodle(text):
    """``(category, name, question, [(option, explanation, is it right)])`` of each question."""
    category, found = "", []
    for item in ET.fromstring(text):
        if item.get("type") == "category":
            category = item.findtext("category/text")
            continue
        assert item.get("type") == "multichoice" and item.findtext("single") == "true"
        options = [
            (a.findtext("text"), a.findtext("feedback/text"), float(a.get("fraction")) == 100)
            for a in item.findall("answer")
        ]
        found.append(
            (category, item.findtext("name/text"), item.findtext("questiontext/text"), options)
        )
    return found


def from_gift(text):
    """The same of a GIFT file: a backslash takes its meaning from the sign that follows."""

    def split(part, signs):
        return re.split(rf"(?<!\\)((?:\\\\)*[{signs}])", part)

    def plain(part):
        return re.sub(r"\\([~=#{}:\\])", r"\1", part).strip()

    category, found = "", []
    for block in re.split(r"\n\s*\n", text.strip()):
        if block.startswith("$CATEGORY:"):
            category = block.split(":", 1)[1].strip()
            continue
        _, name, rest = re.split(r"(?<!\\)::", block, maxsplit=2)
        head, _, answers = split(rest, "{")
        assert head.startswith("[html]")
        body, _, tail = split(answers, "}")
        assert not tail.strip()
        parts, options = split(body, "=~"), []
        for sign, part in zip(parts[1::2], parts[2::2], strict=True):
            option, _, why = split(part, "#")
            options.append((plain(option), plain(why), sign == "="))
        found.append((category, plain(name), plain(head.removeprefix("[html]")), options))
    return found


def compare(asked, read):
    """Complaints about questions that were read, beside those that the lessons ask."""
    if len(read) != len(asked):
        return [f"{len(read)} questions instead of {len(asked)}"]
    complaints = []
    for question, (category, name, text, options) in zip(asked, read, strict=True):
        wanted = [(words(option), words(why), right) for option, why, right in question.options]
        got = [(words(option), words(why), right) for option, why, right in options]
        if sum(right for _, _, right in got) != 1:
            complaints.append(f"{name}: not one right answer")
        if not category.endswith(question.lesson) or name != question.name:
            complaints.append(f"{question.name}: filed as {category}, {name}")
        if words(text) != words(question.text) or got != wanted:
            complaints.append(f"{question.name}: the text is another")
    return complaints


def main():
    """The command line; the exit status is 1 if a file does not hold what the lessons ask."""
    out = command_line(__doc__, QUIZZES).parse_args().out
    asked, failed = make(out), 0
    for path, reader in ((out / "xrdclass.xml", from_moodle), (out / "xrdclass.gift", from_gift)):
        complaints = compare(asked, reader(path.read_text(encoding="utf-8")))
        print(f"{shown(path)}: {len(asked)} questions, {len(complaints)} complaints")
        print(*(f"  {complaint}" for complaint in complaints), sep="\n", end="")
        failed |= bool(complaints)
    return failed


if __name__ == "__main__":
    sys.exit(main())
