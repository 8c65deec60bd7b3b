"""Draws on a screen, and keeps account of every pixel that was drawn on."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.synthetic.layouts import Colour

Point = tuple[float, float]

_SHIFT = 4
_SEEN = 24
"""Least coverage, of 255, of a pixel that counts as drawn on; less changes its gray by a tenth at most."""


class Pen:
    """Draws anti-aliased strokes on one frame's picture (rows, columns, 3)."""

    def __init__(self, picture: NDArray[np.uint8]) -> None:
        self.picture = picture
        self._coverage = np.zeros(picture.shape[:2], dtype=np.uint8)

    @property
    def drawn(self) -> NDArray[np.bool_]:
        """Pixels drawn on, (rows, columns)."""
        return np.asarray(self._coverage >= _SEEN)

    def stroke(self, points: NDArray[np.float64], colour: Colour, thickness: int = 1) -> None:
        """Draw an open line through points (N, 2), pixels."""
        fixed = [np.round(points * 2**_SHIFT).astype(np.int32)]
        cv2.polylines(self.picture, fixed, False, colour, thickness, cv2.LINE_AA, _SHIFT)
        cv2.polylines(self._coverage, fixed, False, 255, thickness, cv2.LINE_AA, _SHIFT)

    def line(self, start: Point, end: Point, colour: Colour, thickness: int = 1) -> None:
        """Draw a straight line."""
        self.stroke(np.array([start, end]), colour, thickness)

    def fill(self, points: NDArray[np.float64], colour: Colour) -> None:
        """Fill a polygon (N, 2)."""
        fixed = [np.round(points * 2**_SHIFT).astype(np.int32)]
        cv2.fillPoly(self.picture, fixed, colour, cv2.LINE_AA, _SHIFT)
        cv2.fillPoly(self._coverage, fixed, 255, cv2.LINE_AA, _SHIFT)

    def disc(self, centre: Point, radius: float, colour: Colour, thickness: int = -1) -> None:
        """Draw a filled disc, or a circle when a thickness is given."""
        at = round(centre[0] * 2**_SHIFT), round(centre[1] * 2**_SHIFT)
        size = round(radius * 2**_SHIFT)
        cv2.circle(self.picture, at, size, colour, thickness, cv2.LINE_AA, _SHIFT)
        cv2.circle(self._coverage, at, size, 255, thickness, cv2.LINE_AA, _SHIFT)

    def text(self, words: str, at: Point, colour: Colour, scale: float) -> None:
        """Write a line of words, its lower left corner at `at`."""
        place = round(at[0]), round(at[1])
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(self.picture, words, place, font, scale, colour, 1, cv2.LINE_AA)
        cv2.putText(self._coverage, words, place, font, scale, 255, 1, cv2.LINE_AA)

    def ramp(self, box: tuple[int, int, int, int], tint: Colour) -> None:
        """Draw a bar (left, top, right, bottom) that fades from the tint to nearly black."""
        left, top, right, bottom = box
        fade = np.linspace(1, 0.04, bottom - top)[:, None, None]
        self.picture[top:bottom, left:right] = np.round(fade * np.asarray(tint)).astype(np.uint8)
        self._coverage[top:bottom, left:right] = 255
