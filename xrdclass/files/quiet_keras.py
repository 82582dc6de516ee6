"""Keras on TensorFlow, imported without TensorFlow's start-up messages."""

from __future__ import annotations

import contextlib
import os
import sys


def import_keras():
    """The module `keras`.

    TensorFlow writes messages to the process's error stream before any log level is read, also
    from compiled code; until it is imported, that stream leads nowhere. Pandas and scikit-learn,
    which it would load for nothing that is used here, are hidden meanwhile: 65 MB.
    """
    if "keras" in sys.modules and "tensorflow" in sys.modules:
        return sys.modules["keras"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    hidden = [m for m in ("pandas", "sklearn") if sys.modules.setdefault(m, None) is None]
    kept = None
    try:
        with contextlib.suppress(AttributeError, OSError), open(os.devnull, "w") as nowhere:
            sys.stderr.flush()  # fails without an error stream
            kept = os.dup(2)
            os.dup2(nowhere.fileno(), 2)
        import keras
        import tensorflow

        tensorflow.get_logger().setLevel("ERROR")
        keras.ops.zeros(1)  # the device messages come with the first operation
    finally:
        for module in hidden:
            del sys.modules[module]
        if kept is not None:
            os.dup2(kept, 2)
            os.close(kept)
    return keras
