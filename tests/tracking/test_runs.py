"""Runs that were killed, deleted or stopped, against a real store."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from cardio_mlflow.errors import InputError, PrunedError
from cardio_mlflow.figures.style import new_figure
from cardio_mlflow.tracking.finished import FinishedRun, only_run
from cardio_mlflow.tracking.new_runs import command_run
from cardio_mlflow.tracking.runs import Run, SilentRun
from cardio_mlflow.tracking.store import prepare_store
from tests.forked import Forked


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    prepare_store()
    return MlflowClient()


@pytest.fixture
def new_run(client: MlflowClient):
    return lambda **tags: Run(client.create_run("0", tags=tags).info.run_id)


def status(client: MlflowClient, run: Run) -> str:
    return str(client.get_run(run.run_id).info.status)


def test_taking_over_names_both_runs(client, new_run) -> None:
    before, after = new_run(), new_run()
    after.take_over_from(before.run_id)
    assert client.get_run(after.run_id).data.tags["resumes"] == before.run_id
    assert client.get_run(before.run_id).data.tags["resumed_by"] == after.run_id


@pytest.mark.parametrize("gone", ["deleted", "never there"])
def test_a_stopped_run_that_is_gone_can_be_taken_over(client, new_run, gone: str) -> None:
    before, after = new_run(), new_run()
    if gone == "deleted":
        client.delete_run(before.run_id)
    after.take_over_from(before.run_id if gone == "deleted" else "0" * 32)
    assert "resumes" in client.get_run(after.run_id).data.tags


def test_what_a_kill_left_running_is_ended_with_its_starter(client, new_run) -> None:
    train = new_run(step="train")
    killed = new_run(fold="1", cohort="it's", started_by=train.run_id)
    other, done = new_run(fold="2"), new_run(fold="1", cohort="it's")
    done.finish()
    own = new_run(fold="1", cohort="it's")
    own.end_killed({"fold": "1", "cohort": "it's"})
    assert [status(client, run) for run in (killed, train)] == ["KILLED", "KILLED"]
    assert [status(client, run) for run in (other, own, done)] == ["RUNNING", "RUNNING", "FINISHED"]


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_what_a_run_started_ends_with_it_where_it_fails(client, new_run, error) -> None:
    parent = new_run()
    child, done = new_run(started_by=parent.run_id), new_run(started_by=parent.run_id)
    done.finish()
    if error is None:
        with parent.ending_what_it_starts():
            pass
    else:
        with pytest.raises(error), parent.ending_what_it_starts():
            raise error
    assert status(client, child) == ("RUNNING" if error is None else "KILLED")
    stopped = client.get_run(child.run_id).data.tags.get("stopped_by")
    assert stopped == ("SIGINT" if error is KeyboardInterrupt else None)
    assert status(client, done) == "FINISHED"


def test_history_is_replayed_with_its_times(client, new_run) -> None:
    run = new_run()
    run.log_metrics({"val/loss": 0.5}, 3, 1_700_000_000_123)
    (metric,) = client.get_metric_history(run.run_id, "val/loss")
    assert (metric.step, metric.timestamp, metric.value) == (3, 1_700_000_000_123, 0.5)


def test_only_the_first_of_several_processes_has_a_run(client, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with command_run() as run:
        assert isinstance(run, SilentRun)
        run.set_tags({"step": "train_fold"})
        run.rename("x")
    assert not client.search_runs(["0"])


@pytest.mark.parametrize(
    ("error", "status", "by"),
    [
        (KeyboardInterrupt("SIGTERM"), "KILLED", "SIGTERM"),
        (KeyboardInterrupt(), "KILLED", "SIGINT"),
        (PrunedError("others did better"), "KILLED", None),
        (InputError("no clips"), "FAILED", None),
    ],
)
def test_a_run_that_was_stopped_says_by_what(client, new_run, error, status: str, by: str | None) -> None:
    run = new_run()
    with pytest.raises(type(error)), run:
        raise error
    found = client.get_run(run.run_id)
    assert (found.info.status, found.data.tags.get("stopped_by")) == (status, by)
    assert found.data.tags["failure"] == (str(error) if by is None else found.data.tags["failure"])


RACING = """
import sys, time
import mlflow
from cardio_mlflow.tracking.runs import Run
uri, run_id = sys.argv[1:]
mlflow.set_tracking_uri(uri)
run = Run(run_id)
for number in range(20):
    time.sleep(0.2 - time.time() % 0.2)  # both at the same moments
    run.log_dataset("synthetic", f"digest-{number}")
"""


def test_figures_are_logged_in_every_wanted_format(client, new_run) -> None:
    run, figure = new_run(), new_figure(2, 2, synthetic=False)
    run.log_figures({"curve": figure}, ("png", "svg", "pdf"))
    folder = Path(mlflow.artifacts.download_artifacts(run_id=run.run_id, artifact_path="figures"))
    found = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
    assert found == {"curve.png", "print/curve.svg", "print/curve.pdf"}


def test_two_processes_log_a_cohort_that_neither_has_logged_before(client, new_run, tmp_path: Path) -> None:
    """In mlflow both ask whether it is there, and the second to write it fails."""
    runs, uri = [new_run(), new_run()], mlflow.get_tracking_uri()
    processes = [Forked(RACING, [uri, run.run_id], tmp_path) for run in runs]
    for process in processes:
        done = process.wait()
        assert done.returncode == 0, done.stderr
    for run in runs:
        assert len(client.get_run(run.run_id).inputs.dataset_inputs) == 20


def test_a_name_that_several_runs_have_is_refused_with_their_ids() -> None:
    runs = [FinishedRun(f"id-{number}", "validate", {}, {}, {}) for number in range(7)]
    assert only_run(runs[:1], "model=validate") is runs[0]
    with pytest.raises(InputError, match=r"^model=validate: 7 runs have that name\. .* id-0, .*id-4\.$"):
        only_run(runs, "model=validate")
