"""The ECG that a scanner draws on the screen, read back into numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.ecg.curve import Curve
from cardio_mlflow.data.ecg.outside import readings_outside
from cardio_mlflow.data.ecg.over_tissue import Style, readings_over_tissue
from cardio_mlflow.data.ecg.r_waves import find_r_waves
from cardio_mlflow.data.ecg.strip import Strip
from cardio_mlflow.data.statistics import ClipStatistics

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_BORDER: Final = 0.015  # of the picture's height: what is shown so near to the sector may still be tissue
_LEAST_FRAMES: Final = 8


@dataclass(frozen=True)
class DrawnEcg:
    """An ECG read off the screen.

    Attributes:
        style: how it moves: a head redraws it, it scrolls as a whole, or a cursor moves over it.
        r_waves_s: R-wave times in seconds since the first frame, rising; those before 0 come from the
            older part of the trace.
        times_s: times at which the voltage is known, rising, shape (samples,).
        voltage: 0 (lowest) to 1 (highest), shape (samples,).
        box: (left, top, right, bottom) of the strip in pixels, right and bottom past the end.
    """

    style: Style
    r_waves_s: Array
    times_s: Array
    voltage: Array
    box: tuple[int, int, int, int]


def read_drawn_ecg(
    frames: Iterable[Image], sector_mask: Image, statistics: ClipStatistics, times_s: Array
) -> DrawnEcg | None:
    """Find the ECG on the screen and read it; None when it is not sure that there is one.

    Candidates are wide bands outside the sector in which pixels change, and after them bands of the sector
    that are bright over its whole width. How a band's trace moves gives the time of each of its columns; a
    band whose changes follow no path at constant speed, or that shows no single line, or whose line has no
    QRS complexes, is none.

    Args:
        frames: luma of all frames, uint8 rows × columns each; iterated only when there are candidates.
        sector_mask: 255 in the sector, 0 outside, rows × columns.
        statistics: of the whole clip.
        times_s: time of each frame in seconds since the first, rising.
    """
    if len(times_s) < _LEAST_FRAMES:
        return None
    border = 2 * max(2, round(_BORDER * sector_mask.shape[0])) + 1
    outside = cv2.bitwise_not(cv2.dilate(sector_mask, np.ones((border, border), np.uint8)))
    for style, read, strip in chain(
        readings_outside(frames, outside, statistics, times_s),
        readings_over_tissue(frames, sector_mask, outside, statistics, times_s),
    ):
        found = _drawn(style, read, strip)
        if found is not None:
            return found
    return None


def _drawn(style: Style, read: tuple[Array, Curve], strip: Strip) -> DrawnEcg | None:
    """What was read off a strip, if it is an ECG."""
    times, curve = read
    r_waves = find_r_waves(times, curve.heights)
    if len(r_waves) == 0:
        return None
    voltage = (curve.heights - curve.heights.min()) / max(float(np.ptp(curve.heights)), 1e-9)
    return DrawnEcg(style, r_waves, times, voltage, (strip.left, strip.top, strip.right, strip.bottom))
