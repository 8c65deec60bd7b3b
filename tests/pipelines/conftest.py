"""A store, a cache and settings so small that a whole study takes seconds."""

from __future__ import annotations

import importlib
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, chdir, closing
from dataclasses import dataclass, field
from functools import cache as cache_once
from pathlib import Path
from unittest.mock import patch

import mlflow
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from cardio_mlflow.figures import catalogue, style
from cardio_mlflow.pipelines import command_line, evaluate, predict, sort
from cardio_mlflow.tracking.store import prepare_store

SMALL = {
    "synthetic_patients": "10", "cohort1_size": "6", "num_folds": "2", "epochs": "2", "stages": "1",
    "training_frames": "1", "augmented_copies": "0", "bootstrap": "100", "jobs": "1", "figure_formats": "png",
    "prepare_jobs": "1", "explained_patients": "none",
}  # fmt: skip
OPTIONS = {
    "sort": sort.OPTIONS,
    "predict": predict.OPTIONS,
    "train_fold": {"fold": "1"},
    "validate": {"predictions": ""},
    "test": {"predictions": "", "model": "study"},
    "visualize": {"patients": "worst=2,median", "model": "study", "loose": "false"},
}


@cache_once
def empty_store() -> Path:
    """A database as MLflow makes it, which takes it seconds."""
    with chdir(tempfile.mkdtemp()):
        mlflow.set_tracking_uri(f"sqlite:///{Path.cwd()}/mlflow.db")
        prepare_store()
        return Path.cwd() / "mlflow.db"


@dataclass(frozen=True)
class Workplace:
    """A folder with an MLflow store, in which commands are run in this process."""

    folder: Path
    cache: Path
    server: str = ""
    client: MlflowClient = field(init=False)

    def __post_init__(self) -> None:
        if not self.server:
            shutil.copy(empty_store(), self.folder / "mlflow.db")
            with closing(sqlite3.connect(self.folder / "mlflow.db")) as store, store:
                store.execute("UPDATE experiments SET artifact_location = ?", [f"{self.folder}/mlruns/0"])
        object.__setattr__(self, "client", MlflowClient(self.address))

    @property
    def address(self) -> str:
        """The address of the store: a server's, or a file in the folder."""
        return self.server or f"sqlite:///{self.folder}/mlflow.db"

    def command(self, name: str, **given: str) -> int:
        """Run an entry point as its command line would; returns the exit status.

        To save time figures are coarse, and of single parameters only PVR is drawn.
        """
        mlflow.set_tracking_uri(self.address)
        pipeline = getattr(importlib.import_module(f"entry_points.{name}"), name)
        words = [
            word
            for key, value in (SMALL | {"cache": str(self.cache)} | given).items()
            for word in (f"--{key}", value)
        ]
        with ExitStack() as patches:
            patches.enter_context(chdir(self.folder))
            patches.enter_context(patch.object(sys, "argv", [name, *words]))
            patches.enter_context(patch.object(catalogue, "KEYS", ("PVR",)))
            patches.enter_context(patch.object(style, "DPI", 50))
            try:
                also_called = {"sort": {"cohort": "data"}, "predict": {"input": "data"}}.get(name)
                command_line.run_command(name, pipeline, OPTIONS.get(name), also_called)
            except SystemExit as stopped:
                return int(stopped.code or 0)
        return 0

    def runs(self, **tags: str) -> list[Run]:
        """Runs that carry these tags, the earliest first."""
        condition = " and ".join(f"tags.{key} = '{value}'" for key, value in tags.items())
        return list(self.client.search_runs(["0"], condition, order_by=["attributes.start_time"]))

    def artifact(self, run: Run, path: str) -> Path:
        """An artifact on disk."""
        return Path(self.client.download_artifacts(run.info.run_id, path))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session", autouse=True)
def _no_environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patching:
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_TRACKING_URI"):
            patching.delenv(name, raising=False)
        yield


@pytest.fixture
def workplace(tmp_path: Path, cache: Path) -> Workplace:
    """An empty store."""
    return Workplace(tmp_path, cache)


@pytest.fixture(scope="session")
def studied(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Workplace:
    """A store in which the whole study has been run; tests of other modules add studies of other names."""
    place = Workplace(tmp_path_factory.mktemp("studied"), cache)
    assert place.command("main", variants="full,no_fusion", ablation_folds="1") == 0
    return place


@pytest.fixture
def few_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judging draws one figure alone, for tests that look at none."""
    every = evaluate.drawings
    monkeypatch.setattr(evaluate, "drawings", lambda *given, **named: every(*given, **named)[:1])
