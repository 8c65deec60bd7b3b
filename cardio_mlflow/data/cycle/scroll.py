"""A trace that moves left as a whole, its newest point at the right end of the strip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from cardio_mlflow.data.cycle.curve import Curve, read_curve

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
Pictures = Callable[[Numbers], NDArray[np.float32]]

_SLOWEST_S: Final = 12.0  # a trace crosses the picture's width within this time
_FASTEST_S: Final = 0.8
_STEPS: Final = (
    (np.exp(np.arange(0.0, np.log(_SLOWEST_S / _FASTEST_S), 0.01)), 0.06),
    (np.linspace(0.94, 1.06, 61), 0.15),
    (np.linspace(0.98, 1.02, 81), 0.4),
)
"""Speeds to choose from, relative to the slowest and then to the last choice, and the pairs' reach."""
_LEAST_COMMON: Final = 0.2  # of the width; the likeness of a pair with less in common is not made up for


def find_speed(
    pictures: Pictures, times_s: Array, width: int, most_pairs: int, least: float
) -> tuple[float, float] | None:
    """The speed to the left in columns a second, and the likeness of frames shifted by it (0 to 1).

    Pairs of frames are compared: first with small shifts, which no other speed of the same picture fits,
    then with shifts of up to 40 % of the width, which tell the speed to a few thousandths.

    Args:
        pictures: gives what moves in the frames of some numbers, float32, numbers × rows × columns, 0 in
            the mean.
        times_s: time of each frame, seconds.
        width: columns of the whole screen.
        most_pairs: how many pairs to compare in each step.
        least: the least likeness.

    Returns:
        Speed and likeness; None where the likeness stays lower.
    """
    speed, likeness = width / _SLOWEST_S, 0.0
    for factors, reach in _STEPS:
        speeds = speed * factors
        early, late = _pairs(times_s, reach * width / float(np.median(speeds)), most_pairs)
        apart = times_s[late] - times_s[early]
        speed, likeness = _best(pictures(early), pictures(late), apart, speeds)
        if likeness < least:
            return None
    return speed, likeness


def _best(
    early: NDArray[np.float32], late: NDArray[np.float32], apart_s: Array, speeds: Array
) -> tuple[float, float]:
    """The speed with the highest mean likeness of pairs, pairs × rows × columns, and that likeness."""
    columns = early.shape[2]
    size = fft.next_fast_len(2 * columns, real=True)
    product = (np.conj(fft.rfft(late, size)) * fft.rfft(early, size)).sum(axis=1)
    likeness = fft.irfft(product, size)[:, :columns].astype(np.float64)
    energies = [np.einsum("prc,prc->p", part, part, dtype=np.float64) for part in (early, late)]
    common = 1.0 - np.minimum(np.arange(columns) / columns, 1.0 - _LEAST_COMMON)
    likeness /= (np.sqrt(energies[0] * energies[1]) + 1e-9)[:, None] * common
    shifts = speeds[:, None] * apart_s
    low = np.minimum(shifts.astype(np.int64), columns - 2)
    part = np.clip(shifts - low, 0.0, 1.0)
    pair = np.arange(len(apart_s))
    scores = ((1 - part) * likeness[pair, low] + part * likeness[pair, low + 1]).mean(axis=1)
    best = int(np.argmax(scores))
    return float(speeds[best]), float(scores[best])


def _pairs(times_s: Array, apart: float, most: int) -> tuple[Numbers, Numbers]:
    """Pairs of frames about so many seconds apart, at least one frame, evenly over the clip."""
    frames = len(times_s)
    apart = min(apart, 0.6 * float(times_s[-1] - times_s[0]))
    late = np.maximum(np.searchsorted(times_s, times_s + apart), np.arange(frames) + 1)
    early = np.flatnonzero(late < frames)
    early = early[:: max(1, -(-len(early) // most))]
    return early, late[early].astype(np.int64)


Image = NDArray[np.uint8]

_LEAST_CHANGE: Final = 30  # gray levels over the darkest moment of a pixel
_MOST_PAIRS: Final = 240
_LEAST_LIKENESS: Final = 0.5


@dataclass(frozen=True)
class Scroll:
    """Speed to the left in columns per second; first and last column, where the newest point stands."""

    speed: float
    first: int
    last: int


def find_scroll(crop: Image, visible: Image, times_s: Array) -> Scroll | None:
    """Find the speed of a scrolling strip; None when it does not scroll.

    Each frame's trace (of ``crop``, uint8 frames × rows × columns) is reduced to its height by column, where
    no tissue is shown (``visible`` is 255), and the speed found as `find_speed` says.
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
    mean = laid_over(crop[:, :, scroll.first : scroll.last + 1], shifts)
    curve = read_curve(mean, 8, mean.shape[1] - 8)
    return None if curve is None else ((curve.columns + scroll.first - scroll.last) / scroll.speed, curve)


def laid_over(frames: Sequence[Image] | Image, shifts: Numbers) -> Image:
    """Mean of frames, each moved right by its shift."""
    rows, columns = frames[0].shape
    total = np.zeros((rows, columns + int(shifts[-1])), np.float32)
    count = np.zeros(total.shape[1], np.float32)
    for frame, shift in zip(frames, shifts.tolist(), strict=True):
        total[:, shift : shift + columns] += frame
        count[shift : shift + columns] += 1
    return np.rint(total / np.maximum(count, 1)).astype(np.uint8)
