"""Training an identifier: what is asked of it, what it learns, and that a stopped run goes on."""

from dataclasses import replace

import numpy as np
import pytest
from samples import PHASES, TWO, stop_after

from xrdclass.errors import DataError
from xrdclass.identify import train
from xrdclass.identify.background import above_background
from xrdclass.identify.foreign import invent_crystals
from xrdclass.identify.laboratory import Laboratory
from xrdclass.identify.mixtures import MixtureSource
from xrdclass.identify.train import (
    ASKED_HEIGHT,
    STRENGTHS,
    VISIBLE_HEIGHT,
    VISIBLE_SIGNAL,
    Fitted,
    fitted,
    harder,
    measure,
    print_measured,
    targets,
    train_identifier,
)


def test_nothing_is_asked_of_what_cannot_be_seen():
    found = MixtureSource(PHASES, invent_crystals(3, 8), 5, harder(Laboratory())).draw(200)
    asked = targets(found)
    truth, weight = asked[..., 0] > 0, asked[..., 1] > 0
    assert asked.shape == (200, 6, 2) and (truth[:, :5] == found.present).all()
    assert (truth[:, 5] == found.foreign).all()
    least = np.array([ASKED_HEIGHT] * 5 + [VISIBLE_HEIGHT])
    hidden = (found.height < least) | (found.signal_to_noise < VISIBLE_SIGNAL)
    assert weight[~truth].all() and (weight[truth] == ~hidden[truth]).all()
    assert 0 < (~weight[truth]).sum() < truth.sum() / 2
    weak = truth[:, :5] & (found.height[:, :5] < VISIBLE_HEIGHT)
    assert 0 < (weak & weight[:, :5]).sum(), "weak phases are asked about, too"


class Bar:
    """A progress bar that counts."""

    seen: list = []

    def __init__(self, total, desc):
        self.total, self.desc, self.done = total, desc, 0
        Bar.seen.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, n):
        self.done += n


