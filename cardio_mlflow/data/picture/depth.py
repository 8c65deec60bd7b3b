"""The true size of a clip's pixels: from the region tags, checked against the sector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.files.regions import ClaimedRegion, RegionKind, scaled
from cardio_mlflow.data.picture.sector import Sector

LEAST_DEPTH_MM: Final = 40.0
"""Below it no transthoracic picture of a heart is; a child's is 50 to 80 mm deep."""
MOST_DEPTH_MM: Final = 350.0
"""Above it no scanner goes: cardiac presets end at 300 mm."""

_HELD: Final = 0.95  # of the sector; tags cut its corners, and a fit is a pixel off
_ALIKE: Final = 0.02  # two regions of one picture
_AGREED: Final = 0.05  # two sources; ticks are drawn at whole pixels


@dataclass(frozen=True)
class TrueScale:
    """The size of a clip's pixels.

    Attributes:
        mm_per_pixel: height of a pixel of the file in mm, or None where no source is trusted.
        source: ``regions``, ``ticks`` or empty.
        note: what contradicts what, in fixed words and numbers; empty where nothing does.
    """

    mm_per_pixel: float | None = None
    source: str = ""
    note: str = ""


def is_plausible(mm_per_pixel: float, sector: Sector) -> bool:
    """Whether a sector, in pixels of this size, is as deep as a picture of a heart can be."""
    return bool(LEAST_DEPTH_MM <= (sector.outer - sector.inner) * mm_per_pixel <= MOST_DEPTH_MM)


def region_scale(
    regions: Sequence[ClaimedRegion], sector: Sector, mask: NDArray[np.uint8], scale: float
) -> float | None:
    """Height of a pixel of the file in mm, as the 2-D tissue region that holds the sector says.

    Args:
        regions: as the tags claim them, in pixels of the file; stale ones are not among them.
        sector: in pixels of the mask.
        mask: the sector's pixels, uint8 0 or 255.
        scale: pixels of the mask per pixel of the file.

    Returns:
        None where no such region is, where two of them differ, or where the sector would be implausibly deep
        or shallow.
    """
    holding = [
        region.mm_per_pixel for region in regions
        if region.kind is RegionKind.TWO_D and region.tissue and _holds(region, mask, scale)
    ]  # fmt: skip
    sizes = [size for size in holding if size is not None]
    if not sizes or len(sizes) < len(holding) or max(sizes) > (1 + _ALIKE) * min(sizes):
        return None
    return sizes[0] if is_plausible(sizes[0], sector.scaled(1.0 / scale)) else None


def _holds(region: ClaimedRegion, mask: NDArray[np.uint8], scale: float) -> bool:
    left, top, right, bottom = scaled(region.rectangle, scale)
    return cv2.countNonZero(mask[top:bottom, left:right]) >= _HELD * cv2.countNonZero(mask)


def agreed(by_regions: float | None, by_ticks: float | None) -> TrueScale:
    """The scale of two sources, each mm per pixel or None: the tags' where they agree, none where not."""
    if by_regions is None or by_ticks is None:
        if by_regions is not None:
            return TrueScale(by_regions, "regions")
        return TrueScale() if by_ticks is None else TrueScale(by_ticks, "ticks")
    if abs(by_regions - by_ticks) <= _AGREED * by_regions:
        return TrueScale(by_regions, "regions")
    note = f"{by_regions:.4f} mm a pixel by the region tags, {by_ticks:.4f} by the drawn depth scale"
    return TrueScale(note=note)
