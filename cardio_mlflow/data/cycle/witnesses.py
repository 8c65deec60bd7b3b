"""What is known of a clip's heart beats, each piece checked against the others.

R waves from tags, of a waveform in the file and of the ECG on the screen, the picture's own period and the
heart rate in the header: any of them may be stale or misread, and a clip's cycle is taken from those that
fit together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.cycle.repetition import Period, Repetition
from cardio_mlflow.data.files.timing import plausible, plausible_intervals

Array = NDArray[np.float64]

_WORDS: Final = {"tags": "R-wave tags", "waveform": "ECG in the file", "trace": "drawn ECG"}
_NEAR: Final = 0.12  # relative; intervals that differ by less are alike
_NEAR_RATE: Final = 0.3  # a heart rate is the mean of some beats, perhaps those before the clip
_MULTIPLES: Final = (1, 2, 3)
_APART_S: Final = 0.12  # R waves from two sources; an ECG is drawn some 50 ms late
_STALE_S: Final = 2.5  # R waves farther from the clip tell nothing about it
_CLEAR: Final = 0.3  # depth of a dip: 0.34 to 0.95 of 66 clips whose R waves are known, 0.44 of a real one
_SEEN: Final = 1.25  # beats that a clip must last for its picture to contradict an interval
_REGULAR: Final = 0.2  # relative; of intervals that differ by more no single period is to be expected
_LEAST_DIP: Final = 0.1  # at the R waves: true ones reach 0.21 to 0.89, T waves counted in 0.07 at most


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
    def sources(self) -> dict[str, Array]:
        """All R waves known by where they come from, the most trustworthy first."""
        return {"tags": self.r_waves_s, "waveform": self.waveform_r_waves_s, "trace": self.trace_r_waves_s}

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
    def _repetition(self) -> Repetition:
        return Repetition(self.thumbnails, self.times_s)

    @cached_property
    def period(self) -> Period | None:
        """The picture's own period, looked for near the heart rate in the header first."""
        return self._repetition.period(None if self.heart_rate is None else 60.0 / self.heart_rate)

    def dips(self, r_waves_s: Array) -> tuple[float, float] | None:
        """How deep the difference dips at the R waves, and elsewhere; None when the clip is too short."""
        intervals = np.diff(r_waves_s)
        if len(intervals) == 0:
            return None
        unlike = self._repetition.after(r_waves_s[:-1], intervals[:, None] * (1.0 + _SHIFTS))
        known = ~np.isnan(unlike)
        shifts, unlike = _SHIFTS[known], unlike[known]
        if len(shifts) == 0 or shifts[0] > -_LEAST_REACH or shifts[-1] < _LEAST_REACH:
            return None
        left, right = np.maximum.accumulate(unlike), np.maximum.accumulate(unlike[::-1])[::-1]
        depths = (np.minimum(left, right) - unlike) / max(float(unlike.max()), 1e-9)
        here = np.abs(shifts) <= _HERE
        return float(depths[here].max()), float(depths[~here].max())


_SHIFTS: Final = np.arange(-0.5, 1.13, 1 / 32)
"""Beats by which the R waves may be wrong."""
_HERE: Final = 0.1
_LEAST_REACH: Final = 0.25


@dataclass(frozen=True)
class Vote:
    """What one witness says of R waves.

    ``by`` is the witness: the source of other R waves, ``picture`` or ``heart_rate``.
    """

    by: str
    fits: bool
    note: str
    """In words, that they do not fit."""


@dataclass(frozen=True)
class Reading:
    """R waves of one source, at least two, and what the other witnesses say of them.

    ``method`` is the source (tags, waveform or trace), ``r_waves_s`` all of them in seconds since the first
    frame, rising, ``inside`` those in the clip; ``votes`` are those of all others who can tell.
    """

    method: str
    r_waves_s: Array
    inside: Array
    votes: tuple[Vote, ...] = ()

    @property
    def intervals(self) -> Array:
        """Plausible R-R intervals, those in the clip if there are any, seconds."""
        within = plausible_intervals(self.inside)
        return within if len(within) else plausible_intervals(self.r_waves_s)

    @property
    def words(self) -> str:
        """How a note names it."""
        return f"R-R {_ms(float(np.median(self.intervals)))} of the {_WORDS[self.method]}"

    @property
    def score(self) -> int:
        """Votes for it less votes against it; the picture has two, it cannot be stale."""
        return sum((1 if vote.fits else -1) * (2 if vote.by == "picture" else 1) for vote in self.votes)

    @property
    def against_picture(self) -> bool:
        """Whether the picture shows that these are not its R waves."""
        return any(vote.by == "picture" and not vote.fits for vote in self.votes)


