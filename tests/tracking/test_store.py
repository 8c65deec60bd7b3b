"""Faults of the store, each made for real: one screen, a FAILED run where there is one, nothing written."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient
from sqlalchemy import create_engine, text

from cardio_mlflow.pipelines import command_line
from cardio_mlflow.pipelines.command_line import Pipeline
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking import store
from cardio_mlflow.tracking.finished import find_runs
from cardio_mlflow.tracking.runs import Run
from tests.pipelines.conftest import empty_store

PROJECT = Path(__file__).resolve().parents[2]


def write_something(settings: Settings, run: Run) -> None:
    run.log_text("something", "tables/some.csv")


class Started:
    """A command in a folder: its exit status and what it said."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], uri: str, step: Pipeline
    ):
        mlflow.set_tracking_uri(uri)
        monkeypatch.setattr(sys, "argv", ["prepare"])
        self.status = 0
        try:
            command_line.run_command("prepare", step)
        except SystemExit as stopped:
            self.status = int(stopped.code or 0)
        self.said = capsys.readouterr().err


@pytest.fixture
def start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Started]:
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def begin(where: Path | str, step: Pipeline = write_something) -> Started:
        uri = where if isinstance(where, str) else f"sqlite:///{where}/mlflow.db"
        return Started(monkeypatch, capsys, uri, step)

    return begin


def refused(done: Started, *expected: str) -> None:
    """Check that a command was refused on one screen."""
    assert done.status == 1
    assert "Traceback" not in done.said
    assert done.said.count("\n") <= 20
    assert not [part for part in expected if part not in done.said], done.said


@pytest.fixture
def used(start: Callable[..., Started], tmp_path: Path) -> Path:
    """The folder of a store in which a command has run."""
    folder = new_store(tmp_path / "old place")
    assert start(folder).status == 0
    return folder


