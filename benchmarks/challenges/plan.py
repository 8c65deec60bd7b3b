"""What a hard clip is made of, before anything is drawn: its sector, rhythm, screen and file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.challenges.rhythm import Rhythm, regular
from benchmarks.challenges.strip import MARKERS, STYLES, Strip
from cardio_mlflow.synthetic.layouts import LAYOUTS, Encoding, Layout
from cardio_mlflow.synthetic.scene import Array

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Fan:
    """An annular fan on the screen; lengths in pixels of the height, angles in degrees from straight down.

    Attributes:
        apex: (x, y) where the edges meet, may lie above the screen; x is the column times `aspect`.
        left: angle of the left edge, negative to the left.
        right: angle of the right edge.
        inner: radius of the top.
        outer: radius of the bottom.
        shape: (rows, columns) of the screen.
        aspect: width of a pixel over its height.
    """

    apex: tuple[float, float]
    left: float
    right: float
    inner: float
    outer: float
    shape: tuple[int, int]
    aspect: float = 1.0

    def polar(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Distance from the apex, pixels, and angle, degrees, of every pixel: two (rows, columns)."""
        x = (np.arange(self.shape[1]) * self.aspect - self.apex[0])[None, :]
        y = (np.arange(self.shape[0]) - self.apex[1])[:, None]
        return np.hypot(x, y), np.rad2deg(np.arctan2(x, y))

    def mask(self) -> Mask:
        """Pixels whose centre lies in the fan, (rows, columns)."""
        distance, angle = self.polar()
        within = (angle >= self.left) & (angle <= self.right)
        return np.asarray(within & (distance >= self.inner) & (distance <= self.outer))

    def point(self, angle: float, distance: float) -> tuple[float, float]:
        """Column and row of a point at an angle, degrees, and a distance from the apex, pixels."""
        radians = np.deg2rad(angle)
        x, y = self.apex[0] + distance * np.sin(radians), self.apex[1] + distance * np.cos(radians)
        return float(x / self.aspect), float(y)

    def at_depth(self, share: float) -> float:
        """Distance from the apex, pixels, of a depth given as a share of the picture's depth."""
        return self.inner + share * (self.outer - self.inner)

    def box(self) -> tuple[int, int, int, int]:
        """Smallest (left, top, right, bottom) that holds the mask; right and bottom lie inside."""
        mask = self.mask()
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


