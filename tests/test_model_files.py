"""Damaged and hostile network files: one clear ModelError each, and nothing in them runs.

``python tests/test_model_files.py 500`` tries 500 changed files and prints what became of them.
"""

import io
import json
import pickle
import re
import resource
import sys
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from xrdclass.errors import DataError, ModelError
from xrdclass.models import build, import_keras
from xrdclass.patterns import TwoThetaGrid
from xrdclass.training import METADATA, Classifier, load_network, read_metadata

GRID = TwoThetaGrid(20, 30, 0.1)
PATTERN = np.random.default_rng(0).random((1, GRID.n_points))


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    return good_members(tmp_path_factory.mktemp("good"))


def good_members(folder):
    network = build("original", GRID.n_points, 2)
    path = Classifier(network, ("a", "b"), GRID).save(folder / "good.keras")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def refuse(content, folder, match, name="bad.keras"):
    """Loading gives one ModelError: one line that names the file."""
    path = folder / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match=match) as error:
        Classifier.load(path)
    message = str(error.value)
    assert str(path) in message and "\n" not in message and message.endswith(".")
    return message


def with_json(members, name, change):
    values = json.loads(members[name])
    return zipped({**members, name: json.dumps(change(values)).encode()})


def test_the_unchanged_file_loads(members, tmp_path):
    path = tmp_path / "good.keras"
    path.write_bytes(zipped(members))
    assert Classifier.load(path).predict(PATTERN).shape == (1, 2)
    path.write_bytes(zipped(members, zipfile.ZIP_DEFLATED))
    assert Classifier.load(path).names == ("a", "b")


@pytest.mark.parametrize(
    "change, match",
    [
        ({"kind": None}, "it holds an None"),
        ({"kind": ["classifier"]}, "it holds an"),
        ({"names": "ab"}, "a list of different names"),
        ({"names": ["a", "a"]}, "a list of different names"),
        ({"names": ["a", 2]}, "a list of different names"),
        ({"names": ["a", ["b"]]}, "a list of different names"),
        ({"names": {"a": 1, "b": 2}}, "a list of different names"),
        ({"names": []}, "a list of different names"),
        ({"names": ["a", "b", "c"]}, "does not fit its own names and grid"),
        ({"wavelength": float("nan")}, "a wavelength in Å was expected"),
        ({"wavelength": -1}, "a wavelength in Å was expected"),
        ({"wavelength": [1.5]}, "not a classifier"),
        ({"grid": {"start": 20, "stop": 30, "step": 0.1, "eval": 1}}, "unexpected keyword"),
        ({"grid": {"start": "20", "stop": 30, "step": 0.1}}, "not a classifier"),
        ({"grid": {"start": 20, "stop": 30, "step": float("nan")}}, "two-theta grid needs"),
        ({"grid": {"start": 20, "stop": 30, "step": 1e-12}}, "does not fit its own names and grid"),
        ({"grid": {"start": 20, "stop": 31, "step": 0.1}}, "does not fit its own names and grid"),
        ({"grid": 5}, "not a classifier"),
        ({"settings": "none"}, "not a classifier"),
        ({"scaling": "by area"}, "scaled in another way"),
    ],
)
def test_doctored_metadata(members, tmp_path, change, match):
    refuse(with_json(members, METADATA, lambda old: {**old, **change}), tmp_path, match)


@pytest.mark.parametrize("key", ["kind", "names", "grid", "wavelength", "settings", "scaling"])
def test_missing_metadata(members, tmp_path, key):
    content = with_json(members, METADATA, lambda old: {k: old[k] for k in old if k != key})
    refuse(content, tmp_path, f"it lacks '{key}'")


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"null", b"[1, 2]", b'"text"', b"[" * 100_000, b"\xff\xfe", b"9" * 10_000]
    + [pickle.dumps({"kind": "classifier"})],
)
def test_metadata_that_is_none(members, tmp_path, text):
    refuse(zipped({**members, METADATA: text}), tmp_path, "is not a classifier|cannot be read")


