"""Tuning of learning rates, weight decay and dropout with Optuna."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import pandas as pd
from optuna import Study
from optuna.trial import TrialState

from cardio_mlflow.analysis.predictions import check_predictions, pool_out_of_fold
from cardio_mlflow.analysis.summary import mean_correlation, performance_table
from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.inputs import load_inputs
from cardio_mlflow.pipelines.study_runs import command, complete_folds
from cardio_mlflow.pipelines.train import refuse_variant, train_folds, train_jobs, trained_folds
from cardio_mlflow.pipelines.train_fold import FoldJob
from cardio_mlflow.pipelines.training_set import TrainingSet, load_training_set
from cardio_mlflow.pipelines.trials import Tuning, trial_tags
from cardio_mlflow.pipelines.tuning_results import Tuned, log_tuning
from cardio_mlflow.pipelines.tuning_workers import locked, run_trials, study_of
from cardio_mlflow.pipelines.validate import validate_folds
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.new_runs import TUNED_BY, is_running, step_run
from cardio_mlflow.tracking.registry import CHALLENGER
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.tracking.store import database_beside
from cardio_mlflow.tuning.search import outside_ranges, values_of, with_values
from cardio_mlflow.tuning.storage import enqueue_defaults, explained, trials_of

DATABASE: Final = "tuning.db"

log = logging.getLogger(__name__)


def tune(settings: Settings, run: Run) -> None:
    """Search learning rates, weight decay and dropout by the validation loss of Cohort I's folds.

    Each trial is a run under this one. The same command goes on with a tuning that was stopped, and joins one
    that is running. ``nested`` tunes inside each fold, ``challenger`` trains and registers the best.
    """
    refuse_variant(settings)
    _check_request(settings)
    data = load_training_set(settings, load_inputs(settings))
    run.set_tags({"cohort_digest": data.inputs.digest})
    if settings.nested:
        _tune_nested(settings, run, data)
        return
    folds = tuple(sorted(settings.tune_folds)) or tuple(range(1, settings.num_folds + 1))
    tuned = _tuned_on(folds, settings, run, data)
    log_tuning(run, settings, tuned)
    if settings.challenger and not tuned.is_own:
        log.info("The challenger is trained by the command that this one has joined.")
    elif settings.challenger:
        _register_challenger(settings, run, data, tuned)


def _check_request(settings: Settings) -> None:
    """Refuse what cannot be done before anything is read, and warn of what a reader would not expect.

    Raises:
        InputError: a challenger of a nested tuning, too few folds for one, or a value that has no logarithm.
    """
    if settings.nested and settings.challenger:
        raise InputError(
            "challenger=true needs one tuning: a nested one has other settings for each outer fold. Tune "
            "without -P nested=true first, and nested afterwards to see how well that works."
        )
    if settings.nested and settings.num_folds < 3:
        raise InputError("nested=true needs num_folds of at least 3: one outer, and two to tune on.")
    if settings.weight_decay == 0:
        raise InputError(
            "weight_decay=0 cannot be set beside trials that search it on a log scale. Give the tuning a "
            f"small one to start from, such as -P weight_decay={settings.weight_decay_range[0]:g}."
        )
    if outside := outside_ranges(settings):
        log.warning(
            "The first trial is that of the defaults, to compare with. They lie outside the ranges: %s.",
            ", ".join(outside),
        )


def _tuned_on(
    folds: tuple[int, ...], settings: Settings, run: Run, data: TrainingSet, without: int | None = None
) -> Tuned:
    """Run the trials of one tuning, or those that are left of it.

    Args:
        folds: that a trial is trained on.
        settings: with the ranges.
        run: that starts them.
        data: Cohort I.
        without: a fold whose patients take no part; None where all do.

    Raises:
        InputError: the tuning was begun with other settings, its database is lost, a worker was killed, or no
            trial succeeded.
    """
    name = settings.study_name if without is None else f"{settings.study_name}/outer-{without}"
    address = settings.storage or database_beside(DATABASE, settings.cache / "tuning")
    if settings.cluster and address.startswith("sqlite"):
        raise InputError(
            "Machines of a cluster need a database that all can reach: -P storage=postgresql://host/name"
        )
    asked = Tuning(settings, data.inputs, name, address, folds, run.run_id, run.run_id, without)
    with explained(address):
        study = study_of(asked)
        with locked(asked):  # of two commands that start together one is the parent
            tuning = replace(asked, parent=_parent(study, run, settings))
            enqueue_defaults(study, values_of(settings))
        with run.ending_what_it_starts():
            run_trials(tuning, study, data)
        trials = trials_of(study)
    for trial in trials:
        if trial.state == TrialState.FAIL:
            _end_killed(run, trial.user_attrs.get("run_id"), trial_tags(tuning, trial.number))
    if not any(trial.state == TrialState.COMPLETE for trial in trials):
        raise InputError(
            "No trial succeeded, so there is nothing to choose from: the runs of the trials say why. "
            "Smaller ranges of task_lr and vit_lr usually help; so does a longer timeout."
        )
    return Tuned(study, with_values(settings, study.best_trial.params), tuning.parent == run.run_id)


def _end_killed(run: Run, known: str | None, tags: Mapping[str, str]) -> None:
    """End the run of a trial whose worker was killed, also in the moment before the trial knew its run."""
    if known:
        run.end_as_killed(known, "its process was killed")
    else:
        run.end_left_running(tags)


def _parent(study: Study, run: Run, settings: Settings) -> str:
    """The run that trials stand under: that of another command that tunes already, or this one.

    With ``resume`` another command is taken to have been killed.
    """
    known = study.user_attrs.get("parent", "")
    if known and known != run.run_id and is_running(known) and not settings.resume:
        log.info(
            "Another command is running this tuning, in the run %s: this one joins it. If it was killed, "
            "-P resume=true puts its trials under this run.", known,
        )  # fmt: skip
        return str(known)
    if known:
        run.take_over_from(known)
        run.end_as_killed(known, "its process was killed")
        run.adopt([t.user_attrs["run_id"] for t in trials_of(study) if "run_id" in t.user_attrs])
    study.set_user_attr("parent", run.run_id)
    return run.run_id


def _register_challenger(settings: Settings, run: Run, data: TrainingSet, tuned: Tuned) -> None:
    """Train all folds with the best settings, judge them on Cohort I and register them as challenger."""
    own = tuned.settings.model_copy(update={"study": f"{settings.study_name}-tuned", "resume": True})
    with step_run("train", own, "train", run) as training:
        training.set_tags({TUNED_BY: run.run_id})
        train_folds(own, training, data)
    with step_run("validate", own, "validate", run) as validation:
        validate_folds(own, validation, complete_folds(own), CHALLENGER)
    log.info(
        "The study %s holds the folds with the best settings. Its models become the champion with:\n    %s",
        own.study_name, command("validate", own, settings_from=run.run_id),
    )  # fmt: skip


def _tune_nested(settings: Settings, run: Run, data: TrainingSet) -> None:
    """Tune on the other folds of each outer fold, train the outer fold with what was best, pool all.

    Cawley GC, Talbot NLC. On over-fitting in model selection. J Mach Learn Res 2010;11:2079-2107. The inner
    folds are the other folds of the cohort, of ``tune_folds`` where any is left; ``n_trials`` and ``timeout``
    are those of each outer fold.
    """
    folds = range(1, settings.num_folds + 1)
    chosen: dict[int, Tuned] = {}
    for fold in folds:
        others = tuple(other for other in folds if other != fold)
        inner = tuple(other for other in sorted(settings.tune_folds) if other != fold)
        tuned = chosen[fold] = _tuned_on(inner or others, settings, run, data, fold)
        log_tuning(run, settings, tuned, f"outer-{fold}/")
        own = _outer_settings(settings, tuned)
        if tuned.is_own and _trained_folds(own, data, fold) is None:
            train_jobs(own, run, data, [FoldJob(fold)])
    found = {f: _trained_folds(_outer_settings(settings, t), data, f) for f, t in chosen.items()}
    tables = {fold: table for fold, table in found.items() if table is not None}
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


def _trained_folds(own: Settings, data: TrainingSet, fold: int) -> pd.DataFrame | None:
    """An outer fold's predictions, where this or another command has trained it with these settings."""
    job = FoldJob(fold)
    done = trained_folds(own, data, [job])
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
