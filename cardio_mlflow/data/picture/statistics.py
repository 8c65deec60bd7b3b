"""What one pass over a clip's frames tells about every pixel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

_THUMBNAIL: Final = 80
_BRIGHT_RANGE: Final = 40
_LEAST_DUTY: Final = 0.1


@dataclass(frozen=True)
class ClipStatistics:
    """Statistics over the frames of one clip.

    Attributes:
        maximum: largest luma of each pixel, uint8, h × w.
        minimum: smallest luma of each pixel, uint8, h × w.
        mean: mean luma of each pixel, rounded, uint8, h × w.
        activity: mean absolute difference of neighbouring frames, float32, h × w.
        thumbnails: small copies of all frames, uint8, frames × h × w.
    """

    maximum: NDArray[np.uint8]
    minimum: NDArray[np.uint8]
    mean: NDArray[np.uint8]
    activity: NDArray[np.float32]
    thumbnails: NDArray[np.uint8]

    @property
    def passing(self) -> NDArray[np.bool_]:
        """Pixels where something bright comes by now and then, as a moving trace or cursor does: h × w.

        Tissue is about as often above the middle of its range as below.
        """
        spread = cv2.subtract(self.maximum, self.minimum)
        above = cv2.subtract(self.mean, self.minimum)
        return np.asarray((spread >= _BRIGHT_RANGE) & (above < _LEAST_DUTY * spread))


def collect(frames: Iterable[NDArray[np.uint8]]) -> ClipStatistics:
    """Stream over at least two frames (uint8, rows × columns) and keep only their statistics."""
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


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A small copy of a frame or a mask, its longer side 80 pixels, by area averaging."""
    scale = _THUMBNAIL / max(image.shape)
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
