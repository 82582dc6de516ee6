"""Measured scans: from the files that diffractometers and databases write to `Scan`."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import tempfile
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from .errors import ScanError

#: Limits far above any powder scan; below them a file takes less than 2 s and 200 MB of memory.
MAX_BYTES = 50_000_000  # of a file; archives may hold pictures beside the scan
MAX_CONTENT = 6_000_000  # of the text, XML or binary data that the numbers are taken from
MAX_POINTS = 300_000
MIN_POINTS = 10
EXPECTED = "a powder scan, lines of two numbers: 2θ in degrees, then intensity"

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?i:nan|inf|infinity)"
# A number must end at a separator, so a line can be matched in one way only: no backtracking.
_DATA_LINE = re.compile(rf'(?:[\s;,"]*(?:{_NUMBER})(?=[\s;,"]|$))+[\s;,"]*$')
_LOOSE_COMMA = re.compile(r"(?<=\s),|,(?=\s)|,$", re.MULTILINE)
_TIGHT_COMMA = re.compile(r",(?=[\d.+-])(?<=[\d.],)")
_COMMENTS = ("#", "!", ";", "'", "%", "//", "*")
_MAX_LINE = 2000  # characters; longer lines hold no angle and intensity
# The reader computes what stands in a unit's place, powers of powers too.
_UNIT = re.compile(r"[A-Za-zµμÅ°%/ ]{0,20}")
_WAVELENGTH = re.compile(
    r"(?:wave[\s_]?length|wellenl.nge|lambda|λ)[^,;]{0,40}?(\d+[.,]\d{2,})\s*(nm\b)?", re.IGNORECASE
)


@dataclass(frozen=True, eq=False)
class Scan:
    """One powder scan. The arrays are copies and cannot be written to.

    Attributes
    ----------
    two_theta : float64 array, shape (n,), degrees, finite, strictly increasing
    intensity : float64 array, shape (n,), finite, counts or any other unit
    name : the file's name without its ending, or any other title
    path : the file, if there is one
    wavelength : Å, None if the file does not state it
    metadata : what the file's ``##KEY=value`` lines state, keys in capitals

    Raises
    ------
    ScanError
        If the arrays are not as described.
    """

    two_theta: np.ndarray
    intensity: np.ndarray
    name: str = ""
    path: Path | None = None
    wavelength: float | None = None
    metadata: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        for key in ("two_theta", "intensity"):
            values = np.array(getattr(self, key), dtype=np.float64)
            values.flags.writeable = False
            object.__setattr__(self, key, values)
        object.__setattr__(self, "metadata", dict(self.metadata))
        x, y = self.two_theta, self.intensity
        if x.ndim != 1 or x.shape != y.shape or x.size == 0:
            raise ScanError(
                "A scan needs one intensity for each angle; "
                f"got arrays of the shapes {x.shape} and {y.shape}."
            )
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise ScanError("A scan's numbers must be finite; got NaN or infinity. Remove them.")
        if (np.diff(x) <= 0).any():
            raise ScanError("A scan's angles must increase from point to point. Sort them.")
        if self.wavelength is not None and not 0.01 <= self.wavelength <= 100:
            raise ScanError(f"A wavelength in Å was expected; got {self.wavelength}.")

    def __len__(self) -> int:
        return self.two_theta.size


def read_scan(path, wavelength: float | None = None) -> Scan:
    """Read a powder scan from a text or instrument file, whatever its ending says.

    Text and RRUFF files are read here; .xrdml, .brml, .rasx and Bruker's .raw (version 4) through
    the package fairmat-readers-xrd, with the wavelength that they state.

    Columns may be parted by commas, semicolons, tabs or blanks; the first is 2θ, the second
    intensity, others (a standard deviation) are left out. Headers, comments and text after the
    data are passed over. Descending angles are turned round, repeated angles averaged.

    Whether a comma parts columns or marks decimals is decided for the data as a whole:

    1. a comma beside a blank parts columns: ``5.00, 12.0`` and ``5,00, 12,3``;
    2. with a decimal point in the data, commas part columns: ``5.00,12.0``;
    3. without one, and with another separator, commas mark decimals: ``5,00 12`` or ``5,00;12,3``;
    4. with commas alone they part columns, ``10,523`` being 10° and 523 counts, unless the whole
       numbers before the first comma repeat, or the ones after it start with 0, as only decimals
       do: ``5,00,12`` is then 5.00° and 12 counts.

    Parameters
    ----------
    path : the file
    wavelength : float, Å, optional
        Used instead of what the file states.

    Raises
    ------
    ScanError
        If the file cannot be read or is no scan. No other error comes from a file's content.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise ScanError(f"{path} is a folder; expected a file with {EXPECTED}.")
        if not path.exists():
            raise ScanError(f"There is no file {path}; check the name and the folder.")
        if not path.is_file():
            raise ScanError(f"{path} is not an ordinary file; expected {EXPECTED}.")
        _check_size(path.stat().st_size, path)
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, ScanError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise ScanError(f"{path} cannot be read: {reason}. Check its permissions.") from None
    return parse_scan(content, path, wavelength)


