"""Damaged and hostile network files: one clear ModelError each, and nothing in them runs.

``python tests/test_networks.py 500`` tries 500 changed files and prints what became of them.
"""

import io
import json
import pickle
import re
import resource
import sys
import tempfile
import zipfile
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

from xrdclass.errors import DataError, ModelError
from xrdclass.files.networks import (
    METADATA,
    load_arrays,
    load_network,
    read_metadata,
    save_arrays,
)
from xrdclass.identify.identifier import SHIPPED, load_model
from xrdclass.models import build, import_keras
from xrdclass.patterns import TwoThetaGrid
from xrdclass.training import Classifier

GRID = TwoThetaGrid(20, 30, 0.1)
PATTERN = np.random.default_rng(0).random((1, GRID.n_points))


def unzipped(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def good_members(folder):
    network = build("original", GRID.n_points, 2)
    return unzipped(Classifier(network, ("a", "b"), GRID).save(folder / "good.keras"))


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    return good_members(tmp_path_factory.mktemp("good"))


def refuse(content, folder, match, load=Classifier.load):
    """Loading gives one ModelError: one line that names the file."""
    path = folder / "bad.keras"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=match) as error:
        load(path)
    message = str(error.value)
    assert str(path) in message and "\n" not in message and message.endswith(".")
    assert len(message) < 500 + len(str(path))
    return message


def about(members, **change):
    """The file with other metadata; a key with the value ``...`` is left out."""
    known = {**json.loads(members[METADATA]), **change}
    known = {key: value for key, value in known.items() if value is not ...}
    return zipped({**members, METADATA: json.dumps(known).encode()})


def without(members, *names):
    return zipped({name: members[name] for name in members if name not in names})


def test_the_unchanged_file_loads(members, tmp_path):
    path = tmp_path / "good.keras"
    path.write_bytes(zipped(members))
    assert Classifier.load(path).predict(PATTERN).shape == (1, 2)
    path.write_bytes(zipped(members, zipfile.ZIP_DEFLATED))
    assert load_model(path).names == ("a", "b")


def test_a_file_is_written_over_only_when_asked(tmp_path):
    path, classifier = tmp_path / "mine.keras", Classifier(build("original", 101, 2), ("a",), GRID)
    for save in (classifier.save, partial(save_arrays, arrays={}, metadata={})):
        path = path.with_suffix(".keras" if save == classifier.save else ".npz")
        path.write_text("mine")
        with pytest.raises(DataError, match="exists already"):
            save(path)
        assert path.read_text() == "mine"
        save(path, overwrite=True)
        assert zipfile.is_zipfile(path)
        with pytest.raises(DataError, match=f"ends in {path.suffix}"):
            save(tmp_path / "model.h5")


def grid(**change):
    return {"start": 20, "stop": 30, "step": 0.1, **change}


