"""When each frame of a clip was taken, and when its heart beats, as its header says."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SHORTEST_RR_S: Final = 0.25
_LONGEST_RR_S: Final = 2.5
_LEAST_PLAUSIBLE: Final = 0.6  # of all intervals; R waves of which fewer are plausible are none
_NEARLY: Final = 0.05  # intervals whose distance from the usual one differs by less are near equals
_TYPICAL: Final = 0.1  # relative distance from the usual interval


def plausible(r_waves_s: Array) -> bool:
    """Whether R waves make at least one interval, and most intervals are those of a living heart.

    >>> plausible(np.array([0.1, 0.9, 1.7])), plausible(np.array([0.1, 0.2, 0.3])), plausible(np.array([0.1]))
    (True, False, False)
    """
    whole = _whole(np.diff(r_waves_s))
    return bool(whole.any() and whole.mean() >= _LEAST_PLAUSIBLE)


def plausible_intervals(r_waves_s: Array) -> Array:
    """The intervals between neighbouring R waves that a living heart may have, seconds."""
    intervals = np.diff(r_waves_s)
    return np.asarray(intervals[_whole(intervals)])


def usual_interval(r_waves_s: Array, heart_rate: float | None = None) -> float:
    """Median of the plausible intervals, in seconds; the heart rate's own interval counts as one more."""
    intervals = plausible_intervals(r_waves_s)
    return float(np.median(intervals if heart_rate is None else np.append(intervals, 60.0 / heart_rate)))


def typical_interval(
    r_waves_s: Array, inside: Array, heart_rate: float | None
) -> tuple[float, float, int] | None:
    """The most typical of the whole intervals between R waves in the clip; None when there is none.

    It is the one nearest to the usual interval of all R waves, those outside the clip too: an ectopic beat's
    short interval and the pause after it are the farthest. Of near equals one is preferred whose
    predecessor is typical as well, since filling depends on the interval before; of those the nearest,
    and of equals the first.

    Args:
        r_waves_s: all R-wave times known, in seconds since the first frame, rising.
        inside: those of them that lie in the clip.
        heart_rate: beats per minute from the header, or None.

    Returns:
        Start and end, seconds, and the number of whole intervals in the clip.
    """
    whole = np.flatnonzero(_whole(np.diff(inside)))
    if len(whole) == 0:
        return None
    off = np.abs(np.diff(r_waves_s) / usual_interval(r_waves_s, heart_rate) - 1.0)
    numbers = int(np.searchsorted(r_waves_s, inside[0])) + whole  # of those intervals among all
    own = off[numbers]
    before = np.where(numbers > 0, off[np.maximum(numbers - 1, 0)], 0.0)
    near = own <= own.min() + _NEARLY
    rank = np.where(before <= _TYPICAL, 0.0, before)
    best = near & (rank <= rank[near].min() + 1e-6)
    nearest = best & (own <= own[best].min() + 1e-6)
    chosen = int(whole[np.argmax(nearest)])
    return float(inside[chosen]), float(inside[chosen + 1]), len(whole)


def _whole(intervals: Array) -> NDArray[np.bool_]:
    return np.asarray((intervals >= _SHORTEST_RR_S) & (intervals <= _LONGEST_RR_S))


_SHORTEST_MS: Final = 1.0
_LONGEST_MS: Final = 250.0
_SOURCES: Final = {
    "FrameTimeVector": ("frame_time_vector", "Frame Time Vector"),
    "FrameTime": ("frame_time", "Frame Time"),
    "CineRate": ("cine_rate", "Cine Rate"),
    "RecommendedDisplayFrameRate": ("display_rate", "Recommended Display Frame Rate"),
}
"""Elements that hold the frames' times, best first; how they are called as a source, and in messages."""
TIMING: Final = (*_SOURCES, "FrameIncrementPointer", "HeartRate", "RWaveTimeVector", "RWavePointer")
"""The elements whose numbers this module reads."""
_FRAME_TIME_TAG: Final = 0x00181063
_VECTOR_TAG: Final = 0x00181065
_AGREE: Final = 0.05


@dataclass(frozen=True)
class FrameTiming:
    """When the frames were taken.

    Attributes:
        times_s: seconds since the first frame, rising from 0, shape (frames,); None when not known.
        source: ``frame_time_vector``, ``frame_time``, ``cine_rate``, ``display_rate``, or empty.
        fault: why the times are not known.
        notes: what was bent.
    """

    times_s: Array | None = None
    source: str = ""
    fault: str = ""
    notes: tuple[str, ...] = ()


