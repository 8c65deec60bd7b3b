"""Which frames of a clip make one whole heart cycle.

A ladder of rungs, best first: R waves from tags, from a waveform in the file, from the ECG drawn on the
screen; then only the length of the cycle, from the pictures or from the heart rate in the header; last the
clip as it is. Each rung looks at the evidence and either answers or passes on.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.files.timing import plausible, typical_interval, usual_interval
from cardio_mlflow.data.outcomes import ClipRefused, Outcome

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


_SHORTEST_CLIP_S: Final = 0.4
_LONGEST_BEAT_S: Final = 1.2


@dataclass(frozen=True)
class Evidence:
    """What is known about the timing of one clip; R waves may lie outside the clip, and may be none.

    Attributes:
        times_s: time of each frame in seconds since the first, shape (frames,), rising.
        r_waves_s: R-wave times from tags, seconds since the first frame, rising.
        heart_rate: beats per minute from tags, or None.
        thumbnails: small copies of the frames, zero outside the sector, uint8, frames × h × w.
        waveform_r_waves_s: R-wave times of an ECG in the file.
        trace_r_waves_s: R-wave times of an ECG drawn on the screen.
    """

    times_s: Array
    r_waves_s: Array
    heart_rate: float | None
    thumbnails: NDArray[np.uint8]
    waveform_r_waves_s: Array = field(default_factory=lambda: np.empty(0))
    trace_r_waves_s: Array = field(default_factory=lambda: np.empty(0))

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

    def inside(self, r_waves_s: Array) -> Array:
        """The R waves that lie within the clip, half a frame of slack on either side."""
        return r_waves_s[(r_waves_s >= -self.slack_s) & (r_waves_s <= self.duration_s + self.slack_s)]


@dataclass(frozen=True)
class Gating:
    """The heart cycles of a clip and the one that was chosen.

    Attributes:
        method: the rung that answered: tags, waveform, trace, periodicity, heart_rate or clip.
        r_waves_s: R waves in the clip, seconds since the first frame; where none is known, the bounds of
            the cycles that are assumed.
        phase_verified: whether the chosen cycle starts or ends at an R wave; otherwise only its length is
            known.
        start_s: start of the chosen cycle.
        stop_s: its end.
        beats: number of whole cycles in the clip.
    """

    method: str
    r_waves_s: tuple[float, ...]
    phase_verified: bool
    start_s: float
    stop_s: float
    beats: int

    @property
    def rr_ms(self) -> float:
        """Length of the chosen cycle in milliseconds."""
        return 1000.0 * (self.stop_s - self.start_s)

    @property
    def r_waves(self) -> int:
        """Number of R waves known in the clip."""
        return len(self.r_waves_s) if self.phase_verified else 0

    def frames(self, times_s: Array, count: int) -> NDArray[np.int64]:
        """Frames equally spaced in phase over the chosen cycle, the first at its start.

        Each phase takes the nearest frame as it is: nothing is blended, so a frame may stand twice
        when the cycle has fewer than ``count``.

        Args:
            times_s: time of each frame in seconds.
            count: how many frames to take.

        Returns:
            0-based frame numbers, shape (count,), never falling.

        >>> Gating("tags", (0.0, 0.4), True, 0.0, 0.4, 1).frames(np.arange(8) * 0.1, 4).tolist()
        [0, 1, 2, 3]
        """
        wanted = self.start_s + (self.stop_s - self.start_s) * np.arange(count) / count
        middles = 0.5 * (times_s[1:] + times_s[:-1])
        return np.searchsorted(middles, wanted, side="left").astype(np.int64)


Rung = Callable[[Evidence], Gating | None]


def by_tags(evidence: Evidence) -> Gating | None:
    """R waves from tags, used as `_by_r_waves` says."""
    return _by_r_waves("tags", evidence.r_waves_s, evidence)


def by_waveform(evidence: Evidence) -> Gating | None:
    """R waves of an ECG in the file, used as `_by_r_waves` says."""
    return _by_r_waves("waveform", evidence.waveform_r_waves_s, evidence)


def by_trace(evidence: Evidence) -> Gating | None:
    """R waves of an ECG drawn on the screen, used as `_by_r_waves` says."""
    return _by_r_waves("trace", evidence.trace_r_waves_s, evidence)


def by_periodicity(evidence: Evidence) -> Gating | None:
    """The cycle's length from the pictures, looked for near the heart rate in the header first."""
    hint = None if evidence.heart_rate is None else 60.0 / evidence.heart_rate
    length = period(evidence.thumbnails, evidence.times_s, hint)
    return None if length is None else _of_length("periodicity", length, evidence)


