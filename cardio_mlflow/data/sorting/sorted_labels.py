"""The label sheet of a sorted cohort: the known columns under other ids, and no cell that tells who it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pandas as pd

from cardio_mlflow.data.cohort.columns import NUMBERS, PATIENT_ID, TEXTS
from cardio_mlflow.data.cohort.labels import LabelSheet
from cardio_mlflow.data.cohort.neutral_places import Identities, tells_nobody
from cardio_mlflow.data.cohort.persons import PERSON, shared_persons
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.sheets.cells import parse_number

_LARGEST: Final = {"age": 130.0, "BMI": 200.0}
"""Years, kg/m²; a larger number is a year of birth, or something else that is not wanted."""
_LONGEST: Final = 60


def row_ids(sheet: LabelSheet) -> dict[str, str]:
    """An id in the cohort for each patient of a sheet: R and the row, as a spreadsheet shows it.

    With as many digits as the last row has, four at least.
    """
    digits = max(4, *(len(str(row)) for row in sheet.rows.values()))
    return {patient: f"R{sheet.rows[patient]:0{digits}}" for patient in sheet.table.index}


def sorted_labels(
    sheet: LabelSheet, names: Mapping[str, str], identities: Identities
) -> tuple[str, tuple[str, ...]]:
    """A label sheet as csv, in the order of the user's, and what the user should know.

    Of a sheet's columns the cohort where it is given, persons where several rows are one, the nine values and
    the optional ones are kept: no dates, and nothing that is not known.

    Args:
        sheet: the user's.
        names: id in the cohort of each patient.
        identities: who the patients are.
    """
    table = sheet.table
    columns: dict[str, object] = {PATIENT_ID: [names[patient] for patient in table.index]}
    if "cohort" in sheet.given:
        columns["cohort"] = list(table["cohort"])
    if (persons := shared_persons(table)) is not None:
        first = {person: names[str(patient)] for patient, person in reversed(list(persons.items()))}
        columns[PERSON] = [first[person] for person in persons]
    columns |= {name: list(table[name]) for name in (*KEYS, *NUMBERS) if name in table}
    notes = []
    for name in (name for name in TEXTS if name in table):
        given = ["" if pd.isna(cell) else str(cell).strip() for cell in table[name]]
        kept = [cell if _is_kept(name, cell, identities) else "" for cell in given]
        columns[name] = kept
        if lost := sum(map(bool, given)) - sum(map(bool, kept)):
            notes.append(f"{lost} cells of the column {name} were left out: they may tell who a patient is")
    return pd.DataFrame(columns).to_csv(index=False, lineterminator="\n"), tuple(notes)


def _is_kept(name: str, cell: str, identities: Identities) -> bool:
    if len(cell) > _LONGEST or not tells_nobody(cell, identities):
        return False
    if name not in _LARGEST or not cell:
        return True
    try:
        return 0 <= parse_number(cell.replace(",", ".")) <= _LARGEST[name]
    except ValueError:
        return False
