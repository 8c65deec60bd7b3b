"""Which frames of a clip make one whole heart cycle.

A ladder of rungs, best first: R waves from tags, from a waveform in the file, from the ECG drawn on the
screen; then only the length of the cycle, from the picture or from the heart rate in the header; last the
clip as it is. A rung that the others contradict is passed over for a better one, or its phase is not
verified.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cardio_mlflow.data.cycle.rhythm import NEAR, Rhythm, RWaveSource, judged_sources, whole_beats
from cardio_mlflow.data.files.timing import plausible_intervals, typical_interval, usual_interval
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.picture.sector import Array, Numbers

_WRAPS: Final = "the cycle's last part is taken from before its R wave"
_SHORTEST_CLIP_S: Final = 0.4  # 150 beats per minute: the fastest heart of which a clip is taken as it is
_LONGEST_BEAT_S: Final = 1.2  # 50 beats per minute


@dataclass(frozen=True)
class Gating:
    """The heart cycle chosen of a clip; times in seconds since the first frame."""

    method: str  # the rung that answered: tags, waveform, trace, periodicity, heart_rate or clip
    r_waves_s: tuple[float, ...]  # in the clip; where none is known, the bounds of the assumed cycles
    phase_verified: bool  # whether the cycle starts or ends at an R wave; else only its length is known
    start_s: float
    stop_s: float
    beats: int  # whole cycles in the clip
    notes: tuple[str, ...] = ()  # what does not fit together, in words
    # The end of a clip that ends within the cycle: what would come after it is taken one cycle earlier.
    seam_s: float = math.inf

    @property
    def wraps(self) -> bool:
        """Whether the cycle is put together of two parts."""
        return self.seam_s < self.stop_s

    @property
    def rr_ms(self) -> float:
        """Length of the chosen cycle."""
        return 1000.0 * (self.stop_s - self.start_s)

    @property
    def r_waves(self) -> int:
        """Number of R waves known in the clip."""
        return len(self.r_waves_s) if self.phase_verified else 0

    def frames(self, times_s: Array, count: int) -> Numbers:
        """Frames equally spaced in phase over the chosen cycle: (count,), from 0.

        They rise, but for one step back at a seam. Each phase takes the nearest frame as it is, so a short
        cycle repeats some.

        >>> Gating("tags", (0.0, 0.4), True, 0.0, 0.4, 1).frames(np.arange(8) * 0.1, 4).tolist()
        [0, 1, 2, 3]
        >>> Gating("tags", (0.3,), True, 0.3, 0.7, 1, seam_s=0.55).frames(np.arange(6) * 0.1, 4).tolist()
        [3, 4, 5, 2]
        """
        length = self.stop_s - self.start_s
        wanted = self.start_s + length * np.arange(count) / count
        wanted = np.where(wanted > self.seam_s, wanted - length, wanted)
        middles = 0.5 * (times_s[1:] + times_s[:-1])
        return np.searchsorted(middles, wanted, side="left").astype(np.int64)


def gate(rhythm: Rhythm) -> Gating:
    """One whole cycle, by the first rung that answers and fits the others.

    R waves in the clip go before others, such as stale tags, which tell no more than a length.

    Raises:
        ClipRefused: NO_FULL_CYCLE, when the clip does not hold one.
    """
    readings = judged_sources(rhythm)
    notes = [vote.note for reading in readings for vote in reading.votes if not vote.fits]
    period = rhythm.clear_period_s
    if not readings and period is not None and rhythm.rate_fits(np.array([period])) is False:
        picture = f"the picture's period of {1000 * period:.0f} ms"
        notes = [f"Heart Rate {rhythm.heart_rate:g}/min does not fit {picture}"]
    doubted = {own.method for own in readings if own.score < 0}
    found = _by_r_waves(readings, rhythm) or _by_length(rhythm, doubted) or _by_clip(rhythm)
    return replace(found, notes=tuple(dict.fromkeys([*notes, *found.notes])))


def _by_r_waves(readings: list[RWaveSource], rhythm: Rhythm) -> Gating | None:
    """A cycle of the R waves that best fit all else; None without any, or where the picture contradicts them.

    Raises:
        ClipRefused: NO_FULL_CYCLE, when R waves lie in the clip, and their usual interval is longer than it.
    """
    found: list[tuple[RWaveSource, Gating]] = []
    refusal: ClipRefused | None = None
    for reading in readings:
        try:
            found.append((reading, _by_reading(reading, rhythm)))
        except ClipRefused as too_short:
            refusal = refusal or (too_short if len(reading.inside) else None)
    if not found:
        if refusal is not None:
            raise refusal
        return None
    reading, gating = min(found, key=_rank)  # of equals the first: the better rung
    if reading.score >= 0:
        return _without_missed_beats(reading, gating, rhythm)
    if any(vote.by_picture and not vote.fits for vote in reading.votes):
        return None
    if gating.wraps:
        return _of_length(gating.method, gating.stop_s - gating.start_s, np.empty(0), rhythm)
    return replace(gating, phase_verified=False)


def _rank(found: tuple[RWaveSource, Gating]) -> tuple[bool, bool, bool, bool, int]:
    """What is trusted goes first, then what has a whole cycle in the clip, then what nobody disputes."""
    reading, gating = found
    disputed = not all(vote.fits for vote in reading.votes)
    score = -reading.score if disputed else 0
    return reading.score < 0, not gating.phase_verified, gating.wraps, disputed, score


def _by_reading(reading: RWaveSource, rhythm: Rhythm) -> Gating:
    """The most typical interval between two R waves in the clip, or else their usual interval.

    Raises:
        ClipRefused: NO_FULL_CYCLE, when the clip is shorter than the usual interval.
    """
    chosen = typical_interval(reading.r_waves_s, reading.inside, rhythm.heart_rate)
    if chosen is not None:
        start, stop, whole = chosen
        return Gating(reading.method, tuple(reading.inside.tolist()), True, start, stop, whole)
    length = _usual_beat(reading, rhythm)
    if length > rhythm.duration_s + rhythm.slack_s:
        raise _no_cycle(rhythm, f"one heart cycle lasts {length:.2f} s")
    return _of_length(reading.method, length, reading.inside, rhythm)


def _usual_beat(reading: RWaveSource, rhythm: Rhythm) -> float:
    """The usual interval; of one beat, where the picture shows that a drawn ECG lost beats."""
    period, intervals = rhythm.clear_period_s, plausible_intervals(reading.r_waves_s)
    if reading.method != "trace" or period is None or not whole_beats(intervals / period):
        return usual_interval(reading.r_waves_s)
    return float(np.median(intervals / np.maximum(np.rint(intervals / period), 1.0)))


def _without_missed_beats(reading: RWaveSource, gating: Gating, rhythm: Rhythm) -> Gating:
    """One beat, where the drawn ECG's interval holds two or three of the picture's periods.

    It is another interval of one period, if there is one, or else a period from an R wave.
    """
    length = rhythm.clear_period_s
    if length is None or reading.method != "trace":
        return gating
    beats = (gating.stop_s - gating.start_s) / length
    if round(beats) < 2 or not whole_beats(np.array([beats])):
        return gating
    note = f"R-R {gating.rr_ms:.0f} ms of the drawn ECG is a multiple of the picture's {1000 * length:.0f} ms"
    off = np.abs(np.diff(reading.inside) / length - 1.0)
    if len(off) and off.min() <= NEAR:
        start, stop = reading.inside[np.argmin(off) :][:2].tolist()
        return replace(gating, start_s=start, stop_s=stop, notes=(note,))
    found = _of_length("periodicity", length, reading.inside, rhythm)
    return replace(found, notes=(note, *found.notes))


def _by_length(rhythm: Rhythm, doubted: Collection[str]) -> Gating | None:
    """A cycle as long as the picture's period, or else as the header's heart rate, often stale, says.

    A single R wave tells the phase, unless its source is doubted or the period is neither clear nor that of
    the heart rate.
    """
    if rhythm.period is not None:
        method, length = "periodicity", rhythm.period.length_s
    elif rhythm.rate_interval_s is not None:
        method, length = "heart_rate", rhythm.rate_interval_s
        if length > rhythm.duration_s + rhythm.slack_s:
            return None
    else:
        return None
    near_rate = rhythm.rate_interval_s is not None and abs(rhythm.rate_interval_s / length - 1.0) <= NEAR
    known = near_rate or rhythm.clear_period_s is not None
    for source, r_waves in rhythm.sources.items():
        inside = rhythm.inside(r_waves)
        if known and source not in doubted and len(inside) == 1:
            found = _of_length(method, length, inside, rhythm)
            if found.phase_verified:
                return found
    return _of_length(method, length, np.empty(0), rhythm)


def _of_length(method: str, length: float, r_waves: Array, rhythm: Rhythm) -> Gating:
    """A cycle that starts, or else ends, at an R wave in the clip; else cycles from the first frame on.

    Around an R wave in the middle of a clip the cycle is put together of two parts, from the R wave to the
    clip's end and from before it; not with a heart rate alone, which may be stale.
    """
    for r_wave in r_waves.tolist():
        for start in (r_wave, r_wave - length):
            if rhythm.holds(start, length):
                return Gating(method, tuple(r_waves.tolist()), True, start, start + length, 1)
    if len(r_waves) and method != "heart_rate" and rhythm.holds(0.0, length):
        start, end = float(r_waves[0]), float(rhythm.times_s[-1]) + rhythm.slack_s
        return Gating(method, tuple(r_waves.tolist()), True, start, start + length, 1, (_WRAPS,), end)
    beats = max(1, int((rhythm.duration_s + rhythm.slack_s) / length))
    return Gating(method, tuple(length * i for i in range(beats + 1)), False, 0.0, length, beats)


def _by_clip(rhythm: Rhythm) -> Gating:
    """The last resort: a clip about as long as a heart beat, or the first such stretch of a longer one."""
    if rhythm.duration_s < _SHORTEST_CLIP_S:
        raise _no_cycle(rhythm, f"a heart cycle lasts at least {_SHORTEST_CLIP_S} s")
    rate = rhythm.heart_rate
    stale = () if rate is None else (f"Heart Rate {rate:g}/min means a cycle longer than the clip",)
    return Gating("clip", (), False, 0.0, min(rhythm.duration_s, _LONGEST_BEAT_S), 1, stale)


def _no_cycle(rhythm: Rhythm, why: str) -> ClipRefused:
    return ClipRefused(Outcome.NO_FULL_CYCLE, f"the clip lasts {rhythm.duration_s:.2f} s; {why}")
