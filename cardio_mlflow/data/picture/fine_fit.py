"""A nearly right sector moved onto the borders that the pixels show, to a fraction of a pixel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.picture.sector import Array, Flags, Floats, Sector

# Tuned on the hard clips jpeg_50, halo, gray_background, apex_above, convex; see benchmarks.tuned_constants.
# "Levels" are of the picture that is fitted to: the root of each pixel's range over time.
_OFFSETS: Final = np.linspace(-1.0, 1.0, 33)  # samples of a profile across the border
_REACHES: Final = (0.04, 0.025, 0.015, 0.015)  # of the profiles, round by round, in outer radii
_LEVEL: Final = 0.65  # of the rise is the border; half lies in the ringing that JPEG leaves around the fan
_PIECES: Final = 10  # of each of the four borders
_LEAST_SEEN: Final = 8  # profiles of a piece that lie in the picture
_LEAST_CONTRAST: Final = 0.8  # levels that a profile falls where a border is seen
_ASIDE: Final = 2.5  # pixels from an edge to where it is compared with the outside
_STEEPEST: Final = 4.0  # levels; a steeper fall counts as this
_TOP_ROWS: Final = 12  # rows below the middle of the curved top that tell the usual level of tissue;
_TOP_LEVEL: Final = 0.4  # of it a row of tissue reaches


def refine(sector: Sector, image: Floats, symmetry: float, unseen: str = "") -> tuple[Sector, Array]:
    """Move a sector that is at most some pixels off.

    The mean profile across each piece of border says how far the piece is off; all pieces together give one
    least-squares step (Huber weights) of apex, angles and radii per round. The image is bright inside and
    dark outside, rows × columns of square pixels; ``symmetry`` is the weight, in pieces of border, of the
    wish that both edges lean equally; the edge "left" or "right" that is unseen has no say.

    Returns:
        The sector, and of the left edge, the right edge and the outer arc the share of pieces within the
        image that show a border within 1.5 pixels.
    """
    support = np.zeros(3)
    for share in _REACHES:
        reach = max(5.0, share * sector.outer)
        pieces = [_edge(sector, image, "left", reach), _edge(sector, image, "right", reach),
                  _arc(sector, image, "outer", reach), _arc(sector, image, "inner", reach)]  # fmt: skip
        design = np.concatenate([d for d, _ in pieces])
        shift = np.concatenate([s for _, s in pieces])
        seen = np.isfinite(shift)
        if unseen:
            seen[slice(0, _PIECES) if unseen == "left" else slice(_PIECES, 2 * _PIECES)] = False
        if np.count_nonzero(seen) < 12:
            return sector, np.zeros(3)
        step = _robust_step(design[seen], shift[seen], sector, symmetry * sector.outer)
        sector = _apply_step(sector, step)
        off = np.abs(shift - design @ step).reshape(4, _PIECES)[:3]
        visible = np.count_nonzero(~np.isposinf(off), axis=1)
        support = np.where(visible >= 2, np.count_nonzero(off <= 1.5, axis=1) / np.maximum(visible, 1), 1.0)
    return sector, support


def steepness(sector: Sector, image: Floats) -> tuple[float, float]:
    """How much the image falls across the left and the right edge: the mean over what it holds of them."""
    r, falls = np.linspace(sector.inner, sector.outer, 400), []
    for degrees, sign in ((sector.left, -1.0), (sector.right, 1.0)):
        angle = np.deg2rad(degrees)
        x, y = sector.apex_x + r * np.sin(angle), sector.apex_y + r * np.cos(angle)
        aside = _ASIDE * sign * np.array([[-1.0], [1.0]])
        columns = (x + aside * np.cos(angle)).astype(np.float32)
        rows = (y - aside * np.sin(angle)).astype(np.float32)
        inside, outside = cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        fall = np.clip(inside - outside, -_STEEPEST, _STEEPEST)[within(x, y, image)]
        falls.append(float(fall.mean()) if len(fall) >= 20 else 0.0)
    return falls[0], falls[1]


def first_row(sector: Sector, image: Floats) -> float:
    """The first row of tissue, at most the middle of the curved top; nearly black rows before it go."""
    inside = sector.mask(*image.shape) > 0
    middle = int(np.clip(sector.apex_y + sector.inner, 0, image.shape[0] - 1))
    rows = range(middle + _TOP_ROWS)
    profile = np.array([image[y, inside[y]].mean() if inside[y].any() else 0.0 for y in rows])
    lit = np.flatnonzero(profile >= _TOP_LEVEL * profile[middle:].max(initial=0.0))
    return float(min(lit[0] if len(lit) else middle, middle))


def within(x: NDArray[Any], y: NDArray[Any], image: NDArray[Any], margin: int = 0) -> Flags:
    """Which points lie in an image, a margin of pixels from its border."""
    bottom, right = image.shape[0] - 1 - margin, image.shape[1] - 1 - margin
    return np.asarray((x >= margin) & (y >= margin) & (x <= right) & (y <= bottom))


def _edge(sector: Sector, image: Floats, side: str, reach: float) -> tuple[Array, Array]:
    """Rows of the design matrix and outward shifts (pixels) of an edge's pieces."""
    angle, sign = (np.deg2rad(sector.left), -1.0) if side == "left" else (np.deg2rad(sector.right), 1.0)
    length = sector.outer - sector.inner
    r = np.linspace(sector.inner + 0.06 * length, sector.outer - 0.03 * length, 24 * _PIECES)
    normal = sign * np.array([np.cos(angle), -np.sin(angle)])
    points = np.array([sector.apex_x, sector.apex_y]) + r[:, None] * np.array([np.sin(angle), np.cos(angle)])
    design = np.zeros((_PIECES, 6))
    design[:, 0], design[:, 1] = normal
    design[:, 2 if side == "left" else 3] = sign * r.reshape(_PIECES, -1).mean(axis=1)
    return design, _shifts(image, points, np.broadcast_to(reach * normal, points.shape)) * reach


