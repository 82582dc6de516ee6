"""Identifiers: scans that are named, doubted or refused, their files, and the shipped network."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from samples import (
    ANATASE,
    NAMES,
    PHASES,
    PLAIN,
    RRUFF_OTHER,
    RRUFF_TIO2,
    RUTILE,
    X,
    measured,
    mineral,
    noise_scan,
    scan_of,
)

from xrdclass.errors import DataError, ModelError
from xrdclass.files.networks import METADATA, load_arrays, read_metadata, save_arrays
from xrdclass.identify import identifier as identifier_module
from xrdclass.identify.background import N_POINTS
from xrdclass.identify.evidence import FEATURES, N_FOREIGN_FEATURES, Calibration
from xrdclass.identify.foreign import invent_crystals
from xrdclass.identify.identifier import EXPECTED, PROPOSED, SHIPPED, Identifier, load_model
from xrdclass.identify.mixtures import MIXTURE_GRID, MixtureSource
from xrdclass.identify.network import Convolution, Network
from xrdclass.identify.profile import phase_lines
from xrdclass.identify.train import D_MIN, fitted, visible
from xrdclass.models import compact_cnn
from xrdclass.patterns import TwoThetaGrid
from xrdclass.phases import MINERALS_FOLDER, load_phases
from xrdclass.scans import Scan, read_scan
from xrdclass.training import Classifier

LINES = [phase_lines(PHASES[label], D_MIN) for label in (ANATASE, RUTILE)]


def untrained():
    """An identifier of the right form that knows nothing."""
    rng = np.random.default_rng(0)

    def array(*shape):
        return rng.normal(size=shape).astype(np.float32)

    steps = -(-N_POINTS // 50)
    dense = array(steps * 3, 3), array(3)
    network = Network((Convolution(array(5, 2, 3), array(3), 50),), (dense,))
    fits = [
        Calibration(np.zeros(k), np.ones(k), rng.normal(size=k), 0.0)
        for k in (len(FEATURES) + 1, N_FOREIGN_FEATURES)
    ]
    return Identifier(network, LINES, *fits, 0.6, {"measured": {"found": 0.5}})


# Files


def test_saved_and_loaded_it_answers_the_same(tmp_path):
    identifier, scans = untrained(), [scan_of("rutile"), noise_scan()]
    path = identifier.save(tmp_path / "mine.npz")
    again = Identifier.load(path)
    assert type(load_model(path)) is Identifier
    assert (again.names, again.threshold) == (identifier.names, identifier.threshold)
    assert again.settings == json.loads(json.dumps(identifier.settings))
    for one, other in zip(identifier.identify(scans), again.identify(scans), strict=True):
        assert one.probability == pytest.approx(other.probability, abs=1e-3)
        assert (one.answer, one.warnings) == (other.answer, other.warnings)
    for one, other in zip(identifier.lines, again.lines, strict=True):
        assert one.table.elements == other.table.elements
        assert one.d_min == pytest.approx(other.d_min)
        assert np.allclose(one.table.geometric, other.table.geometric, rtol=1e-6, atol=1e-5)
        assert np.array_equal(one.table.hkl, other.table.hkl)


def test_files_of_the_other_kind_are_refused(tmp_path):
    grid = TwoThetaGrid(20, 30, 0.1)
    classifier = Classifier(compact_cnn(grid.n_points, 2), ("a", "b"), grid)
    classifier.save(tmp_path / "classifier.keras")
    untrained().save(tmp_path / "identifier.npz")
    with pytest.raises(ModelError, match="no identifier .*'xrdclass train-identifier' wrote"):
        Identifier.load(tmp_path / "classifier.keras")
    with pytest.raises(ModelError, match="no classifier .*it holds an identifier"):
        Classifier.load(tmp_path / "identifier.npz")
    assert type(load_model(tmp_path / "classifier.keras")) is Classifier


#: Changes of what a file says of itself, and of its arrays, and what is said of them.
DOCTORED = [
    ({"kind": None}, "it holds an None|no classifier"),
    ({"grid": {**MIXTURE_GRID.to_dict(), "step": 0.05}}, "another grid"),
    ({"names": "anatase"}, "expected a list of different names"),
    ({"names": ["one", "two", "three"]}, "cannot be used"),
    ({"names": ["anatase"], "elements": [["Ti", "O"]]}, "it lacks|no part of a network"),
    ({"elements": [["Ti"], ["Ti", "O"]]}, "must be finite numbers of the shape"),
    ({"threshold": float("nan")}, "its threshold is nan"),
    ({"threshold": 1.5}, "its threshold is 1.5"),
    ({"threshold": "high"}, "could not convert"),
    ({"calibration": None}, "is no identifier"),
    ({"foreign": {"mean": [0.0], "spread": [1.0], "weights": [1.0], "bias": 0}}, "has not 4"),
    ({"foreign": {"mean": [0] * 4, "spread": [0] * 4, "weights": [0] * 4, "bias": 0}}, "of 0"),
    ({"settings": 5}, "is no identifier"),
    ({"steps": None}, "cannot be used"),
    ({"steps": [[50, 10**9]]}, "no small numbers"),
    ({"steps": [[1, 1]]}, "cannot be used"),
    ({"phase_0_lattice": np.zeros((3, 3), np.float32)}, "those of no crystal"),
    ({"phase_1_hkl": np.ones((2, 3), np.float32)}, "must be finite numbers of the shape"),
    ({"phase_1_b_iso": np.full(2, 1e30, np.float32)}, "must be finite numbers"),
    ({"phase_1_mass_factor": ...}, "it lacks 'mass_factor'"),
    *(
        ({key: ...}, f"it lacks '{key}'")
        for key in ("names", "grid", "elements", "steps", "calibration", "foreign", "threshold")
    ),
]


@pytest.mark.parametrize(("change", "said"), DOCTORED, ids=str)
def test_doctored_files_are_refused(tmp_path, change, said):
    path = untrained().save(tmp_path / "network.npz")
    parts = {**read_metadata(path), **load_arrays(path), **change}
    parts = {key: value for key, value in parts.items() if value is not ...}
    arrays = {key: a for key, a in parts.items() if isinstance(a, np.ndarray)}
    known = {key: value for key, value in parts.items() if key not in arrays}
    save_arrays(path, arrays, known, overwrite=True)
    with pytest.raises(ModelError, match=said) as error:
        load_model(path)
    message = str(error.value)
    assert str(path) in message and "Train it again" in message and "\n" not in message


# The shipped network


@pytest.fixture(scope="module")
def shipped():
    return load_model()


def test_the_shipped_file_is_small_and_complete(shipped):
    assert SHIPPED.stat().st_size < 4_500_000 and type(shipped) is Identifier
    known = read_metadata(SHIPPED)
    assert known["kind"] == "identifier" and tuple(known["names"]) == NAMES
    assert known["grid"] == MIXTURE_GRID.to_dict() and 0.5 <= known["threshold"] < 1
    settings = known["settings"]
    assert {"samples", "crystals", "seed", "seconds", "versions", "measured"} <= set(settings)
    assert set(settings["versions"]) >= {"xrdclass", "keras"}
    said = settings["measured"]
    assert said["samples"] >= 4000 and said["false_acceptance"] < 0.01
    assert said["found"] > 0.5 and said["foreign_found"] > 0.9
    with zipfile.ZipFile(SHIPPED) as archive:
        assert archive.testzip() is None
        assert all(n.endswith(".npy") for n in set(archive.namelist()) - {METADATA})


def test_the_shipped_lines_are_those_of_the_shipped_structures(shipped):
    for found, phase in zip(shipped.lines, PHASES, strict=True):
        expected = phase_lines(phase, D_MIN)
        assert np.array_equal(found.table.hkl, expected.table.hkl)
        assert np.allclose(found.table.lattice, expected.table.lattice, rtol=1e-6, atol=1e-6)
        assert np.allclose(found.dispersion, expected.dispersion, rtol=1e-5, atol=1e-6)
        assert found.mass_factor == pytest.approx(expected.mass_factor)


CONDITIONS = {
    "plain": {},
    "fine steps": {"step": 0.005},
    "coarse steps": {"step": 0.05},
    "20 to 70": {"start": 20.0, "stop": 70.0},
    "5 to 65": {"start": 5.0, "stop": 65.0},
    "wide": {"start": 3.0, "stop": 120.0, "step": 0.03},
    "zero shift up": {"shift": 0.15},
    "zero shift down": {"shift": -0.15},
    "5 nm": {"size": 5.0},
    "microns": {"size": 2000.0},
    "strong background": {"background": 2.0},
    "few counts": {"counts": 300},
    "cobalt": {"wavelength": "Co", "start": 12.0, "stop": 95.0},
    "molybdenum": {"wavelength": "Mo", "start": 4.0, "stop": 36.0, "step": 0.01},
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_clean_scans_are_named(shipped, condition):
    options = CONDITIONS[condition]
    scans = [scan_of(name, seed=3, **options) for name in NAMES]
    wavelength = options.get("wavelength")
    findings = shipped.identify(scans, wavelength)
    found = {n: f.phases for n, f in zip(NAMES, findings, strict=True)}
    assert found == {name: (name,) for name in NAMES}
    for name, finding in zip(NAMES, findings, strict=True):
        fit = finding.refinement
        assert fit.phases[name].weight_percent == pytest.approx(100)
        assert np.array_equal(finding.two_theta, fit.two_theta)
        # Under the peaks, the fit goes up and down as the scan does.
        under = fit.phases[name].pattern > 0.05 * fit.counts.max()
        assert np.corrcoef(fit.calculated[under], fit.counts[under])[0, 1] > 0.9
        assert list(finding.probability) == list(NAMES)
        assert finding.probability[name] >= finding.threshold == shipped.threshold
        assert [w for w in finding.warnings if "radiation" not in w] == []
        assert not finding.foreign and finding.foreign_probability < 0.5
        assert finding.wavelength_source == ("given" if wavelength else "assumed")


def test_scans_that_somebody_took_a_background_from_are_named(shipped):
    scan = scan_of("anatase")
    (finding,) = shipped.identify([replace(scan, intensity=scan.intensity - 700)])
    assert finding.phases == ("anatase",) and finding.warnings == ()


def test_drawn_pure_phases_are_named(shipped):
    """Samples of the training's kind, never drawn before; what can be seen is found."""
    right = total = 0
    source = MixtureSource(PHASES, invent_crystals(2, 41), 4242)
    for label in range(5):
        mass = np.zeros((12, 5))
        mass[:, label] = 1
        drawn = {"mass": mass, "n_foreign": 0, "counts": 10_000, "background": 0.1}
        for one in fitted(shipped, source, 12, **drawn):
            named = [p.probability >= shipped.threshold for p in one.fit.phases.values()]
            right += np.flatnonzero(named).tolist() == [label]
            total += 1
    assert right >= 0.8 * total, f"{right} of {total}"


