"""Which of several phases a scan holds, none or more than one, and whether there is more in it.

A network proposes: it has one independent output for each phase and one for foreign crystals. The
lines of the proposed phases are then looked for in the scan (`second_opinion`), and a judge weighs
both. Network and judge know simulated mixtures only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from .. import __version__
from ..diffraction import convert_two_theta, radiation
from ..errors import DataError, ModelError
from ..evaluation import Verdict
from ..models import identifier_cnn, import_keras
from ..patterns import resample
from ..phases import Phase
from ..scans import Scan
from ..training import (
    Keeper,
    check_names,
    load_network,
    read_metadata,
    save_network,
    short_reason,
)
from .foreign import invent_crystals
from .mixtures import MIXTURE_GRID, Mixtures, MixtureSource
from .second_opinion import (
    FEATURES,
    N_POINTS,
    TWO_THETA,
    Opinion,
    PhaseLines,
    Residual,
    all_lines,
    draw_lines,
)

#: The network that ships with the package, for the five TiO2 phases.
SHIPPED = Path(__file__).parent.parent / "networks" / "tio2.keras"
#: A phase is counted as present in training if its strongest line reaches this part of the
#: sample's strongest and this multiple of the background's noise; below, nothing is asked.
VISIBLE_HEIGHT, VISIBLE_SIGNAL = 0.03, 6.0
#: Below this probability of the network no second opinion is asked for.
PROPOSED = 0.02


def above_background(counts, covered):
    """Scans above their background, on half as many points.

    The background is found by SNIP (Ryan et al. 1988, Nucl. Instrum. Methods B34, 396-402) on
    means of 0.1 degrees, with windows of up to 6 degrees to either side.

    Parameters
    ----------
    counts : float, (n, MIXTURE_GRID.n_points)
    covered : bool, the same shape, one stretch in each row

    Returns
    -------
    signal : float32, (n, N_POINTS), above the background, the strongest point 1
    covered : bool, (n, N_POINTS)
    level, scale : float32, (n, N_POINTS) and (n,), the whole intensity, and the divisor of both
    """
    points = np.arange(counts.shape[1])
    first = covered.argmax(axis=1)[:, None]
    last = (counts.shape[1] - 1 - covered[:, ::-1].argmax(axis=1))[:, None]
    y = np.take_along_axis(counts, np.clip(points, first, last), 1)[:, : 2 * N_POINTS]
    y = y.astype(np.float32) * np.float32(1e4) / np.maximum(y.max(axis=1, keepdims=True), 1e-12)
    coarse = y.reshape(len(y), -1, 5).mean(axis=2)
    n = coarse.shape[1]
    ends = np.clip(first // 5, 0, n - 1), np.clip(last // 5, 0, n - 1)
    edge = np.pad(coarse, ((0, 0), (2, 2)), mode="edge")
    coarse = sum(w * edge[:, i : i + n] for i, w in enumerate((1, 2, 3, 2, 1))) / np.float32(9)
    base = _snip(coarse, *ends)
    place = (np.arange(y.shape[1]) - 2) / 5
    left = np.clip(np.floor(place).astype(int), 0, n - 2)
    part = np.clip(place - left, 0, 1).astype(np.float32)
    background = base[:, left] * (1 - part) + base[:, left + 1] * part
    pairs = (len(y), N_POINTS, 2)
    inside = covered[:, : 2 * N_POINTS].reshape(pairs).all(axis=2)
    signal = (y - background).reshape(pairs).mean(axis=2) * inside
    scale = np.maximum(signal.max(axis=1), 1e-9)
    level = y.reshape(pairs).mean(axis=2)
    return signal / scale[:, None], inside, level / scale[:, None], scale


#: Distances of the neighbours, steps of 0.1 degrees. Each clips a hump as well as peaks; a few
#: distances, each about 0.7 times the last, take the peaks away and leave most of a hump.
_CLIPPING = (60, 42, 30, 21, 15, 10, 7, 5, 3, 2, 1)


def _snip(y, first, last) -> np.ndarray:
    """The background below peaks, by clipping to the mean of neighbours ever nearer.

    Beyond its ends ``first`` and ``last``, (n, 1), a scan goes on as its point reflection, or its
    mirror image where that is higher: a slope that stopped there would be taken for a peak.
    """
    v = np.log(np.log(np.sqrt(np.maximum(y, 0) + 1) + 1) + 1)
    reach = _CLIPPING[0]
    points = np.arange(-reach, y.shape[1] + reach)
    inside = np.clip(points, first, last)
    mirrored = np.take_along_axis(v, np.clip(2 * inside - points, first, last), 1)
    v = np.maximum(2 * np.take_along_axis(v, inside, 1) - mirrored, mirrored)
    for k in _CLIPPING:
        middle = v[:, k:-k]
        np.minimum(middle, (v[:, : -2 * k] + v[:, 2 * k :]) / 2, out=middle)
    v = np.maximum(v[:, reach:-reach], np.log(np.log(2) + 1))
    return (np.exp(np.exp(v) - 1) - 1) ** 2 - 1


def network_input(signal, covered) -> np.ndarray:
    """What the network sees: the signal's square root, and where there are data, (n, points, 2)."""
    return np.stack([np.sqrt(np.maximum(signal, 0)), covered], axis=-1).astype(np.float32)


