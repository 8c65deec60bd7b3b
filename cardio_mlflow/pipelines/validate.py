"""Validate on Cohort I out of fold, and register the model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pandas as pd

from cardio_mlflow.analysis.intervals import out_of_fold_intervals
from cardio_mlflow.analysis.predictions import check_predictions, pool_out_of_fold, read_predictions
from cardio_mlflow.analysis.results import Evidence
from cardio_mlflow.pipelines.evaluate import Judged, log_evaluation
from cardio_mlflow.pipelines.fold_results import FEATURES, PARTICIPANTS, VIEW_SUBSETS
from cardio_mlflow.pipelines.inputs import ORIGINAL_IDS
from cardio_mlflow.pipelines.promotion import promote
from cardio_mlflow.pipelines.registration import registered
from cardio_mlflow.pipelines.study_runs import complete_folds, is_tuned
from cardio_mlflow.pipelines.train import refuse_variant
from cardio_mlflow.pipelines.trained_on import TRAINED_ON
from cardio_mlflow.report.contents import Evaluation, read_evidence
from cardio_mlflow.report.model_card import FILE as CARD
from cardio_mlflow.report.model_card import SHORT, model_card, shortened
from cardio_mlflow.settings import Settings
from cardio_mlflow.settings_reading import settings_from_yaml
from cardio_mlflow.tracking.finished import FinishedRun
from cardio_mlflow.tracking.registry import CHAMPION, LONGEST_DESCRIPTION, MODEL_NAME, describe, set_alias
from cardio_mlflow.tracking.runs import Run

NAME: Final = "Cohort I, out of fold"

log = logging.getLogger(__name__)


def validate(settings: Settings, run: Run, predictions: str) -> None:
    """Judge Cohort I by the pooled out-of-fold predictions and register the model, as champion if it may.

    With ``predictions``, the path of a predictions table (csv or xlsx), that table is judged and nothing is
    registered.
    """
    if not predictions:
        refuse_variant(settings)
        validate_folds(settings, run, complete_folds(settings, run.given))
        return
    evidence = read_evidence(read_predictions(Path(predictions)), "I")
    folds = int(evidence.predictions["fold"].nunique()) or None
    log_evaluation(run, evidence, Evaluation("cohort1", NAME, settings, None, settings.is_synthetic, folds))


def validate_folds(
    settings: Settings, run: Run, folds: Mapping[int, FinishedRun], alias: str = CHAMPION
) -> tuple[Judged, str]:
    """Pool, judge, log and register; returns the judgement and the registered version.

    With the alias ``champion`` the version becomes champion or challenger as `promote` finds; any other alias
    it is given.

    Raises:
        InputError: a patient is in two folds, or a fold's artifacts are gone.
    """
    first = next(iter(folds.values()))
    pooled = out_of_fold_intervals(
        pool_out_of_fold({fold: found.predictions() for fold, found in folds.items()})
    )
    run.log_text(first.text("settings.yaml"), "study_settings.yaml")
    shared = _shared_tags(first)
    folds_from = first.tags.get("folds_from", "")
    kept = ("cohort", "cohort_digest", "settings_digest", "patient_ids")
    run.set_tags({name: shared[name] for name in kept} | {"folds_from": folds_from})
    if first.has(TRAINED_ON):
        run.log_text(first.text(TRAINED_ON), TRAINED_ON)
    evaluation = Evaluation(
        "cohort1", NAME, settings, settings_from_yaml(first.text("settings.yaml")),
        shared["synthetic"] == "true", len(folds), folds_from=folds_from, tuned=is_tuned(first),
    )  # fmt: skip
    evidence = _evidence(pooled, folds)
    judged = log_evaluation(run, evidence, evaluation)
    card = model_card(*judged, evaluation, shared | {"champion": settings.champion})
    run.log_text(card, CARD)
    version = registered(run, settings.champion, shared, folds, evidence.view_subsets, card)
    describe(SHORT)
    describe(shortened(card, LONGEST_DESCRIPTION), version)
    run.set_tags({"model_version": version})
    if alias == CHAMPION:
        promote(run, settings, version, pooled, shared)
    else:
        set_alias(version, alias)
        log.info("%s version %s is the %s (%s).", MODEL_NAME, version, alias, settings.champion)
    return judged, version


def _shared_tags(fold: FinishedRun) -> dict[str, str]:
    """What a study's folds, their validation and the registered model have in common."""
    synthetic = str(fold.configuration["data"] == "synthetic").lower()
    names = ("study", "cohort", "cohort_digest", "settings_digest", "preset")
    patient_ids = fold.tags.get("patient_ids", ORIGINAL_IDS)
    return {"synthetic": synthetic, "patient_ids": patient_ids} | {name: fold.tags[name] for name in names}


def _evidence(pooled: pd.DataFrame, folds: Mapping[int, FinishedRun]) -> Evidence:
    """What the folds have left beside their predictions; nothing of it where one of them is older than it."""
    first = next(iter(folds.values()))
    histories = [fold.table("tables/history.csv") for fold in folds.values()]
    has_all = all(fold.has(FEATURES) for fold in folds.values())
    return Evidence(
        check_predictions(pooled),
        first.patients_table(PARTICIPANTS) if first.has(PARTICIPANTS) else None,
        pd.concat([fold.patients_table(FEATURES) for fold in folds.values()]) if has_all else None,
        pd.concat(histories, ignore_index=True),
        pooled_subsets(folds),
    )


def pooled_subsets(folds: Mapping[int, FinishedRun]) -> pd.DataFrame | None:
    """What the folds predict from subsets of the views, out of fold; None where one is older than that."""
    if not all(fold.has(VIEW_SUBSETS) for fold in folds.values()):
        return None
    return pd.concat([fold.patients_table(VIEW_SUBSETS) for fold in folds.values()], ignore_index=True)
