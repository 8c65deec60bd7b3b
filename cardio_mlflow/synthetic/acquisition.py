"""How one clip was taken: probe position, depth, gain, frame rate, beats; nothing knows the labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.synthetic.contours import Array, stack

APICAL = ("FC", "TC")


@dataclass(frozen=True)
class Acquisition:
    """Settings of a clip, drawn independently of the patient's hemodynamics but for the heart rate.

    Attributes:
        depth: of the picture, cm.
        half_angle: of the sector, radians.
        shift: (dx, dy) of the heart, cm.
        rotation: of the heart about the middle of the picture, radians.
        zoom: of the heart.
        brightness: mean gray level of the sector that the gain is set to.
        dynamic_range: shown, dB.
        attenuation: left after time-gain compensation, dB/cm.
        clutter: near-field clutter, dB.
        noise_floor: electronic noise, dB at the bottom of the picture.
        frame_times: (T,), seconds, the first 0.
        r_waves: (R,), seconds relative to the first frame, within the clip.
        phases: (T,), cycle phase, 0 at an R wave.
        beats: (B,), seconds, the R waves before, in and after the clip, which a trace shows.
        rate: heart rate shown on the screen, beats/min.
    """

    depth: float
    half_angle: float
    shift: tuple[float, float]
    rotation: float
    zoom: float
    brightness: float
    dynamic_range: float
    attenuation: float
    clutter: float
    noise_floor: float
    frame_times: Array
    r_waves: Array
    phases: Array
    beats: Array
    rate: int

    def place(self, points: Array) -> Array:
        """Move points (…, 2) of the heart, cm, to where the probe sees them."""
        x, y = points[..., 0] * self.zoom, (points[..., 1] - 8.0) * self.zoom
        c, s = np.cos(self.rotation), np.sin(self.rotation)
        return stack(c * x - s * y + self.shift[0], s * x + c * y + 8.0 + self.shift[1])


def draw_acquisition(view: str, heart_rate: float, rng: np.random.Generator) -> Acquisition:
    """Draw the settings of one clip of a patient with this heart rate (beats/min)."""
    times, beats = draw_timing(heart_rate, rng)
    phases = np.mod(np.interp(times, beats, np.arange(len(beats))), 1.0)
    r_waves = beats[(beats >= 0) & (beats <= times[-1])]
    apical = view in APICAL
    return Acquisition(
        depth=float(rng.choice([16.0, 16.5, 17.0] if apical else [14.5, 15.0, 15.5])),
        half_angle=np.deg2rad(float(rng.uniform(36, 45) if apical else rng.uniform(37, 45))),
        shift=(float(rng.normal(0, 0.35)), float(rng.normal(0, 0.25))),
        rotation=float(np.deg2rad(rng.normal(0, 4.0))),
        zoom=float(np.exp(rng.normal(0, 0.03))),
        brightness=float(rng.uniform(42, 66)),
        dynamic_range=float(rng.uniform(54, 64)),
        attenuation=float(rng.normal(0, 0.35)),
        clutter=float(rng.uniform(6, 20)),
        noise_floor=float(rng.uniform(-34, -24)),
        frame_times=times, r_waves=r_waves, phases=phases, beats=beats, rate=round(heart_rate),
    )  # fmt: skip


def draw_timing(heart_rate: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw frame times and R waves of a clip of 1.3 to 2 cycles that holds at least two R waves.

    Returns:
        frame times (T,) in seconds from 0; R-wave times (B,) that begin before and end after the clip.
    """
    interval = 60.0 / heart_rate
    intervals = interval * (1 + rng.normal(0, 0.02, 10).clip(-0.05, 0.05))
    beats = np.concatenate([[0.0], np.cumsum(intervals)])
    beats = np.round(beats - beats[5] + rng.uniform(0.08, 0.55) * interval, 6)
    length = max(rng.uniform(1.3, 1.9) * interval, beats[6] + 0.10 * interval)
    step = round(1000 / (25 + 25 * rng.uniform() ** 2), 3) / 1000
    times = np.arange(int(np.floor(length / step)) + 1) * step
    return np.asarray(times, dtype=np.float64), np.asarray(beats, dtype=np.float64)


def polar_indices(points: Array, acquisition: Acquisition, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Position of placed points (…, 2) in a polar picture of shape (depths, beams), as (beam, depth)."""
    angle = np.arctan2(points[..., 0], np.maximum(points[..., 1], 0.05))
    distance = np.hypot(points[..., 0], points[..., 1])
    beam = (angle / acquisition.half_angle + 1) / 2 * (shape[1] - 1)
    return stack(beam, distance / acquisition.depth * (shape[0] - 1))


def polar_grid(acquisition: Acquisition, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Cartesian position (x, y), cm, of every sample of a polar picture of shape (depths, beams)."""
    angle = np.linspace(-1, 1, shape[1])[None] * acquisition.half_angle
    distance = np.linspace(0, acquisition.depth, shape[0])[:, None]
    return distance * np.sin(angle), distance * np.cos(angle)
