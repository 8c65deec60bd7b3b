"""Finding the sector of a clip from its statistics.

Coarse: the pixels that move form a blob; its left and right borders vote for two straight edges, whose
meeting point is the apex; the distances of the blob's pixels from the apex vote for two radii.
Fine: profiles across the four borders say how far each piece of border is off, and one least-squares
step a round moves all six numbers together. A fit that the pixels do not bear out is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.files.regions import Bound
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.picture.fit_steps import empty_beyond, extended, guess, largest_blob, mirrored
from cardio_mlflow.data.picture.sector import Sector, overlap
from cardio_mlflow.data.picture.snap import snap
from cardio_mlflow.data.picture.statistics import ClipStatistics

Mask = NDArray[np.uint8]

_RANGES: Final = (3, 6, 14)
_FAINT: Final = 2
_UPRIGHT: Final = 0.1
_SHARP_SUPPORT: Final = 0.6
_TOP_ROWS: Final = 12
_TOP_LEVEL: Final = 0.4
_MOST_FAINT: Final = 60
_DRAWN: Final = 24
_HALO: Final = 25
_BETTER: Final = 0.05  # a range that leaves out more must fit so much better than one that leaves out less
_GOOD_SCORE: Final = 0.95
_LEAST_ACTIVITY: Final = 0.25
_LEAST_SCORE: Final = 0.90
_LEAST_DARK_SCORE: Final = 0.75
_MOST_LEAN: Final = 4.0
_NARROWEST: Final = 18
_WIDEST: Final = 130
_MOST_SPILL: Final = 0.25
_LEAST_SUPPORT: Final = 0.35


@dataclass(frozen=True)
class _Evidence:
    """What the pixels of a clip say, in isotropic pixels.

    Attributes:
        image: root of each pixel's range over time.
        faint: pixels that move at all, but less than what is drawn moves.
        drawn: pixels that are ever bright enough to be read.
    """

    image: NDArray[np.float32]
    faint: Mask
    drawn: Mask


def fit_sector(statistics: ClipStatistics, aspect: float = 1.0, bound: Bound | None = None) -> Sector:
    """Fit one sector to a whole clip.

    Args:
        statistics: of the clip's frames.
        aspect: width of a pixel over its height.
        bound: rectangle from the region tags; used only when nearly all that moves lies in it.

    Raises:
        ClipRefused: NO_SECTOR, when no fit is accepted.
    """
    spread = cv2.subtract(statistics.maximum, statistics.minimum)
    spread = _isotropic(np.where(statistics.passing, np.uint8(0), spread), aspect)
    activity = cv2.blur(_isotropic(statistics.activity, aspect), (3, 3))
    drawn = cv2.inRange(_isotropic(statistics.maximum, aspect), _DRAWN, 255)
    faint = _bounded(cv2.inRange(spread, _FAINT, _MOST_FAINT), bound, aspect)
    evidence = _Evidence(np.sqrt(spread.astype(np.float32)), faint, drawn)
    best: Sector | None = None
    for least in _RANGES:
        moving = np.where((spread >= least) & (activity >= _LEAST_ACTIVITY), np.uint8(255), np.uint8(0))
        moving = _bounded(moving, bound, aspect)
        found = _fit_once(moving, evidence)
        if found is not None and (best is None or found.score > best.score + _BETTER):
            best = found
        if best is not None and best.score >= _GOOD_SCORE:
            break
    if best is None:
        raise ClipRefused(Outcome.NO_SECTOR, "no fan of moving pixels that a sector fits")
    return replace(best, top=_first_row(best, evidence.image))


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


def _fit_once(moving: Mask, evidence: _Evidence) -> Sector | None:
    blob, opened = largest_blob(moving)
    if np.count_nonzero(blob) < 0.03 * blob.size:
        return None
    coarse = guess(blob)
    if coarse is None:
        return None
    symmetry = _UPRIGHT if abs(coarse.left + coarse.right) <= 2 * _MOST_LEAN else 0.0
    fine, support = snap(coarse, evidence.image, symmetry)
    wider = extended(fine, evidence.faint)
    if wider != fine:
        further, its_support = snap(wider, evidence.image, symmetry)
        lit = evidence.faint & further.mask(*blob.shape)
        found = _accepted(further, its_support, evidence, blob | lit, opened | lit)
        if found is not None:
            return found
    return _accepted(fine, support, evidence, blob, opened)


def _accepted(
    sector: Sector, support: NDArray[np.float64], evidence: _Evidence, blob: Mask, opened: Mask
) -> Sector | None:
    """The sector with its score where it hangs straight or both its edges are sharp, else a mended one."""
    upright = abs(sector.left + sector.right) <= _MOST_LEAN
    mended = None if upright else _half_dark(sector, evidence, blob, opened)
    sharp = support[:2].min() >= _SHARP_SUPPORT and empty_beyond(sector, evidence.faint)
    if mended is None and (upright or sharp):
        return _judged(sector, float(support.min()), blob, opened, _LEAST_SCORE)
    return mended


def _half_dark(sector: Sector, evidence: _Evidence, blob: Mask, opened: Mask) -> Sector | None:
    """One edge is dark: trust that the fan hangs straight, if all is black in its dark part."""
    coarse = mirrored(sector, blob)
    if coarse is None:
        return None
    fine, support = snap(coarse, evidence.image, symmetry=20.0)
    judged = _judged(fine, float(min(support[:2].max(), support[2])), blob, opened, _LEAST_DARK_SCORE)
    near = cv2.dilate(_hull(blob), np.ones((_HALO, _HALO), np.uint8))
    if judged is None or np.count_nonzero(judged.mask(*blob.shape) & evidence.drawn & ~near):
        return None
    return judged


def _first_row(sector: Sector, image: NDArray[np.float32]) -> float:
    """The first row of tissue above the middle of the curved top; nearly black rows before it are cut off."""
    inside = sector.mask(*image.shape) > 0
    middle = int(np.clip(sector.apex_y + sector.inner, 0, image.shape[0] - 1))
    rows = range(middle + _TOP_ROWS)
    profile = np.array([image[y, inside[y]].mean() if inside[y].any() else 0.0 for y in rows])
    lit = np.flatnonzero(profile >= _TOP_LEVEL * profile[middle:].max(initial=0.0))
    return float(min(lit[0] if len(lit) else middle, middle))


def _judged(sector: Sector, support: float, blob: Mask, opened: Mask, least: float) -> Sector | None:
    """The sector with its score, or None when the pixels do not bear it out."""
    opening = sector.right - sector.left
    plausible = _NARROWEST <= opening <= _WIDEST and sector.inner < 0.75 * sector.outer
    if not plausible or sector.outer < 0.2 * blob.shape[0]:
        return None
    mask = sector.mask(*blob.shape)
    score = overlap(_hull(blob & cv2.dilate(mask, np.ones((5, 5), np.uint8))), _hull(mask))
    outside = np.count_nonzero(opened & ~cv2.dilate(mask, np.ones((9, 9), np.uint8)))
    spill = outside / np.count_nonzero(opened)
    accepted = score >= least and spill <= _MOST_SPILL and support >= _LEAST_SUPPORT
    return replace(sector, score=round(score, 4)) if accepted else None


def _hull(mask: Mask) -> Mask:
    borders, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    filled = np.zeros_like(mask)
    if borders:
        cv2.fillConvexPoly(filled, cv2.convexHull(np.concatenate(borders)), 255)
    return filled
