"""The label sheet: paired catheterisation values of every patient, checked cell by cell."""

from __future__ import annotations

import datetime
import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeVar

import pandas as pd
from openpyxl.utils import get_column_letter

from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS, is_parameter, normalise_name, parameter
from cardio_mlflow.sheets.cells import (
    MARKS,
    canonical_id,
    canonical_unit,
    id_problem,
    parse_date,
    range_problem,
    wrong_unit,
)
from cardio_mlflow.sheets.sheet import SHOWN_PROBLEMS, Row, Sheet, raise_problems, read_sheet

__all__ = ["LabelSheet", "find_sheet", "read_labels"]

PATIENT_ID: Final = "patient_id"
PATIENT_NAMES: Final = ("patient_id", "patient", "pid", "subject_id", "subject", "id")
"""Headings of the column of patient ids; the first that is there wins."""
SHEET_NAMES: Final = ("labels.csv", "labels.xlsx")
NUMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "HR": ("bpm", "beats/min", "1/min"),
    "BSA": ("m²",),
    "MAP": (parameter("meanPAP").unit,),
}
"""Optional numeric columns and the units that may stand in their cells."""
TEXTS: Final = ("sex", "age", "rhythm", "BMI", "scanner")
"""Optional columns kept as text, for subgroups."""
_OPTIONAL: Final[Mapping[str, tuple[str, ...]]] = {
    "cohort": (),
    "study": ("study folder", "echo study"),
    "rhc_date": ("date of RHC", "catheterisation date", "catheterization date"),
    "HR": ("heart rate",),
    "BSA": ("body surface area",),
    "MAP": ("mean arterial pressure",),
    **dict.fromkeys(TEXTS, ()),
}
"""Optional columns and other headings for them, compared without case and punctuation."""
_BY_HEADING: Final = {normalise_name(n): name for name, names in _OPTIONAL.items() for n in (name, *names)}
_OTHER_QUANTITIES: Final = frozenset(("svr", "pvri", "tpr", "papi", "tpg", "dpg", "rvsp", "sv", "svi"))
"""Headings like a parameter's that mean something else."""
_COHORTS: Final = {"i": "I", "1": "I", "ii": "II", "2": "II"}
_SUMMARIES: Final = re.compile(
    r"(?:(?:mean|average|avg|mittelwert|median|sd|std|se|sem|stdev|min|max|minimum|maximum|sum|total|count|n"
    r"|iqr|range|summe|anzahl|moyenne|media|ci|95)\b[\s.±/+%()=:\-–]*)+",
    re.IGNORECASE,
)
"""What a row of sums or means at the end of a sheet is called."""
_Value = TypeVar("_Value")


def match_columns(sheet: Sheet) -> dict[str, int]:
    """Find the position of each known column; the names are compared without case and punctuation.

    Raises:
        InputError: no parameter has a column, one may be misspelt, two columns hold one value, a heading
            names a wrong unit, or there is no column for patient ids.
    """
    positions: dict[str, int] = {}
    for position, heading in enumerate(sheet.columns):
        name = parameter(heading).key if is_parameter(heading) else _BY_HEADING.get(normalise_name(heading))
        if name is None:
            continue
        if name in positions:
            both = f"{sheet.column(positions[name])} and {sheet.column(position)}"
            raise InputError(f"{sheet.name}: columns {both} both hold {name}: keep one of them.")
        if brackets := re.search(r"[(\[](.*?)[)\]]", heading):
            _check_unit(sheet, position, name, brackets.group(1))
        positions[name] = position
    patient = sheet.find(PATIENT_NAMES)
    _check_parameters(sheet, positions, patient)
    if patient is None and 0 in positions.values():
        raise InputError(f"{sheet.name}: no patient_id column, and the first one is no id either.")
    return positions | {PATIENT_ID: patient or 0}


def _check_unit(sheet: Sheet, position: int, name: str, unit: str) -> None:
    if not is_parameter(name):
        return
    wanted = parameter(name)
    if conversion := wrong_unit(unit, wanted.unit):
        raise InputError(
            f"{sheet.name}, column {sheet.column(position)}: {name} is wanted in {wanted.unit}; "
            f"{conversion.advice} and change the unit."
        )


def _check_parameters(sheet: Sheet, positions: Mapping[str, int], patient: int | None) -> None:
    """Refuse a sheet without any parameter, or with a column that may be a missing one misspelt."""
    missing = [key for key in KEYS if key not in positions]
    if len(positions) + (patient is not None) < 2 or len(missing) == len(KEYS):
        raise InputError(
            f"{sheet.name}: the row of headings names none, or too few, of the columns {PATIENT_ID}, "
            f"{', '.join(KEYS)} in its {len(sheet.columns)} cells. It must hold the names of the columns; "
            "each patient has a row below it."
        )
    taken = {*positions.values(), patient}
    unknown = {i: normalise_name(c) for i, c in enumerate(sheet.columns) if i not in taken}
    lines = []
    for key in missing:
        names = [normalise_name(name) for name in (key, *parameter(key).aliases)]
        near = [
            get_column_letter(i + 1) if patient is None else sheet.column(i)
            for i, name in unknown.items()
            if name not in _OTHER_QUANTITIES and difflib.get_close_matches(name, names, n=1, cutoff=0.6)
        ]
        if near:
            meant = f"{key} ({parameter(key).meaning}, {parameter(key).unit})"
            lines.append(f"  {meant}: is it column {' or '.join(near[:3])}?")
    if lines:
        head = f"{sheet.name} lacks columns that others may stand for. Rename those, or delete them:"
        raise InputError("\n".join([head, *lines]))


