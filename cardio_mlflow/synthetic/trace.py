"""The electrocardiogram on the screen, in step with the beat."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.synthetic.layouts import Layout
from cardio_mlflow.synthetic.scene import Array

WAVES = (
    (-0.16, 0.12, 0.022),
    (-0.028, -0.10, 0.009),
    (0.0, 1.0, 0.011),
    (0.030, -0.22, 0.011),
    (0.27, 0.27, 0.045),
)
"""P, Q, R, S and T: seconds from the R wave, height relative to R, width in seconds."""
SWEEP_SECONDS = 2.4
ERASED_SHARE = 0.06


@dataclass(frozen=True)
class Trace:
    """A patient's trace during a clip.

    Attributes:
        times: (N,) seconds from the first frame at which `voltage` is known.
        voltage: (N,) relative to the R wave.
        duration: of the clip, seconds.
        start: position of a sweep at time 0, as a share of the box.
    """

    layout: Layout
    times: Array
    voltage: Array
    duration: float
    start: float

    def draw(self, canvas: NDArray[np.uint8], time: float, colour: tuple[int, ...]) -> None:
        """Draw the trace as the frame at `time` (seconds) shows it."""
        left, _, right, _ = self.layout.trace_box
        x = np.arange(left, right + 1, dtype=np.float64)
        if self.layout.trace == "sweep":
            self._draw_sweep(canvas, x, time, colour)
        elif self.layout.trace == "scroll":
            self._line(canvas, x, time - (right - x) / (right - left) * SWEEP_SECONDS, colour)
        elif self.layout.trace == "cursor":
            shown = (x - left) / (right - left) * self.duration
            self._line(canvas, x, shown, colour)
            self._cursor(canvas, left + (right - left) * time / self.duration, colour)

    def _draw_sweep(self, canvas: NDArray[np.uint8], x: Array, time: float, colour: tuple[int, ...]) -> None:
        """The newest point moves right over an erased gap; beyond the gap stands the sweep before."""
        share = (x - x[0]) / (x[-1] - x[0])
        now = self.start + time / SWEEP_SECONDS
        position = now % 1.0
        behind = position - share
        old = behind < 0
        shown = time - np.where(old, behind + 1, behind) * SWEEP_SECONDS
        for part in (~old, old & (behind < -ERASED_SHARE)):
            if part.sum() > 1:
                self._line(canvas, x[part], shown[part], colour)

    def _line(self, canvas: NDArray[np.uint8], x: Array, times: Array, colour: tuple[int, ...]) -> None:
        _, top, _, bottom = self.layout.trace_box
        height = np.interp(times, self.times, self.voltage)
        y = bottom - 4 - (height + 0.25) / 1.3 * (bottom - top - 8)
        points = np.round(np.stack([x, y], axis=1) * 16).astype(np.int32)
        cv2.polylines(canvas, [points], False, colour, 1, cv2.LINE_AA, 4)

    def _cursor(self, canvas: NDArray[np.uint8], x: float, colour: tuple[int, ...]) -> None:
        _, top, _, bottom = self.layout.trace_box
        shade = tuple(min(255, c // 2 + 110) for c in colour)
        cv2.line(canvas, (round(x), top), (round(x), bottom), shade, 1)


def make_trace(layout: Layout, beats: Array, duration: float, start: float) -> Trace:
    """Compute the voltage once, each millisecond from the first beat to the last; arguments as `Trace`."""
    times = np.arange(beats[0], beats[-1], 0.001)
    return Trace(layout, times, electrocardiogram(times, beats), duration, start)


def electrocardiogram(times: Array, beats: Array) -> Array:
    """Voltage relative to the R wave at rising times (seconds) given R-wave times (B,).

    >>> float(np.round(electrocardiogram(np.array([1.0]), np.array([0.0, 1.0]))[0], 2))
    0.99
    """
    voltage = np.zeros_like(times)
    for beat in beats:
        near = slice(*np.searchsorted(times, (beat - 0.3, beat + 0.5)))
        for at, height, width in WAVES:
            voltage[near] += height * np.exp(-0.5 * ((times[near] - beat - at) / width) ** 2)
    return voltage
