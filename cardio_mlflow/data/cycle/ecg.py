"""The ECG of a clip, from the file and from the screen, and its R waves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from scipy.ndimage import median_filter, uniform_filter1d
from scipy.signal import butter, find_peaks, sosfiltfilt

from cardio_mlflow.data.cycle.drawn_ecg import Style, read_traces
from cardio_mlflow.data.cycle.rhythm import whole_beats
from cardio_mlflow.data.files.header import ClipHeader
from cardio_mlflow.data.picture.sector import Array, ClipStatistics, Flags, Image, Numbers

# Tuned on the hard clips atrial_fibrillation, ectopic_beat, inverted_qrs, tall_t, biphasic_qrs,
# noisy_baseline; see benchmarks.tuned_constants.
_LEAST_FRAMES: Final = 8  # of a clip whose screen is read
_AROUND_S: Final = 10.0  # a waveform farther from the clip tells nothing about it
_MOST_SAMPLES: Final = 4000  # kept for the pictures; R waves are found in all
_UNEVEN: Final = 0.25  # SD of the intervals' logarithms: that of fibrillation, where nothing is misread

# QRS complexes, after Pan & Tompkins.
_RATE: Final = 400.0  # Hz; fine enough that a parabola through the samples of a peak is good to 1 ms
_BAND: Final = (8.0, 25.0)  # Hz; QRS complexes pass, T waves and drift do not
_INTEGRATION_S: Final = 0.10
_REFRACTORY_S: Final = 0.24  # 250 beats per minute
_T_WAVE_S: Final = 0.36  # a T wave comes within this time of its QRS complex (Pan & Tompkins),
_T_WAVE_SLOPE: Final = 0.5  # less than this times as steep
_LONGEST_RR: Final = 1.66  # times the median: a beat is missed in a longer interval (Pan & Tompkins)
_LEAST_SHARE: Final = 0.35  # of the usual complex, in slope
_MISSED_SHARE: Final = 0.2  # of the usual complex, where a beat seems missing
_LEAST_CONTRAST: Final = (3.0, 8.0)  # to the record's median and lower quartile; noise reaches 2.8 and 4.1
_SHORTEST_S, _LONGEST_S = 0.3, 3600.0  # record
# The R wave of a complex.
_BASELINE_S: Final = 0.6  # of the median that is the baseline
_NEAR_S: Final = 0.07  # from the middle of its complex
_CUT_OFF_S: Final = 0.008  # a summit so near to an end of the record need not be the complex's own
_SUMMIT: Final = 0.8  # of the peak: the middle of what is above is steadier than the highest sample


@dataclass(frozen=True)
class ClipEcg:
    """The ECG of a clip; arrays are empty where there is none, times are seconds since the first frame."""

    style: Style | Literal[""] = ""  # of a drawn ECG
    waveform_r_waves_s: Array = field(default_factory=lambda: np.empty(0))  # of the file
    trace_r_waves_s: Array = field(default_factory=lambda: np.empty(0))  # of the screen
    times_s: Array = field(default_factory=lambda: np.empty(0))
    level: Array = field(default_factory=lambda: np.empty(0))  # the file's voltage, else the screen's; 0 to 1


def read_ecg(
    header: ClipHeader,
    times_s: Array,
    frames: Iterable[Image],
    sector_mask: Image,
    statistics: ClipStatistics,
    period_s: float | None = None,
) -> ClipEcg:
    """Read the ECG in the file and the one on the screen."""
    drawn = read_drawn_ecg(frames, sector_mask, statistics, times_s, period_s) or ClipEcg()
    times, voltage = header.waveform or (np.empty(0), np.empty(0))
    near = (times >= -_AROUND_S) & (times <= float(times_s[-1]) + _AROUND_S)
    if np.count_nonzero(near) < 2:
        return drawn
    r_waves = find_r_waves(times[near], voltage[near])
    times, level = _thin(times[near], voltage[near])
    return replace(drawn, waveform_r_waves_s=r_waves, times_s=times, level=level)


def read_drawn_ecg(
    frames: Iterable[Image], sector_mask: Image, statistics: ClipStatistics, times_s: Array,
    period_s: float | None = None,
) -> ClipEcg | None:  # fmt: skip
    """Read the ECG on the screen: the first of `read_traces` that has QRS complexes; None without one.

    Of two readings the better one counts, also by the picture's own period, if that is clear.
    """
    if len(times_s) < _LEAST_FRAMES:
        return None
    for style, readings in read_traces(frames, sector_mask, statistics, times_s):
        found = [(find_r_waves(*reading), reading) for reading in readings]
        r_waves, (times, heights) = min(found, key=lambda one: _rank(one[0], period_s))
        if len(r_waves):
            return ClipEcg(style, np.empty(0), r_waves, *_thin(times, heights))
    return None


def _rank(r_waves_s: Array, period_s: float | None) -> tuple[bool, float, int]:
    """What makes a reading worse: intervals that the picture contradicts, uneven intervals, few R waves.

    A false or a lost R wave makes intervals uneven. Of readings no more uneven than fibrillation the one with
    more R waves has lost fewer.
    """
    intervals = np.diff(r_waves_s)
    if len(intervals) == 0:
        return False, _UNEVEN, -len(r_waves_s)
    denied = period_s is not None and not whole_beats(intervals / period_s)
    return denied, max(_UNEVEN, float(np.log(intervals).std())), -len(r_waves_s)


def _thin(times_s: Array, voltage: Array) -> tuple[Array, Array]:
    step = -(-len(times_s) // _MOST_SAMPLES)
    times_s, voltage = times_s[::step], voltage[::step]
    span = float(np.ptp(voltage))
    return times_s, (voltage - voltage.min()) / (span if span > 0 else 1.0)


def find_r_waves(times_s: Array, voltage: Array) -> Array:
    """Times in seconds of the R waves of an ECG of any unit and any (uneven) sampling; empty without any.

    QRS complexes are the peaks of the energy of the band-passed derivative, as in Pan & Tompkins, IEEE Trans
    Biomed Eng 1985;32:230-236, with a threshold relative to the record's usual complex, their rule against T
    waves and their search back for missed beats. An R wave is the largest distance from the baseline within
    its complex, upward or downward alike in all beats.
    """
    finite = np.isfinite(times_s) & np.isfinite(voltage)
    times_s, voltage = times_s[finite], voltage[finite]
    if len(times_s) < 8 or not _SHORTEST_S <= times_s[-1] - times_s[0] <= _LONGEST_S:
        return np.empty(0)
    count = int((times_s[-1] - times_s[0]) * _RATE) + 1
    grid = times_s[0] + np.arange(count) / _RATE
    signal = np.interp(grid, times_s, voltage)
    spread = float(np.ptp(signal))
    if not np.isfinite(spread) or spread <= 0:
        return np.empty(0)
    signal = (signal - signal.min()) / spread
    complexes = _complexes(_steepness(signal))
    return np.asarray(grid[0] + _summits(signal, complexes) / _RATE)


def _steepness(signal: Array) -> Array:
    """Root of the band-passed derivative's energy over a tenth of a second."""
    padding = int(_RATE)
    padded = np.pad(signal, padding, mode="edge")
    band = sosfiltfilt(butter(2, _BAND, "bandpass", fs=_RATE, output="sos"), padded)
    energy = uniform_filter1d(np.gradient(band) ** 2, int(_INTEGRATION_S * _RATE))
    return np.sqrt(np.maximum(energy[padding:-padding], 0.0))


