"""Scans in text: columns of numbers, in all the ways of writing them, and what their names say."""

from __future__ import annotations

import re

import numpy as np

from . import columns, listings
from .reading import MAX_CONTENT, MAX_SCANS, MIN_POINTS, Found, NotAScan, damage_means, limit
from .wavelengths import stated

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?i:nan|inf|infinity)"
# A number must end at a separator, so a line can be matched in one way only: no backtracking.
_DATA_LINE = re.compile(rf'(?:[\s;,"]*(?:{_NUMBER})(?=[\s;,"]|$))+[\s;,"]*$')
_PARTLY = re.compile(rf"\s*(?:{_NUMBER})[\s;,]+(?:{_NUMBER})[\s;,]")
_LOOSE_COMMA = re.compile(r"(?<=\s),|,(?=\s)|,$", re.MULTILINE)
_TIGHT_COMMA = re.compile(r",(?=[\d.+-])(?<=[\d.],)")
_GROUPED = re.compile(r"(?<![\d,.])[+-]?\d{1,3}(?:,\d{3})+(?![\d,])")  # 1,091,000
_DATE = re.compile(r"(?<!\S)(\d{1,4}[/.-]\d{1,2}[/.-]\d{1,4}(?!\S)|\d{1,2}:\d{2}(?::\d{2})?\S*)")
_EMPTY = re.compile(r"(?<=\t)(?=\t|$)|(?<=;)(?=;|$)|(?<=,)(?=,|$)|^(?=[\t;,])")
_COMMENTS = ("#", "!", ";", "'", "%", "//", "*")
_MAX_LINE = 2000  # characters; longer lines hold no angle and intensity

#: What a header speaks of that holds columns of numbers, but no powder scan.
_ELSEWHERE = {
    "neutron data": r"\bneutrons?\b|\bHRPT\b|\bNumor\b|\bSINQ\b|time[- ]of[- ]flight|\bTOF\b",
    "a photoelectron spectrum (XPS)": r"\bXPS\b|kinetic energy|binding energy|photoelectron",
    "a Raman or infrared spectrum": r"raman (shift|spectr)|\bFT-?IR\b|transmittance",
    "a rocking curve or another scan of the sample's tilt": r"rocking ?curve"
    r"|((?<![\w/-])|scan ?(axis|type)\W{1,5})(omega|phi|chi|psi)([ -]scan|\s*$)",
    "a web page, perhaps a server's message": r"<html|<!doctype",
}


def read(content: bytes, chosen=None, sure: bool = False) -> list[Found]:
    """The scans of a text file in UTF-8, UTF-16 or Latin-1; see `tables` for those in columns.

    ``chosen`` are the columns of angle and intensity, numbers from 1 or names; ``sure`` if the user
    says what the angles are, whatever else the header speaks of. `NotAScan` if there is none.
    """
    limit(len(content), "bytes of text", MAX_CONTENT)
    marked = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    if marked or (len(content) > 20 and not any(content[1:200:2])):
        text = content.decode("utf-16" if marked else "utf-16-le", errors="replace")
    elif b"\0" in content[:4096]:
        raise NotAScan("binary data of a kind that is not known here")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("latin-1")
    lines = text.splitlines()
    limit(len(lines), "lines")
    head = "\n".join(line[:_MAX_LINE] for line in lines[:300])[:60_000]
    for what, words in _ELSEWHERE.items() if not sure else ():
        if found := re.search(words, head, re.IGNORECASE | re.MULTILINE):
            advice = "Give a powder scan, or say that it is one with axis='2theta' (--axis 2theta)"
            advice = "Fetch the file itself again" if "page" in what else advice
            raise NotAScan(f"what seems to be {what} ({ascii(found[0])} in its header)", advice)
    with damage_means("a text file of counts"):
        return listings.read("\n".join(lines), head) or tables(lines, chosen)


def tables(lines: list[str], chosen=None, source: str = "text") -> list[Found]:
    """The scans that stand in columns, one below or beside the other.

    Whether a comma parts columns or marks decimals is decided for the data as a whole:

    1. a comma beside a blank parts columns: ``5.00, 12.0`` and ``5,00, 12,3``;
    2. with a decimal point in the data, commas part columns: ``5.00,12.0``, unless another
       separator does and they part thousands: ``5.00;1,012``;
    3. without one, and with another separator, commas mark decimals: ``5,00 12`` or ``5,00;12,3``;
    4. with commas alone they part columns, ``10,523`` being 10° and 523 counts, unless the whole
       numbers before the first comma repeat, or the ones after it start with 0, as only decimals
       do: ``5,00,12`` is then 5.00° and 12 counts.
    """
    if not any(map(_is_data, lines)) and len(lines) < 1e5:
        lines = _DATE.sub("nan", "\n".join(lines)).split("\n")
    first = next((i for i, line in enumerate(lines) if _is_data(line)), None)
    if first is None:
        shown = next((line.strip() for line in lines if line.strip()), "")
        found = f"no line of numbers; it begins {ascii(shown[:40])}" if shown else "an empty file"
        raise NotAScan(found, "Export the scan as .xy text")
    partly = [line for line in lines[:first] if len(line) < _MAX_LINE and _PARTLY.match(line)]
    if len(partly) > 5:  # what follows is not the whole scan
        found = f"text among the numbers, as in {ascii(partly[0].strip()[:40])}"
        raise NotAScan(found, "Export the scan as two columns of numbers")
    end = next((i for i in range(first, len(lines)) if lines[i].startswith("##END")), None)
    lines = lines[:end]
    whole = _columns_of(lines[first:])
    if whole is None and any(map(_EMPTY.search, lines[first:])):
        whole = _columns_of([_EMPTY.sub("nan", line) for line in lines[first:]])
    found = []
    for begin, block in [(first, [])] if whole else _blocks(lines, first):
        # One line may precede the columns, such as the number of points or start, step and stop.
        table = whole or _columns_of(block) or _columns_of(block[1:])
        if table is None:
            raise NotAScan(_unevenness(block))
        header = [line.strip() for line in lines[:begin]]
        pairs = [line[2:].partition("=") for line in header if line.startswith("##")]
        metadata = {key.strip().upper(): value.strip() for key, sign, value in pairs if sign}
        wavelength = stated(header[:400] + header[400:][-100:])
        for one in columns.scans(table, columns.names(header, len(table), chosen), chosen):
            one.wavelength = one.wavelength or wavelength
            one.metadata, one.source = metadata, f"{source}, {one.source}"
            found.append(one)
    limit(len(found), "scans", MAX_SCANS)
    return found


