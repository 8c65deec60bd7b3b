"""The true size of a clip's pixels: by the region tags and by the depth scale drawn beside the sector.

The drawn scale, a mark each centimetre and a larger one each fifth, is read only where nothing is in doubt:
equally spaced marks in a line, along an edge of the sector or upright, from the top to near the bottom, of
which exactly each fifth is larger. What marks mean that are all alike, or of which others are larger, nobody
can tell.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from cardio_mlflow.data.files.regions import ClaimedRegion, RegionKind, scaled
from cardio_mlflow.data.picture.sector import Array, ClipStatistics, Flags, Image, Sector

# Tuned on the hard clips flipped_scale, ticks_inside, and the cohort; see benchmarks.tuned_constants.
_SHALLOWEST_MM: Final = 40.0  # of a transthoracic picture of a heart; a child's is 50 to 80 mm deep
_DEEPEST_MM: Final = 350.0  # cardiac presets end at 300 mm
_HELD: Final = 0.95  # of the sector lies in its region; tags cut its corners, and a fit is a pixel off
_ALIKE: Final = 0.02  # relative, of two regions of one picture
_AGREED: Final = 0.05  # relative, of tags and marks, which are drawn at whole pixels

# Marks: pixels of a screen of 480 rows where it says so, else of this one.
_RAISED: Final = 25  # gray levels over the screen, in every frame
_LARGEST_MARK: Final = 18  # of 480 rows, across and down
_MOST_PIECES: Final = 400  # words and marks of a full screen are 100 to 250
_NEAR_EDGE: Final = 16.0  # of 480 rows, from an edge to a mark along it
_ALIGNED: Final = 1.6  # from a common line
_END: Final = 0.75  # of a mark that are its end
# The scale: steps from mark to mark, shares of its marks.
_LEAST_STEP: Final = 7.0  # pixels
_OFF_STEP: Final = 1.5  # pixels of a mark from its place
_FITS: Final = ((5, 0.3), (10, 0.2), (99, 0.1), (99, 0.0))  # marks from the top, steps that one may be off
_LEAST_MARKS: Final = 8
_LEAST_FOUND: Final = 0.8  # of the marks from the first to the last
_MOSTLY: Final = 0.8  # of what stands in their line are marks, and not such as stand between them
_LEAST_REACH: Final = 0.75  # of the sector's depth
_LATEST_START: Final = 3  # marks from the top that may be hidden
_OFF_TOP: Final = 0.25  # steps from the scale's zero to the sector's top, which scanners round or cut
_MAJOR, _LARGER = 5, 1.3  # each fifth mark has this many times the area of the others
_ONE_STEP: Final = 1.02  # between two scales


@dataclass(frozen=True)
class TrueScale:
    """The size of a clip's pixels."""

    mm_per_pixel: float | None = None  # height of a pixel of the file; None where no source is trusted
    source: str = ""  # ``regions`` or ``ticks``
    note: str = ""  # what contradicts what, in fixed words and numbers


def region_scale(regions: Sequence[ClaimedRegion], sector: Sector, mask: Image, scale: float) -> float | None:
    """Height of a pixel of the file in mm, as the 2-D tissue region that holds the sector says.

    None where there is no such region, where two of them differ, or where the sector's depth would be
    implausible. Regions are in pixels of the file, the sector is in pixels of the mask; ``scale`` is how many
    of these there are per pixel of the file.
    """
    holding = [
        region.mm_per_pixel for region in regions
        if region.kind is RegionKind.TWO_D and region.tissue and _holds(region, mask, scale)
    ]  # fmt: skip
    sizes = [size for size in holding if size is not None]
    if not sizes or len(sizes) < len(holding) or max(sizes) > (1 + _ALIKE) * min(sizes):
        return None
    depth = (sector.outer - sector.inner) / scale * sizes[0]
    return sizes[0] if _SHALLOWEST_MM <= depth <= _DEEPEST_MM else None


