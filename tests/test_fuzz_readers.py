"""Hostile and damaged scan files: a Scan, or one ScanError, quickly and within little memory."""

import io
import re
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from load_script import load_script

from xrdclass.errors import ScanError
from xrdclass.scans import parse_scan

check_fuzz = load_script("tools/check_fuzz.py")
brml_members, rasx_members, raw = check_fuzz.brml_members, check_fuzz.rasx_members, check_fuzz.raw
raw3, verdict, xrdml, zipped = (
    check_fuzz.raw3, check_fuzz.verdict, check_fuzz.xrdml, check_fuzz.zipped,
)  # fmt: skip
KINDS = sorted(check_fuzz.samples())
quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("kind", KINDS)
def test_the_unchanged_files_are_scans(kind):
    for content in check_fuzz.samples()[kind]:
        scan = parse_scan(content, f"sample.{kind}")
        assert np.allclose(scan.two_theta, check_fuzz.X)
        assert scan.intensity.argmax() == check_fuzz.Y.argmax()


@pytest.mark.parametrize("kind", KINDS)
def test_changed_files(kind, capsys):
    found = check_fuzz.fuzz(kind, 200, seed=1)
    assert not found.pop("faults")
    # Changes that leave no scan, or never break one, try little.
    assert min(found["scan"], found["error"]) > 5
    assert capsys.readouterr() == ("", ""), "the reader writes among our results"
    print(kind, found)


def test_the_check_can_fail(monkeypatch):
    def wrong(content, name):
        if content == b"other":
            raise KeyError("x")
        if content == b"short":
            raise ScanError("That is no scan.")
        while content == b"loop":
            pass
        scan = parse_scan(check_fuzz.samples()["xy"][0], name)
        object.__setattr__(scan, "two_theta", scan.two_theta[::-1])
        return scan

    monkeypatch.setattr(check_fuzz, "parse_scan", wrong)
    monkeypatch.setattr(check_fuzz, "SECONDS", 0.05)
    faults = {
        content: verdict(content, "a.xy")[1] for content in (b"other", b"short", b"loop", b"")
    }
    assert faults[b"other"] == "KeyError: 'x'" and faults[b"short"] == "That is no scan."
    assert faults[b"loop"] == "a hang" and "a scan that is none" in faults[b""]


# Properties


def assert_kept(content, name="sample.xy"):
    outcome, fault = verdict(content, name)
    assert fault is None
    return outcome


@quick
@given(st.binary(max_size=2000))
def test_any_bytes(content):
    for start in (b"", b"RAW4.00\0", b"PK\3\4", b"<xrdMeasurements", b"\xff\xfe"):
        assert_kept(start + content)


@quick
@given(
    st.lists(
        st.lists(
            st.one_of(
                st.integers(-10, 200).map(str),
                st.floats().map(str),
                st.sampled_from(["", "1,5", '"3"', "x", "#", "##END", "1_0", "٣", "1e400"]),
            ),
            max_size=4,
        ),
        max_size=40,
    ),
    st.sampled_from([" ", ",", ";", "\t", ", ", "\xa0", ",\t"]),
    st.sampled_from(["utf-8", "utf-16", "utf-16-le"]),
)
def test_any_table(rows, separator, encoding):
    content = "\n".join(separator.join(row) for row in rows)
    assert_kept(content.encode(encoding))


@quick
@given(
    st.lists(st.integers(1, 4), min_size=10, max_size=60),
    st.integers(0, 2**32),
    st.sampled_from([" ", ";", "\t", ", ", " ; "]),
    st.sampled_from(".,"),
    st.booleans(),
)
def test_what_is_written_is_read(steps, seed, separator, decimal, descending):
    """Any increasing or decreasing angles, in any of the ways of writing them."""
    x = 10 + np.cumsum(steps) / 100
    y = np.random.default_rng(seed).integers(1, 10**6, len(x)) / 10
    order = slice(None, None, -1 if descending else 1)
    rows = check_fuzz.lines("{:.2f}|{:.1f}", x[order], y[order])
    content = rows.replace(".", decimal).replace("|", separator).encode()
    scan = parse_scan(content, "sample.xy")
    assert np.allclose(scan.two_theta, x, atol=1e-9) and np.allclose(scan.intensity, y)


@cache
def places(content: str) -> list[tuple[int, int]]:
    """Where the values in XML begin and end."""
    return [found.span() for found in re.finditer('(?<==")[^"<>]*|(?<=>)[^<>]+(?=<)', content)]


@quick
@given(st.text(max_size=60), st.sampled_from(["xrdml", "brml", "rasx"]), st.data())
def test_any_text_in_any_place_of_the_xml(text, kind, data):
    """One value, of an attribute or between tags, becomes any text."""
    members = {"brml": brml_members, "rasx": rasx_members}.get(kind)
    members = members() if members else {"": xrdml().encode()}
    name = data.draw(st.sampled_from([name for name in members if not name.endswith(".txt")]))
    content = members[name].decode()
    at, end = data.draw(st.sampled_from(places(content)))
    text = text.translate({ord("<"): "&lt;", ord("&"): "&amp;", ord('"'): "&quot;"})
    members[name] = (content[:at] + text + content[end:]).encode("utf-8", "replace")
    assert_kept(members[""] if kind == "xrdml" else zipped(members), f"sample.{kind}")


@quick
@given(st.integers(0, 65535), st.floats(width=64), st.floats(width=64), st.binary(max_size=400))
def test_any_numbers_in_a_raw_header(points, step, start, rest):
    assert_kept(raw(points, start, step) + rest, "sample.raw")


# Attacks


