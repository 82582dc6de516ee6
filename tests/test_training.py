"""Networks that learn, files that hold all and run nothing, and what answers are worth."""

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from xrdclass.__main__ import main
from xrdclass.diffraction import convert_two_theta
from xrdclass.errors import DataError, ModelError
from xrdclass.evaluation import (
    calibration,
    cosine_similarity,
    ideal_patterns,
    identify,
    mix,
    occlusion,
    prepare_scan,
)
from xrdclass.models import build, compact_cnn, import_keras, original_cnn
from xrdclass.noise import add_noise
from xrdclass.patterns import PatternSet, TwoThetaGrid, split
from xrdclass.phases import load_phases
from xrdclass.scans import Scan, read_scan
from xrdclass.simulation import ORIGINAL, Variation, simulate
from xrdclass.training import METADATA, Classifier, Keeper, fit

DATA = os.environ.get("XRDCLASS_DATA")
TIO2 = ("anatase", "brookite", "rutile")
MEASURED = [
    path
    for path in sorted(Path(DATA).rglob("*__R*.txt") if DATA else [])
    if path.name.split("__")[0].lower() in TIO2
]
GRID = TwoThetaGrid(20, 60, 0.1)
PHASES = [phase for phase in load_phases() if phase.name in ("anatase", "rutile")]
SMALL = Variation(strain=0.01, domain_size=(5, 10))


def draw_patterns(n, seed):
    return add_noise(simulate(PHASES, n, SMALL, GRID, seed=seed), seed=seed)


@pytest.fixture(scope="module")
def train():
    return draw_patterns(60, 1)


@pytest.fixture(scope="module")
def unseen():
    return draw_patterns(100, 2)


@pytest.fixture(scope="module")
def classifier(train):
    return fit(train, draw_patterns(10, 3), epochs=8, seed=0, progress=False)


def ideal_scan(index=1, wavelength=None, grid=GRID):
    """A scan of one phase without noise, as a file would give it."""
    pattern = ideal_patterns(PHASES, grid, domain_size=7).intensity[index]
    return Scan(grid.two_theta, 1000 * pattern.astype(float) + 20, "ideal", None, wavelength)


def accuracy(classifier, patterns):
    return (classifier.predict(patterns.intensity).argmax(axis=1) == patterns.labels).mean()


# Networks and training


def test_networks_have_the_stated_sizes():
    network = original_cnn(8501, 5)
    # Each convolution: size * channels * filters + filters; pooling: 8501, 4250, 2125, 1062.
    by_hand = (35 + 1) * 16 + (25 * 16 + 1) * 16 + (15 * 16 + 1) * 16
    by_hand += (1062 * 16 + 1) * 50 + (50 + 1) * 5
    assert network.count_params() == by_hand == 860_753
    assert compact_cnn(8501, 5).count_params() < 860_753 / 3
    for network in (original_cnn(801, 3), compact_cnn(801, 3)):
        assert network.input_shape == (None, 801, 1) and network.output_shape == (None, 3)


def test_impossible_networks_are_refused():
    with pytest.raises(DataError, match="network must be one of compact, original; got 'large'"):
        build("large", 8501, 5)
    for name in ("compact", "original"):
        with pytest.raises(DataError, match="needs a grid of at least 80 points; got 79"):
            build(name, 79, 5)
        network = build(name, 80, 5)
        sizes = [layer.output.shape for layer in network.layers]
        assert all(0 not in shape[1:] for shape in sizes)


def test_a_small_network_learns_two_phases(classifier, train, unseen):
    assert accuracy(classifier, unseen) > 0.9
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
    other = PatternSet(train.intensity, train.labels, ("a", "b"), GRID)
    with pytest.raises(DataError, match="share one grid and their names"):
        fit(train, other, progress=False)


def test_progress_bar_shows_epochs(train, capsys):
    fit(train, epochs=2, seed=0, progress=True)
    seen = capsys.readouterr().err
    assert "training" in seen and "2/2" in seen and "accuracy" in seen


# Files


class StopAfter:
    """Ctrl-C at the end of an epoch, as seen by Keras."""

    def __init__(self, monkeypatch, epochs):
        self.left, self.save = epochs, Keeper.save
        monkeypatch.setattr(Keeper, "save", lambda keeper, record: self.count(keeper, record))

    def count(self, keeper, record):
        self.save(keeper, record)
        self.left -= bool(record)
        if self.left == 0:
            raise KeyboardInterrupt