def parse_scan(content: bytes, path, wavelength: float | None = None) -> Scan:
    """Like `read_scan`, for a file's content; ``path`` gives the name and is not opened."""
    path = Path(path)
    _check_size(len(content), path)
    kind = _instrument_kind(content)
    if kind:
        return _instrument_scan(content, kind, path, wavelength)
    if len(content) > MAX_CONTENT:
        raise _too_long(path, f"{len(content) / 1e6:.0f} MB of text")
    lines = _text(content, path).splitlines()
    if len(lines) > MAX_POINTS:
        raise _too_long(path, f"{len(lines)} lines")
    first = next((i for i, line in enumerate(lines) if _is_data(line)), None)
    if first is None:
        shown = next((line.strip() for line in lines if line.strip()), "")
        found = f"no line of numbers; it begins {ascii(shown[:40])}" if shown else "an empty file"
        raise _error(path, found, "Export the scan as .xy text")
    ends = (i for i, line in enumerate(lines) if line.startswith("##END") and i > first)
    end = next(ends, len(lines))
    table = _table(lines[first:end])
    if table is None:
        first, block = _largest_block(lines[:end], first, path)
        # One line may precede the columns, such as the number of points or start, step and stop.
        table = next((t for t in map(_table, (block, block[1:])) if t is not None), None)
        if table is None:
            raise _error(path, _unevenness(block))
    two_theta, intensity = _ordered(*table, path)
    header = [line.strip() for line in lines[:first]]
    pairs = [line[2:].partition("=") for line in header if line.startswith("##")]
    metadata = {key.strip().upper(): value.strip() for key, sign, value in pairs if sign}
    wavelength = _stated_wavelength(header) if wavelength is None else wavelength
    return Scan(two_theta, intensity, _title(path), path, wavelength, metadata)


def _title(path: Path) -> str:
    """The file's name without its ending, as text that can be shown, whatever its bytes are."""
    return os.fsencode(path.stem).decode("utf-8", "replace")


def _instrument_kind(content: bytes) -> str | None:
    """The ending of the instrument format that a file's content shows, None for text."""
    if content[:4] == b"RAW4":
        return ".raw"
    if content[:2] == b"PK":
        if content.count(b"PK\1\2") > 10_000:  # so many members fill the memory
            return None
        try:
            names = zipfile.ZipFile(io.BytesIO(content)).namelist()
        except Exception:  # a damaged directory fails in many ways
            return None
        if any(name.endswith("RawData0.xml") for name in names):
            return ".brml"
        return ".rasx" if any(name.endswith("Profile0.txt") for name in names) else None
    return ".xrdml" if b"<xrdMeasurements" in content[:4096] else None


