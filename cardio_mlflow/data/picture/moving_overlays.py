"""Overlays that change from frame to frame: a sweeping or scrolling trace, a moving cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from itertools import accumulate
from typing import Final

import cv2
import numpy as np

from cardio_mlflow.data.files.frames import LumaFrames
from cardio_mlflow.data.picture.overlay_lines import LineRule, beyond_sector, find_lines, footprint, line_luma
from cardio_mlflow.data.picture.sector import Image

# Tuned on the hard clips tissue_*_sweep, tissue_*_scroll, ecg_*_sweep, moving_line; see
# benchmarks.tuned_constants.
_PROBES: Final = 3  # runs of frames in which the search begins,
_WINDOW: Final = 12  # so many each: most tissue moves by more than a stroke's width in that time
_MARGIN: Final = 12  # pixels around what the probes found
_WIDTH: Final = 9  # pixels; strokes are narrower
_LONG: Final = 0.4  # of the sector's width: strokes that do not cross the sector's border are longer
_LEAST_LENGTH: Final = 60  # pixels of all strokes of a probe together, in two probes or more
_RUN: Final = 8  # frames that a part of a sweeping trace stays for at least
_TRACE: Final = LineRule(height=70.0, luma=110.0, unrest=0.35, extent=24, bulk=10.0)
_MOVING: Final = LineRule(height=65.0, luma=110.0, extent=24, steepness=0.6, bulk=10.0)

# A trace or cursor that moves to one side.
_LAG: Final = 3  # frames between compared pictures: a third of a pixel per frame is seen
_SLOWEST, _FASTEST = 3, 75  # pixels over the lag
_NOVEL: Final = 45  # gray levels that a new pixel is brighter than its surroundings and than before
_LEAST_VOTES: Final = 12  # new pixels that move alike
_LEAST_STEP: Final = 2.0  # pixels between compared frames, so that tissue does not follow


def horizontal_speed(windows: Sequence[Sequence[Image]]) -> float | None:
    """Speed of a scrolling trace or a cursor, pixels per frame to the right; None where nothing moves so.

    Thin bright pixels that are new in a frame are compared with those that are new three and six frames
    later: the shift of a rigid overlay brings far more of them together than any other. Windows are runs of
    at least 7 neighbouring frames.
    """
    shifts = [shift for window in windows if (shift := _shift(window)) is not None]
    if len(shifts) < max(1, min(2, len(windows))):
        return None
    middle = float(np.median(shifts))
    agreeing = [shift for shift in shifts if abs(shift - middle) <= 2]
    return float(np.mean(agreeing)) / _LAG if 2 * len(agreeing) > len(windows) else None


def _shift(window: Sequence[Image]) -> int | None:
    """Shift over the lag, pixels, that most new pixels share in the middle of a window."""
    start = (len(window) - 2 * _LAG - 1) // 2
    one, two, three = (window[start + k * _LAG] for k in range(3))
    first, third = _new_pixels(one, two), _new_pixels(three, two)
    rows, columns = np.nonzero(_new_pixels(two, one) & _new_pixels(two, three))
    margin = _FASTEST + 3
    before, after = (
        np.pad(cv2.dilate(new, np.ones((1, wide))), ((0, 0), (margin, margin)))
        for new, wide in ((first, 3), (third, 5))
    )
    shifts = np.array([s for s in range(-_FASTEST, _FASTEST + 1) if abs(s) >= _SLOWEST])
    both = [before[rows, columns + margin - s] & after[rows, columns + margin + s] for s in shifts]
    votes = np.count_nonzero(both, axis=1)
    best = int(np.argmax(votes))
    other = votes[np.abs(shifts - shifts[best]) > 4]
    if votes[best] < _LEAST_VOTES or votes[best] < 3 * np.percentile(other, 95):
        return None
    return int(shifts[best])


def _new_pixels(frame: Image, other: Image) -> Image:
    """Thin pixels much brighter than in another frame: 0 or 1."""
    thin = cv2.morphologyEx(frame, cv2.MORPH_TOPHAT, np.ones((7, 7), np.uint8)) >= _NOVEL
    return np.asarray(thin & (cv2.subtract(frame, other) >= _NOVEL)).view(np.uint8)


def compared_frames(index: int, count: int, speed: float) -> list[int]:
    """The at most four frames of a clip (``count`` frames) that `moving_minimum` compares a frame with."""
    step = max(1, round(_LEAST_STEP / abs(speed)))
    offsets = sorted((k * step for k in range(-4, 5) if k), key=abs)
    return sorted([index + offset for offset in offsets if 0 <= index + offset < count][:4])


def moving_minimum(index: int, frames: Mapping[int, Image], others: Sequence[int], speed: float) -> Image:
    """Smallest luma along the motion: bright only where something bright moves at this speed."""
    lowest = frames[index]
    for other in others:
        shift = np.array([[1, 0, -round(speed * (other - index))], [0, 1, 0]], np.float64)
        wide = cv2.dilate(frames[other], np.ones((1, 3 if abs(other - index) <= 2 else 5), np.uint8))
        lowest = cv2.min(lowest, cv2.warpAffine(wide, shift, wide.shape[::-1], flags=cv2.INTER_NEAREST))
    return np.asarray(lowest)


def temporal_opening(index: int, frames: Mapping[int, Image], count: int, length: int) -> Image:
    """What stays in a frame for ``length`` frames: the brightest of the darkest lumas of all runs with it.

    The clip (``count`` frames) counts as if its first and last frame went on, so what appears just before the
    end is kept. Frames hold this one and its ``length - 1`` neighbours on either side.
    """
    near = [frames[min(max(0, other), count - 1)] for other in range(index - length + 1, index + length)]
    before = accumulate(reversed(near[:length]), cv2.min)
    after = list(accumulate(near[length - 1 :], cv2.min))
    runs = [cv2.min(earlier, later) for earlier, later in zip(before, reversed(after), strict=True)]
    return np.asarray(reduce(cv2.max, runs))


@dataclass(frozen=True)
class ChangingOverlays:
    """The search for what changes from frame to frame.

    It begins in a few windows: runs of neighbouring frames, spread over the chosen ones. It returns the
    sector's pixels that are drawn on (uint8 0 or 255) by frame; {} where nothing changes so.
    """

    frames: LumaFrames
    count: int  # frames of the clip
    chosen: Sequence[int]  # rising 0-based indices of the frames whose masks are wanted
    sector_mask: Image

    @cached_property
    def _windows(self) -> list[list[Image]]:
        length = min(_WINDOW, self.count)
        first, last = (min(index, self.count - length) for index in (self.chosen[0], self.chosen[-1]))
        starts = sorted({int(start) for start in np.linspace(first, last, _PROBES)})
        return [list(self.frames.pick(range(start, start + length))) for start in starts]

    @cached_property
    def _outside(self) -> Image:
        return beyond_sector(self.sector_mask)

    def sweeping(self, steady: Image) -> dict[int, Image]:
        """A trace that stays for a while and is then wiped, beside what is steady."""
        known = cv2.dilate(steady, np.ones((5, 5), np.uint8))
        probes = []
        for window in self._windows:
            lowest = np.min(window, axis=0)
            core = self._seeds(lowest, cv2.subtract(np.max(window, axis=0), lowest), _TRACE)
            probes.append((lowest, np.where(known == 0, core, np.uint8(0))))
        around = {i: range(max(0, i - _RUN + 1), min(self.count, i + _RUN)) for i in self.chosen}
        return self._followed(probes, around, lambda i, near: temporal_opening(i, near, self.count, _RUN))

    def moving(self) -> dict[int, Image]:
        """A trace or a cursor that moves evenly to one side."""
        speed = horizontal_speed([w for w in self._windows if len(w) >= 7])
        if speed is None:
            return {}
        probes = []
        for window in self._windows:
            middle = len(window) // 2
            others = compared_frames(middle, len(window), speed)
            lowest = moving_minimum(middle, dict(enumerate(window)), others, speed)
            probes.append((lowest, self._seeds(lowest, None, _MOVING)))
        compared = {i: compared_frames(i, self.count, speed) for i in self.chosen}
        around = {i: sorted({i, *others}) for i, others in compared.items()}
        return self._followed(probes, around, lambda i, near: moving_minimum(i, near, compared[i], speed))

    def _seeds(self, lowest: Image, unrest: Image | None, rule: LineRule) -> Image:
        """Strokes that cross the sector's border, their outside too, or that are nearly as wide as it."""
        wide = replace(rule, extent=round(_LONG * np.count_nonzero(self.sector_mask.any(axis=0))))
        core = find_lines(lowest, unrest, wide, width=_WIDTH, outside=self._outside, crossing=rule)
        count, labels = cv2.connectedComponents(core, connectivity=8)
        reaching = np.zeros(count, np.uint8)
        reaching[labels[(core & self.sector_mask) != 0]] = 255
        return np.asarray(reaching[labels] & core)

    def _followed(
        self,
        probes: Sequence[tuple[Image, Image]],
        around: Mapping[int, Sequence[int]],
        lowest_of: Callable[[int, Mapping[int, Image]], Image],
    ) -> dict[int, Image]:
        """Masks of the chosen frames, if enough was found in the probes.

        A probe is what stays the same in a window, and the cores of its strokes. ``around`` are the frames,
        rising, that a chosen one is compared with, itself among them; ``lowest_of`` what stays the same in
        them.
        """
        strip = self._strip([core for _, core in probes])
        if strip is None:
            return {}
        luma = float(np.median([line_luma(low, core) for low, core in probes if core.any()]))
        return {
            i: self._traced(lowest_of(i, near)[:, strip[1]], strip, luma)
            for i, near in self._neighbours(around, strip[0])
        }

    def _strip(self, cores: Sequence[Image]) -> tuple[slice, slice] | None:
        """Rows around the cores' parts in the sector, over its whole width; None if they are hardly any."""
        lengths = [max(np.count_nonzero(core.any(axis=axis)) for axis in (0, 1)) for core in cores]
        long = sum(length >= _LEAST_LENGTH for length in lengths)
        together = cv2.bitwise_and(np.max(cores, axis=0), self.sector_mask)
        if long < min(2, len(cores)) or not together.any():
            return None
        rows, columns = np.flatnonzero(together.any(axis=1)), np.flatnonzero(self.sector_mask.any(axis=0))
        return (
            slice(max(0, int(rows[0]) - _MARGIN), int(rows[-1]) + _MARGIN + 1),
            slice(max(0, int(columns[0]) - _MARGIN), int(columns[-1]) + _MARGIN + 1),
        )

    def _neighbours(
        self, around: Mapping[int, Sequence[int]], rows: slice
    ) -> Iterator[tuple[int, Mapping[int, Image]]]:
        """Each frame with some rows of the frames around it; only those are held in memory."""
        needed = sorted({number for numbers in around.values() for number in numbers})
        coming = zip(needed, self.frames.pick(needed), strict=True)
        held: dict[int, Image] = {}
        for index, numbers in around.items():
            held = {number: held[number] for number in held if number >= numbers[0]}
            while numbers[-1] not in held:
                number, frame = next(coming)
                held[number] = frame[rows].copy()
            yield index, held

    def _traced(self, lowest: Image, strip: tuple[slice, slice], luma: float) -> Image:
        """Mask of one frame, from what stays the same around it in the strip."""
        sure = LineRule(height=0.45 * luma, luma=0.75 * luma, extent=14, steepness=0.7, bulk=10.0)
        crossing = LineRule(height=0.35 * luma, luma=0.6 * luma, extent=6, steepness=0.55, bulk=12.0)
        level, outside = max(35.0, 0.3 * luma), self._outside[strip]
        mask = np.zeros_like(self.sector_mask)
        mask[strip] = footprint(find_lines(lowest, None, sure, level, _WIDTH, outside, crossing))
        return np.asarray(cv2.bitwise_and(mask, self.sector_mask))
