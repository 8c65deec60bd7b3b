"""A head that redraws a sweeping ECG, or a cursor over a still one: its path, and the trace that it gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from cardio_mlflow.data.cycle.strip import Strip, Trace, read_curve, read_outside
from cardio_mlflow.data.picture.sector import Array, Flags, Image, Numbers

# Tuned on the hard clips ecg_*_sweep, ecg_*_cursor, ecg_*_marker, tissue_*_sweep; see
# benchmarks.tuned_constants.
# The path: a Hough vote over speed and start.
_SLOWEST_S, _FASTEST_S = 20.0, 0.5  # for the picture's width
_SPEED_STEP: Final = 0.012  # relative; half a sweep blurs by a few columns only
_BIN: Final = 4.0  # columns
_LEAST_RISES: Final = 12
_LEAST_WRAP, _MOST_WRAP = 0.25, 1.1  # lap, of the picture's width
_LEAST_WRAP_VOTES: Final = 6

# What rises: gray levels from one frame to the next.
_LEAST_CHANGE: Final = 30
_LEAST_CHANGE_OVER_TISSUE: Final = 90  # that lasts for
_STEADY_FRAMES: Final = 5
_BUSY_SHARE: Final = 0.25  # of the frames; a column that changes in more is no trace: digits, tissue

# Whether a path explains it.
_LEAST_PRECISION: Final = 0.5  # share of the rises on the path
_LEAST_HITS: Final = 0.75  # share of the frames with a rise on it where it can be seen, or else
_LEAST_HITS_OVER_TISSUE: Final = 0.5
_LEAST_SEEN: Final = 6  # frames, or columns

# Reading the trace.
_MARKER: Final = 16  # columns; a cursor or a mark at the head is narrower
_MARGIN: Final = 3  # columns behind the head that may not be drawn to the end
_ERASED_SHARE: Final = 0.2  # of a lap, ahead of the head; scanners erase 3 to 15 %
_REACH: Final = 0.16  # of the picture's height: how far from a short cursor its trace may reach,
_GROWTHS: Final = 4  # searched in so many steps


@dataclass(frozen=True)
class Rises:
    """Columns that became brighter from one frame to the next."""

    columns: Array
    frames: Numbers  # the later one
    times_s: Array  # of it
    votes: Array  # rows that rose

    def part(self, own: Flags) -> Rises:
        """Some of them."""
        return Rises(self.columns[own], self.frames[own], self.times_s[own], self.votes[own])


@dataclass(frozen=True)
class SweepPath:
    """A point that moves right at constant speed. Columns are counted on over all laps."""

    speed: float  # columns per second
    start: float  # column at time 0
    lap: float | None  # columns after which it starts over at the left; None without a new start

    def at(self, times_s: Array) -> Array:
        """Column at a time."""
        return self.start + self.speed * times_s

    def off(self, rises: Rises) -> Array:
        """Columns from the path to rises, by the nearest lap."""
        off = rises.columns - self.start - self.speed * rises.times_s
        return off if self.lap is None else off - self.lap * np.rint(off / self.lap)

    def seconds(self, columns: Array) -> Array:
        """Seconds since the first frame at which it passes columns."""
        return (columns - self.start) / self.speed


def find_path(rises: Rises, width: int) -> SweepPath | None:
    """The path that explains the rises best, in a picture of so many columns; None when there are too few.

    In a clip that shows a new start, what came before and after lies on parallel paths, a lap apart.
    """
    if len(rises.columns) < _LEAST_RISES:
        return None
    speeds = np.exp(np.arange(np.log(width / _SLOWEST_S), np.log(width / _FASTEST_S), _SPEED_STEP))
    speed = float(speeds[np.argmax([_votes(rises, speed)[0].max() for speed in speeds])])
    votes, first = _votes(rises, speed)
    return _with_lap(SweepPath(speed, first + (int(np.argmax(votes)) + 0.5) * _BIN, None), rises, width)


def _votes(rises: Rises, speed: float) -> tuple[Array, float]:
    """Votes by the column at time 0, in bins smoothed over three; the first bin's edge."""
    starts = rises.columns - speed * rises.times_s
    first = float(np.floor(starts.min()))
    votes = np.bincount(((starts - first) / _BIN).astype(np.int64), weights=rises.votes)
    return np.convolve(votes, (0.5, 1.0, 0.5))[1:-1], first


def _with_lap(path: SweepPath, rises: Rises, width: int) -> SweepPath:
    """The path with its lap, from the rises in the frames that it does not reach itself."""
    own, times = np.abs(path.off(rises)) <= 3 * _BIN, rises.times_s
    begin, end = np.quantile(times[own], (0.02, 0.98))
    others = rises.part(((times < begin) | (times > end)) & ~own)
    if len(np.unique(others.times_s)) < 3:
        return path
    votes, first = _votes(others, path.speed)
    apart = np.abs(first + (np.arange(len(votes)) + 0.5) * _BIN - path.start)
    votes = np.where((apart >= _LEAST_WRAP * width) & (apart <= _MOST_WRAP * width), votes, 0.0)
    at = int(np.argmax(votes))
    return path if votes[at] < _LEAST_WRAP_VOTES else replace(path, lap=float(apart[at]))


