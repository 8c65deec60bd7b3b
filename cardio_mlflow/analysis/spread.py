"""How large errors are at a prediction, in the space in which a parameter is learned."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Final

import numpy as np
from scipy import stats

from cardio_mlflow.analysis.predictions import FloatArray
from cardio_mlflow.parameters import parameter

GROWTH: Final = 0.05
"""One-sided p of Spearman's correlation of |error| and prediction below which errors count as growing."""
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


def fit_spread(key: str, reference: FloatArray, prediction: FloatArray) -> Spread:
    """Fit the line |error| ~ prediction by least squares, where errors grow with the prediction.

    Args:
        key: of the parameter.
        reference: (n,) in its unit.
        prediction: (n,) in its unit.

    Returns:
        Where n is below `SMALLEST_FITTED` or growth is not shown (`GROWTH`), a spread of 1 throughout.
    """
    at = transformed(key, prediction)
    size = np.abs(transformed(key, reference) - at)
    if len(at) < SMALLEST_FITTED or np.ptp(at) == 0 or np.ptp(size) == 0:
        return Spread(1.0, 0.0, 1.0, 1.0)
    if not stats.spearmanr(at, size, alternative="greater").pvalue < GROWTH:
        return Spread(1.0, 0.0, 1.0, 1.0)
    slope, base = np.polyfit(at, size, 1)
    mean = float(size.mean())
    if slope <= 0:
        return Spread(1.0, 0.0, 1.0, 1.0)
    return Spread(float(base), float(slope), NARROWEST * mean, mean / NARROWEST)


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
