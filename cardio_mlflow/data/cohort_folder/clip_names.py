"""What a clip's file name says: its patient and its view."""

from __future__ import annotations

import re
from collections.abc import Collection

from cardio_mlflow.parameters import is_view, view


def natural_key(text: str) -> tuple[tuple[int, str], ...]:
    """Sort key that compares the numbers in a name as numbers.

    >>> sorted(["FC10", "FC2", "FC_1"], key=natural_key)
    ['FC2', 'FC10', 'FC_1']
    """
    parts = re.findall(r"\d+|\D+", text.lower())
    return (*((int(p), "") if p.isdecimal() else (-1, p) for p in parts), (-2, text))


def view_prefix(name: str) -> str | None:
    """The code of the view that a name starts with, if a separator, a digit or nothing follows.

    >>> view_prefix("A4C_rest_01"), view_prefix("FC2"), view_prefix("LAD") is None
    ('FC', 'FC', True)
    """
    for end in range(len(name), 0, -1):
        if name[:end].endswith(("_", "-", ".", " ")) or name[end : end + 1].isalpha():
            continue
        if is_view(name[:end]):
            return view(name[:end]).code
    return None


def split_name(stem: str, patients: Collection[str]) -> tuple[str, str] | None:
    """Split ``<patient>_<view>``; ids may hold underscores, and the longest known id is taken.

    >>> split_name("P_1_A4C", {"P", "P_1"}), split_name("notes", {"P"}) is None
    (('P_1', 'FC'), True)
    """
    underscores = [m.start() for m in re.finditer("_", stem)][::-1]
    candidates = [(stem[:i], code) for i in underscores if (code := view_prefix(stem[i + 1 :]))]
    return next((c for c in candidates if c[0] in patients), candidates[0] if candidates else None)
