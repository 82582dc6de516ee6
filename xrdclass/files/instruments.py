"""Files that diffractometers and Excel write: XML, archives of it, and binary data.

Layouts: .xrdml after PANalytical's schema; .raw after the appendix of Bruker's XCH manual and what
programs that read it have published; Stoe .raw after a published reader. No real Stoe, RAW 1 or
RAW 2 file was at hand.
"""

from __future__ import annotations

import html
import io
import re
import struct
import zipfile
from collections.abc import Iterator
from xml.etree import ElementTree

import numpy as np

from . import reading, text
from .reading import MAX_CONTENT, MAX_POINTS, Found, NotAScan, limit, refuse_if, stepped

_OTHERS = {  # how a file begins that is no scan, and what it then is
    b"\xd0\xcf\x11\xe0": "an old Excel or other Office file, to be saved as .xlsx or .csv",
    b"%PDF": "a PDF document",
    **dict.fromkeys((b"\x89PNG", b"\xff\xd8\xff"), "a picture"),
    b"\x89HDF": "an HDF5 or NeXus file",
    b"SQLite": "a database",
    b"HR-XRDRAW": "an old Philips binary file",
}
_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_TWO_THETA = re.compile(r"2\s*-?\s*th|two\s*th|2θ|gonio|coupled|detector|^$", re.IGNORECASE)


def read(content: bytes, columns=None) -> list[Found] | None:
    """The scans of an instrument's file, by what it holds and not by its ending; None for text.

    Raises `NotAScan` if it is damaged, or holds something else.
    """
    for start, what in _OTHERS.items():
        if content.startswith(start):
            raise NotAScan(what)
    if content[:2] == b"PK":
        with reading.damage_means("an archive"):
            return _archive(content, columns)
    kind, reader = "a .raw file", _RAW.get(content[:4])
    if b"<xrdMeasurements" in content[:4096].replace(b"\0", b""):
        kind, reader = "an .xrdml file", _xrdml
    if not reader:
        return None
    limit(len(content), "bytes of data", MAX_CONTENT)
    with reading.damage_means(kind):
        found = list(reader(content))
        refuse_if(not found, f"{kind} without a scan", "Export the scan again")
        return found


class _PlainTree(ElementTree.TreeBuilder):
    """XML without a document type: entities that unfold into gigabytes are defined there."""

    def doctype(self, name, public, system):
        raise NotAScan("XML with entity definitions, which no instrument writes")


def _tree(content: bytes) -> ElementTree.Element:
    limit(max(content.count(b"<"), content.count(b"<\0")), "elements of XML")
    return ElementTree.fromstring(content, ElementTree.XMLParser(target=_PlainTree()))


def _axis(name: str) -> str:
    """The axis of a scan by the name that an instrument gives it."""
    return "2theta" if _TWO_THETA.search(name) else name


def _numbers(element, name: str) -> np.ndarray:
    """The numbers in the first element of this name inside another, none if there is none."""
    words = (element.findtext(f"{{*}}{name}") or "").split()
    limit(len(words), "numbers")
    return np.array(words, dtype=float)


def _wavelength(tree: ElementTree.Element, length: str, anode: str) -> float | str | None:
    """The wavelength in Å, or else the anode, from the elements of these names."""
    element = tree.find(f".//{{*}}{length}")
    if element is not None and (value := float(element.get("Value") or element.text or 0)):
        return value * (10 if "nm" in (element.get("unit"), element.get("Unit")) else 1)
    return tree.findtext(f".//{{*}}{anode}")


def _need_degrees(unit: str | None, name: str) -> None:
    if unit not in (None, name):
        raise NotAScan(f"angles in {ascii(unit[:20])} instead of degrees")


