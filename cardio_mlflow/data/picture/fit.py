"""The sector of a clip, fitted to its statistics: coarse, fine, and refused where the pixels deny it.

Coarse (`coarse_fit`): what moves forms a blob; its left and right borders vote for two straight edges that
meet in the apex; the distances of its borders from the apex vote for two radii. Fine (`fine_fit`): profiles
across the four borders move all six numbers together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.files.regions import Bound, scaled
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.picture.coarse_fit import (
    Line,
    coarse_sector,
    empty_beyond,
    extend,
    find_edges,
    largest_blob,
    mirror_edge,
)
from cardio_mlflow.data.picture.fine_fit import first_row, refine, steepness
from cardio_mlflow.data.picture.sector import Array, ClipStatistics, Floats, Mask, Sector, overlap

Blobs = tuple[Mask, Mask]

# Tuned on the hard clips dim_edge(s), shadow, dark_near_field, low_gain, steered, convex, cut_bottom, halo,
# frozen; see benchmarks.tuned_constants.
# What moves: gray levels over time.
_LEAST_SIDE: Final = 240  # pixels; a smaller picture is enlarged to it
_RANGES: Final = (3, 6, 14)  # least range of a moving pixel, tried one by one
_LEAST_ACTIVITY: Final = 0.25  # least mean change from frame to frame
_LEAST_BLOB: Final = 0.03  # of the picture
_FAINT, _MOST_FAINT = 2, 60  # range of what moves at all, and less than what is drawn moves
_DRAWN, _INKED = 24, 100  # luma from which words can be read; that of words on black

# A fit that is accepted.
_LEAST_SCORE: Final = 0.90  # overlap of fan and blob (hulls); of a fan with a dark part:
_LEAST_DARK_SCORE: Final = 0.75
_GOOD_SCORE: Final = 0.95  # no other range is tried
_BETTER: Final = 0.05  # a range that leaves out more must score so much better
_LEAST_SUPPORT: Final = 0.35  # share of the border's pieces that show it
_MOST_SPILL: Final = 0.25  # share of what moves that lies outside
_NARROWEST, _WIDEST = 18, 130  # degrees between the edges

# Edges: upright, steered, cut by the picture or in the dark.
_MOST_LEAN: Final = 4.0  # degrees, the sum of both angles of an upright fan
_UPRIGHT: Final = 0.1  # weight of the wish to be upright
_SHARP_SUPPORT: Final = 0.6  # of both edges of a fan that may lean
# Fall of the image across an edge that is none of a shadow's borders: 3.3 to 3.9 in 13 steered fans, but
# 1.9 to 2.6 where edges of five upright ones fade.
_CLIFF: Final = 3.0
_LEAST_STEEP: Final = 1.5  # fall across both edges together, less 60 times the share of the blob outside
_SPILT: Final = 60.0
_HARDLY: Final = 0.01  # share of the blob outside
_LEAST_CUT: Final = 0.05  # of the picture's height: a blob that touches a side for longer is cut by it

# What may stand in the dark part of a fan, pixels: nothing that could be a name.
_SPECKS: Final = 4  # bright pixels that are no letter
_HALO: Final = 25  # around the blob, and half of
_TICK: Final = 13  # this along the border do not count
_NEAR_FIELD: Final = 0.1  # inner over outer radius from which the dark before the first tissue is looked at
_SLOPE: Final = 1.5  # rise of the image at the curved top where it is no dark near field


@dataclass(frozen=True)
class _Pixels:
    """A clip's picture with square pixels, as the fit sees it."""

    image: Floats  # root of each pixel's range over time
    faint: Mask  # moves at all, but less than what is drawn moves
    drawn: Mask  # ever bright enough to be read
    inked: Mask  # ever as bright as words on black, or always bright enough to be read

    def upside_down(self) -> _Pixels:
        flipped = (m[::-1].copy() for m in (self.faint, self.drawn, self.inked))
        return _Pixels(self.image[::-1].copy(), *flipped)


def fit_sector(statistics: ClipStatistics, aspect: float = 1.0, bound: Bound | None = None) -> Sector:
    """Fit one sector to a whole clip.

    Args:
        statistics: of the clip's frames.
        aspect: width of a pixel over its height.
        bound: rectangle of the region tags; used only where nearly all that moves lies in it.

    Raises:
        ClipRefused: NO_SECTOR, when no fit is accepted.
    """
    zoom = max(1, math.ceil(_LEAST_SIDE / max(statistics.mean.shape)))
    spread = np.where(statistics.passing, np.uint8(0), statistics.spread)
    spread = _with_square_pixels(spread, aspect, zoom)
    activity = cv2.blur(_with_square_pixels(statistics.activity, aspect, zoom), (3, 3))
    brightest = _with_square_pixels(statistics.maximum, aspect, zoom)
    drawn, inked = (cv2.inRange(brightest, least, 255) for least in (_DRAWN, _INKED))
    inked |= cv2.inRange(_with_square_pixels(statistics.minimum, aspect, zoom), _DRAWN, 255)
    bound = None if bound is None else scaled(bound, zoom)
    faint = _within_bound(cv2.inRange(spread, _FAINT, _MOST_FAINT), bound, aspect)
    pixels = _Pixels(np.sqrt(spread.astype(np.float32)), faint, drawn, inked)
    first, again, last = itertools.tee(_blobs(spread, activity, bound, aspect), 3)
    best = (_fit_uncut(first, pixels) if zoom == 1 else None) or _fit_steepest(again, pixels)
    if best is None:
        down = _fit_uncut([(blob[::-1], opened[::-1]) for blob, opened in last], pixels.upside_down())
        reason = "the fan stands upside down: its apex is at the bottom"
        raise ClipRefused(Outcome.NO_SECTOR, reason if down else "no fan of moving pixels that a sector fits")
    whole = _extend_to_probe(best, pixels)
    return replace(whole, top=first_row(whole, pixels.image)).scaled(1.0 / zoom)


