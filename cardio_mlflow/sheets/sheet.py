"""A sheet: the rows of a csv or xlsx file as clean cells, with the row numbers that its user sees."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from openpyxl.utils import get_column_letter

from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import normalise_name
from cardio_mlflow.sheets.cells import Cell, cell_number, clean_text, decimal_mark
from cardio_mlflow.sheets.workbook import Rows, workbook_rows

SHOWN_PROBLEMS: Final = 10
_SEPARATORS: Final = (",", ";", "\t")
_SEPARATOR_LINE: Final = re.compile(r'"?sep=(.)"?[ ,;]*(?:\r\n|\r|\n|$)', re.IGNORECASE)
_SAMPLE: Final = 50
"""Rows of a csv file that the separator is found by."""
_ZIP: Final = b"PK\x03\x04"
_OLE: Final = bytes.fromhex("d0cf11e0")  # [MS-CFB] 2.2: .xls, and .xlsx behind a password


@dataclass(frozen=True)
class Row:
    """One row of a sheet: its number as a spreadsheet shows it, and its cells."""

    number: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Sheet:
    """A sheet with a header row.

    Attributes:
        name: the file's name, for messages.
        columns: the header's cells.
        rows: the visible rows below it that are not empty, each as long as the header.
        notes: what was left out, without any cell's text.
        hidden: the numbers of the rows below the header that are hidden.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    hidden: tuple[int, ...] = ()

    @cached_property
    def decimal(self) -> str:
        """The decimal mark that the sheet's texts prove, or nothing."""
        return decimal_mark(cell.text for row in self.rows for cell in row.cells if cell.value is None)

    def text(self, row: Row, position: int) -> str:
        """The text of a cell; ValueError says why it cannot be taken."""
        if row.cells[position].fault:
            raise ValueError(row.cells[position].fault)
        return row.cells[position].text

    def number(self, row: Row, position: int, units: tuple[str, ...] = ()) -> float:
        """The number in a cell, NaN where it is missing; it raises as `parse_number`."""
        return cell_number(row.cells[position], units, self.decimal)

    def find(self, names: Iterable[str]) -> int | None:
        """The column of the first of several headings, compared without case and punctuation.

        Raises:
            InputError: two columns have that heading.
        """
        headings = [normalise_name(column) for column in self.columns]
        for name in map(normalise_name, names):
            found = [i for i, heading in enumerate(headings) if heading == name]
            if len(found) > 1:
                both = " and ".join(get_column_letter(i + 1) for i in found)
                raise InputError(f"{self.name}: columns {both} have the same heading: keep one of them.")
            if found:
                return found[0]
        return None

    def problem(self, row: Row, position: int, reason: str) -> str:
        """A problem with its row and column, for `raise_problems`."""
        return f"row {row.number}, column {self.column(position)}: {reason}"

    def column(self, position: int) -> str:
        """A column's letter and heading."""
        letter, heading = str(get_column_letter(position + 1)), self.columns[position]
        return f"{letter} ({heading})" if heading else letter


def read_sheet(path: Path) -> Sheet:
    """Read a csv file (comma, semicolon or tab; UTF-8, UTF-16 or Windows-1252) or a workbook's visible sheet.

    Titles above the header, which fill one cell only, are left out.

    Raises:
        InputError: the file cannot be read, has no header, or a row has more cells than the header.
    """
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise InputError(f"{path.name} cannot be read ({fault.strerror}): may you read it?") from None
    if content.startswith(_OLE):
        raise InputError(f"{path.name} is an older or a protected workbook: save it as .xlsx, unprotected.")
    is_workbook = content.startswith(_ZIP) or path.suffix.lower() == ".xlsx"
    records, hidden, notes = (workbook_rows if is_workbook else _csv_rows)(content, path.name)
    filled = [Row(n, cells) for n, cells in records.items() if any(c.text or c.fault for c in cells)]
    if not filled:
        raise InputError(f"{path.name} is empty: expected a header row and a row for each patient.")
    head = next((i for i, row in enumerate(filled) if sum(bool(c.text) for c in row.cells) > 1), 0)
    if head:
        notes.append(f"{head} rows above the headings, of one cell each, were left out")
    widest = max(map(_width, filled[head:])) if is_workbook else _width(filled[head])
    columns = tuple(cell.text for cell in _fit(filled[head], widest, path.name))
    rows = tuple(Row(row.number, _fit(row, widest, path.name)) for row in filled[head + 1 :])
    below = tuple(number for number in hidden if number > filled[head].number)
    return Sheet(path.name, columns, rows, tuple(notes), below)


def raise_problems(sheet_name: str, problems: list[str]) -> None:
    """Raise one InputError for all problems of a sheet, if there are any, showing the first ten by row."""
    if not problems:
        return
    ordered = sorted(problems, key=_row_of)
    lines = [
        f"{sheet_name}: {len(problems)} problem{'s' if len(problems) > 1 else ''}.",
        *ordered[:SHOWN_PROBLEMS],
    ]
    if len(problems) > SHOWN_PROBLEMS:
        lines.append(f"... and {len(problems) - SHOWN_PROBLEMS} more.")
    raise InputError("\n  ".join(lines))


def first_few(things: Sequence[object], separator: str = ", ") -> str:
    """The first ten things in a message, and a sign where there are more."""
    more = " ..." if len(things) > SHOWN_PROBLEMS else ""
    return separator.join(map(str, things[:SHOWN_PROBLEMS])) + more


def _row_of(problem: str) -> int:
    return int(problem.removeprefix("row ").partition(",")[0])


def _width(row: Row) -> int:
    return max((i for i, cell in enumerate(row.cells, start=1) if cell.text or cell.fault), default=0)


def _fit(row: Row, width: int, name: str) -> tuple[Cell, ...]:
    if _width(row) > width:
        raise InputError(
            f"{name}, row {row.number}: {_width(row)} cells, but the header has {width}. "
            "Is there a decimal comma in a comma-separated file? Separate with semicolons, or quote the cell."
        )
    return (row.cells + (Cell(""),) * (width - len(row.cells)))[:width]


def _csv_rows(content: bytes, name: str) -> tuple[Rows, list[int], list[str]]:
    """The rows by number, none hidden, no note. A line such as ``sep=;`` is not shown, and not counted."""
    text = _decode(content)
    named = _SEPARATOR_LINE.match(text)
    text = text[named.end() :] if named else text
    try:
        tried = [_parse(text, separator) for separator in ([named[1]] if named else _SEPARATORS)]
        records = max(tried, key=_regular)
    except csv.Error as error:
        raise InputError(f"{name} is not a readable csv file: {error}.") from None
    cells = (tuple(Cell(clean_text(text)) for text in record) for record in records)
    return dict(enumerate(cells, start=1)), [], []


def _parse(text: str, separator: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))


def _regular(records: Sequence[Sequence[str]]) -> tuple[int, int]:
    """How many of the first rows have the most common number of cells, and that number."""
    widths = Counter(len(record) for record in records[:_SAMPLE] if any(record))
    ((width, count),) = Counter({w: n for w, n in widths.items() if w > 1}).most_common(1) or [(0, 0)]
    return count, width


def _decode(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    if (
        len(content) % 2 == 0 and 0 in content[:2]
    ):  # UTF-16 without its mark: Latin text has every other byte 0
        return content.decode("utf-16-be" if content[0] == 0 else "utf-16-le", errors="replace")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")
