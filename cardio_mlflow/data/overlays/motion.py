"""How an overlay moves over the picture, and what stays the same when one moves with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

_LAG: Final = 3
"""Frames between the pictures in which the motion is looked for: a third of a pixel a frame is seen."""
_FASTEST: Final = 75
"""Largest shift over the lag, pixels."""
_SLOWEST: Final = 3
_NOVEL: Final = 45
_LEAST_VOTES: Final = 12
_LEAST_STEP: Final = 2.0
"""Between compared frames the overlay moves at least so many pixels, so that tissue does not follow it."""


def horizontal_speed(windows: Sequence[Sequence[Image]]) -> float | None:
    """Speed of a scrolling trace or of a cursor, pixels a frame to the right; None when nothing moves so.

    Thin bright pixels that are new in a frame are compared with those that are new three frames later
    and three more: of all horizontal shifts, that of a rigid overlay brings far more of them together
    than any other.

    Args:
        windows: runs of neighbouring frames, at least 7 each, uint8, rows × columns.
    """
    shifts = [shift for window in windows if (shift := _shift(window)) is not None]
    if len(shifts) < max(1, min(2, len(windows))):
        return None
    middle = float(np.median(shifts))
    agreeing = [shift for shift in shifts if abs(shift - middle) <= 2]
    return float(np.mean(agreeing)) / _LAG if 2 * len(agreeing) > len(windows) else None


def _shift(window: Sequence[Image]) -> int | None:
    """Shift over the lag that most new pixels share, in the middle of a window."""
    start = (len(window) - 2 * _LAG - 1) // 2
    one, two, three = (window[start + k * _LAG] for k in range(3))
    first = _thin(one) & (cv2.subtract(one, two) >= _NOVEL)
    second = _thin(two) & (cv2.subtract(two, one) >= _NOVEL) & (cv2.subtract(two, three) >= _NOVEL)
    third = cv2.dilate((_thin(three) & (cv2.subtract(three, two) >= _NOVEL)).view(np.uint8), np.ones((1, 5)))
    rows, columns = np.nonzero(second)
    margin = _FASTEST + 3
    before = np.pad(cv2.dilate(first.view(np.uint8), np.ones((1, 3))), ((0, 0), (margin, margin)))
    after = np.pad(third, ((0, 0), (margin, margin)))
    shifts = np.array([s for s in range(-_FASTEST, _FASTEST + 1) if abs(s) >= _SLOWEST])
    votes = np.array(
        [
            np.count_nonzero(before[rows, columns + margin - s] & after[rows, columns + margin + s])
            for s in shifts
        ]
    )
    best = int(np.argmax(votes))
    other = votes[np.abs(shifts - shifts[best]) > 4]
    if votes[best] < _LEAST_VOTES or votes[best] < 3 * np.percentile(other, 95):
        return None
    return int(shifts[best])


def _thin(frame: Image) -> NDArray[np.bool_]:
    return np.asarray(cv2.morphologyEx(frame, cv2.MORPH_TOPHAT, np.ones((7, 7), np.uint8)) >= _NOVEL)


def compared_frames(index: int, count: int, speed: float) -> list[int]:
    """The four frames that `moving_minimum` compares a frame with, of a clip of ``count`` frames."""
    step = max(1, round(_LEAST_STEP / abs(speed)))
    offsets = sorted((k * step for k in range(-4, 5) if k), key=abs)
    return sorted([index + offset for offset in offsets if 0 <= index + offset < count][:4])


def moving_minimum(index: int, frames: Mapping[int, Image], others: Sequence[int], speed: float) -> Image:
    """Smallest luma along the motion: bright only where something bright moves at this speed.

    Args:
        index: the frame.
        frames: this frame and the others by index, uint8, rows × columns.
        others: indices of the frames to compare with.
        speed: pixels a frame to the right.
    """
    lowest = frames[index]
    columns = lowest.shape[1]
    for other in others:
        shift = round(speed * (other - index))
        wide = cv2.dilate(frames[other], np.ones((1, 3 if abs(other - index) <= 2 else 5), np.uint8))
        moved = np.zeros_like(wide)
        if abs(shift) < columns:
            source = slice(max(0, shift), min(columns, columns + shift))
            target = slice(max(0, -shift), min(columns, columns - shift))
            moved[:, target] = wide[:, source]
        lowest = cv2.min(lowest, moved)
    return np.asarray(lowest)


def temporal_opening(index: int, frames: Mapping[int, Image], count: int, length: int) -> Image:
    """What stays in a frame for ``length`` frames: the brightest of the darkest lumas of all runs with it.

    Runs that reach beyond the first or last frame count as if the clip went on, so what appears just
    before the end is kept.

    Args:
        index: the frame.
        frames: it and its ``length - 1`` neighbours on either side by index, uint8, rows × columns.
        count: frames of the clip.
        length: of a run, in frames.
    """
    before, after = [frames[index]], [frames[index]]
    for step in range(1, length):
        for darkest, other in ((before, index - step), (after, index + step)):
            inside = 0 <= other < count
            darkest.append(cv2.min(darkest[-1], frames[other]) if inside else darkest[-1])
    highest = cv2.min(before[0], after[-1])
    for earlier in range(1, length):
        highest = cv2.max(highest, cv2.min(before[earlier], after[length - 1 - earlier]))
    return np.asarray(highest)
