"""Training an identifier, and measuring what it does, on simulated mixtures."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict

import numpy as np

from .. import __version__
from ..files.kept_runs import Keeper
from ..models import identifier_cnn, import_keras
from ..phases import Phase
from .background import N_POINTS, above_background
from .foreign import invent_crystals
from .identifier import Identifier
from .judge import Judge, examine, foreign_features, named_phases, phase_features
from .laboratory import Laboratory
from .mixtures import Mixtures, MixtureSource
from .network import Network
from .second_opinion import all_lines
from .weights import share_signal

#: A phase is counted as present in training if its strongest line reaches this part of the
#: sample's strongest and this multiple of the background's noise; below, nothing is asked.
VISIBLE_HEIGHT, VISIBLE_SIGNAL = 0.03, 6.0


def targets(mixtures: Mixtures) -> np.ndarray:
    """Truth and weight, (n, phases + 1, 2): nothing is asked of what cannot be seen."""
    truth = np.concatenate([mixtures.present, mixtures.foreign[:, None]], axis=1)
    visible = (mixtures.height >= VISIBLE_HEIGHT) & (mixtures.signal_to_noise >= VISIBLE_SIGNAL)
    return np.stack([truth, visible | ~truth], axis=-1).astype(np.float32)


#: Sharing out a scan's signal takes longer than judging it.
ENOUGH_FOREIGN, ENOUGH_MEASURED = 4000, 6000


def train_identifier(
    phases: Sequence[Phase],
    n_samples: int = 40_000,
    n_crystals: int = 500,
    n_judged: int = 4_000,
    rounds: int = 1,
    passes: int = 2,
    seed: int = 0,
    report=print,
    keep=None,
    laboratory: Laboratory = Laboratory(),  # noqa: B008
) -> Identifier:
    """Train network and judges on mixtures that are drawn on the way.

    Parameters
    ----------
    phases : what to identify
    n_samples : mixtures drawn for the network, in ``rounds`` portions, each seen ``passes`` times
    n_crystals : foreign crystals invented for it; a tenth as many others are for the judges
    n_judged : mixtures for the judge, and again as many for the threshold; as many, but no more
        than `ENOUGH_FOREIGN` and `ENOUGH_MEASURED`, for "foreign" and to measure the result
    report : called with one line now and then; None is silent
    keep : folder to keep the network in after each round; the same call goes on from there
    laboratory : the ranges and probabilities that mixtures are drawn from

    Returns
    -------
    Identifier
        Its settings hold what was measured on simulated mixtures that nothing was trained on.
    """
    report, started = report or (lambda line: None), time.perf_counter()
    settings = {
        "samples": n_samples,
        "passes": passes,
        "crystals": n_crystals,
        "seed": seed,
        "laboratory": asdict(laboratory),
        "versions": {"xrdclass": __version__, "keras": import_keras().__version__},
    }
    network, spent = _train_network(phases, settings, laboratory, rounds, report, keep)
    others = invent_crystals(max(50, n_crystals // 10), seed + 1_000_003)
    source = MixtureSource(phases, others, (seed, 2), laboratory)
    names = tuple(phase.name for phase in phases)
    identifier = _with_judges(network, names, all_lines(phases), source, n_judged, seed, report)
    unseen = MixtureSource(phases, others, (seed, 3), laboratory)
    measured = measure(identifier, _portions(unseen, min(n_judged, ENOUGH_MEASURED)))
    seconds = round(spent + time.perf_counter() - started)
    identifier.settings = {**settings, "seconds": seconds, "measured": measured}
    return identifier


def _train_network(phases, settings, laboratory, rounds, report, keep):
    """The proposing network, and the seconds that a kept run took before it was stopped."""
    keras, started, spent, done = import_keras(), time.perf_counter(), 0, 0
    seed, passes = settings["seed"], settings["passes"]
    keras.utils.set_random_seed(seed)
    network = identifier_cnn(N_POINTS, len(phases) + 1)
    crystals = invent_crystals(settings["crystals"], seed)
    source = MixtureSource(phases, crystals, (seed, 1), laboratory)
    portion = -(-settings["samples"] // rounds)
    steps = rounds * passes * -(-portion // 64)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps, alpha=0.01)
    network.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4), _visible_crossentropy(keras))
    keeper = None
    if keep is not None:
        network.optimizer.build(network.trainable_variables)
        known = [[phase.name, str(phase.structure)] for phase in phases]
        keeper = Keeper(keep, network, {"phases": known, "rounds": rounds, **settings})
        if keeper.record:
            done, spent = keeper.record["rounds"], keeper.record["seconds"]
            source.rng.bit_generator.state = keeper.record["rng"]
            keras.utils.set_random_seed((seed + done) % 2**32)
            report(f"going on after round {done} of {rounds}")
    for i in range(done, rounds):
        inputs, truth = _draw_inputs(source, portion)
        record = network.fit(inputs, truth, batch_size=64, epochs=passes, verbose=0)
        loss, seconds = record.history["loss"][-1], spent + time.perf_counter() - started
        report(f"round {i + 1} of {rounds}: loss {loss:.3f} after {seconds:.0f} s")
        del inputs, truth
        if keeper:
            rng = source.rng.bit_generator.state
            keeper.save({"rounds": i + 1, "seconds": round(seconds), "rng": rng})
    return Network.from_keras(network), spent


def _portions(source: MixtureSource, n: int, size: int = 64):
    """``n`` samples, a few at a time: second opinions need much memory while they are formed."""
    for start in range(0, n, size):
        yield source.draw(min(size, n - start))


def _draw_inputs(source: MixtureSource, n: int):
    inputs, truth, start = np.empty((n, N_POINTS, 2), dtype=np.float16), [], 0
    for drawn in _portions(source, n, 256):
        lifted = above_background(drawn.counts, drawn.covered)
        inputs[start : start + len(drawn)] = lifted.network_input
        truth.append(targets(drawn))
        start += len(drawn)
    return inputs, np.concatenate(truth)


def _visible_crossentropy(keras):
    """Binary cross-entropy, summed over the outputs, where something is asked."""

    def loss(truth_and_weight, probability):
        truth, weight = truth_and_weight[..., 0], truth_and_weight[..., 1]
        p = keras.ops.clip(probability, 1e-6, 1 - 1e-6)
        entropy = -truth * keras.ops.log(p) - (1 - truth) * keras.ops.log(1 - p)
        return keras.ops.sum(entropy * weight, axis=-1)

    return loss


def _with_judges(network, names, lines, source, n, seed, report) -> Identifier:
    """Judge and threshold, then the judge of "foreign", each from mixtures of its own."""

    def examined(n):
        for drawn in _portions(source, n):
            results = examine(network, lines, drawn.counts, drawn.covered)
            yield from zip(results, targets(drawn), strict=True)

    features, truth = [], []
    for one, asked in examined(n):
        for label in one.opinions:
            if asked[label, 1]:
                features.append(phase_features(one, label))
                truth.append(asked[label, 0])
    judge = Judge.fit(features, np.array(truth), seed)
    report(f"judge trained on {len(truth)} proposals")

    worst = []
    for one, asked in examined(n):
        if not asked[:-1, 0].any():
            each = [phase_features(one, label) for label in one.opinions]
            worst.append(judge.probability(each).max() if each else 0.0)
    threshold = _choose_threshold(worst)
    report(f"threshold {threshold:.3f} from {len(worst)} samples without a phase")

    features, truth = [], []
    for one, asked in examined(min(n, ENOUGH_FOREIGN)):
        if asked[-1, 1]:
            found = named_phases(one, judge, threshold)[1]
            features.append(foreign_features(one, share_signal(one.scan, found)[0]))
            truth.append(asked[-1, 0])
    foreign_judge = Judge.fit(features, np.array(truth), seed + 1)
    return Identifier(network, names, lines, judge, foreign_judge, threshold)


#: Of the simulated samples without a phase, at most this part may be given one.
FALSE_ACCEPTANCE = 0.002


def _choose_threshold(worst: list[float]) -> float:
    """The lowest threshold that leaves simulated samples without any phase in peace.

    ``worst`` holds the highest probability of any phase in each of them.
    """
    allowed = int(FALSE_ACCEPTANCE * len(worst))
    # A phase is named from the threshold on: just above the first sample that is one too many.
    lowest = np.nextafter(np.sort(worst)[::-1][allowed], 1) if worst else 0.5
    return float(np.clip(lowest, 0.5, 0.97))


def measure(identifier: Identifier, portions: Iterable[Mixtures]) -> dict:
    """How an identifier does on drawn mixtures; counts only what can be seen.

    Returns
    -------
    dict with found (part of the visible phases that is named), false_acceptance (part of the
    samples without a phase that is given one), wrong (part of all samples with any wrong name),
    foreign_found and foreign_false
    """
    k = len(identifier.names)
    asked, answers = [], []
    for mixtures in portions:
        asked.append(targets(mixtures) > 0)
        for one in identifier.examine(mixtures.counts, mixtures.covered):
            answers.append(identifier.decide(one).probability)
    truth, weight = np.moveaxis(np.concatenate(asked), -1, 0)
    named = np.array(answers) >= np.array([identifier.threshold] * k + [0.5])
    without = ~truth[:, :k].any(axis=1)
    visible, foreign = truth[:, :k] & weight[:, :k], truth[:, k]

    def part(hits, of) -> float:
        return round(float(hits[of].mean()), 4) if of.any() else float("nan")

    return {
        "samples": len(answers),
        "found": part(named[:, :k], visible),
        "false_acceptance": part(named[:, :k].any(axis=1), without),
        "wrong": round(float((named[:, :k] & ~truth[:, :k]).any(axis=1).mean()), 4),
        "foreign_found": part(named[:, k], foreign & weight[:, k]),
        "foreign_false": part(named[:, k], ~foreign),
    }
