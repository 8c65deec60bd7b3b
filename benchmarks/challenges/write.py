"""One hard clip from its kind and a seed: its frames, its file, and the truth about it."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.challenges.file import write_challenge_file
from benchmarks.challenges.kinds import find_challenge
from benchmarks.challenges.panels import make_pictures
from benchmarks.challenges.plan import DEPTH_CM, Plan, draw_plan
from benchmarks.challenges.screen import ChallengeScreen
from cardio_mlflow.synthetic.clip import ClipTruth

Image = NDArray[np.uint8]


def plan_challenge(kind: str, seed: int) -> Plan:
    """Draw everything about a clip but its pixels.

    Raises:
        KeyError: no such kind.
    """
    challenge = find_challenge(kind)
    rng = _generator(kind, seed, 0)
    return challenge.change(draw_plan(rng), rng)


def render_challenge(kind: str, seed: int, overlays: bool = True) -> tuple[list[Image], ClipTruth]:
    """Render the frames of a clip, as they are before they are compressed.

    Args:
        kind: a name of `KINDS`.
        seed: of everything.
        overlays: False leaves out all that is drawn: the same tissue, clean.

    Returns:
        Frames, uint8, (rows, columns, 3) RGB or (rows, columns), and the truth. Without overlays its
        overlay mask is empty.

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

    Args:
        path: of the file.
        kind: a name of `KINDS`.
        seed: of everything.
        overlays: False writes the same tissue without anything drawn on it.

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