class FanConverter:
    """Bilinear conversion of polar pictures (depths, beams) to the whole screen, 0 outside of the fan."""

    def __init__(self, fan: Fan, polar_shape: tuple[int, int]) -> None:
        distance, angle = fan.polar()
        depth = (distance - fan.inner) / (fan.outer - fan.inner) * (polar_shape[0] - 1)
        beam = (angle - fan.left) / (fan.right - fan.left) * (polar_shape[1] - 1)
        self._maps = beam.astype(np.float32), depth.astype(np.float32)
        self._mask = fan.mask().astype(np.uint8) * 255

    def __call__(self, polar: Image) -> Image:
        """Convert one picture, (depths, beams) or (depths, beams, 3)."""
        beam, depth = self._maps
        picture = cv2.remap(polar, beam, depth, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(cv2.bitwise_and(picture, picture, mask=self._mask))


Timing = Literal["interval", "vector", "uneven", "cine_rate"]
RWaveTag = Literal["absent", "vector", "pointer"]
Content = Literal[
    "echo", "color_doppler", "frozen", "biplane", "frozen_beside_live", "m_mode_with_2d", "m_mode",
    "spectral_with_2d", "linear", "report",
]  # fmt: skip

DEPTH_CM = 16
"""Depth of every hard clip's picture."""
_MOST_FRAMES = 150
_VIEWS = ("FC", "TC", "SA", "LA")


@dataclass(frozen=True)
class Plan:
    """Everything about a clip but its pixels.

    Attributes:
        layout: the scanner's screen, from which words, bar and colours are taken.
        frame_times: (T,) seconds from the first frame.
        strip: the electrocardiogram, or None.
        marks: what is drawn inside the sector (see `screen.MARKS`).
        dimming: what is dark in the sector (see `pictures.DIMMING`).
        brightness: mean gray level asked for, or None for the acquisition's own.
        background: gray level around the sector.
        halo: strength of a glow around the sector, relative to the tissue.
        tint: RGB of full white in the picture.
        quality: of JPEG.
        timing: which tags hold the frame times.
        r_wave_tag: which tag holds R waves.
        heart_rate: in the tag.
        region: whether the ultrasound regions are described.
        mirrored: whether the depth marks stand on the other side.
        waveform: whether the file holds the electrocardiogram as numbers.
    """

    layout: Layout
    fan: Fan
    view: str
    rhythm: Rhythm
    frame_times: Array
    strip: Strip | None
    content: Content = "echo"
    marks: tuple[str, ...] = ()
    dimming: tuple[str, ...] = ()
    brightness: float | None = None
    background: int = 0
    halo: float = 0.0
    tint: tuple[int, int, int] = (255, 255, 255)
    encoding: Encoding = "jpeg_444"
    quality: int = 85
    timing: Timing = "interval"
    r_wave_tag: RWaveTag = "absent"
    heart_rate: int = 0
    region: bool = False
    mirrored: bool = False
    waveform: bool = False

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the last."""
        return float(self.frame_times[-1])


def _with_strip_box(layout: Layout) -> Layout:
    """Give the one screen without an electrocardiogram the room for one."""
    if layout.trace != "none":
        return layout
    return replace(layout, radius=285.0, trace_box=(10, 316, 460, 354), trace_colour=(120, 255, 120))


SCREENS: tuple[Layout, ...] = tuple(_with_strip_box(layout) for layout in LAYOUTS)
"""The cohort's screens, all with an electrocardiogram."""


def draw_plan(rng: np.random.Generator) -> Plan:
    """Draw an ordinary clip of two to four beats, which a kind of challenge then changes."""
    layout = SCREENS[int(rng.integers(len(SCREENS)))]
    interval = 60.0 / rng.uniform(55, 95)
    duration = float(rng.uniform(2.3, 4.2)) * interval
    rhythm = regular(rng, duration, interval)
    names, weights = zip(*layout.encodings, strict=True)
    return Plan(
        layout=layout, fan=layout_fan(layout, float(rng.uniform(37, 44))), view=str(rng.choice(_VIEWS)),
        rhythm=rhythm, frame_times=draw_frame_times(rng, duration),
        strip=draw_strip(rng, layout), tint=layout.tint,
        encoding=names[int(rng.choice(len(names), p=weights))], quality=int(rng.integers(75, 93)),
        timing="vector" if rng.uniform() < 0.3 else "interval", region=bool(rng.uniform() < 0.4),
    )  # fmt: skip


def layout_fan(layout: Layout, half_angle: float) -> Fan:
    """The fan that a layout gives room for, upright, of a half opening in degrees."""
    return fitted(Fan(layout.apex, -half_angle, half_angle, layout.inner, layout.radius, layout.shape))


def fitted(fan: Fan) -> Fan:
    """Shorten a fan until neither side leaves the screen."""
    wide = fan.shape[1] * fan.aspect - 4.0
    right = max(np.sin(np.deg2rad(fan.right)), 1e-3)
    left = max(np.sin(np.deg2rad(-fan.left)), 1e-3)
    outer = min(fan.outer, (wide - fan.apex[0]) / right, (fan.apex[0] - 3.0) / left)
    return replace(fan, outer=float(outer))


def draw_frame_times(rng: np.random.Generator, duration: float) -> Array:
    """Draw a frame rate of 20 to 60 Hz, less where the clip would have too many frames; times from 0."""
    rate = min(20 + 40 * rng.uniform() ** 1.5, _MOST_FRAMES / duration)
    step = round(1000 / rate, 2) / 1000
    return np.asarray(np.arange(int(duration / step) + 1) * step, dtype=np.float64)


def draw_strip(rng: np.random.Generator, layout: Layout) -> Strip:
    """Draw an electrocardiogram in the layout's place and colour."""
    wide = rng.uniform() < 0.5
    return Strip(
        style=STYLES[int(rng.integers(len(STYLES)))], colour=layout.trace_colour, box=layout.trace_box,
        thickness=int(rng.integers(1, 3)), seconds=float(rng.uniform(3.0, 5.0) if wide else 2.4),
        gap=float(rng.uniform(0.03, 0.08)), start=float(rng.uniform()), noise=float(rng.uniform(0, 0.012)),
        wander=float(rng.uniform(0, 0.04)), head=bool(rng.uniform() < 0.3),
        marker=MARKERS[int(rng.integers(len(MARKERS)))],
    )  # fmt: skip
