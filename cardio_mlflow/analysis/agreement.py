"""Agreement between reference and prediction: correlation, error, and limits of agreement.

Every statistic takes two arrays of shape (..., n) and works along the last axis, so that a bootstrap
computes all its resamples in one call. Where a statistic is not defined the result is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from cardio_mlflow.analysis.predictions import FloatArray

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


@dataclass(frozen=True)
class LimitsOfAgreement:
    """Bland-Altman statistics of prediction − reference, in the parameter's unit.

    Attributes:
        bias: the mean difference.
        sd: the differences' standard deviation with n − 1.
        lower, upper: bias ∓ 1.96·sd.
        lower_interval, upper_interval: exact 95 % confidence interval of each limit.
        bias_interval: 95 % confidence interval of the bias (Student's t).
    """

    bias: float
    sd: float
    lower: float
    upper: float
    lower_interval: tuple[float, float]
    upper_interval: tuple[float, float]
    bias_interval: tuple[float, float]


def limits_of_agreement(reference: FloatArray, prediction: FloatArray) -> LimitsOfAgreement:
    """Bland-Altman limits of agreement with exact confidence intervals.

    Bland JM, Altman DG. Lancet 1986;327:307-310, with the n − 1 standard deviation. The interval of
    a limit bias + z·sd is bias + sd·t'/√n, with t' the quantiles of the non-central t distribution of
    n − 1 degrees of freedom and non-centrality z·√n: Carkeet A. Exact parametric confidence intervals
    for Bland-Altman limits of agreement. Optom Vis Sci 2015;92:e71-e80 (each limit by itself).

    Args:
        reference: shape (n,).
        prediction: shape (n,).

    Returns:
        The statistics, all NaN for fewer than three patients.
    """
    n = reference.shape[-1]
    nothing = (np.nan, np.nan)
    if n < SMALLEST:
        return LimitsOfAgreement(np.nan, np.nan, np.nan, np.nan, nothing, nothing, nothing)
    difference = prediction - reference
    mean, sd, z = float(difference.mean()), float(difference.std(ddof=1)), float(stats.norm.ppf(0.975))
    near, far = (float(stats.nct.ppf(q, n - 1, z * np.sqrt(n))) * sd / np.sqrt(n) for q in (0.025, 0.975))
    half = float(stats.t.ppf(0.975, n - 1)) * sd / np.sqrt(n)
    return LimitsOfAgreement(
        bias=mean,
        sd=sd,
        lower=mean - z * sd,
        upper=mean + z * sd,
        lower_interval=(mean - far, mean - near),
        upper_interval=(mean + near, mean + far),
        bias_interval=(mean - half, mean + half),
    )
