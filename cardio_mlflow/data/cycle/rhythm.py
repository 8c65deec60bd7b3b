"""What is known of a clip's heart beats: R waves of up to three sources, the heart rate, the period.

Any of them may be stale or misread, so each source of R waves is judged by all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np

from cardio_mlflow.data.cycle.period import Period, differences, find_period, unlike_after
from cardio_mlflow.data.files.timing import plausible, plausible_intervals
from cardio_mlflow.data.picture.sector import Array, Image

# Tuned on the hard clips atrial_fibrillation, ectopic_beat, tall_t, r_wave_vector, uneven_times; see
# benchmarks.tuned_constants.
# Intervals, relative to each other.
NEAR: Final = 0.12
"""Intervals that differ by less are alike."""
_NEAR_RATE: Final = 0.3  # a heart rate is the mean of some beats, perhaps those before the clip
_MULTIPLES: Final = (1, 2, 3)
_REGULAR: Final = 0.2  # of intervals that differ by more no single period is to be expected
# The picture's say: depths of dips in its unlikeness, beats.
_CLEAR: Final = 0.3  # of a period: 0.34 to 0.95 in 66 clips whose R waves are known, 0.44 in a real one
_LEAST_DIP: Final = 0.1  # at R waves: true ones reach 0.21 to 0.89, T waves counted in 0.07 at most
_SEEN: Final = 1.25  # beats that a clip must last for its picture to contradict an interval
_SHIFTS: Final = np.arange(-0.5, 1.13, 1 / 32)  # beats by which R waves may be wrong
_HERE, _LEAST_REACH = 0.1, 0.25  # beats of the shifts that count as none; that must be known on either side
_MOST_FRAMES: Final = 500  # compared, of a longer clip the first: some heart cycles at any frame rate
# R waves of two sources.
_APART_S: Final = 0.12  # an ECG is drawn some 50 ms late
_APART_BEATS: Final = 0.15
_STALE_S: Final = 2.5  # R waves farther from the clip tell nothing about it
_WORDS: Final = {"tags": "R-wave tags", "waveform": "ECG in the file", "trace": "drawn ECG"}


@dataclass(frozen=True)
class Rhythm:
    """The timing of one clip; times are seconds since the first frame, rising. R waves may lie outside."""

    times_s: Array  # of the frames
    r_waves_s: Array  # of tags
    heart_rate: float | None  # of tags, per minute
    thumbnails: Image  # small copies of the frames, 0 outside the sector
    waveform_r_waves_s: Array = field(default_factory=lambda: np.empty(0))  # of an ECG in the file
    trace_r_waves_s: Array = field(default_factory=lambda: np.empty(0))  # of one on the screen

    def with_ecg(self, waveform_r_waves_s: Array, trace_r_waves_s: Array) -> Rhythm:
        """The same with R waves of an ECG in the file and of one on the screen."""
        return replace(self, waveform_r_waves_s=waveform_r_waves_s, trace_r_waves_s=trace_r_waves_s)

    @property
    def sources(self) -> dict[str, Array]:
        """All known R waves by source, the most trustworthy first."""
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
        return find_period(self._unlikeness, self.times_s[:_MOST_FRAMES], self.rate_interval_s)

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
        """How deep the unlikeness dips at the R waves, and elsewhere; None when the clip is too short."""
        intervals = np.diff(r_waves_s)
        if len(intervals) == 0:
            return None
        later = intervals[:, None] * (1.0 + _SHIFTS)
        unlike = unlike_after(self._unlikeness, self.times_s[:_MOST_FRAMES], r_waves_s[:-1], later)
        known = ~np.isnan(unlike)
        shifts, unlike = _SHIFTS[known], unlike[known]
        if len(shifts) == 0 or shifts[0] > -_LEAST_REACH or shifts[-1] < _LEAST_REACH:
            return None
        left, right = np.maximum.accumulate(unlike), np.maximum.accumulate(unlike[::-1])[::-1]
        depths = (np.minimum(left, right) - unlike) / max(float(unlike.max()), 1e-9)
        here = np.abs(shifts) <= _HERE
        return float(depths[here].max()), float(depths[~here].max())

    @cached_property
    def _unlikeness(self) -> Array:
        return differences(self.thumbnails[:_MOST_FRAMES])


def alike(one: Array, other: Array, near: float = NEAR) -> bool:
    """Whether the ranges of two sets of intervals meet, or do so when one of them is multiplied."""
    return any(
        a.min() <= b.max() * (1 + room) and b.min() <= a.max() * (1 + room)
        for times in _MULTIPLES for a, b in ((one * times, other), (one, other * times))
        for room in (near if times == 1 else NEAR,)
    )  # fmt: skip


def whole_beats(beats: Array) -> bool:
    """Whether all intervals, in periods, are one, two or three long."""
    whole = np.clip(np.rint(beats), 1, _MULTIPLES[-1])
    return bool((np.abs(beats / whole - 1.0) <= NEAR).all())


class Vote(NamedTuple):
    """What one witness says of R waves."""

    by_picture: bool
    fits: bool
    note: str  # that they do not fit


@dataclass(frozen=True)
class RWaveSource:
    """R waves of one source, and what all witnesses that can tell say of them."""

    method: str  # key of `Rhythm.sources`
    r_waves_s: Array
    inside: Array  # those in the clip
    votes: tuple[Vote, ...] = ()

    @property
    def intervals(self) -> Array:
        """Plausible R-R intervals, seconds; those in the clip if there are any."""
        within = plausible_intervals(self.inside)
        return within if len(within) else plausible_intervals(self.r_waves_s)

    @property
    def words(self) -> str:
        """How a note names it."""
        return f"R-R {1000 * np.median(self.intervals):.0f} ms of the {_WORDS[self.method]}"

    @property
    def score(self) -> int:
        """Votes for it less votes against it; the picture, which cannot be stale, has two."""
        return sum((1 if vote.fits else -1) * (1 + vote.by_picture) for vote in self.votes)


def judged_sources(rhythm: Rhythm) -> list[RWaveSource]:
    """The plausible R waves of each source, the most trustworthy first, with the votes of all others."""
    found = [
        RWaveSource(method, r_waves, rhythm.inside(r_waves))
        for method, r_waves in rhythm.sources.items() if plausible(r_waves)
    ]  # fmt: skip
    return [replace(own, votes=tuple(_votes(own, found, rhythm))) for own in found]


def _votes(own: RWaveSource, sources: list[RWaveSource], rhythm: Rhythm) -> Iterator[Vote]:
    """What the others say of a source.

    R waves of two sources must agree in their intervals and their times; the picture must repeat itself from
    R wave to R wave; the heart rate must lie within the intervals. Plain multiples fit (a beat missed, a rate
    that counts T waves), unless the picture is not alike at the R waves.
    """
    for one, other in combinations(sources, 2):
        if (own is one or own is other) and (fits := _same_beats(one, other, rhythm)) is not None:
            yield Vote(False, fits, f"{one.words} does not fit {other.words}")
    period = rhythm.clear_period_s
    if period is not None and (fits := rhythm.repeats(own.inside, own.intervals)) is not None:
        yield Vote(True, fits, f"{own.words} does not fit the picture's period of {1000 * period:.0f} ms")
    if (fits := rhythm.rate_fits(own.intervals)) is not None:
        yield Vote(False, fits, f"Heart Rate {rhythm.heart_rate:g}/min does not fit {own.words}")


def _same_beats(one: RWaveSource, other: RWaveSource, rhythm: Rhythm) -> bool | None:
    """Whether two sources have intervals that fit and R waves at the same times; None when one is stale."""
    if any(len(rhythm.inside(source.r_waves_s, _STALE_S)) == 0 for source in (one, other)):
        return None
    if not alike(one.intervals, other.intervals):
        return False
    fewer, more = sorted((one.inside, other.inside), key=len)
    if len(fewer) == 0:
        return True
    apart = np.abs(fewer[:, None] - more[None, :]).min(axis=1)
    least = min(float(np.median(source.intervals)) for source in (one, other))
    return bool(np.median(apart) <= max(_APART_S, _APART_BEATS * least))
