"""A trace that a moving head draws anew, and a still trace under a moving cursor.

Everywhere here ``crop`` is the strip in all frames, uint8 frames × rows × columns, ``visible`` 255 where no
tissue is shown in it, rows × columns, and ``times_s`` the time of each frame in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.cycle.curve import Curve, read_curve
from cardio_mlflow.data.cycle.head import Arrivals, Head, find_arrivals, find_head, refine_head

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
Flags = NDArray[np.bool_]

_LEAST_CHANGE: Final = 30  # gray levels from one frame to the next
_LEAST_CHANGE_OVER_TISSUE: Final = 90
_STEADY_FRAMES: Final = 5
_LEAST_SEEN: Final = 6  # frames or columns
_LEAST_HITS: Final = 0.75
_LEAST_HITS_OVER_TISSUE: Final = 0.5
_LEAST_PRECISION: Final = 0.5
_MARKER: Final = 16  # columns; a cursor or a mark at the head is narrower
_GROWTHS: Final = 4  # steps in which the rows around a cursor are searched for its trace
_MARGIN: Final = 3  # columns behind the head that may not be drawn to the end
_ERASED_SHARE: Final = 0.2  # of a lap, ahead of the head; scanners erase 3 to 15 %


@dataclass(frozen=True)
class MovingHead:
    """The head or cursor of one strip: its path, and the first and last column that it passed."""

    head: Head
    redraws: bool
    """Whether the trace behind it is new (a sweep); otherwise the trace stands still (a cursor)."""
    first: float
    last: float

    def on_screen(self, numbers: NDArray[np.int64], columns: int) -> NDArray[np.int64]:
        """Column on the screen of columns counted on over all laps."""
        at = numbers.astype(np.float64)
        if self.head.lap is not None:
            at = self.first + np.mod(at - self.first, self.head.lap)
        return np.clip(np.rint(at), 0, columns - 1).astype(np.int64)


def find_moving_head(crop: Image, visible: Image, times_s: Array) -> MovingHead | None:
    """Find the head in a strip; None when what moves there is not one."""
    arrivals = find_arrivals(count_brighter(crop, visible))
    head = find_head(arrivals, times_s, crop.shape[2])
    if head is None:
        return None
    now = times_s[arrivals.frames]
    step = head.speed * float(np.median(np.diff(times_s)))
    head = refine_head(head, arrivals, now, step + 6)
    own = np.abs(head.off(arrivals.columns, now)) <= step + 4
    seen_columns = visible.mean(axis=0) > 128
    if not own.any() or not _explains(head, arrivals, own, times_s, seen_columns):
        return None
    first, last = np.quantile(arrivals.columns[own], (0.01, 0.99))
    seen = own & seen_columns[arrivals.columns.astype(np.int64)]
    redraws = _redraws(crop, visible, head, arrivals.part(seen), times_s)
    if redraws is None:
        return None
    if redraws:  # a column appears in the first frame after the head passed, half a frame later on average
        now = 0.5 * (times_s[arrivals.frames] + times_s[arrivals.frames - 1])
    for tolerance in (step / 2 + 5, step / 2 + 3):
        head = refine_head(head, arrivals, now, tolerance)
    return MovingHead(head, redraws, float(first), float(last))


def count_brighter(crop: Image, visible: Image) -> NDArray[np.int64]:
    """Number of rows by frame and column that became brighter since the frame before; frame 0 has none.

    Over tissue only what is much brighter, and stays so for some frames, counts.
    """
    counts = _count_rises(crop, visible, _LEAST_CHANGE)
    hidden = cv2.bitwise_not(visible)
    if not hidden.any():
        return counts
    steady = crop.copy()
    for k in range(1, min(_STEADY_FRAMES, len(crop) - 1)):
        np.minimum(steady[:-k], crop[k:], out=steady[:-k])
    return counts + _count_rises(steady, hidden, _LEAST_CHANGE_OVER_TISSUE)


def _count_rises(crop: Image, where: Image, least: int) -> NDArray[np.int64]:
    counts = np.zeros((len(crop), crop.shape[2]), np.int64)
    for i in range(1, len(crop)):
        rise = cv2.compare(cv2.bitwise_and(cv2.subtract(crop[i], crop[i - 1]), where), least, cv2.CMP_GT)
        counts[i] = cv2.reduce(rise, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0] // 255
    return counts


def _explains(head: Head, arrivals: Arrivals, own: Flags, times_s: Array, seen_columns: Flags) -> bool:
    """Whether most arrivals lie on the path, and the head arrives in most frames where it can be seen."""
    if arrivals.votes[own].sum() < _LEAST_PRECISION * arrivals.votes.sum():
        return False
    left, right = arrivals.columns[own].min(), arrivals.columns[own].max()
    at = head.start + head.speed * times_s
    if head.lap is not None:
        at = left + np.mod(at - left, head.lap)
    within = (at >= left) & (at <= right)
    within[0] = False
    seen = within & seen_columns[np.clip(at, 0, len(seen_columns) - 1).astype(np.int64)]
    hit = np.isin(np.arange(len(times_s)), arrivals.frames[own])
    if np.count_nonzero(seen) >= _LEAST_SEEN:
        return bool(hit[seen].mean() >= _LEAST_HITS)
    return bool(np.count_nonzero(within) >= _LEAST_SEEN and hit[within].mean() >= _LEAST_HITS_OVER_TISSUE)


def _redraws(crop: Image, visible: Image, head: Head, arrivals: Arrivals, times_s: Array) -> bool | None:
    """Whether what the head draws stays behind it; None when that cannot be told.

    A cursor takes along what it is drawn with; a sweep leaves at least a pixel of the line in each column.
    Where too few columns are free of tissue to see it, the arrivals are of lines that stay.
    """
    if len(arrivals.columns) < _LEAST_SEEN:
        return True
    later = np.searchsorted(times_s, times_s + _MARKER / head.speed)
    stays = passed = 0
    for frame in np.unique(arrivals.frames).tolist():
        if later[frame] >= len(crop):
            break
        columns = arrivals.columns[arrivals.frames == frame].astype(np.int64)
        before, now, after = (crop[i][:, columns].astype(np.int64) for i in (frame - 1, frame, later[frame]))
        rise = np.where(visible[:, columns] > 0, now - before, 0)
        stays += int(
            np.count_nonzero(((rise > _LEAST_CHANGE) & (after - before > _LEAST_CHANGE)).any(axis=0))
        )
        passed += len(columns)
    return None if passed < _LEAST_SEEN else bool(stays > 0.5 * passed)


def read_sweep(crop: Image, visible: Image, moving: MovingHead, times_s: Array) -> tuple[Array, Curve] | None:
    """Read a redrawn trace: times of its columns and its heights, or None.

    The strip is unrolled, so that a column number tells the time over all laps. Each column is taken as
    the darkest of all frames that show it: moving tissue behind the trace fades away.
    """
    head = moving.head
    ends = head.start + head.speed * times_s
    lap = crop.shape[2] if head.lap is None else int(head.lap)
    begin = int(np.floor(min(ends[0], moving.first))) - lap + 1
    begin = max(begin, 0) if head.lap is None else begin
    last = int(np.floor(ends[-1])) - _MARGIN
    unrolled = np.full((crop.shape[1], max(1, last - begin + 1)), 255, np.uint8)
    for frame, end in zip(crop, ends, strict=True):
        start = begin if head.lap is None else int(np.ceil(end - (1 - _ERASED_SHARE) * head.lap))
        numbers = np.arange(max(begin, start), int(np.floor(end)) - _MARGIN + 1)
        shown = frame[:, moving.on_screen(numbers, crop.shape[2])]
        unrolled[:, numbers - begin] = np.minimum(unrolled[:, numbers - begin], shown)
    ahead = _mark_offset(crop, visible, unrolled, begin, moving, times_s)
    seen = visible[:, moving.on_screen(np.arange(begin, begin + unrolled.shape[1]), crop.shape[2])]
    curve = read_curve(unrolled, int(head.start) + 2 - begin, last - begin, seen)
    return None if curve is None else (head.seconds(curve.columns + begin - ahead), curve)


def read_still(
    crop: Image, visible: Image, moving: MovingHead, times_s: Array, around: Image
) -> tuple[Array, Curve] | None:
    """Read a still trace under a cursor: times of its columns and its heights, or None.

    ``around`` is the darkest moment of each pixel in the rows in which the cursor moves, with as many more on
    either side as the trace may reach beyond a short cursor.
    """
    ahead = _mark_offset(crop, visible, crop.min(axis=0), 0, moving, times_s)
    more = (len(around) - crop.shape[1]) // 2
    for grown in range(0, more + 1, max(1, more // _GROWTHS)):
        curve = read_curve(
            around[more - grown : len(around) - more + grown], int(moving.first) + 1, int(moving.last)
        )
        if curve is not None and not curve.cut_off:
            ends = moving.head.start + moving.head.speed * times_s[[0, -1]] + ahead
            curve = _without_stubs(curve, round(float(ends[0])), round(float(ends[1])))
            return moving.head.seconds(curve.columns - ahead), curve
    return None


def _without_stubs(curve: Curve, first: int, last: int) -> Curve:
    """The curve without the few columns before and after a cursor's path, which are something beside it."""
    end = curve.first + len(curve.heights) - 1
    return curve.part(
        first if first - curve.first <= _MARKER else curve.first, last if end - last <= _MARKER else end
    )