def new_store(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(empty_store(), folder / "mlflow.db")
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        database.execute("UPDATE experiments SET artifact_location = ?", [f"{folder}/mlruns/0"])
    return folder


def written(folder: Path) -> list[Path]:
    return sorted(folder.rglob("some.csv"))


@pytest.mark.parametrize("copied", [True, False])
def test_a_store_that_was_moved_is_not_written_to_the_old_place_and_can_be_mended(
    start, used: Path, tmp_path: Path, copied: bool
) -> None:
    place = tmp_path / "it's new"
    shutil.copytree(used, place) if copied else used.rename(place)
    before = written(tmp_path)
    refused(
        start(place), "was moved or copied", str(used), str(place), "-m cardio_mlflow.tracking.moved_store"
    )
    assert written(tmp_path) == before
    assert used.exists() == copied
    mend = [sys.executable, "-m", "cardio_mlflow.tracking.moved_store", str(place / "mlflow.db")]
    done = subprocess.run(mend, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (place / "mlflow.db.before-move").is_file()
    assert start(place).status == 0
    assert len(written(place)) == 2
    assert used.exists() == copied
    runs = find_runs({"step": "prepare"})
    assert [run.text("tables/some.csv") for run in runs] == ["something"] * 2
    again = subprocess.run(mend, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (again.returncode, "nothing to change" in again.stderr) == (1, True)


def test_the_run_that_mlflow_run_made_says_why_nothing_was_done(
    start, used: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used.rename(tmp_path / "new")
    client = MlflowClient(f"sqlite:///{tmp_path}/new/mlflow.db")
    made = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", made)
    refused(start(tmp_path / "new"), "was moved or copied")
    assert client.get_run(made).info.status == "FAILED"
    assert "was moved or copied" in client.get_run(made).data.tags["failure"]
    assert not used.exists()


def test_a_database_copied_alone_is_told_from_the_store_that_it_was_copied_from(
    start, used: Path, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    shutil.copy(used / "mlflow.db", tmp_path / "new")
    refused(start(tmp_path / "new"), "was moved or copied", f"sqlite:///{used}/mlflow.db")
    assert len(written(tmp_path)) == 1


def test_artifacts_that_lie_elsewhere_from_the_start_are_no_fault(start, tmp_path: Path) -> None:
    folder = new_store(tmp_path / "store")
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        database.execute("UPDATE experiments SET artifact_location = ?", [f"{tmp_path}/big disk/mlruns/0"])
    for _ in range(2):
        assert start(folder).status == 0
    assert len(written(tmp_path / "big disk")) == 2
    shutil.rmtree(tmp_path / "big disk")
    refused(start(folder), f"{tmp_path}/big disk/mlruns/0, are not there", "MLFLOW_EXPERIMENT_NAME")
    assert not (tmp_path / "big disk").exists()


def test_a_lost_artifact_is_named_with_its_run(start, used: Path) -> None:
    shutil.rmtree(used / "mlruns")

    def read(settings: Settings, run: Run) -> None:
        find_runs({"step": "prepare"})[0].text("tables/some.csv")

    done = start(used, read)
    refused(done, "The run prepare is in the store, but its artifact tables/some.csv is gone", str(used))
    (failed,) = MlflowClient().search_runs(["0"], "attributes.status = 'FAILED'")
    assert failed.data.tags["failure"] in done.said


@pytest.mark.parametrize("number", [True, False])
def test_a_deleted_experiment_says_how_to_restore_it(
    start, used: Path, monkeypatch: pytest.MonkeyPatch, number: bool
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "heart/lab 2")
    assert start(used).status == 0
    assert "heart_lab 2" in str(written(used)[-1])
    experiment = MlflowClient().get_experiment_by_name("heart/lab 2").experiment_id
    MlflowClient().delete_experiment(experiment)
    if number:
        monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
        monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    refused(start(used), "'heart/lab 2' was deleted", f"experiments restore --experiment-id {experiment}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "77")
    refused(start(used), "There is no experiment 77")


def test_runs_of_another_experiment_are_not_found(start, used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(find_runs({"step": "prepare"})) == 1
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert find_runs({"step": "prepare"}) == []
    assert start(used).status == 0
    assert len(find_runs({"step": "prepare"})) == 1
    assert len(find_runs({"step": "prepare"}, everywhere=True)) == 2


def test_an_older_database_says_how_to_upgrade_it_and_a_newer_one_what_reads_it(
    start, tmp_path: Path
) -> None:
    from alembic.script import ScriptDirectory

    migrations = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    older = migrations.get_revision(migrations.get_current_head()).down_revision
    folder = new_store(tmp_path / "store")
    database = create_engine(f"sqlite:///{folder}/mlflow.db")
    for version, expected in ((older, ("mlflow db upgrade", "copy")), ("f" * 12, ("a newer MLflow",))):
        with database.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})
        refused(start(folder), *expected)


def test_a_file_that_is_no_database(start, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database at all" * 100)
    before = time.monotonic()
    refused(start(tmp_path), "no sqlite database")
    assert time.monotonic() - before < 20


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A disk of its own of so many bytes, for the time."""
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_fails_the_run_with_the_reason(start, used: Path) -> None:
    def write_much(settings: Settings, run: Run) -> None:
        run.log_text("x" * 10**6, "tables/some.csv")

    shutil.rmtree(used / "mlruns")
    with small_disk(used / "mlruns", "64k"):
        done = start(used, write_much)
    refused(done, "The disk is full", f"{used}/mlflow.db", "-P resume=true")
    (failed,) = MlflowClient().search_runs(["0"], "attributes.status = 'FAILED'")
    assert failed.data.tags["failure"] in done.said


def test_a_store_that_may_only_be_read(start, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "20m"):
        new_store(tmp_path / "disk")
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True)
        refused(start(tmp_path / "disk"), "may not be read or written by you")


@pytest.mark.parametrize("name", ["a b", "Käthe", "100%25 sure?"])
def test_folders_of_any_name_hold_a_store(start, tmp_path: Path, name: str) -> None:
    new_store(tmp_path / name)
    address = f"sqlite:///{tmp_path / name}/mlflow.db".replace("%", "%25").replace("?", "%3F")
    assert start(address).status == 0
    assert store.database_beside("tuning.db", tmp_path) == address.replace("mlflow.db", "tuning.db")
    assert "%" in name or [folder.name for folder in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("scheme", ["http", "mysql"])
def test_no_server_is_said_at_once(start, scheme: str) -> None:
    before = time.monotonic()
    expected = "does not answer" if scheme == "http" else "a driver is missing"
    done = start(f"{scheme}://anna:secret@127.0.0.1:9/store")
    refused(done, f"{scheme}://anna:***@127.0.0.1:9/store cannot be used", expected)
    assert time.monotonic() - before < 30


@pytest.mark.parametrize(
    ("status", "expected"), [(401, "MLFLOW_TRACKING_USERNAME"), (403, "ask who runs it"), (503, "in trouble")]
)
def test_a_server_that_refuses(start, status: int, expected: str) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        refused(start(f"http://127.0.0.1:{server.server_port}"), expected)
        server.shutdown()


@pytest.mark.parametrize(
    ("uri", "page"),
    [
        ("https://u:p@lab.example:8443/mlflow/", "https://u:***@lab.example:8443/mlflow/#/compare-runs"),
        ("sqlite:///x/mlflow.db", "http://127.0.0.1:5000/#/compare-runs"),
    ],
)
def test_the_comparison_is_at_the_servers_address(uri: str, page: str) -> None:
    mlflow.set_tracking_uri(uri)
    assert store.comparison_address([]).startswith(page)
    assert "u:p@" not in store.page_command()
