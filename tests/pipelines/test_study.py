"""A whole study in one process: what each step logs, and that the steps fit together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from cardio_mlflow.parameters import KEYS
from cardio_mlflow.registry import CHAMPION, MODEL_NAME, load_champion
from cardio_mlflow.tracking import find_runs

Command = Callable[..., int]
EVERY_RUN = {"study", "step", "preset", "cohort", "settings_digest"}


def runs_of(client: MlflowClient, step: str) -> list[Run]:
    return list(client.search_runs(["0"], f"tags.step = '{step}'", order_by=["attributes.start_time"]))


def artifact(client: MlflowClient, run: Run, path: str) -> Path:
    return Path(client.download_artifacts(run.info.run_id, path))


def test_the_whole_study(command: Command, client: MlflowClient) -> None:
    assert command("main", variants="full,no_fusion", ablation_folds="1") == 0
    steps = {
        step: len(runs_of(client, step)) for step in ("main", "prepare", "train", "train_fold", "ablation")
    }
    assert steps == {"main": 1, "prepare": 1, "train": 1, "train_fold": 3, "ablation": 1}
    folds = runs_of(client, "train_fold")
    assert [run.info.run_name for run in folds] == ["fold-1", "fold-2", "no_fusion/fold-1"]
    check_fold_run(client, folds[0])
    check_validation(client, runs_of(client, "validate")[0], folds[:2])
    check_test(client, runs_of(client, "test")[0])
    summary = artifact(client, runs_of(client, "main")[0], "summary.txt").read_text(encoding="utf-8")
    assert "SYNTHETIC" in summary
    assert "mlflow ui --backend-store-uri" in summary
    assert all(run.info.run_id in summary for run in folds[:2])
    assert all(key in summary for key in KEYS)


def check_fold_run(client: MlflowClient, run: Run) -> None:
    assert run.info.status == "FINISHED"
    assert set(run.data.tags) >= EVERY_RUN | {"fold", "variant", "mlflow.runColor"}
    assert "mlflow.parentRunId" not in run.data.tags
    names = {
        "train/loss",
        "val/loss",
        "val/r_mean",
        "lr/task",
        "lr/backbone",
        "stage",
        "best/epoch",
        "best/loss",
    }
    assert set(run.data.metrics) >= names | {f"val/mae_{key}" for key in KEYS}
    history = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "stage")]
    assert history == [(1, 0.0), (2, 1.0)]
    losses = {m.step: m.value for m in client.get_metric_history(run.info.run_id, "val/loss")}
    assert run.data.metrics["best/loss"] == min(losses.values())
    assert losses[int(run.data.metrics["best/epoch"])] == min(losses.values())
    table = pd.read_csv(artifact(client, run, "predictions.csv"), dtype={"patient_id": str})
    assert set(table["parameter"]) == set(KEYS)
    assert table["cohort"].eq("I").all()
    files = {path.name for path in artifact(client, run, "model/artifacts/fold-1").iterdir()}
    assert files == {"weights.safetensors", "settings.yaml", "scaler.json", "backbone.json"}
    assert not list(artifact(client, run, "model").rglob("*.pkl"))


def check_validation(client: MlflowClient, run: Run, folds: list[Run]) -> None:
    pooled = pd.read_csv(artifact(client, run, "predictions.csv"), dtype={"patient_id": str})
    parts = [pd.read_csv(artifact(client, f, "predictions.csv"), dtype={"patient_id": str}) for f in folds]
    pd.testing.assert_frame_equal(pooled, pd.concat(parts, ignore_index=True))
    assert pooled["patient_id"].nunique() == 6
    for key in KEYS:
        rows = pooled[pooled["parameter"] == key]
        expected = np.corrcoef(rows["reference"], rows["prediction"])[0, 1]
        assert run.data.metrics[f"cohort1/r_{key}"] == pytest.approx(expected)
    names = {path.name for path in artifact(client, run, "figures").iterdir()}
    assert {"scatter.png", "bland_altman.png", "correlation.png", "scatter_PVR.png"} <= names


def check_test(client: MlflowClient, run: Run) -> None:
    assert run.data.metrics["cohort2/uses"] == 1
    assert run.data.tags["model_code"] == "the model's own"
    table = pd.read_csv(artifact(client, run, "predictions.csv"), dtype={"patient_id": str})
    assert table["cohort"].eq("II").all()
    assert table["fold"].isna().all()
    assert table["patient_id"].nunique() == 4


def test_steps_alone_give_what_the_study_gives(command: Command, client: MlflowClient) -> None:
    assert command("main", training_only="true", study="one") == 0
    assert command("train_fold", fold="2", study="two") == 0
    assert command("train_fold", fold="1", study="two") == 0
    assert command("validate", study="two") == 0
    one, two = (
        {run.tags["fold"]: run for run in find_runs(study=s, step="train_fold")} for s in ("one", "two")
    )
    for fold in ("1", "2"):
        assert one[fold].metrics == two[fold].metrics
    version = client.get_model_version_by_alias(MODEL_NAME, CHAMPION)
    assert (str(version.version), version.tags["study"], version.tags["cohort"]) == ("2", "two", "synthetic")
    assert command("test", study="two") == 0
    assert command("test", study="two") == 0
    uses = [run.data.metrics["cohort2/uses"] for run in runs_of(client, "test")]
    assert uses == [1, 2]


def test_the_registered_model_answers_with_its_own_code(
    command: Command, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    assert command("main", training_only="true") == 0
    model = load_champion()
    assert model.has_own_code
    assert model.code_folder.name == "cardio_mlflow"
    assert model.code_folder.parent.name == "code"
    import cardio_mlflow.parameters

    assert Path(cardio_mlflow.parameters.__file__).parent != model.code_folder


def test_validate_names_missing_folds(
    command: Command, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("train_fold", fold="2", num_folds="4", cohort1_size="8") == 0
    assert command("train_fold", fold="4", num_folds="4", cohort1_size="8") == 0
    capsys.readouterr()
    assert command("validate", num_folds="4", cohort1_size="8") == 1
    said = capsys.readouterr().err
    assert "lacks folds 1 and 3" in said
    assert "-P fold=1" in said
    failed = runs_of(client, "validate")[0]
    assert failed.info.status == "FAILED"
    assert "lacks folds 1 and 3" in failed.data.tags["failure"]
    assert not client.search_registered_models()


def test_validate_refuses_folds_of_different_settings(
    command: Command, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("train_fold", fold="1") == 0
    assert command("train_fold", fold="2", task_lr="0.002") == 0
    capsys.readouterr()
    assert command("validate") == 1
    assert "task_lr: 0.001 and 0.002" in capsys.readouterr().err


def test_ablation_takes_up_the_folds_that_are_there(command: Command, client: MlflowClient) -> None:
    assert command("train_fold", fold="1") == 0
    assert command("ablation", variants="full,no_attention", ablation_folds="1") == 0
    assert command("ablation", variants="full,no_attention", ablation_folds="1") == 0
    names = [run.info.run_name for run in runs_of(client, "train_fold")]
    assert names == ["fold-1", "no_attention/fold-1"]
    digests = {run.data.tags["settings_digest"] for run in runs_of(client, "train_fold")}
    assert len(digests) == 1


def test_best_fold_registers_one_fold(command: Command, client: MlflowClient) -> None:
    assert command("main", training_only="true", champion="best_fold") == 0
    version = client.get_model_version_by_alias(MODEL_NAME, CHAMPION)
    losses = {run.data.tags["fold"]: run.data.metrics["best/loss"] for run in runs_of(client, "train_fold")}
    assert version.tags["folds"] == min(losses, key=lambda fold: losses[fold])
