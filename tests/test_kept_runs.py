"""Training runs that are stopped go on, belong to one call, and are never lost."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from samples import small_patterns, stop_after

from xrdclass.errors import DataError
from xrdclass.files.kept_runs import Keeper
from xrdclass.models import import_keras
from xrdclass.training import Classifier, fit


@pytest.fixture(scope="module")
def train():
    return small_patterns(60, 1)


def test_a_stopped_training_goes_on_from_its_last_epoch(train, tmp_path, monkeypatch):
    folder, check, unseen = tmp_path / "kept", small_patterns(10, 3), small_patterns(100, 2)

    def run():
        return fit(train, check, epochs=6, seed=0, progress=False, keep=folder)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 4)
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
    answers = resumed.predict(unseen.intensity)
    assert np.array_equal(answers, finished.predict(unseen.intensity))
    assert (answers.argmax(axis=1) == unseen.labels).mean() > 0.9


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


def test_what_is_kept_belongs_to_one_run_and_is_never_lost(train, tmp_path):
    fit(train, epochs=1, progress=False, keep=tmp_path)
    before, other_patterns = (tmp_path / "state.npz").read_bytes(), small_patterns(10, 2)
    for patterns, settings, other in (
        (other_patterns, {}, "patterns"),
        (train, {"validation": other_patterns}, "patterns"),
        (replace(train, wavelength=1.0), {}, "patterns"),
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


def test_removing_what_was_kept_leaves_other_files(tmp_path):
    for name in ("mine.txt", "state.npz", "best.keras", ".state-unfinished-1"):
        (tmp_path / name).write_text("mine, or half, by a process that was killed")
    Keeper.remove(tmp_path)
    assert os.listdir(tmp_path) == ["mine.txt"]
    (tmp_path / "mine.txt").unlink()
    Keeper.remove(tmp_path)
    assert not tmp_path.exists()
    Keeper.remove(tmp_path)
