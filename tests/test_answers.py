"""What is printed for each file: one answer each, in order, whatever fails."""

import csv
import io
import json
import sys

import pytest
from samples import finding

from xrdclass.answers import (
    CHUNK,
    PRINTERS,
    _distinct,
    answer_each,
    answer_side_by_side,
    describe_finding,
    picture_of_finding,
    printable,
    write_picture,
)
from xrdclass.errors import DataError, ScanError

GOOD = finding(phases=("a", "b"), foreign=True, warnings=("Short.", "Flat."), threshold=0.612345)


def identify(scans):
    """A stand-in for a model: a name is a scan; some make it fail."""
    for scan in scans:
        if scan == "beside":
            raise DataError("It lies beside the range.")
        if scan in ("memory", "fault"):
            raise {"memory": MemoryError, "fault": RuntimeError}[scan]("tea\nspilt")
    return [GOOD] * len(scans)


def read(path):
    if path == "broken":
        raise ScanError("This is a letter.")
    if path == "unreadable":
        raise KeyError("coffee")
    return path


def answered(paths, picture=None):
    return list(answer_each(paths, read, identify, describe_finding, picture))


def prepare(describe):
    return read, identify, describe, None


def test_two_processes_answer_in_order_what_one_does():
    paths = ["one", "broken", "beside", "fault", *map(str, range(2 * CHUNK)), "unreadable"]
    found = list(answer_side_by_side(2, paths, prepare, describe_finding))
    assert [a for a, _ in found] == [a for a, _ in answered(paths)]
    assert [str(p) for _, p in found] == [str(p) for _, p in answered(paths)]


def test_a_fault_of_ours_is_a_sentence_and_costs_one_scan():
    """Also where a whole batch fails because of it; every file has its answer, in order."""
    said = {
        "broken": "This is a letter.",
        "beside": "It lies beside the range.",
        "memory": "There is not enough memory to examine it.",
        "fault": "A fault in xrdclass: RuntimeError: tea\nspilt. Please report",
        "unreadable": "A fault in xrdclass: KeyError: 'coffee'. Please report",
    }
    paths = ["one", *said, "two"]
    found = answered(paths)
    assert [answer["file"] for answer, _ in found] == paths
    for answer, problem in found:
        expected = said.get(answer["file"])
        assert (problem is None) == (expected is None)
        if expected:
            assert list(answer) == ["file", "error"] and answer["error"] == str(problem)
            assert answer["error"].startswith(expected)
        else:
            assert answer["phases"] == ["a", "b"]


def test_an_answer_as_documented():
    ((answer, problem),) = answered(["one"])
    assert problem is None and answer == {
        "file": "one", "phases": ["a", "b"], "foreign": True,
        "probability": {"a": 0.9877, "b": 0.5}, "warnings": ["Short.", "Flat."],
        "wavelength": 1.54184, "wavelength_source": "assumed", "two_theta": [20.0, 22.0],
        "threshold": 0.6123,
    }  # fmt: skip
    ((answer, _),) = answer_each(["one"], read, lambda scans: [finding()], describe_finding, None)
    assert "threshold" not in answer and answer["phases"] == []


def test_files_are_read_a_portion_at_a_time():
    asked = []
    paths = map(str, range(10**9))
    answers = answer_each(paths, lambda p: asked.append(p) or p, identify, describe_finding, None)
    next(answers)
    assert len(asked) == CHUNK


def test_pictures_have_names_of_their_own_and_may_fail():
    drawn = []

    def picture(scan, found, name):
        drawn.append(name)
        if name == "A-2.png":
            raise DataError("The disk is full.")

    found = answered(["x/a.xy", "broken", "y/A.xy", "z/a.txt"], picture)
    assert drawn == ["a.png", "A-2.png", "a-3.png"]
    assert [str(p) for _, p in found if p] == ["This is a letter.", "The disk is full."]
    assert found[2][0]["phases"] == ["a", "b"], "An answer outlives its picture."


def test_pictures_of_names_that_only_differ_in_case_are_two():
    assert list(_distinct(["a", "A", "a", "a-2"])) == ["a", "A-2", "a-3", "a-2-2"]


def test_a_picture_is_written_whole_and_not_over_another(tmp_path):
    path = tmp_path / "new" / "mine.png"
    for overwrite in (False, True):
        write_picture(picture_of_finding, None, finding(), path, overwrite)
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with pytest.raises(DataError, match="exists already"):
        write_picture(picture_of_finding, None, finding(), path, False)
    import matplotlib.pyplot

    assert not matplotlib.pyplot.get_fignums(), "What is not written is closed all the same."


def test_text_is_printed_on_one_line():
    assert printable("a\nb\t\x1b[31mü\udcff") == "a\\nb\\t\\x1b[31mü\\udcff"


PATHS = ["folder/one.xy", "broken", "empty"]


def answers_to(paths=PATHS):
    """Two answers and an error; the file "stop" is Ctrl-C."""

    def work(scans):
        return [GOOD if "one" in scan else finding() for scan in scans]

    for answer, _ in answer_each(paths, read, work, describe_finding, None):
        if answer["file"] == "stop":
            raise KeyboardInterrupt
        yield answer


def test_the_table_has_notes_under_their_file(capsys):
    PRINTERS["table"](answers_to(), ("a", "b"), PATHS)
    assert capsys.readouterr().out.splitlines() == [
        "one.xy  a (0.99) + b (0.50), and something else",
        "        Note: Short.",
        "        Note: Flat.",
        "broken  not read",
        "empty   none",
    ]


def test_json_is_one_array_also_after_a_stop(capsys, monkeypatch):
    PRINTERS["json"](answers_to(), ("a", "b"), PATHS)
    found = json.loads(capsys.readouterr().out)
    assert found == list(answers_to())
    for paths in (["stop"], ["one", "stop"]):
        with pytest.raises(KeyboardInterrupt):
            PRINTERS["json"](answers_to(paths), ("a", "b"), paths)
        assert len(json.loads(capsys.readouterr().out)) == len(paths) - 1
    # Letters stay, unless the output cannot show them.
    for encoding, shown in (("utf-8", "ü.xy"), ("ascii", "\\u00fc.xy")):
        bytes_out = io.BytesIO()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", io.TextIOWrapper(bytes_out, encoding))
            PRINTERS["json"](answers_to(["ü.xy"]), (), ["ü.xy"])
            sys.stdout.flush()
            text = bytes_out.getvalue().decode(encoding)
        assert shown in text and json.loads(text)[0]["file"] == "ü.xy"


def test_csv_has_a_line_a_file(capsys):
    PRINTERS["csv"](answers_to(), ("a", "b"), PATHS)
    out = capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(out)))
    assert out.count("\n") == 4 and len(rows) == 3
    assert list(rows[0].values()) == [
        "folder/one.xy", "a + b", "True", "0.9877", "0.5", "Short. Flat.", ""
    ]  # fmt: skip
    assert rows[1]["error"] == "This is a letter." and rows[1]["phases"] == rows[1]["a"] == ""
    assert rows[2]["phases"] == "" and rows[2]["foreign"] == "False"