def test_foreign_samples_are_given_no_name(shipped):
    source = MixtureSource(PHASES, invent_crystals(60, 31_337), 8)
    named = n = seen = stated = 0
    for foreign in (1, 2, 3):
        for one in fitted(shipped, source, 64, n_phases=0, n_foreign=foreign):
            named += any(p.found for p in one.fit.phases.values())
            n += 1
            if one.visible[-1]:
                seen += 1
                stated += shipped.is_foreign(one.fit, one.proposed) >= 0.5
    assert named <= 0.02 * n and stated > 0.9 * seen


def test_crystals_of_few_lines_beside_a_phase_are_something_else(shipped):
    """A network overlooks them unless many crystals that it learns from are as simple."""
    seen = stated = 0
    for mineral_ in load_phases(MINERALS_FOLDER):
        if mineral_.name in ("periclase", "diamond"):
            mass = np.zeros((30, 6))
            mass[np.arange(30), np.arange(30) % 5], mass[:, 5] = 1, np.repeat([0.3, 1, 3], 10)
            source = MixtureSource([*PHASES, mineral_], invent_crystals(1, 0), 5)
            drawn = source.draw(30, mass=mass, n_foreign=0)
            for i in np.flatnonzero(visible(drawn)[:, 5]):
                inside = drawn.covered[i]
                scan = Scan(MIXTURE_GRID.two_theta[inside], drawn.counts[i, inside])
                stated += shipped.identify([scan])[0].foreign
                seen += 1
    assert stated > 0.75 * seen, f"{stated} of {seen}"


