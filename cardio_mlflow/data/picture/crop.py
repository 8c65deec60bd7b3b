"""The square that a prepared clip shows: what is seen of the sector, and nothing outside of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.picture.sector import Sector

Image = NDArray[np.uint8]

PREPARED_SIZE: Final = 224
"""Height and width of a prepared clip in pixels."""


@dataclass(frozen=True)
class Crop:
    """One square of the picture, the same for all frames of a clip.

    Attributes:
        top: first row of the square in the frame.
        left: first column of the square; negative where the square leaves the frame.
        rows: height of the square in frame pixels.
        columns: its width in frame pixels; differs from the height when pixels are not square.
        mask: the sector within the square, uint8 0 or 255, rows × columns.
        small_mask: the same at the prepared size.
    """

    top: int
    left: int
    rows: int
    columns: int
    mask: Image
    small_mask: Image

    def apply(self, frame: Image) -> Image:
        """Mask, crop and resize a frame: uint8 224 × 224, exactly 0 outside the sector."""
        masked = cv2.bitwise_and(_cut(frame, self.top, self.left, self.rows, self.columns), self.mask)
        return np.asarray(cv2.bitwise_and(_resized(masked), self.small_mask), dtype=np.uint8)

    def place(self, points: NDArray[np.float64], aspect: float) -> NDArray[np.float64]:
        """Where points of the frame come to lie in the prepared clip.

        Args:
            points: x (in pixels of the frame's height) and y, shape (N, 2), as `Sector.outline` gives them.
            aspect: width of a pixel over its height.

        Returns:
            x and y in pixels of the prepared clip, the upper left corner at 0, shape (N, 2).
        """
        x = (points[:, 0] / aspect + 0.5 - self.left) / self.columns
        y = (points[:, 1] + 0.5 - self.top) / self.rows
        return PREPARED_SIZE * np.stack([x, y], axis=1)


def crop_to(sector: Sector, rows: int, columns: int, aspect: float) -> Crop:
    """The smallest square that holds what is seen of the sector.

    Its middle column is the apex's, or the middle of what is seen where a side of the picture cuts the fan.

    Args:
        sector: the fitted fan.
        rows: height of a frame.
        columns: width of a frame.
        aspect: width of a pixel over its height; the square is one on the patient, not on the screen.
    """
    mask = sector.mask(rows, columns, aspect)
    x, y, width, height = cv2.boundingRect(mask)
    cut = x == 0 or x + width == columns
    middle = (x + width / 2) * aspect if cut else sector.apex_x
    half = max(middle - x * aspect, (x + width) * aspect - middle)
    side = max(2 * half, float(height))
    across, down = max(1, round(side / aspect)), max(1, round(side))
    left = round((middle - side / 2) / aspect)
    inside = _cut(mask, y, left, down, across)
    small = np.where(_resized(inside) >= 128, np.uint8(255), np.uint8(0))
    return Crop(y, left, down, across, inside, small)


def square(frame: Image) -> Image:
    """Pad a frame at the bottom or on both sides to a square and resize it to 224 × 224."""
    side = max(frame.shape)
    return _resized(_cut(frame, 0, -((side - frame.shape[1]) // 2), side, side))


def _cut(frame: Image, top: int, left: int, rows: int, columns: int) -> Image:
    """A rectangle of a frame, zero where it leaves the frame."""
    first, last = max(0, left), min(frame.shape[1], left + columns)
    bottom = min(frame.shape[0], top + rows)
    if (first, last, bottom) == (left, left + columns, top + rows):
        return frame[top:bottom, first:last]
    out = np.zeros((rows, columns), np.uint8)
    out[: bottom - top, first - left : last - left] = frame[top:bottom, first:last]
    return out


def _resized(image: Image) -> Image:
    enlarged = max(image.shape) < PREPARED_SIZE
    way = cv2.INTER_LINEAR if enlarged else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, (PREPARED_SIZE, PREPARED_SIZE), interpolation=way), dtype=np.uint8)
