"""Fitting a network, and a classifier file that holds all that its answers depend on."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import __version__
from .errors import DataError, ModelError
from .files import write_safely
from .models import build, import_keras
from .patterns import PatternSet, TwoThetaGrid, min_max_scale

#: The member of a .keras file that holds names, grid and settings.
METADATA = "xrdclass.json"


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
    wavelength: float = 1.54184
    settings: dict = field(default_factory=dict)
    history: dict[str, list[float]] = field(default_factory=dict)

    def predict(self, intensity) -> np.ndarray:
        """Probabilities of each phase.

        Parameters
        ----------
        intensity : array, (n, grid.n_points), in any unit: each pattern is scaled to 0...1 here

        Returns
        -------
        float32, (n, len(names)); each row adds up to 1

        Raises
        ------
        DataError
            If the patterns do not fit the grid or hold NaN.
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

    def save(self, path, overwrite: bool = False) -> Path:
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
        known = read_metadata(path)
        try:
            if known["kind"] != "classifier":
                raise ValueError(f"it holds an {known['kind']}")
            names, wavelength = tuple(known["names"]), float(known["wavelength"])
            grid, settings = TwoThetaGrid(**known["grid"]), dict(known["settings"])
        except Exception as error:
            raise ModelError(
                f"{path} is not a classifier that 'xrdclass train' wrote ({error}). Train it again."
            ) from None
        network = load_network(path, (grid.n_points, 1), (len(names),))
        return cls(network, names, grid, wavelength, settings)


def save_network(path, network, metadata: dict, overwrite: bool = False) -> Path:
    """Write a Keras network with a JSON member beside it; see `Classifier.save`."""
    if Path(path).suffix != ".keras":
        raise DataError(f"A classifier file's name ends in .keras; got {path}.")
    # A copy leaves the optimiser's state behind, two thirds of the file, and the loss function.
    copy = type(network).from_config(network.get_config())
    copy.set_weights(network.get_weights())
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "network.keras"
        copy.save(whole)
        with zipfile.ZipFile(whole, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(METADATA, json.dumps(metadata))
        content = whole.read_bytes()
    return write_safely(path, lambda file: file.write(content), overwrite)


def read_metadata(path) -> dict:
    """What a file of `save_network` says of itself; TensorFlow is not needed.

    Raises
    ------
    ModelError
        If the file is missing, damaged, or not written by xrdclass.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return dict(json.loads(archive.read(METADATA)))
    except Exception:
        raise ModelError(
            f"{path} is not a classifier that 'xrdclass train' wrote, or it is damaged: its names "
            "and grid cannot be read. Train it again."
        ) from None


def load_network(path, input_shape: tuple, output_shape: tuple):
    """The Keras network in a file. Nothing in the file can run code.

    Raises
    ------
    ModelError
        If it cannot be loaded or has not these shapes, each without the first axis.
    """
    keras = import_keras()
    try:
        network = keras.saving.load_model(Path(path), compile=False, safe_mode=True)
        shapes = tuple(network.input_shape[1:]), tuple(network.output_shape[1:])
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"The network in {path} cannot be loaded ({reason[:120]}). It may be damaged or of "
            f"another Keras version; this is Keras {keras.__version__}. Train it again."
        ) from None
    if shapes != (input_shape, output_shape):
        raise ModelError(
            f"The network in {path} does not fit its own names and grid: expected shapes "
            f"{input_shape} and {output_shape}, found {shapes}. Train it again."
        )
    return network


def fit(
    train: PatternSet,
    validation: PatternSet | None = None,
    network="compact",
    epochs: int = 10,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    seed: int = 0,
    wavelength: float = 1.54184,
    progress: bool = True,
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

    Returns
    -------
    Classifier
        Its ``history`` has loss and accuracy, and val_loss and val_accuracy if validated.

    Raises
    ------
    DataError
        If there is nothing to train on, or the two sets do not fit together.
    """
    if len(train) == 0:
        raise DataError("There are no patterns to train on.")
    if validation is not None and (validation.grid, validation.names) != (train.grid, train.names):
        raise DataError("Training and validation patterns must share one grid and their names.")
    keras = import_keras()
    keras.utils.set_random_seed(seed)
    if isinstance(network, str):
        network = build(network, train.grid.n_points, len(train.names))
    network.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    scaled = min_max_scale(train.intensity)[..., None]
    _make_variables(network, scaled[:1], train.labels[:1])
    validated = None
    if validation is not None and len(validation):
        validated = (min_max_scale(validation.intensity)[..., None], validation.labels)
    record = network.fit(
        scaled,
        train.labels,
        validation_data=validated,
        epochs=epochs,
        batch_size=batch_size,
        callbacks=[_progress_bar(keras, epochs)] if progress else [],
        verbose=0,
    )
    settings = {
        "network": network.name,
        "patterns": len(train),
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "versions": {"xrdclass": __version__, "keras": keras.__version__},
    }
    return Classifier(network, train.names, train.grid, wavelength, settings, record.history)


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


def _progress_bar(keras, epochs: int):
    from tqdm.auto import tqdm

    bar = tqdm(total=epochs, desc="training", unit="epoch")

    def step(epoch, logs):
        bar.update()
        bar.set_postfix({k: f"{v:.3f}" for k, v in logs.items() if k.endswith("accuracy")})

    return keras.callbacks.LambdaCallback(on_epoch_end=step, on_train_end=lambda logs: bar.close())
