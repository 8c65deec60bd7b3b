"""The workbook: one sheet for each table, every number in full precision and no formula."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, Cell
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from cardio_mlflow.files import whole_file
from cardio_mlflow.report.columns import Kind, column_kind, decimals_of, title_and_meaning

LONGEST_NAME: Final = 31
"""Characters that a sheet's name may have."""
LONGEST_TEXT: Final = 32767
"""Characters that a cell may have."""
_WIDTHS: Final = (8, 48)
_ROWS_MEASURED: Final = 200
_FORMATS: Final[Mapping[Kind, str]] = {"count": "0", "share": "0.00", "p": "0.0000"}


def write_workbook(path: Path, sheets: Mapping[str, pd.DataFrame], *, synthetic: bool) -> None:
    """Write tables as a workbook whose first sheet, "About", says what the others are.

    A number keeps its full precision and is only shown with fewer digits. NaN and NA become empty cells, an
    infinite number the text "inf" or "-inf". Text is never a formula. The file is whole at every moment.

    Args:
        path: the .xlsx file; its folder is made when it is missing.
        sheets: tables by name, in the order of the sheets.
    """
    book = Workbook()
    names = sheet_names(sheets)
    _write_about(book.active, dict(zip(names, sheets, strict=True)), synthetic=synthetic)
    for name, table in zip(names, sheets.values(), strict=True):
        _write_table(book.create_sheet(name), table)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        book.save(part)


def sheet_names(tables: Iterable[str]) -> list[str]:
    """Names that a workbook allows, each once (without regard to case), in the order of the tables.

    >>> sheet_names(["a/b", "A_B", "About"])
    ['a_b', 'A_B 2', 'About 2']
    """
    taken, names = {"about", "history"}, []
    for table in tables:
        plain = re.sub(r"[\[\]:*?/\\]", "_", _legal(table)).strip("' ") or "table"
        wanted = "training history" if plain.lower() == "history" else plain
        name, number = wanted[:LONGEST_NAME], 2
        while name.lower() in taken:
            suffix = f" {number}"
            name, number = wanted[: LONGEST_NAME - len(suffix)] + suffix, number + 1
        taken.add(name.lower())
        names.append(name)
    return names


def _write_about(sheet: Worksheet, names: Mapping[str, str], *, synthetic: bool) -> None:
    """The first sheet; `names` gives each sheet's table."""
    sheet.title = "About"
    lines = [
        ("Right-heart-catheterisation values predicted from echocardiography: the tables of the report.", "")
    ]
    if synthetic:
        lines.append(("SYNTHETIC COHORT: no real patient. These numbers say nothing about patients.", ""))
    lines += [
        ("Research only. Not a medical device; not for diagnosis or treatment.", ""),
        (
            "Numbers are shown rounded and kept in full precision. An empty cell: not known or not defined.",
            "",
        ),
        ("", ""),
        ("Sheet", "What it holds"),
    ]
    heading = len(lines)
    for name, table in names.items():
        title, meaning = title_and_meaning(table)
        lines.append((name, meaning or title))
    for row, line in enumerate(lines, 1):
        for column, text in enumerate(line, 1):
            if text:
                _write_text(sheet.cell(row, column), text)
    for cell in (sheet.cell(1, 1), sheet.cell(heading, 1), sheet.cell(heading, 2)):
        cell.font = Font(bold=True)
    if synthetic:
        sheet.cell(2, 1).font = Font(bold=True, color="B00020")
    sheet.column_dimensions["A"].width, sheet.column_dimensions["B"].width = 28, 110


def _write_table(sheet: Worksheet, table: pd.DataFrame) -> None:
    for number, name in enumerate(table.columns, 1):
        values = table[name]
        kind = column_kind(str(name), values)
        heading = sheet.cell(1, number)
        _write_text(heading, str(name))
        heading.font = Font(bold=True)
        heading.alignment = Alignment(horizontal="left" if kind == "text" else "right")
        for row, value in enumerate(values, 2):
            _write_value(sheet.cell(row, number), value, kind)
        sheet.column_dimensions[get_column_letter(number)].width = _width(str(name), values, kind)
    if len(table.columns):
        sheet.freeze_panes = "B2" if len(table.columns) > 1 else "A2"
        sheet.auto_filter.ref = f"A1:{get_column_letter(len(table.columns))}{len(table) + 1}"


def _write_value(cell: Cell, value: object, kind: Kind) -> None:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return
    if isinstance(value, bool | np.bool_):
        cell.value = bool(value)
    elif isinstance(value, int | np.integer):
        cell.value = int(value)
        cell.number_format = "0"
    elif isinstance(value, float | np.floating):
        _write_number(cell, float(value), kind)
    elif str(value):
        _write_text(cell, str(value))


def _write_number(cell: Cell, value: float, kind: Kind) -> None:
    if not np.isfinite(value):
        _write_text(cell, str(value))
        cell.alignment = Alignment(horizontal="right")
        return
    # A float itself would be written with 16 digits, one too few to read every number back unchanged.
    cell.value = repr(value)
    cell.data_type = "n"
    cell.number_format = _FORMATS.get(kind) or _general(value)


def _general(value: float) -> str:
    """A number format of four significant digits; a whole number, as a count among means is, has no point."""
    if value.is_integer():
        return "0"
    if 0 < abs(value) < 1e-4:
        return "0.00E+00"
    decimals = decimals_of(value)
    return f"0.{'0' * decimals}" if decimals and value != 0 else "0"


def _write_text(cell: Cell, text: str) -> None:
    """Write text as text: never as a formula, an error value or characters that a workbook refuses."""
    legal = _legal(text)[:LONGEST_TEXT]
    cell.value = legal
    cell.data_type = "s"
    if legal.startswith(("=", "+", "-", "@")):
        cell.quotePrefix = True


def _legal(text: str) -> str:
    """The text with control characters and broken code units replaced by the replacement character."""
    whole = re.sub(r"[\ud800-\udfff\ufffe\uffff]", "\ufffd", text)
    return str(ILLEGAL_CHARACTERS_RE.sub("\ufffd", whole))


def _width(name: str, values: pd.Series, kind: Kind) -> float:
    """A column's width in characters, by its heading and its first rows."""
    least, most = _WIDTHS
    longest = max((len(str(value)) for value in values[:_ROWS_MEASURED]), default=0) if kind == "text" else 0
    return float(min(max(longest + 1, len(name) + 4, least), most))
