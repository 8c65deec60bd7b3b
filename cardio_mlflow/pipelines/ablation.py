"""The attention ablation: six variants over the same folds."""

from __future__ import annotations

import logging

import pandas as pd

from cardio_mlflow.analysis.comparison import comparison_table
from cardio_mlflow.analysis.predictions import check_predictions
from cardio_mlflow.figures.ablation import ablation_heat_map
from cardio_mlflow.pipelines.inputs import load_inputs
from cardio_mlflow.pipelines.study_runs import latest_folds
from cardio_mlflow.pipelines.train_fold import run_name, train_into
from cardio_mlflow.pipelines.training_set import TrainingSet, load_training_set
from cardio_mlflow.settings import Settings, Variant
from cardio_mlflow.tracking.runs import Run, step_run

log = logging.getLogger(__name__)


def ablation(settings: Settings, run: Run) -> None:
    """Train the variants over the folds, from the same start with the same schedule, and compare them.

    A fold of a variant that is already trained with these settings on this cohort is not trained again.
    """
    compare_variants(settings, run, load_training_set(settings, load_inputs(settings)))


def compare_variants(settings: Settings, run: Run, data: TrainingSet) -> pd.DataFrame:
    """Train what is missing on a loaded training set; returns the comparison, a row a variant."""
    folds = settings.ablation_folds or tuple(range(1, settings.num_folds + 1))
    parts = [_variant(settings, variant, fold, data) for variant in settings.variants for fold in folds]
    predictions = check_predictions(pd.concat(parts))
    table = comparison_table(predictions)
    run.set_tags({"cohort_digest": data.inputs.digest})
    run.log_metrics({f"ablation/r_mean_{row['variant']}": row["mean_r"] for row in table.to_dict("records")})
    run.log_table(predictions, "predictions.csv")
    run.log_table(table, "tables/ablation.csv")
    run.log_figures({"ablation": ablation_heat_map(table, synthetic=settings.is_synthetic)})
    shown = table.to_string(index=False, float_format="{:.2f}".format)
    log.info("Signed r of each variant, folds %s:\n%s", ", ".join(map(str, folds)), shown)
    return table


def _variant(settings: Settings, variant: Variant, fold: int, data: TrainingSet) -> pd.DataFrame:
    """The validation predictions of a variant's fold: of the run that there is, or of a new one."""
    same = {"settings_digest": settings.digest(), "cohort_digest": data.inputs.digest}
    done = latest_folds(settings.study_name, variant, **same)
    if fold in done:
        return done[fold].predictions()
    own = settings.model_copy(update={"variant": variant})
    with step_run(run_name(variant, fold), own, "train_fold") as run:
        return train_into(run, settings, fold, variant, data)