def _arc(sector: Sector, image: Floats, which: str, reach: float) -> tuple[Array, Array]:
    """Rows of the design matrix and outward shifts (pixels) of an arc's pieces."""
    left, right = np.deg2rad([sector.left, sector.right])
    margin = 0.04 * (right - left)
    angles = np.linspace(left + margin, right - margin, 24 * _PIECES)
    away = np.stack([np.sin(angles), np.cos(angles)], axis=1)
    radius, sign = (sector.outer, 1.0) if which == "outer" else (sector.inner, -1.0)
    points = np.array([sector.apex_x, sector.apex_y]) + radius * away
    design = np.zeros((_PIECES, 6))
    design[:, :2] = sign * away.reshape(_PIECES, -1, 2).mean(axis=1)
    design[:, 5 if which == "outer" else 4] = sign
    if which == "inner" and radius < 4:
        return design, np.full(_PIECES, np.nan)
    return design, _shifts(image, points, sign * reach * away) * reach


def _shifts(image: Floats, points: Array, normals: Array) -> Array:
    """How far outward each piece's border lies, in lengths of the normals.

    NaN where none is seen, infinite where the piece lies beyond the image.
    """
    x = (points[:, 0, None] + normals[:, 0, None] * _OFFSETS).astype(np.float32)
    y = (points[:, 1, None] + normals[:, 1, None] * _OFFSETS).astype(np.float32)
    sampled = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    seen = within(x, y, image).all(axis=1)
    count = seen.reshape(_PIECES, -1).sum(axis=1, dtype=np.float32)[:, None]
    sampled[~seen] = 0.0
    profiles = sampled.reshape(_PIECES, -1, len(_OFFSETS)).sum(axis=1) / np.maximum(count, 1)
    return np.where(count[:, 0] < _LEAST_SEEN, np.inf, _crossings(profiles))


def _crossings(profiles: Floats) -> Array:
    """Offset at which each profile (a row) falls most steeply through the border's level, from inside out."""
    outside = profiles[:, -8:].min(axis=1, keepdims=True).astype(np.float64)
    inside = np.median(profiles[:, : len(_OFFSETS) // 2], axis=1, keepdims=True).astype(np.float64)
    level = (outside + _LEVEL * (inside - outside)).astype(np.float32)
    falls = (profiles[:, :-1] >= level) & (profiles[:, 1:] < level)
    drops = profiles[:, :-1] - profiles[:, np.minimum(np.arange(len(_OFFSETS) - 1) + 3, len(_OFFSETS) - 1)]
    at = np.argmax(np.where(falls, drops, -np.inf), axis=1)
    piece = np.arange(len(profiles))
    here, after = profiles[piece, at], profiles[piece, at + 1]
    found = falls.any(axis=1) & ((inside - outside)[:, 0] >= _LEAST_CONTRAST)
    fraction = (here - level[:, 0]) / np.where(found, here - after, np.float32(1))
    return np.where(found, _OFFSETS[at] + fraction * (_OFFSETS[1] - _OFFSETS[0]), np.nan)


def _robust_step(design: Array, shift: Array, sector: Sector, symmetry: float) -> Array:
    """Least squares with Huber weights, slightly damped towards no step.

    One more equation wishes that the two angles add up to 0, in pixels at the outer radius.
    """
    scale = np.array([1.0, 1.0, 200.0, 200.0, 1.0, 1.0])
    lean = np.array([0.0, 0.0, symmetry, symmetry, 0.0, 0.0]) / scale
    wish = -symmetry * float(np.deg2rad(sector.left + sector.right))
    scaled, weights, step = design / scale, np.ones(len(shift)), np.zeros(6)
    for _ in range(6):
        left = np.concatenate([scaled * weights[:, None], lean[None], 0.03 * np.eye(6)])
        right = np.concatenate([shift * weights, [wish], np.zeros(6)])
        step = np.linalg.lstsq(left, right, rcond=None)[0]
        residual = np.abs(shift - scaled @ step)
        weights = np.sqrt(np.minimum(1.0, 0.5 / np.maximum(residual, 1e-6)))
        weights[residual > 4.0] *= 0.2
    return np.asarray(step / scale)


def _apply_step(sector: Sector, step: Array) -> Sector:
    x, y, left, right, inner, outer = step.tolist()
    return replace(
        sector, apex_x=sector.apex_x + x, apex_y=sector.apex_y + y,
        left=sector.left + float(np.rad2deg(left)), right=sector.right + float(np.rad2deg(right)),
        inner=max(0.0, sector.inner + inner), outer=sector.outer + outer,
    )  # fmt: skip
