"""Folds and variants side by side in worker processes: on this machine, on Ray or on Dask, through joblib."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
from tqdm import tqdm

from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.cluster import joined_backend
from cardio_mlflow.pipelines.fold_training import FoldJob, Place, train_into
from cardio_mlflow.pipelines.study_runs import latest_folds
from cardio_mlflow.pipelines.training_set import TrainingSet
from cardio_mlflow.pipelines.workers import (
    FAULTS,
    Work,
    as_worker,
    in_workers,
    load_once,
    training_set_of,
    workers_for,
)
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.finished import FinishedRun
from cardio_mlflow.tracking.new_runs import step_run
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.tracking.store import current_store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its predictions table, or why it failed."""

    job: FoldJob
    predictions: pd.DataFrame | None
    failure: str = ""


def trained_before(
    settings: Settings, data: TrainingSet, jobs: Sequence[FoldJob]
) -> dict[FoldJob, FinishedRun]:
    """The runs of the jobs that have been trained with these settings on this cohort."""
    found: dict[FoldJob, FinishedRun] = {}
    for variant, repeat in dict.fromkeys((job.variant, job.repeat) for job in jobs):
        own = settings.for_variant(variant, repeat)
        same = {"settings_digest": own.digest(), "cohort_digest": data.inputs.digest}
        folds = latest_folds(settings.study_name, variant, same, repeat, own.variant)
        found |= {FoldJob(fold, variant, repeat): run for fold, run in folds.items()}
    return {job: found[job] for job in jobs if job in found}


def train_jobs(
    settings: Settings, run: Run, data: TrainingSet, jobs: Sequence[FoldJob]
) -> dict[FoldJob, pd.DataFrame]:
    """Train jobs, each in a run of its own, as many side by side as there is room for.

    Args:
        settings: what to train, ``jobs``, ``backend`` and ``cluster``.
        run: the run that starts them.
        data: the cohort.
        jobs: what to train.

    Returns:
        The predictions table of each.

    Raises:
        InputError: jobs failed; told when all others are done.
    """
    if not jobs:
        return {}
    workers = workers_for(settings, len(jobs))
    alone = workers <= 1 and not settings.cluster
    with run.ending_what_it_starts():
        outcomes = list(_alone(settings, run, data, jobs) if alone else
                        _side_by_side(settings, run, data, jobs, workers))  # fmt: skip
    if failed := [outcome for outcome in outcomes if outcome.predictions is None]:
        told = "\n".join(f"- {outcome.failure}" for outcome in failed)
        done = len(outcomes) - len(failed)
        raise InputError(
            f"{len(failed)} of {len(outcomes)} failed, {done} are trained:\n{told}\n"
            "With -P resume=true the same command takes those that are trained and does the rest."
        )
    return {o.job: o.predictions for o in outcomes if o.predictions is not None}


def _alone(settings: Settings, run: Run, data: TrainingSet, jobs: Sequence[FoldJob]) -> Iterator[Outcome]:
    for job in jobs:
        yield _outcome(settings, run, job, lambda own: training_set_of(own, settings, data), Place())


def _side_by_side(
    settings: Settings, run: Run, data: TrainingSet, jobs: Sequence[FoldJob], wanted: int
) -> Iterator[Outcome]:
    store = current_store()
    with joined_backend(settings, store, wanted) as workers:
        work = Work(settings, data.inputs, run.run_id, store, workers)
        log.info("Training %d folds, %d side by side.", len(jobs), workers)
        advice = (
            f"What it had done is kept: go on with -P resume=true and fewer workers than {workers}, such as "
            "-P jobs=1."
        )
        calls = ((work, number, job) for number, job in enumerate(jobs))
        outcomes = in_workers(settings, workers, advice, _in_worker, calls)
        yield from tqdm(outcomes, total=len(jobs), desc="folds", unit="fold", position=workers)


def _in_worker(work: Work, number: int, job: FoldJob) -> Outcome:
    """Train one job in a worker process."""
    with as_worker(work, number) as (device, place):
        return _outcome(
            work.settings,
            Run(work.started_by),
            job,
            lambda own: load_once(own, work.inputs, device),
            place,
        )


def _outcome(
    settings: Settings, started_by: Run, job: FoldJob, load: Callable[[Settings], TrainingSet], place: Place
) -> Outcome:
    """Train a job into a new run; a failure is told, so that the other jobs go on."""
    own = settings.for_variant(job.variant, job.repeat)
    try:
        with step_run(job.name, own, "train_fold", started_by) as run:
            return Outcome(job, train_into(run, own, job, load(own), place))
    except InputError as error:
        failure = str(error)
    except FAULTS as error:
        log.exception("%s failed", job.name)
        failure = f"Fold {job.fold} ({job.variant}): {type(error).__name__}"
    log.warning("%s", failure)
    return Outcome(job, None, failure)
