"""Keras networks that read a pattern: the original one, and a smaller one that sees as much."""

from __future__ import annotations

from .errors import DataError
from .files.quiet_keras import import_keras


def original_cnn(n_points: int, n_classes: int):
    """The network of the original recipe: three convolutions and two dense layers.

    16 filters of 35, 25 and 15 points ("same" padding, ReLU), each followed by max-pooling of 2;
    50 dense ReLU units; softmax. For 8501 points and 5 classes it has 860,753 parameters, nearly
    all of them in the first dense layer.

    From (n, n_points, 1), scaled to 0...1, to (n, n_classes) probabilities.
    """
    layers = import_keras().layers
    network = [layers.Input((n_points, 1))]
    for size in (35, 25, 15):
        convolution = layers.Conv1D(16, size, padding="same", activation="relu")
        network += [convolution, layers.MaxPooling1D(2)]
    network += [
        layers.Flatten(),
        layers.Dense(50, activation="relu"),
        layers.Dense(n_classes, activation="softmax"),
    ]
    return import_keras().Sequential(network, name="original_cnn")


def compact_cnn(n_points: int, n_classes: int, average: int | None = None):
    """A network that averages neighbouring points first: a peak is some fifteen points wide.

    ``average`` points become one, which also averages counting noise: ten of the usual grid, of
    any other as many as leave 850 numbers. Then three convolutions with 8, 16 and 16 filters, and
    two dense layers. A small part of the original's arithmetic.

    From (n, n_points, 1), scaled to 0...1, to (n, n_classes) probabilities.
    """
    layers = import_keras().layers
    network = [
        layers.Input((n_points, 1)),
        layers.AveragePooling1D(average or max(1, n_points // 850), padding="same"),
        layers.Conv1D(8, 15, strides=2, padding="same", activation="relu"),
        layers.MaxPooling1D(2),
        layers.Conv1D(16, 9, padding="same", activation="relu"),
        layers.MaxPooling1D(2),
        layers.Conv1D(16, 9, padding="same", activation="relu"),
        layers.MaxPooling1D(2),
        layers.Flatten(),
        layers.Dropout(0.3),
        layers.Dense(64, activation="relu"),
        layers.Dense(n_classes, activation="softmax"),
    ]
    return import_keras().Sequential(network, name="compact_cnn")


def identifier_cnn(n_points: int, n_outputs: int):
    """The network of `identify`: one independent probability for each phase, and "foreign".

    The first layer moves in steps of four points; batch normalisation after each convolution.
    About 4 MB of weights for 1850 points.

    From (n, n_points, 2), signal and coverage, to (n, n_outputs) probabilities.
    """
    layers = import_keras().layers
    x = inputs = layers.Input((n_points, 2))
    blocks = ((32, 16, 4, 1), (48, 7, 1, 2), (64, 5, 1, 2), (64, 5, 1, 1))
    for filters, size, stride, pool in blocks:
        x = layers.Conv1D(filters, size, strides=stride, padding="same", use_bias=False)(x)
        # With Keras's momentum of 0.99 the averages lag hundreds of steps behind: a short training
        # would end with a network that answers nearly the same to everything.
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.MaxPooling1D(pool)(x) if pool > 1 else x
    x = layers.Conv1D(32, 1, activation="relu")(x)
    x = layers.Dense(256, activation="relu")(layers.Flatten()(x))
    x = layers.Dense(96, activation="relu")(x)
    x = layers.Dense(n_outputs, activation="sigmoid")(x)
    return import_keras().Model(inputs, x, name="identifier_cnn")


NETWORKS = {"compact": compact_cnn, "original": original_cnn}

#: The fewest points of a pattern: `compact_cnn` pools 16 of them into one, and five are left.
SMALLEST = 80


def build(name: str, n_points: int, n_classes: int):
    """One of `NETWORKS` by its name.

    Raises
    ------
    DataError
        If there is no network of that name, or pooling would leave nothing of so few points.
    """
    if name not in NETWORKS:
        raise DataError(f"network must be one of {', '.join(NETWORKS)}; got {name!r}.")
    if n_points < SMALLEST:
        raise DataError(
            f"A network needs a grid of at least {SMALLEST} points; got {n_points}. Choose a wider "
            "range or a smaller step."
        )
    return NETWORKS[name](n_points, n_classes)
