"""Changed files of every format, to find one that the readers cannot cope with.

``make check-fuzz`` runs 20,000 inputs a format, ``ARGS="--inputs 500"`` fewer.
Every input must give a Scan that keeps its promises, or one ScanError that names the file, what
was expected and what was found. What breaks this is written to ``build/fuzz``.
"""

from __future__ import annotations

import gzip
import io
import os
import resource
import signal
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
from common import command_line

from xrdclass.errors import ScanError
from xrdclass.files.reading import MAX_POINTS
from xrdclass.scans import Scan, parse_scan, read_scan

SECONDS, MEGABYTES = 2.0, 200
X = np.round(10 + 0.02 * np.arange(40), 2)
Y = np.round(100 * np.exp(-(((X - 10.4) / 0.1) ** 2)) + 12)


def lines(form: str, *columns) -> str:
    return "".join(form.format(*row) + "\n" for row in zip(*columns, strict=True))


def xrdml(counts=None, unit="deg") -> str:
    counts = " ".join(f"{y:.0f}" for y in Y) if counts is None else counts
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<xrdMeasurements xmlns="http://www.xrdml.com/XRDMeasurement/2.0"><sample type="To be analyzed">
<id>sample</id></sample><xrdMeasurement measurementType="Scan" sampleMode="Reflection">
<usedWavelength intended="K-Alpha 1"><kAlpha1 unit="Angstrom">1.5405980</kAlpha1>
<ratioKAlpha2KAlpha1>0.5</ratioKAlpha2KAlpha1></usedWavelength>
<incidentBeamPath><xRayTube><tension unit="kV">45</tension><anodeMaterial>Cu</anodeMaterial>
</xRayTube></incidentBeamPath><scan appendNumber="0" mode="Continuous" scanAxis="Gonio">
<dataPoints><positions axis="2Theta" unit="{unit}"><startPosition>{X[0]}</startPosition>
<endPosition>{X[-1]}</endPosition></positions><positions axis="Omega" unit="deg">
<startPosition>5</startPosition><endPosition>5.39</endPosition></positions>
<commonCountingTime unit="seconds">30.5</commonCountingTime><counts unit="counts">{counts}</counts>
</dataPoints></scan></xrdMeasurement></xrdMeasurements>
"""


def brml_members(points=None) -> dict[str, bytes]:
    data = "".join(
        f"<Datum>0.5,1,{x},{x / 2:.2f},{y:.0f}</Datum>" for x, y in zip(X, Y, strict=True)
    )
    number = len(X) if points is None else points
    axis = (
        '<ScanAxisInfo AxisName="{}" VisibleName="{}"><Unit Base="Degree"/><Reference>0</Reference>'
        "<Start>{}</Start><Stop>{}</Stop><Increment>0.02</Increment></ScanAxisInfo>"
    )
    axes = axis.format("TwoTheta", "2Theta", X[0], X[-1])
    axes += axis.format("Theta", "Theta", X[0] / 2, X[-1] / 2)
    raw = f"""<?xml version="1.0" encoding="utf-8"?>
<RawData xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><FixedInformation><Instrument>
<PrimaryTracks><TrackInfoData><MountedOptics><InfoData xsi:type="TubeMountInfoData"><Tube>
<TubeMaterial>Cu</TubeMaterial><WaveLengthAlpha1 Unit="Å" Value="1.5406"/>
<Generator><Voltage Unit="kV" Value="40"/></Generator></Tube></InfoData>
<InfoData xsi:type="SlitInfoData"/></MountedOptics></TrackInfoData></PrimaryTracks></Instrument>
<Drives><InfoData LogicName="Chi"><Position Unit="Degree" Value="0"/></InfoData>
<InfoData LogicName="Phi"><Position Unit="Degree" Value="0"/></InfoData></Drives></FixedInformation>
<DataRoutes><DataRoute RouteFlag="Final"><ScanInformation ScanName="TwoThetaTheta">
<MeasurementPoints>{number}</MeasurementPoints><TimePerStep>0.5</TimePerStep>
<TimePerStepEffective>96</TimePerStepEffective><ScanMode>StillScan</ScanMode>
<ScanAxes>{axes}</ScanAxes></ScanInformation><DataViews>
<RawDataView Start="0" Length="1" xsi:type="FixedRawDataView" LogicName="MeasuredTimePerStep"/>
<RawDataView Start="4" Length="1" xsi:type="RecordedRawDataView">
<Recording LogicName="Counter1D"/></RawDataView></DataViews>{data}
</DataRoute></DataRoutes></RawData>
"""
    container = (
        '<?xml version="1.0" encoding="utf-8"?><DataContainer><RawDataReferenceList>'
        "<string>Experiment0/RawData0.xml</string></RawDataReferenceList></DataContainer>"
    )
    return {
        "Experiment0/DataContainer.xml": container.encode(),
        "Experiment0/RawData0.xml": raw.encode(),
    }


def rasx_members() -> dict[str, bytes]:
    conditions = """<?xml version="1.0" encoding="utf-8"?>
