"""Nested tuning: inside each outer fold, so that nobody is judged by settings that were chosen on them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import pandas as pd

from cardio_mlflow.analysis.predictions import check_predictions, pool_out_of_fold
from cardio_mlflow.analysis.summary import mean_correlation, performance_table
from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.fan_out import train_jobs, trained_before
from cardio_mlflow.pipelines.fold_training import FoldJob
from cardio_mlflow.pipelines.study_runs import command
from cardio_mlflow.pipelines.training_set import TrainingSet
from cardio_mlflow.pipelines.tuning_results import Tuned, log_tuning
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.tuning.space import values_of

Tune = Callable[[Settings, Run, TrainingSet, tuple[int, ...], int | None], Tuned]

log = logging.getLogger(__name__)


def tune_nested(settings: Settings, run: Run, data: TrainingSet, tune: Tune) -> None:
    """Tune on the other folds of each outer fold, train the outer fold with what was best, pool all.

    Cawley GC, Talbot NLC. On over-fitting in model selection. J Mach Learn Res 2010;11:2079-2107. The inner
    folds are the other folds of the cohort, of ``tune_folds`` where any is left; ``n_trials`` and ``timeout``
    are those of each outer fold.

    Args:
        settings: with the ranges.
        run: that starts it, and where the pooled results go.
        data: Cohort I.
        tune: runs one tuning.

    Raises:
        InputError: fewer than three folds, so that inside an outer one nothing can be held out.
    """
    if settings.num_folds < 3:
        raise InputError("nested=true needs num_folds of at least 3: one outer, and two to tune on.")
    folds = range(1, settings.num_folds + 1)
    tables: dict[int, pd.DataFrame] = {}
    chosen: dict[int, Tuned] = {}
    for fold in folds:
        others = tuple(other for other in folds if other != fold)
        inner = tuple(other for other in sorted(settings.tune_folds) if other != fold)
        tuned = tune(settings, run, data, inner or others, fold)
        log_tuning(run, settings, tuned, f"outer-{fold}/")
        chosen[fold] = tuned
        own = _outer_settings(settings, tuned)
        found = _trained_before(own, data, fold)
        if found is None and tuned.is_own:
            found = train_jobs(own, run, data, [FoldJob(fold)])[FoldJob(fold)]
        if found is not None:
            tables[fold] = found
    for fold in [fold for fold in folds if fold not in tables]:  # another command may have trained it since
        found = _trained_before(_outer_settings(settings, chosen[fold]), data, fold)
        if found is not None:
            tables[fold] = found
    if missing := [str(fold) for fold in folds if fold not in tables]:
        log.info(
            "Another command still trains the outer fold%s %s, and will pool them all. If it was killed, "
            "give this command again with -P resume=true.", "s" * (len(missing) > 1), ", ".join(missing),
        )  # fmt: skip
        return
    rows = [{"fold": f, "loss": t.best.value, **values_of(t.settings)} for f, t in chosen.items()]
    _log_pooled(run, settings, tables, pd.DataFrame(rows))


def _outer_settings(settings: Settings, tuned: Tuned) -> Settings:
    """Those that an outer fold is trained with: the best of the others, in a study of their own."""
    return tuned.settings.model_copy(update={"study": f"{settings.study_name}-nested", "resume": True})


def _trained_before(own: Settings, data: TrainingSet, fold: int) -> pd.DataFrame | None:
    """An outer fold's predictions, where this or another command has trained it with these settings."""
    job = FoldJob(fold)
    done = trained_before(own, data, [job])
    return done[job].predictions() if job in done else None


def _log_pooled(
    run: Run, settings: Settings, tables: Mapping[int, pd.DataFrame], chosen: pd.DataFrame
) -> None:
    pooled = check_predictions(pool_out_of_fold(dict(tables)))
    performance = performance_table(pooled, settings.bootstrap, settings.seed)
    run.log_table(pooled, "predictions.csv")
    run.log_table(performance, "tables/performance.csv")
    run.log_table(chosen, "tables/chosen_settings.csv")
    run.log_metrics(
        {f"nested/r_{row['parameter']}": float(row["r"]) for row in performance.to_dict("records")}
    )
    mean = mean_correlation(pooled, settings.bootstrap, settings.seed)
    run.log_metrics({"nested/r_mean": mean.r, "nested/r_mean_low": mean.low, "nested/r_mean_high": mean.high})
    shown = performance[["parameter", "n", "r", "r_low", "r_high", "mae", "unit"]]
    log.info(
        "Each outer fold, judged with settings that were tuned on the others:\n%s\n\n%s\n"
        "All figures of it: download predictions.csv from this run (%s), then\n    %s",
        chosen.to_string(index=False, float_format="{:.3g}".format),
        shown.to_string(index=False, float_format="{:.3g}".format), run.artifact_folder(),
        command("validate", settings.model_copy(update={"study": f"{settings.study_name}-nested"}),
                predictions="/absolute/predictions.csv"),
    )  # fmt: skip
