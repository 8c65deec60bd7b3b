"""Validate on Cohort I out of fold, and register the model."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pandas as pd

from cardio_mlflow.analysis.predictions import check_predictions, pool_out_of_fold, read_predictions
from cardio_mlflow.analysis.results import Evidence
from cardio_mlflow.pipelines.evaluate import log_evaluation
from cardio_mlflow.pipelines.fold_results import FEATURES, PARTICIPANTS
from cardio_mlflow.pipelines.inputs import ORIGINAL_IDS
from cardio_mlflow.pipelines.study_runs import complete_folds, is_tuned
from cardio_mlflow.pipelines.train import refuse_variant
from cardio_mlflow.pipelines.trained_on import TRAINED_ON
from cardio_mlflow.report.contents import Evaluation, read_evidence
from cardio_mlflow.settings import Settings
from cardio_mlflow.settings_reading import settings_from_yaml
from cardio_mlflow.tracking.finished import FinishedRun
from cardio_mlflow.tracking.registry import CHAMPION, MODEL_NAME, download_bundles, log_model, register
from cardio_mlflow.tracking.runs import Run

NAME: Final = "Cohort I, out of fold"

log = logging.getLogger(__name__)


def validate(settings: Settings, run: Run, predictions: str) -> None:
    """Judge Cohort I by the pooled out-of-fold predictions and register the model as champion.

    With ``predictions``, the path of a predictions table (csv or xlsx), that table is judged and nothing is
    registered.
    """
    if not predictions:
        validate_study(settings, run)
        return
    evidence = read_evidence(read_predictions(Path(predictions)), "I")
    folds = int(evidence.predictions["fold"].nunique()) or None
    log_evaluation(run, evidence, Evaluation("cohort1", NAME, settings, None, settings.is_synthetic, folds))


def validate_study(settings: Settings, run: Run, alias: str = CHAMPION) -> pd.DataFrame:
    """Pool, judge, log and register under an alias; returns the performance table.

    Raises:
        InputError: folds are missing or do not belong together, or a patient is in two folds.
    """
    refuse_variant(settings)
    folds = complete_folds(settings)
    pooled = pool_out_of_fold({fold: found.predictions() for fold, found in folds.items()})
    first = next(iter(folds.values()))
    synthetic = first.configuration["data"] == "synthetic"
    run.log_text(first.text("settings.yaml"), "study_settings.yaml")
    run.set_tags({k: first.tags[k] for k in ("cohort", "cohort_digest", "settings_digest")})
    folds_from = first.tags.get("folds_from", "")
    run.set_tags({"patient_ids": first.tags.get("patient_ids", ORIGINAL_IDS), "folds_from": folds_from})
    if first.has(TRAINED_ON):
        run.log_text(first.text(TRAINED_ON), TRAINED_ON)
    trained_with = settings_from_yaml(first.text("settings.yaml"))
    evaluation = Evaluation("cohort1", NAME, settings, trained_with, synthetic, len(folds),
                            folds_from=folds_from, tuned=is_tuned(first))  # fmt: skip
    table = log_evaluation(run, _evidence(pooled, folds), evaluation)
    version = _register(run, settings, folds, alias)
    log.info("Registered %s version %s as %s (%s).", MODEL_NAME, version, alias, settings.champion)
    return table


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
    )


def _register(run: Run, settings: Settings, folds: Mapping[int, FinishedRun], alias: str) -> str:
    chosen = list(folds.values()) if settings.champion == "mean" else [best_fold(folds)]
    with tempfile.TemporaryDirectory() as folder:
        bundles: dict[str, Path] = {}
        for fold in chosen:
            bundles |= download_bundles(fold.run_id, Path(folder) / fold.run_id)
        log_model(run, settings_from_yaml(chosen[0].text("settings.yaml")), bundles)
    first = chosen[0].tags
    synthetic = chosen[0].configuration["data"] == "synthetic"
    shared = {"synthetic": str(synthetic).lower()} | {
        k: first[k] for k in ("study", "cohort", "cohort_digest", "settings_digest", "preset")
    }
    shared["patient_ids"] = first.get("patient_ids", ORIGINAL_IDS)
    shared |= {"champion": settings.champion, "folds": ",".join(c.tags["fold"] for c in chosen)}
    return register(run, shared, alias)


def best_fold(folds: Mapping[int, FinishedRun]) -> FinishedRun:
    """The fold with the lowest validation loss."""
    return min(folds.values(), key=lambda fold: fold.metrics["best/loss"])
