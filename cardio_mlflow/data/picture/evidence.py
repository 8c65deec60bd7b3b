"""What the pixels of a clip say for and against a sector."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.picture.sector import Sector, overlap

Mask = NDArray[np.uint8]

_NEAR_FIELD: Final = 0.1
_SLOPE: Final = 1.5
_TOP_ROWS: Final = 12
_TOP_LEVEL: Final = 0.4
_HALO: Final = 25
_SPECKS: Final = 4
"""Bright pixels in the dark part that are no letter."""
_NARROWEST: Final = 18
_WIDEST: Final = 130
_MOST_SPILL: Final = 0.25
_LEAST_SUPPORT: Final = 0.35


@dataclass(frozen=True)
class Evidence:
    """What the pixels of a clip say, in isotropic pixels.

    Attributes:
        image: root of each pixel's range over time.
        faint: pixels that move at all, but less than what is drawn moves.
        drawn: pixels that are ever bright enough to be read.
        inked: pixels that are ever as bright as words on black are.
    """

    image: NDArray[np.float32]
    faint: Mask
    drawn: Mask
    inked: Mask

    def upside_down(self) -> Evidence:
        """The same of the clip shown upside down."""
        return Evidence(
            self.image[::-1].copy(), *(m[::-1].copy() for m in (self.faint, self.drawn, self.inked))
        )


def spilt(sector: Sector, blob: Mask) -> float:
    """Share of a blob that lies outside of a sector by more than two pixels."""
    mask = cv2.dilate(sector.mask(*blob.shape), np.ones((5, 5), np.uint8))
    return np.count_nonzero(blob & ~mask) / np.count_nonzero(blob)


def drawn_on(sector: Sector, blob: Mask, evidence: Evidence, tick: int = 1) -> bool:
    """Whether more than specks of anything bright stand in the dark part of a sector.

    What lies within half a tick's length, pixels, of the border does not count.
    """
    near = cv2.dilate(_hull(blob), np.ones((_HALO, _HALO), np.uint8))
    inside = cv2.erode(sector.mask(*blob.shape), np.ones((tick, tick), np.uint8))
    return bool(np.count_nonzero(inside & evidence.drawn & ~near) > _SPECKS)


def judged(sector: Sector, support: float, blob: Mask, opened: Mask, least: float) -> Sector | None:
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


def with_near_field(sector: Sector, evidence: Evidence) -> Sector:
    """The sector with its first row, and with a near field that is dark."""
    whole = _with_dark_tip(sector, evidence)
    return replace(whole, top=_first_row(whole, evidence.image))


def _with_dark_tip(sector: Sector, evidence: Evidence) -> Sector:
    """The sector up to the first row that moves at all, where it begins in the dark and nothing is drawn."""
    if sector.inner < _NEAR_FIELD * sector.outer:
        return sector
    angles = np.deg2rad(np.linspace(sector.left, sector.right, 62)[1:-1])
    radii = np.array([[sector.inner - 4.0], [sector.inner + 4.0]])
    x, y = sector.apex_x + radii * np.sin(angles), sector.apex_y + radii * np.cos(angles)
    dark, lit = cv2.remap(evidence.image, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR).mean(
        axis=1
    )
    tip = replace(sector, inner=0.0, outer=sector.inner).mask(*evidence.image.shape)
    moving = np.argwhere(tip & evidence.faint)
    if lit - dark >= _SLOPE or not len(moving) or np.count_nonzero(tip & evidence.inked) > _SPECKS:
        return sector
    nearest = float(np.hypot(moving[:, 1] - sector.apex_x, moving[:, 0] - sector.apex_y).min())
    return replace(sector, inner=min(nearest, sector.inner))


def _first_row(sector: Sector, image: NDArray[np.float32]) -> float:
    """The first row of tissue above the middle of the curved top; nearly black rows before it are cut off."""
    inside = sector.mask(*image.shape) > 0
    middle = int(np.clip(sector.apex_y + sector.inner, 0, image.shape[0] - 1))
    rows = range(middle + _TOP_ROWS)
    profile = np.array([image[y, inside[y]].mean() if inside[y].any() else 0.0 for y in rows])
    lit = np.flatnonzero(profile >= _TOP_LEVEL * profile[middle:].max(initial=0.0))
    return float(min(lit[0] if len(lit) else middle, middle))
