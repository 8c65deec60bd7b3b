"""How well the references could be predicted at best, from the anatomy that the images carry."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from cardio_mlflow.parameters import FACTS, KEYS, PARAMETERS
from cardio_mlflow.synthetic.anatomy import draw_anatomy
from cardio_mlflow.synthetic.hemodynamics import draw_hemodynamics


def anatomical_ceiling(
    *, facts: bool = False, patients: int = 20_000, seed: int = 20_240_601
) -> dict[str, float]:
    """Correlation between each reference and its best prediction from the latent anatomy.

    A quadratic ridge regression is fitted on one simulated half, in logarithms for parameters that the
    network learns in logarithms, and judged on the other in the parameters' own units. It is simulated
    once a process.

    Args:
        facts: whether FACTS are known besides: they are inputs then, and the stroke volume (of which the
            heart shows size and ejection) is predicted in place of CO, CI and SVRI, which follow as
            CO = SV·HR, CI = CO/BSA and SVRI = 80·(MAP − RAP)/CI.
        patients: how many to simulate, both halves together.
        seed: of the simulation; no cohort need share it.

    Returns:
        Pearson's r for each key of KEYS, in that order.
    """
    return dict(zip(KEYS, _simulated(facts, patients, seed), strict=True))


@cache
def _simulated(facts: bool, patients: int, seed: int) -> tuple[float, ...]:
    hemodynamics = draw_hemodynamics(patients, seed)
    inputs = draw_anatomy(hemodynamics, seed)
    if facts:
        inputs = inputs.join(hemodynamics[list(FACTS)])
    half = patients // 2
    targets = _targets(hemodynamics)
    model = make_pipeline(StandardScaler(), PolynomialFeatures(2), StandardScaler(), Ridge(1.0))
    model.fit(inputs[:half], targets[:half])
    judged = hemodynamics[half:]
    predicted = pd.DataFrame(model.predict(inputs[half:]), judged.index, targets.columns)
    for p in PARAMETERS:
        if p.log:
            predicted[p.key] = np.exp(predicted[p.key])
    if facts:
        predicted = _by_identities(predicted, judged)
    return tuple(_pearson(judged[key], predicted[key]) for key in KEYS)


def _targets(hemodynamics: pd.DataFrame) -> pd.DataFrame:
    """The parameters as they are fitted, and the stroke volume, L."""
    values = hemodynamics[list(KEYS)].astype(np.float64)
    for p in PARAMETERS:
        if p.log:
            values[p.key] = np.log(values[p.key].clip(lower=0.05))
    return values.assign(SV=hemodynamics["CO"] / hemodynamics["HR"])


def _by_identities(predicted: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """CO, CI and SVRI from the predicted stroke volume and what is known of each patient."""
    output = predicted["SV"].clip(lower=0.01) * known["HR"]
    index = output / known["BSA"]
    return predicted.assign(CO=output, CI=index, SVRI=80 * (known["MAP"] - predicted["RAP"]) / index)


def _pearson(a: pd.Series, b: pd.Series) -> float:
    return float(a.astype(np.float64).corr(b))
