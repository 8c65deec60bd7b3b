"""Whose clip a name means, and of which view: ids as sheet and files spell them, names of views."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from cardio_mlflow.data.cohort.labels import LabelSheet
from cardio_mlflow.parameters import is_view, normalise_name, view

_EXACT_DIGITS: Final = 15  # of a number in a spreadsheet (IEEE 754 double); the digits behind become 0
_LEAST_SHOWN: Final = 4
"""Digits that an id with a power of ten must show to be matched: 2.018E+11. Too many ids become 2E+11."""
_SCIENTIFIC: Final = re.compile(r"(\d)(?:[.,](\d+))?[eE]\+?(\d{1,3})")
_DAMAGED: Final = re.compile(rf"{_SCIENTIFIC.pattern}|\d{{{_EXACT_DIGITS + 1},}}")
_ZEROS, _DECIMALS, _POWER, _CUT = DIFFERENCES = (
    "leading zeros", "a decimal .0", "a power of ten (2E+11)", "the digits behind the fifteenth",
)  # fmt: skip
"""What a spreadsheet does to an id."""


def difference(ours: str, theirs: str) -> str | None:
    """By what alone a sheet's id and a clip's differ; None for ids that are really different.

    >>> difference("7", "007"), difference("2.018E+11", "201812345678"), difference("7", "70") is None
    ('leading zeros', 'a power of ten (2E+11)', True)
    """
    plain = _without_decimals(theirs)
    if ours == theirs:
        return None
    if form := _SCIENTIFIC.fullmatch(ours):
        return _POWER if _begins(theirs, f"{form[1]}{form[2] or ''}", int(form[3])) else None
    if not (ours.isdecimal() and plain.isdecimal()):
        return None
    if ours.lstrip("0") == plain.lstrip("0"):
        return _ZEROS if plain == theirs else _DECIMALS
    kept, lost = ours[:_EXACT_DIGITS], ours[_EXACT_DIGITS:]
    is_cut = len(ours) == len(theirs) == len(plain) and theirs.startswith(kept) and not lost.strip("0")
    return _CUT if lost and is_cut else None


def _without_decimals(text: str) -> str:
    return re.sub(r"[.,]0+$", "", text)


def _begins(text: str, digits: str, power: int) -> bool:
    """Whether a number of so many digits behind its first begins with these, rounded or cut off."""
    if not text.isdecimal() or len(text.lstrip("0")) != power + 1:
        return False
    text = text.lstrip("0").ljust(len(digits), "0")
    unit = 10 ** (len(text) - len(digits))
    return int(digits) in (int(text) // unit, (int(text) + unit // 2) // unit)


def _shows_enough(patient: str) -> bool:
    form = _SCIENTIFIC.fullmatch(patient)
    return form is None or len(f"{form[1]}{form[2] or ''}") >= _LEAST_SHOWN


def same_ids(
    sheet: LabelSheet, with_clips: Collection[str], strangers: Iterable[str]
) -> tuple[dict[str, str], list[str]]:
    """Match patients without clips with ids of clips (strangers) that differ only by what a spreadsheet does.

    A match needs that neither could be another's, and that the sheet's id shows at least four digits. The
    notes name rows only.
    """
    whole: dict[str, list[str]] = defaultdict(list)
    for patient in sheet.table.index:
        whole[_without_decimals(patient).lstrip("0")].append(patient)
    damaged = [patient for patient in sheet.table.index if _DAMAGED.fullmatch(patient)]
    near = {
        clip_id: {
            patient: words
            for patient in (*whole[_without_decimals(clip_id).lstrip("0")], *damaged)
            if (words := difference(patient, clip_id))
        }
        for clip_id in strangers
    }
    claims = Counter(patient for patients in near.values() for patient in patients)
    matched: dict[str, str] = {}
    by_words: dict[str, list[str]] = defaultdict(list)
    for clip_id, patients in near.items():
        patient = next(iter(patients), "")
        if len(patients) == claims[patient] == 1 and patient not in with_clips and _shows_enough(patient):
            matched[clip_id] = patient
            by_words[patients[patient]].append(patient)
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


_SEPARATORS: Final = "_-. "


class KnownPatients:
    """The ids of the label sheet, found as written or in a further spelling, else in any case if one fits.

    >>> known = KnownPatients(["P01", "q", "Q", "7"], {"007": "7"})
    >>> known.find("p01"), known.find("q"), known.find("007"), known.find("P1") is None
    ('P01', 'q', '7', True)
    """

    def __init__(self, ids: Collection[str], spellings: Mapping[str, str] | None = None) -> None:
        self._exact = {**(spellings or {}), **{patient: patient for patient in ids}}
        self._folded: dict[str, set[str]] = {}
        for name, patient in self._exact.items():
            self._folded.setdefault(name.casefold(), set()).add(patient)

    def find(self, name: str) -> str | None:
        """The id that a name, or part of one, stands for."""
        name = unicodedata.normalize("NFC", name)
        near = self._folded.get(name.casefold(), set())
        return self._exact.get(name) or (next(iter(near)) if len(near) == 1 else None)

    def is_near(self, name: str) -> bool:
        """Whether a name differs from an id only by what a spreadsheet does to ids."""
        return any(difference(patient, name) for patient in self._exact)


class UnknownPatients(KnownPatients):
    """Nobody is known: any name of a folder that groups nothing and shows no view can be a patient's."""

    def __init__(self) -> None:
        super().__init__(())

    def is_near(self, name: str) -> bool:  # noqa: ARG002
        """Every name is."""
        return True


