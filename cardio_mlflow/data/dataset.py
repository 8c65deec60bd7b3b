"""Prepared clips of a list of patients: in memory as one tensor, or read from disk when they are needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from cardio_mlflow.data.clips import PREPARED_FRAMES, PREPARED_SIZE
from cardio_mlflow.parameters import VIEW_CODES

Files = Mapping[str, Path]
"""The store's file of each of a patient's prepared clips, by view code."""


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
        """Digest of what a patient shows: changes with a pixel or the view mask, not with the id."""


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
        """Digest of what a patient shows: changes with a pixel or the view mask, not with the id."""
        clips, present = self.clips[patient], self.present[patient]
        digest = hashlib.blake2b(repr((clips.shape, present.tolist())).encode(), digest_size=16)
        digest.update(clips.contiguous().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class ClipFiles:
    """Prepared clips of N patients on disk, one file per clip, each read when it is asked for.

    Attributes:
        patient_ids: N ids.
        files: of each patient, the store's file of each view's clip.
        frames: how many of the prepared frames, evenly spaced over the cycle.
        present: (N, V) bool view mask.
    """

    patient_ids: tuple[str, ...]
    files: tuple[Files, ...]
    frames: int
    present: Tensor

    def clips_of(self, patient: int) -> Tensor:
        """(V, T, H, W) uint8 clips of the patient at this position; 0 for a missing view."""
        return _load(self.files[patient], self.frames)

    def content_of(self, patient: int) -> str:
        """Digest of what a patient shows: changes with a pixel or the view mask, not with the id.

        A file's name in the store tells its content, so none is read.
        """
        names = sorted((view, path.stem) for view, path in self.files[patient].items())
        known = (names, self.frames, self.present[patient].tolist())
        return hashlib.blake2b(repr(known).encode(), digest_size=16).hexdigest()


def open_clips(files: Callable[[str], Files], patient_ids: Sequence[str], frames: int) -> ClipFiles:
    """Open prepared clips as `load_clips` does, without reading them."""
    found = tuple(files(patient) for patient in patient_ids)
    return ClipFiles(tuple(patient_ids), found, frames, torch.stack([_mask(clips) for clips in found]))


def load_clips(files: Callable[[str], Files], patient_ids: Sequence[str], frames: int) -> ClipTensor:
    """Load prepared clips of these patients, in this order.

    Args:
        files: gives a patient's prepared clips by view code, as `PreparedCohort.clips_of`.
        patient_ids: whom to load.
        frames: how many of the prepared frames, evenly spaced over the cycle.
    """
    found = [files(patient) for patient in patient_ids]
    clips, present = [_load(f, frames) for f in found], [_mask(f) for f in found]
    return ClipTensor(tuple(patient_ids), torch.stack(clips), torch.stack(present))


def frame_positions(available: int, frames: int) -> list[int]:
    """Evenly spaced positions, the first one always included, since the cycle closes on itself.

    >>> frame_positions(32, 4)
    [0, 8, 16, 24]
    """
    return [int(p) for p in np.floor(np.arange(frames) * available / frames)]


def _load(files: Files, frames: int) -> Tensor:
    positions = frame_positions(PREPARED_FRAMES, frames)
    views = torch.zeros(len(VIEW_CODES), frames, PREPARED_SIZE, PREPARED_SIZE, dtype=torch.uint8)
    for view, path in files.items():
        with safe_open(str(path), framework="pt") as file:
            views[VIEW_CODES.index(view)] = file.get_tensor("frames")[positions]
    return views


def _mask(files: Files) -> Tensor:
    return torch.tensor([view in files for view in VIEW_CODES])
