"""Where on the screen something wide and flat moves outside the sector: the strip of an ECG, perhaps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.picture.sector import ClipStatistics

Image = NDArray[np.uint8]

_LEAST_RANGE: Final = 36  # gray levels over time; noise of JPEG quality 50 beside a moving line stays below
_LEAST_WIDTH: Final = 0.12  # of the picture
_TALLEST: Final = 0.22  # of the picture; of what is taller (a cursor over the whole screen) the lower part
_BESIDE_SECTOR: Final = 0.09  # of the picture
_MOST_STRIPS: Final = 3
_KEPT_BYTES: Final = 32 * 1024**2


@dataclass(frozen=True)
class Strip:
    """Rows over the picture's whole width, and the columns in which something moves; ends past the last."""

    top: int
    bottom: int
    left: int
    right: int


def find_strips(statistics: ClipStatistics, outside: Image) -> list[Strip]:
    """Bands in which pixels change over much of the width where no tissue is shown (``outside`` is 255).

    The widest comes first; at most three.
    """
    rows, columns = outside.shape
    spread = cv2.subtract(statistics.maximum, statistics.minimum)
    moving = cv2.bitwise_and(cv2.compare(spread, _LEAST_RANGE, cv2.CMP_GT), outside)
    half = cv2.resize(moving, ((columns + 1) // 2, (rows + 1) // 2), interpolation=cv2.INTER_AREA)
    kernel = np.ones((3, max(3, columns // 32) | 1), np.uint8)
    joined = cv2.morphologyEx(cv2.compare(half, 0, cv2.CMP_GT), cv2.MORPH_CLOSE, kernel)
    boxes = 2 * cv2.connectedComponentsWithStats(joined, connectivity=8)[2]
    found: list[Strip] = []
    for left, top, width, height, _ in sorted(boxes[1:].tolist(), key=lambda box: -box[2]):
        if width >= _LEAST_WIDTH * columns and width > 1.5 * min(height, _TALLEST * rows):
            tall = min(height, int(_TALLEST * rows))
            bottom = top + height
            found = _merged(found, Strip(bottom - tall, bottom, left, left + width))
    found.sort(key=lambda strip: (strip.left - strip.right, strip.top))
    return [_padded(strip, outside) for strip in found[:_MOST_STRIPS]]


def crop_frames(frames: Iterable[Image], strips: list[Strip], columns: int) -> list[Image]:
    """Cut the strips out of all frames in one pass, each uint8 frames × rows × columns.

    Of a very long clip only the first frames are cut, as many as 32 MiB hold.
    """
    height = sum(strip.bottom - strip.top for strip in strips)
    most = max(2, _KEPT_BYTES // max(1, height * columns))
    cut: list[list[Image]] = [[] for _ in strips]
    for number, frame in enumerate(frames):
        if number >= most:
            break
        for kept, strip in zip(cut, strips, strict=True):
            kept.append(frame[strip.top : strip.bottom].copy())
    return [np.stack(kept) for kept in cut]


def _merged(strips: list[Strip], new: Strip) -> list[Strip]:
    """The strips with a new one, made one with those that stand in much the same rows."""
    apart = []
    for strip in strips:
        shared = min(strip.bottom, new.bottom) - max(strip.top, new.top)
        if shared >= 0.5 * min(strip.bottom - strip.top, new.bottom - new.top):
            new = Strip(min(strip.top, new.top), max(strip.bottom, new.bottom),
                        min(strip.left, new.left), max(strip.right, new.right))  # fmt: skip
        else:
            apart.append(strip)
    return [*apart, new]


def _padded(strip: Strip, outside: Image) -> Strip:
    """Some more rows on either side: an R wave that stands still may reach beyond what moves.

    Beside the sector only the strip's corners may be seen to move, so there it is many more.
    """
    rows = len(outside)
    over_tissue = outside[strip.top : strip.bottom].min() == 0
    more = max(4, (strip.bottom - strip.top) // 4, int(_BESIDE_SECTOR * rows) if over_tissue else 0)
    return Strip(max(0, strip.top - more), min(rows, strip.bottom + more), strip.left, strip.right)
