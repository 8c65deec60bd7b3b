"""The attention ablation: six variants over the same folds."""

from __future__ import annotations

import logging

import pandas as pd

from cardio_mlflow.analysis.comparison import comparison_table
from cardio_mlflow.analysis.predictions import check_predictions
from cardio_mlflow.figures.ablation import ablation_heat_map
from cardio_mlflow.pipelines.fan_out import train_jobs, trained_before
from cardio_mlflow.pipelines.fold_training import FoldJob
from cardio_mlflow.pipelines.inputs import load_inputs
from cardio_mlflow.pipelines.training_set import TrainingSet, load_training_set
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.runs import Run

log = logging.getLogger(__name__)


def ablation(settings: Settings, run: Run) -> None:
    """Train the variants over the folds, from the same start with the same schedule, and compare them.

    A fold of a variant that is already trained with these settings on this cohort is not trained again.
    """
    compare_variants(settings, run, load_training_set(settings, load_inputs(settings)))


def compare_variants(settings: Settings, run: Run, data: TrainingSet) -> pd.DataFrame:
    """Train what is missing on a loaded training set; returns the comparison, a row a variant."""
    folds = settings.ablation_folds or tuple(range(1, settings.num_folds + 1))
    jobs = [FoldJob(fold, variant) for variant in settings.variants for fold in folds]
    run.set_tags({"cohort_digest": data.inputs.digest})
    done = trained_before(settings, data, jobs)
    tables = done | train_jobs(settings, run, data, [job for job in jobs if job not in done])
    predictions = check_predictions(pd.concat([tables[job] for job in jobs]))
    table = comparison_table(predictions)
    run.log_metrics({f"ablation/r_mean_{row['variant']}": row["mean_r"] for row in table.to_dict("records")})
    run.log_table(predictions, "predictions.csv")
    run.log_table(table, "tables/ablation.csv")
    run.log_figures({"ablation": ablation_heat_map(table, synthetic=settings.is_synthetic)})
    shown = table.to_string(index=False, float_format="{:.2f}".format)
    log.info("Signed r of each variant, folds %s:\n%s", ", ".join(map(str, folds)), shown)
    return table
