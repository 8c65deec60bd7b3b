"""Thin bright strokes in one picture: which are drawn and which are tissue, and how wide they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.picture.dashes import hidden_dashes
from cardio_mlflow.data.picture.statistics import ClipStatistics

Image = NDArray[np.uint8]

_CROSSING: Final = 4
"""Pixels of a stroke outside of the sector that tell it from tissue, which ends there."""
_TOP: Final = 0.8
_BODY: Final = 0.4
"""Share of a piece's brightest luma from which a pixel is drawn rather than the tissue that it touches."""
_NEXT: Final = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Rule:
    """What makes a stroke of a connected piece of thin bright pixels.

    Attributes:
        height: least mean height above the surroundings, gray levels.
        luma: least brightness of its brightest pixel, gray levels.
        unrest: largest mean range over time, as a share of the brightest pixel.
        flicker: the same of the piece's bright pixels: what is drawn keeps its luma, tissue moves.
        extent: least length, pixels.
        size: least number of pixels.
        most: largest number of pixels.
        steepness: least height as a share of the luma. Drawn lines stand on what is behind them as a
            cliff; speckle and walls have slopes.
        beyond: least share of a crossing piece that is outside of the sector.
        bulk: largest number of pixels over width and height together: what has more is an area.
    """

    height: float = 80.0
    luma: float = 110.0
    unrest: float = 0.35
    flicker: float = 0.18
    extent: int = 1
    size: int = 4
    most: int = 1 << 30
    steepness: float = 0.8
    bulk: float = 7.0
    beyond: float = 0.0


def find_strokes(
    picture: Image,
    unrest: Image | None,
    rule: Rule,
    level: float = 45.0,
    width: int = 13,
    outside: Image | None = None,
    crossing: Rule | None = None,
    apart: Image | None = None,
) -> Image:
    """The cores of the strokes in a picture of what stays the same over some frames.

    Args:
        picture: smallest luma of each pixel over the frames, uint8, rows × columns.
        unrest: range of each pixel over the frames, uint8, or None where it is not known.
        rule: what a stroke is.
        level: height above the surroundings from which a pixel belongs to a core, gray levels.
        width: strokes and marks are narrower than this, pixels.
        outside: where no tissue can be, not 0; needed with ``crossing``.
        crossing: a milder rule for pieces that reach into there.
        apart: strokes that are known, not 0; tissue that they touch is judged without them.

    Returns:
        uint8, 0 or 255; nothing of what is apart.
    """
    height = cv2.morphologyEx(picture, cv2.MORPH_TOPHAT, np.ones((width, width), np.uint8))
    core = cv2.threshold(height, level, 255, cv2.THRESH_BINARY)[1]
    if apart is not None:
        core[apart != 0] = 0
    pieces = _Pieces.of(core, height, picture, unrest)
    accepted = pieces.accepted(rule)
    if crossing is not None and outside is not None:
        beyond = np.bincount(pieces.labels[outside != 0], minlength=len(accepted))
        accepted |= (beyond >= np.maximum(_CROSSING, crossing.beyond * pieces.size)) & pieces.accepted(
            crossing
        )
    accepted[0] = False
    return np.asarray(np.where(accepted[pieces.labels] & pieces.bright, np.uint8(255), np.uint8(0)))


