"""Which of several phases a scan holds, none or more than one, and whether there is more in it.

A network proposes: it has one independent output for each phase and one for foreign crystals. The
lines of the proposed phases are then looked for in the scan (`second_opinion`), and a judge weighs
both. Network and judge know simulated mixtures only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..diffraction import RADIATIONS, Radiation
from ..errors import DataError, ModelError
from ..files.networks import described, load_arrays, read_metadata, save_arrays, short_reason
from ..findings import Finding, GridScan, on_grid
from ..scans import Scan
from ..training import Classifier
from .background import N_POINTS, TWO_THETA, above_background
from .judge import (
    N_FOREIGN_FEATURES,
    N_PHASE_FEATURES,
    Examination,
    Judge,
    examine,
    foreign_features,
    named_phases,
)
from .mixtures import MIXTURE_GRID
from .network import Network
from .second_opinion import PhaseLines, SmoothedScan
from .weights import share_signal

#: The network that ships with the package, for the five TiO2 phases.
SHIPPED = Path(__file__).parent.parent / "networks" / "tio2.npz"
#: Steps, degrees, beyond which a scan's peaks have too few points to compare their shape.
COARSE = 0.1


@dataclass(frozen=True)
class Decision:
    """What is decided of a scan.

    Attributes
    ----------
    probability : float, (phases + 1,); the last is "foreign"
    fitted : label -> each found phase's part of the signal, (N_POINTS,)
    areas : label -> area of its strongest line, degrees
    """

    probability: np.ndarray
    fitted: dict[int, np.ndarray]
    areas: dict[int, float]


@dataclass
class Identifier:
    """A network, the lines of its phases and a judge; see `train.train_identifier`.

    Attributes
    ----------
    network : from `Lifted.network_input` to probabilities (n, phases + 1)
    names : the phases
    lines : their lines
    judge, foreign_judge : for phases, and for "something else"
    threshold : a phase is named from this probability on
    settings : how it was trained, with which versions, and what was measured then
    """

    network: Network
    names: tuple[str, ...]
    lines: list[PhaseLines]
    judge: Judge
    foreign_judge: Judge
    threshold: float = 0.5
    settings: dict = field(default_factory=dict)

    def propose(self, counts, covered) -> np.ndarray:
        """The network's probabilities, float, (n, phases + 1); the last is "foreign"."""
        return self.network(above_background(counts, covered).network_input)

    def examine(self, counts, covered) -> list[Examination]:
        """Network and second opinions on scans that lie on `MIXTURE_GRID`, (n, points) each."""
        return examine(self.network, self.lines, counts, covered)

    def decide(self, examination: Examination) -> Decision:
        """Which phases there are, how much of the signal is theirs, and whether there is more."""
        probability, found = named_phases(examination, self.judge, self.threshold)
        fitted, areas = share_signal(examination.scan, found)
        foreign = self.foreign_judge.probability([foreign_features(examination, fitted)])
        return Decision(np.concatenate([probability, foreign]), fitted, areas)

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
        seen = [_on_mixture_grid(scan, wavelength) for scan in scans]
        each = zip(scans, seen, self._examine(seen), strict=True)
        return [self._finding(*one) for one in each]

    def _examine(self, seen: list[GridScan]) -> list[Examination]:
        if not seen:
            return []
        return self.examine(*_stacked(seen))

    def _finding(self, scan: Scan, seen: GridScan, examination: Examination) -> Finding:
        decision, covered = self.decide(examination), examination.scan.covered
        masses = {i: a * self.lines[i].mass_factor for i, a in decision.areas.items()}
        total = sum(masses.values())
        warnings = [*seen.warnings, *doubts(examination.scan, self.lines, self.names)]
        tellable = peaks_seen(examination.scan, 8.0)  # noise alone reaches less
        step = np.median(np.diff(scan.two_theta)) if len(scan) > 1 else 0
        if decision.fitted and step > COARSE:
            tellable = False
            warnings.append(
                f"In steps of {step:g} degrees peaks lose their shape: whether there is anything "
                "else cannot be told."
            )
        if not decision.fitted and seen.source == "assumed":
            warnings.append(self._doubt_of_wavelength(scan, seen.radiation, tellable))
        return Finding(
            name=scan.name,
            phases=tuple(self.names[label] for label in decision.fitted),
            foreign=bool(decision.probability[-1] >= 0.5 and tellable),
            probability=dict(zip(self.names, decision.probability.tolist(), strict=False)),
            warnings=tuple(warnings),
            two_theta=TWO_THETA[covered],
            signal=examination.scan.signal[covered],
            wavelength=seen.radiation.mean,
            wavelength_source=seen.source,
            threshold=self.threshold,
            fitted={self.names[i]: pattern[covered] for i, pattern in decision.fitted.items()},
            mass={self.names[i]: m / total if total else 0.0 for i, m in masses.items()},
        )

    def _doubt_of_wavelength(self, scan: Scan, assumed: Radiation, peaks: bool) -> str:
        """A sentence, with the anodes that would make the scan's peaks those of a phase."""
        others, seen, fitting = [r for r in RADIATIONS.values() if r != assumed], [], []
        for other in others if peaks else ():
            with contextlib.suppress(DataError):  # what it reaches may lie beside the grid
                seen.append(_on_mixture_grid(scan, other))
        if seen:  # only what the network is fairly sure of is looked at closely
            counts, covered = _stacked(seen)
            sure = self.propose(counts, covered)[:, :-1].max(axis=1) >= 0.5
            seen = [one for one, likely in zip(seen, sure, strict=True) if likely]
        for one, examination in zip(seen, self._examine(seen), strict=True):
            found = named_phases(examination, self.judge, self.threshold)[1]
            names = " and ".join(self.names[label] for label in found)
            fitting += [f"with {one.radiation.name} its peaks would fit {names}"] if found else []
        sentence = f"The file states no wavelength: {assumed.name} was assumed"
        return "; ".join([sentence, *fitting]) + ". If that is wrong, name the right one."

    def save(self, path, overwrite: bool = False) -> Path:
        """Write a ``.npz`` file of arrays and JSON with everything inside.

        Raises
        ------
        DataError
            If the name does not end in .npz, the file exists and ``overwrite`` is false, or the
            folder cannot be written to.
        """
        metadata = {
            "kind": "identifier",
            "names": self.names,
            "grid": MIXTURE_GRID.to_dict(),
            "lines": [lines.to_dict() for lines in self.lines],
            "steps": self.network.steps,
            "judge": self.judge.to_dict(),
            "foreign_judge": self.foreign_judge.to_dict(),
            "threshold": self.threshold,
            "settings": self.settings,
        }
        return save_arrays(path, self.network.to_arrays(), metadata, overwrite)

    @classmethod
    def load(cls, path=SHIPPED) -> Identifier:
        """Read a file that `save` wrote; without a path, the network that ships with xrdclass.

        Raises
        ------
        ModelError
            If the file is missing, damaged, or no identifier.
        """

        def check(known):
            if known["grid"] != MIXTURE_GRID.to_dict():
                raise ValueError("it was trained on another grid")
            if len(known["lines"]) != len(known["names"]):
                raise ValueError(
                    f"{len(known['names'])} phases have {len(known['lines'])} lists of lines"
                )
            threshold = float(known["threshold"])
            if not 0 <= threshold <= 1:
                raise ValueError(f"its threshold is {threshold}")
            return (
                known["steps"],
                [PhaseLines.from_dict(values) for values in known["lines"]],
                Judge.from_dict(known["judge"], N_PHASE_FEATURES),
                Judge.from_dict(known["foreign_judge"], N_FOREIGN_FEATURES),
                threshold,
                dict(known["settings"]),
            )

        names, (steps, *others) = described(path, "identifier", check)
        arrays = load_arrays(path)
        try:
            network = Network.from_arrays(arrays, steps)
            with np.errstate(all="ignore"):
                answer = network(np.ones((1, N_POINTS, 2)))
        except Exception as error:
            raise ModelError(
                f"The network in {path} cannot be used ({short_reason(error)}). Train it again."
            ) from None
        if answer.shape != (1, len(names) + 1) or not np.isfinite(answer).all():
            raise ModelError(f"The network in {path} does not fit its own names. Train it again.")
        return cls(network, names, *others)


