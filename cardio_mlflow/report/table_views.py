"""Tables as the page shows them: cells as text, numbers rounded, long tables cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import pandas as pd

from cardio_mlflow.figures.style import signed
from cardio_mlflow.report.columns import Kind, column_kind, decimals_of, title_and_meaning

MOST_ROWS: Final = 300
"""Rows of a table that the page shows; the workbook has them all."""
UNDEFINED: Final = "–"
NO_BREAK: Final = "\u00a0"
_DECIMALS: Final = {"share": 2, "p": 4, "count": 0}


@dataclass(frozen=True)
class Column:
    """A column's heading, and whether it is aligned right."""

    name: str
    numeric: bool


@dataclass(frozen=True)
class TableView:
    """A table as text; `size` says how many rows there are, `cut` how many are not shown."""

    anchor: str
    title: str
    caption: str
    size: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    cut: str


def table_view(anchor: str, name: str, table: pd.DataFrame) -> TableView:
    """Turn a table into text, its title and caption found by its name."""
    title, meaning = title_and_meaning(name)
    shown = table.iloc[:MOST_ROWS]
    kinds = {str(column): column_kind(str(column), table[column]) for column in table.columns}
    texts = [
        [cell_text(value, kind) for value in shown[column]]
        for column, kind in zip(table.columns, kinds.values(), strict=True)
    ]
    left = len(table) - len(shown)
    return TableView(
        anchor=anchor,
        title=title,
        caption=meaning,
        size=f"{len(table)} row{'' if len(table) == 1 else 's'}",
        columns=tuple(Column(column, kind != "text") for column, kind in kinds.items()),
        rows=tuple(zip(*texts, strict=True)),
        cut=f"{left} further rows are in the workbook." if left else "",
    )


def cell_text(value: object, kind: Kind) -> str:
    """A cell as text: a number rounded by its column's kind, nothing for missing text.

    >>> cell_text(-0.314159, "share"), cell_text(float("nan"), "share"), cell_text(1834.24, "number")
    ('−0.31', '–', '1834')
    """
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return "" if kind == "text" else UNDEFINED
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | float | np.integer | np.floating):
        return number_text(float(value), _DECIMALS.get(kind, decimals_of(float(value))), p=kind == "p")
    return str(value)


def number_text(value: float, decimals: int, *, p: bool = False) -> str:
    """A number with a true minus sign; a p-value too small to show as "<0.0001"."""
    if np.isnan(value):
        return UNDEFINED
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    if p and value < 0.0001:
        return "<0.0001"
    if 0 < abs(value) < 1e-4:
        return f"{value:.2e}".replace("-", "−")
    return signed(value, decimals)


def headline_view(performance: pd.DataFrame, limits: pd.DataFrame | None) -> TableView:
    """The headline: n, r, CCC, ICC, MAE, bias, limits of agreement if given, AUC, all with intervals; unit.

    Args:
        performance: the performance table; a statistic that it lacks is shown as undefined.
        limits: the Bland-Altman table, or None.
    """
    by_key = {} if limits is None else {row["parameter"]: row for _, row in limits.iterrows()}
    cells: dict[str, Callable[[pd.Series], str]] = {
        "Parameter": lambda row: str(row["parameter"]),
        "n": lambda row: str(row["n"]),
        "r": lambda row: _with_interval(row, "r", 2),
        "CCC": lambda row: _with_interval(row, "ccc", 2),
        "ICC": lambda row: _with_interval(row, "icc", 2),
        "MAE": lambda row: _with_interval(row, "mae", _unit_decimals(row)),
        "Bias": lambda row: _with_interval(row, "bias", _unit_decimals(row)),
    }
    if limits is not None:
        for name, end in (("Lower limit", "lower"), ("Upper limit", "upper")):
            cells[name] = partial(_limit, by_key, end)
    cells["AUC"] = lambda row: _with_interval(row, "auc", 2)
    cells["Unit"] = lambda row: str(row["unit"])
    caption = (
        "With 95 % intervals: of the limits of agreement (Bland-Altman) exact, else by patient bootstrap. "
        "r, CCC, ICC and AUC have no unit; MAE, bias (prediction − reference) and limits have the "
        "parameter's. AUC at the parameter's cut-off."
    )
    rows = tuple(tuple(cell(row) for cell in cells.values()) for _, row in performance.iterrows())
    columns = tuple(Column(name, name not in ("Parameter", "Unit")) for name in cells)
    return TableView("performance-table", "Performance", caption, "", columns, rows, "")


def _number(row: pd.Series, name: str) -> float:
    return float(row[name]) if name in row.index and pd.notna(row[name]) else float("nan")


def _unit_decimals(row: pd.Series) -> int:
    """Decimals of everything in a parameter's unit, by its mean absolute error to three digits."""
    return max(decimals_of(_number(row, "mae")) - 1, 0) if _number(row, "mae") > 0 else 2


def _interval(low: float, high: float, decimals: int) -> str:
    text = f"{number_text(low, decimals)} to {number_text(high, decimals)}"
    return "no interval" if np.isnan(low) else text.replace(" ", NO_BREAK)


def _with_interval(row: pd.Series, name: str, decimals: int) -> str:
    """A value, and its interval in a line below."""
    value = _number(row, name)
    if np.isnan(value):
        return "not defined"
    interval = _interval(_number(row, f"{name}_low"), _number(row, f"{name}_high"), decimals)
    return f"{number_text(value, decimals)}\n({interval})"


def _limit(limits: Mapping[str, pd.Series], end: str, row: pd.Series) -> str:
    """A limit of agreement with its interval, with the decimals of the parameter's row of the headline."""
    own = limits.get(row["parameter"], pd.Series(dtype=np.float64))
    return _with_interval(own, end, _unit_decimals(row))
