"""Fitting a network, and a classifier file that holds all that its answers depend on."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from . import __version__
from .diffraction import radiation
from .errors import DataError
from .files.kept_runs import Keeper
from .files.networks import described, load_network, save_network
from .findings import Finding, on_grid
from .models import build, import_keras
from .patterns import PatternSet, TwoThetaGrid, min_max_scale
from .scans import Scan


def fit(
    train: PatternSet,
    validation: PatternSet | None = None,
    network="compact",
    epochs: int = 10,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    seed: int = 0,
    progress: bool = True,
    keep=None,
) -> Classifier:
    """Train a network on patterns.

    Adam on the cross-entropy of the labels; each pattern is scaled to 0...1 first. The seed fixes
    Keras's and TensorFlow's global random state.

    Parameters
    ----------
    train, validation : PatternSet on one grid, in any unit
    network : "compact", "original", or a Keras model of the right shape
    epochs, batch_size, learning_rate : as in Keras
    progress : show a bar, one step an epoch
    keep : folder to keep the run in after each epoch; the same call goes on from there after it
        was stopped, and reads a finished run instead of repeating it. Its ``best.keras`` is the
        classifier of the smallest (validation) loss so far. The run goes on with another
        shuffling, so that its weights differ a little from those of a run without a stop.

    Returns
    -------
    Classifier
        Its ``history`` has loss and accuracy, and val_loss and val_accuracy if validated.

    Raises
    ------
    DataError
        If there is nothing to train on, the two sets do not fit together, or ``keep`` holds
        another run or cannot be written to.
    """
    if len(train) == 0:
        raise DataError("There are no patterns to train on.")
    shared = [(s.grid, s.names, s.wavelength) for s in (train, validation) if s is not None]
    if len(set(shared)) > 1:
        raise DataError("Training and validation must share one grid, wavelength and their names.")
    keras = import_keras()
    keras.utils.set_random_seed(seed)
    if isinstance(network, str):
        network = build(network, train.grid.n_points, len(train.names))
    network.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    scaled, validated = min_max_scale(train.intensity)[..., None], None
    if validation is not None and len(validation):
        validated = (min_max_scale(validation.intensity)[..., None], validation.labels)
    _make_variables(network, scaled[:1], train.labels[:1])
    settings = {
        "network": network.name,
        "patterns": len(train),
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "versions": {"xrdclass": __version__, "keras": keras.__version__},
    }
    classifier = Classifier(network, train.names, train.grid, train.wavelength, settings)
    callbacks = []
    if keep is not None:
        callbacks.append(_keep_each_epoch(keep, classifier, scaled, train.labels, validated))
    done = len(classifier.history.get("loss", ()))
    with _progress_bar(keras, epochs, done, progress) as bar:
        record = network.fit(
            scaled,
            train.labels,
            validation_data=validated,
            epochs=epochs,
            initial_epoch=done,
            batch_size=batch_size,
            callbacks=[*callbacks, bar],
            verbose=0,
        )
    if keep is None:
        classifier.history = record.history
    return classifier


@dataclass
class Classifier:
    """A trained network with the names, grid and wavelength that give its numbers a meaning.

    Attributes
    ----------
    network : Keras model, from scaled patterns (n, points, 1) to probabilities (n, classes)
    names : the phases, in the order of the network's outputs
    grid : TwoThetaGrid that patterns must lie on
    wavelength : Å, of the training patterns
    settings : how it was trained, and with which versions
    history : loss and accuracy after each epoch; empty for a loaded classifier
    """

    network: object
    names: tuple[str, ...]
    grid: TwoThetaGrid
    wavelength: float = radiation("Cu").mean
    settings: dict = field(default_factory=dict)
    history: dict[str, list[float]] = field(default_factory=dict)

    def predict(self, intensity) -> np.ndarray:
        """Probabilities of each phase, float32, (n, len(names)); each row adds up to 1.

        ``intensity`` is (n, grid.n_points), in any unit: each pattern is scaled to 0...1 here.
        `DataError` if the patterns do not fit the grid or hold NaN.
        """
        intensity = np.asarray(intensity)
        if intensity.ndim != 2 or intensity.shape[1] != self.grid.n_points:
            raise DataError(
                f"This classifier reads patterns of shape (n, {self.grid.n_points}), "
                f"{self.grid.start:g} to {self.grid.stop:g} degrees in steps of "
                f"{self.grid.step:g}; got {intensity.shape}."
            )
        parts = []
        for start in range(0, len(intensity), 64):
            scaled = min_max_scale(intensity[start : start + 64])[..., None]
            parts.append(np.asarray(self.network(scaled, training=False)))
        return np.concatenate(parts) if parts else np.empty((0, len(self.names)), np.float32)

    def identify(self, scans: Sequence[Scan], wavelength=None) -> list[Finding]:
        """The phase that is named for each of several scans: always one, whatever the sample is.

        The scans may be of any range and step; `DataError` if one does not overlap the
        classifier's range. ``wavelength``, a name or Å, counts instead of what the scans state.
        """
        return [self._finding(scan, wavelength) for scan in scans]

    def _finding(self, scan: Scan, wavelength) -> Finding:
        grid = self.grid
        seen = on_grid(scan, grid, self.wavelength, wavelength)
        warnings = list(seen.warnings)
        if seen.covered.mean() < 0.8:
            low, high = grid.two_theta[seen.covered][[0, -1]]
            warnings.append(
                f"The scan covers {low:.1f} to {high:.1f} degrees of the {grid.start:g} to "
                f"{grid.stop:g} that the network was trained on; the rest was filled with a "
                "constant."
            )
        flat = np.ptp(seen.intensity) == 0
        if flat:
            warnings.append("The scan is flat: no phase can be named.")
        warnings.append(
            f"This network always names one of its {len(self.names)} phases, also for a sample "
            "that is none of them."
        )
        probability = self.predict(seen.intensity[None])[0]
        named = () if flat else (self.names[int(probability.argmax())],)
        return Finding(
            scan.name,
            named,
            False,
            {n: float(p) for n, p in zip(self.names, probability, strict=True)},
            tuple(warnings),
            grid.two_theta[seen.covered],
            seen.intensity[seen.covered],
            seen.radiation.mean,
            seen.source,
        )

    def save(self, path, overwrite: bool = False):
        """Write a ``.keras`` file with names, grid, wavelength and settings inside.

        Raises
        ------
        DataError
            If the name does not end in .keras, the file exists and ``overwrite`` is false, or
            the folder cannot be written to.
        """
        metadata = {
            "kind": "classifier",
            "names": self.names,
            "grid": self.grid.to_dict(),
            "wavelength": self.wavelength,
            "scaling": "min-max",
            "settings": self.settings,
        }
        return save_network(path, self.network, metadata, overwrite)

    @classmethod
    def load(cls, path) -> Classifier:
        """Read a file that `save` wrote. Nothing in the file can run code.

        Raises
        ------
        ModelError
            If the file is missing, damaged, or not written by xrdclass.
        """

        def check(known):
            if known["scaling"] != "min-max":
                raise ValueError("its patterns were scaled in another way")
            wavelength = float(known["wavelength"])
            if not 0.01 <= wavelength <= 100:
                raise ValueError(f"a wavelength in Å was expected; found {wavelength}")
            return TwoThetaGrid(**known["grid"]), wavelength, dict(known["settings"])

        names, (grid, *others) = described(path, "classifier", check)
        network = load_network(path, (grid.n_points, 1), (len(names),))
        return cls(network, names, grid, *others)


def _keep_each_epoch(folder, classifier: Classifier, scaled, labels, validated):
    """A callback that keeps the run; the classifier gets the history of a kept one."""
    keras, settings = import_keras(), classifier.settings
    digest = hashlib.blake2b(digest_size=16)
    for array in (scaled, labels, *(validated or ())):
        digest.update(np.ascontiguousarray(array))
    grid = classifier.grid.to_dict()
    patterns = [digest.hexdigest(), classifier.names, grid, classifier.wavelength]
    about = {**settings, "patterns": patterns}
    del about["network"]  # Keras may name the same network otherwise in the next call
    keeper = Keeper(folder, classifier.network, about)
    history = classifier.history = keeper.record.get("history", {})
    if history:
        keras.utils.set_random_seed((settings["seed"] + len(history["loss"])) % 2**32)

    def keep(epoch, logs):
        measure = "val_loss" if "val_loss" in logs else "loss"
        for name, value in logs.items():
            history.setdefault(name, []).append(float(value))
        if logs[measure] <= min(history[measure]):
            classifier.save(keeper.folder / keeper.BEST, overwrite=True)
        keeper.save({"history": history})

    return keras.callbacks.LambdaCallback(on_epoch_end=keep)


def _make_variables(network, x, y) -> None:
    """Make the variables of optimizer and metrics now.

    Made within the first step, as Keras does by itself, they have TensorFlow translate the step
    into a graph twice: half a second. The weights stay as they are.
    """
    network.optimizer.build(network.trainable_variables)
    answer = network(x, training=False)
    network.compute_loss(y=y, y_pred=answer, training=False)
    network.compute_metrics(x, y, answer)
    network.reset_metrics()


@contextlib.contextmanager
def _progress_bar(keras, epochs: int, done: int, shown: bool):
    from tqdm.auto import tqdm

    def step(epoch, logs):
        bar.update()
        bar.set_postfix({k: f"{v:.3f}" for k, v in logs.items() if k.endswith("accuracy")})

    bar = tqdm(total=epochs, initial=done, desc="training", unit="epoch", disable=not shown)
    with contextlib.closing(bar):
        yield keras.callbacks.LambdaCallback(on_epoch_end=step)
