"""Servers that fail in slow and odd ways, processes that are killed, processes at once.

``python tests/test_downloads.py 200`` kills 200 downloads and prints what was left of them;
tests/test_rruff.py has the faults of single answers.
"""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import servers
from load_script import load_script
from tqdm import tqdm

import xrdclass
from xrdclass import rruff
from xrdclass.errors import DownloadError
from xrdclass.files import cif, downloads
from xrdclass.rruff import CATALOGUE, download

ENTRIES = [replace(entry, url="", sha256="") for entry in CATALOGUE[:3]]


def pattern(rruff_id):
    rows = (f"{x:.4f}, {100 + i % 7}\n" for i, x in enumerate(np.linspace(5, 90, 1701)))
    return (f"##NAMES=x\n##RRUFFID={rruff_id}\n" + "".join(rows) + "##END=\n\n").encode()


PATTERNS = {entry.file: pattern(entry.rruff_id) for entry in ENTRIES}


def archive():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:  # not packed, to be large enough to be cut off
        for name, content in PATTERNS.items():
            zipped.writestr(name, content)
    return file.getvalue()


ARCHIVE = archive()


class Handler(servers.Answers):
    """Answers as the path says."""

    def do_GET(self):
        self.server.asked.append(self.path)
        first = self.server.asked.count(self.path) == 1
        with contextlib.suppress(OSError):
            getattr(self, "answer_" + self.path.split("/")[1], self.answer_none)(first)

    def answer_none(self, first):
        self.answer(404)

    def answer_good(self, first, pause=0.0):
        self.answer(200, b"", len(ARCHIVE))
        for at in range(0, len(ARCHIVE), 8192):
            self.wfile.write(ARCHIVE[at : at + 8192])
            time.sleep(pause)

    def answer_single(self, first):
        if not self.server.singles:
            return self.answer_none(first)
        content = PATTERNS[self.path.split("/")[2]]
        self.answer(200, content)

    def answer_endless(self, first):
        self.answer(200, b"", 10**9)
        for _ in range(1000):
            self.wfile.write(bytes(100_000))
            self.server.sent += 1
            time.sleep(0.02)

    def answer_slow(self, first):
        self.answer_good(first, 0.002)

    def answer_silent(self, first):
        time.sleep(3)

    def answer_stuck(self, first):
        self.answer(200, ARCHIVE[:10_000], len(ARCHIVE))
        time.sleep(3)

    def answer_loop(self, first):
        self.answer(302, Location=self.path)

    def answer_busy(self, first):
        if first:
            self.answer(503)
        else:
            self.answer_good(first)

    def answer_broken(self, first):
        if first:
            self.answer(200, ARCHIVE[:10_000], len(ARCHIVE))
        else:
            self.answer_good(first)

    def answer_failing(self, first):
        self.answer(500)


def bound_server():
    server = servers.bound(Handler)
    server.singles, server.sent = False, 0
    return server


@pytest.fixture
def server(monkeypatch):
    with servers.running(monkeypatch, bound_server) as running:
        yield running


def fetch_entries(url, cache, how, **options):
    archives = {f"{url}/{each}/XY_RAW.zip": "" for each in how.split()}
    entries = [replace(entry, url=f"{url}/single/{entry.file}") for entry in ENTRIES]
    options = {"progress": False, "timeout": 0.2, **options}
    return download(entries, cache, archives=archives, **options)


def whole(cache):
    """The visible files of a cache; each must be what the server holds."""
    found = sorted(path.name for path in cache.iterdir() if not path.name.startswith("."))
    for name in found:
        assert (cache / name).read_bytes() == PATTERNS[name]
    return found


@pytest.mark.parametrize(
    "how, fault, most, asked",
    [
        ("silent", "127.0.0.1 could not be reached", 2, 2),
        ("stuck", "127.0.0.1 could not be reached", 2, 2),
        ("loop", "could not be fetched .TooManyRedirects", 3, 62),
        ("failing", "answered 500", 2, 2),
    ],
)
def test_faults_that_take_time(server, tmp_path, how, fault, most, asked):
    start = time.perf_counter()
    with pytest.raises(DownloadError, match=fault) as caught:
        fetch_entries(server.url, tmp_path, how)
    assert time.perf_counter() - start < most
    assert "to work offline" in str(caught.value)
    assert sum(how in path for path in server.asked) == asked
    assert whole(tmp_path) == []
    assert len(fetch_entries(server.url, tmp_path, "good", timeout=5)) == 3


@pytest.mark.parametrize("how", ["endless", "failing", "good"])
def test_a_bounded_try_ends_in_time_and_says_what_came(server, tmp_path, how):
    """An archive may use half of the time; what is left is for the single files."""
    start = time.perf_counter()
    if how == "good":
        assert len(fetch_entries(server.url, tmp_path, how, seconds=2, timeout=5)) == 3
        return
    with pytest.raises(DownloadError, match="0 of 3 scans are in .*R060277, R070582, R120013"):
        fetch_entries(server.url, tmp_path, f"{how} {how}", seconds=1, timeout=5)
    assert time.perf_counter() - start < 1.5 and whole(tmp_path) == []
    server.singles, start = True, time.perf_counter()
    assert len(fetch_entries(server.url, tmp_path, how, seconds=1, timeout=5)) == 3
    assert time.perf_counter() - start < 1.5


def test_what_nobody_waits_for_is_not_fetched_on(server, tmp_path):
    with pytest.raises(DownloadError, match="took more than 0.3 s"):
        downloads.fetch(f"{server.url}/endless/x", tmp_path / "x", seconds=0.3)
    time.sleep(0.5)
    sent = server.sent
    time.sleep(0.5)
    assert server.sent <= sent + 1 and not (tmp_path / "x").exists()