@pytest.mark.parametrize("kept", [0, 2, 50, 1000, 0.3, 0.7, 0.99, 0.9999])
def test_truncated(members, tmp_path, kept):
    content = zipped(members)
    refuse(content[: kept if kept >= 1 else int(kept * len(content))], tmp_path, "is not a class")


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_truncated_members(members, tmp_path, name):
    for part in (0, 10, len(members[name]) // 2, len(members[name]) - 1):
        content = zipped({**members, name: members[name][:part]})
        refuse(content, tmp_path, "cannot be loaded")


def test_another_version(members, tmp_path):
    def newer(config):
        config["config"]["layers"][1]["config"]["invented_later"] = 1
        return config

    message = refuse(with_json(members, "config.json", newer), tmp_path, "cannot be loaded")
    assert f"of another Keras version; this is Keras {import_keras().__version__}" in message

    def older(config):
        config["config"]["layers"][1]["module"] = "keras.src.layers.convolutional.conv1d"
        return config

    refuse(with_json(members, "config.json", older), tmp_path, "no layer known here")


# What must not run


@pytest.mark.parametrize(
    "name",
    ["assets/x", "../outside.txt", "/tmp/outside.txt", "model.weights.npz", "evil.pkl", "a.py"]
    + ["model.weights.h5/x", "..\\outside.txt", "saved_model.pb", "\u202eh5.keras"],
)
def test_odd_members(members, tmp_path, name):
    content = zipped({**members, name: pickle.dumps(1)})
    before = set(tmp_path.parent.iterdir())
    refuse(content, tmp_path, "which is no part of a network")
    assert set(tmp_path.parent.iterdir()) == before and len(list(tmp_path.iterdir())) == 1


def test_two_members_of_one_name(members, tmp_path):
    """A check that reads one of them and a reader that takes the other would be no check."""
    file = io.BytesIO(zipped(members))
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", members["config.json"])
    refuse(file.getvalue(), tmp_path, "two files of one name")


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickles_are_not_loaded(members, tmp_path):
    sprung = tmp_path / "sprung"
    trap = pickle.dumps(Trap(sprung))
    pickle.loads(trap).close()
    assert sprung.exists(), "The trap works where nobody looks."
    sprung.unlink()
    array = np.array([Trap(sprung)], dtype=object)
    packed = io.BytesIO()
    np.savez(packed, a=array, allow_pickle=True)
    files = [trap, packed.getvalue()]
    files += [zipped({**members, name: trap}) for name in members if name != "metadata.json"]
    files += [zipped({**members, "model.weights.h5": packed.getvalue()})]
    for content in files:
        refuse(content, tmp_path, "is not a classifier|cannot be loaded|cannot be read")
    assert not sprung.exists()


PARTS = [
    ("keras.layers", "Lambda", None),
    ("keras.layers", "TFSMLayer", None),
    ("keras.layers", "TorchModuleWrapper", None),
    ("keras.layers", "StringLookup", None),
    ("keras.src.utils.file_utils", "get_file", "get_file"),
    ("keras.config", "enable_unsafe_deserialization", None),
    ("subprocess", "Popen", "Popen"),
    ("builtins", "function", "eval"),
    (None, "__lambda__", None),
    ("__main__", "Conv1D", None),
    ("keras.layers", "Conv1D", "Custom>Conv1D"),
    ("keras.layers", ["Conv1D"], None),
]


@pytest.mark.parametrize("module, kind, registered", PARTS)
def test_foreign_parts(members, tmp_path, module, kind, registered):
    def change(config):
        part = {"module": module, "class_name": kind, "registered_name": registered}
        config["config"]["layers"][1] |= part
        return config

    def deeper(config):
        part = {"module": module, "class_name": kind, "registered_name": registered, "config": {}}
        config["config"]["layers"][1]["config"]["activation"] = part
        return config

    for how in (change, deeper):
        refuse(with_json(members, "config.json", how), tmp_path, "no layer known here|unhashable")


def test_a_large_layer_is_not_built(members, tmp_path):
    def change(config):
        config["config"]["layers"][1]["config"]["filters"] = 10**11
        return config

    refuse(with_json(members, "config.json", change), tmp_path, "asks for 100000000000")


def weights_file(fill):
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        fill(h5)
    return file.getvalue()


def elsewhere(h5, path):
    h5["layers"] = h5py.ExternalLink(path, "/")


def nested(h5):
    group = h5
    for i in range(40):  # two names for each next group: two to the fortieth ways through
        after = h5.create_group(f"g{i}")
        group["a"] = group["b"] = after
        group = after


WEIGHTS = {
    "external link": (lambda h5: elsewhere(h5, "/etc/hostname"), "lie elsewhere"),
    "soft link": (lambda h5: h5.__setitem__("a", h5py.SoftLink("/b")), "lie elsewhere"),
    "external storage": (
        lambda h5: h5.create_dataset("a", (8,), "u1", external=[("/etc/hostname", 0, 8)]),
        "no plain numbers",
    ),
    "objects": (lambda h5: h5.create_dataset("a", data=["text"]), "no plain numbers"),
    "size": (lambda h5: h5.create_dataset("a", (10**6, 10**6), "f4", chunks=True), "200 MB"),
    "nested": (nested, "nested without end"),
    "empty": (lambda h5: None, "cannot be loaded"),
}


@pytest.mark.parametrize("fault", WEIGHTS)
def test_weights_that_are_none(members, tmp_path, fault):
    fill, match = WEIGHTS[fault]
    refuse(zipped({**members, "model.weights.h5": weights_file(fill)}), tmp_path, match)


def test_weights_that_are_not_finite(members, tmp_path):
    file = io.BytesIO(members["model.weights.h5"])
    with h5py.File(file, "r+") as h5:
        found = []
        h5.visititems(lambda name, item: found.append(name) if hasattr(item, "shape") else None)
        h5[found[0]][...] = np.nan
    refuse(zipped({**members, "model.weights.h5": file.getvalue()}), tmp_path, "not all finite")


def test_bombs_take_little_memory(members, tmp_path):
    zeros = bytes(400_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in (METADATA, "config.json", "model.weights.h5"):
        content = bytearray(zipped({**members, name: zeros}, zipfile.ZIP_DEFLATED))
        refuse(content, tmp_path, "cannot be read|has more than")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
    assert grown < 500, f"{grown:.0f} MB"


def test_a_name_that_means_another_format(members, tmp_path):
    """Keras reads .h5 by its name, in a way of its own; a zip may stand at the end of an HDF5."""
    path = tmp_path / "model.h5"
    path.write_bytes(members["model.weights.h5"] + zipped(members))
    assert read_metadata(path)["names"] == ["a", "b"]
    with pytest.raises(ModelError, match="does not end in .keras"):
        load_network(path, (GRID.n_points, 1), (2,))


def test_what_would_not_be_loaded_is_not_saved(tmp_path):
    layers = import_keras().layers
    network = import_keras().Sequential(
        [layers.Input((101, 1)), layers.Flatten(), layers.Discretization([0.5]), layers.Dense(2)]
    )
    with pytest.raises(DataError, match="would not be loaded again: .*Discretization"):
        Classifier(network, ("a", "b"), GRID).save(tmp_path / "a.keras")
    assert not list(tmp_path.iterdir())


def test_files_that_are_not_ordinary(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="not an ordinary file"):
        read_metadata("/dev/zero")
    with pytest.raises(ModelError, match="cannot be read"):
        read_metadata("a\0b.keras")
    (tmp_path / "a.keras").write_bytes(bytes(2000))
    monkeypatch.setattr("xrdclass.training.MAX_BYTES", 1000)
    with pytest.raises(ModelError, match="no network of xrdclass is larger"):
        read_metadata(tmp_path / "a.keras")


# Changed files


def try_changed(members, folder, number, seed):
    """Count what becomes of changed files: a classifier that answers, or one ModelError."""
    rng = np.random.default_rng(seed)
    counts = {"files": 0, "loaded": 0, "refused": 0}
    path = folder / "changed.keras"
    for i in range(number):
        names = [name for name in members if name != "metadata.json"]
        name = names[i % (len(names) + 1)] if i % (len(names) + 1) < len(names) else None
        data = bytearray(members[name] if name else zipped(members))
        for _ in range(1 + int(rng.random() < 0.3)):
            at = int(rng.integers(len(data)))
            match [0, 0, 0, 1, 2, 2][rng.integers(6)]:
                case 0:
                    data[at] = rng.integers(256)
                case 1:
                    del data[at : at + int(rng.integers(1, 100))]
                case 2:
                    numbers = [found.span() for found in re.finditer(rb"\b\d+\b", data[:99_999])]
                    if numbers:
                        start, end = numbers[rng.integers(len(numbers))]
                        data[start:end] = [b"0", b"-1", b"2", b"1e9", b"null"][rng.integers(5)]
        path.write_bytes(zipped({**members, name: bytes(data)}) if name else bytes(data))
        counts["files"] += 1
        try:
            answer = Classifier.load(path).predict(PATTERN)
        except ModelError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            counts["refused"] += 1
            continue
        assert answer.shape == (1, 2)
        counts["loaded"] += 1
    return counts


def test_changed_files(members, tmp_path):
    counts = try_changed(members, tmp_path, 40, seed=0)
    print(counts)
    assert counts["refused"] > 5 and counts["loaded"] > 5


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(try_changed(good_members(Path(name)), Path(name), int(sys.argv[1]), seed=1))
