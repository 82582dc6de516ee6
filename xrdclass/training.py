"""Fitting a network, and a classifier file that holds all that its answers depend on."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import __version__
from .errors import DataError, ModelError
from .files.writing import write_safely
from .models import build, import_keras
from .patterns import PatternSet, TwoThetaGrid, min_max_scale

#: The member of a .keras file that holds names, grid and settings.
METADATA = "xrdclass.json"

MAX_BYTES = 200_000_000  # of a file, and of its weights unpacked
MAX_TEXT = 20_000_000  # of its metadata, and of the network's description
MEMBERS = {METADATA, "metadata.json", "config.json", "model.weights.h5"}
#: What a network in a file may consist of. Keras itself knows layers that run code from the file
#: or read other files, and what it refuses of them depends on its version.
PARTS = set(
    """
    Functional Sequential InputLayer DTypePolicy __keras_tensor__ __tuple__
    Conv1D SeparableConv1D DepthwiseConv1D Dense Dropout SpatialDropout1D Flatten Reshape
    MaxPooling1D AveragePooling1D GlobalMaxPooling1D GlobalAveragePooling1D
    ZeroPadding1D Cropping1D UpSampling1D Activation ReLU LeakyReLU PReLU ELU Softmax
    BatchNormalization LayerNormalization UnitNormalization Rescaling
    Add Subtract Multiply Average Maximum Concatenate
    GaussianNoise GaussianDropout MultiHeadAttention LSTM GRU
    Zeros Ones Constant GlorotUniform GlorotNormal HeUniform HeNormal LecunUniform LecunNormal
    RandomNormal RandomUniform TruncatedNormal VarianceScaling Orthogonal
    L1 L2 L1L2 MaxNorm NonNeg UnitNorm MinMaxNorm
    """.split()
)
MODULES = {None, "keras"} | {
    f"keras.{name}"
    for name in ("layers", "initializers", "regularizers", "constraints")
    + ("src.models.functional", "src.models.sequential")
}


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
            if known["scaling"] != "min-max":
                raise ValueError("its patterns were scaled in another way")
            names, wavelength = check_names(known["names"]), float(known["wavelength"])
            if not 0.01 <= wavelength <= 100:
                raise ValueError(f"a wavelength in Å was expected; found {wavelength}")
            grid, settings = TwoThetaGrid(**known["grid"]), dict(known["settings"])
        except Exception as error:
            raise ModelError(
                f"{path} is not a classifier that 'xrdclass train' wrote ({short_reason(error)}). "
                "Train it again."
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
    try:
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder) / "network.keras"
            copy.save(whole)
            with zipfile.ZipFile(whole, "a", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(METADATA, json.dumps(metadata))
            content = whole.read_bytes()
    except OSError as error:  # of the folder for temporary files
        raise DataError(f"{path} cannot be written: {error.strerror or error}.") from None
    try:
        _check_network(content)
    except ValueError as error:
        raise DataError(f"This network would not be loaded again: {error}.") from None
    return write_safely(path, lambda file: file.write(content), overwrite)


def read_metadata(path) -> dict:
    """What a file of `save_network` says of itself; TensorFlow is not needed.

    Raises
    ------
    ModelError
        If the file is missing, damaged, or not written by xrdclass.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(_content(path))) as archive:
            return dict(json.loads(_member(archive, METADATA, MAX_TEXT)))
    except ModelError:
        raise
    except Exception:
        raise ModelError(
            f"{path} is not a classifier that 'xrdclass train' wrote, or it is damaged: its names "
            "and grid cannot be read. Train it again."
        ) from None


def check_names(names) -> tuple[str, ...]:
    """The names in a file's metadata, if they are a list of different words.

    Raises
    ------
    ValueError
        If they are not.
    """
    words = isinstance(names, list) and all(isinstance(name, str) and name for name in names)
    if not words or not names or len(set(names)) < len(names):
        raise ValueError("expected a list of different names")
    return tuple(names)


