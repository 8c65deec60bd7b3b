"""Errors of out-of-fold predictions, as intervals are made from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.analysis.predictions import FloatArray, IntArray

SMALLEST_GROUP: Final = 30
"""Patients on one side of predicted pulmonary hypertension from which their own errors are used in place of
everybody's."""

BoolArray = NDArray[np.bool_]

_DIGITS: Final = 5
"""Significant digits of an error in a file."""


@dataclass(frozen=True)
class Scores:
    """Errors of one parameter on n patients, each by the network that was not trained on the patient.

    Attributes:
        folds: (n,) the patient's fold; 0 of none.
        above: (n,) whether pulmonary hypertension was predicted for the patient.
        errors: (n,) (reference − prediction) / spread, of logarithms where the parameter is learned as one.
    """

    folds: IntArray
    above: BoolArray
    errors: FloatArray

    def __len__(self) -> int:
        """How many patients."""
        return len(self.errors)

    def only(self, chosen: BoolArray) -> Scores:
        """Those of some of the patients, (n,) bool."""
        return Scores(self.folds[chosen], self.above[chosen], self.errors[chosen])

    def of_group(self, above: bool, level: float) -> Scores:
        """Those on one side of predicted pulmonary hypertension; of both sides where it has too few."""
        same = self.above == above
        return self.only(same) if same.sum() >= max(SMALLEST_GROUP, smallest(level)) else self

    def to_lists(self) -> dict[str, list[float]]:
        """As lists for JSON, in an order that is not the patients'."""
        order = np.lexsort((self.errors, self.above, self.folds))
        return {
            "folds": self.folds[order].tolist(),
            "above": self.above[order].astype(int).tolist(),
            "errors": [float(f"{error:.{_DIGITS}g}") for error in self.errors[order]],
        }

    @staticmethod
    def from_lists(stored: Mapping[str, Sequence[float]]) -> Scores:
        """Read what ``to_lists`` gave."""
        return Scores(
            np.asarray(stored["folds"], np.int64),
            np.asarray(stored["above"], bool),
            np.asarray(stored["errors"], np.float64),
        )


def together(found: Sequence[Scores]) -> Scores:
    """The errors of several, one after another."""
    if not found:
        return Scores(np.empty(0, np.int64), np.empty(0, bool), np.empty(0))
    columns = ([getattr(of, name) for of in found] for name in ("folds", "above", "errors"))
    return Scores(*(np.concatenate(arrays) for arrays in columns))


def smallest(level: float) -> int:
    """The fewest errors that an interval of this level can be made from.

    >>> smallest(0.9), smallest(0.95)
    (9, 19)
    """
    return math.ceil(round(level / (1 - level), 9))
