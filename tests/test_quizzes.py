"""The exported quizzes hold what the lessons ask, and a damaged export would be noticed."""

import dataclasses

import pytest
from load_script import load_script

quizzes = load_script("tools/quizzes.py")
trial = load_script("tools/check_quizzes.py")
FORMATS = [(quizzes.moodle, trial.from_moodle), (quizzes.gift, trial.from_gift)]
FORMATS = pytest.mark.parametrize(("written", "read"), FORMATS, ids=["moodle", "gift"])


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    return quizzes.make(tmp_path_factory.mktemp("quizzes"))


def test_every_lesson_asks(asked):
    lessons = sorted(quizzes.NOTEBOOKS.glob("*.ipynb"))
    assert len({question.lesson for question in asked}) == len(lessons)
    assert all(3 <= len(quizzes.questions(path)) <= 4 for path in lessons)


@FORMATS
def test_all_that_the_lessons_ask_is_read_back(asked, written, read):
    assert trial.compare(asked, read(written(asked))) == []


@FORMATS
def test_signs_with_a_meaning_are_kept(written, read):
    text = r"Is {a} = b ~ c # d: e \ f < g & **h** 50 % *i* :: `x[0]`?"
    options = [(text, f"Right. {text}", True), ("= {no}", "Not quite. ~", False)]
    question = quizzes.Question("07 A: lesson", 1, text, options)
    assert trial.compare([question], read(written([question]))) == []


def other(question, **changes):
    return dataclasses.replace(question, **changes)


@pytest.mark.parametrize(
    "damage",
    [
        lambda q: other(q, options=q.options[:-1]),
        lambda q: other(q, options=[(o, why, not right) for o, why, right in q.options]),
        lambda q: other(q, options=[(o, "Right.", right) for o, _, right in q.options]),
        lambda q: other(q, text=q.text[:-1]),
        lambda q: other(q, lesson="11 Another"),
        lambda q: other(q, number=9),
    ],
    ids=["option lost", "wrong one right", "no reason", "text cut", "other lesson", "number"],
)
@FORMATS
def test_damage_is_noticed(asked, written, read, damage):
    damaged = [*asked[:3], damage(asked[3]), *asked[4:]]
    assert trial.compare(asked, read(written(damaged)))
    assert trial.compare(asked, read(written(asked[1:])))
