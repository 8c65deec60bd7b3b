"""The kinds of hard clips: what each tests and what must become of it; and clips of a kind and a seed."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.challenges import ecg_kinds, picture_kinds
from benchmarks.challenges.file import write_challenge_file
from benchmarks.challenges.pictures import make_pictures
from benchmarks.challenges.plan import DEPTH_CM, Content, Plan, draw_plan
from benchmarks.challenges.screen import ChallengeScreen
from benchmarks.challenges.strip import StripStyle
from cardio_mlflow.synthetic.clip import ClipTruth

Image = NDArray[np.uint8]
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


def plan_challenge(kind: str, seed: int) -> Plan:
    """Draw everything about a clip but its pixels.

    Raises:
        KeyError: no such kind.
    """
    change = {challenge.kind: challenge.change for challenge in CHALLENGES}[kind]
    rng = _generator(kind, seed, 0)
    return change(draw_plan(rng), rng)


def render_challenge(kind: str, seed: int, overlays: bool = True) -> tuple[list[Image], ClipTruth]:
    """Render the frames of a clip, as they are before they are compressed.

    Without `overlays` it is the same tissue with nothing drawn on it, and the overlay mask is empty.

    Returns:
        Frames, uint8, (rows, columns, 3) RGB or (rows, columns), and the truth.

    Raises:
        KeyError: no such kind.
    """
    plan = plan_challenge(kind, seed)
    pictures = make_pictures(plan, _generator(kind, seed, 1))
    screen = ChallengeScreen(plan, pictures, _generator(kind, seed, 2), overlays)
    frames, drawn = zip(*screen.frames(), strict=True)
    truth = ClipTruth(
        pictures.sector, np.stack(drawn), plan.rhythm.within(plan.duration), plan.frame_times,
        plan.layout.name, 10 * DEPTH_CM / plan.fan.outer,
    )  # fmt: skip
    return list(frames), truth


def write_challenge(path: Path, kind: str, seed: int, overlays: bool = True) -> ClipTruth:
    """Write one hard clip as a DICOM file; the same arguments give the same bytes.

    Returns:
        The truth. `sector_mask` is empty for kinds without a fan; without overlays `overlay_mask` is.

    Raises:
        KeyError: no such kind.
    """
    frames, truth = render_challenge(kind, seed, overlays)
    identity = ("challenge", kind, str(seed), "" if overlays else "clean")
    write_challenge_file(path, plan_challenge(kind, seed), frames, identity)
    return truth


def _generator(kind: str, seed: int, part: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(kind.encode()), part])