def load_model(path=SHIPPED) -> Classifier | Identifier:
    """The classifier or the identifier in a file; both answer by ``identify(scans, wavelength)``.

    Raises
    ------
    ModelError
        If the file is missing, damaged, or neither of them.
    """
    kind = read_metadata(path).get("kind")
    return Identifier.load(path) if kind == "identifier" else Classifier.load(path)


def _stacked(seen: list[GridScan]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([s.intensity for s in seen]), np.array([s.covered for s in seen])


def _on_mixture_grid(scan: Scan, wavelength) -> GridScan:
    seen = on_grid(scan, MIXTURE_GRID, "Cu", wavelength)
    if seen.covered.sum() < 50:
        raise DataError(
            f"{scan.name}: only {seen.covered.sum() * MIXTURE_GRID.step:.1f} degrees lie within "
            f"{MIXTURE_GRID.start:g} to {MIXTURE_GRID.stop:g} (Cu); no phase can be named."
        )
    return seen


def doubts(scan: SmoothedScan, lines: Sequence[PhaseLines], names: Sequence[str]) -> list[str]:
    """Sentences about what makes any answer on a scan doubtful."""
    found = []
    first, last = TWO_THETA[scan.covered][[0, -1]]
    for phase, name in zip(lines, names, strict=True):
        x = phase.two_theta[phase.strong]
        seen = phase.intensity[phase.strong] * ((x > first + 0.3) & (x < last - 0.3))
        if seen.sum() < 0.5 * phase.intensity[phase.strong].sum():
            found.append(
                f"The range {first:.1f} to {last:.1f} degrees (Cu) leaves out most of the lines of "
                f"{name}; whether it is there cannot be told."
            )
    if not peaks_seen(scan):
        found.append(
            "No peak stands clearly above the noise; count longer, or take the answer for a guess."
        )
    return found


def peaks_seen(scan: SmoothedScan, clear: float = 10.0) -> bool:
    """Whether anything stands above the noise, ``clear`` times the scatter of the whole scan."""
    strongest = outstanding = 0.0
    for contrast, noise in zip(scan.contrast, scan.noises, strict=True):
        seen = contrast[scan.covered]
        strongest = max(strongest, float((seen / noise[scan.covered]).max()))
        # Neighbours tell little of the noise where counts are few; all the scan's scatter does.
        scatter = 1.4826 * np.median(np.abs(seen - np.median(seen)))
        outstanding = max(outstanding, float(seen.max() / max(scatter, 1e-9)))
    return strongest >= 12 and outstanding >= clear
