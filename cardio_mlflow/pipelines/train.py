"""Train all folds."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from cardio_mlflow.analysis.predictions import check_predictions, pool_out_of_fold
from cardio_mlflow.analysis.summary import performance_table
from cardio_mlflow.errors import InputError
from cardio_mlflow.figures.training_curves import training_curves
from cardio_mlflow.pipelines.fan_out import train_jobs, trained_before
from cardio_mlflow.pipelines.fold_training import FoldJob
from cardio_mlflow.pipelines.inputs import load_inputs
from cardio_mlflow.pipelines.study_runs import latest_folds
from cardio_mlflow.pipelines.training_set import TrainingSet, load_training_set
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.finished import FinishedRun
from cardio_mlflow.tracking.runs import Run

log = logging.getLogger(__name__)


def train(settings: Settings, run: Run) -> None:
    """Train every fold of Cohort I, each as a run of its own, and sum them up in this one."""
    refuse_variant(settings)
    train_folds(settings, run, load_training_set(settings, load_inputs(settings)))


def refuse_variant(settings: Settings) -> None:
    """Refuse another variant than the full network where the study's folds are trained.

    Raises:
        InputError: ``variant`` is not full.
    """
    if settings.variant != "full":
        raise InputError(
            f"variant={settings.variant} is for train_fold alone; the variants are compared by the ablation: "
            "-e ablation -P variants=full," + settings.variant
        )


def train_folds(settings: Settings, run: Run, data: TrainingSet) -> None:
    """Train every fold, side by side where there is room; the summary goes into ``run``.

    With ``resume`` the folds that are trained already are taken, and the others go on from their checkpoints.

    Raises:
        InputError: a fold failed; the others are trained all the same.
    """
    jobs = [FoldJob(fold) for fold in range(1, settings.num_folds + 1)]
    run.set_tags({"cohort_digest": data.inputs.digest})
    done = trained_before(settings, data, jobs) if settings.resume else {}
    tables = {job: found.predictions() for job, found in done.items()}
    tables |= train_jobs(settings, run, data, [job for job in jobs if job not in done])
    same = {"settings_digest": settings.digest(), "cohort_digest": data.inputs.digest}
    folds = latest_folds(settings.study_name, "full", same)
    _log_summary(run, settings, pool_out_of_fold({job.fold: tables[job] for job in jobs}), folds)


def _log_summary(run: Run, settings: Settings, pooled: pd.DataFrame, folds: dict[int, FinishedRun]) -> None:
    """Mean and SD over folds of the best epochs, and the pooled out-of-fold performance."""
    for name in ("best/loss", "best/r_mean"):
        values = [fold.metrics[name] for fold in folds.values() if name in fold.metrics]
        run.log_metrics({f"{name}_over_folds_mean": float(np.mean(values)),
                         f"{name}_over_folds_sd": float(np.std(values, ddof=1))})  # fmt: skip
    table = performance_table(check_predictions(pooled), settings.bootstrap, settings.seed)
    run.log_metrics({f"oof/r_{row['parameter']}": float(row["r"]) for row in table.to_dict("records")})
    run.log_table(pooled, "predictions.csv")
    run.log_table(table, "tables/performance.csv")
    history = pd.concat([fold.table("tables/history.csv") for fold in folds.values()])
    run.log_table(history, "tables/history.csv")
    run.log_figures({"training_curves": training_curves(history, synthetic=settings.is_synthetic)})
