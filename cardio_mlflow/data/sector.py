"""The sector of an echo clip: an annular fan, and the mask that it makes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sector:
    """A fan that opens downward.

    Lengths are in pixels of the image's height; a horizontal position is the column times the pixel's
    aspect. Angles are degrees from straight down, negative to the left.

    Attributes:
        apex_x: horizontal position where the two edges would meet.
        apex_y: row where the two edges would meet; may lie above the image.
        left: angle of the left edge.
        right: angle of the right edge.
        inner: radius of the curved top; 0 for a fan that starts in its apex.
        outer: radius of the curved bottom.
        score: agreement of the fit with the moving pixels, 0 to 1.
    """

    apex_x: float
    apex_y: float
    left: float
    right: float
    inner: float
    outer: float
    score: float = 1.0

    def mask(self, rows: int, columns: int, aspect: float = 1.0) -> NDArray[np.uint8]:
        """The pixels whose centre lies in the fan: uint8 0 or 255, rows × columns.

        Args:
            rows: height of the image.
            columns: width of the image.
            aspect: width of a pixel over its height.
        """
        x = (np.arange(columns, dtype=np.float32) * aspect - self.apex_x)[None, :]
        y = (np.arange(rows, dtype=np.float32) - self.apex_y)[:, None]
        squared = x * x + y * y
        inside = (squared >= max(self.inner, 0.0) ** 2) & (squared <= self.outer**2) & (y >= 0)
        for angle, side in ((self.left, -1.0), (self.right, 1.0)):
            radians = np.deg2rad(angle)
            inside &= side * (x * np.cos(radians) - y * np.sin(radians)) <= 0
        return np.where(inside, np.uint8(255), np.uint8(0))


def overlap(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Intersection over union of two masks; 0 when both are empty."""
    union = np.count_nonzero(one | other)
    return float(np.count_nonzero(one & other) / union) if union else 0.0