def _content(path) -> bytes:
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise ModelError(f"{path} cannot be read: it is not an ordinary file.")
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(
                f"{path} cannot be read: no network of xrdclass is larger than "
                f"{MAX_BYTES / 1e6:.0f} MB."
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"{path} cannot be read: {reason}.") from None


def short_reason(error: Exception) -> str:
    """An exception's message, short and on one line."""
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    return " ".join(str(error).split())[:120] or type(error).__name__


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """One file of the archive, which may be larger than the archive says."""
    member = archive.getinfo(name)
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is packed in an unusual way")
    with archive.open(member) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{name} has more than {limit / 1e6:.0f} MB")
    return content


def _check_network(content: bytes) -> None:
    """Refuse a Keras file with anything but known layers and plain numbers in it."""
    import h5py

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        if other := sorted(set(names) - MEMBERS):
            raise ValueError(f"it holds {ascii(other[0][:40])}, which is no part of a network")
        if len(names) > len(set(names)):
            raise ValueError("it holds two files of one name")
        config = json.loads(_member(archive, "config.json", MAX_TEXT))
        weights = _member(archive, "model.weights.h5", MAX_BYTES)
    places = [config]
    for place in places:
        if isinstance(place, dict):
            kind, module = place.get("class_name"), place.get("module")
            known = place.get("registered_name") in (None, kind)
            if ("class_name" in place or "module" in place) and (
                kind not in PARTS or module not in MODULES or not known
            ):
                raise ValueError(f"it holds {ascii(f'{module}.{kind}'[:60])}, no layer known here")
            places += place.values()
        elif isinstance(place, list):
            places += place
        elif isinstance(place, int) and abs(place) > 10_000_000:
            raise ValueError(f"it asks for {place} of something")
    with h5py.File(io.BytesIO(weights), "r") as file:
        groups, size = [file], 0
        for group in groups:
            for name in group:
                # Other links and kinds of storage lead to other files.
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError("its weights lie elsewhere")
                item = group[name]
                if isinstance(item, h5py.Group):
                    groups.append(item)
                    if len(groups) > 10_000:
                        raise ValueError("its weights are nested without end")
                    continue
                if item.dtype.kind not in "fiu" or item.external or item.is_virtual:
                    raise ValueError("its weights are no plain numbers")
                size += item.nbytes
                if size > MAX_BYTES:
                    raise ValueError(f"its weights have more than {MAX_BYTES / 1e6:.0f} MB")


def load_network(path, input_shape: tuple, output_shape: tuple):
    """The Keras network in a file. Nothing in the file can run code.

    Raises
    ------
    ModelError
        If it cannot be loaded or has not these shapes, each without the first axis.
    """
    keras = import_keras()
    try:
        if Path(path).suffix != ".keras":  # Keras would take it for an older format, by its name
            raise ValueError("its name does not end in .keras")
        _check_network(_content(path))
        network = keras.saving.load_model(Path(path), compile=False, safe_mode=True)
        shapes = tuple(network.input_shape[1:]), tuple(network.output_shape[1:])
        if not all(np.isfinite(weights).all() for weights in network.get_weights()):
            raise ValueError("its weights are not all finite")
    except ModelError:
        raise
    except Exception as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EFBIG, errno.EROFS):
            raise ModelError(
                f"{path} cannot be loaded: {error.strerror} in the folder for temporary files, "
                f"{tempfile.gettempdir()}. Make room there, or name another folder in TMPDIR."
            ) from None
        raise ModelError(
            f"The network in {path} cannot be loaded ({short_reason(error)}). It may be damaged or "
            f"of another Keras version; this is Keras {keras.__version__}. Train it again."
        ) from None
    if shapes != (input_shape, output_shape):
        raise ModelError(
            f"The network in {path} does not fit its own names and grid: expected shapes "
            f"{input_shape} and {output_shape}, found {shapes}. Train it again."
        )
    return network


