"""The attention ablation: variants over the same folds, and what each of them is worth."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cardio_mlflow.analysis.comparison import (
    MEAN,
    PATHS,
    differences,
    in_words,
    paths_in_words,
    variant_table,
)
from cardio_mlflow.analysis.intervals import out_of_fold_intervals
from cardio_mlflow.analysis.paired_variants import Tables
from cardio_mlflow.errors import InputError
from cardio_mlflow.figures.catalogue import ablation_drawings
from cardio_mlflow.model.backbone import load_backbone
from cardio_mlflow.pipelines.inputs import load_inputs
from cardio_mlflow.pipelines.train import refuse_variant, train_jobs, trained_folds
from cardio_mlflow.pipelines.train_fold import FoldJob
from cardio_mlflow.pipelines.training_set import TrainingSet, check_backbone, load_training_set
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.finished import FinishedRun
from cardio_mlflow.tracking.runs import Run

Runs = Mapping[FoldJob, FinishedRun]

log = logging.getLogger(__name__)


def ablation(settings: Settings, run: Run) -> None:
    """Train the variants over the folds, from the same start with the same schedule, and compare them.

    ``variants`` chooses among those of the network, ``more_variants`` describes further ones, ``repeats``
    adds seeds. A fold of a variant that is already trained with these settings on this cohort is not trained
    again.
    """
    refuse_variant(settings)
    compare_variants(settings, run, load_training_set(settings, load_inputs(settings)))


def compare_variants(settings: Settings, run: Run, data: TrainingSet) -> None:
    """Train what is missing on a loaded training set, and log the comparison.

    Raises:
        InputError: a variant cannot be trained (raised before any is trained), or folds failed.
    """
    _check_variants(settings, data)
    folds = settings.ablation_folds or tuple(range(1, settings.num_folds + 1))
    jobs = [
        FoldJob(fold, variant, repeat)
        for variant in settings.all_variants
        for repeat in range(1, settings.repeats + 1)
        for fold in folds
    ]
    run.set_tags({"cohort_digest": data.inputs.digest})
    done = trained_folds(settings, data, jobs)
    train_jobs(settings, run, data, [job for job in jobs if job not in done])
    log_comparison(run, settings, trained_folds(settings, data, jobs))


def _check_variants(settings: Settings, data: TrainingSet) -> None:
    """Refuse a variant that its backbone does not suit, before the others are trained."""
    for variant in settings.all_variants:
        own = settings.for_variant(variant)
        try:
            same = own.backbone == settings.backbone
            check_backbone(own, data.backbone if same else load_backbone(own.backbone))
        except InputError as error:
            raise InputError(f"The variant {variant} cannot be trained: {error}") from error


def log_comparison(run: Run, settings: Settings, runs: Runs) -> None:
    """Log tables, figures, metrics and sentences that compare the variants.

    Args:
        run: where to.
        settings: resamples and seed of the bootstrap; whether the cohort is synthetic.
        runs: the trained folds of every variant and seed.
    """
    predictions = _predictions(runs)
    variants = variant_table(predictions, settings.bootstrap, settings.seed)
    apart = differences(predictions, settings.bootstrap, settings.seed)
    history, alphas = _histories(runs), alpha_table(settings, runs)
    for number in range(settings.repeats):
        table = pd.concat([seeds[number] for seeds in predictions.values()])
        run.log_table(
            table, "predictions.csv" if number == 0 else f"tables/predictions_seed-{number + 1}.csv"
        )
    tables = {
        "ablation": variants,
        "ablation_differences": apart,
        "alphas": alphas,
        "history": history,
    }
    for name, table in tables.items():
        run.log_table(table, f"tables/{name}.csv")
    run.log_metrics(comparison_metrics(variants, apart))
    figures = ablation_drawings(tables, synthetic=settings.is_synthetic)
    run.log_figures({figure.name: figure.figure() for figure in figures}, settings.figure_formats)
    _log_words(run, settings, variants, [*in_words(apart), *paths_in_words(apart, alphas)])


def comparison_metrics(variants: pd.DataFrame, apart: pd.DataFrame) -> dict[str, float]:
    """The comparison's metrics by their MLflow names."""
    means = variants[variants["parameter"] == MEAN].to_dict("records")
    metrics = {f"ablation/r_mean_{row['variant']}": float(row["r"]) for row in means}
    metrics |= {f"ablation/mae_sd_{row['variant']}": float(row["mae"]) for row in means}
    against = apart[(apart["parameter"] == MEAN) & (apart["against"] == "full")]
    for row in against.to_dict("records"):
        metrics[f"ablation/r_difference_{row['variant']}"] = float(row["r_difference"])
    return metrics


def alpha_table(settings: Settings, runs: Runs) -> pd.DataFrame:
    """The gates of each trained fold: variant, fold, repeat, seed, alpha_<path>; NaN without such a path."""
    rows = [
        {"variant": job.variant, "fold": job.fold, "repeat": job.repeat,
         "seed": settings.for_variant(job.variant, job.repeat).seed,
         **{f"alpha_{path}": found.metrics.get(f"alpha/{path}", np.nan) for path in PATHS}}
        for job, found in runs.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _predictions(runs: Runs) -> Tables:
    """A predictions table for each variant and seed, all folds together."""
    found: dict[str, dict[int, list[pd.DataFrame]]] = {}
    for job, trained in runs.items():
        found.setdefault(job.variant, {}).setdefault(job.repeat, []).append(trained.predictions())
    return {
        variant: [out_of_fold_intervals(pd.concat(folds)) for folds in seeds.values()]
        for variant, seeds in found.items()
    }


def _histories(runs: Runs) -> pd.DataFrame:
    tables = [
        found.table("tables/history.csv").assign(variant=job.variant, fold=job.fold, repeat=job.repeat)
        for job, found in runs.items()
    ]
    return pd.concat(tables, ignore_index=True)


def _log_words(run: Run, settings: Settings, variants: pd.DataFrame, sentences: Sequence[str]) -> None:
    """Show the means, say what the differences come to, and what the intervals do not hold."""
    means = variants[variants["parameter"] == MEAN].set_index("variant")
    shown = means[["n", "r", "r_low", "r_high", "mae", "r_seed_sd"]].rename(columns={"mae": "mae (SD)"})
    seeds = (
        f"Each is the mean over {settings.repeats} seeds; r_seed_sd is the SD over them."
        if settings.repeats > 1
        else "One seed: how far trainings of one variant differ is not in the intervals (see -P repeats=3)."
    )
    text = "\n".join([shown.to_string(float_format="{:.2f}".format), "", *sentences, seeds])
    run.log_text(f"{text}\n", "ablation.txt")
    log.info("Mean signed r and mean MAE of each variant:\n%s", text)
