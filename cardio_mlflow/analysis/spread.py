"""How large errors are at a prediction, in the space in which a parameter is learned."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import cache
from typing import Final

import numpy as np
from scipy import stats

from cardio_mlflow.analysis.predictions import FloatArray
from cardio_mlflow.parameters import parameter

GROWTH: Final = 0.05
"""One-sided p below which errors count as growing with the prediction: that of the line's slope (Glejser H.
J Am Stat Assoc 1969;64:316-323)."""
SMALLEST_FITTED: Final = 30
"""Fewer patients than this are taken to have errors of one size."""
NARROWEST: Final = 0.5
"""The smallest spread, as a share of the mean error; the largest is its inverse."""


@dataclass(frozen=True)
class Spread:
    """Expected size of an error: a line over the prediction, within limits; of one size where slope is 0."""

    base: float
    slope: float
    smallest: float
    largest: float

    def at(self, predictions: FloatArray) -> FloatArray:
        """The spread at predictions, any shape, both in the space of `transformed`."""
        return np.clip(self.base + self.slope * predictions, self.smallest, self.largest)

    def to_list(self) -> list[float]:
        """Its four numbers, in the order that makes it."""
        return list(astuple(self))


EVEN: Final = Spread(1.0, 0.0, 1.0, 1.0)
"""That of errors of one size."""


def fit_spread(key: str, reference: FloatArray, prediction: FloatArray) -> Spread:
    """Fit the line |error| ~ prediction by least squares, where errors grow with the prediction.

    Not of a parameter that is learned as its logarithm: there they grow with it anyway, and a line on top
    made intervals of PVR a fifth wider at the same coverage.

    Args:
        key: of the parameter.
        reference: (n,) in its unit.
        prediction: (n,) in its unit.

    Returns:
        Where n is below `SMALLEST_FITTED` or growth is not shown (`GROWTH`), `EVEN`.
    """
    at = transformed(key, prediction)
    size = np.abs(transformed(key, reference) - at)
    if parameter(key).log or len(at) < SMALLEST_FITTED or np.ptp(at) == 0:
        return EVEN
    mean, slope = float(size.mean()), float(_covariance(at, size) / _covariance(at, at))
    r = slope * np.sqrt(_covariance(at, at) / max(_covariance(size, size), 1e-300))
    freedom = len(at) - 2
    if not r * np.sqrt(freedom / max(1 - r * r, 1e-12)) > _least_t(freedom):
        return EVEN
    return Spread(mean - slope * float(at.mean()), slope, NARROWEST * mean, mean / NARROWEST)


@cache
def _least_t(freedom: int) -> float:
    return float(stats.t.isf(GROWTH, freedom))


def _covariance(first: FloatArray, second: FloatArray) -> float:
    return float(np.dot(first - first.mean(), second - second.mean()))


def transformed(key: str, values: FloatArray) -> FloatArray:
    """Values in their unit, any shape, as they are learned: the logarithm where that is.

    What is less than plausible is taken for the smallest plausible value where there is a logarithm.
    """
    of = parameter(key)
    return np.log(np.maximum(values, of.plausible[0])) if of.log else np.asarray(values, dtype=np.float64)


def moved(key: str, predictions: FloatArray, scores: FloatArray, spread: Spread) -> FloatArray:
    """Predictions in their unit, moved by errors over their spread, any shapes that broadcast."""
    at = transformed(key, predictions)
    values = at + scores * spread.at(at)
    return np.exp(np.clip(values, -100, 100)) if parameter(key).log else values
