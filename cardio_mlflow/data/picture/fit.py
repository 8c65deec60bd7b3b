"""Finding the sector of a clip from its statistics.

Coarse: the pixels that move form a blob; its left and right borders vote for two straight edges, whose
meeting point is the apex; the distances of the blob's pixels from the apex vote for two radii.
Fine: profiles across the four borders say how far each piece of border is off, and one least-squares
step a round moves all six numbers together. A fit that the pixels do not bear out is refused.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.files.header import Bound, scaled
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.picture.evidence import Evidence, drawn_on, judged, spilt, with_near_field
from cardio_mlflow.data.picture.fit_steps import (
    Line,
    edges,
    empty_beyond,
    extended,
    guess,
    largest_blob,
    mirrored,
)
from cardio_mlflow.data.picture.sector import Sector
from cardio_mlflow.data.picture.snap import snap, steepness
from cardio_mlflow.data.picture.statistics import ClipStatistics

Mask = NDArray[np.uint8]
Blobs = tuple[Mask, Mask]

_NO_FAN: Final = "no fan of moving pixels that a sector fits"
_UPSIDE_DOWN: Final = "the fan stands upside down: its apex is at the bottom"
_LEAST_SIDE: Final = 240
_LEAST_BLOB: Final = 0.03
_LEAST_CUT: Final = 0.05
_LEAST_STEEP: Final = 1.5
_SPILT: Final = 60.0
_HARDLY: Final = 0.01
_CLIFF: Final = 3.0
"""Fall of the image across an edge that is none of a shadow's borders."""
_RANGES: Final = (3, 6, 14)
_FAINT: Final = 2
_UPRIGHT: Final = 0.1
_SHARP_SUPPORT: Final = 0.6
_MOST_FAINT: Final = 60
_DRAWN: Final = 24
_INKED: Final = 100
_TICK: Final = 13
_BETTER: Final = 0.05  # a range that leaves out more must fit so much better than one that leaves out less
_GOOD_SCORE: Final = 0.95
_LEAST_ACTIVITY: Final = 0.25
_LEAST_SCORE: Final = 0.90
_LEAST_DARK_SCORE: Final = 0.75
_MOST_LEAN: Final = 4.0


def fit_sector(statistics: ClipStatistics, aspect: float = 1.0, bound: Bound | None = None) -> Sector:
    """Fit one sector to a whole clip.

    Args:
        statistics: of the clip's frames.
        aspect: width of a pixel over its height.
        bound: rectangle from the region tags; used only when nearly all that moves lies in it.

    Raises:
        ClipRefused: NO_SECTOR, when no fit is accepted.
    """
    zoom = max(1, math.ceil(_LEAST_SIDE / max(statistics.mean.shape)))
    spread = cv2.subtract(statistics.maximum, statistics.minimum)
    spread = _isotropic(np.where(statistics.passing, np.uint8(0), spread), aspect, zoom)
    activity = cv2.blur(_isotropic(statistics.activity, aspect, zoom), (3, 3))
    brightest = _isotropic(statistics.maximum, aspect, zoom)
    drawn, inked = (cv2.inRange(brightest, least, 255) for least in (_DRAWN, _INKED))
    bound = None if bound is None else scaled(bound, zoom)
    faint = _bounded(cv2.inRange(spread, _FAINT, _MOST_FAINT), bound, aspect)
    evidence = Evidence(np.sqrt(spread.astype(np.float32)), faint, drawn, inked)
    first, again, last = itertools.tee(_blobs(spread, activity, bound, aspect), 3)
    best = (_plainly(first, evidence) if zoom == 1 else None) or _steepest(again, evidence)
    if best is None:
        down = _plainly([(blob[::-1], opened[::-1]) for blob, opened in last], evidence.upside_down())
        raise ClipRefused(Outcome.NO_SECTOR, _UPSIDE_DOWN if down else _NO_FAN)
    return with_near_field(best, evidence).scaled(1.0 / zoom)


def _isotropic(image: NDArray[Any], aspect: float, zoom: int) -> NDArray[Any]:
    """The image with square pixels; a small one is enlarged, for steps here are some pixels wide."""
    if aspect == 1.0 and zoom == 1:
        return image
    size = (max(1, round(zoom * image.shape[1] * aspect)), zoom * image.shape[0])
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR))


def _blobs(
    spread: Mask, activity: NDArray[np.float32], bound: Bound | None, aspect: float
) -> Iterator[Blobs]:
    """The largest blob of what moves, and all that moves, from faint movement to strong."""
    for least in _RANGES:
        moving = np.where((spread >= least) & (activity >= _LEAST_ACTIVITY), np.uint8(255), np.uint8(0))
        blob, opened = largest_blob(_bounded(moving, bound, aspect))
        if np.count_nonzero(blob) >= _LEAST_BLOB * blob.size:
            yield blob, opened


