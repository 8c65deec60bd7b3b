"""Statistics of patients that are counted several times, for many bootstrap resamples at once."""

from __future__ import annotations

import numpy as np

from cardio_mlflow.analysis import agreement
from cardio_mlflow.analysis.bootstrap import count_persons, resample
from cardio_mlflow.analysis.predictions import FloatArray, IntArray


def bootstrap_counts(persons: IntArray, resamples: int, seed: int) -> FloatArray:
    """How often each patient is drawn in each resample, (resamples, patients), by their `person_codes`."""
    count = count_persons(persons)
    drawn = resample(count, resamples, seed)
    counts = [np.bincount(row, minlength=count)[persons] for row in drawn]
    return np.array(counts, dtype=np.float64).reshape(resamples, persons.size)


def weighted_mean_absolute_error(
    reference: FloatArray, prediction: FloatArray, counts: FloatArray
) -> FloatArray:
    """Mean of |prediction − reference| over the patients that have both values, counted as often as drawn.

    Args:
        reference: (patients,), NaN where it is missing.
        prediction: (patients,), NaN where it is missing.
        counts: (resamples, patients).

    Returns:
        (resamples,), NaN where nobody with both values is drawn.
    """
    present = np.isfinite(reference) & np.isfinite(prediction)
    weights = counts[:, present]
    total = weights.sum(axis=1)
    result = np.full(len(counts), np.nan)
    error = np.abs(prediction[present] - reference[present])
    np.divide(weights @ error, total, out=result, where=total > 0)
    return result


def weighted_pearson(reference: FloatArray, prediction: FloatArray, counts: FloatArray) -> FloatArray:
    """Signed Pearson correlation over the patients that have both values, counted as often as drawn.

    Args:
        reference: (patients,), NaN where it is missing.
        prediction: (patients,), NaN where it is missing.
        counts: (resamples, patients).

    Returns:
        (resamples,), NaN where it is not defined.
    """
    present = np.isfinite(reference) & np.isfinite(prediction)
    if present.sum() < agreement.SMALLEST:
        return np.full(len(counts), np.nan)
    weights = counts[:, present]
    x, y = (values[present] - values[present].mean() for values in (reference, prediction))
    total = np.maximum(weights.sum(axis=1), 1)
    mean_x, mean_y = weights @ x / total, weights @ y / total
    var_x = weights @ (x * x) / total - mean_x**2
    var_y = weights @ (y * y) / total - mean_y**2
    covariance = weights @ (x * y) / total - mean_x * mean_y
    floor_x, floor_y = 1e-12 * np.mean(x * x), 1e-12 * np.mean(y * y)
    constant = bool(agreement.is_constant(reference[present]) or agreement.is_constant(prediction[present]))
    defined = (var_x > floor_x) & (var_y > floor_y) & (not constant)
    result = np.full(len(counts), np.nan)
    scale = np.sqrt(np.maximum(var_x, 0)) * np.sqrt(np.maximum(var_y, 0))
    np.divide(covariance, scale, out=result, where=defined)
    return np.asarray(np.clip(result, -1.0, 1.0))
