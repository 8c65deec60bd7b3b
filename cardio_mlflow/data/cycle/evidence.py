"""What is known of a clip's heart beats: R waves, heart rate, and how its picture repeats itself."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NEAR: Final = 0.12  # relative; intervals that differ by less are alike
_MULTIPLES: Final = (1, 2, 3)
_NEAR_RATE: Final = 0.3  # a heart rate is the mean of some beats, perhaps those before the clip
_CLEAR: Final = 0.3  # depth of a dip: 0.34 to 0.95 of 66 clips whose R waves are known, 0.44 of a real one
_SEEN: Final = 1.25  # beats that a clip must last for its picture to contradict an interval
_REGULAR: Final = 0.2  # relative; of intervals that differ by more no single period is to be expected
_LEAST_DIP: Final = 0.1  # at the R waves: true ones reach 0.21 to 0.89, T waves counted in 0.07 at most
_MOST_FRAMES: Final = 500  # of a longer clip the first so many: some heart cycles at any frame rate
_SHIFTS: Final = np.arange(-0.5, 1.13, 1 / 32)  # beats by which R waves may be wrong
_HERE: Final = 0.1  # of a beat
_LEAST_REACH: Final = 0.25  # of a beat


@dataclass(frozen=True)
class Period:
    """The lag after which a picture looks most like itself.

    ``depth`` is how much of the rise in difference before it is taken back, 0.2 to 1: 0.62 to 0.95 in 42
    synthetic clips with a regular rhythm, 0.34 to 0.82 in 14 with fibrillation or an ectopic beat.
    """

    length_s: float
    depth: float


@dataclass(frozen=True)
class Evidence:
    """What is known about the timing of one clip; times are seconds since the first frame, rising.

    R waves, those of tags, of an ECG in the file and of one on the screen, may lie outside the clip, and may
    be none. ``times_s`` is the time of each frame, ``heart_rate`` that of tags, a minute, and ``thumbnails``
    small copies of the frames, zero outside the sector, uint8, frames × h × w.
    """

    times_s: Array
    r_waves_s: Array
    heart_rate: float | None
    thumbnails: NDArray[np.uint8]
    waveform_r_waves_s: Array = field(default_factory=lambda: np.empty(0))
    trace_r_waves_s: Array = field(default_factory=lambda: np.empty(0))

    def with_ecg(self, waveform_r_waves_s: Array, trace_r_waves_s: Array) -> Evidence:
        """The same with R waves of an ECG in the file, and of one on the screen."""
        return replace(self, waveform_r_waves_s=waveform_r_waves_s, trace_r_waves_s=trace_r_waves_s)

    @property
    def sources(self) -> dict[str, Array]:
        """All R waves known by where they come from, the most trustworthy first."""
        return {"tags": self.r_waves_s, "waveform": self.waveform_r_waves_s, "trace": self.trace_r_waves_s}

    @property
    def rate_interval_s(self) -> float | None:
        """The interval that the heart rate means."""
        return None if self.heart_rate is None else 60.0 / self.heart_rate

    def rate_fits(self, intervals_s: Array) -> bool | None:
        """Whether the heart rate, a mean of some beats, fits R-R intervals; None without one."""
        interval = self.rate_interval_s
        return None if interval is None else alike(intervals_s, np.array([interval]), _NEAR_RATE)

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the end of the last."""
        frame = (self.times_s[-1] - self.times_s[0]) / (len(self.times_s) - 1)
        return float(self.times_s[-1] - self.times_s[0] + frame)

    @property
    def slack_s(self) -> float:
        """How far a cycle may reach beyond the clip: half a frame."""
        return 0.5 * self.duration_s / len(self.times_s)

    def holds(self, start_s: float, length_s: float) -> bool:
        """Whether a cycle lies within the clip."""
        return start_s >= -self.slack_s and start_s + length_s <= self.duration_s + self.slack_s

    def inside(self, r_waves_s: Array, margin_s: float = 0.0) -> Array:
        """The R waves that lie within the clip, half a frame of slack and a margin on either side."""
        margin = self.slack_s + margin_s
        return r_waves_s[(r_waves_s >= -margin) & (r_waves_s <= self.duration_s + margin)]

    @cached_property
    def period(self) -> Period | None:
        """The picture's own period, looked for near the heart rate's interval first."""
        return _period(self._differences, self.times_s[:_MOST_FRAMES], self.rate_interval_s)

    @property
    def clear_period_s(self) -> float | None:
        """Length of the picture's period, if it is clear enough to speak against others."""
        return None if self.period is None or self.period.depth < _CLEAR else self.period.length_s

    def repeats(self, r_waves_s: Array, intervals_s: Array) -> bool | None:
        """Whether the picture repeats itself from R wave to R wave; None when that cannot be told."""
        period = self.clear_period_s
        if period is None:
            return None
        if whole_beats(intervals_s / period):
            return True
        some_beats = whole_beats(period / intervals_s)
        dips = self._dips(r_waves_s)
        if dips is not None:
            return dips[0] >= max(_LEAST_DIP, 0.0 if some_beats else 0.5 * dips[1])
        if some_beats:
            return True
        long_enough = intervals_s.max() * _SEEN <= self.duration_s
        return False if long_enough and np.ptp(intervals_s) <= _REGULAR * intervals_s.min() else None

    def _dips(self, r_waves_s: Array) -> tuple[float, float] | None:
        """How deep the difference dips at the R waves, and elsewhere; None when the clip is too short.

        Compared is what goes with an R wave at any heart rate: the end of diastole, and systole.
        """
        intervals = np.diff(r_waves_s)
        if len(intervals) == 0:
            return None
        later = intervals[:, None] * (1.0 + _SHIFTS)
        unlike = _unlike(self._differences, self.times_s[:_MOST_FRAMES], r_waves_s[:-1], later)
        known = ~np.isnan(unlike)
        shifts, unlike = _SHIFTS[known], unlike[known]
        if len(shifts) == 0 or shifts[0] > -_LEAST_REACH or shifts[-1] < _LEAST_REACH:
            return None
        left, right = np.maximum.accumulate(unlike), np.maximum.accumulate(unlike[::-1])[::-1]
        depths = (np.minimum(left, right) - unlike) / max(float(unlike.max()), 1e-9)
        here = np.abs(shifts) <= _HERE
        return float(depths[here].max()), float(depths[~here].max())

    @cached_property
    def _differences(self) -> Array:
        """Mean squared difference of any two frames, frames × frames."""
        used = self.thumbnails[:_MOST_FRAMES]
        flat = used.reshape(len(used), -1).astype(np.float64)
        products = flat @ flat.T  # whole numbers below 2**53: the same at any order of summation
        energy = np.diag(products)
        return np.asarray((energy[:, None] + energy[None, :] - 2 * products) / flat.shape[1])


