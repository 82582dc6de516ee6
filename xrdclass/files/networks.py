"""Files of trained networks, of which nothing can run: Keras networks, and plain arrays."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from ..errors import DataError, ModelError
from .quiet_keras import import_keras
from .writing import check_target, read_limited, write_safely

#: The member of a .keras file that holds names, grid and settings.
METADATA = "xrdclass.json"

MAX_BYTES = 200_000_000  # of a file, and of its weights unpacked
MAX_TEXT = 20_000_000  # of its metadata, and of the network's description
MEMBERS = {METADATA, "metadata.json", "config.json", "model.weights.h5"}
#: What a network in a file may consist of. Keras itself knows layers that run code from the file
#: or read other files, and what it refuses of them depends on its version.
PARTS = set(
    """
    Functional Sequential InputLayer DTypePolicy __keras_tensor__ __tuple__ Conv1D SeparableConv1D
    DepthwiseConv1D Dense Dropout SpatialDropout1D Flatten Reshape MaxPooling1D AveragePooling1D
    GlobalMaxPooling1D GlobalAveragePooling1D ZeroPadding1D Cropping1D UpSampling1D Activation ReLU
    LeakyReLU PReLU ELU Softmax BatchNormalization LayerNormalization UnitNormalization Rescaling
    Add Subtract Multiply Average Maximum Concatenate GaussianNoise GaussianDropout
    MultiHeadAttention LSTM GRU Zeros Ones Constant GlorotUniform GlorotNormal HeUniform HeNormal
    LecunUniform LecunNormal RandomNormal RandomUniform TruncatedNormal VarianceScaling Orthogonal
    L1 L2 L1L2 MaxNorm NonNeg UnitNorm MinMaxNorm
    """.split()
)
MODULES = {None, *"keras keras.layers keras.initializers keras.regularizers".split()}
MODULES |= {"keras.constraints", "keras.src.models.functional", "keras.src.models.sequential"}


def save_network(path, network, metadata: dict, overwrite: bool = False) -> Path:
    """Write a Keras network with a JSON member beside it; see `training.Classifier.save`."""
    check_target(path, overwrite, ".keras")
    # A copy leaves the optimiser's state behind, two thirds of the file, and the loss function.
    copy = type(network).from_config(network.get_config())
    copy.set_weights(network.get_weights())
    try:
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder) / "network.keras"
            copy.save(whole)
            file = io.BytesIO(whole.read_bytes())
        _check_network(file)
    except OSError as error:  # of the folder for temporary files
        raise DataError(f"{path} cannot be written: {error.strerror or error}.") from None
    except ValueError as error:
        raise DataError(f"This network would not be loaded again: {error}.") from None
    return _write(path, file, metadata, overwrite)


def save_arrays(path, arrays: dict, metadata: dict, overwrite: bool = False) -> Path:
    """Write arrays and a JSON member into one ``.npz`` file."""
    check_target(path, overwrite, ".npz")
    np.savez_compressed(file := io.BytesIO(), **arrays)
    return _write(path, file, metadata, overwrite)


def _write(path, file: io.BytesIO, metadata: dict, overwrite: bool) -> Path:
    """Write a zip archive, the metadata added to it."""
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(METADATA, json.dumps(metadata))
    return write_safely(path, file.getbuffer(), overwrite)


def read_metadata(path) -> dict:
    """What a file of `save_network` or `save_arrays` says of itself; TensorFlow is not needed.

    Raises `ModelError` if the file is missing, damaged, or not written by xrdclass.
    """
    commands = "'xrdclass train' or 'train-identifier'"
    said = f"{path} is no network that {commands} wrote, or it is damaged: its names cannot be read"
    with _refusal(said), zipfile.ZipFile(_content(path)) as archive:
        return dict(json.loads(_member(archive, METADATA, MAX_TEXT)))


def described(path, kind: str, check):
    """Names, and what ``check`` makes of the other things that a file says of itself.

    ``kind`` is "classifier" or "identifier"; ``check`` is called with the metadata, and may raise
    whatever it likes. `ModelError` if it does, or the file is missing, damaged or of another kind.
    """
    known = read_metadata(path)
    command = "train" if kind == "classifier" else "train-identifier"
    with _refusal(f"{path} is no {kind} that 'xrdclass {command}' wrote"):
        if known["kind"] != kind:
            raise ValueError(f"it holds an {known['kind']}")
        names = known["names"]
        words = isinstance(names, list) and all(isinstance(name, str) and name for name in names)
        if not words or not names or len(set(names)) < len(names):
            raise ValueError("expected a list of different names")
        return tuple(names), check(known)


def load_arrays(path) -> dict[str, np.ndarray]:
    """The float32 arrays of a file that `save_arrays` wrote; nothing in it can run.

    Raises `ModelError` if there are none, or they are no plain finite numbers.
    """
    arrays, size = {}, 0
    said = f"The network in {path} cannot be loaded"
    with _refusal(said), zipfile.ZipFile(_content(path)) as archive:
        for name in set(archive.namelist()) - {METADATA}:
            content = _member(archive, name, MAX_BYTES - size)
            size += len(content)
            file = io.BytesIO(content)
            np.lib.format.read_magic(file)
            shape, _, kind = np.lib.format.read_array_header_1_0(file)
            if kind != np.float32 or math.prod(shape) * 4 != len(content) - file.tell():
                raise ValueError(f"{ascii(name[:40])} is no array of plain numbers")
            file.seek(0)
            arrays[name.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("its weights are not all finite")
    return arrays


def load_network(path, input_shape: tuple, output_shape: tuple):
    """The Keras network in a file. Nothing in the file can run code.

    Raises `ModelError` if it cannot be loaded or has not these shapes, each without the first axis.
    """
    keras = import_keras()
    hint = f"It may be damaged or of another Keras version; this is Keras {keras.__version__}. "
    with _refusal(f"The network in {path} cannot be loaded", hint):
        if Path(path).suffix != ".keras":  # Keras would take it for an older format, by its name
            raise ValueError("its name does not end in .keras")
        _check_network(_content(path))
        network = keras.saving.load_model(Path(path), compile=False, safe_mode=True)
        shapes = tuple(network.input_shape[1:]), tuple(network.output_shape[1:])
        if not all(np.isfinite(weights).all() for weights in network.get_weights()):
            raise ValueError("its weights are not all finite")
    if shapes != (input_shape, output_shape):
        expected = f"expected shapes {input_shape} and {output_shape}, found {shapes}"
        what = f"The network in {path} does not fit its own names and grid: {expected}"
        raise ModelError(f"{what}. Train it again.")
    return network


def short_reason(error: Exception) -> str:
    """An exception's message, short and on one line."""
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    return " ".join(str(error).split())[:120] or type(error).__name__


