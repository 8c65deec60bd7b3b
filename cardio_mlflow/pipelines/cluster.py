"""joblib's backends: worker processes on this machine, Ray or Dask, here or on a cluster."""

from __future__ import annotations

import importlib
import logging
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

import joblib

from cardio_mlflow.errors import InputError
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.store import Store

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