LAUGHS = "<!DOCTYPE l [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {b} '{f'&{a};' * 10}'>" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
FORMS = {
    "internal": LAUGHS + "]>",
    "external": "<!DOCTYPE l [<!ENTITY j SYSTEM 'file:///etc/hostname'>]>",
    "quadratic": f"<!DOCTYPE l [<!ENTITY j '{'x' * 2000}'>]>",
}


def laughing(kind: str, form: str) -> bytes:
    text = "&j;" * (20_000 if form == "quadratic" else 1)
    if kind == "xrdml":
        content = xrdml().replace("?>", "?>" + FORMS[form], 1)
        return content.replace("<id>sample", "<id>" + text).encode()
    members = brml_members() if kind == "brml" else rasx_members()
    name, place = {
        "brml": ("Experiment0/RawData0.xml", "<TubeMaterial>"),
        "rasx": ("Data0/MesurementConditions0.xml", "<TargetName>"),
    }[kind]
    content = members[name].decode().replace("?>", "?>" + FORMS[form], 1)
    members[name] = content.replace(place, place + text).encode()
    return zipped(members)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["xrdml", "brml", "rasx"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_entities_are_refused(kind, form, encoding):
    content = laughing(kind, form)
    if encoding == "utf-16":
        if kind == "xrdml":
            pytest.skip("an .xrdml file in UTF-16 is not taken for one")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        for name in members:
            if name.endswith(".xml"):
                text = members[name].decode().replace('"utf-8"', '"utf-16"')
                members[name] = text.encode("utf-16")
        content = zipped(members)
    with pytest.raises(ScanError, match=f"sample.{kind}: expected .* found .*entity definitions"):
        parse_scan(content, f"sample.{kind}")


def test_attacks_take_little_time_and_memory():
    """In a process of its own, as memory once taken stays with a process."""
    script = Path(__file__).parent.parent / "tools" / "check_fuzz.py"
    done = subprocess.run(
        [sys.executable, script, "--inputs", "0"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)


# What would be read wrongly


SECOND = "</scan>" + re.search("<scan .*</scan>", xrdml(), re.DOTALL)[0]


ROCKING = {
    name: content.replace(b'AxisName="TwoTheta"', b'AxisName="Chi"')
    for name, content in brml_members().items()
}


@pytest.mark.parametrize(
    "content, fault",
    [
        (xrdml(" ".join(["5"] * 12 + ["x"] + ["5"] * 27)), "damaged or was cut off"),
        (xrdml(unit="rad"), "angles in 'rad' instead of degrees"),
        (xrdml(unit="mm"), "angles in 'mm' instead of degrees"),
        (xrdml().replace('"Gonio"', '"Omega"'), "a scan along Omega .a rocking curve."),
        (xrdml().replace("</scan>", SECOND), "several scans in one file, 2"),
        (xrdml().replace("dataPoints>", "points>"), "without dataPoints"),
        (zipped(ROCKING), "a scan along"),
        (zipped({"a/DataContainer.xml": b"<a/>"}), "a damaged .brml archive"),
        (zipped({"Data0/MesurementConditions0.xml": b"<a/>"}), "a damaged .rasx archive"),
        (zipped({**rasx_members(), "Data1/Profile1.txt": b"1 2 3"}), "several scans in one file"),
        (zipped({"a.txt": b"1 2"}), "a .zip archive of other files"),
        (raw(41), "fewer points than it announces"),
        (raw()[:700], "fewer points than it announces"),
        (raw(scan=b"Rocking Curve"), "a scan along Rocking Curve"),
        (raw3(ranges=2), "several scans in one file, 2"),
    ],
)
def test_a_scan_that_would_have_wrong_angles_is_refused(content, fault):
    with pytest.raises(ScanError, match=fault):
        parse_scan(content.encode() if isinstance(content, str) else content, "sample.x")


def test_archives_that_were_packed_again_or_lack_a_part():
    """An outer folder, no DataContainer, no conditions: the counts are there, so is the scan."""
    packed = {f"outer/{name}": content for name, content in brml_members().items()}
    del packed["outer/Experiment0/DataContainer.xml"]
    rasx = rasx_members()
    del rasx["Data0/MesurementConditions0.xml"]
    for members in (packed, rasx):
        scan = parse_scan(zipped(members), "sample.x")
        assert np.allclose(scan.two_theta, check_fuzz.X)


def test_the_attenuator_counts_once():
    """.xrdml has counts as counted or intensities, .rasx and .ras the factor beside the counts."""
    factors = " ".join(["1"] * 20 + ["4"] * 20)
    factors = f"<beamAttenuationFactors>{factors}</beamAttenuationFactors><counts"
    counted = parse_scan(xrdml().replace("<counts", factors).encode(), "a").intensity
    assert np.allclose(counted, check_fuzz.Y * np.repeat([1, 4], 20))
    done = xrdml().replace("<counts", factors).replace("counts unit", "intensities unit")
    done = done.replace("</counts", "</intensities").replace("<counts", "<intensities")
    assert np.allclose(parse_scan(done.encode(), "a").intensity, check_fuzz.Y)
    members = rasx_members()
    members["Data0/Profile0.txt"] = members["Data0/Profile0.txt"].replace(b"\t1.0", b"\t2.0")
    assert np.allclose(parse_scan(zipped(members), "a").intensity, 2 * check_fuzz.Y)
    ras = check_fuzz.listings()["ras"][0].replace(" 1.0000\n", " 2.0000\n")
    assert np.allclose(parse_scan(ras.encode(), "a").intensity, 2 * check_fuzz.Y)


def test_wavelengths_in_nm():
    content = xrdml().replace('"Angstrom">1.5405980', '"nm">0.15405980')
    assert parse_scan(content.encode(), "sample.xrdml").wavelength == pytest.approx(1.540598)
