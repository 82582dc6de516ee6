"""One whole-pattern fit: background + sum of scale x calculated pattern, for any phases and scan.

The fit counts one-sidedly what is left. Where the model lies above the data it costs r^2, r being
the difference over the noise; where data lie above the model it costs r^2 / (1 + r^2 / 9). Peaks
that no phase owns cost little more than the background's noise and pull nothing, so that foreign
peaks need no model; a line that should be there and is not costs dearly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..diffraction import radiation
from ..errors import DataError
from ..phases import Phase
from ..scans import Scan
from .evidence import (
    USUAL,
    Evidence,
    LineRatios,
    assess,
    intensity_scatter,
    line_ratios,
    missing_lines,
    unexplained_peaks,
)
from .fitting import Model
from .profile import AXES, Crystal, Instrument, LineSet, PhaseLines, phase_lines
from .start import SECOND, Measured, Search, one_sided, prepare

#: A phase that gains less than this stays out of the fit, some four standard deviations; or this,
#: three of them, if the phases are known.
WORTHLESS, LEAST = 20.0, 9.0
#: A phase more probable than this shows where the lines of all phases lie.
CONVINCING = 0.8
#: A scan without unexplained peaks, in which no phase is more probable than this, has no peaks.
IMPROBABLE = 0.1
#: Texture is fitted where it lowers the loss by more than this for its two parameters.
TEXTURE_PAYS = 16.0
#: No scale is known better than this, relative: texture too weak to be seen, thermal motion and
#: absorption in the grains go with it.
SCALE_ERROR = 0.05
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


def refine(
    scan: Scan,
    phases: Sequence[Phase | PhaseLines],
    wavelength=None,
    cell_range: float = 0.012,
    shift_range: float = 0.3,
    displaced: bool = True,
    texture: bool = True,
    least_probability: float = 0.0,
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
    least_probability : phases less probable than this, by `evidence.USUAL`, stay out of the fit

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
    hidden = [line for line in lines if not len(line.area)]
    lines = [line for line in lines if len(line.area)]
    if not lines:
        raise DataError(f"No phase has lines between {x[0]:.1f} and {x[-1]:.1f} degrees.")
    coarse = prepare(x, y, 0.05, softness=0.1)
    model = _far_start(coarse, lines, cell_range, shift_range, displaced)
    places = list(range(len(lines)))
    model, places = _without_worthless(model, places, WORTHLESS / 4)
    model, places = _without_improbable(model, places, least_probability)
    model = model.run(8, tolerance=2.0)
    if texture:
        model = _with_texture(model)
    pairs = zip(model.lines, model.crystals, strict=True)
    widths = [np.median(line.shapes(crystal, model.instrument)[1]) for line, crystal in pairs]
    finest = float(np.clip(min(widths, default=0.1) / 5, 0.01, 0.05))
    model = model.on(prepare(x, y, finest, before=coarse)).run(12, tolerance=0.5)
    # Evidence needs no more points than some three a width.
    rough = model.on(prepare(x, y, 2 * finest, before=coarse)).draw()
    rough, kept = _without_worthless(rough, places, WORTHLESS if least_probability else LEAST)
    if kept != places:
        model, places = model.keep([places.index(p) for p in kept]).run(6), kept
    evidence = assess(rough) if places else []
    scatter = min(intensity_scatter(model if model.jacobian is not None else model.draw()), WORST)
    if scatter > model.intensity_error:
        model = replace(model, intensity_error=scatter, jacobian=None).run(6)
    return _report(model, lines, places, evidence, hidden)


def _far_start(coarse: Measured, lines, cell_range, shift_range, displaced) -> Model:
    """All phases, brought near to where they belong.

    The shift is one that most lines vote for. If no phase is convincing then, the shift of the
    phase with the strongest evidence of its own is tried too: absent phases vote as well.
    """
    search = Search(coarse, lines, cell_range, shift_range, displaced)

    def start(shift, phases, iterations):
        return Model(
            measured=coarse,
            source=lines[0].source,
            lines=[lines[i] for i in phases],
            crystals=[search.crystal(i, shift) for i in phases],
            shift=shift,
            log_width=float(np.log(0.1)),
            background=coarse.expected,
            cell_range=cell_range,
            shift_range=shift_range,
            displaced=displaced,
        ).run(iterations)

    def best(phases, iterations, most=2):
        tried = [start(s, phases, iterations) for s in search.likely_shifts(phases, most)]
        return min(tried, key=lambda model: model.loss)

    every = list(range(len(lines)))
    together = best(every, 5)
    if len(lines) == 1 or max(map(USUAL.probability, assess(together))) > CONVINCING:
        return together
    alone = [best([i], 4, 1) for i in every]
    anchor = max(alone, key=lambda model: USUAL.probability(assess(model)[0]))
    if abs(anchor.shift - together.shift) > SECOND[0]:
        together = min(together, start(anchor.shift, every, 5), key=lambda model: model.loss)
    return together


def _without_improbable(model: Model, places, least: float):
    """Leave out phases that are less probable than ``least``."""
    if not places or least <= 0:
        return model, places
    probable = [USUAL.probability(evidence) >= least for evidence in assess(model)]
    kept = np.flatnonzero(probable)
    return model.keep(kept), [places[i] for i in kept]


def _without_worthless(model: Model, places, least: float):
    """Leave out phases that gain nothing, the most worthless first.

    What a phase gains is, near the optimum, the square of its scale over the scale's error.
    """
    while places:
        model = model if model.jacobian is not None else model.draw()
        scales = np.array([crystal.scale for crystal in model.crystals])
        gains = scales**2 / model.covariance(0)[1].diagonal()[model.scale_columns]
        kept = np.flatnonzero(scales > 0)
        if gains[kept].min(initial=np.inf) < least:
            kept = np.delete(kept, gains[kept].argmin())
        if len(kept) == len(places):
            break
        places, model = [places[i] for i in kept], model.keep(kept)
    return model, places


def _with_texture(model: Model) -> Model:
    """Give each phase the texture axis that pays most, where the lines' intensities say it pays."""
    crystals = list(model.crystals)
    for i, lines in enumerate(model.lines):
        axis, log_r, saved = likely_texture(line_ratios(model, i), lines)
        if saved > TEXTURE_PAYS:
            crystals[i] = replace(crystals[i], axis=axis, log_r=log_r)
    return replace(model, crystals=crystals, jacobian=None)


