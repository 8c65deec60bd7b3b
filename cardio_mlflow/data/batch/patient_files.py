"""The files that hold one prepared patient."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from cardio_mlflow.data.batch.sandbox import ClipStopped, Limits, Sandbox
from cardio_mlflow.data.clips import PREPARED_FRAMES, PREPARED_SIZE
from cardio_mlflow.data.cohort.cohort import Clip
from cardio_mlflow.data.outcomes import ClipRefused
from cardio_mlflow.data.quality import ClipReview, Quality
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import VIEW_CODES

PREPARATION_VERSION: Final = "4"
"""Raised whenever the same clips would be prepared differently; part of the cache key."""

Row = dict[str, Any]
"""What is kept of one clip: the columns of its quality row, ``review_data`` (a ClipReview), ``instance``
(digest of its SOP Instance UID, or empty) and ``limits`` (those that stopped it, or None)."""

_PART: Final = ".part"
# One entry: safetensors writes several in no fixed order, and the same clips must give the same bytes.
_METADATA: Final = {"format": f"cardio_mlflow prepared patient, preparation {PREPARATION_VERSION}"}


@dataclass(frozen=True)
class PatientFiles:
    """Where one patient's prepared data lie.

    Attributes:
        tensors: safetensors file with ``views`` (uint8, 4 × 32 × 224 × 224) and ``view_mask`` (uint8, 4).
        rows: JSON file with a ``Row`` for each clip; written last, so it says that all is done.
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


def read_rows(folder: Path, patient_id: str) -> list[Row]:
    """The rows of a patient's clips; empty when the patient is not prepared yet."""
    path = patient_files(folder, patient_id).rows
    try:
        rows: list[Row] = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):  # not yet, or cut off by a loss of power
        return []
    return rows


def review_of(row: Row) -> ClipReview:
    """What a person needs to judge the clip of a row."""
    return ClipReview(**{name: _tuples(value) for name, value in row["review_data"].items()})


def is_done(rows: Sequence[Row], limits: Limits) -> bool:
    """Whether a patient with these rows needs no more work: none was stopped by limits below these."""
    stopped = [row["limits"] for row in rows if row["limits"]]
    return bool(rows) and not any(s < limits.seconds or m < limits.memory for s, m in stopped)


def prepare_patient(
    folder: Path, patient_id: str, clips: Sequence[Clip], sandbox: Sandbox, check_text: bool
) -> list[Row]:
    """Prepare all clips of one patient and write the patient's files.

    Args:
        folder: the prepared cohort's folder.
        patient_id: the patient.
        clips: at most one of each view.
        sandbox: prepares them.
        check_text: mark clips with text left inside the sector for review.

    Returns:
        A row for each clip, in the order of the views.

    Raises:
        InputError: the files cannot be written.
        SandboxClosedError: the sandbox was closed meanwhile; nothing is written.
    """
    files = patient_files(folder, patient_id)
    views = np.zeros((len(VIEW_CODES), PREPARED_FRAMES, PREPARED_SIZE, PREPARED_SIZE), np.uint8)
    mask = np.zeros(len(VIEW_CODES), np.uint8)
    rows = []
    for clip in sorted(clips, key=lambda clip: VIEW_CODES.index(clip.view)):
        row, frames = _prepare(clip, sandbox, check_text)
        rows.append(row)
        if frames is not None:
            position = VIEW_CODES.index(clip.view)
            views[position], mask[position] = frames, 1
    files.rows.unlink(missing_ok=True)
    _write_tensors(files.tensors, views, mask)
    write_bytes(files.rows, json.dumps(rows, indent=1, sort_keys=True).encode())
    return rows


def drop_views(folder: Path, patient_id: str, views: Collection[str]) -> None:
    """Take views out of a patient's prepared file, as if they had never been prepared."""
    path = patient_files(folder, patient_id).tensors
    if not path.exists():
        return
    with safe_open(path, "numpy") as file:
        tensor, mask = file.get_tensor("views"), file.get_tensor("view_mask")
    positions = [VIEW_CODES.index(view) for view in views]
    if mask[positions].any():
        tensor[positions], mask[positions] = 0, 0
        _write_tensors(path, tensor, mask)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: to a temporary name beside it, then renamed.

    Raises:
        InputError: the disk is full, or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_PART}")
    try:
        temporary.write_bytes(data)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as fault:
        raise unwritable(fault) from None
    finally:
        temporary.unlink(missing_ok=True)


def clear_parts(folder: Path) -> None:
    """Remove the halves of files that a killed process left; call it under the folder's lock."""
    for part in folder.glob(f".*{_PART}"):
        part.unlink(missing_ok=True)


def unwritable(fault: OSError) -> InputError:
    """The error for a cache folder that takes no more."""
    return InputError(
        f"The cache folder cannot be written ({fault.strerror}).\n"
        "Make room there (a patient takes 6.4 MB) or give another one: -P cache=<folder>. "
        "What is prepared is kept."
    )


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _prepare(clip: Clip, sandbox: Sandbox, check_text: bool) -> tuple[Row, NDArray[np.uint8] | None]:
    limits, review, instance, frames = None, ClipReview(), "", None
    try:
        prepared = sandbox.prepare(clip.path, check_text)
        instance = sandbox.instance(clip.path)
        quality, review, frames = prepared.quality, prepared.review, prepared.frames
    except ClipStopped as stop:
        quality = Quality(outcome=stop.outcome, message=stop.message)
        limits = [sandbox.limits.seconds, sandbox.limits.memory]
    except ClipRefused as refusal:
        quality = Quality(outcome=refusal.outcome, message=refusal.message)
    row = {"patient_id": clip.patient_id, "view": clip.view, **asdict(quality)}
    return row | {"review_data": asdict(review), "instance": instance, "limits": limits}, frames


def _write_tensors(path: Path, views: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
    """Write a patient's tensors; no file for a patient without any view."""
    if mask.any():
        write_bytes(path, save({"view_mask": mask, "views": views}, metadata=_METADATA))
    else:
        path.unlink(missing_ok=True)
