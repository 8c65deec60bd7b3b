"""What a clip's file name says: its patient and its view."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from typing import Final

from cardio_mlflow.parameters import is_view, normalise_name, view

_SEPARATORS: Final = "_-. "


def natural_key(text: str) -> tuple[tuple[int, str], ...]:
    """Sort key that compares the numbers in a name as numbers.

    >>> sorted(["FC10", "FC2", "FC_1"], key=natural_key)
    ['FC2', 'FC10', 'FC_1']
    """
    parts = re.findall(r"\d+|\D+", text.lower())
    return (*((int(p), "") if p.isdecimal() else (-1, p) for p in parts), (-2, text))


class KnownPatients:
    """The ids of the label sheet, found by their spelling in a file name.

    An id is found as it is written; else in any case, where that leaves one id only.

    >>> known = KnownPatients(["P01", "q", "Q"])
    >>> known.find("p01"), known.find("q"), known.find("P1") is None
    ('P01', 'q', True)
    """

    def __init__(self, ids: Collection[str]) -> None:
        self._exact = frozenset(ids)
        self._folded: dict[str, list[str]] = {}
        for patient in self._exact:
            self._folded.setdefault(patient.casefold(), []).append(patient)

    def find(self, name: str) -> str | None:
        """The id that a name, or part of one, stands for."""
        name = unicodedata.normalize("NFC", name)
        if name in self._exact:
            return name
        near = self._folded.get(name.casefold(), ())
        return near[0] if len(near) == 1 else None


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
    """The code of the one view that a name holds anywhere, spelled with its window.

    Only names that begin with the window (apical or parasternal) count: a "four chamber" within a name
    can be subcostal, a "long axis" apical, an "LA" the left atrium.

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
    """Split ``<patient>_<view>`` or ``<view>_<patient>``; any of ``_ - .`` and space may separate them.

    Ids may hold separators themselves, and the longest known id is taken.

    Args:
        stem: a file name without its suffix.
        patients: the known ids.

    Returns:
        The patient, spelled as in the label sheet where it is known, and the view's code; None when the
        name tells no view, or can be read as two different clips.

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
