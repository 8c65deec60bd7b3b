"""Where calls are made side by side: in processes of this machine, in Ray's actors, or on Dask's workers."""

from __future__ import annotations

import importlib
import logging
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import joblib

from cardio_mlflow.errors import InputError
from cardio_mlflow.settings import Settings
from cardio_mlflow.settings_reading import prepare_for_ray
from cardio_mlflow.tracking.store import Store

T = TypeVar("T")
Arguments = tuple[Any, ...]

ATTEMPTS: Final = 2
"""How often a call is made, where the worker that makes it is killed."""
ANSWER: Final = 10.0
"""Seconds within which a cluster must answer at first."""
WORKERLESS: Final = 60.0
"""Seconds that a cluster may be without any worker."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerPool:
    """Workers that make calls for this process, ``count`` at a time."""

    count: int
    _results: Callable[[Callable[..., Any], Iterable[Arguments], str], Iterator[Any]]

    def results(self, call: Callable[..., T], arguments: Iterable[Arguments], advice: str) -> Iterator[T]:
        """The results of calling a function with each of the arguments, as they come.

        On a cluster a call whose worker is killed is made again by another.

        Raises:
            InputError: a worker was killed (on a cluster: again and again; raised after all other results),
                or the cluster has gone. ``advice`` says what to do.
        """
        return self._results(call, arguments, advice)


@contextmanager
def worker_pool(settings: Settings, store: Store, workers: int) -> Iterator[WorkerPool]:
    """The workers of the settings' backend, started on this machine or joined on its cluster.

    Args:
        settings: ``backend`` and ``cluster``.
        store: where workers write runs.
        workers: how many are wanted; on Ray there are no more than it has GPUs or, without any, CPUs.

    Raises:
        InputError: the backend is not installed, or a cluster cannot be used.
    """
    cluster = settings.cluster
    if cluster and settings.backend == "loky":
        raise InputError("cluster is for backend=ray and backend=dask.")
    if cluster and store.is_local:
        raise InputError(
            f"Machines of the cluster {cluster} cannot reach the store of this one, which is "
            f"{store.uri.partition(':')[0]}. Start a tracking server (mlflow server --host 0.0.0.0) and set "
            "MLFLOW_TRACKING_URI to its http address; the cache folder (-P cache=…) must be on a disk that "
            "all machines share."
        )
    if cluster:
        _check_reachable(cluster)
    if settings.backend == "loky":
        yield WorkerPool(workers, partial(_of_processes, workers))
        return
    with (_ray if settings.backend == "ray" else _dask)(cluster, workers) as pool:
        yield pool


def _of_processes(
    count: int, call: Callable[..., T], arguments: Iterable[Arguments], advice: str
) -> Iterator[T]:
    parallel = joblib.Parallel(
        count, backend="loky", batch_size=1, pre_dispatch=count, return_as="generator_unordered"
    )
    try:
        yield from parallel(joblib.delayed(call)(*given) for given in arguments)
    except BrokenProcessPool as error:
        raise _killed(advice) from error


def _killed(advice: str) -> InputError:
    return InputError(f"A worker process was killed, most likely because memory ran out. {advice}")


def _check_reachable(cluster: str) -> None:
    """Ask for a connection, which takes no time where something listens.

    Raises:
        InputError: nothing does.
    """
    address = urlsplit(cluster if "://" in cluster else f"tcp://{cluster}")
    if not address.hostname:
        raise InputError(f"cluster={cluster} is no address, such as ray://head:10001 or tcp://head:8786.")
    if cluster == "auto":
        return
    try:
        socket.create_connection((address.hostname, address.port or 10001), ANSWER / 2).close()
    except (OSError, ValueError) as error:
        raise InputError(
            f"Nothing answers at cluster={cluster} ({error}). Is it running (ray start --head, or dask "
            "scheduler), and is its port open to this machine? Nothing was started."
        ) from error


@contextmanager
def _ray(cluster: str, workers: int) -> Iterator[WorkerPool]:
    if cluster:
        prepare_for_ray(ANSWER)
    ray = _installed("ray")
    own = {"num_cpus": workers, "include_dashboard": False}
    stop = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**({"address": cluster} if cluster else own), ignore_reinit_error=True,
                 log_to_driver=False, logging_level="ERROR")  # fmt: skip
    except (ConnectionError, RuntimeError, ValueError, ImportError, ray.exceptions.RayError) as error:
        raise InputError(_why_not(cluster, error)) from error
    signal.signal(signal.SIGTERM, stop)  # Ray sets its own
    try:
        found = ray.cluster_resources()
        gpus = int(found.get("GPU", 0))
        count = max(1, min(workers, gpus or int(found["CPU"])))
        start = ray.remote(_Actor).options(num_cpus=1, num_gpus=1 if gpus else 0).remote
        yield WorkerPool(count, partial(_of_actors, ray, start, count))
    finally:
        ray.shutdown()


def _why_not(cluster: str, error: Exception) -> str:
    """What keeps Ray from being used."""
    if not cluster:
        return f"Ray cannot be started on this machine: {error}"
    if "timeout" in str(error):
        return (
            f"The Ray cluster at {cluster} refuses this command. Where it asks for a token, which it "
            "does as soon as its machine has one, give the same one here: copy the head's ~/.ray/auth_token "
            "to this machine's, or set RAY_AUTH_TOKEN. The port must be that of Ray's clients (10001)."
        )
    return f"The Ray cluster at {cluster} cannot be used: {error}"


class _Actor:
    """A worker of Ray, which keeps its GPU and its training set from one call to the next."""

    def call(self, function: Callable[..., T], *given: Any) -> T:
        """Make a call."""
        return function(*given)


def _of_actors(
    ray: Any,
    start: Callable[[], Any],
    count: int,
    call: Callable[..., T],
    arguments: Iterable[Arguments],
    advice: str,
) -> Iterator[T]:
    calls, errors = list(arguments), ray.exceptions
    left, tries = deque(range(len(calls))), Counter[int]()
    idle, running = list[Any](), dict[Any, tuple[Any, int]]()
    while left or running:
        try:
            while left and len(running) < count:
                number, worker = left.popleft(), idle.pop() if idle else start()
                running[worker.call.remote(call, *calls[number])] = (worker, number)
            (done,), _ = ray.wait(list(running))
            worker, number = running.pop(done)
            result = ray.get(done)
        except errors.ActorDiedError:
            tries[number] += 1
            if tries[number] < ATTEMPTS:
                log.warning("A worker was killed; what it had started is done again.")
                left.append(number)
        except errors.RayTaskError as error:
            raise _of_a_worker(error.cause) from error
        except (ConnectionError, errors.RayError) as error:
            raise InputError(f"The Ray cluster no longer answers. {advice}") from error
        else:
            idle.append(worker)
            yield result
    if max(tries.values(), default=0) >= ATTEMPTS:
        raise _killed(advice)


@contextmanager
def _dask(cluster: str, workers: int) -> Iterator[WorkerPool]:
    distributed = _installed("distributed")
    logging.getLogger("distributed").setLevel(logging.ERROR)
    own = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None,
           "silence_logs": logging.ERROR}  # fmt: skip
    try:
        client = distributed.Client(cluster, timeout=ANSWER) if cluster else distributed.Client(**own)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"The Dask scheduler at {cluster} cannot be used ({type(error).__name__}: {error}). It needs the "
            f"same versions as this machine: distributed {distributed.__version__}."
        ) from error
    with client:
        _check_workers(client)
        yield WorkerPool(workers, partial(_of_dask, distributed, client, workers))


def _check_workers(client: Any) -> None:
    """Refuse workers with several threads, or with another Python or Dask than this process."""
    if any(worker["nthreads"] > 1 for worker in _workers(client).values()):
        raise InputError(
            "Dask workers must have one thread each, since folds in one process would share its random "
            "numbers: start them with dask worker --nthreads 1."
        )
    versions = client.get_versions()
    here = _versions(versions["client"])
    for other in [versions["scheduler"], *versions["workers"].values()]:
        if other and _versions(other) != here:
            raise InputError(
                f"The Dask cluster has other versions ({_versions(other)}) than this machine ({here}). "
                "Install the same on all machines."
            )


def _of_dask(
    distributed: Any,
    client: Any,
    count: int,
    call: Callable[..., T],
    arguments: Iterable[Arguments],
    advice: str,
) -> Iterator[T]:
    left, running, lost = deque(arguments), set[Any](), 0
    while left or running:
        while left and len(running) < count:
            running.add(client.submit(call, *left.popleft(), pure=False))
        for future in _ended(distributed, client, running, advice):
            running.remove(future)
            try:
                result = future.result()
            except distributed.scheduler.KilledWorker:  # Dask itself has made the call again before
                lost += 1
            except (ImportError, AttributeError) as error:
                raise _of_a_worker(error) from error
            except distributed.client.FutureCancelledError as error:
                raise InputError(f"The Dask cluster answers no more. {advice}") from error
            else:
                yield result
    if lost:
        raise _killed(advice)


def _ended(distributed: Any, client: Any, running: set[Any], advice: str) -> set[Any]:
    """Those of the calls that have ended, once there is one.

    Raises:
        InputError: the cluster has had no worker for long.
    """
    alone_since = time.monotonic()
    while True:
        try:
            ended: set[Any] = distributed.wait(running, ANSWER, "FIRST_COMPLETED").done
        except TimeoutError:
            if _workers(client):
                alone_since = time.monotonic()
            elif time.monotonic() - alone_since > WORKERLESS:
                raise InputError(f"The Dask cluster has no worker left. {advice}") from None
        else:
            return ended


def _workers(client: Any) -> dict[str, Any]:
    found: dict[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    return found


def _versions(of: dict[str, Any]) -> str:
    python = ".".join(of["host"]["python"].split(".")[:2])
    return f"Python {python}, distributed {of['packages']['distributed']}"


def _of_a_worker(cause: BaseException) -> BaseException:
    """An error of a worker, as this process reports it."""
    if isinstance(cause, ImportError) or "Can't get attribute" in str(cause):
        return InputError(
            f"The cluster's machines lack what this one has ({cause}). Install the same version of this "
            "package on all of them."
        )
    return cause


def _installed(package: str) -> Any:
    extra = {"distributed": "dask"}.get(package, package)
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(f"backend={extra} needs a package: pip install 'cardio-mlflow[{extra}]'") from error
