"""Who is in a made-up PACS export: persons with hospital numbers, names and examinations; and their sheet."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cardio_mlflow.parameters import parameter

ONE_SIDED = 3
"""Persons that only the export has, and as many that only the sheet has."""
SECOND_STUDY = 3
"""Every so many-th person has a second examination, months away."""
IN_SHEET = {
    "meanPAP": "mPAP (mmHg)",
    "PCWP": "PCWP",
    "RAP": "RAP",
    "SPAP": "sPAP",
    "CO": "CO (L/min)",
    "PVR": "PVR",
}
"""The six values that the sheet has, under its own headings."""
_SYLLABLES = ("quent", "haven", "brax", "mord", "vella", "tynne", "ozgar", "plim", "jorva", "wexel")


@dataclass(frozen=True)
class Study:
    """One examination: its date, days from the catheterisation, and accession number."""

    date: datetime.date
    days: int
    accession: str


@dataclass(frozen=True)
class Person:
    """One made-up person; `number` is the synthetic patient, from 0."""

    number: int
    hospital_number: int
    name: str
    birth: datetime.date
    sex: str
    catheterised: datetime.date
    studies: tuple[Study, ...]
    in_export: bool
    in_sheet: bool

    @property
    def patient_id(self) -> str:
        """As the header has it: ten digits."""
        return f"{self.hospital_number:010d}"


def draw_persons(patients: int, seed: int, hemodynamics: pd.DataFrame) -> tuple[Person, ...]:
    """Draw the persons of the export, and after them those that only the sheet has.

    Args:
        patients: in the export.
        seed: of everything.
        hemodynamics: the table of `draw_hemodynamics` of all of them.
    """
    rng = np.random.default_rng([seed, 71])
    only_one = min(ONE_SIDED, patients // 4)
    count = patients + only_one
    numbers = rng.choice(np.arange(1_000_003, 9_999_991), size=count, replace=False)
    strangers = set(rng.choice(patients, size=only_one, replace=False).tolist())
    return tuple(
        _draw_person(i, int(numbers[i]), hemodynamics.iloc[i], rng, i < patients, i not in strangers)
        for i in range(count)
    )


def _draw_person(
    number: int,
    hospital_number: int,
    row: pd.Series,
    rng: np.random.Generator,
    in_export: bool,
    in_sheet: bool,
) -> Person:
    catheterised = datetime.date(2023, 1, 9) + datetime.timedelta(days=int(rng.integers(0, 340)))
    birth = datetime.date(2023 - int(row["age"]), int(rng.integers(1, 13)), int(rng.integers(1, 29)))
    family, given = ("".join(rng.choice(_SYLLABLES, size=2, replace=False)).upper() for _ in range(2))
    days = [int(rng.integers(-3, 4))]
    if number % SECOND_STUDY == 1:
        days.append(int(rng.integers(120, 420)) * int(rng.choice((-1, 1))))
    studies = tuple(
        Study(catheterised + datetime.timedelta(days=d), d, f"E{rng.integers(10**8, 10**9)}") for d in days
    )
    return Person(number, hospital_number, f"{family}{number}^{given}", birth, str(row["sex"]), catheterised,
                  studies, in_export, in_sheet)  # fmt: skip


def write_sheet(
    path: Path, persons: Sequence[Person], hemodynamics: pd.DataFrame, seed: int
) -> dict[int, int]:
    """Write the catheterisation sheet of those who are in it, bare hospital numbers first.

    Returns:
        Row of the sheet, as a spreadsheet counts, by hospital number.
    """
    order = np.random.default_rng([seed, 72]).permutation(len(persons))
    listed = [persons[i] for i in order if persons[i].in_sheet]
    rows = [_sheet_row(person, hemodynamics.iloc[person.number]) for person in listed]
    pd.DataFrame(rows).to_excel(path, index=False)
    return {person.hospital_number: i + 2 for i, person in enumerate(listed)}


def _sheet_row(person: Person, values: pd.Series) -> Mapping[str, object]:
    return {
        "Hospital number": person.hospital_number, "Patient name": person.name.replace("^", ", "),
        "Ward": "C4 West", "rhc_date": person.catheterised,
        **{heading: float(values[parameter(key).key]) for key, heading in IN_SHEET.items()},
        "heart rate": float(values["HR"]), "sex": person.sex, "Referred by": "Dr Example", "Remarks": "",
    }  # fmt: skip


def planted(persons: Sequence[Person]) -> tuple[str, ...]:
    """Every string that names a person or a day: none may stand in anything that is written."""
    found: set[str] = set()
    for person in persons:
        days = [person.birth, person.catheterised, *(study.date for study in person.studies)]
        found |= {
            str(person.hospital_number),
            *person.name.split("^"),
            *(s.accession for s in person.studies),
        }
        found |= {day.strftime(form) for day in days for form in ("%Y%m%d", "%Y-%m-%d", "%d/%m/%Y")}
    return tuple(sorted(found))
