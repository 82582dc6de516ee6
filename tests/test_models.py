"""The networks of the lessons, and the one that proposes phases."""

import subprocess
import sys

import pytest

from xrdclass.errors import DataError
from xrdclass.models import build, compact_cnn, identifier_cnn, original_cnn


def test_networks_have_the_stated_sizes():
    network = original_cnn(8501, 5)
    # Each convolution: size * channels * filters + filters; pooling: 8501, 4250, 2125, 1062.
    by_hand = (35 + 1) * 16 + (25 * 16 + 1) * 16 + (15 * 16 + 1) * 16
    by_hand += (1062 * 16 + 1) * 50 + (50 + 1) * 5
    assert network.count_params() == by_hand == 860_753
    assert compact_cnn(8501, 5).count_params() < 860_753 / 3
    for network in (original_cnn(801, 3), compact_cnn(801, 3)):
        assert network.input_shape == (None, 801, 1) and network.output_shape == (None, 3)
    network = identifier_cnn(1850, 6)
    assert network.input_shape == (None, 1850, 2) and network.output_shape == (None, 6)
    assert 4 * network.count_params() < 4.5e6


def test_impossible_networks_are_refused():
    with pytest.raises(DataError, match="network must be one of compact, original; got 'large'"):
        build("large", 8501, 5)
    for name in ("compact", "original"):
        with pytest.raises(DataError, match="needs a grid of at least 80 points; got 79"):
            build(name, 79, 5)
        sizes = [layer.output.shape for layer in build(name, 80, 5).layers]
        assert all(0 not in shape[1:] for shape in sizes)


def test_keras_is_imported_without_what_it_does_not_need():
    code = (
        "import sys; from xrdclass.models import import_keras; import_keras()\n"
        "assert not {'pandas', 'sklearn'} & set(sys.modules); import sklearn.linear_model"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)
