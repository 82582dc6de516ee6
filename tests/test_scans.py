"""Reading scans: every way of writing the same numbers, and a sentence for everything else."""

import csv
import os
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from xrdclass.diffraction import radiation
from xrdclass.errors import DataError, ScanError
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


SEPARATORS = {
    "decimal points": (".", [",", ", ", " , ", ";", "; ", "\t", " ", "   ", ",\t", "\xa0"]),
    "decimal commas": (",", [";", "; ", "\t", " ", "   ", ", ", " ,", ";\t", ","]),
}


@pytest.mark.parametrize("decimal", SEPARATORS)
def test_separators(decimal):
    point, separators = SEPARATORS[decimal]
    for separator in separators:
        assert_same(read(text(separator, point)))
    whole = np.array([float(f"{value:.0f}") for value in Y])  # decimals in the angle only
    for separator in (";", "\t", " ", ","):
        assert_same(read(text(separator, point, digits="{:.2f}{}{:.0f}")), y=whole)


def rows(form, *columns):
    return "".join(form.format(*row) + "\n" for row in zip(*columns, strict=True))


WHOLE, HALVES, UNEVEN = np.arange(90, 120), np.arange(95.0, 115.0, 0.5), X + (X - 5) ** 2
QUOTED = rows('"{:.2f}","{:.1f}"', X, Y)
SWAPPED = [*range(7), 8, 7, *range(9, 60)]  # angles read back from an encoder jitter
WRITTEN = {
    "commas between whole numbers": (rows("{},{}", WHOLE - 80, WHOLE), WHOLE - 80, WHOLE),
    "more of them": (rows("{},{},{}", WHOLE - 80, WHOLE, WHOLE % 7), WHOLE - 80, WHOLE),
    "padded": (rows("{:7.3f},{:7.1f}", HALVES, HALVES * 10), HALVES, HALVES * 10),
    "padded whole numbers": (rows("{:3d},{:4d}", WHOLE, WHOLE + 9), WHOLE, WHOLE + 9),
    "quoted": (QUOTED, X, Y),
    "quoted decimal commas": (QUOTED.replace(".", ","), X, Y),
    "columns beyond the second": (rows("{:.2f} {:.1f} {:.3f}", X, Y, Y**0.5), X, Y),
    "exponents, negative intensities": (rows("{:.6e} {:.6e}", X, Y - 50), X, Y - 50),
    "descending": (text(" ", x=X[::-1], y=Y[::-1]), X, Y),
    "uneven": (rows("{:.6f} {:.1f}", UNEVEN, Y), np.round(UNEVEN, 6), Y),
    "repeated": (text(" ") + "6.18 99\n6.18 0.7\n", X, [*Y[:-1], (Y[-1] + 99.7) / 3]),
    "jittering": (text(" ", x=X[SWAPPED], y=Y[SWAPPED]), X, Y),
}


@pytest.mark.parametrize("way", WRITTEN)
def test_ways_of_writing_numbers(way):
    content, x, y = WRITTEN[way]
    assert_same(read(content), x, y)


