"""The path of a point that moves over the screen at constant speed, from where columns became brighter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cardio_mlflow.data.cycle.strip import Array, Flags, Numbers

_SLOWEST_S: Final = 20.0  # a trace crosses the picture's width within this time
_FASTEST_S: Final = 0.5
_SPEED_STEP: Final = 0.012  # relative; half a sweep blurs by a few columns only
_BIN: Final = 4.0  # columns
_LEAST_ARRIVALS: Final = 12
_LEAST_WRAP: Final = 0.25  # of the picture's width


@dataclass(frozen=True)
class Arrivals:
    """Columns that became brighter from one frame to the next, the later one, its time, how many rows did."""

    columns: Array
    frames: Numbers
    times_s: Array
    votes: Array

    def part(self, own: Flags) -> Arrivals:
        """Some of the arrivals."""
        return Arrivals(self.columns[own], self.frames[own], self.times_s[own], self.votes[own])


@dataclass(frozen=True)
class Head:
    """A point that moves right at constant speed (columns per second) from a start (column at time 0).

    It starts over at the left after a lap (columns), None when the clip saw no new start.
    """

    speed: float
    start: float
    lap: float | None

    def at(self, times_s: Array) -> Array:
        """Column of the head, counted on over all laps."""
        return self.start + self.speed * times_s

    def off(self, arrivals: Arrivals) -> Array:
        """Columns from the head to arrivals, by the nearest lap."""
        off = arrivals.columns - self.start - self.speed * arrivals.times_s
        return off if self.lap is None else off - self.lap * np.rint(off / self.lap)

    def seconds(self, columns: Array) -> Array:
        """Seconds since the first frame at which the head passes columns counted on over all laps."""
        return (columns - self.start) / self.speed


def find_head(arrivals: Arrivals, width: int) -> Head | None:
    """The head whose path explains the arrivals best; None when there are too few.

    A vote over speed and start (a Hough transform) finds the path. In a clip that saw the head start
    over, what came before and after lies on parallel paths, a lap apart. ``width`` is the picture's.
    """
    if len(arrivals.columns) < _LEAST_ARRIVALS:
        return None
    speeds = np.exp(np.arange(np.log(width / _SLOWEST_S), np.log(width / _FASTEST_S), _SPEED_STEP))
    speed = float(speeds[np.argmax([_votes(arrivals, speed)[0].max() for speed in speeds])])
    votes, first = _votes(arrivals, speed)
    return _with_lap(Head(speed, first + (int(np.argmax(votes)) + 0.5) * _BIN, None), arrivals, width)


def _votes(arrivals: Arrivals, speed: float) -> tuple[Array, float]:
    """Votes by the column at time 0, in bins of four columns smoothed over three; the first bin's edge."""
    starts = arrivals.columns - speed * arrivals.times_s
    first = float(np.floor(starts.min()))
    votes = np.bincount(((starts - first) / _BIN).astype(np.int64), weights=arrivals.votes)
    return np.convolve(votes, (0.5, 1.0, 0.5))[1:-1], first


def _with_lap(head: Head, arrivals: Arrivals, width: int) -> Head:
    """Find the length of a lap from the arrivals in the frames that the head's own path does not reach."""
    own, times = np.abs(head.off(arrivals)) <= 3 * _BIN, arrivals.times_s
    begin, end = np.quantile(times[own], (0.02, 0.98))
    others = arrivals.part(((times < begin) | (times > end)) & ~own)
    if len(np.unique(others.times_s)) < 3:
        return head
    votes, first = _votes(others, head.speed)
    apart = np.abs(first + (np.arange(len(votes)) + 0.5) * _BIN - head.start)
    votes = np.where((apart >= _LEAST_WRAP * width) & (apart <= 1.1 * width), votes, 0.0)
    at = int(np.argmax(votes))
    return head if votes[at] < 6 else replace(head, lap=float(apart[at]))


def refine_head(head: Head, arrivals: Arrivals, tolerance: float) -> Head:
    """Least squares over the arrivals within so many columns of the path."""
    near = arrivals.part(np.abs(head.off(arrivals)) <= tolerance)
    columns, times = near.columns, near.times_s
    if len(times) < _LEAST_ARRIVALS or np.ptp(times) <= 0:
        return head
    off = columns - head.start - head.speed * times
    laps = np.zeros_like(off) if head.lap is None else np.rint(-off / head.lap)
    terms = [np.ones_like(times), times, -laps][: 3 if laps.any() and np.ptp(laps) > 0 else 2]
    root = np.sqrt(near.votes)
    fit, *_ = np.linalg.lstsq(np.stack(terms, axis=1) * root[:, None], columns * root, rcond=None)
    if fit[1] <= 0:
        return head
    return Head(float(fit[1]), float(fit[0]), float(fit[2]) if len(fit) == 3 else head.lap)
