"""Prepared clips of a list of patients: in memory as one tensor, or read from disk when they are needed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import safe_open
from torch import Tensor

from cardio_mlflow.data.batch.clip_store import entry_in
from cardio_mlflow.data.clips import PREPARED_FRAMES, PREPARED_SIZE, PreparedClip
from cardio_mlflow.data.picture.physical_scale import FIELD_MM, PhysicalScale, at_physical_scale, mm_shown
from cardio_mlflow.data.quality import Quality
from cardio_mlflow.parameters import VIEW_CODES

Files = Mapping[str, Path]
"""The store's file of each of a patient's prepared clips, by view code."""


_UNKNOWN: Final = torch.empty(0)


@dataclass(frozen=True)
class ClipTensor:
    """Prepared clips of N patients, in memory.

    Attributes:
        clips: (N, V, T, H, W) uint8; 0 for a missing view.
        present: (N, V) bool view mask.
        placement: (N, V, 3) float64: of each clip as it is prepared, a crop to its sector, mm per pixel and x
            and y of the sector's apex in pixels; NaN where unknown (the default).
        phased: (N, V) bool, whether the frames are known to start or end at an R wave (default False).
        rr_ms: (N, V) float64, length of the cycle shown, ms; NaN where it is not known to be one heart beat
            (the default).
        scale: as in `ClipFiles`.
    """

    patient_ids: tuple[str, ...]
    clips: Tensor
    present: Tensor
    placement: Tensor = _UNKNOWN
    phased: Tensor = _UNKNOWN
    rr_ms: Tensor = _UNKNOWN
    scale: PhysicalScale | None = None

    def __post_init__(self) -> None:
        unknown = zip(("placement", "phased", "rr_ms"), _facts([None] * self.present.numel()), strict=True)
        for name, values in unknown:
            if getattr(self, name) is _UNKNOWN:
                object.__setattr__(self, name, values.reshape(*self.present.shape, *values.shape[1:]))

    def __len__(self) -> int:
        """Number of patients."""
        return len(self.patient_ids)

    @property
    def frames(self) -> int:
        """T, the frames of a clip."""
        return int(self.clips.shape[2])

    def clips_of(self, patient: int) -> Tensor:
        """(V, T, H, W) uint8 clips of the patient at this position."""
        return _at_scale(self.prepared_of(patient), self.placement[patient], self.scale)

    def prepared_of(self, patient: int) -> Tensor:
        """(V, T, H, W) uint8 clips as they are prepared, cropped to the sector."""
        return self.clips[patient]

    def content_of(self, patient: int) -> str:
        """Digest of what a patient shows: changes with a pixel or the view mask, not with the id."""
        clips, present = self.clips_of(patient), self.present[patient]
        digest = hashlib.blake2b(repr((clips.shape, present.tolist())).encode(), digest_size=16)
        digest.update(clips.contiguous().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class ClipFiles:
    """Prepared clips of N patients on disk, one file per clip, each read when it is asked for.

    Attributes:
        frames: how many of the prepared frames, evenly spaced over the cycle.
        present: as in `ClipTensor`, and so are placement, phased and rr_ms.
        scale: shows every clip at one physical scale; None shows each as it is prepared.
    """

    patient_ids: tuple[str, ...]
    files: tuple[Files, ...]
    frames: int
    present: Tensor
    placement: Tensor
    phased: Tensor
    rr_ms: Tensor
    scale: PhysicalScale | None = None

    def clips_of(self, patient: int) -> Tensor:
        """(V, T, H, W) uint8 clips of the patient at this position; 0 for a missing view."""
        return _at_scale(self.prepared_of(patient), self.placement[patient], self.scale)

    def prepared_of(self, patient: int) -> Tensor:
        """(V, T, H, W) uint8 clips as they are prepared, cropped to the sector; 0 for a missing view."""
        return _load(self.files[patient], self.frames)

    def content_of(self, patient: int) -> str:
        """Digest as in `ClipTensor`, from the files' names in the store, which stand for their content.

        Of the scale only what this patient's clips are shown at counts.
        """
        names = sorted((view, path.stem) for view, path in self.files[patient].items())
        known = (names, self.frames, self.present[patient].tolist(), self._shown_at(patient))
        return hashlib.blake2b(repr(known).encode(), digest_size=16).hexdigest()

    def _shown_at(self, patient: int) -> list[float]:
        if self.scale is None:
            return []
        sizes = mm_shown(self.placement[patient].numpy(), self.scale.fallback_mm).tolist()
        return [FIELD_MM, *(sizes[VIEW_CODES.index(view)] for view in sorted(self.files[patient]))]


Clips = ClipTensor | ClipFiles
"""Prepared clips, wherever they lie."""


def open_clips(
    files: Callable[[str], Files], patient_ids: Sequence[str], frames: int,
    *, scale: PhysicalScale | None = None,
) -> ClipFiles:  # fmt: skip
    """Open prepared clips as `load_clips` does, without reading their pixels."""
    found = tuple(files(patient) for patient in patient_ids)
    present = torch.tensor([[view in clips for view in VIEW_CODES] for clips in found])
    facts = _facts([_quality(clips.get(view)) for clips in found for view in VIEW_CODES])
    placement, phased, rr_ms = (values.reshape(*present.shape, *values.shape[1:]) for values in facts)
    return ClipFiles(tuple(patient_ids), found, frames, present, placement, phased, rr_ms, scale)


def load_clips(
    files: Callable[[str], Files], patient_ids: Sequence[str], frames: int,
    *, scale: PhysicalScale | None = None,
) -> ClipTensor:  # fmt: skip
    """Load prepared clips of these patients, in this order.

    Args:
        files: gives a patient's prepared clips by view code, as `PreparedCohort.clips_of`.
        patient_ids: whom to load.
        frames: how many of the prepared frames, evenly spaced over the cycle.
        scale: show every clip at one physical scale, as `at_physical_scale`; None crops each to its sector.
    """
    clips = open_clips(files, patient_ids, frames, scale=scale)
    pixels = torch.stack([clips.clips_of(patient) for patient in range(len(clips.patient_ids))])
    return ClipTensor(clips.patient_ids, pixels, clips.present, clips.placement, clips.phased, clips.rr_ms)


def prepared_clips(patient_ids: Sequence[str], clips: Sequence[Mapping[str, PreparedClip]]) -> ClipTensor:
    """Clips of N patients that were prepared just now, of each by view code."""
    present = torch.tensor([[view in of for view in VIEW_CODES] for of in clips]).reshape(-1, len(VIEW_CODES))
    pixels = torch.zeros(*present.shape, PREPARED_FRAMES, PREPARED_SIZE, PREPARED_SIZE, dtype=torch.uint8)
    for shown, of in zip(pixels, clips, strict=True):
        for view, clip in of.items():
            shown[VIEW_CODES.index(view)] = torch.from_numpy(clip.frames.copy())
    facts = _facts([of[view].quality if view in of else None for of in clips for view in VIEW_CODES])
    placement, phased, rr_ms = (values.reshape(*present.shape, *values.shape[1:]) for values in facts)
    return ClipTensor(tuple(patient_ids), pixels, present.bool(), placement, phased, rr_ms)


def with_heart_rates(facts: NDArray[np.float64], clips: Clips) -> NDArray[np.float64]:
    """(N, 3) facts, see `FACTS`, with the heart rate of the beats that are shown.

    That is the median over the views whose beats are known; where none is, the rate stays as it was given.
    """
    interval = pd.DataFrame(clips.rr_ms.numpy()).median(axis=1).to_numpy(np.float64)
    found = facts.copy()
    found[:, 0] = np.where(np.isnan(interval), facts[:, 0], 60_000 / interval)
    return found


def frame_positions(available: int, frames: int) -> list[int]:
    """Evenly spaced positions, the first one always included, since the cycle closes on itself.

    >>> frame_positions(32, 4)
    [0, 8, 16, 24]
    """
    return [int(p) for p in np.floor(np.arange(frames) * available / frames)]


def _at_scale(clips: Tensor, placement: Tensor, scale: PhysicalScale | None) -> Tensor:
    """(V, T, H, W) clips of a patient at a physical scale, or as they are prepared."""
    if scale is None:
        return clips
    return torch.from_numpy(at_physical_scale(clips.numpy(), placement.numpy(), scale.fallback_mm))


def _load(files: Files, frames: int) -> Tensor:
    positions = frame_positions(PREPARED_FRAMES, frames)
    views = torch.zeros(len(VIEW_CODES), frames, PREPARED_SIZE, PREPARED_SIZE, dtype=torch.uint8)
    for view, path in files.items():
        with safe_open(str(path), framework="pt") as file:
            views[VIEW_CODES.index(view)] = file.get_tensor("frames")[positions]
    return views


def _quality(path: Path | None) -> Quality | None:
    """The row in the store's file of a clip; None where there is no clip, or no row."""
    if path is None:
        return None
    with safe_open(str(path), framework="pt") as file:
        try:
            return entry_in(file.metadata()).quality
        except ValidationError:
            return None


def _facts(clips: Sequence[Quality | None]) -> tuple[Tensor, Tensor, Tensor]:
    """Placement (C, 3), phased (C,) and R-R in ms (C,) of C clips, as `ClipTensor`."""
    placement = [(math.nan,) * 3 if clip is None else clip.placement for clip in clips]
    phased = [clip is not None and bool(clip.phase_verified) for clip in clips]
    rr_ms = [math.nan if clip is None else clip.heartbeat_ms for clip in clips]
    return (
        torch.tensor(placement, dtype=torch.float64).reshape(-1, 3), torch.tensor(phased, dtype=torch.bool),
        torch.tensor(rr_ms, dtype=torch.float64),
    )  # fmt: skip
