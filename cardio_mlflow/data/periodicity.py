"""The length of a heart cycle from the pictures alone."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SHORTEST_S: Final = 0.33
_LONGEST_S: Final = 1.8
_LEAST_DEPTH: Final = 0.2
_NEARLY: Final = 0.8  # of the deepest dip: at twice the period the dip is about as deep as at the period
_MOST_FRAMES: Final = 500  # of a longer clip the first so many: some heart cycles at any frame rate
_HINT_SHARE: Final = 0.2  # how far a period may lie from the hint


def period(thumbnails: NDArray[np.uint8], times_s: Array, hint_s: float | None = None) -> float | None:
    """Lag after which the frames look most like themselves, in seconds; None when none stands out.

    For each lag the mean squared difference of all pairs of frames that far apart is taken. It
    rises from lag 0, and falls again at the heart's period. The shortest lag whose dip is nearly the
    deepest is the period, refined by a parabola. A dip must take back a fifth of the rise before it.
    A dip near the hint comes first, when it is half as deep as the deepest.

    Args:
        thumbnails: small frames, zero outside the sector, uint8, frames × h × w.
        times_s: time of each frame, seconds; steps may differ.
        hint_s: the period that the heart rate in the header means, or None.
    """
    thumbnails, times_s = thumbnails[:_MOST_FRAMES], times_s[:_MOST_FRAMES]
    frames = len(thumbnails)
    step = float(times_s[-1] - times_s[0]) / (frames - 1)
    longest = min(frames - max(3, frames // 8), int(_LONGEST_S / step))
    shortest = max(2, int(np.ceil(_SHORTEST_S / step)))
    if longest <= shortest + 1:
        return None
    lags, unlike = _difference_by_lag(thumbnails, times_s, step, longest + 1)
    best = _best_dip(_depths(unlike, shortest, longest), lags, hint_s)
    return None if best is None else _vertex(lags[best - 1 : best + 2], unlike[best - 1 : best + 2])


def _difference_by_lag(
    thumbnails: NDArray[np.uint8], times_s: Array, step: float, count: int
) -> tuple[Array, Array]:
    """Mean lag in seconds and mean squared difference of frames about 0, 1, 2, … steps apart, (count,) each.

    Where frame times are uneven, pairs are sorted by how far they really are apart.
    """
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float64)
    products = flat @ flat.T  # whole numbers below 2**53: the same at any order of summation
    energy = np.diag(products)
    squared = energy[:, None] + energy[None, :] - 2 * products
    early, late = np.triu_indices(len(thumbnails))
    apart = times_s[late] - times_s[early]
    steps = np.rint(apart / step).astype(np.int64)
    pairs = np.maximum(np.bincount(steps, minlength=count)[:count], 1)
    lags = np.bincount(steps, weights=apart, minlength=count)[:count] / pairs
    unlike = np.bincount(steps, weights=squared[early, late], minlength=count)[:count]
    return lags, unlike / pairs / flat.shape[1]


def _depths(unlike: Array, shortest: int, longest: int) -> Array:
    """How much of the rise before it each local minimum takes back, 0 to 1; 0 for what is no minimum."""
    depths = np.zeros(longest + 1)
    for lag in range(shortest, longest):
        if unlike[lag] <= unlike[lag - 1] and unlike[lag] < unlike[lag + 1]:
            summit = unlike[:lag].max()
            depths[lag] = (summit - unlike[lag]) / max(summit, 1e-9)
    return depths


def _best_dip(depths: Array, lags: Array, hint_s: float | None) -> int | None:
    if depths.max() < _LEAST_DEPTH:
        return None
    if hint_s is not None:
        near = np.where(np.abs(lags[: len(depths)] - hint_s) <= _HINT_SHARE * hint_s, depths, 0.0)
        if near.max() >= max(_LEAST_DEPTH, 0.5 * depths.max()):
            at = int(np.argmax(near))
            halves = np.abs(2 * lags[: len(depths)] - lags[at]) <= _HINT_SHARE * lags[at]
            half = np.where(halves, depths, 0.0)
            return int(np.argmax(half)) if half.max() >= _NEARLY * near.max() else at
    return int(np.argmax(depths >= _NEARLY * depths.max()))


def _vertex(lags: Array, unlike: Array) -> float:
    """Lag at the bottom of the parabola through three points, which need not be evenly apart."""
    (x0, x1, x2), (y0, y1, y2) = lags, unlike
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    bend = (right - left) / (x2 - x0)
    return float(np.clip(0.5 * (x0 + x1 - left / bend), x0, x2)) if bend > 0 else float(x1)
