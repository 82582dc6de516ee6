"""Judges learn from what they see, and see the network and the second opinion."""

import json

import numpy as np
import pytest
from samples import ANATASE, PHASES, RUTILE, X, scan_of, scan_with, smoothed

from xrdclass.errors import DataError
from xrdclass.identify.background import TWO_THETA
from xrdclass.identify.judge import (
    N_FOREIGN_FEATURES,
    N_PHASE_FEATURES,
    PROPOSED,
    Examination,
    Judge,
    examine,
    foreign_features,
    named_phases,
    phase_features,
)
from xrdclass.identify.second_opinion import all_lines

LINES = all_lines(PHASES)


@pytest.fixture(scope="module")
def toy():
    rng = np.random.default_rng(0)
    features = rng.normal(5, 3, (600, 4))
    truth = (features[:, 0] > features[:, 2]).astype(float)
    return features, truth, Judge.fit(features[:450], truth[:450], seed=1)


def test_a_judge_learns_what_can_be_told_apart(toy):
    features, truth, judge = toy
    probability = judge.probability(features[450:])
    assert probability.shape == (150,) and probability.min() >= 0 and probability.max() <= 1
    assert ((probability > 0.5) == truth[450:]).mean() > 0.9
    clear = np.abs(features[450:, 0] - features[450:, 2]) > 6
    assert (np.abs(probability - truth[450:])[clear] < 0.2).all()


def test_a_judge_needs_right_and_wrong_proposals():
    for n in (0, 7):
        with pytest.raises(DataError, match="right and wrong proposals; among .*--judged"):
            Judge.fit(np.ones((n, 3)), np.ones(n))


def test_a_judge_survives_a_file(toy):
    features, _, judge = toy
    again = Judge.from_dict(json.loads(json.dumps(judge.to_dict())), features.shape[1])
    assert np.array_equal(again.probability(features), judge.probability(features))
    # Named features and a row of an array are the same to it.
    one = judge.probability([dict(zip("abcd", features[7], strict=True))])
    assert one.shape == (1,) and one[0] == pytest.approx(judge.probability(features)[7])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mean": [0.0] * 3}, "does not see 4 features"),
        ({"layers": [[[[1.0]] * 3, [0.0]]]}, "mismatch|does not see"),
        ({"spread": [1.0, 1.0, 1.0, 0.0]}, "spread of 0"),
        ({"mean": [0.0, 0.0, 0.0, float("nan")]}, "what is no number"),
        ({"layers": [[[[1e999]] * 4, [0.0]]]}, "what is no number"),
        ({"layers": []}, "index out of range"),
        ({"layers": [[[["a"]] * 4, [0.0]]]}, "could not convert"),
    ],
    ids=str,
)
def test_what_is_no_judge_is_refused(toy, change, said):
    with pytest.raises((IndexError, TypeError, ValueError), match=said):
        Judge.from_dict({**toy[2].to_dict(), **change}, 4)


def test_only_proposed_phases_are_looked_for():
    rutile = scan_of("rutile", 8, 82)
    row = np.array([PROPOSED / 2, PROPOSED * 2, 0, 0.9, 0, 0.1])
    counts, covered = rutile.intensity[None], np.ones((1, X.size), dtype=bool)
    (one,) = examine(lambda inputs: row[None], LINES, counts, covered)
    assert set(one.opinions) == {1, 3} and np.array_equal(one.proposed, row)
    # The judge is not asked about the others, and only phases from the threshold on are named.
    width = N_PHASE_FEATURES
    certain = Judge(np.zeros(width), np.ones(width), [(np.zeros((width, 1)), np.array([1.0]))])
    probability, found = named_phases(one, certain, 0.7)
    assert (probability[[0, 2, 4]] == 0).all() and set(found) == {1, 3}
    assert probability[3] == pytest.approx(1 / (1 + np.exp(-1)))
    assert named_phases(one, certain, 0.74)[1] == {}


def test_a_judge_sees_the_network_and_the_opinion():
    scan = smoothed(scan_of("rutile"))
    opinion = scan.fit(LINES[RUTILE])
    proposed = np.array([0.1, 0.2, 0.3, 0.9, 0.0, 1.0])
    seen = phase_features(Examination(scan, proposed, {RUTILE: opinion}), RUTILE)
    assert len(seen) == N_PHASE_FEATURES and np.isfinite(list(seen.values())).all()
    logits = [seen.pop(n) for n in ("logit", "largest other logit", "logit of foreign")]
    assert logits[:2] == pytest.approx(np.log([9, 3 / 7]))
    assert logits[2] == pytest.approx(13.8, abs=0.1) and seen == opinion.features


def drawn(label):
    """A phase's lines as Gaussians."""
    u = (TWO_THETA[:, None] - LINES[label].two_theta) / 0.2
    return np.exp(-4 * np.log(2) * u**2) @ LINES[label].intensity


def test_strangers_left_over_are_seen_by_the_judge_of_foreign():
    fitted = {ANATASE: drawn(ANATASE), RUTILE: 0.5 * drawn(RUTILE)}
    stranger = np.exp(-(((TWO_THETA - 31.7) / 0.1) ** 2))
    seen = []
    for part in (0.0, 0.3):
        scan = scan_with(sum(fitted.values()) + part * stranger)
        one = Examination(scan, np.full(6, 0.5), {})
        seen.append(foreign_features(one, {k: v / v.max() for k, v in fitted.items()}))
    without, beside = seen
    assert len(without) == N_FOREIGN_FEATURES and list(without) == list(beside)
    for name in ("highest peak left", "highest peak left over its noise"):
        assert beside[name] > without[name] + 1
    assert beside["explained"] < without["explained"]
    assert without["logit of foreign"] == pytest.approx(0) and without["phases found"] == 2
    assert np.isfinite([list(one.values()) for one in seen]).all()
    # Nothing found, nothing explained, and everything left.
    none = foreign_features(Examination(scan_with(stranger), np.zeros(6), {}), {})
    assert (none["explained"], none["phases found"], none["part left"]) == (0, 0, 1)
