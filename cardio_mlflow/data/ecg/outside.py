"""The ECG that a scanner draws beside or below the sector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.ecg.over_tissue import Reading
from cardio_mlflow.data.ecg.scroll import find_scroll, read_scroll
from cardio_mlflow.data.ecg.strip import Strip, crop_frames, find_strips
from cardio_mlflow.data.ecg.sweep import find_moving_head, read_still, read_sweep
from cardio_mlflow.data.ecg.tissue_cursor import read_tissue_cursor
from cardio_mlflow.data.statistics import ClipStatistics

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_REACH: Final = 0.16  # of the picture's height: how far from a short cursor its trace may reach


def readings_outside(
    frames: Iterable[Image], outside: Image, statistics: ClipStatistics, times_s: Array
) -> Iterator[Reading]:
    """Traces read outside the sector, or partly outside: style, times and heights, and rows.

    Args:
        frames: luma of all frames, uint8 rows × columns each; iterated once when there are candidates.
        outside: 255 where no tissue is shown, rows × columns.
        statistics: of the whole clip.
        times_s: time of each frame in seconds since the first, rising.
    """
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
