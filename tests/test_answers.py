"""What is printed for each file: one answer each, in order, whatever fails."""

import base64
import csv
import io
import json
import sys
from dataclasses import replace

import pytest
from samples import finding, fitted

from xrdclass.answers import (
    CELL,
    CHUNK,
    COLUMNS,
    ERRORS,
    PRINTERS,
    _distinct,
    answer_each,
    answer_side_by_side,
    describe_finding,
    describe_refinement,
    draw,
    printable,
    with_error,
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
    folder = tmp_path / "new"
    for overwrite in (False, True):
        assert draw(None, finding(), "mine.png", folder, overwrite) is None
        assert (folder / "mine.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert base64.b64decode(draw(None, finding(), "mine.png", keep=True))[:4] == b"\x89PNG"
    with pytest.raises(DataError, match="exists already"):
        draw(None, finding(), "mine.png", folder)
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
    PRINTERS["table"](answers_to(), PATHS)
    assert capsys.readouterr().out.splitlines() == [
        "one.xy  a (0.99) + b (0.50), and something else",
        "        Note: Short.",
        "        Note: Flat.",
        "broken  not read",
        "empty   none of the phases",
    ]


def printed(capsys, form, answers):
    PRINTERS[form]([{"file": "mine.xy", **answer} for answer in answers], ["mine.xy"])
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("foreign", "probability", "words"),
    [
        (False, {"a": 0.2, "b": 0.6157}, " (nearest: b 0.62; named from 0.90 on)"),
        (True, {"a": 0.3, "b": 0.0}, "; something else (nearest: a 0.30; named from 0.90 on)"),
        (True, {"a": 0.0, "b": 0.0}, "; something else (each 0.00; named from 0.90 on)"),
    ],
)
def test_where_no_phase_is_named_the_table_says_how_near_one_came(
    foreign, probability, words, capsys
):
    said = describe_finding(finding(foreign=foreign, probability=probability, threshold=0.9))
    assert printed(capsys, "table", [said]) == f"mine.xy  none of the phases{words}\n"
    named = describe_finding(finding(phases=("b",), probability={"a": 0, "b": 0.95}, threshold=0.9))
    assert printed(capsys, "table", [named]) == "mine.xy  b (0.95)\n"


def test_json_is_one_array_also_after_a_stop(capsys, monkeypatch):
    PRINTERS["json"](answers_to(), PATHS)
    found = json.loads(capsys.readouterr().out)
    assert found == list(answers_to())
    for paths in (["stop"], ["one", "stop"]):
        with pytest.raises(KeyboardInterrupt):
            PRINTERS["json"](answers_to(paths), paths)
        assert len(json.loads(capsys.readouterr().out)) == len(paths) - 1
    # Letters stay, unless the output cannot show them.
    for encoding, shown in (("utf-8", "ü.xy"), ("ascii", "\\u00fc.xy")):
        bytes_out = io.BytesIO()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", io.TextIOWrapper(bytes_out, encoding))
            PRINTERS["json"](answers_to(["ü.xy"]), ["ü.xy"])
            sys.stdout.flush()
            text = bytes_out.getvalue().decode(encoding)
        assert shown in text and json.loads(text)[0]["file"] == "ü.xy"


def test_csv_has_a_line_a_phase(capsys):
    PRINTERS["csv"](answers_to(), PATHS)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["file"], row["phase"]) for row in rows] == [
        ("folder/one.xy", "a"), ("folder/one.xy", "b"), ("broken", ""),
        ("empty", "a"), ("empty", "b"),
    ]  # fmt: skip
    assert list(rows[0]) == list(COLUMNS)
    known = {key: value for key, value in rows[0].items() if value}
    assert known == {
        "file": "folder/one.xy", "phase": "a", "found": "True", "probability": "0.9877",
        "threshold": "0.6123", "foreign": "True", "wavelength": "1.54184",
        "wavelength_source": "assumed", "warnings": "Short. Flat.",
    }  # fmt: skip
    assert rows[2]["problem"] == "This is a letter." and rows[3]["found"] == "False"


def test_both_commands_say_of_a_fit_what_it_found(capsys):
    """One fit, as identify and quantify tell it, in JSON and as CSV: the same numbers."""
    found = fitted()
    fit = found.refinement
    said, weighed = describe_finding(found), describe_refinement(fit)
    assert said["phases"] == list(weighed["phases"]) == ["anatase", "rutile"]
    assert said["foreign_probability"] == 0.97 and abs(said["unexplained"][0]["d"] - 2.82) < 0.01
    for name, known in weighed["phases"].items():
        phase = fit.phases[name]
        assert known["weight_percent"] == pytest.approx(phase.weight_percent, abs=0.01)
        assert known["cell"] == pytest.approx(phase.cell, abs=1e-4)
        for key, error in ERRORS.items():
            assert said[key][name] == {"value": known[key], "error": known[error]}
    assert {key: said[key] for key in ("r_wp", "displacement", "unexplained", "upper_limit")} == {
        key: weighed[key] for key in ("r_wp", "displacement", "unexplained", "upper_limit")
    }
    tables = [csv.DictReader(io.StringIO(printed(capsys, "csv", [a]))) for a in (said, weighed)]
    for one, other in zip(*tables, strict=True):
        cell = said["cell"][one["phase"]]
        assert [float(one[column]) for column in CELL] == cell["value"]
        assert [float(one[f"{column}_error"]) for column in CELL] == cell["error"]
        differ = {key for key in COLUMNS if one[key] != other[key]}
        only = {"probability", "threshold", "foreign", "foreign_probability", "wavelength_source"}
        assert differ == only and not any(other[key] for key in only)
    line, *more = printed(capsys, "table", [said]).splitlines()
    share = fit.phases["anatase"]
    assert f"anatase (0.99) {share.weight_percent:.1f} ± {share.weight_error:.1f} %" in line
    assert line.endswith(", and something else") and not more


def test_a_phase_that_is_not_named_has_a_limit_and_no_weight():
    found = describe_finding(replace(fitted(), phases=("anatase",)))
    assert list(found["weight_percent"]) == list(found["cell"]) == ["anatase"]
    assert list(found["upper_limit"]) == ["rutile"]


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [(3.78521, 0.00031, "3.7852(3)"), (9.5, 0.012, "9.500(12)"), (90, 0, "90.0000"),
     (4.5, 2.5, "4.5(25)"), (5, 0.00001, "5.0000(1)")],
)  # fmt: skip
def test_errors_stand_in_units_of_the_last_digit(value, error, text):
    assert with_error(value, error) == text
