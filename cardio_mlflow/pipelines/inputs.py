"""What every step starts from: the cohort, its prepared clips and its folds."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import platformdirs
from filelock import FileLock
from numpy.typing import NDArray

from cardio_mlflow.data.batch.child_process import Limits
from cardio_mlflow.data.cohort.cohort import Cohort, read_cohort
from cardio_mlflow.data.cohort.folds import assign_folds, parse_indices, read_folds
from cardio_mlflow.data.cohort.labels import LabelSheet
from cardio_mlflow.data.cohort.persons import PERSON, shared_persons
from cardio_mlflow.data.cohort.pseudonyms import keep_mapping, key_name, pseudonyms, read_key
from cardio_mlflow.data.dataset import open_clips, with_heart_rates
from cardio_mlflow.data.prepare import prepare_cohort
from cardio_mlflow.data.prepared_cohort import PreparedCohort
from cardio_mlflow.data.sorting.sorted_labels import row_ids
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import FACTS, KEYS, VIEW_CODES
from cardio_mlflow.settings import Settings
from cardio_mlflow.sheets.cells import parse_number
from cardio_mlflow.synthetic.cohort import GENERATOR_VERSION, make_cohort

ORIGINAL_IDS: Final = "as in the label sheet"
"""What the tag ``patient_ids`` says of a run without pseudonyms."""

_SHOWN: Final = 10
_PACKAGE: Final = Path(__file__).resolve().parents[1]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyInputs:
    """A cohort with its prepared clips.

    Attributes:
        cohort: labels and clips as the user brought them, under pseudonyms where they are asked for.
        folds: the fold of each Cohort I patient, prepared or not.
        digest: changes when a label, a clip or a fold changes.
        patient_ids: `ORIGINAL_IDS`, or that they are pseudonyms and of which key. Patients of two runs can
            be compared only where this is the same.
        folds_from: ``given`` by a folds.csv, or ``drawn``.
    """

    cohort: Cohort
    prepared: PreparedCohort
    folds: pd.Series[int]
    digest: str
    patient_ids: str = ORIGINAL_IDS
    folds_from: str = "drawn"

    def patients(self, cohort: str) -> tuple[str, ...]:
        """Ids of the patients of Cohort I or II that have a prepared view, in sheet order."""
        prepared = set(self.prepared.patients)
        return tuple(p for p in self.cohort.members(cohort).index if p in prepared)

    @property
    def cohort2_digest(self) -> str:
        """Changes when a label or a clip file of Cohort II changes, whatever becomes of Cohort I.

        It does not depend on ids, nor on the preparation or which clips it refuses, so that uses of Cohort II
        are counted whether pseudonyms are used or not, and in newer versions too.
        """
        labels = self.cohort.labels[self.cohort.labels["cohort"] == "II"]
        digest = hashlib.blake2b(labels[list(KEYS)].to_csv(index=False).encode(), digest_size=6)
        for patient in labels.index:
            digest.update(repr(self.prepared.sources.get(patient, ())).encode())
        return digest.hexdigest()

    def references(self, patients: tuple[str, ...]) -> NDArray[np.float64]:
        """(N, 9) references of these patients in their units; NaN where one is missing."""
        return self.cohort.labels.loc[list(patients), list(KEYS)].to_numpy(dtype=np.float64)

    def facts(self, patients: Sequence[str]) -> NDArray[np.float64]:
        """(N, 3) what is known of these patients without a catheter, see `FACTS`; NaN where it is not.

        Heart rate is the median over the views whose beats are known, else the sheet's, as body surface and
        mean arterial pressure are.
        """
        labels = self.cohort.labels.reindex(columns=list(FACTS)).loc[list(patients)]
        facts = labels.to_numpy(dtype=np.float64)
        return with_heart_rates(facts, open_clips(self.prepared.clips_of, patients, 1))

    def persons(self, patients: Sequence[str]) -> list[str] | None:
        """Who of these patients are one person; None where every patient of the cohort is a person.

        A person is called by the first of its patient ids, since the cell can hold a record number.
        """
        shared = shared_persons(self.cohort.labels)
        if shared is None:
            return None
        first = {person: patient for patient, person in reversed(list(shared.items()))}
        return [str(first[shared[patient]]) for patient in patients]


def load_inputs(settings: Settings) -> StudyInputs:
    """Make the synthetic cohort if asked for, read the cohort, and prepare its clips, nothing twice.

    Behind this function ids are pseudonyms where they are asked for; what is written comes after it.

    Raises:
        InputError: the folder, the sheet, the folds, the pseudonym key or every clip is unusable.
    """
    export = Path(settings.export) if settings.export and not settings.is_synthetic else None
    cohort = read_cohort(
        cohort_folder(settings), settings.cohort1_size, settings.studies, export, settings.cache
    )
    _log_findings(cohort)
    folds_from = "given" if _folds_file(settings, cohort) else "drawn"
    folds = draw_folds(settings, cohort)  # by the ids of the sheet, as the user's folds.csv gives them
    patient_ids = ORIGINAL_IDS
    if settings.pseudonymize:
        everyone = [*cohort.labels.index, *cohort.labels[PERSON]]
        names, patient_ids = pseudonyms_of(settings, everyone, cohort.folder)
        cohort, folds = cohort.renamed(names), folds.rename(index=names)
    prepared = prepare_cohort(
        cohort.clips, settings.cache, settings.workers,
        check_text=settings.check_text, synthetic=settings.is_synthetic,
        limits=Limits(settings.clip_seconds, settings.clip_memory),
        rows=cohort.rows, cache_disk=settings.cache_disk,
    )  # fmt: skip
    _check_apart(cohort, prepared.same_clips)
    digest = _digest(cohort.labels, folds, prepared.key)
    return StudyInputs(cohort, prepared, folds, digest, patient_ids, folds_from)


def _log_findings(cohort: Cohort) -> None:
    """Log notes, and what becomes of persons with several examinations and of parameters that nobody has."""
    for note in cohort.notes:
        log.info("Note: %s", note)
    for warning in cohort.warnings:
        log.warning("%s", warning)
    labels = cohort.labels
    if absent := [key for key in KEYS if labels[key].isna().all()]:
        words = "Nobody has a value of %s: it is neither learned, predicted nor judged."
        log.warning(words, ", ".join(absent))
    if (shared := shared_persons(labels)) is not None:
        log.info(
            "%d patients of the sheet are examinations of %d persons: folds, cohorts and intervals go by "
            "person, called by the first of its patient ids.", len(labels), shared.nunique(),
        )  # fmt: skip


def _check_apart(cohort: Cohort, same_clips: tuple[tuple[str, ...], ...]) -> None:
    """Check that no clip stands in both cohorts: the test would not be on unseen patients."""
    of = cohort.labels["cohort"]
    if across := [group for group in same_clips if len({of[patient] for patient in group}) > 1]:
        rows = "; ".join(", ".join(str(cohort.rows[p]) for p in group) for group in across[:_SHOWN])
        more = f" and {len(across) - _SHOWN} more" if len(across) > _SHOWN else ""
        raise InputError(
            f"{len(across)} clips stand for patients of Cohort I and of Cohort II: rows {rows}{more} of "
            "the label sheet. Find out whose each clip is, and take the other copy out."
        )


def draw_folds(settings: Settings, cohort: Cohort) -> pd.Series[int]:
    """The fold of each Cohort I patient: the user's folds.csv, or folds of whole persons, balanced on PH.

    Raises:
        InputError: the given folds do not fit the cohort, or there are too few patients.
    """
    cohort1 = cohort.members("I")
    if cohort1.empty:
        return pd.Series({}, dtype="int64", name="fold")
    if path := _folds_file(settings, cohort):
        persons = dict(zip(cohort1.index, cohort1[PERSON], strict=True))
        return read_folds(path, tuple(cohort1.index), settings.num_folds, persons)
    return assign_folds(cohort1, settings.num_folds, settings.seed)


def _folds_file(settings: Settings, cohort: Cohort) -> Path | None:
    """The user's folds, of the settings or of the cohort's folder; None where they are to be drawn."""
    beside = cohort.folder / "folds.csv"
    return Path(settings.folds) if settings.folds else beside if beside.is_file() else None


def training_subset(settings: Settings, inputs: StudyInputs) -> set[str]:
    """Ids of the Cohort I patients that may be trained on: all, or those of ``train_indices``.

    Raises:
        InputError: the indices are not understood or out of range.
    """
    cohort1 = list(inputs.cohort.members("I").index)
    if not settings.train_indices:
        return set(cohort1)
    return {cohort1[i] for i in parse_indices(settings.train_indices, len(cohort1))}


def cohort_folder(settings: Settings) -> Path:
    """The cohort's folder, made where it is the synthetic one; InputError where there is none."""
    if settings.is_synthetic:
        sizes = f"{settings.synthetic_patients}-{settings.cohort1_size}"
        name = f"v{GENERATOR_VERSION}-{sizes}-{settings.synthetic_seed}"
        folder = settings.cache / "synthetic" / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{name}.lock")):
            return make_cohort(folder, settings.synthetic_patients, settings.cohort1_size,
                               settings.synthetic_seed, settings.workers)  # fmt: skip
    folder = Path(settings.data)
    if not folder.is_dir():
        raise InputError(
            f"data={settings.data}: there is no such folder (looked for it from {Path.cwd()}). Give the "
            "absolute path of a cohort folder (labels.csv or labels.xlsx, and dicom/), or -P data=synthetic."
        )
    return folder


