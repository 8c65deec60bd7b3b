"""The model that predict uses: a version of the registered model, or a folder that holds one."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from cardio_mlflow.errors import InputError
from cardio_mlflow.prediction.manifest import MANIFEST
from cardio_mlflow.report.patient_page import ModelShown
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.registry import (
    MODEL_NAME,
    RegisteredModel,
    load_folder,
    load_version,
    version_called,
)
from cardio_mlflow.training.ensemble import Ensemble, load_ensemble

log = logging.getLogger(__name__)

LEARNED_FROM_SYNTHETIC: Final = (
    "Synthetic: this model has learned from a synthetic cohort. Its numbers show that the software works; "
    "they say nothing about a patient."
)
SYNTHETIC_INPUT: Final = "Synthetic cohort: no real patient is shown."


def is_folder(model: str) -> bool:
    """Whether a user names a model by its folder, which has a separator in its path."""
    return any(mark in model for mark in ("/", "\\", "~")) or model.startswith(".")


@dataclass(frozen=True)
class UsedModel:
    """A model that is loaded."""

    model: RegisteredModel

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.model.code_folder.parents[1]

    @cached_property
    def digest(self) -> str:
        """Changes with any file of the model."""
        return hashlib.sha256((self.folder / MANIFEST).read_bytes()).hexdigest()

    @property
    def is_synthetic(self) -> bool:
        """Whether it has learned from a synthetic cohort."""
        return self.model.tags.get("synthetic") == "true"

    @cached_property
    def networks(self) -> Ensemble:
        """Its networks, with the installed code, to explain them.

        Raises:
            InputError: they are of a version that this one cannot read.
        """
        within = self.folder / "artifacts"
        return load_ensemble(within / "ensemble" if (within / "ensemble").is_dir() else within)

    def tags(self) -> dict[str, str]:
        """What a run says of the model that it used."""
        return {
            "model_version": self.model.number,
            "model_study": self.model.tags.get("study", ""),
            "model_cohort": self.model.tags.get("cohort", ""),
            "model_code": "the model's own" if self.model.has_own_code else "installed",
            "model_digest": self.digest,
        }

    def shown(self, settings: Settings, level: float) -> ModelShown:
        """What pages say of it."""
        version = f" version {self.model.number}" if self.model.number else ", from a folder"
        study = self.model.tags.get("study", "")
        name = f"{MODEL_NAME}{version}{study and f', of the study {study}'}"
        told = {LEARNED_FROM_SYNTHETIC: self.is_synthetic, SYNTHETIC_INPUT: settings.is_synthetic}
        return ModelShown(name, level, [sentence for sentence, is_so in told.items() if is_so])


def load_used(model: str) -> UsedModel:
    """Load the model that a user names: a folder with an MLmodel, or a version, an alias or a run.

    Raises:
        InputError: there is none, or its files are gone, foreign or changed.
    """
    if is_folder(model):
        place = Path(model).expanduser()
        if not place.is_dir():
            raise InputError("model= names a folder that is not there: give its absolute path.")
        return UsedModel(load_folder(place))
    version = version_called(model)
    if version is None:
        raise InputError(
            f"model={model} is neither a version nor an alias of {MODEL_NAME} in this store, nor the id of a "
            "run that has registered one, nor a folder of a model. To make one: mlflow run . -e validate."
        )
    used = UsedModel(load_version(version))
    if used.is_synthetic:
        log.warning(LEARNED_FROM_SYNTHETIC)
    return used