def make_residual(signal, covered, level, scale) -> Residual:
    """One scan, ready for the second opinion; its noise is estimated from neighbouring points."""
    counts = np.maximum(level * scale, 1)
    steps = np.abs(np.diff(counts)) / np.sqrt(counts[1:])
    both = covered[1:] & covered[:-1]
    gain = np.median(steps[both]) / (0.6745 * np.sqrt(2)) if both.any() else 0.0
    noise = np.maximum(gain * np.sqrt(counts), 3.0) / scale
    return Residual(signal.astype(float), noise.astype(float), covered)


@dataclass
class Judge:
    """A small network on the features of one proposal: is the phase there?

    ``layers`` are pairs (weights, bias), tanh between them, a logit at the end.
    """

    mean: np.ndarray
    spread: np.ndarray
    layers: list[tuple[np.ndarray, np.ndarray]]

    def probability(self, features) -> np.ndarray:
        """0...1 for features (n, k)."""
        x = (np.atleast_2d(features) - self.mean) / self.spread
        for weights, bias in self.layers[:-1]:
            x = np.tanh(x @ weights + bias)
        weights, bias = self.layers[-1]
        return 1 / (1 + np.exp(-np.clip(x @ weights + bias, -50, 50)[:, 0]))

    @classmethod
    def fit(cls, features, truth, seed=0) -> Judge:
        """Train on features (n, k) and truth (n,) of 0 and 1.

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
        keras = import_keras()
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
        if not all(np.isfinite(part).all() for part in numbers) or not (judge.spread > 0).all():
            raise ValueError("its judge holds what is no number, or a spread of 0")
        shapes = [judge.mean.shape, judge.spread.shape]
        if shapes != [(n_features,)] * 2 or judge.probability(np.zeros(n_features)).shape != (1,):
            raise ValueError(f"its judge does not see {n_features} features")
        return judge


@dataclass(frozen=True)
class Finding:
    """All that was found in one scan; arrays lie on `second_opinion.TWO_THETA`.

    Attributes
    ----------
    verdict : Verdict
    signal : the scan above its background, strongest point 1; zero where not covered
    fitted : name -> calculated pattern of each phase found, fitted under the signal
    mass : name -> parts by weight among the phases found, adding up to 1
    """

    verdict: Verdict
    signal: np.ndarray
    fitted: dict[str, np.ndarray]
    mass: dict[str, float]

    @property
    def remaining(self) -> np.ndarray:
        """What the phases found leave unexplained."""
        return self.signal - sum(self.fitted.values(), np.zeros(N_POINTS))


@dataclass
class Identifier:
    """A network, the lines of its phases and a judge; see `train_identifier`.

    Attributes
    ----------
    network : Keras model of `models.identifier_cnn`
    names : the phases
    lines : their lines
    judge, foreign_judge : for phases, and for "something else"
    threshold : a phase is named from this probability on
    settings : how it was trained, with which versions, and what was measured then
    """

    network: object
    names: tuple[str, ...]
    lines: list[PhaseLines]
    judge: Judge | None = None
    foreign_judge: Judge | None = None
    threshold: float = 0.5
    settings: dict = field(default_factory=dict)

    def propose(self, counts, covered) -> np.ndarray:
        """The network's probabilities, float, (n, phases + 1); the last is "foreign"."""
        signal, inside, _, _ = above_background(counts, covered)
        return self._ask(network_input(signal, inside))

    def _ask(self, inputs) -> np.ndarray:
        parts = [
            np.asarray(self.network(inputs[i : i + 64], training=False), dtype=float)
            for i in range(0, len(inputs), 64)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.names) + 1))

    def examine(self, counts, covered):
        """Network and second opinions on scans that lie on `MIXTURE_GRID`.

        Returns
        -------
        list of (proposed (phases + 1,), opinions {label: Opinion}, residual) for each scan
        """
        signal, inside, level, scale = above_background(counts, covered)
        proposed = self._ask(network_input(signal, inside))
        results = []
        for i, row in enumerate(proposed):
            residual = make_residual(signal[i], inside[i], level[i], scale[i])
            opinions = {}
            for label in np.flatnonzero(row[:-1] >= PROPOSED):
                opinion = residual.fit(self.lines[label])
                if opinion is not None:
                    opinions[int(label)] = opinion
            results.append((row, opinions, residual))
        return results

    def decide(self, proposed, opinions, residual):
        """Probabilities of the phases and of "foreign", and the fitted share of each phase found.

        Returns
        -------
        probability : float, (phases + 1,)
        fitted, areas : {label: ...}, of the phases found; see `share_signal`
        """
        probability, found = self.find(proposed, opinions)
        fitted, areas = share_signal(residual, found)
        features = foreign_features(proposed, fitted, residual)
        foreign = self.foreign_judge.probability(features)
        return np.concatenate([probability, foreign]), fitted, areas

    def find(self, proposed, opinions):
        """Probabilities of the phases, (phases,), and the opinions on those that are named."""
        probability = np.zeros(len(self.names))
        for label, opinion in opinions.items():
            features = phase_features(label, proposed, opinion)
            probability[label] = self.judge.probability(features)[0]
        return probability, {i: o for i, o in opinions.items() if probability[i] >= self.threshold}

    def identify(self, scans: Sequence[Scan], wavelength=None) -> list[Finding]:
        """What each of several scans holds.

        Parameters
        ----------
        scans : of any range and step
        wavelength : a name or Å, instead of what the scans state; Cu if nobody says

        Raises
        ------
        DataError
            If a scan does not overlap 8 to 82 degrees (Cu K-alpha).
        """
        prepared = [bring_to_grid(scan, wavelength) for scan in scans]
        if not prepared:
            return []
        counts, covered = (np.stack([p[i] for p in prepared]) for i in (0, 1))
        findings = []
        for scan, (_, _, notes), result in zip(
            scans, prepared, self.examine(counts, covered), strict=True
        ):
            findings.append(self._finding(scan, notes, *result))
        return findings

    def _finding(self, scan, notes, proposed, opinions, residual) -> Finding:
        probability, fitted, areas = self.decide(proposed, opinions, residual)
        notes = [*notes, *doubts(residual, self.lines, self.names)]
        names = [self.names[label] for label in fitted]
        masses = {self.names[i]: a * self.lines[i].mass_factor for i, a in areas.items()}
        total = sum(masses.values())
        verdict = Verdict(
            scan.name,
            tuple(names),
            bool(probability[-1] >= 0.5),
            {n: float(p) for n, p in zip(self.names, probability, strict=False)},
            tuple(notes),
        )
        patterns = {self.names[i]: pattern for i, pattern in fitted.items()}
        mass = {n: m / total if total else 0.0 for n, m in masses.items()}
        return Finding(verdict, residual.signal, patterns, mass)

    def save(self, path, overwrite: bool = False) -> Path:
        """Write a ``.keras`` file with everything inside; see `training.Classifier.save`."""
        metadata = {
            "kind": "identifier",
            "names": self.names,
            "grid": MIXTURE_GRID.to_dict(),
            "lines": [lines.to_dict() for lines in self.lines],
            "judge": self.judge.to_dict(),
            "foreign_judge": self.foreign_judge.to_dict(),
            "threshold": self.threshold,
            "settings": self.settings,
        }
        return save_network(path, self.network, metadata, overwrite)

    @classmethod
    def load(cls, path=SHIPPED) -> Identifier:
        """Read a file that `save` wrote; without a path, the network that ships with xrdclass.

        Raises
        ------
        ModelError
            If the file is missing, damaged, or no identifier.
        """
        known = read_metadata(path)
        try:
            if known["kind"] != "identifier":
                raise ValueError(f"it holds a {known['kind']}")
            if known["grid"] != MIXTURE_GRID.to_dict():
                raise ValueError("it was trained on another grid")
            names = check_names(known["names"])
            if len(known["lines"]) != len(names):
                raise ValueError(f"{len(names)} phases have {len(known['lines'])} lists of lines")
            parts = {
                "lines": [PhaseLines.from_dict(values) for values in known["lines"]],
                "judge": Judge.from_dict(known["judge"], N_FEATURES),
                "foreign_judge": Judge.from_dict(known["foreign_judge"], N_FOREIGN_FEATURES),
                "threshold": float(known["threshold"]),
                "settings": dict(known["settings"]),
            }
            if not 0 <= parts["threshold"] <= 1:
                raise ValueError(f"its threshold is {parts['threshold']}")
        except Exception as error:
            raise ModelError(
                f"{path} is no identifier of xrdclass: {short_reason(error)}. Train it again "
                "(xrdclass train-identifier), or leave out --model for the one that is shipped."
            ) from None
        network = load_network(path, (N_POINTS, 2), (len(names) + 1,))
        return cls(network, names, **parts)


