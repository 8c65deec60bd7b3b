"""What predict starts from: patients without labels, and their prepared clips."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from cardio_mlflow.data.batch.child_process import Limits
from cardio_mlflow.data.clips import PREPARED_FRAMES
from cardio_mlflow.data.cohort.cohort import Cohort
from cardio_mlflow.data.cohort.new_patients import read_new_patients
from cardio_mlflow.data.dataset import ClipTensor, Files, load_clips, with_heart_rates
from cardio_mlflow.data.prepare import prepare_clips
from cardio_mlflow.data.prepared_cohort import PreparedCohort
from cardio_mlflow.pipelines.inputs import ORIGINAL_IDS, cohort_folder, pseudonyms_of
from cardio_mlflow.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NewInputs:
    """Patients to predict for.

    Attributes:
        cohort: their clips, and HR, BSA and MAP where known; under pseudonyms where they are asked for.
        prepared: the clips, prepared.
        patient_ids: as of `StudyInputs`.
        asked: what a user may call each patient, and what the patient is called here.
    """

    cohort: Cohort
    prepared: PreparedCohort
    patient_ids: str
    asked: dict[str, str]

    @property
    def patients(self) -> tuple[str, ...]:
        """Everybody, also of whom no clip could be prepared, in order."""
        return tuple(self.cohort.labels.index)

    @cached_property
    def digest(self) -> str:
        """Changes with a patient's name, a fact, a clip's content or what became of it."""
        parts = [self.cohort.labels.to_csv(), self.prepared.key, self.prepared.quality.to_csv(index=False)]
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()

    def files(self, patient: str) -> Files:
        """The files of a patient's prepared clips by view code; empty where there is none."""
        return self.prepared.clips.get(patient, {})

    def clips(self, patients: Sequence[str]) -> ClipTensor:
        """The clips of these patients, in memory."""
        return load_clips(self.files, patients, PREPARED_FRAMES)

    def facts(self, clips: ClipTensor) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        """(N, 3) what is known of the patients whose clips these are, see `FACTS`."""
        known = self.cohort.labels.loc[list(clips.patient_ids)].to_numpy(np.float64)
        return np.asarray(with_heart_rates(known, clips))

    def quality(self, patients: Sequence[str]) -> pd.DataFrame:
        """The rows of the quality table about these patients."""
        table = self.prepared.quality
        return table[table["patient_id"].isin(patients)]


def read_patients_to_predict(settings: Settings) -> tuple[Cohort, str, dict[str, str]]:
    """Read who is to be predicted for; notes are logged.

    Returns:
        The cohort without labels, `StudyInputs.patient_ids`, and as of `NewInputs.asked`.

    Raises:
        InputError: the input or the pseudonym key is unusable.
    """
    place = cohort_folder(settings) if settings.is_synthetic else Path(settings.data)
    export = Path(settings.export) if settings.export and not settings.is_synthetic else None
    cohort = read_new_patients(place, settings.studies, export, settings.cache)
    for note in cohort.notes:
        log.info("Note: %s", note)
    ids = list(cohort.labels.index)
    asked = {patient: patient for patient in ids}
    if not settings.pseudonymize:
        return cohort, ORIGINAL_IDS, asked
    names, patient_ids = pseudonyms_of(settings, ids, cohort.folder)
    return cohort.renamed(names), patient_ids, names | {name: name for name in names.values()}


def prepare_new(settings: Settings, cohort: Cohort, patient_ids: str, asked: dict[str, str]) -> NewInputs:
    """Prepare the clips of whom `read_patients_to_predict` has found.

    Raises:
        InputError: the cache folder cannot be written.
    """
    prepared = prepare_clips(
        cohort.clips, settings.cache, settings.workers, check_text=settings.check_text,
        limits=Limits(settings.clip_seconds, settings.clip_memory), rows=cohort.rows,
        cache_disk=settings.cache_disk,
    )  # fmt: skip
    return NewInputs(cohort, prepared, patient_ids, asked)
