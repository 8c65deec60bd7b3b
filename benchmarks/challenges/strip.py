"""The electrocardiogram on the screen: sweeping, scrolling, or still with something that moves along it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.challenges.rhythm import NORMAL, Rhythm, Waves, voltage
from cardio_mlflow.synthetic.layouts import Colour
from cardio_mlflow.synthetic.scene import Array

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


StripStyle = Literal["sweep", "scroll", "cursor", "marker"]
"""A moving head with an erased gap; a moving trace; a still trace with a line, or with a small mark."""
STYLES: tuple[StripStyle, ...] = ("sweep", "scroll", "cursor", "marker")
MARKERS = ("triangle", "dot", "bar")

_POINTS_A_PIXEL = 3
_MARGIN = 4


@dataclass(frozen=True)
class Strip:
    """How an electrocardiogram is drawn.

    Attributes:
        style: of motion.
        box: (left, top, right, bottom), pixels.
        thickness: of the trace, pixels.
        seconds: across the box, of a sweeping or scrolling trace.
        gap: erased share of the box before the head of a sweep.
        start: position of a sweep at time 0, as a share of the box.
        waves: shape of a beat.
        fibrillating: whether the atria do.
        wander: slow motion of the baseline, relative to an R wave.
        noise: SD of muscle noise, relative to an R wave.
        baseline: RGB of a level line, or None.
        head: whether a dot leads a sweep.
        marker: what moves along a still trace of style "marker".
        cursor_top: row up to which the line of a "cursor" reaches; None ends it at the box.
    """

    style: StripStyle
    colour: Colour
    box: tuple[int, int, int, int]
    thickness: int = 1
    seconds: float = 3.0
    gap: float = 0.05
    start: float = 0.0
    waves: Waves = NORMAL
    fibrillating: bool = False
    wander: float = 0.0
    noise: float = 0.0
    baseline: Colour | None = None
    head: bool = False
    marker: str = "triangle"
    cursor_top: int | None = None


class StripDrawer:
    """Draws one clip's strip; the voltage is computed once."""

    def __init__(self, strip: Strip, rhythm: Rhythm, duration: float, rng: np.random.Generator) -> None:
        self.strip = strip
        self._duration = duration
        self._times = np.arange(-strip.seconds - 1.0, duration + 0.5, 0.002)
        self._voltage = voltage(self._times, rhythm, strip.waves, strip.fibrillating) + self._disturbance(rng)
        self._low, self._high = float(self._voltage.min()), float(self._voltage.max())

    def draw(self, pen: Pen, time: float) -> None:
        """Draw the strip as the frame at `time`, seconds, shows it."""
        left, _, right, _ = self.strip.box
        x = np.linspace(left, right, (right - left) * _POINTS_A_PIXEL + 1)
        share = (x - left) / (right - left)
        if self.strip.baseline is not None:
            level = float(self._row(np.zeros(1))[0])
            pen.line((left, level), (right, level), self.strip.baseline)
        if self.strip.style == "sweep":
            self._sweep(pen, x, share, time)
        elif self.strip.style == "scroll":
            self._trace(pen, x, time - (1 - share) * self.strip.seconds)
        else:
            self._trace(pen, x, share * self._duration)
            self._mark(pen, left + (right - left) * time / self._duration, time)

    def _sweep(self, pen: Pen, x: Array, share: Array, time: float) -> None:
        """The newest point moves right over an erased gap; beyond the gap stands the sweep before."""
        position = (self.strip.start + time / self.strip.seconds) % 1.0
        behind = position - share
        new, old = behind >= 0, behind < -self.strip.gap
        for part, age in ((new, behind), (old, behind + 1)):
            if part.sum() > 1:
                self._trace(pen, x[part], time - age[part] * self.strip.seconds)
        if self.strip.head:
            head = self.strip.box[0] + position * (self.strip.box[2] - self.strip.box[0])
            pen.disc((head, self._row_at(time)), self.strip.thickness + 1.5, (255, 255, 255))

    def _trace(self, pen: Pen, x: Array, times: Array) -> None:
        rows = self._row(np.interp(times, self._times, self._voltage))
        pen.stroke(np.stack([x, rows], axis=1), self.strip.colour, self.strip.thickness)

    def _row(self, height: Array) -> Array:
        _, top, _, bottom = self.strip.box
        share = (height - self._low) / (self._high - self._low)
        return np.asarray(bottom - _MARGIN - share * (bottom - top - 2 * _MARGIN))

    def _row_at(self, time: float) -> float:
        return float(self._row(np.interp([time], self._times, self._voltage))[0])

    def _mark(self, pen: Pen, x: float, time: float) -> None:
        _, top, _, bottom = self.strip.box
        shade = tuple(min(255, c // 2 + 110) for c in self.strip.colour)
        colour = (shade[0], shade[1], shade[2])
        if self.strip.style == "cursor":
            pen.line((round(x), self.strip.cursor_top or top), (round(x), bottom), colour)
        elif self.strip.marker == "triangle":
            pen.fill(np.array([[x, bottom - 6.0], [x - 4, bottom + 1.0], [x + 4, bottom + 1.0]]), colour)
        elif self.strip.marker == "dot":
            pen.disc((x, self._row_at(time)), 3.0, colour)
        else:
            pen.line((round(x), bottom - 7), (round(x), bottom), colour, 2)

    def _disturbance(self, rng: np.random.Generator) -> Array:
        """Breathing moves the baseline at 0.3 Hz, muscles tremble."""
        phase, tremble = rng.uniform(0, 2 * np.pi, 2), rng.standard_normal(len(self._times))
        slow = np.sin(2 * np.pi * 0.3 * self._times + phase[0])
        slow += 0.5 * np.sin(2 * np.pi * 0.11 * self._times + phase[1])
        muscle = np.convolve(tremble, np.full(3, 1 / 3), mode="same") * np.sqrt(3)
        return np.asarray(self.strip.wander * slow + self.strip.noise * muscle)
