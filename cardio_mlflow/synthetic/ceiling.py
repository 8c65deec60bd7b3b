"""How well the references could be predicted at best, from the anatomy that the images carry."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from cardio_mlflow.parameters import KEYS, PARAMETERS
from cardio_mlflow.synthetic.anatomy import draw_anatomy
from cardio_mlflow.synthetic.hemodynamics import draw_hemodynamics


def anatomical_ceiling(patients: int = 20_000, seed: int = 20_240_601) -> dict[str, float]:
    """Correlation between each reference and its best prediction from the latent anatomy.

    A quadratic ridge regression is fitted on one simulated half, in logarithms for parameters that the
    network learns in logarithms, and judged on the other in the parameters' own units.

    Args:
        patients: how many to simulate, both halves together.
        seed: of the simulation; no cohort need share it.

    Returns:
        Pearson's r for each key of KEYS, in that order.
    """
    hemodynamics = draw_hemodynamics(patients, seed)
    inputs = draw_anatomy(hemodynamics, seed).to_numpy(dtype=np.float64)
    targets = _targets(hemodynamics)
    half = patients // 2
    model = make_pipeline(StandardScaler(), PolynomialFeatures(2), StandardScaler(), Ridge(1.0))
    model.fit(inputs[:half], targets[:half])
    predicted = model.predict(inputs[half:])
    references = hemodynamics[list(KEYS)].to_numpy(dtype=np.float64)[half:]
    in_units = [np.exp(predicted[:, i]) if p.log else predicted[:, i] for i, p in enumerate(PARAMETERS)]
    return {key: _pearson(references[:, i], in_units[i]) for i, key in enumerate(KEYS)}


def _targets(hemodynamics: pd.DataFrame) -> NDArray[np.float64]:
    values = hemodynamics[list(KEYS)].to_numpy(dtype=np.float64, copy=True)
    for i, p in enumerate(PARAMETERS):
        if p.log:
            values[:, i] = np.log(np.maximum(values[:, i], 0.05))
    return values


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.corrcoef(a, b)[0, 1])
