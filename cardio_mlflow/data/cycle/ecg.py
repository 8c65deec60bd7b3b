"""The ECG that comes with a clip, from wherever there is one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.cycle.drawn import read_drawn_ecg
from cardio_mlflow.data.cycle.r_waves import find_r_waves
from cardio_mlflow.data.files.header import ClipHeader
from cardio_mlflow.data.picture.sector import ClipStatistics

Array = NDArray[np.float64]

_MOST_SAMPLES: Final = 4000  # kept for the pictures; R waves are found in all
_AROUND_S: Final = 10.0  # a waveform farther from the clip tells nothing about it


@dataclass(frozen=True)
class ClipEcg:
    """What the ECG of a clip tells; arrays are empty where there is none.

    ``style`` is how a drawn ECG moves (sweep, scroll or cursor); times are seconds since the first frame.
    ``level`` is the voltage at ``times_s``, 0 (lowest) to 1 (highest), the file's before the screen's.
    """

    style: str = ""
    waveform_r_waves_s: Array = field(default_factory=lambda: np.empty(0))
    trace_r_waves_s: Array = field(default_factory=lambda: np.empty(0))
    times_s: Array = field(default_factory=lambda: np.empty(0))
    level: Array = field(default_factory=lambda: np.empty(0))


def read_ecg(
    header: ClipHeader,
    times_s: Array,
    frames: Iterable[NDArray[np.uint8]],
    sector_mask: NDArray[np.uint8],
    statistics: ClipStatistics,
) -> ClipEcg:
    """Read the ECG in the file and the one on the screen; arguments as `read_drawn_ecg` has them."""
    drawn = read_drawn_ecg(frames, sector_mask, statistics, times_s)
    style, trace = ("", np.empty(0)) if drawn is None else (drawn.style, drawn.r_waves_s)
    waveform = _near(header.waveform, float(times_s[-1]))
    if waveform is not None:
        return ClipEcg(style, find_r_waves(*waveform), trace, *_thinned(*waveform))
    if drawn is not None:
        return ClipEcg(style, np.empty(0), trace, *_thinned(drawn.times_s, drawn.voltage))
    return ClipEcg()


def _near(waveform: tuple[Array, Array] | None, end_s: float) -> tuple[Array, Array] | None:
    """The part of a waveform that lies about the clip."""
    if waveform is None:
        return None
    times, voltage = waveform
    near = (times >= -_AROUND_S) & (times <= end_s + _AROUND_S)
    return (times[near], voltage[near]) if np.count_nonzero(near) >= 2 else None


def _thinned(times_s: Array, voltage: Array) -> tuple[Array, Array]:
    step = -(-len(times_s) // _MOST_SAMPLES)
    times_s, voltage = times_s[::step], voltage[::step]
    span = float(np.ptp(voltage))
    return times_s, (voltage - voltage.min()) / (span if span > 0 else 1.0)
