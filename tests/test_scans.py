"""Reading scans: every way of writing the same numbers, and a sentence for everything else."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from xrdclass.errors import ScanError
from xrdclass.scans import Scan, parse_scan, read_scan

X = 5 + 0.02 * np.arange(60)
Y = np.round(100 * np.exp(-(((X - 5.5) / 0.1) ** 2)) + 12.3, 1)
DATA = os.environ.get("XRDCLASS_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="XRDCLASS_DATA names no folder of measured scans")


def text(separator, decimal=".", x=X, y=Y, digits="{:.2f}{}{:.1f}"):
    rows = (digits.format(a, "\0", b).replace(".", decimal) for a, b in zip(x, y, strict=True))
    return "\n".join(rows).replace("\0", separator) + "\n"


def read(content, path="sample.xy"):
    return parse_scan(content if isinstance(content, bytes) else content.encode(), path)


def assert_same(scan, x=X, y=Y):
    np.testing.assert_allclose(scan.two_theta, x, atol=1e-9)
    np.testing.assert_allclose(scan.intensity, y, atol=1e-9)


@pytest.mark.parametrize(
    "separator", [",", ", ", " , ", ";", "; ", "\t", " ", "   ", ",\t", "\xa0"]
)
def test_separators_with_decimal_point(separator):
    assert_same(read(text(separator)))


@pytest.mark.parametrize("separator", [";", "; ", "\t", " ", "   ", ", ", " ,", ";\t", ","])
def test_separators_with_decimal_comma(separator):
    assert_same(read(text(separator, ",")))


@pytest.mark.parametrize("separator", [";", "\t", " ", ","])
def test_decimal_comma_in_the_angle_only(separator):
    content = text(separator, ",", digits="{:.2f}{}{:.0f}")
    assert_same(read(content), y=np.array([float(f"{value:.0f}") for value in Y]))


def test_commas_between_whole_numbers_part_columns():
    x = np.arange(10, 40)
    scan = read("".join(f"{a},{500 + a}\n" for a in x))
    assert_same(scan, x, 500 + x)
    scan = read("".join(f"{a},{500 + a},{a % 7}\n" for a in x))
    assert_same(scan, x, 500 + x)


def test_padded_columns_with_tight_and_loose_commas():
    x = np.arange(95.0, 115.0, 0.5)
    assert_same(read("".join(f"{a:7.3f},{a * 10:7.1f}\n" for a in x)), x, x * 10)
    x = np.arange(90, 110)
    assert_same(read("".join(f"{a:3d},{a + 9:4d}\n" for a in x)), x, x + 9)


def test_quoted_decimal_commas():
    quoted = "".join(f'"{a:.2f}","{b:.1f}"\n' for a, b in zip(X, Y, strict=True))
    assert_same(read(quoted.replace(".", ",").replace('","', '"\0"').replace("\0", ",")))
    assert_same(read(quoted))


@pytest.mark.parametrize(
    "lines, fault",
    [
        ([f"{a:.2f} 1,{b:03d}" for a, b in zip(X, range(60), strict=True)], "thousands"),
        ([f"{a:.2f};{b:.1f}".replace(".", ",", 1) for a, b in zip(X, Y, strict=True)], "thousands"),
        ([f"{a:.2f}".replace(".", ",") for a in X], "one column"),
        ([f"{a:.2f}" for a in X], "one column"),
    ],
)
def test_unclear_commas_and_one_column(lines, fault):
    with pytest.raises(ScanError, match=fault):
        read("\n".join(lines))


@pytest.mark.parametrize(
    "header",
    [
        "# made by me\n",
        "! title\n; note\n' old style\n",
        "2theta, intensity\n",
        "Angle;PSD\n\n\n",
        "[Measurement conditions]\nStart,5.0\nScan on 2024-02-26 10:30\n",
        "5.0 0.02 6.18\n",
        "60\nAngle Intensity\n",
        "*RAS_HEADER_START\n*RAS_INT_START\n",
    ],
)
def test_headers(header):
    assert_same(read(header + text(" ")))


def test_comments_blank_lines_and_text_around_the_data():
    lines = text(" ").splitlines()
    lines[20:20] = ["# detector changed", "", "   "]
    assert_same(read("\n".join(lines) + "\n\nMeasured by A. B.\nRoom 3\nPeaks:\n5.5 100\n6.0 3\n"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(encoding, newline):
    content = ("# Prüfstück, 25 °C\n" + text("\t")).replace("\n", newline)
    assert_same(read(content.encode(encoding)))


def test_columns_beyond_the_second_are_left_out():
    rows = (f"{a:.2f} {b:.1f} {b**0.5:.3f}" for a, b in zip(X, Y, strict=True))
    assert_same(read("\n".join(rows)))


def test_exponents_and_negative_intensities():
    scan = read("".join(f"{a:.6e} {b:.6e}\n" for a, b in zip(X, Y - 50, strict=True)))
    assert_same(scan, y=Y - 50)


def test_descending_uneven_repeated_and_jittering_angles():
    assert_same(read(text(" ", x=X[::-1], y=Y[::-1])))
    x = X + np.linspace(0, 1, X.size) ** 2
    assert_same(read(text(" ", x=x, digits="{:.6f}{}{:.1f}")), np.round(x, 6))
    scan = read(text(" ") + "6.18 99.0\n6.18 0.7\n")
    assert_same(scan, y=np.append(Y[:-1], (Y[-1] + 99.7) / 3))
    order = np.arange(60)
    order[[7, 8]] = 8, 7
    assert_same(read(text(" ", x=X[order], y=Y[order])))


def test_rruff_keys_and_what_follows_the_end():
    head = "##NAMES=Rutile\n##RRUFFID=R040049\n##X-RAY WAVELENGTH=1.541838\n##NO VALUE\n"
    scan = read(head + text(", ") + "\n##END=\n\n\n" + text(", ", y=Y + 1), "Rutile__R040049.txt")
    assert_same(scan)
    assert scan.metadata["NAMES"] == "Rutile" and scan.metadata["RRUFFID"] == "R040049"
    assert scan.wavelength == 1.541838
    assert scan.name == "Rutile__R040049" and scan.path == Path("Rutile__R040049.txt")


@pytest.mark.parametrize(
    "line, expected",
    [
        ("# wavelength = 1.5406", 1.5406),
        ("# lambda: 1.78897", 1.78897),
        ("Wavelength (K-alpha1) [A] 1,54060", 1.5406),
        ("! wavelength 0.15406 nm", 1.5406),
        ('*MEAS_COND_XG_WAVE_LENGTH_ALPHA1 "1.540593"', 1.540593),
        ("# wavelength unknown, slit 0.25", None),
        ("# wavelength = 632.8 of the Raman laser", None),
        ("# nothing", None),
    ],
)
def test_wavelength(line, expected, tmp_path):
    path = tmp_path / "a.xy"
    path.write_text(line + "\n" + text(" "))
    assert read_scan(path).wavelength == (None if expected is None else pytest.approx(expected))
    assert read_scan(path, wavelength=0.7).wavelength == 0.7


@pytest.mark.parametrize(
    "content, fault",
    [
        ("", "empty file"),
        ("\n\n  \n", "empty file"),
        ("This is a letter.\nIt has no numbers.\n", "no line of numbers; it begins 'This is"),
        (text(" ").replace("6.00 12.3", "6.00 nan"), "NaN"),
        (text(" ").replace("6.00 12.3", "inf 12.3"), "NaN"),
        (text(" ").replace("6.00 12.3", "6.00 1e999"), "NaN"),
        (text(" ").replace("6.00 12.3", "6.00 1_2"), "line 51, amid the data"),
        (text(" ").replace("6.00 12.3", "6.00 1x2"), "line 51, amid the data"),
        (text(" ").replace("6.00 12.3", "6.00"), "different numbers of columns"),
        (text(" ", x=X[:9], y=Y[:9]), "9 different angles"),
        (text(" ", x=X + 180), "beyond 0 to 180"),
        (text(" ", x=X - 10), "beyond 0 to 180"),
        (text(" ", y=-Y), "no intensity above zero"),
        (text(" ", y=0 * Y), "no intensity above zero"),
        (text(" ") + "# next sample\n" + text(" "), "go back to 5 degrees"),
        (text(" ") + "Sample 2\nAngle I\n" + text(" "), "several blocks"),
        (text(" ", x=X[np.random.default_rng(0).permutation(60)]), "go back"),
        (b"\0\1\2\3" * 100, "binary data"),
        (b"PK\3\4" + b"a" * 99, "binary data"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>", "begins .*xml"),
        (b"RAW1.01\0\0\0", "binary data"),
    ],
)
def test_no_scan(content, fault):
    with pytest.raises(ScanError, match=fault) as caught:
        read(content)
    message = str(caught.value)
    assert message.startswith("sample.xy: expected a powder scan") and message.endswith(".")


@pytest.mark.parametrize("ending", [".xrdml", ".brml", ".raw", ".xyz", ""])
def test_the_content_counts_not_the_ending(ending):
    assert_same(read(text(" "), f"sample{ending}"))


def test_missing_folder_forbidden_and_huge_files(tmp_path, monkeypatch):
    with pytest.raises(ScanError, match="There is no file"):
        read_scan(tmp_path / "a.xy")
    with pytest.raises(ScanError, match="is a folder"):
        read_scan(tmp_path)
    with pytest.raises(ScanError):
        read_scan("a\0b.xy")
    path = tmp_path / "a.xy"
    path.write_text(text(" "))
    monkeypatch.setattr("xrdclass.scans.MAX_BYTES", 100)
    with pytest.raises(ScanError, match="Export the scan alone"):
        read_scan(path)
    monkeypatch.undo()

    def forbidden(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(ScanError, match="Permission denied"):
        read_scan(path)


def test_scan_checks_itself():
    scan = Scan([5, 6], [1, 2])
    assert scan.two_theta.dtype == np.float64 and len(scan) == 2
    with pytest.raises(ValueError):
        scan.intensity[0] = 3
    for x, y in [([5, 5], [1, 2]), ([5, 6], [1]), ([], []), ([5, np.nan], [1, 2])]:
        with pytest.raises(ScanError):
            Scan(x, y)
    with pytest.raises(ScanError, match="wavelength"):
        Scan([5, 6], [1, 2], wavelength=-1.0)


def test_changed_content_gives_a_scan_or_a_scan_error():
    rng = np.random.default_rng(1)
    starts = [
        ("##NAMES=a\n# lambda: 1.5\n" + text(", ") + "##END=\n").encode(),
        text(";", ",").encode("utf-16"),
        text(",", ",").encode(),
        ('"' + text('","')).encode("latin-1"),
    ]
    pieces = [b",", b";", b"nan", b"\n", b"\0", b"1e400", b"-", b".", b'"', b"|", b"##END", b"_"]
    for i in range(1500):
        content = bytearray(starts[i % 4])
        for _ in range(rng.integers(1, 6)):
            at = int(rng.integers(len(content)))
            match rng.integers(4):
                case 0:
                    content[at] = rng.integers(256)
                case 1:
                    content[at:at] = pieces[rng.integers(len(pieces))]
                case 2:
                    del content[at : at + int(rng.integers(1, 50))]
                case 3:
                    content = content.replace(b"5", pieces[rng.integers(len(pieces))], 3)
        try:
            scan = read(bytes(content))
        except ScanError:
            continue
        assert np.isfinite(scan.intensity).all() and (np.diff(scan.two_theta) > 0).all()


def test_lines_without_an_end_are_refused_quickly():
    start = time.perf_counter()
    for content in (b"1," * 200_000 + b"x", b"1" * 400_000, b"wavelength" * 40_000, b"," * 400_000):
        with pytest.raises(ScanError):
            read(content)
    assert time.perf_counter() - start < 5


@needs_data
def test_measured_scans():
    paths = list(Path(DATA).rglob("*__R*.txt"))
    if not paths:
        pytest.skip("XRDCLASS_DATA holds no files named in RRUFF's way")
    for path in paths:
        scan = read_scan(path)
        first = next(line for line in path.read_text().splitlines() if line[:1].isdigit())
        assert (scan.two_theta[0], scan.intensity[0]) == tuple(map(float, first.split(",")[:2]))
        assert len(scan) > 1000 and scan.metadata["RRUFFID"].upper() in path.name.upper()


def xrdml(start="10", stop="20", counts="5 6 90 7 5 4 6 5 5 4 3", extra=""):
    values = f"<counts>{counts}</counts><commonCountingTime unit='seconds'>1</commonCountingTime>"
    position = f"<startPosition>{start}</startPosition><endPosition>{stop}</endPosition>"
    return f"""<?xml version="1.0"?>{extra}
