"""The sector of an echo clip: an annular fan, and the mask that it makes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

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
        top: first row that shows tissue; scanners cut the corners of the curved top off there.
        score: agreement of the fit with the moving pixels, 0 to 1.
    """

    apex_x: float
    apex_y: float
    left: float
    right: float
    inner: float
    outer: float
    score: float = 1.0
    top: float = -math.inf

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
        inside = (squared >= max(self.inner, 0.0) ** 2) & (squared <= self.outer**2)
        inside &= y >= max(0.0, self.top - self.apex_y)
        for angle, side in ((self.left, -1.0), (self.right, 1.0)):
            radians = np.deg2rad(angle)
            inside &= side * (x * np.cos(radians) - y * np.sin(radians)) <= 0
        return np.where(inside, np.uint8(255), np.uint8(0))

    def scaled(self, factor: float) -> Sector:
        """The same fan in an image that is ``factor`` times as large."""
        return replace(
            self, apex_x=factor * (self.apex_x + 0.5) - 0.5, apex_y=factor * (self.apex_y + 0.5) - 0.5,
            inner=factor * self.inner, outer=factor * self.outer, top=factor * (self.top + 0.5) - 0.5,
        )  # fmt: skip

    def outline(self) -> NDArray[np.float64]:
        """Corners of a polygon along the border, clockwise from the upper left: (K, 2), x and y as above."""
        angles = np.deg2rad(np.linspace(self.left, self.right, _ARC_POINTS))
        away = np.stack([np.sin(angles), np.cos(angles)], axis=1)
        border = np.concatenate([self.inner * away, self.outer * away[::-1]])
        points = np.array([self.apex_x, self.apex_y]) + border
        points[:_ARC_POINTS, 1] = np.maximum(points[:_ARC_POINTS, 1], self.top)
        return np.asarray(points)


_ARC_POINTS: Final = 24


def overlap(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Intersection over union of two masks; 0 when both are empty."""
    union = np.count_nonzero(one | other)
    return float(np.count_nonzero(one & other) / union) if union else 0.0
