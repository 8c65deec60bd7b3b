"""One cell of a sheet, read as a patient id, a date, or a number in its parameter's unit."""

from __future__ import annotations

import datetime
import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cardio_mlflow.sheets.units import canonical_unit, wrong_unit

MISSING: Final[frozenset[str]] = frozenset(
    ("", "na", "n/a", "#n/a", "#n/d", "#nv", "<na>", "nan", "none", "null", "missing", "-", "--", "–", "—",
     ".", "/")
)  # fmt: skip
"""Cell texts, in lower case, that stand for a value that was not measured."""
MARKS: Final = frozenset("*~≈=#?!()[]†‡")
"""Marks beside a number that are dropped, which a note reports."""
A_DATE: Final = (
    "a date or a time where a number belongs: spreadsheets turn 12.5 into 12 May. Format the column as "
    "numbers and write the value again"
)

_DIGITS: Final = r"[+\-−]?(?:\d[\d.,']*|[.,]\d+)(?:[eE][+\-]?\d+)?"
_CELL: Final = re.compile(rf"[\s*~≈=#?!(\[†‡]*({_DIGITS})(.*)", re.DOTALL)
_BOUND: Final = re.compile(r"\s*[<>≤≥]")
_ERROR: Final = re.compile(r"#[^\W\d_][\w/]*[!?]|##+|Err:\d+")
_MONTH: Final = (
    r"(?:jan|feb|f[ée]v|m[aä]r|mrz|a[pvb]r|ma[iygj]|jun|jul|juin|juil|giu|lug|aug|ago|ao[uû]|sep|set|o[ck]t"
    r"|ott|nov|de[czs]|d[ée]c|dic|ene|gen)[^\W\d]*\.?"
)
_DATE: Final = re.compile(
    rf"\d{{4}}([-/.])\d\d?\1\d\d?(?:[T ].*)?|\d\d?([-/.])\d\d?\2(?:\d\d|\d{{4}})(?: .*)?"
    rf"|\d\d?[-/. ]*{_MONTH}(?:[-/ ]*\d{{2,4}})?|{_MONTH}[-/ ]*\d{{1,4}}|\d\d?:\d\d.*",
    re.IGNORECASE,
)
_COMMA_DECIMALS: Final = re.compile(r"[+\-−]?(?:\d*,(?:\d{1,2}|\d{4,})|0+,\d+|\d{1,3}(?:\.\d{3})+,\d+)")
_POINT_DECIMALS: Final = re.compile(r"[+\-−]?(?:\d*\.(?:\d{1,2}|\d{4,})|0+\.\d+|\d{1,3}(?:,\d{3})+\.\d+)")
_THOUSANDS_OR_DECIMALS: Final = re.compile(r"[+\-−]?[1-9]\d{0,2}([.,])\d{3}(?!\d)")


@dataclass(frozen=True)
class Cell:
    """A cell as its user sees it.

    Attributes:
        text: what it shows, cleaned.
        value: the number or the date that a workbook keeps behind the text.
        fault: why its content cannot be taken, in words; empty if it can.
    """

    text: str
    value: float | datetime.datetime | None = None
    fault: str = ""


def clean_text(text: str) -> str:
    r"""Compose Unicode, turn every kind of space into a plain one, drop invisible characters, and strip.

    >>> clean_text("\ufeff 12\u00a0mmHg ")
    '12 mmHg'
    """
    if not (text.isascii() and text.isprintable()):
        normal = unicodedata.normalize("NFC", text)
        text = "".join(c for c in normal if c.isspace() or unicodedata.category(c)[0] != "C")
    return " ".join(text.split())


def canonical_id(text: str) -> str:
    """Spell a patient id as file names do: a whole number read from a spreadsheet loses its decimals.

    >>> canonical_id("12.0"), canonical_id("007"), canonical_id("P_1.0a")
    ('12', '007', 'P_1.0a')
    """
    return re.sub(r"^(\d+)[.,]0+$", r"\1", text)


def id_problem(cell: Cell, in_file_names: bool = True) -> str | None:
    """Say why a cell cannot be used as an id, also as part of a file name; None if it can.

    >>> id_problem(Cell("E-0012")) is None, id_problem(Cell("../x")) is None
    (True, False)
    """
    text = cell.text
    if cell.fault:
        return cell.fault
    if isinstance(cell.value, datetime.datetime):
        return "a date where a patient id belongs: format the column as text and write the id again"
    if not text:
        return "no patient id; if this row is no patient's, delete it"
    if _ERROR.fullmatch(text):
        return "an error of the spreadsheet where a patient id belongs"
    if in_file_names and (len(text) > 100 or text.startswith(".") or re.search(r'[/\\:*?"<>|]', text)):
        return (
            'a patient id may not start with a dot, hold any of / \\ : * ? " < > | or exceed 100 characters'
        )
    return None


