"""Text left inside the sector: still bright strokes that stand like letters in a row. Nothing is read."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.picture.lines import Rule, find_strokes, stroke_luma
from cardio_mlflow.data.picture.statistics import ClipStatistics

Boxes = NDArray[np.int64]

_INK: Final = Rule(height=62.0, unrest=0.45)
_SEPARATION: Final = 0.4
"""Share of the text's luma above the surroundings at which neighbouring letters come apart."""
_SHORTEST, _TALLEST = 6, 36
_WIDEST: Final = 5.0
"""Width of a piece over its height: letters that touch are one piece. An l or a 1 is much narrower."""
_LETTER: Final = 0.95
"""Width of a letter and its gap over its height."""
_SINGLE: Final = 1.3
"""Widest single letter; of a row at least one piece is no wider, as hardly any wall is."""
_UNEVEN: Final = 0.2
_LOWER: Final = 0.55
"""Height of a lower-case letter over that of a capital."""
_SPACING: Final = 1.1
_LETTERS: Final = 3


def text_in_sector(statistics: ClipStatistics, sector_mask: NDArray[np.uint8]) -> bool:
    """Whether at least three pieces of still strokes of one height stand in a row inside the sector.

    Args:
        statistics: over all frames of the clip.
        sector_mask: the sector, uint8 0 or 255, rows × columns.
    """
    unrest = cv2.subtract(statistics.maximum, statistics.minimum)
    ink = cv2.bitwise_and(find_strokes(statistics.minimum, unrest, _INK), sector_mask)
    if not ink.any():
        return False
    level = _SEPARATION * stroke_luma(statistics.minimum, ink)
    apart = find_strokes(statistics.minimum, unrest, Rule(height=level, unrest=0.45), level)
    _, _, facts, _ = cv2.connectedComponentsWithStats(cv2.bitwise_and(apart, ink), connectivity=8)
    return stands_in_a_row(facts[1:, :4].astype(np.int64))


def stands_in_a_row(boxes: Boxes) -> bool:
    """Whether two boxes or more hold three letters of a word: on one line, close together, of like heights.

    Args:
        boxes: left, top, width and height of the pieces, N × 4, pixels.
    """
    height, width = boxes[:, 3], boxes[:, 2]
    letters = boxes[(height >= _SHORTEST) & (height <= _TALLEST) & (width <= _WIDEST * height)]
    letters = letters[np.argsort(letters[:, 0], kind="stable")]
    return any(_letters_after(letters, first) >= _LETTERS for first in range(len(letters) - 1))


def _letters_after(letters: Boxes, first: int) -> int:
    """Number of letters in the row that begins with a box, 1 when it is none; sorted from the left."""
    left, top, width, height = (int(v) for v in letters[first])
    line, end, row = top + height, left + width, [(width, height)]
    for x, y, w, h in letters[first + 1 :].tolist():
        even = abs(y + h - line) <= max(1.0, _UNEVEN * height) and _LOWER <= h / height <= 1 / _LOWER
        if even and 0 <= x - end + 1 <= _SPACING * height:
            end = x + w
            row.append((w, h))
    single = any(w <= _SINGLE * h for w, h in row)
    return sum(_held(w, h) for w, h in row) if single and len(row) > 1 else 1


def _held(width: int, height: int) -> int:
    """Number of letters in one piece."""
    return max(1, round(width / (_LETTER * height)))
