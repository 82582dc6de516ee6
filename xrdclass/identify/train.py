"""Training an identifier, and measuring what it does, on simulated mixtures."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from .. import __version__
from ..files.kept_runs import Keeper
from ..models import identifier_cnn, import_keras
from ..phases import Phase
from ..scans import Scan
from .background import N_POINTS, above_background
from .evidence import N_FOREIGN_FEATURES, USUAL, Calibration, foreign_features
from .foreign import invent_crystals
from .identifier import Identifier
from .laboratory import Laboratory
from .mixtures import MIXTURE_GRID, Mixtures, MixtureSource
from .network import Network
from .profile import phase_lines
from .refinement import Refinement

#: A phase counts as visible if its strongest line reaches this part of the sample's strongest and
#: this multiple of the background's noise.
VISIBLE_HEIGHT, VISIBLE_SIGNAL = 0.03, 6.0
#: In training a network is asked about weaker phases, from this part on: it only proposes. Heights
#: are drawn down to as much less, and crystals without a strong line so many times as often.
ASKED_HEIGHT, MORE_LOST = 0.003, 5
#: Edges of the strengths that `measure` tells apart: strongest line beside the sample's strongest.
STRENGTHS = (VISIBLE_HEIGHT, 0.1, 0.3, np.inf)
#: Samples that are drawn and held in memory at a time.
PORTION = 30_000
#: The smallest d-spacing of a mixture's lines, Å: 83 degrees with Cu K-alpha.
D_MIN = 1.16


def visible(mixtures: Mixtures, least=VISIBLE_HEIGHT) -> np.ndarray:
    """Whether each phase, and what is foreign, can be seen, bool (n, phases + 1)."""
    return (mixtures.height >= least) & (mixtures.signal_to_noise >= VISIBLE_SIGNAL)


def targets(mixtures: Mixtures) -> np.ndarray:
    """Truth and weight, (n, phases + 1, 2): nothing is asked of what cannot be seen."""
    truth = np.concatenate([mixtures.present, mixtures.foreign[:, None]], axis=1)
    least = [ASKED_HEIGHT] * (truth.shape[1] - 1) + [VISIBLE_HEIGHT]
    asked = visible(mixtures, least) | ~truth
    return np.stack([truth, asked], axis=-1).astype(np.float32)


def train_identifier(
    phases: Sequence[Phase],
    n_samples: int = 40_000,
    n_crystals: int = 500,
    n_fitted: int = 1_000,
    passes: int = 2,
    seed: int = 0,
    progress=None,
    keep=None,
    laboratory: Laboratory = Laboratory(),  # noqa: B008
) -> Identifier:
    """Train a network on mixtures that are drawn on the way, and calibrate the fits after it.

    Parameters
    ----------
    phases : what to identify
    n_samples : mixtures drawn for the network, each seen ``passes`` times
    n_crystals : foreign crystals invented for it; a tenth as many others are for the fits
    n_fitted : mixtures whose fits are calibrated, with a tenth as many `lost_lines`, and again as
        many to measure the result
    progress : a progress bar such as `tqdm`, called with ``total`` and ``desc``; None is silent
    keep : folder to keep the network in now and then; the same call goes on from there
    laboratory : the ranges and probabilities that mixtures are drawn from

    Returns
    -------
    Identifier
        Its settings hold what was `measure`d on simulated mixtures that nothing was trained on.
    """
    started = time.perf_counter()
    settings = {
        "samples": n_samples,
        "passes": passes,
        "crystals": n_crystals,
        "fitted": n_fitted,
        "seed": seed,
        "laboratory": asdict(laboratory),
        "versions": {"xrdclass": __version__, "keras": import_keras().__version__},
    }
    network, losses, spent = _train_network(phases, settings, laboratory, progress, keep)
    identifier = with_fits(network, phases, n_fitted, n_crystals, seed, laboratory, progress)
    unseen = MixtureSource(phases, _others(n_crystals, seed, 2), (seed, 3), laboratory)
    measured = measure(identifier, fitted(identifier, unseen, n_fitted, progress, "measuring"))
    seconds = round(spent + time.perf_counter() - started)
    identifier.settings = {**settings, "seconds": seconds, "losses": losses, "measured": measured}
    return identifier


def with_fits(
    network: Network, phases, n_fitted, n_crystals, seed, laboratory, progress=None
) -> Identifier:
    """An identifier of a trained network: fits calibrated on mixtures; as `train_identifier`."""
    lines = [phase_lines(phase, D_MIN) for phase in phases]
    nothing = Calibration(*np.zeros((3, N_FOREIGN_FEATURES)), 0.0)
    identifier = Identifier(network, lines, USUAL, nothing)
    features, truth = ([], []), ([], [])
    crystals, labs = _others(n_crystals, seed, 1), (laboratory, lost_lines(laboratory))
    usual, lost = (MixtureSource(phases, crystals, (seed, 2), lab) for lab in labs)
    drawn = fitted(identifier, usual, n_fitted, progress, "calibrating fits")
    for one in chain(drawn, fitted(identifier, lost, n_fitted // 10)):
        for label, phase in enumerate(one.fit.phases.values()):
            if phase.evidence.gain > 0:
                features[0].append(phase.evidence.with_expected(one.proposed[label]))
                truth[0].append(one.present[label])
        if one.fit.unexplained:
            features[1].append(foreign_features(one.fit, one.proposed[-1]))
            truth[1].append(one.foreign)
    (of_phases, of_foreign), (there, more) = (map(np.array, v) for v in (features, truth))
    identifier.calibration = Calibration.fit(of_phases, there)
    identifier.foreign = Calibration.fit(of_foreign, more)
    return identifier


def harder(laboratory: Laboratory) -> Laboratory:
    """The same with weaker phases and more crystals that lack a strong line, for a network."""
    low, high = laboratory.height
    height = low * ASKED_HEIGHT / VISIBLE_HEIGHT, high
    lost = min(MORE_LOST * laboratory.lost_line_chance, 1)
    return replace(laboratory, height=height, lost_line_chance=lost)


def lost_lines(laboratory: Laboratory) -> Laboratory:
    """The same, but that every sample is a phase without one or two of its strongest lines."""
    alone = {"n_phases": (1, 0, 0, 0), "near_miss_chance_alone": 0, "only_imitation": 1}
    return replace(laboratory, lost_line_chance=1, **alone)


def _others(n_crystals: int, seed: int, i: int):
    """Foreign crystals that the network has not seen."""
    return invent_crystals(max(50, n_crystals // 10), seed + i * 1_000_003)


class Fitted(NamedTuple):
    """A drawn mixture, what the network proposes of it, and the fit of that."""

    present: np.ndarray  # bool, (phases,)
    foreign: bool
    visible: np.ndarray  # bool, (phases + 1,); the last is what is foreign
    height: np.ndarray  # float, (phases + 1,), see `mixtures.Mixtures`
    proposed: np.ndarray  # float, (phases + 1,)
    fit: Refinement


def fitted(
    identifier: Identifier,
    source: MixtureSource,
    n: int,
    progress=None,
    desc="fitting",
    expect=(),
    **given,
) -> Iterator[Fitted]:
    """Draw ``n`` mixtures, as ``given`` to `MixtureSource.draw`; fit what is proposed, expected."""
    with _bar(progress, n, desc) as bar:
        for drawn in _portions(source, n, **given):
            proposals, seen = identifier.propose(drawn.counts, drawn.covered), visible(drawn)
            for i, covered in enumerate(drawn.covered):
                scan = Scan(MIXTURE_GRID.two_theta[covered], drawn.counts[i, covered])
                fit = identifier.fit(scan, proposals[i], expect=expect)
                truth = drawn.present[i], drawn.foreign[i], seen[i], drawn.height[i]
                yield Fitted(*truth, proposals[i], fit)
                bar.update(1)


def _train_network(phases, settings, laboratory, progress, keep):
    """The network, its losses, and the seconds that a kept run took before it was stopped."""
    keras, started, spent = import_keras(), time.perf_counter(), 0
    seed, passes = settings["seed"], settings["passes"]
    keras.utils.set_random_seed(seed)
    network = identifier_cnn(N_POINTS, len(phases) + 1)
    crystals = invent_crystals(settings["crystals"], seed)
    source = MixtureSource(phases, crystals, (seed, 1), harder(laboratory))
    rounds = -(-settings["samples"] // PORTION)
    portion = -(-settings["samples"] // rounds)
    steps = passes * -(-portion // 64)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, rounds * steps, alpha=0.01)
    network.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4), _visible_crossentropy(keras))
    keeper, losses, done = None, [], 0
    if keep is not None:
        network.optimizer.build(network.trainable_variables)
        known = [[phase.name, str(phase.structure)] for phase in phases]
        keeper = Keeper(keep, network, {"phases": known, **settings})
        if keeper.record:
            spent, losses = keeper.record["seconds"], keeper.record["losses"]
            source.rng.bit_generator.state, done = keeper.record["rng"], len(losses)
            keras.utils.set_random_seed((seed + done) % 2**32)
    # A sample takes about as long to draw as to learn from, twice.
    with _bar(progress, rounds * (portion + 64 * steps), "training the network") as bar:
        bar.update(done * (portion + 64 * steps))
        count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, **__: bar.update(64))
        for _ in range(done, rounds):
            inputs, truth = _draw_inputs(source, portion, bar)
            record = network.fit(
                inputs, truth, batch_size=64, epochs=passes, verbose=0, callbacks=[count]
            )
            losses.append(round(record.history["loss"][-1], 4))
            del inputs, truth
            if keeper:
                seconds = round(spent + time.perf_counter() - started)
                rng = source.rng.bit_generator.state
                keeper.save({"losses": losses, "seconds": seconds, "rng": rng})
    return Network.from_keras(network), losses, spent


def _bar(progress, total: int, desc: str):
    """A progress bar, or nothing that looks like one."""
    from tqdm import tqdm

    return progress(total=total, desc=desc) if progress else tqdm(disable=True)


def _portions(source: MixtureSource, n: int, size: int = 64, **given):
    """``n`` samples, a few at a time."""
    for start in range(0, n, size):
        yield source.draw(min(size, n - start), **given)


def _draw_inputs(source: MixtureSource, n: int, bar):
    inputs, truth, start = np.empty((n, N_POINTS, 2), dtype=np.float16), [], 0
    for drawn in _portions(source, n, 256):
        lifted = above_background(drawn.counts, drawn.covered)
        inputs[start : start + len(drawn)] = lifted.network_input
        truth.append(targets(drawn))
        start += len(drawn)
        bar.update(len(drawn))
    return inputs, np.concatenate(truth)


def _visible_crossentropy(keras):
    """Binary cross-entropy, summed over the outputs, where something is asked."""

    def loss(truth_and_weight, probability):
        truth, weight = truth_and_weight[..., 0], truth_and_weight[..., 1]
        p = keras.ops.clip(probability, 1e-6, 1 - 1e-6)
        entropy = -truth * keras.ops.log(p) - (1 - truth) * keras.ops.log(1 - p)
        return keras.ops.sum(entropy * weight, axis=-1)

    return loss


def measure(identifier: Identifier, samples: Iterable[Fitted]) -> dict:
    """How an identifier does on drawn mixtures; counts only what can be seen.

    Returns
    -------
    dict with found (part of the visible phases that is named), false_acceptance (part of the
    samples without a phase that is given one), wrong (part of all samples with any wrong name),
    foreign_found, foreign_false, and by_strength: name -> [named, visible] for each of `STRENGTHS`
    """
    k, hits, asked, truth = len(identifier.lines), [], [], []
    for one in samples:
        named = [p.probability >= identifier.threshold for p in one.fit.phases.values()]
        hits.append([*named, identifier.is_foreign(one.fit, one.proposed) >= 0.5])
        truth.append([*one.present, one.foreign])
        asked.append(np.where(one.visible, one.height, 0))
    hits, truth, strength = np.array(hits), np.array(truth), np.array(asked)
    seen, without = truth & (strength > 0), ~truth[:, :k].any(axis=1)

    def part(hits, of) -> float:
        return round(float(hits[of].mean()), 4) if of.any() else float("nan")

    bins, table = np.where(seen, np.digitize(strength, STRENGTHS), 0).T, {}
    for label, name in enumerate(identifier.names):
        rows = [bins[label] == b for b in range(1, len(STRENGTHS))]
        table[name] = [[int(hits[row, label].sum()), int(row.sum())] for row in rows]
    return {
        "samples": len(hits),
        "found": part(hits[:, :k], seen[:, :k]),
        "false_acceptance": part(hits[:, :k].any(axis=1), without),
        "wrong": round(float((hits & ~truth)[:, :k].any(axis=1).mean()), 4),
        "foreign_found": part(hits[:, k], seen[:, k]),
        "foreign_false": part(hits[:, k], ~truth[:, k]),
        "by_strength": table,
    }


def print_measured(measured: dict) -> None:
    """A table of what was found of each phase, by the strength of its strongest line."""
    heads = [f"{100 * a:.0f} to {100 * min(b, 1):.0f} %" for a, b in pairwise(STRENGTHS)]
    wide = max(map(len, measured["by_strength"]))
    print(f"{'':{wide}}  found, by the strongest line in % of the sample's strongest")
    print(f"{'':{wide}}" + "".join(f"{head:>14}" for head in heads))
    for name, row in measured["by_strength"].items():
        cells = [f"{hits} of {n}" for hits, n in row]
        print(f"{name:{wide}}" + "".join(f"{cell:>14}" for cell in cells))
    print(
        f"Samples without a phase that were given one: {100 * measured['false_acceptance']:.2f} %; "
        f"something else found {100 * measured['foreign_found']:.1f} %, falsely stated "
        f"{100 * measured['foreign_false']:.1f} %."
    )
