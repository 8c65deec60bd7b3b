"""Folds and variants side by side in worker processes: on this machine, on Ray or on Dask, through joblib."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import joblib
import pandas as pd
import psutil
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError
from safetensors import SafetensorError
from tqdm import tqdm

from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.cluster import joined_backend
from cardio_mlflow.pipelines.fold_training import FoldJob, Place, train_into
from cardio_mlflow.pipelines.inputs import StudyInputs
from cardio_mlflow.pipelines.messages import quiet
from cardio_mlflow.pipelines.study_runs import latest_folds
from cardio_mlflow.pipelines.training_set import TrainingSet, load_training_set, made_from
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.finished import FinishedRun
from cardio_mlflow.tracking.new_runs import step_run
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.tracking.store import Store, StoreError, current_store, use_store
from cardio_mlflow.training.devices import available_devices, claimed_device
from cardio_mlflow.training.processes import Processes

FAULTS: Final = (
    OSError, RuntimeError, ArithmeticError, ValueError, LookupError, MemoryError, SafetensorError, StoreError,
)  # fmt: skip
"""What a job may fail of, beside an ``InputError``, while the others go on."""

WORKER_MEMORY: Final = 2.0
"""GiB of a worker beside the activations of a step: libraries, ViT-Base, its gradients and moments."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its predictions table, or why it failed."""

    job: FoldJob
    predictions: pd.DataFrame | None
    failure: str = ""


@dataclass(frozen=True)
class Work:
    """What every worker needs.

    Attributes:
        settings: what to train.
        inputs: the cohort.
        started_by: id of the run that started the workers.
        store: where the runs are written.
        workers: how many workers there are.
    """

    settings: Settings
    inputs: StudyInputs
    started_by: str
    store: Store
    workers: int


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


def workers_for(settings: Settings, jobs: int, networks: int = 1) -> int:
    """How many workers train side by side: ``jobs``, or one a GPU, or one a core; one a job at most.

    Without GPUs there are only as many as have room in memory for a step each. Two workers of one core each
    train 1.35 times as fast as one of two cores (the demo's backbone).

    A cluster decides for itself how many of them run at once.

    Args:
        settings: ``jobs``, ``cluster`` and ``step_memory``.
        jobs: how many there are to do.
        networks: that a worker trains at the same time.
    """
    devices = available_devices()
    room = len(devices) if devices[0].type == "cuda" else min(joblib.cpu_count(), _room(settings, networks))
    if settings.cluster:
        room = jobs
    return max(0, min(settings.jobs or room, jobs))


def _room(settings: Settings, networks: int) -> int:
    """How many workers fit into the memory that is free: each has a step's activations and its networks."""
    each = (settings.step_memory + WORKER_MEMORY * networks) * 2**30
    return max(1, int(psutil.virtual_memory().available // each))


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
        as_they_end = "list" if settings.backend == "ray" else "generator_unordered"
        parallel = joblib.Parallel(batch_size=1, pre_dispatch=workers, return_as=as_they_end)
        outcomes = parallel(joblib.delayed(_in_worker)(work, n, job) for n, job in enumerate(jobs))
        try:
            yield from tqdm(outcomes, total=len(jobs), desc="folds", unit="fold", position=workers)
        except TerminatedWorkerError as error:
            raise InputError(
                "A worker process was killed, most likely because memory ran out. What it had done is kept: "
                f"go on with -P resume=true and fewer workers than {workers}, such as -P jobs=1."
            ) from error


@contextmanager
def as_worker(work: Work, number: int) -> Iterator[tuple[torch.device, Place]]:
    """Be a worker process: write to the command's store, with this worker's share of cores and its device.

    Args:
        work: what every worker needs.
        number: of the task, from 0.
    """
    quiet()
    use_store(work.store)
    here = 1 if work.settings.cluster else joblib.cpu_count() // work.workers
    with _threads(max(1, here)), claimed_device(available_devices()) as device:
        yield device, Place(number % work.workers, os.getppid())


def _in_worker(work: Work, number: int, job: FoldJob) -> Outcome:
    """Train one job in a worker process."""
    with as_worker(work, number) as (device, place):
        outcome = _outcome(
            work.settings,
            Run(work.started_by),
            job,
            lambda own: load_once(own, work.inputs, device),
            place,
        )
    if os.getppid() != place.parent:
        os._exit(1)  # the command has died: nobody waits for the outcome, nor for another job of this worker
    return outcome


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with this many threads, so that workers do not fight for cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    with ExitStack() as afterwards:
        afterwards.callback(torch.set_num_threads, before)
        yield


@dataclass(frozen=True)
class _Wanted:
    """A training set that equals another one of the same key."""

    key: tuple[object, ...]
    settings: Settings = field(compare=False)
    inputs: StudyInputs = field(compare=False)


def training_set_of(own: Settings, settings: Settings, data: TrainingSet) -> TrainingSet:
    """The training set for a variant's own settings: the given one where it is made from the same.

    Args:
        own: of the variant.
        settings: that ``data`` was loaded with.
        data: what is loaded.
    """
    if made_from(own) == made_from(settings):
        return data
    return load_once(own, data.inputs, data.features.device)


def load_once(settings: Settings, inputs: StudyInputs, device: torch.device) -> TrainingSet:
    """Load a training set; the same again costs nothing in this process."""
    return _load(_Wanted((inputs.digest, *made_from(settings)), settings, inputs), device)


@lru_cache(maxsize=1)
def _load(wanted: _Wanted, device: torch.device) -> TrainingSet:
    return load_training_set(wanted.settings, wanted.inputs, Processes(device=device))


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
