"""The batch: a cohort's clips made into a prepared cohort, once."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Final

import pandas as pd
from filelock import FileLock, Timeout
from joblib import cpu_count

from cardio_mlflow.data.batch.patient_files import (
    PREPARATION_VERSION,
    Row,
    clear_parts,
    patient_files,
    review_of,
    unwritable,
    write_bytes,
)
from cardio_mlflow.data.batch.patients import (
    DUPLICATE,
    cohort_rows,
    content_digests,
    outcome_table,
    prepare_patients,
)
from cardio_mlflow.data.batch.sandbox import Limits
from cardio_mlflow.data.clips import PREPARED_FRAMES, PREPARED_SIZE
from cardio_mlflow.data.cohort.cohort import Clip
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.quality import QUALITY_COLUMNS, Quality
from cardio_mlflow.data.review.contact_sheet import write_contact_sheets
from cardio_mlflow.data.review.page import write_review_page
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import VIEW_CODES

_MARKER: Final = "prepared.json"
_TABLE: Final = "quality.csv"
_TEXT: Final = ("patient_id", "view", *(f.name for f in fields(Quality) if f.type in ("str", "Outcome")))
_COUNTS: Final = tuple(f.name for f in fields(Quality) if f.type == "int | None")
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
        contents: content digests of the files of each patient's prepared clips.
    """

    folder: Path
    key: str
    quality: pd.DataFrame
    patients: tuple[str, ...]
    missing: tuple[str, ...]
    contents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def table(self) -> Path:
        """The quality table as a file."""
        return self.folder / _TABLE

    @property
    def contact_sheets(self) -> list[Path]:
        """The contact sheets, in order."""
        return sorted(self.folder.glob("contact_sheet*.png"))

    @property
    def page(self) -> Path:
        """The HTML page to look through all clips by; its pictures lie in the folder ``review`` beside it."""
        return self.folder / "review.html"

    @property
    def refused(self) -> int:
        """Number of clips that were refused."""
        return int((self.quality["outcome"] != Outcome.OK).sum())

    def path(self, patient_id: str) -> Path:
        """The patient's safetensors file: ``views`` uint8 4 × 32 × 224 × 224, ``view_mask`` uint8 4.

        Raises:
            KeyError: no clip of this patient was prepared.
        """
        if patient_id not in self.patients:
            raise KeyError(patient_id)
        return patient_files(self.folder, patient_id).tensors


def prepare_cohort(
    clips: Sequence[Clip],
    folder: Path,
    jobs: int,
    *,
    check_text: bool = False,
    synthetic: bool = False,
    limits: Limits | None = None,
) -> PreparedCohort:
    """Prepare a cohort's clips, or find them prepared already.

    A run that was stopped, at whatever moment, goes on where it was. The files are the same bytes at
    any number of jobs. Each clip is decoded in a child process.

    Args:
        clips: at most one for a patient and view.
        folder: the cache folder; the cohort's own folder ``prepared/<key>`` is made in it.
        jobs: number of child processes; -1 for one a core.
        check_text: mark clips with text left inside the sector for review.
        synthetic: say on the page and the contact sheets that no real patient is shown.
        limits: time and memory of one clip. They are no part of the key: clips that were stopped by lower
            ones are prepared again.

    Raises:
        InputError: there are two clips of one patient and view, a clip's file cannot be read, the cache
            folder cannot be written, or no clip at all could be prepared.
    """
    by_patient, limits = _by_patient(clips), limits or Limits()
    jobs = jobs if jobs > 0 else cpu_count()
    store = _made(folder / "prepared")
    contents = content_digests(clips, store, jobs)
    key = cohort_key(clips, contents, check_text, synthetic)
    home = _made(store / key)
    with _locked(home):
        if not _is_finished(home, limits):
            (home / _MARKER).unlink(missing_ok=True)
            clear_parts(home)
            clear_parts(home / "review")
            _log.info("preparing %d clips of %d patients", len(clips), len(by_patient))
            prepare_patients(by_patient, home, jobs, check_text, limits)
            rows = cohort_rows(by_patient, dict(zip(clips, contents, strict=True)), home)
            _finish(list(by_patient), rows, home, synthetic, jobs)
    loaded = _load(home, key)
    good = loaded.quality[loaded.quality["outcome"] == Outcome.OK]
    prepared = set(zip(good["patient_id"], good["view"], strict=True))
    of_patient: dict[str, tuple[str, ...]] = {}
    for clip, digest in zip(clips, contents, strict=True):
        if (clip.patient_id, clip.view) in prepared:
            of_patient[clip.patient_id] = (*of_patient.get(clip.patient_id, ()), digest)
    return replace(loaded, contents=of_patient)