def _instrument_scan(content: bytes, kind: str, path: Path, wavelength) -> Scan:
    """A scan from an instrument's own format.

    The reader may fail in any way on a damaged file; whatever it raises becomes a ScanError.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from fairmat_readers_xrd import readers
    except ImportError:
        raise ScanError(
            f"{path} is a {kind} file; reading it needs the package fairmat-readers-xrd: "
            "pip install fairmat-readers-xrd, or export the scan as .xy text."
        ) from None
    read = {
        ".xrdml": readers.read_panalytical_xrdml,
        ".brml": readers.read_bruker_brml,
        ".rasx": readers.read_rigaku_rasx,
        ".raw": readers.read_bruker_raw,
    }[kind]
    logging.getLogger("fairmat_readers_xrd").setLevel(logging.CRITICAL)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            warnings.catch_warnings(),
            contextlib.redirect_stdout(None),  # the reader prints there, among our results
        ):
            warnings.simplefilter("ignore")
            # NumPy stops at what is no number, and the reader would stretch the angles.
            warnings.filterwarnings("error", "string or file could not be read")
            copy = Path(folder) / f"scan{kind}"
            copy.write_bytes(_checked(content, kind, path))
            data = read(str(copy))
        if data is None:
            raise ValueError("its header and its data do not fit together")
        angles, counts = data["2Theta"], data["intensity"]
        if str(getattr(angles, "units", "degree")) not in ("degree", "dimensionless"):
            raise ValueError(f"its angles are in {angles.units}")
        angles, counts = (
            np.ravel(np.asarray(getattr(values, "magnitude", values), dtype=float))
            for values in (angles, counts)
        )
        stated = (data.get("metadata", {}).get("source") or {}).get("kAlpha1")
        if isinstance(stated, list):  # how the reader says that there is none
            stated = None
        if hasattr(stated, "units") and not stated.dimensionless:
            stated = stated.to("angstrom")
        stated = float(getattr(stated, "magnitude", stated)) if stated is not None else None
    except ScanError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise _error(path, f"a damaged or unusual {kind} file ({reason})") from None
    if angles.size != counts.size or not angles.size:
        raise _error(path, f"{angles.size} angles for {counts.size} intensities")
    two_theta, intensity = _ordered(angles, counts, path)
    if wavelength is None and stated and 0.1 < stated < 10:
        wavelength = stated
    return Scan(two_theta, intensity, _title(path), path, wavelength)


def _checked(content: bytes, kind: str, path: Path) -> bytes:
    """What the reader needs of an instrument's file, after a look for what would choke it."""
    if kind in (".xrdml", ".raw"):
        if len(content) > MAX_CONTENT:
            raise _too_long(path, f"{len(content) / 1e6:.0f} MB of data")
        if kind == ".xrdml":
            _check_xml(content, path)
        return content
    first, others = {
        ".brml": ("RawData0.xml", ("DataContainer.xml", "RawData")),
        ".rasx": ("Profile0.txt", ("Profile", "MesurementConditions")),
    }[kind]
    needed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(needed, "w") as new:
        members = [m for m in archive.infolist() if any(part in m.filename for part in others)]
        if sum(first[:-5] in member.filename for member in members) > 1:
            raise _error(path, "several scans in one file", "Export one scan to a file")
        if len(members) != 2:
            raise ValueError("expected one file of data and one of conditions in the archive")
        for member in members:
            # Other methods unpack a block at once, whatever its size.
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("an archive packed in an unusual way")
            with archive.open(member) as file:  # what the archive says of sizes may be untrue
                unpacked = file.read(MAX_CONTENT + 1)
            if len(unpacked) > MAX_CONTENT:
                raise _too_long(path, f"an archive of over {MAX_CONTENT / 1e6:.0f} MB unpacked")
            if not member.filename.endswith(".txt"):
                _check_xml(unpacked, path)
            new.writestr(member.filename, unpacked)
    return needed.getvalue()


class _PlainTree(ElementTree.TreeBuilder):
    """XML without a document type: entities that unfold into gigabytes are defined there."""

    def doctype(self, name, public, system):
        raise ValueError("XML with entity definitions, which no instrument writes")


