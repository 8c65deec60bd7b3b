"""Rows of the sector over which an ECG may be drawn."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.ecg.strip import Strip

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
        sector_mask: 255 in the sector, 0 outside, rows × columns.
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
