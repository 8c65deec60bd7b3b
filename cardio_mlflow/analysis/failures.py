"""The patients that are predicted worst, with what their clips say."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from cardio_mlflow.analysis.agreement import is_constant
from cardio_mlflow.analysis.predictions import FloatArray, wide
from cardio_mlflow.analysis.subgroups import participants_of
from cardio_mlflow.parameters import VIEW_CODES, parameter

COLUMNS: Final = (
    "rank", "patient_id", "fold", "mean_error", "worst_parameter", "worst_reference", "worst_prediction",
    "unit", *VIEW_CODES,
)  # fmt: skip


def worst_patients(
    predictions: pd.DataFrame, participants: pd.DataFrame | None, count: int = 10
) -> pd.DataFrame:
    """Rank patients by their mean error, each parameter's in standard deviations of its references.

    Args:
        predictions: a checked predictions table of one variant and one cohort.
        participants: a row for each patient with the outcome of its clips, one column a view; may be missing.
        count: how many patients, at most.

    Returns:
        `COLUMNS`, the worst first, equals by patient id. `mean_error` is the mean of |prediction − reference|
        / SD (n − 1) over the parameters the patient has a reference for; a parameter with fewer than two
        references, or equal ones, has no SD and is left out, as is a patient without any. The worst
        parameter's reference and prediction are in `unit`; a view without a clip has "".
    """
    reference, prediction = wide(predictions, "reference"), wide(predictions, "prediction")
    scales = {key: _sd(reference[key].to_numpy(np.float64)) for key in reference.columns}
    scaled = ((prediction - reference).abs() / pd.Series(scales, dtype=np.float64)).dropna(how="all")
    mean = scaled.mean(axis=1).sort_values(ascending=False, kind="stable").head(count)
    folds = predictions.drop_duplicates("patient_id").set_index("patient_id")["fold"]
    outcomes = _outcomes(predictions, participants, mean.index)
    rows = []
    for rank, (index, error) in enumerate(mean.items(), start=1):
        patient = str(index)
        key = str(scaled.loc[patient].idxmax())
        rows.append({
            "rank": rank,
            "patient_id": patient,
            "fold": folds[patient],
            "mean_error": error,
            "worst_parameter": key,
            "worst_reference": reference.loc[patient, key],
            "worst_prediction": prediction.loc[patient, key],
            "unit": parameter(key).unit,
        } | {view: outcomes.loc[patient, view] for view in VIEW_CODES})  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"fold": "Int64"})


def _sd(references: FloatArray) -> float:
    present = references[np.isfinite(references)]
    return float("nan") if present.size < 2 or is_constant(present) else float(present.std(ddof=1))


def _outcomes(
    predictions: pd.DataFrame, participants: pd.DataFrame | None, patients: pd.Index
) -> pd.DataFrame:
    """The outcome of each view's clip, shape (patients, views), "" where it is unknown."""
    table = participants_of(predictions, participants)
    return table.reindex(index=patients, columns=list(VIEW_CODES)).astype(object).fillna("")
