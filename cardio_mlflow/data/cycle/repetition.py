"""How a clip's picture repeats itself: its own period, and whether it looks alike after each R wave."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SHORTEST_S: Final = 0.27  # 222 beats a minute
_LONGEST_S: Final = 1.8
_LEAST_DEPTH: Final = 0.2
_NEARLY: Final = 0.8  # of the deepest dip: at twice the period the dip is about as deep as at the period
_MOST_FRAMES: Final = 500  # of a longer clip the first so many: some heart cycles at any frame rate
_HINT_SHARE: Final = 0.2  # how far a period may lie from the hint


@dataclass(frozen=True)
class Period:
    """The lag after which a picture looks most like itself.

    Attributes:
        length_s: the lag.
        depth: how much of the rise in difference before it is taken back, 0.2 to 1: 0.62 to 0.95 in 42
            synthetic clips with a regular rhythm, 0.34 to 0.82 in 14 with fibrillation or an ectopic beat.
    """

    length_s: float
    depth: float


@dataclass(frozen=True)
class Repetition:
    """Differences between the small frames of a clip (uint8, frames × h × w, zero outside the sector).

    ``times_s`` is the time of each frame in seconds; steps may differ.
    """

    thumbnails: NDArray[np.uint8]
    times_s: Array

    @cached_property
    def _times(self) -> Array:
        return self.times_s[:_MOST_FRAMES]

    @cached_property
    def _differences(self) -> Array:
        """Mean squared difference of any two frames, frames × frames."""
        used = self.thumbnails[:_MOST_FRAMES]
        flat = used.reshape(len(used), -1).astype(np.float64)
        products = flat @ flat.T  # whole numbers below 2**53: the same at any order of summation
        energy = np.diag(products)
        return np.asarray((energy[:, None] + energy[None, :] - 2 * products) / flat.shape[1])

    def period(self, hint_s: float | None = None) -> Period | None:
        """Lag after which the frames look most like themselves; None when none stands out.

        For each lag the mean squared difference of all pairs of frames that far apart is taken. It
        rises from lag 0, and falls again at the heart's period. The shortest lag whose dip is nearly the
        deepest is the period, refined by a parabola. A dip must take back a fifth of the rise before it.
        A dip near the hint, the period that the header's heart rate means, comes first when it is half as
        deep as the deepest.
        """
        frames = len(self._times)
        step = float(self._times[-1] - self._times[0]) / (frames - 1)
        longest = min(frames - max(3, frames // 8), int(_LONGEST_S / step))
        shortest = max(2, int(np.ceil(_SHORTEST_S / step)))
        if longest <= shortest + 1:
            return None
        lags, unlike = self._by_lag(step, longest + 1)
        depths = _depths(unlike, shortest, longest)
        best = _best_dip(depths, lags, hint_s)
        if best is None:
            return None
        return Period(_vertex(lags[best - 1 : best + 2], unlike[best - 1 : best + 2]), float(depths[best]))

    def _by_lag(self, step: float, count: int) -> tuple[Array, Array]:
        """Mean lag in seconds and mean difference of frames about 0, 1, 2, … steps apart, (count,) each.

        Where frame times are uneven, pairs are sorted by how far they really are apart.
        """
        early, late = np.triu_indices(len(self._times))
        apart = self._times[late] - self._times[early]
        steps = np.rint(apart / step).astype(np.int64)
        pairs = np.maximum(np.bincount(steps, minlength=count)[:count], 1)
        lags = np.bincount(steps, weights=apart, minlength=count)[:count] / pairs
        unlike = np.bincount(steps, weights=self._differences[early, late], minlength=count)[:count]
        return lags, unlike / pairs

    def after(self, r_waves_s: Array, later_s: Array) -> Array:
        """Mean difference of the frames around each R wave and those some time after them; nan where unknown.

        Compared is what goes with the R wave at any heart rate: the end of diastole and systole. Times are in
        seconds, the later ones R waves × shifts; the mean of each shift is that over all R waves.
        """
        at = r_waves_s[:, None, None] + _AROUND_S
        then = at + later_s[:, :, None]
        first, last = self._times[0] - 1e-9, self._times[-1] + 1e-9
        known = (at >= first) & (at <= last) & (then >= first) & (then <= last)
        found = np.where(known, self._differences[self._frame(at), self._frame(then)], 0.0).sum(axis=2)
        counts = known.sum(axis=2)
        enough = counts >= _LEAST_COMPARED
        mean = np.where(enough, found / np.maximum(counts, 1), 0.0)
        told = enough.sum(axis=0)
        return np.where(told > 0, mean.sum(axis=0) / np.maximum(told, 1), np.nan)

    def _frame(self, times_s: Array) -> NDArray[np.int64]:
        """Number of the frame nearest to each time."""
        middles = 0.5 * (self._times[1:] + self._times[:-1])
        return np.searchsorted(middles, times_s, side="left").astype(np.int64)


_AROUND_S: Final = np.arange(-0.09, 0.28, 0.03)
_LEAST_COMPARED: Final = 4


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