@pytest.fixture(scope="module")
def tiny():
    """A short run of the recipe on two phases."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xrdclass.identify.train.PORTION", 128)
        return train_identifier(TWO, 256, n_crystals=10, n_fitted=96, passes=6, progress=Bar)


@pytest.fixture(scope="module")
def unseen():
    return MixtureSource(TWO, invent_crystals(10, 77), 99).draw(160)


def test_a_short_run_learns(tiny, unseen):
    """Ranks fresh samples with a phase before those without, far better than chance."""
    identifier, losses = tiny, tiny.settings["losses"]
    assert len(losses) == 2
    lifted = above_background(unseen.counts, unseen.covered)
    proposed = identifier.network(lifted.network_input)
    assert proposed.shape == (160, 3) and proposed.min() >= 0 and proposed.max() <= 1
    asked = targets(unseen)
    # Saying how often each is there, and no more, costs this much a sample.
    often = (asked[..., 0] * asked[..., 1]).sum(axis=0) / asked[..., 1].sum(axis=0)
    chance = -often * np.log(often) - (1 - often) * np.log(1 - often)
    assert losses[1] < 0.7 * chance.sum()
    for label in range(3):
        weight, truth = asked[:, label, 1] > 0, asked[:, label, 0] > 0
        there, absent = proposed[truth & weight, label], proposed[~truth, label]
        ranked = (there[:, None] > absent).mean()
        assert ranked > 0.65, f"area under the curve of output {label}: {ranked:.2f}"


def test_settings_tell_how_it_was_trained(tiny):
    settings = tiny.settings
    assert tiny.names == ("anatase", "rutile") and tiny.threshold == 0.9
    assert settings["samples"] == 256 and settings["crystals"] == 10 and settings["passes"] == 6
    assert set(settings["versions"]) == {"xrdclass", "keras"} and settings["seed"] == 0
    assert settings["measured"]["samples"] == 96


def test_bars_run_to_their_end(tiny):
    assert [bar.desc.split()[0] for bar in Bar.seen] == ["training", "calibrating", "measuring"]
    assert all(bar.done == bar.total for bar in Bar.seen)


def test_measured_figures_are_counts_of_answers(tiny, capsys):
    """Worked out again from the answers one by one."""
    samples = list(fitted(tiny, MixtureSource(TWO, invent_crystals(10, 78), 98), 50))
    found = measure(tiny, samples)
    hits = wrong = accepted = seen = 0
    for one in samples:
        named = {i for i, p in enumerate(one.fit.phases.values()) if p.probability >= 0.9}
        assert named == {i for i, p in enumerate(one.fit.phases.values()) if p.found}
        visible = set(np.flatnonzero(one.visible[:2] & one.present))
        seen += len(visible)
        hits += len(named & visible)
        wrong += bool(named - set(np.flatnonzero(one.present)))
        accepted += bool(named) and not one.present.any()
    assert found["samples"] == 50 and found["found"] == pytest.approx(hits / seen, abs=1e-4)
    assert found["wrong"] == pytest.approx(wrong / 50, abs=1e-4)
    without = sum(not one.present.any() for one in samples)
    assert found["false_acceptance"] == pytest.approx(accepted / without, abs=1e-4)
    table = np.array([found["by_strength"][name] for name in tiny.names])
    assert table.shape == (2, len(STRENGTHS) - 1, 2)
    assert table.sum(axis=(0, 1)).tolist() == [hits, seen]
    print_measured(found)
    assert all(name in capsys.readouterr().out for name in ("anatase",))


def test_fits_are_told_from_the_mixtures_own_truth(tiny):
    source = MixtureSource(TWO, invent_crystals(10, 79), 97)
    mass = np.tile([3.0, 1.0], (4, 1))
    for one in fitted(tiny, source, 4, mass=mass, n_foreign=0):
        assert isinstance(one, Fitted) and one.present.all() and not one.foreign


def test_a_stopped_run_goes_on_with_the_samples_that_come_next(tmp_path, monkeypatch):
    """A run stopped after a round draws the same samples as one that was not."""

    def run(keep, said, phases=TWO):
        said.append(train_identifier(phases, 128, n_crystals=10, n_fitted=16, passes=1, keep=keep))

    drawn, draw = [], MixtureSource.draw

    def recorded(self, *arguments, **settings):
        mixtures = draw(self, *arguments, **settings)
        drawn.append(float(mixtures.counts.sum()))
        return mixtures

    monkeypatch.setattr(MixtureSource, "draw", recorded)
    monkeypatch.setattr("xrdclass.identify.train.PORTION", 43)
    whole = []
    run(None, whole)
    expected, drawn[:] = list(drawn), []
    stopped, resumed = [], []
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 2)
        run(tmp_path / "kept", stopped)
    kept = (tmp_path / "kept" / "state.npz").read_bytes()
    strained = TWO[0].structure.copy()
    strained.apply_strain(0.01)
    with pytest.raises(DataError, match=r"other patterns or settings \(phases\)"):
        run(tmp_path / "kept", [], [replace(TWO[0], structure=strained), TWO[1]])
    assert (tmp_path / "kept" / "state.npz").read_bytes() == kept
    run(tmp_path / "kept", resumed)
    assert drawn == expected and stopped == []
    assert len(resumed[0].settings["losses"]) == len(whole[0].settings["losses"]) == 3


def test_fits_are_calibrated_on_phases_without_a_strong_line_too(monkeypatch):
    seen = []

    def no_fits(identifier, source, n, *_):
        seen.append((source.draw(20), n))
        return iter(())

    monkeypatch.setattr(train, "fitted", no_fits)
    with pytest.raises(DataError, match="nothing to learn|train with more samples"):
        train.with_fits(None, TWO, 50, 10, 0, Laboratory())
    (usual, n), (lost, few) = seen
    assert (n, few) == (50, 5) and usual.present.any()
    assert not lost.present.any() and lost.foreign.all()
