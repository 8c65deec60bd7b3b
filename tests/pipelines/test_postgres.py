"""A real PostgreSQL server under the tuning and MLflow: it ends connections, stops and comes back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import optuna
import psycopg
import pytest
from mlflow.tracking import MlflowClient
from optuna.trial import FrozenTrial, TrialState

from tests.forked import Forked
from tests.pipelines.conftest import Workplace
from tests.pipelines.test_resume import environment
from tests.pipelines.test_tune import words
from tests.postgres import Postgres, running_postgres
from tests.waiting import wait_for

# Runs a command with less patience for its tuning's database than a user has.
IMPATIENT = """
import runpy, sys
from cardio_mlflow.tuning import storage
for name, seconds in {constants}.items():
    setattr(storage, name, seconds)
runpy.run_module("entry_points." + sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
QUICK = {"HEARTBEAT": 1, "GRACE": 5}
LONG = {"epochs": "40", "pruner": "none"}
"""Trials that take seconds."""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def prepared(workplace: Workplace) -> Workplace:
    assert workplace.command("prepare", num_folds="3", cohort1_size="9") == 0
    return workplace


def run(
    place: Workplace, command: str, store: str = "", constants: dict[str, int] = QUICK, **given: str
) -> Forked:
    code = IMPATIENT.replace("{constants}", json.dumps(constants))
    named = environment() | ({"MLFLOW_TRACKING_URI": store} if store else {})
    return Forked(code, [command, *words(place, **LONG, **given)], place.folder, named)


def trials_of(server: Postgres, name: str) -> list[FrozenTrial]:
    address = server.address(name).replace("postgresql", "postgresql+psycopg")
    return optuna.load_study(study_name="demo-synthetic", storage=address).trials


def wait_for_rows(server: Postgres, name: str, query: str) -> None:
    def rows() -> bool:
        with suppress(psycopg.errors.UndefinedTable):
            return bool(server.sql(query, name))
        return False

    wait_for(rows)


def wait_for_a_report(server: Postgres, name: str) -> None:
    """Until a trial is in the middle."""
    wait_for_rows(server, name, "SELECT 1 FROM trials NATURAL JOIN trial_intermediate_values "
                                "WHERE state = 'RUNNING'")  # fmt: skip


def test_two_workers_outlast_cut_connections_and_a_server_that_is_started_again(server, prepared) -> None:
    address = server.new_database("shared")
    with ExitStack() as stack:
        commands = [
            stack.enter_context(run(prepared, "tune", storage=address, n_trials="4")) for _ in range(2)
        ]
        wait_for_a_report(server, "shared")
        assert server.end_connections("shared") >= 2
        wait_for_rows(server, "shared", "SELECT 1 FROM trials WHERE state = 'COMPLETE'")
        wait_for_a_report(server, "shared")
        server.stop()
        time.sleep(1)
        server.start()
        for command in commands:
            done = command.wait()
            assert done.returncode == 0, done.stderr
    trials = trials_of(server, "shared")
    ended = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(ended) == 4, "and one that was cut off in the middle of a statement was begun again"
    assert any(trial.user_attrs.get("defaults") for trial in ended)


def test_a_trial_cut_off_in_the_middle_of_a_statement_is_begun_again(server, prepared) -> None:
    """A report waits for a locked table when its connection is ended: no ping can have foreseen it."""
    address = server.new_database("cut")
    with run(prepared, "tune", storage=address, n_trials="2") as tuning:
        wait_for_a_report(server, "cut")
        with psycopg.connect(server.address("cut")) as holder:
            holder.execute("LOCK TABLE trial_intermediate_values IN ACCESS EXCLUSIVE MODE")
            waiting = "wait_event_type = 'Lock' AND query LIKE '%trial_intermediate_values%'"
            wait_for(lambda: server.end_connections("cut", waiting))
        done = tuning.wait()
    assert done.returncode == 0, done.stderr
    assert "Trial 0 has lost the tuning's database, and is begun again." in done.stderr
    first, *others = trials_of(server, "cut")
    assert first.state == TrialState.FAIL
    assert [trial.state for trial in others] == [TrialState.COMPLETE] * 2
    (again,) = [trial for trial in others if trial.user_attrs.get("defaults")]
    assert again.params == first.params


def test_a_server_that_stays_away_ends_the_tuning_on_one_screen_and_the_same_command_goes_on(
    server, prepared
) -> None:
    address = server.new_database("away")
    given = {"storage": address, "n_trials": "2", "constants": QUICK | {"PATIENCE": 1}}
    with run(prepared, "tune", **given) as tuning:
        wait_for_a_report(server, "away")
        server.stop()
        try:
            stopped = tuning.wait()
        finally:
            server.start()
    assert stopped.returncode == 1
    assert "The tuning's database (postgresql) cannot be reached" in stopped.stderr
    assert "the same command goes on with the rest" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    (first,) = prepared.runs(step="tune")
    assert first.info.status == "FAILED"
    assert "tuning's database" in first.data.tags["failure"]
    with run(prepared, "tune", **given) as tuning:
        done = tuning.wait()
    assert done.returncode == 0, done.stderr
    (*_, second) = prepared.runs(step="tune")
    said = prepared.artifact(second, "tuning.txt").read_text()
    assert "nothing to compare with" not in said
    assert [trial.state for trial in trials_of(server, "away")].count(TrialState.COMPLETE) == 2


def test_mlflows_store_on_postgresql_carries_a_fold_and_is_refused_as_a_tunings_database(
    server, prepared
) -> None:
    address = server.new_database("mlflow")
    done = run(prepared, "train_fold", address, fold="1").wait()
    assert done.returncode == 0, done.stderr
    (fold,) = MlflowClient(address).search_runs(["0"])
    assert fold.info.status == "FINISHED"
    assert "best/loss" in fold.data.metrics
    tables = server.tables("mlflow")
    refused = run(prepared, "tune", address, storage=address).wait()
    assert refused.returncode == 1
    assert "This database is that of an MLflow store" in refused.stderr
    assert server.tables("mlflow") == tables
