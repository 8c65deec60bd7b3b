"""What scanners draw over the tissue: found over time, frame by frame, to be painted over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.picture.changing_overlays import (
    PickableFrames,
    moving_overlays,
    probe_windows,
    sweeping_overlays,
)
from cardio_mlflow.data.picture.lines import footprint, steady_overlays
from cardio_mlflow.data.picture.statistics import ClipStatistics

Image = NDArray[np.uint8]

_BAND: Final = 25
"""Pixels around the sector in which a stroke that rises into it must be seen."""
_BORDER: Final = 7
_BRIGHT: Final = 80
_CHANGING: Final = 60
_WIDEST: Final = 13
_LEAST_ROWS: Final = 8
_ROWS_PER_ROW: Final = 64
_LEAST_LINES: Final = 5
_MOST_LINES: Final = 0.6
_CONTRAST: Final = 0.4
_LUMA: Final = 0.65
"""Of the luma that the stroke has outside: what it has at least inside, and above its surroundings."""
_THICKEST: Final = 11


def rising_overlays(
    frames: Iterable[tuple[int, Image]], statistics: ClipStatistics, sector_mask: Image
) -> dict[int, Image]:
    """Pixels inside the sector that belong to strokes which rise into it from below.

    Args:
        frames: 0-based index and luma (uint8, rows × columns) of the frames to look at.
        statistics: over all frames of the clip.
        sector_mask: the sector, uint8 0 or 255, rows × columns.

    Returns:
        Masks by index, uint8 0 or 255, rows × columns; frames without such strokes are left out.
    """
    outside = cv2.bitwise_not(cv2.dilate(sector_mask, np.ones((_BORDER, _BORDER), np.uint8)))
    below = _lively_pixels(statistics, outside, sector_mask)
    if below is None:
        return {}
    found = {}
    for index, frame in frames:
        mask = np.zeros_like(sector_mask)
        for columns in _steep_columns(frame, below):
            part = _rising(frame[:, columns], outside[:, columns], sector_mask[:, columns])
            mask[:, columns] |= part
        if mask.any():
            found[index] = np.asarray(cv2.bitwise_and(mask, sector_mask))
    return _as_high(found, sector_mask)


def _as_high(found: dict[int, Image], sector_mask: Image) -> dict[int, Image]:
    """Single upright lines reach as high in every frame as in most of them: a cursor's line does."""
    boxes = {index: cv2.boundingRect(mask) for index, mask in found.items()}
    lines = {index: box for index, box in boxes.items() if box[2] <= _WIDEST <= box[3]}
    highest = sector_mask.argmax(axis=0)
    within = [top for left, top, _, _ in lines.values() if top > highest[left] + _BORDER]
    level = int(np.median(within)) if len(within) >= _LEAST_LINES else 0
    if not level or np.mean(np.abs(np.array(within) - level) <= 2) < _MOST_LINES:
        return found
    for index, (left, top, width, _) in lines.items():
        upper = (slice(level, max(level, top)), slice(left, left + width))
        found[index][upper] = sector_mask[upper]
    return found


