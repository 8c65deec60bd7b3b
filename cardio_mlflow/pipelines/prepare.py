"""Prepare a cohort's clips."""

from __future__ import annotations

import logging

from cardio_mlflow.pipelines.inputs import StudyInputs, load_inputs
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.runs import Run

log = logging.getLogger(__name__)


def prepare(settings: Settings, run: Run) -> None:
    """DICOM to prepared cohort: one mask a clip, whole cardiac cycles, a quality table, contact sheets."""
    inputs = load_inputs(settings)
    log_preparation(run, inputs)
    log.info("Prepared clips of %d patients: %s", len(inputs.prepared.patients), inputs.prepared.folder)


def log_preparation(run: Run, inputs: StudyInputs) -> None:
    """Log outcome counts, the quality table and the contact sheets."""
    quality = inputs.prepared.quality
    counts = quality["outcome"].value_counts()
    run.set_tags({"cohort_digest": inputs.digest})
    run.log_metrics({f"clips/{outcome}": float(count) for outcome, count in counts.items()})
    run.log_metrics({"patients": float(len(inputs.prepared.patients))})
    run.log_table(quality, "tables/quality.csv")
    for sheet in sorted(inputs.prepared.folder.glob("contact_sheet*.png")):
        run.log_file(sheet, "figures")
