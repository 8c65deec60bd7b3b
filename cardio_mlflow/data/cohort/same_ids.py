"""Ids that a spreadsheet has changed: the clips' long form of an id that the label sheet has damaged."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Final

from cardio_mlflow.data.cohort.labels import LabelSheet

_EXACT_DIGITS: Final = 15  # of a number in a spreadsheet (IEEE 754 double); the digits behind become 0
_LEAST_SHOWN: Final = 4
"""Digits that an id with a power of ten must show to be matched: 2.018E+11. Too many ids become 2E+11."""
_ROUNDED: Final = re.compile(r"\d(?:[.,]\d+)?[eE]\+?\d{1,3}|\d{16,}")


def _bare(text: str) -> str:
    return re.sub(r"[.,]0+$", "", text).lstrip("0")


def _zeros(ours: str, theirs: str) -> bool:
    return ours.isdecimal() and theirs.isdecimal() and ours.lstrip("0") == theirs.lstrip("0")


def _decimals(ours: str, theirs: str) -> bool:
    bare = re.fullmatch(r"(\d+)[.,]0+", theirs)
    return bare is not None and _zeros(ours, bare[1])


def _scientific(ours: str, theirs: str) -> bool:
    """2.018E+11 for a number of twelve digits that starts so, rounded or cut off."""
    form = re.fullmatch(r"(\d)(?:[.,](\d+))?[eE]\+?(\d{1,3})", ours)
    if form is None or not theirs.isdecimal() or len(theirs.lstrip("0")) != int(form[3]) + 1:
        return False
    digits = form[1] + (form[2] or "")
    number = Decimal(theirs).scaleb(len(digits) - 1 - int(form[3]))
    return Decimal(digits) in {number.quantize(Decimal(1), way) for way in (ROUND_HALF_UP, ROUND_DOWN)}


def _cut(ours: str, theirs: str) -> bool:
    """Digits behind the fifteenth became zeros."""
    if not (ours.isdecimal() and theirs.isdecimal() and len(ours) == len(theirs) > _EXACT_DIGITS):
        return False
    return ours[:_EXACT_DIGITS] == theirs[:_EXACT_DIGITS] and not ours[_EXACT_DIGITS:].strip("0")


DIFFERENCES: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "leading zeros": _zeros,
    "a decimal .0": _decimals,
    "a power of ten (2E+11)": _scientific,
    "the digits behind the fifteenth": _cut,
}
"""What a spreadsheet does to an id, and whether a sheet's id and a clip's differ by that alone."""


def difference(ours: str, theirs: str) -> str | None:
    """By what alone a sheet's id and a clip's differ; None for ids that are really different.

    >>> difference("7", "007"), difference("2.018E+11", "201812345678"), difference("7", "70") is None
    ('leading zeros', 'a power of ten (2E+11)', True)
    """
    return next((words for words, same in DIFFERENCES.items() if ours != theirs and same(ours, theirs)), None)


def _tells(patient: str) -> bool:
    """Whether an id shows enough of its digits to tell it from others."""
    shown, power, _ = patient.upper().partition("E")
    return not power or sum(map(str.isdecimal, shown)) >= _LEAST_SHOWN


def same_ids(
    sheet: LabelSheet, with_clips: Collection[str], strangers: Iterable[str]
) -> tuple[dict[str, str], list[str]]:
    """Match patients without clips with ids of clips that differ only by what a spreadsheet does to ids.

    Args:
        sheet: the label sheet.
        with_clips: its patients who have clips.
        strangers: the ids of the clips that belong to nobody.

    Returns:
        The patient of each such id, where neither could be another's and the sheet's shows at least four
        digits; and notes that name rows only.
    """
    rounded = [patient for patient in sheet.table.index if _ROUNDED.fullmatch(patient)]
    whole: dict[str, list[str]] = {}
    for patient in sheet.table.index:
        whole.setdefault(_bare(patient), []).append(patient)
    near = {
        clip_id: {
            patient: words
            for patient in (*whole.get(_bare(clip_id), ()), *rounded)
            if (words := difference(patient, clip_id))
        }
        for clip_id in strangers
    }
    claims = [patient for patients in near.values() for patient in patients]
    matched: dict[str, str] = {}
    by_words: dict[str, list[str]] = {}
    for clip_id, patients in near.items():
        patient = next(iter(patients), "")
        if len(patients) == claims.count(patient) == 1 and patient not in with_clips and _tells(patient):
            matched[clip_id] = patient
            by_words.setdefault(patients[patient], []).append(patient)
    unclear = sorted(set(claims) - set(matched.values()), key=sheet.rows.__getitem__)
    notes = [
        f"ids of sheet and clips differ only by {words}, and were matched: {sheet.some_rows(patients)}"
        for words, patients in by_words.items()
    ]
    if unclear:
        notes.append(
            f"ids of sheet and clips differ only by {', '.join(DIFFERENCES)}, but could belong to several, "
            f"or show fewer than {_LEAST_SHOWN} digits (2E+11), so they were not matched: "
            f"{sheet.some_rows(unclear)}. Write the ids as the clips have them, in a column formatted as text"
        )
    return matched, notes
