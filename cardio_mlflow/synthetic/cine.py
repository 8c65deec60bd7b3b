"""A cine loop in polar space: paint each frame's structures, form the echoes, set the gain."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.synthetic import levels
from cardio_mlflow.synthetic.acquisition import Acquisition, polar_indices
from cardio_mlflow.synthetic.scene import Scene
from cardio_mlflow.synthetic.speckle import SHAPE, draw_medium, form_frame

Image = NDArray[np.uint8]

SUBPIXEL_BITS = 4


def render_cine(scene: Scene, acquisition: Acquisition, rng: np.random.Generator) -> Image:
    """Render a clip before scan conversion.

    Args:
        scene: the view at the acquisition's phases.
        acquisition: how the clip is taken.
        rng: for speckle and noise.

    Returns:
        (T, depths, beams) gray levels; the mean over the sector is the acquisition's brightness.
    """
    medium = draw_medium(acquisition, scene.motion, rng)
    frames = len(scene.contraction)
    offsets = rng.integers(0, (SHAPE[0], SHAPE[1]), size=(frames, 2))
    decibels = [
        form_frame(picture, medium, float(c), (int(o[0]), int(o[1])))
        for picture, c, o in zip(paint_scene(scene, acquisition), scene.contraction, offsets, strict=True)
    ]
    return _set_gain(decibels, acquisition)


def paint_scene(scene: Scene, acquisition: Acquisition) -> Image:
    """Paint the structures of every frame in their true echogenicity: (T, depths, beams), no speckle."""
    pictures = np.full((len(scene.contraction), *SHAPE), levels.SURROUNDINGS, dtype=np.uint8)
    for layer in scene.layers:
        indices = polar_indices(acquisition.place(layer.points), acquisition, SHAPE)
        fixed = np.round(np.clip(indices, -2000, 2000) * 2**SUBPIXEL_BITS).astype(np.int32)
        for picture, points in zip(pictures, fixed, strict=True):
            if layer.line:
                cv2.polylines(picture, [points], False, layer.level, layer.line, cv2.LINE_AA, SUBPIXEL_BITS)
            else:
                cv2.fillPoly(picture, [points], layer.level, cv2.LINE_AA, SUBPIXEL_BITS)
    return pictures


def _set_gain(decibels: list[NDArray[np.float32]], acquisition: Acquisition) -> Image:
    """Map dB to gray so that the clip's mean over the sector's area is the brightness asked for.

    The larger dark chambers of a sicker heart would otherwise darken the picture and give its labels away.
    """
    scale = 255.0 / acquisition.dynamic_range  # gray levels per dB
    sample = np.stack(decibels[::3])[:, 2::4, 1::3] * scale
    weight = np.arange(SHAPE[0])[2::4][None, :, None] * np.ones_like(sample)
    low, high = -400.0, 800.0
    for _ in range(14):
        offset = (low + high) / 2
        mean = np.average(np.clip(sample + offset, 0, 255), weights=weight)
        low, high = (offset, high) if mean < acquisition.brightness else (low, offset)
    return np.stack([cv2.convertScaleAbs(np.maximum(d * scale + offset, 0)) for d in decibels])
