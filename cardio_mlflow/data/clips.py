"""One clip file made into a prepared clip: masked, cropped, gated, resized."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.cohort.clip import TENSOR_SUFFIX
from cardio_mlflow.data.cycle.ecg import ClipEcg, read_ecg
from cardio_mlflow.data.cycle.gating import Gating, gate
from cardio_mlflow.data.cycle.rhythm import Rhythm
from cardio_mlflow.data.files.frames import LumaFrames
from cardio_mlflow.data.files.header import ClipHeader, read_header
from cardio_mlflow.data.files.non_dicom import is_video, read_tensor, video_header
from cardio_mlflow.data.files.regions import scaled
from cardio_mlflow.data.files.uids import uid_digest
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.picture.fit import fit_sector
from cardio_mlflow.data.picture.overlays import Overlays, find_overlays, inpaint, text_in_sector
from cardio_mlflow.data.picture.pixel_size import TrueScale, combined_scale, region_scale, tick_scale
from cardio_mlflow.data.picture.refused_pictures import (
    refuse_colour_doppler,
    refuse_other_pictures,
    why_no_sector,
)
from cardio_mlflow.data.picture.sector import (
    PREPARED_SIZE,
    ClipStatistics,
    Crop,
    Sector,
    collect,
    crop_to,
    square,
    thumbnail,
)
from cardio_mlflow.data.quality import TEXT_LEFT, UNMASKED, ClipReview, Quality

Image = NDArray[np.uint8]

PREPARED_FRAMES: Final = 32
"""Number of frames of a prepared clip."""

__all__ = ["PREPARED_FRAMES", "PREPARED_SIZE", "PreparedClip", "prepare_clip"]


@dataclass(frozen=True)
class PreparedClip:
    """A clip ready for the network.

    Attributes:
        frames: uint8, 32 × 224 × 224: one heart cycle, equally spaced in phase; 0 outside the sector.
        instance: digest of the file's SOP Instance UID, as `uid_digest`; empty without one. The UID itself
            goes nowhere: with it a clip could be traced to its patient in an archive.
    """

    frames: Image
    quality: Quality
    review: ClipReview = field(default_factory=ClipReview)
    instance: str = ""


@dataclass(frozen=True)
class _Picture:
    """A clip with its sector, and that sector's pixels, uint8 0 or 255, rows × columns.

    All in pixels of the frames as `LumaFrames` gives them; times in seconds since the first frame.
    """

    header: ClipHeader
    times_s: NDArray[np.float64]
    frames: LumaFrames
    statistics: ClipStatistics
    sector: Sector
    mask: Image


def prepare_clip(path: Path, check_text: bool = False) -> PreparedClip:
    """Prepare one clip, by its name a DICOM, a video, or an older ``.pt`` tensor (float 0 to 1, T × H × W).

    With ``check_text`` text left inside the sector is looked for, and noted in the quality row's ``review``.

    Raises:
        ClipRefused: with the outcome code; nothing of the clip is kept.
    """
    if path.suffix.lower() == TENSOR_SUFFIX:
        return _from_tensor(read_tensor(path))
    header = video_header(path) if is_video(path) else read_header(path)
    return _from_picture(_find_sector(header), check_text)


def _find_sector(header: ClipHeader) -> _Picture:
    """Decode a clip, and find its sector; refuse what is no plain 2-D clip of one."""
    times_s = header.timing.times_s
    if times_s is None:
        raise ClipRefused(Outcome.NO_TIMING, header.timing.fault)
    frames = LumaFrames(header)
    statistics = collect(frames)
    bound = None if header.bound is None else scaled(header.bound, frames.scale)
    try:
        sector = fit_sector(statistics, header.aspect, bound)
    except ClipRefused as refusal:
        raise (why_no_sector(header.regions, statistics, frames.scale) or refusal) from None
    mask = sector.mask(frames.rows, frames.columns, header.aspect)
    refuse_other_pictures(header.regions, statistics, frames.scale, mask)
    refuse_colour_doppler(header, mask)
    return _Picture(header, times_s, frames, statistics, sector, mask)


def _from_picture(picture: _Picture, check_text: bool) -> PreparedClip:
    frames, statistics, mask = picture.frames, picture.statistics, picture.mask
    rhythm = _rhythm(picture)
    ecg = read_ecg(picture.header, picture.times_s, frames, mask, statistics, rhythm.clear_period_s)
    rhythm = rhythm.with_ecg(ecg.waveform_r_waves_s, ecg.trace_r_waves_s)
    gating, true = gate(rhythm), _true_scale(picture)
    chosen = gating.frames(picture.times_s, PREPARED_FRAMES)
    overlays = find_overlays(frames, statistics, mask, np.unique(chosen).tolist())
    crop = crop_to(picture.sector, frames.rows, frames.columns, picture.header.aspect)
    review = TEXT_LEFT if check_text and text_in_sector(statistics, mask) else ""
    painted = _inpainted_percent(overlays, mask, chosen)
    known = _quality(picture, gating, rhythm, chosen)
    notes = "; ".join(filter(None, (known.notes, true.note)))
    quality = replace(_placed(known, picture, true, crop), ecg=ecg.style, review=review, notes=notes,
                      inpainted_percent=round(painted, 3))  # fmt: skip
    stack = _stack(frames, overlays, mask, crop, chosen)
    review_data = _review(picture, ecg, gating, rhythm, crop)
    return PreparedClip(stack, quality, review_data, uid_digest(picture.header.sop_uid))


def _rhythm(picture: _Picture) -> Rhythm:
    header, inside = picture.header, thumbnail(picture.mask) >= 250
    masked = np.where(inside, picture.statistics.thumbnails, np.uint8(0))
    return Rhythm(picture.times_s, header.r_waves_s, header.heart_rate, masked)


def _inpainted_percent(overlays: Overlays, mask: Image, chosen: NDArray[np.int64]) -> float:
    painted = [cv2.countNonZero(overlays.mask(index)) for index in np.unique(chosen).tolist()]
    return float(100.0 * np.mean(painted) / cv2.countNonZero(mask))


def _stack(
    frames: LumaFrames, overlays: Overlays, mask: Image, crop: Crop, chosen: NDArray[np.int64]
) -> Image:
    different, where = np.unique(chosen, return_inverse=True)
    indices = different.tolist()
    small = [
        crop.apply(inpaint(frame, overlays.mask(index), mask))
        for index, frame in zip(indices, frames.pick(indices), strict=True)
    ]
    return np.stack(small)[where]


def _review(picture: _Picture, ecg: ClipEcg, gating: Gating, rhythm: Rhythm, crop: Crop) -> ClipReview:
    outline = crop.place(picture.sector.outline(), picture.header.aspect)
    stop = gating.stop_s if gating.wraps else min(gating.stop_s, rhythm.duration_s)
    return ClipReview(
        outline=tuple((round(float(x), 2), round(float(y), 2)) for x, y in outline),
        ecg_s=tuple(ecg.times_s.round(4).tolist()), ecg=tuple(ecg.level.round(3).tolist()),
        r_waves_s=gating.r_waves_s, cycle_s=(max(gating.start_s, 0.0), stop), duration_s=rhythm.duration_s,
    )  # fmt: skip


def _quality(picture: _Picture, gating: Gating, rhythm: Rhythm, chosen: NDArray[np.int64]) -> Quality:
    header, sector = picture.header, picture.sector.scaled(1.0 / picture.frames.scale)
    return Quality(
        rows=header.rows, columns=header.columns, frames=header.frames, manufacturer=header.manufacturer,
        apex_x=round(sector.apex_x, 2), apex_y=round(sector.apex_y, 2),
        left=round(sector.left, 2), right=round(sector.right, 2),
        inner=round(sector.inner, 2), outer=round(sector.outer, 2), fit_score=round(sector.score, 3),
        timing=header.timing.source, gating=gating.method, phase_verified=gating.phase_verified,
        r_waves=gating.r_waves, rr_ms=round(gating.rr_ms, 1), beats=gating.beats,
        first_frame=int(chosen[0]) + 1, last_frame=int(chosen[-1]) + 1,
        frames_used=len(np.unique(chosen)), frame_rate=round(header.frames / rhythm.duration_s, 2),
        duration_s=round(rhythm.duration_s, 3),
        notes="; ".join((*header.notes, *sorted(picture.frames.notes), *gating.notes)),
    )  # fmt: skip


def _true_scale(picture: _Picture) -> TrueScale:
    """The size of the file's pixels, by its tags and by the scale drawn on it."""
    scale, sector, mask = picture.frames.scale, picture.sector, picture.mask
    drawn = tick_scale(picture.statistics, sector, mask) if picture.header.aspect == 1.0 else None
    return combined_scale(
        region_scale(picture.header.regions, sector, mask, scale), None if drawn is None else drawn * scale
    )