def _complexes(steepness: Array) -> Numbers:
    """Sample numbers of the QRS complexes."""
    peaks, _ = find_peaks(np.pad(steepness, 1), distance=int(_REFRACTORY_S * _RATE))
    peaks = peaks - 1
    heights = steepness[peaks]
    usual = _usual_height(peaks, heights, len(steepness))
    least = np.max(np.quantile(steepness, (0.5, 0.25)) * _LEAST_CONTRAST)
    if len(peaks) == 0 or usual <= 0 or usual < least:
        return np.empty(0, np.int64)
    chosen = heights >= _LEAST_SHARE * usual
    _search_back(peaks, heights, chosen, usual)
    _drop_t_waves(peaks, heights, chosen)
    return np.asarray(peaks[chosen], dtype=np.int64)


def _usual_height(peaks: Numbers, heights: Array, samples: int) -> float:
    """Median of the highest peaks of stretches of 1.5 s: the record's usual complex."""
    stretches = max(1, round(samples / (1.5 * _RATE)))
    stretch = peaks * stretches // samples
    highest = [heights[stretch == i].max() for i in range(stretches) if (stretch == i).any()]
    return float(np.median(highest)) if highest else 0.0


def _search_back(peaks: Numbers, heights: Array, chosen: Flags, usual: float) -> None:
    """Take the highest lesser peak within an interval in which a beat seems missing."""
    found = np.flatnonzero(chosen)
    if len(found) < 3:
        return
    longest = _LONGEST_RR * np.median(np.diff(peaks[found]))
    for first, last in pairwise(found.tolist()):
        between = np.arange(first + 1, last)
        away = np.minimum(peaks[between] - peaks[first], peaks[last] - peaks[between])
        between = between[away > _T_WAVE_S * _RATE]
        if peaks[last] - peaks[first] > longest and len(between):
            best = between[np.argmax(heights[between])]
            chosen[best] = heights[best] >= _MISSED_SHARE * usual


