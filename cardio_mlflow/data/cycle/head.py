"""A head that redraws a sweeping trace, or a cursor over a still one, and the trace it tells of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from cardio_mlflow.data.cycle.arrivals import Arrivals, Head, find_head, refine_head
from cardio_mlflow.data.cycle.strip import (
    Array,
    Flags,
    Image,
    Numbers,
    Strip,
    Trace,
    read_curve,
    read_outside,
)

_LEAST_CHANGE: Final = 30  # gray levels from one frame to the next
_LEAST_CHANGE_OVER_TISSUE: Final = 90
_STEADY_FRAMES: Final = 5
_BUSY_SHARE: Final = 0.25  # a column that changes in more frames than this is no trace: digits, tissue
_LEAST_SEEN: Final = 6  # frames or columns
_LEAST_HITS: Final = 0.75
_LEAST_HITS_OVER_TISSUE: Final = 0.5
_LEAST_PRECISION: Final = 0.5
_MARKER: Final = 16  # columns; a cursor or a mark at the head is narrower


@dataclass(frozen=True)
class MovingHead(Head):
    """The head of a sweep, which redraws the trace, or a cursor; the first and last column that it passed."""

    redraws: bool
    first: float
    last: float

    def on_screen(self, numbers: Numbers, columns: int) -> Numbers:
        """Column on the screen of columns counted on over all laps."""
        at = numbers.astype(np.float64)
        if self.lap is not None:
            at = self.first + np.mod(at - self.first, self.lap)
        return np.clip(np.rint(at), 0, columns - 1).astype(np.int64)


def find_moving_head(strip: Strip) -> MovingHead | None:
    """Find the head in a strip; None when what moves there is not one."""
    arrivals = _arrivals(strip)
    head = find_head(arrivals, strip.width)
    if head is None:
        return None
    step = head.speed * float(np.median(np.diff(strip.times_s)))
    head = refine_head(head, arrivals, step + 6)
    own = np.abs(head.off(arrivals)) <= step + 4
    seen_columns = strip.visible.mean(axis=0) > 128
    if not _explains(head, arrivals, own, strip.times_s, seen_columns):
        return None
    first, last = np.quantile(arrivals.columns[own], (0.01, 0.99)).tolist()
    seen = own & seen_columns[arrivals.columns.astype(np.int64)]
    redraws = _redraws(strip, head, arrivals.part(seen))
    if redraws is None:
        return None
    if redraws:  # a column appears in the first frame after the head passed, half a frame later on average
        times = strip.times_s
        arrivals = replace(arrivals, times_s=0.5 * (times[arrivals.frames] + times[arrivals.frames - 1]))
    for tolerance in (step / 2 + 5, step / 2 + 3):
        head = refine_head(head, arrivals, tolerance)
    return MovingHead(head.speed, head.start, head.lap, redraws, first, last)


def _arrivals(strip: Strip) -> Arrivals:
    """Columns in which rows became brighter since the frame before.

    Over tissue only what is much brighter, and stays so for some frames, counts.
    """
    crop = strip.frames
    brighter = _count_rises(crop, strip.visible, _LEAST_CHANGE)
    hidden = cv2.bitwise_not(strip.visible)
    if hidden.any():
        steady = crop.copy()
        for k in range(1, min(_STEADY_FRAMES, len(crop) - 1)):
            np.minimum(steady[:-k], crop[k:], out=steady[:-k])
        brighter += _count_rises(steady, hidden, _LEAST_CHANGE_OVER_TISSUE)
    busy = np.count_nonzero(brighter, axis=0) > max(2.0, _BUSY_SHARE * len(brighter))
    frames, columns = np.nonzero(np.where(busy, 0, brighter))
    votes = np.minimum(brighter[frames, columns], 3).astype(np.float64)
    return Arrivals(columns.astype(np.float64), frames.astype(np.int64), strip.times_s[frames], votes)


def _count_rises(crop: Image, where: Image, least: int) -> Numbers:
    counts = np.zeros((len(crop), crop.shape[2]), np.int64)
    for i in range(1, len(crop)):
        rise = cv2.compare(cv2.bitwise_and(cv2.subtract(crop[i], crop[i - 1]), where), least, cv2.CMP_GT)
        counts[i] = cv2.reduce(rise, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0] // 255
    return counts


def _explains(head: Head, arrivals: Arrivals, own: Flags, times_s: Array, seen_columns: Flags) -> bool:
    """Whether most arrivals lie on the path, and the head arrives in most frames where it can be seen."""
    if not own.any() or arrivals.votes[own].sum() < _LEAST_PRECISION * arrivals.votes.sum():
        return False
    left, right = arrivals.columns[own].min(), arrivals.columns[own].max()
    at = head.at(times_s)
    if head.lap is not None:
        at = left + np.mod(at - left, head.lap)
    within = (at >= left) & (at <= right)
    within[0] = False
    seen = within & seen_columns[np.clip(at, 0, len(seen_columns) - 1).astype(np.int64)]
    hit = np.isin(np.arange(len(times_s)), arrivals.frames[own])
    if np.count_nonzero(seen) >= _LEAST_SEEN:
        return bool(hit[seen].mean() >= _LEAST_HITS)
    return bool(np.count_nonzero(within) >= _LEAST_SEEN and hit[within].mean() >= _LEAST_HITS_OVER_TISSUE)


def _redraws(strip: Strip, head: Head, arrivals: Arrivals) -> bool | None:
    """Whether what the head draws stays behind it; None when that cannot be told.

    A cursor takes along what it is drawn with; a sweep leaves at least a pixel of the line in each column.
    Where too few columns are free of tissue to see it, the arrivals are of lines that stay.
    """
    if len(arrivals.columns) < _LEAST_SEEN:
        return True
    later = np.searchsorted(strip.times_s, strip.times_s + _MARKER / head.speed)
    stays: list[Flags] = []
    for frame in np.unique(arrivals.frames).tolist():
        if later[frame] >= len(later):
            break
        columns = arrivals.columns[arrivals.frames == frame].astype(np.int64)
        shown = strip.frames[[frame - 1, frame, later[frame]]][:, :, columns].astype(np.int64)
        risen = (shown[1:] - shown[0] > _LEAST_CHANGE).all(axis=0) & (strip.visible[:, columns] > 0)
        stays.append(risen.any(axis=0))
    told = np.concatenate([*stays, np.empty(0, bool)])
    return None if len(told) < _LEAST_SEEN else bool(np.count_nonzero(told) > 0.5 * len(told))


_GROWTHS: Final = 4  # steps in which the rows around a cursor are searched for its trace
_REACH: Final = 0.16  # of the picture's height: how far from a short cursor its trace may reach
_MARGIN: Final = 3  # columns behind the head that may not be drawn to the end
_ERASED_SHARE: Final = 0.2  # of a lap, ahead of the head; scanners erase 3 to 15 %


def read_sweep(strip: Strip, head: MovingHead) -> tuple[Trace, ...]:
    """The readings of a redrawn trace, likeliest first; two, where its path may lead into the tissue.

    The strip is unrolled, so that a column number tells the time over all laps. Each column is taken as
    the darkest of all frames that show it: moving tissue behind the trace fades away.
    """
    ends = head.at(strip.times_s)
    lap = strip.width if head.lap is None else int(head.lap)
    begin = int(np.floor(min(ends[0], head.first))) - lap + 1
    begin = max(begin, 0) if head.lap is None else begin
    last = int(np.floor(ends[-1])) - _MARGIN
    unrolled = np.full((strip.frames.shape[1], max(1, last - begin + 1)), 255, np.uint8)
    for frame, end in zip(strip.frames, ends, strict=True):
        start = begin if head.lap is None else int(np.ceil(end - (1 - _ERASED_SHARE) * head.lap))
        numbers = np.arange(max(begin, start), int(np.floor(end)) - _MARGIN + 1)
        shown = frame[:, head.on_screen(numbers, strip.width)]
        unrolled[:, numbers - begin] = np.minimum(unrolled[:, numbers - begin], shown)
    ahead = _mark_offset(strip, unrolled, begin, head)
    seen = strip.visible[:, head.on_screen(np.arange(begin, begin + unrolled.shape[1]), strip.width)]
    start, stop = int(head.start) + 2 - begin, last - begin
    curve = read_curve(unrolled, start, stop)
    outside = None if curve is None else read_outside(unrolled, start, stop, seen, curve)
    found = (reading for reading in (outside, curve) if reading is not None)
    return tuple((head.seconds(reading.columns + begin - ahead), reading.heights) for reading in found)


def read_still(strip: Strip, cursor: MovingHead) -> Trace | None:
    """Read a still trace under a cursor, which may be shorter than the trace is high."""
    ahead = _mark_offset(strip, strip.dark, 0, cursor)
    more = round(_REACH * len(strip.minimum))
    for grown in range(0, more + 1, max(1, more // _GROWTHS)):
        curve = read_curve(strip.lowest(grown), int(cursor.first) + 1, int(cursor.last))
        if curve is not None and not curve.cut_off:
            end = curve.first + len(curve.heights) - 1
            first, last = np.rint(cursor.at(strip.times_s[[0, -1]]) + ahead).astype(int).tolist()
            first = first if first - curve.first <= _MARKER else curve.first  # fewer are beside the trace
            curve = curve.part(first, last if end - last <= _MARKER else end)
            return cursor.seconds(curve.columns - ahead), curve.heights
    return None


def _mark_offset(strip: Strip, picture: Image, begin: int, head: MovingHead) -> float:
    """Columns from the path to the middle of the mark that moves on it: a cursor, or a dot at the head.

    What is brighter near the head than in the same columns without it (``picture``, from column ``begin`` on)
    is the mark. The path was fitted to where it arrives, its leading edge.

    Returns:
        The offset; 0 where there is no mark, or what surrounds it hides where it ends.
    """
    reach = np.arange(-_MARKER, _MARKER + 1)
    excess = np.zeros(len(reach))
    for frame, end in zip(strip.frames, head.at(strip.times_s), strict=True):
        numbers = round(end) + reach
        if numbers[0] < begin or numbers[-1] >= begin + picture.shape[1]:
            continue
        at = head.on_screen(numbers, strip.width)
        more = cv2.bitwise_and(cv2.subtract(frame[:, at], picture[:, numbers - begin]), strip.visible[:, at])
        excess += np.count_nonzero(more > _LEAST_CHANGE, axis=0)
    top = int(np.argmax(excess))
    ends = np.flatnonzero(excess < 0.25 * excess[top])
    before, after = ends[ends < top], ends[ends > top]
    if excess[top] < 0.5 * len(strip.frames) or len(before) == 0 or len(after) == 0:
        return 0.0
    blob = slice(int(before[-1]) + 1, int(after[0]))
    return float(excess[blob] @ reach[blob] / excess[blob].sum())
