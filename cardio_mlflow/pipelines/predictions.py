"""Building the tables that networks leave: predictions, and the features behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cardio_mlflow.analysis.predictions import COLUMNS
from cardio_mlflow.parameters import KEYS, PARAMETERS
from cardio_mlflow.training.stroke_volume import Predicted

FloatArray = NDArray[np.float64]


def build_predictions(
    patients: Sequence[str],
    references: FloatArray,
    predicted: Predicted,
    *,
    cohort: str,
    variant: str,
    fold: int | None = None,
    persons: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The predictions table of one model.

    Args:
        patients: N ids.
        references: (N, 9) in the units of the parameter table, NaN where missing.
        predicted: (N, 9) in the same units, NaN for what is not predicted, and which way they came.
        cohort: I or II.
        variant: the network's variant.
        fold: the fold whose validation patients these are; none for Cohort II.
        persons: the N patients' persons, where some share one.

    Returns:
        One row per prediction, a patient's parameters together. Where any of them followed by an identity,
        `way` says which (identity or direct) and `direct` has the prediction of the parameter's own head.
    """
    count = len(patients)
    columns = {
        "patient_id": np.repeat(np.asarray(patients, dtype=object), len(KEYS)),
        "cohort": cohort,
        "fold": pd.array([fold] * count * len(KEYS), dtype="Int64"),
        "variant": variant,
        "parameter": list(KEYS) * count,
        "unit": [p.unit for p in PARAMETERS] * count,
        "reference": references.ravel(),
        "prediction": predicted.predictions.ravel(),
    }
    table = pd.DataFrame(columns)[list(COLUMNS)]
    if predicted.derived.any():
        table["way"] = np.where(predicted.derived.ravel(), "identity", "direct")
        table["direct"] = predicted.direct.ravel()
    if persons is not None:
        table["person"] = np.repeat(np.asarray(persons, dtype=object), len(KEYS))
    return table[table["prediction"].notna()].reset_index(drop=True)


def features_table(patients: Sequence[str], features: Mapping[int, FloatArray]) -> pd.DataFrame:
    """The features table: fused features of patients by one or several networks.

    Args:
        patients: N ids.
        features: the fold that a network was trained without, to its (N, D) features.

    Returns:
        A row for each network and patient: patient_id, network, f0 and so on, to single precision.
    """
    tables = []
    for network, values in features.items():
        names = [f"f{i}" for i in range(values.shape[1])]
        table = pd.DataFrame(values.astype(np.float32), columns=names)
        table.insert(0, "network", network)
        table.insert(0, "patient_id", list(patients))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)
