"""Which X-rays a text means: wavelengths in any unit, energies, and anodes by symbol or name."""

from __future__ import annotations

import re
from collections.abc import Iterable

ANODES = {
    "Cr": "chromium|chrome|chrom",
    "Fe": "iron|eisen",
    "Co": "cobalt|kobalt",
    "Ni": "nickel",
    "Cu": "copper|kupfer|cuivre|cobre",
    "Mo": "molybden\\w*|molybdän",
    "Ag": "silver|silber",
    "W": "tungsten|wolfram",
}
#: Å in one unit of length; X-rays of so many keV have a wavelength of HC / energy.
ANGSTROMS = {"å": 1, "a": 1, "angstrom": 1, "nm": 10, "pm": 0.01, "m": 1e10}
HC = 12.398420  # keV Å

_METAL = "|".join(f"{symbol}|(?i:{names})" for symbol, names in ANODES.items())
_K_ALPHA = r"(?i:[\s_-]*k[\s_-]*(?:α|alpha|a)[\s_-]*(?:1,?2?|2|\(?(?:mean|average)\)?)?)"
_WORD = r"(?i:anoden?|target|tube|x-?rays?|radiation|radiación|rad|strahlung|röhre|source)"
_NAMES = {s: re.compile(rf"(?i:{s}|{names}){_K_ALPHA}?") for s, names in ANODES.items()}
_ANODE = re.compile(
    rf"(?<![A-Za-z])({_METAL}|{'|'.join(ANODES).lower()}){_K_ALPHA}(?![A-Za-z])"
    rf"|(?<![A-Za-z]){_WORD}[\W_]{{0,30}}"
    rf"(?i:(?:name|material|element|type|metal)[\W_]{{1,30}})?({_METAL})\b"
    rf"|(?<![A-Za-z])({_METAL})[\s-]+{_WORD}"
)
_NUMBER = r"\d+(?:[.,]\d*)?(?:e[+-]?\d+)?"
_UNIT = r"(?:nm|pm|keV|[AÅ]ngstr[oö]ms?|Å|A|m|mm|µm|μm|um)"
_LENGTH = re.compile(
    r"(?:wave[\s_-]*length|wellenl\w{1,2}nge|longueur d.onde|longitud de onda|lamb?da|λ"
    r"|(?<![a-z])wl1?|k?(?:alpha|α)[\s_-]*1?)(?P<gap>[^,;]{0,40}?(?:[,;]\s*)?)"
    rf"(?P<number>\d+[.,]\d{{2,}}(?:e[+-]?\d+)?)(?:[\s\"')\]]*(?P<unit>{_UNIT})(?![a-z]))?",
    re.IGNORECASE,
)
_ENERGY = re.compile(
    r"(?:energy|energie|photons?|beam|x-?rays?)(?P<gap>.{0,30}?)(?P<number>\d+(?:[.,]\d+)?)"
    r"(?:\s*(?P<unit>keV))?",
    re.IGNORECASE,
)
_IN_GAP = re.compile(rf"[\[(\s_]({_UNIT})[\])\s:=,]", re.IGNORECASE)
_LIGHT = re.compile(r"laser|lamp|\bLEDs?\b|\bUV\b|raman", re.IGNORECASE)
_OTHERS = re.compile(
    r"filter|beta|detector|threshold|window|fluoresc|resolution|discriminat|absor|lambda/2|λ/2",
    re.IGNORECASE,
)
# What tubes give; a bare 0.15406 is one of these in nm.
_TUBES = (2.2897, 1.9360, 1.7890, 1.5406, 1.5418, 0.7093, 0.7107, 0.5594)


def anode(text: str) -> str | None:
    """The symbol of an anode: "Co" for "CoKa1", "Co Kα", "cobalt"; None if it names none."""
    return next((s for s, names in _NAMES.items() if names.fullmatch(text.strip())), None)


def in_angstrom(text: str) -> float | None:
    """A length in Å from "1.789", "0.1789 nm" or "17.4 keV"; None if it is none of these."""
    found = re.fullmatch(rf"\s*({_NUMBER})\s*([a-zµμÅåö]*)\s*", text, re.IGNORECASE)
    if not found:
        return None
    value, unit = float(found[1].replace(",", ".")), found[2].lower().replace("ö", "o")
    if unit == "kev":
        return HC / value if value else None
    factor = ANGSTROMS.get(unit.removesuffix("s") or "å")
    return value * factor if factor else None


def stated(lines: Iterable[str]) -> float | str | None:
    """The wavelength in Å that lines of a header state, or else the symbol of the anode.

    Filters, lasers and lamps have wavelengths too, and detectors energies: they are passed over.
    """
    symbol = None
    for line in lines:
        line = "" if _LIGHT.search(line[:2000]) else line[:2000]
        for pattern in (_LENGTH, _ENERGY):
            for found in pattern.finditer(line):
                value = _value(found, pattern is _ENERGY)
                around = line[max(0, found.start() - 12) : found.end()]
                if value and 0.1 <= value <= 3 and not _OTHERS.search(around):
                    return round(value, 6)
        for found in _ANODE.finditer(line) if symbol is None else ():
            if not _OTHERS.search(line[found.start() : found.end() + 10]):
                symbol = symbol or anode(next(filter(None, found.groups())))
    return symbol


def _value(found: re.Match, energy: bool) -> float | None:
    """A number with its unit, which stands behind it or in brackets before it, in Å."""
    gap, unit = found["gap"], found["unit"]
    if not unit:
        inside = _IN_GAP.search(gap + " ")
        unit = inside[1] if inside else "keV" if energy and "kev" in gap.lower() else ""
    if energy and unit.lower() != "kev":
        return None
    value = in_angstrom(f"{found['number']} {unit}")
    if unit or value is None:
        return value
    nm = any(abs(10 * value - tube) < 2e-3 for tube in _TUBES)
    return value * (1e10 if value < 1e-8 else 10 if nm else 1)  # m, as pyFAI writes it, nm or Å
