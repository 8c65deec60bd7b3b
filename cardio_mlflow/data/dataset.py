"""Prepared clips of a list of patients: in memory as one tensor, or read from disk when they are needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor


class Clips(Protocol):
    """Prepared clips of N patients, wherever they lie."""

    @property
    def patient_ids(self) -> tuple[str, ...]:
        """N ids."""

    @property
    def present(self) -> Tensor:
        """(N, V) bool view mask."""

    @property
    def frames(self) -> int:
        """T, the frames of a clip."""

    def clips_of(self, patient: int) -> Tensor:
        """(V, T, H, W) uint8 clips of the patient at this position; 0 for a missing view."""

    def content_of(self, patient: int) -> str:
        """Hexadecimal digest: changes when a pixel or the view mask of this patient does; not with the id."""


@dataclass(frozen=True)
class ClipTensor:
    """Prepared clips of N patients, in memory.

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

    @property
    def frames(self) -> int:
        """T, the frames of a clip."""
        return int(self.clips.shape[2])

    def clips_of(self, patient: int) -> Tensor:
        """(V, T, H, W) uint8 clips of the patient at this position."""
        return self.clips[patient]

    def content_of(self, patient: int) -> str:
        """Hexadecimal digest of the pixels and the view mask of the patient at this position."""
        return _content(self.clips[patient], self.present[patient])


@dataclass(frozen=True)
class ClipFiles:
    """Prepared clips of N patients on disk, a file a patient, each read when it is asked for.

    Attributes:
        patient_ids: N ids.
        paths: N files as ``data.prepare`` writes them.
        frames: how many of the prepared frames, evenly spaced over the cycle.
        present: (N, V) bool view mask.
    """

    patient_ids: tuple[str, ...]
    paths: tuple[Path, ...]
    frames: int
    present: Tensor

    def clips_of(self, patient: int) -> Tensor:
        """(V, T, H, W) uint8 clips of the patient at this position; 0 for a missing view."""
        return _load(self.paths[patient], self.frames)[0]

    def content_of(self, patient: int) -> str:
        """Hexadecimal digest of the pixels and the view mask of the patient at this position."""
        return _content(self.clips_of(patient), self.present[patient])


def open_clips(paths: Callable[[str], Path], patient_ids: Sequence[str], frames: int) -> ClipFiles:
    """Open prepared clips; only the view masks are read.

    Args:
        paths: gives a patient's prepared file.
        patient_ids: whom to open, in this order.
        frames: how many of the prepared frames, evenly spaced over the cycle.
    """
    files = tuple(paths(patient) for patient in patient_ids)
    return ClipFiles(tuple(patient_ids), files, frames, torch.stack([_mask(f) for f in files]))


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


def _mask(path: Path) -> Tensor:
    with safe_open(str(path), framework="pt") as file:
        mask: Tensor = file.get_tensor("view_mask").bool()
        return mask


def _content(clips: Tensor, present: Tensor) -> str:
    digest = hashlib.blake2b(repr((tuple(clips.shape), present.tolist())).encode(), digest_size=16)
    digest.update(clips[present].contiguous().numpy().data)
    return digest.hexdigest()
