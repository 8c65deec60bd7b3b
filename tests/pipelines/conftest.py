"""A store, a cache and settings so small that a whole study takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest

from cardio_mlflow.pipelines import command_line
from cardio_mlflow.tracking import MlflowClient, prepare_store

SMALL = {
    "synthetic_patients": "10", "cohort1_size": "6", "num_folds": "2", "epochs": "2", "stages": "1",
    "training_frames": "1", "augmented_copies": "0", "bootstrap": "100", "jobs": "1",
}  # fmt: skip


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty MLflow store in a folder that is the working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    prepare_store()
    yield tmp_path
    mlflow.set_tracking_uri(None)


@pytest.fixture
def command(store: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run an entry point in this process as its command line would; returns the exit status."""

    def run(name: str, **given: str) -> int:
        import importlib

        module = importlib.import_module(f"entry_points.{name}")
        options = {
            "train_fold": {"fold": "1"},
            "pretrain": {"patients": "20", "passes": "1", "output": "vit"},
        }
        words = [w for k, v in (SMALL | {"cache": str(cache)} | given).items() for w in (f"--{k}", v)]
        monkeypatch.setattr("sys.argv", [name, *words])
        try:
            command_line.run_command(name, getattr(module, name), options.get(name))
        except SystemExit as stopped:
            return int(stopped.code or 0)
        return 0

    return run


@pytest.fixture
def client(store: Path) -> MlflowClient:
    return MlflowClient()
