"""The traces of ECGs on the screen: where they may stand, and how each of them is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

import cv2
import numpy as np

from cardio_mlflow.data.cycle.arrivals import Arrivals, Head, find_head, refine_head
from cardio_mlflow.data.cycle.head import find_moving_head, read_still, read_sweep
from cardio_mlflow.data.cycle.scroll import read_scroll, read_tissue_scroll
from cardio_mlflow.data.cycle.strip import Array, Image, Rows, Strip, Trace, cut_strips, read_curve
from cardio_mlflow.data.picture.sector import ClipStatistics

Style = Literal["sweep", "scroll", "cursor"]
"""How a trace moves: a head redraws it, it scrolls as a whole, or a cursor moves over it."""

_BORDER: Final = 0.015  # of the picture's height: what is shown so near to the sector may still be tissue
_LEAST_LUMA: Final = 120.0  # of a trace that moves over tissue
_LEAST_STILL: Final = 70  # of one that stands still: all tissue is darker at some moment
_LASTING_S: Final = 0.25  # a swept trace stays for longer, and no tissue is bright all over for so long


def read_traces(
    frames: Iterable[Image], sector_mask: Image, statistics: ClipStatistics, times_s: Array
) -> Iterator[tuple[Style, tuple[Trace, ...]]]:
    """Traces that may be an ECG, likeliest first: those outside the sector, then those over the tissue.

    Of each come its readings, likeliest first, at least one.

    Candidates are wide strips outside the sector in which pixels change, and after them bands of the sector
    that are bright over its whole width. How a strip's trace moves gives the time of each of its columns; one
    whose changes follow no path at constant speed, or that shows no single line, is none. Frames are asked
    for only when there are candidates.

    Args:
        frames: luma, uint8 rows × columns each.
        sector_mask: 255 in the sector, 0 outside.
        statistics: over all frames.
        times_s: time of each frame in seconds since the first, rising.
    """
    border = 2 * max(2, round(_BORDER * len(sector_mask))) + 1
    outside = cv2.bitwise_not(cv2.dilate(sector_mask, np.ones((border, border), np.uint8)))
    for strip in cut_strips(frames, find_strips(statistics, outside), statistics, outside, times_s):
        yield from ((style, readings) for style, readings in _outside(strip) if readings)
    moving = find_bands(statistics.maximum, sector_mask, _LEAST_LUMA)
    still = find_bands(statistics.minimum, sector_mask, _LEAST_STILL)
    bands = list(dict.fromkeys(still[:1] + moving))
    for strip in cut_strips(frames, bands, statistics, outside, times_s):
        yield from ((style, readings) for style, readings in _over_tissue(strip) if readings)


def _outside(strip: Strip) -> Iterator[tuple[Style, tuple[Trace, ...]]]:
    moving = find_moving_head(strip)
    if moving is not None and moving.redraws:
        yield "sweep", read_sweep(strip, moving)
    elif moving is not None:
        yield "cursor", _one(read_still(strip, moving))
    elif (scrolling := read_scroll(strip)) is not None:
        yield "scroll", (scrolling,)
    else:
        yield "cursor", _one(_read_tissue_cursor(strip))


def _over_tissue(strip: Strip) -> Iterator[tuple[Style, tuple[Trace, ...]]]:
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
    moving = find_moving_head(strip) if _bright_all_over(strip.frames[start:stop].min(axis=0)) else None
    return read_sweep(strip, moving) if moving is not None and moving.redraws else ()


_SHARE: Final = 0.7  # of the columns
_LEAST_CHANGE: Final = 45  # gray levels over the pixel's darkest moment and over what is beside it
_WIDTH: Final = 7  # columns; a cursor is narrower
_LEAST_RUN: Final = 0.025  # of the picture's height; speckle is lower
_TOLERANCE: Final = 2.5  # columns
_LEAST_HITS: Final = 0.6  # of the frames
_LEAST_PRECISION: Final = 0.5


def _bright_all_over(lasting: Image) -> bool:
    """Whether something bright stands in most columns of what stays for a while."""
    return bool(np.mean(lasting.max(axis=0) >= _LEAST_STILL) >= _SHARE)


def _read_tissue_cursor(strip: Strip) -> Trace | None:
    """Read a still trace under a moving line.

    The line is looked for as something upright and thin, so that tissue may move behind it.
    """
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


def _find_lines(strip: Strip, lowest: Image) -> Arrivals:
    """Upright lines that are not always there; the longer one is, the more votes it has."""
    run = max(5, round(_LEAST_RUN * len(strip.minimum)))
    beside, tall = np.ones((1, _WIDTH), np.uint8), np.ones((run, 1), np.uint8)
    upright = np.empty((len(strip.frames), strip.width))
    for votes, frame in zip(upright, strip.frames, strict=True):
        bright = cv2.subtract(frame, lowest)
        thin = cv2.compare(cv2.morphologyEx(bright, cv2.MORPH_TOPHAT, beside), _LEAST_CHANGE, cv2.CMP_GT)
        votes[:] = np.count_nonzero(cv2.erode(thin, tall, borderValue=0), axis=0)
    frames, columns = np.nonzero(upright)
    return Arrivals(columns.astype(np.float64), frames, strip.times_s[frames], upright[frames, columns])


def _cursor(lines: Arrivals, strip: Strip) -> Head | None:
    """The path that most lines lie on, of one line in most frames; None when there is none."""
    head = find_head(lines, strip.width)
    if head is None:
        return None
    head = Head(head.speed, head.start, None)
    for tolerance in (4 * _TOLERANCE, 2 * _TOLERANCE, _TOLERANCE):
        head = refine_head(head, lines, tolerance)
    own = np.abs(head.off(lines)) <= _TOLERANCE
    precise = lines.votes[own].sum() >= _LEAST_PRECISION * lines.votes.sum()
    return head if precise and len(np.unique(lines.frames[own])) >= _LEAST_HITS * len(strip.frames) else None


_LEAST_RANGE: Final = 36  # gray levels over time; noise of JPEG quality 50 beside a moving line stays below
_LEAST_WIDTH: Final = 0.12  # of the picture
_TALLEST: Final = 0.22  # of the picture; of what is taller (a cursor over the whole screen) the lower part
_BESIDE_SECTOR: Final = 0.09  # of the picture
_MOST_STRIPS: Final = 3


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
            found = _merged(found, _Box(top + height - tall, top + height, left, left + width))
    found.sort(key=lambda box: (box.left - box.right, box.top))
    return [_padded(box, outside) for box in found[:_MOST_STRIPS]]


class _Box(NamedTuple):
    top: int
    bottom: int
    left: int
    right: int


def _merged(boxes: list[_Box], new: _Box) -> list[_Box]:
    """The boxes with a new one, made one with those that stand in much the same rows."""
    apart = []
    for box in boxes:
        shared = min(box.bottom, new.bottom) - max(box.top, new.top)
        if shared >= 0.5 * min(box.bottom - box.top, new.bottom - new.top):
            new = _Box(min(box.top, new.top), max(box.bottom, new.bottom),
                       min(box.left, new.left), max(box.right, new.right))  # fmt: skip
        else:
            apart.append(box)
    return [*apart, new]


def _padded(box: _Box, outside: Image) -> Rows:
    """Some more rows on either side: an R wave that stands still may reach beyond what moves.

    Beside the sector only the strip's corners may be seen to move, so there it is many more.
    """
    rows = len(outside)
    over_tissue = outside[box.top : box.bottom].min() == 0
    more = max(4, (box.bottom - box.top) // 4, int(_BESIDE_SECTOR * rows) if over_tissue else 0)
    return (max(0, box.top - more), min(rows, box.bottom + more))


_LEAST_RATIO: Final = 1.5  # to the usual row of the sector
_TRACE_RANGE: Final = 0.03  # of the picture's height; a resting trace stays within it
_WIDE: Final = 0.25  # of the picture's width; narrower rows of the sector tell nothing
_PADDING: Final = 0.1  # of the picture's height
_ROW_STEP, _COLUMN_STEP = 2, 4
_MOST_BANDS: Final = 2


def find_bands(extreme: Image, sector_mask: Image, least_luma: float) -> list[Rows]:
    """At most two bands that are bright over the sector's whole width, the brightest first.

    A trace that moves past every column leaves a bright band in the largest luma over time (``extreme``), and
    one that stands still a bright line in the smallest. Tissue is never so bright in nine tenths of all
    columns, measured by how bright it is in other rows.
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
    """What nine tenths of the sector's columns reach near each other row; 0 where the sector is narrow."""
    reach = 2 * round(_TRACE_RANGE * len(extreme) / 2) + 1
    near = cv2.dilate(extreme, np.ones((reach, 1), np.uint8))[::_ROW_STEP, ::_COLUMN_STEP]
    inside = sector_mask[::_ROW_STEP, ::_COLUMN_STEP] > 0
    counts = np.count_nonzero(inside, axis=1)
    ordered = np.sort(np.where(inside, near, 255), axis=1)
    levels = ordered[np.arange(len(ordered)), np.minimum(counts // 10, ordered.shape[1] - 1)]
    return np.where(counts > _WIDE * inside.shape[1], levels, 0).astype(np.float64)
