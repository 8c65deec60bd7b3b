"""What is measured of one clip whose truth is known: sector, overlays, R waves, period, outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.clips import prepare_clip
from cardio_mlflow.data.cycle.ecg import find_r_waves, read_drawn_ecg
from cardio_mlflow.data.cycle.rhythm import Rhythm
from cardio_mlflow.data.files.frames import LumaFrames
from cardio_mlflow.data.files.header import ClipHeader, read_header
from cardio_mlflow.data.outcomes import ClipRefused
from cardio_mlflow.data.picture.fit import fit_sector
from cardio_mlflow.data.picture.overlays import find_overlays
from cardio_mlflow.data.picture.sector import ClipStatistics, collect, thumbnail
from cardio_mlflow.synthetic.clip import ClipTruth

Image = NDArray[np.uint8]

CHOSEN_FRAMES = 32
TOLERANCE_S = 0.025
"""A beat counts as found when an R wave is within this of it."""
EDGE_S = 0.04
"""Beats so near to the first or last frame are not asked for, nor counted as false: they are cut."""
_FAR_S = 0.15
"""An R wave farther from every beat than this is no reading of it, and no part of the errors."""


@dataclass(frozen=True)
class Beats:
    """R waves of a clip beside the true ones.

    Attributes:
        errors: (N,) seconds, absolute, of beats that have an R wave within 150 ms.
        beats: how many are asked for.
        found: how many of them have an R wave within 25 ms.
        false: R waves without a beat within 25 ms.
    """

    errors: tuple[float, ...] = ()
    beats: int = 0
    found: int = 0
    false: int = 0


@dataclass
class Measured:
    """One clip's numbers; None or empty where a stage had nothing to say.

    Attributes:
        kind: of challenge, or "cohort".
        name: of the clip.
        outcome: code of the whole preparation.
        gating: rung that answered.
        iou: of the sector.
        kept: share of the true sector within the fitted one.
        spill: pixels of the fitted sector outside of the true one, relative to it.
        left_outside: drawn pixels per frame outside the true sector, neither masked nor painted over.
        drawn: drawn pixels in the sector, over the frames looked at.
        left: those that are not painted over.
        altered: share of clean tissue that is painted over.
        beats: by rung: tags (times or frames), waveform, or the style of the drawn trace.
        unread: whether a drawn trace was not read.
        imagined: whether a trace was read where none is drawn.
        period_error: of the image's period, relative to the median R-R interval.
        start_error: frames between the first prepared frame and the nearest R wave, where the phase is
            said to be verified.
    """

    kind: str
    name: str
    outcome: str = ""
    gating: str = ""
    iou: float | None = None
    kept: float | None = None
    spill: float | None = None
    left_outside: float | None = None
    drawn: int = 0
    left: int = 0
    altered: float | None = None
    beats: dict[str, Beats] = field(default_factory=dict)
    unread: bool = False
    imagined: bool = False
    period_error: float | None = None
    start_error: float | None = None

    @property
    def residue(self) -> float | None:
        """Share of drawn pixels in the sector that are not painted over; None without any."""
        return self.left / self.drawn if self.drawn else None


def measure(path: Path, kind: str, truth: ClipTruth, style: str | None) -> Measured:
    """Prepare a clip, and measure each stage.

    Args:
        path: the DICOM file.
        kind: of challenge, or "cohort".
        truth: about it.
        style: of the drawn electrocardiogram, None where there is none.
    """
    measured = Measured(kind, path.stem)
    _prepare(measured, path, truth)
    try:
        header = read_header(path)
        frames = LumaFrames(header)
        statistics = collect(frames)
        mask = fit_sector(statistics, header.aspect, header.bound).mask(
            header.rows, header.columns, header.aspect
        )
    except ClipRefused:
        return measured
    if truth.sector_mask.any():
        _measure_sector(measured, mask != 0, truth)
        _measure_overlays(measured, frames, statistics, mask, truth)
    if len(truth.r_wave_times):
        _measure_beats(measured, header, truth)
        small = np.where(thumbnail(mask) >= 250, statistics.thumbnails, np.uint8(0))
        rhythm = Rhythm(truth.frame_times, np.empty(0), header.heart_rate, small)
        found = read_drawn_ecg(frames, mask, statistics, truth.frame_times, rhythm.clear_period_s)
        _measure_trace(measured, None if found is None else found.trace_r_waves_s, truth, style)
        measured.period_error = _period_error(small, truth)
    return measured


def _prepare(measured: Measured, path: Path, truth: ClipTruth) -> None:
    try:
        quality = prepare_clip(path).quality
    except ClipRefused as refusal:
        measured.outcome = str(refusal.outcome)
        return
    measured.outcome, measured.gating = str(quality.outcome), quality.gating
    if quality.phase_verified and quality.first_frame and len(truth.r_wave_times):
        start = truth.frame_times[quality.first_frame - 1]
        away = float(np.abs(truth.r_wave_times - start).min())
        measured.start_error = away / float(np.median(np.diff(truth.frame_times)))


def _measure_sector(measured: Measured, fitted: NDArray[np.bool_], truth: ClipTruth) -> None:
    true = truth.sector_mask
    measured.iou = float((fitted & true).sum() / (fitted | true).sum())
    measured.kept = float((fitted & true).sum() / true.sum())
    measured.spill = float((fitted & ~true).sum() / true.sum())


def _measure_overlays(
    measured: Measured, frames: LumaFrames, statistics: ClipStatistics, mask: Image, truth: ClipTruth
) -> None:
    count = len(truth.frame_times)
    chosen = np.unique(np.linspace(0, count - 1, min(count, CHOSEN_FRAMES)).round().astype(int)).tolist()
    overlays = find_overlays(frames, statistics, mask, chosen)
    outside = altered = clean = 0
    for i in chosen:
        painted, true = overlays.mask(i) != 0, truth.overlay_mask[i]
        shown = (mask != 0) & ~painted
        outside += int((shown & true & ~truth.sector_mask).sum())
        inside = true & truth.sector_mask
        measured.left += int((inside & shown).sum())
        measured.drawn += int(inside.sum())
        # The pixels next to a stroke carry its soft border and its JPEG ringing: they are not clean.
        touched = cv2.dilate(true.astype(np.uint8), np.ones((3, 3), np.uint8)) != 0
        tissue = truth.sector_mask & ~touched
        altered += int((tissue & painted).sum())
        clean += int(tissue.sum())
    measured.left_outside = outside / len(chosen)
    measured.altered = altered / clean


def _measure_beats(measured: Measured, header: ClipHeader, truth: ClipTruth) -> None:
    if len(header.r_waves_s):
        rung = "tagged frames" if measured.kind == "r_wave_pointer" else "tags"
        measured.beats[rung] = compare(header.r_waves_s, truth)
    if header.waveform is not None:
        measured.beats["waveform"] = compare(find_r_waves(*header.waveform), truth)


def _measure_trace(
    measured: Measured, found: NDArray[np.float64] | None, truth: ClipTruth, style: str | None
) -> None:
    if style is None:
        measured.imagined = found is not None
        return
    measured.unread = found is None
    measured.beats[style] = compare(np.empty(0) if found is None else found, truth)


def compare(found: NDArray[np.float64], truth: ClipTruth) -> Beats:
    """Set found R waves, seconds, beside the true ones of a clip."""
    last = float(truth.frame_times[-1])
    asked = truth.r_wave_times[(truth.r_wave_times >= EDGE_S) & (truth.r_wave_times <= last - EDGE_S)]
    if not len(found):
        return Beats(beats=len(asked))
    away = np.abs(asked[:, None] - found[None]).min(axis=1) if len(asked) else np.empty(0)
    inside = found[(found >= EDGE_S) & (found <= last - EDGE_S)]
    lost = np.abs(inside[:, None] - truth.r_wave_times[None]).min(axis=1) > TOLERANCE_S
    errors = tuple(float(a) for a in away[away <= _FAR_S])
    return Beats(errors, len(asked), int((away <= TOLERANCE_S).sum()), int(lost.sum()))


def _period_error(small: Image, truth: ClipTruth) -> float | None:
    intervals = np.diff(truth.r_wave_times)
    if len(intervals) < 1 or np.ptp(intervals) > 0.12 * np.median(intervals):
        return None  # an irregular heart has no period
    found = Rhythm(truth.frame_times, np.empty(0), None, small).period
    return None if found is None else abs(found.length_s / float(np.median(intervals)) - 1)
