"""The model registry: a study's networks logged as one model, registered, found and loaded."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import mlflow
import pandas as pd
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from cardio_mlflow.errors import InputError
from cardio_mlflow.prediction.manifest import has_manifest
from cardio_mlflow.tracking.finished import fetch, is_run_id
from cardio_mlflow.tracking.loaded_model import LoadedModel, load_checked, load_unchecked
from cardio_mlflow.tracking.model_folder import ARTIFACT, ENSEMBLE, save_model
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.tracking.store import experiment
from cardio_mlflow.tracking.store_faults import explained

MODEL_NAME: Final = "cardio-hemodynamics"
CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
LONGEST_DESCRIPTION: Final = 5000
"""Characters that MLflow's database keeps of a description."""
BUNDLE_DIGEST: Final = "bundle_digest"
"""The tag of a version with the digest of its list of files."""

_UNKNOWN: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow answers to a name or an id that it does not know."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Version:
    """A version of the registered model.

    Attributes:
        number: in the registry, as text.
        run_id: the run that registered it, which holds the out-of-fold predictions of its patients.
    """

    number: str
    run_id: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class RegisteredModel(LoadedModel, Version):
    """A version that is loaded; or a model from a folder, which has no number."""


class Logged(NamedTuple):
    """A model that a run has logged, and that can be registered.

    Attributes:
        model_id: by which MLflow knows it.
        digest: of the list of its files.
    """

    model_id: str
    digest: str


def log_model(run: Run, artifacts: Mapping[str, Path]) -> None:
    """Log a model as the run's artifact ``model``; arguments as of `save_model`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ARTIFACT
        save_model(path, artifacts)
        run.log_folder(path, ARTIFACT)


@explained()
def log_candidate(
    run: Run, ensemble: Path, about: Mapping[str, str], example: pd.DataFrame | None = None
) -> Logged:
    """Log an ensemble as a model that the experiment's page of models shows, with the run's metrics.

    The run has it as its artifact ``model``; MLflow keeps it once.

    Args:
        run: the run.
        ensemble: the ensemble's folder.
        about: what the model says of itself, which are its tags too.
        example: a request that it answers.
    """
    client = MlflowClient()
    within = client.get_run(run.run_id).info.experiment_id
    logged = client.create_logged_model(within, ARTIFACT, run.run_id, tags=dict(about))
    status = LoggedModelStatus.FAILED
    try:
        with tempfile.TemporaryDirectory() as folder:
            path, ids = Path(folder) / ARTIFACT, Model(run_id=run.run_id, model_id=logged.model_id)
            digest = save_model(path, {ENSEMBLE: ensemble}, about=about, example=example, model=ids)
            client.log_model_artifacts(logged.model_id, str(path))
        status = LoggedModelStatus.READY
    finally:
        client.finalize_logged_model(logged.model_id, status)
    client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    client.log_batch(run.run_id, metrics=_metrics_of(run.run_id, logged.model_id))
    return Logged(logged.model_id, digest)


def _metrics_of(run_id: str, model_id: str) -> list[Metric]:
    """The run's metrics as its model's: of the same moment and step, or the run would have them twice."""
    client = MlflowClient()
    last = [client.get_metric_history(run_id, name)[-1] for name in client.get_run(run_id).data.metrics]
    return [Metric(m.key, m.value, m.timestamp, m.step, model_id=model_id, run_id=run_id) for m in last]


@explained()
def bundle_names(run_id: str) -> list[str]:
    """Names of the bundles in a run's model, such as ``fold-2``."""
    client, place = MlflowClient(), f"{ARTIFACT}/artifacts"
    within = client.list_artifacts(run_id, f"{place}/{ENSEMBLE}") or client.list_artifacts(run_id, place)
    return sorted(Path(file.path).stem for file in within if Path(file.path).name.startswith("fold-"))


