"""The label sheet: paired catheterisation values of every patient, checked cell by cell."""

from __future__ import annotations

import datetime
import math
import re
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Final, TypeVar

import pandas as pd

from cardio_mlflow.data.cohort.columns import (
    NUMBERS,
    PATIENT_ID,
    PATIENT_NAMES,
    TEXTS,
    implausible,
    match_columns,
    without_units,
)
from cardio_mlflow.data.cohort.persons import PERSON, numbered_alike, person_key, persons_apart
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS, normalise_name, parameter
from cardio_mlflow.sheets.cells import MARKS, canonical_id, id_problem, is_missing, parse_date
from cardio_mlflow.sheets.sheet import Row, Sheet, first_few, raise_problems, read_sheet
from cardio_mlflow.sheets.units import range_problem

_COHORTS: Final = {"i": "I", "1": "I", "ii": "II", "2": "II"}
_SUMMARIES: Final = re.compile(
    r"(?:95 ?% ?)?(?:(?:mean|average|avg|mittelwert|median|sd|std|se|sem|stdev|min|max|minimum|maximum|sum"
    r"|total|count|n|iqr|range|summe|anzahl|moyenne|media|ci)\b[\s.±/+%()=:\-–]*)+",
    re.IGNORECASE,
)
"""What a row of sums or means at the end of a sheet is called."""
_ROUNDED: Final = "Ids like 2E+11 have lost digits: format the column as text and write them again"
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class LabelSheet:
    """A label sheet that has been read.

    Attributes:
        name: the file's name.
        table: indexed by patient_id (str) in sheet order: `cohort` ("I" or "II"), `person` (text; the
            patient id where none is given), the nine values (float, NaN where missing, also where the sheet
            has no such column), and the optional columns that the sheet has.
        rows: the row of each patient in the file, counted from 1, for messages that name no patient.
        notes: for the user; so are ``warnings``.
        studies: the study folder that the sheet names for a patient. It can be a date: never write it.
        dates: the day of a patient's catheterisation, where one can be read. Never write it either.
    """

    name: str
    table: pd.DataFrame
    rows: dict[str, int]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    studies: dict[str, str] = field(default_factory=dict)
    dates: dict[str, datetime.date] = field(default_factory=dict)

    def row(self, patient: str) -> str:
        """A patient's row, for messages that name no patient."""
        return f"row {self.rows[patient]} of {self.name}"

    def some_rows(self, patients: Sequence[str]) -> str:
        """How many patients, and their rows, the first of many."""
        rows = first_few([self.rows[patient] for patient in patients])
        return f"{len(patients)} patient{'s' if len(patients) > 1 else ''} (row {rows} of {self.name})"


@dataclass
class _Reading:
    """A sheet being read: where its columns are, and the problems, marked numbers and warnings so far."""

    sheet: Sheet
    positions: dict[str, int]
    problems: list[str] = field(default_factory=list)
    marked: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def refuse(self, row: Row, column: str, problem: str) -> None:
        self.problems.append(self.sheet.problem(row, self.positions[column], problem))

    def each(self, column: str, read: Callable[[Row, int], _Value], missing: _Value) -> list[_Value]:
        """A column's cells by a function that raises ValueError for one that it cannot take.

        One that cannot be taken is `missing`, as are all of a column that is not there.
        """
        values = []
        for row in self.sheet.rows:
            value = missing
            if column in self.positions:
                try:
                    value = read(row, self.positions[column])
                except ValueError as error:
                    self.refuse(row, column, str(error))
            values.append(value)
        return values

    def texts(self, column: str) -> list[str]:
        return self.each(column, self.sheet.text, "")

    def numbers(
        self, column: str, units: tuple[str, ...], problem_of: Callable[[float], str | None]
    ) -> list[float]:
        """Numbers within their plausible range, NaN where they are missing."""

        def read(row: Row, position: int) -> float:
            value = self.sheet.number(row, position, units)
            if not math.isnan(value) and MARKS & set(row.cells[position].text):
                self.marked.append(f"row {row.number}, column {self.sheet.column(position)}")
            if problem := problem_of(value):
                raise ValueError(problem)
            return value

        return self.each(column, read, math.nan)


