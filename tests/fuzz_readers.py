"""Changed files of every format, to find one that the readers cannot cope with.

``make fuzz`` runs 20,000 inputs a format, ``python tests/fuzz_readers.py --inputs 500`` fewer.
Every input must give a Scan that keeps its promises, or one ScanError that names the file, what
was expected and what was found. What breaks this is written to ``build/fuzz``.
"""

from __future__ import annotations

import argparse
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

from xrdclass.errors import ScanError
from xrdclass.scans import MAX_POINTS, Scan, parse_scan, read_scan

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


def raw(points=None) -> bytes:
    """Bruker's binary format, version 4, as far as the reader knows it."""
    data = bytearray(0x051F)
    data[:8] = b"RAW4.00\0"
    data[8:28] = struct.pack("<I", 0) + b"01/02/2412:00:00"
    data[0x01A8:0x01AB] = b"\0Cu"
    struct.pack_into("<H", data, 0x01C3, len(X) if points is None else points)
    struct.pack_into("<d", data, 0x020F, 0.02)
    data[0x04D0:0x04D6] = b"Theta\0"
    struct.pack_into("<d", data, 0x04FB, X[0])
    return bytes(data) + np.stack([Y, 0 * Y], axis=1).astype("<f4").tobytes()


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
    files["csv"] += [("Prüfstück\n" + comma).encode("utf-16")]
    files["brml"] = [zipped(brml_members())]
    files["rasx"] = [zipped(rasx_members())]
    files["raw"] = [raw()]
    return files


def measured() -> dict[str, list[bytes]]:
    """The beginnings of measured scans in the folder that XRDCLASS_DATA names, if there is one."""
    found: dict[str, list[bytes]] = {}
    folder = os.environ.get("XRDCLASS_DATA")
    for path in sorted(Path(folder).rglob("*")) if folder else []:
        kind = path.suffix[1:].lower()
        if kind in samples() and path.name != "README.txt" and path.stat().st_size < 1e6:
            whole = kind in ("xrdml", "brml", "rasx", "raw")
            found.setdefault(kind, []).append(path.read_bytes()[: None if whole else 6000])
    return found


NUMBERS = b"0 -1 1e400 nan inf 1e30 9e29 180 181 1e-320 1_000 0x10 99999999999 1,5 65536".split()
PIECES = {
    "text": [b",", b";", b"\n", b"\r", b"\0", b"-", b".", b'"', b"|", b"##END", b"#", b"\xff\xfe"]
    + ["٣".encode(), "²".encode(), b"\xa0", b"lambda 1.54", b"wavelength 0.0001"],
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
    pieces = PIECES["text" if kind in ("xy", "xye", "csv", "txt") else "xml"]
    pieces = (PIECES["raw"] if kind == "raw" else pieces) + NUMBERS
    for i in range(number):
        # Measured files are slower to read, and do not take other ways through the code.
        start = large[rng.integers(len(large))] if large and i % 20 == 19 else None
        start = small[rng.integers(len(small))] if start is None else start
        if kind in ("brml", "rasx") and rng.random() < 0.7:
            # Changes of the packed bytes end at the checksum: most belong into the members.
            with zipfile.ZipFile(io.BytesIO(start)) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
            name = list(members)[rng.integers(len(members))]
            members[name] = changed(members[name], pieces, rng)
            yield zipped(members)
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


class _HangError(BaseException):
    """Raised by the clock. No Exception, which the readers would turn into a ScanError."""


def _alarm(*_):
    raise _HangError


def verdict(content, name: str, read=None) -> tuple[str, str | None]:
    """("scan" or "error", what broke the promise or None) for one file's content."""
    start = time.perf_counter()
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
    seconds = time.perf_counter() - start
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
