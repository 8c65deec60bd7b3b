"""The files that hold one prepared patient, and the making of them in a worker."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from cardio_mlflow.data.clips import PREPARED_FRAMES, PREPARED_SIZE, prepare_clip
from cardio_mlflow.data.cohort import Clip
from cardio_mlflow.data.outcomes import ClipRefused
from cardio_mlflow.data.quality import Quality
from cardio_mlflow.parameters import VIEW_CODES

PREPARATION_VERSION: Final = "1"
"""Raised whenever the same clips would be prepared differently; part of the cache key."""

# One entry: safetensors writes several in no fixed order, and the same clips must give the same bytes.
_METADATA: Final = {"format": f"cardio_mlflow prepared patient, preparation {PREPARATION_VERSION}"}


@dataclass(frozen=True)
class PatientFiles:
    """Where one patient's prepared data lie.

    Attributes:
        tensors: safetensors file with ``views`` (uint8, 4 × 32 × 224 × 224) and ``view_mask`` (uint8, 4).
        rows: JSON file with the quality row of each clip; written last, so it says that all is done.
    """

    tensors: Path
    rows: Path


def patient_files(folder: Path, patient_id: str) -> PatientFiles:
    """Names for a patient's files: a readable part, and a digest that keeps different ids apart.

    No id leads out of the folder, whatever it holds.

    >>> patient_files(Path("cache"), "../x").tensors.parent == Path("cache")
    True
    """
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", patient_id)[:40].strip("_") or "patient"
    digest = hashlib.blake2b(patient_id.encode(), digest_size=6).hexdigest()
    stem = f"{readable}-{digest}"
    return PatientFiles(folder / f"{stem}.safetensors", folder / f"{stem}.json")


def prepare_patient(folder: Path, patient_id: str, clips: Sequence[Clip]) -> int:
    """Prepare all clips of one patient and write the patient's files; what is there already is left.

    Args:
        folder: the prepared cohort's folder.
        patient_id: the patient.
        clips: at most one of each view.

    Returns:
        Number of clips.
    """
    files = patient_files(folder, patient_id)
    if files.rows.exists():
        return len(clips)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        views, mask, rows = _prepare_views(clips)
    finally:
        cv2.setNumThreads(threads)
    if mask.any():
        write_bytes(files.tensors, save({"view_mask": mask, "views": views}, metadata=_METADATA))
    write_bytes(files.rows, json.dumps(rows, indent=1, sort_keys=True).encode())
    return len(clips)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: to a temporary name beside it, then renamed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _prepare_views(
    clips: Sequence[Clip],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[dict[str, object]]]:
    views = np.zeros((len(VIEW_CODES), PREPARED_FRAMES, PREPARED_SIZE, PREPARED_SIZE), np.uint8)
    mask = np.zeros(len(VIEW_CODES), np.uint8)
    rows: list[dict[str, object]] = []
    for clip in sorted(clips, key=lambda clip: VIEW_CODES.index(clip.view)):
        try:
            prepared = prepare_clip(clip.path)
            position = VIEW_CODES.index(clip.view)
            views[position], mask[position] = prepared.frames, 1
            quality = prepared.quality
        except ClipRefused as refusal:
            quality = Quality(outcome=refusal.outcome, message=refusal.message)
        rows.append({"patient_id": clip.patient_id, "view": clip.view, **asdict(quality)})
    return views, mask, rows