@contextlib.contextmanager
def _refusal(said: str, hint: str = ""):
    """Whatever goes wrong inside becomes one `ModelError` that says so, and why."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EFBIG, errno.EROFS):
            where = f"in the folder for temporary files, {tempfile.gettempdir()}"
            advice = "Make room there, or name another folder in TMPDIR."
            raise ModelError(f"{said}: {error.strerror} {where}. {advice}") from None
        raise ModelError(f"{said} ({short_reason(error)}). {hint}Train it again.") from None


def _content(path) -> io.BytesIO:
    kind = "a file with a network of xrdclass"
    return io.BytesIO(read_limited(path, MAX_BYTES, ModelError, kind))


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """One file of the archive, which may be larger than the archive says."""
    member = archive.getinfo(name)
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is packed in an unusual way")
    if member.file_size > limit:
        raise ValueError(f"{name} has more than {limit / 1e6:.0f} MB")
    with archive.open(member) as file:
        return file.read(member.file_size)  # and no more: what is longer has a wrong checksum


def _check_network(content: io.BytesIO) -> None:
    """Refuse a Keras file with anything but known layers and plain numbers in it."""
    import h5py

    with zipfile.ZipFile(content) as archive:
        names = archive.namelist()
        if other := sorted(set(names) - MEMBERS):
            raise ValueError(f"it holds {ascii(other[0][:40])}, which is no part of a network")
        if len(names) > len(set(names)):
            raise ValueError("it holds two files of one name")
        places = [json.loads(_member(archive, "config.json", MAX_TEXT))]
        weights = io.BytesIO(_member(archive, "model.weights.h5", MAX_BYTES))
    for place in places:  # and the places in it
        if isinstance(place, dict):
            kind, module = place.get("class_name"), place.get("module")
            known = place.get("registered_name") in (None, kind)
            if {"class_name", "module"} & {*place} and not (
                known and kind in PARTS and module in MODULES
            ):
                raise ValueError(f"it holds {ascii(f'{module}.{kind}'[:60])}, no layer known here")
            places += place.values()
        elif isinstance(place, list):
            places += place
        elif isinstance(place, int) and abs(place) > 10_000_000:
            raise ValueError(f"it asks for {place} of something")
    with h5py.File(weights, "r") as file:
        groups, size = [file], 0
        for group in groups:  # and the groups in it
            if len(groups) > 10_000:
                raise ValueError("its weights are nested without end")
            # Other links and kinds of storage lead to other files.
            if not all(isinstance(group.get(n, getlink=True), h5py.HardLink) for n in group):
                raise ValueError("its weights lie elsewhere")
            for item in group.values():
                if isinstance(item, h5py.Group):
                    groups.append(item)
                    continue
                if item.dtype.kind not in "fiu" or item.external or item.is_virtual:
                    raise ValueError("its weights are no plain numbers")
                size += item.nbytes
        if size > MAX_BYTES:
            raise ValueError(f"its weights have more than {MAX_BYTES / 1e6:.0f} MB")
