"""A cine in polar space: painted structures, seen through moving scatterers, a point spread and dropouts."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.synthetic.acquisition import Acquisition, polar_grid, polar_indices
from cardio_mlflow.synthetic.scene import Array, Level, Motion, Scene, stack

Float = NDArray[np.float32]
Image = NDArray[np.uint8]

SHAPE = (288, 144)
"""Depth samples and beams of a polar picture."""
LEVEL_DECIBELS = 0.25
"""Decibels of one echo level."""
SPREAD = (7, 3)
"""Kernel of the point spread: beams, depths. Constant in angle, so it widens with depth on the screen."""
AMPLITUDES: Float = (10 ** ((np.arange(256) - 255) * LEVEL_DECIBELS / 20)).astype(np.float32)
SUBPIXEL_BITS = 4
SPECULAR = 0.9
"""How much an interface across the beam adds to the echo level."""


@dataclass(frozen=True)
class Medium:
    """What stays the same during a clip.

    Attributes:
        scatterers: (depths, beams, 2) complex scatterers at end-diastole.
        noise: (2·depths, 2·beams, 2) pool from which every frame takes other electronic noise.
        grid: x and y index maps of the picture.
        motion: the same of the tissue's displacement at full contraction, in samples.
        floor: (depths, 1, 1) amplitude of electronic noise.
        clutter: (depths, beams, 2) static near-field clutter.
        gain: (depths, beams) dB: attenuation left, dropouts of beams, shadows.
    """

    scatterers: Float
    noise: Float
    grid: tuple[Float, Float]
    motion: tuple[Float, Float]
    floor: Float
    clutter: Float
    gain: Float


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
    pictures = np.full((len(scene.contraction), *SHAPE), Level.SURROUNDINGS, dtype=np.uint8)
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


def draw_medium(acquisition: Acquisition, motion: Motion, rng: np.random.Generator) -> Medium:
    """Draw scatterers, noise and dropouts of one clip."""
    depths, beams = SHAPE
    pool = rng.standard_normal((2 * depths, 2 * beams, 2), dtype=np.float32)
    scatterers = cv2.GaussianBlur(rng.standard_normal((depths, beams, 2), dtype=np.float32), (3, 3), 0.7)
    scatterers *= 2.4 * _density(rng)[..., None]
    distance = np.linspace(0, acquisition.depth, depths)[:, None, None]
    floor = 10 ** ((acquisition.noise_floor - 24 + 16 * distance / acquisition.depth) / 20)
    haze = 10 ** ((acquisition.clutter - 30) / 20) * np.exp(-distance / 0.9)
    columns, rows = np.meshgrid(np.arange(beams, dtype=np.float32), np.arange(depths, dtype=np.float32))
    return Medium(
        scatterers, pool, (columns, rows), _index_motion(acquisition, motion), floor.astype(np.float32),
        (haze * pool[:depths, :beams] * 1.5).astype(np.float32), _gain(acquisition, rng),
    )  # fmt: skip


def _density(rng: np.random.Generator) -> Float:
    """Uneven strength of the scatterers, (depths, beams): coarse and finer patches of about 4 dB."""
    decibels = np.zeros(SHAPE, dtype=np.float32)
    for rows, columns, spread in ((9, 6, 2.8), (40, 14, 2.4)):
        patches = rng.normal(0, spread, (rows, columns)).astype(np.float32)
        decibels += cv2.resize(patches, SHAPE[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(10 ** (decibels / 20), dtype=np.float32)


def form_frame(painted: Image, medium: Medium, contraction: float, offset: tuple[int, int]) -> Float:
    """Echo strength in dB of one frame, (depths, beams).

    Fully developed speckle: the envelope of a complex Gaussian field is Rayleigh (Wagner et al., IEEE Trans
    Sonics Ultrason 1983).

    Args:
        painted: (depths, beams) echo levels.
        medium: of the clip.
        contraction: 0 to 1, how far the tissue has moved.
        offset: where this frame's noise is taken from the pool, (row, column).
    """
    beams, depths = (g - contraction * m for g, m in zip(medium.grid, medium.motion, strict=True))
    field = cv2.remap(medium.scatterers, beams, depths, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    field *= cv2.LUT(_with_interfaces(painted), AMPLITUDES)[..., None]
    r, c = offset
    field += medium.noise[r : r + SHAPE[0], c : c + SHAPE[1]] * medium.floor
    field += medium.clutter
    field = cv2.GaussianBlur(field, SPREAD, 1.35, sigmaY=0.7)
    envelope = cv2.magnitude(field[..., 0], field[..., 1])
    return np.asarray(
        cv2.log(envelope + np.float32(1e-5)) * np.float32(8.6859) + medium.gain, dtype=np.float32
    )


def _with_interfaces(levels: Image) -> Image:
    """Soften the painting and brighten interfaces across the beam, which reflect specularly."""
    soft = cv2.GaussianBlur(levels, (3, 3), 0.8)
    slope = cv2.convertScaleAbs(cv2.Sobel(soft, cv2.CV_16S, 0, 1, ksize=3), alpha=SPECULAR / 4)
    return np.asarray(cv2.add(soft, slope))


def _index_motion(acquisition: Acquisition, motion: Motion) -> tuple[Float, Float]:
    """Displacement at full contraction, as (beams, depths) of shape SHAPE each."""
    x, y = polar_grid(acquisition, SHAPE)
    heart = acquisition.unplace(stack(x, y))
    moved = stack(*motion(heart[..., 0], heart[..., 1])) @ acquisition.turn.T
    dx, dy = moved[..., 0], moved[..., 1]
    distance = np.maximum(np.hypot(x, y), 1.5)
    radial = (x * dx + y * dy) / distance
    angular = (y * dx - x * dy) / distance**2
    per_beam = (SHAPE[1] - 1) / (2 * acquisition.half_angle)
    per_depth = (SHAPE[0] - 1) / acquisition.depth
    return (angular * per_beam).astype(np.float32), (radial * per_depth).astype(np.float32)


def _gain(acquisition: Acquisition, rng: np.random.Generator) -> Float:
    depths, beams = SHAPE
    distance = np.linspace(0, acquisition.depth, depths)[:, None]
    coarse = rng.normal(0, 1, 14)
    beam = np.interp(np.linspace(0, 13, beams), np.arange(14), coarse)[None] * 2.2
    edge = -5.0 * np.abs(np.linspace(-1, 1, beams)[None]) ** 4
    steps = np.interp(np.linspace(0, 7, depths), np.arange(8), rng.normal(0, 1.2, 8))[:, None]
    gain = beam + edge + steps - acquisition.attenuation * (distance - acquisition.depth / 2)
    return np.asarray(gain + _shadow(distance, rng), dtype=np.float32)


def _shadow(distance: Array, rng: np.random.Generator) -> Array:
    """A rib's or the lung's shadow at one edge in about a third of clips, dB."""
    present, side, width, start = rng.uniform(size=4)
    position = np.linspace(0, 1, SHAPE[1])[None]
    position = position if side < 0.5 else 1 - position
    strength = -14.0 if present < 0.35 else 0.0
    across = 1 / (1 + np.exp((position - 0.05 - 0.10 * width) / 0.02))
    return np.asarray(strength * across / (1 + np.exp(-(distance - 1 - 2 * start) / 0.4)))