def likely_texture(ratios: LineRatios, lines: LineSet):
    """The axis and log r whose factors come nearest to the lines' ratios, and what that saves."""
    best = (None, 0.0, 0.0)
    plain = _misfit(ratios, np.ones(len(ratios.ratio)))
    if plain < TEXTURE_PAYS:
        return best
    for axis in range(len(AXES)):
        for log_r in np.linspace(-0.6, 0.6, 9):
            crystal = Crystal(1.0, np.zeros(len(lines.basis)), axis=axis, log_r=log_r)
            factor = lines.texture(crystal)[0]
            saved = plain - _misfit(ratios, factor)
            if saved > best[2]:
                best = axis, log_r, saved
    return best


def _misfit(ratios: LineRatios, factor) -> float:
    weight = ratios.weight
    scale = (weight * ratios.ratio * factor).sum() / max((weight * factor**2).sum(), 1e-30)
    return float((weight * (ratios.ratio - scale * factor) ** 2).sum())


def _report(model: Model, lines, places, evidence, hidden) -> Refinement:
    """All answers of a finished fit; ``places``: which of the lines its phases have."""
    measured, model = model.measured, model if model.jacobian is not None else model.draw()
    covariance, inverse = model.covariance()
    error = np.sqrt(covariance.diagonal())
    mass, weight, weight_error = _weights(model, covariance)
    phases, warnings = {}, []
    for line in hidden:
        cell, _ = _cell(line, np.zeros(len(line.basis)))
        nothing = np.zeros(len(measured.x))
        phases[line.phase.name] = RefinedPhase(line.phase.name, cell, cell * np.nan, nothing, 100.0)
        warnings.append(f"{line.phase.name} has no lines in this range and cannot be seen.")
    for place, line in enumerate(lines):
        name = line.phase.name
        if place not in places:
            phases[name] = _absent(line, model, inverse, mass.sum())
            continue
        p = places.index(place)
        crystal, at = model.crystals[p], model.scale_columns[p]
        k, line = len(crystal.strain), model.lines[p]
        cell, slopes = _cell(line, crystal.strain)
        part = covariance[at + 1 : at + 1 + k, at + 1 : at + 1 + k]
        phases[name] = RefinedPhase(
            name=name,
            cell=cell,
            cell_error=np.sqrt(np.einsum("ki,kl,li->i", slopes, part, slopes)),
            pattern=crystal.scale * model.jacobian[:, at],
            upper_limit=float(min(100 * (weight[p] + 1.645 * weight_error[p]), 100)),
            found=True,
            evidence=evidence[p],
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
        warnings += _doubts(name, evidence[p])
    left = measured.y - model.smooth - model.peaks
    r_wp = np.sqrt((left**2 / measured.variance).sum())
    r_wp /= max(np.sqrt((measured.y**2 / measured.variance).sum()), 1e-30)
    unexplained = unexplained_peaks(model)
    if not unexplained and all(USUAL.probability(e) < IMPROBABLE for e in evidence):
        warnings.append("No peaks are seen: the scan shows no crystals.")
    return Refinement(
        phases={name: phases[name] for name in (line.phase.name for line in [*lines, *hidden])},
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
    unseen = SCALE_ERROR * weight[:, None] * (np.eye(len(weight)) - weight)
    variance = np.einsum("ij,jk,ik->i", slopes, covariance, slopes) + (unseen**2).sum(axis=1)
    return mass, weight, np.sqrt(variance)


def _doubts(name: str, evidence: Evidence) -> list[str]:
    """Sentences on a phase in the fit that should not be believed without looking."""
    doubts = []
    if evidence.lacking > 1 / 3:
        doubts.append(f"{name}: the scan lacks {evidence.lacking:.0%} of its lines' intensity.")
    if evidence.lines < 2:
        doubts.append(f"{name}: fewer than two of its lines stand out from the noise.")
    return doubts


def _cell(lines: LineSet, strain):
    """Cell lengths and angles, (6,), and their derivatives, (k, 6), of a strained cell."""

    def parameters(strain):
        a = lines.phase.table.lattice @ (np.eye(3) + np.tensordot(strain, lines.basis, 1))
        lengths = np.linalg.norm(a, axis=1)
        unit = a / lengths[:, None]
        pairs = [unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]]
        return np.concatenate([lengths, np.degrees(np.arccos(np.clip(pairs, -1, 1)))])

    step = 1e-6
    shifted = [strain + step * e for e in np.eye(len(strain))]
    cell = parameters(strain)
    return cell, np.array([(parameters(s) - cell) / step for s in shifted])


def _size_error(lines: LineSet, crystal: Crystal, instrument: Instrument, error: float) -> float:
    """Standard error of the crystallite size, nm; infinite if an instrument may be as wide."""
    _, width, _, squares = lines.shapes(crystal, instrument)
    strongest = lines.area.argmax()
    known = width[strongest] > SHARPEST and squares[strongest, 1] > 0.5 * width[strongest] ** 2
    return float(np.exp(crystal.log_size) * error) if known else np.inf


def _absent(lines: LineSet, model: Model, inverse, mass: float) -> RefinedPhase:
    """What the scan says of a phase that is not in the fit: how much of it there may be."""
    x, sigma = model.measured.x, model.sigma
    crystal = Crystal(0.0, np.zeros(len(lines.basis)), log_size=float(np.log(LIMIT_SIZE)))
    column = lines.draw(x, crystal, model.instrument)[:, 2]
    r = (model.measured.y - model.smooth - model.peaks) / sigma
    weight = one_sided(r)[1]
    shared = model.jacobian.T @ (weight * column / sigma**2)
    own = (weight * column**2 / sigma**2).sum() - shared @ inverse @ shared
    variance = 1 / max(own, 1e-100)
    scale = max(variance * (weight * column * r / sigma).sum(), 0)
    limit = (scale + 1.645 * np.sqrt(variance)) * lines.mass_factor
    cell, _ = _cell(lines, crystal.strain)
    return RefinedPhase(
        name=lines.phase.name,
        cell=cell,
        cell_error=np.full(6, np.nan),
        pattern=np.zeros(len(x)),
        upper_limit=float(100 * limit / (limit + mass)),
        scale_error=float(np.sqrt(variance) / lines.unit),
    )
