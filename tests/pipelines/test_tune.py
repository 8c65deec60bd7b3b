"""Tuning as a user runs it: trials as runs, resumed, refused, joined, failing, nested, used afterwards."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import mlflow
import optuna
import pandas as pd
import pytest
import torch
import yaml
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines import trials, tune, tuning_workers
from cardio_mlflow.settings import TUNED, Settings
from cardio_mlflow.tracking.registry import CHALLENGER, CHAMPION, MODEL_NAME
from cardio_mlflow.tracking.store import prepare_store
from tests.forked import Forked
from tests.pipelines.conftest import SMALL, Workplace
from tests.pipelines.test_resume import environment

CHOSEN = "were chosen by the validation loss of these same patients"
FOLDS = {"num_folds": "3", "cohort1_size": "9", "epochs": "4", "stages": "1"}

# Runs `tune`, and kills its own process at the n-th report of a trial.
KILLER = """
import os, runpy, signal, sys
import optuna
number, calls = int(sys.argv.pop(1)), [0]
report = optuna.Trial.report
def reported(self, value, step):
    calls[0] += 1
    if calls[0] == number:
        os.kill(os.getpid(), signal.SIGKILL)
    report(self, value, step)
optuna.Trial.report = reported
runpy.run_module("entry_points.tune", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Workplace:
    """A store in which a tuning of six trials has ended."""
    place = Workplace(tmp_path_factory.mktemp("tuned"), cache)
    assert place.command("tune", **FOLDS, n_trials="6", tune_folds="1,3") == 0
    return place


def study_of(place: Workplace, name: str = "demo-synthetic") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{place.folder}/tuning.db")


def tables_of(database: Path) -> set[str]:
    with closing(sqlite3.connect(database)) as store:
        return {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def table_of(place: Workplace, run, name: str) -> pd.DataFrame:
    return pd.read_csv(place.artifact(run, f"tables/{name}.csv"))


def test_each_trial_is_a_run_under_the_tunings(tuned) -> None:
    (parent,) = tuned.runs(step="tune")
    trials = tuned.runs(step="trial")
    assert [run.info.run_name for run in trials] == [f"trial-{n:03d}" for n in range(6)]
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
    status = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED"}
    for run, trial in zip(trials, study_of(tuned).trials, strict=True):
        assert run.info.status == status[trial.state]
        assert {k: float(v) for k, v in run.data.params.items()} == pytest.approx(
            {f"cfg/{name}": trial.params[name] for name in TUNED}
        )
        history = tuned.client.get_metric_history(run.info.run_id, "val/loss")
        losses = {m.step: m.value for m in history}
        assert trial.intermediate_values == pytest.approx({e: v for e, v in losses.items() if e >= 2})
    first = trials[0]
    assert float(first.data.params["cfg/task_lr"]) == 0.001, "the defaults come first"
    losses = [first.data.metrics[f"best/loss_fold-{fold}"] for fold in (1, 3)]
    assert first.data.metrics["best/loss"] == pytest.approx(sum(losses) / 2)
    predictions = pd.read_csv(tuned.artifact(first, "predictions.csv"))
    assert set(predictions["fold"]) == {1, 3}
    assert len(predictions) == 6 * 9


def test_a_trial_trains_what_train_fold_trains(tuned) -> None:
    first = tuned.runs(step="trial")[0]
    assert tuned.command("train_fold", **FOLDS, fold="3", study="alone") == 0
    (fold,) = tuned.runs(study="alone")
    assert fold.data.metrics["best/loss"] == first.data.metrics["best/loss_fold-3"]


def test_it_ends_with_the_best_settings_and_what_led_to_them(tuned) -> None:
    (run,) = tuned.runs(step="tune")
    study = study_of(tuned)
    best = yaml.safe_load(tuned.artifact(run, "best_settings.yaml").read_text())
    assert {name: best[name] for name in TUNED} == pytest.approx(study.best_params)
    assert (best["epochs"], best["preset"], best["num_folds"]) == (4, "demo", 3)
    assert not {"study", "data", "cache"} & best.keys()
    assert run.data.metrics["best/loss"] == pytest.approx(study.best_value)
    trials = table_of(tuned, run, "trials")
    values = [t.value if t.state == TrialState.COMPLETE else float("nan") for t in study.trials]
    assert trials["value"].tolist() == pytest.approx(values, nan_ok=True)
    names = {path.name for path in tuned.artifact(run, "figures").iterdir()}
    assert names == {f"tuning_{name}.png" for name in ("history", "importance", "slices", "curves")}
    assert "trials (" in tuned.artifact(run, "tuning.txt").read_text()
    assert "II" not in set(
        pd.read_csv(tuned.artifact(tuned.runs(step="trial")[0], "predictions.csv"))["cohort"]
    )


def test_train_takes_what_was_found_and_keeps_where_it_is_from(tuned) -> None:
    """By the tuning's run, name or file, and from a fold that was trained so."""
    (run,) = tuned.runs(step="tune")
    file = tuned.artifact(run, "best_settings.yaml")
    found = yaml.safe_load(file.read_text())
    for study, source in (("by-run", run.info.run_id), ("by-file", str(file)), ("by-name", "tune")):
        given = {"study": study, "fold": "1", "settings": source, "dropout": "0.33"}
        assert tuned.command("train_fold", **FOLDS, **given) == 0
        (fold,) = tuned.runs(study=study)
        assert float(fold.data.params["cfg/task_lr"]) == pytest.approx(found["task_lr"])
        assert float(fold.data.params["cfg/dropout"]) == 0.33, "what is given by itself wins"
        assert fold.data.params["cfg/epochs"] == "4"
        assert fold.data.tags["tuned_by"] == run.info.run_id
    assert tuned.command("train_fold", **FOLDS, study="again", fold="1", settings=fold.info.run_id) == 0
    (again,) = tuned.runs(study="again")
    for tag in ("settings_digest", "tuned_by"):
        assert again.data.tags[tag] == fold.data.tags[tag]


def test_a_study_trained_with_what_a_tuning_found_says_so_in_its_report(tuned, few_figures) -> None:
    (tuning, *_) = tuned.runs(step="tune")
    for study, settings in (("chosen", {"settings": tuning.info.run_id}), ("by-hand", {})):
        assert tuned.command("train", **FOLDS, study=study, **settings) == 0
        assert tuned.command("validate", **FOLDS, study=study, **settings) == 0
        (judged,) = tuned.runs(step="validate", study=study)
        assert (CHOSEN in tuned.artifact(judged, "report.html").read_text()) == bool(settings)
        folds = tuned.runs(step="train_fold", study=study)
        origins = {run.data.tags.get("tuned_by") for run in folds}
        assert origins == {settings.get("settings")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- 1\n", "holds no settings"),
        ("a: [", "is not YAML"),
        ("tusk_lr: 1\n", "Did you mean task_lr"),
        ("!!python/object/apply:os.system [touch /tmp/hacked]\n", "is not YAML"),
        ("x" * 200_000, "no settings file"),
        ("\n", "is empty"),
        ("task_lr: yes\n", "neither true nor false"),
        ("weight_decay_range: [0, 0.1]\n", "weight_decay has to be more than 0, as its scale"),
        ("dropout_range: [0, 1]\n", "dropout has to be at least 0 and less than 1"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(
    workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text)
    assert workplace.command("train_fold", settings=str(file)) == 1
    assert said in capsys.readouterr().err


def test_settings_of_nowhere_are_refused(workplace, capsys: pytest.CaptureFixture[str]) -> None:
    for nowhere in ("no-such-run", "0" * 32, "it's", "x" * 300):
        assert workplace.command("train_fold", settings=nowhere) == 1
        assert "there is no such file" in capsys.readouterr().err


def test_more_trials_go_on_and_other_ranges_are_refused(tuned, capsys: pytest.CaptureFixture[str]) -> None:
    before = len(study_of(tuned).trials)
    assert tuned.command("tune", **FOLDS, n_trials="7", tune_folds="1,3") == 0
    assert len(study_of(tuned).trials) == before + 1
    latest = tuned.runs(step="tune")[-1].info.run_id
    assert {run.data.tags["mlflow.parentRunId"] for run in tuned.runs(step="trial")} == {latest}
    assert tuned.command("tune", **FOLDS, n_trials="7", tune_folds="1,3") == 0
    assert len(study_of(tuned).trials) == before + 1, "nothing is left to do"
    capsys.readouterr()
    refused = {"task_lr_range": "1e-4,1e-2"}, {"tune_folds": "1"}, {"epochs": "5"}
    for other in refused:
        assert tuned.command("tune", **(FOLDS | {"n_trials": "9", "tune_folds": "1,3"} | other)) == 1
        assert "has been begun with something else" in capsys.readouterr().err
    assert len(study_of(tuned).trials) == before + 1
    assert tuned.command("tune", **FOLDS, n_trials="9", tune_folds="1,3", timeout="0.001") == 0
    assert len(study_of(tuned).trials) == before + 1, "the time was spent by earlier trials"


@pytest.mark.parametrize("fault", [RuntimeError("out of something"), MemoryError()])
def test_a_trial_that_fails_stops_no_other(
    workplace, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    train = tuning_workers.run_trial

    def failing(tuning, trial, *rest):
        if trial.number == 1:
            raise fault
        return train(tuning, trial, *rest)

    monkeypatch.setattr(tuning_workers, "run_trial", failing)
    assert workplace.command("tune", **FOLDS, n_trials="3", tune_folds="1", pruner="none") == 0
    states = [trial.state for trial in study_of(workplace).trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]


def test_a_trial_that_diverges_is_told_to_the_search_as_bad(
    workplace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a rate that is far too high the loss overflows; the defaults, outside the ranges, are told of."""
    real = trials.fit_together

    def fit(states, *rest):
        if settings_of(rest).task_lr == 1:
            with torch.no_grad():
                for state in states:
                    list(state.network.parameters())[-1].fill_(float("nan"))
        return real(states, *rest)

    def settings_of(arguments):
        return next(a for a in arguments if isinstance(a, Settings))

    monkeypatch.setattr(trials, "fit_together", fit)
    given = {"task_lr_range": "1,1", "task_lr": "1e-3", "n_trials": "2", "pruner": "none"}
    assert workplace.command("tune", **FOLDS, **given, tune_folds="1") == 0
    assert "They lie outside the ranges: task_lr=0.001." in caplog.text
    states = [trial.state for trial in study_of(workplace).trials]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED]
    runs = workplace.runs(step="trial")
    assert [run.info.status for run in runs] == ["FINISHED", "FAILED"]
    assert "not finite" in runs[1].data.tags["failure"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"nested": "true", "challenger": "true"}, "challenger=true needs one tuning"),
        ({"weight_decay": "0"}, "such as -P weight_decay=1e-06"),
    ],
)
def test_what_cannot_be_tuned_is_refused_at_once(
    workplace, capsys: pytest.CaptureFixture[str], given: dict[str, str], said: str
) -> None:
    assert workplace.command("tune", **FOLDS, **given) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "said"),
    [("damaged.db", "is a database and not damaged"), ("mlflow.db", "that of an MLflow store")],
)
def test_a_database_that_cannot_be_the_tunings_is_left_as_it_is(
    workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, said: str
) -> None:
    (tmp_path / "damaged.db").write_bytes(b"SQLite format 3\0" + b"nonsense" * 2000)
    before = tables_of(tmp_path / "mlflow.db")
    assert workplace.command("tune", **FOLDS, storage=f"sqlite:///{tmp_path}/{file}", n_trials="1") == 1
    shown = capsys.readouterr().err
    assert said in shown.replace("\n", " ")
    assert "Traceback" not in shown
    assert tables_of(tmp_path / "mlflow.db") == before


def test_a_tunings_database_is_no_store(workplace, tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/tuning.db"
    optuna.create_study(study_name="s", storage=address)
    before = tables_of(tmp_path / "tuning.db")
    mlflow.set_tracking_uri(address)
    with pytest.raises(InputError, match="is the database of a tuning"):
        prepare_store()
    assert tables_of(tmp_path / "tuning.db") == before


def test_runs_of_killed_trials_are_ended_even_if_the_trial_never_knew_its_run(tuned) -> None:
    """Killed between the run's beginning and its note in the trial; and killed for the last time."""
    study, client = study_of(tuned), tuned.client
    tags = {"study": "demo-synthetic", "step": "trial"}
    for knows in (True, False):
        trial = study.ask()
        run = client.create_run("0", tags=tags | {"trial": str(trial.number)})
        if knows:
            trial.set_user_attr("run_id", run.info.run_id)
        study.tell(trial, state=TrialState.FAIL)
    alive = client.create_run("0", tags=tags | {"trial": str(trial.number + 1)})
    assert tuned.command("tune", **FOLDS, n_trials="2", tune_folds="1,3") == 0
    left = [run.info.run_id for run in tuned.runs(step="trial") if run.info.status == "RUNNING"]
    assert left == [alive.info.run_id], "only a live trial's"
    client.delete_run(alive.info.run_id)


def test_a_comparison_without_the_defaults_run_is_left_out(tuned) -> None:
    """The store has another copy of the tuning than its database, or the run was deleted."""
    study = study_of(tuned)
    best = study.best_trial
    elsewhere = {"run_id": "0" * 32}
    study.add_trial(optuna.trial.create_trial(
        value=0.0, params=best.params, distributions=best.distributions, user_attrs=elsewhere,
    ))  # fmt: skip
    assert tuned.command("tune", **FOLDS, n_trials="2", tune_folds="1,3") == 0
    said = tuned.artifact(tuned.runs(step="tune")[-1], "tuning.txt").read_text()
    assert "Not compared with the defaults: the predictions of the run 0000" in said


def test_a_tuning_whose_first_trials_all_fail_is_given_up(
    workplace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: object) -> float:
        raise OSError(28, "no space left")

    monkeypatch.setattr(tuning_workers, "run_trial", failing)
    assert workplace.command("tune", **FOLDS, n_trials="9", tune_folds="1") == 1
    assert "The first 3 trials have all failed" in capsys.readouterr().err
    assert len(study_of(workplace).trials) == 3


def words(place: Workplace, **given: str) -> list[str]:
    named = SMALL | FOLDS | {"cache": str(place.cache), "n_trials": "4", "tune_folds": "1"} | given
    return [word for key, value in named.items() for word in (f"--{key}", value)]


def run_tune(place: Workplace, kill: int = 0, **given: str) -> Forked:
    return Forked(KILLER, [str(kill), *words(place, **given)], place.folder, environment())


@pytest.fixture
def prepared(workplace) -> Iterator[Workplace]:
    assert workplace.command("prepare", **FOLDS) == 0
    return workplace


def test_a_worker_killed_in_a_trial_loses_nothing(prepared) -> None:
    assert run_tune(prepared, kill=5).wait().returncode == -signal.SIGKILL  # in trial 1
    with closing(sqlite3.connect(prepared.folder / "tuning.db")) as database, database:
        database.execute("update trial_heartbeats set heartbeat = '2020-01-01 00:00:00'")  # long ago
    again = run_tune(prepared, resume="true").wait()
    assert again.returncode == 0, again.stderr
    trials = study_of(prepared).trials
    assert [trial.state for trial in trials].count(TrialState.FAIL) == 1
    assert trials[1].state == TrialState.FAIL
    (again,) = [t for t in trials if RetryHeartbeatStaleTrialCallback.retried_trial_number(t) == 1]
    assert again.params == trials[1].params
    assert again.state in (TrialState.COMPLETE, TrialState.PRUNED)
    assert len(trials) == 5, "four, and the one that was begun twice"
    first, second = prepared.runs(step="tune")
    assert (first.info.status, second.info.status) == ("KILLED", "FINISHED")
    runs = prepared.runs(step="trial")
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {second.info.run_id}
    lost = next(run for run in runs if run.data.tags["trial"] == "1")
    assert lost.info.status == "KILLED"
    assert "resumed_by" in lost.data.tags


def test_two_commands_share_one_tuning(prepared) -> None:
    processes = [run_tune(prepared, n_trials="4", study="shared") for _ in range(2)]
    for process in processes:
        done = process.wait()
        assert done.returncode == 0, done.stderr
    trials = study_of(prepared, "shared").trials
    assert len(trials) == 4
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert len({tuple(trial.params.values()) for trial in trials}) == 4
    runs = prepared.runs(step="tune", study="shared")
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    best = {yaml.safe_load(prepared.artifact(r, "best_settings.yaml").read_text())["task_lr"] for r in runs}
    assert len(best) == 1


def test_two_workers_of_one_command(prepared) -> None:
    assert prepared.command("tune", **FOLDS, n_trials="5", tune_folds="1", jobs="2") == 0
    trials = study_of(prepared).trials
    assert len(trials) == 5
    assert sorted(run.info.run_name for run in prepared.runs(step="trial")) == [
        f"trial-{n:03d}" for n in range(5)
    ]


NESTED = FOLDS | {"n_trials": "2", "nested": "true", "pruner": "none", "tune_folds": "all"}


def test_nested_tuning_never_sees_the_outer_fold(
    workplace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert workplace.command("tune", **NESTED) == 0
    assert "-P data=synthetic -P study=demo-synthetic-nested -P predictions=/absolute" in caplog.text
    (run,) = workplace.runs(step="tune")
    pooled = pd.read_csv(workplace.artifact(run, "predictions.csv"))
    assert set(pooled["fold"]) == {1, 2, 3}
    for trial in workplace.runs(step="trial"):
        outer = int(trial.data.tags["outer_fold"])
        seen = pd.read_csv(workplace.artifact(trial, "predictions.csv"))
        assert set(seen["fold"]) == {1, 2, 3} - {outer}
        outside = set(pooled.loc[pooled["fold"] == outer, "patient_id"])
        assert not outside & set(seen["patient_id"])
    chosen = table_of(workplace, run, "chosen_settings")
    folds = workplace.runs(step="train_fold", study="demo-synthetic-nested")
    assert [float(f.data.params["cfg/task_lr"]) for f in folds] == pytest.approx(chosen["task_lr"].tolist())
    assert {"outer-1", "outer-2", "outer-3"} <= {
        p.path for p in workplace.client.list_artifacts(run.info.run_id)
    }
    assert {"nested/r_mean", "nested/r_mean_low", "nested/r_mean_high"} <= run.data.metrics.keys()
    # a command that has joined another one pools what that one has trained, as it may be the last to end
    monkeypatch.setattr(tune, "_parent", lambda *_: "0" * 32)
    assert workplace.command("tune", **NESTED) == 0
    joined = workplace.runs(step="tune")[-1]
    assert joined.data.metrics["nested/r_mean"] == run.data.metrics["nested/r_mean"]
    assert len(workplace.runs(step="train_fold", study="demo-synthetic-nested")) == 3, "and trains nothing"
    workplace.client.delete_run(folds[1].info.run_id)
    assert workplace.command("tune", **NESTED) == 0
    assert "Another command still trains the outer fold 2, and will pool them all." in caplog.text


def test_the_challenger_leaves_the_champion_alone(workplace, few_figures) -> None:
    assert workplace.command("tune", **FOLDS, n_trials="2", tune_folds="2", challenger="true") == 0
    version = workplace.client.get_model_version_by_alias(MODEL_NAME, CHALLENGER)
    assert version.tags["study"] == "demo-synthetic-tuned"
    assert version.tags["folds"] == "1,2,3"
    aliases = workplace.client.get_registered_model(MODEL_NAME).aliases
    assert CHAMPION not in aliases
    (judged,) = workplace.runs(step="validate")
    assert CHOSEN in workplace.artifact(judged, "report.html").read_text()
