"""A coarse sector from the borders of what moves, and how far its borders can be moved out."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.picture.fine_fit import within
from cardio_mlflow.data.picture.sector import Array, Flags, Floats, Mask, Numbers, Sector

Line = tuple[float, float]
"""An edge ``x = at + slope * row``: slope and ``at``."""

# Tuned on the hard clips narrow, wide, apex_above, cut_bottom, off_centre, ecg_gray_scroll, dim_edge; see
# benchmarks.tuned_constants.
_EDGE_DEGREES: Final = np.arange(8.0, 75.0, 0.5)  # leans of an edge that are tried
_STRIP: Final = 0.08  # of the picture's height: lower strips, such as a scrolling ECG, are cut off the blob
_BEYOND_MIRRORED: Final = 0.01  # share of the blob that may lie beyond an edge that is not seen
_MOSTLY: Final = 0.5  # of the lower border must be seen, or the smallest fan is proposed, too
_EXCEEDED: Final = 0.1  # of the rays may end beyond the outer radius
_CUT: Final = 1  # pixels from the picture's border at which it cuts the fan

# Moving the borders of a fit out to where faint movement ends.
_BEYOND_DEGREES: Final = 14.0  # the farthest that an edge is moved,
_STEP_DEGREES: Final = 0.25  # in such steps
_BEYOND: Final = 0.15  # of the outer radius: the farthest that the lower border is moved
_LEAST_SHARE: Final = 0.2  # of the pixels along a border that move, for the sector to reach there
_GAP: Final = 3  # steps that may be dark
_HALO: Final = 12.0  # pixels: as far out as JPEG blocks carry the ringing of a bright border, their diagonal
_SEGMENTS: Final = 8  # of the lower border, looked at one by one: an ECG reaches on below some of them only


def largest_blob(moving: Mask) -> tuple[Mask, Mask]:
    """The moving pixels of the largest piece, and all moving pixels without thin lines."""
    size = max(3, 2 * (max(moving.shape) // 200) + 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    dense = cv2.inRange(cv2.boxFilter(moving, -1, (size, size)), 128, 255)
    opened = cv2.morphologyEx(dense, cv2.MORPH_OPEN, kernel)
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


def coarse_sector(blob: Mask) -> Sector | None:
    """The sector whose edges and radii get most votes of the blob's border."""
    left, right = find_edges(blob)
    if left is None or right is None:
        return None
    (slope_l, at_l), (slope_r, at_r) = left, right
    apex_y = (at_r - at_l) / (slope_l - slope_r)
    apex_x = at_l + slope_l * apex_y
    radii = _radii(blob, apex_x, apex_y, np.arctan(slope_l), np.arctan(slope_r))
    if radii is None or apex_y < -1.5 * blob.shape[0] or apex_y > 0.6 * blob.shape[0]:
        return None
    degrees = np.rad2deg(np.arctan([slope_l, slope_r]))
    return Sector(float(apex_x), float(apex_y), float(degrees[0]), float(degrees[1]), *radii)


def find_edges(blob: Mask) -> tuple[Line | None, Line | None]:
    """The left and the right edge of a blob, each None where it is not seen."""
    rows = np.flatnonzero(blob.any(axis=1))
    first = blob[rows].argmax(axis=1).astype(np.float64)
    last = blob[rows, ::-1].argmax(axis=1).astype(np.float64)
    right = _edge(rows, last)
    return _edge(rows, first), None if right is None else (-right[0], blob.shape[1] - 1 - right[1])


def mirror_edge(edge: Line, blob: Mask) -> list[Sector]:
    """Upright sectors with one known edge, the other in the dark.

    The apex is the point of the edge from which most of the lower border is equally far away, among fans that
    hold nearly all of the blob. Where the picture cuts most of that border off, the smallest fan is one, too.
    """
    slope, at = edge
    lean = float(np.rad2deg(np.arctan(abs(slope))))
    columns = np.flatnonzero(blob.any(axis=0))
    bottom = blob.shape[0] - 1 - blob[::-1, columns].argmax(axis=0)
    whole = bottom < blob.shape[0] - 2
    top = int(np.flatnonzero(blob.any(axis=1))[0])
    lowest = min(_lowest_apex(blob, slope, at), top + 0.05 * blob.shape[0])
    best = (0, 0.0, 0.0, 0.0)
    for y in np.arange(top - 0.15 * blob.shape[0], lowest, 1.0):
        x = at + slope * y
        lit = whole & (np.abs(columns - x) < 0.75 * np.abs(slope) * (bottom - y))
        distances = np.rint(np.hypot(columns - x, bottom - y)[lit]).astype(np.int64)
        if len(distances) < 20:
            continue
        votes = np.convolve(np.bincount(distances), np.ones(5), mode="same")
        best = max(best, (int(votes.max()), float(np.argmax(votes)), float(x), float(y)))
    found = []
    if best[0] >= 20:
        found.append(Sector(best[2], best[3], -lean, lean, max(0.0, top - best[3]), best[1]))
    if whole.mean() < _MOSTLY:
        x, angle = at + slope * lowest, float(np.arctan(abs(slope)))
        radii = _radii(blob, x, lowest, -angle, angle)
        if radii is not None:
            found.append(Sector(x, lowest, -lean, lean, *radii))
    return found