def view_prefix(name: str) -> str | None:
    """The code of the view that a name starts with, if a separator, a digit or nothing follows.

    >>> view_prefix("A4C_rest_01"), view_prefix("PSAX-PM"), view_prefix("LAD") is None
    ('FC', 'SA', True)
    """
    for end in range(len(name), 0, -1):
        if name[:end].endswith(tuple(_SEPARATORS)) or name[end : end + 1].isalpha():
            continue
        if is_view(name[:end]):
            return view(name[:end]).code
    return None


def view_within(name: str) -> str | None:
    """The code of the one view that a name holds anywhere, spelled with its window (apical or parasternal).

    A "four chamber" within a name can be subcostal, a "long axis" apical, an "LA" the left atrium.

    >>> view_within("IM_0012_A4C_rest"), view_within("subcostal four chamber") is None
    ('FC', True)
    >>> view_within("A4C_and_A2C") is None
    True
    """
    words = re.split(f"[{re.escape(_SEPARATORS)}]+", name)
    spans = (
        " ".join(words[i:j])
        for i in range(len(words))
        for j in range(i + 1, min(i + 4, len(words)) + 1)
    )  # fmt: skip
    codes = {view(span).code for span in spans if is_view(span) and normalise_name(span)[0] in "ap"}
    return codes.pop() if len(codes) == 1 else None


def split_name(stem: str, patients: KnownPatients) -> tuple[str, str] | None:
    """Patient and view's code of ``<patient>_<view>`` or ``<view>_<patient>``, a file name without suffix.

    Any of ``_ - .`` and space may separate them. Ids may hold separators themselves; the longest known id is
    taken, in the label sheet's spelling. None when the name holds no view, or can be read as two different
    clips.

    >>> known = KnownPatients(["P", "P_1"])
    >>> split_name("P_1_A4C", known), split_name("psax-p_1", known), split_name("notes", known) is None
    (('P_1', 'FC'), ('P_1', 'SA'), True)
    """
    first = list(_patient_first(stem))
    readings = [
        next(((found, code) for name, code in pairs if (found := patients.find(name))), None)
        for pairs in (first, _view_first(stem))
    ]
    known = {reading for reading in readings if reading is not None}
    if len(known) > 1:
        return None
    return known.pop() if known else next(iter([*first, *_view_first(stem)]), None)


def _patient_first(stem: str) -> Iterator[tuple[str, str]]:
    """Readings as patient and view, the longest patient first."""
    for position in _separators(stem)[::-1]:
        if code := view_prefix(stem[position + 1 :].lstrip(_SEPARATORS)):
            yield stem[:position], code
            if stem[:position].rstrip(_SEPARATORS):
                yield stem[:position].rstrip(_SEPARATORS), code


def _view_first(stem: str) -> Iterator[tuple[str, str]]:
    """Readings as view and patient. No word may follow: it could be a part of a longer id."""
    for position in _separators(stem):
        if is_view(stem[:position]) and (patient := stem[position + 1 :].lstrip(_SEPARATORS)):
            yield patient, view(stem[:position]).code


def _separators(stem: str) -> list[int]:
    return [i for i, character in enumerate(stem) if character in _SEPARATORS and i]


def study_key(name: str) -> str:
    """A study folder's name without case, and without the marks within a date.

    >>> study_key("2018-05-12") == study_key("20180512"), study_key("1.2") == study_key("12")
    (True, False)
    """
    name = unicodedata.normalize("NFC", name).casefold()
    return name.replace("-", "") if re.fullmatch(r"\d{4}-\d\d-\d\d", name) else name
