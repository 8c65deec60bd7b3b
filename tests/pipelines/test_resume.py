"""Training that is killed for real, again and again, ends as one that never was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from tests.forked import Done, Forked, kill_with_children
from tests.pipelines.conftest import Workplace
from tests.waiting import PATIENCE, wait_for, wait_for_the_end_of

PROJECT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "fold": "2",
    "synthetic_patients": "10", "cohort1_size": "6", "num_folds": "2", "epochs": "6", "stages": "2",
    "training_frames": "2", "augmented_copies": "1", "bootstrap": "100", "jobs": "1",
    "batch_size": "2", "checkpoint_minutes": "0", "prepare_jobs": "1",
}  # fmt: skip

FOLD = 2
"""Words that choose the fold; train takes none."""
ENDLESS = {"epochs": "10000", "stages": "0"}
"""A training that has not ended before it is stopped, however long that takes."""

# Runs an entry point and kills its own process at the n-th call of something.
KILLER = """
import os, runpy, signal, sys
from pathlib import Path
what, number = sys.argv.pop(1).split(":")
calls = [0]
def count():
    calls[0] += 1
    if calls[0] == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
if what == "row":
    import cardio_mlflow.training.activation_store as store
    whole = store.save_file
    def half(tensors, path):
        whole(tensors, path)
        os.truncate(path, os.path.getsize(path) // 2)
        count()
        whole(tensors, path)
    store.save_file = half
elif what == "step":
    import torch
    step = torch.optim.AdamW.step
    torch.optim.AdamW.step = lambda self, *a, **k: (count(), step(self, *a, **k))[1]
elif what == "checkpoint":
    sync = os.fsync
    def synced(descriptor):
        if "checkpoints" in os.readlink(f"/proc/self/fd/{descriptor}"):
            count()
        sync(descriptor)
    os.fsync = synced
elif what == "epoch":
    from cardio_mlflow.tracking.runs import Run
    log = Run.log_metrics
    def logged(self, metrics, step=0, when=None):
        if "val/loss" in metrics:
            count()
        log(self, metrics, step, when)
    Run.log_metrics = logged
elif what == "model":
    import cardio_mlflow.pipelines.fold_results as results
    log_model = results.log_model
    results.log_model = lambda *a: (count(), log_model(*a))
runpy.run_module("entry_points.train_fold", run_name="__main__", alter_sys=True)
"""

TRAIN = 'import runpy; runpy.run_module("entry_points.train", run_name="__main__", alter_sys=True)'


@dataclass(frozen=True)
class Place:
    """A store and a cache of its own; the clips are prepared."""

    folder: Path

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.folder}/mlflow.db")

    def train(self, kill: str = "never:0", **given: str) -> Done:
        """Run train_fold in a process of its own, which kills itself where it is told to."""
        return Forked(KILLER, [kill, *self.words(given)], self.folder, environment()).wait()

    def words(self, given: Mapping[str, str]) -> list[str]:
        """The command's words: the settings of these tests with changes."""
        return [w for k, v in (SETTINGS | {"cache": str(self.cache)} | given).items() for w in (f"--{k}", v)]

    def runs(self) -> list[Run]:
        return list(self.client.search_runs(["0"], order_by=["attributes.start_time"]))

    def result(self, run: Run) -> dict[str, object]:
        """Everything a finished fold leaves that is a number."""
        history = {
            name: [(m.step, m.value) for m in self.client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }
        artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
        files = ["predictions.csv", "tables/history.csv", "model/artifacts/fold-2/weights.safetensors"]
        return {"history": history} | {file: (artifacts / file).read_bytes() for file in files}


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "CARDIOAI_"))}
    paths = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return kept | paths | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT)}


def new_place(folder: Path, cache: Path) -> Place:
    """A place with the prepared clips of another cache."""
    for name in ("synthetic", "prepared"):
        shutil.copytree(cache / name, folder / "cache" / name, copy_function=os.link)
    return Place(folder)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Workplace:
    """A cache in which the clips are prepared."""
    place = Workplace(tmp_path_factory.mktemp("prepared"), cache)
    assert place.command("prepare") == 0
    return place


