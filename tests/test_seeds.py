"""Seeds decide the data, whatever the settings and threads of a process.

``make check-reproduce`` compares more: between Pythons, and between training seeds.
"""

import sys

from load_script import load_script

reproduce = load_script("tools/check_reproduce.py")


def test_seeds_give_the_same_bits_in_a_new_process():
    """No state of this one, of its hashes or its locale is in the data."""
    here = reproduce.digests()
    assert len(set(here.values())) == len(here) == 7
    assert reproduce.ask(sys.executable, "digests", PYTHONHASHSEED="123", LC_ALL="C") == here


def test_verdicts_do_not_depend_on_the_number_of_threads():
    counts = reproduce.compare_verdicts(seeds=0)
    assert counts["verdicts of the shipped network"] >= 9
    assert counts["other with two threads"] == 0
    assert counts["largest change of a probability"] < 0.005
