"""Which names of files of an export give nothing of a patient away.

A folder of an export whose headers are anonymised can still be called by a patient's name, number or date.
So a name is not harmless because it is no identity that is known: it is where it consists of words of the
field and short counters, and even then not if one of them is a known identity.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

from cardio_mlflow.sheets.cells import clean_text

_PATIENT_WORDS: Final = frozenset(("p", "pa", "pat", "s", "a", ""))
"""Words before a number that can be a patient's; so can a number without any."""
_WORDS: Final = _PATIENT_WORDS | {
    "cd", "cine", "clip", "clips", "data", "dcm", "dicom", "dicomdir", "dir", "disc", "disk", "dvd",
    "echo", "export", "exports", "f", "file", "files", "frame", "ge", "gems", "i", "im", "image",
    "images", "img", "instance", "loop", "media", "philips", "raw", "se", "ser", "series", "siemens",
    "st", "studies", "study", "tte", "us", "vivid", "vol", "zip",
}  # fmt: skip
_SUFFIX: Final = re.compile(r"\.(?:dcm|dicom|ima|img|zip|avi|mp4)", re.IGNORECASE)
_PLAIN: Final = re.compile(r"[A-Za-z0-9 _-]+")
_HEX: Final = re.compile("[0-9a-f]{8,64}|[0-9A-F]{8,64}")
_FOLDER_RUNS, _FILE_RUNS = 4, 3  # of letters and digits that a hash has
_RUNS: Final = re.compile(r"[^\W\d_]+|\d+")
_FOLDER_DIGITS, _FILE_DIGITS = 4, 5  # leading zeros apart; without a word before them one fewer
_SHORT_ID: Final = 3  # an id of so few letters and digits is met by chance in any counter
_SHORT_NAME: Final = 2
_DATE: Final = re.compile(r"\d{1,4}\s?[-/.]\s?\d{1,2}\s?[-/.]\s?\d{1,4}|0*[1-9]\d{4,}")
_MONTH, _DAY_OF_MONTH, _YEAR = "(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])", r"(?:19|20)\d\d"
_DAY: Final = re.compile(
    f"{_YEAR}{_MONTH}{_DAY_OF_MONTH}|{_DAY_OF_MONTH}{_MONTH}{_YEAR}|{_MONTH}{_DAY_OF_MONTH}{_YEAR}"
)
_YEARS: Final = range(1900, 2100)


def letters(text: str) -> str:
    """A text in small letters without accents.

    >>> letters("MÖRKÖ")
    'morko'
    """
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _runs(text: str) -> list[str]:
    """Its runs of letters, and of digits without leading zeros."""
    return [run.lstrip("0") or "0" if run.isdecimal() else run for run in _RUNS.findall(letters(text))]


@dataclass(frozen=True)
class Identities:
    """Who the patients of an export and a sheet are, to recognise them in a text; never written.

    Attributes:
        ids: hospital and accession numbers, spelt without case, separators and leading zeros.
        names: parts of names, of three letters or more.
    """

    ids: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, ids: Iterable[str], names: Iterable[str]) -> Identities:
        """Gather them from texts of headers and sheets."""
        joined = frozenset("".join(_runs(text)) for text in ids) - {"", "0"}
        words = (run for text in names for run in _runs(text) if not run.isdecimal())
        return cls(joined, frozenset(w for w in words if len(w) > _SHORT_NAME or not w.isascii()))

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Lengths of the ids that are too long to be met by chance."""
        return tuple(sorted({len(key) for key in self.ids if len(key) > _SHORT_ID}))

    def are_in(self, text: str) -> bool:
        """Whether a text holds a part of a name, or an id of more than three letters and digits."""
        runs = _runs(text)
        if not self.names.isdisjoint(runs):
            return True
        whole = "".join(runs)
        return any(
            whole[start : start + length] in self.ids
            for length in self.lengths
            for start in range(len(whole) - length + 1)
        )

    def own(self, word: str, number: str) -> bool:
        """Whether a number, of any length, is an id, alone or with the word before it."""
        return not self.ids.isdisjoint((plain := number.lstrip("0") or "0", word + plain))


def neutral(place: str, identities: Identities) -> bool:
    """Whether a place of an export gives nothing of a patient away, so that it may be written.

    >>> neutral("DICOM/ST000001/SE000003/IM_0012", Identities()), neutral("DICOM/ROE_J/IM_0012", Identities())
    (True, False)
    """
    if clean_text(place) != place:  # as it would be read back
        return False
    *folders, file = place.split("/")
    bare = [folder.isdecimal() for folder in folders]
    if any(a and b for a, b in pairwise(bare)):  # 18/05/12 may be a day
        return False
    if not all(_is_hash(f, _FOLDER_RUNS) or _is_plain(f, _FOLDER_DIGITS, identities) for f in folders):
        return False
    if not (_is_hash(_stem(file), _FILE_RUNS) or _is_plain(file, _FILE_DIGITS, identities)):
        return False
    return not identities.are_in(place)


def tells_nobody(text: str, identities: Identities) -> bool:
    """Whether a short text of a sheet, such as a scanner's name, holds no identity, date or long number."""
    return not (_DATE.search(text) or identities.are_in(text))


def _stem(part: str) -> str:
    return (
        part[: found.start()] if (found := re.search(rf"{_SUFFIX.pattern}$", part, re.IGNORECASE)) else part
    )


def _is_hash(stem: str, runs: int) -> bool:
    """Whether it looks like a digest; a letter and a number are rather a hospital number."""
    return bool(_HEX.fullmatch(stem)) and len(_RUNS.findall(stem)) >= runs and not _DAY.search(stem)


def _is_plain(part: str, digits: int, identities: Identities) -> bool:
    """Whether a part of a place is made of known words, each with at most one short counter behind it."""
    stem = _stem(part)
    if not (stem.isascii() and _PLAIN.fullmatch(stem)):
        return False
    word = ""
    for run in _RUNS.findall(stem):
        if not run.isdecimal():
            word = run.lower()
            if word not in _WORDS:
                return False
        elif not _is_counter(run, word, digits, identities):
            return False
        else:
            word = "a number"
    return bool(_RUNS.search(stem))


def _is_counter(number: str, word: str, digits: int, identities: Identities) -> bool:
    if word == "a number" or len(number.lstrip("0")) > digits - (not word):
        return False
    if digits == _FOLDER_DIGITS and int(number) in _YEARS:
        return False
    return not (word in _PATIENT_WORDS and identities.own(word, number))
