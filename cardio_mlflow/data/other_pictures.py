"""Pictures beside the sector: a second panel, an M-mode or Doppler strip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.regions import Bound, ClaimedRegion, RegionKind, scaled
from cardio_mlflow.data.statistics import ClipStatistics

Mask = NDArray[np.uint8]

_STILL: Final = 4
_LIT: Final = 20
"""A still pixel of a picture is so much brighter or darker than the screen, gray levels, and has"""
_TEXTURE: Final = 8
"""such a range over its eight neighbours: a panel of the scanner's screen is flat."""
_MOVING: Final = 14
_RAISED: Final = 4
"""A moving pixel of a picture is so much brighter than the screen in the mean: noise of a recorder is not."""
_LEAST_DUTY: Final = 0.1
"""And it is so often bright: the line of a cursor that passes is not."""
_WINDOW: Final = 0.03
_DENSE: Final = 0.42
"""Share of a window, of this share of the screen's height, that pixels of a picture fill; letters fill less."""
_LEAST_SHARE: Final = 0.05
"""Share of the screen from which something beside the sector is a picture."""
_LEAST_ALONE: Final = 0.03
_LEAST_HEIGHT: Final = 0.15
"""Of the screen's height: more than an ECG strip has."""
_LEAST_WIDTH: Final = 0.06
_BORDER: Final = 0.03
_UPRIGHT: Final = 0.015
"""How far the sides of a strip stray, as a share of the screen's width; those of a fan slant."""
_STRIP_WIDTH: Final = 0.6
_STRIP_SHAPE: Final = 1.2
_COMPARABLE: Final = 0.5
_CLAIM_SHARE: Final = 0.06
_CLAIM_FILLED: Final = 0.05


@dataclass(frozen=True)
class _Picture:
    """One connected picture on the screen.

    Attributes:
        box: left, top, right and bottom, pixels; right and bottom lie outside.
        area: number of pixels.
        strip: whether both sides stand upright over more than half of its height.
    """

    box: Bound
    area: int
    strip: bool


def refuse_claimed(
    regions: Sequence[ClaimedRegion], statistics: ClipStatistics, scale: float, sector_mask: Mask | None
) -> None:
    """Refuse by the region tags, where the pixels bear them out.

    Tags that are left over from another screen are not borne out: all that is seen where they claim
    another picture belongs to the sector.

    Args:
        regions: as the tags claim them, in pixels of the file.
        statistics: of the clip's frames.
        scale: pixels of the statistics per pixel of the file.
        sector_mask: uint8 0 or 255, of the statistics' size; None where no sector was found.

    Raises:
        ClipRefused: NOT_2D for an M-mode or spectral region, MULTI_2D for two 2-D regions apart.
    """
    pictures = _dense(statistics)
    beyond = pictures if sector_mask is None else cv2.bitwise_and(pictures, _beside(sector_mask))
    strips = [r for r in regions if r.kind in (RegionKind.M_MODE, RegionKind.SPECTRAL)]
    if any(_is_filled(scaled(region.rectangle, scale), beyond) for region in strips):
        raise ClipRefused(Outcome.NOT_2D, "the region tags name M-mode or spectral Doppler")
    claimed = [scaled(r.rectangle, scale) for r in regions if r.kind is RegionKind.TWO_D and r.tissue]
    planes = [rectangle for rectangle in claimed if _is_filled(rectangle, pictures)]
    others = [rectangle for rectangle in planes if _is_filled(rectangle, beyond)]
    if any(_apart(one, other) for one in others for other in planes):
        raise ClipRefused(Outcome.MULTI_2D, "the region tags name two 2-D pictures")


def refuse_seen(statistics: ClipStatistics, sector_mask: Mask) -> None:
    """Refuse a clip that shows more than its sector.

    What moves or has a texture beside the sector counts where it is as high as no ECG strip is and as dense
    as no text is.

    Args:
        statistics: of the clip's frames.
        sector_mask: uint8 0 or 255, of the statistics' size.

    Raises:
        ClipRefused: NOT_2D for a picture with upright sides, MULTI_2D for any other shape.
    """
    pictures = _pictures(cv2.bitwise_and(_dense(statistics), _beside(sector_mask)))
    large = [picture for picture in pictures if picture.area >= _LEAST_SHARE * sector_mask.size]
    if any(picture.strip for picture in large):
        raise ClipRefused(Outcome.NOT_2D, "a strip of M-mode or Doppler beside the sector")
    if large:
        raise ClipRefused(Outcome.MULTI_2D, "a second picture beside the sector")


