"""Worker processes: how many there are, what each is given, and what each keeps from one job to the next."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import joblib
import torch
from safetensors import SafetensorError

from cardio_mlflow import __version__
from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.command_line import quiet
from cardio_mlflow.pipelines.inputs import StudyInputs
from cardio_mlflow.pipelines.train_fold import Place
from cardio_mlflow.pipelines.training_set import TrainingSet, load_training_set, made_from
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.store import Store, StoreError, use_store
from cardio_mlflow.training.devices import (
    NETWORK_MEMORY,
    available_devices,
    claimed_device,
    fitting_step,
    memory_of,
)
from cardio_mlflow.training.processes import Processes

FAULTS: Final = (
    OSError, RuntimeError, ArithmeticError, ValueError, LookupError, MemoryError, SafetensorError, StoreError,
)  # fmt: skip
"""What a job may fail with, beside an ``InputError``, while the others go on."""

WORKER_STEP: Final = 4.0
"""GiB that a worker's step has, where ``step_memory`` does not say and all cores or GPUs are to be used."""

MOST_SHARING: Final = 16
"""Workers of a cluster that may share a GPU, where its machine has several and more workers than those."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class Work:
    """What every worker needs. It has no text of its own, since Dask logs the arguments of what fails.

    Attributes:
        settings: what to train.
        inputs: the cohort.
        started_by: id of the run that started the workers.
        store: where the runs are written, and what lets a worker in.
        workers: how many workers there are.
        version: of the package that started them.
    """

    settings: Settings
    inputs: StudyInputs
    started_by: str
    store: Store
    workers: int
    version: str = __version__


def workers_for(settings: Settings, jobs: int, networks: int = 1) -> int:
    """How many workers train side by side: ``jobs``, or one per GPU, or one per core; at most one per job.

    GPUs never have more than fit into their memory, nor do cores, where ``jobs`` does not say. Two workers of
    one core each train 1.35 times as fast as one of two cores (the demo's backbone). A cluster decides for
    itself how many run at once.

    Args:
        settings: ``jobs``, ``cluster`` and ``step_memory``.
        jobs: how many there are to do.
        networks: that a worker trains at the same time.
    """
    if settings.cluster:
        return min(settings.jobs or jobs, jobs)
    devices = available_devices()
    on_gpus = devices[0].type == "cuda"
    each = (settings.step_memory or WORKER_STEP) + NETWORK_MEMORY * networks
    room = sum(max(1, int(memory_of(device) / 2**30 // each)) for device in devices)
    wanted = settings.jobs or (len(devices) if on_gpus else min(joblib.cpu_count(), room))
    if wanted > room:
        log.warning(
            "jobs=%d: there is room for %d at %.1f GiB each%s", wanted, room, each,
            f", so there are {room}." if on_gpus else ".",
        )  # fmt: skip
    return max(0, min(wanted, room if on_gpus else wanted, jobs))


def shared_settings(settings: Settings, workers: int, networks: int = 1) -> Settings:
    """The settings of each of so many workers: ``step_memory=0`` is its share of what fits.

    A worker of a cluster, or with a GPU of its own, finds out for itself.
    """
    devices = available_devices()
    sharing = -(-workers // len(devices))
    if settings.cluster or settings.step_memory or (devices[0].type == "cuda" and sharing == 1):
        return settings
    return settings.model_copy(update={"step_memory": fitting_step(devices[0], sharing, networks)})


@contextmanager
def worker_process(work: Work, number: int) -> Iterator[tuple[torch.device, Place]]:
    """Be a worker process: write to the command's store, with this worker's share of cores and its device.

    The process ends afterwards, where the command that it works for has died meanwhile.

    Args:
        work: what every worker needs.
        number: of the task, from 0.

    Raises:
        InputError: this machine has another version of the package.
    """
    if work.version != __version__:
        raise InputError(
            f"The cluster's machine has version {__version__} of this package, and not {work.version}. "
            "Install the same on all machines."
        )
    quiet()
    use_store(work.store)
    on_cluster, parent = bool(work.settings.cluster), os.getppid()
    sharing = MOST_SHARING if on_cluster else -(-work.workers // len(available_devices()))
    with _threads(1 if on_cluster else max(1, joblib.cpu_count() // work.workers)):
        yield claimed_device(sharing), Place(number % work.workers, parent)
    if os.getppid() != parent:
        os._exit(1)  # the command has died: nobody waits for the outcome, nor for another job of this worker


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with this many threads, so that workers do not fight for cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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


def load_once(settings: Settings, inputs: StudyInputs, device: torch.device, workers: int = 1) -> TrainingSet:
    """Load a training set; the same again costs nothing in this process.

    Frozen features may take ``feature_disk`` for each of the workers, which may be in stages of their own.
    """
    roomy = settings.model_copy(update={"feature_disk": settings.feature_disk * workers})
    return _load(_Wanted((inputs.digest, *made_from(settings)), roomy, inputs), device)


@lru_cache(maxsize=1)
def _load(wanted: _Wanted, device: torch.device) -> TrainingSet:
    return load_training_set(wanted.settings, wanted.inputs, Processes(device=device))
