"""A trace that scrolls over the tissue."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.cycle.curve import Curve, read_curve
from cardio_mlflow.data.cycle.head import Arrivals, Head, find_head, refine_head
from cardio_mlflow.data.cycle.scroll import Numbers, find_speed, laid_over

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
        crop: rows around the trace in all frames, uint8 frames × rows × columns.
        lowest: smallest luma of each pixel in them over the whole clip, which may go on after the crop.
        times_s: time of each frame of the clip, seconds.
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


_NEW_S: Final = 0.06  # a trace moves by more than its width in this time, most tissue does not
_POOLED: Final = 4  # rows
_THIN: Final = 9  # columns; the slopes of a trace are thinner
_BRIGHTEST: Final = 100  # gray levels; what is brighter counts no more
_MOST_PAIRS: Final = 16
_LEAST_LIKENESS: Final = 0.2  # tissue reaches 0.14, traces of all speeds and colours 0.3 and more
_MOST_FRAMES: Final = 80  # laid over each other
_LEAST_SEEN: Final = 30  # gray levels over the darkest moment of the pixel
_LEAST_FOLLOWED: Final = 0.8  # of all columns in all frames; 0.98 and more of all traces tried


def read_tissue_scroll(crop: Image, times_s: Array) -> tuple[Array, Curve] | None:
    """Read a trace that scrolls over tissue: times of its columns and its heights, or None.

    The speed is the one at which what is thin and new in a frame is found again in others. The frames are
    laid over each other along it, less what is always bright, so that in the mean only the trace is left.
    The newest point stands at the last column in which the frames show the trace where the mean has it.
    """
    moving = _MovingPictures(crop, times_s)
    found = find_speed(moving.pictures, times_s, crop.shape[2], _MOST_PAIRS, _LEAST_LIKENESS)
    if found is None:
        return None
    speed = found[0]
    used = np.unique(np.linspace(0, len(crop) - 1, min(len(crop), _MOST_FRAMES)).astype(np.int64))
    bright = [cv2.subtract(crop[i], moving.dark) for i in used]
    shifts = np.rint(speed * times_s[used]).astype(np.int64)
    mean = laid_over(bright, shifts)
    curve = read_curve(mean, 8, mean.shape[1] - 8)
    if curve is None:
        return None
    ends = _ends(bright, shifts, curve, mean.shape[0])
    if ends is None:
        return None
    kept = curve.part(ends[0], int(shifts[-1]) + ends[1])
    return (kept.columns - ends[1]) / speed, kept


class _MovingPictures:
    """What is thin and new in the frames of a crop, and the smallest luma of each pixel, ``dark``."""

    def __init__(self, crop: Image, times_s: Array) -> None:
        self._crop = crop
        self._lag = max(1, round(_NEW_S / float(np.median(np.diff(times_s)))))
        self._pooled: dict[int, Image] = {}
        self.dark: Image = crop.min(axis=0)

    def pictures(self, frames: Numbers) -> NDArray[np.float32]:
        """As `find_speed` asks for them."""
        new = np.stack([self._new(int(frame)) for frame in frames]).astype(np.float32)
        return np.asarray(new - new.mean(axis=2, keepdims=True))

    def _new(self, frame: int) -> Image:
        thin, tall = self._thin(frame), np.ones((3, 3), np.uint8)
        for other in (frame - self._lag, frame + self._lag):
            if 0 <= other < len(self._crop):
                thin = cv2.subtract(thin, cv2.dilate(self._thin(other), tall))
        return np.minimum(thin, _BRIGHTEST)

    def _thin(self, frame: int) -> Image:
        if frame not in self._pooled:
            bright = cv2.subtract(self._crop[frame], self.dark)
            rows = len(bright) // _POOLED * _POOLED
            pooled = bright[:rows].reshape(-1, _POOLED, bright.shape[1]).max(axis=1)
            wide = cv2.morphologyEx(pooled, cv2.MORPH_OPEN, np.ones((1, _THIN), np.uint8))
            self._pooled[frame] = cv2.subtract(pooled, wide)
        return self._pooled[frame]


def _ends(bright: list[Image], shifts: Numbers, curve: Curve, rows: int) -> tuple[int, int] | None:
    """First and last column of the screen in which the frames show the curve; None when they do not.

    A column that shows less than half of the usual light where the curve ought to be is no part of the trace.
    """
    columns = bright[0].shape[1]
    path = np.clip(rows - 1 - np.rint(curve.heights).astype(np.int64), 0, rows - 1)
    light, seen, count = np.zeros((3, columns))
    for frame, shift in zip(bright, shifts.tolist(), strict=True):
        at = np.arange(columns) + shift - curve.first
        on = np.flatnonzero((at >= 0) & (at < len(path)))
        shown = cv2.dilate(frame, np.ones((3, 1), np.uint8))[path[at[on]], on]
        light[on] += shown
        seen[on] += shown >= _LEAST_SEEN
        count[on] += 1
    level = light / np.maximum(count, 1)
    usual = np.median(level[columns // 4 : columns - columns // 4])
    followed = np.flatnonzero(level > 0.5 * usual)
    if len(followed) == 0:
        return None
    first, last = int(followed[0]), int(followed[-1])
    share = seen[first : last + 1].sum() / count[first : last + 1].sum()
    return (first, last) if share >= _LEAST_FOLLOWED else None
