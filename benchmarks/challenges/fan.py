"""Any sector that a probe makes: curved top, steered, off-centre, cut by the screen, not of square pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Fan:
    """An annular fan on the screen; lengths in pixels of the height, angles in degrees from straight down.

    Attributes:
        apex: (x, y) where the edges meet, may lie above the screen; x is the column times `aspect`.
        left: angle of the left edge, negative to the left.
        right: angle of the right edge.
        inner: radius of the top.
        outer: radius of the bottom.
        shape: (rows, columns) of the screen.
        aspect: width of a pixel over its height.
    """

    apex: tuple[float, float]
    left: float
    right: float
    inner: float
    outer: float
    shape: tuple[int, int]
    aspect: float = 1.0

    def polar(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Distance from the apex, pixels, and angle, degrees, of every pixel: two (rows, columns)."""
        x = (np.arange(self.shape[1]) * self.aspect - self.apex[0])[None, :]
        y = (np.arange(self.shape[0]) - self.apex[1])[:, None]
        return np.hypot(x, y), np.rad2deg(np.arctan2(x, y))

    def mask(self) -> Mask:
        """Pixels whose centre lies in the fan, (rows, columns)."""
        distance, angle = self.polar()
        within = (angle >= self.left) & (angle <= self.right)
        return np.asarray(within & (distance >= self.inner) & (distance <= self.outer))

    def point(self, angle: float, distance: float) -> tuple[float, float]:
        """Column and row of a point at an angle, degrees, and a distance from the apex, pixels."""
        radians = np.deg2rad(angle)
        x, y = self.apex[0] + distance * np.sin(radians), self.apex[1] + distance * np.cos(radians)
        return float(x / self.aspect), float(y)

    def at_depth(self, share: float) -> float:
        """Distance from the apex, pixels, of a depth given as a share of the picture's depth."""
        return self.inner + share * (self.outer - self.inner)

    def box(self) -> tuple[int, int, int, int]:
        """Smallest (left, top, right, bottom) that holds the mask; right and bottom lie inside."""
        mask = self.mask()
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


class FanConverter:
    """Bilinear conversion of polar pictures (depths, beams) to the whole screen, 0 outside of the fan."""

    def __init__(self, fan: Fan, polar_shape: tuple[int, int]) -> None:
        distance, angle = fan.polar()
        depth = (distance - fan.inner) / (fan.outer - fan.inner) * (polar_shape[0] - 1)
        beam = (angle - fan.left) / (fan.right - fan.left) * (polar_shape[1] - 1)
        self._maps = beam.astype(np.float32), depth.astype(np.float32)
        self._mask = fan.mask().astype(np.uint8) * 255

    def __call__(self, polar: Image) -> Image:
        """Convert one picture, (depths, beams) or (depths, beams, 3)."""
        beam, depth = self._maps
        picture = cv2.remap(polar, beam, depth, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(cv2.bitwise_and(picture, picture, mask=self._mask))