def _lively_pixels(statistics: ClipStatistics, outside: Image, sector_mask: Image) -> Image | None:
    """Pixels just below the sector where something bright comes and goes; None when there are hardly any."""
    reach = np.ones((2 * _BAND + 1, 1), np.uint8)
    band = cv2.bitwise_and(cv2.dilate(sector_mask, reach), outside)
    rows = np.flatnonzero(sector_mask.any(axis=1))
    band[: (rows[0] + rows[-1]) // 2] = 0
    spread = cv2.subtract(statistics.maximum, statistics.minimum)
    lively = ((band != 0) & (statistics.maximum >= _BRIGHT) & (spread >= _CHANGING)).view(np.uint8)
    # A cursor's line goes on across a trace that stands still.
    lively = cv2.morphologyEx(lively, cv2.MORPH_CLOSE, np.ones((_LEAST_ROWS - 1, 1), np.uint8))
    return np.asarray(lively) if cv2.countNonZero(lively) >= _LEAST_ROWS else None


def _least_rows(rows: int) -> int:
    """Rows that a stroke must show below the sector; a small screen has less room there."""
    return min(_LEAST_ROWS, max(4, rows // _ROWS_PER_ROW))


def _steep_columns(frame: Image, below: Image) -> list[slice]:
    """Groups of columns in which something thin and bright stands upright just below the sector."""
    left, top, width, height = cv2.boundingRect(below)
    window = (slice(top, top + height), slice(left, left + width))
    thin = cv2.threshold(_thinness(frame[window]), _BRIGHT // 2, 255, cv2.THRESH_BINARY)[1] & below[window]
    upright = cv2.morphologyEx(thin, cv2.MORPH_OPEN, np.ones((_least_rows(len(frame)), 1), np.uint8))
    columns = left + np.flatnonzero(upright.any(axis=0))
    groups = np.split(columns, np.flatnonzero(np.diff(columns) > 2 * _WIDEST) + 1)
    return [slice(max(0, int(g[0]) - _WIDEST), int(g[-1]) + _WIDEST + 1) for g in groups if len(g)]


def _rising(frame: Image, outside: Image, sector_mask: Image) -> Image:
    height = _thinness(frame)
    seeds = (outside != 0) & (height >= _BRIGHT // 2) & (frame >= _BRIGHT)
    core = np.zeros_like(frame)
    if not seeds.any():
        return core
    luma = float(np.percentile(frame[seeds], 75))
    least = np.where(outside != 0, _BRIGHT // 2, _CONTRAST * luma)
    thin = ((height >= least) & (frame >= _LUMA * luma)).view(np.uint8)
    _, labels = cv2.connectedComponents(thin, connectivity=8)
    for label in np.unique(labels[(labels != 0) & (sector_mask != 0)]).tolist():
        piece = labels == label
        beyond, inside = piece & (outside != 0), piece & (sector_mask != 0)
        rows = np.count_nonzero(inside.any(axis=1))
        steep = np.count_nonzero(beyond.any(axis=1)) >= _least_rows(len(frame))
        if steep and np.count_nonzero(inside) <= _THICKEST * rows:
            core[piece] = 255
    return footprint(core)


def _thinness(frame: Image) -> Image:
    """How much brighter each pixel is than what lies to the left and right of a thin stroke."""
    kernel = np.ones((1, _WIDEST), np.uint8)
    return np.asarray(cv2.morphologyEx(np.ascontiguousarray(frame), cv2.MORPH_TOPHAT, kernel))


@dataclass(frozen=True)
class Overlays:
    """What is drawn over the sector of a clip.

    Attributes:
        steady: pixels drawn on in every frame, uint8 0 or 255, rows × columns.
        changing: more pixels drawn on in single frames, by 0-based frame index, uint8 0 or 255.
    """

    steady: Image
    changing: Mapping[int, Image] = field(default_factory=dict)

    def mask(self, index: int) -> Image:
        """Pixels inside the sector that are drawn on in one of the chosen frames: uint8 0 or 255."""
        more = self.changing.get(index)
        return self.steady if more is None else np.asarray(cv2.bitwise_or(self.steady, more))


def find_overlays(
    frames: PickableFrames, statistics: ClipStatistics, sector_mask: Image, chosen: Sequence[int]
) -> Overlays:
    """Find thin overlays inside the sector.

    Depth ticks, focus marks, calipers, dotted lines, words and still traces are thin, bright, steep and
    there in all frames. A sweeping trace is so for a run of frames. A scrolling trace and a moving cursor
    are so when the frames are shifted along their motion.

    Args:
        frames: the clip.
        statistics: over all of its frames.
        sector_mask: the sector, uint8 0 or 255, rows × columns.
        chosen: rising 0-based indices of the frames whose masks will be asked for.
    """
    count = len(statistics.thumbnails)
    windows = probe_windows(frames, chosen, count)
    steady = steady_overlays(statistics, sector_mask)
    changing = sweeping_overlays(frames, windows, sector_mask, steady, chosen, count)
    rising = rising_overlays(zip(chosen, frames.pick(chosen), strict=True), statistics, sector_mask)
    for more in (moving_overlays(frames, windows, sector_mask, chosen, count), rising):
        for index, mask in more.items():
            changing[index] = changing[index] | mask if index in changing else mask
    return Overlays(steady, changing)