def patient_names(settings: Settings, sheet: LabelSheet, export: Path) -> dict[str, str]:
    """What the patients of a sheet that an export is sorted by are called: by row, or by pseudonym.

    Raises:
        InputError: the pseudonym key is unusable.
    """
    if not settings.pseudonymize:
        return row_ids(sheet)
    return pseudonyms_of(settings, list(sheet.table.index), export, Path(settings.data))[0]


def pseudonyms_of(settings: Settings, ids: Sequence[str], *folders: Path) -> tuple[dict[str, str], str]:
    """The pseudonym of each id, kept beside the key, and `StudyInputs.patient_ids`.

    The key may not lie in one of ``folders``, where the ids come from or go to.
    """
    default = Path(platformdirs.user_config_dir("cardio_mlflow"), "pseudonym.key")
    key_file = Path(settings.pseudonym_key or default)
    key = read_key(key_file, (*folders, settings.cache, _PACKAGE))
    names = pseudonyms(key, ids)
    keep_mapping(key_file, names)
    log.info("Patient ids are replaced by pseudonyms; the table that leads back lies beside %s", key_file)
    return names, f"pseudonyms of key {key_name(key)}"


def _digest(labels: pd.DataFrame, folds: pd.Series[int], prepared_key: str) -> str:
    persons = [] if shared_persons(labels) is None else [PERSON]
    text = labels[["cohort", *persons, *KEYS]].to_csv() + folds.to_csv() + prepared_key
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