def _check_xml(content: bytes, path: Path) -> None:
    """Refuse XML of which the reader would make more than stands in it."""
    if content.count(b"<") > MAX_POINTS:
        raise _too_long(path, "XML of very many elements")
    tree = ElementTree.fromstring(content, ElementTree.XMLParser(target=_PlainTree()))
    number: dict[str, int] = {}
    for element in tree.iter():
        name = element.tag.rpartition("}")[2]
        number[name] = number.get(name, 0) + 1
        units = [v for key, v in element.attrib.items() if key.lower() in ("unit", "base")]
        if name.endswith("Unit"):
            units.append(element.text or "")
        for unit in units:
            if not _UNIT.fullmatch(unit):
                raise ValueError(f"the unit {ascii(unit[:30])}")
    references = len(tree.findall(".//{*}RawDataReferenceList/{*}string"))
    if number.get("scan", 0) > 1 or references > 1:
        raise _error(path, "several scans in one file", "Export one scan to a file")
    # The reader makes an array of the stated length for each axis.
    if max(number.get("positions", 0), number.get("ScanAxisInfo", 0)) > 20:
        raise ValueError("more axes than a diffractometer has")
    for name in ("intensities", "counts", "listPositions"):
        for element in tree.iterfind(f".//{{*}}{name}"):
            if len(element.text or "") > 10 * MAX_POINTS:
                raise _too_long(path, f"{name} of {len(element.text)} characters")
    points = tree.findtext(".//{*}MeasurementPoints")
    if points is not None and int(points) != number.get("Datum", 0):
        raise ValueError(f"{points} points announced, {number.get('Datum', 0)} found")


def _check_size(size: int, path: Path) -> None:
    if size > MAX_BYTES:
        raise ScanError(
            f"{path} has {size / 1e6:.0f} MB; no scan is expected to be larger than "
            f"{MAX_BYTES / 1e6:.0f} MB. Export the scan alone."
        )


def _error(path, found, advice="Export the scan as two columns of text") -> ScanError:
    return ScanError(f"{path}: expected {EXPECTED}; found {found}. {advice}.")


def _too_long(path, found) -> ScanError:
    return _error(path, f"{found}, more than any scan has", "Export the scan alone")


def _is_data(line: str) -> bool:
    return len(line) <= _MAX_LINE and _DATA_LINE.match(line) is not None


def _text(content: bytes, path: Path) -> str:
    """The content as text: UTF-8, UTF-16 or Latin-1."""
    start = content[:4096]
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    if len(start) > 20 and not any(start[1:200:2]):
        return content.decode("utf-16-le", errors="replace")
    if b"\0" in start or start[:2] == b"PK":
        raise _error(path, "binary data that is no .xrdml, .brml, .rasx or .raw of version 4")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _table(lines: list[str]) -> np.ndarray | None:
    """Angle and intensity, shape (2, n); None if the lines are not all alike and all numbers."""
    text = "\n".join(lines)
    columns = None if _TIGHT_COMMA.search(text) else _columns(text)
    if columns is None:
        stripped = (line.strip(" \t").rstrip(";, \t") for line in lines)
        columns = _columns("\n".join([line for line in stripped if line]))
    if columns is None or "_" in text:  # float() would take 1_000
        return None
    try:
        return np.array([list(map(float, column)) for column in columns[:2]])
    except ValueError:
        return None


def _columns(text: str) -> list[list[str]] | None:
    """The text cut into columns by the rule that `read_scan` states; None if that fails."""
    if '"' in text:
        text = text.replace('","', '";"').replace('"', "")
    if not _TIGHT_COMMA.search(text):
        return _cut(text)
    bare = re.sub(r"[^\S\n]*,[^\S\n]*", ",", text)
    only_commas = not re.search(r"[;\s]", bare.replace("\n", ""))
    if "." in text:  # with other separators too: thousands, or a mix that cannot be told apart
        return _cut(bare) if only_commas else None
    if bare != text or not only_commas:
        columns = _cut(_LOOSE_COMMA.sub(" ", text).replace(",", "."))
        return columns or (_cut(bare) if only_commas else None)
    columns = _cut(text)
    if columns and all(map(str.isdecimal, columns[0] + columns[1])):
        whole, part = columns[:2]
        angles = np.array(list(map(float, map(".".join, zip(whole, part, strict=True)))))
        up = angles[1:] > angles[:-1]
        ordered = up.all() or (angles[1:] < angles[:-1]).all()
        repeated = len(set(whole)) < len(whole)
        if ordered and repeated or any(len(digits) > 1 and digits[0] == "0" for digits in part):
            # Three columns: the intensities are whole numbers; four: they have decimals too.
            intensity = map(".".join, zip(*columns[2:4], strict=True))
            return [angles, intensity] if 2 < len(columns) < 5 else None
    return columns