def test_a_stopped_training_goes_on_from_its_last_epoch(train, unseen, tmp_path, monkeypatch):
    folder, check = tmp_path / "kept", draw_patterns(10, 3)

    def run():
        return fit(train, check, epochs=6, seed=0, progress=False, keep=folder)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        StopAfter(patch, 4)
        run()
    best = Classifier.load(folder / "best.keras")
    kept = np.load(folder / "state.npz")
    losses = json.loads(str(kept["record"]))["history"]["val_loss"]
    assert len(losses) == 4
    # The best network so far is one that the losses know.
    right = best.predict(check.intensity)[np.arange(len(check)), check.labels]
    assert -np.log(right).mean() == pytest.approx(min(losses), rel=1e-3)

    epochs = []
    keras = import_keras()
    original = keras.Model.fit

    def counted(self, *arguments, **settings):
        record = original(self, *arguments, **settings)
        epochs.extend(record.epoch)
        return record

    monkeypatch.setattr(keras.Model, "fit", counted)
    resumed = run()
    assert epochs == [4, 5], "Only what was missing is trained."
    assert [len(values) for values in resumed.history.values()] == [6] * 4
    assert resumed.history["val_loss"][:4] == losses
    finished = run()
    assert epochs == [4, 5], "A finished run is read, not repeated."
    assert np.array_equal(resumed.predict(unseen.intensity), finished.predict(unseen.intensity))
    assert accuracy(resumed, unseen) > 0.9


def test_going_on_loses_nothing_of_the_optimizer(train, tmp_path):
    """Weights and Adam's moments are the same to the last bit; only the shuffling is another."""
    first = fit(train, epochs=2, progress=False, keep=tmp_path)
    again = fit(train, epochs=2, progress=False, keep=tmp_path)
    for one, other in (
        (first.network.get_weights(), again.network.get_weights()),
        (first.network.optimizer.variables, again.network.optimizer.variables),
    ):
        assert len(one) == len(other) > 4
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_network_of_ones_own_goes_on_whatever_keras_calls_it(train, tmp_path):
    layers = import_keras().layers
    for _ in range(2):  # "sequential", then "sequential_1"
        network = import_keras().Sequential(
            [
                layers.Input((train.grid.n_points, 1)),
                layers.Flatten(),
                layers.Dense(len(train.names), activation="softmax"),
            ]
        )
        fitted = fit(train, network=network, epochs=1, keep=tmp_path, progress=False)
        assert len(fitted.history["loss"]) == 1


def test_ctrl_c_says_what_is_kept_and_only_that(train, tmp_path, monkeypatch, capsys):
    train.save(tmp_path / "data.npz")
    monkeypatch.chdir(tmp_path)
    command = ["train", "data.npz", "--epochs", "3", "--out", "net.keras"]

    def press(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("xrdclass.training.import_keras", press)
        assert main(command) == 130
    assert capsys.readouterr().err.endswith("nothing half-written is left behind.\n")
    with monkeypatch.context() as patch:
        StopAfter(patch, 1)
        assert main(command) == 130
    told = capsys.readouterr().err
    assert f"its best network so far is {Path('net.training', 'best.keras')}. Repeat" in told
    assert main(command) == 0
    assert "going on with it if it is the same" in capsys.readouterr().err
    assert sorted(os.listdir()) == ["data.npz", "net.keras"]


def test_what_is_kept_belongs_to_one_run_and_is_never_lost(train, unseen, tmp_path):
    fit(train, epochs=1, progress=False, keep=tmp_path)
    before = (tmp_path / "state.npz").read_bytes()
    for patterns, settings, other in (
        (unseen, {}, "patterns"),
        (train, {"validation": unseen}, "patterns"),
        (train, {"wavelength": 1.0}, "patterns"),
        (train, {"seed": 1}, "seed"),
        (train, {"epochs": 2}, "epochs"),
        (train, {"network": "original"}, "shapes"),
    ):
        with pytest.raises(DataError, match=rf"other patterns or settings \({other}\)"):
            fit(patterns, **{"epochs": 1, "keep": tmp_path, "progress": False, **settings})
    assert (tmp_path / "state.npz").read_bytes() == before
    (tmp_path / "state.npz").write_bytes(before[:1000])
    with pytest.raises(DataError, match="cannot be read .* remove it to train anew"):
        fit(train, epochs=1, keep=tmp_path, progress=False)
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / ".state-unfinished-1").write_text("half, by a process that was killed")
    Keeper.remove(tmp_path)
    assert os.listdir(tmp_path) == ["mine.txt"]


def test_saved_and_loaded_it_answers_the_same(classifier, unseen, tmp_path):
    path = classifier.save(tmp_path / "model.keras")
    assert os.listdir(tmp_path) == ["model.keras"]
    loaded = Classifier.load(path)
    expected = classifier.predict(unseen.intensity)
    assert np.allclose(loaded.predict(unseen.intensity), expected, atol=1e-6)
    assert (loaded.names, loaded.grid) == (("anatase", "rutile"), GRID)
    assert loaded.wavelength == classifier.wavelength == 1.54184
    assert loaded.settings == classifier.settings and not loaded.history


