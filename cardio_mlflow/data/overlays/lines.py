"""Thin bright strokes in one picture: which are drawn and which are tissue, and how wide they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

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
