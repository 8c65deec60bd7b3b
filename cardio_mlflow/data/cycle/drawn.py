"""The ECG that a scanner draws on the screen, read back into numbers.

Everywhere here frames are luma, uint8 rows × columns each; a sector mask is 255 in the sector, 0 outside, and
``outside`` 255 where no tissue is shown, rows × columns; times are seconds since the first frame, rising.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.cycle.curve import Curve
from cardio_mlflow.data.cycle.r_waves import find_r_waves
from cardio_mlflow.data.cycle.scroll import find_scroll, read_scroll
from cardio_mlflow.data.cycle.strip import Strip, crop_frames, find_strips
from cardio_mlflow.data.cycle.sweep import find_moving_head, read_still, read_sweep
from cardio_mlflow.data.cycle.tissue_strip import bright_all_over, read_tissue_cursor, read_tissue_scroll
from cardio_mlflow.data.picture.sector import ClipStatistics

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_LEAST_RATIO: Final = 1.5  # to the usual row of the sector
_TRACE_RANGE: Final = 0.03  # of the picture's height; a resting trace stays within it
_WIDE: Final = 0.25  # of the picture's width; narrower rows of the sector tell nothing
_PADDING: Final = 0.1  # of the picture's height
_ROW_STEP, _COLUMN_STEP = 2, 4
_MOST_BANDS: Final = 2


def find_bands(extreme: Image, sector_mask: Image, least_luma: float) -> list[Strip]:
    """Bands of rows that are bright over the sector's whole width, the brightest first; at most two.

    A trace that moves past every column leaves a bright band in the largest luma over time, and one that
    stands still a bright line in the smallest. Tissue is never so bright in nine tenths of all columns,
    measured by how bright it is in other rows.

    Args:
        extreme: largest or smallest luma of each pixel over the clip, rows × columns.
        sector_mask: of the clip.
        least_luma: of a trace.
    """
    rows, columns = sector_mask.shape
    levels = _levels(extreme, sector_mask)
    if not levels.any():
        return []
    least = max(least_luma, _LEAST_RATIO * float(np.median(levels[levels > 0])))
    edges = np.flatnonzero(np.diff(np.pad((levels >= least).astype(np.int8), 1)))
    firsts, stops = edges[::2], edges[1::2]
    tops = [levels[first:stop].max() for first, stop in zip(firsts, stops, strict=True)]
    more = round(_PADDING * rows)
    bands = []
    for i in np.argsort(tops)[::-1][:_MOST_BANDS]:
        top, bottom = _ROW_STEP * int(firsts[i]) - more, _ROW_STEP * int(stops[i]) + more
        bands.append(Strip(max(0, top), min(rows, bottom), 0, columns))
    return bands


def _levels(extreme: Image, sector_mask: Image) -> Array:
    """What nine tenths of the sector's columns reach near each other row; 0 where the sector is narrow."""
    reach = 2 * round(_TRACE_RANGE * len(extreme) / 2) + 1
    near = cv2.dilate(extreme, np.ones((reach, 1), np.uint8))[::_ROW_STEP, ::_COLUMN_STEP]
    inside = sector_mask[::_ROW_STEP, ::_COLUMN_STEP] > 0
    counts = np.count_nonzero(inside, axis=1)
    ordered = np.sort(np.where(inside, near, 255), axis=1)
    levels = ordered[np.arange(len(ordered)), np.minimum(counts // 10, ordered.shape[1] - 1)]
    return np.where(counts > _WIDE * inside.shape[1], levels, 0).astype(np.float64)


Style = Literal["sweep", "scroll", "cursor"]
Reading = tuple[Style, tuple[Array, Curve], Strip]
"""How a trace moves, the times of its columns and its heights, and its rows."""

_LEAST_LUMA: Final = 120.0  # of a trace that moves over tissue
_LEAST_STILL: Final = 70.0  # of one that stands still: all tissue is darker at some moment
_LASTING_S: Final = 0.25  # a swept trace stays for longer, and no tissue is bright all over for so long


def readings_over_tissue(
    frames: Iterable[Image], sector_mask: Image, outside: Image, statistics: ClipStatistics, times_s: Array
) -> Iterator[Reading]:
    """Traces read over the tissue, likeliest first, and seldom any; frames are asked for only if need be."""
    moving = find_bands(statistics.maximum, sector_mask, _LEAST_LUMA)
    still = find_bands(statistics.minimum, sector_mask, _LEAST_STILL)
    bands = list(dict.fromkeys(still[:1] + moving))
    if not bands:
        return
    for crop, band in zip(crop_frames(frames, bands, sector_mask.shape[1]), bands, strict=True):
        times = times_s[: len(crop)]
        lowest = np.ascontiguousarray(statistics.minimum[band.top : band.bottom])
        scrolling = read_tissue_scroll(crop, times)
        if scrolling is not None:
            yield "scroll", scrolling, band
            continue
        swept = _read_sweep(crop, np.ascontiguousarray(outside[band.top : band.bottom]), times)
        if swept is not None:
            yield "sweep", swept, band
        under_cursor = read_tissue_cursor(crop, lowest, times_s, len(sector_mask))
        if under_cursor is not None:
            yield "cursor", under_cursor, band


def _read_sweep(crop: Image, visible: Image, times_s: Array) -> tuple[Array, Curve] | None:
    start = len(crop) // 2
    stop = max(start + 2, int(np.searchsorted(times_s, times_s[start] + _LASTING_S)))
    if not bright_all_over(crop[start:stop].min(axis=0)):
        return None
    moving = find_moving_head(crop, visible, times_s)
    if moving is None or not moving.redraws:
        return None
    return read_sweep(crop, visible, moving, times_s)


_REACH: Final = 0.16  # of the picture's height: how far from a short cursor its trace may reach


def readings_outside(
    frames: Iterable[Image], outside: Image, statistics: ClipStatistics, times_s: Array
) -> Iterator[Reading]:
    """Traces read outside the sector, or partly outside; frames are asked for only if need be."""
    strips = find_strips(statistics, outside)
    if not strips:
        return
    for crop, strip in zip(crop_frames(frames, strips, outside.shape[1]), strips, strict=True):
        visible = np.ascontiguousarray(outside[strip.top : strip.bottom])
        reading = _read(crop, visible, statistics, strip, times_s)
        if reading is not None:
            yield reading


def _read(
    crop: Image, visible: Image, statistics: ClipStatistics, strip: Strip, times_s: Array
) -> Reading | None:
    times = times_s[: len(crop)]
    moving = find_moving_head(crop, visible, times)
    if moving is not None and moving.redraws:
        swept = read_sweep(crop, visible, moving, times)
        return None if swept is None else ("sweep", swept, strip)
    if moving is not None:
        still = read_still(crop, visible, moving, times, _around(statistics, strip))
        return None if still is None else ("cursor", still, strip)
    scroll = find_scroll(crop, visible, times)
    scrolling = None if scroll is None else read_scroll(crop, scroll, times)
    if scrolling is not None:
        return "scroll", scrolling, strip
    lowest = np.ascontiguousarray(statistics.minimum[strip.top : strip.bottom])
    under_line = read_tissue_cursor(crop, lowest, times_s, len(statistics.minimum))
    return None if under_line is None else ("cursor", under_line, strip)


def _around(statistics: ClipStatistics, strip: Strip) -> Image:
    """The lowest luma of a strip and of as many rows on either side as its trace may reach, black beyond."""
    more = round(_REACH * statistics.minimum.shape[0])
    padded = np.pad(statistics.minimum, ((more, more), (0, 0)))
    return padded[strip.top : strip.bottom + 2 * more]


_BORDER: Final = 0.015  # of the picture's height: what is shown so near to the sector may still be tissue
_LEAST_FRAMES: Final = 8


@dataclass(frozen=True)
class DrawnEcg:
    """An ECG read off the screen.

    Attributes:
        style: a head redraws it (sweep), it scrolls as a whole, or a cursor moves over it.
        r_waves_s: R-wave times; those before 0 come from the older part of the trace.
        times_s: times at which the voltage is known, shape (samples,).
        voltage: 0 (lowest) to 1 (highest), shape (samples,).
    """

    style: Style
    r_waves_s: Array
    times_s: Array
    voltage: Array


def read_drawn_ecg(
    frames: Iterable[Image], sector_mask: Image, statistics: ClipStatistics, times_s: Array
) -> DrawnEcg | None:
    """Find the ECG on the screen and read it; None when it is not sure that there is one.

    Candidates are wide bands outside the sector in which pixels change, and after them bands of the sector
    that are bright over its whole width. How a band's trace moves gives the time of each of its columns; a
    band whose changes follow no path at constant speed, or that shows no single line, or whose line has no
    QRS complexes, is none. Frames are asked for only when there are candidates.
    """
    if len(times_s) < _LEAST_FRAMES:
        return None
    border = 2 * max(2, round(_BORDER * sector_mask.shape[0])) + 1
    outside = cv2.bitwise_not(cv2.dilate(sector_mask, np.ones((border, border), np.uint8)))
    for style, read, _ in chain(
        readings_outside(frames, outside, statistics, times_s),
        readings_over_tissue(frames, sector_mask, outside, statistics, times_s),
    ):
        found = _drawn(style, *read)
        if found is not None:
            return found
    return None


def _drawn(style: Style, times: Array, curve: Curve) -> DrawnEcg | None:
    """What was read off a strip, if it is an ECG."""
    r_waves = find_r_waves(times, curve.heights)
    if len(r_waves) == 0:
        return None
    voltage = (curve.heights - curve.heights.min()) / max(float(np.ptp(curve.heights)), 1e-9)
    return DrawnEcg(style, r_waves, times, voltage)
