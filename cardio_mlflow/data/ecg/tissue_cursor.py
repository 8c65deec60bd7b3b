"""A trace that stands still over the tissue while a line moves along it."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.ecg.curve import Curve, read_curve
from cardio_mlflow.data.ecg.head import Arrivals, Head, find_head, refine_head

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_LEAST_CHANGE: Final = 45  # gray levels over the pixel's darkest moment and over what is beside it
_WIDTH: Final = 7  # columns; a cursor is narrower
_LEAST_RUN: Final = 0.025  # of the picture's height; speckle is lower
_TOLERANCE: Final = 2.5  # columns
_LEAST_HITS: Final = 0.6  # of the frames
_LEAST_PRECISION: Final = 0.5
_LEAST_LUMA: Final = 70  # of a line that stays; all tissue is darker at some moment
_SHARE: Final = 0.7  # of the columns


def read_tissue_cursor(crop: Image, lowest: Image, times_s: Array, rows: int) -> tuple[Array, Curve] | None:
    """Read a still trace under a moving line: times of its columns and its heights, or None.

    The line is looked for as something upright and thin, so that tissue may move behind it.

    Args:
        crop: rows around the trace in all frames, frames × rows × columns.
        lowest: smallest luma of each pixel in the same rows, over the whole clip.
        times_s: time of each frame of the clip, seconds; the crop may end before it does.
        rows: height of the picture.
    """
    if not bright_all_over(lowest):
        return None
    lines = _find_lines(crop, lowest, max(5, round(_LEAST_RUN * rows)))
    head = _cursor(lines, times_s[: len(crop)], crop.shape[2])
    if head is None:
        return None
    first, last = (round(float(head.start + head.speed * time)) for time in times_s[[0, -1]])
    curve = read_curve(lowest, first + 1, last)
    if curve is None:
        return None
    kept = curve.part(first, last)  # beyond the line's path stands no trace, but something else may
    return head.seconds(kept.columns), kept


def bright_all_over(lasting: Image) -> bool:
    """Whether something bright stands in most columns of what stays for a while."""
    return bool(np.mean(lasting.max(axis=0) >= _LEAST_LUMA) >= _SHARE)


def _find_lines(crop: Image, lowest: Image, run: int) -> Arrivals:
    """Upright lines that are not always there; the longer one is, the more votes it has."""
    beside, tall = np.ones((1, _WIDTH), np.uint8), np.ones((run, 1), np.uint8)
    frames, columns, votes = [], [], []
    for number, frame in enumerate(crop):
        bright = cv2.subtract(frame, lowest)
        thin = cv2.compare(cv2.morphologyEx(bright, cv2.MORPH_TOPHAT, beside), _LEAST_CHANGE, cv2.CMP_GT)
        upright = np.count_nonzero(cv2.erode(thin, tall, borderValue=0), axis=0)
        at = np.flatnonzero(upright)
        frames.append(np.full(len(at), number))
        columns.append(at)
        votes.append(upright[at])
    return Arrivals(
        np.concatenate(columns).astype(np.float64), np.concatenate(frames).astype(np.int64),
        np.concatenate(votes).astype(np.float64),
    )  # fmt: skip


def _cursor(lines: Arrivals, times_s: Array, width: int) -> Head | None:
    """The path that most lines lie on, of one line in most frames; None when there is none."""
    head = find_head(lines, times_s, width)
    if head is None:
        return None
    now = times_s[lines.frames]
    head = Head(head.speed, head.start, None)
    for tolerance in (4 * _TOLERANCE, 2 * _TOLERANCE, _TOLERANCE):
        head = refine_head(head, lines, now, tolerance)
    own = np.abs(head.off(lines.columns, now)) <= _TOLERANCE
    precision = lines.votes[own].sum() / lines.votes.sum()
    if precision < _LEAST_PRECISION or len(np.unique(lines.frames[own])) < _LEAST_HITS * len(times_s):
        return None
    return head
