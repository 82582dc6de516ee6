"""From crystal structures to powder patterns: whole batches at once, by NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .diffraction import (
    Radiation,
    Reflections,
    bragg,
    change_wavelength,
    inverse_square,
    radiation,
    reflections,
)
from .errors import DataError
from .patterns import BLOCK, DEFAULT_GRID, PatternSet, TwoThetaGrid
from .phases import Phase
from .settings import Settings, setting

#: Peaks are rendered as far as they rise above this part of the strongest one. Refinement programs
#: cut their profiles alike, at 0.1 to 1 %.
TOLERANCE = 1e-3

PROFILES = ("gaussian", "lorentzian", "pseudo-voigt", "voigt")


@dataclass(frozen=True)
class Variation(Settings):
    """The ranges that samples and instruments are drawn from: a statement about what to expect.

    Every pair is (smallest, largest). All are drawn evenly, domain sizes in their logarithm.
    `domain_size` is the code's word for the crystallite size, Scherrer's D. Strain changes the
    free parameters of the crystal system: lengths relatively, angles in radians. Texture makes a
    reflection at most this part weaker than the one that the crystallites' orientations favour
    most. `caglioti_fwhm` has the instrument's width; a sample too high moves lines to larger
    angles (`peak_shift`).
    """

    strain: float = setting(0.04, "largest relative change of the cell", high=0.2)
    texture: float = setting(0.8, "greatest part that orientations take away", high=0.999)
    domain_size: tuple = setting((20.0, 50.0), "crystallite size, nm", 0.1, 1e6)
    micro_strain: tuple = setting((0.0, 0.0), "relative spread of d within the sample")
    profile: str = setting("gaussian", "shape of the peaks", words=PROFILES)
    eta: tuple = setting((0.0, 1.0), "Lorentzian part of a (pseudo-)Voigt profile")
    k_alpha2: bool = setting(False, "K-alpha1 and K-alpha2, 2:1, or one line", words=(False, True))
    caglioti: tuple = setting(
        ((0.0, 0.0),) * 3, "U, V and W of the instrument's width, degrees^2", low=-10, high=10
    )
    zero_shift: tuple = setting((0.0, 0.0), "of all angles, degrees", -10, 10)
    displacement: tuple = setting((0.0, 0.0), "of the sample, mm; above 0 too high", -10, 10)
    radius: float = setting(200.0, "of the goniometer, mm", 1, 1e5)


#: The ranges of the original recipe, with a physical model of texture.
ORIGINAL = Variation()

#: Samples and instruments as laboratories have them: the ranges that our own training draws from.
REALISTIC = Variation(
    strain=0.015,
    texture=0.8,
    domain_size=(8.0, 200.0),
    micro_strain=(0.0, 0.003),
    profile="pseudo-voigt",
    k_alpha2=True,
    caglioti=((0.0, 0.02), (-0.01, 0.0), (0.002, 0.02)),
    zero_shift=(-0.05, 0.05),
    displacement=(-0.15, 0.15),
)


def gaussian(x, fwhm):
    """Gaussian of unit area; ``x`` and ``fwhm`` in the same unit."""
    width = fwhm / math.sqrt(4 * math.log(2))  # not NumPy's, to keep single precision single
    return np.exp(-((x / width) ** 2)) / (width * math.sqrt(math.pi))


def lorentzian(x, fwhm):
    """Lorentzian of unit area; ``x`` and ``fwhm`` in the same unit."""
    return 2 / (np.pi * fwhm) / (1 + (2 * x / fwhm) ** 2)


def pseudo_voigt(x, fwhm, eta):
    """Sum of a Lorentzian (part ``eta``) and a Gaussian of the same full width at half maximum."""
    return eta * lorentzian(x, fwhm) + (1 - eta) * gaussian(x, fwhm)


def voigt(x, fwhm, eta):
    """Convolution of a Gaussian and a Lorentzian, ``fwhm`` being the width of the result.

    The Lorentzian's own width is ``eta * fwhm``; the Gaussian's follows from f = 0.5346 L +
    sqrt(0.2166 L^2 + G^2) (Olivero & Longbothum 1977, J. Quant. Spectrosc. Radiat. Transf. 17,
    233-236), good to 0.02 %.
    """
    from scipy.special import voigt_profile

    lorentz = eta * fwhm
    gauss = np.sqrt(np.maximum((fwhm - 0.5346 * lorentz) ** 2 - 0.2166 * lorentz**2, 0))
    return voigt_profile(x, gauss / np.sqrt(8 * np.log(2)), lorentz / 2)


def scherrer_fwhm(theta, domain_size, wavelength):
    """Peak width in degrees two-theta from a crystallite size: K lambda / (D cos theta), K = 0.9.

    ``theta`` in radians, ``domain_size`` in nm, ``wavelength`` in Å.
    """
    return np.degrees(0.9 * wavelength / (10 * domain_size * np.cos(theta)))


def strain_fwhm(theta, micro_strain):
    """Peak width in degrees two-theta from a relative spread of d: 4 epsilon tan theta.

    A. R. Stokes & A. J. C. Wilson (1944), Proc. Phys. Soc. 56, 174-181. ``theta`` in radians.
    """
    return np.degrees(4 * micro_strain * np.tan(theta))


def caglioti_fwhm(theta, u, v, w):
    """Peak width in degrees two-theta from the instrument: H^2 = U tan^2 + V tan + W.

    G. Caglioti, A. Paoletti & F. P. Ricci (1958), Nucl. Instrum. 3, 223-228. ``theta`` in
    radians; U, V and W in degrees^2. Where H^2 would be negative the width is 0.
    """
    tangent = np.tan(theta)
    return np.sqrt(np.maximum(u * tangent**2 + v * tangent + w, 0))


def peak_shift(theta, zero_shift, displacement, radius):
    """How far a peak moves, degrees two-theta: zero shift + 2 s cos theta / R.

    A sample that lies too high, s > 0, meets the beam early and moves peaks to larger angles.
    ``theta`` in radians, ``zero_shift`` in degrees, ``displacement`` s and ``radius`` R of the
    goniometer in mm.
    """
    return zero_shift + np.degrees(2 * displacement * np.cos(theta) / radius)


def doublet(theta, source: Radiation):
    """Where K-alpha1 and K-alpha2 lie, and their parts of the intensity, 2:1: two pairs.

    ``theta``, radians, is the angle of the mean wavelength; NaN is out of reach.
    """
    lengths = ((source.k_alpha1, 2 / 3), (source.k_alpha2, 1 / 3))
    return [(change_wavelength(theta, source.mean, length), part) for length, part in lengths]


def march_dollase(cos_squared, r):
    """Intensity factor of crystallites whose plane normal lies at angle alpha to the texture axis.

    W = (r^2 cos^2 alpha + sin^2 alpha / r)^(-3/2), W. A. Dollase (1986), J. Appl. Cryst. 19,
    267-272. Its mean over the sphere is 1; r < 1 for plates, r > 1 for needles.
    """
    base = r**2 * cos_squared + (1 - cos_squared) / r
    return 1 / (base * np.sqrt(base))


@dataclass(frozen=True)
class Plan:
    """What every block of a simulation needs; small enough to send to another process."""

    tables: tuple[Reflections, ...]
    names: tuple[str, ...]
    variation: Variation
    grid: TwoThetaGrid
    radiation: Radiation
    seed: int


def simulate(
    phases: Sequence[Phase],
    n_per_phase: int,
    variation: Variation = ORIGINAL,
    grid: TwoThetaGrid = DEFAULT_GRID,
    wavelength="Cu",
    seed: int = 0,
    progress=None,
) -> PatternSet:
    """Clean patterns of every phase, each with a strongest point of 1.

    ``n_per_phase`` patterns of the first phase, then of the second, and so on. The same seed gives
    the same patterns bit for bit. ``wavelength`` is a name such as "Cu" or a length in Å;
    ``progress`` a bar such as `tqdm`, called with the stream of batches and their ``total``.
    The result's ``parameters`` hold what was drawn: strain (n, 3, 3), texture_r, texture_axis
    (n, 3), domain_size, micro_strain, eta, caglioti (n, 3), zero_shift, displacement.
    """
    batches = simulate_batches(phases, n_per_phase, variation, grid, wavelength, seed)
    if progress is not None:
        batches = progress(batches, total=len(plan_blocks(len(phases), n_per_phase)))
    return PatternSet.concatenate(sorted(batches, key=lambda batch: batch.labels[0]))


def simulate_batches(
    phases, n_per_phase, variation=ORIGINAL, grid=DEFAULT_GRID, wavelength="Cu", seed=0
) -> Iterator[PatternSet]:
    """The patterns of `simulate` as a stream of small sets, the phases taking turns."""
    if not phases or n_per_phase < 1:
        raise DataError("Simulating needs at least one phase and one pattern a phase.")
    plan = plan_simulation(phases, variation, grid, wavelength, seed)
    for job in plan_blocks(len(phases), n_per_phase):
        yield simulate_block(plan, job)


def plan_simulation(phases, variation=ORIGINAL, grid=DEFAULT_GRID, wavelength="Cu", seed=0) -> Plan:
    """Structure factors of all phases, once, and the settings beside them."""
    source = radiation(wavelength)
    # Cells that are stretched, and peaks shifted from beyond the range, reach into it.
    d_min = source.k_alpha1 / 2 / np.sin(np.radians(min(grid.stop + 1, 179) / 2))
    tables = tuple(reflections(phase, d_min, variation.strain) for phase in phases)
    for table in tables:
        if not len(table.hkl):
            raise DataError(f"{table.name} has no reflection up to {grid.stop:g} degrees.")
    return Plan(tables, tuple(p.name for p in phases), variation, grid, source, seed)


def plan_blocks(n_phases: int, n_per_phase: int) -> list[tuple[int, int, int]]:
    """The jobs of a simulation, (label, number of the block, patterns in it), in their order."""
    return [
        (label, block, min(BLOCK, n_per_phase - block * BLOCK))
        for block in range(-(-n_per_phase // BLOCK))
        for label in range(n_phases)
    ]


def draw(table: Reflections, variation: Variation, n: int, rng) -> dict[str, np.ndarray]:
    """Draw samples and instruments for ``n`` patterns of one phase; see `Variation`."""
    amounts = rng.uniform(-variation.strain, variation.strain, (n, len(table.strain_basis)))
    # With this r the weakest orientation has 1 - texture times the intensity of the strongest
    # one; plates and needles are equally likely.
    texture = rng.uniform(0, variation.texture, n)
    r = (1 - texture) ** (2 / 9)
    axes = np.array([(0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1)])
    return {
        "strain": np.einsum("nk,kij->nij", amounts, table.strain_basis),
        "texture": texture,
        "texture_r": np.where(rng.random(n) < 0.5, r, 1 / r),
        "texture_axis": axes[rng.integers(len(axes), size=n)],
        "domain_size": np.exp(rng.uniform(*np.log(variation.domain_size), n)),
        "micro_strain": rng.uniform(*variation.micro_strain, n),
        "eta": rng.uniform(*variation.eta, n),
        "caglioti": np.stack([rng.uniform(*pair, n) for pair in variation.caglioti], axis=1),
        "zero_shift": rng.uniform(*variation.zero_shift, n),
        "displacement": rng.uniform(*variation.displacement, n),
    }


def peaks(table: Reflections, drawn: dict, variation: Variation, source: Radiation):
    """Peak positions, areas and widths of patterns with the drawn parameters.

    ``two_theta, area, fwhm``, (n, peaks), in degrees, arbitrary units and degrees. Twice as many
    peaks as reflections if the doublet is resolved. Peaks out of reach have area 0.
    """
    theta, area, metric = bragg(table, source.mean, drawn["strain"])
    area = area * _texture_factor(table, drawn, variation, metric)
    return observed_peaks(theta, area, drawn, variation, source)


def observed_peaks(theta, area, drawn: dict, variation: Variation, source: Radiation):
    """What sample and instrument make of lines at ``theta``, radians, (n, r); see `peaks`.

    Widths of different origin add in squares, as those of Gaussians do.
    """
    columns = ("domain_size", "micro_strain", "zero_shift", "displacement")
    size, micro_strain, zero_shift, displacement = (drawn[key][:, None] for key in columns)
    widths = (
        scherrer_fwhm(theta, size, source.mean),
        strain_fwhm(theta, micro_strain),
        caglioti_fwhm(theta, *drawn["caglioti"].T[:, :, None]),
    )
    fwhm = np.sqrt(sum(width**2 for width in widths))
    shift = peak_shift(theta, zero_shift, displacement, variation.radius)
    single = not variation.k_alpha2 or source.k_alpha1 == source.k_alpha2
    copies = [(theta, 1)] if single else doublet(theta, source)
    two_theta = np.concatenate([np.degrees(2 * angle) + shift for angle, _ in copies], axis=1)
    area = np.concatenate([area * part for _, part in copies], axis=1)
    fwhm = np.tile(fwhm, len(copies))
    lost = ~np.isfinite(two_theta)
    return np.where(lost, 0, two_theta), np.where(lost, 0, area), np.where(lost, 1, fwhm)


def _texture_factor(table, drawn, variation, metric) -> np.ndarray:
    """The factor of preferred orientation, averaged over the equivalents of hkl, (n, r)."""
    axis = drawn["texture_axis"].astype(float)
    if not variation.texture:
        return np.ones((len(axis), len(table.hkl)))
    direction = (metric @ axis[:, :, None])[:, :, 0]
    along = np.tensordot(direction, table.equivalents.astype(float), (1, 2)) ** 2
    length = inverse_square(table.hkl, metric) * np.einsum("nk,nk->n", direction, axis)[:, None]
    cos_squared = np.minimum(along / length[:, :, None], 1)
    return march_dollase(cos_squared, drawn["texture_r"][:, None, None]).mean(axis=2)


def simulate_block(plan: Plan, job: tuple[int, int, int]) -> PatternSet:
    """The patterns of one job of `plan_blocks`: the same bit for bit in whatever process.

    With `plan_simulation` and `plan_blocks` it is all that workers elsewhere need.
    """
    label, block, n = job
    table, variation = plan.tables[label], plan.variation
    rng = np.random.default_rng(np.random.SeedSequence(plan.seed, spawn_key=(label, block)))
    drawn = draw(table, variation, n, rng)
    two_theta, area, fwhm = peaks(table, drawn, variation, plan.radiation)
    intensity = render(plan.grid, two_theta, area, fwhm, variation.profile, drawn["eta"])
    strongest = intensity.max(axis=1, keepdims=True)
    intensity /= np.where(strongest > 0, strongest, 1)
    labels = np.full(n, label)
    return PatternSet(intensity, labels, plan.names, plan.grid, drawn, plan.radiation.mean)


def render(
    grid: TwoThetaGrid, two_theta, area, fwhm, profile="gaussian", eta=0.5, tolerance=TOLERANCE
) -> np.ndarray:
    """Peaks on a grid, float32, (n, grid.n_points): over degrees a peak's integral is its area.

    ``two_theta``, ``area`` and ``fwhm`` are (n, peaks), in degrees, intensity times degrees, and
    degrees; widths below two steps count as two, so that no peak falls between the points.
    ``profile`` is one of `PROFILES`, ``eta`` a float or (n,). A peak is rendered as far as it rises
    above ``tolerance`` times the strongest one.
    """
    if profile not in PROFILES:
        raise DataError(f"profile must be one of {', '.join(PROFILES)}; got {profile!r}.")
    n = len(two_theta)
    width = np.maximum(fwhm / grid.step, 2)  # from here on in steps
    centre = (two_theta - grid.start) / grid.step
    eta = np.broadcast_to(np.asarray(eta, dtype=np.float32), (n,))
    height = area / (width * grid.step)
    reaches = _reaches(height, width, profile, eta, tolerance)
    reaches = {k: np.where(area > 0, np.minimum(v, grid.n_points), 0) for k, v in reaches.items()}
    reach = np.max(list(reaches.values()), axis=0)
    seen = (reach > 0) & (centre > -reach) & (centre < grid.n_points - 1 + reach)
    amplitude = np.where(seen, height, 0).astype(np.float32)
    width = width.astype(np.float32)

    # Room for the widest window of each reflection, wherever outside the grid its peak lies.
    outside = np.maximum(np.maximum(-centre, centre - grid.n_points), 0)
    half_width = np.where(seen, reach, 0).max(axis=0, initial=0)
    margin = int(np.where(seen, outside + half_width, 0).max(initial=0)) + 2
    canvas = np.zeros((n, grid.n_points + 2 * margin), dtype=np.float32)
    row_start = np.arange(n) * canvas.shape[1] + margin
    nearest = np.rint(np.where(seen, centre, 0)).astype(np.int64)
    offset = (nearest - centre).astype(np.float32)
    for j in np.flatnonzero(seen.any(axis=0)):
        rows = slice(None) if seen[:, j].all() else seen[:, j]
        shape = offset[rows, j], width[rows, j], eta[rows]
        for kind, reach in reaches.items():
            half = int(reach[rows, j].max())
            if not half:
                continue
            share = amplitude[rows, j]
            if profile == "pseudo-voigt":
                share = share * (shape[2] if kind == "lorentzian" else 1 - shape[2])
            values = _sample(kind, half, *shape, share)
            # One reflection in all patterns: its windows lie in different rows and cannot
            # overlap, so that adding through a strided view of the canvas is safe.
            windows = np.ndarray(
                (canvas.size - 2 * half, 2 * half + 1), np.float32, canvas, 0, (4, 4)
            )
            windows[row_start[rows] + nearest[rows, j] - half] += values
    return np.ascontiguousarray(canvas[:, margin : margin + grid.n_points])


def _reaches(height, width, profile, eta, tolerance) -> dict[str, np.ndarray]:
    """How many steps from its centre each part of a profile rises above the tolerance."""
    relative = height / np.maximum(height.max(axis=1, keepdims=True), 1e-300) / tolerance
    share = eta[:, None] if profile == "pseudo-voigt" else 1
    tails = np.ceil(width / 2 * np.sqrt(np.maximum(relative * share - 1, 0)))
    core = np.ceil(width * np.sqrt(np.log(np.maximum(relative, 1)) / (4 * np.log(2))))
    if profile == "voigt":
        return {"voigt": np.maximum(core, tails)}
    parts = {"gaussian": core, "lorentzian": tails}
    return parts if profile == "pseudo-voigt" else {profile: parts[profile]}


def _sample(kind, half, offset, width, eta, amplitude) -> np.ndarray:
    """Heights of peaks at the 2 half + 1 points around each centre, float32, (n, points)."""
    x = np.arange(-half, half + 1, dtype=np.float32) + offset[:, None]
    amplitude = amplitude.astype(np.float32)[:, None]
    if kind == "voigt":
        return (amplitude * voigt(x / width[:, None], 1.0, eta[:, None])).astype(np.float32)
    np.square(x, out=x)
    if kind == "gaussian":
        x *= (np.float32(-4 * np.log(2)) / width**2)[:, None]
        np.exp(x, out=x)
        x *= amplitude * np.float32(2 * np.sqrt(np.log(2) / np.pi))
        return x
    x *= (4 / width**2)[:, None]
    x += 1
    return np.divide(amplitude * np.float32(2 / np.pi), x, out=x)
