"""Made-up scans, findings and small networks, and measured scans, that several tests share."""

import os
from functools import cache
from pathlib import Path

import numpy as np

from xrdclass.files.kept_runs import Keeper
from xrdclass.findings import Finding
from xrdclass.identify.mixtures import MIXTURE_GRID, Laboratory
from xrdclass.identify.refinement import refine
from xrdclass.noise import add_noise
from xrdclass.patterns import TwoThetaGrid
from xrdclass.phases import load_phases
from xrdclass.scans import Scan
from xrdclass.simulation import Variation, simulate

PHASES = load_phases()
NAMES = tuple(phase.name for phase in PHASES)
ANATASE, RUTILE = NAMES.index("anatase"), NAMES.index("rutile")
TWO = [PHASES[ANATASE], PHASES[RUTILE]]
X = MIXTURE_GRID.two_theta
#: Samples without texture and shifts, of one cell and one size.
PLAIN = Laboratory(
    strain=0.0,
    texture=0.0,
    domain_size=(40.0, 40.0),
    micro_strain=(0.0, 0.0),
    zero_shift=(0.0, 0.0),
    displacement=(0.0, 0.0),
)


def scan_of(
    name, start=10.0, stop=80.0, step=0.02, shift=0.0, size=60.0, background=0.05, wavelength="Cu",
    seed=0, counts=20_000,
):  # fmt: skip
    """A scan of one phase as a good laboratory measures it, with counting noise."""
    variation = Variation(
        strain=0.003,
        texture=0.0,
        domain_size=(size, size),
        profile="pseudo-voigt",
        eta=(0.5, 0.5),
        k_alpha2=True,
        caglioti=((0.004, 0.004), (-0.002, -0.002), (0.006, 0.006)),
        zero_shift=(shift, shift),
    )
    grid = TwoThetaGrid(start, stop, step)
    phase = PHASES[NAMES.index(name)]
    pattern = simulate([phase], 1, variation, grid, wavelength, seed).intensity[0]
    slope = np.exp(-(grid.two_theta - start) / 15) + 0.4
    expected = counts * (pattern + background * slope)
    seen = np.random.default_rng(seed).poisson(expected).astype(float)
    return Scan(grid.two_theta, seen, f"{name} {start:g}-{stop:g} {step:g}")


def noise_scan(mean=40.0, seed=0):
    """Counts without any peak."""
    counts = np.random.default_rng(seed).poisson(mean, X.size)
    return Scan(X, counts.astype(float), "noise")


def write_scan(path, scan):
    """A scan as a file of two columns."""
    rows = zip(scan.two_theta, scan.intensity, strict=True)
    path.write_text("".join(f"{x:.3f} {y:.1f}\n" for x, y in rows))


def finding(**changes):
    """A `Finding` of three points and two phases."""
    values = {
        "name": "mine",
        "phases": (),
        "foreign": False,
        "probability": {"a": 0.98765, "b": 0.5},
        "warnings": (),
        "two_theta": np.array([20.0, 21, 22]),
        "signal": np.array([0.2, 1, 0.4]),
        "wavelength": 1.5418401,
        "wavelength_source": "assumed",
    }
    return Finding(**{**values, **changes})


@cache
def fitted():
    """An identifier's `Finding` of anatase and rutile, with a foreign peak and angles left out."""
    first, second = (scan_of(name, start=20, stop=60, size=15) for name in ("anatase", "rutile"))
    x = first.two_theta
    foreign = 6000 * np.exp(-4 * np.log(2) * ((x - 31.7) / 0.2) ** 2)
    kept = (x < 44.7) | (x > 46.2)
    counts = (first.intensity + second.intensity + foreign)[kept]
    fit = refine(Scan(x[kept], counts, "mine", wavelength=1.54184), TWO)
    return finding(
        phases=("anatase", "rutile"),
        foreign=True,
        probability={"anatase": 0.99, "rutile": 0.98},
        threshold=0.9,
        foreign_probability=0.97,
        refinement=fit,
        two_theta=fit.two_theta,
        signal=fit.counts,
    )


#: Patterns of two phases on a small grid, for networks that learn in seconds.
SMALL_GRID = TwoThetaGrid(20, 60, 0.1)


def small_patterns(n, seed):
    variation = Variation(strain=0.01, domain_size=(5, 10))
    return add_noise(simulate(TWO, n, variation, SMALL_GRID, seed=seed), seed=seed)


@cache
def small_classifier():
    """A classifier of anatase and rutile; not to be changed."""
    from xrdclass.training import fit

    train, validation = small_patterns(60, 1), small_patterns(10, 3)
    return fit(train, validation, epochs=8, seed=0, progress=False)


def stop_after(patch, times):
    """Press Ctrl-C when a training run has been kept so many times with something done."""
    save, left = Keeper.save, [times]

    def counted(keeper, record):
        save(keeper, record)
        left[0] -= bool(record)
        if left[0] == 0:
            raise KeyboardInterrupt

    patch.setattr(Keeper, "save", counted)


def measured(pattern):
    """Measured scans below $XRDCLASS_DATA; looked at, never trained on."""
    folder = os.environ.get("XRDCLASS_DATA")
    return sorted(Path(folder).rglob(pattern)) if folder else []


def mineral(path):
    """Of a scan that is named as on RRUFF."""
    return path.name.split("__")[0].lower()


RRUFF_TIO2 = [path for path in measured("*__R*.txt") if mineral(path) in NAMES]
RRUFF_OTHER = [path for path in measured("*__R*.txt") if mineral(path) not in NAMES]
