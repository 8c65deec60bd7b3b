"""The ECG that a scanner draws over the tissue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.ecg.bands import find_bands
from cardio_mlflow.data.ecg.curve import Curve
from cardio_mlflow.data.ecg.strip import Strip, crop_frames
from cardio_mlflow.data.ecg.sweep import find_moving_head, read_sweep
from cardio_mlflow.data.ecg.tissue_cursor import bright_all_over, read_tissue_cursor
from cardio_mlflow.data.ecg.tissue_scroll import read_tissue_scroll
from cardio_mlflow.data.statistics import ClipStatistics

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
Style = Literal["sweep", "scroll", "cursor"]
Reading = tuple[Style, tuple[Array, Curve], Strip]

_LEAST_LUMA: Final = 120.0  # of a trace that moves over tissue
_LEAST_STILL: Final = 70.0  # of one that stands still: all tissue is darker at some moment
_LASTING_S: Final = 0.25  # a swept trace stays for longer, and no tissue is bright all over for so long


def readings_over_tissue(
    frames: Iterable[Image], sector_mask: Image, outside: Image, statistics: ClipStatistics, times_s: Array
) -> Iterator[Reading]:
    """Traces read over the tissue: style, times and heights, and rows; likeliest first, and seldom any.

    Args:
        frames: luma of all frames, uint8 rows × columns each; iterated once when there are candidates.
        sector_mask: 255 in the sector, 0 outside, rows × columns.
        outside: 255 where no tissue is shown, rows × columns.
        statistics: of the whole clip.
        times_s: time of each frame in seconds since the first, rising.
    """
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
