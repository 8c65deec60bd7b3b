"""How the picture of a clip repeats itself: unlikeness of frames by the time between them, and its period."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from cardio_mlflow.data.picture.sector import Array, Image

# Tuned on the hard clips no_ecg, atrial_fibrillation, ectopic_beat; see benchmarks.tuned_constants.
_AROUND_S: Final = np.arange(-0.09, 0.28, 0.03)  # an R wave: end of diastole and systole, at any rate
_LEAST_COMPARED: Final = 4  # frames of them
_SHORTEST_S, _LONGEST_S = 0.27, 1.8  # period; 222 and 33 beats per minute
_LEAST_DEPTH: Final = 0.2  # of a dip
_NEARLY: Final = 0.8  # of the deepest dip: at twice the period the dip is about as deep as at the period
_HINT_SHARE: Final = 0.2  # how far a period may lie from the heart rate's interval
_HINT_DEPTH: Final = 0.5  # of the deepest dip, of one near that interval


@dataclass(frozen=True)
class Period:
    """The lag after which a picture looks most like itself."""

    length_s: float
    # Share of the rise in unlikeness before it that is taken back: 0.62 to 0.95 in 42 synthetic clips with a
    # regular rhythm, 0.34 to 0.82 in 14 with fibrillation or an ectopic beat.
    depth: float


def differences(frames: Image) -> Array:
    """Mean squared difference of any two frames, frames × frames."""
    flat = frames.reshape(len(frames), -1).astype(np.float64)
    products = flat @ flat.T  # whole numbers below 2**53: the same at any order of summation
    energy = np.diag(products)
    return np.asarray((energy[:, None] + energy[None, :] - 2 * products) / flat.shape[1])


def find_period(unlikeness: Array, times_s: Array, hint_s: float | None) -> Period | None:
    """Lag after which the frames look most like themselves; None when none stands out.

    The mean unlikeness of all pairs of frames a lag apart rises from lag 0 and dips at the heart's period:
    the shortest lag whose dip is nearly the deepest, refined by a parabola. A dip near the hint, the interval
    of the heart rate, comes first.
    """
    frames = len(times_s)
    step = float(times_s[-1] - times_s[0]) / (frames - 1)
    longest = min(frames - max(3, frames // 8), int(_LONGEST_S / step))
    shortest = max(2, int(np.ceil(_SHORTEST_S / step)))
    if longest <= shortest + 1:
        return None
    lags, unlike = _by_lag(unlikeness, times_s, step, longest + 1)
    depths = np.zeros(longest + 1)  # how much of the rise before it each local minimum takes back
    dips = shortest + np.flatnonzero(
        (unlike[shortest:longest] <= unlike[shortest - 1 : longest - 1])
        & (unlike[shortest:longest] < unlike[shortest + 1 :])
    )
    summits = np.maximum.accumulate(unlike)[dips - 1]
    depths[dips] = (summits - unlike[dips]) / np.maximum(summits, 1e-9)
    best = _best_dip(depths, lags[: longest + 1], hint_s)
    if best is None:
        return None
    return Period(_vertex(lags[best - 1 : best + 2], unlike[best - 1 : best + 2]), float(depths[best]))


def _by_lag(unlikeness: Array, times_s: Array, step: float, count: int) -> tuple[Array, Array]:
    """Mean lag in seconds and mean unlikeness of frames about 0, 1, 2, … steps apart, (count,) each."""
    early, late = np.triu_indices(len(times_s))
    apart = times_s[late] - times_s[early]
    steps = np.rint(apart / step).astype(np.int64)
    pairs = np.maximum(np.bincount(steps, minlength=count)[:count], 1)
    lags = np.bincount(steps, weights=apart, minlength=count)[:count] / pairs
    unlike = np.bincount(steps, weights=unlikeness[early, late], minlength=count)[:count]
    return lags, unlike / pairs


def _best_dip(depths: Array, lags: Array, hint_s: float | None) -> int | None:
    if depths.max() < _LEAST_DEPTH:
        return None
    if hint_s is not None:
        near = np.where(np.abs(lags - hint_s) <= _HINT_SHARE * hint_s, depths, 0.0)
        if near.max() >= max(_LEAST_DEPTH, _HINT_DEPTH * depths.max()):
            at = int(np.argmax(near))
            half = np.where(np.abs(2 * lags - lags[at]) <= _HINT_SHARE * lags[at], depths, 0.0)
            return int(np.argmax(half)) if half.max() >= _NEARLY * near.max() else at
    return int(np.argmax(depths >= _NEARLY * depths.max()))


def _vertex(lags: Array, unlike: Array) -> float:
    """Lag at the bottom of the parabola through three points, which need not be evenly apart."""
    (x0, x1, x2), (y0, y1, y2) = lags, unlike
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    bend = (right - left) / (x2 - x0)
    return float(np.clip(0.5 * (x0 + x1 - left / bend), x0, x2)) if bend > 0 else float(x1)


def unlike_after(unlikeness: Array, times_s: Array, r_waves_s: Array, later_s: Array) -> Array:
    """Mean unlikeness of the frames around R waves and those some time (R waves × shifts) later: (shifts,).

    NaN where unknown.
    """
    at = r_waves_s[:, None, None] + _AROUND_S
    then = at + later_s[:, :, None]
    first, last = times_s[0] - 1e-9, times_s[-1] + 1e-9
    known = (at >= first) & (at <= last) & (then >= first) & (then <= last)
    middles = 0.5 * (times_s[1:] + times_s[:-1])
    found = unlikeness[np.searchsorted(middles, at), np.searchsorted(middles, then)]
    counts = known.sum(axis=2)
    enough = counts >= _LEAST_COMPARED
    mean = np.where(enough, np.where(known, found, 0.0).sum(axis=2) / np.maximum(counts, 1), 0.0)
    waves = enough.sum(axis=0)
    return np.where(waves > 0, mean.sum(axis=0) / np.maximum(waves, 1), np.nan)
