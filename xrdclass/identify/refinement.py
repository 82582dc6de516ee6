"""One whole-pattern fit: background + sum of scale x calculated pattern, for any phases and scan.

The fit counts one-sidedly what is left. Where the model lies above the data it costs r^2, r being
the difference over the noise; where data lie above the model it costs r^2 / (1 + r^2 / 9). Peaks
that no phase owns cost little more than the background's noise and pull nothing, so that foreign
peaks need no model; a line that should be there and is not costs dearly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from ..diffraction import radiation
from ..errors import DataError
from ..phases import Phase
from ..scans import Scan
from .evidence import (
    USUAL,
    Calibration,
    Evidence,
    assess,
    intensity_scatter,
    missing_lines,
    unexplained_peaks,
    with_texture,
)
from .fitting import Model, on_one_thread
from .profile import AXES, Crystal, Instrument, LineSet, PhaseLines, phase_lines
from .start import SECOND, Measured, Search, prepare

#: A phase that gains less than this stays out of the fit, some two standard deviations at first
#: and three in the end.
WORTHLESS, LEAST = 5.0, 9.0
#: A phase more probable than this shows where the lines of all phases lie.
CONVINCING = 0.8
#: Phases less expected than this part of the most expected one have no say in where lines lie.
EXPECTED = 0.3
#: Phases less probable than this before they were fitted closely are not fitted closely.
COARSE_LEAST = 0.03
#: A scan without unexplained peaks has none at all if no phase is more probable than this and its
#: scale so many standard errors: less may be a hump.
IMPROBABLE, CLEAR = 0.3, 5.0
#: What is not seen is assumed to have crystallites of so many nm, for its upper limit.
LIMIT_SIZE = 20.0
#: Calculated intensities are never thought less certain than this, relative.
WORST = 0.3
#: Instruments without sample broadening draw lines up to this wide, degrees.
SHARPEST = 0.13


@dataclass(frozen=True, eq=False)
class RefinedPhase:
    """One phase of a `Refinement`; errors are one standard deviation.

    Attributes
    ----------
    name : the phase's name
    cell, cell_error : float, (6,), a, b, c in Å, alpha, beta, gamma in degrees
    pattern : float, (n,), its part of the calculated intensities
    upper_limit : the weight per cent that it has at most, at 95 %; of a phase that is not in the
        fit, if its crystals are as large as `LIMIT_SIZE`: smaller ones hide better
    found : whether it is in the fit; the others have a scale of 0
    evidence : Evidence that it is there
    probability : that it is there, of that evidence and of what was expected
    scale, scale_error : of the pattern, areas in electrons squared
    weight_percent, weight_error : of the crystalline phases in the fit
    domain_size, domain_size_error : nm; the error is infinite where the lines are no wider than an
        instrument's may be, so that the size is only a lower limit
    micro_strain : relative spread of d
    texture_r, texture_axis : March-Dollase parameter and hkl; 1 and None without texture
    """

    name: str
    cell: np.ndarray
    cell_error: np.ndarray
    pattern: np.ndarray
    upper_limit: float
    found: bool = False
    evidence: Evidence = Evidence()
    probability: float = 0.0
    scale: float = 0.0
    scale_error: float = np.nan
    weight_percent: float = 0.0
    weight_error: float = 0.0
    domain_size: float = np.nan
    domain_size_error: float = np.nan
    micro_strain: float = np.nan
    texture_r: float = 1.0
    texture_axis: tuple[int, int, int] | None = None


@dataclass(frozen=True, eq=False)
class Refinement:
    """What a fit says of a scan.

    Attributes
    ----------
    phases : name -> RefinedPhase, in the order given
    two_theta, counts, background : float, (n,), the points as fitted, fine ones averaged
    wavelength : Å, mean
    displacement, displacement_error : degrees by which lines move at small angles
    r_wp : weighted profile residual over all points, 0 to 1
    unexplained : peaks that no phase explains: {"two_theta", "d", "height"}, highest first
    missing : strong lines of phases in the fit that the scan lacks: {"phase", "two_theta", "d"}
    warnings : sentences
    model : Model
    """

    phases: dict[str, RefinedPhase]
    two_theta: np.ndarray
    counts: np.ndarray
    background: np.ndarray
    wavelength: float
    displacement: float
    displacement_error: float
    r_wp: float
    unexplained: list[dict]
    missing: list[dict]
    warnings: list[str]
    model: Model = field(repr=False)

    @property
    def calculated(self) -> np.ndarray:
        """Background and all patterns, (n,)."""
        return self.background + sum(p.pattern for p in self.phases.values())


@on_one_thread
def refine(
    scan: Scan,
    phases: Sequence[Phase | PhaseLines],
    wavelength=None,
    cell_range: float = 0.012,
    shift_range: float = 0.3,
    displaced: bool = True,
    texture: bool = True,
    least_probability: float = 0.0,
    expected: dict[str, float] | None = None,
    calibration: Calibration = USUAL,
) -> Refinement:
    """Fit phases to a scan.

    Parameters
    ----------
    scan : of any range and step, from 10 points on
    phases : `Phase`, or `PhaseLines` prepared with `phase_lines`
    wavelength : a name or Å, instead of what the scan states; Cu if nobody says
    cell_range : how far a cell's lengths (and its angles in radians) may differ, relative
    shift_range : degrees by which a sample displacement may move lines
    displaced : False for a zero shift instead of a displaced sample
    texture : whether preferred orientation may be fitted, where it pays
    least_probability : phases less probable than this stay out of the fit
    expected : name -> how probable a phase is before the fit, as a network proposes it; phases
        that are not named here are not tried, and only their upper limits are told. By default
        all are tried, and none is more likely than the others
    calibration : makes probabilities of evidence

    Raises
    ------
    DataError
        If there are no phases, or none of them has lines in the scan's range.
    """
    if not phases:
        raise DataError("A fit needs at least one phase.")
    prepared = [p if isinstance(p, PhaseLines) else phase_lines(p) for p in phases]
    source = radiation(wavelength or scan.wavelength or "Cu")
    # Beyond the last line of the tables there is nothing to fit.
    reach = min(source.k_alpha1 / 2 / max(p.d_min for p in prepared), 0.99)
    inside = scan.two_theta < np.degrees(2 * np.arcsin(reach))
    if inside.sum() < 10:
        raise DataError(
            f"{scan.name or 'The scan'} has fewer than ten points in the phases' range."
        )
    x, y = scan.two_theta[inside], scan.intensity[inside]
    lines = [LineSet(p, source, x[0], x[-1]) for p in prepared]
    if not any(len(line.area) for line in lines):
        raise DataError(f"No phase has lines between {x[0]:.1f} and {x[-1]:.1f} degrees.")
    before = {p.name: 1.0 for p in prepared} if expected is None else expected
    places = [i for i, line in enumerate(lines) if len(line.area) and line.phase.name in before]
    coarse = prepare(x, y, 0.05, softness=0.1)
    likely = [before[lines[i].phase.name] for i in places]
    model = _far_start(
        coarse, source, [lines[i] for i in places], likely, cell_range, shift_range, displaced
    )
    weighed: dict[int, Evidence] = {}

    def without_improbable(model, places, least, probability):
        """Note the evidence for each phase; leave out those less probable than ``least``."""
        weighed.update(zip(places, assess(model) if places else [], strict=True))
        kept = [i for i, place in enumerate(places) if probability(place) >= least]
        return model.keep(kept), [places[i] for i in kept]

    def probability(place):
        asked = None if expected is None else expected.get(lines[place].phase.name, 0.0)
        return calibration.probability(weighed.get(place, Evidence()), asked)

    model, places = _without_worthless(model, places, WORTHLESS)
    if least_probability > 0:
        least, usual = min(least_probability, COARSE_LEAST), USUAL.probability
        model, places = without_improbable(model, places, least, lambda i: usual(weighed[i]))
    model = model.run(8, tolerance=2.0)
    if texture:
        model = with_texture(model)
    pairs = zip(model.lines, model.crystals, strict=True)
    widths = [np.median(line.shapes(crystal, model.instrument)[1]) for line, crystal in pairs]
    finest = float(np.clip(min(widths, default=0.1) / 5, 0.01, 0.05))
    model = model.on(prepare(x, y, finest, before=coarse)).run(12, tolerance=0.5)
    # Evidence needs no more points than some three a width.
    rough = model.on(prepare(x, y, 2 * finest, before=coarse)).draw()
    tried = places
    rough, places = _without_worthless(rough, places, LEAST)
    for place in set(tried) - set(places):
        weighed.pop(place, None)  # what spoke for it was another's
    rough, places = without_improbable(rough, places, least_probability, probability)
    if places != tried:
        model = model.keep([tried.index(place) for place in places]).run(6)
    scatter = min(intensity_scatter(model if model.jacobian is not None else model.draw()), WORST)
    if scatter > model.intensity_error:
        model = replace(model, intensity_error=scatter, jacobian=None).run(6)
    said = {place: (weighed[place], probability(place)) for place in weighed}
    return _report(model, lines, places, said)


def _far_start(
    coarse: Measured, source, lines, expected, cell_range, shift_range, displaced
) -> Model:
    """All phases, brought near to where they belong.

    The shift is one that most lines of the expected phases vote for. Absent phases vote as well: if
    none is convincing then, the one with the strongest evidence elsewhere goes first in another
    try, and so does each phase that lost out. The less expected phases join them there.
    """
    empty = Model(
        measured=coarse,
        source=source,
        lines=[],
        crystals=[],
        shift=0.0,
        log_width=float(np.log(0.1)),
        background=coarse.expected,
        cell_range=cell_range,
        shift_range=shift_range,
        displaced=displaced,
    )
    if not lines:
        return empty
    search = Search(coarse, lines, cell_range, shift_range, displaced)

    def joined(model, phases, shift, part, iterations):
        new = [search.crystal(i, shift) for i in phases]
        return replace(
            model,
            lines=model.lines + [lines[i] for i in phases],
            crystals=model.crystals + [replace(c, scale=part * c.scale) for c in new],
            shift=shift,
            jacobian=None,
        ).run(iterations)

    def best(phases, iterations, most=2):
        shifts = search.likely_shifts(phases, most)
        tried = [joined(empty, phases, shift, 1.0, 3) for shift in shifts]
        return min(tried, key=lambda model: model.loss).run(iterations - 3)

    def convincing(model):
        return max(map(USUAL.probability, assess(model)))

    by_itself = cache(lambda i: best([i], 4, 1))
    first = [i for i in range(len(lines)) if expected[i] >= EXPECTED * max(expected)]
    model, tried = best(first, 5), np.array(search.likely_shifts(first))
    alone = [i for i, crystal in zip(first, model.crystals, strict=True) if not crystal.scale > 0]
    if len(first) > 1 and convincing(model) <= CONVINCING:
        own = {i: search.likely_shifts([i], 1) for i in first}
        away = [i for i in first if own[i] and np.abs(tried - own[i]).min() > SECOND[0]]
        alone += sorted(away, key=lambda i: convincing(by_itself(i)))[-1:]
    for i in alone if len(first) > 1 else ():
        anchor, rest = by_itself(i), [j for j in first if j != i]
        other = joined(anchor, rest, anchor.shift, 0.01, 5).keep(np.argsort([i, *rest]))
        model = min(model, other, key=lambda model: model.loss)
    if others := [i for i in range(len(lines)) if i not in first]:
        # Small at first: who joins must not push the others away.
        model = joined(model, others, model.shift, 0.01, 4)
        model = model.keep(np.argsort(first + others))
    return model


def _without_worthless(model: Model, places, least: float):
    """Leave out phases that gain nothing, the most worthless first.

    What a phase gains is, near the optimum, the square of its scale over the scale's error.
    """
    while places:
        model = model if model.jacobian is not None else model.draw()
        scales = np.array([crystal.scale for crystal in model.crystals])
        gains = scales**2 / model.inverse()[0].diagonal()[model.scale_columns]
        kept = np.flatnonzero(scales > 0)
        if gains[kept].min(initial=np.inf) < least:
            kept = np.delete(kept, gains[kept].argmin())
        if len(kept) == len(places):
            break
        places, model = [places[i] for i in kept], model.keep(kept)
    return model, places


def _report(model: Model, lines, places, said) -> Refinement:
    """All answers of a finished fit.

    ``places``: which of the lines its phases have; ``said``: place -> evidence and probability.
    """
    measured, model = model.measured, model if model.jacobian is not None else model.draw()
    covariance, parts = model.covariance()
    error = np.sqrt(covariance.diagonal())
    mass, weight, weight_error = _weights(model, covariance)
    phases, warnings = {}, []
    for place, line in enumerate(lines):
        name = line.phase.name
        if line.seen < 0.5:
            warnings.append(
                f"The range {measured.x[0]:.1f} to {measured.x[-1]:.1f} degrees leaves out most "
                f"of the lines of {name}; whether it is there cannot be told."
            )
        evidence, probability = said.get(place, (Evidence(), 0.0))
        if place not in places:
            absent = _absent(line, model, parts, mass.sum())
            phases[name] = replace(absent, evidence=evidence, probability=probability)
            continue
        p = places.index(place)
        crystal, at = model.crystals[p], model.scale_columns[p]
        k = len(crystal.strain)
        cell, step = _cell(line, crystal.strain), 1e-6 * np.eye(k)
        slopes = np.array([_cell(line, crystal.strain + e) - cell for e in step]) / 1e-6
        part = covariance[at + 1 : at + 1 + k, at + 1 : at + 1 + k]
        phases[name] = RefinedPhase(
            name=name,
            cell=cell,
            cell_error=np.sqrt(np.einsum("ki,kl,li->i", slopes, part, slopes)),
            pattern=crystal.scale * model.jacobian[:, at],
            upper_limit=float(min(100 * (weight[p] + 1.645 * weight_error[p]), 100)),
            found=True,
            evidence=evidence,
            probability=probability,
            scale=float(crystal.scale / line.unit),
            scale_error=float(error[at] / line.unit),
            weight_percent=float(100 * weight[p]),
            weight_error=float(100 * weight_error[p]),
            domain_size=float(np.exp(crystal.log_size)),
            domain_size_error=_size_error(line, crystal, model.instrument, error[at + 1 + k]),
            micro_strain=float(np.exp(crystal.log_strain)),
            texture_r=1.0 if crystal.axis is None else float(np.exp(crystal.log_r)),
            texture_axis=None if crystal.axis is None else tuple(map(int, AXES[crystal.axis])),
        )
        if evidence.lacking > 1 / 3:
            part = f"{evidence.lacking:.0%} of its lines' intensity"
            warnings.append(f"{name}: the scan lacks {part}.")
        if evidence.lines < 2:
            warnings.append(f"{name}: fewer than two of its lines stand out from the noise.")
    left = measured.y - model.smooth - model.peaks
    r_wp = np.sqrt((left**2 / measured.variance).sum())
    r_wp /= max(np.sqrt((measured.y**2 / measured.variance).sum()), 1e-30)
    unexplained = unexplained_peaks(model)
    clear = [p for p in phases.values() if p.evidence.significance > CLEAR]
    if not unexplained and all(phase.probability < IMPROBABLE for phase in clear):
        warnings.append("No peaks are seen: the scan shows no crystals.")
    return Refinement(
        phases=phases,
        two_theta=measured.x,
        counts=measured.y,
        background=model.smooth,
        wavelength=model.source.mean,
        displacement=float(model.shift),
        displacement_error=float(error[0]),
        r_wp=float(r_wp),
        unexplained=unexplained,
        missing=missing_lines(model),
        warnings=warnings,
        model=model,
    )


def _weights(model: Model, covariance):
    """Masses in any unit, parts by weight and their standard errors, (phases,) each."""
    mass, logs = [], np.zeros((len(model.lines), len(covariance)))
    for row, at, line, crystal in zip(
        logs, model.scale_columns, model.lines, model.crystals, strict=True
    ):
        stretch = np.trace(line.basis, axis1=1, axis2=2)
        mass.append(crystal.scale * line.mass_factor * np.exp(stretch @ crystal.strain))
        row[at : at + 1 + len(stretch)] = 1 / max(crystal.scale, 1e-300), *stretch
    mass = np.array(mass)
    weight = mass / max(mass.sum(), 1e-300)
    slopes = weight[:, None] * (logs - weight @ logs)
    # Nor is a scale known better than intensities are: few grains, thermal motion, absorption.
    unseen = model.intensity_error * weight[:, None] * (np.eye(len(weight)) - weight)
    variance = np.einsum("ij,jk,ik->i", slopes, covariance, slopes) + (unseen**2).sum(axis=1)
    return mass, weight, np.sqrt(variance)


def _cell(lines: LineSet, strain):
    """Lengths and angles, (6,), of a strained cell."""
    a = lines.phase.table.lattice @ (np.eye(3) + np.tensordot(strain, lines.basis, 1))
    lengths = np.linalg.norm(a, axis=1)
    cosines = (a @ a.T / np.outer(lengths, lengths))[(1, 0, 0), (2, 2, 1)]
    return np.concatenate([lengths, np.degrees(np.arccos(np.clip(cosines, -1, 1)))])


def _size_error(lines: LineSet, crystal: Crystal, instrument: Instrument, error: float) -> float:
    """Standard error of the crystallite size, nm; infinite if an instrument may be as wide."""
    _, width, _, squares = lines.shapes(crystal, instrument)
    strongest = lines.area.argmax()
    known = width[strongest] > SHARPEST and squares[strongest, 1] > 0.5 * width[strongest] ** 2
    return float(np.exp(crystal.log_size) * error) if known else np.inf


def _absent(lines: LineSet, model: Model, parts, mass: float) -> RefinedPhase:
    """What the scan says of a phase that is not in the fit: how much of it there may be."""
    x, (inverse, _, rows, root, r) = model.measured.x, parts
    cell = _cell(lines, np.zeros(len(lines.basis)))
    unknown = RefinedPhase(lines.phase.name, cell, np.full(6, np.nan), np.zeros(len(x)), 100.0)
    if not len(lines.area):
        return unknown
    crystal = Crystal(0.0, np.zeros(len(lines.basis)), log_size=float(np.log(LIMIT_SIZE)))
    column = lines.draw(x, crystal, model.instrument, slopes=False) * root / model.sigma
    shared = column @ rows
    own = column @ column - shared @ inverse @ shared
    variance = 1 / max(own, 1e-100)
    scale = max(variance * (column @ (root * r)), 0)
    limit = (scale + 1.645 * np.sqrt(variance)) * lines.mass_factor
    return replace(
        unknown,
        upper_limit=float(100 * limit / (limit + mass)),
        scale_error=float(np.sqrt(variance) / lines.unit),
    )
