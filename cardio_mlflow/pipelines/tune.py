"""Tuning of learning rates, weight decay and dropout with Optuna."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

import optuna
from optuna import Study

from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.inputs import load_inputs
from cardio_mlflow.pipelines.nested_tuning import tune_nested
from cardio_mlflow.pipelines.study_runs import command
from cardio_mlflow.pipelines.train import refuse_variant, train_folds
from cardio_mlflow.pipelines.training_set import TrainingSet, load_training_set
from cardio_mlflow.pipelines.trials import Tuning, trial_tags
from cardio_mlflow.pipelines.tuning_results import Tuned, log_tuning
from cardio_mlflow.pipelines.tuning_workers import locked, study_of, work_off
from cardio_mlflow.pipelines.validate import validate_study
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.new_runs import is_running, step_run
from cardio_mlflow.tracking.registry import CHALLENGER
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.tracking.store import database_beside
from cardio_mlflow.tuning.space import outside_ranges, values_of, with_values
from cardio_mlflow.tuning.storage import enqueue_defaults

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
        tune_nested(settings, run, data, tuned_with)
        return
    folds = tuple(sorted(settings.tune_folds)) or tuple(range(1, settings.num_folds + 1))
    tuned = tuned_with(settings, run, data, folds, None)
    log_tuning(run, settings, tuned)
    if settings.challenger and not tuned.is_own:
        log.info("The challenger is trained by the command that this one has joined.")
    elif settings.challenger:
        _register_challenger(settings, run, data, tuned)


def _check_request(settings: Settings) -> None:
    """Refuse what cannot be done before anything is read, and tell what the reader would not expect.

    Raises:
        InputError: a challenger of a nested tuning, or a value that has no logarithm.
    """
    if settings.nested and settings.challenger:
        raise InputError(
            "challenger=true needs one tuning: a nested one has other settings for each outer fold. Tune "
            "without -P nested=true first, and nested afterwards to see how well that does."
        )
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


def tuned_with(
    settings: Settings, run: Run, data: TrainingSet, folds: tuple[int, ...], without: int | None
) -> Tuned:
    """Run the trials of one tuning, or those that are left of it.

    Args:
        settings: with the ranges.
        run: that starts them.
        data: Cohort I.
        folds: that a trial is trained on.
        without: a fold whose patients take no part; None where all do.

    Raises:
        InputError: the tuning was begun with other settings, no trial has ended well, or a worker was killed.
    """
    name = settings.study_name if without is None else f"{settings.study_name}/outer-{without}"
    address = settings.storage or database_beside(DATABASE, settings.cache / "tuning")
    if settings.cluster and address.startswith("sqlite"):
        raise InputError(
            "Machines of a cluster need a database that all can reach: -P storage=postgresql://host/name"
        )
    asked = Tuning(settings, data.inputs, name, address, folds, run.run_id, run.run_id, without)
    study = study_of(asked)
    with locked(asked):  # of two commands that start together one is the parent
        tuning = replace(asked, parent=_parent(study, run, settings))
        enqueue_defaults(study, values_of(settings))
    with run.ending_what_it_starts():
        work_off(tuning, study, data)
    _end_killed_trials(run, study, tuning)
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if not complete:
        raise InputError(
            "No trial has ended well, so there is nothing to choose from: the runs of the trials say why. "
            "Smaller ranges of task_lr and vit_lr usually help; so does a longer timeout."
        )
    return Tuned(study, with_values(settings, study.best_trial.params), tuning.parent == run.run_id)


def _end_killed_trials(run: Run, study: Study, tuning: Tuning) -> None:
    """Mark the runs of trials whose workers were killed, also in the moment before they noted their run."""
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.FAIL,)):
        if known := trial.user_attrs.get("run_id"):
            run.end_as_killed(known, "its process was killed")
        else:
            run.end_left_running(trial_tags(tuning, trial.number))


def _parent(study: Study, run: Run, settings: Settings) -> str:
    """The run that trials stand under: that of another command which is at it, or this one.

    With ``resume`` another command is taken to have been killed.
    """
    known = study.user_attrs.get("parent", "")
    if known and known != run.run_id and is_running(known) and not settings.resume:
        log.info(
            "Another command is at this tuning, in the run %s: this one joins it. If it was killed, "
            "-P resume=true puts its trials under this run.", known,
        )  # fmt: skip
        return str(known)
    if known:
        run.take_over_from(known)
        run.end_as_killed(known, "its process was killed")
        trials = study.get_trials(deepcopy=False)
        run.adopt([t.user_attrs["run_id"] for t in trials if "run_id" in t.user_attrs])
    study.set_user_attr("parent", run.run_id)
    return run.run_id


def _register_challenger(settings: Settings, run: Run, data: TrainingSet, tuned: Tuned) -> None:
    """Train all folds with the best settings, judge them on Cohort I and register them as challenger."""
    own = tuned.settings.model_copy(update={"study": f"{settings.study_name}-tuned", "resume": True})
    with step_run("train", own, "train", run) as training:
        training.set_tags({"tuned_by": run.run_id})
        train_folds(own, training, data)
    with step_run("validate", own, "validate", run) as validation:
        validate_study(own, validation, CHALLENGER)
    log.info(
        "The study %s holds the folds with the best settings. Its models become the champion with:\n    %s",
        own.study_name, command("validate", own, settings_from=run.run_id),
    )  # fmt: skip
