"""Which of several phases a scan holds, none or more than one, and whether there is more in it.

A network proposes, a fit decides: the phases that the network thinks possible are fitted to the
scan, and what speaks for each of them there makes its probability. Network and probabilities were
learnt from simulated mixtures only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..diffraction import RADIATIONS, Radiation
from ..errors import DataError, ModelError
from ..files.networks import described, load_arrays, read_metadata, save_arrays, short_reason
from ..findings import Finding, GridScan, on_grid
from ..scans import Scan
from ..training import Classifier
from .background import N_POINTS, above_background
from .evidence import FEATURES, N_FOREIGN_FEATURES, Calibration, foreign_features
from .mixtures import MIXTURE_GRID
from .network import Network
from .profile import PhaseLines
from .refinement import Refinement, refine

#: The network that ships with the package, for the five TiO2 phases.
SHIPPED = Path(__file__).parent.parent / "networks" / "tio2.npz"
#: A phase that the network finds less probable is not fitted; and by how much the odds rise, from
#: this at least, of one that somebody expects: honest if half of what is expected is there.
PROPOSED, EXPECTED = 0.01, 20.0
#: The d-spacing at the start of the mixtures' grid, Å.
LARGEST = RADIATIONS["Cu"].mean / 2 / np.sin(np.radians(MIXTURE_GRID.start / 2))
#: Steps, degrees, beyond which a scan's peaks have too few points to compare their shape.
COARSE = 0.1


@dataclass
class Identifier:
    """A network, the lines of its phases and calibrated fits; see `train.train_identifier`.

    Attributes
    ----------
    network : from `Lifted.network_input` to probabilities (n, phases + 1)
    lines : the phases' lines, in the order of the network's outputs
    calibration : from a phase's evidence and the network's probability to its probability
    foreign : the same for "something else", from `evidence.foreign_features`
    threshold : a phase is named from this probability on
    settings : how it was trained, with which versions, and what was measured then
    """

    network: Network
    lines: list[PhaseLines]
    calibration: Calibration
    foreign: Calibration
    threshold: float = 0.9
    settings: dict = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the phases."""
        return tuple(line.name for line in self.lines)

    def propose(self, counts, covered) -> np.ndarray:
        """The network's probabilities, float, (n, phases + 1); the last is "something else".

        ``counts`` and ``covered`` as of `GridScan`, (n, points) each, on `MIXTURE_GRID`.
        """
        return self.network(above_background(counts, covered).network_input)

    def fit(self, scan: Scan, proposed, wavelength=None, expect: Collection[str] = ()):
        """Fit the phases that a row of `propose` thinks possible, and those named in ``expect``."""
        expected = {}
        for name, p in zip(self.names, map(float, proposed), strict=False):
            if name in expect:
                p = EXPECTED * max(p, PROPOSED) / (1 + (EXPECTED - 1) * max(p, PROPOSED))
            if p >= PROPOSED:
                expected[name] = p
        return refine(
            scan,
            self.lines,
            wavelength,
            least_probability=self.threshold,
            expected=expected,
            calibration=self.calibration,
        )

    def is_foreign(self, fit: Refinement, proposed) -> float:
        """The probability that there is something else, 0...1; 0 without unexplained peaks.

        At smaller angles than the network sees, the direct beam makes humps. A peak counts there
        if it has a tenth of the scan's highest; then the network cannot deny it.
        """
        clear = 0.1 * (fit.counts - fit.background).max()
        beyond = any(p["d"] > LARGEST and p["height"] > clear for p in fit.unexplained)
        peaks = [p for p in fit.unexplained if p["d"] < LARGEST or beyond]
        said = max(proposed[-1], 0.5) if beyond else proposed[-1]
        fit = replace(fit, unexplained=peaks)
        return self.foreign(foreign_features(fit, said)) if peaks else 0.0

    def identify(self, scans: Sequence[Scan], wavelength=None, expect=()) -> list[Finding]:
        """What each of several scans holds.

        Parameters
        ----------
        scans : of any range and step
        wavelength : a name or Å, instead of what the scans state; Cu if nobody says
        expect : names of phases that are fitted whatever the network says

        Raises
        ------
        DataError
            If a scan does not overlap 8 to 82 degrees (Cu K-alpha), or there is no such phase.
        """
        if unknown := sorted(set(expect) - set(self.names)):
            raise DataError(
                f"There is no phase {unknown[0]!r} here; there are: {', '.join(self.names)}."
            )
        seen = [_on_mixture_grid(scan, wavelength) for scan in scans]
        each = zip(scans, seen, self._proposed(seen), strict=True)
        return [self._finding(*one, expect) for one in each]

    def _proposed(self, seen: Sequence[GridScan]) -> np.ndarray:
        if not seen:
            return np.zeros((0, len(self.lines) + 1))
        return self.propose(
            np.array([s.intensity for s in seen]), np.array([s.covered for s in seen])
        )

    def _finding(self, scan: Scan, seen: GridScan, proposed, expect) -> Finding:
        fit = self.fit(scan, proposed, seen.radiation.mean, expect)
        named = tuple(n for n, p in fit.phases.items() if p.probability >= self.threshold)
        warnings = [*seen.warnings, *fit.warnings]
        foreign = self.is_foreign(fit, proposed)
        tellable, step = True, np.median(np.diff(scan.two_theta))
        if named and step > COARSE:
            tellable = False
            warnings.append(
                f"In steps of {step:g} degrees peaks lose their shape: whether there is anything "
                "else cannot be told."
            )
        if not named and seen.source == "assumed":
            warnings.append(self._doubt_of_wavelength(scan, seen.radiation, bool(fit.unexplained)))
        return Finding(
            name=scan.name,
            phases=named,
            foreign=foreign >= 0.5 and tellable,
            probability={n: p.probability for n, p in fit.phases.items()},
            warnings=tuple(warnings),
            two_theta=fit.two_theta,
            signal=fit.counts,
            wavelength=seen.radiation.mean,
            wavelength_source=seen.source,
            threshold=self.threshold,
            foreign_probability=foreign,
            refinement=fit,
        )

    def _doubt_of_wavelength(self, scan: Scan, assumed: Radiation, peaks: bool) -> str:
        """A sentence, with the anodes that would make the scan's peaks those of a phase."""
        others, seen, fitting = [r for r in RADIATIONS.values() if r != assumed], [], []
        for other in others if peaks else ():
            with contextlib.suppress(DataError):  # what it reaches may lie beside the grid
                seen.append(_on_mixture_grid(scan, other))
        for one, proposed in zip(seen, self._proposed(seen), strict=True):
            if proposed[:-1].max() < 0.5:  # only what the network is fairly sure of is fitted
                continue
            likely = np.where(proposed < 0.5, 0, proposed)
            phases = self.fit(scan, likely, one.radiation.mean).phases.values()
            found = [p.name for p in phases if p.probability >= self.threshold]
            names = " and ".join(found)
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
            "elements": [line.table.elements for line in self.lines],
            "steps": self.network.steps,
            "calibration": self.calibration.to_dict(),
            "foreign": self.foreign.to_dict(),
            "threshold": self.threshold,
            "settings": self.settings,
        }
        arrays = self.network.to_arrays()
        for i, line in enumerate(self.lines):
            arrays |= {f"phase_{i}_{key}": value for key, value in line.to_arrays().items()}
        return save_arrays(path, arrays, metadata, overwrite)

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
            threshold = float(known["threshold"])
            if not 0 <= threshold <= 1:
                raise ValueError(f"its threshold is {threshold}")
            return (
                [list(elements) for elements in known["elements"]],
                known["steps"],
                Calibration.from_dict(known["calibration"], len(FEATURES) + 1),
                Calibration.from_dict(known["foreign"], N_FOREIGN_FEATURES),
                threshold,
                dict(known["settings"]),
            )

        names, (elements, steps, *others) = described(path, "identifier", check)
        arrays = load_arrays(path)
        try:
            lines = []
            for i, (name, kinds) in enumerate(zip(names, elements, strict=True)):
                start = f"phase_{i}_"
                own = [key for key in arrays if key.startswith(start)]
                own = {key.removeprefix(start): arrays.pop(key) for key in own}
                lines.append(PhaseLines.from_arrays(name, kinds, own))
            network = Network.from_arrays(arrays, steps)
            with np.errstate(all="ignore"):
                answer = network(np.ones((1, N_POINTS, 2)))
        except Exception as error:
            raise ModelError(
                f"The network in {path} cannot be used ({short_reason(error)}). Train it again."
            ) from None
        if answer.shape != (1, len(names) + 1) or not np.isfinite(answer).all():
            raise ModelError(f"The network in {path} does not fit its own names. Train it again.")
        return cls(network, lines, *others)


def load_model(path=SHIPPED) -> Classifier | Identifier:
    """The classifier or the identifier in a file; both answer by ``identify(scans, wavelength)``.

    Raises
    ------
    ModelError
        If the file is missing, damaged, or neither of them.
    """
    kind = read_metadata(path).get("kind")
    return Identifier.load(path) if kind == "identifier" else Classifier.load(path)


def _on_mixture_grid(scan: Scan, wavelength) -> GridScan:
    seen = on_grid(scan, MIXTURE_GRID, "Cu", wavelength)
    if seen.covered.sum() < 50:
        raise DataError(
            f"{scan.name}: only {seen.covered.sum() * MIXTURE_GRID.step:.1f} degrees lie within "
            f"{MIXTURE_GRID.start:g} to {MIXTURE_GRID.stop:g} (Cu); no phase can be named."
        )
    return seen