@dataclass(frozen=True)
class LabelSheet:
    """A label sheet that has been read.

    Attributes:
        name: the file's name.
        table: indexed by patient_id (str) in sheet order: `cohort` ("I" or "II"), the nine values (float,
            NaN where missing, also where the sheet has no such column), and the optional columns that the
            sheet has.
        rows: the row of each patient in the file, counted from 1, for messages that name no patient.
        notes: what the user should be told.
        studies: the study folder that the sheet names for a patient. It can be a date: never write it.
        dates: the day of a patient's catheterisation, where the sheet has it. Never write it.
    """

    name: str
    table: pd.DataFrame
    rows: dict[str, int]
    notes: tuple[str, ...]
    studies: dict[str, str] = field(default_factory=dict)
    dates: dict[str, datetime.date] = field(default_factory=dict)

    def some_rows(self, patients: Sequence[str]) -> str:
        """How many patients, and their rows, the first of many: for messages that name no patient."""
        rows = ", ".join(str(self.rows[patient]) for patient in patients[:SHOWN_PROBLEMS])
        more = " ..." if len(patients) > SHOWN_PROBLEMS else ""
        return f"{len(patients)} patient{'s' if len(patients) > 1 else ''} (row {rows}{more} of {self.name})"


@dataclass
class _Reading:
    """A sheet being read: where its columns are, and the problems found so far."""

    sheet: Sheet
    positions: dict[str, int]
    problems: list[str] = field(default_factory=list)
    marked: list[str] = field(default_factory=list)

    def refuse(self, row: Row, column: str, problem: str) -> None:
        self.problems.append(self.sheet.problem(row, self.positions[column], problem))

    def each(self, column: str, read: Callable[[Row, int], _Value], missing: _Value) -> list[_Value]:
        """A column's cells by a function that raises ValueError for one that it cannot take."""
        values = []
        for row in self.sheet.rows:
            try:
                values.append(read(row, self.positions[column]))
            except ValueError as error:
                self.refuse(row, column, str(error))
                values.append(missing)
        return values


def read_labels(folder: Path, cohort1_size: int) -> LabelSheet:
    """Read and check a cohort folder's label sheet.

    Args:
        folder: the cohort folder, holding labels.csv or labels.xlsx.
        cohort1_size: how many of the first rows are Cohort I when the sheet has no cohort column.

    Raises:
        InputError: no sheet, or the first ten problems of it by row and column; no cell is repeated.
    """
    sheet = read_sheet(find_sheet(folder))
    positions = match_columns(sheet)
    sheet = _without_units(sheet, positions)
    reading = _Reading(sheet, positions)
    if not sheet.rows:
        raise InputError(f"{sheet.name} has a header but no patient below it.")
    ids = _patient_ids(reading)
    columns: dict[str, Sequence[object]] = {"cohort": _cohorts(reading, cohort1_size)}
    columns |= {key: _values(reading, key) for key in KEYS}
    columns |= {name: _numbers(reading, name, NUMBERS[name]) for name in NUMBERS if name in positions}
    columns |= {name: _texts(reading, name) for name in TEXTS if name in positions}
    studies, dates = _texts(reading, "study"), _dates(reading)
    raise_problems(sheet.name, reading.problems)
    labels = pd.DataFrame(columns, index=pd.Index(ids, name=PATIENT_ID, dtype="object"))
    return LabelSheet(
        sheet.name,
        labels,
        {patient: row.number for patient, row in zip(ids, sheet.rows, strict=True)},
        (*sheet.notes, *_notes(reading, labels, cohort1_size)),
        {patient: study for patient, study in zip(ids, studies, strict=True) if study},
        {patient: date for patient, date in zip(ids, dates, strict=True) if date},
    )


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


def _without_units(sheet: Sheet, positions: Mapping[str, int]) -> Sheet:
    """The sheet without a row of units below the headings, which are checked like those in headings."""
    names = [name for name in positions if name in KEYS or name in NUMBERS]
    if not sheet.rows:
        return sheet
    row = sheet.rows[0]
    units = {name: text for name in names if (text := row.cells[positions[name]].text)}
    ours = {parameter(key).unit for key in KEYS}
    known = {canonical_unit(unit) for unit in ours.union(*NUMBERS.values())}
    texts = units.values()
    if not units or not all(canonical_unit(t) in known or any(wrong_unit(t, u) for u in ours) for t in texts):
        return sheet
    for name, text in units.items():
        _check_unit(sheet, positions[name], name, text)
        wanted = NUMBERS[name] if name in NUMBERS else (parameter(name).unit,)
        if canonical_unit(text) not in map(canonical_unit, wanted):
            reason = f"a unit, but {name} is wanted in {wanted[0]}"
            raise_problems(sheet.name, [sheet.problem(row, positions[name], reason)])
    note = f"row {row.number} holds units, no patient"
    return replace(sheet, rows=sheet.rows[1:], notes=(*sheet.notes, note))


