"""What laboratories send: every range and probability that mixtures are drawn from, by name."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..errors import DataError
from ..settings import setting
from ..simulation import Variation


@dataclass(frozen=True)
class Laboratory(Variation):
    """Samples and instruments to expect: the ranges and probabilities that mixtures follow.

    `print` shows all of it; "alone" is said of samples without any phase. Domain sizes, W,
    heights, background and counts are drawn evenly in their logarithm. Cells of one phase differ
    by little more than one per cent; beyond 3 % it is another compound, a near miss.
    """

    strain: float = 0.012
    texture: float = 0.85
    domain_size: tuple = (4.0, 300.0)
    micro_strain: tuple = (0.0, 0.004)
    profile: str = "pseudo-voigt"
    k_alpha2: bool = True
    caglioti: tuple = ((0.0, 0.02), (-0.01, 0.0), (0.001, 0.04))
    zero_shift: tuple = (-0.06, 0.06)
    displacement: tuple = (-0.26, 0.26)
    # What a sample holds.
    n_phases: tuple = setting((0.42, 0.3, 0.2, 0.08), "chances of 0, 1, 2, 3 phases", shares=True)
    n_foreign: tuple = setting((0.45, 0.3, 0.17, 0.08), "of foreign crystals", shares=True)
    n_foreign_alone: tuple = setting((0.0, 0.6, 0.25, 0.15), "the same, alone", shares=True)
    height: tuple = setting((0.03, 1.0), "strongest line of each crystal, beside the others")
    near_miss: tuple = setting((0.03, 0.08), "relative change of a near miss's cell")
    near_miss_chance: float = setting(0.05, "of a near miss")
    near_miss_chance_alone: float = setting(0.22, "the same, alone")
    near_miss_alike: float = setting(0.4, "part of those whose lengths all change alike")
    lost_line_chance: float = setting(0.02, "alone, of a phase without a strong line or two")
    second_lost: float = setting(0.6, "chance that a second of its three strongest is lost")
    lost_width: float = setting(1.0, "lines so close to a lost one go too, degrees", high=10)
    only_imitation: float = setting(0.6, "alone, chance that such a phase is all there is")
    # Its crystals.
    usual_cell: float = setting(0.7, "part of phases with a usual cell, not doped or tiny")
    usual_strain: float = setting(0.25, "what a usual cell has of the strain")
    mild_texture: float = setting(0.6, "part of phases with a mild texture")
    mildness: float = setting(0.3, "what a mild texture has of r - 1 (March-Dollase)")
    common_size: float = setting(0.6, "part of crystals that have the sample's size")
    vibration: tuple = setting((0.0, 2.0), "B of a phase's atoms, Å^2", high=20)
    foreign_vibration: tuple = setting((0.0, 2.5), "B of a foreign crystal's atoms, Å^2", high=20)
    grains: tuple = setting((0.03, 0.1, 0.25), "scatter of heights: few grains in the beam")
    foreign_grains: tuple = setting((0.05, 0.3, 0.8), "the same of foreign crystals")
    grain_shares: tuple = setting((0.4, 0.4, 0.2), "chances of these three", shares=True)
    foreign_scale: tuple = setting((0.9, 1.12), "by which a foreign crystal is stretched", 0.5, 2)
    foreign_jitter: float = setting(0.002, "scatter of its d-spacings, relative", high=0.1)
    foreign_jitter_chance: float = setting(0.5, "of that scatter")
    # The instrument.
    zero_shift_chance: float = setting(0.6, "of a zero shift")
    displacement_chance: float = setting(0.7, "of a displaced sample")
    k_beta: tuple = setting((0.0, 0.03), "part of K-beta that a bad filter lets through")
    k_beta_chance: float = setting(0.35, "of a bad filter")
    whole_start: float = setting(0.55, "part of scans from the grid's first angle")
    start: tuple = setting((8.0, 26.0), "first angle of the others, degrees", high=180)
    whole_stop: float = setting(0.5, "part of scans to the grid's last angle")
    stop: tuple = setting((58.0, 82.0), "last angle of the others, degrees", high=180)
    coarse: float = setting(0.25, "part of scans in twice the step, interpolated")
    # Background and counting.
    counts: tuple = setting((10**2.2, 1e5), "of the highest peak", 1e-3, 1e12)
    background: tuple = setting((10**-2.3, 10**0.5), "its mean, in heights of that peak", 1e-9, 1e9)
    air: float = setting(2.0, "greatest scattering by air, beside a level 0 to 1", high=100)
    air_decay: tuple = setting((3.0, 25.0), "angle in which it falls by e, degrees", 0.1, 1000)
    hump: tuple = setting((0.0, 0.4), "greatest amorphous hump, in heights of the peak", high=100)
    hump_chance: float = setting(0.35, "of a hump")
    hump_centre: tuple = setting((14.0, 40.0), "its place, degrees", high=180)
    hump_width: tuple = setting((6.0, 16.0), "its fwhm, degrees", 0.1, 180)
    calculated: float = setting(0.04, "part of patterns that are calculated")


def from_words(settings, **changes) -> Laboratory:
    """A laboratory from lists of words, each a setting's name and its one or more values.

    Raises
    ------
    DataError
        If there is no such setting, or its values do not fit.
    """
    known = [f.name for f in fields(Laboratory)]
    for name, *values in settings:
        if name not in known:
            raise DataError(f"There is no setting {name!r}; these are known: {', '.join(known)}.")
        try:
            numbers = tuple(map(float, values))
        except ValueError:
            numbers = tuple(values)
        changes[name] = numbers[0] if len(numbers) == 1 else numbers
    return Laboratory(**changes)
