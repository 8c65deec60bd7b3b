"""Pictures beside the sector: a second panel, an M-mode or Doppler strip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.files.header import Bound, ClaimedRegion, RegionKind, scaled
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.picture.statistics import ClipStatistics

Mask = NDArray[np.uint8]

_STILL: Final = 0.25
"""Share of the screen, the stillest, among which its own gray level is looked for."""
_LIT: Final = 20
"""A still pixel of a picture is so much brighter or darker than the screen, gray levels, and has"""
_TEXTURE: Final = 8
"""such a range over its eight neighbours: a panel of the scanner's screen is flat."""
_MOVING: Final = 14
_RAISED: Final = 4
"""A moving pixel of a picture is so much brighter than the screen in the mean: noise of a recorder is not."""
_GRID: Final = 120
"""Rows of the small copy of the screen in which pictures are told apart."""
_DENSE: Final = 0.42
"""Share of three by three of its cells that a picture fills; letters fill less."""
_LEAST_HEIGHT: Final = 0.15
"""Of the screen's height: more than an ECG strip has."""
_LEAST_WIDTH: Final = 0.06
_LEAST_SHARE: Final = 0.05
"""Share of the screen from which something beside the sector is a picture."""
_LEAST_ALONE: Final = 0.03
_BORDER: Final = 0.03
_UPRIGHT: Final = 0.015
"""How far the sides of a strip stray, as a share of the screen's width; those of a fan slant."""
_STRIP_WIDTH: Final = 0.6
_WIDER: Final = 1.3
_COMPARABLE: Final = 0.5
_CLAIM_SHARE: Final = 0.06
_CLAIM_FILLED: Final = 0.05


@dataclass(frozen=True)
class _Picture:
    """One connected picture on the screen.

    Attributes:
        box: left, top, right and bottom, cells; right and bottom lie outside.
        area: number of cells.
        strip: whether both sides stand upright over more than half of its height.
    """

    box: Bound
    area: int
    strip: bool


def refuse_other_pictures(
    regions: Sequence[ClaimedRegion], statistics: ClipStatistics, scale: float, sector_mask: Mask
) -> None:
    """Refuse a clip that shows more than its sector.

    What moves or has a texture beside the sector counts where it is as high as no ECG strip is and as dense
    as no text is. Less is enough where the region tags claim another picture. Tags that are left over from
    another screen are not borne out: all that is seen where they claim a picture belongs to the sector.

    Args:
        regions: as the tags claim them, in pixels of the file.
        statistics: of the clip's frames.
        scale: pixels of the statistics per pixel of the file.
        sector_mask: uint8 0 or 255, of the statistics' size.

    Raises:
        ClipRefused: NOT_2D for an M-mode or spectral region or a picture with upright sides, MULTI_2D for two
            2-D regions apart or a picture of any other shape.
    """
    dense = _dense(statistics)
    beyond = cv2.bitwise_and(dense, _beside(sector_mask, dense))
    refusal = _claimed(_on_grid(regions, scale * len(dense) / len(sector_mask)), dense, beyond)
    if refusal is not None:
        raise refusal
    large = [picture for picture in _pictures(beyond) if picture.area >= _LEAST_SHARE * dense.size]
    if any(picture.strip for picture in large):
        raise ClipRefused(Outcome.NOT_2D, "a strip of M-mode or Doppler beside the sector")
    if large:
        raise ClipRefused(Outcome.MULTI_2D, "a second picture beside the sector")


def diagnose(
    regions: Sequence[ClaimedRegion], statistics: ClipStatistics, scale: float
) -> ClipRefused | None:
    """The plain reason why a clip has no sector, or None: a strip, or two pictures side by side.

    Args:
        regions: as the tags claim them, in pixels of the file.
        statistics: of the clip's frames.
        scale: pixels of the statistics per pixel of the file.
    """
    dense = _dense(statistics)
    refusal = _claimed(_on_grid(regions, scale * len(dense) / len(statistics.mean)), dense, dense)
    if refusal is not None:
        return refusal
    pictures = [picture for picture in _pictures(dense) if picture.area >= _LEAST_ALONE * dense.size]
    under = any(_is_under(one, other) for one in pictures for other in pictures)
    if under or any(_is_long_strip(picture, dense.shape[1]) for picture in pictures):
        return ClipRefused(Outcome.NOT_2D, "a strip of M-mode or Doppler")
    if any(_side_by_side(one, other) for i, one in enumerate(pictures) for other in pictures[:i]):
        return ClipRefused(Outcome.MULTI_2D, "two pictures side by side")
    return None


def _claimed(regions: Sequence[ClaimedRegion], dense: Mask, beyond: Mask) -> ClipRefused | None:
    """The refusal that the tags ask for and the pixels bear out; all in cells.

    Args:
        regions: as the tags claim them.
        dense: where any picture is.
        beyond: the same without the sector.
    """
    strips = [r for r in regions if r.kind in (RegionKind.M_MODE, RegionKind.SPECTRAL)]
    if any(_is_filled(region.rectangle, beyond) for region in strips):
        return ClipRefused(Outcome.NOT_2D, "the region tags name M-mode or spectral Doppler")
    claimed = [region.rectangle for region in regions if region.kind is RegionKind.TWO_D and region.tissue]
    planes = [rectangle for rectangle in claimed if _is_filled(rectangle, dense)]
    others = [rectangle for rectangle in planes if _is_filled(rectangle, beyond)]
    if any(_apart(one, other) for one in others for other in planes):
        return ClipRefused(Outcome.MULTI_2D, "the region tags name two 2-D pictures")
    return None


