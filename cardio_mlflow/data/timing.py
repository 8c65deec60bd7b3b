"""When each frame of a clip was taken, from whatever timing its header holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.beats import plausible

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
