"""Whose files an export holds: patients of the label sheet found by header or folder name."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cardio_mlflow.data.cohort.labels import LabelSheet
from cardio_mlflow.data.sorting.facts import HeaderFacts


@dataclass(frozen=True)
class Matches:
    """Which file of an export is whose.

    Attributes:
        source: what they were matched by: "PatientID", "AccessionNumber" or "folder name".
        rows: place of a file to the sheet's patient id.
        unmatched: place to "X0001" and so on, a name for each patient of the export that is in no row.
        conflicts: place to why a file is left out, in words.
        notes: for the user, counts and rows of the sheet only.
    """

    source: str
    rows: Mapping[str, str]
    unmatched: Mapping[str, str] = field(default_factory=dict)
    conflicts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def match_patients(facts: Sequence[tuple[str, HeaderFacts]], sheet: LabelSheet) -> Matches:
    """Match the files of an export (place and facts) with the rows of the sheet."""
    patients = set(sheet.table.index)
    found = {place: fact.identity.patient_id for place, fact in facts}
    return Matches("PatientID", {place: patient for place, patient in found.items() if patient in patients})


def days_from_catheterisation(moment: str, date: datetime.date | None) -> int | None:
    """Days from the catheterisation to a study of this moment (YYYYMMDD...); None where either is unknown.

    >>> days_from_catheterisation("20180514093000", datetime.date(2018, 5, 12))
    2
    """
    try:
        study = datetime.datetime.strptime(moment[:8], "%Y%m%d").date()
    except ValueError:
        return None
    return (study - date).days if date else None
