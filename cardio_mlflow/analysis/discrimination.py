"""Discrimination at the cut-offs that are fixed beforehand."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import stats

from cardio_mlflow.analysis.predictions import FloatArray


def area_under_curve(
    reference: FloatArray, prediction: FloatArray, *, cutoff: float, abnormal: Literal["above", "below"]
) -> FloatArray:
    """Area under the ROC curve of a prediction for an abnormal reference.

    The probability that an abnormal patient's prediction lies further on the abnormal side than a
    normal patient's, ties counted half (Mann-Whitney): Hanley JA, McNeil BJ. Radiology 1982;143:29-36.

    Args:
        reference: shape (..., n).
        prediction: shape (..., n).
        cutoff: in the parameter's unit; abnormal lies strictly beyond it.
        abnormal: "above" or, as for CO and CI, "below" the cut-off.

    Returns:
        Shape (...); NaN where all patients are normal or all abnormal.

    >>> float(area_under_curve(np.array([3.0, 5.0]), np.array([3.5, 4.5]), cutoff=4, abnormal="below"))
    1.0
    """
    sign = 1.0 if abnormal == "above" else -1.0
    positive = (sign * reference > sign * cutoff).astype(np.float64)
    positives = positive.sum(axis=-1)
    pairs = positives * (reference.shape[-1] - positives)
    if reference.shape[-1] == 0:
        return np.full(reference.shape[:-1], np.nan)
    ranks = stats.rankdata(sign * prediction, axis=-1)
    wins = (ranks * positive).sum(axis=-1) - positives * (positives + 1) / 2
    result = np.full(np.shape(pairs), np.nan)
    np.divide(wins, pairs, out=result, where=pairs > 0)
    return result
