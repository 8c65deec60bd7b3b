"""MLflow runs: the only module that imports mlflow, with the registered model's own file.

Runs are written through the client with explicit run ids, so nothing depends on an active run and
the runs of folds and variants stand flat beside each other.
"""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import mlflow
import pandas as pd
from filelock import FileLock
from matplotlib.figure import Figure
from mlflow.entities import Metric, Param, RunTag
from mlflow.entities import Run as MlflowRun
from mlflow.environment_variables import (
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR,
    MLFLOW_EXPERIMENT_ID,
    MLFLOW_RUN_ID,
)
from mlflow.tracking import MlflowClient

from cardio_mlflow.errors import InputError
from cardio_mlflow.figures.style import save_figure
from cardio_mlflow.settings import Settings

FOLD_COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#000000")
MAX_TAG: Final = 4000
_SQLITE: Final = "sqlite:///"

log = logging.getLogger(__name__)
logging.getLogger("mlflow").setLevel(logging.WARNING)


class Run:
    """One MLflow run that is being written."""

    def __init__(self, run_id: str):
        """Take over an existing run."""
        self.run_id = run_id
        self._client = MlflowClient()

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._client.log_batch(self.run_id, tags=[RunTag(k, v[:MAX_TAG]) for k, v in tags.items()])

    def rename(self, name: str) -> None:
        """Give the run a name."""
        self._client.update_run(self.run_id, name=name)

    def log_settings(self, settings: Settings) -> None:
        """Log the resolved settings as ``cfg/<name>`` parameters and as settings.yaml."""
        values = settings.model_dump(mode="json")
        parameters = [Param(f"cfg/{name}", _as_typed(value)) for name, value in values.items()]
        self._client.log_batch(self.run_id, params=parameters)
        self.log_text(settings.to_yaml(), "settings.yaml")

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics in one batch; a value that is not finite is left out, since no page can plot it."""
        now = int(time.time() * 1000)
        entries = [Metric(name, float(v), now, step) for name, v in metrics.items() if math.isfinite(v)]
        self._client.log_batch(self.run_id, metrics=entries)

    def log_text(self, text: str, path: str) -> None:
        """Log a text as the artifact ``path``."""
        self._client.log_text(self.run_id, text, path)

    def log_table(self, table: pd.DataFrame, path: str) -> None:
        """Log a table as the CSV artifact ``path``, numbers in full precision, no index."""
        self.log_text(table.to_csv(index=False), path)

    def log_file(self, file: Path, folder: str = "") -> None:
        """Log a file of this machine into an artifact folder."""
        self._client.log_artifact(self.run_id, str(file), folder or None)

    def log_folder(self, local: Path, folder: str) -> None:
        """Log the files of a folder of this machine as the artifact folder ``folder``."""
        self._client.log_artifacts(self.run_id, str(local), folder)

    def log_figures(self, figures: Mapping[str, Figure]) -> None:
        """Log figures as PNG under ``figures/``."""
        with tempfile.TemporaryDirectory() as folder:
            for name, figure in figures.items():
                save_figure(figure, Path(folder) / name)
            self._client.log_artifacts(self.run_id, folder, "figures")

    def artifact_folder(self) -> str:
        """Where the run's artifacts lie, as a path where they are local, else as a URI."""
        uri: str = self._client.get_run(self.run_id).info.artifact_uri
        return uri.removeprefix("file://")

    def end(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED."""
        self._client.set_terminated(self.run_id, status)


@dataclass(frozen=True)
class FinishedRun:
    """A run that has ended well, as a later step reads it."""

    run_id: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]

    def table(self, path: str) -> pd.DataFrame:
        """Read a CSV artifact; patient ids stay text."""
        with tempfile.TemporaryDirectory() as folder:
            file = MlflowClient().download_artifacts(self.run_id, path, folder)
            return pd.read_csv(file, dtype={"patient_id": str})

    def text(self, path: str) -> str:
        """Read a text artifact."""
        with tempfile.TemporaryDirectory() as folder:
            return Path(MlflowClient().download_artifacts(self.run_id, path, folder)).read_text(
                encoding="utf-8"
            )

    @property
    def configuration(self) -> dict[str, str]:
        """The resolved settings as logged, by name."""
        return {k.removeprefix("cfg/"): v for k, v in self.params.items() if k.startswith("cfg/")}


@contextmanager
def command_run() -> Iterator[Run]:
    """The run of a command: the one that ``mlflow run`` made, or a new one.

    It ends as FINISHED; as KILLED on Ctrl-C; as FAILED, with the reason as the tag ``failure``, on
    any other exception, which is passed on.
    """
    prepare_store()
    with _ended(adopted_run() or _new_run({}, "")) as run:
        yield run


@contextmanager
def step_run(name: str, tags: Mapping[str, str]) -> Iterator[Run]:
    """A new run that stands beside the command's own; ends like ``command_run``."""
    with _ended(_new_run(tags, name)) as run:
        yield run


def adopted_run() -> Run | None:
    """Take over the run that ``mlflow run`` made for this process, once."""
    run_id = MLFLOW_RUN_ID.get()
    if not run_id:
        return None
    MLFLOW_RUN_ID.unset()
    return Run(run_id)


def prepare_store() -> str:
    """Create the store once, under a lock, and make its address absolute; returns the address."""
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(value=False)
    uri: str = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    if uri.startswith(_SQLITE):
        database = Path(uri.removeprefix(_SQLITE))
        with FileLock(f"{database}.lock"):
            MlflowClient().search_experiments(max_results=1)
    return uri


def tags_of(settings: Settings, step: str, **more: str) -> dict[str, str]:
    """The tags that every run carries, and those of one step."""
    return {
        "study": settings.study_name,
        "step": step,
        "preset": settings.preset,
        "cohort": settings.cohort_name,
        "settings_digest": settings.digest(),
    } | more


def colour_of(fold: int) -> dict[str, str]:
    """The tag that gives a fold its colour in the page."""
    return {"mlflow.runColor": FOLD_COLOURS[(fold - 1) % len(FOLD_COLOURS)]}


def find_runs(**tags: str) -> list[FinishedRun]:
    """Finished runs of all experiments that carry these tags, the latest first.

    Raises:
        InputError: a tag holds a quote, which no search can match.
    """
    if any("'" in value for value in tags.values()):
        raise InputError("A study's name cannot hold a quote.")
    client = MlflowClient()
    experiments = [e.experiment_id for e in client.search_experiments()]
    condition = " and ".join(
        [*(f"tags.`{k}` = '{v}'" for k, v in tags.items()), "attributes.status = 'FINISHED'"]
    )
    found: list[MlflowRun] = []
    token: str | None = ""
    while token is not None:
        page = client.search_runs(
            experiments, condition, order_by=["attributes.start_time DESC"], page_token=token or None
        )
        found += page
        token = page.token or None
    return [_finished(run) for run in found]


def comparison_address(runs: Sequence[str], port: int = 5000) -> str:
    """The address in the MLflow page that compares these runs."""
    client = MlflowClient()
    experiments = sorted({client.get_run(run).info.experiment_id for run in runs})
    quoted = ",".join(f"%22{run}%22" for run in runs)
    named = ",".join(f"%22{e}%22" for e in experiments)
    return (
        f"http://127.0.0.1:{port}/#/compare-runs?runs=[{quoted}]&experiments=[{named}]"
        "&workflowType=machine_learning"
    )


def page_command(port: int = 5000) -> str:
    """The command that serves the MLflow page for this store."""
    return f"mlflow ui --backend-store-uri {mlflow.get_tracking_uri()} --port {port}"


def _as_typed(value: object) -> str:
    """A setting's value as it would be typed after ``-P``."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _finished(run: MlflowRun) -> FinishedRun:
    return FinishedRun(run.info.run_id, run.info.run_name, run.data.tags, run.data.params, run.data.metrics)


def _new_run(tags: Mapping[str, str], name: str) -> Run:
    client = MlflowClient()
    experiment = MLFLOW_EXPERIMENT_ID.get() or "0"
    run = client.create_run(experiment, tags=dict(tags), run_name=name or None)
    return Run(run.info.run_id)


@contextmanager
def _ended(run: Run) -> Iterator[Run]:
    status, reason = "FAILED", "stopped"
    try:
        yield run
        status, reason = "FINISHED", ""
    except KeyboardInterrupt:
        status, reason = "KILLED", "stopped by the user"
        raise
    except InputError as error:
        reason = str(error)
        raise
    except BaseException as error:
        reason = f"a fault of the program: {type(error).__name__}"
        raise
    finally:
        if reason:
            run.set_tags({"failure": reason})
        run.end(status)
