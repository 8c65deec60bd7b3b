"""The scanner's screen around a cine: words, bar, depth marks, logo, trace; and where each of them is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.synthetic.acquisition import Acquisition
from cardio_mlflow.synthetic.layouts import Colour, Layout
from cardio_mlflow.synthetic.sector import Mask, ScanConverter, Sector
from cardio_mlflow.synthetic.trace import make_trace

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Words:
    """Lines burned into the picture, about a made-up patient and the scanner's settings."""

    patient: tuple[str, ...]
    settings: tuple[str, ...]


class Screen:
    """One clip's screen."""

    def __init__(self, layout: Layout, acquisition: Acquisition, words: Words, sweep_start: float) -> None:
        self.layout = layout
        self.sector = Sector(layout.apex, layout.radius, layout.inner, acquisition.half_angle, layout.shape)
        self._times = acquisition.frame_times
        self._trace = make_trace(layout, acquisition.beats, float(self._times[-1]), sweep_start)
        self._base = np.zeros((*layout.shape, 1 if layout.gray else 3), dtype=np.uint8)
        self._draw_static(acquisition, words)
        self._tints = _tint_tables(layout.tint)

    def frames(self, polar: Image) -> Iterator[Image]:
        """Yield each frame's screen, rows × columns (× 3, RGB), from polar pictures (T, depths, beams)."""
        convert = ScanConverter(self.sector, (polar.shape[1], polar.shape[2]))
        static = np.ascontiguousarray(self._base[convert.box])
        covered = static.any(axis=2).astype(np.uint8)
        colour = self._colour(self.layout.trace_colour)
        for picture, time in zip(polar, self._times, strict=True):
            region = self._tinted(convert(picture))
            if covered.any():
                region = cv2.copyTo(static, covered, region).reshape(static.shape)
            frame = self._base.copy()
            frame[convert.box] = region
            self._trace.draw(frame, float(time), colour)
            yield frame[..., 0] if self.layout.gray else frame

    def _tinted(self, tissue: Image) -> Image:
        if self.layout.gray:
            return tissue[..., None]
        if self._tints is None:
            return np.asarray(cv2.merge([tissue] * 3))
        return np.asarray(cv2.merge([cv2.LUT(tissue, table) for table in self._tints]))

    def overlay_mask(self) -> Mask:
        """Pixels of each frame that are drawn on, inside the sector or not: (T, rows, columns)."""
        static = self._base.any(axis=2)
        masks = []
        for time in self._times:
            canvas = np.zeros(self.layout.shape, dtype=np.uint8)
            self._trace.draw(canvas, float(time), (255,))
            masks.append(static | (canvas > 0))
        return np.stack(masks)

    def _colour(self, colour: Colour) -> tuple[int, ...]:
        return (round(sum(colour) / 3),) if self.layout.gray else colour

    def _draw_static(self, acquisition: Acquisition, words: Words) -> None:
        self._draw_words(words.patient, self.layout.words)
        self._draw_words(words.settings, self.layout.numbers)
        self._draw_bar()
        self._draw_marks(acquisition.depth)
        self._draw_logo()

    def _draw_words(self, lines: tuple[str, ...], at: tuple[int, int]) -> None:
        spacing = round(42 * self.layout.font)
        for i, line in enumerate(lines):
            self._text(line, (at[0], at[1] + i * spacing))

    def _text(self, text: str, at: tuple[int, int], scale: float = 1.0) -> None:
        colour = self._colour(self.layout.text_colour)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(self._base, text, at, font, self.layout.font * scale, colour, 1, cv2.LINE_AA)

    def _draw_bar(self) -> None:
        left, top, right, bottom = self.layout.bar
        ramp = np.linspace(1, 0.02, bottom - top)[:, None, None]
        colour = np.asarray(self._colour(self.layout.bar_tint))
        self._base[top:bottom, left:right] = np.round(ramp * colour).astype(np.uint8)

    def _draw_marks(self, depth: float) -> None:
        """A mark every centimetre, longer every fifth, and a focus mark."""
        per_cm = self.layout.radius / depth
        for centimetre in range(1, int(depth) + 1):
            self._mark(centimetre * per_cm, 8 if centimetre % 5 == 0 else 4)
        x, y = self._mark_position(0.55 * self.layout.radius, 12)
        triangle = np.array([[x, y], [x + 7, y - 4], [x + 7, y + 4]], dtype=np.int32)
        cv2.fillPoly(self._base, [triangle], self._colour(self.layout.text_colour))

    def _mark(self, distance: float, length: int) -> None:
        start, end = self._mark_position(distance, 4), self._mark_position(distance, 4 + length)
        cv2.line(self._base, start, end, self._colour(self.layout.text_colour), 1)

    def _mark_position(self, distance: float, outside: float) -> tuple[int, int]:
        """A point at a distance from the apex, so many pixels outside the marked edge."""
        x, y = self.layout.apex
        if self.layout.ticks == 0:
            return round(x + 0.735 * self.layout.radius + outside), round(y + distance)
        angle = self.sector.half_angle
        across, down = np.sin(angle) * distance, np.cos(angle) * distance
        side = self.layout.ticks
        return round(x + side * (across + outside * np.cos(angle))), round(y + down - outside * np.sin(angle))

    def _draw_logo(self) -> None:
        x, y = self.layout.apex
        initial = self.layout.manufacturer[0]
        centre = (round(x + 34), round(max(y - 4, 12)))
        cv2.circle(self._base, centre, 8, self._colour(self.layout.trace_colour), 1, cv2.LINE_AA)
        self._text(initial, (centre[0] - 4, centre[1] + 4), 0.9)


def _tint_tables(tint: Colour) -> list[Image] | None:
    """Look-up table (256,) from gray to each channel of the tint, or None where the picture is plain gray."""
    if tint == (255, 255, 255):
        return None
    return [np.round(np.arange(256) * channel / 255).astype(np.uint8) for channel in tint]