def diagnose(
    regions: Sequence[ClaimedRegion], statistics: ClipStatistics, scale: float
) -> ClipRefused | None:
    """The plain reason why no sector was found, or None: a strip, or two pictures side by side.

    Args:
        regions: as the tags claim them, in pixels of the file.
        statistics: of the clip's frames.
        scale: pixels of the statistics per pixel of the file.
    """
    try:
        refuse_claimed(regions, statistics, scale, None)
    except ClipRefused as refusal:
        return refusal
    least = _LEAST_ALONE * statistics.maximum.size
    pictures = [picture for picture in _pictures(_dense(statistics)) if picture.area >= least]
    if any(_is_long_strip(picture, statistics.maximum.shape[1]) for picture in pictures):
        return ClipRefused(Outcome.NOT_2D, "a strip of M-mode or Doppler")
    if any(_side_by_side(one, other) for i, one in enumerate(pictures) for other in pictures[:i]):
        return ClipRefused(Outcome.MULTI_2D, "two pictures side by side")
    return None


def _dense(statistics: ClipStatistics) -> Mask:
    """Where most pixels around move or have a texture: uint8 0 or 255."""
    mean = statistics.mean
    spread = cv2.subtract(statistics.maximum, statistics.minimum)
    away = cv2.absdiff(mean, np.full_like(mean, _screen_level(mean, spread)))
    texture = cv2.morphologyEx(mean, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    above = cv2.subtract(mean, statistics.minimum)
    moving = (spread >= _MOVING) & (away >= _RAISED) & (above >= _LEAST_DUTY * spread)
    busy = np.where(moving | ((away >= _LIT) & (texture >= _TEXTURE)), np.uint8(255), np.uint8(0))
    side = 2 * round(_WINDOW * len(mean) / 2) + 1
    share = cv2.blur(busy, (side, side), borderType=cv2.BORDER_CONSTANT)
    return np.asarray(cv2.threshold(share, 255 * _DENSE, 255, cv2.THRESH_BINARY)[1])


def _screen_level(mean: Mask, spread: Mask) -> int:
    """The gray level that most of the still pixels have: that of the empty screen."""
    still = mean[spread <= _STILL]
    return int(np.argmax(np.bincount(still))) if len(still) else 0


def _beside(sector_mask: Mask) -> Mask:
    margin = 2 * round(_BORDER * len(sector_mask)) + 1
    return np.asarray(cv2.bitwise_not(cv2.dilate(sector_mask, np.ones((margin, margin), np.uint8))))


def _pictures(dense: Mask) -> list[_Picture]:
    """The connected pictures among dense pixels, without what is as low as an ECG strip or narrow."""
    rows, columns = dense.shape
    kernel = np.ones((max(3, round(_LEAST_HEIGHT * rows)), max(3, round(_LEAST_WIDTH * columns))), np.uint8)
    opened = cv2.morphologyEx(dense, cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    count, labels, facts, _ = cv2.connectedComponentsWithStats(opened)
    found = []
    for label in range(1, count):
        left, top, width, height, area = (int(fact) for fact in facts[label])
        piece = labels[top : top + height, left : left + width] == label
        box = (left, top, left + width, top + height)
        found.append(_Picture(box, area, _stands_upright(piece, _UPRIGHT * columns, kernel.shape[0])))
    return found


def _stands_upright(piece: NDArray[np.bool_], slack: float, least: int) -> bool:
    """Whether both sides are straight down for half of the rows, and for ``least`` rows."""
    first, last = piece.argmax(axis=1), piece.shape[1] - piece[:, ::-1].argmax(axis=1)
    straight = np.abs(first - np.percentile(first, 10)) <= slack
    straight &= np.abs(last - np.percentile(last, 90)) <= slack
    return int(np.count_nonzero(straight)) >= max(least, 0.5 * len(piece))


def _is_long_strip(picture: _Picture, columns: int) -> bool:
    """Whether this is no picture of a linear probe, whose sides are upright too."""
    width, height = picture.box[2] - picture.box[0], picture.box[3] - picture.box[1]
    return picture.strip and width >= _STRIP_WIDTH * columns and picture.area >= 0.5 * width * height


def _side_by_side(one: _Picture, other: _Picture) -> bool:
    """Whether two pictures of about one size stand at one height."""
    shared = min(one.box[3], other.box[3]) - max(one.box[1], other.box[1])
    lower = min(p.box[3] - p.box[1] for p in (one, other))
    apart = one.box[2] <= other.box[0] or other.box[2] <= one.box[0]
    alike = min(one.area, other.area) >= _COMPARABLE * max(one.area, other.area)
    return apart and alike and shared >= _COMPARABLE * lower


def _is_filled(rectangle: Bound, pictures: Mask) -> bool:
    left, top, right, bottom = rectangle
    inside = pictures[top:bottom, left:right]
    large = inside.size >= _CLAIM_SHARE * pictures.size
    return bool(large and np.count_nonzero(inside) >= _CLAIM_FILLED * inside.size)


def _apart(one: Bound, other: Bound) -> bool:
    """Whether less than a tenth of the smaller rectangle lies in the other."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((r[2] - r[0]) * (r[3] - r[1]) for r in (one, other))
    return max(0, width) * max(0, height) < 0.1 * smaller
