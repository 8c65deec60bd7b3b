"""One clip file made into a prepared clip: masked, cropped, gated, resized."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.crop import PREPARED_SIZE, Crop, crop_to, square
from cardio_mlflow.data.dicom import ClipHeader, read_header
from cardio_mlflow.data.gating import Evidence, Gating, gate
from cardio_mlflow.data.luma import LumaFrames
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.quality import Quality
from cardio_mlflow.data.sector import Sector
from cardio_mlflow.data.sector_fit import fit_sector
from cardio_mlflow.data.statistics import ClipStatistics, collect, thumbnail
from cardio_mlflow.data.tensors import read_tensor

PREPARED_FRAMES: Final = 32
"""Number of frames of a prepared clip."""

__all__ = ["PREPARED_FRAMES", "PREPARED_SIZE", "PreparedClip", "prepare_clip"]


@dataclass(frozen=True)
class PreparedClip:
    """A clip ready for the network.

    Attributes:
        frames: uint8, 32 × 224 × 224: one heart cycle, equally spaced in phase; 0 outside the sector.
        quality: how it was made.
    """

    frames: NDArray[np.uint8]
    quality: Quality


def prepare_clip(path: Path) -> PreparedClip:
    """Prepare a DICOM clip, or an older ``.pt`` tensor (float 0 to 1, T × H × W).

    Raises:
        ClipRefused: with the outcome code; nothing of the clip is kept.
    """
    if path.suffix.lower() == ".pt":
        return _from_tensor(read_tensor(path))
    header = read_header(path)
    frames = LumaFrames(header)
    statistics = collect(frames)
    sector = fit_sector(statistics, header.aspect, header.bound)
    crop = crop_to(sector, header.rows, header.columns, header.aspect)
    evidence = _evidence(header, statistics, sector)
    gating = gate(evidence)
    chosen = gating.frames(evidence.times_s, PREPARED_FRAMES)
    return PreparedClip(_stack(frames, crop, chosen), _quality(header, sector, gating, evidence, chosen))


def _evidence(header: ClipHeader, statistics: ClipStatistics, sector: Sector) -> Evidence:
    if header.frame_times_s is None:
        raise ClipRefused(Outcome.NO_TIMING, "no frame time, frame time vector or frame rate in the header")
    mask = thumbnail(sector.mask(header.rows, header.columns, header.aspect))
    masked = np.where(mask >= 250, statistics.thumbnails, np.uint8(0))
    return Evidence(header.frame_times_s, header.r_waves_s, header.heart_rate, masked)


def _stack(frames: LumaFrames, crop: Crop, chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
    different, where = np.unique(chosen, return_inverse=True)
    small = np.stack([crop.apply(frame) for frame in frames.pick(different.tolist())])
    return small[where]


def _quality(
    header: ClipHeader, sector: Sector, gating: Gating, evidence: Evidence, chosen: NDArray[np.int64]
) -> Quality:
    return Quality(
        rows=header.rows, columns=header.columns, frames=header.frames, manufacturer=header.manufacturer,
        apex_x=round(sector.apex_x, 2), apex_y=round(sector.apex_y, 2),
        left=round(sector.left, 2), right=round(sector.right, 2),
        inner=round(sector.inner, 2), outer=round(sector.outer, 2), fit_score=round(sector.score, 3),
        gating=gating.method, phase_verified=gating.phase_verified, rr_ms=round(gating.rr_ms, 1),
        beats=gating.beats, first_frame=int(chosen[0]) + 1, last_frame=int(chosen[-1]) + 1,
        frames_used=len(np.unique(chosen)), frame_rate=round(header.frames / evidence.duration_s, 2),
        duration_s=round(evidence.duration_s, 3),
    )  # fmt: skip


def _from_tensor(tensor: NDArray[np.float32]) -> PreparedClip:
    frames, rows, columns = tensor.shape
    chosen = np.arange(PREPARED_FRAMES) * frames // PREPARED_FRAMES
    different, where = np.unique(chosen, return_inverse=True)
    small = np.stack([square(cv2.convertScaleAbs(tensor[i], alpha=255.0)) for i in different])
    quality = Quality(rows=rows, columns=columns, frames=frames, gating="tensor", phase_verified=False,
                      first_frame=1, last_frame=int(chosen[-1]) + 1, frames_used=len(different))  # fmt: skip
    return PreparedClip(small[where], quality)