<Measurement><GeneralInformation><Version>1</Version></GeneralInformation><ScanInformation>
<AxisName>TwoTheta</AxisName><Mode>CONTINUOUS</Mode><SpeedUnit>deg/min</SpeedUnit>
<PositionUnit>deg</PositionUnit><Step>0.02</Step><Speed>10</Speed></ScanInformation>
<HWConfigurations><Categories><Category Name="Detector" SelectedUnit="D/teX"/></Categories><Optics>
<Optic>None</Optic></Optics><Distances><Distance To="a" From="b" Unit="mm" Value="300"/></Distances>
<XrayGenerator><TargetName>Cu</TargetName><Voltage>40</Voltage><VoltageUnit>kV</VoltageUnit>
<WavelengthKalpha1>1.540593</WavelengthKalpha1></XrayGenerator></HWConfigurations>
<RASHeader><Pair><Name>MEAS_COND_AXIS_NAME-0</Name><Value>2theta</Value></Pair></RASHeader>
<Axes><Axis Name="TwoTheta" Unit="deg" Offset="0" Position="10"/></Axes></Measurement>
"""
    data = "\ufeff" + lines("{:.4f}\t{:.1f}\t1.0", X, Y)
    return {
        "Data0/Profile0.txt": data.encode(),
        "Data0/MesurementConditions0.xml": conditions.encode(),
    }


def raw(points=None, start=X[0], step=0.02, scan=b"Locked Coupled", header=16) -> bytes:
    """Bruker's RAW4.00: 61 bytes, segments, then a range with a segment of its own."""
    data = bytearray(b"RAW4.00\0".ljust(61, b"\0"))
    data += struct.pack("<II", 10, 40) + b"\0\0\0\0" + b"USER".ljust(24, b"\0") + b"abcd"
    tube = struct.pack("<II64x5d4x4s", 30, 120, 1.5418, 1.5406, 1.54439, 1.39222, 0.5, b"Cu")
    data += tube
    number = len(X) if points is None else points
    data += struct.pack("<I28x24s16xddI", 0, scan, start, step, number)
    data += struct.pack("<f16xd16xII16x", 1.0, 1.5406, 8, header)
    data += struct.pack("<II", 50, header).ljust(header, b"\0")
    return bytes(data) + np.stack([Y, 0 * Y], axis=1).astype("<f4").tobytes()


def raw3(points=None, ranges=1) -> bytes:
    """Bruker's RAW1.01: 712 bytes, then for each range 304, a supplement of 40, and the counts."""
    data = bytearray(b"RAW1.01".ljust(712, b"\0"))
    struct.pack_into("<II", data, 8, 1, ranges)
    struct.pack_into("<4s4x5d", data, 608, b"Cu", 1.5418, 1.5406, 1.54439, 1.39222, 0.5)
    one = bytearray(304 + 40)
    struct.pack_into("<II2d", one, 0, 304, len(X) if points is None else points, X[0] / 2, X[0])
    struct.pack_into("<d", one, 176, 0.02)
    struct.pack_into("<I", one, 256, 40)
    return bytes(data) + ranges * (bytes(one) + Y.astype("<f4").tobytes())


def raw2() -> bytes:
    """Diffrac-AT, version 2: 256 bytes, then a range with a header of 48 and the counts."""
    data = bytearray(b"RAW2".ljust(256, b"\0"))
    struct.pack_into("<H", data, 4, 1)
    struct.pack_into("<2sff", data, 188, b"Co", 1.78897, 1.79285)
    one = struct.pack("<HH4xfff28x", 48, len(X), 1.0, 0.02, X[0])
    return bytes(data) + one + Y.astype("<f4").tobytes()


