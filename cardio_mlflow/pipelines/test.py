"""Test the registered model on Cohort II."""

from __future__ import annotations

import logging

import pandas as pd

from cardio_mlflow.data.clips import PREPARED_FRAMES
from cardio_mlflow.data.dataset import load_clips
from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.inputs import load_inputs
from cardio_mlflow.pipelines.predictions import Evaluation, build_predictions, log_performance
from cardio_mlflow.registry import RegisteredModel, load_champion
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking import Run, find_runs

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
    uses = count_uses(run, model, inputs.digest)
    predictions = model.predict(load_clips(inputs.prepared.path, patients, PREPARED_FRAMES))
    table = build_predictions(patients, inputs.references(patients), predictions, cohort="II", variant="full")
    evaluation = Evaluation("cohort2", "Cohort II", settings.bootstrap, settings.seed, settings.is_synthetic)
    result = log_performance(run, table, evaluation)
    log.info("Cohort II (%d patients) has now been used %d time(s).", len(patients), uses)
    return result


def count_uses(run: Run, model: RegisteredModel, digest: str) -> int:
    """Tag the run with the model and the cohort, and count how often this Cohort II has been used."""
    uses = len(find_runs(step="test", cohort_digest=digest)) + 1
    run.set_tags({
        "cohort_digest": digest,
        "model_version": model.version,
        "model_study": model.tags.get("study", ""),
        "model_cohort": model.tags.get("cohort", ""),
        "model_code": "the model's own" if model.has_own_code else "installed",
    })  # fmt: skip
    run.log_metrics({"cohort2/uses": float(uses)})
    return uses