def _cut(text: str) -> list[list[str]] | None:
    """Columns of words parted by any separator; None if uneven or fewer than two columns."""
    words = text.replace(",", " ").replace(";", " ").replace("\n", " | ").split()
    width = words.index("|") if "|" in words else len(words)
    # Every line has the same number of words if each line's end is where it should be.
    ends = words[width :: width + 1]
    even = len(ends) == text.count("\n") and (len(words) + 1) % (width + 1) == 0
    if width < 2 or not even or set(ends) > {"|"}:
        return None
    return [words[i :: width + 1] for i in range(width)]


def _largest_block(lines: list[str], first: int, path: Path) -> tuple[int, list[str]]:
    """The longest run of number lines, comments left out, and the line at which it starts."""
    blocks, text_at = [], None
    for i in range(first, len(lines)):
        line = lines[i].strip()
        if _is_data(line):
            if text_at == i - 1 and len(blocks[-1][1]) > 2 and blocks[-1][0] != text_at:
                found = f"{ascii(lines[text_at].strip()[:40])} on line {text_at + 1}, amid the data"
                raise _error(path, found, "Repair or delete that line")
            if text_at is not None or not blocks:
                blocks.append((i, []))
            blocks[-1][1].append(line)
            text_at = None
        elif line and not line.startswith(_COMMENTS):
            # Only a single line right between two number lines is a damaged one.
            text_at = i if text_at is None and _is_data(lines[i - 1]) else -1
    blocks.sort(key=lambda block: len(block[1]), reverse=True)
    if len(blocks) > 1 and len(blocks[1][1]) >= max(MIN_POINTS, len(blocks[0][1]) / 2):
        found = f"several blocks of numbers, at lines {blocks[0][0] + 1} and {blocks[1][0] + 1}"
        raise _error(path, found, "Export one scan to a file")
    return blocks[0]


def _unevenness(block: list[str]) -> str:
    """What is wrong with lines of numbers that do not form columns."""
    widths = [len(re.split(r"[\s;,]+", line.strip(' \t;,"'))) for line in block]
    usual = max(set(widths), key=widths.count)
    odd = next((line for line, width in zip(block, widths, strict=True) if width != usual), None)
    if usual == 1:
        return "one column only"
    if odd is not None:
        return f"lines with different numbers of columns, such as {ascii(odd[:40])}"
    return (
        f"commas, as in {ascii(block[0][:40])}, of which it is unclear whether they mark decimals, "
        "thousands or columns (if decimals, then there is one column only)"
    )


def _ordered(two_theta, intensity, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Check the numbers; bring the angles into increasing order, repeated ones averaged."""
    if not (np.isfinite(two_theta).all() and (np.abs(intensity) < 1e30).all()):
        raise _error(path, "NaN, infinity or numbers beyond 1e30", "Remove those lines")
    low, high = two_theta.min(), two_theta.max()
    if low < 0 or high > 180:
        found = f"a first column from {low:g} to {high:g}, beyond 0 to 180 degrees"
        raise _error(path, found, "Export 2θ in degrees as the first column")
    if two_theta[-1] < two_theta[0]:
        two_theta, intensity = two_theta[::-1], intensity[::-1]
    steps = np.diff(two_theta)
    if (steps <= 0).any():
        # Angles read back from an encoder jitter; a larger step back begins another scan.
        if -steps.min() > 10 * (high - low) / len(steps):
            back = two_theta[np.argmin(steps) + 1]
            found = f"angles that go back to {back:g} degrees"
            raise _error(path, found, "Export one scan to a file, in the order of its angles")
        two_theta, place, count = np.unique(two_theta, return_inverse=True, return_counts=True)
        intensity = np.bincount(place, intensity) / count
    if two_theta.size < MIN_POINTS:
        raise _error(path, f"{two_theta.size} different angles, fewer than {MIN_POINTS}")
    if intensity.max() <= 0:
        raise _error(path, "no intensity above zero")
    return two_theta, intensity


def _stated_wavelength(header: list[str]) -> float | None:
    """The wavelength in Å that a header states in words, if it is one used for diffraction."""
    for number, unit in (w for line in header for w in _WAVELENGTH.findall(line[:_MAX_LINE])):
        value = float(number.replace(",", ".")) * (10 if unit else 1)
        if 0.1 <= value <= 3:
            return value
    return None