def alike(one: Array, other: Array, near: float = NEAR) -> bool:
    """Whether the ranges of two sets of intervals meet, or one of them does so when multiplied."""
    return any(
        a.min() <= b.max() * (1 + room) and b.min() <= a.max() * (1 + room)
        for times in _MULTIPLES for a, b in ((one * times, other), (one, other * times))
        for room in (near if times == 1 else NEAR,)
    )  # fmt: skip


def whole_beats(beats: Array) -> bool:
    """Whether all intervals, in periods, are one, two or three long."""
    whole = np.clip(np.rint(beats), 1, _MULTIPLES[-1])
    return bool((np.abs(beats / whole - 1.0) <= NEAR).all())


_AROUND_S: Final = np.arange(-0.09, 0.28, 0.03)
_LEAST_COMPARED: Final = 4


def _unlike(differences: Array, times_s: Array, r_waves_s: Array, later_s: Array) -> Array:
    """Mean difference of the frames around each R wave and those some time after them; nan where unknown.

    The later times are R waves × shifts; the mean of each shift is that over all R waves.
    """
    at = r_waves_s[:, None, None] + _AROUND_S
    then = at + later_s[:, :, None]
    first, last = times_s[0] - 1e-9, times_s[-1] + 1e-9
    known = (at >= first) & (at <= last) & (then >= first) & (then <= last)
    middles = 0.5 * (times_s[1:] + times_s[:-1])
    found = differences[np.searchsorted(middles, at), np.searchsorted(middles, then)]
    counts = known.sum(axis=2)
    enough = counts >= _LEAST_COMPARED
    mean = np.where(enough, np.where(known, found, 0.0).sum(axis=2) / np.maximum(counts, 1), 0.0)
    told = enough.sum(axis=0)
    return np.where(told > 0, mean.sum(axis=0) / np.maximum(told, 1), np.nan)


_SHORTEST_S: Final = 0.27  # 222 beats a minute
_LONGEST_S: Final = 1.8
_LEAST_DEPTH: Final = 0.2
_NEARLY: Final = 0.8  # of the deepest dip: at twice the period the dip is about as deep as at the period
_HINT_SHARE: Final = 0.2  # how far a period may lie from the hint


def _period(differences: Array, times_s: Array, hint_s: float | None) -> Period | None:
    """Lag after which the frames look most like themselves; None when none stands out.

    For each lag the mean squared difference of all pairs of frames that far apart is taken. It rises from
    lag 0, and falls again at the heart's period. The shortest lag whose dip is nearly the deepest is the
    period, refined by a parabola. A dip must take back a fifth of the rise before it. A dip near the hint,
    the interval of the heart rate, comes first when it is half as deep as the deepest.
    """
    frames = len(times_s)
    step = float(times_s[-1] - times_s[0]) / (frames - 1)
    longest = min(frames - max(3, frames // 8), int(_LONGEST_S / step))
    shortest = max(2, int(np.ceil(_SHORTEST_S / step)))
    if longest <= shortest + 1:
        return None
    lags, unlike = _by_lag(differences, times_s, step, longest + 1)
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


def _by_lag(differences: Array, times_s: Array, step: float, count: int) -> tuple[Array, Array]:
    """Mean lag in seconds and mean difference of frames about 0, 1, 2, … steps apart, (count,) each.

    Where frame times are uneven, pairs are sorted by how far they really are apart.
    """
    early, late = np.triu_indices(len(times_s))
    apart = times_s[late] - times_s[early]
    steps = np.rint(apart / step).astype(np.int64)
    pairs = np.maximum(np.bincount(steps, minlength=count)[:count], 1)
    lags = np.bincount(steps, weights=apart, minlength=count)[:count] / pairs
    unlike = np.bincount(steps, weights=differences[early, late], minlength=count)[:count]
    return lags, unlike / pairs


def _best_dip(depths: Array, lags: Array, hint_s: float | None) -> int | None:
    if depths.max() < _LEAST_DEPTH:
        return None
    if hint_s is not None:
        near = np.where(np.abs(lags - hint_s) <= _HINT_SHARE * hint_s, depths, 0.0)
        if near.max() >= max(_LEAST_DEPTH, 0.5 * depths.max()):
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
