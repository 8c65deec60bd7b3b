"""A model as MLflow keeps it: a folder of networks, code, requirements and an example; no path is in it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Final

import mlflow
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from cardio_mlflow.analysis.conformal import LEVEL
from cardio_mlflow.prediction.answers import COLUMNS
from cardio_mlflow.prediction.manifest import write_manifest
from cardio_mlflow.tracking.model_code import ENTRY, foreign_packages, own_modules, stage

ARTIFACT: Final = "model"
"""What a run's model is called."""
ENSEMBLE: Final = "ensemble"
"""The model's artifact that holds several networks."""

_DECODERS: Final = ("pylibjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "python-gdcm", "pillow")
"""What pydicom finds by itself where it is installed."""


def save_model(
    folder: Path,
    artifacts: Mapping[str, Path],
    *,
    about: Mapping[str, str] | None = None,
    example: pd.DataFrame | None = None,
    model: Model | None = None,
) -> str:
    """Write a model into a new folder; returns the digest of its list of files.

    Args:
        folder: which is made.
        artifacts: an ensemble's folder as ``ensemble``, or those of bundles by their names.
        about: what the model says of itself, by name.
        example: a request that it answers.
        model: the ids that MLflow knows it by.
    """
    with tempfile.TemporaryDirectory() as staged:
        mlflow.pyfunc.save_model(
            path=str(folder),
            python_model=str(ENTRY),
            artifacts={name: str(path) for name, path in artifacts.items()},
            code_paths=[str(stage(Path(staged)))],
            signature=signature(),
            model_config={"files": ""},  # the folder that requests to a server may name files of
            pip_requirements=requirements(),
            input_example=example,
            metadata=dict(about or {}),
            mlflow_model=model or Model(),
        )
    _forget_places(folder)
    return write_manifest(folder)


def signature() -> ModelSignature:
    """The columns of the answer and the parameters; the model checks its input itself.

    MLflow's own check of an input shows the input where it fails, pixels and all.
    """
    types = {"abnormal": DataType.boolean, "unfamiliar": DataType.boolean}
    numbers = dict.fromkeys(("prediction", "lower", "upper", "ph_probability"), DataType.double)
    columns: list[Any] = [ColSpec((types | numbers).get(name, DataType.string), name) for name in COLUMNS]
    given = [ParamSpec("level", DataType.double, LEVEL), ParamSpec("refuse", DataType.boolean, False)]
    return ModelSignature(outputs=Schema(columns), params=ParamSchema(given))


def requirements() -> list[str]:
    """What the model's code needs, in the versions that are installed, which are this project's own."""
    names = {*foreign_packages([ENTRY, *own_modules()]), *_DECODERS}
    return [f"{name}=={installed_version(name).split('+')[0]}" for name in sorted(names)]


def _forget_places(folder: Path) -> None:
    """Take from MLmodel the paths of the machine that the model was made on; MLflow needs none of them."""
    model = Model.load(str(folder))
    model.artifact_path = ARTIFACT
    loading = model.flavors["python_function"]
    loading["model_code_path"] = ENTRY.name
    for stored in loading["artifacts"].values():
        stored["uri"] = stored["path"]
    model.save(str(folder / "MLmodel"))