def _drop_t_waves(peaks: Numbers, heights: Array, chosen: Flags) -> None:
    """Leave out a peak that comes soon after a much steeper one."""
    last = int(np.argmax(chosen))
    for i in np.flatnonzero(chosen)[1:].tolist():
        if peaks[i] - peaks[last] < _T_WAVE_S * _RATE and heights[i] < _T_WAVE_SLOPE * heights[last]:
            chosen[i] = False
        else:
            last = i


def _summits(signal: Array, complexes: Numbers) -> Array:
    """Sample number, with fraction, of each complex's R wave; without those that an end cuts off."""
    width = int(_BASELINE_S * _RATE) | 1
    away = signal - median_filter(signal, width, mode="reflect")
    near = int(_NEAR_S * _RATE)
    windows = [away[max(0, at - near) : at + near + 1] for at in complexes]
    if len(windows) == 0:
        return np.empty(0)
    heights = np.array([[w.max(), -w.min()] for w in windows])
    upward = bool(np.median(heights[:, 0]) >= 0.8 * np.median(heights[:, 1]))
    found = []
    for at, (up, down) in zip(complexes, heights, strict=True):
        turned = (up > 0.5 * down) if upward else (down <= 0.5 * up)
        summit = _summit(away if turned else -away, max(0, at - near), at + near + 1)
        if summit is not None and abs(summit - at) <= near:  # a top that reaches far beyond is no R wave's
            found.append(summit)
    return np.array(found)


def _summit(away: Array, start: int, stop: int) -> float | None:
    """Middle of the top of the highest peak in a window; None when an end of the record cuts it off."""
    top = start + int(np.argmax(away[start:stop]))
    if min(top, len(away) - 1 - top) < _CUT_OFF_S * _RATE:
        return None
    level = _SUMMIT * away[top]
    below = np.flatnonzero(away < level)
    before, after = below[below < top], below[below > top]
    if len(before) == 0 or len(after) == 0:
        return None
    first, last = int(before[-1]), int(after[0])
    rise = first + (level - away[first]) / (away[first + 1] - away[first])
    fall = last - (level - away[last]) / (away[last - 1] - away[last])
    return float(0.5 * (rise + fall))
