"""Which frames of a clip make one whole heart cycle.

A ladder of rungs, best first: R waves from tags, from a waveform in the file, from the ECG drawn on the
screen; then only the length of the cycle, from the pictures or from the heart rate in the header; last the
clip as it is. Every rung is checked against the others (`witnesses`): one that they contradict is passed over
for a better one, or its phase is not verified.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.cycle.witnesses import Evidence, Reading, hear, missed_beats, rate_note
from cardio_mlflow.data.files.timing import typical_interval, usual_interval
from cardio_mlflow.data.outcomes import ClipRefused, Outcome

__all__ = ["Evidence", "Gating", "gate"]

Array = NDArray[np.float64]

_SHORTEST_CLIP_S: Final = 0.4
_LONGEST_BEAT_S: Final = 1.2
_ONE_PERIOD: Final = 0.12  # relative; an interval that differs by less is one of the picture's periods


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
        notes: what does not fit together, in words.
    """

    method: str
    r_waves_s: tuple[float, ...]
    phase_verified: bool
    start_s: float
    stop_s: float
    beats: int
    notes: tuple[str, ...] = ()

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


def gate(evidence: Evidence) -> Gating:
    """Climb down the ladder to the first rung that answers and fits to the others; choose one whole cycle.

    R waves that lie in the clip go before those, such as stale tags, that tell no more than a length.

    Raises:
        ClipRefused: NO_FULL_CYCLE, when the clip does not hold one.
    """
    readings = hear(evidence)
    notes = [vote.note for reading in readings for vote in reading.votes if not vote.fits]
    notes += [] if readings else rate_note(evidence)
    found = _by_r_waves(readings, evidence) or _by_period(evidence) or _by_heart_rate(evidence)
    if found is None:
        found = _by_clip(evidence)
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
    return None if reading.against_picture else replace(gating, phase_verified=False)


def _rank(found: tuple[Reading, Gating]) -> tuple[bool, bool, bool, int]:
    """What is trusted goes first, then what has a whole cycle in the clip, then what nobody disputes."""
    reading, gating = found
    disputed = not all(vote.fits for vote in reading.votes)
    return reading.score < 0, not gating.phase_verified, disputed, -reading.score if disputed else 0


def _by_reading(reading: Reading, evidence: Evidence) -> Gating:
    """A cycle from R waves.

    A whole interval between two R waves in the clip is best, the most typical one of several. Without one,
    R waves before the clip (the older part of a drawn trace) tell the usual interval, and a cycle of that
    length is taken that starts or ends at the clip's one R wave. Where neither fits, only the length is used.

    Raises:
        ClipRefused: NO_FULL_CYCLE, when the clip is shorter than the usual interval.
    """
    inside = reading.inside
    chosen = typical_interval(reading.r_waves_s, inside, evidence.heart_rate)
    if chosen is not None:
        start, stop, whole = chosen
        return Gating(reading.method, tuple(inside.tolist()), True, start, stop, whole)
    length = usual_interval(reading.r_waves_s)
    if length > evidence.duration_s + evidence.slack_s:
        raise _no_cycle(evidence, f"one heart cycle lasts {length:.2f} s")
    anchored = _anchored(reading.method, length, inside, evidence)
    return anchored or _repeated(reading.method, length, evidence)


def _without_missed_beats(reading: Reading, gating: Gating, evidence: Evidence) -> Gating:
    """One beat, where the drawn ECG's interval holds two or three of the picture's periods.

    It is another interval of one period, if there is any, or else a period from an R wave.
    """
    length = missed_beats(reading, gating.stop_s - gating.start_s, evidence)
    if length is None:
        return gating
    note = f"R-R {gating.rr_ms:.0f} ms of the drawn ECG is a multiple of the picture's {1000 * length:.0f} ms"
    off = np.abs(np.diff(reading.inside) / length - 1.0)
    if len(off) and off.min() <= _ONE_PERIOD:
        start, stop = reading.inside[np.argmin(off) :][:2].tolist()
        return replace(gating, start_s=start, stop_s=stop, notes=(note,))
    one = _anchored("periodicity", length, reading.inside, evidence)
    return replace(one or _repeated("periodicity", length, evidence), notes=(note,))


def _by_period(evidence: Evidence) -> Gating | None:
    """The cycle's length from the pictures."""
    if evidence.period is None:
        return None
    return _of_length("periodicity", evidence.period.length_s, evidence)


def _by_heart_rate(evidence: Evidence) -> Gating | None:
    """The cycle's length from the heart rate in the header, which scanners often leave stale."""
    if evidence.heart_rate is None:
        return None
    length = 60.0 / evidence.heart_rate
    if length <= evidence.duration_s + evidence.slack_s:
        return _of_length("heart_rate", length, evidence)
    return None


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


def _of_length(method: str, length: float, evidence: Evidence) -> Gating:
    """A cycle of known length, at a single R wave where one is known."""
    for r_waves in evidence.sources.values():
        alone = evidence.inside(r_waves)
        found = _anchored(method, length, alone, evidence) if len(alone) == 1 else None
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


def _no_cycle(evidence: Evidence, why: str) -> ClipRefused:
    return ClipRefused(Outcome.NO_FULL_CYCLE, f"the clip lasts {evidence.duration_s:.2f} s; {why}")
