"""Prepared clips that no network of this project should be asked about: drawn, or made of a patient's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Float = NDArray[np.float32]
Make = Callable[[Image, np.random.Generator], Image]
"""From a (T, H, W) clip another of the same size."""


def in_gray(values: Float) -> Image:
    """Values of 0 to 255 to gray levels."""
    return np.clip(values, 0, 255).astype(np.uint8)


def sector_of(clip: Image) -> NDArray[np.bool_]:
    """(H, W) where a clip shows anything."""
    lit = (clip.max(0) > 0).astype(np.uint8)
    return cv2.morphologyEx(lit, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)) > 0


def speckle(shape: tuple[int, int, int], rng: np.random.Generator, grain: float) -> Float:
    """Rayleigh noise of mean 1 with a grain of some pixels, another in every frame."""
    parts = rng.standard_normal((2, *shape)).astype(np.float32)
    smooth = np.stack([[cv2.GaussianBlur(f, (0, 0), grain) for f in part] for part in parts])
    amplitude = np.sqrt((smooth**2).sum(0))
    return np.asarray(amplitude / amplitude.mean(), dtype=np.float32)


def white_noise(clip: Image, rng: np.random.Generator) -> Image:
    return rng.integers(0, 256, clip.shape, dtype=np.uint8)


def sector_noise(clip: Image, rng: np.random.Generator) -> Image:
    return white_noise(clip, rng) * sector_of(clip)


def speckle_noise(clip: Image, rng: np.random.Generator) -> Image:
    return in_gray(60 * speckle(clip.shape, rng, rng.uniform(1, 3))) * sector_of(clip)


def patient_in_noise(clip: Image, rng: np.random.Generator) -> Image:
    """A heart that can hardly be made out."""
    return in_gray(0.2 * clip + rng.normal(60, 50, clip.shape)) * sector_of(clip)


def black(clip: Image, _: np.random.Generator) -> Image:
    return np.zeros_like(clip)


def nearly_black(clip: Image, _: np.random.Generator) -> Image:
    return (clip // 24).astype(np.uint8)


def faint_noise(clip: Image, rng: np.random.Generator) -> Image:
    return rng.integers(0, 4, clip.shape, dtype=np.uint8)


def frozen(clip: Image, _: np.random.Generator) -> Image:
    return np.repeat(clip[:1], len(clip), axis=0)


def frozen_with_noise(clip: Image, rng: np.random.Generator) -> Image:
    noise = rng.normal(0, rng.uniform(3, 12), clip.shape)
    return in_gray(clip[:1] + noise) * sector_of(clip)


def frozen_with_speckle(clip: Image, rng: np.random.Generator) -> Image:
    """A still picture whose grain boils."""
    return in_gray(clip[:1] * (0.75 + 0.25 * speckle(clip.shape, rng, 1.5)))


def layers(clip: Image, rng: np.random.Generator, pulse: float = 0.0) -> Float:
    """Layers of tissue across the picture, with a round vessel that may pulsate."""
    frames, height, width = clip.shape
    depth = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    levels = rng.uniform(40, 170, 8).astype(np.float32)
    edges = np.sort(rng.uniform(0, 1, 7))
    level = levels[np.searchsorted(edges, depth + 0.01 * np.sin(np.linspace(0, 9, width)))]
    grain = speckle((1, height, width), rng, 1.2)[0]
    y, x = np.mgrid[:height, :width] / height
    away = np.hypot(x - rng.uniform(0.35, 0.65), y - rng.uniform(0.3, 0.7))
    radius = 0.12 * (1 + pulse * np.sin(2 * np.pi * np.arange(frames) / frames))
    inside = away < radius[:, None, None]
    wall = np.abs(away - radius[:, None, None]) < 0.012
    picture = np.where(inside, 8.0, level * grain)
    return np.where(wall, 200.0, picture).astype(np.float32)


def linear_probe(clip: Image, rng: np.random.Generator) -> Image:
    """A rectangular picture, as deep as it is wide or deeper."""
    picture = layers(clip, rng, pulse=rng.uniform(0, 0.15)) + rng.normal(0, 3, clip.shape)
    width = clip.shape[2]
    margin = int(width * rng.uniform(0, 0.25))
    picture[:, :, :margin] = picture[:, :, width - margin :] = 0
    return in_gray(picture)


def linear_heart(clip: Image, _: np.random.Generator) -> Image:
    """The middle of the patient's own clip as a rectangle: what a heart would look like by such a probe."""
    height, width = clip.shape[1:]
    part = clip[:, height // 3 : height - height // 8, width // 3 : width - width // 3]
    return np.stack([cv2.resize(frame, (width, height)) for frame in part])


def vessel(clip: Image, rng: np.random.Generator) -> Image:
    """A pulsating vessel among layers, in the patient's own sector."""
    return in_gray(layers(clip, rng, pulse=0.2) + rng.normal(0, 3, clip.shape)) * sector_of(clip)


def organ(clip: Image, rng: np.random.Generator) -> Image:
    """An even texture with a few dark vessels that drifts with breathing, in the patient's own sector."""
    frames, height, width = clip.shape
    y, x = np.mgrid[:height, :width]
    level = np.full((height, width), rng.uniform(60, 110), np.float32)
    for _ in range(6):
        cy, cx, r = rng.uniform(0.2, 0.9) * height, rng.uniform(0.2, 0.8) * width, rng.uniform(3, 9)
        level[np.hypot(x - cx, y - cy) < r] = 12
    still = level * speckle((1, height, width), rng, 1.5)[0]
    shifts = 4 * np.sin(2 * np.pi * np.arange(frames) / frames)
    moved = [cv2.warpAffine(still, np.float32([[1, 0, 0], [0, 1, s]]), (width, height)) for s in shifts]
    return in_gray(np.stack(moved) + rng.normal(0, 3, clip.shape)) * sector_of(clip)


def upside_down(clip: Image, _: np.random.Generator) -> Image:
    return np.ascontiguousarray(clip[:, ::-1])


def mirrored(clip: Image, _: np.random.Generator) -> Image:
    return np.ascontiguousarray(clip[:, :, ::-1])


def sideways(clip: Image, _: np.random.Generator) -> Image:
    return np.ascontiguousarray(clip.transpose(0, 2, 1))


def inverted(clip: Image, _: np.random.Generator) -> Image:
    """Black on white within the sector."""
    return (255 - clip) * sector_of(clip)


def shuffled(clip: Image, rng: np.random.Generator) -> Image:
    """The frames in another order."""
    return clip[rng.permutation(len(clip))]


KINDS: Final[dict[str, dict[str, Make]]] = {
    "noise": {"white": white_noise, "white in the sector": sector_noise, "speckle": speckle_noise,
              "heart behind noise": patient_in_noise},
    "black": {"black": black, "nearly black": nearly_black, "faint noise": faint_noise},
    "frozen": {"one frame": frozen, "noise moves": frozen_with_noise, "grain boils": frozen_with_speckle},
    "linear probe": {"layers and vessel": linear_probe, "heart": linear_heart},
    "another organ": {"vessel": vessel, "even texture": organ},
    "turned": {"upside down": upside_down, "mirrored": mirrored, "sideways": sideways},
    "otherwise": {"inverted": inverted, "frames shuffled": shuffled},
}  # fmt: skip
