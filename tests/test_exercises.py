"""What the checks of the exercises say of answers that are no answers, and of common slips."""

import numpy as np
import pytest

from xrdclass.exercises.checking import check, slip, unusable


@pytest.mark.parametrize("value", [3, 2.5, -1, np.float32(2), np.int64(7), np.array(1.5), 0])
def test_a_number_can_be_checked(value):
    assert unusable(answer=value) == ""


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (..., "Replace the dots first: answer"),
        ("3.5", "without quotes"),
        (None, "it is None"),
        (True, "it is True"),
        (np.ones(220) > 0, "it is an array of 220, of bool"),
        (1j, "one number"),
        ((1, 2), "it has 2"),
        ([], "it has 0"),
        ([1, ...], "still holds some"),
        ([[1], [1, 2]], "nested list"),
        (np.ones((2, 3)), "the shape (2, 3)"),
        ({"a": 1}, "it is a dict"),
        ({1}, "it is a set"),
        (np.nan, "not finite"),
        (np.inf, "not finite"),
    ],
)
def test_what_is_no_number_is_named(value, part):
    assert part in unusable(answer=value)


def test_the_first_answer_that_cannot_be_checked_is_named():
    assert "second" in unusable(first=1, second="2", third=...)


def test_as_many_numbers_as_asked_for():
    assert unusable((3,), answer=[1, 2, 3]) == ""
    assert unusable((3,), answer=np.arange(3)) == ""
    assert unusable((3,), answer=[1, 2]) == "answer should be 3 numbers; it has 2."
    assert unusable((3,), answer=1) == "answer should be 3 numbers; it has the shape ()."


def test_slips_are_recognised_within_the_tolerance_and_in_order():
    slips = {"half": 5, "also half": 5.01, "none": 0, "minus": -10}
    assert slip(5.04, slips) == "half"
    assert slip(5.2, slips) == ""
    assert slip(0, slips) == "none"
    assert slip(-10.05, slips) == "minus"
    assert slip(5.2, slips, rtol=0.05) == "half"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (2.0, "Right."),
        (np.float32(2.019), "Right."),
        (2.021, "Not yet. Look at the unit."),
        (20.1, "Not yet. That is in Å."),
        (-2, "Not yet. Look at the unit."),
        (..., "Replace the dots first: size has no answer yet."),
        ([2.0], "size is one number in a list or array; take it out of that."),
        (np.nan, "size is not finite. Was something divided by zero?"),
    ],
)
def test_a_check_prints_one_sentence(answer, sentence, capsys):
    check(answer, 2, {"That is in Å.": 20}, "Look at the unit.", name="size")
    assert capsys.readouterr().out == sentence + "\n"


def test_several_numbers_are_right_together_only(capsys):
    swapped = {"Swapped.": (20, 1)}
    for answer in ([1.01, 20], (1, 21), np.array([20, 1]), [1, 20, 3]):
        check(answer, (1, 20), swapped, "One is wrong.")
    said = capsys.readouterr().out.splitlines()
    assert said == ["Right.", "Not yet. One is wrong.", "Not yet. Swapped.",
                    "this should be 2 numbers; it has 3."]  # fmt: skip


def test_slips_come_after_right_answers_and_a_hint_may_be_missing(capsys):
    check(10.05, 10, {"A slip that happens to be near.": 10.06})
    check(7, 10)
    check(0.02, 0)
    assert capsys.readouterr().out.splitlines() == ["Right.", "Not yet.", "Not yet."]
