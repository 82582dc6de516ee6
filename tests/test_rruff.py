"""RRUFF patterns: catalogue, local folder, cache and a server on this machine in RRUFF's place."""

import io
import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from xrdclass import rruff
from xrdclass.errors import DataError, DownloadError
from xrdclass.rruff import CATALOGUE, download, find_other_minerals, find_patterns, stand_in

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
def server():
    """An HTTP server; ``answers[path] = (status, content, stated length or None)``."""
    answers, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            status, content, length = answers.get(self.path, (404, b"not here", None))
            self.send_response(status)
            self.send_header("Content-Length", str(length or len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    running.answers, running.asked = answers, asked
    running.url = f"http://127.0.0.1:{running.server_address[1]}"
    yield running
    running.shutdown()
    running.server_close()


def fetch(server, cache, entries=(RUTILE,), **options):
    options = {"archive_urls": [server.url + "/XY_RAW.zip"], "timeout": 5, **options}
    return download(entries, cache, progress=False, file_url=server.url + "/single/", **options)


def test_catalogue():
    kinds = [(entry.phase, entry.kind) for entry in CATALOGUE]
    assert len(CATALOGUE) == len({entry.rruff_id for entry in CATALOGUE}) == 11
    assert kinds.count(("anatase", "calculated")) == 4
    assert kinds.count(("rutile", "measured")) == 4
    assert kinds.count(("brookite", "measured")) == 2
    assert kinds.count(("brookite", "calculated")) == 1
    assert ANATASE.file == "Anatase__R060277-9__Powder__Xray_Data_XY_RAW__5487.txt"
    assert not {m.lower() for m in rruff.OTHER_MINERALS} & {e.phase for e in CATALOGUE}


def test_nothing_at_hand(cache):
    assert find_patterns(cache_dir=cache) == [] == find_other_minerals(cache_dir=cache)
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
        ("Calcite R040070", None, "measured"),
        ("Quartz R040031", None, "not recorded"),
    ]


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
    with pytest.warns(UserWarning, match="which XRDCLASS_DATA names, is not a folder"):
        assert find_patterns(cache_dir=cache) == []


def test_download_from_the_archive(server, cache, monkeypatch):
    members = {
        "XY_RAW/" + RUTILE.file: pattern(),
        "XY_RAW/" + RUTILE.file.replace("-1", "-9"): pattern(n=1500),
        "Rutile__R050031-1__new.txt": pattern("R050031"),
        "../../Anatase__R060277-9__evil.txt": pattern("R060277"),
        "/abs/Anatase__R060277-9__evil.txt": pattern("R060277"),
        "..\\Anatase__R060277-9__evil.txt": pattern("R060277"),
        "Quartz__R040031-9__x.txt": pattern("R040031"),
        "Quartz__R050125-1__x.txt": pattern("R050125"),
    }
    server.answers["/XY_RAW.zip"] = (200, archive(members), None)
    (path,) = fetch(server, cache)
    assert path == cache / RUTILE.file and path.read_bytes() == pattern()
    assert [p.name for p in cache.iterdir()] == [RUTILE.file]
    asked = len(server.asked)
    assert fetch(server, cache) == [path] and len(server.asked) == asked  # nothing asked again
    with pytest.raises(DownloadError, match="R060277"):
        fetch(server, cache, CATALOGUE[:6], other=True)
    assert sorted(p.name for p in cache.iterdir()) == [
        "Quartz__R050125-1__x.txt",
        RUTILE.file,
        "Rutile__R050031-1__new.txt",
    ]
    assert not list(cache.parent.rglob("*evil*"))
    (other,) = find_other_minerals(cache_dir=cache)
    assert (other.name, other.source, other.where) == ("Quartz R050125", "measured", "cache")


def test_second_address_then_single_files(server, cache):
    server.answers["/second.zip"] = (200, archive({RUTILE.file: pattern()}), None)
    server.answers["/single/" + ANATASE.file] = (200, pattern("R060277"), None)
    urls = [server.url + "/XY_RAW.zip", server.url + "/second.zip"]
    paths = fetch(server, cache, [RUTILE, ANATASE], archive_urls=urls)
    assert [p.name for p in paths] == [RUTILE.file, ANATASE.file]
    found = find_patterns(cache_dir=cache)
    assert [(p.source, p.where) for p in found] == [
        ("calculated by RRUFF", "cache"),
        ("measured", "cache"),
    ]


def test_find_patterns_downloads_what_is_absent(server, cache, monkeypatch):
    monkeypatch.setattr(rruff, "ARCHIVE_URLS", (server.url + "/XY_RAW.zip",))
    monkeypatch.setattr(rruff, "FILE_URL", server.url + "/single/")
    server.answers["/XY_RAW.zip"] = (200, archive({RUTILE.file: pattern()}), None)
    with pytest.warns(UserWarning, match="R050031"):
        (found,) = find_patterns(download=True, cache_dir=cache)
    assert (found.entry, found.where) == (RUTILE, "network")


FULL = archive({RUTILE.file: pattern()})
PAGE = b"<!DOCTYPE html><html><body>We moved</body></html>"


@pytest.mark.parametrize(
    "zipped, single, fault",
    [
        ((404, b"", None), (404, b"", None), "XY_RAW.zip answered 404"),
        ((503, b"", None), (404, b"", None), "answered 503"),
        ((200, FULL[: len(FULL) // 2], None), (404, b"", None), "found a damaged one"),
        ((200, FULL[:3000], len(FULL)), (404, b"", None), "broke off"),
        ((200, PAGE, None), (200, PAGE, None), "found a web page.*to be a web page"),
        ((200, b"", None), (200, b"", None), "found other data.*empty file"),
        ((404, b"", None), (200, pattern()[:9000], len(pattern())), "broke off"),
        ((404, b"", None), (200, pattern("R050031"), None), "entry R040049.*found R050031"),
        ((404, b"", None), (200, pattern(n=500), None), "at least 1000 points.*found 500"),
        ((404, b"", None), (200, pattern(start=20), None), "from 10 to 80 degrees; found.*from 20"),
        ((200, archive({"a/" + RUTILE.file: PAGE}), None), (404, b"", None), "to be a web page"),
        ((200, archive({"other.txt": PAGE}), None), (404, b"", None), "has no file of R040049"),
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
    with pytest.raises(DownloadError, match="found a damaged one"):
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
    with pytest.raises(DownloadError, match="127.0.0.1 could not be reached.*To work offline, put"):
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
    assert 27 < top < 27.45  # the displaced sample's lines lie at lower angles than 27.45
    with pytest.raises(DataError, match="none of the five"):
        stand_in(rruff.Entry("R040031", "Quartz", None, "measured", ""))


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