def _mark_offset(
    crop: Image, visible: Image, picture: Image, begin: int, moving: MovingHead, times_s: Array
) -> float:
    """Columns from the path to the middle of the mark that moves on it: a cursor, or a dot at the head.

    What is brighter near the head than in the same columns without it is the mark. The path was fitted to
    where it arrives, its leading edge.

    Returns:
        The offset; 0 where there is no mark, or what surrounds it hides where it ends.
    """
    reach = np.arange(-_MARKER, _MARKER + 1)
    excess = np.zeros(len(reach))
    for frame, end in zip(crop, moving.head.start + moving.head.speed * times_s, strict=True):
        numbers = round(end) + reach
        if numbers[0] < begin or numbers[-1] >= begin + picture.shape[1]:
            continue
        at = moving.on_screen(numbers, crop.shape[2])
        more = cv2.bitwise_and(cv2.subtract(frame[:, at], picture[:, numbers - begin]), visible[:, at])
        excess += np.count_nonzero(more > _LEAST_CHANGE, axis=0)
    top = int(np.argmax(excess))
    if excess[top] < 0.5 * len(crop):
        return 0.0
    ends = np.flatnonzero(excess < 0.25 * excess[top])
    before, after = ends[ends < top], ends[ends > top]
    if len(before) == 0 or len(after) == 0:
        return 0.0
    blob = slice(int(before[-1]) + 1, int(after[0]))
    return float(excess[blob] @ reach[blob] / excess[blob].sum())
