"""The first visible sheet of an xlsx workbook: its visible rows, and what was left out."""

from __future__ import annotations

import datetime
import io
import math
import re
import warnings
import zipfile
import zlib
from typing import Any, Final
from xml.etree import ElementTree

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from cardio_mlflow.errors import InputError
from cardio_mlflow.sheets.cells import A_DATE, Cell, clean_text

_BROKEN: Final = (
    zipfile.BadZipFile, zlib.error, ElementTree.ParseError, InvalidFileException, EOFError, KeyError,
    IndexError, ValueError, TypeError, AttributeError, OverflowError, NotImplementedError, RuntimeError,
)  # fmt: skip
_MAX_BYTES: Final = 512 * 2**20
_MAX_CELLS: Final = 2_000_000
_NO_RESULT: Final = (
    "a formula whose result is not stored in the file: open it in a spreadsheet program and save it, or "
    "paste the values"
)
_MERGED: Final = "part of a merged cell: unmerge it and fill each row"


Rows = dict[int, tuple[Cell, ...]]
"""Rows by their number, counted from 1."""


def workbook_rows(content: bytes, name: str) -> tuple[Rows, list[int], list[str]]:
    """The rows of the first visible sheet without hidden ones, the numbers of those, and notes.

    Raises:
        InputError: the file is no workbook, or too large for a sheet of patients.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of styles and extensions that are not read
            return _rows(io.BytesIO(content), name)
    except _BROKEN:
        raise InputError(f"{name} is not a readable xlsx workbook: save it again as .xlsx.") from None


def _rows(file: io.BytesIO, name: str) -> tuple[Rows, list[int], list[str]]:
    with zipfile.ZipFile(file) as archive:
        if sum(part.file_size for part in archive.infolist()) > _MAX_BYTES:
            raise InputError(f"{name} unpacks to more than {_MAX_BYTES >> 20} MiB: no sheet of patients.")
        part = next((n for n in archive.namelist() if n.endswith("/workbook.xml")), "xl/workbook.xml")
        book = archive.read(part)
        if b"http://purl.oclc.org/ooxml/spreadsheetml/main" in book:  # ISO/IEC 29500-1, strict
            raise InputError(f"{name} was saved as Strict Open XML: save it as a plain workbook (.xlsx).")
        recalculate = b'fullCalcOnLoad="1"' in book
        sheets = [archive.read(n) for n in archive.namelist() if "/worksheets/" in n]
    values = openpyxl.load_workbook(file, keep_links=False, data_only=True)
    has_formulas = any(re.search(rb"<(?:\w+:)?f[\s/>]", content) for content in sheets)
    formulas = openpyxl.load_workbook(file, keep_links=False) if has_formulas else values
    position, notes = _first_visible(values, name)
    sheet, written = values.worksheets[position], formulas.worksheets[position]
    if sheet.max_row * sheet.max_column > _MAX_CELLS:
        raise InputError(
            f"{name}: the sheet has {sheet.max_row} rows and {sheet.max_column} columns: delete the "
            "empty ones behind the table."
        )
    merged = _merged(sheet)
    rows = {
        row[0].row: tuple(
            _cell(cell, formula, recalculate=recalculate, merged=cell.coordinate in merged)
            for cell, formula in zip(row, formulas_of_row, strict=True)
        )
        for row, formulas_of_row in zip(sheet.iter_rows(), written.iter_rows(), strict=True)
    }
    return _visible(rows, sheet, notes)


def _first_visible(book: Any, name: str) -> tuple[int, list[str]]:
    visible = [i for i, sheet in enumerate(book.worksheets) if sheet.sheet_state == "visible"]
    if not visible:
        raise InputError(f"{name} has no visible sheet: show the one with the patients.")
    others = [s for s in book.worksheets if s is not book.worksheets[visible[0]]]
    filled = [s for s in others if s.max_row > 1 or s.max_column > 1 or s["A1"].value is not None]
    if not filled:
        return visible[0], []
    hidden = sum(sheet.sheet_state != "visible" for sheet in filled)
    return visible[0], [
        f"{name}: the first visible sheet was read, {len(filled)} other{'s' if len(filled) > 1 else ''} "
        f"({hidden} hidden) not"
    ]


def _merged(sheet: Any) -> set[str]:
    """The cells that a merged one with content covers."""
    return {
        sheet.cell(row, column).coordinate
        for area in sheet.merged_cells.ranges
        if sheet.cell(area.min_row, area.min_col).value is not None
        for row, column in area.cells
        if (row, column) != (area.min_row, area.min_col)
    }


def _visible(rows: Rows, sheet: Any, notes: list[str]) -> tuple[Rows, list[int], list[str]]:
    hidden = [
        number
        for number, cells in rows.items()
        if number in sheet.row_dimensions
        and sheet.row_dimensions[number].hidden
        and any(cell.text for cell in cells)
    ]
    columns = {
        column
        for dimension in sheet.column_dimensions.values()
        if dimension.hidden
        for column in range(dimension.min, dimension.max + 1)
        if column <= sheet.max_column
    }
    if hidden:
        shown = ", ".join(map(str, hidden[:10])) + (" ..." if len(hidden) > 10 else "")
        notes.append(
            f"{len(hidden)} rows that a filter or the user hides were left out (row {shown}): to have them "
            "read, show them and save"
        )
    if columns:
        notes.append(f"{len(columns)} hidden columns were read like the others")
    return {n: cells for n, cells in rows.items() if n not in set(hidden)}, hidden, notes


def _cell(cell: Any, formula: Any, *, recalculate: bool, merged: bool) -> Cell:
    value = cell.value
    if merged:
        return Cell("", fault=_MERGED)
    if formula.data_type == "f" and (recalculate or (value is None and cell.data_type != "str")):
        return Cell("", fault=_NO_RESULT)
    if isinstance(value, datetime.datetime | datetime.date):
        moment = datetime.datetime.fromisoformat(value.isoformat())
        return Cell(value.isoformat().removesuffix("T00:00:00"), moment)
    if isinstance(value, datetime.time | datetime.timedelta):
        return Cell(str(value), fault=A_DATE)
    if isinstance(value, int | float) and not isinstance(value, bool):
        shown = _shown(value, str(cell.number_format)) if math.isfinite(value) else ""
        return Cell(shown, float(value), "" if shown else "not a finite number")
    return Cell("" if value is None else clean_text(str(value)))


def _shown(value: float, number_format: str) -> str:
    """A number as text; leading zeros and a fixed word before it as its format shows them: 007, P007."""
    if value != int(value):
        return str(value)
    form = re.fullmatch(r'(?:"([^"]*)")?(0+)', number_format)
    return f"{form[1] or ''}{int(value):0{len(form[2])}d}" if form else str(int(value))