def _on_grid(regions: Sequence[ClaimedRegion], factor: float) -> list[ClaimedRegion]:
    return [replace(region, rectangle=scaled(region.rectangle, factor)) for region in regions]


def _dense(statistics: ClipStatistics) -> Mask:
    """The cells around which most pixels move or have a texture: uint8 0 or 255, 120 rows."""
    mean = statistics.mean
    spread = cv2.subtract(statistics.maximum, statistics.minimum)
    away = cv2.absdiff(mean, np.full_like(mean, _screen_level(mean, spread)))
    texture = cv2.morphologyEx(mean, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    moving = (spread >= _MOVING) & (away >= _RAISED) & ~statistics.passing
    busy = np.where(moving | ((away >= _LIT) & (texture >= _TEXTURE)), np.uint8(255), np.uint8(0))
    share = cv2.blur(_reduced(busy), (3, 3), borderType=cv2.BORDER_CONSTANT)
    return np.asarray(cv2.threshold(share, 255 * _DENSE, 255, cv2.THRESH_BINARY)[1])


def _screen_level(mean: Mask, spread: Mask) -> int:
    """The gray level that most of the stillest pixels have: that of the empty screen."""
    few = (slice(None, None, 2), slice(None, None, 2))
    still = spread[few] <= np.quantile(spread[few], _STILL)
    return int(np.argmax(np.bincount(mean[few][still])))


def _reduced(image: Mask) -> Mask:
    size = (max(1, round(image.shape[1] * _GRID / len(image))), _GRID)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _beside(sector_mask: Mask, dense: Mask) -> Mask:
    """The cells that lie clear of the sector."""
    margin = 2 * round(_BORDER * len(dense)) + 1
    near = cv2.dilate(_reduced(sector_mask), np.ones((margin, margin), np.uint8))
    return np.where(near == 0, np.uint8(255), np.uint8(0))


def _pictures(dense: Mask) -> list[_Picture]:
    """The connected pictures among dense cells, without what is as low as an ECG strip or narrow."""
    height, width = round(_LEAST_HEIGHT * len(dense)), max(3, round(_LEAST_WIDTH * dense.shape[1]))
    # Columns and rows that are too short go; then the slanting sides that went with them come back.
    outlines, _ = cv2.findContours(dense, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(dense), outlines, -1, 255, cv2.FILLED)
    core = filled
    for kernel in (np.ones((height, 1), np.uint8), np.ones((1, width), np.uint8)):
        core = cv2.morphologyEx(core, cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    whole = cv2.bitwise_and(
        filled, cv2.dilate(core, np.ones((1, 2 * width + 1), np.uint8))
    )  # its slant sides
    count, labels, facts, _ = cv2.connectedComponentsWithStats(whole)
    found = []
    for label in range(1, count):
        left, top, across, down, area = (int(fact) for fact in facts[label])
        piece = labels[top : top + down, left : left + across] == label
        strip = _stands_upright(piece, _UPRIGHT * dense.shape[1], height)
        found.append(_Picture((left, top, left + across, top + down), area, strip))
    return found


def _stands_upright(piece: NDArray[np.bool_], slack: float, least: int) -> bool:
    """Whether both sides are straight down for half of the rows, and for ``least`` rows."""
    first, last = piece.argmax(axis=1), piece.shape[1] - piece[:, ::-1].argmax(axis=1)
    straight = np.abs(first - np.percentile(first, 10)) <= slack
    straight &= np.abs(last - np.percentile(last, 90)) <= slack
    return int(np.count_nonzero(straight)) >= max(least, 0.5 * len(piece))


def _is_long_strip(picture: _Picture, columns: int) -> bool:
    """Whether this is no picture of a linear probe, whose sides are upright too."""
    left, top, right, bottom = picture.box
    return picture.strip and right - left >= max(_STRIP_WIDTH * columns, bottom - top)


def _is_under(one: _Picture, other: _Picture) -> bool:
    """Whether a picture stands under another and is clearly wider, as a strip under its small sector is."""
    widths = [picture.box[2] - picture.box[0] for picture in (one, other)]
    return one.box[1] >= other.box[3] and widths[0] >= _WIDER * widths[1]


def _side_by_side(one: _Picture, other: _Picture) -> bool:
    """Whether two pictures of about one size stand at one height."""
    shared = min(one.box[3], other.box[3]) - max(one.box[1], other.box[1])
    lower = min(picture.box[3] - picture.box[1] for picture in (one, other))
    apart = one.box[2] <= other.box[0] or other.box[2] <= one.box[0]
    alike = min(one.area, other.area) >= _COMPARABLE * max(one.area, other.area)
    return apart and alike and shared >= _COMPARABLE * lower


def _is_filled(rectangle: Bound, dense: Mask) -> bool:
    left, top, right, bottom = rectangle
    inside = dense[top:bottom, left:right]
    large = inside.size >= _CLAIM_SHARE * dense.size
    return bool(large and np.count_nonzero(inside) >= _CLAIM_FILLED * inside.size)


def _apart(one: Bound, other: Bound) -> bool:
    """Whether less than a tenth of the smaller rectangle lies in the other."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((r[2] - r[0]) * (r[3] - r[1]) for r in (one, other))
    return max(0, width) * max(0, height) < 0.1 * smaller
