"""Hemodynamic phenotype of pulmonary hypertension, by reference and by prediction.

Humbert M, et al. 2022 ESC/ERS guidelines for the diagnosis and treatment of pulmonary hypertension. Eur
Heart J 2022;43:3618-3731, table 5. The cut-offs are those of the parameters.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np
import pandas as pd

from cardio_mlflow.analysis.bootstrap import Interval, bootstrap_interval
from cardio_mlflow.analysis.classification import wilson
from cardio_mlflow.analysis.predictions import FloatArray, person_codes, wide
from cardio_mlflow.parameters import PULMONARY_HYPERTENSION, parameter

PHENOTYPES: Final = ("no PH", "pre-capillary", "isolated post-capillary", "combined", "unclassified")
"""The classes; "unclassified" is PH with neither a raised wedge pressure nor a raised resistance."""

_CLASS: Final = {
    (False, True): "pre-capillary",
    (True, False): "isolated post-capillary",
    (True, True): "combined",
    (False, False): "unclassified",
}
"""By raised wedge pressure and raised pulmonary vascular resistance."""

_NEEDED: Final = (PULMONARY_HYPERTENSION.key, "PCWP", "PVR")

AGREEMENT_COLUMNS: Final = (
    "n", "accuracy", "accuracy_low", "accuracy_high", "kappa", "kappa_low", "kappa_high", "note",
)  # fmt: skip


def phenotype(mean_pap: float, wedge: float, resistance: float) -> str:
    """Name the class of one patient; empty when a value that decides it is NaN.

    Args:
        mean_pap: mean pulmonary artery pressure in mmHg.
        wedge: pulmonary capillary wedge pressure in mmHg; not needed without PH.
        resistance: pulmonary vascular resistance in Wood units; not needed without PH.

    >>> phenotype(35, 10, 4), phenotype(20, float("nan"), 4), phenotype(35, float("nan"), 4)
    ('pre-capillary', 'no PH', '')
    """
    if np.isnan(mean_pap):
        return ""
    if not PULMONARY_HYPERTENSION.is_abnormal(mean_pap):
        return "no PH"
    if np.isnan(wedge) or np.isnan(resistance):
        return ""
    return _CLASS[parameter("PCWP").is_abnormal(wedge), parameter("PVR").is_abnormal(resistance)]


def phenotype_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Class of each patient by the references and by the predictions.

    Returns:
        One row for each patient whose class is known on both sides, sorted by id: patient_id, reference,
        prediction (of `PHENOTYPES`), and person where the predictions have it. "no PH" needs only meanPAP,
        but nobody has a class where nobody has one of the three parameters: only they would be left.
    """
    sides = {side: _classes(wide(predictions, side)) for side in ("reference", "prediction")}
    table = pd.DataFrame(sides).rename_axis("patient_id").reset_index()
    if "person" in predictions.columns:
        table["person"] = table["patient_id"].map(
            predictions.drop_duplicates("patient_id").set_index("patient_id")["person"]
        )
    judged = set(predictions.loc[predictions["reference"].notna(), "parameter"])
    known = (table["reference"] != "") & (table["prediction"] != "") & (judged >= set(_NEEDED))
    return table[known].reset_index(drop=True)


def _classes(values: pd.DataFrame) -> pd.Series[str]:
    needed = values.reindex(columns=list(_NEEDED)).to_numpy(np.float64)
    return pd.Series([phenotype(*row) for row in needed], index=values.index, dtype=object)


def phenotype_confusion(phenotypes: pd.DataFrame) -> pd.DataFrame:
    """Count patients for each pair of classes.

    Returns:
        reference, prediction, n: all 25 pairs in the order of `PHENOTYPES`.
    """
    pairs = [(reference, prediction) for reference in PHENOTYPES for prediction in PHENOTYPES]
    found = phenotypes.groupby(["reference", "prediction"]).size().to_dict()
    rows = [(*pair, int(found.get(pair, 0))) for pair in pairs]
    return pd.DataFrame(rows, columns=["reference", "prediction", "n"])


def cohen_kappa(reference: FloatArray, prediction: FloatArray, classes: int) -> FloatArray:
    """Cohen's kappa, (p_o − p_e) / (1 − p_e), without weights.

    Cohen J. A coefficient of agreement for nominal scales. Educ Psychol Meas 1960;20:37-46.

    Args:
        reference: numbers of classes from 0, shape (..., n).
        prediction: shape (..., n).

    Returns:
        Shape (...); NaN for nobody, or when all are in one and the same class on both sides.
    """
    if reference.shape[-1] == 0:
        return np.full(reference.shape[:-1], np.nan)
    observed = np.asarray((reference == prediction).mean(axis=-1))
    expected = np.zeros_like(observed)
    for number in range(classes):
        expected = expected + (reference == number).mean(axis=-1) * (prediction == number).mean(axis=-1)
    result = np.full(observed.shape, np.nan)
    np.divide(observed - expected, 1 - expected, out=result, where=expected < 1 - 1e-12)
    return result


def phenotype_agreement(phenotypes: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """Accuracy with Wilson's interval, and kappa with a patient bootstrap interval.

    Returns:
        One row with `AGREEMENT_COLUMNS`; `note` says why a value is NaN.
    """
    numbers = {name: float(number) for number, name in enumerate(PHENOTYPES)}
    reference, prediction = (
        np.array([numbers[name] for name in phenotypes[side]], dtype=np.float64)
        for side in ("reference", "prediction")
    )
    statistic = partial(cohen_kappa, classes=len(PHENOTYPES))
    kappa, interval = np.nan, Interval(np.nan, np.nan, 0, 0)
    notes = []
    if reference.size:
        kappa = float(statistic(reference, prediction))
    if reference.size == 0:
        notes.append("no patient has a known phenotype")
    elif np.isnan(kappa):
        notes.append("all patients are in one class: no kappa")
    else:
        interval = bootstrap_interval(
            statistic, reference, prediction, resamples, seed, persons=person_codes(phenotypes)
        )
        notes += [f"kappa {interval.note}"] if interval.note else []
    accuracy = wilson(int((reference == prediction).sum()), reference.size)
    row = (reference.size, *accuracy, kappa, interval.low, interval.high, "; ".join(notes))
    return pd.DataFrame([row], columns=list(AGREEMENT_COLUMNS))
