"""Persons of a label sheet: rows of one person are examinations of it and stay together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import pandas as pd

PERSON: Final = "person"
ALIASES: Final = ("person_id", "mrn", "medical record number")
"""Other names of the column, compared without case and punctuation."""

_WORDS: Final = "visit|exam|examination|scan|study|session|timepoint|time|followup|fu|tp|t|v"
_NAMED: Final = re.compile(rf"(.*\d)[ _.-]*(?:{_WORDS})[ _.-]*0?(\d)", re.IGNORECASE)
_NUMBERED: Final = re.compile(r"(.*\d)[_.-]([1-9])")
_LETTERED: Final = re.compile(r"(.*\d)([a-f])", re.IGNORECASE)


def shared_persons(labels: pd.DataFrame) -> pd.Series[str] | None:
    """The person of each row where any two rows share one; None where there are none such."""
    if PERSON not in labels or not labels[PERSON].duplicated().any():
        return None
    return labels[PERSON]


def persons_apart(persons: Sequence[str], parts: Sequence[object], rows: Iterable[int]) -> list[str]:
    """The rows, by number, whose person stands in another part (fold, cohort) too; in words, no name."""
    seen: dict[str, tuple[object, int]] = {}
    problems = []
    for person, part, row in zip(persons, parts, rows, strict=True):
        first, before = seen.setdefault(person, (part, row))
        if first != part:
            problems.append(f"row {row}, as row {before}: one person in {first} and in {part}")
    return problems


def numbered_alike(patient_ids: Sequence[str]) -> list[int]:
    """Positions of ids that look like several examinations of one person, in order.

    Those are ids that differ only at their end, behind a digit: in a numbered word (S1_visit1, S1_v2), in a
    digit behind a separator (123-1, 123-2) or in a letter (P01a, P01b). Of the last two kinds a stem must
    have three ids or fewer on average: 01-1 to 01-9 may be the patients of a hospital.

    >>> numbered_alike(["S1_visit1", "S1_visit2", "S2"]), numbered_alike(["P001", "P002"])
    ([0, 1], [])
    """
    for pattern, most in ((_NAMED, 9), (_NUMBERED, 3), (_LETTERED, 3)):
        members: dict[str, list[int]] = defaultdict(list)
        for position, patient in enumerate(patient_ids):
            if match := pattern.fullmatch(patient):
                members[match.group(1).lower()].append(position)
        several = [found for found in members.values() if len(found) > 1]
        if several and sum(map(len, members.values())) <= most * len(members):
            return sorted(position for found in several for position in found)
    return []
