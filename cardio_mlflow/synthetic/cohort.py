"""A folder of synthetic patients, laid out as a user's own cohort is."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import cv2
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from cardio_mlflow.errors import InputError
from cardio_mlflow.files import write_whole
from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.synthetic.clip import has_view, patient_rows, write_clip
from cardio_mlflow.synthetic.seeding import PRETRAINING_SEED

LOGGER = logging.getLogger(__name__)

GENERATOR_VERSION = 2
"""Raised whenever the same seed gives other files than before."""
MARKER = "synthetic.json"
"""Written last: a folder that has it is complete."""
CLAIM = "synthetic.part.json"
"""Says whose files an unfinished folder holds."""


def make_cohort(folder: Path, patients: int, cohort1_size: int, seed: int, jobs: int) -> Path:
    """Write a synthetic cohort: `labels.csv`, `dicom/<patient>_<view>.dcm` and `synthetic.json`.

    The same seed gives the same bytes whatever the number of workers. Files that exist are kept, so a stopped
    run resumes; the first n patients of a larger cohort are the same.

    Args:
        folder: made if missing, and returned.
        patients: how many.
        cohort1_size: the first so many are Cohort I, the rest Cohort II.
        seed: of everything.
        jobs: worker processes.

    Raises:
        InputError: the folder holds a cohort of another seed, or the sizes do not fit.
    """
    if seed == PRETRAINING_SEED:
        raise InputError(f"Seed {seed} belongs to the patients of the pretraining: choose another.")
    if not 0 < cohort1_size <= patients:
        raise InputError(f"Cohort I cannot have {cohort1_size} of {patients} patients: give 1 to {patients}.")
    description = {
        "generator": GENERATOR_VERSION, "seed": seed, "patients": patients, "cohort1_size": cohort1_size,
    }  # fmt: skip
    if _started(folder, description):
        return folder
    hemodynamics, anatomy = patient_rows(seed, patients)
    calls = (
        delayed(_write_patient)(folder / "dicom", seed, i, hemodynamics.iloc[i], anatomy.iloc[i])
        for i in range(patients)
    )
    with Parallel(n_jobs=jobs, return_as="generator", batch_size=1) as workers:
        written = sum(tqdm(workers(calls), total=patients, desc="synthetic patients", unit="patient"))
    LOGGER.info("wrote %d clips of %d patients", written, patients)
    write_whole(folder / "labels.csv", _labels(hemodynamics, cohort1_size).to_csv(index=False))
    write_whole(folder / MARKER, json.dumps(description, indent=1))
    (folder / CLAIM).unlink()
    return folder


def _started(folder: Path, description: dict[str, int]) -> bool:
    """Claim a folder for a cohort; say whether that cohort is complete in it already."""
    (folder / "dicom").mkdir(parents=True, exist_ok=True)
    found = [
        json.loads(p.read_text(encoding="utf-8")) for p in (folder / MARKER, folder / CLAIM) if p.exists()
    ]
    if any(old.get(key) != description[key] for old in found for key in ("generator", "seed")):
        raise InputError(
            "The folder holds a synthetic cohort of another seed or version: "
            "give another folder or remove it."
        )
    if not found and any((folder / "dicom").glob("*.dcm")):
        raise InputError(
            "The folder holds DICOM files that are not a synthetic cohort's: give another folder."
        )
    if found == [description] and not (folder / CLAIM).exists():
        return True
    write_whole(folder / CLAIM, json.dumps(description, indent=1))
    (folder / MARKER).unlink(missing_ok=True)
    return False


def _labels(hemodynamics: pd.DataFrame, cohort1_size: int) -> pd.DataFrame:
    table = hemodynamics.reset_index()
    table.insert(1, "cohort", ["I" if i < cohort1_size else "II" for i in range(len(table))])
    return table


def _write_patient(folder: Path, seed: int, patient: int, row: pd.Series, anatomy: pd.Series) -> int:
    """Write the clips of one patient that are not there yet; return how many were written."""
    cv2.setNumThreads(1)
    count = 0
    for view in VIEW_CODES:
        path = folder / f"{row.name}_{view}.dcm"
        if has_view(seed, patient, view) and not path.exists():
            write_clip(path, seed, patient, view, row, anatomy)
            count += 1
    return count