def bring_to_grid(scan: Scan, wavelength=None):
    """A scan on `MIXTURE_GRID` as if measured with Cu K-alpha.

    Returns
    -------
    counts : float32, (points,)
    covered : bool, (points,)
    notes : list of sentences

    Raises
    ------
    DataError
        If the scan does not overlap the grid.
    """
    notes = []
    two_theta, intensity = scan.two_theta, scan.intensity
    source = radiation(wavelength or scan.wavelength or "Cu")
    if source != radiation("Cu"):
        two_theta = convert_two_theta(two_theta, source, "Cu")
        reached = np.isfinite(two_theta)
        two_theta, intensity = two_theta[reached], intensity[reached]
        notes.append(f"Measured with {source.name} radiation; shown as if with Cu.")
    counts = resample(two_theta, np.maximum(intensity, 0), MIXTURE_GRID)
    axis = MIXTURE_GRID.two_theta
    covered = (axis >= two_theta[0]) & (axis <= two_theta[-1])
    if covered.sum() < 50:
        raise DataError(
            f"{scan.name}: only {covered.sum() * MIXTURE_GRID.step:.1f} degrees lie within "
            f"{MIXTURE_GRID.start:g} to {MIXTURE_GRID.stop:g} (Cu); no phase can be named."
        )
    return counts, covered, notes


