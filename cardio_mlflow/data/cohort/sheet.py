"""A sheet: the rows of a csv or xlsx file as clean text, with the row numbers that its user sees."""

from __future__ import annotations

import codecs
import csv
import datetime
import io
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final, Protocol
from xml.etree import ElementTree

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from cardio_mlflow.errors import InputError

SHOWN_PROBLEMS: Final = 10
SEPARATORS: Final = (",", ";", "\t")
_BROKEN_WORKBOOK: Final = (
    zipfile.BadZipFile, zlib.error, ElementTree.ParseError, InvalidFileException, EOFError, KeyError,
    IndexError, ValueError, TypeError, AttributeError, NotImplementedError, RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One row of a sheet: its number in the file, counted from 1, and its cells as clean text."""

    number: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Sheet:
    """A sheet with a header row.

    Attributes:
        name: the file's name, for messages.
        columns: the header's cells.
        rows: the rows below it that are not empty, each as long as the header.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def clean_text(text: str) -> str:
    r"""Compose Unicode, turn every kind of space into a plain one, drop invisible characters, and strip.

    >>> clean_text("\ufeff 12\u00a0mmHg ")
    '12 mmHg'
    """
    visible = (
        c for c in unicodedata.normalize("NFC", text) if c.isspace() or unicodedata.category(c)[0] != "C"
    )
    return re.sub(r"\s+", " ", "".join(visible)).strip()


def read_sheet(path: Path) -> Sheet:
    """Read a csv file (comma, semicolon or tab; UTF-8, UTF-16 or Windows-1252) or an xlsx file's first sheet.

    Raises:
        InputError: the file cannot be read, has no header, or a row has more cells than the header.
    """
    try:
        records = _xlsx_records(path) if path.suffix.lower() == ".xlsx" else _csv_records(path)
    except OSError as fault:
        raise InputError(f"{path.name} cannot be read ({fault.strerror}): may you read it?") from None
    cleaned = [tuple(clean_text(cell) for cell in record) for record in records]
    filled = [Row(number, cells) for number, cells in enumerate(cleaned, start=1) if any(cells)]
    if not filled:
        raise InputError(f"{path.name} is empty: expected a header row and a row for each patient.")
    columns = _without_trailing_blanks(filled[0].cells)
    rows = tuple(Row(row.number, _fit(row, len(columns), path.name)) for row in filled[1:])
    return Sheet(path.name, columns, rows)


def raise_problems(sheet_name: str, problems: list[str]) -> None:
    """Raise one error for all problems of a sheet, showing the first ten in row order.

    Raises:
        InputError: there is at least one problem.
    """
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


def _row_of(problem: str) -> int:
    return int(problem.removeprefix("row ").partition(",")[0])


def _without_trailing_blanks(cells: Sequence[str]) -> tuple[str, ...]:
    last = max((i for i, cell in enumerate(cells) if cell), default=-1)
    return tuple(cells[: last + 1])


def _fit(row: Row, width: int, name: str) -> tuple[str, ...]:
    cells = _without_trailing_blanks(row.cells)
    if len(cells) > width:
        raise InputError(
            f"{name}, row {row.number}: {len(cells)} cells, but the header has {width}. "
            "Is there a decimal comma in a comma-separated file? Separate with semicolons, or quote the cell."
        )
    return cells + ("",) * (width - len(cells))


def _csv_records(path: Path) -> list[list[str]]:
    text = _decode(path.read_bytes())
    try:
        first = next((line for line in text.splitlines() if line.strip()), "")
        separator = max(SEPARATORS, key=lambda s: len(next(csv.reader([first], delimiter=s), [])))
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise InputError(f"{path.name} is not a readable csv file: {error}.") from None


def _decode(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")


class _Cell(Protocol):
    """What is needed of openpyxl's cell, the empty one included."""

    value: object


def _xlsx_records(path: Path) -> list[list[str]]:
    try:
        values, formulas = _first_sheet(path, data_only=True), _first_sheet(path, data_only=False)
    except _BROKEN_WORKBOOK:
        raise InputError(f"{path.name} is not a readable xlsx workbook: save it again as .xlsx.") from None
    return [
        _cell_texts(value_row, formula_row, number, path.name)
        for number, (value_row, formula_row) in enumerate(
            zip_longest(values, formulas, fillvalue=()), start=1
        )
    ]


def _first_sheet(path: Path, *, data_only: bool) -> list[tuple[_Cell, ...]]:
    workbook = openpyxl.load_workbook(path, read_only=True, data_only=data_only)
    try:
        sheet = workbook.worksheets[0]
        sheet.reset_dimensions()
        return [tuple(row) for row in sheet.iter_rows()]
    finally:
        workbook.close()


def _cell_texts(values: Iterable[_Cell], formulas: Iterable[_Cell], number: int, name: str) -> list[str]:
    texts = []
    for value, formula in zip_longest(values, formulas):
        if (value is None or value.value is None) and str(getattr(formula, "value", "")).startswith("="):
            raise InputError(
                f"{name}, row {number}: a formula whose result is not stored in the file. "
                "Open the file in a spreadsheet program and save it, or paste the values."
            )
        texts.append("" if value is None else _cell_text(value))
    return texts


def _cell_text(cell: _Cell) -> str:
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    number_format = str(getattr(cell, "number_format", ""))
    zeros = len(number_format) if re.fullmatch("0+", number_format) else 0
    return str(value).zfill(zeros) if isinstance(value, int) else str(value)