def is_missing(text: str) -> bool:
    """Whether a cell stands for a missing value.

    >>> is_missing("n/a"), is_missing("0")
    (True, False)
    """
    return text.strip().lower() in MISSING


def decimal_mark(texts: Iterable[str]) -> str:
    """The decimal mark that the numbers of a sheet prove: a comma, a point, or nothing if both or neither.

    >>> decimal_mark(["12,5", "1,234"]), decimal_mark(["1,234"]), decimal_mark(["0.5", "0,5"])
    (',', '', '')
    """
    found = set()
    for text in texts:
        for mark, pattern in ((",", _COMMA_DECIMALS), (".", _POINT_DECIMALS)):
            if mark in text and pattern.fullmatch(text):
                found.add(mark)
    return found.pop() if len(found) == 1 else ""


def cell_number(cell: Cell, units: tuple[str, ...] = (), decimal: str = "") -> float:
    """Read a number from a cell; it raises as `parse_number`."""
    if cell.fault:
        raise ValueError(cell.fault)
    if isinstance(cell.value, float):
        return cell.value
    if cell.value is None:
        return parse_number(cell.text, units, decimal)
    raise ValueError(A_DATE)


def parse_number(text: str, units: tuple[str, ...] = (), decimal: str = "") -> float:
    """Read a number, with a decimal point or comma, from a cell that may hold stray characters.

    Marks around the number ("14*", "~12", "(8)") and one of the given units behind it are dropped.
    A missing marker gives NaN. A bound such as "<5" is refused: it is not a measured value, and
    only the user can say whether to leave it out. So is "1,234", unless the sheet's decimal mark is known
    to be the comma, and "1.234" if it is; ``decimal`` is the sheet's `decimal_mark`.

    Raises:
        ValueError: the reason, in words that do not repeat the cell.

    >>> parse_number("12,5 mmHg", ("mmHg",)), parse_number(" 14*"), parse_number("1,234.5")
    (12.5, 14.0, 1234.5)
    """
    if is_missing(text):
        return math.nan
    if _BOUND.match(text):
        raise ValueError("a bound (< or >) is not a value: write the number, or leave the cell empty")
    if _ERROR.fullmatch(text):
        raise ValueError("an error of the spreadsheet: mend the formula, or leave the cell empty")
    if _DATE.fullmatch(text):
        raise ValueError(A_DATE)
    match = _CELL.fullmatch(text)
    if match is None:
        raise ValueError("not a number")
    _check_rest(match.group(2), units)
    unclear = _THOUSANDS_OR_DECIMALS.fullmatch(match.group(1))
    if unclear and (unclear.group(1) == ",") != (decimal == ","):
        raise ValueError(
            f"three digits behind a {'comma' if unclear.group(1) == ',' else 'point'} can be thousands or "
            "decimals: write the number without it, or with another count of decimals"
        )
    return _to_float(match.group(1))


def parse_date(cell: Cell) -> datetime.date | None:
    """Read a date: of a workbook, or 2018-05-12, 2018/05/12, 20180512, 12.05.2018; a time may follow.

    None for a missing one and for what cannot be read: 05/12/2018 can be May or December.
    """
    if isinstance(cell.value, datetime.datetime):
        return cell.value.date()
    day = re.sub(r"[T ]\d\d?:.*", "", cell.text).replace("/", "-")
    for form in ("%Y-%m-%d", "%Y%m%d", "%d.%m.%Y"):
        try:
            return datetime.datetime.strptime(day, form).date()
        except ValueError:
            continue
    return None


def _check_rest(rest: str, units: tuple[str, ...]) -> None:
    """Refuse what follows a number unless it is a mark or one of the units."""
    if re.fullmatch(r"[\s*~#?!)\]†‡;:.,]*", rest):
        return
    if canonical_unit(rest) in {canonical_unit(unit) for unit in units}:
        return
    for unit in units:
        if conversion := wrong_unit(rest, unit):
            raise ValueError(f"in {conversion.found}, wanted {unit}: {conversion.advice}")
    raise ValueError("not a number in the expected unit")


def _to_float(digits: str) -> float:
    """Read digits whose decimal mark may be a point or a comma, with or without thousands separators."""
    text = digits.replace("−", "-").replace("'", "")
    mark = max(".", ",", key=text.rfind)
    other = "," if mark == "." else "."
    if text.count(mark) > 1 or other in text:
        text = _without_thousands(text, mark if text.count(mark) > 1 else other)
    value = float(text.replace(",", "."))
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def _without_thousands(text: str, separator: str) -> str:
    if not re.match(rf"[+\-]?\d{{1,3}}(?:{re.escape(separator)}\d{{3}})+(?!\d)", text):
        raise ValueError("not a number: points and commas are mixed")
    return text.replace(separator, "")
