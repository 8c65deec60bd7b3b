"""The MLflow store: made once, by an absolute address, and how to open its page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

import mlflow
from filelock import FileLock
from mlflow.environment_variables import (
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR,
    MLFLOW_EXPERIMENT_ID,
    MLFLOW_RUN_ID,
    MLFLOW_TRACKING_CLIENT_CERT_PATH,
    MLFLOW_TRACKING_INSECURE_TLS,
    MLFLOW_TRACKING_PASSWORD,
    MLFLOW_TRACKING_SERVER_CERT_PATH,
    MLFLOW_TRACKING_TOKEN,
    MLFLOW_TRACKING_USERNAME,
)
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.credentials import read_mlflow_creds

_SQLITE: Final = "sqlite:///"
_ACCESS: Final = (
    MLFLOW_TRACKING_TOKEN, MLFLOW_TRACKING_INSECURE_TLS, MLFLOW_TRACKING_SERVER_CERT_PATH,
    MLFLOW_TRACKING_CLIENT_CERT_PATH,
)  # fmt: skip


def prepare_store() -> str:
    """Create the store once, under a lock, and make its address absolute; returns the address."""
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(value=False)
    uri: str = mlflow.get_tracking_uri()
    if uri.startswith(_SQLITE):
        database = Path(unquote(uri.removeprefix(_SQLITE))).absolute()
        uri = f"{_SQLITE}{quote(str(database))}"
        mlflow.set_tracking_uri(uri)
        with FileLock(f"{database}.lock"):
            MlflowClient().search_experiments(max_results=1)
    return uri


def database_beside(name: str, otherwise: Path) -> str:
    """The address of a sqlite database beside MLflow's, or in a folder where MLflow's is on a server.

    Args:
        name: the file's name.
        otherwise: the folder.
    """
    uri: str = mlflow.get_tracking_uri()
    beside = uri.startswith(_SQLITE)
    folder = Path(unquote(uri.removeprefix(_SQLITE))).absolute().parent if beside else otherwise
    folder.mkdir(parents=True, exist_ok=True)
    return f"{_SQLITE}{quote(str(folder / name))}"


StoreError = MlflowException
"""What is raised where the store refuses or cannot be reached."""


@dataclass(frozen=True)
class Store:
    """Where runs are written, as handed to a worker process.

    Attributes:
        uri: absolute address.
        experiment: id of the experiment of new runs.
        access: what lets this process into a server, by variable of MLflow. It is in no text of the store.
    """

    uri: str
    experiment: str
    access: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return not self.uri.startswith("http")


def current_store() -> Store:
    """The store of this process."""
    known = read_mlflow_creds()
    access = {MLFLOW_TRACKING_USERNAME.name: known.username, MLFLOW_TRACKING_PASSWORD.name: known.password}
    access |= {variable.name: variable.get_raw() for variable in _ACCESS if variable.is_set()}
    given = {name: value for name, value in access.items() if value}
    return Store(mlflow.get_tracking_uri(), MLFLOW_EXPERIMENT_ID.get() or "0", given)


def use_store(store: Store) -> None:
    """Write to the store of the process that started this worker, and to no run that it inherited."""
    MLFLOW_RUN_ID.unset()
    MLFLOW_EXPERIMENT_ID.set(store.experiment)
    for variable in (MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD, *_ACCESS):
        if variable.name in store.access:
            variable.set(store.access[variable.name])
    mlflow.set_tracking_uri(store.uri)
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(value=False)


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
    """The command that serves the MLflow page for this store, or the address of the page of a server."""
    uri: str = mlflow.get_tracking_uri()
    if uri.startswith("http"):
        return uri
    return f"mlflow ui --backend-store-uri {shlex.quote(uri)} --port {port}"