def frame_timing(
    numbers: Mapping[str, Sequence[float]], frames: int, unreadable: Collection[str] = ()
) -> FrameTiming:
    """Times of the frames from the first element that gives trustworthy ones.

    Tried in this order: Frame Time Vector (0018,1065), increments in ms, the first entry counts as 0 and
    may be left out; Frame Time (0018,1063), ms; Cine Rate (0018,0040) and Recommended Display Frame Rate
    (0008,2144), frames per second. Where the Frame Increment Pointer (0028,0009) names Frame Time alone,
    it counts more than the vector. An entry outside 4 to 1000 frames per second counts as not given.

    The header's numbers are given by DICOM keyword; ``unreadable`` elements are there but hold none.

    >>> frame_timing({"FrameTimeVector": [0, 40, 40]}, 3).times_s.tolist()
    [0.0, 0.04, 0.08]
    >>> frame_timing({"FrameTime": [0.0], "CineRate": [50]}, 3).source
    'cine_rate'
    >>> frame_timing({}, 3, ["FrameTime"]).fault
    'Frame Time cannot be read'
    """
    order, pointed = list(_SOURCES), numbers.get("FrameIncrementPointer", ())
    if _FRAME_TIME_TAG in pointed and _VECTOR_TAG not in pointed:
        order.sort(key=lambda keyword: keyword != "FrameTime")
    tried = {keyword: _steps(keyword, numbers.get(keyword, ()), frames) for keyword in order}
    given = {keyword: steps for keyword, steps in tried.items() if steps is not None}
    if not given:
        return FrameTiming(fault=_fault(numbers, frames, unreadable))
    used, steps = next(iter(given.items()))
    vector = used == "FrameTimeVector"
    means = [given[keyword].mean() for keyword in ("FrameTimeVector", "FrameTime") if keyword in given]
    notes = [f"{_SOURCES[keyword][1]} cannot be read" for keyword in order if keyword in unreadable]
    if max(means, default=1) > (1 + _AGREE) * min(means, default=1):
        notes.insert(0, "Frame Time and its vector disagree")
    if vector and len(numbers[used]) == frames - 1:
        notes.append("Frame Time Vector without its first entry")
    times = np.concatenate([[0.0], np.cumsum(steps)]) if vector else np.arange(frames) * steps[0]
    return FrameTiming(times / 1000.0, _SOURCES[used][0], "", tuple(notes))


def _steps(keyword: str, numbers: Sequence[float], frames: int) -> Array | None:
    """Milliseconds from frame to frame: one step, or of the vector all; None when they are not to be used."""
    steps = np.asarray(numbers, dtype=np.float64)
    if keyword == "FrameTimeVector":
        if len(steps) not in (frames, frames - 1) or frames < 2:
            return None
        steps = steps[len(steps) - frames + 1 :]
    else:
        steps = steps[:1]
        if keyword != "FrameTime":
            steps = 1000.0 / steps[steps >= 1.0]
    fits = len(steps) and bool(((steps >= _SHORTEST_MS) & (steps <= _LONGEST_MS)).all())
    return steps if fits else None


def _fault(numbers: Mapping[str, Sequence[float]], frames: int, unreadable: Collection[str]) -> str:
    said = []
    for keyword, (_, name) in _SOURCES.items():
        found = numbers.get(keyword, ())
        if keyword in unreadable:
            said.append(f"{name} cannot be read")
        elif keyword == "FrameTimeVector" and found and len(found) not in (frames, frames - 1):
            said.append(f"{name} has {len(found)} entries for {frames} frames")
        elif found:
            said.append(f"{name} means no rate from 4 to 1000 frames per second")
    return "; ".join(said) or "no frame time, frame time vector or frame rate in the header"


def heart_rate(numbers: Mapping[str, Sequence[float]]) -> float | None:
    """Heart rate in beats per minute, or None; 0 and values no living heart has mean it is absent.

    >>> heart_rate({"HeartRate": [0]}), heart_rate({"HeartRate": [72]})
    (None, 72.0)
    """
    return next((float(rate) for rate in numbers.get("HeartRate", ())[:1] if 25 <= rate <= 250), None)


def tagged_r_waves(numbers: Mapping[str, Sequence[float]], times: Array | None) -> Array:
    """R-wave times in seconds since the first frame, from tags; empty when there are none to trust.

    R Wave Time Vector (0018,6060), ms since the first frame, comes before R Wave Pointer (0028,6040),
    frame numbers counted from 1, unless only the pointer makes a plausible interval.

    >>> tagged_r_waves({"RWaveTimeVector": [120, 920]}, None).tolist()
    [0.12, 0.92]
    """
    vector = np.asarray(numbers.get("RWaveTimeVector", ()), dtype=np.float64) / 1000.0
    pointer = np.asarray(numbers.get("RWavePointer", ()), dtype=np.float64) - 1.0
    pointed = np.empty(0)
    if times is not None and _rising(pointer) and pointer.min() >= 0 and pointer.max() < len(times):
        pointed = times[pointer.astype(np.int64)]
    return vector if _rising(vector) and (plausible(vector) or not plausible(pointed)) else pointed


def _rising(values: Array) -> bool:
    return len(values) > 0 and bool(np.isfinite(values).all()) and bool((np.diff(values) > 0).all())
