"""Grids, scaling, resampling, splitting, and files that lose nothing and run nothing."""

import os
import pickle
from dataclasses import replace

import numpy as np
import pytest

from xrdclass.diffraction import RADIATIONS
from xrdclass.errors import DataError
from xrdclass.patterns import (
    DEFAULT_GRID,
    PatternSet,
    TwoThetaGrid,
    min_max_scale,
    resample,
    split,
)

GRID = TwoThetaGrid(10, 20, 0.5)


def patterns(n=12):
    rng = np.random.default_rng(0)
    drawn = {"domain_size": rng.random(n), "strain": rng.random((n, 3, 3))}
    intensity, labels = rng.random((n, GRID.n_points)), np.arange(n) % 3
    kept_out = np.arange(n) % 4 == 1
    return PatternSet(intensity, labels, ("a", "β-TiO2", "c"), GRID, drawn, 0.7, kept_out)


def assert_same(one, other):
    assert np.array_equal(one.intensity, other.intensity)
    assert np.array_equal(one.labels, other.labels)
    assert (one.names, one.grid, one.wavelength) == (other.names, other.grid, other.wavelength)
    assert np.array_equal(one.validation, other.validation)
    assert one.parameters.keys() == other.parameters.keys()
    for key, values in one.parameters.items():
        assert np.array_equal(values, other.parameters[key])


@pytest.mark.parametrize(
    "limits, count", [((5, 90, 0.01), 8501), ((20, 60, 0.1), 401), ((0, 1, 0.3), 4), ((5, 6, 1), 0)]
)
def test_grid_points(limits, count):
    if not count:
        with pytest.raises(DataError, match="needs 0 <= start < stop < 180"):
            TwoThetaGrid(*limits)
        return
    grid = TwoThetaGrid(*limits)
    axis = grid.two_theta
    assert grid.n_points == len(axis) == count and axis.dtype == np.float64
    assert axis[0] == limits[0] and abs(axis[-1] - limits[1]) <= limits[2] / 2 + 1e-9
    assert np.allclose(np.diff(axis), limits[2])


def test_default_grid():
    assert DEFAULT_GRID.n_points == 8501
    assert DEFAULT_GRID.two_theta[-1] == pytest.approx(90, abs=1e-9)
    assert TwoThetaGrid(**DEFAULT_GRID.to_dict()) == DEFAULT_GRID


@pytest.mark.parametrize(
    "limits",
    [(90, 5, 0.01), (5, 5, 0.01), (-1, 90, 0.01), (5, 180, 0.01), (5, 90, 0), (5, 90, -0.1)]
    + [(5, 90, 100), (5, float("nan"), 0.01), (5, 90, float("nan")), (5, float("inf"), 1)],
)
def test_impossible_grids_are_refused(limits):
    with pytest.raises(DataError, match="A two-theta grid needs"):
        TwoThetaGrid(*limits)


def test_pattern_sets_check_what_they_hold():
    good = patterns(2)
    with pytest.raises(DataError, match=r"needs intensities of shape \(2, 21\); got \(2, 20\)"):
        PatternSet(good.intensity[:, 1:], good.labels, good.names, GRID)
    with pytest.raises(DataError, match="Labels must lie between 0 and 2"):
        PatternSet(good.intensity, [0, 3], good.names, GRID)
    with pytest.raises(DataError, match="'x' has 3 values for 2 patterns"):
        PatternSet(good.intensity, good.labels, good.names, GRID, {"x": np.zeros(3)})
    with pytest.raises(DataError, match="'validation' has 1 values for 2 patterns"):
        replace(good, validation=[True])
    with pytest.raises(DataError, match="Expected a wavelength in Å"):
        replace(good, wavelength=float("nan"))
    plain = PatternSet(good.intensity, good.labels, good.names, GRID)
    assert plain.wavelength == RADIATIONS["Cu"].mean and plain.validation.tolist() == [False] * 2


def test_subset_and_concatenate_carry_the_parameters():
    whole = patterns()
    parts = [whole.subset(slice(0, 5)), whole.subset(np.arange(12) >= 5)]
    assert [len(part) for part in parts] == [5, 7]
    assert_same(PatternSet.concatenate(parts), whole)
    assert whole.subset([7]).parameters["strain"].shape == (1, 3, 3)
    for change in ({"names": ("a", "b", "c")}, {"wavelength": 1.5}):
        with pytest.raises(DataError, match="of one grid, names and wavelength"):
            PatternSet.concatenate([whole, replace(whole, **change)])


