"""Tuning as a user runs it: trials as runs, resumed, refused, joined, failing, nested, used afterwards."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import optuna
import pandas as pd
import pytest
import yaml
from optuna.trial import TrialState

from cardio_mlflow.pipelines import tuning_workers
from cardio_mlflow.tracking.registry import CHALLENGER, CHAMPION, MODEL_NAME
from cardio_mlflow.tuning.space import TUNED
from tests.forked import Forked
from tests.pipelines.conftest import SMALL, Workplace
from tests.pipelines.test_resume import environment

FOLDS = {"num_folds": "3", "cohort1_size": "9", "epochs": "4", "stages": "1"}
PROJECT = Path(__file__).resolve().parents[2]

# Runs `tune` with signs of life every second, and kills its own process at the n-th report of a trial.
KILLER = """
import os, runpy, signal, sys
from cardio_mlflow.tuning import storage
storage.HEARTBEAT, storage.GRACE = 1, 3
number, calls = int(sys.argv.pop(1)), [0]
import optuna
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
    assert names == {f"tuning_{name}.png" for name in ("history", "importance", "slices", "parallel")}
    assert "trials (" in tuned.artifact(run, "tuning.txt").read_text()
    assert "II" not in set(
        pd.read_csv(tuned.artifact(tuned.runs(step="trial")[0], "predictions.csv"))["cohort"]
    )


def test_train_takes_what_was_found(tuned, tmp_path: Path) -> None:
    (run,) = tuned.runs(step="tune")
    file = tuned.artifact(run, "best_settings.yaml")
    found = yaml.safe_load(file.read_text())
    for study, source in (("by-run", run.info.run_id), ("by-file", str(file)), ("by-name", "tune")):
        given = {"study": study, "fold": "1", "settings": source, "dropout": "0.33"}
        assert tuned.command("train_fold", **FOLDS, **given) == 0
        (fold,) = tuned.runs(study=study)
        assert float(fold.data.params["cfg/task_lr"]) == pytest.approx(found["task_lr"])
        assert float(fold.data.params["cfg/dropout"]) == 0.33, "what is given by itself wins"
    (first,) = tuned.runs(study="by-run")
    assert first.data.params["cfg/epochs"] == "4"
    own = first.info.run_id
    assert tuned.command("train_fold", **FOLDS, study="again", fold="1", settings=own) == 0
    (again,) = tuned.runs(study="again")
    assert again.data.tags["settings_digest"] == tuned.runs(study="by-run")[0].data.tags["settings_digest"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- 1\n", "holds no settings"),
        ("a: [", "is not YAML"),
        ("tusk_lr: 1\n", "Did you mean task_lr"),
        ("!!python/object/apply:os.system [touch /tmp/hacked]\n", "is not YAML"),
        ("x" * 200_000, "no settings file"),
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
    for nowhere in ("no-such-run", "0" * 32, "it's"):
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


def test_a_trial_that_fails_stops_no_other(
    workplace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train, numbers = tuning_workers.run_trial, []

    def failing(tuning, trial, data, parent=0):
        numbers.append(trial.number)
        if trial.number == 1:
            raise RuntimeError("out of something")
        return train(tuning, trial, data, parent)

    monkeypatch.setattr(tuning_workers, "run_trial", failing)
    assert workplace.command("tune", **FOLDS, n_trials="3", tune_folds="1", pruner="none") == 0
    assert numbers == [0, 1, 2]
    states = [trial.state for trial in study_of(workplace).trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]


def test_a_trial_that_diverges_is_told_to_the_search_as_bad(workplace) -> None:
    given = {"task_lr_range": "1,1", "gradient_clip": "1e30", "task_lr": "1e-3", "n_trials": "2"}
    assert workplace.command("tune", **FOLDS, **given, tune_folds="1", precision="fp32", pruner="none") == 0
    states = [trial.state for trial in study_of(workplace).trials]
    assert states[0] == TrialState.COMPLETE
    runs = workplace.runs(step="trial")
    if states[1] == TrialState.PRUNED:  # a rate of 1 may also just be bad
        assert runs[1].info.status == "FAILED"
        assert "not finite" in runs[1].data.tags["failure"]


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
    assert run_tune(prepared, kill=5).wait(200).returncode == -signal.SIGKILL  # in trial 1
    again = run_tune(prepared, resume="true").wait(200)
    assert again.returncode == 0, again.stderr
    trials = study_of(prepared).trials
    assert [trial.state for trial in trials].count(TrialState.FAIL) == 1
    assert trials[1].state == TrialState.FAIL
    (taken_up,) = [trial for trial in trials if trial.user_attrs.get("takes_up") == 1]
    assert taken_up.params == trials[1].params
    assert taken_up.state in (TrialState.COMPLETE, TrialState.PRUNED)
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
        done = process.wait(300)
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


def test_nested_tuning_never_sees_the_outer_fold(workplace) -> None:
    assert (
        workplace.command("tune", **FOLDS, n_trials="2", nested="true", pruner="none", tune_folds="all") == 0
    )
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
    assert "nested/r_mean" in run.data.metrics


def test_the_challenger_leaves_the_champion_alone(workplace, few_figures) -> None:
    assert workplace.command("tune", **FOLDS, n_trials="2", tune_folds="2", challenger="true") == 0
    version = workplace.client.get_model_version_by_alias(MODEL_NAME, CHALLENGER)
    assert version.tags["study"] == "demo-synthetic-tuned"
    assert version.tags["folds"] == "1,2,3"
    aliases = workplace.client.get_registered_model(MODEL_NAME).aliases
    assert CHAMPION not in aliases
