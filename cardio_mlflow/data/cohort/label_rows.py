"""Who stands in each row of a label sheet: patient, cohort and person."""

from __future__ import annotations

import re
from bisect import bisect
from itertools import takewhile
from typing import Final

from cardio_mlflow.data.cohort.columns import PATIENT_ID
from cardio_mlflow.data.cohort.label_cells import Reading, is_unknown
from cardio_mlflow.data.cohort.persons import PERSON, numbered_alike, person_key, persons_apart
from cardio_mlflow.errors import InputError
from cardio_mlflow.sheets.cells import canonical_id, id_problem
from cardio_mlflow.sheets.sheet import Row, first_few

_COHORTS: Final = {"i": "I", "1": "I", "ii": "II", "2": "II"}
_SUMMARIES: Final = re.compile(
    r"(?:95 ?% ?)?(?:(?:mean|average|avg|mittelwert|median|sd|std|se|sem|stdev|min|max|minimum|maximum|sum"
    r"|total|count|n|iqr|range|summe|anzahl|moyenne|media|ci)\b[\s.±/+%()=:\-–]*)+",
    re.IGNORECASE,
)
"""What a row of sums or means at the end of a sheet is called."""
_ROUNDED: Final = "Ids like 2E+11 have lost digits: format the column as text and write them again"


def patient_ids(reading: Reading, in_file_names: bool = True) -> list[str]:
    """The id in each row; what is wrong with one is noted, also that file names cannot hold it."""
    first_row: dict[str, int] = {}
    summaries = _summaries(reading)

    def check(row: Row, position: int) -> None:
        patient_id = canonical_id(row.cells[position].text)
        before = first_row.setdefault(patient_id, row.number)
        if row.number in summaries:
            raise ValueError(
                "a summary such as a mean, no patient: delete this row (or give the patient another id)"
            )
        if problem := id_problem(row.cells[position], in_file_names):
            raise ValueError(problem)
        rounded = re.fullmatch(r"\d[.,]?\d*[eE]\+?\d+", patient_id)
        if before != row.number:
            hint = f". {_ROUNDED}" if rounded else ""
            raise ValueError(f"duplicate id: it is already in row {before}{hint}")
        if rounded and not in_file_names:
            raise ValueError(_ROUNDED)

    reading.each(PATIENT_ID, check, None)
    return [canonical_id(row.cells[reading.positions[PATIENT_ID]].text) for row in reading.sheet.rows]


def _summaries(reading: Reading) -> set[int]:
    """The numbers of the last rows, as far as they are called mean, SD, total and the like."""
    position = reading.positions[PATIENT_ID]
    last = takewhile(lambda row: _SUMMARIES.fullmatch(row.cells[position].text), reversed(reading.sheet.rows))
    return {row.number for row in last}


def cohorts(reading: Reading, cohort1_size: int) -> list[str]:
    """The cohort of each row, I or II; what is wrong with one is noted."""
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


def persons(reading: Reading, ids: list[str], cohorts: list[str]) -> list[str]:
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
    return "" if is_unknown(cell.text) else canonical_id(cell.text)