@pytest.mark.parametrize(("height", "foreign"), [(0.015, False), (0.5, True)])
def test_humps_of_the_direct_beam_are_no_phase_and_strong_peaks_are(shipped, height, foreign):
    """At 6 degrees nothing was learnt: a low hump does not count there, a strong peak does."""
    source = MixtureSource(PHASES, invent_crystals(2, 9), 22, PLAIN)
    mass = np.eye(5)[[RUTILE]]
    (counts,) = source.draw(1, n_foreign=0, mass=mass, counts=20_000, background=0.02).counts
    low = np.arange(5, MIXTURE_GRID.start - 0.01, MIXTURE_GRID.step)
    peak = height * counts.max() * np.exp(-(((low - 6.2) / 0.25) ** 2))
    start = np.random.default_rng(4).poisson(counts[:200].mean() + peak)
    scan = Scan(np.concatenate([low, X]), np.concatenate([start, counts]))
    (finding,) = shipped.identify([scan])
    assert finding.phases == ("rutile",) and finding.foreign is foreign
    for word in (0.01, 0.99):  # whatever a network says, which sees neither
        said = shipped.is_foreign(finding.refinement, np.full(6, word))
        assert (said >= 0.5) is foreign
    assert any(
        p["two_theta"] == pytest.approx(6.2, abs=0.2) for p in finding.refinement.unexplained
    )


