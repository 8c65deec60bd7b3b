"""Carrying a sector's borders outward over tissue too faint for the first guess."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.sector import Sector

Mask = NDArray[np.uint8]
Array = NDArray[np.float64]

_BEYOND_DEGREES: Final = 14.0
_STEP_DEGREES: Final = 0.25
_BEYOND: Final = 0.15
_LEAST_SHARE: Final = 0.2
_GAP: Final = 3
_HALO: Final = 12.0
"""Pixels: as far out as JPEG blocks carry the ringing of a bright border, their diagonal."""
_SEGMENTS: Final = 8
"""Parts of the lower border that are looked at one by one: an ECG reaches on below some of them only."""


def extended(sector: Sector, faint: Mask) -> Sector:
    """The sector with each border moved out to where faint movement ends; the same one if none reaches on.

    A border moves only when the movement goes on beyond what JPEG's ringing can explain.

    Args:
        sector: a fit on the well-lit part.
        faint: pixels that move at all, uint8 0 or 255, rows × columns; isotropic pixels.
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
    """Whether hardly anything moves just beyond both edges, as is so where they are no shadow's edges."""
    radii = np.linspace(0.5 * (sector.inner + sector.outer), 0.95 * sector.outer, 80)
    halo = float(np.rad2deg(1.6 * _HALO / (0.5 * (sector.inner + sector.outer))))
    degrees = halo + np.arange(0.0, 4.0, 0.5)
    left = _shares(sector, faint, radii, np.deg2rad(sector.left - degrees))
    right = _shares(sector, faint, radii, np.deg2rad(sector.right + degrees))
    return bool(max(_mean(left), _mean(right)) < 0.03)


def _shares(sector: Sector, faint: Mask, radii: Array, angles: Array) -> Array:
    """The faint mask at radii and angles: 1 or 0, NaN beyond the image; angles × radii."""
    x = (sector.apex_x + np.outer(np.sin(angles), radii)).astype(np.float32)
    y = (sector.apex_y + np.outer(np.cos(angles), radii)).astype(np.float32)
    lit = cv2.remap(faint, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    rows, columns = faint.shape
    inside = (x >= 0) & (y >= 0) & (x <= columns - 1) & (y <= rows - 1)
    return np.where(inside, lit / 255.0, np.nan)


def _reach(shares: Array, step: float, halo: float, segments: int = 1) -> float:
    """How far at least half of a border's segments reach; 0 unless that is further than the halo.

    Args:
        shares: rows from the border outward, columns along it.
        step: from row to row.
        halo: in the step's unit.
        segments: number of parts along the border.
    """
    reaches = [_lit_rows(part) for part in np.array_split(shares, segments, axis=1)]
    reach = float(step * np.percentile(reaches, 50, method="lower"))
    return reach if reach > halo else 0.0


def _lit_rows(shares: Array) -> int:
    """How many rows of shares stay lit, from the first on, but for small gaps."""
    seen = np.isfinite(shares).mean(axis=1) > 0.3
    lit = np.array([_mean(row) >= _LEAST_SHARE for row in shares]) & seen
    for end in np.flatnonzero(~lit):
        if not lit[end : end + _GAP].any():
            return int(end)
    return len(lit) if lit.all() else 0


def _mean(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else 0.0
