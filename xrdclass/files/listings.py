"""Text formats of programs that list counts without their angles, several ranges, or loops."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import numpy as np

from .reading import MAX_POINTS, MAX_SCANS, Found, NotAScan, refuse_if, stepped
from .wavelengths import stated

_N = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"  # in one way only
_THREE = r"(?P<start><N>){0}(?P<{1}><N>){0}(?P<{2}><N>)"
#: Headers that state start, step and stop, each pattern after the one before; then come the counts.
_COUNTS = {
    "Philips .udf": (
        r"^DataAngleRange,\s*(?P<start><N>),\s*(?P<stop><N>)",
        r"^ScanStepSize,\s*(?P<step><N>)",
        r"^RawScan[^\n]*\n",
    ),
    "Sietronics .cpi": (
        r"\ASIETRONICS[^\n]*\n\s*" + _THREE.format(r"\s+", "stop", "step"),
        r"\s+(?P<tube>\w{2}\s+<N>)",
        r"^SCANDATA\s*\n",
    ),
    "Rigaku .asc": (
        *(rf"^[^\w\n]{{0,9}}{key}\w*\W{{1,20}}(?P<{key}><N>)" for key in ("start", "stop", "step")),
        r"\n(?=[ \t]*<N>[\s,;])",
    ),
    "MDI": (
        r"^\s{0,99}(?P<start><N>)\s+(?P<step><N>)\s+<N>\s+(?P<tube>(?:[a-z]{1,2}\s+)?<N>)\s+"
        r"(?P<stop><N>)\s+\d+[^\n]*\n",
    ),
    "counts without angles": (
        "^[ \t]*" + _THREE.format("[ \t,]+", "step", "stop") + r"(?P<more>[ \t,][^\n]*)?\n",
    ),
}


def read(text: str, head: str) -> list[Found]:
    """The scans of a file in one of these formats; [] if it is in none of them."""
    for sign, reader in _PROGRAMS.items():
        if re.search(sign, head, re.MULTILINE):
            return list(reader(text))
    for name, patterns in _COUNTS.items():
        first, *others = (re.compile(p.replace("<N>", _N), re.I | re.M) for p in patterns)
        for found in itertools.islice(first.finditer(head), 40):
            said = found.groupdict()
            for pattern in others:
                found = found and pattern.search(head, found.end())
                said |= found.groupdict() if found else {}
            if found and (one := _listed(text, found.end(), said, name)):
                one.wavelength = one.wavelength or stated(head[: found.end()].split("\n"))
                return [one]
    return []


def _listed(text: str, at: int, said: dict[str, str | None], name: str) -> Found | None:
    """The scan whose counts begin there; None if they are not as many as the header says."""
    start, *ends = (float(said[key]) for key in ("start", "step", "stop"))
    step, stop = sorted(ends)
    row = text[at : at + 200].lstrip().partition("\n")[0].replace(",", " ").split()
    table = "more" in said and not said["more"] and len(row) == 3  # of three columns
    if table or not (0 < step <= (stop - start) / 9 and stop <= 180 and start >= -30):
        return None
    number = round((stop - start) / step) + 1
    counts = _numbers(text, at, number)
    if not number - 2 <= counts.size <= number + 9 + number // 50:
        return None
    tube = stated([f"wavelength {said['tube'].split()[-1]}"]) if said.get("tube") else None
    return stepped(start, step, counts[:number], wavelength=tube, source=name)


def _numbers(text: str, at: int, number: int = MAX_POINTS) -> np.ndarray:
    """The numbers from there on, up to the first line that holds anything else.

    Little more than the ``number`` expected are read: enough to see that there are others.
    """
    found: list[str] = []
    while at < len(text) and len(found) < 2 * number + 100:
        end = text.find("\n", at) + 1 or len(text) + 1
        body, slash, _ = text[at : end - 1].partition("/")  # a .udf file ends with it
        words = body.replace(",", " ").replace(";", " ").split()
        if not all(re.fullmatch(_N, word) for word in words):
            break
        found += words
        at = len(text) if slash else end
    return np.array(found, dtype=float)


def _table(rows: list[str]) -> np.ndarray:
    """The first three columns, (3, n)."""
    return np.array([row.split()[:3] for row in rows if row.strip()], dtype=float).T


def _sections(text: str, start: str):
    """What precedes each of several scans, the line or block that begins it, and what follows."""
    found, at = list(itertools.islice(re.finditer(start, text, re.MULTILINE), MAX_SCANS)), 0
    for part, after in itertools.zip_longest(found, found[1:]):
        yield text[at : part.start()], part, text[part.end() : after and after.start()]
        at = part.end()


def _gsas(text: str) -> Iterator[Found]:
    """GSAS: angles in hundredths of a degree; STD and ESD list counts, eight characters each."""
    said = {"wavelength": stated(re.split("^BANK ", text, flags=re.M)[0].split("\n")[:300])}
    for _, bank, body in _sections(text, r"^BANK +\d+ +(\d+) +\d+ +(\w+)(.*)$"):
        form = ["STD", *bank[3].split()][-1]
        form = form.upper() if form.isalpha() else "STD"
        what = f"GSAS data of the kind {bank[2]}: times of flight, or other than even steps"
        refuse_if(not bank[2].upper().startswith("CONS"), what, "Give a scan measured with X-rays")
        rows = [row for row in body.split("\n") if re.match(r"\s*[\d.+-]", row)]
        said |= {"axis": "2theta", "label": bank[0][:9].strip(), "source": f"GSAS {form}"}
        if form in ("FXY", "FXYE"):
            x, y = _table(rows)[:2]
            yield Found(x / 100, y, **said)
            continue
        number, every = int(bank[1]), 2 if form == "ESD" else 1
        counts = " ".join(rows).split()
        if len(counts) != every * number:  # STD: two characters number the detectors
            fields = [row.ljust(80)[i : i + 8] for row in rows for i in range(0, 80, 8)]
            counts = [f[2 if form == "STD" else 0 :] for f in fields if f.strip()]
        start, step = (float(word) / 100 for word in bank[3].split()[:2])
        yield stepped(start, step, counts[::every][:number], **said)


def _uxd(text: str) -> Iterator[Found]:
    """Bruker's UXD: each range has its own settings, then pairs of numbers or counts alone."""
    said = {"DRIVE": "COUPLED"}
    for head, part, body in _sections(text, r"^_(2?THETA)?(?:COUNTS|CPS)(TIME)?[ \t]*\n"):
        said |= dict(re.findall(r"^_(\w+) *= *'?([^'\n]*)", head, re.MULTILINE))
        width, numbers = 1 + bool(part[1]) + bool(part[2]), _numbers(body, 0)
        x, *y = numbers[: numbers.size // width * width].reshape(-1, width).T
        coupled = re.search("COUPLED|2THETA", said["DRIVE"].upper())
        axis = "2theta" if coupled else said["DRIVE"]
        tube = stated([f"wavelength {said.get('WL1')}", f"anode {said.get('ANODE')}"])
        if part[1]:
            yield Found(x, y[0], axis, tube, source=".uxd")
        else:
            start, step = float(said["START"]), float(said["STEPSIZE"])
            yield stepped(start, step, x, axis=axis, wavelength=tube, source=".uxd")


def _ras(text: str) -> Iterator[Found]:
    """Rigaku's .ras: angle, counts and the attenuator's factor of each scan."""
    for head, part, _ in _sections(text, r"^\*RAS_INT_START\s*\n([^*]*)\*RAS_INT_END"):
        axis = re.search(r'^\*MEAS_SCAN_AXIS_X_INTERNAL\s+"([^"]*)"', head, re.MULTILINE)
        name = axis[1] if axis and axis[1] and "TwoTheta" not in axis[1] else "2theta"
        x, counts, *factor = _table(part[1].split("\n"))
        wave = [line for line in head.split("\n") if "WAVE_LENGTH" in line or "TARGET" in line]
        yield Found(x, counts * (factor[0] if factor else 1), name, stated(wave), source=".ras")


#: Of a powder CIF: the columns of angles and of counts, as its keys begin.
_LOOP = (
    "_pd_(meas_2theta_scan|proc_2theta_corrected)",
    "_pd_(meas_(counts|intensity)_total|proc_intensity_(total|net))",
)


def _cif(text: str) -> Iterator[Found]:
    """A powder CIF: the loop of counts, and angles from it or from the range that is stated."""
    said = dict(re.findall(r"^[ \t]*(_\w+)[ \t]+(\S[^\n]*)", text, re.MULTILINE))
    neutrons = "neutron" in said.get("_diffrn_radiation_probe", "")
    refuse_if(neutrons, "what seems to be neutron data", "Give a scan measured with X-rays")
    waves = (f"{key} {said.get(f'_diffrn_radiation_{key}')}" for key in ("wavelength", "type"))
    start = r"^[ \t]*loop_[ \t]*\n((?:[ \t]*_\S+[^\n]*\n)+)([^_]*)"
    for _, loop, _ in _sections(text, start):
        keys = [line.split()[0] for line in loop[1].split("\n") if line.strip()]
        places = [[i for i, key in enumerate(keys) if re.match(column, key)] for column in _LOOP]
        if not places[1]:
            continue
        body = re.split(r"^[ \t]*(?:loop|data|#)", loop[2], maxsplit=1, flags=re.MULTILINE)[0]
        words = [re.sub(r"\(\d+\)$|^[.?]$", "", word) or "nan" for word in body.split()]
        x, y = (np.array(words[i[0] :: len(keys)], float) if i else None for i in places)
        if x is None:
            key = next(k for k in said if re.match("_pd_.*_2theta_range_min", k))[:-3]
            first, step = (float(said[key + end].split("(")[0]) for end in ("min", "inc"))
            x = stepped(first, step, y).x
        counted = np.isfinite(y)
        yield Found(x[counted], y[counted], "2theta", stated(waves), source="powder CIF")
        return
    what = "a CIF without a measured powder pattern, perhaps a crystal structure"
    raise NotAScan(what, "Give the scan; structures belong into a folder of phases")


_PROGRAMS = {
    r"^BANK\s": _gsas,
    r"^_(FILEVERSION|2?THETACOUNTS|COUNTS|STEPSIZE)\b": _uxd,
    r"\A\s*\*RAS_": _ras,
    r"\A([ \t]*(#[^\n]*)?\n)*[ \t]*data_\S*\s|^[ \t]*_pd_": _cif,
}