@dataclass(frozen=True)
class _Pieces:
    """Connected pieces of a picture's thin bright pixels; arrays by label, the first the rest.

    Attributes:
        labels: of every pixel, rows × columns.
        size: number of pixels.
        across: width.
        down: height on the screen.
        height: mean height above the surroundings.
        luma: mean luma.
        brightest: largest luma.
        unrest: mean range over time.
        flicker: median range over time of the bright pixels.
        bright: whether a pixel is one of its piece's bright ones, rows × columns.
    """

    labels: NDArray[np.int32]
    size: NDArray[np.float64]
    across: NDArray[np.int32]
    down: NDArray[np.int32]
    height: NDArray[np.float64]
    luma: NDArray[np.float64]
    brightest: NDArray[np.float64]
    unrest: NDArray[np.float64]
    flicker: NDArray[np.float64]
    bright: NDArray[np.bool_]

    @classmethod
    def of(cls, core: Image, height: Image, picture: Image, unrest: Image | None) -> _Pieces:
        """Measure the pieces of a core."""
        count, labels, facts, _ = cv2.connectedComponentsWithStats(core, connectivity=8)
        at = np.flatnonzero(labels)
        label, luma = labels.ravel()[at], picture.ravel()[at]
        size = np.maximum(1.0, np.bincount(label, minlength=count))
        brightest = np.zeros(count)
        np.maximum.at(brightest, label, luma)
        restless = np.zeros(len(at)) if unrest is None else unrest.ravel()[at]
        means = [
            np.bincount(label, weights=v, minlength=count) / size
            for v in (height.ravel()[at], luma, restless)
        ]
        across, down = facts[:, cv2.CC_STAT_WIDTH], facts[:, cv2.CC_STAT_HEIGHT]
        top = luma >= _TOP * brightest[label]
        flicker = _medians(label[top], restless[top], count)
        bright = picture >= _BODY * brightest[labels]
        return cls(labels, size, across, down, means[0], means[1], brightest, means[2], flicker, bright)

    def accepted(self, rule: Rule) -> NDArray[np.bool_]:
        """Which pieces are strokes by a rule."""
        tall = (self.height >= rule.height) & (self.height >= rule.steepness * self.luma)
        bright = (self.brightest >= rule.luma) & (self.unrest <= rule.unrest * self.brightest)
        bright &= self.flicker <= rule.flicker * self.brightest
        long = (np.maximum(self.across, self.down) >= rule.extent) & (self.size >= rule.size)
        thin = (self.size <= rule.most) & (self.size <= rule.bulk * (self.across + self.down))
        return np.asarray(tall & bright & long & thin)


