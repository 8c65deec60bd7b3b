"""The README's command, as a user types it: ``mlflow run`` from another folder, by path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

PROJECT = Path(__file__).resolve().parents[1]
SMALL = ("synthetic_patients=8", "cohort1_size=6", "num_folds=2", "epochs=1", "stages=0", "training_frames=1",
         "augmented_copies=0", "bootstrap=100")  # fmt: skip


def mlflow_run(folder: Path, *given: str, entry: str = "main") -> subprocess.CompletedProcess[str]:
    parameters = [word for value in (*SMALL, *given) for word in ("-P", value)]
    command = [sys.executable, "-m", "mlflow", "run", str(PROJECT), "-e", entry, "--env-manager", "local"]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "CARDIOAI_"))}
    environment = kept | {
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    return subprocess.run(
        [*command, *parameters],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=540,
    )


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a fold has been trained by ``mlflow run``."""
    folder = tmp_path_factory.mktemp("elsewhere")
    done = mlflow_run(folder, "fold=2", "vit_lr=3e-5", entry="train_fold")
    assert done.returncode == 0, done.stderr
    return folder


def test_a_fold_by_the_documented_command(studied: Path) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{studied}/mlflow.db")
    (run,) = mlflow.search_runs(
        experiment_names=["Default"], filter_string="attributes.status = 'FINISHED'", output_format="list"
    )
    assert run.info.run_name == "fold-2"
    assert run.data.params["cfg/vit_lr"] == "3e-05"
    assert run.data.tags["fold"] == "2"
    assert str(studied) in run.info.artifact_uri
    assert (studied / "cache" / "cardio_mlflow" / "prepared").is_dir()
    assert not list(PROJECT.glob(f"mlruns/*/{run.info.run_id}")), "nothing of it lies in the project's folder"


def test_a_mistake_fails_the_run_with_its_reason(studied: Path) -> None:
    done = mlflow_run(studied, "fold=6", entry="train_fold")
    assert done.returncode != 0
    assert "Allowed: a whole number from 1 to 2" in done.stderr
    mlflow.set_tracking_uri(f"sqlite:///{studied}/mlflow.db")
    failed = mlflow.search_runs(
        experiment_names=["Default"], filter_string="attributes.status = 'FAILED'", output_format="list"
    )
    assert len(failed) == 1
    assert "fold=6 is not allowed" in failed[0].data.tags["failure"]


def test_a_refused_clip_leaves_prepare_green(studied: Path, tmp_path: Path) -> None:
    (made,) = (studied / "cache" / "cardio_mlflow" / "synthetic").glob("v*/labels.csv")
    (tmp_path / "cohort" / "dicom").mkdir(parents=True)
    shutil.copy(made, tmp_path / "cohort")
    clip = next((made.parent / "dicom").rglob("*_SA.dcm"))
    shutil.copy(clip, tmp_path / "cohort" / "dicom")
    (tmp_path / "cohort" / "dicom" / clip.name.replace("SA", "FC")).write_bytes(b"no DICOM file")
    done = mlflow_run(tmp_path, f"data={tmp_path / 'cohort'}", entry="prepare")
    assert done.returncode == 0, done.stderr
    assert "1 of 2 clips are prepared, 1 refused." in done.stderr
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = mlflow.search_runs(experiment_names=["Default"], output_format="list")
    assert run.info.status == "FINISHED"
    assert run.data.tags["refused"] == "1"


def test_new_patients_by_a_model_from_a_folder(studied: Path, tmp_path: Path) -> None:
    """The fold's own model predicts for one patient's folder, in a store that knows no model."""
    (model,) = (studied / "mlruns").glob("*/*/artifacts/model")
    clip = next((studied / "cache" / "cardio_mlflow" / "synthetic").glob("v*/dicom/*_LA.dcm"))
    (tmp_path / "P1").mkdir()
    shutil.copy(clip, tmp_path / "P1" / "PLAX.dcm")
    done = mlflow_run(tmp_path, f"input={tmp_path / 'P1'}", f"model={model}", entry="predict")
    assert done.returncode == 0, done.stderr
    assert "1 patient:" in done.stderr
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = mlflow.search_runs(experiment_names=["Default"], output_format="list")
    assert run.info.status == "FINISHED"
    assert run.data.tags["step"] == "predict"
    assert run.data.metrics["patients"] == 1
    files = {path.name for path in (Path(run.info.artifact_uri)).iterdir()}
    assert files >= {"predictions.csv", "index.html", "patients", "tables"}
