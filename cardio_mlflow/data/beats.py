"""Intervals between R waves: which are plausible, which is usual, and which is the most typical."""

from __future__ import annotations

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


def usual_interval(r_waves_s: Array, heart_rate: float | None = None) -> float:
    """Median of the plausible intervals, in seconds; the heart rate's own interval counts as one more.

    Args:
        r_waves_s: R-wave times in seconds, rising, with at least one plausible interval.
        heart_rate: beats per minute from the header, or None. It decides between two unlike intervals.
    """
    intervals = np.diff(r_waves_s)
    intervals = intervals[_whole(intervals)]
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