def _medians(label: NDArray[np.int32], values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Median of the values of each label below ``count``; 0 for those without any."""
    order = np.lexsort((values, label))
    first = np.searchsorted(label[order], np.arange(count))
    size = np.searchsorted(label[order], np.arange(count), side="right") - first
    ranked = np.append(values[order], 0.0)
    return np.where(size > 0, ranked[np.minimum(first + size // 2, len(values))], 0.0)


def stroke_luma(picture: Image, core: Image) -> float:
    """Brightness of the strokes: the 90th percentile over their cores."""
    return float(np.percentile(picture[core != 0], 90))


def footprint(core: Image) -> Image:
    """All pixels of the strokes: their cores and, all around, the pixel that their soft border reaches.

    Args:
        core: the cores, uint8, not 0.

    Returns:
        uint8, 0 or 255.
    """
    return np.asarray(cv2.dilate(np.where(core != 0, np.uint8(255), np.uint8(0)), _NEXT))


Ends = tuple[float, float, float, float]

_THIN: Final = 7
_CANDIDATE: Final = 40
_LEAST_CONTRAST: Final = 50.0
"""A drawn line is so much brighter than what lies four pixels beside it, gray levels, median and mean."""
_BESIDE: Final = 4
_LIT: Final = 20
_FLICKER: Final = 0.2
"""Largest range over time of a drawn line, as a share of its luma."""
_STROKE_BODY: Final = 0.6
"""Share of a line's luma from which a pixel belongs to it and not to the tissue beside it."""
_GAP: Final = 10
_FILLED: Final = 0.6


def straight_strokes(picture: Image, unrest: Image, shortest: int) -> Image:
    """The middles of straight drawn lines, solid or dotted: uint8 0 or 255.

    Tissue has hardly a straight edge of this length that is bright on the line and dark on both sides, and
    none that keeps its luma over time.

    Args:
        picture: smallest luma of each pixel over some frames, uint8, rows × columns.
        unrest: range of each pixel over the frames, uint8, rows × columns.
        shortest: least length of a line, pixels.
    """
    out = np.zeros_like(picture)
    height = cv2.morphologyEx(picture, cv2.MORPH_TOPHAT, np.ones((_THIN, _THIN), np.uint8))
    thin = cv2.threshold(height, _CANDIDATE, 255, cv2.THRESH_BINARY)[1]
    found = cv2.HoughLinesP(
        thin, 1, np.pi / 360, round(_FILLED * shortest), minLineLength=shortest, maxLineGap=_GAP
    )
    for ends in [] if found is None else found.reshape(-1, 4):
        luma = _drawn_luma(picture, unrest, tuple(float(e) for e in ends))  # type: ignore[arg-type]
        if luma is not None:
            line = cv2.line(np.zeros_like(out), ends[:2].tolist(), ends[2:].tolist(), 255, 3)
            out |= np.where(picture >= _STROKE_BODY * luma, line, np.uint8(0))
    return np.asarray(cv2.bitwise_and(out, thin))


def _drawn_luma(picture: Image, unrest: Image, ends: Ends) -> float | None:
    """Median luma of a line that is brighter all along than either side of it and stays so, else None."""
    x0, y0, x1, y1 = ends
    length = int(np.hypot(x1 - x0, y1 - y0))
    share = np.linspace(0.0, 1.0, length)
    across = np.array([y0 - y1, x1 - x0]) / max(1, length)
    x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
    offsets = np.array([-_BESIDE, -1, 0, 1, _BESIDE])
    columns = (x + offsets[:, None] * across[0]).astype(np.float32)
    rows = (y + offsets[:, None] * across[1]).astype(np.float32)
    samples = _sampled(picture, columns, rows)
    contrast = samples[1:4].max(axis=0) - samples[[0, -1]].max(axis=0)
    lit = contrast > _LIT
    if np.mean(lit) < _FILLED or contrast.mean() < _LEAST_CONTRAST:
        return None
    on, along = samples[1:4].argmax(axis=0), np.arange(length)
    luma = samples[1:4][on, along][lit]
    flicker = _sampled(unrest, columns, rows)[1:4][on, along][lit] / luma
    return float(np.median(luma)) if np.median(flicker) <= _FLICKER else None


def _sampled(picture: Image, columns: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
    samples = cv2.remap(picture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(samples, dtype=np.float32)


_CERTAIN: Final = Rule()
_STEADY_CROSSING: Final = Rule(height=60.0, luma=80.0, extent=24, steepness=0.5, bulk=10.0, beyond=0.3)
"""A trace in its strip below the sector, whose peaks reach into it."""
_TICK: Final = Rule(height=140.0, luma=150.0, unrest=0.3, flicker=0.3, size=1, most=12, steepness=0.9)
"""A depth mark on the sector's edge, in a small picture a single pixel."""
_AT_EDGE: Final = 9
_LINE_SHARE: Final = 0.25
"""Length of a straight line as a share of the sector's height."""


def _alike(luma: float) -> tuple[tuple[Rule, float], ...]:
    """What else is taken for drawn where certain strokes of a luma stand, and from which level.

    Small pieces may be less clear; in bright tissue only what stands out far above it is looked at.
    """
    return (
        (Rule(height=62.0, luma=0.6 * luma, unrest=0.5, flicker=0.4, most=60), 45.0),
        (
            Rule(height=0.62 * luma, luma=0.6 * luma, flicker=0.3, size=5, most=150, steepness=0.88),
            0.5 * luma,
        ),
    )


def steady_core(statistics: ClipStatistics, sector_mask: Image) -> Image:
    """Cores of what stands still inside the sector: uint8 0 or 255, rows × columns.

    Args:
        statistics: over all frames of the clip.
        sector_mask: the sector, uint8 0 or 255, rows × columns.
    """
    lowest, unrest = statistics.minimum, cv2.subtract(statistics.maximum, statistics.minimum)
    outside = cv2.bitwise_not(cv2.dilate(sector_mask, np.ones((7, 7), np.uint8)))
    shortest = max(50, round(_LINE_SHARE * np.count_nonzero(sector_mask.any(axis=1))))
    straight = straight_strokes(cv2.bitwise_and(lowest, sector_mask), unrest, shortest)
    line = footprint(straight)
    strokes = find_strokes(lowest, unrest, _CERTAIN, outside=outside, crossing=_STEADY_CROSSING, apart=line)
    core = cv2.bitwise_and(strokes | straight, sector_mask)
    edge = cv2.subtract(sector_mask, cv2.erode(sector_mask, np.ones((_AT_EDGE, _AT_EDGE), np.uint8)))
    core |= cv2.bitwise_and(find_strokes(lowest, unrest, _TICK), edge)
    if core.any():
        luma = stroke_luma(lowest, core)
        for rule, level in _alike(luma):
            core |= cv2.bitwise_and(find_strokes(lowest, unrest, rule, level, apart=line), sector_mask)
    return np.asarray(core | hidden_dashes(core, sector_mask))


def steady_overlays(statistics: ClipStatistics, sector_mask: Image) -> Image:
    """All pixels inside the sector that are drawn on in every frame; arguments as `steady_core`."""
    core = steady_core(statistics, sector_mask)
    return np.asarray(cv2.bitwise_and(footprint(core), sector_mask))
