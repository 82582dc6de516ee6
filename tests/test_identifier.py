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
    smoothed,
)

from xrdclass.errors import DataError, ModelError
from xrdclass.files.networks import METADATA, read_metadata, save_arrays
from xrdclass.identify.background import N_POINTS, TWO_THETA
from xrdclass.identify.foreign import invent_crystals
from xrdclass.identify.identifier import SHIPPED, Identifier, doubts, load_model
from xrdclass.identify.judge import N_FOREIGN_FEATURES, N_PHASE_FEATURES, Judge
from xrdclass.identify.mixtures import MIXTURE_GRID, MixtureSource
from xrdclass.identify.network import Convolution, Network
from xrdclass.identify.second_opinion import all_lines
from xrdclass.identify.train import targets
from xrdclass.models import compact_cnn
from xrdclass.patterns import TwoThetaGrid
from xrdclass.scans import Scan, read_scan
from xrdclass.training import Classifier

LINES = all_lines(PHASES)


def untrained():
    """An identifier of the right form that knows nothing."""
    rng = np.random.default_rng(0)

    def array(*shape):
        return rng.normal(size=shape).astype(np.float32)

    steps = -(-N_POINTS // 50)
    dense = array(steps * 3, 3), array(3)
    network = Network((Convolution(array(5, 2, 3), array(3), 50),), (dense,))
    judges = [
        Judge(np.zeros(k), np.ones(k), [(rng.normal(size=(k, 1)), np.zeros(1))])
        for k in (N_PHASE_FEATURES, N_FOREIGN_FEATURES)
    ]
    known = [LINES[ANATASE], LINES[RUTILE]]
    return Identifier(network, ("one", "two"), known, *judges, 0.6, {"measured": {"found": 0.5}})


# Doubts


def test_a_short_range_is_doubted():
    for low, high, doubted in ((10, 80, 0), (20, 70, 0), (40, 52, 5), (60, 80, 5)):
        found = doubts(smoothed(scan_of("brookite", low, high)), LINES, NAMES)
        said = [text for text in found if "leaves out most of the lines" in text]
        assert len(said) == doubted, (low, high, found)
        assert all(f"{low:.1f}" in text and text.endswith(".") for text in said)
    # Lines are counted by their strength: most of beta-TiO2's lie below 30 degrees.
    (said,) = doubts(smoothed(scan_of("rutile", 30, 80)), LINES, NAMES)
    assert "lines of beta-TiO2" in said


@pytest.mark.parametrize("mean", [0.1, 0.4, 1.0, 30.0, 5000.0])
def test_pure_noise_is_doubted(mean):
    for seed in range(3):
        (said,) = doubts(smoothed(noise_scan(mean, seed)), LINES, NAMES)
        assert "No peak stands clearly above the noise" in said


def test_a_flat_scan_is_doubted_and_holds_no_nan():
    scan = smoothed(Scan(X, np.full(X.size, 7.0), "flat"))
    assert np.isfinite(scan.signal).all() and np.isfinite(scan.noises).all()
    assert "No peak" in doubts(scan, LINES, NAMES)[0]


# Files


def test_saved_and_loaded_it_answers_the_same(tmp_path):
    identifier, scans = untrained(), [scan_of("rutile"), noise_scan()]
    path = identifier.save(tmp_path / "mine.npz")
    again = Identifier.load(path)
    assert type(load_model(path)) is Identifier
    assert (again.names, again.threshold) == (identifier.names, identifier.threshold)
    assert again.settings == json.loads(json.dumps(identifier.settings))
    for one, other in zip(identifier.identify(scans), again.identify(scans), strict=True):
        assert one.probability == other.probability and one.mass == other.mass
        assert (one.answer, one.warnings) == (other.answer, other.warnings)


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


def change_lines(**change):
    return lambda known: {"lines": [{**known["lines"][0], **change}, known["lines"][1]]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": None}, "it holds an None|no classifier"),
        ({"grid": {**MIXTURE_GRID.to_dict(), "step": 0.05}}, "another grid"),
        ({"names": "anatase"}, "expected a list of different names"),
        ({"names": ["one", "two", "three"]}, "3 phases have 2 lists of lines"),
        (lambda known: {"names": ["one"], "lines": known["lines"][:1]}, "not fit its own names"),
        ({"lines": []}, "have 0 lists of lines"),
        (change_lines(strong=[77]), "no table of a line a row"),
        (change_lines(mass_factor=float("nan")), "what is no number"),
        ({"threshold": float("nan")}, "its threshold is nan"),
        ({"threshold": 1.5}, "its threshold is 1.5"),
        ({"threshold": "high"}, "could not convert"),
        ({"judge": None}, "is no identifier"),
        ({"judge": {"mean": [0.0], "spread": [1.0], "layers": [[[[1.0]], [0.0]]]}}, "does not see"),
        ({"judge": {"mean": [0.0], "spread": [0.0], "layers": [[[[1.0]], [0.0]]]}}, "spread of 0"),
        ({"settings": 5}, "is no identifier"),
        ({"steps": None}, "cannot be used"),
        ({"steps": [[50, 10**9]]}, "no small numbers"),
        ({"steps": [[1, 1]]}, "cannot be used"),
        *(({key: ...}, f"it lacks '{key}'") for key in ("names", "grid", "lines", "steps", "judge",
                                                       "foreign_judge", "threshold", "settings")),
    ],
    ids=str,
)  # fmt: skip
def test_doctored_descriptions_are_refused(tmp_path, change, said):
    path = untrained().save(tmp_path / "network.npz")
    known = read_metadata(path)
    change = change(known) if callable(change) else change
    known = {key: value for key, value in {**known, **change}.items() if value is not ...}
    save_arrays(path, untrained().network.to_arrays(), known, overwrite=True)
    with pytest.raises(ModelError, match=said) as error:
        load_model(path)
    message = str(error.value)
    assert str(path) in message and "Train it again" in message and "\n" not in message


