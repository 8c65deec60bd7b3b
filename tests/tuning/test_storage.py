"""The tuning's database: what is counted, what is refused, and what becomes of killed workers' trials."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from filelock import FileLock
from optuna import Study
from optuna.trial import TrialState
from sqlalchemy import create_engine, inspect, text

from cardio_mlflow.errors import InputError
from cardio_mlflow.tuning import storage
from cardio_mlflow.tuning.storage import (
    RETRIES,
    enqueue_defaults,
    fail_killed,
    is_of_defaults,
    open_study,
    retry,
    running,
    seconds_spent,
    timed,
    trials_left,
    wait_for_the_others,
)


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/tuning.db"


@pytest.fixture
def study(address: str) -> Study:
    return open_study(address, "s", {})


@pytest.fixture
def lock(tmp_path: Path) -> FileLock:
    return FileLock(tmp_path / "tuning.lock")


def test_other_ranges_are_refused_with_what_differs(address: str) -> None:
    open_study(address, "s", {"task_lr_range": [1e-5, 1e-2], "epochs": 18})
    open_study(address, "s", {"task_lr_range": [1e-5, 1e-2], "epochs": 18})
    open_study(address, "s", None)
    with pytest.raises(InputError, match=r"task_lr_range: \[1e-05, 0.01\] then, \[0.0001, 0.01\] now"):
        open_study(address, "s", {"task_lr_range": [1e-4, 1e-2], "epochs": 18})
    open_study(address, "another", {"epochs": 20})


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("nonsense", "no address of a database"),
        ("mysql+nothing://x/y", "no address of a database"),
        ("mysql://localhost:1/none", r"pip install 'cardio-mlflow\[postgres\]'"),
        ("sqlite:////no/such/folder/x.db", "cannot be reached"),
    ],
)
def test_a_database_that_cannot_be_used_says_why(bad: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_study(bad, "s", {})


def test_mlflows_own_database_is_refused_and_left_as_it_is(address: str) -> None:
    engine = create_engine(address)
    with engine.begin() as connection:
        for table in ("experiments", "runs", "alembic_version"):
            connection.execute(text(f"CREATE TABLE {table} (id int)"))
    with pytest.raises(InputError, match="that of an MLflow store"):
        open_study(address, "s", {})
    assert len(inspect(engine).get_table_names()) == 3


def test_trials_are_counted_once_however_often_they_are_begun(study: Study) -> None:
    assert trials_left(study, 3) == 3
    first = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    assert trials_left(study, 3) == 2
    study.tell(first, state=TrialState.FAIL)
    retry(study, study.trials[0])
    assert trials_left(study, 3) == 3
    again = study.ask()
    assert again.suggest_float("x", 0, 1) == first.params["x"]
    study.tell(again, 0.1)
    failed = study.ask()
    study.tell(failed, state=TrialState.FAIL)
    assert trials_left(study, 3) == 1, "a trial that failed by itself counts"


@pytest.mark.parametrize("killed", [True, False])
def test_a_trial_that_kills_its_workers_is_not_begun_for_ever_but_one_that_is_stopped_is(
    study: Study, killed: bool
) -> None:
    """On a cluster that gives a job's place away now and then a trial is stopped many times."""
    enqueue_defaults(study, {"x": 0.5})
    begun = 0
    while trials_left(study, 1) and begun < 3 * RETRIES:
        trial = study.ask()
        assert is_of_defaults(trial)
        begun += 1
        for _ in range(2):  # noted twice, queued once
            retry(study, study.trials[trial.number], killed=killed)
        study.tell(trial, state=TrialState.FAIL)
    assert begun == (1 + RETRIES if killed else 3 * RETRIES)


def test_defaults_that_failed_are_begun_again(study: Study) -> None:
    enqueue_defaults(study, {"x": 0.5})
    study.tell(study.ask(), state=TrialState.FAIL)
    enqueue_defaults(study, {"x": 0.5})
    enqueue_defaults(study, {"x": 0.5})
    (waiting,) = [trial for trial in study.trials if trial.state == TrialState.WAITING]
    assert is_of_defaults(waiting)
    again = study.ask()
    assert again.suggest_float("x", 0, 1) == 0.5
    study.tell(again, 0.1)
    enqueue_defaults(study, {"x": 0.5})
    assert len(study.trials) == 2


def test_seconds_are_those_in_which_a_trial_ran(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever time zone its machine has; of a killed one the end is not known."""
    for start, end in [(0, 10), (5, 15), (20, 30), (90, 97)]:
        times = iter((start, end))
        with monkeypatch.context() as patched:
            trial = study.ask()
            patched.setattr(storage.time, "time", lambda times=times: next(times))
            with timed(trial):
                pass
    study.tell(study.ask(), state=TrialState.FAIL)
    assert seconds_spent(study) == 25 + 7


KILLED = """
import os, signal
from cardio_mlflow.tuning import storage
storage.HEARTBEAT, storage.GRACE = 1, 2
study = storage.open_study({address!r}, "s", None)
def killed(trial):
    trial.suggest_float("x", 0, 1)
    {wait}
    os.kill(os.getpid(), signal.SIGKILL)
study.optimize(killed, n_trials=1)
"""
ALIVE = "while not study.trials[-1].user_attrs.get('alive'): pass"


@pytest.mark.parametrize("wait", ["pass", ALIVE])
def test_a_killed_workers_trial_is_there_again(
    address: str, lock: FileLock, monkeypatch: pytest.MonkeyPatch, wait: str
) -> None:
    """A real process, killed with SIGKILL as soon as its trial has begun, or after its first sign of life."""
    code = KILLED.format(address=address, wait=wait)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    monkeypatch.setattr(storage, "HEARTBEAT", 1)
    monkeypatch.setattr(storage, "GRACE", 2)
    study = open_study(address, "s", None)
    (lost,) = running(study)
    wait_for_the_others(study, lock, 0.2)
    assert trials_left(study, 1) == 1
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    assert study.trials[1].params == lost.params
    assert study.best_value == lost.params["x"]
    assert trials_left(study, 1) == 0


def test_a_trial_killed_before_its_first_sign_of_life_is_there_again(
    study: Study, lock: FileLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its values are those that it was to have, though it never came to ask for them."""
    monkeypatch.setattr(storage, "GRACE", 1)
    enqueue_defaults(study, {"x": 0.25})
    study.ask()
    assert trials_left(study, 1) == 0
    wait_for_the_others(study, lock, 0.2)
    assert trials_left(study, 1) == 1
    again = study.ask()
    assert is_of_defaults(again)
    assert again.suggest_float("x", 0, 1) == 0.25


def test_a_trial_at_work_is_left_alone(address: str, study: Study) -> None:
    """Begun long ago, with a sign of life just now; one without any is not."""
    silent, states = study.ask(), []

    def look(trial: optuna.Trial) -> float:
        while not study.trials[trial.number].user_attrs.get("alive"):
            time.sleep(0.05)
        long_ago = time.monotonic() - 100 * storage.GRACE
        other = open_study(address, "s", None)
        fail_killed(other, {silent.number: long_ago, trial.number: long_ago})
        states.extend(t.state for t in other.trials[:2])
        return 0.0

    study.optimize(look, n_trials=1)
    assert states == [TrialState.FAIL, TrialState.RUNNING]
