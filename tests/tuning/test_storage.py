"""The tuning's database: what is counted, what is refused, and what becomes of killed workers' trials."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import optuna
import pytest
from filelock import FileLock
from optuna.trial import TrialState, create_trial
from sqlalchemy import create_engine, text

from cardio_mlflow.errors import InputError
from cardio_mlflow.tuning import storage
from cardio_mlflow.tuning.storage import (
    ATTEMPTS,
    FAILURE,
    enqueue_defaults,
    fail_killed,
    is_of_defaults,
    open_study,
    running,
    seconds_spent,
    sign_of_life,
    take_up_again,
    take_up_stopped,
    trials_left,
    wait_for_the_others,
)


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/tuning.db"


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


@pytest.mark.parametrize("bad", ["nonsense", "mysql+nothing://x/y", "sqlite:////no/such/folder/x.db"])
def test_a_database_that_cannot_be_used_is_told(bad: str) -> None:
    with pytest.raises(InputError, match=r"storage=|cannot be reached"):
        open_study(bad, "s", {})


def test_postgresql_without_a_driver_says_what_to_install() -> None:
    with pytest.raises(InputError, match=r"psycopg2-binary|cannot be reached"):
        open_study("postgresql://localhost:1/none", "s", {})


def test_trials_are_counted_once_however_often_they_are_begun(address: str) -> None:
    study = open_study(address, "s", {})
    assert trials_left(study, 3) == 3
    first = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    assert trials_left(study, 3) == 2
    take_up_again(study, study.trials[0])
    study.tell(first, state=TrialState.FAIL)
    assert trials_left(study, 3) == 3
    again = study.ask()
    assert again.suggest_float("x", 0, 1) == first.params["x"]
    assert again.user_attrs["takes_up"] == 0
    study.tell(again, 0.1)
    failed = study.ask()
    study.tell(failed, state=TrialState.FAIL)
    assert trials_left(study, 3) == 1, "a trial that failed by itself counts"


def test_a_trial_that_kills_its_workers_is_not_begun_for_ever(address: str) -> None:
    study = open_study(address, "s", {})
    study.enqueue_trial({"x": 0.5})
    begun = 0
    while trials_left(study, 1) and begun < 10:
        trial = study.ask()
        begun += 1
        take_up_again(study, study.trials[trial.number])
        study.tell(trial, state=TrialState.FAIL)
    assert begun == ATTEMPTS


def test_stopping_a_trial_is_no_attempt_of_it(address: str) -> None:
    """On a cluster that gives a job's place away now and then a trial is stopped many times."""
    study = open_study(address, "s", {})
    enqueue_defaults(study, {"x": 0.5})
    for _ in range(2 * ATTEMPTS):
        trial = study.ask()
        assert is_of_defaults(trial)
        take_up_stopped(study, study.trials[trial.number])
        study.tell(trial, state=TrialState.FAIL)
    take_up_stopped(study, study.trials[trial.number])  # told twice: queued once
    assert [t.state for t in study.trials].count(TrialState.WAITING) == 1


def test_the_first_sign_of_life_is_in_the_database_before_the_trial_counts_as_begun(address: str) -> None:
    """A worker killed right then would else be waited for, and for ever."""
    study = open_study(address, "s", {})
    trial = study.ask()
    sign_of_life(study, trial)
    with create_engine(address).connect() as connection:
        beats = connection.execute(text("select trial_id from trial_heartbeats")).all()
    assert beats == [(trial._trial_id,)]


def test_a_worker_killed_right_after_its_first_sign_of_life_is_not_waited_for(
    address: str, lock: FileLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "GRACE", 1)
    study = open_study(address, "s", {})
    sign_of_life(study, study.ask())
    wait_for_the_others(study, lock, 0.2)
    assert trials_left(study, 1) == 1


def test_seconds_are_those_in_which_a_trial_ran(address: str) -> None:
    study = open_study(address, "s", {})
    start = datetime(2026, 1, 1)
    spans = [(0, 10, TrialState.COMPLETE), (5, 15, TrialState.PRUNED), (20, 30, TrialState.COMPLETE),
             (30, 90, TrialState.FAIL), (90, 97, TrialState.FAIL)]  # fmt: skip
    for begin, end, state in spans:
        trial = create_trial(state=state, value=1.0 if state == TrialState.COMPLETE else None)
        trial.datetime_start, trial.datetime_complete = (start + timedelta(seconds=s) for s in (begin, end))
        if end == 97:
            trial.user_attrs = {FAILURE: "out of memory"}
        study.add_trial(trial)
    assert seconds_spent(study) == pytest.approx(25 + 7), "when a killed one ended is not known"


def test_a_killed_workers_trial_is_there_again(
    address: str, lock: FileLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real process that is killed with SIGKILL in the middle of a trial."""
    code = (
        "import os, signal\n"
        "from cardio_mlflow.tuning import storage\n"
        "storage.HEARTBEAT, storage.GRACE = 1, 2\n"
        f"study = storage.open_study({address!r}, 's', None)\n"
        "def killed(trial):\n"
        "    trial.suggest_float('x', 0, 1)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "study.optimize(killed, n_trials=1)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
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
    address: str, lock: FileLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its values are those that it was to have, though it never came to ask for them."""
    monkeypatch.setattr(storage, "GRACE", 1)
    study = open_study(address, "s", {})
    enqueue_defaults(study, {"x": 0.25})
    study.ask()
    assert trials_left(study, 1) == 0
    wait_for_the_others(study, lock, 0.2)
    assert trials_left(study, 1) == 1
    again = study.ask()
    assert is_of_defaults(again)
    assert again.suggest_float("x", 0, 1) == 0.25


def test_a_trial_at_work_is_left_alone(address: str) -> None:
    """Begun long ago, with a sign of life just now; the same trial without one is not."""
    study, other = open_study(address, "s", {}), open_study(address, "s", None)
    silent, alive = study.ask(), study.ask()
    long_ago = datetime.now() - timedelta(seconds=100 * storage.GRACE)
    with create_engine(address).begin() as connection:
        connection.execute(text("update trials set datetime_start = :then"), {"then": long_ago})
    sign_of_life(study, alive)
    fail_killed(other)
    states = {trial.number: trial.state for trial in other.trials}
    assert (states[silent.number], states[alive.number]) == (TrialState.FAIL, TrialState.RUNNING)