def _lowest_apex(blob: Mask, slope: float, at: float) -> float:
    """Row of the lowest apex on an edge from which hardly any of the blob lies beyond the other edge."""
    rows, columns = np.nonzero(blob)
    steep = abs(slope)
    apexes = (steep * rows - np.sign(slope) * (at - columns)) / (2 * steep)
    return float(np.quantile(apexes, _BEYOND_MIRRORED)) + 1.0


def _edge(rows: Numbers, border: Array) -> Line | None:
    """The line along the left border, by Hough vote of its pixels; pixels beyond a line vote against it.

    Where the picture cuts the fan, there is no border to see.
    """
    cut = np.flatnonzero(border <= _CUT)
    free = int(cut[0]) if len(cut) else len(border)
    if free < 12:
        return None
    corner = min(free, int(np.flatnonzero(border <= np.quantile(border, 0.02) + 2)[-1]))
    if corner < 12:
        return None
    y, x = rows[:corner].astype(np.float64), border[:corner]
    angles = np.deg2rad(_EDGE_DEGREES)[:, None]
    distance = x * np.cos(angles) + y * np.sin(angles)
    bins = np.floor(distance - distance.min()).astype(np.int64)
    votes = np.zeros((len(angles), int(bins.max()) + 4))
    np.add.at(votes, (np.arange(len(angles))[:, None], bins), 1.0)
    near = votes[:, :-2] + votes[:, 1:-1] + votes[:, 2:]
    beyond = np.zeros_like(near)
    beyond[:, 2:] = np.cumsum(votes, axis=1)[:, :-4] - votes[:, :-4]
    best, position = np.unravel_index(int(np.argmax(near - 0.7 * beyond)), near.shape)
    inliers = np.abs(distance[best] - (distance.min() + position + 1.5)) <= 2.5
    if np.count_nonzero(inliers) < 10:
        return None
    slope, at = np.polyfit(y[inliers], x[inliers], 1)
    return (float(slope), float(at)) if slope < -0.05 else None


def _radii(blob: Mask, apex_x: float, apex_y: float, left: float, right: float) -> tuple[float, float] | None:
    """Inner and outer radius on which most rays from the apex agree."""
    longest = int(np.hypot(*blob.shape)) + int(max(0.0, -apex_y)) + 2
    margin = 0.06 * (right - left)
    angles = np.linspace(left + margin, right - margin, 180)
    lit, x, y = _along_rays(blob, apex_x, apex_y, angles, np.arange(longest, dtype=np.float32))
    hit = lit.any(axis=1)
    if np.count_nonzero(hit) < 60:
        return None
    inner = lit[hit].argmax(axis=1)
    outer = longest - 1 - lit[hit, ::-1].argmax(axis=1)
    seen = within(x, y, blob, 2)
    whole = outer < longest - 2 - seen[hit, ::-1].argmax(axis=1)  # the others are cut by the image's border
    return _mode(inner, longest), _outer(outer, whole, longest)


