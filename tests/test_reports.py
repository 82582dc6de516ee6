"""The report: whole, nothing fetched, nothing that a file's name could do to it."""

import base64
import io
import re
from html.parser import HTMLParser

import pytest
from samples import finding, fitted

from xrdclass.answers import describe_finding, describe_refinement, draw, phase_cells, rows
from xrdclass.errors import DataError
from xrdclass.reports import Report

NAMES = ["a.xy", "x/<script>alert(1)</script>.xy", "&quot; ' \" onerror=alert(1).xy", "ü\n\udcff"]
#: Elements that have no end.
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """What stands on a page; complains of elements that do not end."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.texts = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.attributes.append((tag, dict(attributes)))
        self.open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.texts.append(text)

    def all(self, attribute, *tags):
        found = (known.get(attribute) for tag, known in self.attributes if not tags or tag in tags)
        return [value for value in found if value]


def written(*answers):
    report, file = Report(), io.BytesIO()
    for answer in answers:
        report.add(answer)
    report.write(file)
    return file.getvalue().decode()


@pytest.fixture(scope="module")
def picture():
    return draw(None, fitted(), "mine.png", keep=True)


def test_a_page_has_all_that_is_known_and_fetches_nothing(picture):
    weighed = {"file": "weighed.xy", **describe_refinement(fitted().refinement)}
    answers = [
        {"file": "data/mine.xy", **describe_finding(fitted()), "picture": picture},
        weighed,
        {"file": "classified.xy", **describe_finding(finding(phases=("a",)))},
        {"file": "broken.xy", "error": "This is a letter."},
    ]
    page = Page(written(*answers))
    links = page.all("href", "a")
    assert links == [f"#{name}" for name in page.all("id", "section")] and len(links) == 4
    assert page.all("src") == [f"data:image/png;base64,{picture}"]
    assert base64.b64decode(picture)[:4] == b"\x89PNG" and all(page.all("alt", "img"))
    text = " ".join(page.texts)
    for answer in answers[:3]:
        for row in rows(answer):
            assert all(cell in page.texts for cell in phase_cells(row) if cell), row
    for peak in answers[0]["unexplained"][:10]:
        assert f"{peak['two_theta']:.2f} (d {peak['d']:.3f}" in text
    assert "named from a probability of 0.90" in text and "something else: 0.97" in text
    assert "assumed: the file states none" in text and "This is a letter." in text


@pytest.mark.parametrize("name", NAMES)
def test_names_and_sentences_of_files_are_text(name, picture):
    known = describe_finding(finding(phases=("a",), warnings=(name,)))
    page = Page(written({"file": name, **known, "picture": picture}, {"file": name, "error": name}))
    assert {tag for tag, _ in page.attributes} <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "section"),
        *("table", "tr", "th", "td", "ul", "li", "a", "img"),
    }
    allowed = {"lang", "charset", "name", "content", "http-equiv", "class", "href", "id", "role"}
    assert {key for _, known in page.attributes for key in known} <= allowed | {"alt", "src"}
    assert page.all("content", "meta")[1].startswith("default-src 'none'; img-src data:")


def test_a_report_stands_where_it_was_asked_for_and_replaces_nothing(tmp_path):
    path = tmp_path / "new" / "report.html"
    for overwrite in (False, True):
        report = Report(path)
        report.add({"file": "a", "error": "No."})
        report.save(overwrite)
        assert re.search(r"Phases in 1 scan<", path.read_text())
    with pytest.raises(DataError, match="exists already"):
        report.save()


def test_a_hundred_scans_make_less_than_ten_megabytes(picture):
    answer = {"file": "mine.xy", **describe_finding(fitted()), "picture": picture}
    assert len(written(answer)) < 100_000
