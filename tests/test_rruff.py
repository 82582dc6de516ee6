"""RRUFF patterns: catalogue, local folder, cache and a server on this machine in RRUFF's place."""

import hashlib
import io
import json
import os
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import servers

from xrdclass import rruff
from xrdclass.errors import DataError, DownloadError
from xrdclass.files import downloads
from xrdclass.rruff import (
    CATALOGUE,
    MIXTURES,
    OTHER_MINERALS,
    download,
    find_mixtures,
    find_other_minerals,
    find_patterns,
    stand_in,
)
from xrdclass.scans import Scan

DATA = os.environ.get("XRDCLASS_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="XRDCLASS_DATA names no folder of measured scans")
RUTILE = next(entry for entry in CATALOGUE if entry.rruff_id == "R040049")
ANATASE = CATALOGUE[0]


def pattern(rruff_id="R040049", status="", start=5, stop=90, n=1701, mineral="Rutile"):
    head = f"##NAMES={mineral}\n##RRUFFID={rruff_id}\n" + (f"##STATUS={status}\n" if status else "")
    rows = (f"{x:.4f}, {100 + i % 7}\n" for i, x in enumerate(np.linspace(start, stop, n)))
    return (head + "".join(rows) + "##END=\n\n").encode()


def archive(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return file.getvalue()


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch):
    monkeypatch.delenv("XRDCLASS_DATA", raising=False)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def server(monkeypatch):
    with servers.running(monkeypatch) as running:
        yield running


def records(*changes):
    """An archive with a JSON list of records, as on figshare."""
    made = []
    for change in changes:
        grid = np.linspace(5, 90, 1701)
        record = {"##NAMES": "Rutile", "##RRUFFID": "R040049", "##STATUS": "confirmed\nby eye"}
        record |= {"x": grid.tolist(), "y": np.round(50 + 49 * np.sin(grid), 3).tolist()}
        made.append({**record, "formula": "Ti O2", **change})
    return archive({"rruff.json": json.dumps(made)})


FULL = archive({RUTILE.file: pattern()})
PAGE = b"<!DOCTYPE html><html><body>We moved</body></html>"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def here(server, *entries, content=None):
    """The entries with their single files at this server; with a checksum if content is given."""
    known = sha256(content) if content else ""
    return [replace(e, url=f"{server.url}/single/{e.file}", sha256=known) for e in entries]


def fetch(server, cache, entries=(RUTILE,), **options):
    options = {"archives": {server.url + "/XY_RAW.zip": ""}, "timeout": 5, **options}
    return download(here(server, *entries), cache, progress=False, **options)


def test_catalogue():
    kinds = [(entry.phase, entry.kind) for entry in CATALOGUE]
    assert len(CATALOGUE) == len({entry.rruff_id for entry in CATALOGUE}) == 11
    assert kinds.count(("anatase", "calculated")) == 4
    assert kinds.count(("rutile", "measured")) == 4
    assert kinds.count(("brookite", "measured")) == 2
    assert kinds.count(("brookite", "calculated")) == 1
    assert ANATASE.file == "Anatase__R060277-9__Powder__Xray_Data_XY_RAW__5487.txt"
    assert len(downloads.ARCHIVES) == 3 and len(next(iter(downloads.ARCHIVES.values()))) == 64


def test_list_of_other_minerals_and_mixtures():
    assert len({entry.rruff_id for entry in OTHER_MINERALS}) == 24
    assert not {entry.mineral for entry in OTHER_MINERALS} & {e.mineral for e in CATALOGUE}
    assert {entry.kind for entry in OTHER_MINERALS} == {"measured", "calculated"}
    assert len(MIXTURES) == 6
    for mixture in MIXTURES:
        assert sum(mixture.weight_percent.values()) == pytest.approx(100, abs=0.02)
    assert MIXTURES[0].weight_percent == {"anatase": 40.01, "zincite": 59.99}
    for entry in OTHER_MINERALS + MIXTURES + CATALOGUE[:4]:
        assert len(entry.sha256) == 64 and entry.url.startswith("https://")
        assert entry.rruff_id in entry.file and entry.rruff_id in entry.url


def test_nothing_at_hand(cache):
    for find in (find_patterns, find_other_minerals, find_mixtures):
        assert find(cache_dir=cache) == []
    assert not cache.exists()


def test_local_folder(tmp_path, cache, monkeypatch):
    folder = tmp_path / "mine"
    (folder / "deep" / "er").mkdir(parents=True)
    files = {
        "deep/er/scan_r050031.CSV": pattern("none"),
        "r060277.xy": pattern("none", "measured again; counts"),
        ANATASE.file.replace("R060277", "R070582"): pattern("R070582"),
        "R040049-1__Powder__Xray_Data_XY_Processed__1.txt": pattern(n=1702),
        "R040049-1__Powder__Xray_Data_XY_RAW__1.txt": pattern(n=1703),
        "Rutile__R050417-1__Powder__DIF_File__1.txt": pattern(),
        "rutile_lab3.xy": pattern("none"),
        "rutile_lab3.csv": pattern("none"),
        "deep/rutile_lab3.xy": pattern("none"),
        "anatase_and_rutile.xy": pattern("none"),
        "Brookite__R0xxxxx.txt": pattern("R0xxxxx", "calculated by RRUFF, not measured"),
        "my TiO2-II.dat": pattern("none"),
        "Quartz__R040031.txt": pattern("R040031", "as in a copy"),
        "r100171.csv": pattern("R100171"),
        "CPD-1a.xy": pattern("none"),
        "Calcite__R040070-1__x.txt": pattern("R040070", "confirmed by X-ray diffraction"),
        "Anatase__R060277.zip": b"PK",
        "README": b"5 1\n",
        "README_rutile.txt": b"Which samples these are",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    monkeypatch.setenv("XRDCLASS_DATA", str(folder))
    found = find_patterns(cache_dir=cache)
    assert [p.entry.rruff_id for p in found[:4]] == ["R060277", "R070582", "R040049", "R050031"]
    assert [p.source for p in found[:3]] == ["measured", "calculated by RRUFF", "measured"]
    assert len(found[2].scan) == 1703  # raw, not processed
    extra = [(p.entry.rruff_id, p.phase, p.source) for p in found[4:]]
    assert sorted(extra) == [
        ("R0xxxxx", "brookite", "calculated by RRUFF"),
        ("my TiO2-II", "TiO2-II", "measured"),
        ("rutile_lab3", "rutile", "measured"),
        ("rutile_lab3", "rutile", "measured"),
    ]
    assert {p.where for p in found} == {"local folder"}
    others = find_other_minerals(cache_dir=cache)
    assert [(p.name, p.phase, p.source) for p in others] == [
        ("Baddeleyite R100171", None, "measured"),
        ("Calcite R040070", None, "measured"),
        ("Quartz R040031", None, "measured"),
    ]
    (mixture,) = find_mixtures(cache_dir=cache)
    assert mixture.entry.weight_percent["fluorite"] == 94.81 and mixture.source == "measured"


COUNTS = [0, 0, 0, 7, 250, 9]
HALVES = [0, 0, 0, 7.5, 250, 9]
CURVE = [0, 0, 0, 0, 0.5, 3, 11, 40, 75, 90, 60, 20, 6, 2, 0.5]


@pytest.mark.parametrize(
    "name, header, intensity, source",
    [
        ("Rutile__R040049.txt", {}, COUNTS, "measured"),
        ("Rutile__R040049.txt", {}, HALVES, "measured, stripped"),
        (
            "Rutile__R040049.txt",
            {"STATUS": "calculated, not measured"},
            COUNTS,
            "calculated by RRUFF",
        ),
        ("Rutile__R040049-9__x.txt", {}, COUNTS, "calculated by RRUFF"),
        ("Rutile__R040049-9__x.txt", {"STATUS": "Measured."}, COUNTS, "measured"),
        ("Rutile__R040049__XY_Processed.txt", {}, COUNTS, "measured, processed"),
        ("Rutile__R040049.txt", {"INTENSITIES": "processed"}, [1.5, 0.5], "measured, processed"),
        ("Anatase__R060277.txt", {}, COUNTS, "calculated by RRUFF"),
        ("Rutile__R040049.txt", {}, CURVE, "measured, stripped"),
        ("Tin__R060756.csv", {}, CURVE, "calculated"),
        ("Tin__R060756.csv", {}, HALVES, "measured, stripped"),
        ("Tin__R060756.csv", {"STATUS": "as in a copy"}, COUNTS, "measured"),
        ("Tin__R060756.csv", {}, [0.5] * 19 + [0], "measured"),  # one zero in twenty
        ("Tin__R060756-9__x.txt", {}, HALVES, "calculated by RRUFF"),
        ("Corundum__R040096.csv", {}, CURVE, "measured, stripped"),  # the list knows better
        ("Quartz__R040031.txt", {}, CURVE, "calculated"),
    ],
)
def test_the_source_of_a_pattern(tmp_path, cache, name, header, intensity, source):
    lines = [f"##{key}={value}" for key, value in header.items()]
    lines += [f"{5 + i / 10:.1f}, {y}" for i, y in enumerate(np.tile(intensity, 6))]
    (tmp_path / name).write_text("\n".join(lines))
    (found,) = find_patterns(tmp_path, cache) + find_other_minerals(tmp_path, cache)
    assert found.source == source


def test_the_kind_that_numbers_tell():
    """Of a simulated pattern: as it is, as a counter has it, and stripped of its background."""
    clean = stand_in(RUTILE).scan
    rng = np.random.default_rng(0)
    peaks = np.exp(-0.5 * ((clean.two_theta[:, None] - [27.4, 36.1, 54.3]) / 0.1) ** 2).sum(axis=1)
    counts = rng.poisson(50 + 900 * peaks)
    numbers = {
        "calculated": np.where(peaks < 1e-6, 0, 99.5 * peaks),
        "measured": counts,
        "stripped": np.maximum(counts - 50.5, 0),
    }
    for kind, intensity in numbers.items():
        assert rruff.kind_of(Scan(clean.two_theta, intensity)) == kind


def test_broken_local_file_gives_way_to_the_cache(tmp_path, cache):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "Rutile__R040049.txt").write_text("nothing but words")
    cache.mkdir()
    (cache / RUTILE.file).write_bytes(pattern())
    with pytest.warns(UserWarning, match="Left out: .*no line of numbers"):
        (found,) = find_patterns(tmp_path / "mine", cache_dir=cache)
    assert (found.entry, found.where) == (RUTILE, "cache")


def test_data_folder_that_is_none(tmp_path, cache, monkeypatch):
    with pytest.raises(DataError, match="is not a folder"):
        find_patterns(tmp_path / "none", cache_dir=cache)
    monkeypatch.setenv("XRDCLASS_DATA", str(tmp_path / "none"))
    with pytest.raises(DataError, match="which XRDCLASS_DATA names, is not a folder"):
        find_patterns(cache_dir=cache)


def test_download_from_the_archive(server, cache, monkeypatch):
    members = {
        "XY_RAW/" + RUTILE.file: pattern(),
        "XY_RAW/" + RUTILE.file.replace("-1", "-9"): pattern(n=1500),
        "Rutile__R050031-1__new.txt": pattern("R050031"),
        "../../Anatase__R060277-9__evil.txt": pattern("R060277"),
        "/abs/Anatase__R070582-9__evil.txt": pattern("R070582"),
        "..\\Anatase__R120013-9__evil.txt": pattern("R120013"),
        "Quartz__R040031-9__x.txt": pattern("R040031"),
        "Quartz__R050125-1__x.txt": pattern("R050125"),
    }
    server.answers["/XY_RAW.zip"] = (200, archive(members), None)
    (path,) = fetch(server, cache)
    assert path == cache / RUTILE.file and path.read_bytes() == pattern()
    assert [p.name for p in cache.iterdir()] == [RUTILE.file]
    asked = len(server.asked)
    assert fetch(server, cache) == [path] and len(server.asked) == asked  # nothing asked again
    with pytest.raises(DownloadError, match="5 of 6 scans are in .*R120064"):
        fetch(server, cache, [*CATALOGUE[:4], RUTILE, CATALOGUE[5]])
    evil = {p.parent for p in cache.parent.rglob("*evil*")}  # kept by their bare names
    assert evil == {cache} and len(list(cache.iterdir())) == 5
    minerals = [rruff.Entry(i, "Quartz", None, None, "") for i in ("R040031", "R050125")]
    assert [p.name[:18] for p in fetch(server, cache, minerals)] == [
        "Quartz__R040031-9_",
        "Quartz__R050125-1_",
    ]
    others = find_other_minerals(cache_dir=cache)
    assert [(p.name, p.source, p.where) for p in others] == [
        ("Quartz R040031", "calculated by RRUFF", "cache"),
        ("Quartz R050125", "measured", "cache"),
    ]


def test_second_address_then_single_files(server, cache):
    server.answers["/second.zip"] = (200, archive({RUTILE.file: pattern()}), None)
    server.answers["/single/" + ANATASE.file] = (200, pattern("R060277"), None)
    urls = {server.url + "/XY_RAW.zip": "", server.url + "/second.zip": ""}
    paths = fetch(server, cache, [RUTILE, ANATASE], archives=urls)
    assert [p.name for p in paths] == [RUTILE.file, ANATASE.file]
    found = find_patterns(cache_dir=cache)
    assert [(p.source, p.where) for p in found] == [
        ("calculated by RRUFF", "cache"),
        ("measured", "cache"),
    ]


@pytest.mark.parametrize("numbers", [float, str])
def test_records_of_a_known_archive_come_first_and_are_marked(server, cache, numbers):
    grid = [numbers(x) for x in np.linspace(5, 90, 1701)]
    content = records({"##RRUFFID": "R999999"}, {"x": grid}, {"##RRUFFID": "R060277"})
    server.answers["/records.zip"] = (200, content, None)
    urls = {server.url + "/records.zip": sha256(content), server.url + "/XY_RAW.zip": ""}
    (path,) = fetch(server, cache, archives=urls)
    assert server.asked == ["/records.zip"]
    (found,) = find_patterns(cache_dir=cache)
    assert (found.entry, found.source, found.scan.path) == (RUTILE, "measured, processed", path)
    stated = found.scan.metadata
    assert (stated["NAMES"], stated["RRUFFID"]) == ("Rutile", "R040049")
    assert stated["STATUS"] == "confirmed by eye" and "figshare" in stated["INTENSITIES"]
    assert len(found.scan) == 1701 and found.scan.intensity.max() == 99.0
    (cache / RUTILE.file).write_bytes(pattern())  # raw data go before processed ones
    assert find_patterns(cache_dir=cache)[0].source == "measured"


@pytest.mark.parametrize(
    "content, fault",
    [
        (records({"x": None}), "sent no whole archive"),
        (records({"y": [1.0, 2.0]}), "did not send what was asked for"),
        (records({"x": ["five"] * 1701}), "no line of numbers"),
        (records({"x": [1.0], "y": [2.0]}), "did not send what was asked for"),
        (records({"##RRUFFID": "R050031"}), "could not be fetched: R040049"),
        (archive({"rruff.json": "{"}), "could not be fetched: R040049"),
        (archive({"rruff.json": "[1]"}), "sent no whole archive"),
        (archive({"rruff.txt": "[]"}), "sent no whole archive"),
        (PAGE, "sent no whole archive .File is not a zip file"),
    ],
    ids="none unequal words one other half numbers text page".split(),
)
def test_records_that_are_not_as_described(server, cache, content, fault):
    server.answers["/records.zip"] = (200, content, None)
    with pytest.raises(DownloadError, match=fault):
        fetch(server, cache, archives={server.url + "/records.zip": sha256(content)})
    assert list(cache.iterdir()) == []


def test_many_records_of_any_length_are_read_in_pieces(server, cache):
    long = {"##RRUFFID": "R999999", "formula": "Ti O2 " * 300_000}
    content = records({"##RRUFFID": "R050031"}, long, {}, {"##RRUFFID": "R050417"}, long)
    server.answers["/records.zip"] = (200, content, None)
    paths = fetch(
        server, cache, CATALOGUE[4:7], archives={server.url + "/records.zip": sha256(content)}
    )
    assert [path.name[:15] for path in paths] == [
        f"Rutile__{entry.rruff_id}" for entry in CATALOGUE[4:7]
    ]


def test_single_files_with_a_checksum(server, cache):
    """They need no header; another content is refused, and no archive is asked for mixtures."""
    rows = b"".join(b"%.1f %d\n" % (x / 10, x % 7) for x in range(50, 900))
    for entry in (RUTILE, MIXTURES[2]):
        server.answers["/single/" + entry.file] = (200, rows + b"9", None)
        wanted = here(server, entry, content=rows)
        zipped = {server.url + "/XY_RAW.zip": ""}
        with pytest.raises(DownloadError, match="asked for: another SHA-256"):
            download(wanted, cache, progress=False, archives=zipped)
        server.answers["/single/" + entry.file] = (200, rows, None)
        asked = len(server.asked)
        assert download(wanted, cache, progress=False, archives=zipped) == [cache / entry.file]
        archived = "/XY_RAW.zip" in server.asked[asked:]
        assert archived == (entry is RUTILE) and server.asked[-1] == "/single/" + entry.file
        asked = len(server.asked)
        assert download(wanted, cache, progress=False, archives=zipped)
        assert len(server.asked) == asked
    assert [p.entry.file for p in find_mixtures(cache_dir=cache)] == ["cpd-1a.prn"]


def test_many_entries_say_how_many_came(server, cache):
    server.answers["/XY_RAW.zip"] = (200, archive({RUTILE.file: pattern()}), None)
    with pytest.raises(DownloadError, match="1 of 31 scans .*R100171.* 27 more"):
        fetch(server, cache, (RUTILE, *OTHER_MINERALS, *MIXTURES))


@pytest.mark.parametrize(
    "zipped, single, fault",
    [
        ((404, b"", None), (404, b"", None), "XY_RAW.zip answered 404"),
        ((503, b"", None), (404, b"", None), "answered 503"),
        ((200, FULL[: len(FULL) // 2], None), (404, b"", None), "sent no whole archive"),
        ((200, FULL[:3000], len(FULL)), (404, b"", None), "ChunkedEncodingError"),
        ((200, PAGE, None), (200, PAGE, None), "no whole archive.*to be a web page"),
        ((200, b"", None), (200, b"", None), "no whole archive.*empty file"),
        ((404, b"", None), (200, pattern()[:9000], len(pattern())), "ChunkedEncodingError"),
        ((404, b"", None), (200, pattern("R050031"), None), "expected R040049.*found R050031"),
        ((404, b"", None), (200, pattern(n=500), None), "at least 1000 points.*with 500"),
        ((404, b"", None), (200, pattern(start=20), None), "from 10 to 80 degrees; found.*from 20"),
        ((200, archive({"a/" + RUTILE.file: PAGE}), None), (404, b"", None), "to be a web page"),
        ((200, archive({"other.txt": PAGE}), None), (404, b"", None), "fetched: R040049"),
    ],
)
def test_what_goes_wrong_leaves_nothing_and_can_be_repeated(server, cache, zipped, single, fault):
    server.answers["/XY_RAW.zip"] = zipped
    server.answers["/single/" + RUTILE.file] = single
    with pytest.raises(DownloadError, match=fault) as caught:
        fetch(server, cache)
    assert "R040049" in str(caught.value) and "XRDCLASS_DATA" in str(caught.value)
    assert list(cache.iterdir()) == []
    server.answers["/XY_RAW.zip"] = (200, FULL, None)
    assert fetch(server, cache) == [cache / RUTILE.file]


def test_damaged_member(server, cache):
    stored = bytearray(archive({RUTILE.file: pattern()}))
    stored[200:400] = bytes(200)
    server.answers["/XY_RAW.zip"] = (200, bytes(stored), None)
    with pytest.raises(DownloadError, match="sent no whole archive"):
        fetch(server, cache)
    assert list(cache.iterdir()) == []


def test_damaged_cache_is_fetched_again(server, cache):
    cache.mkdir()
    (cache / RUTILE.file).write_bytes(b"half a")
    server.answers["/XY_RAW.zip"] = (200, FULL, None)
    (path,) = fetch(server, cache)
    assert path.read_bytes() == pattern()


def test_offline(server, cache):
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match="127.0.0.1 could not be reached.*to work offline, put"):
        fetch(server, cache)
    assert list(cache.iterdir()) == []


def test_unwritable_cache(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("precious")
    for cache in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DownloadError, match="cannot be written to"):
            fetch(server, cache)
    assert (tmp_path / "file").read_text() == "precious"

    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", forbidden)
    with pytest.raises(DownloadError, match="cannot be written to: Permission denied"):
        fetch(server, tmp_path / "cache")


def test_stand_in():
    first, again, other = stand_in(RUTILE), stand_in(RUTILE), stand_in(RUTILE, seed=1)
    assert (first.source, first.where, first.phase) == ("stand-in", "simulated", "rutile")
    assert "stand-in" in first.scan.name
    assert "not measured" in first.scan.metadata["STATUS"]
    np.testing.assert_array_equal(first.scan.intensity, again.scan.intensity)
    assert (first.scan.intensity != other.scan.intensity).any()
    top = first.scan.two_theta[first.scan.intensity.argmax()]
    assert 27.45 < top < 27.9  # the sample lies too high: its lines at larger angles than 27.45


def test_evaluation_patterns(cache):
    patterns = rruff.evaluation_patterns(cache_dir=cache)
    assert [p.entry for p in patterns] == list(CATALOGUE)
    assert {p.source for p in patterns} == {"stand-in"}
    cache.mkdir()
    (cache / RUTILE.file).write_bytes(pattern())
    assert [p.source for p in rruff.evaluation_patterns(cache_dir=cache)] == ["measured"]


@needs_data
def test_measured_folder(cache):
    found = find_patterns(DATA, cache_dir=cache)
    if not found:
        pytest.skip("XRDCLASS_DATA holds none of the five phases")
    known = {entry.rruff_id: entry for entry in CATALOGUE}
    for p in found:
        assert p.where == "local folder" and p.source in ("measured", "calculated by RRUFF")
        if p.entry.rruff_id in known:
            assert p.source.startswith(p.entry.kind) and p.phase == p.entry.mineral.lower()
    others = find_other_minerals(DATA, cache_dir=cache)
    assert all(p.phase is None for p in others)
    assert not {p.scan.path for p in others} & {p.scan.path for p in found}
    for p in others + find_mixtures(DATA, cache_dir=cache):  # the rule agrees with the list
        assert p.source.startswith((p.entry.kind or p.source)[:8]), p.name
