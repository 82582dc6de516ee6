"""Network and second opinion weighed against each other: is a phase there, is something else?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from ..models import import_keras
from .background import N_POINTS, above_background
from .network import Network
from .second_opinion import Opinion, PhaseLines, SmoothedScan

#: Below this probability of the network no second opinion is asked for.
PROPOSED = 0.02


@dataclass(frozen=True)
class Examination:
    """What is known of a scan before it is judged.

    Attributes
    ----------
    scan : above its background
    proposed : float, (phases + 1,), the network's probabilities; the last is "foreign"
    opinions : label -> second opinion on each phase that the network proposes
    """

    scan: SmoothedScan
    proposed: np.ndarray
    opinions: dict[int, Opinion]


def examine(network: Network, lines: Sequence[PhaseLines], counts, covered) -> list[Examination]:
    """What a network proposes of scans on `MIXTURE_GRID`, and second opinions on that."""
    lifted = above_background(counts, covered)
    examinations = []
    for i, proposed in enumerate(network(lifted.network_input)):
        scan, opinions = SmoothedScan(lifted, i), {}
        for label in np.flatnonzero(proposed[:-1] >= PROPOSED):
            opinion = scan.fit(lines[label])
            if opinion is not None:
                opinions[int(label)] = opinion
        examinations.append(Examination(scan, proposed, opinions))
    return examinations


@dataclass
class Judge:
    """A small network on the features of one proposal: is the phase there?

    ``layers`` are pairs (weights, bias), tanh between them, a logit at the end.
    """

    mean: np.ndarray
    spread: np.ndarray
    layers: list[tuple[np.ndarray, np.ndarray]]

    def probability(self, features) -> np.ndarray:
        """0...1 for a sequence of features {name: number}, or an array (n, k)."""
        x = (as_rows(features) - self.mean) / self.spread
        for weights, bias in self.layers[:-1]:
            x = np.tanh(x @ weights + bias)
        weights, bias = self.layers[-1]
        return 1 / (1 + np.exp(-np.clip(x @ weights + bias, -50, 50)[:, 0]))

    @classmethod
    def fit(cls, features, truth, seed=0) -> Judge:
        """Train on n features {name: number}, or an array (n, k), and truth (n,) of 0 and 1.

        Raises
        ------
        DataError
            If they are not of both kinds.
        """
        if len(np.unique(truth)) < 2:
            raise DataError(
                f"A judge learns from right and wrong proposals; among {len(truth)} there is one "
                "kind or none. Draw more mixtures for it (--judged)."
            )
        keras, features = import_keras(), as_rows(features)
        keras.utils.set_random_seed(seed)
        mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
        layers = keras.layers
        model = keras.Sequential(
            [
                layers.Input((features.shape[1],)),
                layers.Dense(24, activation="tanh"),
                layers.Dense(1, activation="sigmoid"),
            ]
        )
        rate = keras.optimizers.schedules.CosineDecay(3e-3, 40 * -(-len(truth) // 128))
        model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-3), "binary_crossentropy")
        model.fit((features - mean) / spread, truth, batch_size=128, epochs=40, verbose=0)
        weights = [np.asarray(w, dtype=float) for w in model.get_weights()]
        return cls(mean, spread, list(zip(weights[::2], weights[1::2], strict=True)))

    def to_dict(self) -> dict:
        layers = [[w.tolist(), b.tolist()] for w, b in self.layers]
        return {"mean": self.mean.tolist(), "spread": self.spread.tolist(), "layers": layers}

    @classmethod
    def from_dict(cls, values: dict, n_features: int) -> Judge:
        """What `to_dict` made; ValueError if it is no judge of so many features."""
        layers = [(np.array(w, dtype=float), np.array(b, dtype=float)) for w, b in values["layers"]]
        judge = cls(np.array(values["mean"], float), np.array(values["spread"], float), layers)
        numbers = [judge.mean, judge.spread, *(part for layer in layers for part in layer)]
        if not all((abs(part) < 1e9).all() for part in numbers) or not (judge.spread > 1e-9).all():
            raise ValueError("its judge holds what is no number, or a spread of 0")
        shapes = [judge.mean.shape, judge.spread.shape]
        if shapes != [(n_features,)] * 2 or judge.probability(np.zeros((1, n_features))).shape != (
            1,
        ):
            raise ValueError(f"its judge does not see {n_features} features")
        return judge


def as_rows(features) -> np.ndarray:
    """Features as rows, float, (n, k)."""
    return np.array([list(f.values()) if isinstance(f, dict) else f for f in features], dtype=float)


def named_phases(examination: Examination, judge: Judge, threshold: float):
    """Probabilities of the phases, (phases,), and the opinions on those that are named."""
    probability = np.zeros(len(examination.proposed) - 1)
    for label in examination.opinions:
        probability[label] = judge.probability([phase_features(examination, label)])[0]
    named = probability >= threshold
    return probability, {i: o for i, o in examination.opinions.items() if named[i]}


#: How many numbers the judges of a phase and of "foreign" see.
N_PHASE_FEATURES, N_FOREIGN_FEATURES = 24, 6


def phase_features(examination: Examination, label: int) -> dict[str, float]:
    """What the judge of a phase sees, by name: the network's logits and the second opinion."""
    logit = _logit(examination.proposed)
    return {
        "logit": float(logit[label]),
        "largest other logit": float(np.delete(logit[:-1], label).max(initial=-14)),
        "logit of foreign": float(logit[-1]),
        **examination.opinions[label].features,
    }


def foreign_features(examination: Examination, fitted: dict) -> dict[str, float]:
    """What the judge of "foreign" sees, by name: the network's logit, and what is left over."""
    scan = examination.scan
    smooth, left = scan.smoothed(0.2), scan.covered.copy()
    for pattern in fitted.values():
        left &= pattern <= 0.015 * pattern.max()
    contrast = (smooth - scan.smoothed(0.52))[left]
    top = float(contrast.max(initial=0))
    over_noise = float((contrast / scan.noises[1][left]).max(initial=0))
    above = np.maximum(smooth, 0)[scan.covered]
    explained = np.minimum(sum(fitted.values(), np.zeros(N_POINTS))[scan.covered], above)
    return {
        "logit of foreign": float(_logit(examination.proposed[-1])),
        "highest peak left": float(np.log(top + 1e-3)),
        "highest peak left over its noise": float(np.log(over_noise + 0.1)),
        "explained": float(explained.sum() / max(above.sum(), 1e-9)),
        "phases found": len(fitted),
        "part left": float(left.sum() / max(scan.covered.sum(), 1)),
    }


def _logit(probability):
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))