AGE_BANDS: Final[dict[float, str]] = {0: "< 40", 40: "40-59", 60: "60-74", 75: ">= 75"}
"""Lower end of an age band, years, and its name; ages themselves are not written."""
BMI_BANDS: Final[dict[float, str]] = {0: "< 18.5", 18.5: "18.5-24.9", 25: "25-29.9", 30: ">= 30"}
"""Lower end of a band of body-mass index, kg/m², and its name: WHO Technical Report Series 894, 2000."""
_SEXES: Final = {"f": "female", "w": "female", "female": "female", "woman": "female",
                 "m": "male", "male": "male", "man": "male"}  # fmt: skip
SMALLEST_GROUP: Final = 5
"""Texts of a sheet that fewer patients share are written as "other": they could name a patient."""


def participants(inputs: StudyInputs, cohort: str) -> pd.DataFrame:
    """All patients of a cohort in sheet order, also those without a prepared clip.

    Returns:
        One row per patient: patient_id, cohort, fold (empty in Cohort II), used (a view is prepared), for
        each view its outcome code (empty: no clip) and, as gating_<view>, how its cycle was found, bsa (m²),
        and of sex, age_band, rhythm, bmi_band and scanner those that the sheet has.
    """
    labels = inputs.cohort.members(cohort)
    used = set(inputs.patients(cohort))
    folds = pd.array([inputs.folds.get(p, pd.NA) for p in labels.index], dtype="Int64")
    columns: dict[str, object] = {"patient_id": list(labels.index), "cohort": cohort, "fold": folds,
                                  "used": [patient in used for patient in labels.index]}  # fmt: skip
    quality = inputs.prepared.quality
    for view in VIEW_CODES:
        clips = quality[quality["view"] == view].set_index("patient_id").reindex(labels.index)
        columns[view] = list(clips["outcome"].astype(object).fillna("").astype(str))
        columns[f"gating_{view}"] = list(clips["gating"].astype(object).fillna("").astype(str))
    if "BSA" in labels:
        columns["bsa"] = labels["BSA"].to_numpy(np.float64)
    return pd.DataFrame(columns | _groups(labels))


def _groups(labels: pd.DataFrame) -> dict[str, list[str]]:
    readers: dict[str, tuple[str, Callable[[pd.Series[str]], list[str]]]] = {
        "sex": ("sex", lambda texts: [_SEXES.get(text, "") for text in texts]),
        "age_band": ("age", partial(_bands, bands=AGE_BANDS)),
        "rhythm": ("rhythm", _common),
        "bmi_band": ("BMI", partial(_bands, bands=BMI_BANDS)),
        "scanner": ("scanner", _common),
    }
    return {
        name: read(labels[column].fillna("").astype(str).str.strip().str.lower())
        for name, (column, read) in readers.items()
        if column in labels
    }


def _bands(texts: Iterable[str], bands: dict[float, str]) -> list[str]:
    """The band of each number; nothing where it is none.

    >>> _bands(["63", "12,5", "unknown"], AGE_BANDS)
    ['60-74', '< 40', '']
    """
    found = []
    for text in texts:
        try:
            value = parse_number(text.replace(",", "."))  # no age or BMI has thousands
        except ValueError:
            value = math.nan
        found.append(next((name for start, name in reversed(bands.items()) if value >= start), ""))
    return found


def _common(texts: pd.Series[str]) -> list[str]:
    """Texts, rare ones as "other"."""
    counts = texts.value_counts()
    return [text if not text or counts[text] >= SMALLEST_GROUP else "other" for text in texts]
