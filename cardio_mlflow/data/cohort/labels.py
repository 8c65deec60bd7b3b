"""The label sheet: paired catheterisation values of every patient, checked cell by cell."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd

from cardio_mlflow.data.cohort.cells import (
    canonical_id,
    id_problem,
    is_missing,
    parse_number,
    range_problem,
    wrong_unit,
)
from cardio_mlflow.data.cohort.persons import ALIASES, PERSON, numbered_alike, persons_apart
from cardio_mlflow.data.cohort.sheet import SHOWN_PROBLEMS, Row, Sheet, raise_problems, read_sheet
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS, is_parameter, normalise_name, parameter

PATIENT_ID: Final = "patient_id"
NUMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "HR": ("bpm", "beats/min", "1/min"),
    "BSA": ("m²",),
    "MAP": (parameter("meanPAP").unit,),
}
"""Optional numeric columns and the units that may stand in their cells."""
TEXTS: Final = ("sex", "age", "rhythm", "BMI", "scanner")
"""Optional columns kept as text, for subgroups."""

_KNOWN_HEADINGS: Final = 3
"""From how many known columns on a first row is taken for headings, whose text may be shown."""

_OPTIONAL: Final = {normalise_name(name): name for name in ("cohort", *NUMBERS, *TEXTS)} | {
    normalise_name(name): PERSON for name in ALIASES
}


def match_columns(sheet: Sheet) -> dict[str, int]:
    """Find the position of each known column; the names are compared without case and punctuation.

    Raises:
        InputError: a required column is missing (with the columns that could be meant), two columns
            hold one value, a heading names a wrong unit, or there is no column for patient ids.
    """
    positions: dict[str, int] = {}
    for position, heading in enumerate(sheet.columns):
        name = _known_name(heading)
        if name is None:
            continue
        if name in positions:
            both = f"{sheet.columns[positions[name]]!r} and {heading!r}"
            raise InputError(f"{sheet.name}: columns {both} both hold {name}: keep one of them.")
        _check_heading_unit(sheet.name, heading, name)
        positions[name] = position
    _check_required(sheet, positions)
    if PATIENT_ID not in positions:
        if positions.get(PERSON) == 0:  # then it is the only id
            del positions[PERSON]
        if 0 in positions.values():
            raise InputError(f"{sheet.name}: no patient_id column, and the first one is no id either.")
        positions[PATIENT_ID] = 0
    return positions


def is_patient_id(heading: str) -> bool:
    """Tell whether a heading is "patient_id", whatever its case and punctuation."""
    return normalise_name(heading) == normalise_name(PATIENT_ID)


def _known_name(heading: str) -> str | None:
    if is_parameter(heading):
        return parameter(heading).key
    if is_patient_id(heading):
        return PATIENT_ID
    return _OPTIONAL.get(normalise_name(heading))


def _check_heading_unit(sheet_name: str, heading: str, name: str) -> None:
    brackets = re.search(r"[(\[](.*?)[)\]]", heading)
    if brackets is None or not is_parameter(name):
        return
    wanted = parameter(name)
    if conversion := wrong_unit(brackets.group(1), wanted.unit):
        raise InputError(
            f"{sheet_name}, column {heading}: {name} is wanted in {wanted.unit}; "
            f"{conversion.advice} and change the heading."
        )


def _no_header(sheet: Sheet) -> str:
    """What to say of a first row that may hold a patient's data, or patients' names: nothing of its text."""
    return (
        f"{sheet.name}: the first row that is not empty names fewer than {_KNOWN_HEADINGS} of the columns "
        f"{PATIENT_ID}, {', '.join(KEYS)} in its {len(sheet.columns)} cells. It must hold the names of the "
        "columns; each patient has a row below it."
    )


def _check_required(sheet: Sheet, positions: dict[str, int]) -> None:
    missing = [key for key in KEYS if key not in positions]
    unknown = [c for i, c in enumerate(sheet.columns) if c and i not in positions.values()]
    if missing and len(positions) < _KNOWN_HEADINGS:
        raise InputError(_no_header(sheet))
    if not missing or not unknown:
        return
    lines = [f"{sheet.name} lacks {len(missing)} of the {len(KEYS)} required columns:"]
    for key in missing:
        names = {normalise_name(name): name for name in (key, *parameter(key).aliases)}
        near = [c for c in unknown if difflib.get_close_matches(normalise_name(c), names, n=1, cutoff=0.6)]
        hint = f"; is it {' or '.join(map(repr, near[:3]))}?" if near else ""
        lines.append(f"  {key} ({parameter(key).meaning}, {parameter(key).unit}){hint}")
    if unknown:
        shown = ", ".join(map(repr, unknown[:SHOWN_PROBLEMS]))
        lines.append(f"Columns of unknown name: {shown}{' ...' if len(unknown) > SHOWN_PROBLEMS else ''}.")
    raise InputError("\n".join(lines))


__all__ = ["LabelSheet", "find_sheet", "read_labels"]

SHEET_NAMES: Final = ("labels.csv", "labels.xlsx")
_COHORTS: Final = {"i": "I", "1": "I", "ii": "II", "2": "II"}


@dataclass(frozen=True)
class LabelSheet:
    """A label sheet that has been read.

    Attributes:
        name: the file's name.
        table: indexed by patient_id (str) in sheet order: `cohort` ("I" or "II"), `person` (text; the
            patient id where none is given), the nine values (float, NaN where missing), and the optional
            columns that the sheet has.
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
    cohorts, persons = _cohorts(reading, cohort1_size), _persons(reading, ids)
    _check_persons(reading, persons, cohorts)
    columns: dict[str, Sequence[object]] = {"cohort": cohorts, PERSON: persons}
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
            f"{', '.join(KEYS)}; optional: cohort (I or II), "
            f"{', '.join((PERSON, *NUMBERS, *TEXTS))}."
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


def _persons(reading: _Reading, ids: list[str]) -> list[str]:
    if PERSON not in reading.positions:
        return ids
    texts = [canonical_id(reading.text(row, PERSON)) for row in reading.sheet.rows]
    return [patient if is_missing(text) else text for text, patient in zip(texts, ids, strict=True)]


def _check_persons(reading: _Reading, persons: list[str], cohorts: list[str]) -> None:
    """A person stays in one cohort."""
    rows = [row.number for row in reading.sheet.rows]
    apart = persons_apart(persons, [f"Cohort {cohort}" for cohort in cohorts], rows)
    advice = "give both rows one cohort"
    if "cohort" not in reading.positions:
        advice = "cohort1_size parts the sheet there: choose another, or give a cohort column"
    reading.problems += [f"{problem}; {advice}" for problem in apart]


def _values(reading: _Reading, key: str) -> list[float]:
    if key not in reading.positions:
        return [math.nan] * len(reading.sheet.rows)
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
    if PERSON not in reading.positions and (alike := numbered_alike(list(labels.index))):
        rows = " and ".join(str(reading.sheet.rows[position].number) for position in alike[:2])
        notes.append(
            f"{len(alike)} patient ids look like examinations of the same persons (rows {rows} first). If "
            f"they are, give each row its person in a column {PERSON!r}: folds, cohorts and intervals then "
            "go by person. Without it a network may be judged on a person that it was trained on"
        )
    missing = labels[list(KEYS)].isna().sum()
    if missing.any():
        counted = ", ".join(f"{key} {count}" for key, count in missing.items() if count)
        notes.append(f"missing values, masked: {counted}")
    return notes
