"""Two-by-two tables: how well the prediction separates abnormal from normal patients, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from cardio_mlflow.analysis.predictions import reference_and_prediction
from cardio_mlflow.parameters import KEYS, Parameter, parameter

SHARES: Final = ("sensitivity", "specificity", "ppv", "npv", "accuracy")
RATIOS: Final = ("lr_positive", "lr_negative")

COLUMNS: Final = (
    "parameter", "unit", "split", "criterion", "n", "tp", "fp", "fn", "tn",
    *(f"{name}{end}" for name in (*SHARES, *RATIOS) for end in ("", "_low", "_high")), "note",
)  # fmt: skip

Estimate = tuple[float, float, float]
"""A value and the ends of its 95 % interval."""


@dataclass(frozen=True)
class Counts:
    """Patients of a two-by-two table; positive is abnormal.

    Attributes:
        tp: abnormal and predicted so.
        fp: normal, predicted abnormal.
        fn: abnormal, predicted normal.
        tn: normal and predicted so.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def shares(self) -> dict[str, tuple[int, int]]:
        """Patients that count and patients in all, for each of `SHARES`."""
        return {
            "sensitivity": (self.tp, self.tp + self.fn),
            "specificity": (self.tn, self.tn + self.fp),
            "ppv": (self.tp, self.tp + self.fp),
            "npv": (self.tn, self.tn + self.fn),
            "accuracy": (self.tp + self.tn, self.tp + self.fp + self.fn + self.tn),
        }


def count(abnormal: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Counts:
    """Count the four cells.

    Args:
        abnormal: by the reference, shape (n,).
        predicted: by the prediction, shape (n,).
    """
    cells = (abnormal & predicted, ~abnormal & predicted, abnormal & ~predicted, ~abnormal & ~predicted)
    return Counts(*(int(cell.sum()) for cell in cells))


def wilson(successes: int, patients: int) -> Estimate:
    """A proportion with its 95 % score interval; NaN of no patient.

    Wilson EB. Probable inference, the law of succession, and statistical inference. J Am Stat Assoc
    1927;22:209-212.

    >>> [round(value, 4) for value in wilson(81, 263)]
    [0.308, 0.2553, 0.3662]
    """
    if patients == 0:
        return (np.nan, np.nan, np.nan)
    low, high = proportion_confint(successes, patients, alpha=0.05, method="wilson")
    return (successes / patients, float(low), float(high))


def likelihood_ratio(first: int, abnormal: int, second: int, normal: int) -> Estimate:
    """(first/abnormal) / (second/normal) with its 95 % interval by the log method.

    The variance of the logarithm is 1/first − 1/abnormal + 1/second − 1/normal: Simel DL, Samsa GP,
    Matchar DB. Likelihood ratios with confidence. J Clin Epidemiol 1991;44:763-770.

    Args:
        first: abnormal patients with the test result (tp for LR+, fn for LR−).
        abnormal: all abnormal patients.
        second: normal patients with the test result (fp for LR+, tn for LR−).
        normal: all normal patients.

    Returns:
        Value, low, high; the value is NaN when it would be infinite or 0/0, the interval when a cell is 0 or
        every patient has the test result.
    """
    if abnormal == 0 or normal == 0 or second == 0:
        return (np.nan, np.nan, np.nan)
    ratio = (first / abnormal) / (second / normal)
    if first == 0 or (first == abnormal and second == normal):
        return (ratio, np.nan, np.nan)
    error = np.sqrt(1 / first - 1 / abnormal + 1 / second - 1 / normal)
    factor = float(np.exp(stats.norm.ppf(0.975) * error))
    return (ratio, ratio / factor, ratio * factor)


def classification_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Count and rate the two-by-two table of each parameter, at its cut-off and at a median split.

    The median split asks which side of the references' median reference and prediction lie on; abnormal
    is the parameter's abnormal side, and a value at the median is not on it.

    Args:
        predictions: a checked predictions table of one variant and cohort; a patient without a reference
            for a parameter is left out of that parameter.

    Returns:
        Two rows for each parameter that occurs, in table order, with `COLUMNS`; intervals are Wilson's
        for shares and Simel's for likelihood ratios, `note` says why a value is NaN.
    """
    present = set(predictions["parameter"])
    rows = [
        _row(predictions, parameter(key), split)
        for key in KEYS
        if key in present
        for split in ("cut-off", "median")
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(predictions: pd.DataFrame, wanted: Parameter, split: str) -> dict[str, object]:
    reference, prediction = reference_and_prediction(predictions, wanted.key)
    limit = wanted.cutoff
    if split == "median":
        limit = float(np.median(reference)) if reference.size else np.nan
    sign = 1.0 if wanted.abnormal == "above" else -1.0
    counts = count(sign * reference > sign * limit, sign * prediction > sign * limit)
    row: dict[str, object] = {"parameter": wanted.key, "unit": wanted.unit, "split": split}
    row |= {"criterion": _criterion(wanted, limit), "n": reference.size}
    row |= {"tp": counts.tp, "fp": counts.fp, "fn": counts.fn, "tn": counts.tn}
    shares = {name: wilson(*pair) for name, pair in counts.shares.items()}
    abnormal, normal = counts.tp + counts.fn, counts.tn + counts.fp
    ratios = {
        "lr_positive": likelihood_ratio(counts.tp, abnormal, counts.fp, normal),
        "lr_negative": likelihood_ratio(counts.fn, abnormal, counts.tn, normal),
    }
    for name, (value, low, high) in (shares | ratios).items():
        row |= {name: value, f"{name}_low": low, f"{name}_high": high}
    row["note"] = "; ".join(_notes(counts))
    return row


def _criterion(wanted: Parameter, limit: float) -> str:
    side = ">" if wanted.abnormal == "above" else "<"
    value = f"{limit:.5g} {wanted.unit}" if np.isfinite(limit) else "median"
    return f"{wanted.key} {side} {value}"


def _notes(counts: Counts) -> list[str]:
    """Why values are not defined, in words."""
    abnormal, normal = counts.tp + counts.fn, counts.tn + counts.fp
    if abnormal + normal == 0:
        return ["no reference"]
    notes = []
    if counts.tp + counts.fp == 0:
        notes.append("no prediction is abnormal: no PPV")
    if counts.tn + counts.fn == 0:
        notes.append("no prediction is normal: no NPV")
    if abnormal == 0:
        return ["no reference is abnormal: no sensitivity, no likelihood ratios", *notes]
    if normal == 0:
        return ["no reference is normal: no specificity, no likelihood ratios", *notes]
    for name, first, second in (("LR+", counts.tp, counts.fp), ("LR−", counts.fn, counts.tn)):
        cells = ("tp", "fp") if name == "LR+" else ("fn", "tn")
        if second == 0:
            notes.append(f"{cells[1]} is 0: no {name}")
        elif first == 0:
            notes.append(f"{cells[0]} is 0: no interval of {name}")
        elif first + second == abnormal + normal:
            notes.append(f"no other test result: no interval of {name}")
    return notes
