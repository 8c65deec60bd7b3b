"""Pictures beside the sector: a second panel, an M-mode or Doppler strip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.regions import Bound, ClaimedRegion, RegionKind, scaled
from cardio_mlflow.data.statistics import ClipStatistics

Mask = NDArray[np.uint8]

_LIT: Final = 40
_MOVING: Final = 14
_LEAST_SHARE: Final = 0.05
"""Share of the screen from which something beside the sector is a picture."""
_LEAST_HEIGHT: Final = 0.15
"""Of the screen's height: more than an ECG strip has."""
_LEAST_WIDTH: Final = 0.06
_BORDER: Final = 0.03
_RECTANGLE: Final = 0.85
_CLAIM_SHARE: Final = 0.06
_CLAIM_LIT: Final = 0.05


def refuse_claimed(regions: Sequence[ClaimedRegion], statistics: ClipStatistics, scale: float) -> None:
    """Refuse by the region tags, where the pixels bear them out.

    Args:
        regions: as the tags claim them, in pixels of the file.
        statistics: of the clip's frames.
        scale: pixels of the statistics per pixel of the file.

    Raises:
        ClipRefused: NOT_2D for an M-mode or spectral region, MULTI_2D for two 2-D regions apart.
    """
    borne_out = [region for region in regions if _is_lit(region.rectangle, statistics, scale)]
    if any(region.kind in (RegionKind.M_MODE, RegionKind.SPECTRAL) for region in borne_out):
        raise ClipRefused(Outcome.NOT_2D, "the region tags name M-mode or spectral Doppler")
    planes = [region.rectangle for region in borne_out if region.kind is RegionKind.TWO_D and region.tissue]
    if any(_apart(one, other) for i, one in enumerate(planes) for other in planes[:i]):
        raise ClipRefused(Outcome.MULTI_2D, "the region tags name two 2-D pictures")


def refuse_seen(statistics: ClipStatistics, sector_mask: Mask) -> None:
    """Refuse a clip that shows more than its sector.

    What is lit or moves beside the sector counts where it is as high as no ECG strip is and as dense as no
    text is.

    Args:
        statistics: of the clip's frames.
        sector_mask: uint8 0 or 255, of the statistics' size.

    Raises:
        ClipRefused: NOT_2D for a rectangle wider than high, MULTI_2D for any other shape.
    """
    rows, columns = sector_mask.shape
    margin = 2 * round(_BORDER * rows) + 1
    beside = cv2.bitwise_not(cv2.dilate(sector_mask, np.ones((margin, margin), np.uint8)))
    pictures = cv2.bitwise_and(_dense(statistics), beside)
    size = (max(3, round(_LEAST_HEIGHT * rows)), max(3, round(_LEAST_WIDTH * columns)))
    pictures = cv2.morphologyEx(pictures, cv2.MORPH_OPEN, np.ones(size, np.uint8))
    if np.count_nonzero(pictures) < _LEAST_SHARE * pictures.size:
        return
    _, _, width, height = cv2.boundingRect(pictures)
    filled = np.count_nonzero(pictures) / (width * height)
    if filled >= _RECTANGLE and width > 1.2 * height:
        raise ClipRefused(Outcome.NOT_2D, "a strip of M-mode or Doppler beside the sector")
    raise ClipRefused(Outcome.MULTI_2D, "a second picture beside the sector")


def _dense(statistics: ClipStatistics) -> Mask:
    """Where pixels are lit or move, small gaps closed."""
    spread = cv2.subtract(statistics.maximum, statistics.minimum)
    busy = cv2.inRange(statistics.maximum, _LIT, 255) | cv2.inRange(spread, _MOVING, 255)
    return np.asarray(cv2.morphologyEx(busy, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)))


def _is_lit(rectangle: Bound, statistics: ClipStatistics, scale: float) -> bool:
    left, top, right, bottom = scaled(rectangle, scale)
    inside = statistics.maximum[top:bottom, left:right]
    large = inside.size >= _CLAIM_SHARE * statistics.maximum.size
    return bool(large and np.count_nonzero(inside >= _LIT) >= _CLAIM_LIT * inside.size)


def _apart(one: Bound, other: Bound) -> bool:
    """Whether less than a tenth of the smaller rectangle lies in the other."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((r[2] - r[0]) * (r[3] - r[1]) for r in (one, other))
    return max(0, width) * max(0, height) < 0.1 * smaller