def _patient_ids(reading: _Reading) -> list[str]:
    first_row: dict[str, int] = {}
    ids = []
    position = reading.positions[PATIENT_ID]
    summaries = _summaries(reading)
    for row in reading.sheet.rows:
        patient_id = canonical_id(row.cells[position].text)
        if row.number in summaries:
            problem = "a summary such as a mean, no patient: delete this row (or give the patient another id)"
            reading.refuse(row, PATIENT_ID, problem)
        elif problem := id_problem(row.cells[position]) or "":
            reading.refuse(row, PATIENT_ID, problem)
        elif patient_id in first_row:
            rounded = re.fullmatch(r"\d[.,]?\d*[eE]\+?\d+", patient_id)
            hint = ". Ids like 2E+11 have lost digits: format the column as text and write them again"
            first = f"duplicate id: it is already in row {first_row[patient_id]}{hint if rounded else ''}"
            reading.refuse(row, PATIENT_ID, first)
        first_row.setdefault(patient_id, row.number)
        ids.append(patient_id)
    return ids


def _summaries(reading: _Reading) -> set[int]:
    """The numbers of the last rows, as far as they are called mean, SD, total and the like."""
    found: set[int] = set()
    for row in reversed(reading.sheet.rows):
        if not _SUMMARIES.fullmatch(row.cells[reading.positions[PATIENT_ID]].text):
            break
        found.add(row.number)
    return found


def _cohorts(reading: _Reading, cohort1_size: int) -> list[str]:
    if "cohort" not in reading.positions:
        return ["I" if i < cohort1_size else "II" for i in range(len(reading.sheet.rows))]
    cohorts = []
    for row in reading.sheet.rows:
        text = canonical_id(row.cells[reading.positions["cohort"]].text).lower()
        text = text.removeprefix("cohort").strip(" -_")
        if text not in _COHORTS:
            reading.refuse(row, "cohort", "write I or II")
        cohorts.append(_COHORTS.get(text, ""))
    return cohorts


def _values(reading: _Reading, key: str) -> list[float]:
    if key not in reading.positions:
        return [math.nan] * len(reading.sheet.rows)
    values = _numbers(reading, key, (parameter(key).unit,))
    for row, value in zip(reading.sheet.rows, values, strict=True):
        if problem := range_problem(value, parameter(key)):
            reading.refuse(row, key, problem)
    return values


def _numbers(reading: _Reading, column: str, units: tuple[str, ...]) -> list[float]:
    def read(row: Row, position: int) -> float:
        value = reading.sheet.number(row, position, units)
        if not math.isnan(value) and MARKS & set(row.cells[position].text):
            reading.marked.append(f"row {row.number}, column {reading.sheet.column(position)}")
        return value

    return reading.each(column, read, math.nan)


def _texts(reading: _Reading, column: str) -> list[str | None]:
    if column not in reading.positions:
        return [None] * len(reading.sheet.rows)
    return reading.each(column, lambda row, position: reading.sheet.text(row, position) or None, None)


def _dates(reading: _Reading) -> list[datetime.date | None]:
    if "rhc_date" not in reading.positions:
        return [None] * len(reading.sheet.rows)
    return reading.each("rhc_date", lambda row, position: parse_date(row.cells[position]), None)


def _notes(reading: _Reading, labels: pd.DataFrame, cohort1_size: int) -> list[str]:
    notes = []
    counts = labels["cohort"].value_counts()
    sizes = f"{counts.get('I', 0)} in Cohort I, {counts.get('II', 0)} in Cohort II"
    if "cohort" not in reading.positions:
        notes.append(f"no cohort column: the first {cohort1_size} rows are Cohort I ({sizes})")
    heading = reading.sheet.columns[reading.positions[PATIENT_ID]]
    if normalise_name(heading) not in map(normalise_name, PATIENT_NAMES):
        notes.append(f"no patient_id column: the first column, {heading!r}, holds the patient ids")
    if reading.marked:
        shown = "; ".join(reading.marked[:SHOWN_PROBLEMS]) + (
            " ..." if reading.marked[SHOWN_PROBLEMS:] else ""
        )
        notes.append(f"{len(reading.marked)} cells hold a mark beside the number, which was dropped: {shown}")
    missing = labels[list(KEYS)].isna().sum()
    if absent := [key for key in KEYS if missing[key] == len(labels)]:
        notes.append(f"no patient has a value of {', '.join(absent)}")
    if partly := [f"{key} {count}" for key, count in missing.items() if 0 < count < len(labels)]:
        notes.append(f"missing values, masked: {', '.join(partly)}")
    return notes