def raw1() -> bytes:
    """Diffrac-AT, version 1."""
    angles = (X[0], X[0] / 2, 0, 0)
    head = struct.pack("<IffI4x4f32s", len(X), 1, 0.02, 0, *angles, b"")
    head += struct.pack("<ff72xI", 1.5406, 1.5444, 0)
    return b"RAW " + head + Y.astype("<f4").tobytes()


def stoe() -> bytes:
    """WinXPOW: blocks of 512 bytes, the last but one describes the counts."""
    data = bytearray(b"RAW_1.06Powdat".ljust(2048, b"\0"))
    struct.pack_into("<ff", data, 0x142, 1.5406, 1.5444)
    struct.pack_into("<HH", data, 0x1DA, 1, 5)
    struct.pack_into("<H", data, 2048 - 0x1DE, len(X))
    struct.pack_into("<6f", data, 2048 - 0x1D4, X[0], X[0] / 2, X[-1], X[-1] / 2, 0.02, 0.01)
    return bytes(data) + Y.astype("<u4").tobytes().ljust(512, b"\0")


def rows(form: str, per_line: int, values=Y) -> str:
    """The intensities alone, so many a line."""
    parts = (values[i : i + per_line] for i in range(0, len(values), per_line))
    return "".join("".join(map(form.format, part)) + "\n" for part in parts)


def workbook(header=("2Theta", "Counts")) -> bytes:
    """An .xlsx file as Excel writes it: strings apart, a row of them, then rows of numbers."""
    text = "".join(f"<si><t>{name}</t></si>" for name in header)
    cell = '<c r="{}{}"{}><v>{}</v></c>'
    body = "".join(cell.format("AB"[i], 1, ' t="s"', i) for i in range(2))
    body = f'<row r="1">{body}</row>' + "".join(
        f'<row r="{i}">{cell.format("A", i, "", x)}{cell.format("B", i, "", y)}</row>'
        for i, (x, y) in enumerate(zip(X, Y, strict=True), start=2)
    )
    return zipped(
        {
            "xl/workbook.xml": b"<workbook/>",
            "xl/sharedStrings.xml": f"<sst>{text}</sst>".encode(),
            "xl/worksheets/sheet1.xml": f"<worksheet>{body}</worksheet>".encode(),
        }
    )


