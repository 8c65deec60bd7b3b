"""Agreement between reference and prediction: correlation, error, and calibration line.

Every statistic takes two arrays of shape (..., n) and works along the last axis, so that a bootstrap
computes all its resamples in one call. Where a statistic is not defined the result is NaN.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from cardio_mlflow.analysis.predictions import FloatArray, wide

SMALLEST = 3
"""A correlation of fewer patients than this says nothing: two points always lie on a line."""


def is_constant(values: FloatArray) -> FloatArray:
    """1 where all values along the last axis agree to single precision, else 0; shape (..., n) to (...).

    A network that has collapsed gives values that differ in their last bits only: their ranks and
    correlations would be noise.
    """
    spread = values.max(axis=-1) - values.min(axis=-1)
    return np.asarray(spread <= 1e-6 * np.abs(values).max(axis=-1), dtype=np.float64)


def _divide(numerator: FloatArray, denominator: FloatArray, undefined: FloatArray) -> FloatArray:
    """The quotient, NaN where it is undefined or the denominator is zero."""
    defined = (denominator > 0) & (undefined == 0)
    result = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    np.divide(numerator, denominator, out=result, where=defined)
    return result


def pearson(reference: FloatArray, prediction: FloatArray) -> FloatArray:
    """Signed Pearson correlation; NaN for fewer than three patients or a constant side.

    Args:
        reference: shape (..., n).
        prediction: shape (..., n).

    Returns:
        Shape (...), from -1 to 1.

    >>> round(float(pearson(np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0]))), 12)
    -1.0
    """
    if reference.shape[-1] < SMALLEST:
        return np.full(reference.shape[:-1], np.nan)
    x = reference - reference.mean(axis=-1, keepdims=True)
    y = prediction - prediction.mean(axis=-1, keepdims=True)
    scale = np.sqrt((x * x).sum(axis=-1)) * np.sqrt((y * y).sum(axis=-1))
    constant = np.maximum(is_constant(reference), is_constant(prediction))
    return np.clip(_divide((x * y).sum(axis=-1), scale, constant), -1.0, 1.0)


def spearman(reference: FloatArray, prediction: FloatArray) -> FloatArray:
    """Spearman rank correlation: Pearson's of the mid-ranks; shapes as in `pearson`."""
    if reference.shape[-1] < SMALLEST:
        return np.full(reference.shape[:-1], np.nan)
    ranked = pearson(stats.rankdata(reference, axis=-1), stats.rankdata(prediction, axis=-1))
    constant = np.maximum(is_constant(reference), is_constant(prediction))
    return np.asarray(np.where(constant > 0, np.nan, ranked))


def concordance(reference: FloatArray, prediction: FloatArray) -> FloatArray:
    """Lin's concordance correlation coefficient, 2·s_xy / (s_x² + s_y² + (x̄ − ȳ)²), with 1/n moments.

    Lin LI-K. A concordance correlation coefficient to evaluate reproducibility. Biometrics
    1989;45:255-268. A constant prediction has 0 by this formula; two equal constants have NaN.

    >>> round(float(concordance(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0]))), 4)
    0.5714
    """
    if reference.shape[-1] < SMALLEST:
        return np.full(reference.shape[:-1], np.nan)
    shift = reference.mean(axis=-1) - prediction.mean(axis=-1)
    x = reference - reference.mean(axis=-1, keepdims=True)
    y = prediction - prediction.mean(axis=-1, keepdims=True)
    spread = (x * x).mean(axis=-1) + (y * y).mean(axis=-1) + shift * shift
    both_constant = np.minimum(is_constant(reference), is_constant(prediction))
    return _divide(2 * (x * y).mean(axis=-1), spread, both_constant)


def mean_absolute_error(reference: FloatArray, prediction: FloatArray) -> FloatArray:
    """Mean of |prediction − reference|, in the parameter's unit; NaN for no patient."""
    return _mean(np.abs(prediction - reference))


def root_mean_squared_error(reference: FloatArray, prediction: FloatArray) -> FloatArray:
    """Square root of the mean squared error, in the parameter's unit; NaN for no patient."""
    return np.sqrt(_mean((prediction - reference) ** 2))


def bias(reference: FloatArray, prediction: FloatArray) -> FloatArray:
    """Mean of prediction − reference, in the parameter's unit; NaN for no patient."""
    return _mean(prediction - reference)


def _mean(values: FloatArray) -> FloatArray:
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)
    return np.asarray(values.mean(axis=-1))


