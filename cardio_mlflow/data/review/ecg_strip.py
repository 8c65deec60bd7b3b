"""A clip's time line: its ECG drawn anew from numbers, the R waves, and the chosen cycle."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.review.clip_review import ClipReview

Image = NDArray[np.uint8]
Color = tuple[int, int, int]

TRACE: Final[Color] = (120, 220, 140)
R_MARK: Final[Color] = (255, 120, 110)
ASSUMED: Final[Color] = (150, 150, 150)
CYCLE: Final[Color] = (44, 70, 104)
_GROUND: Final[Color] = (34, 34, 38)
_ASSUMED_CYCLE: Final[Color] = (58, 58, 64)

# A hole longer than this many sample spacings is a stretch that nobody read, such as the gap that a
# sweeping trace wipes before it.
_GAP: Final = 4.0
_SAME_S: Final = 1e-6
_SUBPIXEL: Final = 4
_DASH: Final = 3


def sampled_ecg(review: ClipReview, count: int) -> NDArray[np.uint8]:
    """The ECG at equally spaced times over the whole clip.

    Args:
        review: the clip's numbers.
        count: number of times, at least 2; the first is 0 s, the last the clip's end.

    Returns:
        Shape (count,): 0 where the ECG is unknown, else 1 (lowest) to 255 (highest). All 0 without an ECG.
    """
    times = np.asarray(review.ecg_s, np.float64)
    if len(times) < 2 or review.duration_s <= 0:
        return np.zeros(count, np.uint8)
    wanted = np.linspace(0.0, review.duration_s, count)
    level = 1.0 + 254.0 * np.clip(np.interp(wanted, times, np.asarray(review.ecg, np.float64)), 0.0, 1.0)
    return np.where(_is_read(wanted, times), np.round(level), 0.0).astype(np.uint8)


def _is_read(wanted: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a time is that of a sample, or lies between two that are near each other."""
    before = np.searchsorted(times, wanted + _SAME_S, side="right") - 1
    after = np.searchsorted(times, wanted - _SAME_S, side="left")
    last = len(times) - 1
    gap = times[np.clip(after, 0, last)] - times[np.clip(before, 0, last)]
    near = gap <= _GAP * float(np.median(np.diff(times))) + _SAME_S
    return np.asarray((before >= 0) & (after <= last) & near, np.bool_)


def draw_ecg_strip(image: Image, review: ClipReview, verified: bool) -> None:
    """Draw the time line of a clip over a whole image, in place.

    The chosen cycle is shaded. With an ECG there is its trace; without one a bar along the clip. R waves
    are solid marks; a cycle whose phase is not verified is gray and its bounds are dashed.

    Args:
        image: uint8, height × width × 3, red first.
        review: the clip's numbers; without a duration only the ground is drawn.
        verified: whether the marks are R waves.
    """
    image[:] = _GROUND
    if review.duration_s <= 0:
        return
    height, width = image.shape[:2]
    places = np.asarray([*review.cycle_s, *review.r_waves_s], np.float64) / review.duration_s
    columns = np.round(np.clip(places, -1.0, 2.0) * (width - 1)).astype(int).tolist()
    image[:, max(0, columns[0]) : max(0, columns[1] + 1)] = CYCLE if verified else _ASSUMED_CYCLE
    for column in columns[2:]:
        if 0 <= column < width:
            image[:: 1 if verified else _DASH, column] = R_MARK if verified else ASSUMED
    levels = sampled_ecg(review, width)
    if levels.any():
        _draw_trace(image, levels)
    else:
        image[height // 2, :: 1 if verified else _DASH] = TRACE if verified else ASSUMED


def _draw_trace(image: Image, levels: NDArray[np.uint8]) -> None:
    """A line through the known levels, broken where they are unknown."""
    scale = 1 << _SUBPIXEL
    rows = (1.0 - (levels - 1.0) / 254.0) * (image.shape[0] - 5) + 2
    points = np.round(np.column_stack([np.arange(len(levels)), rows]) * scale).astype(np.int32)
    known = np.flatnonzero(levels)
    for piece in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1):
        cv2.polylines(image, [points[piece]], False, TRACE, 1, cv2.LINE_AA, _SUBPIXEL)
