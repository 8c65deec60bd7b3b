"""Test the registered model on Cohort II."""

from __future__ import annotations

import logging

import pandas as pd

from cardio_mlflow.data.clips import PREPARED_FRAMES
from cardio_mlflow.data.dataset import load_clips
from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.inputs import load_inputs
from cardio_mlflow.pipelines.predictions import Evaluation, build_predictions, log_performance
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.finished import find_runs, run_by_id
from cardio_mlflow.tracking.registry import RegisteredModel, load_champion
from cardio_mlflow.tracking.runs import Run

log = logging.getLogger(__name__)


def test(settings: Settings, run: Run) -> None:
    """Load the registered model, with its own code, and judge it on Cohort II."""
    judge_champion(settings, run)


def judge_champion(settings: Settings, run: Run) -> pd.DataFrame:
    """Predict Cohort II by the champion, judge, log; returns the performance table.

    Raises:
        InputError: no model is registered, or the cohort has no Cohort II with prepared clips.
    """
    model = load_champion()
    inputs = load_inputs(settings)
    patients = inputs.patients("II")
    if not patients:
        raise InputError(
            "This cohort has no Cohort II patient with a prepared clip: mark them II in the label sheet's "
            "cohort column, or set cohort1_size to the number of Cohort I rows."
        )
    check_unseen(settings, model, patients)
    run.set_tags({"cohort_digest": inputs.digest, **model_tags(model)})
    uses = count_use(run, inputs.cohort2_digest)
    predictions = model.predict(load_clips(inputs.prepared.path, patients, PREPARED_FRAMES))
    table = build_predictions(patients, inputs.references(patients), predictions, cohort="II", variant="full")
    evaluation = Evaluation("cohort2", "Cohort II", settings.bootstrap, settings.seed, settings.is_synthetic)
    result = log_performance(run, table, evaluation)
    log.info("Cohort II (%d patients) has now been used %d time(s).", len(patients), uses)
    return result


def check_unseen(settings: Settings, model: RegisteredModel, patients: tuple[str, ...]) -> None:
    """Check that the model has not been trained on the patients it is to be tested on.

    Raises:
        InputError: it was trained on some of them, or one of model and cohort is synthetic and the other not.
    """
    if (model.tags.get("synthetic") == "true") != settings.is_synthetic:
        raise InputError(
            f"The champion was trained on the cohort {model.tags.get('cohort')!r} and cannot be tested on "
            f"{settings.cohort_name!r}: give its cohort with -P data=, or register another model (validate)."
        )
    seen = set(run_by_id(model.run_id).predictions()["patient_id"])
    shared = sorted(seen & set(patients))
    if shared and model.tags.get("cohort") == settings.cohort_name:
        raise InputError(
            f"{len(shared)} of the {len(patients)} Cohort II patients belong to the Cohort I that the "
            f"champion was trained on: {', '.join(shared[:10])}. Split the cohorts as in training "
            "(cohort1_size, or the cohort column)."
        )


def model_tags(model: RegisteredModel) -> dict[str, str]:
    """Which model was tested, and whose code answered."""
    return {
        "model_version": model.version,
        "model_study": model.tags.get("study", ""),
        "model_cohort": model.tags.get("cohort", ""),
        "model_code": "the model's own" if model.has_own_code else "installed",
    }


def count_use(run: Run, cohort2_digest: str) -> int:
    """Mark this use of Cohort II before anything is predicted, and count all uses, failed ones included."""
    run.set_tags({"step": "test", "cohort2_digest": cohort2_digest})
    uses = len(find_runs({"step": "test", "cohort2_digest": cohort2_digest}, only_finished=False))
    run.log_metrics({"cohort2/uses": float(uses)})
    return uses
