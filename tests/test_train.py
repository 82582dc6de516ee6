"""Training an identifier: what is asked of it, what it learns, and that a stopped run goes on."""

from dataclasses import replace

import numpy as np
import pytest
from samples import PHASES, TWO, stop_after

from xrdclass.errors import DataError
from xrdclass.identify.background import above_background
from xrdclass.identify.foreign import invent_crystals
from xrdclass.identify.mixtures import MixtureSource
from xrdclass.identify.train import (
    FALSE_ACCEPTANCE,
    VISIBLE_HEIGHT,
    VISIBLE_SIGNAL,
    _choose_threshold,
    measure,
    targets,
    train_identifier,
)


def test_nothing_is_asked_of_what_cannot_be_seen():
    found = MixtureSource(PHASES, invent_crystals(3, 8), 5).draw(200)
    asked = targets(found)
    truth, weight = asked[..., 0] > 0, asked[..., 1] > 0
    assert asked.shape == (200, 6, 2) and (truth[:, :5] == found.present).all()
    assert (truth[:, 5] == found.foreign).all()
    hidden = (found.height < VISIBLE_HEIGHT) | (found.signal_to_noise < VISIBLE_SIGNAL)
    assert weight[~truth].all() and (weight[truth] == ~hidden[truth]).all()
    assert 0 < (~weight[truth]).sum() < truth.sum() / 2


def test_the_threshold_keeps_its_promise():
    """At most this part of the samples without a phase is given one; at the threshold they are."""
    rng = np.random.default_rng(0)
    for n in (50, 1000, 2600):
        worst = rng.uniform(0, 0.95, n)
        worst[: n // 100] = np.linspace(0.8, 0.96, n // 100) if n > 100 else worst[: n // 100]
        threshold = _choose_threshold(worst.tolist())
        accepted = (worst >= threshold).sum()
        assert accepted <= FALSE_ACCEPTANCE * n
        assert (worst >= threshold - 0.05).sum() > accepted, "And not needlessly high."
    assert _choose_threshold([]) == 0.5 and _choose_threshold([0.01] * 600) == 0.5
    assert _choose_threshold([0.9999] * 600) == 0.97


@pytest.fixture(scope="module")
def tiny():
    """A short run of the recipe on two phases, and what it reported."""
    said = []
    found = train_identifier(
        TWO, n_samples=256, n_crystals=10, n_judged=96, rounds=2, passes=6, report=said.append
    )
    return found, said


@pytest.fixture(scope="module")
def unseen():
    return MixtureSource(TWO, invent_crystals(10, 77), 99).draw(160)


def test_a_short_run_learns(tiny, unseen):
    """Ranks fresh samples with a phase before those without, far better than chance."""
    identifier, said = tiny
    losses = [float(line.split("loss ")[1].split(" ")[0]) for line in said if "loss" in line]
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
    identifier, said = tiny
    settings = identifier.settings
    assert identifier.names == ("anatase", "rutile") and 0.5 <= identifier.threshold <= 0.97
    assert settings["samples"] == 256 and settings["crystals"] == 10 and settings["passes"] == 6
    assert set(settings["versions"]) == {"xrdclass", "keras"} and settings["seed"] == 0
    assert settings["measured"]["samples"] == 96
    assert any("judge trained" in line for line in said) and any("threshold" in x for x in said)


def test_measured_figures_are_counts_of_answers(tiny, unseen):
    """Worked out again from the answers one by one."""
    identifier = tiny[0]
    few = unseen.subset(slice(0, 50))
    found = measure(identifier, [few.subset(slice(0, 30)), few.subset(slice(30, 50))])
    hits = wrong = accepted = seen = 0
    asked = targets(few)
    for i, one in enumerate(identifier.examine(few.counts, few.covered)):
        decision = identifier.decide(one)
        named = set(np.flatnonzero(decision.probability[:2] >= identifier.threshold))
        assert set(decision.fitted) == set(decision.areas) == named
        visible = {label for label in range(2) if asked[i, label].all()}
        seen += len(visible)
        hits += len(named & visible)
        wrong += bool([label for label in named if not few.present[i, label]])
        accepted += bool(named) and not few.present[i].any()
    assert found["samples"] == 50 and found["found"] == pytest.approx(hits / seen, abs=1e-4)
    assert found["wrong"] == pytest.approx(wrong / 50, abs=1e-4)
    without = (~few.present.any(axis=1)).sum()
    assert found["false_acceptance"] == pytest.approx(accepted / without, abs=1e-4)


def test_a_stopped_run_goes_on_with_the_samples_that_come_next(tmp_path, monkeypatch):
    """A run stopped after a round draws the same samples as one that was not."""

    def run(keep, said, phases=TWO):
        return train_identifier(
            phases,
            128,
            n_crystals=10,
            n_judged=64,
            rounds=3,
            passes=1,
            keep=keep,
            report=said.append,
        )

    drawn, draw = [], MixtureSource.draw

    def recorded(self, *arguments, **settings):
        mixtures = draw(self, *arguments, **settings)
        drawn.append(float(mixtures.counts.sum()))
        return mixtures

    monkeypatch.setattr(MixtureSource, "draw", recorded)
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
    assert drawn == expected
    assert len([s for s in stopped if s.startswith("round")]) == 2
    assert [s for s in resumed if "round" in s][0] == "going on after round 2 of 3"
    assert len([s for s in resumed if s.startswith("round")]) == 1
