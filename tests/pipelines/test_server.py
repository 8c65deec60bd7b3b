"""A study whose runs a tracking server keeps, with authentication and proxied artifacts, and that dies."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import requests

import cardio_mlflow.pipelines.test as test_step
from cardio_mlflow.tracking.runs import Run
from tests.forked import kill_with_children
from tests.pipelines.conftest import Workplace
from tests.pipelines.test_resume import environment
from tests.waiting import wait_for

USER, PASSWORD = "admin", "a password of twelve letters"


class Server:
    """An MLflow server on this machine, which can be killed and started again."""

    def __init__(self, folder: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.folder, self.address = folder, f"http://127.0.0.1:{self.port}"
        (folder / "auth.ini").write_text(
            f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/users.db\n"
            f"admin_username = {USER}\nadmin_password = {PASSWORD}\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
            "auth_cache_ttl_seconds = 600\n"
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = {
            "app-name": "basic-auth", "backend-store-uri": f"sqlite:///{self.folder}/mlflow.db",
            "artifacts-destination": f"{self.folder}/artifacts", "host": "127.0.0.1", "port": f"{self.port}",
            "workers": "1",
        }  # fmt: skip
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        given = {
            "MLFLOW_AUTH_CONFIG_PATH": f"{self.folder}/auth.ini",
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of this test",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        with (self.folder / "said").open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *words],
                cwd=self.folder, env=environment() | given, stdout=said, stderr=said, start_new_session=True,
            )  # fmt: skip
        wait_for(self._answers)

    def kill(self) -> None:
        """Kill it, and what it has started."""
        kill_with_children(self._process.pid)
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "said").read_text()
        try:
            return requests.get(f"{self.address}/health", timeout=5).ok
        except requests.RequestException:
            return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if find_spec("flask_wtf") is None:
        pytest.skip("flask-wtf, which MLflow's authentication needs, is not installed")
    running = Server(tmp_path_factory.mktemp("server"))
    running.start()
    yield running
    running.kill()


@pytest.fixture
def place(server: Server, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    return Workplace(tmp_path, cache, server.address)


def test_a_study_on_a_server_that_is_killed_in_the_middle(
    server: Server, place: Workplace, monkeypatch: pytest.MonkeyPatch, capsys, few_figures
) -> None:
    log_metrics, count_use = Run.log_metrics, test_step.count_use

    def die_after_an_epoch(run: Run, metrics, step: int = 0, when=None) -> None:
        log_metrics(run, metrics, step, when)
        if step == 1:
            server.kill()

    with monkeypatch.context() as dying:
        dying.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        dying.setattr(Run, "log_metrics", die_after_an_epoch)
        assert place.command("train") == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert f"The MLflow store {server.address} cannot be used: it does not answer" in said
    assert "-P resume=true" in said
    server.start()
    assert place.command("train", resume="true") == 0
    assert place.command("validate") == 0

    def restarted(run: Run, digest: str) -> int:
        server.kill()
        threading.Thread(target=server.start).start()  # the test goes on as soon as it answers
        return count_use(run, digest)

    monkeypatch.setattr(test_step, "count_use", restarted)
    assert place.command("test") == 0
    (tested,) = place.runs(step="test")
    assert tested.info.status == "FINISHED"
    assert tested.info.artifact_uri.startswith("mlflow-artifacts:")
    assert place.artifact(tested, "report.html").stat().st_size > 1000
    assert not list(place.folder.rglob("report.html")), "artifacts go through the server"
    assert {
        run.data.tags["fold"] for run in place.runs(step="train_fold") if run.info.status == "FINISHED"
    } == {
        "1",
        "2",
    }


def test_a_wrong_password(place: Workplace, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
    assert place.command("validate") == 1
    said = capsys.readouterr().err
    assert "MLFLOW_TRACKING_PASSWORD" in said
    assert "Traceback" not in said
