"""Prepare a cohort's clips."""

from __future__ import annotations

import logging

from cardio_mlflow.data.outcomes import outcome_table
from cardio_mlflow.data.prepared_cohort import PreparedCohort
from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.inputs import StudyInputs, load_inputs
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.runs import Run

log = logging.getLogger(__name__)


def prepare(settings: Settings, run: Run) -> None:
    """DICOM to prepared cohort: one mask per clip, whole cardiac cycles, a quality table, contact sheets.

    Clips that are refused are counted, at the end and on the run, and the study goes on without them.
    Exit status: 1 where no clip could be prepared or the input has to be mended and, with ``strict=true``,
    where any clip was refused.
    """
    inputs = load_inputs(settings)
    log_preparation(run, inputs)
    prepared = inputs.prepared
    log.info(
        "%d clips of %d patients:\n%s\n%s\n%s",
        len(prepared.quality),
        len(prepared.patients) + len(prepared.missing),
        outcome_table(prepared.quality["outcome"]),
        _places(prepared),
        _counts(prepared),
    )
    refuse_refusals(settings, prepared)


def log_preparation(run: Run, inputs: StudyInputs) -> None:
    """Log outcome counts, the quality table, the contact sheets and the page to look through the clips."""
    prepared = inputs.prepared
    counts = prepared.quality["outcome"].value_counts()
    clips = {"prepared": len(prepared.quality) - prepared.refused, "refused": prepared.refused}
    run.set_tags({"cohort_digest": inputs.digest} | {name: str(count) for name, count in clips.items()})
    run.log_metrics({f"clips/{name}": float(count) for name, count in {**counts, **clips}.items()})
    run.log_metrics({"patients": float(len(prepared.patients))})
    run.log_table(prepared.quality, "tables/quality.csv")
    for sheet in prepared.contact_sheets:
        run.log_file(sheet, "figures")
    run.log_file(prepared.page)
    run.log_folder(prepared.page.with_suffix(""), "review")


def refuse_refusals(settings: Settings, prepared: PreparedCohort) -> None:
    """Fail where every clip has to be prepared and one was not.

    Raises:
        InputError: ``strict`` is set, and a clip was refused.
    """
    if settings.strict and prepared.refused:
        raise InputError(
            f"{_counts(prepared)} strict=true allows none.\n{outcome_table(prepared.quality['outcome'])}\n"
            f"Each clip's reason is in {prepared.table}\n"
            "Mend these clips, take them out of the cohort, or drop strict=true."
        )


def _counts(prepared: PreparedCohort) -> str:
    clips = len(prepared.quality)
    return f"{clips - prepared.refused} of {clips} clips are prepared, {prepared.refused} refused."


def _places(prepared: PreparedCohort) -> str:
    """Where to look, one line per place."""
    places = {"page": prepared.page, "contact sheets": prepared.contact_sheets[0], "table": prepared.table}
    return "\n".join(f"  {name:<15} {place}" for name, place in places.items())