def read_labels(folder: Path, cohort1_size: int) -> LabelSheet:
    """Read and check a cohort folder's label sheet, labels.csv or labels.xlsx.

    Without a cohort column the first ``cohort1_size`` rows are Cohort I.

    Raises:
        InputError: no sheet, or the first ten problems of it by row and column; no cell is repeated.
    """
    sheet = read_sheet(_find_sheet(folder))
    positions = match_columns(sheet)
    sheet = without_units(sheet, positions)
    reading = _Reading(sheet, positions)
    if not sheet.rows:
        raise InputError(f"{sheet.name} has a header but no patient below it.")
    ids, cohorts = _patient_ids(reading), _cohorts(reading, cohort1_size)
    columns: dict[str, Sequence[object]] = {"cohort": cohorts, PERSON: _persons(reading, ids, cohorts)}
    columns |= {
        key: reading.numbers(key, (parameter(key).unit,), partial(range_problem, wanted=parameter(key)))
        for key in KEYS
    }
    columns |= {
        name: reading.numbers(name, NUMBERS[name], partial(implausible, name=name))
        for name in NUMBERS
        if name in positions
    }
    columns |= {name: [text or None for text in reading.texts(name)] for name in TEXTS if name in positions}
    studies = reading.texts("study")
    dates = reading.each("rhc_date", lambda row, position: parse_date(row.cells[position]), None)
    raise_problems(sheet.name, reading.problems)
    labels = pd.DataFrame(columns, index=pd.Index(ids, name=PATIENT_ID, dtype="object"))
    return LabelSheet(
        sheet.name,
        labels,
        {patient: row.number for patient, row in zip(ids, sheet.rows, strict=True)},
        (*sheet.notes, *_notes(reading, labels, cohort1_size)),
        tuple(reading.warnings),
        {patient: study for patient, study in zip(ids, studies, strict=True) if not _is_unknown(study)},
        {patient: date for patient, date in zip(ids, dates, strict=True) if date},
    )


def _is_unknown(text: str) -> bool:
    return is_missing(text) or text.strip(" ?").lower() in ("", "unknown")


def _find_sheet(folder: Path) -> Path:
    """The one label sheet, or an InputError that says what is wrong with the folder."""
    if not folder.is_dir():
        raise InputError(f"There is no cohort folder {folder}.")
    found = sorted(p for p in folder.iterdir() if p.name.lower() in ("labels.csv", "labels.xlsx"))
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
    """The id in each row; what is wrong with one is noted."""
    first_row: dict[str, int] = {}
    summaries = _summaries(reading)

    def check(row: Row, position: int) -> None:
        patient_id = canonical_id(row.cells[position].text)
        before = first_row.setdefault(patient_id, row.number)
        if row.number in summaries:
            raise ValueError(
                "a summary such as a mean, no patient: delete this row (or give the patient another id)"
            )
        if problem := id_problem(row.cells[position]):
            raise ValueError(problem)
        if before != row.number:
            rounded = re.fullmatch(r"\d[.,]?\d*[eE]\+?\d+", patient_id)
            hint = f". {_ROUNDED}" if rounded else ""
            raise ValueError(f"duplicate id: it is already in row {before}{hint}")

    reading.each(PATIENT_ID, check, None)
    return [canonical_id(row.cells[reading.positions[PATIENT_ID]].text) for row in reading.sheet.rows]


def _summaries(reading: _Reading) -> set[int]:
    """The numbers of the last rows, as far as they are called mean, SD, total and the like."""
    position = reading.positions[PATIENT_ID]
    last = takewhile(lambda row: _SUMMARIES.fullmatch(row.cells[position].text), reversed(reading.sheet.rows))
    return {row.number for row in last}


