"""The kinds of hard clips: how each changes an ordinary one, what it tests, and what must become of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.challenges import ecg_kinds, picture_kinds
from benchmarks.challenges.plan import Content, Plan
from benchmarks.challenges.strip import StripStyle

Change = Callable[[Plan, np.random.Generator], Plan]


@dataclass(frozen=True)
class Challenge:
    """One kind of hard clip.

    Attributes:
        kind: its name.
        outcomes: what may become of it; the first is the best answer.
        tests: what it is for.
        change: turns an ordinary plan into one of this kind.
    """

    kind: str
    outcomes: tuple[str, ...]
    tests: str
    change: Change


def _accepted(table: dict[str, tuple[str, Change]]) -> tuple[Challenge, ...]:
    return tuple(Challenge(kind, ("OK",), tests, change) for kind, (tests, change) in table.items())


def _refused(kind: Content, outcomes: tuple[str, ...], tests: str) -> Challenge:
    return Challenge(kind, outcomes, tests, lambda plan, rng: picture_kinds.content(plan, rng, kind))


_STILL_STYLES: tuple[tuple[StripStyle, str], ...] = (
    ("sweep", "sweeps with an erased gap"), ("scroll", "scrolls"),
    ("cursor", "stands still under a moving line"), ("marker", "stands still with a small moving mark"),
)  # fmt: skip

_COLOURED = tuple(
    Challenge(
        f"ecg_{name}_{style}", ("OK",), f"a {name} ECG that {words}",
        lambda plan, rng, n=name, s=style: ecg_kinds.drawn(plan, rng, n, s),  # type: ignore[misc]
    )
    for name in ecg_kinds.COLOURS
    for style, words in _STILL_STYLES
)  # fmt: skip

_OVER_TISSUE = tuple(
    Challenge(
        f"tissue_{name}_{style}", ("OK",), f"a {name} ECG over the tissue that {words}",
        lambda plan, rng, n=name, s=style: ecg_kinds.over_tissue(plan, rng, n, s),  # type: ignore[misc]
    )
    for name in ("white", "green")
    for style, words in _STILL_STYLES[:3]
)  # fmt: skip

_REFUSED = (
    _refused("biplane", ("MULTI_2D", "NO_SECTOR"), "two live sectors side by side"),
    _refused("frozen_beside_live", ("MULTI_2D", "NO_SECTOR"), "a frozen sector beside a live one"),
    _refused("m_mode_with_2d", ("NOT_2D", "NO_SECTOR", "MULTI_2D"), "a small sector above an M-mode strip"),
    _refused("m_mode", ("NOT_2D", "NO_SECTOR"), "an M-mode strip alone"),
    _refused(
        "spectral_with_2d", ("NOT_2D", "NO_SECTOR", "MULTI_2D"), "a small sector above spectral Doppler"
    ),
    _refused("color_doppler", ("COLOR_DOPPLER",), "red and blue flow in a box of the sector"),
    _refused("linear", ("NO_SECTOR",), "the rectangle of a linear probe"),
    _refused("frozen", ("NO_SECTOR", "NO_FULL_CYCLE"), "one picture repeated"),
    _refused("report", ("NO_SECTOR",), "a page of words with a running clock"),
    Challenge("single_frame", ("SINGLE_FRAME",), "a still", picture_kinds.single_frame),
)

CHALLENGES: tuple[Challenge, ...] = (
    *_accepted(ecg_kinds.RHYTHMS), *_COLOURED, *_OVER_TISSUE, *_accepted(ecg_kinds.TAGS),
    *_accepted(picture_kinds.INSIDE), *_accepted(picture_kinds.DIM), *_accepted(picture_kinds.GEOMETRY),
    *_accepted(picture_kinds.PIXELS), *_REFUSED,
)  # fmt: skip
"""Every kind, in the order of reports."""

KINDS: tuple[str, ...] = tuple(challenge.kind for challenge in CHALLENGES)


def find_challenge(kind: str) -> Challenge:
    """The challenge of a name.

    Raises:
        KeyError: no such kind.
    """
    for challenge in CHALLENGES:
        if challenge.kind == kind:
            return challenge
    raise KeyError(kind)
