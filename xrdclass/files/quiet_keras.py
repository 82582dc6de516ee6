"""Keras on TensorFlow, imported without TensorFlow's start-up messages."""

from __future__ import annotations

import contextlib
import os
import sys


def import_keras():
    """The module `keras`.

    TensorFlow writes messages to the process's error stream before any log level is read; they
    are held back here, and shown if the import fails. Pandas and scikit-learn, which it would load
    for nothing that is used here, are hidden meanwhile: 65 MB.
    """
    if "keras" in sys.modules and "tensorflow" in sys.modules:
        return sys.modules["keras"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    hidden = [m for m in ("pandas", "sklearn") if sys.modules.setdefault(m, None) is None]
    try:
        with _quiet_errors():
            import keras
            import tensorflow

            tensorflow.get_logger().setLevel("ERROR")
            keras.ops.zeros(1)  # the device messages come with the first operation
    finally:
        for module in hidden:
            del sys.modules[module]
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