def _xrdml(content: bytes) -> Iterator[Found]:
    for measurement in _tree(content).iterfind("{*}xrdMeasurement"):
        wavelength = _wavelength(measurement, "kAlpha1", "anodeMaterial")
        for scan in measurement.iterfind("{*}scan"):
            points = scan.find("{*}dataPoints")
            if points is None:
                raise NotAScan("an .xrdml file without dataPoints, as no instrument writes it")
            # Counts are what was counted; intensities have the attenuator's factor in them.
            counts = _numbers(points, "intensities")
            if points.find("{*}intensities") is None:
                counts = _numbers(points, "counts")
                if (factors := _numbers(points, "beamAttenuationFactors")).size:
                    counts = counts * factors
            one = Found(np.arange(counts.size), counts, "fixed angles", wavelength, source=".xrdml")
            for axis in points.iterfind("{*}positions"):
                if axis.get("axis") == "2Theta" and axis.find("{*}commonPosition") is None:
                    _need_degrees(axis.get("unit"), "deg")
                    one.axis, one.x = "2theta", _numbers(axis, "listPositions")
                    if not one.x.size:
                        ends = (float(axis.findtext(f"{{*}}{e}Position")) for e in ("start", "end"))
                        one.x = np.linspace(*ends, counts.size)
            if not _TWO_THETA.search(name := scan.get("scanAxis") or ""):
                one.axis = name
            if scan.get("status") == "Aborted":
                one.warnings.append("The file says that the run was aborted.")
            yield one


class _Archive(zipfile.ZipFile):
    """A .zip archive, of which only so much is unpacked."""

    unpacked_bytes = 0

    def unpacked(self, name: str) -> bytes:
        # Other methods unpack a block at once, whatever its size.
        usual = self.getinfo(name).compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        refuse_if(not usual, "an archive packed in an unusual way", "Unpack and pack it as .zip")
        with self.open(name) as file:
            content = reading.bounded(file)
        self.unpacked_bytes += len(content)
        limit(self.unpacked_bytes, "bytes unpacked of an archive", 3 * MAX_CONTENT)
        return content


def _archive(content: bytes, columns) -> list[Found]:
    limit(content.count(b"PK\1\2"), "files in an archive", 10_000)  # more fill the memory
    with _Archive(io.BytesIO(content)) as archive:
        names = sorted(archive.namelist(), key=lambda name: (len(name), name))
        for part, reader, sign, kind in _PARTS:
            if parts := [name for name in names if re.search(part, name)]:
                if reader:
                    return [reader(archive, name) for name in parts]
                return _workbook(archive, parts, columns)
            what = f"a damaged {kind} without the part that holds the counts"
            advice = "Copy it from the instrument again, or export it as .xy"
            refuse_if(any(sign in name for name in names), what, advice)
    raise NotAScan("a .zip archive of other files", "Unpack it and name the scan in it")


def _brml(archive: _Archive, name: str) -> Found:
    """Each Datum holds columns: time, absorber, axes that move, counters."""
    tree = _tree(archive.unpacked(name))
    routes = [r for r in tree.iterfind(".//{*}DataRoute") if r.find("{*}Datum") is not None]
    refuse_if(not routes, "a .brml archive without counts", "Measure or export it again")
    route = next((r for r in routes if r.get("RouteFlag") == "Final"), routes[0])
    table = np.array([(d.text or "").split(",") for d in route.iterfind("{*}Datum")], dtype=float)
    start: dict[str, int] = {}
    for view in route.iterfind(".//{*}RawDataView"):
        kind = (view.get(_TYPE) or "").removesuffix("RawDataView")
        if kind == "Recorded" and int(view.get("Length") or 1) > 1:
            raise NotAScan("a .brml file of detector images, not of counts at angles")
        start.setdefault(kind, int(view.get("Start") or 0))
    scan = next(route.iterfind("{*}ScanInformation"), {})
    label = scan.get("VisibleName") or scan.get("ScanName") or ""
    wavelength = _wavelength(tree, "WaveLengthAlpha1", "TubeMaterial")
    axes = [axis.get("AxisName") or "" for axis in route.iterfind(".//{*}ScanAxisInfo")]
    column = start.get("Varying", 2) + (axes.index("TwoTheta") if "TwoTheta" in axes else 0)
    x, counts = table[:, column], table[:, start.get("Recorded", -1)]
    axis = "2theta" if "TwoTheta" in axes and np.ptp(x) else label or " ".join(axes) or "no axis"
    for unit in route.iterfind(".//{*}ScanAxisInfo/{*}Unit"):
        _need_degrees(unit.get("Base"), "Degree")
    found = Found(x, counts, axis, wavelength, label, ".brml")
    announced = int(route.findtext(".//{*}MeasurementPoints") or x.size)
    if x.size < announced:
        found.warnings.append(f"The run seems interrupted, at {x.size} of {announced} points.")
    return found