def by_heart_rate(evidence: Evidence) -> Gating | None:
    """The cycle's length from the heart rate in the header, which scanners often leave stale.

    Raises:
        ClipRefused: NO_FULL_CYCLE, when the clip is shorter than the cycle.
    """
    if evidence.heart_rate is None:
        return None
    length = 60.0 / evidence.heart_rate
    _must_fit(length, evidence)
    return _of_length("heart_rate", length, evidence)


def by_clip(evidence: Evidence) -> Gating | None:
    """The last resort: a clip about as long as a heart beat, or the first such stretch of a longer one.

    Raises:
        ClipRefused: NO_FULL_CYCLE, when the clip is shorter than any plausible cycle.
    """
    if evidence.duration_s < _SHORTEST_CLIP_S:
        raise _no_cycle(evidence, f"a heart cycle lasts at least {_SHORTEST_CLIP_S} s")
    stop = min(evidence.duration_s, _LONGEST_BEAT_S)
    return Gating("clip", (), False, 0.0, stop, 1)


RUNGS: Final[tuple[Rung, ...]] = (
    by_tags, by_waveform, by_trace, by_periodicity, by_heart_rate, by_clip,
)  # fmt: skip
"""The ladder, best rung first."""


def gate(evidence: Evidence) -> Gating:
    """Climb down the ladder to the first rung that answers, and choose one whole cycle.

    R waves that lie in the clip go before those, such as stale tags, that tell no more than a length.

    Raises:
        ClipRefused: NO_FULL_CYCLE, when the clip does not hold one.
    """
    for by_r_waves in (by_tags, by_waveform, by_trace):
        with suppress(ClipRefused):
            verified = by_r_waves(evidence)
            if verified is not None and verified.phase_verified:
                return verified
    for rung in RUNGS:
        found = rung(evidence)
        if found is not None:
            return found
    raise _no_cycle(evidence, "no heart cycle was found")


def _by_r_waves(method: str, r_waves: Array, evidence: Evidence) -> Gating | None:
    """A cycle from R waves; passes on when fewer than two make a plausible interval anywhere.

    A whole interval between two R waves in the clip is best, the most typical one of several. Without one,
    R waves before the clip (the older part of a drawn trace) tell the usual interval, and a cycle of that
    length is taken that starts or ends at the clip's one R wave. Where neither fits, only the length is used.

    Raises:
        ClipRefused: NO_FULL_CYCLE, when the clip is shorter than the usual interval.
    """
    if not plausible(r_waves):
        return None
    inside = evidence.inside(r_waves)
    chosen = typical_interval(r_waves, inside, evidence.heart_rate)
    if chosen is not None:
        start, stop, whole = chosen
        return Gating(method, tuple(inside.tolist()), True, start, stop, whole)
    length = usual_interval(r_waves)
    _must_fit(length, evidence)
    return _anchored(method, length, inside, evidence) or _repeated(method, length, evidence)


def _of_length(method: str, length: float, evidence: Evidence) -> Gating:
    """A cycle of known length, at a single R wave where one is known."""
    for r_waves in (evidence.r_waves_s, evidence.waveform_r_waves_s, evidence.trace_r_waves_s):
        found = _anchored(method, length, evidence.inside(r_waves), evidence)
        if found is not None:
            return found
    return _repeated(method, length, evidence)


def _anchored(method: str, length: float, r_waves: Array, evidence: Evidence) -> Gating | None:
    """A cycle that starts, or else ends, at an R wave in the clip."""
    for r_wave in r_waves.tolist():
        for start in (r_wave, r_wave - length):
            if evidence.holds(start, length):
                return Gating(method, tuple(r_waves.tolist()), True, start, start + length, 1)
    return None


def _repeated(method: str, length: float, evidence: Evidence) -> Gating:
    beats = max(1, int((evidence.duration_s + evidence.slack_s) / length))
    bounds = tuple(length * i for i in range(beats + 1))
    return Gating(method, bounds, False, 0.0, length, beats)


def _must_fit(length: float, evidence: Evidence) -> None:
    if length > evidence.duration_s + evidence.slack_s:
        raise _no_cycle(evidence, f"one heart cycle lasts {length:.2f} s")


def _no_cycle(evidence: Evidence, why: str) -> ClipRefused:
    return ClipRefused(Outcome.NO_FULL_CYCLE, f"the clip lasts {evidence.duration_s:.2f} s; {why}")
