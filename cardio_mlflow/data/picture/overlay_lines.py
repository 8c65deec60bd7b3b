"""Thin bright strokes in one picture: which are drawn and which are tissue, straight lines, dotted lines."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.picture.sector import Array, Flags, Image

# Tuned on the hard clips ticks_inside, words_inside, dotted_line, cursor_line, calipers; see
# benchmarks.tuned_constants.
_CROSSING: Final = 4  # pixels of a stroke beyond the sector that tell it from tissue, which ends there
_TOP: Final = 0.8  # of a piece's brightest luma: the bright pixels whose flicker counts
_BODY: Final = 0.4  # of it: a darker pixel is tissue that the stroke touches

# Straight lines, solid or dotted: pixels, gray levels.
_THIN: Final = 7  # width
_CANDIDATE: Final = 40  # over its surroundings
_BESIDE: Final = 4  # to either side, where it must be darker by
_LEAST_CONTRAST: Final = 50.0  # in the mean, and where it is lit by
_LIT: Final = 20
_FLICKER: Final = 0.2  # range over time, of its luma
_STROKE_BODY: Final = 0.6  # of its luma; a darker pixel is tissue beside it
_GAP: Final = 10
_FILLED: Final = 0.6  # of its length is lit

# Dashes of a dotted line and depth marks: pixels, shares of the period.
_LEAST: Final = 6  # that make a line
_MOST_PIECES: Final = 80
_LONGEST: Final = 30
_OFF_LINE: Final = 1.5
_SHORTEST: Final = 4.0  # period
_UNEVEN: Final = 0.15  # from a dash to its place
_EVEN: Final = 0.75  # of all dashes are nearer
_LEVEL: Final = 2.0  # width over height from which a dash is a depth mark; dotted lines run steeper
_LONG: Final = 0.4  # of the sector's height, from which a line goes on to the sector's border


@dataclass(frozen=True)
class LineRule:
    """What makes a drawn stroke of a connected piece of thin bright pixels; gray levels, pixels."""

    height: float = 80.0  # least mean height above the surroundings
    luma: float = 110.0  # least, of its brightest pixel
    unrest: float = 0.35  # largest mean range over time, as a share of the brightest pixel
    flicker: float = 0.18  # the same of its bright pixels: what is drawn keeps its luma, tissue moves
    extent: int = 1  # least length
    size: int = 4  # least area
    most: int = 1 << 30  # largest area
    steepness: float = 0.8  # least height over luma: drawn lines are cliffs, speckle and walls have slopes
    bulk: float = 7.0  # largest area over width and height together: what has more is no line
    beyond: float = 0.0  # least share of a crossing piece that is outside the sector


def find_lines(
    picture: Image,
    unrest: Image | None,
    rule: LineRule,
    level: float = 45.0,
    width: int = 13,
    outside: Image | None = None,
    crossing: LineRule | None = None,
    apart: Image | None = None,
) -> Image:
    """The cores of the strokes in a picture of what stays the same over some frames, uint8 0 or 255.

    Args:
        picture: smallest luma of each pixel over the frames.
        unrest: range of each pixel over the frames, None where it is not known.
        rule: what a stroke is.
        level: height above the surroundings from which a pixel belongs to a core, gray levels.
        width: pixels than which strokes are narrower.
        outside: where no tissue can be, not 0.
        crossing: a milder rule for pieces that reach into there.
        apart: known strokes, not 0, which are left out; tissue that they touch is judged without them.
    """
    height = cv2.morphologyEx(picture, cv2.MORPH_TOPHAT, np.ones((width, width), np.uint8))
    core = cv2.threshold(height, level, 255, cv2.THRESH_BINARY)[1]
    if apart is not None:
        core[apart != 0] = 0
    pieces = _Pieces(core, height, picture, unrest)
    accepted = pieces.accepted(rule)
    if crossing is not None and outside is not None:
        beyond = np.bincount(pieces.label[outside.ravel()[pieces.at] != 0], minlength=len(accepted))
        reaching = beyond >= np.maximum(_CROSSING, crossing.beyond * pieces.size)
        accepted |= reaching & pieces.accepted(crossing)
    bright = pieces.pixels >= _BODY * pieces.brightest[pieces.label]
    cores = np.zeros(picture.size, np.uint8)
    cores[pieces.at[accepted[pieces.label] & bright]] = 255
    return cores.reshape(picture.shape)


class _Pieces:
    """Connected pieces of thin bright pixels: place, label and luma of each pixel; facts by label."""

    def __init__(self, core: Image, height: Image, picture: Image, unrest: Image | None) -> None:
        count, labels, facts, _ = cv2.connectedComponentsWithStats(core, connectivity=8)
        self.at = np.flatnonzero(core)
        self.label, self.pixels = labels.ravel()[self.at], picture.ravel()[self.at]
        restless = np.zeros(len(self.at)) if unrest is None else unrest.ravel()[self.at]
        self.size = np.maximum(1.0, np.bincount(self.label, minlength=count))
        self.height, self.luma, self.unrest = (
            np.bincount(self.label, weights=values, minlength=count) / self.size
            for values in (height.ravel()[self.at], self.pixels, restless)
        )
        self.brightest = np.zeros(count)
        np.maximum.at(self.brightest, self.label, self.pixels)
        top = self.pixels >= _TOP * self.brightest[self.label]
        self.flicker = _medians(self.label[top], restless[top], count)
        self.across, self.down = facts[:, cv2.CC_STAT_WIDTH], facts[:, cv2.CC_STAT_HEIGHT]

    def accepted(self, rule: LineRule) -> Flags:
        """Which pieces are strokes by a rule."""
        tall = (self.height >= rule.height) & (self.height >= rule.steepness * self.luma)
        bright = (self.brightest >= rule.luma) & (self.unrest <= rule.unrest * self.brightest)
        bright &= self.flicker <= rule.flicker * self.brightest
        long = (np.maximum(self.across, self.down) >= rule.extent) & (self.size >= rule.size)
        thin = (self.size <= rule.most) & (self.size <= rule.bulk * (self.across + self.down))
        return np.asarray(tall & bright & long & thin)


def _medians(label: NDArray[np.int32], values: Array, count: int) -> Array:
    """Upper median of each label's values, (count,); 0 for labels without any."""
    order = np.lexsort((values, label))
    first = np.searchsorted(label[order], np.arange(count))
    size = np.searchsorted(label[order], np.arange(count), side="right") - first
    ranked = np.append(values[order], 0.0)
    return np.where(size > 0, ranked[np.minimum(first + size // 2, len(values))], 0.0)


def line_luma(picture: Image, core: Image) -> float:
    """Brightness of the strokes: the 90th percentile over their cores."""
    return float(np.percentile(picture[core != 0], 90))


def beyond_sector(sector_mask: Image) -> Image:
    """Where no tissue can be, some pixels from the sector: uint8 0 or 255."""
    return np.asarray(cv2.bitwise_not(cv2.dilate(sector_mask, np.ones((7, 7), np.uint8))))


def footprint(core: Image) -> Image:
    """Cores of strokes with the one pixel that their soft border reaches, uint8 0 or 255."""
    return np.asarray(cv2.dilate(cv2.compare(core, 0, cv2.CMP_GT), np.ones((3, 3), np.uint8)))


def straight_lines(picture: Image, unrest: Image, shortest: int) -> Image:
    """The middles of straight drawn lines, solid or dotted, of a least length in pixels: uint8 0 or 255.

    Tissue hardly has a straight edge so long that is dark on both sides, and none that keeps its luma.
    """
    out = np.zeros_like(picture)
    height = cv2.morphologyEx(picture, cv2.MORPH_TOPHAT, np.ones((_THIN, _THIN), np.uint8))
    thin = cv2.threshold(height, _CANDIDATE, 255, cv2.THRESH_BINARY)[1]
    found = cv2.HoughLinesP(
        thin, 1, np.pi / 360, round(_FILLED * shortest), minLineLength=shortest, maxLineGap=_GAP
    )
    for ends in [] if found is None else found.reshape(-1, 2, 2):
        luma = _drawn_luma(picture, unrest, ends.astype(np.float64))
        if luma is not None:
            line = cv2.line(np.zeros_like(out), ends[0].tolist(), ends[1].tolist(), 255, 3)
            out |= np.where(picture >= _STROKE_BODY * luma, line, np.uint8(0))
    return np.asarray(cv2.bitwise_and(out, thin))


def _drawn_luma(picture: Image, unrest: Image, ends: Array) -> float | None:
    """Median luma of a line (x and y of its ends, 2 × 2) that is and stays brighter than either side."""
    (x0, y0), (x1, y1) = ends
    length = int(np.hypot(x1 - x0, y1 - y0))
    share = np.linspace(0.0, 1.0, length)
    across = np.array([y0 - y1, x1 - x0]) / max(1, length)
    x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
    offsets = np.array([[-_BESIDE], [-1], [0], [1], [_BESIDE]])
    columns, rows = (x + offsets * across[0]).astype(np.float32), (y + offsets * across[1]).astype(np.float32)
    luma, flicker = (
        cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        for image in (picture, unrest)
    )
    contrast = luma[1:4].max(axis=0) - luma[[0, -1]].max(axis=0)
    lit = contrast > _LIT
    if np.mean(lit) < _FILLED or contrast.mean() < _LEAST_CONTRAST:
        return None
    on = (1 + luma[1:4].argmax(axis=0)[lit], np.flatnonzero(lit))
    return float(np.median(luma[on])) if np.median(flicker[on] / luma[on]) <= _FLICKER else None


def hidden_dashes(core: Image, sector_mask: Image) -> Image:
    """Dashes that tissue hides, of evenly spaced ones on the line that most small pieces of a core lie on.

    A dotted line's dashes lie along it. Depth marks lie level; the first of them may be hidden near the
    probe, where tissue is brightest, but none is looked for below the last that is seen. Uint8 0 or 255.
    """
    out = np.zeros_like(core)
    count, _, facts, centres = cv2.connectedComponentsWithStats(core, connectivity=8)
    size = facts[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    extent = size.max(axis=1)
    small = np.flatnonzero((extent <= _LONGEST) & (np.arange(count) > 0))
    if not _LEAST <= len(small) <= _MOST_PIECES:
        return out
    start, along, on = _line(centres[small])
    places = np.sort((centres[small][on] - start) @ along)
    spaced = _spacing(places)
    if spaced is None:
        return out
    first, period = spaced
    width, height, length = np.median(np.c_[size, extent][small][on], axis=0)
    level = width >= _LEVEL * height
    half = 0.5 * (length - 1.0) * (np.array([1.0, 0.0]) if level else along)
    reach = int(np.hypot(*core.shape) / period) + 1
    whole = np.ptp(places) >= _LONG * np.count_nonzero(sector_mask.any(axis=1))
    highest, lowest = -np.inf if whole else places[0], np.inf if whole and not level else places[-1]
    for place in first + period * np.arange(-reach, reach + 1):
        hidden = np.min(np.abs(places - place)) > _UNEVEN * period
        if hidden and highest <= place <= lowest:
            ends = np.rint(start + place * along + np.outer([-1.0, 1.0], half)).astype(int)
            cv2.line(out, ends[0].tolist(), ends[1].tolist(), 255)
    return np.asarray(cv2.bitwise_and(out, sector_mask))


def _line(points: Array) -> tuple[Array, Array, Flags]:
    """A point and the downward direction of the line that most points lie on, and which do."""
    best = (points[0], np.array([0.0, 1.0]), np.zeros(len(points), bool))
    for one, other in combinations(points, 2):
        length = float(np.hypot(*(other - one)))
        if length < _LONGEST:
            continue
        along = (other - one) / (length if other[1] >= one[1] else -length)
        on = np.abs((points - one) @ np.array([-along[1], along[0]])) <= _OFF_LINE
        if np.count_nonzero(on) > np.count_nonzero(best[2]):
            best = (one, along, on)
    return best


def _spacing(places: Array) -> tuple[float, float] | None:
    """First place and period of places that are even but for gaps; phases are most alike at it."""
    if len(places) < _LEAST:
        return None
    median = float(np.percentile(np.diff(places), 50, method="lower"))
    periods = median * np.linspace(0.93, 1.07, 141)
    phases = np.exp(2j * np.pi * places[:, None] / periods).mean(axis=0)
    best = int(np.argmax(np.abs(phases)))
    period = float(periods[best])
    first = float(np.angle(phases[best])) * period / (2 * np.pi)
    off = np.abs((places - first + period / 2) % period - period / 2)
    even = np.mean(off <= _UNEVEN * period) >= _EVEN and median >= _SHORTEST
    return (first, period) if even and np.ptp(places) <= 3 * period * len(places) else None
