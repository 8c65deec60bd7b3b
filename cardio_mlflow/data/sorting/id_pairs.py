"""Ids of an export and of a sheet that mean the same: equal, but for zeros, or but for a common affix."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cardio_mlflow.sheets.cells import canonical_id, clean_text

EXACT: Final = "exact"
ZEROS: Final = "leading zeros"
_Ways = Mapping[str, str]
"""Rows of a sheet, and by which rule an id could be of each."""
_NUMBERED: Final = re.compile(r"(\D*)(\d(?:.*\d)?)(\D*)", re.DOTALL)
_COUNTED: Final = frozenset(
    ("a", "b", "d", "e", "f", "s", "cd", "dir", "disc", "disk", "dicom", "exam", "export", "file", "folder",
     "im", "image", "images", "img", "no", "nr", "pa", "pat", "se", "ser", "serie", "series", "st", "stu",
     "study", "us")
)  # fmt: skip
"""What exports call folders that they count: ST000012 holds the twelfth study, not the patient 12."""


class _Parts(NamedTuple):
    """An id around its number, which goes from its first digit to its last, without leading zeros."""

    before: str
    number: str
    behind: str


class _Affix(NamedTuple):
    """What one of two ids has around the other."""

    side: str
    before: str
    behind: str

    def words(self) -> str:
        """The affix in words that do not repeat it."""
        ends = [("prefix", len(self.before)), ("suffix", len(self.behind))]
        return " and ".join(f"a {name} of {n} character{'s' * (n > 1)}" for name, n in ends if n) + self.side


@dataclass(frozen=True)
class Pairs:
    """Ids of an export paired with rows of a sheet.

    Attributes:
        rows: id to row.
        rules: id to the rule by which it was paired.
        unclear: id to the rows that it could belong to, or to the one that another id could too.
    """

    rows: dict[str, str] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    unclear: dict[str, tuple[str, ...]] = field(default_factory=dict)


def normal_id(text: str) -> str:
    """An id without case, outer and repeated spaces, and a spreadsheet's decimals.

    >>> normal_id(" ab  12 "), normal_id("12.0")
    ('ab 12', '12')
    """
    return canonical_id(clean_text(unicodedata.normalize("NFKC", text)).casefold())


def pair_ids(export: Collection[str], sheet: Iterable[tuple[str, str]], counted: bool = False) -> Pairs:
    """Pair ids of an export with the ids of a sheet, one to one, by the strictest rule that pairs them.

    An id that could belong to two rows by a rule is paired with neither, also if one of them is taken; so are
    two ids that could belong to one row. Only the commonest affix counts.

    Args:
        export: normal ids.
        sheet: row and normal id.
        counted: the export's are names of folders, whose affix may be of the export's counting.

    >>> pair_ids(["mrn0012", "9"], [("R2", "12"), ("R3", "009")]).rules
    {'9': 'leading zeros', 'mrn0012': 'a prefix of 3 characters'}
    """
    rows = [(row, key) for row, key in sheet if key]
    found = Pairs()
    exact = _grouped(rows, str)
    _settle(found, {key: dict.fromkeys(exact[key], EXACT) for key in export})
    unpadded = _grouped(rows, without_zeros)
    _settle(found, {key: dict.fromkeys(unpadded[without_zeros(key)], ZEROS) for key in _open(export, found)})
    _settle(found, _by_affix(_open(export, found), rows, counted))
    return found


def _open(export: Iterable[str], found: Pairs) -> list[str]:
    return [key for key in export if key not in found.rows and key not in found.unclear]


def _grouped(rows: Iterable[tuple[str, str]], form: Callable[[str], str]) -> defaultdict[str, list[str]]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for row, key in rows:
        groups[form(key)].append(row)
    return groups


def _settle(found: Pairs, ways: Mapping[str, _Ways]) -> None:
    """Pair the ids that could belong to one free row which no other could; note the unclear ones."""
    taken = set(found.rows.values())
    claims = Counter(row for rows in ways.values() for row in rows)
    for key, rows in ways.items():
        first = next(iter(rows), None)
        if first is None or (len(rows) == 1 and first in taken):
            continue
        if len(rows) == 1 and claims[first] == 1:
            found.rows[key], found.rules[key] = first, rows[first]
        else:
            found.unclear[key] = tuple(rows)


def without_zeros(key: str) -> str:
    """An id without the zeros before its number: P007 as P7."""
    parts = _parts(key)
    return "".join(parts) if parts else key


def _parts(key: str) -> _Parts | None:
    match = _NUMBERED.fullmatch(key)
    return _Parts(match[1], match[2].lstrip("0") or "0", match[3]) if match else None


def _by_affix(export: Iterable[str], rows: Iterable[tuple[str, str]], counted: bool) -> dict[str, _Ways]:
    """The rows of each id that differs from theirs by the affix that most ids have.

    Where two affixes are equally common it is not known which one is meant.
    """
    by_number: defaultdict[str, list[tuple[str, _Parts]]] = defaultdict(list)
    for row, key in rows:
        if parts := _parts(key):
            by_number[parts.number].append((row, parts))
    affixes: dict[str, dict[str, _Affix]] = {}
    for key in export:
        if parts := _parts(key):
            each = {row: _affix(parts, theirs, counted) for row, theirs in by_number[parts.number]}
            affixes[key] = {row: affix for row, affix in each.items() if affix}
    counts = Counter(affix for found in affixes.values() for affix in set(found.values())).most_common(2)
    if not counts or (len(counts) == 2 and counts[0][1] == counts[1][1]):
        return {}
    common = counts[0][0]
    ways = {key: found for key, found in affixes.items() if common in found.values()}
    return {key: dict.fromkeys(found, common.words()) for key, found in ways.items()}


def _affix(ours: _Parts, theirs: _Parts, counted: bool) -> _Affix | None:
    for side, larger, smaller in (("", ours, theirs), (" in the sheet", theirs, ours)):
        if larger.before.endswith(smaller.before) and larger.behind.startswith(smaller.behind):
            before = larger.before.removesuffix(smaller.before)
            behind = larger.behind.removeprefix(smaller.behind)
            is_count = counted and re.sub(r"[\W_]", "", before) in _COUNTED
            return _Affix(side, before, behind) if (before or behind) and not is_count else None
    return None
