"""What readers of scan files hand back, what they say instead, and the limits that they keep."""

from __future__ import annotations

import contextlib
import gzip
import io
import re
from dataclasses import dataclass, field

import numpy as np

#: Limits far above any powder scan; below them a file takes less than 2 s and 200 MB of memory.
MAX_BYTES = 50_000_000  # of a file; archives may hold pictures beside the scan
MAX_CONTENT = 6_000_000  # of the text, XML or binary data that the numbers are taken from
MAX_POINTS = 300_000
MAX_SCANS = 1000  # in a file
MIN_POINTS = 10
#: What the first column may hold, and the unit in which it is handed on.
AXES = {"2theta": "2θ in degrees", "theta": "θ in degrees", "q": "q in 1/Å", "q_nm": "q in 1/nm"}
AXES["d"] = "d in Å"
_SAY = "Say what it is with axis='d', 'q', 'theta' or '2theta' (--axis)"


class NotAScan(ValueError):  # noqa: N818, it is an answer
    """Why a file gives no scan: what was found, and one thing to do."""

    def __init__(self, found: str, advice: str = "Export the scan as two columns of text"):
        super().__init__(found)
        self.found, self.advice = found, advice


def refuse_if(wrong, found: str, advice: str = "Export a whole 2θ scan of a powder") -> None:
    """Raise `NotAScan` with these words if something is wrong."""
    if wrong:
        raise NotAScan(found, advice)


def limit(number: int, of: str, most: int = MAX_POINTS) -> None:
    """Refuse what is larger than any scan."""
    refuse_if(number > most, f"over {most} {of}, more than any scan has", "Export the scan alone")


@contextlib.contextmanager
def damage_means(kind: str):
    """What goes wrong inside is the fault of the file, ``kind`` such as "a .raw file"."""
    try:
        yield
    except (NotAScan, MemoryError):
        raise
    except Exception as error:  # a damaged file fails in many ways
        what = f"{kind} that is damaged or was cut off"
        raise NotAScan(what, "Copy or export it again") from error


@dataclass
class Found:
    """One scan as its file has it: ``x`` and ``y``, float (n,), in the order of the file.

    ``axis`` is a key of `AXES`, "" if the file does not say, or the name of another axis;
    ``wavelength`` Å, the symbol of an anode, or None; ``label`` tells it from other scans of the
    file; ``source`` is the format, and for tables the columns.
    """

    x: np.ndarray
    y: np.ndarray
    axis: str = ""
    wavelength: float | str | None = None
    label: str = ""
    source: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def stepped(start: float, step: float, counts, **said) -> Found:
    """A scan of equal steps, of which a file lists the counts only."""
    counts = np.asarray(counts, dtype=float)
    return Found(start + step * np.arange(counts.size), counts, **said)


def bounded(file) -> bytes:
    """What a packed file holds; what its archive says of the size may be untrue."""
    unpacked = file.read(MAX_CONTENT + 1)
    limit(len(unpacked), "bytes unpacked of an archive", MAX_CONTENT)
    return unpacked


def gunzipped(content: bytes) -> bytes:
    """The content of a .gz file; what else it is given, unchanged."""
    if content[:2] != b"\x1f\x8b":
        return content
    with damage_means("a .gz archive"), gzip.open(io.BytesIO(content)) as file:
        return bounded(file)


def chosen(found: list[Found], scan: int | None) -> Found:
    """The scan that was asked for, by its number from 1, or the only one."""
    found = [one for one in found if one.x.size]
    number = scan if scan is not None else len(found) == 1
    if 1 <= number <= len(found):
        return found[number - 1]
    listed = []
    for i, one in enumerate(found[:12], start=1):
        words = [one.label[:40]] * bool(one.label) + [f"{one.x[0]:g} to {one.x[-1]:g}"]
        words += [f"of {one.axis}"] * (one.axis not in ("", "2theta")) + [f"{one.x.size} points"]
        listed.append(f"{i}: {', '.join(words)}")
    listed = ascii("; ".join(listed))[1:-1] + "; …" * (len(found) > 12)
    what = "one scan" if len(found) == 1 else f"several scans in one file, {len(found)}"
    what = f"{what} ({listed})" if found else "no numbers"
    raise NotAScan(what, "Choose one with scan=N (--scan N)")