def test_a_mixture_is_found_with_its_weights(shipped):
    mass = np.zeros((6, 5))
    mass[:, [ANATASE, RUTILE]] = 0.5
    source = MixtureSource(PHASES, invent_crystals(2, 9), 22, PLAIN)
    found = source.draw(6, n_foreign=0, mass=mass, counts=30_000, background=0.05)
    scans = [Scan(X, counts.astype(float), "mixture") for counts in found.counts]
    for finding in shipped.identify(scans):
        assert finding.phases == ("anatase", "rutile")
        found = finding.refinement.phases
        assert sum(phase.weight_percent for phase in found.values()) == pytest.approx(100)
        assert found["anatase"].weight_percent == pytest.approx(50, abs=5)
        assert not finding.foreign


def test_the_same_answer_alone_and_in_a_batch(shipped):
    scans = [scan_of(name, seed=9) for name in NAMES]
    scans += [scan_of("rutile", 20, 70), noise_scan(50)]
    together = shipped.identify(scans)
    for scan, there in zip(scans, together, strict=True):
        (alone,) = shipped.identify([scan])
        assert (alone.phases, alone.foreign) == (there.phases, there.foreign)
        assert alone.warnings == there.warnings
        for name, value in alone.probability.items():
            assert value == pytest.approx(there.probability[name], abs=1e-3)
        assert np.allclose(alone.signal, there.signal)
    assert shipped.identify([]) == []


@pytest.mark.parametrize("mean", [0.1, 0.4, 1.0, 30.0, 5000.0])
def test_noise_holds_no_crystals(shipped, mean):
    for seed in range(3):
        (found,) = shipped.identify([noise_scan(mean, seed)])
        assert found.phases == () and found.foreign is False
        assert found.warnings[0] == "No peaks are seen: the scan shows no crystals."


def test_humps_and_straight_lines_hold_no_crystals(shipped):
    rng = np.random.default_rng(4)
    hump = 40 + 2000 * np.exp(-(((X - 24) / 6) ** 2)) + 500 * np.exp(-(((X - 45) / 9) ** 2))
    for expected in (hump, 3000 * np.exp(-X / 15), 100 + 5 * X):
        (found,) = shipped.identify([Scan(X, rng.poisson(expected).astype(float), "glass")])
        assert (found.phases, found.foreign) == ((), False)
        assert "No peaks are seen" in found.warnings[0]
    (found,) = shipped.identify([Scan(X, np.full(X.size, 7.0), "flat")])
    assert (found.phases, found.foreign) == ((), False)


def test_sparks_and_coarse_steps_are_nothing_foreign(shipped):
    scan = scan_of("rutile", seed=5)
    sparks = scan.intensity.copy()
    sparks[[700, 2300]] = 65_535
    (found,) = shipped.identify([replace(scan, intensity=sparks)])
    assert found.phases == ("rutile",) and not found.foreign
    (found,) = shipped.identify([scan_of("anatase", step=0.2, seed=5)])
    assert found.phases == ("anatase",) and not found.foreign
    assert [w for w in found.warnings if "cannot be told" in w]