def listings() -> dict[str, list[str]]:
    """Formats that list counts without angles, with loops, or with settings before each range."""
    first, last, number = f"{X[0]:.2f}", f"{X[-1]:.2f}", len(X)
    uxd = "_FILEVERSION=2\n_ANODE='Cu'\n_WL1=1.540600\n_DRIVE='COUPLED'\n"
    uxd += f"_START={first}\n_STEPSIZE=0.02\n"
    mdi = f"25/11/26 DIF XRD\n {first} 0.0200 1.0 cu 1.54056 {last} {number}\n"
    udf = "SampleIdent,a,/\nAnode,Cu,/\nLabdaAlpha1, 1.54056,/\n"
    udf += f"DataAngleRange, {first}, {last},/\nScanStepSize, 0.020,/\nRawScan\n"
    cpi = f"SIETRONICS XRD SCAN\n{first}\n{last}\n0.02\nCu\n1.54056\n25-11-26\n1\na\nSCANDATA\n"
    ras = '*RAS_DATA_START\n*RAS_HEADER_START\n*HW_XG_TARGET_NAME "Cu"\n'
    ras += '*HW_XG_WAVE_LENGTH_ALPHA1 "1.540593"\n*MEAS_SCAN_AXIS_X_INTERNAL "TwoThetaTheta"\n'
    ras += "*RAS_HEADER_END\n*RAS_INT_START\n"
    bank = f"title\nBANK 1 {number} {-(-number // 10)} CONST {100 * X[0]:.2f} 2.00 0 0 "
    asc = f"*TYPE = Raw\n*WAVE_LENGTH1 = 1.54056\n*START = {first}\n*STOP = {last}\n*STEP = 0.020\n"
    asc += f"*COUNT = {number}\n"
    pairs = np.stack([Y, Y**0.5], axis=1).ravel()
    cif = "data_a\n_diffrn_radiation_wavelength 1.5406\n"
    span = f"_pd_meas_2theta_range_min {first}\n_pd_meas_2theta_range_max {last}\n"
    span += "_pd_meas_2theta_range_inc 0.02\nloop_\n_pd_meas_counts_total\n"
    loop = "loop_\n_pd_meas_2theta_scan\n_pd_meas_counts_total\n"
    return {
        "uxd": [
            uxd + "_2THETACOUNTS\n" + lines("{:.3f}\t{:.0f}", X, Y),
            uxd + "_COUNTS\n" + rows("{:8.0f}", 8),
            uxd + "_2THETACOUNTSTIME\n" + lines("{:.3f} {:.0f} 1.0", X, Y),
        ],
        "asc": [asc + rows("{:.0f},", 4)[:-2] + "\n*END\n"],
        "udf": [udf + rows("{:6.0f},", 8)[:-2] + "/\n"],
        "cpi": [cpi + rows("{:.0f}", 1)],
        "mdi": [mdi + rows("{:8.0f}", 8)],
        "ras": [ras + lines("{:.4f} {:.4f} 1.0000", X, Y) + "*RAS_INT_END\n*RAS_DATA_END\n"],
        "gsas": [
            bank + "STD\n" + rows("{:8.0f}", 10),
            bank + "STD\n" + rows(" 1{:6.0f}", 10),
            bank + "ESD\n" + rows("{:8.1f}", 10, pairs),
            bank + "FXYE\n" + lines("{:.2f} {:.1f} {:.2f}", 100 * X, Y, Y**0.5),
        ],
        "dat": [
            f"{first:>8}{0.02:8.3f}{last:>8} CPD sample\n" + rows("{:8.0f}", 10),
            f"  {first} 0.02 {last}\n" + rows("{:.0f}", 1),
            f"Anode Cu Alpha1 1.54056\n{first} {last} 0.02\n" + rows("{:7.0f}", 8),
        ],
        "cif": [cif + loop + lines("{:.2f} {:.0f}(9)", X, Y), cif + span + rows("{:.0f}", 1)],
    }


