"""The regression that suggestions come from: logistic, on labelled clips, and on those that it is sure of.

Labels are few, so it learns from its own suggestions too (self-training): unlabelled clips that it is rather
sure of count as labelled ones of less weight, and it is fitted again.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

Array = NDArray[np.float64]

SURE: Final = 0.6
WEIGHT: Final = 0.3
ROUNDS: Final = 2
"""Probability from which on a suggestion counts as a label, the weight that it has, and how often."""
MOST_SURE: Final = 600
"""Clips, at most, that count by suggestion."""
PENALTY: Final = 1.0
"""Inverse penalty, of components of unit variance."""
FOLDS: Final = 10
FEWER_FOLDS: Final = 5
"""Folds of patients on which suggestions are judged; fewer with more than MANY labelled clips."""
MANY: Final = 1000
"""Labelled clips from which on one look at each is learnt from: others are there in plenty."""
PLAIN: Final = 49
"""Labelled clips, all suggested rightly, that show 98 % by Laplace's rule, (right + 1) / (all + 2)."""
_SHARPEST: Final = -1.0
_HIGHEST: Final = 0.9999
_LOWEST: Final = 1e-4
_PRIOR: Final = 5.0
"""Weight of the belief that probabilities are as they should be, in labelled clips."""


@dataclass(frozen=True)
class Labelled:
    """Labelled clips: (N, V, K) components of their looks, (N,) class numbers, (N,) patient numbers."""

    x: Array
    y: NDArray[np.int64]
    patient: NDArray[np.int64]

    def part(self, rows: NDArray[np.int64]) -> Labelled:
        """Some of them."""
        return Labelled(self.x[rows], self.y[rows], self.patient[rows])


class ViewRegression:
    """A logistic regression that may not have seen every class."""

    def __init__(self, data: Labelled, others: Array, classes: int) -> None:
        """Fit to labelled clips, and to what is sure of (M, V, K) `others`."""
        self._count = classes
        self._fit(data.x, data.y, np.ones(len(data.y)))
        for _ in range(ROUNDS if len(others) else 0):
            found = self.probabilities(others)
            sure = np.flatnonzero(found.max(axis=1) >= SURE)
            sure = sure[:: max(1, -(-len(sure) // MOST_SURE))]
            self._fit(
                np.concatenate([data.x, others[sure]]),
                np.concatenate([data.y, found[sure].argmax(axis=1)]),
                np.concatenate([np.ones(len(data.y)), np.full(len(sure), WEIGHT)]),
            )

    def _fit(self, x: Array, y: NDArray[np.int64], weight: Array) -> None:
        self._classes = np.unique(y)
        self._regression: LogisticRegression | None = None
        if len(self._classes) < 2:
            return
        x = x[:, :1] if len(x) > MANY else x
        looks = x.shape[1]
        self._regression = LogisticRegression(C=PENALTY, max_iter=100, tol=1e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the last steps change no suggestion
            self._regression.fit(
                x.reshape(-1, x.shape[2]), np.repeat(y, looks), sample_weight=np.repeat(weight, looks)
            )

    def probabilities(self, x: Array) -> Array:
        """Of (N, V, K) components (N, classes), means over the looks; least where a class was never seen."""
        found = np.zeros((len(x), self._count))
        found[:, self._classes] = 1.0
        if self._regression is not None and len(x):
            of_looks = self._regression.predict_proba(x.reshape(-1, x.shape[2]))
            found[:, self._classes] = of_looks.reshape(*x.shape[:2], -1).mean(axis=1)
        return np.clip(found, 0.0, _HIGHEST)


def cross_validated(data: Labelled, others: Array, classes: int) -> Array:
    """(N, classes) probabilities of each labelled clip by a regression that has no label of its patient."""
    found = np.zeros((len(data.y), classes))
    for train, test in folds(data):
        found[test] = ViewRegression(data.part(train), others, classes).probabilities(data.x[test])
    return found


def folds(data: Labelled) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Training and test rows, no patient in both, classes spread as evenly as that allows."""
    count = FOLDS if len(data.y) <= MANY else FEWER_FOLDS
    splitter = StratifiedGroupKFold(min(count, len(np.unique(data.patient))), shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")
        return list(splitter.split(data.y, data.y, data.patient))


def temperature(seen: Array, y: NDArray[np.int64]) -> float:
    """By how much cross-validated probabilities are too sure; 1 where they are not.

    Those that are not sure enough are left, because 60 labels are too few to know; unless so many are all
    right that it is plain: then it is below 1.

    Args:
        seen: (N, classes).
        y: (N,) what is right.
    """
    rows = np.arange(len(y))

    def loss(logarithm: float) -> float:
        right = tempered(seen, float(np.exp(logarithm)))[rows, y]
        return float(-np.log(np.maximum(right, 1e-12)).sum() + _PRIOR * logarithm**2 / 2)

    plain = len(y) >= PLAIN and bool((seen.argmax(axis=1) == y).all())
    bounds = (_SHARPEST if plain else 0.0, 4.0)
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def tempered(probabilities: Array, by: float) -> Array:
    """(N, classes) probabilities made less sure by a temperature above 1, surer by one below."""
    powers = np.clip(probabilities, _LOWEST, None) ** (1 / by)
    return np.asarray(np.minimum(powers / powers.sum(axis=1, keepdims=True), _HIGHEST))
