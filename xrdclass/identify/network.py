"""The proposing network's forward pass in NumPy: no TensorFlow is needed to ask it.

The layers of `models.identifier_cnn`, with each batch normalisation folded into the convolution
before it: a factor and an addend for each filter, as they are constants once training is over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Patterns that are worked on together: more of them leave the processor's cache.
BATCH = 16


@dataclass(frozen=True)
class Convolution:
    """One convolution with "same" padding, ReLU, and max-pooling."""

    kernel: np.ndarray  # float32, (size, channels, filters)
    bias: np.ndarray  # float32, (filters,)
    stride: int = 1  # points
    pool: int = 1

    def __call__(self, x):
        """(n, points, channels) -> (n, fewer points, filters)."""
        size, channels, filters = self.kernel.shape
        n, points = x.shape[:2]
        steps = -(-points // self.stride)
        missing = max((steps - 1) * self.stride + size - points, 0)
        padded = np.zeros((n, points + missing, channels), dtype=x.dtype)
        padded[:, missing // 2 : missing // 2 + points] = x
        # Each window is one row, so that all of them times all filters are one matrix product;
        # copied, as BLAS takes no rows that overlap.
        rows = np.lib.stride_tricks.sliding_window_view(padded.reshape(n, -1), size * channels, 1)
        rows = np.ascontiguousarray(rows[:, :: self.stride * channels])
        y = rows.reshape(-1, size * channels) @ self.kernel.reshape(-1, filters) + self.bias
        y = np.maximum(y, 0).reshape(n, steps, filters)
        if self.pool == 1:
            return y
        kept = steps // self.pool
        return y[:, : kept * self.pool].reshape(n, kept, self.pool, filters).max(axis=2)


@dataclass(frozen=True)
class Network:
    """Convolutions, then dense layers: ReLU between them, a probability from each last unit.

    ``dense`` holds pairs (weights (units before, units), bias (units,)), float32.
    """

    convolutions: tuple[Convolution, ...]
    dense: tuple[tuple[np.ndarray, np.ndarray], ...]

    def __call__(self, inputs) -> np.ndarray:
        """Probabilities, float64 (n, outputs), for inputs (n, points, channels)."""
        found = np.empty((len(inputs), len(self.dense[-1][1])))
        for start in range(0, len(inputs), BATCH):
            x = np.asarray(inputs[start : start + BATCH], dtype=np.float32)
            for layer in self.convolutions:
                x = layer(x)
            x = x.reshape(len(x), -1)
            for i, (weights, bias) in enumerate(self.dense):
                x = (np.maximum(x, 0) if i else x) @ weights + bias
            found[start : start + BATCH] = 1 / (1 + np.exp(-np.clip(x.astype(float), -80, 80)))
        return found

    @classmethod
    def from_keras(cls, model) -> Network:
        """The layers of a `models.identifier_cnn`, normalisation folded in."""
        convolutions, dense = [], []
        for layer in model.layers:
            kind = type(layer).__name__
            values = [np.asarray(w, dtype=np.float32) for w in layer.get_weights()]
            if kind == "Conv1D":
                bias = values[1] if layer.use_bias else np.zeros(layer.filters, np.float32)
                convolutions.append([values[0], bias, layer.strides[0], 1])
            elif kind == "BatchNormalization":
                factor, addend, mean, variance = values
                factor = factor / np.sqrt(variance + layer.epsilon)
                kernel, bias = convolutions[-1][:2]
                convolutions[-1][:2] = kernel * factor, (bias - mean) * factor + addend
            elif kind == "MaxPooling1D":
                convolutions[-1][3] = layer.pool_size[0]
            elif kind == "Dense":
                dense.append(tuple(values))
        return cls(tuple(Convolution(*parts) for parts in convolutions), tuple(dense))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Named arrays, as `from_arrays` takes them; strides and pools are in `steps`."""
        arrays = {}
        for i, layer in enumerate(self.convolutions):
            arrays[f"kernel_{i}"], arrays[f"bias_{i}"] = layer.kernel, layer.bias
        for i, layer in enumerate(self.dense):
            arrays[f"weights_{i}"], arrays[f"dense_bias_{i}"] = layer
        return arrays

    @property
    def steps(self) -> list[list[int]]:
        """Stride and pool of each convolution."""
        return [[layer.stride, layer.pool] for layer in self.convolutions]

    @classmethod
    def from_arrays(cls, arrays: dict, steps) -> Network:
        """What `to_arrays` made; KeyError, TypeError or ValueError if it is nothing of the kind."""
        n_dense = (len(arrays) - 2 * len(steps)) // 2
        if not all(isinstance(s, int) and 1 <= s <= 100 for pair in steps for s in pair):
            raise ValueError("its strides and pools are no small numbers")
        convolutions = tuple(
            Convolution(arrays[f"kernel_{i}"], arrays[f"bias_{i}"], stride, pool)
            for i, (stride, pool) in enumerate(steps)
        )
        dense = [(arrays[f"weights_{i}"], arrays[f"dense_bias_{i}"]) for i in range(n_dense)]
        network = cls(convolutions, tuple(dense))
        if network.to_arrays().keys() != arrays.keys():
            raise ValueError("it holds arrays that are no part of a network")
        for kernel, bias in [*((layer.kernel, layer.bias) for layer in convolutions), *dense]:
            if bias.shape != kernel.shape[-1:]:
                raise ValueError("a layer has not as many addends as units")
        # A small file could else ask for windows that fill the memory.
        if any(c.kernel[..., 0].size > 2000 or len(c.bias) > 500 for c in convolutions):
            raise ValueError("its convolutions are too large")
        return network