def doubts(residual: Residual, lines: Sequence[PhaseLines], names: Sequence[str]) -> list[str]:
    """Sentences about what makes any answer on a scan doubtful."""
    found = []
    first, last = TWO_THETA[residual.covered][[0, -1]]
    for phase, name in zip(lines, names, strict=True):
        x = phase.two_theta[phase.strong]
        seen = phase.intensity[phase.strong] * ((x > first + 0.3) & (x < last - 0.3))
        if seen.sum() < 0.5 * phase.intensity[phase.strong].sum():
            found.append(
                f"The range {first:.1f} to {last:.1f} degrees (Cu) leaves out most of the lines of "
                f"{name}; whether it is there cannot be told."
            )
    strongest = outstanding = 0.0
    for contrast, noise in zip(residual.contrast, residual.noises, strict=True):
        seen = contrast[residual.covered]
        strongest = max(strongest, float((seen / noise[residual.covered]).max()))
        # Neighbours tell little of the noise where counts are few; all the scan's scatter does.
        scatter = 1.4826 * np.median(np.abs(seen - np.median(seen)))
        outstanding = max(outstanding, float(seen.max() / max(scatter, 1e-9)))
    if strongest < 12 or outstanding < 10:
        found.append(
            "No peak stands clearly above the noise; count longer, or take the answer for a guess."
        )
    return found


