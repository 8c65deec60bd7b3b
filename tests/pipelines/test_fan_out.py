"""Folds side by side: the same numbers, each run once, and a failure that stops nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import joblib
import pytest
import torch

from cardio_mlflow.pipelines import workers as processes
from cardio_mlflow.pipelines.workers import workers_for
from cardio_mlflow.settings_reading import load_settings

PROJECT = Path(__file__).resolve().parents[2]


def losses(runs) -> dict[str, float]:
    return {run.info.run_name: run.data.metrics["best/loss"] for run in runs}


def test_workers_train_what_one_process_trains(studied) -> None:
    assert studied.command("train", jobs="2", study="loky") == 0
    folds = studied.runs(study="loky", step="train_fold")
    (summary,) = studied.runs(study="loky", step="train")
    assert sorted(losses(folds)) == ["fold-1", "fold-2"]
    assert {run.info.status for run in folds} == {"FINISHED"}
    assert {run.data.tags["started_by"] for run in folds} == {summary.info.run_id}
    assert losses(folds) == pytest.approx(
        losses(studied.runs(study="demo-synthetic", step="train_fold", variant="full")), rel=1e-3
    )
    for run in folds:
        history = studied.client.get_metric_history(run.info.run_id, "val/loss")
        assert [m.step for m in history] == [1, 2]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_failed_fold_is_told_while_the_others_finish(studied, jobs: str, capsys) -> None:
    study = f"half-{jobs}"
    assert studied.command("train_fold", fold="1", study=study, epochs="1", stages="0") == 0
    damaged = damage_a_checkpoint(studied, study)
    assert studied.command("train", study=study, jobs=jobs, resume="true") == 1
    said = capsys.readouterr().err
    assert "1 of 2 failed, 1 are trained" in said
    assert "Fold 1 (full): The checkpoint in" in said
    assert "Traceback" not in said
    status = {run.info.run_name: run.info.status for run in studied.runs(study=study, step="train_fold")[1:]}
    assert status == {"fold-1": "FAILED", "fold-2": "FINISHED"}
    (damaged / "state.json").unlink()
    assert studied.command("train", study=study, jobs=jobs, resume="true") == 0
    names = [run.info.run_name for run in studied.runs(study=study, step="train_fold")[1:]]
    assert names.count("fold-2") == 1, "what is trained is taken"
    assert names.count("fold-1") == 2


def damage_a_checkpoint(studied, study: str) -> Path:
    """Leave a checkpoint of fold 1 that cannot be read; returns its folder."""
    from cardio_mlflow.pipelines.inputs import load_inputs
    from cardio_mlflow.pipelines.train_fold import FoldJob
    from cardio_mlflow.pipelines.training_set import load_training_set
    from tests.pipelines.conftest import SMALL

    settings = load_settings(SMALL | {"cache": str(studied.cache), "study": study}, {})
    checkpoint = FoldJob(1).checkpoint(settings, load_training_set(settings, load_inputs(settings)))
    checkpoint.folder.mkdir(parents=True)
    (checkpoint.folder / "state.json").write_text("{")
    return checkpoint.folder


def test_workers_are_the_jobs_the_gpus_or_the_cores(monkeypatch, caplog) -> None:
    def workers(todo: int, **given: str) -> int:
        return workers_for(load_settings(given, {}), todo)

    cpu, gpus, memory = torch.device("cpu"), [torch.device("cuda", i) for i in range(2)], {}
    monkeypatch.setattr(processes, "memory_of", lambda device: memory[device] * 2**30)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    monkeypatch.setattr(processes, "available_devices", lambda: [cpu])
    memory[cpu] = 64
    assert [workers(30), workers(3), workers(30, jobs="2"), workers(0)] == [8, 3, 2, 0]
    memory[cpu] = 20
    assert [workers(30), workers(30, step_memory="1"), workers(30, jobs="7")] == [3, 6, 7]
    assert "jobs=7: there is room for 3 at 6.0 GiB each." in caplog.text
    memory[cpu] = 1
    assert workers(30) == 1
    monkeypatch.setattr(processes, "available_devices", lambda: gpus)
    memory |= dict.fromkeys(gpus, 15)
    assert [workers(30), workers(1), workers(30, jobs="1"), workers(30, jobs="16")] == [2, 1, 1, 4]
    assert "so there are 4" in caplog.text
    far = {"backend": "ray", "cluster": "ray://head:10001"}
    assert [workers(30, **far), workers(30, jobs="3", **far)] == [30, 3]


def test_two_processes_train_a_fold_as_one_does(studied, tmp_path: Path) -> None:
    """As the README says: ``python -m torch.distributed.run``, on two CPU processes, in fp32."""
    settings = {
        "synthetic_patients": "10", "cohort1_size": "6", "num_folds": "2", "epochs": "4", "stages": "3",
        "training_frames": "1", "augmented_copies": "1", "bootstrap": "100",
        "precision": "fp32", "batch_size": "3", "fold": "1", "weight_decay": "0.01",
    }  # fmt: skip
    given = settings | {"cache": str(studied.cache)}
    words = [word for key, value in given.items() for word in (f"--{key}", value)]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "CARDIOAI_"))}
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [sys.executable, *launch, "-m", "entry_points.train_fold", *words, "--study", "together"],
        cwd=tmp_path, env=kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT),
                                  "MLFLOW_TRACKING_URI": f"sqlite:///{studied.folder}/mlflow.db"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert studied.command("train_fold", **settings, study="alone") == 0
    (one,), (two,) = studied.runs(study="alone"), studied.runs(study="together")
    assert two.info.status == "FINISHED"
    assert two.data.metrics.keys() == one.data.metrics.keys()
    for name in one.data.metrics:
        history = [
            [m.value for m in studied.client.get_metric_history(run.info.run_id, name)] for run in (one, two)
        ]
        assert len(history[1]) == len(history[0])
        assert history[1] == pytest.approx(history[0], rel=2e-3, abs=2e-4), name
