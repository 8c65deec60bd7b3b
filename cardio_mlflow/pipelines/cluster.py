"""joblib's backends: worker processes on this machine, Ray or Dask, here or on a cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

import joblib
import torch

from cardio_mlflow.errors import InputError
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.store import Store


@contextmanager
def joined_backend(settings: Settings, store: Store, workers: int) -> Iterator[None]:
    """Have joblib use the settings' backend, started here or joined on its cluster.

    Args:
        settings: ``backend`` and ``cluster``.
        store: where workers write runs.
        workers: how many there are.

    Raises:
        InputError: the backend is not installed, or a cluster could not reach the store.
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
        options = stack.enter_context(starts[settings.backend](settings.cluster, workers))
        stack.enter_context(joblib.parallel_config(backend=settings.backend, n_jobs=workers, **options))
        yield


@contextmanager
def _loky(_cluster: str, _workers: int) -> Iterator[dict[str, Any]]:
    yield {}


@contextmanager
def _ray(cluster: str, workers: int) -> Iterator[dict[str, Any]]:
    ray = _installed("ray")
    from ray.util.joblib import register_ray

    local = {
        "num_cpus": workers,
        "include_dashboard": False,
        "log_to_driver": False,
        "logging_level": "ERROR",
    }
    ray.init(**({"address": cluster} if cluster else local), ignore_reinit_error=True)
    register_ray()
    try:
        yield {"ray_remote_args": {"num_gpus": 1}} if torch.cuda.is_available() else {}
    finally:
        ray.shutdown()


@contextmanager
def _dask(cluster: str, workers: int) -> Iterator[dict[str, Any]]:
    distributed = _installed("distributed")
    logging.getLogger("distributed").setLevel(logging.ERROR)
    started = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None,
               "silence_logs": logging.ERROR}  # fmt: skip
    with distributed.Client(cluster) if cluster else distributed.Client(**started):
        yield {}


def _installed(package: str) -> ModuleType:
    extra = {"distributed": "dask"}.get(package, package)
    try:
        return __import__(package)
    except ImportError as error:
        raise InputError(f"backend={extra} needs a package: pip install 'cardio-mlflow[{extra}]'") from error
