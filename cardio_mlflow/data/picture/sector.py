"""The fan of an echo clip, the pixel statistics in which it is sought, and the square cropped around it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # luma, rows × columns (× 3: RGB)
Mask = NDArray[np.uint8]  # 0 or 255, rows × columns
Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]

PREPARED_SIZE: Final = 224
"""Height and width of a prepared clip in pixels."""

_THUMBNAIL: Final = 80  # pixels of a small copy's longer side
_BRIGHT_RANGE: Final = 40  # gray levels that a passing trace is brighter, in less than
_LEAST_DUTY: Final = 0.1  # this share of the frames
_ARC_POINTS: Final = 24  # corners along each arc of an outline


@dataclass(frozen=True)
class ClipStatistics:
    """Pixel statistics over the frames of one clip; images of rows × columns."""

    maximum: Image  # largest luma of each pixel
    minimum: Image  # smallest luma of each pixel
    mean: Image  # rounded
    activity: Floats  # mean absolute difference of neighbouring frames
    thumbnails: Image  # small copies of all frames, frames × height × width

    @property
    def spread(self) -> Image:
        """Range of each pixel's luma."""
        return np.asarray(cv2.subtract(self.maximum, self.minimum))

    @property
    def passing(self) -> Flags:
        """Pixels that something bright passes now and then, as a moving trace or cursor does.

        Tissue is above the middle of its range about as often as below.
        """
        spread, above = self.spread, cv2.subtract(self.mean, self.minimum)
        return np.asarray((spread >= _BRIGHT_RANGE) & (above < _LEAST_DUTY * spread))


def collect(frames: Iterable[Image]) -> ClipStatistics:
    """Stream over at least two frames, uint8 of rows × columns, and keep only their statistics."""
    iterator = iter(frames)
    previous = next(iterator)
    maximum, minimum = previous.copy(), previous.copy()
    luma, change = previous.astype(np.float32), np.zeros(previous.shape, np.float32)
    difference = np.empty_like(previous)
    thumbnails = [thumbnail(previous)]
    for frame in iterator:
        cv2.max(maximum, frame, dst=maximum)
        cv2.min(minimum, frame, dst=minimum)
        cv2.accumulate(frame, luma)
        cv2.accumulate(cv2.absdiff(frame, previous, dst=difference), change)
        thumbnails.append(thumbnail(frame))
        previous = frame
    mean = np.rint(luma / len(thumbnails)).astype(np.uint8)
    change /= max(1, len(thumbnails) - 1)
    return ClipStatistics(maximum, minimum, mean, change, np.stack(thumbnails))


def thumbnail(image: Image) -> Image:
    """A small copy of a frame or a mask, its longer side 80 pixels, by area averaging."""
    scale = _THUMBNAIL / max(image.shape)
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


@dataclass(frozen=True)
class Sector:
    """A fan that opens downward.

    Lengths are in pixel heights; a horizontal position is the column times the pixel's aspect (width over
    height). Angles are degrees from straight down, negative to the left.
    """

    apex_x: float  # where the two edges would meet
    apex_y: float  # row; may lie above the image
    left: float  # angle of the left edge
    right: float
    inner: float  # radius of the curved top; 0 for a fan that starts in its apex
    outer: float  # radius of the curved bottom
    score: float = 1.0  # agreement of the fit with the moving pixels, 0 to 1
    top: float = -math.inf  # first row of tissue; scanners cut the corners of the curved top off there

    def mask(self, rows: int, columns: int, aspect: float = 1.0) -> Image:
        """The pixels whose centres lie in the fan: uint8 0 or 255, rows × columns."""
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
        """The same fan in an image ``factor`` times as large."""
        return replace(
            self, apex_x=factor * (self.apex_x + 0.5) - 0.5, apex_y=factor * (self.apex_y + 0.5) - 0.5,
            inner=factor * self.inner, outer=factor * self.outer, top=factor * (self.top + 0.5) - 0.5,
        )  # fmt: skip

    def outline(self) -> Array:
        """Polygon along the border, clockwise from the upper left: (K, 2), x and y as above."""
        angles = np.deg2rad(np.linspace(self.left, self.right, _ARC_POINTS))
        away = np.stack([np.sin(angles), np.cos(angles)], axis=1)
        border = np.concatenate([self.inner * away, self.outer * away[::-1]])
        points = np.array([self.apex_x, self.apex_y]) + border
        points[:_ARC_POINTS, 1] = np.maximum(points[:_ARC_POINTS, 1], self.top)
        return np.asarray(points)


def overlap(one: Image, other: Image) -> float:
    """Intersection over union of two masks; 0 when both are empty."""
    union = np.count_nonzero(one | other)
    return float(np.count_nonzero(one & other) / union) if union else 0.0


@dataclass(frozen=True)
class Crop:
    """One square of the picture, the same for all frames of a clip; lengths in pixels of the frame."""

    top: int
    left: int  # negative where the square leaves the frame
    rows: int
    columns: int  # differs from the rows when pixels are not square
    mask: Image  # the sector within the square, uint8 0 or 255, rows × columns
    small_mask: Image  # the same at the prepared size

    def apply(self, frame: Image) -> Image:
        """Mask, crop and resize a frame: uint8 224 × 224, exactly 0 outside the sector."""
        masked = cv2.bitwise_and(_cut(frame, self.top, self.left, self.rows, self.columns), self.mask)
        return np.asarray(cv2.bitwise_and(_resized(masked), self.small_mask), dtype=np.uint8)

    def place(self, points: Array, aspect: float) -> Array:
        """Points (N, 2) of the frame, as of `Sector.outline`, in pixels of the prepared clip; corner at 0."""
        x = (points[:, 0] / aspect + 0.5 - self.left) / self.columns
        y = (points[:, 1] + 0.5 - self.top) / self.rows
        return PREPARED_SIZE * np.stack([x, y], axis=1)


def crop_to(sector: Sector, rows: int, columns: int, aspect: float) -> Crop:
    """The smallest square, in mm and not in pixels, that holds what is seen of the sector.

    Its middle column is the apex's; where a side of the picture cuts the fan, the middle of what is seen.
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
    """Pad a frame to a square, at the bottom or on both sides, and resize it to 224 × 224."""
    side = max(frame.shape)
    return _resized(_cut(frame, 0, -((side - frame.shape[1]) // 2), side, side))


def _cut(frame: Image, top: int, left: int, rows: int, columns: int) -> Image:
    """A rectangle of a frame; zero beyond the frame."""
    first, last = max(0, left), min(frame.shape[1], left + columns)
    bottom = min(frame.shape[0], top + rows)
    if (first, last, bottom) == (left, left + columns, top + rows):
        return frame[top:bottom, first:last]
    out = np.zeros((rows, columns), np.uint8)
    out[: bottom - top, first - left : last - left] = frame[top:bottom, first:last]
    return out


def _resized(image: Image) -> Image:
    way = cv2.INTER_LINEAR if max(image.shape) < PREPARED_SIZE else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, (PREPARED_SIZE, PREPARED_SIZE), interpolation=way), dtype=np.uint8)