def _bounded(moving: Mask, bound: Bound | None, aspect: float) -> Mask:
    if bound is None:
        return moving
    left, top, right, bottom = round(bound[0] * aspect), bound[1], round(bound[2] * aspect), bound[3]
    kept = np.zeros_like(moving)
    kept[top:bottom, left:right] = moving[top:bottom, left:right]
    trusted = np.count_nonzero(kept) >= 0.95 * np.count_nonzero(moving)
    return kept if trusted else moving


def _plainly(blobs: Iterable[Blobs], evidence: Evidence) -> Sector | None:
    """The fit that the pixels bear out best of a fan that the picture's sides do not cut."""
    best: Sector | None = None
    for blob, opened in blobs:
        if _is_cut(blob):
            return None
        found = _seen(blob, opened, evidence)
        if found is not None and (best is None or found.score > best.score + _BETTER):
            best = found
        if best is not None and best.score >= _GOOD_SCORE:
            break
    return best


def _is_cut(blob: Mask) -> bool:
    """Whether the picture's left or right border cuts the fan."""
    return bool(max(np.count_nonzero(blob[:, 0]), np.count_nonzero(blob[:, -1])) >= _LEAST_CUT * len(blob))


def _steepest(blobs: Iterable[Blobs], evidence: Evidence) -> Sector | None:
    """The fit whose edges are the steepest in the picture, of all that the blobs suggest.

    Edges are sought where the picture does not cut them; one that is not seen leans as much as the other.
    """
    best, steepest = None, _LEAST_STEEP
    for blob, opened in reversed(list(blobs)):
        for sector, support in _suggested(blob, evidence):
            found = judged(sector, support, blob, opened, _LEAST_DARK_SCORE)
            if found is None or (found.score < _LEAST_SCORE and drawn_on(found, blob, evidence, _TICK)):
                continue
            falls, beyond = steepness(found, evidence.image), spilt(found, blob)
            if sum(falls) - _SPILT * beyond > steepest:
                best, steepest = found, sum(falls) - _SPILT * beyond
            if min(falls) >= _CLIFF and beyond <= _HARDLY:
                return found
    return best


def _suggested(blob: Mask, evidence: Evidence) -> Iterator[tuple[Sector, float]]:
    """Snapped sectors, each with the share of its edge, or of the only edge seen, that is found."""
    coarse = guess(blob)
    if coarse is not None:
        fine, support = snap(coarse, evidence.image, _UPRIGHT)
        yield fine, float(support[:2].min())
    for edge, unseen, side in zip(edges(blob), ("right", "left"), (0, 1), strict=True):
        for inferred in mirrored(edge, blob) if edge is not None else ():
            fits = [snap(inferred, evidence.image, 20.0, blind) for blind in ("", unseen)]
            support = fits[1][1]
            fits += [(smallest, support) for smallest in mirrored(_line(fits[1][0], side), blob)]
            for fine, support in fits:
                if not drawn_on(fine, blob, evidence):
                    yield fine, float(support[side])


def _line(sector: Sector, side: int) -> Line:
    """The left (0) or right (1) edge: slope and ``at`` of the line ``x = at + slope * row``."""
    slope = float(np.tan(np.deg2rad((sector.left, sector.right)[side])))
    return slope, sector.apex_x - slope * sector.apex_y


def _seen(blob: Mask, opened: Mask, evidence: Evidence) -> Sector | None:
    """A fan of which both edges are seen, or the wider one."""
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
    sector: Sector, support: NDArray[np.float64], evidence: Evidence, blob: Mask, opened: Mask
) -> Sector | None:
    """The sector with its score where it hangs straight or both its edges are sharp, else a mended one."""
    upright = abs(sector.left + sector.right) <= _MOST_LEAN
    sharp = support[:2].min() >= _SHARP_SUPPORT and empty_beyond(sector, evidence.faint)
    steered = sharp and min(steepness(sector, evidence.image)) >= _CLIFF
    mended = None
    if not upright and not steered:
        mended = _half_dark(_line(sector, int(sector.right > -sector.left)), evidence, blob, opened)
    if mended is None and (upright or sharp):
        return judged(sector, float(support.min()), blob, opened, _LEAST_SCORE)
    return mended


def _half_dark(edge: Line, evidence: Evidence, blob: Mask, opened: Mask) -> Sector | None:
    """One edge is dark: trust that the fan hangs straight, if all is black in its dark part."""
    inferred = mirrored(edge, blob)
    if not inferred:
        return None
    fine, support = snap(inferred[0], evidence.image, symmetry=20.0)
    found = judged(fine, float(min(support[:2].max(), support[2])), blob, opened, _LEAST_DARK_SCORE)
    return None if found is None or drawn_on(found, blob, evidence) else found
