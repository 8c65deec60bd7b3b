"""The registered model: the mean of a study's folds, as an MLflow pyfunc from code.

MLflow runs this file when the model is loaded, with the package's code as it was at registration.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from cardio_mlflow import parameters
from cardio_mlflow.data.dataset import ClipTensor
from cardio_mlflow.parameters import FACTS, KEYS, VIEW_CODES
from cardio_mlflow.training.bundle import Bundle, load_bundle, predict

Array = np.ndarray[Any, np.dtype[Any]]


class CardioHemodynamics(PythonModel):  # type: ignore[misc]
    """Nine catheterisation values from prepared clips.

    Input: a dict of arrays for N patients and V = 4 views in the order of the view table, of which the
    model's signature names those that it needs: ``views``, (N, V, T, 224, 224) uint8 prepared clips;
    ``view_mask``, (N, V) uint8; ``phased``, (N, V) uint8, the clips whose first frame is known to stand at an
    R wave; ``placement``, (N, V, 3) float64, mm per pixel and the apex (x, y) in pixels, NaN where the scale
    is not known; ``facts``, (N, 3) float64, heart rate (beats/min), body surface (m²) and mean arterial
    pressure (mmHg), NaN where not known. Output: a table of N rows and nine columns, in the units of the
    parameter table.
    """

    bundles: dict[str, Bundle]

    def load_context(self, context: PythonModelContext) -> None:
        """Load one bundle per fold."""
        self.bundles = {name: load_bundle(Path(folder)) for name, folder in sorted(context.artifacts.items())}

    # Without type hints: mlflow would take them for the input's schema, which the signature gives.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
        """Predict; the mean over the folds.

        Raises:
            ValueError: the arrays do not have the shapes that the class states.
        """
        return pd.DataFrame(self.answer(model_input)["predictions"], columns=list(KEYS))

    def answer(self, model_input: Mapping[str, Any]) -> dict[str, Any]:
        """Predict, and say what the predictions were made from.

        Args:
            model_input: as the class states.

        Returns:
            ``predictions`` and ``direct``, (N, 9), the mean over the folds, NaN of a parameter that none has
            learned; ``derived``, (N, 9) bool, the values that follow from stroke volume by an identity;
            ``features``, (N, D) by the name of the fold.

        Raises:
            ValueError: the arrays do not have the shapes that the class states.
        """
        given = {name: np.asarray(values) for name, values in model_input.items()}
        clips, facts = read_inputs(given)
        found = {name: predict(bundle, clips, facts) for name, bundle in self.bundles.items()}
        of_folds = [prediction.predicted for prediction in found.values()]
        return {
            "predictions": _mean([of.predictions for of in of_folds]),
            "direct": _mean([of.direct for of in of_folds]),
            "derived": np.all([of.derived for of in of_folds], axis=0),
            "features": {name: prediction.features for name, prediction in found.items()},
        }

    def code_folder(self) -> Path:
        """The folder of the code that answers: the model's own when it was loaded in isolation."""
        return Path(parameters.__file__).resolve().parent


def read_inputs(given: Mapping[str, Array]) -> tuple[ClipTensor, Array]:
    """The clips and the (N, 3) facts in a model's input; what a model has no need of may be left out.

    Raises:
        ValueError: names the shapes and nothing of the patient.
    """
    views, mask = given["views"], given["view_mask"]
    count = len(VIEW_CODES)
    if views.ndim != 5 or views.shape[1] != count or views.dtype != np.uint8:
        raise ValueError(f"views must be uint8 (N, {count}, T, H, W), not {views.dtype} {views.shape}")
    patients = len(views)
    phased = given.get("phased", np.zeros((patients, count)))
    placement = given.get("placement", np.full((patients, count, 3), np.nan))
    facts = given.get("facts", np.full((patients, len(FACTS)), np.nan))
    shapes = {
        "view_mask": (mask, (patients, count)),
        "phased": (phased, (patients, count)),
        "placement": (placement, (patients, count, 3)),
        "facts": (facts, (patients, len(FACTS))),
    }
    for name, (array, shape) in shapes.items():  # fmt: skip
        if array.shape != shape:
            raise ValueError(f"{name} must be {shape}, not {array.shape}")
    if not mask.any(axis=1).all():
        raise ValueError("every patient needs at least one view")
    ids = tuple(map(str, range(patients)))
    arrays = (views, mask.astype(bool), placement.astype(np.float64), phased.astype(bool))
    clips, present, placed, verified = (torch.from_numpy(array) for array in arrays)
    return ClipTensor(ids, clips, present, placed, verified), facts.astype(np.float64)


def _mean(values: list[Array]) -> Array:
    """Mean of (N, 9) arrays over those that have a value; NaN where none has."""
    stacked = np.stack(values)
    given = ~np.isnan(stacked)
    mean = np.full(stacked.shape[1:], np.nan)
    np.divide(np.where(given, stacked, 0).sum(0), given.sum(0), out=mean, where=given.any(0))
    return mean


mlflow.models.set_model(CardioHemodynamics())