<xrdMeasurements xmlns="http://www.xrdml.com/XRDMeasurement/2.0"><xrdMeasurement>
<usedWavelength><kAlpha1 unit="Angstrom">1.78901</kAlpha1></usedWavelength>
<scan scanAxis="Gonio"><dataPoints><positions axis="2Theta" unit="deg">{position}</positions>
{values}</dataPoints></scan></xrdMeasurement></xrdMeasurements>"""


def test_xrdml():
    pytest.importorskip("fairmat_readers_xrd", reason="the optional reader is not installed")
    scan = read(xrdml(), "sample.xrdml")
    assert np.allclose(scan.two_theta, np.arange(10, 21))
    assert scan.intensity[2] == 90
    assert scan.wavelength == 1.78901


@pytest.mark.parametrize(
    "content",
    [
        xrdml(start="warm"),
        xrdml(counts=""),
        xrdml(counts="1 2 3"),
        xrdml(stop="400"),
        xrdml(extra="<!DOCTYPE x [<!ENTITY a 'aaaa'>]>"),
        xrdml()[:400],
    ],
)
def test_damaged_xrdml(content):
    pytest.importorskip("fairmat_readers_xrd", reason="the optional reader is not installed")
    with pytest.raises(ScanError, match="sample.xrdml: expected a powder scan"):
        read(content, "sample.xrdml")


def test_missing_reader_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fairmat_readers_xrd", None)
    with pytest.raises(ScanError, match="pip install fairmat-readers-xrd"):
        read(xrdml(), "sample.xrdml")
