"""Prepared clips of a list of patients, in memory, as one tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor


@dataclass(frozen=True)
class ClipTensor:
    """Prepared clips of N patients.

    Attributes:
        patient_ids: N ids.
        clips: (N, V, T, H, W) uint8; 0 for a missing view.
        present: (N, V) bool view mask.
    """

    patient_ids: tuple[str, ...]
    clips: Tensor
    present: Tensor

    def __len__(self) -> int:
        """Number of patients."""
        return len(self.patient_ids)


def load_clips(paths: Callable[[str], Path], patient_ids: Sequence[str], frames: int) -> ClipTensor:
    """Load prepared clips, only the frames asked for.

    Args:
        paths: gives a patient's prepared file.
        patient_ids: whom to load, in this order.
        frames: how many of the prepared frames, evenly spaced over the cycle.
    """
    loaded = [_load(paths(patient), frames) for patient in patient_ids]
    clips, present = zip(*loaded, strict=True)
    return ClipTensor(tuple(patient_ids), torch.stack(clips), torch.stack(present))


def frame_positions(available: int, frames: int) -> list[int]:
    """Evenly spaced positions, the first one always included, since the cycle closes on itself.

    >>> frame_positions(32, 4)
    [0, 8, 16, 24]
    """
    return [int(p) for p in np.floor(np.arange(frames) * available / frames)]


def _load(path: Path, frames: int) -> tuple[Tensor, Tensor]:
    with safe_open(str(path), framework="pt") as file:
        views = file.get_tensor("views")
        positions = frame_positions(views.shape[1], frames)
        return views[:, positions].clone(), file.get_tensor("view_mask").bool()
