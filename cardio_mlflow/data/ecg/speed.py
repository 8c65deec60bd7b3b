"""How fast a picture moves to the left: the speed at which earlier frames, shifted, are like later ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft

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