class Keeper:
    """Keeps a training run in a folder, so that it can go on after it was stopped.

    Parameters
    ----------
    folder : made if it is not there
    network : Keras model, compiled; its optimizer has its variables
    about : what a run must share with the kept one to go on from it, as JSON takes it

    Raises
    ------
    DataError
        If the folder keeps another run, or cannot be read or written to.
    """

    STATE, BEST = "state.npz", "best.keras"

    def __init__(self, folder, network, about: dict):
        self.folder, self.network = Path(folder), network
        shapes = [list(weights.shape) for weights in network.weights]
        self.about = json.loads(json.dumps({**about, "shapes": shapes}))
        #: What the last `save` was given; empty for a new run.
        self.record: dict = {}
        if (self.folder / self.STATE).exists():
            self._resume()
        else:
            self.save({})  # a folder that cannot be written to is noticed now, not hours later

    def _variables(self):
        return [*self.network.weights, *self.network.optimizer.variables]

    def _resume(self):
        path = self.folder / self.STATE
        try:
            with np.load(path, allow_pickle=False) as state:
                about, record = json.loads(str(state["about"])), json.loads(str(state["record"]))
                values = [state[f"v{i}"] for i in range(len(state.files) - 2)]
        except Exception as error:
            raise DataError(
                f"{path} cannot be read ({short_reason(error)}); remove it to train anew."
            ) from None
        variables = self._variables()
        if about != self.about or [v.shape for v in values] != [tuple(v.shape) for v in variables]:
            other = [key for key in self.about if about.get(key) != self.about[key]]
            raise DataError(
                f"{self.folder} keeps a training run with other patterns or settings "
                f"({', '.join(other)}). Remove it, or repeat the call with those to finish it."
            )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        self.record = record

    def save(self, record: dict) -> None:
        """Keep all weights, the optimizer's state and ``record``, as JSON takes it."""
        texts = {"about": json.dumps(self.about), "record": json.dumps(record)}
        values = {f"v{i}": np.asarray(v) for i, v in enumerate(self._variables())}
        buffer = io.BytesIO()
        np.savez(buffer, **texts, **values)
        path = self.folder / self.STATE
        write_safely(path, lambda file: file.write(buffer.getbuffer()), overwrite=True)
        self.record = record

    @classmethod
    def remove(cls, folder) -> None:
        """Delete what a run kept, and its folder unless that holds something else."""
        with contextlib.suppress(OSError):
            for name in (cls.STATE, cls.BEST):
                (Path(folder) / name).unlink(missing_ok=True)
                for left in Path(folder).glob(f".{Path(name).stem}-unfinished-*"):
                    left.unlink()  # by a process that was killed
            Path(folder).rmdir()


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
    settings = {
        "network": network.name,
        "patterns": len(train),
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "versions": {"xrdclass": __version__, "keras": keras.__version__},
    }
    classifier = Classifier(network, train.names, train.grid, wavelength, settings)
    callbacks, done = [], 0
    if keep is not None:
        digest = hashlib.blake2b(digest_size=16)
        for array in (scaled, train.labels, *(validated or ())):
            digest.update(np.ascontiguousarray(array))
        patterns = [digest.hexdigest(), train.names, train.grid.to_dict(), float(wavelength)]
        about = {**settings, "patterns": patterns}
        del about["network"]  # Keras may name the same network otherwise in the next call
        keeper = Keeper(keep, network, about)
        classifier.history = keeper.record.get("history", {})
        done = len(classifier.history.get("loss", ()))
        if done:
            keras.utils.set_random_seed((seed + done) % 2**32)
        callbacks.append(_keep_each_epoch(keras, keeper, classifier))
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


def _keep_each_epoch(keras, keeper: Keeper, classifier: Classifier):
    def keep(epoch, logs):
        measure = "val_loss" if "val_loss" in logs else "loss"
        for name, value in logs.items():
            classifier.history.setdefault(name, []).append(float(value))
        if logs[measure] <= min(classifier.history[measure]):
            classifier.save(keeper.folder / keeper.BEST, overwrite=True)
        keeper.save({"history": classifier.history})

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
