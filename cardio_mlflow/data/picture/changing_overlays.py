"""Overlays that change from frame to frame: a sweeping or scrolling trace, a cursor that moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.picture.lines import Rule, find_strokes, footprint, stroke_luma

Image = NDArray[np.uint8]

_LAG: Final = 3
"""Frames between the pictures in which the motion is looked for: a third of a pixel a frame is seen."""
_FASTEST: Final = 75
"""Largest shift over the lag, pixels."""
_SLOWEST: Final = 3
_NOVEL: Final = 45
_LEAST_VOTES: Final = 12
_LEAST_STEP: Final = 2.0
"""Between compared frames the overlay moves at least so many pixels, so that tissue does not follow it."""


def horizontal_speed(windows: Sequence[Sequence[Image]]) -> float | None:
    """Speed of a scrolling trace or of a cursor, pixels a frame to the right; None when nothing moves so.

    Thin bright pixels that are new in a frame are compared with those that are new three frames later
    and three more: of all horizontal shifts, that of a rigid overlay brings far more of them together
    than any other.

    Args:
        windows: runs of neighbouring frames, at least 7 each, uint8, rows × columns.
    """
    shifts = [shift for window in windows if (shift := _shift(window)) is not None]
    if len(shifts) < max(1, min(2, len(windows))):
        return None
    middle = float(np.median(shifts))
    agreeing = [shift for shift in shifts if abs(shift - middle) <= 2]
    return float(np.mean(agreeing)) / _LAG if 2 * len(agreeing) > len(windows) else None


def _shift(window: Sequence[Image]) -> int | None:
    """Shift over the lag that most new pixels share, in the middle of a window."""
    start = (len(window) - 2 * _LAG - 1) // 2
    one, two, three = (window[start + k * _LAG] for k in range(3))
    first = _thin(one) & (cv2.subtract(one, two) >= _NOVEL)
    second = _thin(two) & (cv2.subtract(two, one) >= _NOVEL) & (cv2.subtract(two, three) >= _NOVEL)
    third = cv2.dilate((_thin(three) & (cv2.subtract(three, two) >= _NOVEL)).view(np.uint8), np.ones((1, 5)))
    rows, columns = np.nonzero(second)
    margin = _FASTEST + 3
    before = np.pad(cv2.dilate(first.view(np.uint8), np.ones((1, 3))), ((0, 0), (margin, margin)))
    after = np.pad(third, ((0, 0), (margin, margin)))
    shifts = np.array([s for s in range(-_FASTEST, _FASTEST + 1) if abs(s) >= _SLOWEST])
    votes = np.array(
        [
            np.count_nonzero(before[rows, columns + margin - s] & after[rows, columns + margin + s])
            for s in shifts
        ]
    )
    best = int(np.argmax(votes))
    other = votes[np.abs(shifts - shifts[best]) > 4]
    if votes[best] < _LEAST_VOTES or votes[best] < 3 * np.percentile(other, 95):
        return None
    return int(shifts[best])


def _thin(frame: Image) -> NDArray[np.bool_]:
    return np.asarray(cv2.morphologyEx(frame, cv2.MORPH_TOPHAT, np.ones((7, 7), np.uint8)) >= _NOVEL)


def compared_frames(index: int, count: int, speed: float) -> list[int]:
    """The four frames that `moving_minimum` compares a frame with, of a clip of ``count`` frames."""
    step = max(1, round(_LEAST_STEP / abs(speed)))
    offsets = sorted((k * step for k in range(-4, 5) if k), key=abs)
    return sorted([index + offset for offset in offsets if 0 <= index + offset < count][:4])


def moving_minimum(index: int, frames: Mapping[int, Image], others: Sequence[int], speed: float) -> Image:
    """Smallest luma along the motion: bright only where something bright moves at this speed.

    Args:
        index: the frame.
        frames: this frame and the others by index, uint8, rows × columns.
        others: indices of the frames to compare with.
        speed: pixels a frame to the right.
    """
    lowest = frames[index]
    columns = lowest.shape[1]
    for other in others:
        shift = round(speed * (other - index))
        wide = cv2.dilate(frames[other], np.ones((1, 3 if abs(other - index) <= 2 else 5), np.uint8))
        moved = np.zeros_like(wide)
        if abs(shift) < columns:
            source = slice(max(0, shift), min(columns, columns + shift))
            target = slice(max(0, -shift), min(columns, columns - shift))
            moved[:, target] = wide[:, source]
        lowest = cv2.min(lowest, moved)
    return np.asarray(lowest)


def temporal_opening(index: int, frames: Mapping[int, Image], count: int, length: int) -> Image:
    """What stays in a frame for ``length`` frames: the brightest of the darkest lumas of all runs with it.

    Runs that reach beyond the first or last frame count as if the clip went on, so what appears just
    before the end is kept.

    Args:
        index: the frame.
        frames: it and its ``length - 1`` neighbours on either side by index, uint8, rows × columns.
        count: frames of the clip.
        length: of a run, in frames.
    """
    before, after = [frames[index]], [frames[index]]
    for step in range(1, length):
        for darkest, other in ((before, index - step), (after, index + step)):
            inside = 0 <= other < count
            darkest.append(cv2.min(darkest[-1], frames[other]) if inside else darkest[-1])
    highest = cv2.min(before[0], after[-1])
    for earlier in range(1, length):
        highest = cv2.max(highest, cv2.min(before[earlier], after[length - 1 - earlier]))
    return np.asarray(highest)


_PROBES: Final = 3
_WINDOW: Final = 12
"""Frames of a probe, in which most tissue moves by more than a stroke's width."""
_RUN: Final = 8
"""Frames that a part of a sweeping trace stays for at least."""
_MARGIN: Final = 12
_WIDTH: Final = 9
_TRACE: Final = Rule(height=70.0, luma=110.0, unrest=0.35, extent=24, bulk=10.0)
_MOVING: Final = Rule(height=65.0, luma=110.0, extent=24, steepness=0.6, bulk=10.0)
_LONG: Final = 0.4
"""Share of the sector's width that a stroke must have which does not cross the sector's border."""
_LEAST_LENGTH: Final = 60
"""Of all strokes of a probe together, pixels; two probes or more must have so many."""