def _with_square_pixels(image: NDArray[Any], aspect: float, zoom: int) -> NDArray[Any]:
    """The image with square pixels, a small one enlarged."""
    size = (max(1, round(zoom * image.shape[1] * aspect)), zoom * image.shape[0])
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR))


def _blobs(spread: Mask, activity: Floats, bound: Bound | None, aspect: float) -> Iterator[Blobs]:
    """The largest blob of what moves and all that moves, from faint movement to strong."""
    for least in _RANGES:
        moving = np.where((spread >= least) & (activity >= _LEAST_ACTIVITY), np.uint8(255), np.uint8(0))
        blob, opened = largest_blob(_within_bound(moving, bound, aspect))
        if np.count_nonzero(blob) >= _LEAST_BLOB * blob.size:
            yield blob, opened


def _within_bound(moving: Mask, bound: Bound | None, aspect: float) -> Mask:
    if bound is None:
        return moving
    left, top, right, bottom = round(bound[0] * aspect), bound[1], round(bound[2] * aspect), bound[3]
    kept = np.zeros_like(moving)
    kept[top:bottom, left:right] = moving[top:bottom, left:right]
    return kept if np.count_nonzero(kept) >= 0.95 * np.count_nonzero(moving) else moving


def _fit_uncut(blobs: Iterable[Blobs], pixels: _Pixels) -> Sector | None:
    """The best fit of a fan that the picture's sides do not cut."""
    best: Sector | None = None
    for blob, opened in blobs:
        at_sides = max(np.count_nonzero(blob[:, 0]), np.count_nonzero(blob[:, -1]))
        if at_sides >= _LEAST_CUT * len(blob):
            return None
        found = _fit_by_edges(blob, opened, pixels)
        if found is not None and (best is None or found.score > best.score + _BETTER):
            best = found
        if best is not None and best.score >= _GOOD_SCORE:
            break
    return best


def _fit_by_edges(blob: Mask, opened: Mask, pixels: _Pixels) -> Sector | None:
    """A fan of which both edges are seen, or the wider one."""
    coarse = coarse_sector(blob)
    if coarse is None:
        return None
    symmetry = _UPRIGHT if abs(coarse.left + coarse.right) <= 2 * _MOST_LEAN else 0.0
    fine, support = refine(coarse, pixels.image, symmetry)
    wider = extend(fine, pixels.faint)
    if wider != fine:
        further, its_support = refine(wider, pixels.image, symmetry)
        lit = pixels.faint & further.mask(*blob.shape)
        found = _accept_or_mend(further, its_support, pixels, blob | lit, opened | lit)
        if found is not None:
            return found
    return _accept_or_mend(fine, support, pixels, blob, opened)


def _accept_or_mend(
    sector: Sector, support: Array, pixels: _Pixels, blob: Mask, opened: Mask
) -> Sector | None:
    """The sector with its score where it is upright or both its edges are sharp, else a mended one."""
    upright = abs(sector.left + sector.right) <= _MOST_LEAN
    sharp = support[:2].min() >= _SHARP_SUPPORT and empty_beyond(sector, pixels.faint)
    wider = int(sector.right > -sector.left)
    # Only the edge that leans less can be a shadow's: tissue reaches as far as the other.
    steered = sharp and steepness(sector, pixels.image)[1 - wider] >= _CLIFF
    mended = None
    if not upright and not steered:
        mended = _fit_with_dark_edge(_line(sector, wider), pixels, blob, opened)
    if mended is None and (upright or sharp):
        return _score(sector, float(support.min()), blob, opened, _LEAST_SCORE)
    return mended


def _fit_with_dark_edge(edge: Line, pixels: _Pixels, blob: Mask, opened: Mask) -> Sector | None:
    """One edge is dark: trust that the fan is upright, if all is black in its dark part."""
    inferred = mirror_edge(edge, blob)
    if not inferred:
        return None
    fine, support = refine(inferred[0], pixels.image, symmetry=20.0)
    found = _score(fine, float(min(support[:2].max(), support[2])), blob, opened, _LEAST_DARK_SCORE)
    return None if found is None or _has_drawing(found, blob, pixels) else found


