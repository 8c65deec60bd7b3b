"""What scanners draw over the tissue: found over all frames or frame by frame, painted over, words left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.files.frames import LumaFrames
from cardio_mlflow.data.picture.changing import ChangingOverlays
from cardio_mlflow.data.picture.sector import ClipStatistics
from cardio_mlflow.data.picture.strokes import (
    Rule,
    find_strokes,
    footprint,
    hidden_dashes,
    straight_strokes,
    stroke_luma,
    tissue_free,
)

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Overlays:
    """What is drawn over the sector of a clip, in masks of uint8 0 or 255, rows × columns."""

    steady: Image  # in every frame
    more: Mapping[int, Image]  # by 0-based index of frames in which there is more than that: all of it

    def mask(self, index: int) -> Image:
        """Pixels inside the sector that are drawn on in one of the chosen frames: uint8 0 or 255."""
        return self.more.get(index, self.steady)


def find_overlays(
    frames: LumaFrames, statistics: ClipStatistics, sector_mask: Image, chosen: Sequence[int]
) -> Overlays:
    """Find thin overlays inside the sector.

    Depth ticks, focus marks, calipers, dotted lines, words and still traces are thin, bright, steep and
    there in all frames. A sweeping trace is so for a run of frames. A scrolling trace and a moving cursor
    are so when the frames are shifted along their motion.

    Statistics are over all frames of the clip; the sector's mask is uint8 0 or 255, rows × columns. Masks
    will be asked for of the chosen frames only: rising 0-based indices.
    """
    steady = steady_overlays(statistics, sector_mask)
    search = ChangingOverlays(frames, len(statistics.thumbnails), chosen, sector_mask)
    rising = rising_overlays(zip(chosen, frames.pick(chosen), strict=True), statistics, sector_mask)
    more: dict[int, Image] = {}
    for found in (search.sweeping(steady), search.moving(), rising):
        for index, mask in found.items():
            more[index] = more.get(index, steady) | mask
    return Overlays(steady, more)


_CERTAIN: Final = Rule()
_STEADY_CROSSING: Final = Rule(height=60.0, luma=80.0, extent=24, steepness=0.5, bulk=10.0, beyond=0.3)
"""A trace in its strip below the sector, whose peaks reach into it."""
_TICK: Final = Rule(height=140.0, luma=150.0, unrest=0.3, flicker=0.3, size=1, most=12, steepness=0.9)
"""A depth mark on the sector's edge, in a small picture a single pixel."""
_AT_EDGE: Final = 9
_LINE_SHARE: Final = 0.25  # length of a straight line as a share of the sector's height
_BORDER: Final = 7


def steady_overlays(statistics: ClipStatistics, sector_mask: Image) -> Image:
    """All pixels inside the sector that are drawn on in every frame; arguments as `find_overlays`."""
    lowest, unrest = statistics.minimum, statistics.spread
    shortest = max(50, round(_LINE_SHARE * np.count_nonzero(sector_mask.any(axis=1))))
    straight = straight_strokes(cv2.bitwise_and(lowest, sector_mask), unrest, shortest)
    line, outside = footprint(straight), tissue_free(sector_mask)
    strokes = find_strokes(lowest, unrest, _CERTAIN, outside=outside, crossing=_STEADY_CROSSING, apart=line)
    core = cv2.bitwise_and(strokes | straight, sector_mask)
    edge = cv2.subtract(sector_mask, cv2.erode(sector_mask, np.ones((_AT_EDGE, _AT_EDGE), np.uint8)))
    core |= cv2.bitwise_and(find_strokes(lowest, unrest, _TICK), edge)
    if core.any():
        for rule, level in _alike(stroke_luma(lowest, core)):
            core |= cv2.bitwise_and(find_strokes(lowest, unrest, rule, level, apart=line), sector_mask)
    return np.asarray(cv2.bitwise_and(footprint(core | hidden_dashes(core, sector_mask)), sector_mask))


def _alike(luma: float) -> tuple[tuple[Rule, float], ...]:
    """What else is taken for drawn where certain strokes of a luma stand, and from which level.

    Small pieces may be less clear; in bright tissue only what stands out far above it is looked at.
    """
    small = Rule(height=62.0, luma=0.6 * luma, unrest=0.5, flicker=0.4, most=60)
    far_above = Rule(height=0.62 * luma, luma=0.6 * luma, flicker=0.3, size=5, most=150, steepness=0.88)
    return (small, 45.0), (far_above, 0.5 * luma)


