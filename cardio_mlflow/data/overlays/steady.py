"""Overlays that stand still over the whole clip: ticks, marks, words, dotted lines, still traces."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.overlays.lines import Rule, find_strokes, footprint, stroke_luma
from cardio_mlflow.data.overlays.straight import straight_strokes
from cardio_mlflow.data.statistics import ClipStatistics

Image = NDArray[np.uint8]

_CERTAIN: Final = Rule()
_CROSSING: Final = Rule(height=60.0, luma=80.0, extent=24, steepness=0.5, bulk=10.0, beyond=0.3)
"""A trace in its strip below the sector, whose peaks reach into it."""
_LINE_SHARE: Final = 0.25
"""Length of a straight line as a share of the sector's height."""


def _alike(luma: float) -> tuple[tuple[Rule, float], ...]:
    """What else is taken for drawn where certain strokes of a luma stand, and from which level.

    Small pieces may be less clear; in bright tissue only what stands out far above it is looked at.
    """
    return (
        (Rule(height=62.0, luma=0.6 * luma, unrest=0.5, flicker=0.4, most=60), 45.0),
        (
            Rule(height=0.62 * luma, luma=0.6 * luma, flicker=0.3, size=5, most=150, steepness=0.88),
            0.5 * luma,
        ),
    )


def steady_core(statistics: ClipStatistics, sector_mask: Image) -> Image:
    """Cores of what stands still inside the sector: uint8 0 or 255, rows × columns.

    Args:
        statistics: over all frames of the clip.
        sector_mask: the sector, uint8 0 or 255, rows × columns.
    """
    lowest, unrest = statistics.minimum, cv2.subtract(statistics.maximum, statistics.minimum)
    outside = cv2.bitwise_not(cv2.dilate(sector_mask, np.ones((7, 7), np.uint8)))
    shortest = max(50, round(_LINE_SHARE * np.count_nonzero(sector_mask.any(axis=1))))
    straight = straight_strokes(cv2.bitwise_and(lowest, sector_mask), unrest, shortest)
    line = footprint(straight)
    strokes = find_strokes(lowest, unrest, _CERTAIN, outside=outside, crossing=_CROSSING, apart=line)
    core = cv2.bitwise_and(strokes | straight, sector_mask)
    if core.any():
        luma = stroke_luma(lowest, core)
        for rule, level in _alike(luma):
            core |= cv2.bitwise_and(find_strokes(lowest, unrest, rule, level, apart=line), sector_mask)
    return np.asarray(core)


def steady_overlays(statistics: ClipStatistics, sector_mask: Image) -> Image:
    """All pixels inside the sector that are drawn on in every frame; arguments as `steady_core`."""
    core = steady_core(statistics, sector_mask)
    return np.asarray(cv2.bitwise_and(footprint(core), sector_mask))
