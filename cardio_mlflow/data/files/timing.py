"""When each frame of a clip was taken, from whatever timing its header holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """Median of the plausible intervals, in seconds; the heart rate's own interval counts as one more.

    Args:
        r_waves_s: R-wave times in seconds, rising, with at least one plausible interval.
        heart_rate: beats per minute from the header, or None. It decides between two unlike intervals.
    """
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
        Start, end, and the number of whole intervals in the clip.
    """
    intervals = np.diff(inside)
    whole = np.flatnonzero(_whole(intervals))
    if len(whole) == 0:
        return None
    usual = usual_interval(r_waves_s, heart_rate)
    off = np.abs(np.diff(r_waves_s) / usual - 1.0)
    first = int(np.searchsorted(r_waves_s, inside[0]))
    own = off[first + whole]
    before = np.where(first + whole > 0, off[np.maximum(first + whole - 1, 0)], 0.0)
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
_STEPS: Final = {
    "FrameTime": "frame_time",
    "CineRate": "cine_rate",
    "RecommendedDisplayFrameRate": "display_rate",
}
"""Elements that give one step for all frames, best first, and how they are called as a source."""


def frame_times(numbers: Mapping[str, Sequence[float]], frames: int) -> NDArray[np.float64] | None:
    """Time of each frame in seconds since the first, or None when nothing trustworthy is given.

    Tried in this order: Frame Time Vector (0018,1065), increments in ms, the first entry counts as 0;
    Frame Time (0018,1063), ms; Cine Rate (0018,0040) and Recommended Display Frame Rate (0008,2144),
    frames per second. An entry that is absent, not finite or outside 4 to 1000 frames per second
    counts as not given.

    Args:
        numbers: the header's numbers by DICOM keyword.
        frames: number of frames.

    Returns:
        Times in seconds, shape (frames,), rising from 0; or None.

    >>> frame_times({"FrameTimeVector": [0, 40, 40]}, 3).tolist()
    [0.0, 0.04, 0.08]
    >>> frame_times({"FrameTime": [0.0], "CineRate": [50]}, 3).tolist()
    [0.0, 0.02, 0.04]
    """
    return _timing(numbers, frames)[0]


def timing_source(numbers: Mapping[str, Sequence[float]], frames: int) -> str:
    """Where `frame_times` takes the times from; empty when it has none.

    Args:
        numbers: the header's numbers by DICOM keyword.
        frames: number of frames.

    Returns:
        ``frame_time_vector``, ``frame_time``, ``cine_rate``, ``display_rate`` or an empty string.

    >>> timing_source({"FrameTime": [0.0], "CineRate": [50]}, 3)
    'cine_rate'
    """
    return _timing(numbers, frames)[1]


def _timing(numbers: Mapping[str, Sequence[float]], frames: int) -> tuple[NDArray[np.float64] | None, str]:
    times = _from_vector(numbers.get("FrameTimeVector", ()), frames)
    if times is not None:
        return times, "frame_time_vector"
    for keyword, source in _STEPS.items():
        for number in numbers.get(keyword, ())[:1]:
            step = number if keyword == "FrameTime" else 1000.0 / number if number > 0 else 0.0
            if _SHORTEST_MS <= step <= _LONGEST_MS:
                return np.arange(frames, dtype=np.float64) * step / 1000.0, source
    return None, ""


def _from_vector(vector: Sequence[float], frames: int) -> NDArray[np.float64] | None:
    if len(vector) != frames or frames < 2:
        return None
    steps = np.asarray(vector, dtype=np.float64)[1:]
    if not np.isfinite(steps).all() or steps.min() < _SHORTEST_MS or steps.max() > _LONGEST_MS:
        return None
    return np.concatenate([[0.0], np.cumsum(steps)]) / 1000.0


def heart_rate(numbers: Mapping[str, Sequence[float]]) -> float | None:
    """Heart rate in beats per minute, or None; 0 and values no living heart has mean it is absent.

    >>> heart_rate({"HeartRate": [0]}), heart_rate({"HeartRate": [72]})
    (None, 72.0)
    """
    rates = [float(rate) for rate in numbers.get("HeartRate", ())[:1] if 25 <= rate <= 250]
    return rates[0] if rates else None


def tagged_r_waves(
    numbers: Mapping[str, Sequence[float]], times: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """R-wave times in seconds since the first frame, from tags; empty when there are none to trust.

    R Wave Time Vector (0018,6060), ms since the first frame, comes before R Wave Pointer (0028,6040),
    frame numbers counted from 1, unless only the pointer makes a plausible interval.

    Args:
        numbers: the header's numbers by DICOM keyword.
        times: frame times in seconds, or None.

    >>> tagged_r_waves({"RWaveTimeVector": [120, 920]}, None).tolist()
    [0.12, 0.92]
    """
    vector = np.asarray(numbers.get("RWaveTimeVector", ()), dtype=np.float64) / 1000.0
    pointer = np.asarray(numbers.get("RWavePointer", ()), dtype=np.float64) - 1.0
    pointed = np.empty(0)
    if times is not None and _rising(pointer) and pointer.min() >= 0 and pointer.max() < len(times):
        pointed = times[pointer.astype(np.int64)]
    if _rising(vector) and (plausible(vector) or not plausible(pointed)):
        return vector
    return pointed


def _rising(values: NDArray[np.float64]) -> bool:
    return len(values) > 0 and bool(np.isfinite(values).all()) and bool((np.diff(values) > 0).all())
