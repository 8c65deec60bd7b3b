"""Whether headers under one id speak of one person."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from cardio_mlflow.data.sorting.facts import Identity
from cardio_mlflow.data.sorting.id_pairs import normal_id

_NO_BIRTH_DATES: Final = frozenset(("19000101", "18000101", "00000000", "11111111"))
"""What is written where a birth date is not known."""


def are_several_persons(identities: Iterable[Identity]) -> bool:
    """Whether birth date or sex differ; names only where no birth date is known.

    They change, and are misspelt.

    >>> are_several_persons([Identity(birth_date="19500102"), Identity(birth_date="1950.01.02", sex="F")])
    False
    >>> are_several_persons([Identity(name="DOE^JANE"), Identity(name="Doe, Jane M.")])
    False
    >>> are_several_persons([Identity(name="DOE^JANE"), Identity(name="ROE^JANE")])
    True
    """
    known = set(identities)
    births = {birth for each in known if (birth := _birth_date(each))}
    sexes = {each.sex.strip().upper() for each in known} & {"M", "F"}
    if len(births) > 1 or len(sexes) > 1:
        return True
    names = {words for each in known if (words := _name_words(each.name))}
    longest = max(names, key=len, default=frozenset())
    return not births and any(not words <= longest for words in names)


def _birth_date(identity: Identity) -> str:
    digits = re.sub(r"\D", "", identity.birth_date)
    return "" if digits in _NO_BIRTH_DATES or len(digits) != 8 else digits


def _name_words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W_]+", normal_id(name)))