def zipped(members: dict[str, bytes], method=zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def samples() -> dict[str, list[bytes]]:
    """Small valid files of every format; every one of them can be read."""
    head = "##NAMES=Rutile\n##RRUFFID=R040049\n##X-RAY WAVELENGTH=1.541838\n"
    comma = lines("{:.2f};{:.1f}", X, Y).replace(".", ",")
    texts = {
        "xy": ["# lambda 1.5406\n" + lines("{:.2f} {:.0f}", X, Y), lines("{:.3e}\t{:.2e}", X, Y)],
        "xye": [
            lines(" {:.3f}   {:.2f}   {:.3f}", X, Y, Y**0.5),
            lines("{} {} 1", X[::-1], Y[::-1]),
        ],
        "csv": ["2theta;counts\n" + comma, lines("{:.2f},{:.1f}", X, Y), lines('"{}","{}"', X, Y)],
        "txt": [head + lines("{:.4f}, {:.2f}", X, Y) + "##END=\n\n\n"],
        "xrdml": [xrdml()],
    }
    files = {kind: [text.encode() for text in found] for kind, found in texts.items()}
    files["csv"] += [comma.replace(";", ",").encode(), ("Prüfstück\n" + comma).encode("utf-16")]
    files |= {kind: [text.encode() for text in found] for kind, found in listings().items()}
    files["brml"] = [zipped(brml_members())]
    files["rasx"] = [zipped(rasx_members())]
    files["raw"] = [raw(), raw3(), raw2(), raw1(), stoe()]
    files["xlsx"] = [workbook()]
    files["gz"] = [gzip.compress(content, mtime=0) for content in (files["xy"][0], raw())]
    return files


def measured() -> dict[str, list[bytes]]:
    """The beginnings of measured scans in the folder that XRDCLASS_DATA names, if there is one."""
    found: dict[str, list[bytes]] = {}
    folder, known = os.environ.get("XRDCLASS_DATA"), samples()
    for path in sorted(Path(folder).rglob("*")) if folder else []:
        kind = path.suffix[1:].lower()
        if kind in known and path.name != "README.txt" and path.stat().st_size < 1e6:
            whole = kind in ("xrdml", *PACKED, "raw")
            found.setdefault(kind, []).append(path.read_bytes()[: None if whole else 6000])
    return found


PACKED = ("brml", "rasx", "xlsx")
NUMBERS = b"0 -1 1e400 nan inf 1e30 9e29 180 181 1e-320 1_000 0x10 99999999999 1,5 65536".split()
PIECES = {
    "text": [b",", b";", b"\n", b"\r", b"\0", b"-", b".", b'"', b"|", b"##END", b"#", b"\xff\xfe"]
    + ["٣".encode(), "²".encode(), b"\xa0", b"lambda 1.54", b"wavelength 0.0001", b"/", b"(1)"]
    + [b"2theta", b" q d ", b"h k l", b"loop_\n", b"_COUNTS\n", b"_pd_meas_counts_total\n"]
    + [b"BANK 1 9 9 CONST 1 1 0 0 STD\n", b"*RAS_INT_START\n", b"5 0.02 5.4\n", b"RawScan\n"],
    "xml": [b"<", b">", b"&", b"</scan>", b"<scan>", b"<!DOCTYPE a>", b"&#0;", b"]]>", b"<a/>"]
    + [b'unit="9**9**9"', b"unit='rad'", b'unit="nm"', b"<counts/>", b"deg", b"<Datum>1</Datum>"],
    "raw": [b"\0" * 8, b"\xff" * 8, b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"RAW4.00\0", b"Cu", b"Mo"],
}


def changed(content: bytes, pieces: list[bytes], rng: np.random.Generator) -> bytes:
    """The content with up to eight changes; mostly few, so that many still look like a scan."""
    data = bytearray(content)
    for _ in range(1 + rng.integers(1 + rng.integers(8))):
        at = int(rng.integers(len(data) + 1))
        piece = pieces[rng.integers(len(pieces))]
        match rng.integers(8):
            case 0 if data:
                data[at % len(data)] = rng.integers(256)
            case 1:
                data[at:at] = piece
            case 2:
                del data[at : at + int(rng.integers(1, 60))]
            case 3:
                data[at:at] = data[at : at + int(rng.integers(1, 400))]
            case 4:
                data[at : at + len(piece)] = piece
            case 5:  # one number becomes another
                end = next((i for i in range(at, len(data)) if data[i] in b' ,;<\t\n"'), at)
                data[at:end] = NUMBERS[rng.integers(len(NUMBERS))]
            case 6 if rng.random() < 0.3:
                del data[at:]
            case 7:
                old = b"0123456789.,; \n"[rng.integers(15) :][:1]
                data = data.replace(old, piece, int(rng.integers(1, 50)))
    return bytes(data)


def inputs(kind: str, number: int, seed: int = 0):
    """The same changed files for the same seed."""
    rng = np.random.default_rng([seed, *kind.encode()])
    small, large = samples()[kind], measured().get(kind, [])
    known = {"raw": "raw", **dict.fromkeys(("xrdml", *PACKED), "xml")}
    pieces = PIECES[known.get(kind, "text")] + NUMBERS
    for i in range(number):
        # Measured files are slower to read, and do not take other ways through the code.
        start = large[rng.integers(len(large))] if large and i % 20 == 19 else None
        start = small[rng.integers(len(small))] if start is None else start
        inside = rng.random() < 0.7  # changes of the packed bytes end at the checksum
        if kind in PACKED and inside:
            with zipfile.ZipFile(io.BytesIO(start)) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
            name = list(members)[rng.integers(len(members))]
            members[name] = changed(members[name], pieces, rng)
            yield zipped(members)
        elif kind == "gz" and inside:
            yield gzip.compress(changed(gzip.decompress(start), pieces, rng), mtime=0)
        else:
            yield changed(start, pieces, rng)


def with_sizes(content: bytes, size: int) -> bytes:
    """The archive with an untrue unpacked size of every member in both of its directories."""
    data = bytearray(content)
    for mark, offset in ((b"PK\1\2", 24), (b"PK\3\4", 22)):
        at = data.find(mark)
        while at >= 0:
            struct.pack_into("<I", data, at + offset, size)
            at = data.find(mark, at + 4)
    return bytes(data)


def attacks():
    """File names and contents that a careless reader chokes on; some are large."""
    many = "".join(f"{x:.6f} {5:.1f}\n" for x in np.linspace(5, 90, MAX_POINTS - 1))
    yield "largest.xy", many.encode()
    yield "largest_comma.xy", many.replace(" ", ";").replace(".", ",").encode()
    yield "50MB.xy", (many * 11)[:50_000_000].encode()
    yield "50MB_zeros.xy", bytes(50_000_000)
    yield "50MB_one_line.xy", b"1 " * 25_000_000
    yield "short_lines.xy", b"5 1\n" * 1_500_000
    yield "one_line.xy", b"1 " * 3_000_000 + b"x"
    yield "wavelength.xy", b"lambda " * 6 + b"1" * 5_900_000
    yield "quotes.xy", b'"' * 6_000_000
    yield "random.xy", np.random.default_rng(0).bytes(6_000_000)
    del many
    bomb = {**brml_members(), "Experiment0/RawData0.xml": bytes(250_000_000)}
    packed = zipped(bomb)
    yield "bomb.brml", packed
    yield "bomb_untrue_size.brml", with_sizes(packed, 1000)
    bomb = {**rasx_members(), "Data0/Profile0.txt": b"1" * 250_000_000}
    packed = zipped(bomb)
    yield "bomb.rasx", packed
    yield "bomb_untrue_size.rasx", with_sizes(packed, 1000)
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield f"bomb_{method}.rasx", with_sizes(zipped(bomb, method), 1000)
    del bomb
    stuffed = {**rasx_members(), "Data0/Image0.bin": np.random.default_rng(0).bytes(48_000_000)}
    yield "pictures.rasx", zipped(stuffed, zipfile.ZIP_STORED)
    del stuffed
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", *[20] * 2, *[0] * 4, 0, 0, 0, 12, *[0] * 6)
    directory = (entry + b"Profile0.txt") * 800_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, len(directory), 0, 0)
    yield "members.rasx", directory + end
    deep = b"<a>" * 800_000 + b"</a>" * 700_000
    yield "deep.brml", zipped({**brml_members(), "Experiment0/RawData0.xml": deep})
    yield "deep.rasx", zipped({**rasx_members(), "Data0/MesurementConditions0.xml": deep})
    yield "deep.xrdml", b"<xrdMeasurements>" + deep
    yield "elements.xrdml", b"<xrdMeasurements>" + b"<a/>" * 890_000 + b"</xrdMeasurements>"
    flat = b"<RawData>" + b"<a b=''/>" * 600_000 + b"</RawData>"
    yield "elements.brml", zipped({**brml_members(), "Experiment0/RawData0.xml": flat})
    yield "counts.xrdml", xrdml("1 " * 2_900_000).encode()
    axis = '<positions axis="a" unit="deg"><startPosition>1</startPosition><endPosition>2'
    axis = (axis + "</endPosition></positions>") * 500
    axes = xrdml("1 " * 1_400_000).replace("<commonCounting", axis + "<commonCounting", 1)
    yield "axes.xrdml", axes.encode()
    data = xrdml()
    block = data[data.index("<dataPoints>") : data.index("</scan>")]
    scans = f"<scan>{block}</scan>" * 6000
    yield "scans.xrdml", data.replace("</xrdMeasurement>", scans + "</xrdMeasurement>").encode()
    for unit in ("9**9**9**9", "9^9^9^9", "9⁹⁹⁹⁹⁹⁹⁹⁹", "deg " * 100_000, "(" * 100_000):
        yield f"unit_{unit[:4].strip('*')}.xrdml", xrdml(unit=unit).encode()
        for kind, members, old in (
            ("brml", brml_members(), b"Degree"),
            ("rasx", rasx_members(), b"deg/min"),
            ("rasx", rasx_members(), b"kV"),
        ):
            new = {name: text.replace(old, unit.encode()) for name, text in members.items()}
            yield f"unit.{kind}", zipped(new)
    for number in (10**9, 10**12, 1, -5):
        yield f"points{number}.brml", zipped(brml_members(number))
    thin = brml_members(1)
    raw_data = thin["Experiment0/RawData0.xml"]
    raw_data = raw_data.replace(b"<Increment>0.02", b"<Increment>1e-12")
    first = raw_data.index(b"</Datum>") + len(b"</Datum>")
    raw_data = raw_data[:first] + raw_data[raw_data.rindex(b"</Datum>") + 8 :]
    yield "step.brml", zipped({**thin, "Experiment0/RawData0.xml": raw_data})
    referring = brml_members()
    container = referring["Experiment0/DataContainer.xml"]
    string = b"<string>Experiment0/RawData0.xml</string>"
    referring["Experiment0/DataContainer.xml"] = container.replace(string, string * 50_000)
    yield "references.brml", zipped(referring)
    yield "large.raw", raw(65535) + bytes(5_900_000)
    yield "50MB.raw", raw(65535) + bytes(49_990_000)
    yield "points.raw", raw(2**32 - 1)
    yield "ranges.raw", raw3(ranges=2**31 // 2**20) + bytes(5_000_000)
    yield "segments.raw", raw()[:61] + struct.pack("<II", 10, 0) * 700_000
    yield "bomb.gz", gzip.compress(bytes(250_000_000))
    for part in ("sharedStrings.xml", "worksheets/sheet1.xml"):
        yield f"bomb_{part[:5]}.xlsx", book({f"xl/{part}": b"<t>" + bytes(250_000_000)})
    cells = "".join(f'<c r="A{i}"><v>1</v></c><c r="GR{i}"><v>2</v></c>' for i in range(1, 90_000))
    yield "cells.xlsx", book({"xl/worksheets/sheet1.xml": cells.encode()})
    yield "open.xlsx", book({"xl/worksheets/sheet1.xml": b'<c r="A1"><v>' * 450_000})
    yield "sheets.xlsx", book({f"xl/worksheets/sheet{i}.xml": b"<a/>" * 1000 for i in range(900)})
    blank = b"\n" * 290_000
    for name, start in {
        "blank.cif": b"data_a\n_pd_meas_counts_total\n",
        "loops.cif": b"data_a\n" + b"loop_\n_pd_a\n" * 90_000,
        "blank.gsas": b"BANK 1 9 9 CONST 1 1 0 0 STD\n",
        "banks.gsas": b"BANK 1 9 9 CONST 1 1 0 0 STD\n" * 150_000,
        "ranges.uxd": b"_START=1\n_STEPSIZE=1\n" + b"_COUNTS\n" * 200_000,
        "settings.uxd": b"_STEPSIZE=1\n" * 200_000 + b"_COUNTS\n1 2 3",
        "starts.ras": b"*RAS_\n" + b"*RAS_INT_START\n" * 200_000,
        "header.udf": b"DataAngleRange, 1, 9\n" * 140 + b"ScanStepSize, 1\n" * 150,
        "digits.mdi": (b"1" * 1900 + b"\n") * 300,
        "spaces.mdi": (b"1" + b" " * 1900 + b"\n") * 300,
        "header.asc": b"start 1\n" * 90 + b"stop 9\n" * 90 + b"step 1\n" * 90 + b"#" * 1900,
        "signs.asc": (b"#" * 1900 + b"\n") * 300 + b"start 1\nstop 9\nstep 1\n",
        "three.dat": b"5 0.01 150\n" * 250_000,
        "names.csv": (b"2theta" + b" " * 1900 + b"\n") * 2500 + b"1 2\n" * 50,
        "words.txt": b"wavelength alpha energy anode target " * 160_000,
        "dates.txt": b"1 2 1/1/2020\n" * 290_000,
    }.items():
        yield name, start + (blank if name.startswith("blank") else b"")


def book(members: dict[str, bytes]) -> bytes:
    return zipped({"xl/worksheets/sheet1.xml": b"", **members})


class _HangError(BaseException):
    """Raised by the clock. No Exception, which the readers would turn into a ScanError."""


def _alarm(*_):
    raise _HangError


def verdict(content, name: str, read=None) -> tuple[str, str | None]:
    """("scan" or "error", what broke the promise or None) for one file's content."""
    start = time.process_time()  # other work on the machine is not the reader's fault
    previous = signal.signal(signal.SIGALRM, _alarm)
    signal.setitimer(signal.ITIMER_REAL, 5 * SECONDS)
    try:
        scan = read(content) if read else parse_scan(content, name)
        outcome, fault = "scan", _scan_fault(scan)
    except ScanError as error:
        message = str(error)
        whole = message.startswith(f"{name}: expected ") and "; found " in message
        outcome = "error"
        fault = None if whole and message.endswith(".") and "\n" not in message else message
    except _HangError:
        outcome, fault = "error", "a hang"
    except Exception as error:
        outcome, fault = "error", f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    seconds = time.process_time() - start
    return outcome, fault or (f"{seconds:.1f} s" if seconds > SECONDS else None)


def _scan_fault(scan: Scan) -> str | None:
    x, y = scan.two_theta, scan.intensity
    right = x.shape == y.shape and x.ndim == 1 and len(x) >= 10
    right = right and np.isfinite(x).all() and np.isfinite(y).all() and (np.diff(x) > 0).all()
    right = right and 0 <= x[0] and x[-1] <= 180
    right = right and (scan.wavelength is None or 0.1 <= scan.wavelength <= 10)
    return None if right else f"a scan that is none: {x[:5]}, {y[:5]}, {scan.wavelength}"


def peak_megabytes() -> float:
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (1e6 if sys.platform == "darwin" else 1e3)


def fuzz(kind: str, number: int, seed: int = 0, keep: Path | None = None) -> dict:
    """Try changed files of one kind; the counts, and what went wrong."""
    counts = {"inputs": 0, "scan": 0, "error": 0, "slowest": 0.0, "faults": []}
    for content in inputs(kind, number, seed):
        start = time.perf_counter()
        outcome, fault = verdict(content, f"sample.{kind}")
        counts["slowest"] = max(counts["slowest"], time.perf_counter() - start)
        counts["inputs"] += 1
        counts[outcome] += 1
        if fault:
            counts["faults"].append(fault)
            if keep:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{counts['inputs']}.{kind}").write_bytes(content)
    return counts


def attacked(path: Path) -> tuple[str, str | None, float]:
    """The verdict on a file, and the megabytes that reading it took, from a copy of this process.

    Memory once taken stays with a process: the peak of one file would hide the next one's.
    """
    ours, theirs = os.pipe()
    if not (child := os.fork()):
        before = peak_megabytes()
        outcome, fault = verdict(path, str(path), read_scan)
        answer = f"{outcome}|{fault or ''}|{peak_megabytes() - before}"
        os.write(theirs, answer.encode("utf-8", "replace"))
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    outcome, fault, grown = answer.rsplit("|", 2) if answer else ("error", "died", "0")
    if float(grown) > MEGABYTES:
        fault = f"{float(grown):.0f} MB"
    return outcome, fault or None, float(grown)


def try_attacks() -> int:
    """Print what the attacks do; return how many get through."""
    number, through, most, longest = 0, 0, 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, content in attacks():
            path = Path(folder, name)
            path.write_bytes(content)
            del content
            start = time.perf_counter()
            outcome, fault, grown = attacked(path)
            number, most = number + 1, max(most, grown)
            longest = max(longest, time.perf_counter() - start)
            path.unlink()
            if fault:
                through += 1
                print(f"   {name}: {outcome}, {fault[:200]}")
    print(f"attacks: {number}, most memory {most:.0f} MB, longest {longest:.1f} s")
    print(f"attacks not withstood: {through}", flush=True)
    return through


def main() -> int:
    parser = command_line(__doc__)
    parser.add_argument("--inputs", type=int, default=20_000, help="of each format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", nargs="*", default=list(samples()))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for kind, files in samples().items():  # also imports what the first file of a kind needs
        for content in files:
            assert verdict(content, f"sample.{kind}") == ("scan", None), kind
    before, faults = peak_megabytes(), 0
    if not args.inputs:
        args.formats = []
    print("format   inputs   scans  errors  faults  slowest/ms", flush=True)
    for kind in args.formats:
        found = fuzz(kind, args.inputs, args.seed, Path("build/fuzz"))
        faults += len(found["faults"])
        print(
            f"{kind:6} {found['inputs']:8} {found['scan']:7} {found['error']:7} "
            f"{len(found['faults']):7} {1000 * found['slowest']:11.0f}",
            flush=True,
        )
        for fault in sorted(set(found["faults"]))[:5]:
            print("  ", ascii(fault[:150]))
    grown = peak_megabytes() - before
    print(f"memory grew by {grown:.0f} MB; files that broke something: {faults}")
    through = try_attacks()
    return int(faults + through > 0 or grown > MEGABYTES)


if __name__ == "__main__":
    sys.exit(main())
