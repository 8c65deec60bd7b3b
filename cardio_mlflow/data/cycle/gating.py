"""Which frames of a clip make one whole heart cycle.

A ladder of rungs, best first: R waves from tags, from a waveform in the file, from the ECG drawn on the
screen; then only the length of the cycle, from the pictures or from the heart rate in the header; last the
clip as it is. Any of them may be stale or misread, so every rung is checked against the others: one that they
contradict is passed over for a better one, or its phase is not verified.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.cycle.evidence import NEAR, Array, Evidence, whole_beats
from cardio_mlflow.data.cycle.readings import Reading, judged_readings
from cardio_mlflow.data.files.timing import plausible_intervals, typical_interval, usual_interval
from cardio_mlflow.data.outcomes import ClipRefused, Outcome

__all__ = ["Evidence", "Gating", "gate"]

_WRAPS: Final = "the cycle's last part is taken from before its R wave"
_SHORTEST_CLIP_S: Final = 0.4
_LONGEST_BEAT_S: Final = 1.2


@dataclass(frozen=True)
class Gating:
    """The heart cycle chosen of a clip, from start to stop; times in seconds since the first frame.

    Attributes:
        method: the rung that answered: tags, waveform, trace, periodicity, heart_rate or clip.
        r_waves_s: R waves in the clip; where none is known, the bounds of the cycles that are assumed.
        phase_verified: whether the cycle starts or ends at an R wave; otherwise only its length is known.
        beats: number of whole cycles in the clip.
        notes: what does not fit together, in words.
        seam_s: where the cycle reaches beyond the clip, its end: what would come after it is taken one cycle
            earlier, from before the R wave. A heart beats in a loop: the phase is the same.
    """

    method: str
    r_waves_s: tuple[float, ...]
    phase_verified: bool
    start_s: float
    stop_s: float
    beats: int
    notes: tuple[str, ...] = ()
    seam_s: float = math.inf

    @property
    def wraps(self) -> bool:
        """Whether the cycle is put together of two parts."""
        return self.seam_s < self.stop_s

    @property
    def rr_ms(self) -> float:
        """Length of the chosen cycle in milliseconds."""
        return 1000.0 * (self.stop_s - self.start_s)

    @property
    def r_waves(self) -> int:
        """Number of R waves known in the clip."""
        return len(self.r_waves_s) if self.phase_verified else 0

    def frames(self, times_s: Array, count: int) -> NDArray[np.int64]:
        """Frames equally spaced in phase over the chosen cycle: shape (count,), from 0.

        They rise, but for one step back where the cycle has a seam. Each phase takes the nearest frame as it
        is, by the time of each: nothing is blended, so a frame may stand twice when the cycle has fewer than
        ``count``.

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


def gate(evidence: Evidence) -> Gating:
    """Climb down the ladder to the first rung that answers and fits to the others; choose one whole cycle.

    R waves that lie in the clip go before those, such as stale tags, that tell no more than a length.

    Raises:
        ClipRefused: NO_FULL_CYCLE, when the clip does not hold one.
    """
    readings = judged_readings(evidence)
    notes = [vote.note for reading in readings for vote in reading.votes if not vote.fits]
    period = evidence.clear_period_s
    if not readings and period is not None and evidence.rate_fits(np.array([period])) is False:
        picture = f"the picture's period of {1000 * period:.0f} ms"
        notes = [f"Heart Rate {evidence.heart_rate:g}/min does not fit {picture}"]
    doubted = {own.method for own in readings if own.score < 0}
    found = _by_r_waves(readings, evidence) or _by_length(evidence, doubted) or _by_clip(evidence)
    return replace(found, notes=tuple(dict.fromkeys([*notes, *found.notes])))


def _by_r_waves(readings: list[Reading], evidence: Evidence) -> Gating | None:
    """A cycle of the R waves that fit best to all else; None without any, or where the picture knows better.

    Raises:
        ClipRefused: NO_FULL_CYCLE, when R waves lie in the clip, and their usual interval is longer than it.
    """
    found: list[tuple[Reading, Gating]] = []
    refusal: ClipRefused | None = None
    for reading in readings:
        try:
            found.append((reading, _by_reading(reading, evidence)))
        except ClipRefused as too_short:
            refusal = refusal or (too_short if len(reading.inside) else None)
    if not found:
        if refusal is not None:
            raise refusal
        return None
    reading, gating = min(found, key=_rank)  # of equals the first: the better rung
    if reading.score >= 0:
        return _without_missed_beats(reading, gating, evidence)
    if any(vote.by_picture and not vote.fits for vote in reading.votes):
        return None
    if gating.wraps:
        return _of_length(gating.method, gating.stop_s - gating.start_s, np.empty(0), evidence)
    return replace(gating, phase_verified=False)


def _rank(found: tuple[Reading, Gating]) -> tuple[bool, bool, bool, bool, int]:
    """What is trusted goes first, then what has a whole cycle in the clip, then what nobody disputes."""
    reading, gating = found
    disputed = not all(vote.fits for vote in reading.votes)
    score = -reading.score if disputed else 0
    return reading.score < 0, not gating.phase_verified, gating.wraps, disputed, score