def _cohorts(reading: _Reading, cohort1_size: int) -> list[str]:
    if "cohort" not in reading.positions:
        sheet = reading.sheet
        for i, row in enumerate(sheet.rows):
            if i < cohort1_size <= i + bisect(sheet.hidden, row.number):
                raise InputError(
                    f"{sheet.name} hides rows before the border of Cohort I, the first {cohort1_size} rows, "
                    "and has no cohort column: patients of Cohort II would move into Cohort I. Show the "
                    "rows, delete them, or give a cohort column."
                )
        return ["I" if i < cohort1_size else "II" for i in range(len(sheet.rows))]

    def read(row: Row, position: int) -> str:
        text = canonical_id(row.cells[position].text).lower().removeprefix("cohort").strip(" -_")
        if text not in _COHORTS:
            raise ValueError("write I or II")
        return _COHORTS[text]

    return reading.each("cohort", read, "")


def _persons(reading: _Reading, ids: list[str], cohorts: list[str]) -> list[str]:
    """The person in each row, in its first spelling; that one stands in both cohorts is noted."""
    given = reading.each(PERSON, _person, "")
    spelt: dict[str, str] = {}
    for person in filter(None, given):
        spelt.setdefault(person_key(person), person)
    persons = [spelt.get(person_key(p or patient), patient) for p, patient in zip(given, ids, strict=True)]
    rows = [row.number for row in reading.sheet.rows]
    joined = [
        row
        for row, own, patient, person in zip(rows, given, ids, persons, strict=True)
        if (own != person if own else person_key(patient) in spelt)
    ]
    if joined:
        reading.warnings.append(
            f"row {first_few(joined)} of {reading.sheet.name}: taken for the person of another row, from "
            "which it differs only in case, leading zeros or a decimal .0; or its person is missing, and its "
            "patient id is a person elsewhere"
        )
    elif PERSON not in reading.positions and (alike := numbered_alike(ids)):
        first = " and ".join(str(rows[position]) for position in alike[:2])
        reading.warnings.append(
            f"{len(alike)} patient ids look like examinations of the same persons (rows {first} first). If "
            f"they are, give each row its person in a column {PERSON!r}: folds, cohorts and intervals then "
            "go by person. Without it a network may be judged on a person that it was trained on"
        )
    advice = "give both rows one cohort"
    if "cohort" not in reading.positions:
        advice = "cohort1_size parts the sheet there: choose another, or give a cohort column"
    apart = persons_apart(persons, [f"Cohort {cohort}" for cohort in cohorts], rows)
    reading.problems += [f"{problem}; {advice}" for problem in apart]
    return persons


def _person(row: Row, position: int) -> str:
    cell = row.cells[position]
    if cell.fault:
        raise ValueError(cell.fault)
    if re.fullmatch(r"\d(?:[.,]\d+)?[eE]\+\d+", cell.text):
        raise ValueError(_ROUNDED)
    return "" if _is_unknown(cell.text) else canonical_id(cell.text)


def _notes(reading: _Reading, labels: pd.DataFrame, cohort1_size: int) -> list[str]:
    notes = []
    counts = labels["cohort"].value_counts()
    if "cohort" not in reading.positions:
        sizes = f"{counts.get('I', 0)} in Cohort I, {counts.get('II', 0)} in Cohort II"
        notes.append(f"no cohort column: the first {cohort1_size} rows are Cohort I ({sizes})")
    heading = reading.sheet.columns[reading.positions[PATIENT_ID]]
    if normalise_name(heading) not in map(normalise_name, PATIENT_NAMES):
        notes.append(f"no patient_id column: the first column, {heading!r}, holds the patient ids")
    if marked := reading.marked:
        shown = first_few(marked, "; ")
        notes.append(f"{len(marked)} cells hold a mark beside the number, which was dropped: {shown}")
    missing = labels[list(KEYS)].isna()
    if absent := [key for key in KEYS if missing[key].all()]:
        notes.append(f"no patient has a value of {', '.join(absent)}")
    if bare := [reading.sheet.rows[i].number for i in missing.all(axis=1).to_numpy().nonzero()[0]]:
        notes.append(f"{len(bare)} patients without any value: row {first_few(bare)}")
    if partly := [f"{key} {missing[key].sum()}" for key in KEYS if missing[key].any() and key not in absent]:
        notes.append(f"missing values, masked: {', '.join(partly)}")
    return notes