@pytest.mark.parametrize(
    "lines, fault",
    [
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
        "# theta scan\n",
        "# d spacing\n",
        "# counting time\n",
        "# wavelength Cu\n",
        "# intensity scale\n",
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


def test_rruff_keys_and_what_follows_the_end():
    head = "##NAMES=Rutile\n##RRUFFID=R040049\n##X-RAY WAVELENGTH=1.541838\n##NO VALUE\n"
    scan = read(head + text(", ") + "\n##END=\n\n\n" + text(", ", y=Y + 1), "Rutile__R040049.txt")
    assert_same(scan)
    assert scan.metadata["NAMES"] == "Rutile" and scan.metadata["RRUFFID"] == "R040049"
    assert scan.wavelength == 1.541838
    assert scan.name == "Rutile__R040049" and scan.path == Path("Rutile__R040049.txt")


@pytest.mark.parametrize(
    "expected, lines",
    [
        (1.5406, ["# wavelength = 1.5406", "Wavelength (K-alpha1) [A] 1,54060", "λ = 1.5406 Å"]),
        (
            1.5406,
            ["! wavelength 0.15406 nm", "# Wavelength (nm): 0.15406", "wavelength: 154.06 pm"],
        ),
        (1.5406, ["# Wavelength 0.15406", "Wellenlänge 1,5406", "Wavelength : 1.54060 1.54439"]),
        (1.54056, ["LabdaAlpha1, 1.54056,/", "Anode Cu  Alpha1 1.54056  Alpha2 1.54439"]),
        (1.540593, ['*MEAS_COND_XG_WAVE_LENGTH_ALPHA1 "1.540593"']),
        (1.78897, ["# lambda: 1.78897", "_WL1=1.788970", "K-Alpha1 wavelength,1.78897"]),
        (1.78897, ["K-Alpha1 [Å];1,78897", "# Kα1 = 1.78897 Å", "# Wavelength: 1.78897e-10m"]),
        (0.71073, ["# Wavelength: 7.1073e-11 m", "X-ray wavelength [nm]\t0.071073"]),
        (0.413259, ["Calibrated wavelength = 0.413259", "##X-RAY WAVELENGTH=0.413259"]),
        (0.712553, ["# beam energy = 17.4 keV", "Energy (keV): 17.4"]),
        (1.79026, ["# radiation: Co Kalpha", "measured with cobalt radiation", "CoKa1", "rad=Co"]),
        (1.79026, ['\'Id: "" Operator: "N.N." Anode: "Co" Scantype: "Coupled"', "Anode,Co,/"]),
        (1.79026, ["_ANODE='Co'", "   target       = Co ", "Anode material;Co", "Co-Strahlung"]),
        (1.79026, ['*HW_XG_TARGET_NAME "Co"', "Fe filter, Co Kα", "X-Ray: Co 40kV 40mA"]),
        (0.56089, ["Tube anode: Ag", "# silver tube"]),
        (
            None,
            ["# wavelength unknown, slit 0.25", "# nothing", "Comment: Co3O4", "wavelength 42.00"],
        ),
        (None, ["# monochromator: lambda/2 filter 0.35 mm", "Filter: Ni", "Kbeta filter: Fe"]),
        (None, ["# wavelength = 0.6328 of the Raman laser", "LED lamp, wavelength 0.405 µm"]),
        (None, ["# detector threshold energy 8.05 keV", "wavelength beta 1.39225", "Cu Kβ"]),
    ],
)
def test_wavelengths_in_every_spelling(expected, lines, tmp_path):
    path = tmp_path / "a.xy"
    for line in lines:
        path.write_text(line + "\n" + text(" "), encoding="utf-8")
        stated = read_scan(path).wavelength
        assert stated == (None if expected is None else pytest.approx(expected, abs=1e-6)), line
        assert read_scan(path, wavelength=0.7).wavelength == 0.7
        assert read_scan(path, wavelength="cobalt").wavelength == 1.79026


@pytest.mark.parametrize(
    "name, texts",
    [
        ("Co", ["CoKa1", "cobalt", "Co Kα", "0.179 nm", "1.79e-10 m", "1,78897", "kobalt"]),
        ("Mo", ["17.4 keV", "17.48 keV", "molybdenum", "71.07 pm", "MoKa"]),
        ("Ag", ["silver", "AgKa1", "0.5594 Å"]),
        ("0.413259 Å", ["0.413259", "0.0413259 nm"]),
    ],
)
def test_radiation_by_name_length_or_energy(name, texts):
    assert {radiation(text).name for text in texts} == {name}


def test_an_anode_that_is_not_known_is_named():
    scan = read("# anode: W\n" + text(" "))
    assert scan.wavelength is None and "'W', which is not known" in scan.warnings[0]


# Columns by name: x is 2θ, t θ, q and n q in 1/Å and 1/nm, d in Å; y counts, and what is beside

LENGTH = 1.5406
ANGLES = 10 + 0.02 * np.arange(500)
PEAK = np.round(900 * np.exp(-(((ANGLES - 15) / 0.1) ** 2)) + 50 + 9 * np.sin(17 * ANGLES))
SPACING = LENGTH / 2 / np.sin(np.radians(ANGLES / 2))
BESIDE = {
    "x": ANGLES,
    "y": PEAK,
    "t": ANGLES / 2,
    "d": SPACING,
    "q": 2 * np.pi / SPACING,
    "n": 20 * np.pi / SPACING,
    "i": np.arange(500),
    "1": np.ones(500),
    "e": PEAK**0.5,
    "z": PEAK[::-1],
}


def table(header, columns, separator="\t"):
    rows = zip(*(BESIDE[c] for c in columns), strict=True)
    lines = (separator.join(f"{value:.8g}" for value in row) for row in rows)
    return "\n".join(([header] if header else []) + [*lines])


@pytest.mark.parametrize(
    "columns, headers, options",
    [
        ("xy", ["2Theta\tCounts", "°2Th\tcts", "2 theta\tcps", "x\ty", "deg.\tInt.", "tth\tI"], {}),
        ("xy", ["Winkel [°2Th.]\tIntensität", "2-Theta Angle (Degrees)\nIntensity\n  500"], {}),
        ("xy", ["2θ (degree)\tIntensity (a.u.)", "Messung: A\n2Theta\tI\n(deg)\t(cps)"], {}),
        (
            "x1y",
            ["2Theta\tTime\tCounts", "Angle\tTimePerStep\tIntensity", "#tth time(s) I", ""],
            {},
        ),
        ("xdy", ["2Theta\td\tI", "2theta\td-spacing (Å)\tcounts"], {}),
        ("txy", ["Theta\t2Theta\tIntensity"], {}),
        ("ixy", ["No.\t2Theta\tCounts", "index two_theta int", "Index\tX\tAcquisition", ""], {}),
        ("yx", ["Intensity\t2Theta", ""], {}),
        ("xye", ["2Theta\tI\tesd", "x\tsample_7.raw_1\tDiff", "twotheta\tyobs\tycalc", ""], {}),
        ("ty", ["theta(deg)\tcounts", "θ (°)\tcounts"], {}),
        ("ty", ["", "angle\tcounts"], {"axis": "theta"}),
        ("qy", ["Q(1/A)\tI(Q)", "# q_A^-1  I", "Q [1/Å]\tI", "Q (A^-1)\nIntensity\n 500"], {}),
        ("qy", ["Q\tI", ""], {"axis": "q"}),
        ("ny", ["q_nm^-1\tI", "q (nm⁻¹)\tIntensity", "q (Inverse Nanometers)\nIntensity"], {}),
        ("dy", ["d(A)\tcounts", "d-spacing (Å) Intensity", "d\tI"], {}),
        ("dy", [""], {"axis": "d"}),
        ("idyx", ["a\tb\tc\td", ""], {"columns": (4, 3), "axis": "2theta"}),
        ("idyx", ["run\tspacing\tsignal\tmotor"], {"columns": ("motor", "Signal")}),
    ],
)
def test_a_header_that_names_columns_is_believed(columns, headers, options):
    for header in headers:
        scan = parse_scan(table(header, columns).encode(), "a.xy", LENGTH, **options)
        np.testing.assert_allclose(scan.two_theta, ANGLES, atol=1e-4, err_msg=header)
        np.testing.assert_allclose(scan.intensity, PEAK, err_msg=header)


def test_q_and_d_need_no_wavelength():
    """They are shown with copper's, if nobody states one, and what it cannot reach is left out."""
    scan = read(table("d(A)\tcounts", "dy"))
    assert scan.wavelength == 1.54184 and "converted to 2θ" in scan.warnings[0]
    np.testing.assert_allclose(1.54184 / 2 / np.sin(np.radians(scan.two_theta / 2)), SPACING)
    far = "Q(1/A)\tI\n" + "\n".join(f"{q:.2f} {q}" for q in np.arange(0.5, 25, 0.05))
    scan = read(far)
    assert scan.two_theta[-1] < 180 and 4 * np.pi / 1.54184 - scan.intensity[-1] < 0.05


def test_d_or_q_beside_2theta_states_the_wavelength():
    for header, columns in (("2Theta\td\tI", "xdy"), ("x\ty_obs\tweight\tQ", "xyeq")):
        assert read(table(header, columns)).wavelength == pytest.approx(LENGTH, abs=1e-5)


@pytest.mark.parametrize(
    "content, found",
    [
        (table("Q\tI", "qy"), "q without a unit .* Say axis='q' for 1/Å or axis='q_nm'"),
        (table("", "dy"), "in steps that grow, perhaps d .* axis='d'"),
        (table("Omega\tCounts", "ty"), "a scan along Omega .a rocking curve., not along 2θ"),
        (table("# omega scan", "ty"), "a rocking curve"),
        (table("Phi (deg)\tIntensity", "xy"), "a scan along Phi"),
        (table("Time (s)\tIntensity", "xy"), "a scan along Time"),
        (table("r (Å)\tG(r)", "xy"), "a scan along r"),
        (table("Raman shift (cm-1)\tIntensity", "xy"), "a Raman or infrared"),
        (table("# values in binding energy", "xy"), "a photoelectron spectrum"),
        (table("# neutron powder data, HRPT", "xy"), "neutron data"),
        (table("Energy (keV)\tCounts", "xy"), "a scan along Energy"),
        (table("h k l 2theta I", "iiixy", " "), "a list of peaks: a column is named 'h'"),
        (table("Pos. [°2Th.]\tHeight [cts]\tFWHM", "xye"), "a list of peaks"),
        (
            "".join(f"{x} {9}\n" for x in (25, 38, 39, 48, 54, 55, 63, 69, 70, 75, 83)),
            "list of peaks",
        ),
        (table("A 2th\tA counts\tB 2th\tB counts", "xyxz"), "several scans in one file, 2 .1: A c"),
        (table("", "xyxz"), "several scans in one file, 2"),
        (table("2theta\tat 30 °C\tat 90 °C", "xyz"), "1: at 30 .*; 2: at 90 .*--scan N"),
        (table("2Theta\td", "xd"), "none of intensities.*--columns X Y"),
        ("1000 5\n" * 20, "perhaps|beyond 0 to 180.*--axis"),
        ("<!doctype html><html><body>404 Not Found</body></html>", "a web page"),
        ("data_anatase\n_cell_length_a 3.785\n", "a CIF without a measured powder pattern"),
        ("2Theta Yobs\n" + "10 5 (1 0 1)\n" * 9 + text(" "), "text among the numbers, as in '10 5"),
        ("5\n" * 50, "one column only, and no line that states start, step and stop"),
    ],
)
def test_what_is_no_powder_scan_is_named(content, found):
    with pytest.raises(ScanError, match=found):
        read(content)


@pytest.mark.parametrize("options", [{"columns": (1, 9)}, {"columns": ("2Theta", "x")}])
def test_columns_that_are_not_there(options):
    with pytest.raises(ScanError, match="3 columns, named '2Theta', 'd', 'I', none of them"):
        parse_scan(table("2Theta\td\tI", "xdy").encode(), "a.xy", **options)


def test_settings_that_mean_nothing_are_the_callers_fault():
    for options in ({"axis": "omega"}, {"wavelength": "Xx"}):
        with pytest.raises(DataError):
            parse_scan(text(" ").encode(), "a.xy", **options)


def test_a_word_in_the_header_can_be_overruled():
    content = "# compared with neutron data\n" + text(" ")
    with pytest.raises(ScanError, match="neutron data .*--axis 2theta"):
        read(content)
    assert_same(parse_scan(content.encode(), "a.xy", axis="2theta"))


def test_scans_of_different_lengths_beside_each_other():
    rows = [f"{a:.2f},{b:.1f},{a:.2f},{b:.1f}" for a, b in zip(X[:40], Y, strict=False)]
    rows += [f"{a:.2f},{b:.1f},," for a, b in zip(X[40:], Y[40:], strict=True)]
    content = "A 2th,A counts,B 2th,B counts\n" + "\n".join(rows)
    assert_same(parse_scan(content.encode(), "a.csv", scan=1))
    assert_same(parse_scan(content.encode(), "a.csv", scan=2), X[:40], Y[:40])


def test_one_of_several_scans_can_be_chosen():
    for content in (table("2th\tA\t2th\tB", "xyxz"), table("", "xy") + "\n#\n" + table("", "xz")):
        for number, counts in ((1, PEAK), (2, PEAK[::-1])):
            scan = parse_scan(content.encode(), "a.xy", scan=number)
            np.testing.assert_allclose(scan.intensity, counts)
        with pytest.raises(ScanError, match="several scans in one file, 2 .*scan=N"):
            parse_scan(content.encode(), "a.xy", scan=3)


def test_thousands_and_negative_angles_and_dates():
    scan = read(
        "angle;counts\n"
        + "".join(f"{a:.2f};1,{b:03d},000\n" for a, b in zip(X, range(60), strict=True))
    )
    assert_same(scan, y=1e6 + 1000 * np.arange(60))
    x = np.arange(-5, 40, 0.5)
    scan = read(text(" ", x=x, y=x + 90))
    assert_same(scan, x[x > 0], x[x > 0] + 90)
    assert "11 angles below zero were left out" in scan.warnings[0]
    dated = "".join(f"{a:.2f} {b:.1f} 07/07/2022 19:15:30\n" for a, b in zip(X, Y, strict=True))
    assert_same(read("2theta counts date time\n" + dated))


def test_gaps_and_uneven_steps_make_no_list_of_peaks():
    x = np.concatenate([np.arange(10, 20, 0.1), np.arange(50, 60, 0.1), np.arange(60, 90, 0.3)])
    assert_same(read(text(" ", x=x, y=x)), x, np.round(x, 1))
    peaks = np.cumsum(np.random.default_rng(0).exponential(0.2, 500)) + 10
    with pytest.raises(ScanError, match="500 angles far and unevenly apart, a list of peaks"):
        read(text(" ", x=peaks, y=peaks, digits="{:.4f}{}{:.1f}"))


def test_what_looks_odd_is_said():
    halted = np.where(np.arange(60) < 30, 10 + Y, 0)
    assert "the run seems interrupted" in read(text(" ", y=halted)).warnings[0]
    saturated = np.minimum(100 * (Y - 12), 8000)
    assert "seems saturated" in read(text(" ", y=saturated)).warnings[0]
    assert read(text(" ")).warnings == ()


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
        (text(" ") + "# next sample\n" + text(" "), "several scans in one file, 2"),
        (text(" ") + "Sample 2\nAngle I\n" + text(" "), "several scans in one file, 2"),
        (text(" ", x=X[np.random.default_rng(0).permutation(60)]), "go back"),
        (b"\0\1\2\3" * 100, "binary data"),
        (b"PK\3\4" + b"a" * 99, "an archive that is damaged"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>", "begins .*xml"),
        (b"RAW1.01\0\0\0", "a .raw file that is damaged"),
        (b"%PDF-1.7 ...", "a PDF document"),
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
    with pytest.raises(ScanError, match="has at most"):
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
    with pytest.raises(ScanError, match="sample.xrdml: expected a powder scan"):
        read(content, "sample.xrdml")


# Other people's files

FIELD = Path(DATA or "", "field")
needs_field = pytest.mark.skipif(
    not (DATA and FIELD.is_dir()),
    reason="XRDCLASS_DATA holds no folder field of other people's scans",
)
#: Files of `field` that are no scan to be read as they are, and what is said of them.
REFUSED = {
    "aimat_data.dat": "several scans in one file, 2",
    "aimat_vertical.xlsx": "several scans in one file, 21",
    "jowodo_116_10x_2deg.dat": "binary data of a kind that is not known",
    "rietagent_R040049.xrdml": "without dataPoints, as no instrument writes it",
    "xylib_PSI_DMC.dat": "neutron data",
    "xylib_specsxy_example.xy": "a photoelectron spectrum",
    "47_two_scans_side_by_side.csv": "1: A counts, .*; 2: B counts, ",
    "48_two_scans_below.xy": "several scans in one file, 2",
    "90_amcsd_sticks.txt": "a list of peaks",
    "92_html_404.xy": "a web page",
    "d_two_scans.xrdml": "several scans in one file, 2",
    "f_omega_scan.xrdml": "a scan along Omega .a rocking curve.",
    "r_RAW1.01.raw": "a .raw file without a scan",
    "r_raw4_shift4.raw": "fewer points than it announces",
}


def read_or_refuse(name, content):
    """The scan of a file, or None if it is refused with its sentence."""
    if name not in REFUSED:
        return parse_scan(content, name)
    with pytest.raises(ScanError, match=REFUSED[name]):
        parse_scan(content, name)


@needs_field
def test_files_of_other_laboratories():
    table = csv.DictReader(FIELD.joinpath("table.tsv").open(encoding="utf-8"), delimiter="\t")
    stated = {row["file"]: row["wavelength"] for row in table}
    with tarfile.open(FIELD / "scans.tar.gz") as archive:
        members = [m for m in archive.getmembers() if m.isfile() and Path(m.name).name in stated]
        scans = {
            (name := Path(m.name).name): read_or_refuse(name, archive.extractfile(m).read())
            for m in members
        }
    assert set(scans) == set(stated)
    for name, scan in scans.items():
        if scan and stated[name][0].isdigit():
            assert scan.wavelength == pytest.approx(float(stated[name]), abs=0.002), name
    with tarfile.open(FIELD / "scans.tar.gz") as archive:
        for name, number in (("aimat_data.dat", 2), ("aimat_vertical.xlsx", 21)):
            content = archive.extractfile(next(m for m in members if m.name.endswith(name))).read()
            assert len(parse_scan(content, name, scan=number)) > 2000


@needs_field
def test_the_same_sample_in_every_way_of_writing_it():
    """80 anatase to 20 rutile: the strongest line of anatase, d = 3.52 Å, wherever it stands."""
    expected = {"1": 1.54184, "10": 1.79026, "14": 0.71073, "15": 1.79026, "18": 1.79026}
    expected |= {"21": 1.5406, "22": None, "84": 1.54056, "86": 1.54184, "c": 1.7889}
    for path in sorted(FIELD.joinpath("inputs").rglob("*")):
        if path.suffix == ".cif" or not path.is_file():
            continue
        scan = read_or_refuse(path.name, path.read_bytes())
        number = path.name.split("_")[0].lstrip("0")
        if scan is None or number in ("70", "74"):  # no crystal at all
            continue
        if number in expected:
            assert scan.wavelength == expected[number], path.name
        away = scan.two_theta[scan.intensity.argmax()]
        d = (scan.wavelength or 1.54184) / 2 / np.sin(np.radians(away / 2))
        assert d == pytest.approx(3.52, abs=0.02), path.name