def hear(evidence: Evidence) -> list[Reading]:
    """All readings of R waves with what the others say of them, in the order of the ladder.

    R waves of two sources must agree in their intervals and in their times; the picture must repeat itself
    from R wave to R wave; the heart rate must lie within the intervals. Plain multiples fit (a beat missed, a
    rate that counts T waves), unless the picture shows that it is not alike at the R waves.
    """
    readings = [
        Reading(method, r_waves, evidence.inside(r_waves))
        for method, r_waves in evidence.sources.items() if plausible(r_waves)
    ]  # fmt: skip
    return [replace(own, votes=tuple(_votes(own, readings, evidence))) for own in readings]


def _votes(own: Reading, readings: list[Reading], evidence: Evidence) -> Iterator[Vote]:
    for one, other in combinations(readings, 2):
        if (own is one or own is other) and (fits := _alike(one, other, evidence)) is not None:
            by = other.method if own is one else one.method
            yield Vote(by, fits, f"{one.words} does not fit {other.words}")
    if (period := evidence.period) is not None and (fits := _repeats(own, period, evidence)) is not None:
        yield Vote(
            "picture", fits, f"{own.words} does not fit the picture's period of {_ms(period.length_s)}"
        )
    if (rate := evidence.heart_rate) is not None:
        fits = _multiple(own.intervals, np.array([60.0 / rate]), _NEAR_RATE)
        yield Vote("heart_rate", fits, f"Heart Rate {rate:g}/min does not fit {own.words}")


def rate_note(evidence: Evidence) -> list[str]:
    """That the heart rate does not fit the picture's clear period, or nothing."""
    period, rate = evidence.period, evidence.heart_rate
    if period is None or rate is None or period.depth < _CLEAR:
        return []
    if _multiple(np.array([period.length_s]), np.array([60.0 / rate]), _NEAR_RATE):
        return []
    return [f"Heart Rate {rate:g}/min does not fit the picture's period of {_ms(period.length_s)}"]


def missed_beats(reading: Reading, interval_s: float, evidence: Evidence) -> float | None:
    """The picture's period, where an interval of the drawn ECG is two or three of it; else None."""
    period = evidence.period
    if period is None or period.depth < _CLEAR or reading.method != "trace":
        return None
    beats = interval_s / period.length_s
    return period.length_s if round(beats) in _MULTIPLES[1:] and _near_whole(np.array([beats])) else None


def _alike(one: Reading, other: Reading, evidence: Evidence) -> bool | None:
    """Whether two readings have intervals that fit, and R waves at the same times; None when one is stale."""
    times = [evidence.inside(reading.r_waves_s, _STALE_S) for reading in (one, other)]
    if min(map(len, times)) == 0:
        return None
    if not _multiple(one.intervals, other.intervals, _NEAR):
        return False
    fewer, more = sorted((one.inside, other.inside), key=len)
    if len(fewer) == 0:
        return True
    apart = np.abs(fewer[:, None] - more[None, :]).min(axis=1)
    least = min(float(np.median(reading.intervals)) for reading in (one, other))
    return bool(np.median(apart) <= max(_APART_S, 0.15 * least))


def _multiple(one: Array, other: Array, near: float) -> bool:
    """Whether the ranges of two sets of intervals meet, or one of them does so when multiplied."""
    return any(
        a.min() <= b.max() * (1 + room) and b.min() <= a.max() * (1 + room)
        for times in _MULTIPLES for a, b in ((one * times, other), (one, other * times))
        for room in (near if times == 1 else _NEAR,)
    )  # fmt: skip


def _repeats(reading: Reading, period: Period, evidence: Evidence) -> bool | None:
    """Whether the picture repeats itself from R wave to R wave; None when that cannot be told."""
    intervals = reading.intervals
    if period.depth < _CLEAR:
        return None
    if _near_whole(intervals / period.length_s):
        return True
    some_beats = _near_whole(period.length_s / intervals)
    dips = evidence.dips(reading.inside)
    if dips is not None:
        return dips[0] >= max(_LEAST_DIP, 0.0 if some_beats else 0.5 * dips[1])
    if some_beats:
        return True
    told = intervals.max() * _SEEN <= evidence.duration_s and np.ptp(intervals) <= _REGULAR * intervals.min()
    return False if told else None


def _near_whole(beats: Array) -> bool:
    """Whether all intervals are one, two or three periods long."""
    whole = np.clip(np.rint(beats), 1, _MULTIPLES[-1])
    return bool((np.abs(beats / whole - 1.0) <= _NEAR).all())


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
