"""A clip's ECG as a line on a page."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.quality import ClipReview

# Sample spacings: a longer hole is a stretch that nobody read, such as the gap that a sweeping trace wipes.
_GAP: Final = 4.0
_SAME_S: Final = 1e-6


def sampled_ecg(review: ClipReview, count: int) -> NDArray[np.uint8]:
    """The ECG at equally spaced times over the clip, (count,): 1 (lowest) to 255, 0 where unknown."""
    times = np.asarray(review.ecg_s, np.float64)
    if len(times) < 2 or review.duration_s <= 0:
        return np.zeros(count, np.uint8)
    wanted = np.linspace(0.0, review.duration_s, count)
    level = 1.0 + 254.0 * np.clip(np.interp(wanted, times, np.asarray(review.ecg, np.float64)), 0.0, 1.0)
    return np.where(_is_read(wanted, times), np.round(level), 0.0).astype(np.uint8)


def _is_read(wanted: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a time is that of a sample, or lies between two that are near each other."""
    before = np.searchsorted(times, wanted + _SAME_S, side="right") - 1
    after = np.searchsorted(times, wanted - _SAME_S, side="left")
    last = len(times) - 1
    gap = times[np.clip(after, 0, last)] - times[np.clip(before, 0, last)]
    near = gap <= _GAP * float(np.median(np.diff(times))) + _SAME_S
    return np.asarray((before >= 0) & (after <= last) & near, np.bool_)
