"""The registered model: the mean of a study's folds, as an MLflow pyfunc from code.

MLflow runs this file when the model is loaded, with the package's code as it was at registration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from cardio_mlflow import parameters
from cardio_mlflow.parameters import KEYS, VIEW_CODES
from cardio_mlflow.training.bundle import Bundle, load_bundle, predict

Array = np.ndarray[Any, np.dtype[Any]]


class CardioHemodynamics(PythonModel):  # type: ignore[misc]
    """Nine catheterisation values from prepared clips.

    Input: a dict of ``views``, (N, 4, T, 224, 224) uint8 prepared clips in the order of the view table,
    and ``view_mask``, (N, 4) uint8. Output: a table of N rows and nine columns, in the units of the
    parameter table.
    """

    bundles: dict[str, Bundle]

    def load_context(self, context: PythonModelContext) -> None:
        """Load one bundle a fold."""
        self.bundles = {name: load_bundle(Path(folder)) for name, folder in sorted(context.artifacts.items())}

    # Without type hints: mlflow would take them for the input's schema, which the signature gives.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
        """Predict; the mean over the folds.

        Raises:
            ValueError: the arrays do not have the shapes that the class states.
        """
        values, _ = self.evaluate(np.asarray(model_input["views"]), np.asarray(model_input["view_mask"]))
        return pd.DataFrame(values, columns=list(KEYS))

    def evaluate(self, views: Array, mask: Array) -> tuple[Array, dict[str, Array]]:
        """Predict, and give the fused features that the predictions were made from.

        Args:
            views: (N, 4, T, 224, 224) uint8.
            mask: (N, 4) uint8 or bool.

        Returns:
            (N, 9) values, the mean over the folds, NaN of a parameter that none has learned; and (N, D)
            features by the name of the fold.

        Raises:
            ValueError: the arrays do not have the shapes that the class states.
        """
        check_shapes(views, mask)
        clips, present = torch.from_numpy(views), torch.from_numpy(mask.astype(bool))
        found = {name: predict(bundle, clips, present) for name, bundle in self.bundles.items()}
        values = np.stack([prediction.predictions for prediction in found.values()])
        given = ~np.isnan(values)
        mean = np.full(values.shape[1:], np.nan)
        np.divide(np.where(given, values, 0).sum(0), given.sum(0), out=mean, where=given.any(0))
        return mean, {name: prediction.features for name, prediction in found.items()}

    def code_folder(self) -> Path:
        """The folder of the code that answers: the model's own when it was loaded in isolation."""
        return Path(parameters.__file__).resolve().parent


def check_shapes(views: Array, mask: Array) -> None:
    """Check the two input arrays.

    Raises:
        ValueError: names the shapes and nothing of the patient.
    """
    count = len(VIEW_CODES)
    if views.ndim != 5 or views.shape[1] != count or views.dtype != np.uint8:
        raise ValueError(f"views must be uint8 (N, {count}, T, H, W), not {views.dtype} {views.shape}")
    if mask.shape != views.shape[:2]:
        raise ValueError(f"view_mask must be {views.shape[:2]}, not {mask.shape}")
    if not mask.any(axis=1).all():
        raise ValueError("every patient needs at least one view")


mlflow.models.set_model(CardioHemodynamics())
