"""The label sheet: paired catheterisation values of every patient, checked cell by cell."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd

from cardio_mlflow.data.cohort.columns import (
    ACCESSION,
    NUMBERS,
    PATIENT_ID,
    PATIENT_NAMES,
    TEXTS,
    implausible,
    match_columns,
    without_units,
)
from cardio_mlflow.data.cohort.label_cells import Reading, is_unknown
from cardio_mlflow.data.cohort.label_rows import cohorts, patient_ids, persons
from cardio_mlflow.data.cohort.persons import PERSON
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS, normalise_name, parameter
from cardio_mlflow.sheets.sheet import Sheet, first_few, raise_problems, read_sheet
from cardio_mlflow.sheets.units import range_problem


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
        accessions: the accession number of a patient's examination, where the sheet has one. Nor this.
        given: the known columns that the sheet has, by their own names.
    """

    name: str
    table: pd.DataFrame
    rows: dict[str, int]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    studies: dict[str, str] = field(default_factory=dict)
    dates: dict[str, datetime.date] = field(default_factory=dict)
    accessions: dict[str, str] = field(default_factory=dict)
    given: frozenset[str] = frozenset()

    def row(self, patient: str) -> str:
        """A patient's row, for messages that name no patient."""
        return f"row {self.rows[patient]} of {self.name}"

    def some_rows(self, patients: Sequence[str]) -> str:
        """How many patients, and their rows, the first of many."""
        rows = first_few([self.rows[patient] for patient in patients])
        return f"{len(patients)} patient{'s' if len(patients) > 1 else ''} (row {rows} of {self.name})"


def read_labels(folder: Path, cohort1_size: int) -> LabelSheet:
    """Read and check a cohort folder's label sheet, labels.csv or labels.xlsx.

    Without a cohort column the first ``cohort1_size`` rows are Cohort I.

    Raises:
        InputError: no sheet, or the first ten problems of it by row and column; no cell is repeated.
    """
    sheet = read_sheet(_find_sheet(folder))
    return _read(sheet, match_columns(sheet), cohort1_size)


def read_patients(path: Path, cohort1_size: int) -> LabelSheet:
    """Read and check the sheet that an export is sorted by: as `read_labels`, of any name, values or none.

    Its ids need not fit into file names. A day of catheterisation that cannot be read is a warning.

    Raises:
        InputError: no such file, no column of ids, or problems by row and column, such as ids of the form
            2E+11.
    """
    if not path.is_file():
        raise InputError(f"There is no label sheet {path.name}: -P labels=<file.csv or file.xlsx>.")
    sheet = read_sheet(path)
    return _read(sheet, match_columns(sheet, values_wanted=False), cohort1_size, in_file_names=False)


def _read(
    sheet: Sheet, positions: dict[str, int], cohort1_size: int, in_file_names: bool = True
) -> LabelSheet:
    sheet = without_units(sheet, positions)
    reading = Reading(sheet, positions)
    if not sheet.rows:
        raise InputError(f"{sheet.name} has a header but no patient below it.")
    ids, parts = patient_ids(reading, in_file_names), cohorts(reading, cohort1_size)
    columns: dict[str, Sequence[object]] = {"cohort": parts, PERSON: persons(reading, ids, parts)}
    columns |= _values(reading)
    studies, accessions, dates = (
        reading.texts("study"),
        reading.texts(ACCESSION),
        reading.dates("rhc_date"),
    )
    if (unread := reading.unread_dates("rhc_date")) and not in_file_names:
        reading.warnings.append(
            f"{len(unread)} days of catheterisation cannot be read (row {first_few(unread)} of "
            f"{sheet.name}): write year-month-day, or format the column as dates"
        )
    raise_problems(sheet.name, reading.problems)
    labels = pd.DataFrame(columns, index=pd.Index(ids, name=PATIENT_ID, dtype="object"))
    return LabelSheet(
        sheet.name,
        labels,
        {patient: row.number for patient, row in zip(ids, sheet.rows, strict=True)},
        (*sheet.notes, *_notes(reading, labels, cohort1_size)),
        tuple(reading.warnings),
        _known(ids, studies),
        {patient: date for patient, date in zip(ids, dates, strict=True) if date},
        _known(ids, accessions),
        frozenset(positions),
    )


def _values(reading: Reading) -> dict[str, Sequence[object]]:
    """The columns of the nine values, and the optional ones that the sheet has."""
    columns: dict[str, Sequence[object]] = {
        key: reading.numbers(key, (parameter(key).unit,), partial(range_problem, wanted=parameter(key)))
        for key in KEYS
    }
    for name, units in NUMBERS.items():
        if name in reading.positions:
            columns[name] = reading.numbers(name, units, partial(implausible, name=name))
    for name in TEXTS:
        if name in reading.positions:
            columns[name] = [text or None for text in reading.texts(name)]
    return columns


def _known(ids: Sequence[str], texts: Sequence[str]) -> dict[str, str]:
    return {patient: text for patient, text in zip(ids, texts, strict=True) if not is_unknown(text)}


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


def _notes(reading: Reading, labels: pd.DataFrame, cohort1_size: int) -> list[str]:
    notes = []
    counts = labels["cohort"].value_counts()
    if "cohort" not in reading.positions:
        sizes = f"{counts.get('I', 0)} in Cohort I, {counts.get('II', 0)} in Cohort II"
        notes.append(f"no cohort column: the first {cohort1_size} rows are Cohort I ({sizes})")
    position = reading.positions[PATIENT_ID]
    heading = reading.sheet.columns[position]
    if normalise_name(heading) not in map(normalise_name, PATIENT_NAMES):
        which = (
            f"the first column, {heading!r}," if position == 0 else f"column {reading.sheet.column(position)}"
        )
        notes.append(f"no patient_id column: {which} holds the patient ids")
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