def _placed(quality: Quality, picture: _Picture, true: TrueScale, crop: Crop) -> Quality:
    """A quality row with the size of a pixel, and where and how large the prepared clip shows it."""
    apex = np.array([[picture.sector.apex_x, picture.sector.apex_y]])
    x, y = crop.place(apex, picture.header.aspect)[0].tolist()
    placed = replace(quality, prepared_apex_x=round(x, 3), prepared_apex_y=round(y, 3))
    if true.mm_per_pixel is None:
        return placed
    seen, depth = true.mm_per_pixel / picture.frames.scale, picture.sector.outer - picture.sector.inner
    prepared = seen * crop.rows / PREPARED_SIZE
    return replace(
        placed, mm_per_pixel=round(true.mm_per_pixel, 6), scale_source=true.source,
        depth_cm=round(depth * seen / 10.0, 2), prepared_mm_per_pixel=round(prepared, 6),
    )  # fmt: skip


def _from_tensor(tensor: NDArray[np.float32]) -> PreparedClip:
    frames, rows, columns = tensor.shape
    chosen = np.arange(PREPARED_FRAMES) * frames // PREPARED_FRAMES
    different, where = np.unique(chosen, return_inverse=True)
    small = np.stack([square(cv2.convertScaleAbs(tensor[i], alpha=255.0)) for i in different])
    quality = Quality(rows=rows, columns=columns, frames=frames, gating="tensor", phase_verified=False,
                      first_frame=1, last_frame=int(chosen[-1]) + 1, frames_used=len(different),
                      review=UNMASKED)  # fmt: skip
    return PreparedClip(small[where], quality)
