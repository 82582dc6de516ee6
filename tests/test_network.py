"""The forward pass in NumPy gives Keras's answers, and takes no nonsense for a network."""

import numpy as np
import pytest

from xrdclass.identify.network import BATCH, Convolution, Network
from xrdclass.models import identifier_cnn, import_keras

RNG = np.random.default_rng(0)


def with_random_weights(model):
    """Also those of batch normalisation, which training alone would move from 0 and 1."""
    for layer in model.layers:
        weights = [RNG.normal(0, 1, w.shape) / np.sqrt(w[..., 0].size) for w in layer.get_weights()]
        if type(layer).__name__ == "BatchNormalization":
            factor, addend, mean, variance = (RNG.normal(size=w.shape) for w in weights)
            weights = [1 + 0.5 * factor, addend / 2, mean, np.exp(variance)]
        layer.set_weights(weights)
    return model


@pytest.mark.parametrize(
    ("n_points", "n"), [(1850, 3), (1849, 1), (333, BATCH), (97, BATCH + 1), (64, 2 * BATCH + 5)]
)
def test_numpy_answers_as_keras_does(n_points, n):
    """Lengths that strides and pools do not divide, and numbers of scans beside the batch's."""
    model = with_random_weights(identifier_cnn(n_points, 4))
    inputs = RNG.random((n, n_points, 2), dtype=np.float32)
    expected = np.asarray(model(inputs, training=False))
    assert expected.std() > 0.01, "Answers that are all alike would prove nothing."
    network = Network.from_keras(model)
    found = network(inputs)
    assert found.dtype == float and np.abs(found - expected).max() < 1e-5
    assert len(network.convolutions) == 5 and len(network.dense) == 3
    assert network(inputs[:0]).shape == (0, 4)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("size", "stride", "pool"), [(1, 1, 1), (4, 3, 2), (7, 2, 3), (16, 4, 1)])
def test_batch_normalisation_is_folded_into_its_convolution(size, stride, pool, bias):
    layers = import_keras().layers
    convolution = layers.Conv1D(5, size, strides=stride, padding="same", use_bias=bias)
    model = import_keras().Sequential(
        [
            layers.Input((61, 3)), convolution, layers.BatchNormalization(), layers.ReLU(),
            *([layers.MaxPooling1D(pool)] if pool > 1 else []),
        ]
    )  # fmt: skip
    (layer,) = Network.from_keras(with_random_weights(model)).convolutions
    inputs = RNG.normal(size=(2, 61, 3)).astype(np.float32)
    expected = np.asarray(model(inputs, training=False))
    assert layer(inputs).shape == expected.shape and expected.std() > 0.1
    assert np.abs(layer(inputs) - expected).max() < 1e-5
    assert (layer.stride, layer.pool) == (stride, pool)


def small_network():
    def array(*shape):
        return RNG.normal(size=shape).astype(np.float32)

    first, second = (
        Convolution(array(5, 2, 4), array(4), 3, 2),
        Convolution(array(2, 4, 3), array(3)),
    )
    return Network((first, second), ((array(15, 6), array(6)), (array(6, 2), array(2))))


def test_large_numbers_are_still_probabilities():
    network = small_network()
    found = network(1e6 * RNG.normal(size=(50, 30, 2)))
    assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1


def test_arrays_and_steps_make_the_same_network():
    network, inputs = small_network(), RNG.normal(size=(4, 30, 2))
    assert network.steps == [[3, 2], [1, 1]] and len(network.to_arrays()) == 8
    again = Network.from_arrays(network.to_arrays(), network.steps)
    assert np.array_equal(again(inputs), network(inputs))


@pytest.mark.parametrize(
    "steps", [[], [[3, 2]], [[3, 2]] * 3, [[0, 2], [1, 1]], [[-1, 2], [1, 1]], [[3, 1e9], [1, 1]],
              [[3, 10**9], [1, 1]], [[3], [1, 1]], [[3, 2, 1], [1, 1]], ["ab", "cd"], [None] * 2,
              {"a": 1}, None, 7, "steps", [[float("nan"), 1], [1, 1]]],
    ids=str,
)  # fmt: skip
def test_steps_that_are_nonsense(steps):
    with pytest.raises((KeyError, TypeError, ValueError)):
        Network.from_arrays(small_network().to_arrays(), steps)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kernel_1": None}, "kernel_1"),
        ({"bias_0": np.zeros((9, 1, 4))}, "addends"),  # would make nine answers of one
        ({"dense_bias_0": np.zeros(5)}, "addends"),
        ({"dense_bias_1": np.zeros(())}, "addends"),
        ({"more": np.zeros(3)}, "no part of a network"),
        ({"weights_2": np.zeros((2, 2)), "more": np.zeros(3)}, "dense_bias_2"),
        ({"kernel_0": np.zeros((2001, 1, 4))}, "too large"),
        ({"kernel_0": np.zeros((1, 2, 501)), "bias_0": np.zeros(501)}, "too large"),
    ],
)
def test_arrays_that_are_no_network(change, said):
    network = small_network()
    arrays = {k: v for k, v in {**network.to_arrays(), **change}.items() if v is not None}
    with pytest.raises((KeyError, TypeError, ValueError), match=said):
        Network.from_arrays(arrays, network.steps)