def _rasx(archive: _Archive, name: str) -> Found:
    """Angle, counts and the attenuator's factor; another file has the conditions."""
    lines = archive.unpacked(name).decode("utf-8-sig").strip().splitlines()
    limit(len(lines), "lines")
    x, counts, *factor = np.array([line.split() for line in lines], dtype=float).T
    found = Found(x, counts * (factor[0] if factor else 1), source=".rasx")
    found.label = name.rpartition("/")[0]
    conditions = re.sub(r"Profile(\d+)\.txt$", r"MesurementConditions\1.xml", name)
    if conditions in archive.namelist():
        tree = _tree(archive.unpacked(conditions))
        found.wavelength = _wavelength(tree, "WavelengthKalpha1", "TargetName")
        found.axis = _axis(tree.findtext(".//{*}ScanInformation/{*}AxisName") or "")
    return found


#: The parts of an archive that have the scans, others that tell its kind, and what it then is.
_PARTS = (
    (r"RawData\d+\.xml$", _brml, "DataContainer", ".brml archive"),
    (r"Profile\d+\.txt$", _rasx, "MesurementConditions", ".rasx archive"),
    (r"worksheets/sheet\d+\.xml$", None, "xl/", "Excel workbook"),
)
_CELL = re.compile(
    r'<(?:\w+:)?c r="([A-Z]{1,3})(\d{1,7})"([^<>]*)>'
    r"(?:<(?:\w+:)?f[^<>]*(?:/>|>[^<]*</(?:\w+:)?f>))?<(?:\w+:)?(?:v|is><(?:\w+:)?t)[^<>]*>([^<]*)<"
)


def _workbook(archive: _Archive, sheets: list[str], columns) -> list[Found]:
    """The first sheet of an Excel workbook that reads as a scan, its cells written as text."""
    entries, problems = [], []
    if "xl/sharedStrings.xml" in archive.namelist():
        strings = archive.unpacked("xl/sharedStrings.xml").decode("utf-8", "replace")
        entries = [re.findall(r"<t[^>]*>([^<]*)", entry) for entry in strings.split("<si>")[1:]]
    shared = [" ".join("".join(texts).split()) for texts in entries]
    for sheet in sheets:
        xml = archive.unpacked(sheet).decode("utf-8", "replace")
        rows: dict[int, dict[int, str]] = {}
        for letters, row, attributes, value in _CELL.findall(xml):
            place = sum(26**i * (ord(c) - 64) for i, c in enumerate(reversed(letters)))
            value = shared[int(value)] if 't="s"' in attributes else value
            rows.setdefault(int(row), {})[place] = html.unescape(value).replace("\t", " ")
        ends = [f(map(f, rows.values()), default=1) for f in (min, max)]
        limit(len(rows) * ends[1], "cells in a sheet", 10 * MAX_POINTS)
        lines = []
        for _, row in sorted(rows.items()):
            lines.append("\t".join(row.get(i, "") for i in range(ends[0], max(row) + 1)))
        try:
            return text.tables(lines, columns, source=".xlsx")
        except NotAScan as problem:
            problems.append(problem)
    raise problems[0]


