"""Patient bootstrap: percentile intervals from resampled patients, seeded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.analysis.predictions import FloatArray

Statistic = Callable[[FloatArray, FloatArray], FloatArray]
"""Takes reference and prediction of shape (..., n), gives shape (...)."""

LEAST_SHARE = 0.5
"""The share of resamples on which a statistic must be defined for an interval to be given."""


@dataclass(frozen=True)
class Interval:
    """A percentile interval.

    Attributes:
        low: its lower end, NaN where there is none.
        high: its upper end, NaN where there is none.
        used: resamples on which the statistic was defined.
        dropped: resamples on which it was not (one class only, a constant side).
    """

    low: float
    high: float
    used: int
    dropped: int


def resample(patients: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """Draw patients with replacement.

    Returns:
        Positions, shape (resamples, patients); the same for the same arguments.
    """
    return np.random.default_rng(seed).integers(0, patients, size=(resamples, patients), dtype=np.int64)


def percentile_interval(values: FloatArray, level: float = 0.95) -> Interval:
    """The percentile interval of a statistic's bootstrap values, NaN among them dropped and counted.

    Efron B, Tibshirani RJ. An Introduction to the Bootstrap, 1993, chapter 13.

    Args:
        values: shape (resamples,).
        level: the interval's coverage.
    """
    defined = values[np.isfinite(values)]
    dropped = values.size - defined.size
    if defined.size == 0 or defined.size < LEAST_SHARE * values.size:
        return Interval(np.nan, np.nan, defined.size, dropped)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), defined.size, dropped)


def bootstrap_interval(
    statistic: Statistic,
    reference: FloatArray,
    prediction: FloatArray,
    resamples: int,
    seed: int,
    *,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of a statistic over resampled patients.

    Args:
        statistic: works along the last axis.
        reference: shape (n,), in an order that does not depend on the run (sorted by patient).
        prediction: shape (n,).
        resamples: how many.
        seed: of the resampling.
        level: the interval's coverage.

    Returns:
        The interval; NaN for fewer than two patients, or when the statistic is undefined on more than
        half of the resamples.
    """
    if reference.size < 2 or resamples < 1:
        return Interval(np.nan, np.nan, 0, resamples)
    drawn = resample(reference.size, resamples, seed)
    return percentile_interval(statistic(reference[drawn], prediction[drawn]), level)
