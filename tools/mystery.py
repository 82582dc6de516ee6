"""Write notebooks/mystery.xy, the scan of an unknown sample that runs through all lessons.

It is simulated, with counting noise; what it holds stands in `SAMPLE`, and the lessons find it out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xrdclass.diffraction import radiation, reflections
from xrdclass.noise import air_scattering, amorphous_hump
from xrdclass.patterns import TwoThetaGrid
from xrdclass.phases import MINERALS_FOLDER, load_phases
from xrdclass.simulation import Variation, peaks, render

TARGET = Path(__file__).resolve().parent.parent / "notebooks" / "mystery.xy"
#: Name -> parts by weight, crystallite size in nm and relative change of the cell's lengths.
SAMPLE = {"anatase": (0.55, 12.0, 0.001), "rutile": (0.25, 70.0, 0.0), "halite": (0.2, 90.0, 0.0)}
#: How far the sample's surface lies from the axis, mm; too high.
DISPLACEMENT = 0.1
GRID, COUNTS, BACKGROUND = TwoThetaGrid(15.0, 80.0, 0.02), 8000.0, 0.06


def mystery(seed: int = 2026) -> np.ndarray:
    """Counts on `GRID`."""
    known = {p.name: p for p in [*load_phases(), *load_phases(MINERALS_FOLDER)]}
    variation, source, pattern = (
        Variation(profile="pseudo-voigt", k_alpha2=True),
        radiation("Cu"),
        0,
    )
    for name, (part, size, change) in SAMPLE.items():
        structure = known[name].structure
        drawn = {
            "strain": change * np.eye(3)[None],
            "texture": np.zeros(1),
            "texture_r": np.ones(1),
            "texture_axis": np.array([[0, 0, 1]]),
            "domain_size": np.array([size]),
            "micro_strain": np.array([5e-4]),
            "eta": np.array([0.5]),
            "caglioti": np.array([[0.005, -0.003, 0.006]]),
            "zero_shift": np.zeros(1),
            "displacement": np.array([DISPLACEMENT]),
        }
        table = reflections(known[name], source.k_alpha1 / 2 / np.sin(np.radians(41)))
        two_theta, area, fwhm = peaks(table, drawn, variation, source)
        # Scale factor = mass over mass and volume of the cell (Hill & Howard 1987).
        area = part / float(structure.density * structure.volume**2) * area
        pattern = pattern + render(GRID, two_theta, area, fwhm, "pseudo-voigt", drawn["eta"])[0]
    x = GRID.two_theta
    background = 0.5 + air_scattering(x, 12) + 0.5 * amorphous_hump(x, 24.0, 9.0)
    expected = COUNTS * (pattern / pattern.max() + BACKGROUND * background)
    return np.random.default_rng(seed).poisson(np.ravel(expected))


if __name__ == "__main__":
    header = "Mystery sample. Simulated by tools/mystery.py\nCu K-alpha\n2theta counts"
    columns = np.column_stack([GRID.two_theta, mystery()])
    np.savetxt(TARGET, columns, fmt=("%.2f", "%d"), header=header)
    print(TARGET)