def _by_reading(reading: Reading, evidence: Evidence) -> Gating:
    """A cycle from R waves.

    A whole interval between two R waves in the clip is best, the most typical one of several. Without one,
    R waves before the clip (the older part of a drawn trace) tell the usual interval.

    Raises:
        ClipRefused: NO_FULL_CYCLE, when the clip is shorter than the usual interval.
    """
    chosen = typical_interval(reading.r_waves_s, reading.inside, evidence.heart_rate)
    if chosen is not None:
        start, stop, whole = chosen
        return Gating(reading.method, tuple(reading.inside.tolist()), True, start, stop, whole)
    length = _usual_beat(reading, evidence)
    if length > evidence.duration_s + evidence.slack_s:
        raise _no_cycle(evidence, f"one heart cycle lasts {length:.2f} s")
    return _of_length(reading.method, length, reading.inside, evidence)


def _usual_beat(reading: Reading, evidence: Evidence) -> float:
    """The usual interval; where the picture shows that a drawn ECG lost beats, that of one beat alone."""
    period, intervals = evidence.clear_period_s, plausible_intervals(reading.r_waves_s)
    if reading.method != "trace" or period is None or not whole_beats(intervals / period):
        return usual_interval(reading.r_waves_s)
    return float(np.median(intervals / np.maximum(np.rint(intervals / period), 1.0)))


def _without_missed_beats(reading: Reading, gating: Gating, evidence: Evidence) -> Gating:
    """One beat, where the drawn ECG's interval holds two or three of the picture's periods.

    It is another interval of one period, if there is any, or else a period from an R wave.
    """
    length = evidence.clear_period_s
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
    found = _of_length("periodicity", length, reading.inside, evidence)
    return replace(found, notes=(note, *found.notes))


def _by_length(evidence: Evidence, doubted: Collection[str]) -> Gating | None:
    """A cycle as long as the picture's period, or else as the header's heart rate, often stale, means.

    A single R wave tells the phase, unless its source is doubted, or the period is neither clear nor that of
    the heart rate.
    """
    if evidence.period is not None:
        method, length = "periodicity", evidence.period.length_s
    elif evidence.rate_interval_s is not None:
        method, length = "heart_rate", evidence.rate_interval_s
        if length > evidence.duration_s + evidence.slack_s:
            return None
    else:
        return None
    near_rate = evidence.rate_interval_s is not None and abs(evidence.rate_interval_s / length - 1.0) <= NEAR
    known = near_rate or evidence.clear_period_s is not None
    for source, r_waves in evidence.sources.items():
        inside = evidence.inside(r_waves)
        if known and source not in doubted and len(inside) == 1:
            found = _of_length(method, length, inside, evidence)
            if found.phase_verified:
                return found
    return _of_length(method, length, np.empty(0), evidence)


def _of_length(method: str, length: float, r_waves: Array, evidence: Evidence) -> Gating:
    """A cycle that starts, or else ends, at an R wave in the clip; else cycles from the first frame on.

    Of a clip whose R wave stands in its middle a whole cycle is taken in two parts, from the R wave to the
    clip's end and, before it, what is left; not with a heart rate alone, which may be stale.
    """
    for r_wave in r_waves.tolist():
        for start in (r_wave, r_wave - length):
            if evidence.holds(start, length):
                return Gating(method, tuple(r_waves.tolist()), True, start, start + length, 1)
    if len(r_waves) and method != "heart_rate" and evidence.holds(0.0, length):
        start, end = float(r_waves[0]), float(evidence.times_s[-1]) + evidence.slack_s
        return Gating(method, tuple(r_waves.tolist()), True, start, start + length, 1, (_WRAPS,), end)
    beats = max(1, int((evidence.duration_s + evidence.slack_s) / length))
    return Gating(method, tuple(length * i for i in range(beats + 1)), False, 0.0, length, beats)


def _by_clip(evidence: Evidence) -> Gating:
    """The last resort: a clip about as long as a heart beat, or the first such stretch of a longer one.

    Raises:
        ClipRefused: NO_FULL_CYCLE, when the clip is shorter than any plausible cycle.
    """
    if evidence.duration_s < _SHORTEST_CLIP_S:
        raise _no_cycle(evidence, f"a heart cycle lasts at least {_SHORTEST_CLIP_S} s")
    rate = evidence.heart_rate
    stale = () if rate is None else (f"Heart Rate {rate:g}/min means a cycle longer than the clip",)
    return Gating("clip", (), False, 0.0, min(evidence.duration_s, _LONGEST_BEAT_S), 1, stale)


def _no_cycle(evidence: Evidence, why: str) -> ClipRefused:
    return ClipRefused(Outcome.NO_FULL_CYCLE, f"the clip lasts {evidence.duration_s:.2f} s; {why}")
