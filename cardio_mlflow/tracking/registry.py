"""The model registry: packing fold bundles as one model, registering it, loading it with its own code."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Final, NamedTuple

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc import PyFuncModel
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from cardio_mlflow.analysis.conformal import LEVEL
from cardio_mlflow.data.dataset import ClipTensor
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS, VIEW_CODES
from cardio_mlflow.prediction.answers import COLUMNS
from cardio_mlflow.tracking.finished import fetch, is_run_id
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.tracking.store import experiment
from cardio_mlflow.tracking.store_faults import explained
from cardio_mlflow.training.stroke_volume import Predicted, all_direct

MODEL_NAME: Final = "cardio-hemodynamics"
CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
LONGEST_DESCRIPTION: Final = 5000
"""Characters that MLflow's database keeps of a description."""
ARTIFACT: Final = "model"
PACKAGE: Final = Path(__file__).resolve().parents[1]
_REQUIREMENTS: Final = ("mlflow", "torch", "transformers", "safetensors", "numpy", "pandas", "pydantic",
                        "pyyaml", "platformdirs", "joblib", "tqdm")  # fmt: skip

_UNKNOWN: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow answers to a name or an id that it does not know."""

log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What the registered model returns for N patients.

    Attributes:
        predicted: (N, 9) in the units of the parameter table, and which way they came.
        features: (N, D) fused features by the name of the network, such as ``fold-2``.
    """

    predicted: Predicted
    features: Mapping[str, np.ndarray[Any, np.dtype[np.float64]]]


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
class RegisteredModel(Version):
    """A version that is loaded; `code_folder` is of the code that answers, its own where it has some."""

    code_folder: Path
    _model: PyFuncModel

    @property
    def has_own_code(self) -> bool:
        """Whether the code inside the model answers, not the installed package."""
        return self.code_folder != PACKAGE

    def evaluate(self, data: ClipTensor, facts: np.ndarray[Any, np.dtype[np.float64]]) -> Answer:
        """Predict for prepared clips of N patients, and return the features behind the predictions.

        A model that was registered before identities, or features, were there answers without them.

        Args:
            data: the clips, cropped to the sector as they are prepared.
            facts: (N, 3), see `FACTS`.

        Raises:
            InputError: the clips do not have the shape that the model takes.
        """
        if data.clips.ndim != 5 or data.clips.shape[1] != len(VIEW_CODES):
            raise InputError(
                f"Prepared clips must be (N, {len(VIEW_CODES)}, T, H, W), not {tuple(data.clips.shape)}."
            )
        inputs = model_input(data, facts)
        code = self._model.unwrap_python_model()
        if hasattr(code, "answer"):
            found = code.answer(inputs)
            return Answer(
                Predicted(found["predictions"], found["direct"], found["derived"]), found["features"]
            )
        if hasattr(code, "evaluate"):
            values, features = code.evaluate(inputs["views"], inputs["view_mask"])
        else:
            table = pd.DataFrame(self._model.predict({n: inputs[n] for n in ("views", "view_mask")}))
            values, features = table[list(KEYS)].to_numpy(dtype=np.float64), {}
        return Answer(all_direct(values), features)