def _at(content: bytes, word: str, at: int = 0):
    """One number: ``word`` is its form as in `struct` and its place after ``at``, or "=number"."""
    form, place = word[0], int(word[1:])
    return place if form == "=" else struct.unpack_from("<" + form, content, at + place)[0]


def _name(content: bytes, at: int, length: int) -> str:
    return content[at : at + length].split(b"\0")[0].decode("latin-1").strip()


def _counts(content: bytes, at: int, number: int, size: int = 4, form: str = "<f4") -> np.ndarray:
    """Numbers of four bytes, each at the begin of ``size`` bytes."""
    fewer = not (0 < number <= MAX_POINTS and at + number * size <= len(content))
    what = "a .raw file that holds fewer points than it announces: cut off, or unusual"
    refuse_if(fewer, what, "Copy it again, or export it as .xy")
    block = np.frombuffer(content, np.uint8, number * size, at).reshape(number, size)
    return block[:, :4].copy().view(form)[:, 0].astype(float)


#: Where things are in DIFFRAC's older versions: the number of ranges, the wavelength, the anode and
#: the first range; within a range the header's length, points, start, step, length of a supplement.
_LAYOUTS = {
    b"RAW ": "=1000 f72 =0 =4 =152 I0 f20 f8 =0",
    b"RAW2": "H4 f190 =188 =256 H0 H2 f16 f12 =0",
    b"RAW1": "I12 d624 =608 =712 I0 I4 d16 d176 I256",
}


def _raw(content: bytes) -> Iterator[Found]:
    """Versions 1, 2 and 3 (RAW1.01): ranges, each a header and its counts, one after the other."""
    words = _LAYOUTS[content[:4]].split()
    ranges, wavelength, tube, at = (_at(content, word) for word in words[:4])
    wavelength = wavelength or (_name(content, tube, 2) if tube else None)
    for _ in range(min(ranges, reading.MAX_SCANS)):
        if at + 152 >= len(content):
            return
        at += 4 if content[at : at + 4] == b"RAW " else 0
        header, points, start, step, more = (_at(content, word, at) for word in words[4:])
        counts = _counts(content, at + header + more, points)
        yield stepped(start, step, counts, wavelength=wavelength, source=".raw")
        at += header + more + 4 * points


def _raw4(content: bytes) -> Iterator[Found]:
    """Version 4: 61 bytes, segments that state their lengths, then ranges with segments too."""
    wavelength, at = None, 61
    while (kind := _at(content, "I0", at)) not in (0, 160):
        if kind == 30:  # the tube
            wavelength = _at(content, "d80", at) or _name(content, at + 116, 4) or None
        at += max(8, _at(content, "I4", at))
    while at + 160 <= len(content) and _at(content, "I0", at) in (0, 160):
        name = _name(content, at + 32, 24)
        start, step, number = struct.unpack_from("<ddI", content, at + 72)
        size, header = struct.unpack_from("<II", content, at + 136)
        counts = _counts(content, at + 160 + header, number, max(4, size))
        said = {"axis": _axis(name), "label": name, "wavelength": wavelength}
        yield stepped(start, step, counts, **said, source=".raw version 4")
        at += 160 + header + max(4, size) * number


def _stoe(content: bytes) -> Iterator[Found]:
    """Stoe's WinXPOW, blocks of 512 bytes; the one before the counts says what they are."""
    at = 512 * (_at(content, "H476") - _at(content, "H474"))
    number, wavelength = _at(content, "H0", at - 478), _at(content, "f322") or None
    start, stop, step = (_at(content, "f0", at - place) for place in (468, 460, 452))
    if abs((stop - start) / step + 1 - number) > 1.5:
        raise ValueError("angles and counts do not fit together")
    counts = _counts(content, at, number, form="<u4")
    yield stepped(start, step, counts, wavelength=wavelength, source="Stoe .raw")


_RAW = {b"RAW4": _raw4, b"RAW_": _stoe, **dict.fromkeys(_LAYOUTS, _raw)}