def test_saving_overwrites_only_when_asked(classifier, tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        classifier.save(path)
    assert path.read_text() == "mine"
    Classifier.load(classifier.save(path, overwrite=True))
    with pytest.raises(DataError, match="ends in .keras"):
        classifier.save(tmp_path / "model.h5")


def rewritten(path, change=None, drop=()):
    """The bytes of a classifier file with changed metadata and without some members."""
    file = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == METADATA and change:
                content = json.dumps({**json.loads(content), **change}).encode()
            if name not in drop:
                new.writestr(name, content)
    return file.getvalue()


def test_files_that_are_no_classifiers(classifier, tmp_path):
    good = classifier.save(tmp_path / "good.keras")
    whole = good.read_bytes()
    plain = tmp_path / "plain.keras"
    classifier.network.save(plain)
    grid = {"start": 20, "stop": 60, "step": 0.2}
    bad = {
        "no classifier": [b"", b"a text file\n", whole[: len(whole) // 2], plain.read_bytes()]
        + [rewritten(good, {"grid": {"start": 9, "stop": 3, "step": 1}})]
        + [rewritten(good, {"names": None}), rewritten(good, {"wavelength": "Cu"})],
        "does not fit its own names and grid": [
            rewritten(good, {"names": ["anatase", "rutile", "brookite"]}),
            rewritten(good, {"names": ["anatase"]}),
            rewritten(good, {"grid": grid}),
        ],
        "cannot be loaded": [
            rewritten(good, drop=("model.weights.h5",)),
            rewritten(good, drop=("config.json",)),
        ],
    }
    path = tmp_path / "bad.keras"
    for message, contents in bad.items():
        message = message.replace("no classifier", "is not a classifier that 'xrdclass train'")
        for content in contents:
            path.write_bytes(content)
            with pytest.raises(ModelError, match=message) as error:
                Classifier.load(path)
            assert "\n" not in str(error.value) and "Train it again." in str(error.value)
    for missing in (tmp_path / "missing.keras", tmp_path):
        with pytest.raises(ModelError, match="cannot be read"):
            Classifier.load(missing)


def with_metadata(path):
    """Give a Keras file of 101 points and two phases the metadata of a real classifier file."""
    real = Classifier(build("original", 101, 2), ("a", "b"), TwoThetaGrid(20, 30, 0.1))
    with zipfile.ZipFile(real.save(path.with_name("real.keras"))) as archive:
        known = archive.read(METADATA)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA, known)


def test_code_in_a_file_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras = import_keras()
    sprung, path = tmp_path / "sprung", tmp_path / "trap.keras"
    layers = keras.layers
    keras.Sequential(
        [
            layers.Input((101, 1)),
            layers.Lambda(lambda x: (open("sprung", "w").close(), x)[1]),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    ).save(path)
    sprung.unlink()
    keras.saving.load_model(path, safe_mode=False)
    assert sprung.exists(), "The trap works where nobody looks."
    sprung.unlink()
    with_metadata(path)
    with pytest.raises(ModelError, match="cannot be loaded"):
        Classifier.load(path)
    assert not sprung.exists()


@pytest.mark.parametrize(
    "module, name", [("os", "system"), ("builtins", "eval"), ("subprocess", "getoutput")]
)
def test_a_file_cannot_name_any_function(tmp_path, module, name):
    path = tmp_path / "trap.keras"
    build("original", 101, 2).save(path)
    content = io.BytesIO()
    foreign = {"module": module, "class_name": "function", "config": name}
    foreign["registered_name"] = name
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(content, "w") as new:
        for member in old.namelist():
            data = old.read(member)
            if member == "config.json":
                assert b'"activation": "softmax"' in data
                data = data.replace(
                    b'"activation": "softmax"', f'"activation": {json.dumps(foreign)}'.encode()
                )
            new.writestr(member, data)
    path.write_bytes(content.getvalue())
    with_metadata(path)
    with pytest.raises(ModelError, match="cannot be loaded"):
        Classifier.load(path)


# Evaluation


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

    grid = GRID
    names = ("peak", "none")
    wavelength = 1.54184

    def predict(self, intensity):
        near = np.abs(GRID.two_theta - 30) < 1
        top = np.asarray(intensity)[:, near].max(axis=1)
        return np.stack([top, 1 - top], axis=1)


def test_occlusion_shows_where_a_classifier_looks():
    pattern = np.exp(-(((GRID.two_theta - 30) / 0.2) ** 2))
    pattern += 0.8 * np.exp(-(((GRID.two_theta - 50) / 0.2) ** 2))
    centres, drop = occlusion(PeakWatcher(), pattern, 0, width=2)
    assert np.allclose(np.diff(centres), 1) and centres[0] == pytest.approx(21)
    assert abs(centres[drop.argmax()] - 30) <= 0.5 and drop.max() > 0.9
    assert np.abs(drop[np.abs(centres - 30) > 2]).max() < 1e-6


def test_occlusion_of_a_trained_network(classifier):
    """Hiding the strongest line costs more than hiding a stretch without lines."""
    pattern = ideal_patterns(PHASES, GRID, domain_size=7).intensity[1]
    centres, drop = occlusion(classifier, pattern, 1, width=3)
    first = np.abs(centres - 27.4) <= 1
    assert drop[first].max() > drop[(centres > 31) & (centres < 33)].max()


def test_cosine_similarity():
    patterns = np.array([[0, 1, 2, 0], [0, 2, 4, 0], [5, 0, 0, 5]], dtype=float)
    similar = cosine_similarity(patterns, patterns)
    assert similar[0] == pytest.approx([1, 1, 0], abs=1e-6)
    assert np.allclose(similar, similar.T) and np.allclose(similar.diagonal(), 1)
    assert cosine_similarity(np.ones((1, 4)), patterns) == pytest.approx(np.zeros((1, 3)))
    ideal = ideal_patterns(PHASES, GRID).intensity
    assert cosine_similarity(ideal, ideal)[0, 1] < 0.3


def test_mixtures_are_sums_of_peak_heights():
    ideal = ideal_patterns(PHASES, GRID)
    mixed = mix(ideal, [0, 0, 1], [1, 1, 0], [1.0, 0.25, 0.75])
    assert np.allclose(mixed[0], ideal.intensity[0], atol=1e-6)
    assert np.allclose(mixed[1], mixed[2], atol=1e-6)
    by_hand = 0.25 * ideal.intensity[0] + 0.75 * ideal.intensity[1]
    assert np.allclose(mixed[1], by_hand, atol=1e-3)
    assert mix(ideal, [0], [1], 0.5).shape == (1, GRID.n_points)


def test_ideal_scans_are_identified(classifier):
    for index, name in enumerate(classifier.names):
        verdict = identify(classifier, ideal_scan(index))
        assert verdict.phases == (name,) and verdict.name == "ideal" and not verdict.foreign
        assert sum(verdict.probability.values()) == pytest.approx(1, abs=1e-5)
        assert list(verdict.probability) == list(classifier.names)
        assert len(verdict.warnings) == 1 and "always names one of its 2" in verdict.warnings[0]


def test_a_scan_of_another_wavelength_is_converted(classifier):
    scan = ideal_scan(0)
    there = convert_two_theta(scan.two_theta, "Cu", "Co")
    cobalt = Scan(there, scan.intensity, "Co scan", None, 1.78897)
    values, warnings = prepare_scan(cobalt, classifier)
    assert np.allclose(values, scan.intensity, atol=1e-3 * scan.intensity.max())
    assert len(warnings) == 1 and "Co radiation" in warnings[0]
    verdict = identify(classifier, cobalt)
    assert verdict.phases == ("anatase",) and any("converted" in w for w in verdict.warnings)
    # Said by the caller, where the file does not say.
    silent = Scan(there, scan.intensity, "Co scan")
    said = prepare_scan(silent, classifier, "Co")[0]
    assert np.allclose(said, values)
    assert not np.allclose(prepare_scan(silent, classifier)[0], values, atol=1)
    # Copper by its K-alpha1: the classifier's own, nothing to convert.
    assert prepare_scan(ideal_scan(0, 1.540593), classifier)[1] == []


def test_narrow_flat_and_foreign_ranges_are_said(classifier):
    narrow = ideal_scan(0, grid=TwoThetaGrid(22, 40, 0.1))
    verdict = identify(classifier, narrow)
    assert any("covers 22.0 to 40.0 degrees of the 20 to 60" in w for w in verdict.warnings)
    flat = Scan(GRID.two_theta, np.full(GRID.n_points, 7.0), "flat")
    verdict = identify(classifier, flat)
    assert verdict.phases == () and any("flat" in warning for warning in verdict.warnings)
    with pytest.raises(DataError, match="does not overlap"):
        identify(classifier, Scan(np.linspace(70, 90, 50), np.arange(50.0), "beside"))


@pytest.mark.skipif(
    not MEASURED, reason="XRDCLASS_DATA names no folder with TiO2 scans named as on RRUFF"
)
def test_trained_as_the_lessons_do_it_names_all_measured_scans():
    noisy = add_noise(simulate(load_phases(), 120, ORIGINAL, seed=1), seed=2)
    train, validation = split(noisy, 1 / 6, seed=3)
    trained = fit(train, validation, epochs=15, seed=0, progress=False)
    assert trained.history["val_accuracy"][-1] > 0.95
    wrong = {}
    for path in MEASURED:
        named = identify(trained, read_scan(path)).phases
        if named != (path.name.split("__")[0].lower(),):
            wrong[path.name] = named
    assert not wrong
