"""A trace that scrolls left as a whole, its newest point at the right end of the strip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

import cv2
import numpy as np
from scipy import fft

from cardio_mlflow.data.cycle.strip import Curve, Strip, Trace, read_curve
from cardio_mlflow.data.picture.sector import Array, Floats, Image, Numbers

Pictures = Callable[[Numbers], Floats]

# Tuned on the hard clips ecg_*_scroll, tissue_*_scroll; see benchmarks.tuned_constants.
# The search for a speed.
_SLOWEST_S, _FASTEST_S = 12.0, 0.8  # for the picture's width
_STEPS: Final = (
    (np.exp(np.arange(0.0, np.log(_SLOWEST_S / _FASTEST_S), 0.01)), 0.06),
    (np.linspace(0.94, 1.06, 61), 0.15),
    (np.linspace(0.98, 1.02, 81), 0.4),
)  # speeds relative to the slowest and then to the last choice, and the shift of the pairs, of the width
_LEAST_COMMON: Final = 0.2  # of the width; the likeness of a pair with less in common is not made up for

# Where no tissue is shown.
_LEAST_CHANGE: Final = 30  # gray levels over the darkest moment of a pixel
_LEAST_USED: Final = 0.25  # of the frames change in a column, and of the columns are such
_MOST_PAIRS: Final = 240
_LEAST_LIKENESS: Final = 0.5

# Over tissue.
_NEW_S: Final = 0.06  # a trace moves by more than its width in this time, most tissue does not
_POOLED: Final = 4  # rows
_THIN: Final = 9  # columns; the slopes of a trace are thinner
_BRIGHTEST: Final = 100  # gray levels; what is brighter counts no more
_MOST_TISSUE_PAIRS: Final = 16
_LEAST_TISSUE_LIKENESS: Final = 0.2  # tissue reaches 0.14, traces of all speeds and colours 0.3 and more
_MOST_FRAMES: Final = 80  # laid over each other
_LEAST_SEEN: Final = 30  # gray levels over the darkest moment of the pixel
_LEAST_FOLLOWED: Final = 0.8  # of all columns in all frames; 0.98 and more of all traces tried


def find_speed(pictures: Pictures, times_s: Array, width: int, most_pairs: int, least: float) -> float | None:
    """The speed to the left in columns per second; None where frames shifted by it are not alike.

    Pairs of frames are compared, first with small shifts, which no other speed of the same picture fits, then
    with shifts of up to 40 % of the width, which give the speed to a few thousandths.

    Args:
        pictures: from frame numbers to what moves there, float32, numbers × rows × columns, mean 0.
        times_s: time of each frame, seconds.
        width: columns of the whole screen.
        most_pairs: that are compared in each step.
        least: the least likeness, 0 to 1.
    """
    speed = width / _SLOWEST_S
    for factors, reach in _STEPS:
        speeds = speed * factors
        early, late = _pairs(times_s, reach * width / float(np.median(speeds)), most_pairs)
        scores = _scores(pictures(early), pictures(late), times_s[late] - times_s[early], speeds)
        best = int(np.argmax(scores))
        if scores[best] < least:
            return None
        speed = float(speeds[best])
    return speed


def _scores(early: Floats, late: Floats, apart_s: Array, speeds: Array) -> Array:
    """Mean likeness of pairs (each pairs × rows × columns) at each speed."""
    columns = early.shape[2]
    size = fft.next_fast_len(2 * columns, real=True)
    product = (np.conj(fft.rfft(late, size)) * fft.rfft(early, size)).sum(axis=1)
    likeness = fft.irfft(product, size)[:, :columns].astype(np.float64)
    energies = [np.einsum("prc,prc->p", part, part, dtype=np.float64) for part in (early, late)]
    common = 1.0 - np.minimum(np.arange(columns) / columns, 1.0 - _LEAST_COMMON)
    likeness /= (np.sqrt(energies[0] * energies[1]) + 1e-9)[:, None] * common
    shifts = speeds[:, None] * apart_s
    low = np.minimum(shifts.astype(np.int64), columns - 2)
    part = np.clip(shifts - low, 0.0, 1.0)
    pair = np.arange(len(apart_s))
    scores = (1 - part) * likeness[pair, low] + part * likeness[pair, low + 1]
    return np.asarray(scores.mean(axis=1))


def _pairs(times_s: Array, apart: float, most: int) -> tuple[Numbers, Numbers]:
    """At most so many pairs of frames about ``apart`` seconds apart, evenly over the clip."""
    frames = len(times_s)
    apart = min(apart, 0.6 * float(times_s[-1] - times_s[0]))
    late = np.maximum(np.searchsorted(times_s, times_s + apart), np.arange(frames) + 1)
    early = np.flatnonzero(late < frames)
    early = early[:: max(1, -(-len(early) // most))]
    return early, late[early].astype(np.int64)


def read_scroll(strip: Strip) -> Trace | None:
    """Read a scrolling trace where no tissue is shown; None when the strip does not scroll.

    Its height by column gives the speed. The mean of all frames, each shifted by how far the trace has moved,
    is read: moving tissue behind the trace and words before it fade away.
    """
    lines, filled = _lines(strip)
    used = np.flatnonzero(filled > _LEAST_USED)
    if len(used) < _LEAST_USED * strip.width:
        return None
    first, last = int(used[0]), int(used[-1])
    lines = lines[:, None, first : last + 1]
    speed = find_speed(lambda frames: lines[frames], strip.times_s, strip.width, _MOST_PAIRS, _LEAST_LIKENESS)
    if speed is None:
        return None
    newest = _newest_column(strip, last)
    shifts = np.rint(speed * strip.times_s).astype(np.int64)
    mean = _shifted_mean(strip.frames[:, :, first : newest + 1], shifts)
    curve = read_curve(mean, 8, mean.shape[1] - 8)
    return None if curve is None else ((curve.columns + first - newest) / speed, curve.heights)


def _lines(strip: Strip) -> tuple[Floats, Array]:
    """Height of what moves, frames × columns, 0 in the mean, and the share of frames that have it."""
    rows = np.arange(strip.frames.shape[1], dtype=np.float32)
    weight = np.stack([cv2.bitwise_and(cv2.subtract(f, strip.dark), strip.visible) for f in strip.frames])
    weight[weight < _LEAST_CHANGE] = 0
    mass = weight.sum(axis=1, dtype=np.float32)
    lines = np.einsum("trc,r->tc", weight, rows, dtype=np.float32) / np.maximum(mass, 1.0)
    present = mass > 0
    middle = np.median(lines[present]) if present.any() else 0.0
    return np.where(present, lines - middle, 0.0).astype(np.float32), present.mean(axis=0)


def _newest_column(strip: Strip, last: int) -> int:
    """The column of the newest point: the last that changes as much as its neighbours do."""
    change = cv2.subtract(strip.frames.max(axis=0), strip.dark)
    spread = cv2.bitwise_and(change, strip.visible).max(axis=0)
    usual = float(np.median(spread[max(0, last - 40) : last - 5]))
    return int(np.flatnonzero(spread[: last + 3] > 0.5 * usual)[-1])


def _shifted_mean(frames: Sequence[Image] | Image, shifts: Numbers) -> Image:
    """Mean of frames, each moved right by its shift."""
    rows, columns = frames[0].shape
    total = np.zeros((rows, columns + int(shifts[-1])), np.float32)
    count = np.zeros(total.shape[1], np.float32)
    for frame, shift in zip(frames, shifts.tolist(), strict=True):
        total[:, shift : shift + columns] += frame
        count[shift : shift + columns] += 1
    return np.rint(total / np.maximum(count, 1)).astype(np.uint8)


def read_tissue_scroll(strip: Strip) -> Trace | None:
    """Read a trace that scrolls over tissue; None without one.

    At its speed what is thin and new in a frame is found again in others. In the mean of the frames shifted
    along it, less what is always bright, only the trace is left. It ends in the last column in which the
    frames show it where the mean has it. The mean is taken again of its own columns: beside a narrow trace
    its ends fade.
    """
    pictures, times = _thin_and_new(strip), strip.times_s
    speed = find_speed(pictures, times, strip.width, _MOST_TISSUE_PAIRS, _LEAST_TISSUE_LIKENESS)
    if speed is None:
        return None
    used = np.unique(np.linspace(0, len(times) - 1, min(len(times), _MOST_FRAMES)).astype(np.int64))
    bright = [cv2.subtract(strip.frames[i], strip.dark) for i in used]
    shifts = np.rint(speed * times[used]).astype(np.int64)
    mean = _shifted_mean(bright, shifts)
    start, stop = _bright_part(mean)
    curve = read_curve(mean, start + 8, stop - 8)
    ends = None if curve is None else _ends(bright, shifts, curve)
    if ends is None:
        return None
    first, last = ends
    mean = _shifted_mean([frame[:, first : last + 1] for frame in bright], shifts)  # less what is beside it
    curve = read_curve(mean, 8, mean.shape[1] - 8)
    return None if curve is None else ((curve.columns + first - last) / speed, curve.heights)


def _bright_part(mean: Image) -> tuple[int, int]:
    """First and last column of a mean of frames that is about as bright as most."""
    brightest = mean.max(axis=0)
    usual = np.median(brightest[brightest >= min(_LEAST_SEEN, int(brightest.max()))])
    used = np.flatnonzero(brightest >= 0.5 * usual)
    return int(used[0]), int(used[-1])


def _thin_and_new(strip: Strip) -> Pictures:
    """What is thin in a frame, and not there a moment before or after; as `find_speed` asks for it."""
    lag = max(1, round(_NEW_S / float(np.median(np.diff(strip.times_s)))))

    @cache
    def thin(frame: int) -> Image:
        bright = cv2.subtract(strip.frames[frame], strip.dark)
        rows = len(bright) // _POOLED * _POOLED
        pooled = bright[:rows].reshape(-1, _POOLED, strip.width).max(axis=1)
        wide = cv2.morphologyEx(pooled, cv2.MORPH_OPEN, np.ones((1, _THIN), np.uint8))
        return np.asarray(cv2.subtract(pooled, wide))

    def new(frame: int) -> Image:
        picture = thin(frame)
        for other in (frame - lag, frame + lag):
            if 0 <= other < len(strip.frames):
                picture = cv2.subtract(picture, cv2.dilate(thin(other), np.ones((3, 3), np.uint8)))
        return np.minimum(picture, _BRIGHTEST)

    def pictures(frames: Numbers) -> Floats:
        found = np.stack([new(frame) for frame in frames.tolist()]).astype(np.float32)
        return np.asarray(found - found.mean(axis=2, keepdims=True))

    return pictures


def _ends(bright: list[Image], shifts: Numbers, curve: Curve) -> tuple[int, int] | None:
    """First and last column of the screen in which the frames show the curve; None when they do not."""
    rows, columns = bright[0].shape
    path = np.clip(rows - 1 - np.rint(curve.heights).astype(np.int64), 0, rows - 1)
    light, seen, count = np.zeros((3, columns))
    for frame, shift in zip(bright, shifts.tolist(), strict=True):
        at = np.arange(columns) + shift - curve.first
        on = np.flatnonzero((at >= 0) & (at < len(path)))
        shown = cv2.dilate(frame, np.ones((3, 1), np.uint8))[path[at[on]], on]
        light[on] += shown
        seen[on] += shown >= _LEAST_SEEN
        count[on] += 1
    level = light / np.maximum(count, 1)
    usual = np.median(level[columns // 4 : columns - columns // 4])
    followed = np.flatnonzero(level > 0.5 * usual)
    if len(followed) == 0:
        return None
    first, last = int(followed[0]), int(followed[-1])
    share = seen[first : last + 1].sum() / count[first : last + 1].sum()
    return (first, last) if share >= _LEAST_FOLLOWED else None