def test_an_expected_phase_is_fitted_whatever_the_network_says(shipped):
    scan = scan_of("rutile", seed=6)
    (asked,) = shipped.identify([scan], expect=["brookite"])
    (silent,) = shipped.identify([scan])
    assert asked.phases == silent.phases == ("rutile",)
    assert asked.refinement.phases["brookite"].upper_limit < 5
    with pytest.raises(DataError, match="no phase 'quartz' here; there are: anatase"):
        shipped.identify([scan], expect=["quartz"])


@pytest.mark.parametrize("before", [1e-5, 0.005, 0.02, 0.5, 0.99])
def test_expectation_raises_the_odds_before_the_fit(monkeypatch, before):
    monkeypatch.setattr(identifier_module, "refine", lambda *_, expected, **__: expected)
    proposed = np.array([before, *np.zeros(len(LINES))])
    name = LINES[0].name
    silent = untrained().fit(None, proposed)
    assert silent == ({name: before} if before >= PROPOSED else {})
    (after,) = untrained().fit(None, proposed, expect=[name]).values()
    odds = max(before, PROPOSED) / (1 - max(before, PROPOSED))
    assert after / (1 - after) == pytest.approx(EXPECTED * odds)


def test_short_ranges_are_doubted(shipped):
    for low, high, doubted in ((10, 80, 0), (20, 70, 0), (40, 52, 5), (60, 80, 5)):
        (found,) = shipped.identify([scan_of("brookite", low, high)])
        said = [text for text in found.warnings if "leaves out most of the lines" in text]
        assert len(said) == doubted, (low, high, found.warnings)
        assert all(f"{low:.1f}" in text and text.endswith(".") for text in said)
    # Lines are counted by their strength: most of beta-TiO2's lie below 30 degrees.
    (found,) = shipped.identify([scan_of("rutile", 30, 80)])
    assert [w for w in found.warnings if "leaves out" in w and "beta-TiO2" in w]


def test_an_assumed_wavelength_is_doubted_where_nothing_was_found(shipped):
    cobalt = scan_of("rutile", 12, 95, wavelength="Co")
    (silent,), (told,) = shipped.identify([cobalt]), shipped.identify([cobalt], "Co")
    assert silent.phases == () and told.phases == ("rutile",)
    assert "The file states no wavelength: Cu was assumed" in silent.warnings[-1]
    assert "with Co its peaks would fit rutile. If that is wrong" in silent.warnings[-1]
    noise = Scan(X, np.random.default_rng(0).poisson(40, X.size).astype(float), "noise")
    (unknown,) = shipped.identify([noise])
    assert "Cu was assumed. If that is wrong" in unknown.warnings[-1]
    (given,) = shipped.identify([cobalt], "Cu")
    assert not [w for w in [*told.warnings, *given.warnings] if "assumed" in w]


@pytest.mark.parametrize(("low", "high"), [(82.5, 120), (1, 7.9), (81.5, 100), (5, 8.5)])
def test_scans_beside_the_range_are_refused_with_a_sentence(shipped, low, high):
    x = np.linspace(low, high, 500)
    with pytest.raises(DataError, match=r"^mine: .*(does not overlap|no phase can be named).*\.$"):
        shipped.identify([Scan(x, 10 + x % 3, "mine")])


# Measured scans: looked at, never trained on


@pytest.mark.skipif(
    not (RRUFF_TIO2 and RRUFF_OTHER),
    reason="XRDCLASS_DATA names no folder of scans named as on RRUFF",
)
def test_measured_tio2_is_named_and_other_minerals_are_not(shipped):
    paths = RRUFF_TIO2 + RRUFF_OTHER
    expected = {p.name: (mineral(p),) if mineral(p) in NAMES else () for p in paths}
    findings = shipped.identify([read_scan(path) for path in paths])
    assert {p.name: f.phases for p, f in zip(paths, findings, strict=True)} == expected


@pytest.mark.skipif(
    len(measured("*ZnO*.xrdml")) < 2, reason="XRDCLASS_DATA names no folder with the ZnO mixtures"
)
def test_measured_mixtures(shipped):
    paths = measured("*ZnO*.xrdml")
    for path, finding in zip(paths, shipped.identify([read_scan(p) for p in paths]), strict=True):
        assert finding.phases == (("anatase",) if "TiO2" in path.name else ()), path.name
        assert finding.foreign, path.name
