"""Catheterisation values of synthetic patients, drawn jointly so that the identities between them hold."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from cardio_mlflow.parameters import FACTS, KEYS, PARAMETERS
from cardio_mlflow.synthetic.anatomy import draw_anatomy
from cardio_mlflow.synthetic.seeding import Stream, patient_normals

Array = NDArray[np.float64]

EXTRA_COLUMNS = ("HR", "BSA", "MAP", "sex", "age")
"""Heart rate (beats/min), body surface (m²), mean arterial pressure (mmHg), sex (F or M), age (years)."""

# Groups: no pulmonary hypertension, pre-capillary, isolated post-capillary, combined (ESC/ERS 2022, table 5).
GROUP_SHARE = (0.40, 0.22, 0.21, 0.17)
WEDGE_MEAN = np.array([9.0, 9.5, 22.0, 23.5])
WEDGE_SD = np.array([2.6, 2.4, 4.3, 4.6])
WEDGE_RANGE = np.array([(2.0, 15.0), (3.0, 15.0), (16.0, 38.0), (16.0, 38.0)])
PVR_MEDIAN = np.array([1.3, 5.8, 1.5, 4.0])
PVR_LOG_SD = np.array([0.30, 0.45, 0.28, 0.36])
HIGHEST_MEAN_PRESSURE = 75.0
SMALLEST_GRADIENT = 2.0
HEART_RATE, HEART_RATE_SPREAD, HEART_RATE_RANGE = 76.0, 0.19, (48.0, 120.0)
"""Median, beats/min, SD of its logarithm, and limits; drawn without regard to any reference."""


def patient_ids(patients: int) -> list[str]:
    """P0001, P0002 and so on."""
    return [f"P{i + 1:04d}" for i in range(patients)]


def draw_hemodynamics(patients: int, seed: int) -> pd.DataFrame:
    """Draw the references of a cohort, rounded as a catheterisation report does.

    meanPAP = PCWP + PVR·CO, meanPAP ≈ (SPAP + 2·dPAP)/3, CI = CO/BSA and SVRI = 80·(MAP − RAP)/CI
    (Kovacs et al., Eur Respir J 2014) hold to the rounding. About three in five have meanPAP > 20 mmHg.

    Args:
        patients: how many; the first n of a longer draw are the same patients.
        seed: the cohort's seed.

    Returns:
        One row per patient, index `patient_id`; columns KEYS, then EXTRA_COLUMNS.
    """
    z = patient_normals(patients, seed, Stream.HEMODYNAMICS, 11).T
    group = np.searchsorted(np.cumsum(GROUP_SHARE)[:-1], norm.cdf(z[0]))
    wedge = np.round(np.clip(WEDGE_MEAN[group] + WEDGE_SD[group] * z[1], *WEDGE_RANGE[group].T))
    resistance = PVR_MEDIAN[group] * np.exp(PVR_LOG_SD[group] * z[2])
    male = z[10] > 0.1
    surface = np.round(np.clip(np.where(male, 1.96, 1.76) + 0.15 * z[4], 1.35, 2.5), 2)
    output = np.round(_cardiac_index(resistance, wedge, z[3]) * surface, 2)
    systolic, diastolic = _pulmonary_pressures(wedge, resistance * output, z[5])
    mean = np.round((systolic + 2 * diastolic) / 3)
    right_atrial = _right_atrial_pressure(wedge, mean, z[6])
    arterial = np.round(np.clip(91 + 11 * z[7], 62, 130))
    index = np.round(output / surface, 2)
    columns: dict[str, object] = {
        "RAP": right_atrial, "SPAP": systolic, "dPAP": diastolic, "meanPAP": mean, "PCWP": wedge,
        "CO": output, "CI": index, "SVRI": np.round(80 * (arterial - right_atrial) / index),
        "PVR": np.round((mean - wedge) / output, 2),
        "HR": np.round(np.clip(HEART_RATE * np.exp(HEART_RATE_SPREAD * z[8]), *HEART_RATE_RANGE)),
        "BSA": surface, "MAP": arterial,
        "sex": np.where(male, "M", "F"), "age": np.round(np.clip(62 + 12 * z[9], 20, 90)).astype(int),
    }  # fmt: skip
    table = pd.DataFrame(columns, index=pd.Index(patient_ids(patients), name="patient_id"))
    return table[[*KEYS, *EXTRA_COLUMNS]]


def _cardiac_index(resistance: Array, wedge: Array, z: Array) -> Array:
    """Cardiac index, L/min/m², lower with high resistance and congestion."""
    index = 2.95 * np.exp(0.19 * z - 0.10 * np.log(resistance / 1.5) - 0.011 * (wedge - 10))
    return np.clip(index, 1.2, 5.5)


def _pulmonary_pressures(wedge: Array, gradient: Array, z: Array) -> tuple[Array, Array]:
    """Systolic and diastolic pressure about the mean, mmHg; the pulse grows with the mean."""
    mean = np.minimum(wedge + np.maximum(gradient, SMALLEST_GRADIENT + 0.5), HIGHEST_MEAN_PRESSURE)
    pulse = np.maximum(mean * (0.92 + 0.12 * z) + 3, 8)
    pulse = np.clip(pulse, None, 3 * (mean - wedge + 1.5))
    diastolic = np.round(mean - pulse / 3)
    return np.round(3 * np.round(mean) - 2 * diastolic), diastolic


def _right_atrial_pressure(wedge: Array, mean: Array, z: Array) -> Array:
    """Right atrial pressure, mmHg, rising with both sides' load."""
    pressure = np.clip(4.2 + 0.30 * (wedge - 9) + 0.17 * (mean - 16) + 2.4 * z, 0, 28)
    return np.asarray(np.round(pressure), dtype=np.float64)


def anatomical_ceiling(
    *, facts: bool = False, patients: int = 20_000, seed: int = 20_240_601
) -> dict[str, float]:
    """Correlation between each reference and its best prediction from the latent anatomy.

    A quadratic ridge regression is fitted on one simulated half, in logarithms for parameters that the
    network learns in logarithms, and judged on the other in the parameters' own units. Each process
    simulates it once.

    Args:
        facts: whether FACTS are inputs too. The stroke volume is then predicted in place of CO, CI and
            SVRI, which follow as CO = SV·HR, CI = CO/BSA and SVRI = 80·(MAP − RAP)/CI.
        patients: both halves together.
        seed: of the simulation.

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
    return tuple(float(judged[key].astype(np.float64).corr(predicted[key])) for key in KEYS)


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