def _holds(region: ClaimedRegion, mask: Image, scale: float) -> bool:
    left, top, right, bottom = scaled(region.rectangle, scale)
    return cv2.countNonZero(mask[top:bottom, left:right]) >= _HELD * cv2.countNonZero(mask)


def combined_scale(by_regions: float | None, by_ticks: float | None) -> TrueScale:
    """The scale by two sources, mm per pixel or None each; none where they contradict each other."""
    if by_regions is None or by_ticks is None:
        if by_regions is not None:
            return TrueScale(by_regions, "regions")
        return TrueScale() if by_ticks is None else TrueScale(by_ticks, "ticks")
    if abs(by_regions - by_ticks) <= _AGREED * by_regions:
        return TrueScale(by_regions, "regions")
    note = f"{by_regions:.4f} mm a pixel by the region tags, {by_ticks:.4f} by the drawn depth scale"
    return TrueScale(note=note)


@dataclass(frozen=True)
class _Marks:
    """Small things that stand still beside the sector, (N,) each, pixels."""

    along: Array  # distance from the sector's apex, down a line
    aside: Array  # distance from that line
    area: Array

    def take(self, which: Flags) -> _Marks:
        return _Marks(self.along[which], self.aside[which], self.area[which])


def tick_scale(statistics: ClipStatistics, sector: Sector, mask: Image) -> float | None:
    """Height of a (square) pixel in mm by the drawn depth scale, if there is one beyond doubt."""
    steps = [
        step for marks in _lines(statistics, sector, mask)
        if (step := _centimetre(marks, sector)) is not None
    ]  # fmt: skip
    if not steps or max(steps) > _ONE_STEP * min(steps):
        return None
    return 10.0 / steps[0]


def _lines(statistics: ClipStatistics, sector: Sector, mask: Image) -> Iterator[_Marks]:
    """The marks near each edge, and those in each upright line, of which there are enough."""
    zoom = max(1.0, len(mask) / 480)
    pieces = _pieces(statistics.minimum, mask, _LARGEST_MARK * zoom)
    if not _LEAST_MARKS <= len(pieces) <= _MOST_PIECES:
        return
    for degrees, side, level in itertools.product((sector.left, sector.right), (-1.0, 1.0), (False, True)):
        if side * degrees > 0:
            marks = _place_marks(pieces, sector, side, degrees, level)
            yield from _marks_in_lines(marks.take(np.abs(marks.aside) <= _NEAR_EDGE * zoom))
    for side in (-1.0, 1.0):
        yield from _marks_in_lines(_place_marks(pieces, sector, side, 0.0, True))


def _pieces(minimum: Image, mask: Image, largest: float) -> list[Array]:
    """The pixels of each small thing that stands still outside the sector: x and y, each (2, N)."""
    outside = cv2.dilate(mask, np.ones((3, 3), np.uint8)) == 0
    if not outside.any():
        return []
    screen = int(np.median(minimum[outside]))
    ink = (outside & (minimum >= min(255, screen + _RAISED))).astype(np.uint8)
    count, labels, facts, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    if count > 2 * _MOST_PIECES:
        return []
    pieces = []
    for number in range(1, count):
        left, top, width, height, _ = facts[number].tolist()
        if max(width, height) <= largest:
            rows, columns = np.nonzero(labels[top : top + height, left : left + width] == number)
            pieces.append(np.stack([columns + float(left), rows + float(top)]))
    return pieces


def _place_marks(pieces: list[Array], sector: Sector, side: float, degrees: float, level: bool) -> _Marks:
    """Marks on one side of a line through the apex, each by its nearer end.

    A mark stands for the depth of the line's point in its row, if marks are level, else of the nearest point.
    """
    sine, cosine = np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))
    along, aside = [], []
    for piece in pieces:
        x, y = piece[0] - sector.apex_x, piece[1] - sector.apex_y
        away = side * (cosine * x - sine * y)
        end = away <= away.min() + _END
        aside.append(float(away.min()))
        along.append(float(y[end].mean() / cosine if level else (sine * x[end] + cosine * y[end]).mean()))
    return _Marks(np.array(along), np.array(aside), np.array([float(piece.shape[1]) for piece in pieces]))


