"""Phases fitted together: the areas and the masses that were put in come out."""

from dataclasses import replace

import numpy as np
import pytest
from samples import ANATASE, PHASES, PLAIN, RUTILE, scan_with

from xrdclass.diffraction import radiation, reflections
from xrdclass.identify.background import N_POINTS, TWO_THETA, above_background
from xrdclass.identify.foreign import invent_crystals
from xrdclass.identify.mixtures import MixtureSource
from xrdclass.identify.second_opinion import SmoothedScan, all_lines
from xrdclass.identify.weights import share_signal
from xrdclass.patterns import TwoThetaGrid
from xrdclass.simulation import draw, peaks, render

LINES = all_lines(PHASES)


def two_phases(areas, fwhm, shift):
    """A signal of anatase and rutile with strongest lines of these areas (degrees)."""
    signal = np.zeros(N_POINTS)
    variation = replace(PLAIN, domain_size=(1e6, 1e6), caglioti=((0, 0), (0, 0), (fwhm**2,) * 2))
    grid = TwoThetaGrid(float(TWO_THETA[0]), float(TWO_THETA[-1]), 0.04)
    for label, area in zip((ANATASE, RUTILE), areas, strict=True):
        table = reflections(PHASES[label], 1.1)
        drawn = draw(table, variation, 1, np.random.default_rng(0))
        x, a, w = peaks(table, drawn, variation, radiation("Cu"))
        a = a * np.exp(-1.4 * (np.sin(np.radians(x / 2)) / 1.54184) ** 2)
        a = a / (a[:, : a.shape[1] // 2] * 1.5).max() * area
        signal += render(grid, x + shift, a, w, "pseudo-voigt", 0.5)[0]
    return signal


@pytest.mark.parametrize("areas", [(1.0, 1.0), (1.0, 0.2), (0.1, 1.0)])
@pytest.mark.parametrize("fwhm", [0.15, 0.3, 0.6])
def test_shares_are_the_areas_that_were_put_in(areas, fwhm):
    signal = two_phases(areas, fwhm, 0.05)
    top = signal.max()
    scan = scan_with(signal, noise=1e-3)
    opinions = {label: scan.fit(LINES[label]) for label in (ANATASE, RUTILE)}
    patterns, found = share_signal(scan, opinions)
    assert set(found) == {ANATASE, RUTILE}
    for label, area in zip((ANATASE, RUTILE), areas, strict=True):
        assert found[label] * top == pytest.approx(area, rel=0.12, abs=0.02)
        assert patterns[label].shape == (N_POINTS,) and patterns[label].min() >= 0
    # A tenth of a phase under another's broad peaks comes out 18 % too large.
    assert found[ANATASE] / found[RUTILE] == pytest.approx(areas[0] / areas[1], rel=0.2)
    left = scan.signal - sum(patterns.values())
    assert (left**2).sum() < 0.1 * (scan.signal**2).sum()
    assert share_signal(scan, {}) == ({}, {})


@pytest.mark.parametrize(("area", "fwhm", "noise"), [(0.03, 0.15, 1e-3), (0.05, 0.1, 5e-3)])
def test_a_weak_phase_does_not_grow_broad_under_the_tails_of_a_strong_one(area, fwhm, noise):
    signal = two_phases((area, 1.0), fwhm, 0.0)
    tails = np.exp(-np.abs(np.arange(-60, 61)) / 20) / 40  # wider than any that are fitted
    signal += 0.3 * np.convolve(signal, tails, "same")
    scan = scan_with(signal, noise)
    opinions = {label: scan.fit(LINES[label]) for label in (ANATASE, RUTILE)}
    found = share_signal(scan, opinions)[1]
    assert 0.5 < found[ANATASE] * signal.max() / area < 2
    assert found[RUTILE] * signal.max() == pytest.approx(1, rel=0.2)


def test_weight_fractions_of_equal_masses_are_equal():
    """A drawn 50:50 mixture without texture, fitted: from cell volumes to scans and back."""
    n = 24
    mass = np.zeros((n, 5))
    mass[:, [ANATASE, RUTILE]] = 1
    source = MixtureSource(PHASES, invent_crystals(2, 9), 21, PLAIN)
    found = source.draw(n, n_foreign=0, mass=mass, counts=30_000, background=0.05)
    found.covered[:] = True
    lifted, part = above_background(found.counts, found.covered), []
    for i in range(n):
        scan = SmoothedScan(lifted, i)
        opinions = {label: scan.fit(LINES[label]) for label in (ANATASE, RUTILE)}
        areas = share_signal(scan, opinions)[1]
        weight = {label: areas[label] * LINES[label].mass_factor for label in areas}
        part.append(weight[ANATASE] / sum(weight.values()))
    assert np.median(part) == pytest.approx(0.5, abs=0.05)
    assert np.abs(np.array(part) - 0.5).max() < 0.25