def download_networks(run_id: str, folder: Path) -> Path:
    """Fetch the networks of a run's model into a folder; returns the one that `load_ensemble` takes.

    Raises:
        InputError: they are gone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = fetch(run_id, f"{ARTIFACT}/artifacts", folder)
    return path / ENSEMBLE if (path / ENSEMBLE).is_dir() else path


@explained()
def register(run: Run, logged: Logged, tags: Mapping[str, str]) -> str:
    """Register a model that the run has logged; returns the number of the new version."""
    client = MlflowClient()
    try:
        client.create_registered_model(MODEL_NAME)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(
        MODEL_NAME, f"models:/{logged.model_id}", run.run_id, model_id=logged.model_id,
        tags={**tags, BUNDLE_DIGEST: logged.digest},
    )  # fmt: skip
    link = [{"name": MODEL_NAME, "version": str(version.version)}]
    client.set_logged_model_tags(logged.model_id, {MLFLOW_MODEL_VERSIONS: json.dumps(link)})
    return str(version.version)


@explained()
def set_alias(version: str, alias: str) -> None:
    """Give an alias of the registered model to a version."""
    MlflowClient().set_registered_model_alias(MODEL_NAME, alias, version)


@explained()
def remove_alias(version: str, alias: str) -> None:
    """Take an alias of the registered model from a version, if that is the version that has it."""
    found = version_called(alias)
    if found is not None and found.number == version:
        MlflowClient().delete_registered_model_alias(MODEL_NAME, alias)


@explained()
def tag_version(version: str, tags: Mapping[str, str]) -> None:
    """Set tags of a version of the registered model."""
    for name, value in tags.items():
        MlflowClient().set_model_version_tag(MODEL_NAME, version, name, value)


@explained()
def describe(text: str, version: str = "") -> None:
    """Set the description, in markdown, of a version of the registered model; or of the model itself.

    Args:
        text: of `LONGEST_DESCRIPTION` characters at most.
        version: its number; empty: the model.
    """
    if version:
        MlflowClient().update_model_version(MODEL_NAME, version, text)
    else:
        MlflowClient().update_registered_model(MODEL_NAME, text)


@explained()
def versions_with(tags: Mapping[str, str]) -> list[Version]:
    """Versions with these tags, registered by runs of this experiment that are still there; latest first."""
    client, here = MlflowClient(), experiment()
    found = sorted(client.search_model_versions(f"name = '{MODEL_NAME}'"), key=lambda v: -int(v.version))
    return [
        _version(version)
        for version in found
        if tags.items() <= version.tags.items() and _experiment_of(client, version.run_id) == here
    ]


def _experiment_of(client: MlflowClient, run_id: str) -> str:
    """The experiment of a run; nothing where the run was deleted."""
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in _UNKNOWN:
            raise
        return ""
    return str(run.info.experiment_id) if run.info.lifecycle_stage == "active" else ""


@explained()
def version_called(name: str) -> Version | None:
    """The version with this number or alias, or the latest that the run with this id has registered."""
    client = MlflowClient()
    if is_run_id(name):
        of_run = client.search_model_versions(f"run_id = '{name}'")
        return max((_version(v) for v in of_run), key=lambda v: int(v.number), default=None)
    try:
        if name.isdecimal() and len(name) < 10:
            return _version(client.get_model_version(MODEL_NAME, name))
        return _version(client.get_model_version_by_alias(MODEL_NAME, name))
    except MlflowException as error:
        if error.error_code not in _UNKNOWN:
            raise
        return None


def _version(found: ModelVersion) -> Version:
    return Version(str(found.version), found.run_id, found.tags)


def load_version(version: Version) -> RegisteredModel:
    """Load a version of the registered model with its own code, after a check of its files.

    Raises:
        InputError: its files are gone, or are not those that were registered; nothing of them was run.
    """
    name = f"Version {version.number} of {MODEL_NAME}"
    try:
        uri = f"models:/{MODEL_NAME}/{version.number}"
        folder = Path(mlflow.artifacts.download_artifacts(uri))
        loaded = _loaded(folder, version)
    except InputError as error:
        raise InputError(f"{name} is not loaded. {error}") from error
    except (MlflowException, OSError) as error:
        raise InputError(
            f"{name} is registered, but cannot be loaded from the "
            f"artifacts of the run {version.run_id}: they are gone or damaged, or the store does not answer. "
            "Bring them back, or delete that run and run validate, which registers the folds anew."
        ) from error
    return RegisteredModel(version.number, version.run_id, version.tags, **vars(loaded))


def _loaded(folder: Path, version: Version) -> LoadedModel:
    """A version's model; one that an earlier version of this project has registered has no list of files."""
    if BUNDLE_DIGEST in version.tags or has_manifest(folder) or "weights_digest" not in version.tags:
        return load_checked(folder, version.tags.get(BUNDLE_DIGEST, ""))
    log.warning("This model is of an earlier version: whether its files were changed cannot be known.")
    return load_unchecked(folder)


def load_folder(folder: Path) -> RegisteredModel:
    """Load a model from a folder with an MLmodel, with its own code, after a check of its files.

    Raises:
        InputError: it is no model of this project, or its files are not those of its list.
    """
    try:
        loaded = load_checked(folder)
    except InputError as error:
        raise InputError(f"The model in {folder} is not loaded. {error}") from error
    return RegisteredModel("", "", loaded.about, **vars(loaded))