def _marks_in_lines(marks: _Marks) -> Iterator[_Marks]:
    """The marks of each line that has enough of them."""
    tried: set[bytes] = set()
    for place in np.unique(marks.aside):
        near = np.abs(marks.aside - place) <= _ALIGNED
        if near.sum() >= _LEAST_MARKS and near.tobytes() not in tried:
            tried.add(near.tobytes())
            yield marks.take(near)


def _centimetre(marks: _Marks, sector: Sector) -> float | None:
    """Pixels from mark to mark where the marks are a depth scale beyond doubt."""
    depth, along = sector.outer - sector.inner, np.sort(marks.along)
    gaps = np.unique(np.round(np.concatenate([along[1:] - along[:-1], along[2:] - along[:-2]]), 1))
    found = [
        scale for gap in gaps[(gaps >= _LEAST_STEP) & (gaps <= depth / _LEAST_MARKS)].tolist()
        for zero in (0.0, sector.inner)
        if (scale := _scale(marks, gap, zero, depth)) is not None
    ]  # fmt: skip
    return max(found)[1] if found else None


def _scale(marks: _Marks, gap: float, zero: float, depth: float) -> tuple[int, float] | None:
    """How many marks stand about ``gap`` pixels apart, from the zero on, and how many pixels exactly."""
    grid = _grid(marks.along, gap, zero)
    if grid is None or abs(grid[1] - zero) > _OFF_TOP * grid[0]:
        return None
    step, start = grid
    number = np.rint((marks.along - start) / step)
    on = np.abs(marks.along - start - number * step) <= _OFF_STEP
    on &= (number >= 0) & (number * step <= depth + zero + _OFF_TOP * step)
    last = max(number[on], default=0.0)
    among = (marks.along > start - step / 2) & (marks.along < start + (last + 0.5) * step)
    right = on.sum() >= _MOSTLY * among.sum() and _is_scale(number[on], marks.area[on], step, depth)
    return (int(on.sum()), step) if right else None


def _grid(along: Array, gap: float, zero: float) -> tuple[float, float] | None:
    """Pixels from mark to mark and the place of the scale's zero, from a first guess of both."""
    step, start = gap, zero
    for reach, share in _FITS:
        number = np.rint((along - start) / step)
        on = np.abs(along - start - number * step) <= max(_OFF_STEP, share * step)
        on &= (number >= 0) & (number <= reach)
        if len(np.unique(number[on])) < 3:
            return None
        step, start = _line(number[on], along[on])
        if step < _LEAST_STEP:
            return None
    return step, start


def _line(x: Array, y: Array) -> tuple[float, float]:
    """Slope and offset of the least-squares line through points."""
    away = x - x.mean()
    slope = float(away @ y / (away @ away))
    return slope, float(y.mean() - slope * x.mean())


def _is_scale(number: Array, area: Array, step: float, depth: float) -> bool:
    """Whether marks of these numbers, counted from the top, make a depth scale in centimetres."""
    if len(np.unique(number)) < max(_LEAST_MARKS, len(number)):
        return False
    first = min(number[number > 0], default=np.inf)
    whole = number.max() - first + 1
    reach = number.max() * step / depth
    if first > _LATEST_START or len(number) < _LEAST_FOUND * whole or reach < _LEAST_REACH:
        return False
    fifth = (number > 0) & (number % _MAJOR == 0)
    others = area[(number > 0) & ~fifth]
    return bool(fifth.sum() >= 2 and area[fifth].min() >= _LARGER * others.max())
