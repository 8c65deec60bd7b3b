"""A request as a table: a row per patient, a column per view, and what else is known of a patient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import FACT_RANGES, FACTS, VIEWS, is_view, normalise_name, view
from cardio_mlflow.prediction.places import ClipFile, Places

PATIENT: Final = "patient_id"

_NAMES: Final = {normalise_name(name): name for name in (PATIENT, *FACTS)}
_KNOWN: Final = ", ".join([*(f"{v.name} (or {v.code})" for v in VIEWS), *FACTS, PATIENT])


@dataclass(frozen=True)
class PatientFiles:
    """A patient's clip files by view code, and (3,) facts, see `FACTS`; the id is empty without one."""

    patient_id: str
    files: Mapping[str, ClipFile]
    facts: NDArray[np.float64]


def read_table(table: pd.DataFrame, places: Places) -> tuple[PatientFiles, ...]:
    """Check a table.

    Args:
        table: columns called as the views are, by code or name, whose cells hold the path of a clip's file,
            the file in base64, or nothing; and perhaps HR (beats/min), BSA (m²), MAP (mmHg) and patient_id.
        places: whence files may be read.

    Raises:
        InputError: a column is not known or there twice, none is of a view, a fact is no number or out of its
            range, or a cell holds no clip that can be read.
    """
    if not len(table):
        return ()
    columns = _columns(table)
    cells = {name: [_plain(cell) for cell in table.iloc[:, place]] for name, place in columns.items()}
    return tuple(_patient({name: cells[name][row] for name in cells}, row + 1, places)
                 for row in range(len(table)))  # fmt: skip


def _columns(table: pd.DataFrame) -> dict[str, int]:
    """The place of each column by the view's code or by its own name."""
    names = [_column(heading) for heading in table.columns]
    if unknown := names.count(None):
        raise InputError(f"{unknown} of the {len(names)} columns are not known; known are {_KNOWN}.")
    if twice := sorted({str(name) for name in names if names.count(name) > 1}):
        raise InputError(f"Two columns hold {twice[0]}.")
    columns = {str(name): place for place, name in enumerate(names)}
    if not any(v.code in columns for v in VIEWS):
        raise InputError(f"No column is of a view; known are {_KNOWN}.")
    return columns


def _column(heading: object) -> str | None:
    text = str(heading)
    return view(text).code if is_view(text) else _NAMES.get(normalise_name(text))


def _plain(cell: object) -> object:
    """A cell without NumPy about it; None where it is empty."""
    if isinstance(cell, np.generic) or (isinstance(cell, np.ndarray) and cell.ndim == 0):
        cell = cell.item()
    if isinstance(cell, str):
        return cell if cell.strip() else None
    is_missing = cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and math.isnan(cell))
    return None if is_missing else cell


def _patient(cells: Mapping[str, object], row: int, places: Places) -> PatientFiles:
    files = {
        v.code: places.file(cell, f"row {row}, {v.name}")
        for v in VIEWS
        if (cell := cells.get(v.code)) is not None
    }
    facts = [_fact(cells.get(name), name, row) for name in FACTS]
    return PatientFiles(_name(cells.get(PATIENT), row), files, np.array(facts))


def _fact(cell: object, name: str, row: int) -> float:
    try:
        value = math.nan if cell is None else float(str(cell))
    except ValueError:
        raise InputError(f"row {row}, {name}: no number.") from None
    low, high = FACT_RANGES[name]
    if not math.isnan(value) and not low <= value <= high:
        raise InputError(
            f"row {row}, {name}: outside {low:g} to {high:g}; leave it empty where it is not known."
        )
    return value


def _name(cell: object, row: int) -> str:
    if isinstance(cell, float) and cell.is_integer():  # of a column that has gaps
        cell = int(cell)
    if cell is not None and not isinstance(cell, str | int | float):
        raise InputError(f"row {row}, {PATIENT}: neither text nor a number.")
    return "" if cell is None else str(cell)
