"""Which frames of a clip make one whole heart cycle.

A ladder of rungs, best first. Each looks at the evidence and either answers or passes on; a better
way of finding R waves is one more function in ``RUNGS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.periodicity import period

Array = NDArray[np.float64]

_SHORTEST_RR: Final = 0.25
_LONGEST_RR: Final = 2.5
_SHORTEST_CLIP: Final = 0.4
_LONGEST_BEAT: Final = 1.2


@dataclass(frozen=True)
class Evidence:
    """What is known about the timing of one clip.

    Attributes:
        times_s: time of each frame in seconds since the first, shape (frames,), rising.
        r_waves_s: R-wave times from tags, seconds since the first frame; may be empty.
        heart_rate: beats per minute from tags, or None.
        thumbnails: small copies of the frames, zero outside the sector, uint8, frames × h × w.
    """

    times_s: Array
    r_waves_s: Array
    heart_rate: float | None
    thumbnails: NDArray[np.uint8]

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the end of the last."""
        frame = (self.times_s[-1] - self.times_s[0]) / (len(self.times_s) - 1)
        return float(self.times_s[-1] - self.times_s[0] + frame)

    @property
    def slack_s(self) -> float:
        """How far a cycle may reach beyond the clip: half a frame."""
        return 0.5 * self.duration_s / len(self.times_s)


@dataclass(frozen=True)
class Gating:
    """The heart cycles of a clip and the one that was chosen.

    Attributes:
        method: the rung that answered.
        r_waves_s: bounds of the cycles found, seconds since the first frame.
        phase_verified: whether the bounds are R waves; otherwise only the cycle's length is known.
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
    """R waves from tags; needs two that hold a whole cycle between them."""
    inside = _inside(evidence)
    intervals = np.diff(inside)
    whole = (intervals >= _SHORTEST_RR) & (intervals <= _LONGEST_RR)
    return _most_typical("tags", inside, whole, phase_verified=True) if whole.any() else None


def by_heart_rate(evidence: Evidence) -> Gating | None:
    """The cycle's length from the heart-rate tag; starts at a tagged R wave when there is one.

    Raises:
        ClipRefused: NO_FULL_CYCLE, when the clip is shorter than the cycle.
    """
    if evidence.heart_rate is None:
        return None
    length = 60.0 / evidence.heart_rate
    if length > evidence.duration_s + evidence.slack_s:
        raise _no_cycle(evidence, f"one heart cycle lasts {length:.2f} s")
    for r_wave in _inside(evidence):
        for start in (float(r_wave), float(r_wave) - length):
            if start >= -evidence.slack_s and start + length <= evidence.duration_s + evidence.slack_s:
                return Gating("heart_rate", (start, start + length), True, start, start + length, 1)
    return _repeated("heart_rate", length, evidence)


def by_periodicity(evidence: Evidence) -> Gating | None:
    """The cycle's length from the lag after which the picture looks most like itself."""
    length = period(evidence.thumbnails, evidence.times_s)
    return None if length is None else _repeated("periodicity", length, evidence)


def by_clip(evidence: Evidence) -> Gating | None:
    """The last resort: a clip about as long as a heart beat, or the first such stretch of a longer one.

    Raises:
        ClipRefused: NO_FULL_CYCLE, when the clip is shorter than any plausible cycle.
    """
    if evidence.duration_s < _SHORTEST_CLIP:
        raise _no_cycle(evidence, f"a heart cycle lasts at least {_SHORTEST_CLIP} s")
    stop = min(evidence.duration_s, _LONGEST_BEAT)
    return Gating("clip", (), False, 0.0, stop, 1)


RUNGS: Final[tuple[Rung, ...]] = (by_tags, by_heart_rate, by_periodicity, by_clip)
"""The ladder, best rung first."""


def gate(evidence: Evidence) -> Gating:
    """Climb down the ladder to the first rung that answers, and choose one whole cycle.

    Raises:
        ClipRefused: NO_FULL_CYCLE, when the clip does not hold one.
    """
    for rung in RUNGS:
        found = rung(evidence)
        if found is not None:
            return found
    raise _no_cycle(evidence, "no heart cycle was found")


def _inside(evidence: Evidence) -> Array:
    """Tagged R waves that lie within the clip, half a frame of slack on either side."""
    r_waves, slack = evidence.r_waves_s, evidence.slack_s
    return r_waves[(r_waves >= -slack) & (r_waves <= evidence.duration_s + slack)]


def _most_typical(method: str, bounds: Array, whole: NDArray[np.bool_], phase_verified: bool) -> Gating:
    """The cycle whose length is nearest to the median length; the first of equals."""
    intervals = np.diff(bounds)
    off = np.where(whole, np.abs(intervals - np.median(intervals[whole])), np.inf)
    chosen = int(np.argmax(off <= off.min() + 1e-6))
    return Gating(
        method=method, r_waves_s=tuple(float(r) for r in bounds), phase_verified=phase_verified,
        start_s=float(bounds[chosen]), stop_s=float(bounds[chosen + 1]), beats=int(np.count_nonzero(whole)),
    )  # fmt: skip


def _repeated(method: str, length: float, evidence: Evidence) -> Gating:
    beats = max(1, int((evidence.duration_s + evidence.slack_s) / length))
    bounds = tuple(length * i for i in range(beats + 1))
    return Gating(method, bounds, False, 0.0, length, beats)


def _no_cycle(evidence: Evidence, why: str) -> ClipRefused:
    return ClipRefused(Outcome.NO_FULL_CYCLE, f"the clip lasts {evidence.duration_s:.2f} s; {why}")
