"""What stands on every screen around the sector: words, bar, depth scale, logo."""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks.challenges.fan import Mask
from benchmarks.challenges.pen import Pen
from benchmarks.challenges.plan import DEPTH_CM, Plan


class Furniture:
    """One clip's furniture; nothing of it lies on the picture."""

    def __init__(self, plan: Plan, picture: Mask) -> None:
        """Take the plan and the pixels (rows, columns) of the picture itself, which stay free."""
        self._plan, self._picture = plan, picture
        self._layout = plan.layout
        self._fan_box = plan.fan.box()

    def draw(self, pen: Pen) -> None:
        """Draw it all."""
        rate = round(1 / float(self._plan.frame_times[1])) if len(self._plan.frame_times) > 1 else 0
        name = f"TESTPATIENT {self._layout.model}"
        patient = (name, f"ID 0{rate}77-1951", f"{rate % 28 + 1:02d}/04/2023", "NOWHERE CLINIC")
        settings = (f"{rate} Hz", f"{DEPTH_CM:.1f} cm", "G 58%", "MI 1.2", "2D Gen")
        self._words(pen, patient, self._layout.words)
        self._words(pen, settings, self._layout.numbers)
        if self._free(self._layout.bar):
            pen.ramp(self._layout.bar, self._layout.bar_tint)
        if self._plan.content in ("echo", "color_doppler", "frozen"):
            self._scale(pen)
            self._logo(pen)

    def _words(self, pen: Pen, lines: tuple[str, ...], at: tuple[int, int]) -> None:
        spacing = max(11, round(42 * self._layout.font))
        for i, line in enumerate(lines):
            size, below = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, self._layout.font, 1)
            x, y = min(at[0], self._layout.shape[1] - size[0] - 2), at[1] + i * spacing
            if self._free((x, y - size[1] - 1, x + size[0], y + below)):
                pen.text(line, (x, y), self._layout.text_colour, self._layout.font)

    def _free(self, box: tuple[int, int, int, int]) -> bool:
        left, top, right, bottom = box
        return not self._picture[max(0, top) : bottom + 1, max(0, left) : right + 1].any()

    def _scale(self, pen: Pen) -> None:
        """A mark every centimetre beside the sector or along the screen, longer every fifth."""
        side = -1 if self._plan.mirrored else 1
        for centimetre in range(1, DEPTH_CM + 1):
            length = 8 if centimetre % 5 == 0 else 4
            x, y = self._at(centimetre / DEPTH_CM, side)
            if 2 < x < self._layout.shape[1] - 14 and y < self._layout.shape[0] - 2:
                pen.line((x, y), (x + side * length, y), self._layout.text_colour)
        x, y = self._at(0.55, side * 1.0)
        x += side * 12
        if 2 < x < self._layout.shape[1] - 10:
            points = np.array([[x, y], [x + side * 7.0, y - 4.0], [x + side * 7.0, y + 4.0]])
            pen.fill(points, self._layout.text_colour)

    def _at(self, share: float, side: float) -> tuple[int, int]:
        """A place for a mark at a share of the depth, five pixels outside of the marked edge."""
        fan = self._plan.fan
        if self._layout.ticks == 0:
            left, _, right, _ = self._fan_box
            return (right + 6 if side > 0 else left - 6), round(fan.point(0.0, fan.at_depth(share))[1])
        x, y = fan.point(fan.right if side > 0 else fan.left, fan.at_depth(share))
        return round(x + side * 5), round(y)

    def _logo(self, pen: Pen) -> None:
        fan, side = self._plan.fan, -1 if self._plan.mirrored else 1
        x, y = fan.point(0.0, fan.inner)
        centre = (x + side * (34 + 0.7 * fan.inner), max(y - 4, 12.0))
        box = (round(centre[0] - 10), round(centre[1] - 10), round(centre[0] + 10), round(centre[1] + 10))
        if self._free(box):
            pen.disc(centre, 8, self._layout.trace_colour, 1)
            at = (centre[0] - 4, centre[1] + 4)
            pen.text(self._layout.manufacturer[0], at, self._layout.text_colour, self._layout.font * 0.9)