#: How many numbers the judges of a phase and of "foreign" see.
N_FEATURES, N_FOREIGN_FEATURES = 3 + len(FEATURES), 6


def phase_features(label: int, proposed, opinion: Opinion) -> np.ndarray:
    """What the judge of a phase sees: the network's logits and the second opinion."""
    p = np.clip(proposed, 1e-6, 1 - 1e-6)
    logit = np.log(p / (1 - p))
    others = np.delete(logit[:-1], label).max(initial=-14)
    return np.concatenate([[logit[label], others, logit[-1]], opinion.features])


#: Peak widths and shifts that are tried when phases are fitted to a scan, degrees.
FITTED_WIDTHS = (0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.56, 0.8, 1.1, 1.6, 2.3)
FITTED_SHIFTS = (-0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06)
#: Peak widths of a sample's phases differ by at most this factor: fitted freely, a weak phase would
#: grow broad, own the tails of a strong one's peaks, and get a mass many times too large.
WIDTH_RATIO = 3.0
#: Straight pieces between so many points make up what the background's estimate has left.
BACKGROUND_NODES = 12


def share_signal(residual: Residual, opinions: dict[int, Opinion]):
    """Fit the patterns of the phases found to a scan, all together.

    Non-negative least squares; each phase has its own peak width and a shift of less than two
    steps, tried one after the other. The phase that explains most alone comes first. At the end a
    smooth background, positive or negative, is fitted beside them: what clipping has left of it
    would else count as peaks, above all for a phase with many lines.

    Returns
    -------
    patterns : {label: float (N_POINTS,)}, each phase's part of the signal
    areas : {label: area of the strongest line, degrees}
    """
    from scipy.optimize import nnls

    signal, background = residual.signal, _background_shapes()
    columns, shapes = {}, {}

    def fit(with_background=False):
        matrix = np.stack(list(columns.values()), axis=1)
        inside = residual.covered & (matrix.max(axis=1) > 0.01 * matrix.max())
        both = np.column_stack([matrix, signal])[inside]
        if with_background:  # least squares on what no background explains fits both at once
            base = background[inside]
            square = base.T @ base + 1e-6 * np.eye(base.shape[1])
            both = both - base @ np.linalg.solve(square, base.T @ both)
        scale, misfit = nnls(both[:, :-1], both[:, -1])
        # Points outside count too: a wider peak must not win by taking in fewer of them.
        return scale, misfit**2 + (signal[residual.covered & ~inside] ** 2).sum()

    def choose(label, candidates):
        tried = []
        for shape in candidates:
            columns[label] = draw_lines(opinions[label], *shape)
            tried.append((fit()[1], shape))
        misfit, shapes[label] = min(tried)
        columns[label] = draw_lines(opinions[label], *shapes[label])
        return misfit

    alone = {}
    for label in opinions:
        columns.clear()
        alone[label] = choose(label, [(width, 0.0) for width in FITTED_WIDTHS])
    columns.clear()
    order = sorted(alone, key=alone.get)

    def near(label):
        first = shapes[order[0]][0]
        limits = (0, np.inf) if label == order[0] else (first / WIDTH_RATIO, first * WIDTH_RATIO)
        return [width for width in FITTED_WIDTHS if limits[0] <= width <= limits[1]]

    for label in order:
        if label != order[0]:
            choose(label, [(width, 0.0) for width in near(label)])
        choose(label, [(shapes[label][0], shift) for shift in FITTED_SHIFTS])
    for label in order if len(order) > 1 else ():
        # A width that was chosen before the other phases took their peaks may be too large.
        choose(label, [(width, shapes[label][1]) for width in near(label)])
    scale = fit(with_background=True)[0] if order else []
    areas = {i: float(s) for i, s in zip(order, scale, strict=True)}
    return {i: areas[i] * columns[i] for i in sorted(order)}, areas


