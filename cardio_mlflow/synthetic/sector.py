"""The sector on the screen: its exact mask, and scan conversion from polar to screen pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Sector:
    """A fan on the screen.

    Attributes:
        apex: (x, y) of its tip, pixels.
        radius: outer radius, pixels.
        inner: radius within which the tip is cut off, pixels.
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
