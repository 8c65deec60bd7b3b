"""What scanners draw over the tissue: found over all frames or in single ones, painted over; words left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from cardio_mlflow.data.files.frames import LumaFrames
from cardio_mlflow.data.picture.moving_overlays import ChangingOverlays
from cardio_mlflow.data.picture.overlay_lines import (
    LineRule,
    beyond_sector,
    find_lines,
    footprint,
    hidden_dashes,
    line_luma,
    straight_lines,
)
from cardio_mlflow.data.picture.sector import ClipStatistics, Image, Numbers

# Tuned on the hard clips ticks_inside, focus_inside, words_inside, calipers, moving_line, small_screen; see
# benchmarks.tuned_constants.
# What is steady: strokes that are certain; a trace in its strip below the sector whose peaks reach into it; a
# depth mark on the sector's edge, in a small picture a single pixel.
_CERTAIN: Final = LineRule()
_STEADY_CROSSING: Final = LineRule(height=60.0, luma=80.0, extent=24, steepness=0.5, bulk=10.0, beyond=0.3)
_TICK: Final = LineRule(height=140.0, luma=150.0, unrest=0.3, flicker=0.3, size=1, most=12, steepness=0.9)
_AT_EDGE: Final = 9  # pixels within which a depth mark stands at the edge
_LINE_SHARE: Final = 0.25  # length of a straight line, of the sector's height

# What rises into the sector from below, in single frames: pixels, gray levels.
_BAND: Final = 25  # pixels below the sector in which it must be seen,
_LEAST_ROWS: Final = 8  # so many rows of it (fewer on a screen of less than 64 times as many)
_ROWS_PER_ROW: Final = 64
_BRIGHT: Final = 80  # luma at some moment
_CHANGING: Final = 60  # range over time
_WIDEST: Final = 13  # columns of a stroke
_THICKEST: Final = 11  # pixels per row of its part in the sector
_CONTRAST: Final = 0.4  # over its surroundings, of the luma that it has outside, and
_LUMA: Final = 0.65  # of that luma itself, that it has inside
_LEAST_LINES: Final = 5  # frames with a single upright line, a cursor's, and
_MOST_LINES: Final = 0.6  # share of them in which it is equally high
_BORDER: Final = 7  # rows below the sector's upper border

_REACH: Final = 5  # pixels from which painted values are taken; wider holes are filled from the border inward

# Letters: shares of their height.
_INK: Final = LineRule(height=62.0, unrest=0.45)
_SEPARATION: Final = 0.4  # of the text's luma above the surroundings at which neighbouring letters come apart
_SHORTEST, _TALLEST = 6, 36  # pixels
_WIDEST_PIECE: Final = 5.0  # letters that touch are one piece; an l or a 1 is much narrower
_LETTER: Final = 0.95  # width of a letter and its gap
_SINGLE: Final = 1.3  # widest single letter; of a row at least one piece is no wider, as hardly any wall is
_UNEVEN: Final = 0.2  # between the base lines of two letters
_LOWER: Final = 0.55  # height of a lower-case letter over that of a capital
_SPACING: Final = 1.1  # from letter to letter
_LETTERS: Final = 3  # that make a word


@dataclass(frozen=True)
class Overlays:
    """What is drawn over the sector of a clip: masks of uint8 0 or 255, rows × columns."""

    steady: Image  # in every frame
    more: Mapping[int, Image]  # by 0-based index of a frame with more than that: all of it

    def mask(self, index: int) -> Image:
        """Pixels of the sector that are drawn on in one of the chosen frames."""
        return self.more.get(index, self.steady)


def find_overlays(
    frames: LumaFrames, statistics: ClipStatistics, sector_mask: Image, chosen: Sequence[int]
) -> Overlays:
    """Find thin overlays inside the sector, in the chosen frames (rising 0-based indices).

    Depth ticks, focus marks, calipers, dotted lines, words and still traces are thin, bright, steep and there
    in all frames; a sweeping trace in a run of frames; a scrolling trace or a moving cursor in all frames
    shifted along its motion.
    """
    steady = steady_overlays(statistics, sector_mask)
    search = ChangingOverlays(frames, len(statistics.thumbnails), chosen, sector_mask)
    rising = rising_overlays(zip(chosen, frames.pick(chosen), strict=True), statistics, sector_mask)
    more: dict[int, Image] = {}
    for found in (search.sweeping(steady), search.moving(), rising):
        for index, mask in found.items():
            more[index] = more.get(index, steady) | mask
    return Overlays(steady, more)


def steady_overlays(statistics: ClipStatistics, sector_mask: Image) -> Image:
    """All pixels of the sector that are drawn on in every frame."""
    lowest, unrest = statistics.minimum, statistics.spread
    shortest = max(50, round(_LINE_SHARE * np.count_nonzero(sector_mask.any(axis=1))))
    straight = straight_lines(cv2.bitwise_and(lowest, sector_mask), unrest, shortest)
    line, outside = footprint(straight), beyond_sector(sector_mask)
    strokes = find_lines(lowest, unrest, _CERTAIN, outside=outside, crossing=_STEADY_CROSSING, apart=line)
    core = cv2.bitwise_and(strokes | straight, sector_mask)
    edge = cv2.subtract(sector_mask, cv2.erode(sector_mask, np.ones((_AT_EDGE, _AT_EDGE), np.uint8)))
    core |= cv2.bitwise_and(find_lines(lowest, unrest, _TICK), edge)
    if core.any():
        for rule, level in _like_rules(line_luma(lowest, core)):
            core |= cv2.bitwise_and(find_lines(lowest, unrest, rule, level, apart=line), sector_mask)
    return np.asarray(cv2.bitwise_and(footprint(core | hidden_dashes(core, sector_mask)), sector_mask))


def _like_rules(luma: float) -> tuple[tuple[LineRule, float], ...]:
    """What else is drawn where certain strokes of a luma stand, and from which level.

    Small pieces may be less clear; in bright tissue only what stands out far above it counts.
    """
    small = LineRule(height=62.0, luma=0.6 * luma, unrest=0.5, flicker=0.4, most=60)
    far_above = LineRule(height=0.62 * luma, luma=0.6 * luma, flicker=0.3, size=5, most=150, steepness=0.88)
    return (small, 45.0), (far_above, 0.5 * luma)


def rising_overlays(
    frames: Iterable[tuple[int, Image]], statistics: ClipStatistics, sector_mask: Image
) -> dict[int, Image]:
    """Pixels of the sector that belong to strokes rising into it from below, by index of their frame."""
    outside = beyond_sector(sector_mask)
    below = _lively_pixels(statistics, outside, sector_mask)
    if below is None:
        return {}
    found = {}
    for index, frame in frames:
        mask = np.zeros_like(sector_mask)
        for columns in _steep_columns(frame, below):
            mask[:, columns] |= _rising_strokes(
                frame[:, columns], outside[:, columns], sector_mask[:, columns]
            )
        if mask.any():
            found[index] = np.asarray(cv2.bitwise_and(mask, sector_mask))
    return _level_tops(found, sector_mask)


def _level_tops(found: dict[int, Image], sector_mask: Image) -> dict[int, Image]:
    """The same with single upright lines, such as a cursor's, as high in every frame as in most."""
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


