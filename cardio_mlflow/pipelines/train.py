"""Train all folds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from cardio_mlflow.analysis.intervals import out_of_fold_intervals
from cardio_mlflow.analysis.predictions import check_predictions, pool_out_of_fold
from cardio_mlflow.analysis.summary import performance_table
from cardio_mlflow.errors import InputError, StoreGoneError
from cardio_mlflow.figures.training_curves import training_curves
from cardio_mlflow.pipelines.inputs import load_inputs
from cardio_mlflow.pipelines.study_runs import latest_folds
from cardio_mlflow.pipelines.train_fold import FoldJob, Place, train_into
from cardio_mlflow.pipelines.training_set import TrainingSet, load_training_set
from cardio_mlflow.pipelines.worker_pools import worker_pool
from cardio_mlflow.pipelines.workers import (
    FAULTS,
    Work,
    load_once,
    shared_settings,
    training_set_of,
    worker_process,
    workers_for,
)
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.finished import FinishedRun
from cardio_mlflow.tracking.new_runs import step_run
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.tracking.store import current_store
from cardio_mlflow.training.devices import enough_memory

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its predictions table, or why there is none."""

    job: FoldJob
    predictions: pd.DataFrame | None
    failure: str = ""


def trained_folds(
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
        InputError: jobs failed; raised when all others are done.
    """
    if not jobs:
        return {}
    workers = workers_for(settings, len(jobs))
    alone = workers <= 1 and not settings.cluster
    with run.ending_what_it_starts():
        outcomes = list(_train_alone(settings, run, data, jobs) if alone else
                        _train_side_by_side(settings, run, data, jobs, workers))  # fmt: skip
    if failed := [outcome for outcome in outcomes if outcome.predictions is None]:
        reasons = "\n".join(f"- {outcome.failure}" for outcome in failed)
        done = len(outcomes) - len(failed)
        raise InputError(
            f"{len(failed)} of {len(outcomes)} failed, {done} are trained:\n{reasons}\n"
            "With -P resume=true the same command takes those that are trained and does the rest."
        )
    return {o.job: o.predictions for o in outcomes if o.predictions is not None}


def _train_alone(
    settings: Settings, run: Run, data: TrainingSet, jobs: Sequence[FoldJob]
) -> Iterator[Outcome]:
    for job in jobs:
        yield _train_job(settings, run, job, lambda own: training_set_of(own, settings, data), Place())


def _train_side_by_side(
    settings: Settings, run: Run, data: TrainingSet, jobs: Sequence[FoldJob], wanted: int
) -> Iterator[Outcome]:
    store = current_store()
    with worker_pool(settings, store, wanted) as pool:
        workers = pool.count
        work = Work(shared_settings(settings, workers), data.inputs, run.run_id, store, workers)
        log.info("Training %d folds, %d side by side.", len(jobs), workers)
        advice = (
            f"What was done is kept: go on with -P resume=true and fewer workers than {workers}, such as "
            "-P jobs=1."
        )
        calls = ((work, number, job) for number, job in enumerate(jobs))
        outcomes = pool.results(_train_in_worker, calls, advice)
        yield from tqdm(outcomes, total=len(jobs), desc="folds", unit="fold", position=workers)


def _train_in_worker(work: Work, number: int, job: FoldJob) -> Outcome:
    """Train one job in a worker process, which goes on with what a killed one of the same command started."""
    with worker_process(work, number) as (device, place):
        command, settings = Run(work.started_by), work.settings
        if command.end_left_running({"started_by": work.started_by, "mlflow.runName": job.name}):
            settings = settings.model_copy(update={"resume": True})
        return _train_job(
            settings, command, job, lambda own: load_once(own, work.inputs, device, work.workers), place
        )


def _train_job(
    settings: Settings, started_by: Run, job: FoldJob, load: Callable[[Settings], TrainingSet], place: Place
) -> Outcome:
    """Train a job into a new run; a failure is reported, so that the other jobs go on."""
    own = settings.for_variant(job.variant, job.repeat)
    try:
        with step_run(job.name, own, "train_fold", started_by) as run, enough_memory():
            return Outcome(job, train_into(run, own, job, load(own), place))
    except StoreGoneError:
        raise  # the other jobs would wait for it in vain
    except InputError as error:
        failure = str(error)
    except FAULTS as error:
        log.exception("%s failed", job.name)
        failure = f"Fold {job.fold} ({job.variant}): {type(error).__name__}"
    log.warning("%s", failure)
    return Outcome(job, None, failure)


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
    done = trained_folds(settings, data, jobs) if settings.resume else {}
    tables = {job: found.predictions() for job, found in done.items()}
    tables |= train_jobs(settings, run, data, [job for job in jobs if job not in done])
    same = {"settings_digest": settings.digest(), "cohort_digest": data.inputs.digest}
    folds = latest_folds(settings.study_name, "full", same)
    pooled = pool_out_of_fold({job.fold: tables[job] for job in jobs})
    _log_summary(run, settings, out_of_fold_intervals(pooled), folds)


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
    figures = {"training_curves": training_curves(history, synthetic=settings.is_synthetic)}
    run.log_figures(figures, settings.figure_formats)