def model_input(data: ClipTensor, facts: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    """What the registered model takes, as its class states, from prepared clips of N patients.

    Args:
        data: the clips, cropped to the sector as they are prepared.
        facts: (N, 3), see `FACTS`.
    """
    return {
        "views": data.clips.numpy(),
        "view_mask": data.present.numpy().astype(np.uint8),
        "phased": data.phased.numpy().astype(np.uint8),
        "placement": data.placement.numpy(),
        "facts": facts,
    }


def log_model(run: Run, bundles: Mapping[str, Path]) -> None:
    """Log one model made of fold bundles as the run's artifact ``model``.

    Args:
        run: the run.
        bundles: bundle folders by a name that sorts them.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ARTIFACT
        save_model(path, bundles)
        run.log_folder(path, ARTIFACT)


def save_model(folder: Path, bundles: Mapping[str, Path]) -> None:
    """Write a model made of fold bundles into a new folder; arguments as of `log_model`."""
    mlflow.pyfunc.save_model(
        path=str(folder),
        python_model=str(PACKAGE / "tracking" / "registered_model.py"),
        artifacts={name: str(bundle) for name, bundle in bundles.items()},
        code_paths=[str(PACKAGE)],
        signature=signature(),
        model_config={"files": ""},  # the folder that requests to a server may name files of
        pip_requirements=_pinned(_REQUIREMENTS),
    )


def signature() -> ModelSignature:
    """The columns of the answer and the parameters; the model checks its input itself.

    MLflow's own check of an input shows the input where it fails, pixels and all.
    """
    types = {"abnormal": DataType.boolean, "unfamiliar": DataType.boolean}
    numbers = dict.fromkeys(("prediction", "lower", "upper", "ph_probability"), DataType.double)
    columns: list[Any] = [ColSpec((types | numbers).get(name, DataType.string), name) for name in COLUMNS]
    given = [ParamSpec("level", DataType.double, LEVEL), ParamSpec("refuse", DataType.boolean, False)]
    return ModelSignature(outputs=Schema(columns), params=ParamSchema(given))


@explained()
def bundle_names(run_id: str) -> list[str]:
    """Names of the bundles in a run's model, such as ``fold-2``."""
    files = MlflowClient().list_artifacts(run_id, f"{ARTIFACT}/artifacts")
    return sorted(Path(file.path).name for file in files)


def download_bundles(run_id: str, folder: Path) -> dict[str, Path]:
    """Fetch the bundles of a run's model into a folder; returns them by name.

    Raises:
        InputError: they are gone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = fetch(run_id, f"{ARTIFACT}/artifacts", folder)
    return {bundle.name: bundle for bundle in sorted(path.iterdir())}


@explained()
def register(run: Run, tags: Mapping[str, str]) -> str:
    """Register the run's model; returns the number of the new version."""
    client = MlflowClient()
    try:
        client.create_registered_model(MODEL_NAME)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"runs:/{run.run_id}/{ARTIFACT}"
    return str(client.create_model_version(MODEL_NAME, source, run.run_id, tags=dict(tags)).version)


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
    """Load a version of the registered model with its own code.

    Raises:
        InputError: its files are gone.
    """
    try:
        with _own_code():
            model = mlflow.pyfunc.load_model(f"models:/{MODEL_NAME}/{version.number}")
    except (MlflowException, OSError) as error:
        raise InputError(
            f"Version {version.number} of {MODEL_NAME} is registered, but cannot be loaded from the "
            f"artifacts of the run {version.run_id}: they are gone or damaged, or the store does not answer. "
            "Bring them back, or delete that run and run validate, which registers the folds anew."
        ) from error
    folder: Path = model.unwrap_python_model().code_folder()
    loaded = RegisteredModel(version.number, version.run_id, version.tags, folder, model)
    if not loaded.has_own_code:
        log.warning("The model carries no code of its own: the installed code answers.")
    return loaded


@contextmanager
def _own_code() -> Iterator[None]:
    """Hide this package while a model is loaded, so that the code inside the model answers.

    A package that is imported already would hide the model's own.
    """
    hidden = {name: module for name, module in sys.modules.items() if _is_ours(name)}
    path = list(sys.path)
    for name in hidden:
        del sys.modules[name]
    try:
        yield
    finally:
        for name in [name for name in sys.modules if _is_ours(name)]:
            del sys.modules[name]
        sys.modules.update(hidden)
        sys.path[:] = path


def _is_ours(name: str) -> bool:
    return name == "cardio_mlflow" or name.startswith("cardio_mlflow.")


def _pinned(packages: tuple[str, ...]) -> list[str]:
    return [f"{name}=={installed_version(name).split('+')[0]}" for name in packages]