@cache
def _background_shapes() -> np.ndarray:
    nodes = np.linspace(TWO_THETA[0], TWO_THETA[-1], BACKGROUND_NODES)
    rows = [np.interp(TWO_THETA, nodes, row) for row in np.eye(BACKGROUND_NODES)]
    return np.stack(rows, axis=1)


def foreign_features(proposed, fitted, residual: Residual) -> np.ndarray:
    """What the judge of "foreign" sees: the network's logit, and what the phases leave over."""
    p = np.clip(proposed[-1], 1e-6, 1 - 1e-6)
    smooth, noise = residual.smoothed(0.2), residual.noises[1]
    left = residual.covered.copy()
    for pattern in fitted.values():
        near = pattern > 0.015 * pattern.max()
        left &= ~near
    contrast = (smooth - residual.smoothed(0.52))[left]
    top = float(contrast.max(initial=0))
    signal = float((contrast / noise[left]).max(initial=0))
    total = max(np.maximum(smooth[residual.covered], 0).sum(), 1e-9)
    explained = np.minimum(sum(fitted.values(), np.zeros(N_POINTS)), np.maximum(smooth, 0))
    return np.array(
        [
            np.log(p / (1 - p)),
            np.log(top + 1e-3),
            np.log(signal + 0.1),
            explained[residual.covered].sum() / total,
            len(fitted),
            left.sum() / max(residual.covered.sum(), 1),
        ]
    )


