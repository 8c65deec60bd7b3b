"""A model of two tiny networks as a folder, loaded, and four clips beside it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from cardio_mlflow.parameters import VIEWS
from cardio_mlflow.tracking.model_folder import save_model
from cardio_mlflow.training.bundle import save_bundle
from tests.data.small_clips import fan, write_clip


@pytest.fixture(scope="module")
def folder(tiny_ensemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two tiny networks with all that a network can have, and clips beside it."""
    place = tmp_path_factory.mktemp("served")
    ensemble = tiny_ensemble(motion="true", identities="true", training_frames=4)
    for name, bundle in ensemble.bundles.items():
        save_bundle(bundle, place / name)
    save_model(place / "model", {name: place / name for name in ensemble.bundles})
    (place / "clips").mkdir()
    for seed, view in enumerate(v.name for v in VIEWS):
        write_clip(place / "clips" / f"{view}.dcm", np.roll(fan(), seed, axis=0))
    return place


@pytest.fixture(scope="module")
def clips(folder: Path) -> dict[str, str]:
    """Four DICOM files in base64 by view."""
    files = {view.name: folder / "clips" / f"{view.name}.dcm" for view in VIEWS}
    return {name: base64.b64encode(file.read_bytes()).decode() for name, file in files.items()}


@pytest.fixture(scope="module")
def local(folder: Path) -> Any:
    """The model loaded in this process, as a colleague would."""
    return mlflow.pyfunc.load_model(str(folder / "model"))