# The shipped network


@pytest.fixture(scope="module")
def shipped():
    return load_model()


def test_the_shipped_file_is_small_and_complete(shipped):
    assert SHIPPED.stat().st_size < 2_000_000 and type(shipped) is Identifier
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
    for found, expected in zip(shipped.lines, LINES, strict=True):
        assert np.allclose(found.two_theta, expected.two_theta, atol=1e-6)
        assert np.allclose(found.moves, expected.moves, atol=1e-6)
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
        assert finding.mass == {name: 1.0} and set(finding.fitted) == {name}
        # Under the peaks, the fit goes up and down as the scan does.
        under = finding.fitted[name] > 0.05
        assert np.corrcoef(finding.fitted[name][under], finding.signal[under])[0, 1] > 0.8
        assert len(finding.two_theta) == len(finding.signal) <= N_POINTS
        assert np.isin(finding.two_theta, TWO_THETA).all(), "Only what was measured is shown."
        assert list(finding.probability) == list(NAMES)
        assert finding.probability[name] >= finding.threshold == shipped.threshold
        assert [w for w in finding.warnings if "radiation" not in w] == []
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
        found = source.draw(12, mass=mass, n_foreign=0, counts=10_000, background=0.1)
        for one in shipped.examine(found.counts, found.covered):
            right += set(shipped.decide(one).fitted) == {label}
            total += 1
    assert right >= 0.8 * total, f"{right} of {total}"


def test_foreign_samples_are_given_no_name(shipped):
    found = MixtureSource(PHASES, invent_crystals(60, 31_337), 8).draw(
        250, n_phases=0, n_foreign=np.random.default_rng(0).integers(1, 4, 250)
    )
    examined = shipped.examine(found.counts, found.covered)
    answers = np.array([shipped.decide(one).probability for one in examined])
    named = (answers[:, :5] >= shipped.threshold).any(axis=1)
    assert named.mean() <= 0.02
    visible = targets(found)[:, 5].all(axis=1)
    assert (answers[visible, 5] >= 0.5).mean() > 0.9


def test_a_mixture_is_found_with_its_weights(shipped):
    mass = np.zeros((6, 5))
    mass[:, [ANATASE, RUTILE]] = 0.5
    source = MixtureSource(PHASES, invent_crystals(2, 9), 22, PLAIN)
    found = source.draw(6, n_foreign=0, mass=mass, counts=30_000, background=0.05)
    scans = [Scan(X, counts.astype(float), "mixture") for counts in found.counts]
    for finding in shipped.identify(scans):
        assert finding.phases == ("anatase", "rutile")
        assert sum(finding.mass.values()) == pytest.approx(1)
        assert finding.mass["anatase"] == pytest.approx(0.5, abs=0.25)


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


def test_noise_and_short_ranges_get_a_warning_and_no_name(shipped):
    first, second = shipped.identify([noise_scan(), scan_of("rutile", 40, 52)])
    assert first.phases == () and "No peak" in first.warnings[0]
    assert first.mass == first.fitted == {} and np.array_equal(first.remaining, first.signal)
    assert len([w for w in second.warnings if "leaves out most" in w]) == 5


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