def icc_2_1(ratings: FloatArray) -> FloatArray:
    """Intraclass correlation ICC(2,1): two-way random, absolute agreement, one rating.

    (MSR − MSE) / (MSR + (k − 1)·MSE + k·(MSC − MSE)/n) from the mean squares of patients (MSR), raters
    (MSC) and the rest (MSE): Shrout PE, Fleiss JL. Intraclass correlations. Psychol Bull 1979;86:420-428.

    Args:
        ratings: shape (..., n, k), n patients rated by k raters.

    Returns:
        Shape (...), NaN for fewer than three patients, one rater, or where all ratings are equal.
    """
    n, k = ratings.shape[-2:]
    if n < SMALLEST or k < 2:
        return np.full(ratings.shape[:-2], np.nan)
    grand = ratings.mean(axis=(-2, -1), keepdims=True)
    patients = ratings.mean(axis=-1, keepdims=True) - grand
    raters = ratings.mean(axis=-2, keepdims=True) - grand
    rest = ratings - grand - patients - raters
    msr = k * (patients**2).sum(axis=(-2, -1)) / (n - 1)
    msc = n * (raters**2).sum(axis=(-2, -1)) / (k - 1)
    mse = (rest**2).sum(axis=(-2, -1)) / ((n - 1) * (k - 1))
    total = np.asarray(msr + (k - 1) * mse + k * (msc - mse) / n)
    apart = np.where(np.isclose(msr, mse, rtol=1e-12, atol=0), 0.0, msr - mse)
    return _divide(apart, total, is_constant(ratings.reshape(*ratings.shape[:-2], n * k)))


def intraclass_correlation(reference: FloatArray, prediction: FloatArray) -> FloatArray:
    """ICC(2,1) of reference and prediction as two raters; see `icc_2_1`.

    A constant prediction has 0 by the formula; two constants have NaN.

    >>> round(float(intraclass_correlation(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0]))), 4)
    0.6667
    """
    if reference.shape[-1] < SMALLEST:
        return np.full(reference.shape[:-1], np.nan)
    both_constant = np.minimum(is_constant(reference), is_constant(prediction))
    return np.asarray(
        np.where(both_constant > 0, np.nan, icc_2_1(np.stack([reference, prediction], axis=-1)))
    )


def calibration_slope(reference: FloatArray, prediction: FloatArray) -> FloatArray:
    """Least-squares slope of the reference on the prediction; 1 is ideal, below 1 too extreme.

    Steyerberg EW. Clinical Prediction Models, 2nd ed. 2019, chapter 15. NaN for fewer than three
    patients or a constant prediction; shapes as in `pearson`.

    >>> round(float(calibration_slope(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0]))), 12)
    0.5
    """
    if reference.shape[-1] < SMALLEST:
        return np.full(reference.shape[:-1], np.nan)
    x = prediction - prediction.mean(axis=-1, keepdims=True)
    y = reference - reference.mean(axis=-1, keepdims=True)
    return _divide((x * y).sum(axis=-1), (x * x).sum(axis=-1), is_constant(prediction))


def calibration_intercept(reference: FloatArray, prediction: FloatArray) -> FloatArray:
    """Intercept of the line of `calibration_slope`, in the parameter's unit; 0 is ideal."""
    if reference.shape[-1] < SMALLEST:
        return np.full(reference.shape[:-1], np.nan)
    slope = calibration_slope(reference, prediction)
    return np.asarray(reference.mean(axis=-1) - slope * prediction.mean(axis=-1))


def fisher_interval(r: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of a Pearson correlation by Fisher's z, tanh(artanh r ± z/√(n − 3)).

    Fisher RA. On the probable error of a coefficient of correlation. Metron 1921;1:3-32.

    Returns:
        Low and high; NaN for fewer than four patients, or an r that is NaN, 1 or -1.

    >>> low, high = fisher_interval(0.5, 28)
    >>> round(low, 3), round(high, 3)
    (0.156, 0.736)
    """
    if n < 4 or not abs(r) < 1 - 1e-12:
        return (math.nan, math.nan)
    half = float(stats.norm.ppf((1 + level) / 2)) / math.sqrt(n - 3)
    return (math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half))


def correlation_matrix(predictions: pd.DataFrame, side: Literal["reference", "prediction"]) -> pd.DataFrame:
    """Signed Pearson correlation of each pair of parameters, over the patients that have both values.

    Returns:
        A row for each parameter that occurs, in table order: parameter, then a column for each of them.
        NaN for a pair with fewer than three patients or a constant side, the diagonal included.

    Raises:
        ValueError: another side.
    """
    if side not in ("reference", "prediction"):
        raise ValueError(f"side must be reference or prediction, not {side}")
    values = wide(predictions, side).astype(np.float64)
    matrix = [[_pairwise(values, a, b) for b in values.columns] for a in values.columns]
    result = pd.DataFrame(matrix, columns=values.columns, dtype=np.float64)
    result.insert(0, "parameter", list(values.columns))
    return result


def _pairwise(values: pd.DataFrame, first: str, second: str) -> float:
    x, y = values[first].to_numpy(np.float64), values[second].to_numpy(np.float64)
    present = np.isfinite(x) & np.isfinite(y)
    return float(pearson(x[present], y[present]))