def _fit_steepest(blobs: Iterable[Blobs], pixels: _Pixels) -> Sector | None:
    """The fit with the steepest edges of all that the blobs suggest.

    Edges are sought where the picture does not cut them; an unseen one leans as much as the other.
    """
    best, steepest = None, _LEAST_STEEP
    for blob, opened in reversed(list(blobs)):
        for sector, support in _candidates(blob, pixels):
            found = _score(sector, support, blob, opened, _LEAST_DARK_SCORE)
            if found is None or (found.score < _LEAST_SCORE and _has_drawing(found, blob, pixels, _TICK)):
                continue
            falls = steepness(found, pixels.image)
            spilt = _count_outside(found, blob, 5) / np.count_nonzero(blob)
            if sum(falls) - _SPILT * spilt > steepest:
                best, steepest = found, sum(falls) - _SPILT * spilt
            if min(falls) >= _CLIFF and spilt <= _HARDLY:
                return found
    return best


def _candidates(blob: Mask, pixels: _Pixels) -> Iterator[tuple[Sector, float]]:
    """Refined sectors, each with the share of its edges, or of the only edge seen, that is found."""
    coarse = coarse_sector(blob)
    if coarse is not None:
        fine, support = refine(coarse, pixels.image, _UPRIGHT)
        yield fine, float(support[:2].min())
    for edge, unseen, side in zip(find_edges(blob), ("right", "left"), (0, 1), strict=True):
        for inferred in mirror_edge(edge, blob) if edge is not None else ():
            fits = [refine(inferred, pixels.image, 20.0, blind) for blind in ("", unseen)]
            support = fits[1][1]
            fits += [(smallest, support) for smallest in mirror_edge(_line(fits[1][0], side), blob)]
            for fine, support in fits:
                if not _has_drawing(fine, blob, pixels):
                    yield fine, float(support[side])


def _line(sector: Sector, side: int) -> Line:
    """The left (0) or right (1) edge."""
    slope = float(np.tan(np.deg2rad((sector.left, sector.right)[side])))
    return slope, sector.apex_x - slope * sector.apex_y


def _score(sector: Sector, support: float, blob: Mask, opened: Mask, least: float) -> Sector | None:
    """The sector with its score, or None when the pixels do not bear it out."""
    opening = sector.right - sector.left
    plausible = _NARROWEST <= opening <= _WIDEST and sector.inner < 0.75 * sector.outer
    if not plausible or sector.outer < 0.2 * blob.shape[0]:
        return None
    mask = sector.mask(*blob.shape)
    score = overlap(_hull(blob & cv2.dilate(mask, np.ones((5, 5), np.uint8))), _hull(mask))
    spill = _count_outside(sector, opened, 9) / np.count_nonzero(opened)
    accepted = score >= least and spill <= _MOST_SPILL and support >= _LEAST_SUPPORT
    return replace(sector, score=round(score, 4)) if accepted else None


def _count_outside(sector: Sector, moving: Mask, margin: int) -> int:
    """How many moving pixels lie more than half of a margin outside a sector."""
    mask = cv2.dilate(sector.mask(*moving.shape), np.ones((margin, margin), np.uint8))
    return int(np.count_nonzero(moving & ~mask))


def _has_drawing(sector: Sector, blob: Mask, pixels: _Pixels, tick: int = 1) -> bool:
    """Whether more than bright specks stand in a sector's dark part, half a tick or more off its border."""
    near = cv2.dilate(_hull(blob), np.ones((_HALO, _HALO), np.uint8))
    inside = cv2.erode(sector.mask(*blob.shape), np.ones((tick, tick), np.uint8))
    return bool(np.count_nonzero(inside & pixels.drawn & ~near) > _SPECKS)


def _hull(mask: Mask) -> Mask:
    borders, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    filled = np.zeros_like(mask)
    if borders:
        cv2.fillConvexPoly(filled, cv2.convexHull(np.concatenate(borders)), 255)
    return filled


def _extend_to_probe(sector: Sector, pixels: _Pixels) -> Sector:
    """The sector up to the first row that moves at all, where it begins in the dark with nothing drawn."""
    if sector.inner < _NEAR_FIELD * sector.outer:
        return sector
    angles = np.deg2rad(np.linspace(sector.left, sector.right, 62)[1:-1])
    radii = np.array([[sector.inner - 4.0], [sector.inner + 4.0]])
    x = (sector.apex_x + radii * np.sin(angles)).astype(np.float32)
    y = (sector.apex_y + radii * np.cos(angles)).astype(np.float32)
    dark, lit = cv2.remap(pixels.image, x, y, cv2.INTER_LINEAR).mean(axis=1)
    tip = replace(sector, inner=0.0, outer=sector.inner).mask(*pixels.image.shape)
    moving = np.argwhere(tip & pixels.faint)
    if lit - dark >= _SLOPE or not len(moving) or np.count_nonzero(tip & pixels.inked) > _SPECKS:
        return sector
    nearest = float(np.hypot(moving[:, 1] - sector.apex_x, moving[:, 0] - sector.apex_y).min())
    return replace(sector, inner=min(nearest, sector.inner))
