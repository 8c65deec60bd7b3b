"""The traces of ECGs on the screen: where they may stand, and how each is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

import cv2
import numpy as np

from cardio_mlflow.data.cycle.scroll import read_scroll, read_tissue_scroll
from cardio_mlflow.data.cycle.strip import Rows, Strip, Trace, cut_strips, read_curve
from cardio_mlflow.data.cycle.sweep import (
    Rises,
    SweepPath,
    find_path,
    find_sweep_head,
    read_still,
    read_sweep,
    refine_path,
)
from cardio_mlflow.data.picture.sector import Array, ClipStatistics, Image

Style = Literal["sweep", "scroll", "cursor"]
"""How a trace moves: a head redraws it, it scrolls as a whole, or a cursor moves over it."""

# Tuned on the hard clips ecg_*, tissue_*_cursor, jpeg_50, no_ecg; see benchmarks.tuned_constants.
# Strips outside the sector; shares of the picture.
_BORDER: Final = 0.015  # what is shown so near to the sector may still be tissue
_LEAST_RANGE: Final = 36  # gray levels over time; noise of JPEG quality 50 beside a moving line stays below
_LEAST_WIDTH: Final = 0.12
_TALLEST: Final = 0.22  # of what is taller, such as a cursor over the whole screen, the lower part
_BESIDE_SECTOR: Final = 0.09  # rows more, where tissue hides a part of the strip
_MOST_STRIPS: Final = 3

# Bands of the sector that are bright over its whole width.
_LEAST_LUMA: Final = 120.0  # of a trace that moves
_LEAST_STILL: Final = 70  # of one that stands still: all tissue is darker at some moment
_LEAST_RATIO: Final = 1.5  # to the sector's usual row
_TRACE_RANGE: Final = 0.03  # of the picture's height; a resting trace stays within it
_WIDE: Final = 0.25  # of the picture's width; narrower rows of the sector tell nothing
_PADDING: Final = 0.1  # of the picture's height
_ROW_STEP, _COLUMN_STEP = 2, 4  # pixels of which one is looked at
_MOST_BANDS: Final = 2

# A trace over tissue.
_LASTING_S: Final = 0.25  # a swept trace stays for longer, and no tissue is bright all over for so long
_SHARE: Final = 0.7  # of the columns are bright
_LEAST_CHANGE: Final = 45  # gray levels of a cursor over the darkest moment and over what is beside it
_WIDTH: Final = 7  # columns; a cursor is narrower
_LEAST_RUN: Final = 0.025  # of the picture's height; speckle is lower
_TOLERANCE: Final = 2.5  # columns from its path
_LEAST_HITS: Final = 0.6  # of the frames show it
_LEAST_PRECISION: Final = 0.5  # of the upright lines are it


def read_traces(
    frames: Iterable[Image], sector_mask: Image, statistics: ClipStatistics, times_s: Array
) -> Iterator[tuple[Style, tuple[Trace, ...]]]:
    """Traces that may be an ECG, likeliest first, each with its readings, likeliest first.

    Candidates are wide strips outside the sector in which pixels change, then bands of the sector that are
    bright over its whole width. How a trace moves gives the time of each of its columns; what follows no path
    at constant speed, or shows no single line, is none. Frames are asked for only when there are candidates.
    """
    border = 2 * max(2, round(_BORDER * len(sector_mask))) + 1
    outside = cv2.bitwise_not(cv2.dilate(sector_mask, np.ones((border, border), np.uint8)))
    for strip in cut_strips(frames, find_strips(statistics, outside), statistics, outside, times_s):
        yield from ((style, readings) for style, readings in _read_outside(strip) if readings)
    moving = find_bands(statistics.maximum, sector_mask, _LEAST_LUMA)
    still = find_bands(statistics.minimum, sector_mask, _LEAST_STILL)
    bands = list(dict.fromkeys(still[:1] + moving))
    for strip in cut_strips(frames, bands, statistics, outside, times_s):
        yield from ((style, readings) for style, readings in _read_over_tissue(strip) if readings)


def _read_outside(strip: Strip) -> Iterator[tuple[Style, tuple[Trace, ...]]]:
    moving = find_sweep_head(strip)
    if moving is not None and moving.redraws:
        yield "sweep", read_sweep(strip, moving)
    elif moving is not None:
        yield "cursor", _one(read_still(strip, moving))
    elif (scrolling := read_scroll(strip)) is not None:
        yield "scroll", (scrolling,)
    else:
        yield "cursor", _one(_read_tissue_cursor(strip))


def _read_over_tissue(strip: Strip) -> Iterator[tuple[Style, tuple[Trace, ...]]]:
    if (scrolling := read_tissue_scroll(strip)) is not None:
        yield "scroll", (scrolling,)
    else:
        yield "sweep", _read_tissue_sweep(strip)
        yield "cursor", _one(_read_tissue_cursor(strip))


def _one(trace: Trace | None) -> tuple[Trace, ...]:
    return () if trace is None else (trace,)


def _read_tissue_sweep(strip: Strip) -> tuple[Trace, ...]:
    times = strip.times_s
    start = len(times) // 2
    stop = max(start + 2, int(np.searchsorted(times, times[start] + _LASTING_S)))
    moving = find_sweep_head(strip) if _bright_all_over(strip.frames[start:stop].min(axis=0)) else None
    return read_sweep(strip, moving) if moving is not None and moving.redraws else ()


def _bright_all_over(lasting: Image) -> bool:
    """Whether something bright stands in most columns of what stays for a while."""
    return bool(np.mean(lasting.max(axis=0) >= _LEAST_STILL) >= _SHARE)


def _read_tissue_cursor(strip: Strip) -> Trace | None:
    """Read a still trace under a cursor: something upright and thin, so that tissue may move behind it."""
    lowest = strip.lowest()
    head = _cursor(_find_lines(strip, lowest), strip) if _bright_all_over(lowest) else None
    if head is None:
        return None
    first, last = np.rint(head.at(strip.clip_times_s[[0, -1]])).astype(int).tolist()
    curve = read_curve(lowest, first + 1, last)
    if curve is None:
        return None
    kept = curve.part(first, last)  # beyond the line's path stands no trace, but something else may
    return head.seconds(kept.columns), kept.heights


def _find_lines(strip: Strip, lowest: Image) -> Rises:
    """Upright lines that are not always there; the longer one is, the more votes it has."""
    run = max(5, round(_LEAST_RUN * len(strip.minimum)))
    beside, tall = np.ones((1, _WIDTH), np.uint8), np.ones((run, 1), np.uint8)
    upright = np.empty((len(strip.frames), strip.width))
    for votes, frame in zip(upright, strip.frames, strict=True):
        bright = cv2.subtract(frame, lowest)
        thin = cv2.compare(cv2.morphologyEx(bright, cv2.MORPH_TOPHAT, beside), _LEAST_CHANGE, cv2.CMP_GT)
        votes[:] = np.count_nonzero(cv2.erode(thin, tall, borderValue=0), axis=0)
    frames, columns = np.nonzero(upright)
    return Rises(columns.astype(np.float64), frames, strip.times_s[frames], upright[frames, columns])


def _cursor(lines: Rises, strip: Strip) -> SweepPath | None:
    """The path that most lines lie on, with a line in most frames, if there is one."""
    head = find_path(lines, strip.width)
    if head is None:
        return None
    head = SweepPath(head.speed, head.start, None)
    for tolerance in (4 * _TOLERANCE, 2 * _TOLERANCE, _TOLERANCE):
        head = refine_path(head, lines, tolerance)
    own = np.abs(head.off(lines)) <= _TOLERANCE
    precise = lines.votes[own].sum() >= _LEAST_PRECISION * lines.votes.sum()
    return head if precise and len(np.unique(lines.frames[own])) >= _LEAST_HITS * len(strip.frames) else None


def find_strips(statistics: ClipStatistics, outside: Image) -> list[Rows]:
    """At most three strips in which pixels change over much of the width outside the sector, widest first."""
    rows, columns = outside.shape
    spread = cv2.subtract(statistics.maximum, statistics.minimum)
    moving = cv2.bitwise_and(cv2.compare(spread, _LEAST_RANGE, cv2.CMP_GT), outside)
    half = cv2.resize(moving, ((columns + 1) // 2, (rows + 1) // 2), interpolation=cv2.INTER_AREA)
    kernel = np.ones((3, max(3, columns // 32) | 1), np.uint8)
    joined = cv2.morphologyEx(cv2.compare(half, 0, cv2.CMP_GT), cv2.MORPH_CLOSE, kernel)
    boxes = 2 * cv2.connectedComponentsWithStats(joined, connectivity=8)[2]
    found: list[_Box] = []
    for left, top, width, height, _ in sorted(boxes[1:].tolist(), key=lambda box: -box[2]):
        tall = min(height, int(_TALLEST * rows))
        if width >= _LEAST_WIDTH * columns and width > 1.5 * min(height, _TALLEST * rows):
            found = _merge(found, _Box(top + height - tall, top + height, left, left + width))
    found.sort(key=lambda box: (box.left - box.right, box.top))
    return [_pad(box, outside) for box in found[:_MOST_STRIPS]]


class _Box(NamedTuple):
    top: int
    bottom: int
    left: int
    right: int


def _merge(boxes: list[_Box], new: _Box) -> list[_Box]:
    """The boxes with a new one, joined to those that stand in much the same rows."""
    apart = []
    for box in boxes:
        shared = min(box.bottom, new.bottom) - max(box.top, new.top)
        if shared >= 0.5 * min(box.bottom - box.top, new.bottom - new.top):
            new = _Box(min(box.top, new.top), max(box.bottom, new.bottom),
                       min(box.left, new.left), max(box.right, new.right))  # fmt: skip
        else:
            apart.append(box)
    return [*apart, new]


def _pad(box: _Box, outside: Image) -> Rows:
    """The box's rows and some more: an R wave that stands still may reach beyond what moves.

    Beside the sector, where only the strip's corners may be seen to move, it is many more.
    """
    rows = len(outside)
    over_tissue = outside[box.top : box.bottom].min() == 0
    more = max(4, (box.bottom - box.top) // 4, int(_BESIDE_SECTOR * rows) if over_tissue else 0)
    return (max(0, box.top - more), min(rows, box.bottom + more))


def find_bands(extreme: Image, sector_mask: Image, least_luma: float) -> list[Rows]:
    """At most two bands that are bright over the sector's whole width, the brightest first.

    A trace that moves past every column leaves a bright band in the largest luma over time (``extreme``), one
    that stands still a bright line in the smallest. Compared with other rows, tissue is never so bright in
    nine tenths of all columns.
    """
    levels = _levels(extreme, sector_mask)
    if not levels.any():
        return []
    least = max(least_luma, _LEAST_RATIO * float(np.median(levels[levels > 0])))
    edges = np.flatnonzero(np.diff(np.pad((levels >= least).astype(np.int8), 1)))
    firsts, stops = edges[::2], edges[1::2]
    tops = [levels[first:stop].max() for first, stop in zip(firsts, stops, strict=True)]
    more = round(_PADDING * len(extreme))
    brightest = np.argsort(tops)[::-1][:_MOST_BANDS]
    return [
        (max(0, _ROW_STEP * int(first) - more), min(len(extreme), _ROW_STEP * int(stop) + more))
        for first, stop in zip(firsts[brightest], stops[brightest], strict=True)
    ]


def _levels(extreme: Image, sector_mask: Image) -> Array:
    """The luma that nine tenths of the sector's columns reach near every second row; 0 where it is narrow."""
    reach = 2 * round(_TRACE_RANGE * len(extreme) / 2) + 1
    near = cv2.dilate(extreme, np.ones((reach, 1), np.uint8))[::_ROW_STEP, ::_COLUMN_STEP]
    inside = sector_mask[::_ROW_STEP, ::_COLUMN_STEP] > 0
    counts = np.count_nonzero(inside, axis=1)
    ordered = np.sort(np.where(inside, near, 255), axis=1)
    levels = ordered[np.arange(len(ordered)), np.minimum(counts // 10, ordered.shape[1] - 1)]
    return np.where(counts > _WIDE * inside.shape[1], levels, 0).astype(np.float64)