def test_save_and_load_without_pickle(tmp_path):
    path = patterns().save(tmp_path / "new" / "data.npz")
    assert_same(PatternSet.load(path), patterns())
    with np.load(path, allow_pickle=False) as file:
        assert not any(file[key].dtype.hasobject for key in file.files)
    assert os.listdir(path.parent) == ["data.npz"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_existing_files_are_overwritten_only_when_asked(tmp_path):
    path = patterns(3).save(tmp_path / "data.npz")
    before = path.read_bytes()
    with pytest.raises(DataError, match="data.npz exists already"):
        patterns(6).save(path)
    assert path.read_bytes() == before
    patterns(6).save(path, overwrite=True)
    assert len(PatternSet.load(path)) == 6


@pytest.mark.parametrize("place", ["builtins.open", "os.replace"])
def test_an_unwritable_folder_is_a_sentence_and_loses_nothing(tmp_path, monkeypatch, place):
    path = patterns(3).save(tmp_path / "data.npz")
    before = path.read_bytes()

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(place, refuse)
    with pytest.raises(DataError, match="data.npz cannot be written: Permission denied."):
        patterns(6).save(path, overwrite=True)
    assert os.listdir(tmp_path) == ["data.npz"] and path.read_bytes() == before


def test_a_full_disk_or_a_stop_loses_nothing(tmp_path, monkeypatch):
    path = patterns(3).save(tmp_path / "data.npz")
    before = path.read_bytes()
    for error, raised in ((OSError(28, "No space left on device"), DataError),) + (
        (KeyboardInterrupt(), KeyboardInterrupt),
    ):

        def write(file, error=error, **_):
            file.write(b"half")
            raise error

        monkeypatch.setattr(np, "savez_compressed", write)
        with pytest.raises(raised):
            patterns(6).save(path, overwrite=True)
        assert os.listdir(tmp_path) == ["data.npz"] and path.read_bytes() == before


def test_a_file_in_the_folders_place(tmp_path):
    (tmp_path / "data").write_text("mine")
    with pytest.raises(DataError, match="cannot be written"):
        patterns(3).save(tmp_path / "data" / "x.npz")
    assert (tmp_path / "data").read_text() == "mine"


class Trap:
    """What a malicious file may hold: it makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_files_that_are_no_pattern_sets(tmp_path):
    path = tmp_path / "data.npz"
    with pytest.raises(DataError, match="There is no file"):
        PatternSet.load(path)
    whole = patterns().save(tmp_path / "good.npz").read_bytes()
    for content in (b"", b"no archive", whole[: len(whole) // 2], whole[:100] + whole[200:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="is not a pattern set"):
            PatternSet.load(path)
    for arrays in ({"intensity": np.zeros((2, 3))}, {}):
        np.savez(path, **arrays)
        with pytest.raises(DataError, match="is not a pattern set"):
            PatternSet.load(path)
    with pytest.raises(DataError, match="is not a pattern set"):
        PatternSet.load(tmp_path)
    with np.load(tmp_path / "good.npz") as file:
        np.savez(path, **{key: values for key, values in file.items() if key != "wavelength"})
    with pytest.raises(DataError, match="does not say for which wavelength"):
        PatternSet.load(path)


def test_pickled_objects_are_refused_and_not_run(tmp_path):
    path, sprung = tmp_path / "data.npz", tmp_path / "sprung"
    trap = np.empty(1, dtype=object)
    trap[0] = Trap(sprung)
    good = patterns()
    np.savez(
        path, intensity=good.intensity, labels=good.labels, names=trap, grid=np.array('{"start":1}')
    )
    sprung.unlink(missing_ok=True)
    with pytest.raises(DataError, match="is not a pattern set"):
        PatternSet.load(path)
    path.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(DataError, match="is not a pattern set"):
        PatternSet.load(path)
    assert not sprung.exists()


def test_min_max_scaling():
    scaled = min_max_scale([[2.0, 4.0, 3.0], [7.0, 7.0, 7.0], [-1.0, -3.0, 1.0]])
    assert scaled.tolist() == [[0, 1, 0.5], [0, 0, 0], [0.5, 0, 1]]
    assert scaled.dtype == np.float32
    assert min_max_scale(np.array([0, 200, 100], dtype=np.uint8)).tolist() == [0, 1, 0.5]
    assert min_max_scale(np.full(3, 1e30)).tolist() == [0, 0, 0]
    assert min_max_scale(np.zeros((0, 5))).shape == (0, 5)
    counts = np.array([1, 5], dtype=np.float32)
    min_max_scale(counts)
    assert counts.tolist() == [1, 5]


@pytest.mark.parametrize("values", [[1, np.nan], [1, np.inf], [np.inf, np.inf], [-np.inf, 1]])
def test_what_is_not_finite_cannot_be_scaled(values):
    for dtype in (np.float32, np.float64):
        with pytest.raises(DataError, match="NaN or infinity"):
            min_max_scale(np.array([[1, 2], values], dtype=dtype))


@pytest.mark.parametrize("empty", [[], [[], []], 3.0])
def test_what_has_no_points_cannot_be_scaled(empty):
    with pytest.raises(DataError, match="without points"):
        min_max_scale(empty)


def test_resampling_a_coarser_scan_draws_straight_lines():
    x = np.arange(10, 21, 2.0)
    values = resample(x, 3 * x + 1, GRID)
    assert values.dtype == np.float32 and np.allclose(values, 3 * GRID.two_theta + 1)
    assert np.array_equal(resample(GRID.two_theta, x := np.arange(21.0), GRID), x)


def test_resampling_a_finer_scan_keeps_the_counts_statistics():
    """Ten points to one: their mean, whose variance is a tenth."""
    grid = TwoThetaGrid(10, 60, 0.1)
    x = np.arange(9.5, 60.5, 0.01)
    y = np.random.default_rng(0).poisson(100, len(x)).astype(float)
    values = resample(x, y, grid)
    assert values.mean() == pytest.approx(y.mean(), abs=0.2)
    assert values.var() == pytest.approx(10, rel=0.25)
    k = 50
    near = y[np.abs(x - grid.two_theta[k]) < 0.0499]
    assert near.min() <= values[k] <= near.max()
    assert values[k] == pytest.approx(near.mean(), abs=3)


def test_resampling_uneven_and_partial_scans():
    x = np.array([12.0, 12.5, 13.1, 15.0, 18.0])
    y = np.array([1.0, 3.0, 2.0, 6.0, 4.0])
    values = resample(x, y, GRID)
    assert np.isfinite(values).all()
    axis = GRID.two_theta
    assert (values[axis <= 12] == 1).all() and (values[axis >= 18] == 4).all()
    assert values[axis == 14][0] == pytest.approx(2 + 4 * 0.9 / 1.9, rel=1e-6)
    one_point = resample([15.0], [7.0], GRID)
    assert (one_point == 7).all()


@pytest.mark.parametrize("x", [[1.0, 9.9], [20.1, 30.0], []])
def test_scans_beside_the_grid_are_refused(x):
    with pytest.raises(DataError, match="does not overlap the grid"):
        resample(x, np.ones(len(x)), GRID)


def test_split_takes_the_same_part_of_each_label():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1, 2], [60, 30, 12]))
    whole = PatternSet(
        np.arange(102)[:, None] * np.ones(GRID.n_points), labels, ("a", "b", "c"), GRID
    )
    train, validation = split(whole, 1 / 6, seed=3)
    assert np.bincount(validation.labels).tolist() == [10, 5, 2]
    assert np.bincount(train.labels).tolist() == [50, 25, 10]
    both = np.concatenate([train.intensity[:, 0], validation.intensity[:, 0]])
    assert sorted(both) == list(range(102))
    again, other = split(whole, 1 / 6, seed=3)[1], split(whole, 1 / 6, seed=4)[1]
    assert np.array_equal(validation.intensity, again.intensity)
    assert not np.array_equal(validation.intensity, other.intensity)
    for fraction in (0, 1, -0.5, float("nan")):
        with pytest.raises(DataError, match="between 0 and 1"):
            split(whole, fraction)