def refine_path(path: SweepPath, rises: Rises, tolerance: float) -> SweepPath:
    """Least squares over the rises within so many columns of the path."""
    near = rises.part(np.abs(path.off(rises)) <= tolerance)
    columns, times = near.columns, near.times_s
    if len(times) < _LEAST_RISES or np.ptp(times) <= 0:
        return path
    off = columns - path.start - path.speed * times
    laps = np.zeros_like(off) if path.lap is None else np.rint(-off / path.lap)
    terms = [np.ones_like(times), times, -laps][: 3 if laps.any() and np.ptp(laps) > 0 else 2]
    root = np.sqrt(near.votes)
    fit, *_ = np.linalg.lstsq(np.stack(terms, axis=1) * root[:, None], columns * root, rcond=None)
    if fit[1] <= 0:
        return path
    return SweepPath(float(fit[1]), float(fit[0]), float(fit[2]) if len(fit) == 3 else path.lap)


@dataclass(frozen=True)
class SweepHead(SweepPath):
    """The head of a sweep, or a cursor over a still trace."""

    redraws: bool  # whether it draws the trace
    first: float  # column that it passed
    last: float

    def on_screen(self, numbers: Numbers, columns: int) -> Numbers:
        """Columns of the screen (0 to ``columns`` - 1) from columns of the path."""
        at = numbers.astype(np.float64)
        if self.lap is not None:
            at = self.first + np.mod(at - self.first, self.lap)
        return np.clip(np.rint(at), 0, columns - 1).astype(np.int64)


def find_sweep_head(strip: Strip) -> SweepHead | None:
    """The head in a strip; None when what moves there is not one."""
    rises = _rises(strip)
    head = find_path(rises, strip.width)
    if head is None:
        return None
    step = head.speed * float(np.median(np.diff(strip.times_s)))
    head = refine_path(head, rises, step + 6)
    own = np.abs(head.off(rises)) <= step + 4
    seen_columns = strip.visible.mean(axis=0) > 128
    if not _explains(head, rises, own, strip.times_s, seen_columns):
        return None
    first, last = np.quantile(rises.columns[own], (0.01, 0.99)).tolist()
    seen = own & seen_columns[rises.columns.astype(np.int64)]
    redraws = _redraws(strip, head, rises.part(seen))
    if redraws is None:
        return None
    if redraws:  # a column appears in the first frame after the head passed, half a frame later on average
        times = strip.times_s
        rises = replace(rises, times_s=0.5 * (times[rises.frames] + times[rises.frames - 1]))
    for tolerance in (step / 2 + 5, step / 2 + 3):
        head = refine_path(head, rises, tolerance)
    return SweepHead(head.speed, head.start, head.lap, redraws, first, last)


def _rises(strip: Strip) -> Rises:
    """Columns in which rows became brighter; over tissue much brighter, and for some frames."""
    crop = strip.frames
    brighter = _count_rises(crop, strip.visible, _LEAST_CHANGE)
    hidden = cv2.bitwise_not(strip.visible)
    if hidden.any():
        steady = crop.copy()
        for k in range(1, min(_STEADY_FRAMES, len(crop) - 1)):
            np.minimum(steady[:-k], crop[k:], out=steady[:-k])
        brighter += _count_rises(steady, hidden, _LEAST_CHANGE_OVER_TISSUE)
    busy = np.count_nonzero(brighter, axis=0) > max(2.0, _BUSY_SHARE * len(brighter))
    frames, columns = np.nonzero(np.where(busy, 0, brighter))
    votes = np.minimum(brighter[frames, columns], 3).astype(np.float64)
    return Rises(columns.astype(np.float64), frames.astype(np.int64), strip.times_s[frames], votes)


def _count_rises(crop: Image, where: Image, least: int) -> Numbers:
    counts = np.zeros((len(crop), crop.shape[2]), np.int64)
    for i in range(1, len(crop)):
        rise = cv2.compare(cv2.bitwise_and(cv2.subtract(crop[i], crop[i - 1]), where), least, cv2.CMP_GT)
        counts[i] = cv2.reduce(rise, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0] // 255
    return counts


def _explains(head: SweepPath, rises: Rises, own: Flags, times_s: Array, seen_columns: Flags) -> bool:
    """Whether most rises lie on the path, and most frames have one where it can be seen."""
    if not own.any() or rises.votes[own].sum() < _LEAST_PRECISION * rises.votes.sum():
        return False
    left, right = rises.columns[own].min(), rises.columns[own].max()
    at = head.at(times_s)
    if head.lap is not None:
        at = left + np.mod(at - left, head.lap)
    within = (at >= left) & (at <= right)
    within[0] = False
    seen = within & seen_columns[np.clip(at, 0, len(seen_columns) - 1).astype(np.int64)]
    hit = np.isin(np.arange(len(times_s)), rises.frames[own])
    if np.count_nonzero(seen) >= _LEAST_SEEN:
        return bool(hit[seen].mean() >= _LEAST_HITS)
    return bool(np.count_nonzero(within) >= _LEAST_SEEN and hit[within].mean() >= _LEAST_HITS_OVER_TISSUE)