class PickableFrames(Protocol):
    """Frames of a clip, any of which can be asked for."""

    def pick(self, indices: Sequence[int], /) -> Iterator[Image]:
        """Luma of the frames of rising 0-based indices, uint8, rows × columns."""


def probe_windows(frames: PickableFrames, chosen: Sequence[int], count: int) -> list[list[Image]]:
    """A few runs of neighbouring frames spread over the chosen ones, of a clip of ``count`` frames."""
    length = min(_WINDOW, count)
    first, last = min(chosen[0], count - length), min(chosen[-1], count - length)
    starts = sorted({int(start) for start in np.linspace(first, last, _PROBES)})
    return [list(frames.pick(range(start, start + length))) for start in starts]


def sweeping_overlays(
    frames: PickableFrames, windows: Sequence[Sequence[Image]], sector_mask: Image, steady: Image,
    chosen: Sequence[int], count: int,
) -> dict[int, Image]:  # fmt: skip
    """Pixels drawn on by what stays for a while and is then wiped.

    Args:
        frames: the clip.
        windows: as `probe_windows` gives them.
        sector_mask: the sector, uint8 0 or 255, rows × columns.
        steady: what is drawn on in all frames already, uint8 0 or 255.
        chosen: rising 0-based indices.
        count: frames of the clip.

    Returns:
        Masks of the chosen frames, uint8 0 or 255, rows × columns; empty where nothing changes so.
    """
    found = [_lasting(window, sector_mask, steady) for window in windows]
    strip = _strip([core for _, core in found], sector_mask)
    if strip is None:
        return {}
    luma = float(np.median([stroke_luma(low, core) for low, core in found if core.any()]))
    around = {i: range(max(0, i - _RUN + 1), min(count, i + _RUN)) for i in chosen}
    return {
        i: _traced(temporal_opening(i, near, count, _RUN), strip, luma, sector_mask)
        for i, near in _neighbours(frames, around, strip)
    }


def moving_overlays(
    frames: PickableFrames, windows: Sequence[Sequence[Image]], sector_mask: Image, chosen: Sequence[int],
    count: int,
) -> dict[int, Image]:  # fmt: skip
    """Pixels drawn on by what moves evenly to one side; arguments and result as `sweeping_overlays`."""
    speed = horizontal_speed([w for w in windows if len(w) >= 7])
    if speed is None:
        return {}
    found = [_travelling(window, sector_mask, speed) for window in windows]
    strip = _strip([core for _, core in found], sector_mask)
    if strip is None:
        return {}
    luma = float(np.median([stroke_luma(low, core) for low, core in found if core.any()]))
    compared = {i: compared_frames(i, count, speed) for i in chosen}
    around = {i: sorted({i, *others}) for i, others in compared.items()}
    masks = {}
    for i, near in _neighbours(frames, around, (strip[0], slice(None))):
        lowest = moving_minimum(i, near, compared[i], speed)
        masks[i] = _traced(lowest[:, strip[1]], strip, luma, sector_mask)
    return masks


