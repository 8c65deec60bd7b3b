"""Variants beside each other: signed r of each parameter on the same patients."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cardio_mlflow.analysis.agreement import pearson
from cardio_mlflow.analysis.predictions import reference_and_prediction
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS


def comparison_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Signed Pearson r per variant and parameter, and its mean over the parameters.

    Args:
        predictions: a checked predictions table of several variants on the same patients.

    Returns:
        One row for each variant in order of first appearance: variant, n (patients), a column for each
        parameter that occurs, in table order, and mean_r (NaN when a parameter has no correlation, so
        that no variant is favoured by leaving one out).

    Raises:
        InputError: the variants were not judged on the same patients, folds and references.
    """
    variants = list(dict.fromkeys(predictions["variant"]))
    tables = {variant: predictions[predictions["variant"] == variant] for variant in variants}
    for variant in variants[1:]:
        _check_same(variants[0], tables[variants[0]], variant, tables[variant])
    present = set(predictions["parameter"])
    keys = [key for key in KEYS if key in present]
    rows = [_row(variant, table, keys) for variant, table in tables.items()]
    return pd.DataFrame(rows, columns=["variant", "n", *keys, "mean_r"])


def _row(variant: str, table: pd.DataFrame, keys: list[str]) -> dict[str, object]:
    correlations = {key: float(pearson(*reference_and_prediction(table, key))) for key in keys}
    mean = float(np.mean(list(correlations.values())))
    return {"variant": variant, "n": table["patient_id"].nunique(), **correlations, "mean_r": mean}


def _check_same(first: str, one: pd.DataFrame, second: str, other: pd.DataFrame) -> None:
    differing = sorted(set(one["patient_id"]) ^ set(other["patient_id"]))
    if differing:
        shown = ", ".join(differing[:10]) + (" ..." if len(differing) > 10 else "")
        raise InputError(
            f"Variants {first} and {second} were not judged on the same patients: {shown}. "
            "Run the missing folds of each variant."
        )
    columns = ["patient_id", "parameter", "fold", "reference"]
    ours, theirs = (t[columns].sort_values(columns[:2]).reset_index(drop=True) for t in (one, other))
    if not ours.equals(theirs):
        raise InputError(
            f"Variants {first} and {second} differ in folds, parameters or references of the same patients: "
            "train both on one cohort with one split."
        )