@pytest.fixture(scope="module")
def never_killed(prepared, tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = new_place(tmp_path_factory.mktemp("never"), prepared.cache)
    done = place.train()
    assert done.returncode == 0, done.stderr
    return place


def test_a_training_killed_at_every_kind_of_moment_ends_as_one_never_killed(
    never_killed, prepared, tmp_path: Path
) -> None:
    place = new_place(tmp_path, prepared.cache)
    # two rows of the store; a step of epoch 2; the replay of its metrics; the metrics of epoch 3; the first
    # and the second file of a checkpoint; a step of epoch 5; the moment before the model is logged
    kills = ["row:3", "row:20", "step:3", "epoch:1", "epoch:3"]
    kills += ["checkpoint:1", "checkpoint:2", "step:4", "model:1"]
    for number, kill in enumerate(kills):
        done = place.train(kill, resume="true" if number else "false")
        assert done.returncode == -signal.SIGKILL, (kill, done.stderr)
    done = place.train(resume="true")
    assert done.returncode == 0, done.stderr
    *before, last = place.runs()
    (whole,) = never_killed.runs()
    assert place.result(last) == never_killed.result(whole)
    assert last.info.status == "FINISHED"
    assert {run.info.status for run in before} <= {"RUNNING", "KILLED"}
    taken_up = [run for run in before if "resumed_by" in run.data.tags]
    assert len(taken_up) >= 4
    assert {run.info.status for run in taken_up} == {"KILLED"}
    assert last.data.tags["resumes"] == taken_up[-1].info.run_id
    assert not [path for path in (place.cache / "checkpoints").iterdir() if path.is_dir()]
    assert not list((place.cache / "features").rglob("*.part"))
    again = place.train(resume="true")
    assert "is trained already" in again.stderr
    assert "fold" not in place.runs()[-1].data.tags


def test_without_resume_a_stopped_fold_starts_anew_and_says_so(
    never_killed, prepared, tmp_path: Path
) -> None:
    place = new_place(tmp_path, prepared.cache)
    assert place.train("step:5", study="x").returncode == -signal.SIGKILL
    done = place.train(study="x")
    assert done.returncode == 0
    assert "-P resume=true goes on" in done.stderr
    assert place.result(place.runs()[-1]) == never_killed.result(never_killed.runs()[0])


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_by_the_user_says_so_and_how_to_go_on(prepared, tmp_path: Path, stop) -> None:
    """As a terminal does it: Ctrl-C reaches the whole group, and ``mlflow run`` stops its child too.

    The status is what MLflow makes of it: KILLED, or FAILED where ``mlflow run`` has the last word.
    """
    place = new_place(tmp_path, prepared.cache)
    given = SETTINGS | ENDLESS | {"cache": str(place.cache), "checkpoint_minutes": "60"}
    words = [w for k, v in given.items() for w in ("-P", f"{k}={v}")]
    command = [sys.executable, "-m", "mlflow", "run", str(PROJECT)]
    command += ["-e", "train_fold", "--env-manager", "local"]
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(
            [*command, *words], cwd=tmp_path, env=environment(), stdout=said, stderr=said,
            start_new_session=True,
        )  # fmt: skip
        try:
            wait_for_an_epoch(place)
            wait_for(lambda: epochs_logged(place) > 2)
            children = psutil.Process(process.pid).children(recursive=True)
            if stop == signal.SIGINT:
                os.killpg(process.pid, stop)
            else:
                psutil.Process(process.pid).children()[0].send_signal(stop)
            assert process.wait(timeout=PATIENCE) != 0
            wait_for_the_end_of(children)  # mlflow run does not wait for what it has stopped
        finally:
            kill_with_children(process.pid)
    (run,) = place.runs()
    (state,) = (place.cache / "checkpoints").glob("*/state.json")
    kept = json.loads(state.read_text())["epoch"]
    assert kept - epochs_logged(place) in (0, 1), "what was trained by the stop is kept"
    assert run.info.status in ("KILLED", "FAILED")
    assert run.data.tags["stopped_by"] == stop.name
    why = {signal.SIGINT: "stopped by the user", signal.SIGTERM: "stopped by SIGTERM"}
    assert run.data.tags["failure"].startswith(why[stop])
    text = (tmp_path / "said").read_text()
    for told in (text, run.data.tags["mlflow.note.content"]):
        assert "Go on with: mlflow run . -e train_fold -P fold=2" in told
        assert f"-P epochs={ENDLESS['epochs']}" in told
        assert "-P resume=true" in told
    assert "Traceback" not in text.partition("Stopped. What was done is kept")[0]


def test_workers_end_soon_after_their_command_was_killed(prepared, tmp_path: Path) -> None:
    place = new_place(tmp_path, prepared.cache)
    with Forked(TRAIN, place.words(ENDLESS | {"jobs": "2"})[FOLD:], tmp_path, environment()) as process:
        wait_for_an_epoch(place, folds=2)
        workers = psutil.Process(process.pid).children()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    wait_for_the_end_of(workers)
    statuses = {run.info.run_name: run.info.status for run in place.runs()}
    assert statuses == {"train": "RUNNING", "fold-1": "FAILED", "fold-2": "FAILED"}
    assert all(
        "command that started this worker has ended" in run.data.tags["failure"] for run in place.runs()[1:]
    )


@pytest.mark.parametrize("killed", ["the command", "a worker"])
def test_folds_side_by_side_are_stopped_together(prepared, tmp_path: Path, killed: str) -> None:
    place = new_place(tmp_path, prepared.cache)
    with Forked(TRAIN, place.words(ENDLESS | {"jobs": "2"})[FOLD:], tmp_path, environment()) as process:
        wait_for_an_epoch(place, folds=2)
        children = psutil.Process(process.pid).children()
        worker = next(child for child in children if "popen_loky" in " ".join(child.cmdline()))
        if killed == "the command":
            os.kill(process.pid, signal.SIGTERM)
        else:
            worker.kill()
        done = process.wait()
    assert done.returncode == (130 if killed == "the command" else 1)
    statuses = {run.info.run_name: run.info.status for run in place.runs()}
    summary = "KILLED" if killed == "the command" else "FAILED"
    assert statuses == {"train": summary, "fold-1": "KILLED", "fold-2": "KILLED"}
    stopped = {run.data.tags.get("stopped_by") for run in place.runs()}
    assert stopped == ({"SIGTERM"} if killed == "the command" else {None})
    text = done.stderr
    assert ("Go on with:" if killed == "the command" else "A worker process was killed") in text
    assert "-P resume=true" in text


def epochs_logged(place: Place) -> int:
    (run,) = place.runs()
    return len(place.client.get_metric_history(run.info.run_id, "val/loss"))


def wait_for_an_epoch(place: Place, folds: int = 1) -> None:
    """Wait until a first checkpoint of so many folds has been written."""
    wait_for(lambda: len(list((place.cache / "checkpoints").glob("*/state.json"))) >= folds)


FULL = """
import resource, runpy, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import cardio_mlflow.training.checkpoint as checkpoint
keep = checkpoint.Checkpoint.keep
def limited(self, state, notes):
    limit = 20_000 if state.epoch == 3 else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        keep(self, state, notes)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
checkpoint.Checkpoint.keep = limited
runpy.run_module("entry_points.train_fold", run_name="__main__", alter_sys=True)
"""


def test_a_full_disk_is_told_and_the_fold_goes_on_from_before(never_killed, prepared, tmp_path: Path) -> None:
    """The system refuses the third checkpoint's bytes, as a full disk or quota does."""
    place = new_place(tmp_path, prepared.cache)
    done = Forked(FULL, place.words({}), place.folder, environment()).wait()
    assert done.returncode == 1
    assert "The disk is full: the checkpoint of epoch 3" in done.stderr
    assert "Traceback" not in done.stderr
    assert place.runs()[0].info.status == "FAILED"
    done = place.train(resume="true")
    assert "goes on after epoch 2 of 6" in done.stderr
    assert place.result(place.runs()[-1]) == never_killed.result(never_killed.runs()[0])