_BAND: Final = 25  # pixels around the sector in which a stroke that rises into it must be seen
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

    Frames come with their 0-based index, as luma, and so do the masks; frames without such strokes are left
    out. Everything else as for `find_overlays`.
    """
    outside = tissue_free(sector_mask)
    below = _lively_pixels(statistics, outside, sector_mask)
    if below is None:
        return {}
    found = {}
    for index, frame in frames:
        mask = np.zeros_like(sector_mask)
        for columns in _steep_columns(frame, below):
            mask[:, columns] |= _rising(frame[:, columns], outside[:, columns], sector_mask[:, columns])
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
    band = cv2.bitwise_and(cv2.dilate(sector_mask, np.ones((2 * _BAND + 1, 1), np.uint8)), outside)
    rows = np.flatnonzero(sector_mask.any(axis=1))
    band[: (rows[0] + rows[-1]) // 2] = 0
    changing = (statistics.maximum >= _BRIGHT) & (statistics.spread >= _CHANGING)
    lively = ((band != 0) & changing).view(np.uint8)
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


_REACH: Final = 5
"""Distance in pixels from which values are taken; wider holes are filled from their border inward."""


def inpaint(frame: Image, mask: Image, sector_mask: Image) -> Image:
    """Replace masked pixels by the distance-weighted mean of the tissue around them.

    Only the masked pixels are computed, so the cost goes with their number. The cube of the distance
    leaves most of the say to the two or three nearest pixels: the speckle goes on, it is not smoothed.

    Args:
        frame: luma, uint8, rows × columns; left as it is.
        mask: pixels to replace, not 0.
        sector_mask: pixels that show tissue, not 0. Values are taken from these only.

    Returns:
        A copy, black where no tissue is near; the frame itself where the mask is empty.
    """
    found = cv2.findNonZero(mask)  # a tenth of the time of np.argwhere
    if found is None:
        return frame
    around = np.mgrid[-_REACH : _REACH + 1, -_REACH : _REACH + 1].reshape(2, -1).T
    distance = np.hypot(*around.T)
    near = (distance > 0) & (distance <= _REACH)
    inverse_cubes = (distance[near] ** -3).astype(np.float32)
    holes = found.reshape(-1, 2)[:, ::-1].astype(np.intp) + _REACH  # row and column in the padded frame
    padded = np.pad(frame, _REACH).astype(np.float32)
    known = np.pad((sector_mask != 0) & (mask == 0), _REACH)
    while len(holes):
        at = holes[:, None, :] + around[near]
        weights = known[at[..., 0], at[..., 1]] * inverse_cubes
        total = weights.sum(axis=1)
        ready = total > 0
        if not ready.any():
            break
        values = (weights * padded[at[..., 0], at[..., 1]]).sum(axis=1)[ready] / total[ready]
        filled = holes[ready]
        padded[filled[:, 0], filled[:, 1]] = values
        known[filled[:, 0], filled[:, 1]] = True
        holes = holes[~ready]
    padded[holes[:, 0], holes[:, 1]] = 0.0
    inner = padded[_REACH:-_REACH, _REACH:-_REACH]
    return np.asarray(np.where(mask != 0, np.rint(inner).astype(np.uint8), frame))


_INK: Final = Rule(height=62.0, unrest=0.45)
_SEPARATION: Final = 0.4
"""Share of the text's luma above the surroundings at which neighbouring letters come apart."""
_SHORTEST, _TALLEST = 6, 36
_WIDEST_PIECE: Final = 5.0
"""Width of a piece over its height: letters that touch are one piece. An l or a 1 is much narrower."""
_LETTER: Final = 0.95  # width of a letter and its gap over its height
_SINGLE: Final = 1.3  # widest single letter; of a row at least one piece is no wider, as hardly any wall is
_UNEVEN: Final = 0.2
_LOWER: Final = 0.55  # height of a lower-case letter over that of a capital
_SPACING: Final = 1.1
_LETTERS: Final = 3


def text_in_sector(statistics: ClipStatistics, sector_mask: Image) -> bool:
    """Whether at least three pieces of still strokes of one height stand in a row inside the sector.

    They stand like letters; nothing is read. Arguments as `find_overlays`.
    """
    unrest = statistics.spread
    ink = cv2.bitwise_and(find_strokes(statistics.minimum, unrest, _INK), sector_mask)
    if not ink.any():
        return False
    level = _SEPARATION * stroke_luma(statistics.minimum, ink)
    apart = find_strokes(statistics.minimum, unrest, Rule(height=level, unrest=0.45), level)
    _, _, facts, _ = cv2.connectedComponentsWithStats(cv2.bitwise_and(apart, ink), connectivity=8)
    return stands_in_a_row(facts[1:, :4].astype(np.int64))


def stands_in_a_row(boxes: NDArray[np.int64]) -> bool:
    """Whether two boxes or more hold three letters of a word: on one line, close together, of like heights.

    Boxes are left, top, width and height of the pieces in pixels, N × 4.
    """
    height, width = boxes[:, 3], boxes[:, 2]
    letters = boxes[(height >= _SHORTEST) & (height <= _TALLEST) & (width <= _WIDEST_PIECE * height)]
    letters = letters[np.argsort(letters[:, 0], kind="stable")]
    return any(_letters_after(letters, first) >= _LETTERS for first in range(len(letters) - 1))


def _letters_after(letters: NDArray[np.int64], first: int) -> int:
    """Number of letters in the row that begins with a box, 1 when it is none; sorted from the left."""
    left, top, width, height = (int(v) for v in letters[first])
    line, end, row = top + height, left + width, [(width, height)]
    for x, y, w, h in letters[first + 1 :].tolist():
        even = abs(y + h - line) <= max(1.0, _UNEVEN * height) and _LOWER <= h / height <= 1 / _LOWER
        if even and 0 <= x - end + 1 <= _SPACING * height:
            end = x + w
            row.append((w, h))
    single = any(w <= _SINGLE * h for w, h in row)
    return sum(max(1, round(w / (_LETTER * h))) for w, h in row) if single and len(row) > 1 else 1
