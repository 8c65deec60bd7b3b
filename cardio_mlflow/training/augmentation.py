"""Augmentation of prepared clips: what another probe position or another gain would have shown."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cardio_mlflow.settings import Settings


@dataclass(frozen=True)
class Augmentation:
    """Largest changes: degrees of rotation, shares of shift, zoom and gain, SD of speckle noise."""

    rotation: float
    shift: float
    zoom: float
    gain: float
    speckle: float
    seed: int

    @staticmethod
    def from_settings(settings: Settings) -> Augmentation:
        """Take the augmentation settings."""
        return Augmentation(
            settings.rotation, settings.shift, settings.zoom, settings.gain, settings.speckle, settings.seed
        )

    def copy_of(self, clips: Tensor, name: str, copy: int) -> Tensor:
        """Copy number ``copy`` of a patient's clips; copy 0 is the original.

        Rotation, shift and gain differ from view to view, as probe positions do, and hold for all
        frames of a clip; the zoom is one for all views, since sizes carry information. The numbers
        depend on the seed, the name and the copy alone, not on the device.

        Args:
            clips: (V, T, H, W), 0-1, the sector's apex at the top.
            name: seeds the draw, such as a digest of what the clips show.
            copy: 0 or more.

        Returns:
            (V, T, H, W), 0-1.
        """
        if copy == 0:
            return clips
        generator = torch.Generator().manual_seed(_seed_of(self.seed, name, copy))
        views = len(clips)

        def draw(*shape: int) -> Tensor:
            return (torch.rand(*shape, generator=generator) * 2 - 1).to(clips.device)

        angle = draw(views) * torch.deg2rad(torch.tensor(self.rotation))
        moved = _move(clips, angle, draw(views, 2) * self.shift * 2, 1 + draw(1) * self.zoom)
        gain = 1 + draw(views, 1, 1, 1) * self.gain
        noise = torch.randn(moved.shape, generator=generator).to(clips.device) * self.speckle
        return (moved * gain * (1 + noise)).clamp(0, 1)


def _seed_of(seed: int, name: str, copy: int) -> int:
    text = f"{seed}/{name}/{copy}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big")


def _move(clips: Tensor, angle: Tensor, shift: Tensor, zoom: Tensor) -> Tensor:
    """Rotate about the top centre, zoom about it and shift; black comes in from outside.

    Args:
        clips: (V, T, H, W).
        angle: (V,) radians.
        shift: (V, 2) in units of half an image side.
        zoom: (1,) factor.
    """
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    pivot_x, pivot_y = torch.zeros_like(angle), torch.full_like(angle, -1.0)
    rows = torch.stack(
        [
            torch.stack([cos, -sin, pivot_x - cos * pivot_x + sin * pivot_y - shift[:, 0]], 1),
            torch.stack([sin, cos, pivot_y - sin * pivot_x - cos * pivot_y - shift[:, 1]], 1),
        ],
        1,
    )  # (V, 2, 3)
    grid = functional.affine_grid(rows, [len(clips), 1, *clips.shape[-2:]], align_corners=False)
    return functional.grid_sample(clips, grid, align_corners=False)
