"""A strip of the screen in all frames, and the line of a trace in a picture of it: voltage by column."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import cv2
import numpy as np

from cardio_mlflow.data.picture.sector import Array, ClipStatistics, Flags, Floats, Image, Numbers

Trace = tuple[Array, Array]
"""Times of a trace's columns in seconds since the first frame, and their heights in rows, rising upward."""

Rows = tuple[int, int]
"""The first row of a strip over the screen's whole width, and one past the last."""

# Tuned on the hard clips ecg_baseline, tall_t, words_inside, tissue_*; see benchmarks.tuned_constants.
_KEPT_BYTES: Final = 32 * 1024**2  # of a clip's strips; of a very long clip the first frames are cut

# The line of a trace.
_LEAST_STEP: Final = 28.0  # gray levels over its background
_LINE: Final = 0.45  # of the usual step; what is brighter is the line
_LEAST_FILLED: Final = 0.8  # of the columns
_LONGEST_GAP, _MOST_HIDDEN = 8, 24  # columns without a line inside a trace; where tissue hides it
_MOST_ASTRAY: Final = 0.02  # of the columns; tops of tall waves reach 0.014 in the synthetic cohort
_STEEP: Final = 3  # rows more than where the line is level
_LEVEL_SHARE: Final = 0.85  # of the columns; no ECG stays on a row so long, a level line does
_FAINTNESS_COST: Final = 3.0  # rows of a jump that a run half as bright as usual is as bad as


@dataclass(frozen=True)
class Strip:
    """Some rows of the screen in all frames."""

    frames: Image  # luma, frames × rows × columns
    rows: Rows
    minimum: Image  # smallest luma of each pixel of the screen over the whole clip
    outside: Image  # 255 where the screen shows no tissue
    clip_times_s: Array  # of each frame of the clip, seconds, rising

    @property
    def width(self) -> int:
        """Columns of the screen."""
        return int(self.frames.shape[2])

    @property
    def times_s(self) -> Array:
        """Times of the frames cut, which may be fewer than the clip's."""
        return self.clip_times_s[: len(self.frames)]

    @property
    def visible(self) -> Image:
        """255 where no tissue is shown, rows × columns."""
        return self.outside[slice(*self.rows)]

    @cached_property
    def dark(self) -> Image:
        """Smallest luma of each pixel in the frames cut, rows × columns."""
        return np.asarray(self.frames.min(axis=0))

    def lowest(self, more: int = 0) -> Image:
        """Smallest luma over the whole clip, of more rows on either side; black beyond the picture."""
        top, bottom = self.rows
        return np.pad(self.minimum, ((more, more), (0, 0)))[top : bottom + 2 * more]