def checked_axis(one: Found, axis: str | None) -> str:
    """What the angles of a scan are, a key of `AXES`, unless they are no scan's.

    Angles below zero, which detectors of large range see too, are cut off here.
    """
    x, y, axis = one.x, one.y, axis or one.axis
    refuse_if(x.size != y.size, f"{x.size} angles for {y.size} intensities")
    finite = np.isfinite(x).all() and (np.abs(y) < 1e30).all()
    refuse_if(not finite, "NaN, infinity or numbers beyond 1e30", "Remove those lines")
    asked = "Say axis='q' for 1/Å or axis='q_nm' for 1/nm (--axis)"
    refuse_if(axis.startswith("q without"), axis, asked)
    kind = " (a rocking curve)" if re.search("omega|ω|rocking|^theta", axis.lower()) else ""
    refuse_if(axis and axis not in AXES, f"a scan along {axis}{kind}, not along 2θ")
    if -30 < x.min() < 0 and x.max() > 10 and np.count_nonzero(x > 0) > x.size / 2:
        one.warnings.append(f"{np.count_nonzero(x <= 0)} angles below zero were left out.")
        one.x, one.y = x, y = x[x > 0], y[x > 0]
    span = f"a first column from {x[0]:g} to {x[-1]:g}"
    most = {"": 180, "2theta": 180, "theta": 90}.get(axis, 1000)
    outside = x.min() < 0 or x.max() > most
    refuse_if(outside, f"{span}, beyond 0 to {most} degrees", f"{_SAY}, or export 2θ in degrees")
    for back in x[goes_back(x)]:
        raise NotAScan(f"angles that go back to {back:g} degrees", "Export one scan to a file")
    different = np.unique(x)
    number, steps = different.size, np.diff(different)
    refuse_if(number < MIN_POINTS, f"{number} different angles, fewer than {MIN_POINTS}")
    alike = np.abs(steps / np.median(steps) - 1) < 0.5  # a scan may have gaps, but not many
    peaks = steps.mean() > 0.05 and alike.mean() < 0.5
    peaks |= number < 300 and steps.std() > 0.6 * steps.mean() > 0.12
    refuse_if(peaks, f"{number} angles far and unevenly apart, a list of peaks")
    small, large = sorted([steps[: number // 10].sum(), steps[-(number // 10) :].sum()])
    grow = large > (3 if x[-1] < x[0] else 10) * small and number > 99 and x.max() < 60
    refuse_if(grow and not axis, f"{span} in steps that grow, perhaps d or a time", _SAY)
    refuse_if(y.max() <= 0, "no intensity above zero")
    return axis or "2theta"


def ordered(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points by increasing angle, repeated angles averaged, what is no number left out."""
    x, y = x[np.isfinite(x)], y[np.isfinite(x)]
    none = x.size < MIN_POINTS or y.max() <= 0
    refuse_if(none, "an axis that this wavelength cannot reach", "Check --axis and --wavelength")
    x, place, count = np.unique(x, return_inverse=True, return_counts=True)
    return x, np.bincount(place, y) / count


def goes_back(x: np.ndarray) -> np.ndarray:
    """Where the next of several scans begins: indices of points, (k,).

    Angles read back from an encoder jitter; a larger step back begins another scan.
    """
    steps = np.diff(x) * (-1 if x.size > 2 and np.median(np.diff(x)) < 0 else 1)
    return np.flatnonzero(steps < -10 * np.ptp(x) / max(1, steps.size)) + 1


def oddities(x: np.ndarray, y: np.ndarray) -> list[str]:
    """Sentences about intensities that look as if something went wrong while measuring."""
    found, last, top = [], int(np.flatnonzero(y)[-1]), np.flatnonzero(y == y.max())
    if y.size - 1 - last > max(20, y.size / 4) and np.count_nonzero(y[:last]) > last / 2:
        found.append(f"All counts beyond {x[last]:.2f} degrees are 0: the run seems interrupted.")
    if np.ptp(top) == top.size - 1 > 1 and y.max() > max(1000, 3 * np.median(y)):
        peak = f"The strongest peak, at {x[top[0]]:.2f} degrees, is flat on top, at {y.max():g}"
        means = "the detector seems saturated, and weaker phases look stronger than they are"
        found.append(f"{peak}: {means}.")
    return found