def cohort_key(clips: Sequence[Clip], contents: Sequence[str], check_text: bool, synthetic: bool) -> str:
    """Digest of ids, views, file contents and the way of preparation, 20 hexadecimal digits.

    Args:
        clips: the clips.
        contents: digest of each clip's file.
        check_text: as in ``prepare_cohort``: it changes what stands in the column ``review``.
        synthetic: as in ``prepare_cohort``: it changes the pictures.
    """
    constants = ["preparation", PREPARATION_VERSION, PREPARED_FRAMES, PREPARED_SIZE, *VIEW_CODES]
    constants += [check_text, synthetic]
    rows = [[clip.patient_id, clip.view, digest] for clip, digest in zip(clips, contents, strict=True)]
    return hashlib.blake2b(json.dumps([constants, rows]).encode(), digest_size=10).hexdigest()


def _by_patient(clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    found: dict[str, list[Clip]] = defaultdict(list)
    for i, clip in enumerate(clips):
        if any(other.view == clip.view for other in found[clip.patient_id]):
            raise InputError(
                f"Clip {i + 1} of the list is the second of its patient for view {clip.view}; "
                "keep one of them."
            )
        found[clip.patient_id].append(clip)
    return dict(found)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise unwritable(fault) from None
    return folder


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    lock = FileLock(home.with_name(f"{home.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.info("another process prepares this cohort; waiting for it")
        lock.acquire()
    except OSError as fault:
        raise unwritable(fault) from None
    try:
        yield
    finally:
        lock.release()


def _is_finished(home: Path, limits: Limits) -> bool:
    """Whether all is prepared that can be within these limits."""
    if not (home / _MARKER).exists():
        return False
    stopped = json.loads((home / _MARKER).read_text("utf-8"))["stopped"]
    return not any(limits.seconds > seconds or limits.memory > memory for seconds, memory in stopped)


def _finish(everyone: Sequence[str], rows: Sequence[Row], home: Path, synthetic: bool, jobs: int) -> None:
    """Write the quality table, the contact sheets, the page and, last, the marker."""
    quality = pd.DataFrame(rows, columns=list(QUALITY_COLUMNS)).astype(dict.fromkeys(_COUNTS, "Int64"))
    write_bytes(home / _TABLE, quality.to_csv(index=False, lineterminator="\n").encode())
    prepared = {patient: patient_files(home, patient).tensors.exists() for patient in everyone}
    patients = [patient for patient, there in prepared.items() if there]
    if not patients:
        raise _nothing(quality, home / _TABLE)
    reviews = {(row["patient_id"], row["view"]): review_of(row) for row in rows}
    write_contact_sheets(home, quality, patients, reviews, synthetic=synthetic)
    write_review_page(home, quality, patients, reviews, synthetic=synthetic, jobs=jobs)
    stopped = sorted({tuple(row["limits"]) for row in rows if row["limits"]})
    missing = [patient for patient, there in prepared.items() if not there]
    marker = {"patients": patients, "missing": missing, "stopped": stopped}
    write_bytes(home / _MARKER, json.dumps(marker, indent=1).encode())


def _load(home: Path, key: str) -> PreparedCohort:
    marker = json.loads((home / _MARKER).read_text("utf-8"))
    quality = pd.read_csv(home / _TABLE, dtype=dict.fromkeys(_TEXT, str), keep_default_na=False,
                          na_values={c: [""] for c in QUALITY_COLUMNS if c not in _TEXT})  # fmt: skip
    prepared = PreparedCohort(home, key, quality, tuple(marker["patients"]), tuple(marker["missing"]))
    for warning in _warnings(prepared):
        _log.warning(warning)
    return prepared


def _warnings(prepared: PreparedCohort) -> list[str]:
    told = []
    if prepared.refused:
        told.append(f"{prepared.refused} of {len(prepared.quality)} clips were refused: {prepared.table}")
    same = int(prepared.quality["review"].str.split().map(lambda words: DUPLICATE in words).sum())
    if same:
        told.append(f"{same} clips are the same file as another clip of the cohort (review: {DUPLICATE})")
    if prepared.missing:
        told.append(f"{len(prepared.missing)} patients are left out: none of their clips could be prepared")
    return told


def _nothing(quality: pd.DataFrame, table: Path) -> InputError:
    if quality.empty:
        return InputError("There are no clips to prepare.")
    return InputError(
        f"None of the {len(quality)} clips could be prepared:\n{outcome_table(quality)}\n"
        f"Each clip's reason is in {table}"
    )
