"""A trace that moves left as a whole, its newest point at the right end of the strip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.ecg.curve import Curve, read_curve

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_LEAST_CHANGE: Final = 30  # gray levels over the darkest moment of a pixel
_SLOWEST_S: Final = 12.0  # the trace crosses the picture's width within this time
_FASTEST_S: Final = 0.8
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

    Each frame's trace is reduced to its height by column. The speed is the one at which earlier frames,
    shifted, are most like later ones: first over small shifts, then over up to 40 % of the width.

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
    lines = lines[:, first : last + 1]
    width = crop.shape[2]
    speeds = np.exp(np.arange(np.log(width / _SLOWEST_S), np.log(width / _FASTEST_S), 0.01))
    speed, _ = _best_speed(lines, times_s, speeds, 0.06)
    speed, _ = _best_speed(lines, times_s, speed * np.linspace(0.94, 1.06, 61), 0.15)
    speed, likeness = _best_speed(lines, times_s, speed * np.linspace(0.98, 1.02, 81), 0.4)
    if likeness < _LEAST_LIKENESS:
        return None
    return Scroll(speed, first, _newest(crop, visible, last))


def _lines(crop: Image, visible: Image) -> tuple[Array, Array]:
    """Height of what moves, frames × columns, 0 in the mean, and the share of frames that have it."""
    dark = crop.min(axis=0)
    rows = np.arange(crop.shape[1], dtype=np.float32)
    weight = np.stack([cv2.bitwise_and(cv2.subtract(frame, dark), visible) for frame in crop])
    weight[weight < _LEAST_CHANGE] = 0
    mass = weight.sum(axis=1, dtype=np.float32)
    lines = np.einsum("trc,r->tc", weight, rows, dtype=np.float32) / np.maximum(mass, 1.0)
    present = mass > 0
    middle = np.median(lines[present]) if present.any() else 0.0
    return np.where(present, lines - middle, 0.0).astype(np.float64), present.mean(axis=0)


def _best_speed(lines: Array, times_s: Array, speeds: Array, reach: float) -> tuple[float, float]:
    """The speed with the highest likeness of frames some time apart, and that likeness (0 to 1).

    Args:
        lines: heights, frames × columns.
        times_s: time of each frame.
        speeds: to choose from.
        reach: largest shift between the frames of a pair, as a share of the width.
    """
    columns = lines.shape[1]
    early, late = _pairs(times_s, reach * columns / float(np.median(speeds)))
    size = 2 * columns
    spectra = np.fft.rfft(lines, size)
    likeness = np.fft.irfft(np.conj(spectra[late]) * spectra[early], size)[:, :columns]
    energy = np.sqrt((lines[early] ** 2).sum(axis=1) * (lines[late] ** 2).sum(axis=1)) + 1e-9
    likeness = (
        likeness / energy[:, None] * columns / (columns - np.minimum(np.arange(columns), 0.8 * columns))
    )
    shifts = speeds[:, None] * (times_s[late] - times_s[early])
    low = np.minimum(shifts.astype(np.int64), columns - 2)
    part = np.clip(shifts - low, 0.0, 1.0)
    pair = np.arange(len(late))
    scores = ((1 - part) * likeness[pair, low] + part * likeness[pair, low + 1]).mean(axis=1)
    best = int(np.argmax(scores))
    return float(speeds[best]), float(scores[best])


def _pairs(times_s: Array, apart: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of frames about so many seconds apart, at least one frame, evenly over the clip."""
    frames = len(times_s)
    apart = min(apart, 0.6 * (times_s[-1] - times_s[0]))
    late = np.maximum(np.searchsorted(times_s, times_s + apart), np.arange(frames) + 1)
    early = np.flatnonzero(late < frames)
    early = early[:: max(1, len(early) // _MOST_PAIRS)]
    return early, late[early]


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