def _redraws(strip: Strip, head: SweepPath, rises: Rises) -> bool | None:
    """Whether what the head draws stays behind it, as a sweep's line does; None where that is not seen."""
    if len(rises.columns) < _LEAST_SEEN:
        return True  # over tissue, where all rises are of lines that stay
    later = np.searchsorted(strip.times_s, strip.times_s + _MARKER / head.speed)
    stays: list[Flags] = []
    for frame in np.unique(rises.frames).tolist():
        if later[frame] >= len(later):
            break
        columns = rises.columns[rises.frames == frame].astype(np.int64)
        shown = strip.frames[[frame - 1, frame, later[frame]]][:, :, columns].astype(np.int64)
        risen = (shown[1:] - shown[0] > _LEAST_CHANGE).all(axis=0) & (strip.visible[:, columns] > 0)
        stays.append(risen.any(axis=0))
    seen = np.concatenate([*stays, np.empty(0, bool)])
    return None if len(seen) < _LEAST_SEEN else bool(np.count_nonzero(seen) > 0.5 * len(seen))


def read_sweep(strip: Strip, head: SweepHead) -> tuple[Trace, ...]:
    """The readings of a redrawn trace, likeliest first; two where its line may lead into the tissue.

    The strip is unrolled over all laps. Each column is the darkest of all frames that show it: moving tissue
    behind the trace fades away.
    """
    ends = head.at(strip.times_s)
    lap = strip.width if head.lap is None else int(head.lap)
    begin = int(np.floor(min(ends[0], head.first))) - lap + 1
    begin = max(begin, 0) if head.lap is None else begin
    last = int(np.floor(ends[-1])) - _MARGIN
    unrolled = np.full((strip.frames.shape[1], max(1, last - begin + 1)), 255, np.uint8)
    for frame, end in zip(strip.frames, ends, strict=True):
        start = begin if head.lap is None else int(np.ceil(end - (1 - _ERASED_SHARE) * head.lap))
        numbers = np.arange(max(begin, start), int(np.floor(end)) - _MARGIN + 1)
        shown = frame[:, head.on_screen(numbers, strip.width)]
        unrolled[:, numbers - begin] = np.minimum(unrolled[:, numbers - begin], shown)
    ahead = _mark_offset(strip, unrolled, begin, head)
    seen = strip.visible[:, head.on_screen(np.arange(begin, begin + unrolled.shape[1]), strip.width)]
    start, stop = int(head.start) + 2 - begin, last - begin
    curve = read_curve(unrolled, start, stop)
    outside = None if curve is None else read_outside(unrolled, start, stop, seen, curve)
    found = (reading for reading in (outside, curve) if reading is not None)
    return tuple((head.seconds(reading.columns + begin - ahead), reading.heights) for reading in found)


def read_still(strip: Strip, cursor: SweepHead) -> Trace | None:
    """A still trace under a cursor, which may be shorter than the trace is high."""
    ahead = _mark_offset(strip, strip.dark, 0, cursor)
    more = round(_REACH * len(strip.minimum))
    for grown in range(0, more + 1, max(1, more // _GROWTHS)):
        curve = read_curve(strip.lowest(grown), int(cursor.first) + 1, int(cursor.last))
        if curve is not None and not curve.cut_off:
            end = curve.first + len(curve.heights) - 1
            first, last = np.rint(cursor.at(strip.times_s[[0, -1]]) + ahead).astype(int).tolist()
            first = first if first - curve.first <= _MARKER else curve.first  # fewer are beside the trace
            curve = curve.part(first, last if end - last <= _MARKER else end)
            return cursor.seconds(curve.columns - ahead), curve.heights
    return None


def _mark_offset(strip: Strip, picture: Image, begin: int, head: SweepHead) -> float:
    """Columns from the path, its leading edge, to the middle of a cursor or a dot at the head; 0 without one.

    The mark is what is brighter near the head than in the same columns without it (``picture``, from column
    ``begin`` on); where what surrounds it hides its ends, it counts as none.
    """
    reach = np.arange(-_MARKER, _MARKER + 1)
    excess = np.zeros(len(reach))
    for frame, end in zip(strip.frames, head.at(strip.times_s), strict=True):
        numbers = round(end) + reach
        if numbers[0] < begin or numbers[-1] >= begin + picture.shape[1]:
            continue
        at = head.on_screen(numbers, strip.width)
        more = cv2.bitwise_and(cv2.subtract(frame[:, at], picture[:, numbers - begin]), strip.visible[:, at])
        excess += np.count_nonzero(more > _LEAST_CHANGE, axis=0)
    top = int(np.argmax(excess))
    ends = np.flatnonzero(excess < 0.25 * excess[top])
    before, after = ends[ends < top], ends[ends > top]
    if excess[top] < 0.5 * len(strip.frames) or len(before) == 0 or len(after) == 0:
        return 0.0
    blob = slice(int(before[-1]) + 1, int(after[0]))
    return float(excess[blob] @ reach[blob] / excess[blob].sum())
