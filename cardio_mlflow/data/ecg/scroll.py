"""A trace that moves left as a whole, its newest point at the right end of the strip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.ecg.curve import Curve, read_curve
from cardio_mlflow.data.ecg.speed import find_speed

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_LEAST_CHANGE: Final = 30  # gray levels over the darkest moment of a pixel
_MOST_PAIRS: Final = 240
_LEAST_LIKENESS: Final = 0.5


@dataclass(frozen=True)
class Scroll:
    """How a strip scrolls.

    Attributes:
        speed: columns per second, to the left.
        first: first column of the moving trace.
        last: its last column, where the newest point stands.
    """

    speed: float
    first: int
    last: int


def find_scroll(crop: Image, visible: Image, times_s: Array) -> Scroll | None:
    """Find the speed of a scrolling strip; None when it does not scroll.

    Each frame's trace is reduced to its height by column, and the speed found as `find_speed` says.

    Args:
        crop: the strip in all frames, frames × rows × columns.
        visible: 255 where no tissue is shown, rows × columns.
        times_s: time of each frame, seconds.
    """
    lines, filled = _lines(crop, visible)
    used = np.flatnonzero(filled > 0.25)
    if len(used) < 0.25 * crop.shape[2]:
        return None
    first, last = int(used[0]), int(used[-1])
    lines = lines[:, None, first : last + 1]
    found = find_speed(lambda frames: lines[frames], times_s, crop.shape[2], _MOST_PAIRS, _LEAST_LIKENESS)
    return None if found is None else Scroll(found[0], first, _newest(crop, visible, last))


def _lines(crop: Image, visible: Image) -> tuple[NDArray[np.float32], Array]:
    """Height of what moves, frames × columns, 0 in the mean, and the share of frames that have it."""
    dark = crop.min(axis=0)
    rows = np.arange(crop.shape[1], dtype=np.float32)
    weight = np.stack([cv2.bitwise_and(cv2.subtract(frame, dark), visible) for frame in crop])
    weight[weight < _LEAST_CHANGE] = 0
    mass = weight.sum(axis=1, dtype=np.float32)
    lines = np.einsum("trc,r->tc", weight, rows, dtype=np.float32) / np.maximum(mass, 1.0)
    present = mass > 0
    middle = np.median(lines[present]) if present.any() else 0.0
    return np.where(present, lines - middle, 0.0).astype(np.float32), present.mean(axis=0)


def _newest(crop: Image, visible: Image, last: int) -> int:
    """The column of the newest point: the last that changes as much as its neighbours do."""
    spread = cv2.bitwise_and(cv2.subtract(crop.max(axis=0), crop.min(axis=0)), visible).max(axis=0)
    usual = float(np.median(spread[max(0, last - 40) : last - 5]))
    return int(np.flatnonzero(spread[: last + 3] > 0.5 * usual)[-1])


def read_scroll(crop: Image, scroll: Scroll, times_s: Array) -> tuple[Array, Curve] | None:
    """Read a scrolling trace: times of its columns and its heights, or None.

    All frames are laid over each other, each shifted by how far the trace has moved, and their mean is
    read: moving tissue behind the trace and words before it fade away.
    """
    shifts = np.rint(scroll.speed * times_s).astype(np.int64)
    width = scroll.last - scroll.first + 1
    total = np.zeros((crop.shape[1], int(shifts[-1]) + width), np.float32)
    count = np.zeros(total.shape[1], np.float32)
    for frame, shift in zip(crop, shifts, strict=True):
        total[:, shift : shift + width] += frame[:, scroll.first : scroll.last + 1]
        count[shift : shift + width] += 1
    mean = np.rint(total / np.maximum(count, 1)).astype(np.uint8)
    curve = read_curve(mean, 8, mean.shape[1] - 8)
    return None if curve is None else ((curve.columns + scroll.first - scroll.last) / scroll.speed, curve)
