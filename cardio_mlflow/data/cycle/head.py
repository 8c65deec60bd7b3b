"""The head of a sweeping trace, or a cursor over a still one: where it stands at each moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

_SLOWEST_S: Final = 20.0  # a trace crosses the picture's width within this time
_FASTEST_S: Final = 0.5
_SPEED_STEP: Final = 0.012  # relative; half a sweep blurs by a few columns only
_BIN: Final = 4.0  # columns
_BUSY_SHARE: Final = 0.25  # a column that changes in more frames than this is no trace: digits, tissue
_LEAST_ARRIVALS: Final = 12
_LEAST_WRAP: Final = 0.25  # of the picture's width


@dataclass(frozen=True)
class Arrivals:
    """Columns that became brighter from one frame to the next, the later frame, and how many rows did."""

    columns: Array
    frames: NDArray[np.int64]
    votes: Array

    def part(self, chosen: Flags) -> Arrivals:
        """Some of the arrivals."""
        return Arrivals(self.columns[chosen], self.frames[chosen], self.votes[chosen])


@dataclass(frozen=True)
class Head:
    """A point that moves right at constant speed (columns per second) from a start (column at time 0).

    It starts over at the left after a lap (columns), None when the clip saw no new start.
    """

    speed: float
    start: float
    lap: float | None

    def off(self, columns: Array, times_s: Array) -> Array:
        """Columns from where the head is at some times to ``columns``, by the nearest lap."""
        off = columns - self.start - self.speed * times_s
        return off if self.lap is None else off - self.lap * np.rint(off / self.lap)

    def seconds(self, columns: Array) -> Array:
        """Seconds since the first frame at which the head passes columns counted on over all laps."""
        return (columns - self.start) / self.speed


def find_arrivals(brighter: NDArray[np.integer]) -> Arrivals:
    """Arrivals from counts of rows that became brighter, shape (frames, columns), first frame all 0."""
    busy = np.count_nonzero(brighter, axis=0) > max(2.0, _BUSY_SHARE * len(brighter))
    frames, columns = np.nonzero(np.where(busy, 0, brighter))
    votes = np.minimum(brighter[frames, columns], 3).astype(np.float64)
    return Arrivals(columns.astype(np.float64), frames.astype(np.int64), votes)


def find_head(arrivals: Arrivals, times_s: Array, width: int) -> Head | None:
    """The head whose path explains the arrivals best; None when there are too few.

    A vote over speed and start (a Hough transform) finds the path. In a clip that saw the head start
    over, what came before and after lies on parallel paths, a lap apart. Times are those of the frames, in
    seconds; the width is the picture's, in columns.
    """
    if len(arrivals.columns) < _LEAST_ARRIVALS:
        return None
    times = times_s[arrivals.frames]
    speeds = np.exp(np.arange(np.log(width / _SLOWEST_S), np.log(width / _FASTEST_S), _SPEED_STEP))
    tops = np.array([_votes(arrivals, times, speed)[0].max() for speed in speeds])
    speed = float(speeds[np.argmax(tops)])
    votes, first = _votes(arrivals, times, speed)
    head = Head(speed, first + (int(np.argmax(votes)) + 0.5) * _BIN, None)
    return _with_lap(head, arrivals, times, width)


def refine_head(head: Head, arrivals: Arrivals, times_s: Array, tolerance: float) -> Head:
    """Least squares over the arrivals, at times in seconds (one each), within so many columns of the path."""
    near = np.abs(head.off(arrivals.columns, times_s)) <= tolerance
    if np.count_nonzero(near) < _LEAST_ARRIVALS or np.ptp(times_s[near]) <= 0:
        return head
    columns, times = arrivals.columns[near], times_s[near]
    off = columns - head.start - head.speed * times
    laps = np.zeros_like(off) if head.lap is None else np.rint(-off / head.lap)
    terms = [np.ones_like(times), times, -laps][: 3 if laps.any() and np.ptp(laps) > 0 else 2]
    root = np.sqrt(arrivals.votes[near])
    fit, *_ = np.linalg.lstsq(np.stack(terms, axis=1) * root[:, None], columns * root, rcond=None)
    if fit[1] <= 0:
        return head
    return Head(float(fit[1]), float(fit[0]), float(fit[2]) if len(fit) == 3 else head.lap)


def _votes(arrivals: Arrivals, times: Array, speed: float) -> tuple[Array, float]:
    """Votes by the column at time 0, in bins of four columns smoothed over three; the first bin's edge."""
    starts = arrivals.columns - speed * times
    first = float(np.floor(starts.min()))
    votes = np.bincount(((starts - first) / _BIN).astype(np.int64), weights=arrivals.votes)
    return np.convolve(votes, (0.5, 1.0, 0.5))[1:-1], first


def _with_lap(head: Head, arrivals: Arrivals, times: Array, width: int) -> Head:
    """Find the length of a lap from the arrivals in the frames that the head's own path does not reach."""
    own = np.abs(head.off(arrivals.columns, times)) <= 3 * _BIN
    begin, end = np.quantile(times[own], (0.02, 0.98))
    rest = (times < begin) | (times > end)
    if len(np.unique(times[rest & ~own])) < 3:
        return head
    others = arrivals.part(rest & ~own)
    votes, first = _votes(others, times[rest & ~own], head.speed)
    centres = first + (np.arange(len(votes)) + 0.5) * _BIN
    apart = np.abs(centres - head.start)
    votes = np.where((apart >= _LEAST_WRAP * width) & (apart <= 1.1 * width), votes, 0.0)
    at = int(np.argmax(votes))
    return head if votes[at] < 6 else Head(head.speed, head.start, float(apart[at]))
