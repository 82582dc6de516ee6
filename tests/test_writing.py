"""Files are whole or not there: devices, links, long names, killed and rival writers.

``python tests/test_writing.py 200`` kills 200 processes while they write and prints what was left.
"""

import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from xrdclass.errors import DataError
from xrdclass.files.writing import write_safely
from xrdclass.patterns import PatternSet, TwoThetaGrid

pytestmark = pytest.mark.skipif(os.name == "nt", reason="these faults are made the POSIX way")


def test_devices_and_folders_are_not_replaced_and_links_stay(tmp_path):
    for place in ("/dev/null", tmp_path):
        with pytest.raises(DataError, match="no ordinary file"):
            write_safely(place, lambda file: file.write(b"x"), overwrite=True)
    assert Path("/dev/null").is_char_device() and not os.listdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for overwrite in (False, True):
        write_safely(tmp_path / "link", lambda file: file.write(b"x"), overwrite)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_bytes() == b"x"


def test_a_name_may_be_as_long_as_names_can_be(tmp_path):
    path = tmp_path / ("n" * 250 + ".npz")
    write_safely(path, lambda file: file.write(b"x"))
    assert os.listdir(tmp_path) == [path.name]
    with pytest.raises(DataError, match="cannot be written: File name too long"):
        write_safely(tmp_path / ("n" * 300), lambda file: file.write(b"x"))


def test_of_rival_writers_one_wins_and_the_others_are_told(tmp_path):
    path, barrier = tmp_path / "data", threading.Barrier(8)

    def write(i):
        def slowly(file):
            file.write(bytes([i]) * 1000)
            barrier.wait()

        try:
            write_safely(path, slowly)
            outcomes.append(i)
        except DataError as error:
            assert "exists already" in str(error)

    for _ in range(20):
        outcomes = []
        rivals = [threading.Thread(target=write, args=(i,)) for i in range(8)]
        for rival in rivals:
            rival.start()
        for rival in rivals:
            rival.join()
        assert len(outcomes) == 1 and path.read_bytes() == bytes(outcomes) * 1000
        assert os.listdir(tmp_path) == ["data"]
        path.unlink()


def test_what_a_killed_writer_left_goes_after_an_hour(tmp_path):
    old, new, mine = (tmp_path / n for n in (".a-unfinished-1.b", ".a-unfinished-2.b", ".a-1.b"))
    for path in (old, new, mine):
        path.write_text("half")
    for path in (old, mine):
        os.utime(path, (0, 0))
    write_safely(tmp_path / "a.b", lambda file: file.write(b"x"))
    assert sorted(os.listdir(tmp_path)) == [mine.name, new.name, "a.b"]


def kill_writers(times, folder, seed=0):
    """Kill processes that overwrite one pattern file again and again; count what was left."""
    path, rng = folder / "data.npz", random.Random(seed)
    counts = {"killed": 0, "whole": 0, "broken": 0, "leftovers": 0}
    for _ in range(times):
        writer = subprocess.Popen([sys.executable, __file__, "write", str(path)], stdout=-1)
        writer.stdout.readline()  # it has begun
        time.sleep(rng.uniform(0, 0.1))
        writer.send_signal(signal.SIGKILL)
        counts["killed"] += writer.wait() == -signal.SIGKILL
        writer.stdout.close()
        try:
            patterns = PatternSet.load(path)
            kinds = np.unique(patterns.intensity)
            counts["whole"] += len(kinds) == 1 and kinds[0] in (1, 2) and len(patterns) == 500
        except DataError:
            counts["broken"] += 1
    counts["leftovers"] = len(os.listdir(folder)) - 1
    return counts


def write_for_ever(path):
    grid = TwoThetaGrid(5, 90, 0.05)
    sets = [
        PatternSet(np.full((500, grid.n_points), v, np.float32), np.zeros(500, int), ("a",), grid)
        for v in (1, 2)
    ]
    if not Path(path).exists():
        sets[0].save(path)
    print(flush=True)
    for patterns in itertools.cycle(sets):
        patterns.save(path, overwrite=True)


def test_a_killed_writer_leaves_the_file_whole(tmp_path):
    counts = kill_writers(6, tmp_path)
    assert counts["killed"] == counts["whole"] == 6 and counts["broken"] == 0


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write_for_ever(sys.argv[2])
    else:
        with tempfile.TemporaryDirectory() as name:
            print(kill_writers(int(sys.argv[1]), Path(name)))
