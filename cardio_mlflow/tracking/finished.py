"""MLflow runs that have ended, as a later step reads them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from cardio_mlflow.analysis.predictions import read_patients_table, read_predictions
from cardio_mlflow.errors import InputError
from cardio_mlflow.tracking.store import experiment
from cardio_mlflow.tracking.store_faults import explained


@dataclass(frozen=True)
class FinishedRun:
    """A run as a later step reads it; `find_runs` returns those that finished."""

    run_id: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]

    def table(self, path: str) -> pd.DataFrame:
        """Read a CSV artifact that holds no patient ids."""
        with self._fetched(path) as file:
            return pd.read_csv(file)

    def patients_table(self, path: str) -> pd.DataFrame:
        """Read a CSV artifact whose texts, patient ids and groups, stay as they are ("NA", "007", empty)."""
        with self._fetched(path) as file:
            return read_patients_table(file)

    def predictions(self) -> pd.DataFrame:
        """Read and check the predictions table.

        Raises:
            InputError: it is not a predictions table, or is gone.
        """
        with self._fetched("predictions.csv") as file:
            return read_predictions(file)

    def text(self, path: str) -> str:
        """Read a text artifact."""
        with self._fetched(path) as file:
            return file.read_text(encoding="utf-8")

    @explained()
    def has(self, path: str) -> bool:
        """Whether there is such an artifact."""
        beside = MlflowClient().list_artifacts(self.run_id, path.rpartition("/")[0] or None)
        return path in [found.path for found in beside]

    @contextmanager
    def _fetched(self, path: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            yield fetch(self.run_id, path, Path(folder), self.name)

    @property
    def configuration(self) -> dict[str, str]:
        """The resolved settings as logged, by name."""
        return {k.removeprefix("cfg/"): v for k, v in self.params.items() if k.startswith("cfg/")}


def fetch(run_id: str, path: str, folder: Path, name: str = "") -> Path:
    """Fetch an artifact, a file or a folder, into a folder of this machine.

    Raises:
        InputError: it is gone, or the store does not answer.
    """
    client = MlflowClient()
    try:
        return Path(client.download_artifacts(run_id, path, str(folder)))
    except (MlflowException, OSError) as error:
        with explained():
            uri = str(client.get_run(run_id).info.artifact_uri)
            beside = client.list_artifacts(run_id, path.rpartition("/")[0] or None)
            if path in [found.path for found in beside]:
                raise
        raise InputError(
            f"The run {name or run_id} is in the store, but its artifact {path} is gone: it is not in "
            f"{uri.removeprefix('file://')}. Bring that folder back from a copy, or make the run anew."
        ) from error


def find_runs(
    tags: Mapping[str, str], *, only_finished: bool = True, everywhere: bool = False
) -> list[FinishedRun]:
    """Runs of this experiment that carry these tags, the latest first.

    Args:
        tags: by name.
        only_finished: leave out those that are running, or have not ended well.
        everywhere: look in all experiments of the store.

    Raises:
        InputError: a tag holds a quote, which no search can match.
    """
    if any("'" in value for value in tags.values()):
        raise InputError("A study's name cannot hold a quote.")
    conditions = [f"tags.`{name}` = '{value}'" for name, value in tags.items()]
    if only_finished:
        conditions.append("attributes.status = 'FINISHED'")
    return _search(" and ".join(conditions), everywhere=everywhere)


@explained()
def _search(condition: str, *, everywhere: bool = False) -> list[FinishedRun]:
    client = MlflowClient()
    within = [e.experiment_id for e in client.search_experiments()] if everywhere else [experiment()]
    found: list[MlflowRun] = []
    token: str | None = ""
    while token is not None:
        page = client.search_runs(
            within, condition, order_by=["attributes.start_time DESC"], page_token=token or None
        )
        found += page
        token = page.token or None
    return [_finished(run) for run in found]


def run_by_id(run_id: str) -> FinishedRun:
    """The run with this id, ended or not.

    Raises:
        InputError: there is none.
    """
    try:
        return _finished(MlflowClient().get_run(run_id))
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise InputError(f"The run {run_id} is not in this store, or was deleted.") from error


def predictions_of(run_id: str) -> pd.DataFrame:
    """The predictions table of the run with this id.

    Raises:
        InputError: the run is in another store, or was deleted, or has no such table.
    """
    try:
        return run_by_id(run_id).predictions()
    except InputError as error:
        raise InputError(f"the predictions of the run {run_id} are not in this store") from error


def is_run_id(text: str) -> bool:
    """Whether a text is what MLflow calls a run by."""
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None


def only_run(runs: Sequence[FinishedRun], asked: str) -> FinishedRun:
    """The one run that was found.

    Args:
        runs: at least one.
        asked: the setting and its value, such as ``model=validate``.

    Raises:
        InputError: there are several (lists the ids of the latest).
    """
    if len(runs) > 1:
        ids = ", ".join(run.run_id for run in runs[:5])
        raise InputError(f"{asked}: {len(runs)} runs have that name. Give the id of one: {ids}.")
    return runs[0]


def runs_called(name: str) -> list[FinishedRun]:
    """The run with this id, or all runs of this experiment with this name, the latest first."""
    client = MlflowClient()
    if is_run_id(name):
        try:
            return [_finished(client.get_run(name))]
        except MlflowException:
            return []
    if "'" in name:
        return []
    return _search(f"attributes.run_name = '{name}'")


def _finished(run: MlflowRun) -> FinishedRun:
    return FinishedRun(run.info.run_id, run.info.run_name, run.data.tags, run.data.params, run.data.metrics)
