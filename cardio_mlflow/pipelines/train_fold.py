"""Train one fold: an epoch record at a time into one MLflow run."""

from __future__ import annotations

import logging

from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.fold_training import FoldJob, train_into
from cardio_mlflow.pipelines.inputs import load_inputs
from cardio_mlflow.pipelines.study_runs import latest_folds
from cardio_mlflow.pipelines.training_set import TrainingSet, load_training_set
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.finished import FinishedRun
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.tracking.store import page_command
from cardio_mlflow.training.processes import join_processes

log = logging.getLogger(__name__)


def train_fold(settings: Settings, run: Run, fold: str = "1") -> None:
    """Train one fold of Cohort I: per-epoch metrics, curves, out-of-fold predictions and the model.

    Started by ``python -m torch.distributed.run``, several processes or GPUs share the fold.
    """
    job = FoldJob(check_fold(fold, settings.num_folds), settings.variant)
    with join_processes() as processes:
        data = load_training_set(settings, load_inputs(settings), processes)
        done = _trained_already(settings, job, data)
        if done is None:
            train_into(run, settings, job, data)
        if not processes.is_main:
            return
        if done is None:
            log.info("Fold %d is in the run %s. See it with: %s", job.fold, job.name, page_command())
        else:
            log.info("%s is trained already, in the run %s: nothing is left to do.", job.name, done.run_id)


def _trained_already(settings: Settings, job: FoldJob, data: TrainingSet) -> FinishedRun | None:
    """Where the user resumes a fold that is complete: its run."""
    if not settings.resume or job.checkpoint(settings, data).exists():
        return None
    same = {"settings_digest": settings.digest(), "cohort_digest": data.inputs.digest}
    return latest_folds(settings.study_name, job.variant, same).get(job.fold)


def check_fold(fold: str, num_folds: int) -> int:
    """Read a fold number.

    Raises:
        InputError: it is not a whole number from 1 to ``num_folds``.

    >>> check_fold("2", 5)
    2
    """
    if not fold.isdecimal() or not 1 <= int(fold) <= num_folds:
        raise InputError(f"fold={fold} is not allowed. Allowed: a whole number from 1 to {num_folds}.")
    return int(fold)
