"""Finding the sector of a clip from its statistics.

Coarse: the pixels that move form a blob; its left and right borders vote for two straight edges, whose
meeting point is the apex; the distances of the blob's pixels from the apex vote for two radii.
Fine: profiles across the four borders say how far each piece of border is off, and one least-squares
step a round moves all six numbers together. A fit that the pixels do not bear out is refused.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.regions import Bound
from cardio_mlflow.data.sector import Sector, overlap
from cardio_mlflow.data.sector_coarse import guess, largest_blob, mirrored
from cardio_mlflow.data.sector_snap import snap
from cardio_mlflow.data.statistics import ClipStatistics

Mask = NDArray[np.uint8]

_RANGES: Final = (3, 6, 14)
_DRAWN: Final = 60
_GOOD_SCORE: Final = 0.95
_LEAST_ACTIVITY: Final = 0.25
_LEAST_SCORE: Final = 0.90
_LEAST_DARK_SCORE: Final = 0.75
_MOST_LEAN: Final = 4.0
_MOST_SPILL: Final = 0.25
_LEAST_SUPPORT: Final = 0.35


def fit_sector(statistics: ClipStatistics, aspect: float = 1.0, bound: Bound | None = None) -> Sector:
    """Fit one sector to a whole clip.

    Args:
        statistics: of the clip's frames.
        aspect: width of a pixel over its height.
        bound: rectangle from the region tags; used only when nearly all that moves lies in it.

    Raises:
        ClipRefused: NO_SECTOR, when no fit is accepted.
    """
    spread = _isotropic(cv2.subtract(statistics.maximum, statistics.minimum), aspect)
    activity = cv2.blur(_isotropic(statistics.activity, aspect), (3, 3))
    lowest = _isotropic(statistics.minimum, aspect)
    still = np.where((spread < _RANGES[0]) & (lowest >= _DRAWN), np.uint8(255), np.uint8(0))
    best: Sector | None = None
    for least in _RANGES:
        moving = np.where((spread >= least) & (activity >= _LEAST_ACTIVITY), np.uint8(255), np.uint8(0))
        moving = _bounded(moving, bound, aspect)
        found = _fit_once(moving, spread, still)
        if found is not None and (best is None or found.score > best.score):
            best = found
        if best is not None and best.score >= _GOOD_SCORE:
            break
    if best is None:
        raise ClipRefused(Outcome.NO_SECTOR, "no fan of moving pixels that a sector fits")
    return best


def _isotropic(image: NDArray[Any], aspect: float) -> NDArray[Any]:
    if aspect == 1.0:
        return image
    size = (max(1, round(image.shape[1] * aspect)), image.shape[0])
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR))


def _bounded(moving: Mask, bound: Bound | None, aspect: float) -> Mask:
    if bound is None:
        return moving
    left, top, right, bottom = round(bound[0] * aspect), bound[1], round(bound[2] * aspect), bound[3]
    kept = np.zeros_like(moving)
    kept[top:bottom, left:right] = moving[top:bottom, left:right]
    trusted = np.count_nonzero(kept) >= 0.95 * np.count_nonzero(moving)
    return kept if trusted else moving


def _fit_once(moving: Mask, spread: NDArray[np.uint8], still: Mask) -> Sector | None:
    blob, opened = largest_blob(moving)
    if np.count_nonzero(blob) < 0.03 * blob.size:
        return None
    coarse = guess(blob)
    if coarse is None:
        return None
    image = np.sqrt(spread.astype(np.float32))
    fine, support = snap(coarse, image)
    if abs(fine.left + fine.right) <= _MOST_LEAN:
        return _judged(fine, float(support.min()), blob, opened, _LEAST_SCORE)
    return _half_dark(fine, image, blob, opened, still)


def _half_dark(
    sector: Sector, image: NDArray[np.float32], blob: Mask, opened: Mask, still: Mask
) -> Sector | None:
    """One edge is dark: trust that the fan hangs straight, if nothing is drawn in its dark part."""
    coarse = mirrored(sector, blob)
    if coarse is None:
        return None
    fine, support = snap(coarse, image, symmetry=20.0)
    judged = _judged(fine, float(min(support[:2].max(), support[2])), blob, opened, _LEAST_DARK_SCORE)
    if judged is None or np.count_nonzero(judged.mask(*blob.shape) & still & ~_hull(blob)):
        return None
    return judged


def _judged(sector: Sector, support: float, blob: Mask, opened: Mask, least: float) -> Sector | None:
    """The sector with its score, or None when the pixels do not bear it out."""
    opening = sector.right - sector.left
    plausible = 25 <= opening <= 130 and sector.inner < 0.75 * sector.outer
    if not plausible or sector.outer < 0.2 * blob.shape[0]:
        return None
    mask = sector.mask(*blob.shape)
    score = overlap(_hull(blob & cv2.dilate(mask, np.ones((5, 5), np.uint8))), _hull(mask))
    outside = np.count_nonzero(opened & ~cv2.dilate(mask, np.ones((9, 9), np.uint8)))
    spill = outside / np.count_nonzero(opened)
    accepted = score >= least and spill <= _MOST_SPILL and support >= _LEAST_SUPPORT
    return replace(sector, score=round(score, 4)) if accepted else None


def _hull(mask: Mask) -> Mask:
    points = cv2.findNonZero(mask)
    filled = np.zeros_like(mask)
    if points is not None:
        cv2.fillConvexPoly(filled, cv2.convexHull(points), 255)
    return filled
