"""The MLflow store: made once, by an absolute address, checked before use, and how to open its page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import mlflow
import sqlalchemy
from filelock import FileLock
from mlflow.entities import Experiment
from mlflow.environment_variables import (
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR,
    MLFLOW_EXPERIMENT_ID,
    MLFLOW_EXPERIMENT_NAME,
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
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

from cardio_mlflow.errors import InputError
from cardio_mlflow.tracking.moved_store import check_place
from cardio_mlflow.tracking.store_faults import explained, shown_address

_SQLITE: Final = "sqlite:///"
_DATABASES: Final = ("postgresql", "mysql", "mssql")
_DEFAULT_EXPERIMENT: Final = "0"

StoreError = MlflowException
"""What is raised where the store refuses or cannot be reached."""
_ACCESS: Final = (
    MLFLOW_TRACKING_TOKEN, MLFLOW_TRACKING_INSECURE_TLS, MLFLOW_TRACKING_SERVER_CERT_PATH,
    MLFLOW_TRACKING_CLIENT_CERT_PATH,
)  # fmt: skip


def prepare_store() -> str:
    """Open the store, made under a lock where it is missing, and check it; returns its absolute address.

    Raises:
        InputError: it does not answer, cannot be written, is of another version of MLflow, or was moved.
    """
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(value=False)
    database = _database()
    if database:
        mlflow.set_tracking_uri(_sqlite_address(database))
    uri: str = mlflow.get_tracking_uri()
    with explained(uri), quick_answers():
        if database:
            with FileLock(f"{database}.lock"):
                _open_database(uri)
                MlflowClient().search_experiments(max_results=1)
            check_place(database, _experiment())
        else:
            if urlsplit(uri).scheme.partition("+")[0] in _DATABASES:
                _open_database(uri)
            MlflowClient().search_experiments(max_results=1)
            _experiment()
    return uri


@contextmanager
def quick_answers() -> Iterator[None]:
    """Ask a tracking server twice, not for minutes: at a start, or where it is known not to answer."""
    limits = {MLFLOW_HTTP_REQUEST_MAX_RETRIES: 1, MLFLOW_HTTP_REQUEST_TIMEOUT: 20}
    before = {variable: variable.get_raw() for variable in limits}
    for variable, limit in limits.items():
        variable.set(min(limit, variable.get()))
    try:
        yield
    finally:
        for variable, value in before.items():
            if value is None:
                variable.unset()
            else:
                variable.set(value)


def experiment() -> str:
    """Id of the experiment of new runs and of all look-ups.

    It is that of ``mlflow run`` or MLFLOW_EXPERIMENT_ID, else MLFLOW_EXPERIMENT_NAME's, which is made where
    it is missing, else Default.

    Raises:
        InputError: it was deleted, or there is none with that id.
    """
    if known := MLFLOW_EXPERIMENT_ID.get():
        return str(known)
    return str(_experiment().experiment_id) if MLFLOW_EXPERIMENT_NAME.get() else _DEFAULT_EXPERIMENT


def _experiment() -> Experiment:
    client = MlflowClient()
    number, name = MLFLOW_EXPERIMENT_ID.get(), MLFLOW_EXPERIMENT_NAME.get()
    store = shown_address(mlflow.get_tracking_uri())
    try:
        if name and not number:
            found = client.get_experiment_by_name(name) or client.get_experiment(_new_experiment(name))
        else:
            found = client.get_experiment(number or _DEFAULT_EXPERIMENT)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise InputError(
            f"There is no experiment {number or name} in the store {store}. "
            "MLFLOW_EXPERIMENT_ID and MLFLOW_EXPERIMENT_NAME say where runs go: unset them, or give a name."
        ) from error
    if found.lifecycle_stage != "active":
        raise InputError(
            f"The experiment {found.name!r} was deleted; its runs are kept until `mlflow gc`. Restore it:\n"
            f"    MLFLOW_TRACKING_URI={shlex.quote(store)} mlflow experiments restore "
            f"--experiment-id {found.experiment_id}\n"
            "or keep the new runs in another one: set MLFLOW_EXPERIMENT_NAME, or `mlflow run "
            "--experiment-name`."
        )
    return found


def _new_experiment(name: str) -> str:
    """Make an experiment, its artifacts beside the store's database file where there is one."""
    database = _database()
    folder = re.sub(r"[^\w .-]", "_", name)  # MLflow would unquote a quoted one
    beside = str(database.parent / "mlruns" / folder) if database else None
    return str(MlflowClient().create_experiment(name, beside))