def targets(mixtures: Mixtures) -> np.ndarray:
    """Truth and weight, (n, phases + 1, 2): nothing is asked of what cannot be seen."""
    truth = np.concatenate([mixtures.present, mixtures.foreign[:, None]], axis=1)
    visible = (mixtures.height >= VISIBLE_HEIGHT) & (mixtures.signal >= VISIBLE_SIGNAL)
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

    Returns
    -------
    Identifier
        Its settings hold what was measured on simulated mixtures that nothing was trained on.
    """
    report = report or (lambda line: None)
    started = time.perf_counter()
    keras = import_keras()
    keras.utils.set_random_seed(seed)
    versions = {"xrdclass": __version__, "keras": keras.__version__}
    names = tuple(p.name for p in phases)
    network = identifier_cnn(N_POINTS, len(names) + 1)
    source = MixtureSource(phases, invent_crystals(n_crystals, seed), (seed, 1))
    portion = -(-n_samples // rounds)
    steps = rounds * passes * -(-portion // 64)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps, alpha=0.01)
    network.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4), _visible_crossentropy(keras))
    done, keeper, spent = 0, None, 0
    if keep is not None:
        network.optimizer.build(network.trainable_variables)
        about = {
            "phases": [[phase.name, str(phase.structure)] for phase in phases],
            "samples": n_samples,
            "crystals": n_crystals,
            "rounds": rounds,
            "passes": passes,
            "seed": seed,
            "versions": versions,
        }
        keeper = Keeper(keep, network, about)
        if keeper.record:
            done, spent = keeper.record["rounds"], keeper.record["seconds"]
            source.rng.bit_generator.state = keeper.record["rng"]
            keras.utils.set_random_seed((seed + done) % 2**32)
            report(f"going on after round {done} of {rounds}")
    for i in range(done, rounds):
        inputs, truth = _draw_inputs(source, portion)
        record = network.fit(inputs, truth, batch_size=64, epochs=passes, verbose=0)
        loss, seconds = record.history["loss"][-1], time.perf_counter() - started
        report(f"round {i + 1} of {rounds}: loss {loss:.3f} after {spent + seconds:.0f} s")
        del inputs, truth
        if keeper:
            rng = source.rng.bit_generator.state
            keeper.save({"rounds": i + 1, "seconds": round(spent + seconds), "rng": rng})
    identifier = Identifier(network, names, all_lines(phases))
    others = invent_crystals(max(50, n_crystals // 10), seed + 1_000_003)
    _train_judges(identifier, MixtureSource(phases, others, (seed, 2)), n_judged, seed, report)
    unseen = MixtureSource(phases, others, (seed, 3))
    measured = measure(identifier, _portions(unseen, min(n_judged, ENOUGH_MEASURED)))
    identifier.settings = {
        "samples": n_samples,
        "passes": passes,
        "crystals": n_crystals,
        "seed": seed,
        "seconds": round(spent + time.perf_counter() - started),
        "versions": versions,
        "measured": measured,
    }
    return identifier


def _portions(source: MixtureSource, n: int, size: int = 64):
    """``n`` samples, a few at a time: second opinions need much memory while they are formed."""
    for start in range(0, n, size):
        yield source.draw(min(size, n - start))


def _draw_inputs(source: MixtureSource, n: int):
    inputs = np.empty((n, N_POINTS, 2), dtype=np.float16)
    truth = []
    start = 0
    for drawn in _portions(source, n, 256):
        signal, inside, _, _ = above_background(drawn.counts, drawn.covered)
        inputs[start : start + len(drawn)] = network_input(signal, inside)
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


def _train_judges(identifier, source, n, seed, report) -> None:
    """Judge and threshold, then the judge of "foreign", each on mixtures of its own."""

    def examined(n):
        for drawn in _portions(source, n):
            results = identifier.examine(drawn.counts, drawn.covered)
            yield from zip(results, targets(drawn), strict=True)

    features, truth = [], []
    for (proposed, opinions, _), asked in examined(n):
        for label, opinion in opinions.items():
            if asked[label, 1]:
                features.append(phase_features(label, proposed, opinion))
                truth.append(asked[label, 0])
    identifier.judge = Judge.fit(np.array(features), np.array(truth), seed)
    report(f"judge trained on {len(truth)} proposals")

    worst = []
    for (proposed, opinions, _), asked in examined(n):
        if not asked[:-1, 0].any():
            each = [phase_features(i, proposed, opinion) for i, opinion in opinions.items()]
            worst.append(identifier.judge.probability(each).max() if each else 0.0)
    identifier.threshold = _choose_threshold(worst)
    report(f"threshold {identifier.threshold:.3f} from {len(worst)} samples without a phase")

    features, truth = [], []
    for (proposed, opinions, residual), asked in examined(min(n, ENOUGH_FOREIGN)):
        if asked[-1, 1]:
            found = identifier.find(proposed, opinions)[1]
            fitted, _ = share_signal(residual, found)
            features.append(foreign_features(proposed, fitted, residual))
            truth.append(asked[-1, 0])
    identifier.foreign_judge = Judge.fit(np.array(features), np.array(truth), seed + 1)


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
        for result in identifier.examine(mixtures.counts, mixtures.covered):
            answers.append(identifier.decide(*result)[0])
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
