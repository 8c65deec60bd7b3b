"""The length of a heart cycle from the pictures alone."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_SHORTEST_S: Final = 0.33
_LONGEST_S: Final = 1.8
_LEAST_DEPTH: Final = 0.2


def period(thumbnails: NDArray[np.uint8], times_s: NDArray[np.float64]) -> float | None:
    """Lag after which the frames look most like themselves, in seconds; None when none stands out.

    For each lag the mean squared difference of all pairs of frames that far apart is taken. It
    rises from lag 0, and falls again at the heart's period. The shortest lag whose dip is nearly the
    deepest is the period, refined by a parabola. A dip must take back a fifth of the rise before it.

    Args:
        thumbnails: small frames, zero outside the sector, uint8, frames × h × w.
        times_s: time of each frame, seconds, nearly even.
    """
    frames = len(thumbnails)
    step = float(times_s[-1] - times_s[0]) / (frames - 1)
    longest = min(frames - max(3, frames // 8), int(_LONGEST_S / step))
    shortest = max(2, int(np.ceil(_SHORTEST_S / step)))
    if longest <= shortest + 1:
        return None
    unlike = _difference_by_lag(thumbnails, longest + 1)
    depths = np.zeros(longest + 1)
    for lag in range(shortest, longest):
        if unlike[lag] <= unlike[lag - 1] and unlike[lag] < unlike[lag + 1]:
            summit = unlike[:lag].max()
            depths[lag] = (summit - unlike[lag]) / max(summit, 1e-9)
    if depths.max() < _LEAST_DEPTH:
        return None
    best = int(np.argmax(depths >= 0.8 * depths.max()))
    before, at, after = unlike[best - 1 : best + 2]
    bend = before - 2 * at + after
    return step * (best + (0.5 * (before - after) / bend if bend > 0 else 0.0))


def _difference_by_lag(thumbnails: NDArray[np.uint8], lags: int) -> NDArray[np.float64]:
    """Mean squared difference of frames ``lag`` apart, shape (lags,)."""
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float64)
    products = flat @ flat.T  # whole numbers below 2**53: the same at any order of summation
    energy = np.diag(products)
    squared = energy[:, None] + energy[None, :] - 2 * products
    return np.array([np.diagonal(squared, lag).mean() for lag in range(lags)]) / flat.shape[1]
