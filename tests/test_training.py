"""Networks that learn, and classifiers that name the phase of a scan."""

import os

import numpy as np
import pytest
from samples import (
    RRUFF_TIO2,
    SMALL_GRID,
    TWO,
    mineral,
    small_classifier,
    small_patterns,
)

from xrdclass.diffraction import convert_two_theta
from xrdclass.errors import DataError
from xrdclass.evaluation import ideal_patterns
from xrdclass.noise import add_noise
from xrdclass.patterns import PatternSet, TwoThetaGrid, split
from xrdclass.phases import load_phases
from xrdclass.scans import Scan, read_scan
from xrdclass.simulation import ORIGINAL, simulate
from xrdclass.training import Classifier, fit


@pytest.fixture(scope="module")
def train():
    return small_patterns(60, 1)


@pytest.fixture(scope="module")
def unseen():
    return small_patterns(100, 2)


@pytest.fixture(scope="module")
def classifier():
    return small_classifier()


def ideal_scan(index=1, wavelength=None, grid=SMALL_GRID):
    """A scan of one phase without noise, as a file would give it."""
    pattern = ideal_patterns(TWO, grid, domain_size=7).intensity[index]
    return Scan(grid.two_theta, 1000 * pattern.astype(float) + 20, "ideal", None, wavelength)


def test_a_small_network_learns_two_phases(classifier, train, unseen):
    right = classifier.predict(unseen.intensity).argmax(axis=1) == unseen.labels
    assert right.mean() > 0.9
    history = classifier.history
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert len(history["loss"]) == 8 and history["loss"][-1] < 0.5 * history["loss"][0]
    assert classifier.settings["patterns"] == len(train) and classifier.settings["seed"] == 0


def test_probabilities_do_not_depend_on_the_unit_or_the_batch(classifier, unseen):
    whole = classifier.predict(unseen.intensity)
    assert whole.shape == (200, 2) and np.allclose(whole.sum(axis=1), 1, atol=1e-5)
    assert np.allclose(classifier.predict(unseen.intensity * 37 + 5), whole, atol=1e-4)
    assert np.allclose(classifier.predict(unseen.intensity[70:72]), whole[70:72], atol=1e-5)
    assert classifier.predict(unseen.intensity[:0]).shape == (0, 2)


def test_predict_checks_its_patterns(classifier):
    for wrong in (np.zeros(401), np.zeros((2, 400)), np.zeros((1, 401, 1))):
        with pytest.raises(DataError, match=r"shape \(n, 401\), 20 to 60 degrees in steps of 0.1"):
            classifier.predict(wrong)
    with pytest.raises(DataError, match="NaN"):
        classifier.predict(np.full((1, 401), np.nan))


def test_same_seed_same_weights(train):
    one, same, other = (fit(train, epochs=1, seed=s, progress=False) for s in (3, 3, 4))
    weights = [c.network.get_weights() for c in (one, same, other)]
    assert all(np.array_equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))


def test_training_needs_patterns_that_fit_together(train):
    with pytest.raises(DataError, match="no patterns to train on"):
        fit(train.subset([]), progress=False)
    other = PatternSet(train.intensity, train.labels, ("a", "b"), SMALL_GRID)
    with pytest.raises(DataError, match="share one grid, wavelength and their names"):
        fit(train, other, progress=False)


def test_progress_bar_shows_epochs(train, capsys):
    fit(train, epochs=2, seed=0, progress=True)
    seen = capsys.readouterr().err
    assert "training" in seen and "2/2" in seen and "accuracy" in seen


def test_saved_and_loaded_it_answers_the_same(classifier, unseen, tmp_path):
    path = classifier.save(tmp_path / "model.keras")
    assert os.listdir(tmp_path) == ["model.keras"]
    loaded = Classifier.load(path)
    expected = classifier.predict(unseen.intensity)
    assert np.allclose(loaded.predict(unseen.intensity), expected, atol=1e-6)
    assert (loaded.names, loaded.grid) == (("anatase", "rutile"), SMALL_GRID)
    assert loaded.wavelength == classifier.wavelength == 1.54184
    assert loaded.settings == classifier.settings and not loaded.history


# Scans


def test_ideal_scans_are_identified(classifier):
    findings = classifier.identify([ideal_scan(index) for index in (0, 1)])
    for name, found in zip(classifier.names, findings, strict=True):
        assert found.phases == (name,) and found.name == "ideal" and not found.foreign
        assert sum(found.probability.values()) == pytest.approx(1, abs=1e-5)
        assert list(found.probability) == list(classifier.names)
        assert len(found.warnings) == 1 and "always names one of its 2" in found.warnings[0]
        # What the network was shown, and nothing that it cannot say.
        assert np.array_equal(found.two_theta, SMALL_GRID.two_theta) and found.signal.max() > 900
        assert (found.refinement, found.foreign_probability, found.threshold) == (None, None, None)
        assert (found.wavelength, found.wavelength_source) == (1.54184, "assumed")


def test_scans_of_another_wavelength_are_converted(classifier):
    scan = ideal_scan(0)
    there = convert_two_theta(scan.two_theta, "Cu", "Co")
    stated, silent = (Scan(there, scan.intensity, "Co", None, w) for w in (1.78897, None))
    (by_file,), (by_caller,) = classifier.identify([stated]), classifier.identify([silent], "Co")
    for found, source in ((by_file, "stated"), (by_caller, "given")):
        assert found.phases == ("anatase",) and found.wavelength_source == source
        assert any("Co radiation; its angles were converted" in w for w in found.warnings)
        expected = np.interp(found.two_theta, scan.two_theta, scan.intensity)
        assert np.allclose(found.signal, expected, atol=1e-3 * scan.intensity.max())
    (as_it_is,) = classifier.identify([silent])
    unconverted = np.interp(as_it_is.two_theta, scan.two_theta, scan.intensity)
    assert not np.allclose(as_it_is.signal, unconverted, atol=1)


def test_narrow_and_flat_scans_are_doubted(classifier):
    narrow = ideal_scan(0, grid=TwoThetaGrid(22, 40, 0.1))
    flat = Scan(SMALL_GRID.two_theta, np.full(SMALL_GRID.n_points, 7.0), "flat")
    narrow, flat = classifier.identify([narrow, flat])
    assert any("covers 22.0 to 40.0 degrees of the 20 to 60" in w for w in narrow.warnings)
    assert flat.phases == () and any("flat" in warning for warning in flat.warnings)


@pytest.mark.skipif(
    not RRUFF_TIO2, reason="XRDCLASS_DATA names no folder with TiO2 scans named as on RRUFF"
)
def test_trained_as_the_lessons_do_it_names_all_measured_scans():
    noisy = add_noise(simulate(load_phases(), 120, ORIGINAL, seed=1), seed=2)
    train, validation = split(noisy, 1 / 6, seed=3)
    trained = fit(train, validation, epochs=15, seed=0, progress=False)
    assert trained.history["val_accuracy"][-1] > 0.95
    findings = trained.identify([read_scan(path) for path in RRUFF_TIO2])
    found = {p.name: f.phases for p, f in zip(RRUFF_TIO2, findings, strict=True)}
    assert found == {path.name: (mineral(path),) for path in RRUFF_TIO2}