#: What a file says of itself: changes, and what is said of each.
DESCRIPTIONS = {
    "kind": ([{"kind": k} for k in (None, ["classifier"], "x" * 1000)], "it holds an"),
    "names": (
        [{"names": n} for n in ("ab", ["a", "a"], ["a", 2], ["a", ["b"]], {"a": 1}, [], None)],
        "a list of different names",
    ),
    "number of names": (
        [{"names": n} for n in (["a", "b", "c"], ["a"])], "does not fit its own names and grid",
    ),
    "wavelength": ([{"wavelength": w} for w in (float("nan"), -1, 0)], "a wavelength in Å was exp"),
    "no wavelength": ([{"wavelength": w} for w in ([1.5], "Cu", None)], "no classifier"),
    "grid": (
        [{"grid": g} for g in (grid(eval=1), grid(step="0.1"), grid(step=float("nan")), 5,
                               {"start": 9, "stop": 3, "step": 1})],
        "no classifier .*(unexpected keyword|not supported|grid needs|mapping)",
    ),
    "another grid": (
        [{"grid": g} for g in (grid(step=1e-12), grid(stop=31), grid(step=0.2))],
        "does not fit its own names and grid",
    ),
    "settings": ([{"settings": "none"}], "no classifier"),
    "scaling": ([{"scaling": "by area"}], "scaled in another way"),
    "missing": (
        [{key: ...} for key in ("kind", "names", "grid", "wavelength", "settings", "scaling")],
        "it lacks '",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", DESCRIPTIONS)
def test_doctored_descriptions(members, tmp_path, fault):
    changes, match = DESCRIPTIONS[fault]
    for change in changes:
        message = refuse(about(members, **change), tmp_path, match)
        assert "Train it again." in message


def test_descriptions_that_are_none(members, tmp_path):
    texts = [b"", b"{", b"null", b"[1, 2]", b'"text"', b"[" * 100_000, b"\xff\xfe", b"9" * 10_000]
    for text in [*texts, pickle.dumps({"kind": "classifier"})]:
        refuse(zipped({**members, METADATA: text}), tmp_path, "no classifier|cannot be read")


def test_truncated_and_incomplete_files(members, tmp_path):
    content = zipped(members)
    for kept in (0, 2, 50, 1000, 0.3, 0.7, 0.99, 0.9999):
        part = content[: kept if kept >= 1 else int(kept * len(content))]
        for load in (Classifier.load, load_model, read_metadata):
            refuse(part, tmp_path, "names cannot be read", load)
    refuse(b"a text file\n", tmp_path, "names cannot be read")
    refuse(without(members, METADATA), tmp_path, "names cannot be read")  # any Keras file
    for name in ("config.json", "model.weights.h5"):
        refuse(without(members, name), tmp_path, "cannot be loaded")
        for part in (0, 10, len(members[name]) // 2, len(members[name]) - 1):
            changed = {**members, name: members[name][:part]}
            refuse(zipped(changed), tmp_path, "cannot be loaded")


# What must not run


def with_config(members, change):
    config = json.loads(members["config.json"])
    change(config["config"]["layers"][1])
    return zipped({**members, "config.json": json.dumps(config).encode()})


def test_another_version(members, tmp_path):
    newer = with_config(members, lambda layer: layer["config"].update(invented_later=1))
    message = refuse(newer, tmp_path, "cannot be loaded")
    assert f"of another Keras version; this is Keras {import_keras().__version__}" in message
    place = "keras.src.layers.convolutional.conv1d"
    older = with_config(members, lambda layer: layer.update(module=place))
    refuse(older, tmp_path, "no layer known here")


def test_odd_members(members, tmp_path):
    before = set(tmp_path.parent.iterdir())
    names = ["assets/x", "../outside.txt", "/tmp/outside.txt", "model.weights.npz", "evil.pkl"]
    names += ["model.weights.h5/x", "..\\outside.txt", "saved_model.pb", "\u202eh5.keras", "a.py"]
    for name in names:
        content = zipped({**members, name: pickle.dumps(1)})
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
    packed, array = io.BytesIO(), np.array([Trap(sprung)], dtype=object)
    np.savez(packed, a=array, allow_pickle=True)
    files = [trap, packed.getvalue()]
    files += [zipped({**members, name: trap}) for name in members if name != "metadata.json"]
    files += [zipped({**members, "model.weights.h5": packed.getvalue()})]
    for content in files:
        for load in (Classifier.load, load_model):
            refuse(content, tmp_path, "no classifier|cannot be loaded|cannot be read", load)
        refuse(content, tmp_path, "plain numbers|magic string|cannot be|not a zip", load_arrays)
    assert not sprung.exists()


PARTS = [
    ("keras.layers", "Lambda", None),
    ("keras.layers", "TFSMLayer", None),
    ("keras.layers", "TorchModuleWrapper", None),
    ("keras.layers", "StringLookup", None),
    ("keras.src.utils.file_utils", "get_file", "get_file"),
    ("keras.config", "enable_unsafe_deserialization", None),
    ("os", "function", "system"),
    ("subprocess", "Popen", "Popen"),
    ("builtins", "function", "eval"),
    (None, "__lambda__", None),
    ("__main__", "Conv1D", None),
    ("keras.layers", "Conv1D", "Custom>Conv1D"),
    ("keras.layers", ["Conv1D"], None),
]


@pytest.mark.parametrize("module, kind, registered", PARTS)
def test_foreign_parts(members, tmp_path, module, kind, registered):
    """As a layer, and as the activation of one, where Keras takes any function."""
    part = {"module": module, "class_name": kind, "registered_name": registered}
    deeper = {"activation": {**part, "config": registered or {}}}
    for change in (lambda layer: layer.update(part), lambda layer: layer["config"].update(deeper)):
        content = with_config(members, change)
        refuse(content, tmp_path, "no layer known here|unhashable")


def test_a_large_layer_is_not_built(members, tmp_path):
    content = with_config(members, lambda layer: layer["config"].update(filters=10**11))
    refuse(content, tmp_path, "asks for 100000000000")


def nested(h5):
    group = h5
    for i in range(40):  # two names for each next group: two to the fortieth ways through
        after = h5.create_group(f"g{i}")
        group["a"] = group["b"] = after
        group = after


def fill_with_nan(h5):
    found = []
    h5.visititems(lambda name, item: found.append(name) if hasattr(item, "shape") else None)
    h5[found[0]][...] = np.nan


def replaced(fill):
    """A fault that takes the place of all weights."""
    return lambda h5: (h5.clear(), fill(h5))


WEIGHTS = {
    "external link": (
        replaced(lambda h5: h5.__setitem__("a", h5py.ExternalLink("/etc/hostname", "/"))),
        "lie elsewhere",
    ),
    "soft link": (replaced(lambda h5: h5.__setitem__("a", h5py.SoftLink("/b"))), "lie elsewhere"),
    "external storage": (
        lambda h5: h5.create_dataset("a", (8,), "u1", external=[("/etc/hostname", 0, 8)]),
        "no plain numbers",
    ),
    "objects": (lambda h5: h5.create_dataset("a", data=["text"]), "no plain numbers"),
    "size": (lambda h5: h5.create_dataset("a", (10**6, 10**6), "f4", chunks=True), "200 MB"),
    "nested": (replaced(nested), "nested without end"),
    "empty": (replaced(lambda h5: None), "cannot be loaded"),
    "not finite": (fill_with_nan, "not all finite"),
}


@pytest.mark.parametrize("fault", WEIGHTS)
def test_weights_that_are_none(members, tmp_path, fault):
    change, match = WEIGHTS[fault]
    file = io.BytesIO(members["model.weights.h5"])
    with h5py.File(file, "r+") as h5:
        change(h5)
    refuse(zipped({**members, "model.weights.h5": file.getvalue()}), tmp_path, match)


def test_bombs_take_little_memory(members, tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for others, name in (
        *((members, name) for name in (METADATA, "config.json", "model.weights.h5")),
        *((unzipped(SHIPPED), name) for name in (METADATA, "kernel_0.npy")),
    ):
        file = io.BytesIO(without(others, name))
        with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
            with archive.open(name, "w") as member:
                for _ in range(400):
                    member.write(bytes(1_000_000))
        bomb, size = file.getvalue(), (400_000_000).to_bytes(4, "little")
        assert size in bomb
        for content in (bomb, bomb.replace(size, (999).to_bytes(4, "little"))):  # or it lies
            refuse(content, tmp_path, "cannot be read|has more than|Bad CRC", load_model)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
    assert grown < 100, f"{grown:.0f} MB"


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
    path = tmp_path / "a.keras"
    path.write_bytes(bytes(2000))
    monkeypatch.setattr("xrdclass.files.networks.MAX_BYTES", 1000)
    for load in (read_metadata, load_arrays, load_model):
        for place, match in (
            ("/dev/zero", "not an ordinary file"),
            ("a\0b.keras", "There is no file|cannot be read"),
            (tmp_path, "is a folder"),
            (tmp_path / "missing.keras", "There is no file"),
            (path, "has 0 MB; a file with a network of xrdclass has at most"),
        ):
            with pytest.raises(ModelError, match=match):
                load(place)


# Arrays


def test_arrays_come_back_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(0)
    one = rng.normal(size=(3, 4, 5)).astype("f4")
    arrays = {"a": one, "b": one[:0], "c": np.float32(7), "f": np.asfortranarray(one)}
    path = save_arrays(tmp_path / "mine.npz", arrays, {"kind": "identifier", "ü": [1, None]})
    found = load_arrays(path)
    assert set(found) == set(arrays)
    assert all(np.array_equal(found[k], v) and found[k].dtype == "f4" for k, v in arrays.items())
    assert read_metadata(path) == {"kind": "identifier", "ü": [1, None]}
    assert [p.name for p in tmp_path.iterdir()] == ["mine.npz"]


def array_file(array, allow_pickle=False):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=allow_pickle)
    return file.getvalue()


def announced(shape, content=b"\0" * 64, kind="<f4", version=(1, 0)):
    """An array file whose header says something of its own."""
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    length = len(header).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + length + header + content


NO_ARRAYS = {
    "objects": ([array_file(np.array([{}], object), True), announced("(8,)", kind="|O")],
                "plain numbers"),
    "huge": ([announced(s) for s in ("(10**9,)", f"({10**12},)", "(99999, 99999, 99999)")],
             "plain numbers|cannot be loaded"),
    "negative": ([announced(s) for s in ("(-1,)", "(-4, -4)", "(-16, -1)")], "cannot be loaded"),
    "code": ([announced("(__import__('os').getpid(),)"), announced("(" * 5000)],
             "cannot be loaded"),
    "other kinds": ([array_file(np.zeros(4, k)) for k in ("f8", "i4", "c8", "U3", ">f4")]
                    + [array_file(np.zeros(4, "f4,f4"))], "plain numbers"),
    "other versions": ([announced("(16,)", version=(2, 0)), announced("(16,)", version=(9, 9))],
                       "cannot be loaded"),
    "not finite": ([array_file(np.array([1, v], "f4")) for v in (np.nan, -np.inf)],
                   "not all finite"),
    "too short": ([array_file(np.zeros(9, "f4"))[:-1], array_file(np.zeros(9, "f4"))[:20], b""],
                  "cannot be loaded"),
    "too long": ([array_file(np.zeros(9, "f4")) + b"\0\0\0\0"], "plain numbers"),
}  # fmt: skip


@pytest.mark.parametrize("fault", NO_ARRAYS)
def test_arrays_that_are_none(tmp_path, fault):
    """In the place of one of the shipped network's, and alone."""
    contents, match = NO_ARRAYS[fault]
    for content in contents:
        changed = zipped({**unzipped(SHIPPED), "kernel_0.npy": content})
        refuse(changed, tmp_path, match, load_model)
        refuse(zipped({"a.npy": content}), tmp_path, match, load_arrays)


def test_networks_of_arrays_that_are_none(tmp_path):
    members, before = unzipped(SHIPPED), set(tmp_path.parent.iterdir())
    dense = array_file(np.zeros((3, 6), "f4"))
    for changed, match in (
        ({"more.npy": dense}, "no part of a network"),
        ({"../outside.npy": dense}, "no part of a network"),
        ({"evil.py": b"print()"}, "cannot be loaded"),
        ({"kernel_1.npy": dense}, "cannot be used"),
        ({"kernel_0.npy": array_file(np.zeros((10**6, 2, 32), "f4")[:2001])}, "too large"),
        ({"weights_0.npy": dense}, "cannot be used"),
        ({"dense_bias_2.npy": array_file(np.zeros(5, "f4"))}, "cannot be used"),
    ):
        refuse(zipped({**members, **changed}, zipfile.ZIP_DEFLATED), tmp_path, match, load_model)
    refuse(without(members, "bias_0.npy"), tmp_path, "cannot be used", load_model)
    refuse(zipped(members, zipfile.ZIP_LZMA), tmp_path, "names cannot be read", load_model)
    content = zipped(members)
    for part in (0.3, 0.9, 0.9999):
        refuse(content[: int(part * len(content))], tmp_path, "cannot be", load_model)
    assert set(tmp_path.parent.iterdir()) == before


# Changed files


def try_changed(members, folder, number, seed, load, suffix=".keras"):
    """Count what becomes of changed files: a network that answers, or one ModelError."""
    rng = np.random.default_rng(seed)
    counts = {"files": 0, "loaded": 0, "refused": 0}
    path = folder / f"changed{suffix}"
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
            load(path)
        except ModelError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            counts["refused"] += 1
            continue
        counts["loaded"] += 1
    return counts


def answers(path):
    assert Classifier.load(path).predict(PATTERN).shape == (1, 2)


def names_phases(path):
    """A scan of a few peaks, whatever the file makes of it, is answered with numbers."""
    from samples import scan_of

    (finding,) = load_model(path).identify([scan_of("rutile", step=0.1)])
    assert np.isfinite(list(finding.probability.values())).all()


def test_changed_files(members, tmp_path):
    for counts in (
        try_changed(members, tmp_path, 40, 0, answers),
        try_changed(unzipped(SHIPPED), tmp_path, 60, 0, names_phases, ".npz"),
    ):
        print(counts)
        assert counts["refused"] > 5 and counts["loaded"] > 2


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        folder, number = Path(name), int(sys.argv[1])
        print(try_changed(good_members(folder), folder, number, 1, answers))
        print(try_changed(unzipped(SHIPPED), folder, number, 1, names_phases, ".npz"))
