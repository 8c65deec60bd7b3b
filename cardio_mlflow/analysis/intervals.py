"""Intervals in a predictions table, and how often and how narrowly they hold the references."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd

from cardio_mlflow.analysis.classification import wilson
from cardio_mlflow.analysis.conformal import LEVEL, interval_about, scores_of
from cardio_mlflow.analysis.predictions import FloatArray, person_codes
from cardio_mlflow.analysis.scores import Scores
from cardio_mlflow.analysis.spread import EVEN, fit_spread, moved, transformed
from cardio_mlflow.parameters import KEYS, PULMONARY_HYPERTENSION, parameter

INTERVAL_COLUMNS: Final = (
    "parameter", "unit", "n", "coverage", "coverage_low", "coverage_high", "width", "oracle_width",
    "width_ratio", "note",
)  # fmt: skip


def out_of_fold_intervals(predictions: pd.DataFrame, level: float = LEVEL) -> pd.DataFrame:
    """Give out-of-fold predictions intervals, each patient's from the errors on the other patients.

    An interval lies about the patient's own prediction, since the one network that was not trained on a
    patient is all that may predict it. Errors on examinations of the same person are left out too.

    Args:
        predictions: a checked predictions table; variants are taken apart.
        level: share of patients whose value the interval is to hold.

    Returns:
        The table with ``lower`` and ``upper``, NaN where there are fewer other patients than the level needs.
    """
    table = predictions.reset_index(drop=True)
    ends = np.full((len(table), 2), np.nan)
    for _, of_variant in table.groupby("variant", sort=False):
        of_ph = of_variant[of_variant["parameter"] == PULMONARY_HYPERTENSION.key]
        with_ph = set(of_ph.loc[of_ph["prediction"] > PULMONARY_HYPERTENSION.cutoff, "patient_id"])
        for key, rows in of_variant.groupby("parameter", sort=False):
            above = rows["patient_id"].isin(with_ph).to_numpy(bool)
            ends[rows.index] = list(_each_by_the_others(str(key), rows, above, level))
    return table.assign(lower=ends[:, 0], upper=ends[:, 1])


def _each_by_the_others(
    key: str, rows: pd.DataFrame, above: np.ndarray[tuple[int], np.dtype[np.bool_]], level: float
) -> Iterator[tuple[float, float]]:
    """The ends of one parameter's intervals, row by row."""
    reference, prediction = (rows[name].to_numpy(np.float64) for name in ("reference", "prediction"))
    persons, known = person_codes(rows), np.isfinite(reference)
    for row in range(len(rows)):
        others = known & (persons != persons[row])
        if not np.isfinite(prediction[row]):
            yield math.nan, math.nan
            continue
        spread = fit_spread(key, reference[others], prediction[others])
        errors = scores_of(key, reference[others], prediction[others], spread)
        scores = Scores(np.zeros(len(errors), np.int64), above[others], errors)
        scores = scores.of_group(bool(above[row]), level)
        centres = np.full(len(scores), prediction[row])
        yield interval_about(key, prediction[row], centres, scores.errors, spread, level)


def has_intervals(predictions: pd.DataFrame) -> bool:
    """Whether any prediction of a table has an interval."""
    if not {"lower", "upper"} <= set(predictions.columns):
        return False
    return bool((predictions["lower"].notna() & predictions["upper"].notna()).any())


def interval_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """How many references lie in their intervals, and how wide these are.

    Args:
        predictions: a predictions table with ``lower`` and ``upper``; rows that lack either, or the
            reference, are left out.

    Returns:
        One row for each parameter that occurs, with `INTERVAL_COLUMNS`: coverage, 0 to 1, with its 95 %
        Wilson interval; mean width in the parameter's unit; that of the oracle (`oracle_width`) that covers
        as many of the same patients; and the ratio of the two.
    """
    present = set(predictions["parameter"])
    rows = [_interval_row(predictions, key) for key in KEYS if key in present]
    return pd.DataFrame(rows, columns=list(INTERVAL_COLUMNS))


def _interval_row(predictions: pd.DataFrame, key: str) -> dict[str, object]:
    rows = predictions[predictions["parameter"] == key].dropna(subset=["reference", "lower", "upper"])
    names = ("reference", "prediction", "lower", "upper")
    reference, prediction, lower, upper = (rows[name].to_numpy(np.float64) for name in names)
    held = int(((lower <= reference) & (reference <= upper)).sum())
    coverage, low, high = wilson(held, len(rows))
    width = float((upper - lower).mean()) if len(rows) else math.nan
    oracle = oracle_width(key, reference, prediction, held)
    return {
        "parameter": key, "unit": parameter(key).unit, "n": len(rows),
        "coverage": coverage, "coverage_low": low, "coverage_high": high,
        "width": width, "oracle_width": oracle, "width_ratio": width / oracle if oracle > 0 else math.nan,
        "note": "" if len(rows) else "no interval of a patient with reference",
    }  # fmt: skip


def oracle_width(key: str, reference: FloatArray, prediction: FloatArray, held: int) -> float:
    """Mean width of the narrowest intervals of one form about predictions that hold so many references.

    The form is [prediction + a, prediction + b], of logarithms where the parameter is learned as one, with
    the best a and b for these very patients: what nobody can know beforehand.

    Args:
        key: of the parameter.
        reference: (n,) in its unit.
        prediction: (n,) in its unit.
        held: how many references the intervals are to hold; NaN is returned for 0.
    """
    if held < 1:
        return math.nan
    errors = np.sort(transformed(key, reference) - transformed(key, prediction))
    start = int(np.argmin(errors[held - 1 :] - errors[: len(errors) - held + 1]))
    low, high = (
        moved(key, prediction, np.full(len(prediction), error), EVEN)
        for error in (errors[start], errors[start + held - 1])
    )
    return float((high - low).mean())
