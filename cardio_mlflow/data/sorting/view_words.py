"""The words of a text that may name a view: spellings of many languages, read as their meanings."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

PASSED_OVER: Final = "-"
"""The meaning of words that say nothing of a view."""
_CAPITAL: Final = re.compile(r"(?<=[^\W\d_][a-zà-ÿ])(?=[A-ZÀ-Þ][a-zà-ÿ])")
_PARTS: Final = re.compile(r"\d+|[^\W\d_]+")
_EAST_ASIAN: Final = re.compile(r"[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_UNDECOMPOSED: Final = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae"})
_NUMBERS: Final = frozenset("2345")
_LENGTHS: Final = frozenset(("long", "short"))
_KEPT: Final = 4096  # texts
_LONGEST_JOIN: Final = 3  # tokens that make one word: A 4 C
_LEAST_STEM: Final = 4
"""Letters of a word that a number may be glued to (PSAX2), else a digest such as 3a4c9f1 names views."""


def plain(text: str) -> str:
    """Lower case, without accents, full-width forms as others.

    >>> plain("Längsachse ４CH"), plain("Парастернальный")
    ('langsachse 4ch', 'парастернальныи')
    """
    letters = unicodedata.normalize("NFKD", text.casefold().translate(_UNDECOMPOSED))
    return "".join(letter for letter in letters if unicodedata.category(letter) != "Mn")


@dataclass(frozen=True)
class Reading:
    """A text that has been read.

    Attributes:
        stretches: the meanings of its words, parted where a word is not known.
        whole: whether all words were known.
    """

    stretches: tuple[tuple[str, ...], ...]
    whole: bool


class Vocabulary:
    """Reads texts by their words.

    Attributes:
        read: a text's `Reading`.

    Args:
        spellings: what each spelling means, one or several meanings; one that ends in a star stands for
            every word that begins so.
    """

    def __init__(self, spellings: Mapping[str, tuple[str, ...]]) -> None:
        known = {plain(spelling): meanings for spelling, meanings in spellings.items()}
        self._words = {spelling: found for spelling, found in known.items() if not spelling.endswith("*")}
        starts = {spelling[:-1]: found for spelling, found in known.items() if spelling.endswith("*")}
        self._starts = starts
        self._start = re.compile(_any(starts))
        self._unspaced = re.compile(_any(filter(_EAST_ASIAN.search, self._words)))
        self.read = lru_cache(_KEPT)(self._read)  # an export repeats its few texts in every file

    def _read(self, text: str) -> Reading:
        """The meanings of a text.

        >>> words = {"ap4": ("apical", "4-chamber"), "ch": ("chamber",), "4": ("4",), "view": ("-",)}
        >>> Vocabulary(words).read("view 4 ch, Smith's AP4").stretches
        (('4-chamber',), ('apical', '4-chamber'))
        """
        spaced = self._unspaced.sub(lambda found: f" {found[0]} ", plain(_CAPITAL.sub(" ", text)))
        found: list[list[str]] = [[]]
        whole = True
        for meanings in self._meanings(re.findall(r"[^\W_]+", spaced)):
            if meanings is None:
                whole = False
                found.append([])
            else:
                found[-1] += [meaning for meaning in meanings if meaning != PASSED_OVER]
        return Reading(tuple(tuple(folded) for stretch in found if (folded := _fold(stretch))), whole)

    def _meanings(self, tokens: list[str]) -> Iterator[tuple[str, ...] | None]:
        """The meanings of the longest words that neighbouring tokens make; None for an unknown one."""
        i = 0
        while i < len(tokens):
            for length in range(_LONGEST_JOIN, 0, -1):
                word = "".join(tokens[i : i + length])
                if (found := self._find(word, is_joined=length > 1)) is not None:
                    break
            yield found
            i += min(length, len(tokens) - i)

    def _find(self, word: str, is_joined: bool) -> tuple[str, ...] | None:
        if word in self._words and not (is_joined and word[-1].isdecimal()):  # AP 4: the fourth clip
            return self._words[word]
        if is_joined:
            return None
        if word.isdecimal():
            return ()
        if not word.isalpha():
            return self._glued(word)
        start = self._start.match(word)
        return self._starts[start[0]] if start else None

    def _glued(self, word: str) -> tuple[str, ...] | None:
        """A word with digits glued to it: APICAL4CH, 4Kammerblick, PSAX2, but not 3A4C9F."""
        parts = _PARTS.findall(word)
        stem = word.rstrip("0123456789")
        if len(parts) < 2:
            return None
        if len(stem) >= _LEAST_STEM and len(stem) < len(word) and stem in self._words:
            return self._words[stem]
        if max(map(len, parts)) < _LEAST_STEM:
            return None
        found = [self._find(part, is_joined=False) for part in parts]
        return None if None in found else tuple(meaning for each in found for meaning in each or ())


def _any(texts: Iterable[str]) -> str:
    """A pattern for any of the texts, the longest that fits."""
    return "|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True)) or "(?!)"


def _fold(meanings: list[str]) -> list[str]:
    """Make one of a number and "chamber", of a length and "axis"; leave out other numbers."""
    folded: list[str] = []
    for meaning in meanings:
        if meaning == "chamber":
            numbers = []
            while folded and folded[-1] in _NUMBERS:
                numbers.append(folded.pop())
            folded += [f"{number}-chamber" for number in reversed(numbers)]
        elif meaning == "axis" and folded and folded[-1] in _LENGTHS:
            folded[-1] += "-axis"
        elif meaning in _LENGTHS and folded and folded[-1] == "axis":
            folded[-1] = f"{meaning}-axis"
        else:
            folded.append(meaning)
    return [meaning for meaning in folded if meaning not in _NUMBERS]
