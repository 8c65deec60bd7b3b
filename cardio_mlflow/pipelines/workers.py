"""Worker processes: how many there are, what each is given, and how they are called."""

from __future__ import annotations

import importlib
import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from types import ModuleType
from typing import Any, Final, TypeVar

import joblib
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError
from safetensors import SafetensorError

from cardio_mlflow.errors import InputError
from cardio_mlflow.machine import free_memory
from cardio_mlflow.pipelines.command_line import quiet
from cardio_mlflow.pipelines.inputs import StudyInputs
from cardio_mlflow.pipelines.train_fold import Place
from cardio_mlflow.pipelines.training_set import TrainingSet, load_training_set, made_from
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.store import Store, StoreError, use_store
from cardio_mlflow.training.devices import NETWORK_MEMORY, available_devices, claimed_device
from cardio_mlflow.training.processes import Processes

T = TypeVar("T")

FAULTS: Final = (
    OSError, RuntimeError, ArithmeticError, ValueError, LookupError, MemoryError, SafetensorError, StoreError,
)  # fmt: skip
"""What a job may fail of, beside an ``InputError``, while the others go on."""

WORKER_STEP: Final = 4.0
"""GiB that a worker's step is given, where ``step_memory`` does not say."""


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
    each = ((settings.step_memory or WORKER_STEP) + NETWORK_MEMORY * networks) * 2**30
    return max(1, int(free_memory() // each))


def in_workers(
    settings: Settings,
    workers: int,
    advice: str,
    call: Callable[..., T],
    arguments: Iterable[tuple[Any, ...]],
) -> Iterator[T]:
    """Call a function in worker processes, so many at a time; the results as they come.

    Args:
        settings: ``backend``.
        workers: how many calls at a time.
        advice: what to do where a worker was killed.
        call: made in a worker.
        arguments: of each call.

    Raises:
        InputError: a worker was killed.
    """
    as_they_end = "list" if settings.backend == "ray" else "generator_unordered"
    parallel = joblib.Parallel(batch_size=1, pre_dispatch=workers, return_as=as_they_end)
    try:
        yield from parallel(joblib.delayed(call)(*given) for given in arguments)
    except TerminatedWorkerError as error:
        raise InputError(
            f"A worker process was killed, most likely because memory ran out. {advice}"
        ) from error


@contextmanager
def as_worker(work: Work, number: int) -> Iterator[tuple[torch.device, Place]]:
    """Be a worker process: write to the command's store, with this worker's share of cores and its device.

    The process ends afterwards, where the command that it works for has died meanwhile.

    Args:
        work: what every worker needs.
        number: of the task, from 0.
    """
    quiet()
    use_store(work.store)
    here = 1 if work.settings.cluster else joblib.cpu_count() // work.workers
    parent = os.getppid()
    with _threads(max(1, here)), claimed_device(available_devices()) as device:
        yield device, Place(number % work.workers, parent)
    if os.getppid() != parent:
        os._exit(1)  # the command has died: nobody waits for the outcome, nor for another job of this worker


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


Started = tuple[int, dict[str, Any]]
"""How many workers a backend gives, and joblib's options for it."""


@contextmanager
def joined_backend(settings: Settings, store: Store, workers: int) -> Iterator[int]:
    """Have joblib use the settings' backend, started here or joined on its cluster.

    Args:
        settings: ``backend`` and ``cluster``.
        store: where workers write runs.
        workers: how many are wanted.

    Returns:
        How many there are: on Ray no more than it has GPUs or, without any, CPUs.

    Raises:
        InputError: the backend is not installed, or a cluster cannot be used.
    """
    if settings.cluster and settings.backend == "loky":
        raise InputError("cluster is for backend=ray and backend=dask.")
    if settings.cluster and store.is_local:
        raise InputError(
            f"Machines of the cluster {settings.cluster} cannot reach the store of this one, which is "
            f"{store.uri.partition(':')[0]}. Start a tracking server (mlflow server --host 0.0.0.0) and set "
            "MLFLOW_TRACKING_URI to its http address; the cache folder (-P cache=…) must be on a disk that "
            "all machines share."
        )
    starts = {"loky": _loky, "ray": _ray, "dask": _dask}
    with ExitStack() as stack:
        started, options = stack.enter_context(starts[settings.backend](settings.cluster, workers))
        stack.enter_context(joblib.parallel_config(backend=settings.backend, n_jobs=started, **options))
        yield started


@contextmanager
def _loky(_cluster: str, workers: int) -> Iterator[Started]:
    yield workers, {}


@contextmanager
def _ray(cluster: str, workers: int) -> Iterator[Started]:
    ray = _installed("ray")
    from ray.util.joblib import register_ray

    local = {"num_cpus": workers, "include_dashboard": False, "log_to_driver": False,
             "logging_level": "ERROR"}  # fmt: skip
    stop = signal.getsignal(signal.SIGTERM)
    ray.init(**({"address": cluster} if cluster else local), ignore_reinit_error=True)
    signal.signal(signal.SIGTERM, stop)  # Ray sets its own
    register_ray()
    found = ray.cluster_resources()
    gpus = int(found.get("GPU", 0))
    options = {"ray_remote_args": {"num_gpus": 1}} if gpus else {}
    try:
        yield max(1, min(workers, gpus or int(found["CPU"]))), options
    finally:
        ray.shutdown()


@contextmanager
def _dask(cluster: str, workers: int) -> Iterator[Started]:
    distributed = _installed("distributed")
    logging.getLogger("distributed").setLevel(logging.ERROR)
    local = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None,
             "silence_logs": logging.ERROR}  # fmt: skip
    with distributed.Client(cluster) if cluster else distributed.Client(**local) as client:
        found = client.scheduler_info(n_workers=-1)["workers"].values()
        if any(worker["nthreads"] > 1 for worker in found):
            raise InputError(
                "Dask workers must have one thread each, since folds in one process would share its random "
                "numbers: start them with dask worker --nthreads 1."
            )
        yield workers, {}


def _installed(package: str) -> ModuleType:
    extra = {"distributed": "dask"}.get(package, package)
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(f"backend={extra} needs a package: pip install 'cardio-mlflow[{extra}]'") from error