@pytest.mark.parametrize("how", ["busy", "broken"])
def test_a_fault_that_passes_is_tried_again(server, tmp_path, how):
    assert len(fetch_entries(server.url, tmp_path, how, timeout=5)) == 3
    assert len(server.asked) == 2 and len(whole(tmp_path)) == 3


def test_a_bar_shows_the_progress(server, tmp_path, capsys):
    fetch_entries(server.url, tmp_path, "good", progress=True, timeout=5)
    assert f"/{len(ARCHIVE) / 1000:.1f}k [" in capsys.readouterr().err


def test_a_structure_from_a_slow_server(server, tmp_path, monkeypatch):
    cache = tmp_path / "cod"
    monkeypatch.setattr(cif, "fetch", lambda url, path: downloads.fetch(url, path, timeout=0.2))
    for how, fault in (("loop", "TooManyRedirects"), ("stuck", "be reached"), ("failing", "500")):
        monkeypatch.setattr(cif, "COD_URL", f"{server.url}/{how}/{{entry}}.cif")
        with pytest.raises(DownloadError, match=f"{fault}.*Without a network"):
            cif.download_cod(9015662, cache)
    assert not cache.exists()


@pytest.mark.parametrize(
    "how, said",
    [
        ("good", "all have come"),
        ("silent", "0 of 3 scans are in .*could not be reached.; to work offline, put the files"),
        ("endless", "0 of 3 scans are in .*took more than .*to work offline, put the files"),
        ("hanging", "3 of 3 are lacking after 2 s"),  # as a look-up of a host's name may
    ],
)
def test_lessons_wait_for_scans_only_so_long(server, tmp_path, monkeypatch, capsys, how, said):
    for name, entries in (("CATALOGUE", ENTRIES), ("OTHER_MINERALS", []), ("MIXTURES", [])):
        monkeypatch.setattr(rruff, name, entries)
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path)
    monkeypatch.setattr(downloads, "ARCHIVES", {f"{server.url}/{how}/XY_RAW.zip": ""})
    monkeypatch.delenv("XRDCLASS_DATA", raising=False)
    if how == "hanging":
        monkeypatch.setattr(rruff, "download", lambda *_, **__: time.sleep(5))
    lessons = load_script("tools/run_lessons.py")
    start = time.perf_counter()
    lessons.fetch_scans(2)
    assert time.perf_counter() - start < 2.5
    first, last = capsys.readouterr().out.strip().splitlines()
    assert first == "Measured scans: fetching 3, 2 s at most" and re.search(said, last)
    assert len(lessons.lacking_scans()) == (0 if how == "good" else 3)


def test_every_call_has_a_timeout():
    """No other way to the network in the package than `downloads.fetch`."""
    ways = re.compile(r"\b(urlopen|urlretrieve|HTTPDownloader|requests\.[a-z]+\(|retrieve\()")
    for path in Path(xrdclass.__file__).parent.rglob("*.py"):
        found = ways.findall(path.read_text(encoding="utf-8"))
        assert not found or path.name == "downloads.py", f"{path.name}: {found}"


def start_download(url, cache, how):
    """A download in a copy of this process; its number."""
    if child := os.fork():
        return child
    with contextlib.suppress(BaseException):
        fetch_entries(url, cache, how, timeout=20)
        os._exit(0)
    os._exit(1)


def kill_downloads(number, folder, seed=0):
    """Kill downloads at random moments; the cache stays whole, the next run completes it."""
    tqdm.set_lock(threading.RLock())  # its own is one for all copies of a process
    server = bound_server()
    if not (serving := os.fork()):
        server.serve_forever()
    try:
        fetch_entries(server.url, folder / "warm", "good", timeout=20)  # imports what it needs
        times = []
        for i in range(3):
            start = time.perf_counter()
            child = start_download(server.url, folder / f"first{i}", "slow")
            assert os.waitpid(child, 0)[1] == 0
            times.append(time.perf_counter() - start)
        rng = np.random.default_rng(seed)
        counts = {"killed": 0, "finished before": 0, "none": 0, "some": 0, "all": 0, "repaired": 0}
        for i in range(number):
            cache = folder / f"cache{i}"
            child = start_download(server.url, cache, "slow")
            time.sleep(rng.uniform(0, 1.1 * min(times)))
            os.kill(child, signal.SIGKILL)
            killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
            counts["killed" if killed else "finished before"] += 1
            held = len(whole(cache)) if cache.exists() else 0
            counts["all" if held == len(ENTRIES) else "some" if held else "none"] += 1
            if len(fetch_entries(server.url, cache, "good", timeout=20)) == len(whole(cache)) == 3:
                counts["repaired"] += 1
        at_once = 0
        for i in range(max(3, number // 10)):
            cache = folder / f"both{i}"
            children = [start_download(server.url, cache, "slow") for _ in range(2)]
            assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
            at_once += len(whole(cache)) == 3
        return {**counts, "two at once": at_once}
    finally:
        os.kill(serving, signal.SIGKILL)
        os.waitpid(serving, 0)
        server.server_close()


def test_killed_downloads_leave_no_broken_file():
    """In a process without threads, which can be copied safely."""
    done = subprocess.run(
        [sys.executable, __file__, "20"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    counts = dict(re.findall(r"'([\w ]+)': (\d+)", done.stdout))
    assert counts["repaired"] == "20" and counts["two at once"] == "3"
    assert int(counts["killed"]) > 5


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(kill_downloads(int(sys.argv[1]), Path(name)))
