"""The sector on the screen: its exact mask, and scan conversion from polar to screen pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Image = NDArray[np.uint8]
Scale = Literal["sector", "physical"]
"""How a clip is cut out: its fan fills the square, or every square shows FIELD_CM."""

FIELD_CM = 20.0
"""Side of what a square picture at physical scale shows, apex top centre."""


@dataclass(frozen=True)
class Sector:
    """A fan on the screen.

    Attributes:
        apex: (x, y) of its tip, pixels; the tip may be cut off by `inner`.
        radius: outer radius, pixels.
        inner: inner radius, pixels.
        half_angle: half the opening, radians.
        shape: (rows, columns) of the screen.
    """

    apex: tuple[float, float]
    radius: float
    inner: float
    half_angle: float
    shape: tuple[int, int]

    def offsets(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Offset (dx, dy) from the apex of every screen pixel, as (1, columns) and (rows, 1)."""
        x = np.arange(self.shape[1], dtype=np.float32)[None] - np.float32(self.apex[0])
        return x, np.arange(self.shape[0], dtype=np.float32)[:, None] - np.float32(self.apex[1])

    def mask(self) -> Mask:
        """Pixels whose centre lies in the fan, (rows, columns)."""
        dx, dy = self.offsets()
        square = dx**2 + dy**2
        inside = np.abs(dx) <= np.float32(np.tan(self.half_angle)) * dy
        return np.asarray(inside & (square <= self.radius**2) & (square >= self.inner**2))

    def box(self) -> tuple[slice, slice]:
        """Smallest rows and columns that hold the mask."""
        mask = self.mask()
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


class ScanConverter:
    """Bilinear conversion of polar pictures to the sector's box on the screen."""

    def __init__(self, sector: Sector, polar_shape: tuple[int, int]) -> None:
        self.box = sector.box()
        self.mask = sector.mask()[self.box].astype(np.uint8) * 255
        dx, dy = sector.offsets()
        dx, dy = dx[:, self.box[1]], dy[self.box[0]]
        distance, angle = np.hypot(dx, dy), np.arctan2(dx, dy)
        beam = (angle / sector.half_angle + 1) / 2 * (polar_shape[1] - 1)
        depth = distance / sector.radius * (polar_shape[0] - 1)
        self._maps = beam.astype(np.float32), depth.astype(np.float32)

    def __call__(self, polar: Image) -> Image:
        """Convert one picture (depths, beams) to the box, zero outside the fan."""
        picture = cv2.remap(
            polar, self._maps[0], self._maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(cv2.bitwise_and(picture, self.mask))


def square_sector(half_angle: float, depth: float, side: int, scale: Scale) -> Sector:
    """A fan in a square of so many pixels, as a prepared clip holds it; half opening in radians, depth in cm.

    At sector scale it is the largest whose box fits the middle. At physical scale the apex is top centre,
    what lies deeper than FIELD_CM is cut, and below a shallower fan it is black.
    """
    if scale == "physical":
        return Sector(((side - 1) / 2, 0.0), depth * side / FIELD_CM, 0.0, half_angle, (side, side))
    radius = min(side - 1.0, (side - 1.0) / (2 * np.sin(half_angle)))
    return Sector(((side - 1) / 2, (side - 1 - radius) / 2), radius, 0.0, half_angle, (side, side))