def cut_strips(
    frames: Iterable[Image], all_rows: list[Rows], statistics: ClipStatistics, outside: Image, times_s: Array
) -> list[Strip]:
    """Cut strips out of all frames in one pass; without any strips, no frame is asked for."""
    if not all_rows:
        return []
    height = sum(bottom - top for top, bottom in all_rows)
    most = max(2, _KEPT_BYTES // max(1, height * outside.shape[1]))
    cut: list[list[Image]] = [[] for _ in all_rows]
    for number, frame in enumerate(frames):
        if number >= most:
            break
        for kept, (top, bottom) in zip(cut, all_rows, strict=True):
            kept.append(frame[top:bottom].copy())
    return [
        Strip(np.stack(kept), rows, statistics.minimum, outside, times_s)
        for kept, rows in zip(cut, all_rows, strict=True)
    ]


@dataclass(frozen=True)
class Curve:
    """A line in a picture."""

    first: int  # column
    heights: Array  # rows above the picture's bottom, of each column from the first on
    cut_off: bool  # whether it reaches the picture's top or bottom

    @property
    def columns(self) -> Array:
        """Column of each height."""
        return self.first + np.arange(len(self.heights), dtype=np.float64)

    def part(self, first: int, last: int) -> Curve:
        """The curve from one column to another, as far as it goes."""
        start, stop = max(0, first - self.first), max(0, last + 1 - self.first)
        return Curve(self.first + start, self.heights[start:stop], self.cut_off)


@dataclass(frozen=True)
class Runs:
    """Vertical runs of bright pixels, in order of their columns."""

    column: Numbers
    top: Numbers  # row
    bottom: Numbers  # row, the run's last
    brightness: Array  # largest contrast relative to the usual line, at most 1
    level: Flags  # whether it may be a part of a level line over the strip's whole width


def read_curve(picture: Image, start: int, stop: int) -> Curve | None:
    """The trace in a picture of a strip without what moves, if there is one; it spans columns start to stop.

    The line is what is brighter than about half-way between a column's background and the trace's usual
    brightness. Where a column has several runs of such pixels (tissue, words), the path with the least jumps
    from column to column is taken. Of a steep part the end farther from the trace's resting height counts, so
    that a narrow R wave keeps its height.
    """
    start, stop = max(0, start), min(picture.shape[1], stop)
    return None if stop - start < 16 else _read(picture, start, stop, _LONGEST_GAP)


def read_outside(picture: Image, start: int, stop: int, visible: Image, curve: Curve) -> Curve | None:
    """A curve of `read_curve` that leads into tissue, read again where ``visible`` is 255 alone.

    None where it does not lead there, or cannot be followed outside alone.
    """
    rows = np.clip(len(picture) - 1 - np.rint(curve.heights).astype(np.int64), 0, len(picture) - 1)
    if np.mean(visible[rows, curve.columns.astype(np.int64)] == 0) <= _MOST_ASTRAY:
        return None
    start, stop = max(0, start), min(picture.shape[1], stop)
    return _read(cv2.bitwise_and(picture, visible), start, stop, _MOST_HIDDEN)


def _read(picture: Image, start: int, stop: int, longest_gap: int) -> Curve | None:
    ground = np.partition(picture, len(picture) // 5, axis=0)[len(picture) // 5]  # a tall R wave fills half
    contrast = picture.astype(np.float32) - ground.astype(np.float32)
    step = float(np.median(contrast[:, start:stop].max(axis=0)))
    if step < _LEAST_STEP:
        return None
    bright = contrast > _LINE * step
    filled = bright.any(axis=0)
    if filled[start:stop].mean() < _LEAST_FILLED:
        return None
    first, last = _extent(filled, start, stop, longest_gap)
    part = slice(first, last + 1)
    heights = _heights(bright[:, part], contrast[:, part] / step)
    return Curve(first, heights, bool(heights.min() < 1 or heights.max() > len(picture) - 2))


def _extent(filled: Flags, start: int, stop: int, longest_gap: int) -> tuple[int, int]:
    """First and last column of the trace around a part of it, over gaps of some columns."""
    columns = np.flatnonzero(filled)
    breaks = np.flatnonzero(np.diff(columns) > longest_gap)
    firsts, lasts = columns[np.r_[0, breaks + 1]], columns[np.r_[breaks, len(columns) - 1]]
    touching = np.flatnonzero((firsts < stop) & (lasts >= start))
    return int(firsts[touching[0]]), int(lasts[touching[-1]])


def _heights(bright: Flags, contrast: Floats) -> Array:
    runs = find_runs(bright, contrast)
    chosen = smoothest_path(runs)
    top, bottom, columns = runs.top[chosen], runs.bottom[chosen], runs.column[chosen]
    weight = np.where(bright, contrast, 0.0)
    row = _sums(weight * np.arange(len(bright))[:, None], columns, top, bottom)
    row /= _sums(weight, columns, top, bottom)
    rest = float(np.median(row))
    half = 0.5 * float(np.median(bottom - top))
    far = np.where(rest - top >= bottom - rest, top + half, bottom - half)
    row = np.where(bottom - top > 2 * half + _STEEP, far, row)
    return len(bright) - 1 - np.interp(np.arange(bright.shape[1]), columns, row)


def _sums(values: Array, columns: Numbers, top: Numbers, bottom: Numbers) -> Array:
    """Sums of values over one run of rows per column."""
    sums = np.pad(np.cumsum(values, axis=0, dtype=np.float64), ((1, 0), (0, 0)))
    return sums[bottom + 1, columns] - sums[top, columns]


def find_runs(bright: Flags, contrast: Floats) -> Runs:
    """All vertical runs of bright pixels; the contrast is relative to the usual line."""
    edges = np.diff(np.pad(bright.T.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    column, top = np.nonzero(edges == 1)
    bottom = np.nonzero(edges == -1)[1] - 1
    flat = np.minimum(contrast, 1.0).T.ravel()
    starts = column * bright.shape[0] + top
    bounds = np.stack([starts, starts + bottom - top + 1], axis=1).ravel()
    brightness = np.maximum.reduceat(np.append(flat, 0.0), bounds)[::2]
    level_rows = np.append(0, np.cumsum(bright.mean(axis=1) > _LEVEL_SHARE))
    level = level_rows[bottom + 1] - level_rows[top] > 0
    return Runs(column, top, bottom, brightness.astype(np.float64), level)


def smoothest_path(runs: Runs) -> Numbers:
    """One run per column, as numbers into ``runs``: the path with the least sum of jumps (Viterbi)."""
    bounds = [*np.flatnonzero(np.diff(runs.column, prepend=-1)).tolist(), len(runs.column)]
    top, bottom = runs.top.tolist(), runs.bottom.tolist()
    cost = (2 * _FAINTNESS_COST * (1.0 - runs.brightness) + 0.5 * runs.level).tolist()
    came = [0] * len(cost)
    before = range(bounds[0], bounds[1])
    for first, stop in pairwise(bounds[1:]):
        for run in range(first, stop):
            jumps = [cost[old] + max(top[run] - bottom[old], top[old] - bottom[run], 1) for old in before]
            least = min(jumps)
            cost[run] += least
            came[run] = before[jumps.index(least)]
        before = range(first, stop)
    path = [min(before, key=cost.__getitem__)]
    for _ in bounds[2:]:
        path.append(came[path[-1]])
    return np.array(path[::-1], np.int64)