def _database() -> Path | None:
    """The absolute path of the store's sqlite file; None where it is another kind of store."""
    uri: str = mlflow.get_tracking_uri()
    if not uri.startswith(_SQLITE):
        return None
    return Path(sqlalchemy.make_url(uri).database or "mlflow.db").absolute()


def _sqlite_address(database: Path) -> str:
    """As SQLAlchemy 2.1 reads it, which unquotes; MLflow, which does not, finds the folder where it can."""
    return _SQLITE + str(database).replace("%", "%25").replace("?", "%3F")


def _open_database(uri: str) -> None:
    """Connect once, where MLflow would try for minutes.

    Raises:
        InputError: it is a tuning's database, to which MLflow would add tables before it fails.
    """
    engine = sqlalchemy.create_engine(uri)
    try:
        tables = set(sqlalchemy.inspect(engine).get_table_names())
    finally:
        engine.dispose()
    if "studies" in tables and "experiments" not in tables:
        raise InputError(
            f"The store {shown_address(uri)} is the database of a tuning, and no MLflow store. Nothing was "
            "written. Give MLflow a database of its own in MLFLOW_TRACKING_URI."
        )


def database_beside(name: str, otherwise: Path) -> str:
    """The address of a sqlite database beside MLflow's, or in a folder where MLflow's is on a server.

    Args:
        name: the file's name.
        otherwise: the folder.
    """
    database = _database()
    folder = database.parent if database else otherwise
    folder.mkdir(parents=True, exist_ok=True)
    return _sqlite_address(folder / name)


@dataclass(frozen=True)
class Store:
    """Where runs are written, as handed to a worker process.

    Attributes:
        uri: absolute address.
        experiment: id of the experiment of new runs.
        access: credentials for a server, by MLflow's variable. They are in no text of the store.
    """

    uri: str
    experiment: str
    access: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it: files, where others are servers."""
        return urlsplit(self.uri).scheme in ("", "file", "sqlite")


def current_store() -> Store:
    """The store of this process."""
    known = read_mlflow_creds()
    access = {MLFLOW_TRACKING_USERNAME.name: known.username, MLFLOW_TRACKING_PASSWORD.name: known.password}
    access |= {variable.name: variable.get_raw() for variable in _ACCESS if variable.is_set()}
    given = {name: value for name, value in access.items() if value}
    return Store(mlflow.get_tracking_uri(), experiment(), given)


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
    """The address in the MLflow page that compares these runs: the server's, or that of `page_command`."""
    uri: str = mlflow.get_tracking_uri()
    page = shown_address(uri).rstrip("/") if uri.startswith("http") else f"http://127.0.0.1:{port}"
    client = MlflowClient()
    experiments = sorted({client.get_run(run).info.experiment_id for run in runs})
    quoted = ",".join(f"%22{run}%22" for run in runs)
    named = ",".join(f"%22{e}%22" for e in experiments)
    return f"{page}/#/compare-runs?runs=[{quoted}]&experiments=[{named}]&workflowType=machine_learning"


def page_command(port: int = 5000) -> str:
    """The command that serves the MLflow page for this store, or the address of the page of a server."""
    uri = shown_address(mlflow.get_tracking_uri())
    if uri.startswith("http"):
        return uri
    return f"mlflow ui --backend-store-uri {shlex.quote(uri)} --port {port}"
