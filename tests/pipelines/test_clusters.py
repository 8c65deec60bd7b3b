"""Folds on a real Ray cluster and a real Dask cluster, one of whose workers is killed in mid-fold."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.worker_pools import worker_pool
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.tracking.store import Store
from tests.pipelines.conftest import SMALL, Workplace
from tests.waiting import PATIENCE, wait_for

PROJECT = Path(__file__).resolve().parents[2]
TOKEN = "of-the-cluster-" + "0" * 40
PASSWORD = "of the server"
AUTH = """[mlflow]
default_permission = MANAGE
database_uri = sqlite:///{folder}/users.db
admin_username = cardio
admin_password = {password}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 600
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    """That of a machine that knows the package and no secret."""
    secret = ("MLFLOW_", "CARDIOAI_", "RAY_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(secret)}
    return kept | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"} | more


@contextmanager
def started(words: list[str], folder: Path, **more: str) -> Iterator[psutil.Process]:
    """A process and, at the end, the end of it and all that it has started."""
    with (folder / "log").open("ab") as log:
        process = psutil.Popen(words, cwd=folder, env=environment(**more), stdout=log, stderr=log)
    try:
        yield process
    finally:
        family = [*process.children(recursive=True), process]
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, PATIENCE)


def answers(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False


@dataclass(frozen=True)
class Server:
    """A tracking server that asks for a password."""

    address: str
    access: dict[str, str] = field(repr=False)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if importlib.util.find_spec("flask_wtf") is None:
        pytest.skip("mlflow server asks for passwords with Flask-WTF (mlflow[auth]), which is not installed")
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    config = folder / "auth.ini"
    config.write_text(AUTH.format(folder=folder, password=PASSWORD), encoding="utf-8")
    words = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--host", "127.0.0.1",
             "--port", str(port), "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
             "--artifacts-destination", str(folder / "artifacts")]  # fmt: skip
    given = {"MLFLOW_AUTH_CONFIG_PATH": str(config), "MLFLOW_FLASK_SERVER_SECRET_KEY": "x",
             "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # fmt: skip
    with started(words, folder, **given):
        wait_for(lambda: answers(port))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=PATIENCE):
            pass
        access = {"MLFLOW_TRACKING_USERNAME": "cardio", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
        yield Server(f"http://127.0.0.1:{port}", access)


@dataclass(frozen=True)
class Cluster:
    """A cluster of two workers of a thread each, and what its client has to know."""

    backend: str
    address: str
    workers: Callable[[], list[psutil.Process]]
    token: dict[str, str]
    log: Path


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    pytest.importorskip("distributed")
    folder, port = tmp_path_factory.mktemp("dask"), free_port()
    address, command = f"tcp://127.0.0.1:{port}", [sys.executable, "-m", "dask"]
    scheduler = [*command, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    worker = [*command, "worker", address, "--nthreads", "1", "--nworkers", "2", "--no-dashboard",
              "--memory-limit", "0"]  # fmt: skip
    with started(scheduler, folder), started(worker, folder) as nannies:

        def workers() -> list[psutil.Process]:
            return [child for child in nannies.children() if "spawn_main" in " ".join(child.cmdline())]

        wait_for(lambda: len(workers()) == 2)
        yield Cluster("dask", address, workers, {}, folder / "log")


@pytest.fixture(scope="module")
def ray() -> Iterator[Cluster]:
    pytest.importorskip("ray")
    pytest.importorskip("grpc", reason="Ray's client is not installed: ray[client]")
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # a short path: Ray's sockets lie in it
    port, clients = free_port(), free_port()
    words = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--num-cpus", "2",
             "--port", str(port), "--ray-client-server-port", str(clients), "--node-ip-address", "127.0.0.1",
             "--include-dashboard", "false", "--disable-usage-stats", "--temp-dir", str(folder / "r"),
             "--object-store-memory", "100000000"]  # fmt: skip
    with started(words, folder, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN, RAY_worker_niceness="0") as head:

        def workers() -> list[psutil.Process]:
            return [p for p in head.children(recursive=True) if p.name().startswith("ray::_Actor")]

        wait_for(lambda: answers(clients) or head.poll() is not None)
        if head.poll() is not None:
            pytest.skip(f"ray start --head ended with {head.poll()}")
        yield Cluster("ray", f"ray://127.0.0.1:{clients}", workers, {"RAY_AUTH_TOKEN": TOKEN}, folder / "log")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Cluster:
    found: Cluster = request.getfixturevalue(request.param)
    return found


@pytest.fixture(autouse=True)
def _workers_as_quick_as_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray starts its workers at a niceness of 15."""
    monkeypatch.setenv("RAY_worker_niceness", "0")


both = pytest.mark.parametrize("cluster", ["ray", "dask"], indirect=True)


def command(
    cluster: Cluster, server: Server, cache: Path, folder: Path, **given: str
) -> subprocess.Popen[str]:
    """``train`` on a cluster, in a process that knows the secrets."""
    asked = SMALL | {"jobs": "2", "cache": str(cache), "backend": cluster.backend, "cluster": cluster.address}
    words = [f"--{name}={value}" for name, value in (asked | given).items()]
    known = {"MLFLOW_TRACKING_URI": server.address, "HOME": str(folder)} | server.access | cluster.token
    return subprocess.Popen(
        [sys.executable, "-m", "entry_points.train", *words], cwd=folder, text=True,
        env=environment(**known), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def all_of(stream: IO[str]) -> Callable[[], str]:
    """Read a stream in the background, so that its writer never waits."""
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(stream), daemon=True)
    reader.start()

    def text() -> str:
        reader.join(PATIENCE)
        return "".join(lines)

    return text


def in_mid_fold(runs: list[Run]) -> bool:
    """Whether both folds are being trained, and have an epoch behind them."""
    return sum(run.info.status == "RUNNING" and "val/loss" in run.data.metrics for run in runs) == 2


@both
def test_a_fold_whose_worker_is_killed_is_gone_on_with(
    cluster: Cluster, server: Server, workplace: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other fold is kept, no run stays RUNNING, and the numbers are those of an undisturbed fold."""
    for name, value in server.access.items():
        monkeypatch.setenv(name, value)
    client, study, long = MlflowClient(server.address), f"killed-{cluster.backend}", {"epochs": "30"}

    def runs() -> list[Run]:
        return list(client.search_runs(["0"], f"tags.study = '{study}' and tags.step = 'train_fold'"))

    training = command(cluster, server, workplace.cache, tmp_path, study=study, **long)
    assert training.stdout is not None
    said = all_of(training.stdout)
    wait_for(lambda: training.poll() is not None or in_mid_fold(runs()), every=1.0)
    assert training.poll() is None, said()
    cluster.workers()[0].kill()
    assert training.wait(PATIENCE) == 0, said()
    assert "Traceback" not in said()
    ended = {(run.info.run_name, run.info.status) for run in runs()}
    assert ended >= {("fold-1", "FINISHED"), ("fold-2", "FINISHED")}
    killed = [run for run in runs() if run.info.status != "FINISHED"]
    assert [run.info.status for run in killed] == ["KILLED"], "it was killed in mid-fold"
    assert killed[0].data.tags["failure"] == "its process was killed"
    fold = killed[0].data.tags["fold"]
    assert workplace.command("train_fold", study=study, fold=fold, **long) == 0
    (here,) = workplace.runs(study=study, step="train_fold")
    there = next(
        run for run in runs() if run.info.run_name == f"fold-{fold}" and run.info.status == "FINISHED"
    )
    assert there.data.metrics["best/loss"] == pytest.approx(here.data.metrics["best/loss"], rel=1e-3)
    written = said() + cluster.log.read_text(errors="replace")
    assert PASSWORD not in written
    assert TOKEN not in written


ELSEWHERE = Store("http://127.0.0.1:1", "0")
JOIN = """
import sys
from cardio_mlflow.settings_reading import load_settings
from tests.pipelines.test_clusters import ELSEWHERE, InputError, worker_pool
try:
    with worker_pool(load_settings({"backend": "ray", "cluster": sys.argv[1]}, {}), ELSEWHERE, 2):
        print("joined")
except InputError as error:
    print(error)
"""


def test_a_cluster_that_lets_nobody_in_is_reported_at_once(ray: Cluster, tmp_path: Path) -> None:
    """Without the token, and with another one; with it in the file of the user's home it is joined."""
    join = [sys.executable, "-c", JOIN, ray.address]
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(TOKEN)
    given = ({"HOME": "/"}, {"HOME": "/", "RAY_AUTH_TOKEN": "another"}, {"HOME": str(tmp_path)})
    said = [subprocess.check_output(join, env=environment(**each), text=True) for each in given]
    assert "refuses this command" in said[0]
    assert "RAY_AUTH_TOKEN" in said[0]
    assert said[1] == said[0]
    assert said[2] == "joined\n"


@pytest.mark.parametrize("backend", ["ray", "dask"])
def test_calls_of_killed_workers_are_made_again(backend: str, tmp_path: Path) -> None:
    """On this machine, without a cluster; the results are those of all calls."""
    pytest.importorskip({"dask": "distributed"}.get(backend, backend))

    def dies_once(value: int, marker: Path) -> int:
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    calls = [(value, tmp_path / str(value % 2)) for value in range(4)]
    with worker_pool(load_settings({"backend": backend}, {}), ELSEWHERE, 2) as pool:
        assert sorted(pool.results(dies_once, calls, "")) == [0, 1, 2, 3]
        with pytest.raises(InputError, match=r"^as it is$"):
            list(pool.results(raises, [(InputError("as it is"),)], ""))


DIE = """
import os, signal, sys
from cardio_mlflow.settings_reading import load_settings
from tests.pipelines.test_clusters import ELSEWHERE, InputError, worker_pool
try:
    with worker_pool(load_settings({"backend": sys.argv[1]}, {}), ELSEWHERE, 2) as pool:
        list(pool.results(lambda: os.kill(os.getpid(), signal.SIGKILL), [()], "Take fewer."))
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("backend", ["loky", "ray"])
def test_a_call_whose_workers_are_all_killed_is_reported_with_advice(backend: str) -> None:
    """In a process of its own, as a command is: joblib's workers of earlier tests are not waited for."""
    pytest.importorskip({"loky": "joblib"}.get(backend, backend))
    said = subprocess.check_output(
        [sys.executable, "-c", DIE, backend], env=environment(), text=True, timeout=PATIENCE
    )
    assert re.search(r"A worker process was killed, .* Take fewer\.$", said.strip())


def raises(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"backend": "ray", "cluster": "ray://head:10001"}, "Start a tracking server"),
        ({"cluster": "tcp://head:8786"}, "cluster is for backend=ray and backend=dask"),
        ({"backend": "dask", "cluster": "head/8786/"}, "Nothing answers|no address"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_refused(given: dict[str, str], said: str) -> None:
    store = ELSEWHERE if given["cluster"].startswith("head") else Store("sqlite:///mlflow.db", "0")
    with pytest.raises(InputError, match=said), worker_pool(load_settings(given, {}), store, 2):
        pass


@pytest.mark.parametrize(("backend", "scheme"), [("ray", "ray"), ("dask", "tcp")])
def test_a_cluster_that_does_not_answer_is_reported_at_once(backend: str, scheme: str) -> None:
    nowhere = f"{scheme}://127.0.0.1:{free_port()}"
    settings = load_settings({"backend": backend, "cluster": nowhere}, {})
    with pytest.raises(InputError, match="Nothing answers at"), worker_pool(settings, ELSEWHERE, 2):
        pass
