"""How one clip was taken: probe position, depth, gain, frame rate, beats; nothing knows the labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.synthetic.scene import Array, stack

APICAL = ("FC", "TC")
USUAL_DEPTH = {"apical": 16.5, "parasternal": 14.5}
"""Median depth, cm: what shows the whole heart of most adults."""
DEPTH_SPREAD = 0.16
"""SD of the depth's logarithm: what sonographers choose for bodies, habits and questions."""
DEPTH_RANGE = (10.0, 24.0)
DEPTH_STEP = 0.5
"""Centimetres of one click of the scanner's depth knob."""
HALF_ANGLES = (30.0, 42.0, 48.0)
"""Smallest, commonest and largest half opening of the sector, degrees."""
ROTATION_SD, STRETCH_SD, LARGEST_STRETCH = 7.0, 0.05, 0.10
"""Of views off their axis: degrees in the plane; logarithm of the stretch along an axis, and its limit."""


CENTRE = np.array([0.0, 8.0])
"""About which the heart is turned, cm."""


@dataclass(frozen=True)
class Acquisition:
    """Settings of a clip, drawn independently of the patient's hemodynamics but for the heart rate.

    Attributes:
        depth: of the picture, cm.
        half_angle: of the sector, radians.
        shift: (dx, dy) of the heart, cm.
        turn: (2, 2) of the heart about CENTRE: rotation in the plane, size, and stretch along one axis.
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
    turn: Array
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
        return np.asarray((points - CENTRE) @ self.turn.T + CENTRE + self.shift)

    def unplace(self, points: Array) -> Array:
        """The points (…, 2) of the heart, cm, that the probe sees at these."""
        return np.asarray((points - self.shift - CENTRE) @ np.linalg.inv(self.turn).T + CENTRE)


def draw_acquisition(view: str, heart_rate: float, rng: np.random.Generator) -> Acquisition:
    """Draw the settings of one clip of a patient with this heart rate (beats/min)."""
    times, beats = draw_timing(heart_rate, rng)
    phases = np.mod(np.interp(times, beats, np.arange(len(beats))), 1.0)
    r_waves = beats[(beats >= 0) & (beats <= times[-1])]
    return Acquisition(
        depth=draw_depth(view, rng),
        half_angle=float(np.deg2rad(rng.triangular(*HALF_ANGLES))),
        shift=(float(rng.normal(0, 0.5)), float(rng.normal(0, 0.3))),
        turn=draw_turn(rng),
        brightness=float(rng.uniform(42, 66)),
        dynamic_range=float(rng.uniform(54, 64)),
        attenuation=float(rng.normal(0, 0.35)),
        clutter=float(rng.uniform(6, 20)),
        noise_floor=float(rng.uniform(-34, -24)),
        frame_times=times, r_waves=r_waves, phases=phases, beats=beats, rate=round(heart_rate),
    )  # fmt: skip


def draw_depth(view: str, rng: np.random.Generator) -> float:
    """Draw the depth of a picture, cm: a whole number of DEPTH_STEP, deeper from the apex."""
    usual = USUAL_DEPTH["apical" if view in APICAL else "parasternal"]
    drawn = usual * np.exp(rng.normal(0, DEPTH_SPREAD))
    return float(np.clip(DEPTH_STEP * np.round(drawn / DEPTH_STEP), *DEPTH_RANGE))


def draw_turn(rng: np.random.Generator) -> Array:
    """Draw how a plane off the standard one shows the heart: turned, and stretched or foreshortened."""
    angle, axis = np.deg2rad(rng.normal(0, ROTATION_SD)), rng.uniform(0, np.pi)
    stretch = np.clip(rng.normal(0, STRETCH_SD), -LARGEST_STRETCH, LARGEST_STRETCH)
    along = np.array([[np.cos(axis)], [np.sin(axis)]])
    oblique = np.eye(2) + np.expm1(stretch) * (along @ along.T)
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(np.exp(rng.normal(0, 0.03)) * turned @ oblique)


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
