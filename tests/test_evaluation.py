"""What answers are worth: each measure against cases worked out by hand."""

import numpy as np
import pytest
from samples import SMALL_GRID, TWO, small_classifier

from xrdclass.errors import DataError
from xrdclass.evaluation import (
    calibration,
    cosine_similarity,
    ideal_patterns,
    in_percent,
    mix,
    occlusion,
)


def test_calibration_of_constructed_answers():
    # Twenty answers at 0.75, twelve right; ten at 0.95, all right; two classes.
    certainty = np.repeat([0.75, 0.95], [20, 10])
    probability = np.stack([certainty, 1 - certainty], axis=1)
    labels = np.zeros(30, dtype=int)
    labels[:8] = 1
    means, right, count, error = calibration(probability, labels)
    assert means == pytest.approx([0.75, 0.95]) and right == pytest.approx([0.6, 1.0])
    assert count.tolist() == [20, 10]
    assert error == pytest.approx((20 * 0.15 + 10 * 0.05) / 30)
    # Certain and always right: no error, also at the very edge of the last bin.
    means, right, _, error = calibration(np.array([[1.0, 0.0]] * 4), [0, 0, 0, 0])
    assert (means.tolist(), right.tolist(), error) == ([1.0], [1.0], 0)
    assert calibration(np.array([[1.0, 0.0]] * 4), [1, 1, 1, 1])[3] == 1
    with pytest.raises(DataError, match="at least one pattern"):
        calibration(np.empty((0, 2)), [])


def test_honest_answers_have_a_small_error():
    rng = np.random.default_rng(0)
    certainty = rng.uniform(0.5, 1, 20_000)
    labels = (rng.random(20_000) > certainty).astype(int)
    error = calibration(np.stack([certainty, 1 - certainty], axis=1), labels)[3]
    assert error < 0.015


class PeakWatcher:
    """A stand-in for a classifier: its certainty is the highest point near 30 degrees."""

    grid = SMALL_GRID

    def predict(self, intensity):
        near = np.abs(SMALL_GRID.two_theta - 30) < 1
        top = np.asarray(intensity)[:, near].max(axis=1)
        return np.stack([top, 1 - top], axis=1)


def test_occlusion_shows_where_a_classifier_looks():
    pattern = np.exp(-(((SMALL_GRID.two_theta - 30) / 0.2) ** 2))
    pattern += 0.8 * np.exp(-(((SMALL_GRID.two_theta - 50) / 0.2) ** 2))
    centres, drop = occlusion(PeakWatcher(), pattern, 0, width=2)
    assert np.allclose(np.diff(centres), 1) and centres[0] == pytest.approx(21)
    assert abs(centres[drop.argmax()] - 30) <= 0.5 and drop.max() > 0.9
    assert np.abs(drop[np.abs(centres - 30) > 2]).max() < 1e-6


def test_occlusion_of_a_trained_network():
    """Hiding the strongest line costs more than hiding a stretch without lines."""
    pattern = ideal_patterns(TWO, SMALL_GRID, domain_size=7).intensity[1]
    centres, drop = occlusion(small_classifier(), pattern, 1, width=3)
    first = np.abs(centres - 27.4) <= 1
    assert drop[first].max() > drop[(centres > 31) & (centres < 33)].max()


def test_cosine_similarity():
    patterns = np.array([[0, 1, 2, 0], [0, 2, 4, 0], [5, 0, 0, 5]], dtype=float)
    similar = cosine_similarity(patterns, patterns)
    assert similar[0] == pytest.approx([1, 1, 0], abs=1e-6)
    assert np.allclose(similar, similar.T) and np.allclose(similar.diagonal(), 1)
    assert cosine_similarity(np.ones((1, 4)), patterns) == pytest.approx(np.zeros((1, 3)))
    ideal = ideal_patterns(TWO, SMALL_GRID).intensity
    assert cosine_similarity(ideal, ideal)[0, 1] < 0.3


def test_mixtures_are_sums_of_peak_heights():
    ideal = ideal_patterns(TWO, SMALL_GRID)
    mixed = mix(ideal, [0, 0, 1], [1, 1, 0], [1.0, 0.25, 0.75])
    assert np.allclose(mixed[0], ideal.intensity[0], atol=1e-6)
    assert np.allclose(mixed[1], mixed[2], atol=1e-6)
    by_hand = 0.25 * ideal.intensity[0] + 0.75 * ideal.intensity[1]
    assert np.allclose(mixed[1], by_hand, atol=1e-3)
    assert mix(ideal, [0], [1], 0.5).shape == (1, SMALL_GRID.n_points)


@pytest.mark.parametrize(
    ("hits", "n"), [(0, 1), (1, 1), (5, 5), (0, 20), (9, 13), (27, 100), (1999, 2000)]
)
def test_shares_have_wilsons_interval(hits, n):
    from scipy.stats import binomtest

    share, low, high = in_percent(hits, n, text=False)
    known = binomtest(hits, n).proportion_ci(0.95, "wilson")
    assert share == pytest.approx(100 * hits / n)
    assert (low, high) == pytest.approx((100 * known.low, 100 * known.high), abs=0.01)
    assert 0 <= low <= share <= high <= 100


def test_a_share_of_nothing_is_not_a_number():
    assert np.isnan(in_percent(0, 0, text=False)).all()