def _neighbours(
    frames: PickableFrames, around: Mapping[int, Sequence[int]], part: tuple[slice, slice]
) -> Iterator[tuple[int, Mapping[int, Image]]]:
    """Frames one by one, each with a part of the frames around it, and only those held in memory.

    Args:
        frames: the clip.
        around: the frames wanted, rising, and what each is given with, rising, itself among them.
        part: rows and columns of which the part consists.
    """
    needed = sorted({number for numbers in around.values() for number in numbers})
    coming = zip(needed, frames.pick(needed), strict=True)
    held: dict[int, Image] = {}
    for index, numbers in around.items():
        held = {number: held[number] for number in held if number >= numbers[0]}
        while numbers[-1] not in held:
            number, frame = next(coming)
            held[number] = frame[part].copy()
        yield index, held


def _lasting(window: Sequence[Image], sector_mask: Image, steady: Image) -> tuple[Image, Image]:
    """What stays over a window, and the cores of the strokes in it that are not there all the time."""
    lowest, highest = np.min(window, axis=0), np.max(window, axis=0)
    core = _seeds(lowest, cv2.subtract(highest, lowest), _TRACE, sector_mask)
    known = cv2.dilate(steady, np.ones((5, 5), np.uint8))
    return lowest, np.asarray(cv2.bitwise_and(core, cv2.bitwise_not(known)))


def _travelling(window: Sequence[Image], sector_mask: Image, speed: float) -> tuple[Image, Image]:
    middle = len(window) // 2
    lowest = moving_minimum(
        middle, dict(enumerate(window)), compared_frames(middle, len(window), speed), speed
    )
    return lowest, _seeds(lowest, None, _MOVING, sector_mask)


def _seeds(lowest: Image, unrest: Image | None, rule: Rule, sector_mask: Image) -> Image:
    """Strokes that cross the sector's border, with what is outside, or that are nearly as wide as it."""
    wide = replace(rule, extent=round(_LONG * np.count_nonzero(sector_mask.any(axis=0))))
    core = find_strokes(lowest, unrest, wide, width=_WIDTH, outside=_outside(sector_mask), crossing=rule)
    _, labels = cv2.connectedComponents(core, connectivity=8)
    reaching = np.unique(labels[(core != 0) & (sector_mask != 0)])
    return np.where(np.isin(labels, reaching) & (core != 0), np.uint8(255), np.uint8(0))


def _outside(sector_mask: Image) -> Image:
    return np.asarray(cv2.bitwise_not(cv2.dilate(sector_mask, np.ones((7, 7), np.uint8))))


def _strip(cores: Sequence[Image], sector_mask: Image) -> tuple[slice, slice] | None:
    """The part of the picture around what of all cores is inside, over the sector's whole width.

    None when there is hardly any.
    """
    long = [core for core in cores if _length(core) >= _LEAST_LENGTH]
    together = cv2.bitwise_and(np.max(cores, axis=0), sector_mask)
    if len(long) < min(2, len(cores)) or not together.any():
        return None
    rows, columns = np.flatnonzero(together.any(axis=1)), np.flatnonzero(sector_mask.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - _MARGIN), int(rows[-1]) + _MARGIN + 1),
        slice(max(0, int(columns[0]) - _MARGIN), int(columns[-1]) + _MARGIN + 1),
    )


def _length(core: Image) -> int:
    """Rows or columns that hold a part of the cores, whichever are more."""
    return int(max(np.count_nonzero(core.any(axis=0)), np.count_nonzero(core.any(axis=1))))


def _traced(lowest: Image, strip: tuple[slice, slice], luma: float, sector_mask: Image) -> Image:
    """Mask of one frame from what stays around it, in the strip."""
    sure = Rule(height=0.45 * luma, luma=0.75 * luma, extent=14, steepness=0.7, bulk=10.0)
    crossing = Rule(height=0.35 * luma, luma=0.6 * luma, extent=6, steepness=0.55, bulk=12.0)
    outside = _outside(sector_mask)[strip]
    core = find_strokes(lowest, None, sure, max(35.0, 0.3 * luma), _WIDTH, outside, crossing)
    mask = np.zeros_like(sector_mask)
    if core.any():
        mask[strip] = footprint(core)
    return np.asarray(cv2.bitwise_and(mask, sector_mask))
