"""One trial of a tuning: its folds trained together into one MLflow run, ended early if others do better."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from optuna import Trial, TrialPruned

from cardio_mlflow.errors import DivergedError, PrunedError
from cardio_mlflow.pipelines.fold_results import build_predictions, epoch_metrics
from cardio_mlflow.pipelines.inputs import StudyInputs
from cardio_mlflow.pipelines.training_set import TrainingSet
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.new_runs import trial_run
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.training.fit import FoldData, JointEpoch, fit_together
from cardio_mlflow.training.scaling import TargetScaler
from cardio_mlflow.training.state import TrainingState, new_state
from cardio_mlflow.training.stroke_volume import Predicted
from cardio_mlflow.tuning.search import first_pruned, suggested, values_of
from cardio_mlflow.tuning.storage import is_of_defaults

LOGGED: Final = ("train/loss", "val/loss", "val/r_mean", "lr/task", "lr/backbone", "stage")
"""The metrics of a trial's epochs."""
SHOWN_EVERY: Final = 2.0
"""Seconds between two writes of a trial's epochs to the store, so that short epochs cost nothing."""


@dataclass(frozen=True)
class Tuning:
    """What all trials of a tuning share.

    Attributes:
        name: of the study in the tuning's database, whose address is ``address``.
        folds: that a trial is trained on.
        parent: id of the MLflow run that the trials stand under.
        command: id of the run of the command that runs the trials.
        without: a fold whose patients take no part; None where all do.
    """

    settings: Settings
    inputs: StudyInputs
    name: str
    address: str
    folds: tuple[int, ...]
    parent: str
    command: str
    without: int | None = None


@dataclass(frozen=True)
class _TrialFold:
    """A fold of a trial in training."""

    fold: int
    data: FoldData
    scaler: TargetScaler
    references: NDArray[np.float64]
    facts: NDArray[np.float64]
    state: TrainingState

    def predicted(self, targets: NDArray[np.float64]) -> Predicted:
        """Predicted scaled targets of the validation patients in their units."""
        return self.scaler.predicted(targets, self.facts)


def run_trial(tuning: Tuning, trial: Trial, data: TrainingSet, parent_process: int = 0) -> float:
    """Train a trial's folds and judge them.

    The ``trial`` suggests the settings and takes the loss of each epoch. ``parent_process`` is the id of the
    process that started this one for it; 0 where none did.

    Returns:
        The mean over the folds of each fold's lowest validation loss.

    Raises:
        TrialPruned: others did better up to an epoch, or the training diverged.
        InputError: it cannot be trained.
    """
    settings = suggested(trial, tuning.settings)
    tags = trial_tags(tuning, trial.number)
    tags |= {"cohort_digest": tuning.inputs.digest, "started_by": tuning.command}
    name = f"trial-{trial.number:03d}" if tuning.without is None else (
        f"outer-{tuning.without}/trial-{trial.number:03d}"
    )  # fmt: skip
    try:
        with trial_run(name, settings, tuning.parent, values_of(settings), tags) as run:
            if killed := trial.user_attrs.get("run_id"):
                run.take_over_from(killed)
                run.end_as_killed(killed, "its process was killed")
            trial.set_user_attr("run_id", run.run_id)
            return _train(tuning, settings, trial, data, run, parent_process)
    except (PrunedError, DivergedError) as error:
        raise TrialPruned(str(error)) from error


def trial_tags(tuning: Tuning, number: int) -> dict[str, str]:
    """The tags that distinguish a trial's run from others."""
    outer = {} if tuning.without is None else {"outer_fold": str(tuning.without)}
    return {"study": tuning.settings.study_name, "step": "trial", "trial": str(number), **outer}


def _train(
    tuning: Tuning, settings: Settings, trial: Trial, data: TrainingSet, run: Run, parent_process: int
) -> float:
    """Run the epochs of all folds together; log them, and the folds' predictions at the end."""
    folds = [_trial_fold(fold, tuning.without, settings, data) for fold in tuning.folds]
    seeds = [settings.seed + fold.fold for fold in folds]
    joint = fit_together([f.state for f in folds], [f.data for f in folds], settings, seeds, data.processes)
    prunable = range(settings.epochs if is_of_defaults(trial) else first_pruned(settings), settings.epochs)
    with _writing_to(run) as write:
        for epoch in joint:
            write(epoch.epoch, _metrics(epoch, folds))
            if epoch.epoch >= first_pruned(settings):  # nothing depends on earlier ones
                trial.report(epoch.val_loss, epoch.epoch)
            if parent_process and os.getppid() != parent_process:
                os._exit(1)  # the command has died: another worker begins this trial again
            if epoch.epoch in prunable and trial.should_prune():
                raise PrunedError(
                    f"Pruned after epoch {epoch.epoch} of {settings.epochs}: others did better."
                )
    loss = float(np.mean([fold.state.best_loss for fold in folds]))
    best = {f"best/loss_fold-{fold.fold}": fold.state.best_loss for fold in folds}
    run.log_metrics({"best/loss": loss, **best})
    run.log_table(pd.concat([_predictions(fold, data) for fold in folds]), "predictions.csv")
    return loss


@contextmanager
def _writing_to(run: Run) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Write epochs and their metrics to a run, several at a time where they are short."""
    waiting: list[tuple[int, int, Mapping[str, float]]] = []
    written = time.monotonic()

    def write(epoch: int, metrics: Mapping[str, float]) -> None:
        nonlocal written
        waiting.append((epoch, int(time.time() * 1000), metrics))
        if time.monotonic() - written >= SHOWN_EVERY:
            run.log_epochs(waiting)
            waiting.clear()
            written = time.monotonic()

    try:
        yield write
    finally:
        if waiting:
            run.log_epochs(waiting)


def _trial_fold(fold: int, without: int | None, settings: Settings, data: TrainingSet) -> _TrialFold:
    fold_data, scaler = data.fold(fold, settings, without)
    rows = list(fold_data.validation)
    state = new_state(data.network(settings), settings)
    return _TrialFold(fold, fold_data, scaler, data.references[rows], data.facts[rows], state)


def _metrics(epoch: JointEpoch, folds: list[_TrialFold]) -> dict[str, float]:
    """The epoch's metrics that trials are compared by, each the mean over the folds."""
    by_fold = [
        epoch_metrics(record, fold.references, fold.predicted(record.predictions).predictions)
        for record, fold in zip(epoch.records, folds, strict=True)
    ]
    return {name: float(np.mean([metrics[name] for metrics in by_fold])) for name in LOGGED}


def _predictions(fold: _TrialFold, data: TrainingSet) -> pd.DataFrame:
    """The predictions table of a fold's validation patients, by its best epoch."""
    patients = [data.patients[i] for i in fold.data.validation]
    return build_predictions(
        patients, fold.references, fold.predicted(fold.state.best_predictions),
        cohort="I", variant="full", fold=fold.fold, persons=data.inputs.persons(patients),
    )  # fmt: skip
