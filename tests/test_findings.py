"""What is said of a scan, and scans of any range, step and wavelength on a network's grid."""

from dataclasses import replace

import numpy as np
import pytest
from samples import PHASES, RUTILE, X, finding, scan_of

from xrdclass.diffraction import convert_two_theta, lines, radiation
from xrdclass.errors import DataError
from xrdclass.findings import on_grid
from xrdclass.identify.mixtures import MIXTURE_GRID
from xrdclass.patterns import TwoThetaGrid
from xrdclass.scans import Scan


@pytest.mark.parametrize(
    ("phases", "foreign", "said"),
    [
        (("a", "b"), False, "a (0.99) + b (0.50)"),
        (("b",), True, "b (0.50), and something else"),
        ((), False, "none of the phases"),
        ((), True, "none of the phases; something else"),
    ],
)
def test_the_answer_in_words(phases, foreign, said):
    assert finding(phases=phases, foreign=foreign).answer == said


@pytest.mark.parametrize(("anode", "stop"), [("Co", 95.0), ("Mo", 36.0), ("Fe", 105.0)])
def test_other_wavelengths_are_brought_to_copper(anode, stop):
    scan = scan_of("rutile", 8.0, stop, 0.01, wavelength=anode, background=0.01)
    stated = replace(scan, wavelength=radiation(anode).mean)
    for given, argument, source in ((stated, None, "stated"), (scan, anode, "given")):
        seen = on_grid(given, MIXTURE_GRID, "Cu", argument)
        assert seen.intensity.dtype == np.float32 and seen.source == source
        assert seen.radiation.name == anode
        (warning,) = seen.warnings
        assert f"Measured with {anode} radiation" in warning and "converted to Cu" in warning
        table = lines(PHASES[RUTILE], "Cu", (15, 70))
        strong = table.two_theta[table.strongest(3)]
        for place in strong:
            near = np.abs(X - place) < 1.0
            assert abs(X[near][seen.intensity[near].argmax()] - place) < 0.25
    # Not told, the angles are copper's own and the lines lie elsewhere.
    silent = on_grid(scan, MIXTURE_GRID)
    near = np.abs(X - strong[0]) < 0.3
    assert (silent.source, silent.warnings, silent.radiation.name) == ("assumed", (), "Cu")
    assert silent.intensity[near].max() < 0.3 * seen.intensity[near].max()
    # What is given counts more than what is stated.
    assert on_grid(stated, MIXTURE_GRID, "Cu", "Cu").warnings == ()
    reached = np.degrees(
        2 * np.arcsin(np.sin(np.radians(stop / 2)) * 1.54184 / radiation(anode).mean)
    )
    assert X[seen.covered][-1] == pytest.approx(min(reached, 82), abs=0.03)


def test_the_grid_may_be_of_any_wavelength():
    scan = scan_of("rutile", background=0.01)
    grid = TwoThetaGrid(20, 60, 0.1)
    seen = on_grid(replace(scan, wavelength=1.54184), grid, "Co")
    expected = convert_two_theta(scan.two_theta[[scan.intensity.argmax()]], "Cu", "Co")
    assert grid.two_theta[seen.intensity.argmax()] == pytest.approx(expected[0], abs=0.15)
    assert "converted to Co" in seen.warnings[0]


@pytest.mark.parametrize("wavelength", [None, 1.540593])
def test_copper_scans_stay_as_they_are(wavelength):
    """Also if the file states K-alpha1: there is nothing to convert."""
    scan = Scan(X, 5 + 1000 * np.exp(-(((X - 30) / 0.1) ** 2)), "one", None, wavelength)
    seen = on_grid(scan, MIXTURE_GRID)
    assert np.allclose(seen.intensity, scan.intensity, rtol=1e-5) and seen.covered.all()
    assert seen.warnings == () and seen.source == ("stated" if wavelength else "assumed")


def test_beyond_its_ends_a_scan_goes_on_as_it_ended():
    x = np.arange(30, 40, 0.02)
    seen = on_grid(Scan(x, 7 + x, "short"), MIXTURE_GRID)
    assert np.allclose(X[seen.covered][[0, -1]], [30, 39.98], atol=0.021)
    assert np.allclose(seen.intensity[X < 30], 37) and np.allclose(seen.intensity[X > 40], 46.98)


def test_scans_beside_the_grid_are_refused_with_a_sentence():
    for low, high, wavelength in ((82.5, 120, None), (1, 7.9, None), (170, 179, "Mo")):
        scan = Scan(np.linspace(low, high, 500), np.ones(500), "mine")
        with pytest.raises(DataError, match=r"mine: The scan \(.*\) does not overlap .*\.$"):
            on_grid(scan, MIXTURE_GRID, "Cu", wavelength)
