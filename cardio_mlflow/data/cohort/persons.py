"""Persons of a label sheet: rows of one person are examinations of it and stay together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import pandas as pd

from cardio_mlflow.sheets.cells import canonical_id

PERSON: Final = "person"
ALIASES: Final = ("person_id", "mrn", "medical record number")
"""Other names of the column, compared without case and punctuation."""

_WORDS: Final = "visit|exam|examination|scan|study|session|timepoint|time|followup|fu|tp|t|v"
_NAMED: Final = re.compile(rf"(.*\d)[ _.-]*(?:{_WORDS})[ _.-]*0?(\d)", re.IGNORECASE)
_AFTER_A_NAME: Final = re.compile(rf"(.*\w)[ _.-]+(?:{_WORDS})[ _.-]*0?(\d)", re.IGNORECASE)
_STAGED: Final = re.compile(
    r"(.*\w)[ _.-]+(baseline|base|bl|pre|post|before|after|follow[ _-]?up|fup?|first|second)[ _.-]*\d?",
    re.IGNORECASE,
)
_DATED: Final = re.compile(r"(.*\w)[ _.-]+((?:19|20)\d\d([_.-]?)(?:0[1-9]|1[0-2])\3(?:0[1-9]|[12]\d|3[01]))")
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


def person_key(person: str) -> str:
    """What spellings of one person have in common: without case, leading zeros and a decimal .0.

    >>> person_key("007") == person_key("7.0"), person_key("AB12") == person_key("ab12")
    (True, True)
    """
    return canonical_id(person).casefold().lstrip("0")


def numbered_alike(patient_ids: Sequence[str]) -> list[int]:
    """Positions of ids that look like several examinations of one person, in order.

    Those are ids that differ only at their end: in a numbered word (S1_visit1, S1_v2, Smith_visit1), in a
    word such as pre, post, baseline and followup, in a date, or behind a digit in a digit with a separator
    (123-1, 123-2) or a letter (P01a, P01b). A stem must have three ids or fewer on average, nine before a
    numbered word behind a digit: 01-1 to 01-9 may be the patients of a hospital.

    >>> numbered_alike(["S1_visit1", "S1_visit2", "S2"]), numbered_alike(["P001", "P002"])
    ([0, 1], [])
    """
    for pattern in (_NAMED, _AFTER_A_NAME, _STAGED, _DATED, _NUMBERED, _LETTERED):
        most = 9 if pattern is _NAMED else 3
        members: dict[str, list[int]] = defaultdict(list)
        for position, patient in enumerate(patient_ids):
            if match := pattern.fullmatch(patient):
                members[match.group(1).lower()].append(position)
        several = [found for found in members.values() if len(found) > 1]
        if several and sum(map(len, members.values())) <= most * len(members):
            return sorted(position for found in several for position in found)
    return []
