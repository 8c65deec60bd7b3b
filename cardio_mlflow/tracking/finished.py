"""MLflow runs that have ended, as a later step reads them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from cardio_mlflow.analysis.predictions import read_patients_table, read_predictions
from cardio_mlflow.errors import InputError


@dataclass(frozen=True)
class FinishedRun:
    """A run as a later step reads it; `find_runs` gives those that have ended well."""

    run_id: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]

    def table(self, path: str) -> pd.DataFrame:
        """Read a CSV artifact that holds no patient ids."""
        with tempfile.TemporaryDirectory() as folder:
            return pd.read_csv(MlflowClient().download_artifacts(self.run_id, path, folder))

    def patients_table(self, path: str) -> pd.DataFrame:
        """Read a CSV artifact whose texts, patient ids and groups, stay as they are ("NA", "007", empty)."""
        with tempfile.TemporaryDirectory() as folder:
            file = MlflowClient().download_artifacts(self.run_id, path, folder)
            return read_patients_table(Path(file))

    def has(self, path: str) -> bool:
        """Whether there is such an artifact."""
        beside = MlflowClient().list_artifacts(self.run_id, path.rpartition("/")[0] or None)
        return path in [found.path for found in beside]

    def predictions(self) -> pd.DataFrame:
        """Read and check the predictions table.

        Raises:
            InputError: it is not a predictions table.
        """
        with tempfile.TemporaryDirectory() as folder:
            file = MlflowClient().download_artifacts(self.run_id, "predictions.csv", folder)
            return read_predictions(Path(file))

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


def find_runs(tags: Mapping[str, str], *, only_finished: bool = True) -> list[FinishedRun]:
    """Runs of all experiments that carry these tags, the latest first.

    Raises:
        InputError: a tag holds a quote, which no search can match.
    """
    if any("'" in value for value in tags.values()):
        raise InputError("A study's name cannot hold a quote.")
    client = MlflowClient()
    experiments = [e.experiment_id for e in client.search_experiments()]
    conditions = [f"tags.`{name}` = '{value}'" for name, value in tags.items()]
    if only_finished:
        conditions.append("attributes.status = 'FINISHED'")
    condition = " and ".join(conditions)
    found: list[MlflowRun] = []
    token: str | None = ""
    while token is not None:
        page = client.search_runs(
            experiments, condition, order_by=["attributes.start_time DESC"], page_token=token or None
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
    except (InputError, MlflowException, OSError) as error:
        raise InputError(f"the predictions of the run {run_id} are not in this store") from error


def runs_called(name: str) -> list[FinishedRun]:
    """The run with this id, or all runs with this name, the latest first; none where there is none."""
    client = MlflowClient()
    if re.fullmatch(r"[0-9a-f]{32}", name):
        try:
            return [_finished(client.get_run(name))]
        except MlflowException:
            return []
    if "'" in name:
        return []
    experiments = [e.experiment_id for e in client.search_experiments()]
    condition = f"attributes.run_name = '{name}'"
    found = client.search_runs(experiments, condition, order_by=["attributes.start_time DESC"])
    return [_finished(run) for run in found]


def _finished(run: MlflowRun) -> FinishedRun:
    return FinishedRun(run.info.run_id, run.info.run_name, run.data.tags, run.data.params, run.data.metrics)