def _along_rays(
    mask: Mask, apex_x: float, apex_y: float, angles: Array, radii: NDArray[np.floating]
) -> tuple[Flags, Floats, Floats]:
    """Whether a mask is set at angles (radians) and radii around an apex; x and y there. Angles × radii."""
    x = (apex_x + np.outer(np.sin(angles), radii)).astype(np.float32)
    y = (apex_y + np.outer(np.cos(angles), radii)).astype(np.float32)
    lit = cv2.remap(mask, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(lit > 0), x, y


def _outer(outer: Numbers, whole: Flags, longest: int) -> float:
    """The radius where most rays end that the picture does not cut, and that few others exceed."""
    if np.count_nonzero(whole) < 20:
        return _mode(outer[outer >= np.quantile(outer, 0.95)], longest)
    reached = np.bincount(outer[~whole], minlength=longest)
    exceeding = np.cumsum(reached[::-1])[::-1]
    radius = _mode(outer[whole], longest, exceeding)
    exceeded = exceeding[min(longest - 1, int(radius) + 5)] > _EXCEEDED * len(outer)
    return float(outer.max()) if exceeded else radius


def _mode(values: Numbers, longest: int, against: Numbers | None = None) -> float:
    votes = np.convolve(np.bincount(values, minlength=longest), np.ones(5), mode="same")
    if against is not None:
        votes[:-5] -= against[5:]
    near = np.abs(values - int(np.argmax(votes))) <= 2
    return float(values[near].mean()) if near.any() else float(values.max())


def extend(sector: Sector, faint: Mask) -> Sector:
    """The sector with each border moved out to where faint movement ends.

    A border moves only when the movement goes on beyond what JPEG's ringing can explain. ``faint`` are the
    pixels that move at all; pixels are square.
    """
    length = sector.outer - sector.inner
    degrees = np.arange(0.0, _BEYOND_DEGREES, _STEP_DEGREES)
    radii = np.linspace(sector.inner + 0.2 * length, sector.outer - 0.1 * length, 160)
    halo = float(np.rad2deg(_HALO / (0.5 * (sector.inner + sector.outer))))
    left, right = (
        _reach(_shares(sector, faint, radii, np.deg2rad(beyond)), _STEP_DEGREES, halo)
        for beyond in (sector.left - degrees, sector.right + degrees)
    )
    wide = replace(sector, left=sector.left - left, right=sector.right + right)
    margin = 0.1 * (wide.right - wide.left)
    angles = np.deg2rad(np.linspace(wide.left + margin, wide.right - margin, 160))
    steps = np.arange(0.0, _BEYOND * sector.outer)
    outer = _reach(_shares(sector, faint, sector.outer + steps, angles).T, 1.0, _HALO, _SEGMENTS)
    inward = np.arange(0.0, max(1.0, sector.inner))
    inner = _reach(_shares(sector, faint, sector.inner - inward, angles).T, 1.0, _HALO)
    return replace(wide, outer=sector.outer + outer, inner=max(0.0, sector.inner - inner))


def empty_beyond(sector: Sector, faint: Mask) -> bool:
    """Whether hardly anything moves just beyond both edges: they are no shadow's borders."""
    radii = np.linspace(0.5 * (sector.inner + sector.outer), 0.95 * sector.outer, 80)
    halo = float(np.rad2deg(1.6 * _HALO / (0.5 * (sector.inner + sector.outer))))
    degrees = halo + np.arange(0.0, 4.0, 0.5)
    sides = (sector.left - degrees, sector.right + degrees)
    return all(_means(_shares(sector, faint, radii, np.deg2rad(beyond)), None) < 0.03 for beyond in sides)


def _shares(sector: Sector, faint: Mask, radii: Array, angles: Array) -> Array:
    """The faint mask at angles × radii: 1 or 0, NaN beyond the image."""
    lit, x, y = _along_rays(faint, sector.apex_x, sector.apex_y, angles, radii)
    return np.where(within(x, y, faint), lit.astype(np.float64), np.nan)


def _reach(shares: Array, step: float, halo: float, segments: int = 1) -> float:
    """How far at least half of a border's segments reach, in the unit of step and halo; 0 within the halo.

    Rows of shares lead from the border outward in steps, columns along it.
    """
    reaches = [_lit_rows(part) for part in np.array_split(shares, segments, axis=1)]
    reach = float(step * np.percentile(reaches, 50, method="lower"))
    return reach if reach > halo else 0.0


def _lit_rows(shares: Array) -> int:
    """How many rows of shares stay lit, from the first on, but for small gaps."""
    seen = np.isfinite(shares).mean(axis=1) > 0.3
    lit = (_means(shares, 1) >= _LEAST_SHARE) & seen
    for end in np.flatnonzero(~lit):
        if not lit[end : end + _GAP].any():
            return int(end)
    return len(lit) if lit.all() else 0


def _means(shares: Array, axis: int | None) -> Array:
    """Mean of what is seen of shares, 0 where nothing is."""
    return np.asarray(np.nansum(shares, axis=axis) / np.maximum(np.isfinite(shares).sum(axis=axis), 1))
