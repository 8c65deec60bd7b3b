"""A hard clip's screen: what is drawn inside the sector and around it, and the frames of it all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.challenges.pictures import Pictures, report_lines
from benchmarks.challenges.plan import DEPTH_CM, Mask, Plan
from benchmarks.challenges.strip import Pen, StripDrawer
from cardio_mlflow.synthetic.layouts import Colour

Image = NDArray[np.uint8]

_GLOW = 4.0
"""Reach of a halo, pixels."""
_GREEN: Colour = (60, 230, 90)
_WHITE: Colour = (235, 235, 235)
_YELLOW: Colour = (255, 235, 80)


def _beam(plan: Plan) -> float:
    """An angle off the middle, degrees, the same in all frames."""
    return plan.fan.left + 0.42 * (plan.fan.right - plan.fan.left)


def _cursor_line(pen: Pen, plan: Plan) -> None:
    angle, fan = _beam(plan), plan.fan
    pen.line(fan.point(angle, fan.at_depth(0.01)), fan.point(angle, fan.at_depth(0.99)), _WHITE)


def _dotted_line(pen: Pen, plan: Plan) -> None:
    angle, fan = _beam(plan), plan.fan
    for start in np.arange(0.02, 0.97, 0.03):
        ends = (fan.point(angle, fan.at_depth(float(start + part))) for part in (0.0, 0.012))
        pen.line(next(ends), next(ends), _GREEN)


def _ticks(pen: Pen, plan: Plan) -> None:
    fan = plan.fan
    for centimetre in range(2, 16):
        distance = fan.at_depth(centimetre / 16)
        length = 9.0 if centimetre % 5 == 0 else 5.0
        x, y = fan.point(fan.right, distance)
        pen.line((x - 4, y), (x - 4 - length, y), _WHITE)


def _focus(pen: Pen, plan: Plan) -> None:
    for angle, side in ((plan.fan.left, 1.0), (plan.fan.right, -1.0)):
        x, y = plan.fan.point(angle, plan.fan.at_depth(0.6))
        x += 5 * side
        pen.fill(np.array([[x, y], [x + 8 * side, y - 5], [x + 8 * side, y + 5]]), _YELLOW)


def _calipers(pen: Pen, plan: Plan) -> None:
    fan, width = plan.fan, plan.fan.right - plan.fan.left
    places = [fan.point(fan.left + a * width, fan.at_depth(d)) for a, d in ((0.35, 0.45), (0.62, 0.63))]
    for x, y in places:
        pen.line((x - 6, y), (x + 6, y), _YELLOW)
        pen.line((x, y - 6), (x, y + 6), _YELLOW)
    for share in np.arange(0.06, 0.95, 0.06):
        (xa, ya), (xb, yb) = places
        pen.disc((xa + share * (xb - xa), ya + share * (yb - ya)), 0.8, _YELLOW)


def _words(pen: Pen, plan: Plan) -> None:
    x, y = plan.fan.point(0.75 * plan.fan.left + 0.25 * plan.fan.right, plan.fan.at_depth(0.7))
    pen.text("DOE, J 1951", (x, y), _WHITE, max(0.36, plan.layout.font))
    x, y = plan.fan.point(0.4 * plan.fan.left + 0.6 * plan.fan.right, plan.fan.at_depth(0.3))
    pen.text("LV", (x, y), _WHITE, max(0.36, plan.layout.font))


MARKS: dict[str, Callable[[Pen, Plan], None]] = {
    "cursor_line": _cursor_line,
    "dotted_line": _dotted_line,
    "ticks": _ticks,
    "focus": _focus,
    "calipers": _calipers,
    "words": _words,
}
"""What `Plan.marks` can name."""


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
