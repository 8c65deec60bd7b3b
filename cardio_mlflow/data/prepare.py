"""The batch: a cohort's clips made into a prepared cohort, once."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
from filelock import FileLock
from joblib import Parallel, delayed
from tqdm import tqdm

from cardio_mlflow.data.clips import PREPARED_FRAMES, PREPARED_SIZE
from cardio_mlflow.data.cohort import Clip
from cardio_mlflow.data.contact_sheet import write_contact_sheets
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.patient_files import PREPARATION_VERSION, patient_files, prepare_patient, write_bytes
from cardio_mlflow.data.quality import QUALITY_COLUMNS
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import VIEW_CODES

_MARKER: Final = "prepared.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedCohort:
    """A cohort whose clips are prepared.

    Attributes:
        folder: where the files lie: a safetensors file a patient, ``quality.csv``, contact sheets.
        key: digest of the clips' content and of the way of preparation.
        quality: one row a clip, the columns of ``QUALITY_COLUMNS``.
        patients: ids that have a file, in the order of the clips given.
        missing: ids of which no clip could be prepared.
    """

    folder: Path
    key: str
    quality: pd.DataFrame
    patients: tuple[str, ...]
    missing: tuple[str, ...]

    def path(self, patient_id: str) -> Path:
        """The patient's safetensors file: ``views`` uint8 4 × 32 × 224 × 224, ``view_mask`` uint8 4.

        Raises:
            KeyError: no clip of this patient was prepared.
        """
        if patient_id not in self.patients:
            raise KeyError(patient_id)
        return patient_files(self.folder, patient_id).tensors


def prepare_cohort(clips: Sequence[Clip], folder: Path, jobs: int) -> PreparedCohort:
    """Prepare a cohort's clips, or find them prepared already.

    A run that was stopped goes on where it was. The files are the same bytes at any number of jobs.

    Args:
        clips: at most one for a patient and view.
        folder: the cache folder; the cohort's own folder ``prepared/<key>`` is made in it.
        jobs: number of processes; -1 for one a core.

    Raises:
        InputError: there are two clips of one patient and view, a clip's file cannot be read, or no
            clip at all could be prepared.
    """
    by_patient = _by_patient(clips)
    key = cohort_key(clips)
    home = folder / "prepared" / key
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home.with_name(f"{key}.lock")):
        if not (home / _MARKER).exists():
            _run(by_patient, home, jobs)
            _finish(by_patient, home, key)
    return _load(home, key)


def cohort_key(clips: Sequence[Clip]) -> str:
    """Digest of ids, views, file contents and the way of preparation, 20 hexadecimal digits.

    Raises:
        InputError: a clip's file cannot be read.
    """
    constants = ["preparation", PREPARATION_VERSION, PREPARED_FRAMES, PREPARED_SIZE, *VIEW_CODES]
    rows = [[clip.patient_id, clip.view, _content(clip)] for clip in clips]
    return hashlib.blake2b(json.dumps([constants, rows]).encode(), digest_size=10).hexdigest()


def _content(clip: Clip) -> str:
    try:
        with clip.path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    except OSError as fault:
        raise InputError(
            f"The clip of patient {clip.patient_id}, view {clip.view} cannot be read ({fault.strerror}).\n"
            "Check that the file exists and that you may read it."
        ) from None
    return str(digest.hexdigest())


def _by_patient(clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    found: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if any(other.view == clip.view for other in found[clip.patient_id]):
            raise InputError(
                f"Patient {clip.patient_id} has two clips of view {clip.view}; keep one of them in the list."
            )
        found[clip.patient_id].append(clip)
    return dict(found)


def _run(by_patient: Mapping[str, Sequence[Clip]], home: Path, jobs: int) -> None:
    """Prepare every patient, in parallel, with a progress bar that counts clips."""
    _log.info("preparing %d clips of %d patients", sum(map(len, by_patient.values())), len(by_patient))
    tasks = (delayed(prepare_patient)(home, patient, clips) for patient, clips in by_patient.items())
    with tqdm(total=sum(map(len, by_patient.values())), desc="prepare", unit="clip") as progress:
        for count in Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks):
            progress.update(count)


def _finish(by_patient: Mapping[str, Sequence[Clip]], home: Path, key: str) -> None:
    """Write the quality table, the contact sheets and, last, the marker."""
    rows = [
        row
        for patient in by_patient
        for row in json.loads(patient_files(home, patient).rows.read_text("utf-8"))
    ]
    quality = pd.DataFrame(rows, columns=list(QUALITY_COLUMNS))
    write_bytes(home / "quality.csv", quality.to_csv(index=False, lineterminator="\n").encode())
    patients = [patient for patient in by_patient if patient_files(home, patient).tensors.exists()]
    if not patients:
        raise _nothing(quality, home / "quality.csv")
    write_contact_sheets(home, quality, patients)
    missing = [patient for patient in by_patient if patient not in set(patients)]
    marker = {"key": key, "patients": patients, "missing": missing}
    write_bytes(home / _MARKER, json.dumps(marker, indent=1).encode())


def _load(home: Path, key: str) -> PreparedCohort:
    marker = json.loads((home / _MARKER).read_text("utf-8"))
    quality = pd.read_csv(home / "quality.csv", dtype={"patient_id": str, "view": str}, keep_default_na=False,
                          na_values={c: [""] for c in QUALITY_COLUMNS if c not in _TEXT})  # fmt: skip
    prepared = PreparedCohort(home, key, quality, tuple(marker["patients"]), tuple(marker["missing"]))
    refused = int((quality["outcome"] != Outcome.OK).sum())
    if refused:
        _log.warning("%d of %d clips were refused:\n%s", refused, len(quality), outcome_table(quality))
    if prepared.missing:
        _log.warning(
            "no clip could be prepared of %d patients: %s", len(prepared.missing), _some(prepared.missing)
        )
    return prepared


_TEXT: Final = ("patient_id", "view", "outcome", "message", "manufacturer", "gating")


def outcome_table(quality: pd.DataFrame) -> str:
    """The number of clips by outcome code, most frequent first, as lines of text."""
    counts = (
        quality["outcome"].map(str).value_counts().sort_index().sort_values(ascending=False, kind="stable")
    )
    return "\n".join(f"  {code:<28} {count:>6}" for code, count in counts.items())


def _some(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _nothing(quality: pd.DataFrame, table: Path) -> InputError:
    if quality.empty:
        return InputError("There are no clips to prepare.")
    return InputError(
        f"None of the {len(quality)} clips could be prepared:\n{outcome_table(quality)}\n"
        f"Each clip's reason is in {table}"
    )
