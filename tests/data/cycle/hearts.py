"""ECGs and pictures of ECGs whose R waves are known exactly."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Frames = NDArray[np.uint8]

ROWS, COLUMNS = 240, 400
LEFT, RIGHT, TOP, BOTTOM = 20, 380, 150, 200
"""The screen, and the box of the trace on it."""
X = np.arange(LEFT, RIGHT + 0.25, 0.25)

Voltage = Callable[[Array, Array], Array]
Show = Callable[[Frames, float], None]
"""Draws on a frame what it shows at its time."""


def voltage(
    times_s: Array, r_waves_s: Array, polarity: float = 1.0, tall_t: float = 0.25, wide_t: float = 0.045
) -> Array:
    """P, R, S and T waves as bells about each R wave; the R wave's height is 1."""
    bells = ((-0.15, 0.1, 0.025), (0.0, 1.0, 0.012), (0.035, -0.2, 0.012), (0.28, tall_t, wide_t))
    apart = times_s[:, None] - np.asarray(r_waves_s)[None, :]
    waves = [height * np.exp(-0.5 * ((apart - at) / width) ** 2) for at, height, width in bells]
    return polarity * np.sum(waves, axis=(0, 2))


def beats(start: float, stop: float, interval: float = 0.8, first: float = 0.3) -> Array:
    """R waves an interval apart, one of them at ``first``."""
    return first + interval * np.arange(
        np.ceil((start - first) / interval), np.floor((stop - first) / interval) + 1
    )


def draw(picture: Frames, columns: Array, heights: Array, luma: int = 230, thickness: int = 1) -> None:
    """Draw a line with height 0 to 1 in the box, over what is there already."""
    rows = BOTTOM - 8 - heights * (BOTTOM - TOP - 16)
    points = np.round(np.stack([columns, rows], axis=1) * 16).astype(np.int32)
    cv2.polylines(picture, [points], False, luma, thickness, cv2.LINE_AA, 4)


def speckle(frames: int, seed: int = 0, bright: float = 1.0) -> Frames:
    """Smooth noise that swings up and down as tissue does, of ordinary brightness or more."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.uniform(0, 1, (ROWS + 40, COLUMNS)), (0, 0), 2.5, sigmaY=1.2)
    noise = np.clip((noise - noise.min()) / np.ptp(noise) * 160 * bright - 30, 0, 255).astype(np.uint8)
    shifts = np.rint(15 + 14 * np.sin(np.arange(frames) * 0.25)).astype(int)
    return np.stack([noise[shift : shift + ROWS] for shift in shifts])


def clip(background: Frames, times_s: Array, show: Show) -> Frames:
    """Draw on each frame what it shows at its time."""
    frames = background.copy()
    for frame, time in zip(frames, times_s, strict=True):
        show(frame, float(time))
    return frames


def downward(times_s: Array, r_waves_s: Array) -> Array:
    """An ECG whose main deflection points down from the middle of the box."""
    return np.asarray(0.45 - 0.8 * voltage(times_s, r_waves_s))


def scrolling(r_waves_s: Array, seconds: float, luma: int = 230, of: Voltage = voltage) -> Show:
    """A trace that moves left; its newest point stands at the right end of the box."""
    return lambda frame, now: draw(
        frame, X, of(now - (RIGHT - X) / (RIGHT - LEFT) * seconds, r_waves_s), luma
    )


def sweeping(r_waves_s: Array, seconds: float, of: Voltage = voltage) -> Show:
    """A trace whose head moves right; a part ahead of it is erased."""

    def show(frame: Frames, now: float) -> None:
        share = (X - LEFT) / (RIGHT - LEFT)
        age = (0.2 + now / seconds) % 1.0 - share
        for part, lap in ((age >= 0, 0.0), (age < -0.06, 1.0)):
            if np.count_nonzero(part) > 1:
                draw(frame, X[part], of(now - (age[part] + lap) * seconds, r_waves_s))

    return show


def under_cursor(r_waves_s: Array, seconds: float, of: Voltage = voltage) -> Show:
    """A still trace of the whole clip, and an upright line at the present moment."""

    def show(frame: Frames, now: float) -> None:
        draw(frame, X, of((X - LEFT) / (RIGHT - LEFT) * seconds, r_waves_s))
        column = round(LEFT + (RIGHT - LEFT) * now / seconds)
        cv2.line(frame, (column, TOP), (column, BOTTOM), 200, 1)

    return show