def _is_data(line: str) -> bool:
    return len(line) <= _MAX_LINE and _DATA_LINE.match(line) is not None


def _kind(line: str) -> str:
    return "d" if _is_data(line) else "t" if line and not line.startswith(_COMMENTS) else " "


def _columns_of(lines: list[str]) -> list[list[str]] | None:
    """Columns of words by the rule of `tables`; None if they are not alike and all numbers."""
    text = "\n".join(filter(None, (line.strip(" \t").rstrip(";, \t") for line in lines)))
    try:
        columns = None if "_" in text else _cut(text.replace('","', '";"').replace('"', ""))
        for column in columns[:2] if columns else ():
            list(map(float, column))  # which would take 1_000
    except ValueError:
        return None
    return columns


def _cut(text: str) -> list[list[str]] | None:
    """The text cut into columns of words by the rule that `tables` states; None if that fails."""
    if not _TIGHT_COMMA.search(text):
        return _even(text)
    bare = re.sub(r"[^\S\n]*,[^\S\n]*", ",", text)
    only_commas = not re.search(r"[;\s]", bare.replace("\n", ""))
    if "." in text:
        plain = _GROUPED.sub(lambda number: number[0].replace(",", ""), text)
        fine = only_commas or not _TIGHT_COMMA.search(plain)
        return _even(bare if only_commas else plain) if fine else None
    if bare != text or not only_commas:
        columns = _even(_LOOSE_COMMA.sub(" ", text).replace(",", "."))
        return columns or (_even(bare) if only_commas else None)
    columns = _even(text)
    if columns and all(map(str.isdecimal, columns[0] + columns[1])):
        whole, part = columns[:2]
        angles = list(map(".".join, zip(whole, part, strict=True)))
        steps = np.diff(np.array(angles, dtype=float))
        repeated = len(set(whole)) < len(whole) and ((steps > 0).all() or (steps < 0).all())
        if repeated or any(len(digits) > 1 and digits[0] == "0" for digits in part):
            # Three columns: the intensities are whole numbers; four: they have decimals too.
            intensity = list(map(".".join, zip(*columns[2:4], strict=True)))
            return [angles, intensity] if 2 < len(columns) < 5 else None
    return columns


def _even(text: str) -> list[list[str]] | None:
    """Columns of words parted by any separator; None if uneven or fewer than two columns."""
    words = text.replace(",", " ").replace(";", " ").replace("\n", " | ").split()
    width = words.index("|") if "|" in words else len(words)
    # Every line has the same number of words if each line's end is where it should be.
    ends = words[width :: width + 1]
    even = len(ends) == text.count("\n") and (len(words) + 1) % (width + 1) == 0
    if width < 2 or not even or set(ends) > {"|"}:
        return None
    return [words[i :: width + 1] for i in range(width)]


def _blocks(lines: list[str], first: int) -> list[tuple[int, list[str]]]:
    """Runs of number lines, comments left out, each with the line at which it starts.

    Runs much shorter than the longest, such as a list of peaks below the scan, are left out.
    """
    lines = [""] * first + [line.strip() for line in lines[first:]]
    kinds, blocks = "".join(map(_kind, lines)), []
    for run in re.finditer("d[d ]*", kinds):
        blocks.append((run.start(), [lines[i] for i in range(*run.span()) if kinds[i] == "d"]))
        # Only a single line right between two number lines is a damaged one.
        if len(blocks[-1][1]) > 2 and kinds[run.end() - 1 : run.end() + 2] == "dtd":
            found = f"{ascii(lines[run.end()][:40])} on line {run.end() + 1}, amid the data"
            raise NotAScan(found, "Repair or delete that line")
    longest = max(len(block) for _, block in blocks)
    return [b for b in blocks if len(b[1]) >= max(min(MIN_POINTS, longest), longest / 10)]


def _unevenness(block: list[str]) -> str:
    """Why lines of numbers do not form columns."""
    widths = [len(re.split(r"[\s;,]+", line.strip(' \t;,"'))) for line in block]
    usual = max(set(widths), key=widths.count)
    if usual == 1:
        return "one column only, and no line that states start, step and stop"
    if odd := [line for line, width in zip(block, widths, strict=True) if width != usual]:
        return f"lines with different numbers of columns, such as {ascii(odd[0][:40])}"
    line = ascii(block[0][:40])
    return f"commas, as in {line}: do they mark decimals (of one column only), thousands or columns"
