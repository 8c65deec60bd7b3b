"""A first guess of the sector from the pixels that move."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.sector import Sector

Mask = NDArray[np.uint8]

_EDGE_DEGREES: Final = np.arange(8.0, 75.0, 0.5)
_STRIP: Final = 0.08


def largest_blob(moving: Mask) -> tuple[Mask, Mask]:
    """The moving pixels of the largest piece, and all moving pixels without thin lines.

    Strips lower than 8 % of the picture, such as a scrolling ECG, are cut off even where they touch.
    """
    size = max(3, 2 * (max(moving.shape) // 200) + 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    dense = cv2.boxFilter(moving, -1, (size, size))
    opened = cv2.morphologyEx(np.where(dense >= 128, np.uint8(255), np.uint8(0)), cv2.MORPH_OPEN, kernel)
    outlines, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    joined = cv2.drawContours(np.zeros_like(opened), outlines, -1, 255, cv2.FILLED)
    wide = max(9, round(_STRIP * moving.shape[0]))
    severed = cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.ones((wide, wide), np.uint8))
    count, labels, facts, _ = cv2.connectedComponentsWithStats(severed)
    if count < 2:
        return np.zeros_like(moving), opened
    largest = 1 + int(np.argmax(facts[1:, cv2.CC_STAT_AREA]))
    core = np.where(labels == largest, np.uint8(255), np.uint8(0))
    return cv2.dilate(core, np.ones((wide // 2, wide // 2), np.uint8)) & opened, opened


def guess(blob: Mask) -> Sector | None:
    """The sector whose edges and radii get most votes of the blob's border, or None."""
    rows = np.flatnonzero(blob.any(axis=1))
    first = blob[rows].argmax(axis=1).astype(np.float64)
    last = blob.shape[1] - 1 - blob[rows, ::-1].argmax(axis=1).astype(np.float64)
    left, right = _edge(rows, first), _edge(rows, blob.shape[1] - 1 - last)
    if left is None or right is None:
        return None
    (slope_l, at_l), (slope_r, at_r) = left, (-right[0], blob.shape[1] - 1 - right[1])
    apex_y = (at_r - at_l) / (slope_l - slope_r)
    apex_x = at_l + slope_l * apex_y
    radii = _radii(blob, apex_x, apex_y, np.arctan(slope_l), np.arctan(slope_r))
    if radii is None or apex_y < -1.5 * blob.shape[0] or apex_y > 0.6 * blob.shape[0]:
        return None
    degrees = np.rad2deg(np.arctan([slope_l, slope_r]))
    return Sector(float(apex_x), float(apex_y), float(degrees[0]), float(degrees[1]), *radii)


def mirrored(sector: Sector, blob: Mask) -> Sector | None:
    """The sector whose wider edge is right and whose other edge lies in the dark, at the same lean.

    The apex is sought along the wider edge: it is where most of the lower border is equally far away.
    """
    lean = max(-sector.left, sector.right)
    side = -1.0 if lean == -sector.left else 1.0
    slope = side * np.tan(np.deg2rad(lean))
    columns = np.flatnonzero(blob.any(axis=0))
    bottom = blob.shape[0] - 1 - blob[::-1, columns].argmax(axis=0)
    top = int(np.flatnonzero(blob.any(axis=1))[0])
    best: tuple[int, float, float, float] = (0, 0.0, 0.0, 0.0)
    for y in np.arange(top - 0.15 * blob.shape[0], top + 0.05 * blob.shape[0], 1.0):
        x = sector.apex_x + slope * (y - sector.apex_y)
        lit = np.abs(columns - x) < 0.75 * np.abs(slope) * (bottom - y)
        radii = np.rint(np.hypot(columns - x, bottom - y)[lit]).astype(np.int64)
        if len(radii) < 20:
            continue
        votes = np.convolve(np.bincount(radii), np.ones(5), mode="same")
        best = max(best, (int(votes.max()), float(np.argmax(votes)), float(x), float(y)))
    if best[0] < 20:
        return None
    inner = max(0.0, top - best[3])
    return Sector(best[2], best[3], -lean, lean, inner, best[1])


def _edge(rows: NDArray[np.int64], border: NDArray[np.float64]) -> tuple[float, float] | None:
    """Line ``x = at + slope * row`` along the left border, by Hough vote of the border's pixels.

    A vote counts against a line when the pixel lies beyond it: the edge is the border of the fan.
    """
    corner = int(np.flatnonzero(border <= np.quantile(border, 0.02) + 2)[-1])
    if corner < 12:
        return None
    y, x = rows[:corner].astype(np.float64), border[:corner]
    angles = np.deg2rad(_EDGE_DEGREES)
    distance = x[None, :] * np.cos(angles)[:, None] + y[None, :] * np.sin(angles)[:, None]
    bins = np.floor(distance - distance.min()).astype(np.int64)
    width = int(bins.max()) + 4
    votes = np.zeros((len(angles), width))
    np.add.at(votes, (np.arange(len(angles))[:, None], bins), 1.0)
    near = votes[:, :-2] + votes[:, 1:-1] + votes[:, 2:]
    beyond = np.cumsum(votes, axis=1)[:, :-2] - votes[:, :-2]
    beyond = np.concatenate([np.zeros((len(angles), 2)), beyond[:, :-2]], axis=1)
    best, position = np.unravel_index(int(np.argmax(near - 0.7 * beyond)), near.shape)
    line = distance.min() + position + 1.5
    inliers = np.abs(distance[best] - line) <= 2.5
    if np.count_nonzero(inliers) < 10:
        return None
    slope, at = np.polyfit(y[inliers], x[inliers], 1)
    return (float(slope), float(at)) if slope < -0.05 else None


def _radii(blob: Mask, apex_x: float, apex_y: float, left: float, right: float) -> tuple[float, float] | None:
    """Inner and outer radius on which most directions agree."""
    longest = int(np.hypot(*blob.shape)) + int(max(0.0, -apex_y)) + 2
    margin = 0.06 * (right - left)
    angles = np.linspace(left + margin, right - margin, 180)
    r = np.arange(longest, dtype=np.float32)
    x = (apex_x + np.outer(np.sin(angles), r)).astype(np.float32)
    y = (apex_y + np.outer(np.cos(angles), r)).astype(np.float32)
    polar = cv2.remap(blob, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0) > 0
    hit = polar.any(axis=1)
    if np.count_nonzero(hit) < 60:
        return None
    inner = polar[hit].argmax(axis=1)
    outer = longest - 1 - polar[hit, ::-1].argmax(axis=1)
    within = (x >= 2) & (y >= 2) & (x <= blob.shape[1] - 3) & (y <= blob.shape[0] - 3)
    whole = outer < longest - 2 - within[hit, ::-1].argmax(axis=1)  # the others are cut by the image's border
    seen = outer[whole] if np.count_nonzero(whole) >= 20 else outer[outer >= np.quantile(outer, 0.95)]
    return _mode(inner, longest), _mode(seen, longest)


def _mode(values: NDArray[np.int64], longest: int) -> float:
    votes = np.convolve(np.bincount(values, minlength=longest), np.ones(5), mode="same")
    centre = int(np.argmax(votes))
    return float(values[np.abs(values - centre) <= 2].mean())
