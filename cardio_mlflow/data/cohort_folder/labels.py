"""The label sheet: paired catheterisation values of every patient, checked cell by cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd

from cardio_mlflow.data.cohort_folder.cells import canonical_id, id_problem, parse_number, range_problem
from cardio_mlflow.data.cohort_folder.columns import NUMBERS, PATIENT_ID, TEXTS, is_patient_id, match_columns
from cardio_mlflow.data.cohort_folder.sheet import Row, Sheet, raise_problems, read_sheet
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS, parameter

__all__ = ["LabelSheet", "find_sheet", "read_labels"]

SHEET_NAMES: Final = ("labels.csv", "labels.xlsx")
_COHORTS: Final = {"i": "I", "1": "I", "ii": "II", "2": "II"}


@dataclass(frozen=True)
class LabelSheet:
    """A label sheet that has been read.

    Attributes:
        name: the file's name.
        table: indexed by patient_id (str) in sheet order: `cohort` ("I" or "II"), the nine values (float,
            NaN where missing), and the optional columns that the sheet has.
        rows: the row of each patient in the file, counted from 1, for messages that name no patient.
        notes: what the user should be told.
    """

    name: str
    table: pd.DataFrame
    rows: dict[str, int]
    notes: tuple[str, ...]


@dataclass
class _Reading:
    """A sheet being read: where its columns are, and the problems found so far."""

    sheet: Sheet
    positions: dict[str, int]
    problems: list[str] = field(default_factory=list)

    def text(self, row: Row, column: str) -> str:
        return row.cells[self.positions[column]]

    def refuse(self, row: Row, column: str, problem: str) -> None:
        heading = self.sheet.columns[self.positions[column]] or "the first column"
        self.problems.append(f"row {row.number}, column {heading}: {problem}")


def read_labels(folder: Path, cohort1_size: int) -> LabelSheet:
    """Read and check a cohort folder's label sheet.

    Args:
        folder: the cohort folder, holding labels.csv or labels.xlsx.
        cohort1_size: how many of the first rows are Cohort I when the sheet has no cohort column.

    Raises:
        InputError: no sheet, or the first ten problems of it by row and column; no cell is repeated.
    """
    sheet = read_sheet(find_sheet(folder))
    reading = _Reading(sheet, match_columns(sheet))
    if not sheet.rows:
        raise InputError(f"{sheet.name} has a header but no patient below it.")
    ids = _patient_ids(reading)
    columns: dict[str, Sequence[object]] = {"cohort": _cohorts(reading, cohort1_size)}
    columns |= {key: _values(reading, key) for key in KEYS}
    columns |= {name: _numbers(reading, name) for name in NUMBERS if name in reading.positions}
    columns |= {name: _texts(reading, name) for name in TEXTS if name in reading.positions}
    raise_problems(sheet.name, reading.problems)
    labels = pd.DataFrame(columns, index=pd.Index(ids, name=PATIENT_ID, dtype="object"))
    rows = {patient: row.number for patient, row in zip(ids, sheet.rows, strict=True)}
    return LabelSheet(sheet.name, labels, rows, tuple(_notes(reading, labels, cohort1_size)))


def find_sheet(folder: Path) -> Path:
    """Find the one label sheet of a cohort folder.

    Raises:
        InputError: the folder or the sheet does not exist, or there are two sheets.
    """
    if not folder.is_dir():
        raise InputError(f"There is no cohort folder {folder}.")
    found = sorted(p for p in folder.iterdir() if p.name.lower() in SHEET_NAMES)
    if len(found) > 1:
        raise InputError(f"{folder.name} holds {found[0].name} and {found[1].name}: keep one of them.")
    if not found:
        raise InputError(
            f"{folder.name} holds no labels.csv or labels.xlsx. Expected a sheet with a header row, a row "
            f"for each patient, a patient_id column (else the first column is taken) and the columns "
            f"{', '.join(KEYS)}; optional: cohort (I or II), {', '.join(NUMBERS)}, {', '.join(TEXTS)}."
        )
    return found[0]


def _patient_ids(reading: _Reading) -> list[str]:
    first_row: dict[str, int] = {}
    ids = []
    for row in reading.sheet.rows:
        patient_id = canonical_id(reading.text(row, PATIENT_ID))
        if problem := id_problem(patient_id):
            reading.refuse(row, PATIENT_ID, problem)
        elif patient_id in first_row:
            first = first_row[patient_id]
            reading.refuse(row, PATIENT_ID, f"duplicate id: it is already in row {first}")
        first_row.setdefault(patient_id, row.number)
        ids.append(patient_id)
    return ids


def _cohorts(reading: _Reading, cohort1_size: int) -> list[str]:
    if "cohort" not in reading.positions:
        return ["I" if i < cohort1_size else "II" for i in range(len(reading.sheet.rows))]
    cohorts = []
    for row in reading.sheet.rows:
        text = canonical_id(reading.text(row, "cohort")).lower().removeprefix("cohort").strip(" -_")
        if text not in _COHORTS:
            reading.refuse(row, "cohort", "write I or II")
        cohorts.append(_COHORTS.get(text, ""))
    return cohorts


def _values(reading: _Reading, key: str) -> list[float]:
    values = _numbers(reading, key, (parameter(key).unit,))
    for row, value in zip(reading.sheet.rows, values, strict=True):
        if problem := range_problem(value, parameter(key)):
            reading.refuse(row, key, problem)
    return values


def _numbers(reading: _Reading, column: str, units: tuple[str, ...] | None = None) -> list[float]:
    values = []
    for row in reading.sheet.rows:
        try:
            values.append(
                parse_number(reading.text(row, column), NUMBERS[column] if units is None else units)
            )
        except ValueError as error:
            reading.refuse(row, column, str(error))
            values.append(math.nan)
    return values


def _texts(reading: _Reading, column: str) -> list[str | None]:
    return [reading.text(row, column) or None for row in reading.sheet.rows]


def _notes(reading: _Reading, labels: pd.DataFrame, cohort1_size: int) -> list[str]:
    notes = []
    counts = labels["cohort"].value_counts()
    sizes = f"{counts.get('I', 0)} in Cohort I, {counts.get('II', 0)} in Cohort II"
    if "cohort" not in reading.positions:
        notes.append(f"no cohort column: the first {cohort1_size} rows are Cohort I ({sizes})")
    heading = reading.sheet.columns[reading.positions[PATIENT_ID]]
    if not is_patient_id(heading):
        notes.append(f"no patient_id column: the first column, {heading!r}, holds the patient ids")
    missing = labels[list(KEYS)].isna().sum()
    if missing.any():
        counted = ", ".join(f"{key} {count}" for key, count in missing.items() if count)
        notes.append(f"missing values, masked: {counted}")
    return notes