def _rising_strokes(frame: Image, outside: Image, sector_mask: Image) -> Image:
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


def inpaint(frame: Image, mask: Image, sector_mask: Image) -> Image:
    """Replace masked pixels by the mean of the sector's tissue around them, weighted by distance to the -3.

    That leaves most of the say to the two or three nearest pixels: the speckle goes on, it is not smoothed.

    Returns:
        A copy, black where no tissue is near; the frame itself where the mask is empty.
    """
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        return frame
    rows = slice(max(0, top - _REACH), top + height + _REACH)
    part = (rows, slice(max(0, left - _REACH), left + width + _REACH))
    painted = frame.copy()
    painted[part] = _inpainted(frame[part], mask[part], sector_mask[part])
    return painted


def _inpainted(frame: Image, mask: Image, sector_mask: Image) -> Image:
    around = np.mgrid[-_REACH : _REACH + 1, -_REACH : _REACH + 1].reshape(2, -1).T
    distance = np.hypot(*around.T)
    near = (distance > 0) & (distance <= _REACH)
    inverse_cubes = (distance[near] ** -3).astype(np.float32)
    # Row and column in the padded frame; findNonZero takes a tenth of the time of argwhere.
    holes = cv2.findNonZero(mask).reshape(-1, 2)[:, ::-1].astype(np.intp) + _REACH
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


def text_in_sector(statistics: ClipStatistics, sector_mask: Image) -> bool:
    """Whether still strokes stand in a row inside the sector as letters do; nothing is read."""
    unrest = statistics.spread
    ink = cv2.bitwise_and(find_lines(statistics.minimum, unrest, _INK), sector_mask)
    if not ink.any():
        return False
    level = _SEPARATION * line_luma(statistics.minimum, ink)
    apart = find_lines(statistics.minimum, unrest, LineRule(height=level, unrest=0.45), level)
    _, _, facts, _ = cv2.connectedComponentsWithStats(cv2.bitwise_and(apart, ink), connectivity=8)
    return stands_in_a_row(facts[1:, :4].astype(np.int64))


def stands_in_a_row(boxes: Numbers) -> bool:
    """Whether two boxes or more (N × 4: left, top, width, height) hold three letters of a word.

    They stand on one line, close together, and are of like heights.
    """
    height, width = boxes[:, 3], boxes[:, 2]
    letters = boxes[(height >= _SHORTEST) & (height <= _TALLEST) & (width <= _WIDEST_PIECE * height)]
    letters = letters[np.argsort(letters[:, 0], kind="stable")]
    return any(_letters_after(letters, first) >= _LETTERS for first in range(len(letters) - 1))


def _letters_after(letters: Numbers, first: int) -> int:
    """Number of letters in the row that begins with a box, 1 where it is none; boxes from left to right."""
    left, top, width, height = (int(v) for v in letters[first])
    line, end, row = top + height, left + width, [(width, height)]
    for x, y, w, h in letters[first + 1 :].tolist():
        even = abs(y + h - line) <= max(1.0, _UNEVEN * height) and _LOWER <= h / height <= 1 / _LOWER
        if even and 0 <= x - end + 1 <= _SPACING * height:
            end = x + w
            row.append((w, h))
    single = any(w <= _SINGLE * h for w, h in row)
    return sum(max(1, round(w / (_LETTER * h))) for w, h in row) if single and len(row) > 1 else 1
