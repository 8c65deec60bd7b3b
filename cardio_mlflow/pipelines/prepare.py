"""Prepare a cohort's clips."""

from __future__ import annotations

import logging
from typing import Final

from cardio_mlflow.data.outcomes import outcome_table
from cardio_mlflow.data.prepare import PreparedCohort
from cardio_mlflow.pipelines.inputs import StudyInputs, load_inputs
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.runs import Run

SOME_REFUSED: Final = 3
"""Exit status of ``prepare`` when some clips were refused and the others are prepared."""

log = logging.getLogger(__name__)


def prepare(settings: Settings, run: Run) -> int:
    """DICOM to prepared cohort: one mask a clip, whole cardiac cycles, a quality table, contact sheets.

    Exit status: 0 when every clip was prepared, 3 when some were refused (the rest can be used), 1 when none
    could be prepared.
    """
    inputs = load_inputs(settings)
    log_preparation(run, inputs)
    prepared = inputs.prepared
    log.info(
        "%d clips of %d patients:\n%s\n%s",
        len(prepared.quality),
        len(prepared.patients) + len(prepared.missing),
        outcome_table(prepared.quality["outcome"]),
        _places(prepared),
    )
    return SOME_REFUSED if prepared.refused else 0


def log_preparation(run: Run, inputs: StudyInputs) -> None:
    """Log outcome counts, the quality table, the contact sheets and the page to look through the clips."""
    prepared = inputs.prepared
    counts = prepared.quality["outcome"].value_counts()
    run.set_tags({"cohort_digest": inputs.digest, "refused": str(prepared.refused)})
    run.log_metrics({f"clips/{outcome}": float(count) for outcome, count in counts.items()})
    run.log_metrics({"patients": float(len(prepared.patients))})
    run.log_table(prepared.quality, "tables/quality.csv")
    for sheet in prepared.contact_sheets:
        run.log_file(sheet, "figures")
    run.log_file(prepared.page)
    run.log_folder(prepared.page.with_suffix(""), "review")


def _places(prepared: PreparedCohort) -> str:
    """Where to look, a line a place."""
    places = {"page": prepared.page, "contact sheets": prepared.contact_sheets[0], "table": prepared.table}
    return "\n".join(f"  {name:<15} {place}" for name, place in places.items())
