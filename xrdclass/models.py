"""Keras networks that read a pattern: the original one, and a smaller one that sees as much."""

from __future__ import annotations

import contextlib
import os
import sys

from .errors import DataError


def import_keras():
    """Keras on TensorFlow, imported without TensorFlow's start-up messages.

    TensorFlow writes them to the process's error stream before any log level is read; they are
    held back here, and shown if the import fails.
    """
    if "keras" in sys.modules and "tensorflow" in sys.modules:
        return sys.modules["keras"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with _quiet_errors():
        import keras
        import tensorflow

        tensorflow.get_logger().setLevel("ERROR")
        keras.ops.zeros(1)  # the device messages come with the first operation
    return keras


@contextlib.contextmanager
def _quiet_errors():
    """Send the process's error stream, also of compiled code, to nowhere for a while."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # no error stream at all
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def original_cnn(n_points: int, n_classes: int):
    """The network of the original recipe: three convolutions and two dense layers.

    16 filters of 35, 25 and 15 points ("same" padding, ReLU), each followed by max-pooling of 2;
    50 dense ReLU units; softmax. For 8501 points and 5 classes it has 860,753 parameters, nearly
    all of them in the first dense layer.

    Returns
    -------
    keras.Sequential
        From (n, n_points, 1), scaled to 0...1, to (n, n_classes) probabilities.
    """
    layers = import_keras().layers
    network = [layers.Input((n_points, 1))]
    for size in (35, 25, 15):
        network += [
            layers.Conv1D(16, size, padding="same", activation="relu"),
            layers.MaxPooling1D(2),
        ]
    network += [
        layers.Flatten(),
        layers.Dense(50, activation="relu"),
        layers.Dense(n_classes, activation="softmax"),
    ]
    return import_keras().Sequential(network, name="original_cnn")


def compact_cnn(n_points: int, n_classes: int):
    """A network that averages neighbouring points first: a peak is some fifteen points wide.

    Five points become one, which also averages counting noise; then three convolutions with
    16, 32 and 32 filters, and two dense layers. A small part of the original's arithmetic.

    Returns
    -------
    keras.Sequential
        From (n, n_points, 1), scaled to 0...1, to (n, n_classes) probabilities.
    """
    layers = import_keras().layers
    network = [
        layers.Input((n_points, 1)),
        layers.AveragePooling1D(5, padding="same"),
        layers.Conv1D(16, 15, strides=2, padding="same", activation="relu"),
        layers.MaxPooling1D(2),
        layers.Conv1D(32, 9, padding="same", activation="relu"),
        layers.MaxPooling1D(2),
        layers.Conv1D(32, 9, padding="same", activation="relu"),
        layers.MaxPooling1D(2),
        layers.Flatten(),
        layers.Dropout(0.3),
        layers.Dense(64, activation="relu"),
        layers.Dense(n_classes, activation="softmax"),
    ]
    return import_keras().Sequential(network, name="compact_cnn")


NETWORKS = {"compact": compact_cnn, "original": original_cnn}


def build(name: str, n_points: int, n_classes: int):
    """One of `NETWORKS` by its name.

    Raises
    ------
    DataError
        If there is no network of that name.
    """
    if name not in NETWORKS:
        raise DataError(f"network must be one of {', '.join(NETWORKS)}; got {name!r}.")
    return NETWORKS[name](n_points, n_classes)
