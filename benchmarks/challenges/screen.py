"""Puts picture, furniture, marks and electrocardiogram together to the frames of a hard clip."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.challenges.furniture import Furniture
from benchmarks.challenges.marks import MARKS
from benchmarks.challenges.panels import Pictures, report_lines
from benchmarks.challenges.pen import Pen
from benchmarks.challenges.plan import Plan
from benchmarks.challenges.strip import StripDrawer
from cardio_mlflow.synthetic.sector import Mask

Image = NDArray[np.uint8]

_GLOW = 4.0
"""Reach of a halo, pixels."""


class ChallengeScreen:
    """One clip's screen."""

    def __init__(self, plan: Plan, pictures: Pictures, rng: np.random.Generator, overlays: bool) -> None:
        """Take the plan, its pictures, a generator for the strip's noise, and whether to draw overlays."""
        self._plan, self._pictures, self._overlays = plan, pictures, overlays
        self._furniture = Furniture(plan, pictures.occupied)
        self._strip = StripDrawer(plan.strip, plan.rhythm, plan.duration, rng) if plan.strip else None
        ramp = np.arange(256)[:, None] * np.asarray(plan.tint) / 255
        self._tint = np.round(ramp).astype(np.uint8).reshape(1, 256, 3)
        self._outside = (~pictures.occupied).astype(np.uint8)

    def frames(self) -> Iterator[tuple[Image, Mask]]:
        """Yield each frame, (rows, columns, 3) RGB or (rows, columns), and where it is drawn on."""
        for i, time in enumerate(self._plan.frame_times):
            pen = Pen(self._picture(i))
            if self._overlays:
                self._draw(pen, i, float(time))
            gray = self._plan.encoding.endswith("gray")
            frame = cv2.cvtColor(pen.picture, cv2.COLOR_RGB2GRAY) if gray else pen.picture
            yield np.asarray(frame), pen.drawn

    def _picture(self, i: int) -> Image:
        picture = self._pictures.frame(i)
        if picture.ndim == 2:
            if self._plan.halo:
                glow = cv2.GaussianBlur(picture, (0, 0), _GLOW)
                glow = cv2.convertScaleAbs(glow, alpha=self._plan.halo)
                picture = cv2.add(picture, cv2.bitwise_and(glow, glow, mask=self._outside))
            picture = cv2.LUT(cv2.merge([picture] * 3), self._tint)
        if self._plan.background:
            picture = np.where(self._outside[..., None], np.uint8(self._plan.background), picture)
        return np.ascontiguousarray(picture)

    def _draw(self, pen: Pen, i: int, time: float) -> None:
        if self._plan.content == "report":
            rows, columns = self._plan.layout.shape
            for words, x, y in report_lines(i):
                pen.text(words, (x * columns, y * rows), self._plan.layout.text_colour, 0.42)
            return
        self._furniture.draw(pen)
        for mark in self._plan.marks:
            MARKS[mark](pen, self._plan)
        if self._strip is not None:
            self._strip.draw(pen, time)
