"""The headline table: every statistic of every parameter, with its bootstrap interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import pandas as pd

from cardio_mlflow.analysis import agreement
from cardio_mlflow.analysis.agreement import mean_absolute_error, pearson
from cardio_mlflow.analysis.bootstrap import (
    LEAST_PATIENTS,
    Interval,
    Statistic,
    bootstrap_counts,
    bootstrap_interval,
    expanded_level,
    percentile_interval,
    weighted_pearson,
)
from cardio_mlflow.analysis.discrimination import area_under_curve
from cardio_mlflow.analysis.predictions import (
    FloatArray,
    patient_persons,
    person_codes,
    reference_and_prediction,
    wide,
    with_reference,
)
from cardio_mlflow.parameters import KEYS, Parameter, parameter

STATISTICS: Final[tuple[str, ...]] = (
    "r", "spearman", "ccc", "icc", "mae", "rmse", "bias", "slope", "intercept", "auc",
)  # fmt: skip
"""The table's statistics; each has the columns `<name>`, `<name>_low` and `<name>_high`."""


@dataclass(frozen=True)
class MeanCorrelation:
    """Mean of the parameters' signed Pearson correlations.

    Attributes:
        r: the mean; NaN when no parameter has a correlation.
        low, high: 95 % percentile interval, patients resampled jointly over all parameters; NaN where there
            is none.
        parameters: how many parameters it is the mean of.
        note: the parameters left out, and why there is no interval, or one of fewer resamples.
    """

    r: float
    low: float
    high: float
    parameters: int
    note: str


def statistics_of(wanted: Parameter) -> Mapping[str, Statistic]:
    """The statistics of one parameter by name, in the order of `STATISTICS`."""
    auc = partial(area_under_curve, cutoff=wanted.cutoff, abnormal=wanted.abnormal)
    functions: tuple[Statistic, ...] = (
        agreement.pearson,
        agreement.spearman,
        agreement.concordance,
        agreement.intraclass_correlation,
        agreement.mean_absolute_error,
        agreement.root_mean_squared_error,
        agreement.bias,
        agreement.calibration_slope,
        agreement.calibration_intercept,
        auc,
    )
    return dict(zip(STATISTICS, functions, strict=True))


def performance_table(predictions: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """Compute every statistic of every parameter with a seeded patient bootstrap interval.

    Args:
        predictions: a checked predictions table of one variant and one cohort; a patient without a
            reference for a parameter is left out of that parameter.
        seed: of the bootstrap; the result does not depend on the order of the rows.

    Returns:
        One row for each parameter that occurs, in table order: parameter, unit, n, abnormal (patients
        beyond the cut-off), the statistics with `_low` and `_high`, the interval of r by Fisher's z
        (`r_fisher_low`, `r_fisher_high`), and `note` (why a value is NaN). `slope` and `intercept` are
        those of the reference on the prediction.

    Raises:
        ValueError: more than one variant or cohort.
    """
    _check_one_group(predictions)
    present = set(predictions["parameter"])
    rows = [_row(predictions, parameter(key), resamples, seed) for key in KEYS if key in present]
    names = [f"{name}{end}" for name in STATISTICS for end in ("", "_low", "_high")]
    names += ["r_fisher_low", "r_fisher_high", "note"]
    return pd.DataFrame(rows, columns=["parameter", "unit", "n", "abnormal", *names])


def _check_one_group(predictions: pd.DataFrame) -> None:
    for column in ("variant", "cohort"):
        if len(set(predictions[column])) > 1:
            raise ValueError(f"the predictions hold more than one {column}: choose one first")


def _row(predictions: pd.DataFrame, wanted: Parameter, resamples: int, seed: int) -> dict[str, object]:
    reference, prediction = reference_and_prediction(predictions, wanted.key)
    persons = person_codes(with_reference(predictions, wanted.key))
    row: dict[str, object] = {"parameter": wanted.key, "unit": wanted.unit, "n": reference.size}
    row["abnormal"] = sum(wanted.is_abnormal(value) for value in reference)
    remarks: dict[str, list[str]] = {}
    for name, statistic in statistics_of(wanted).items():
        value = float(statistic(reference, prediction))
        interval = Interval(np.nan, np.nan, 0, 0)
        if not np.isnan(value):
            interval = bootstrap_interval(statistic, reference, prediction, resamples, seed, persons=persons)
            if interval.note:
                remarks.setdefault(interval.note, []).append(name)
        row |= {name: value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    r = float(agreement.pearson(reference, prediction))
    row["r_fisher_low"], row["r_fisher_high"] = agreement.fisher_interval(r, reference.size)
    told = [f"{', '.join(names)} {remark}" for remark, names in remarks.items()]
    row["note"] = "; ".join(_reasons(reference, prediction, wanted) + told)
    return row


def _reasons(reference: FloatArray, prediction: FloatArray, wanted: Parameter) -> list[str]:
    """Why statistics of one parameter are not defined, in words."""
    n = reference.size
    if n == 0:
        return ["no reference"]
    reasons = []
    if n < agreement.SMALLEST:
        reasons.append(f"{n} patient{'s' if n > 1 else ''}: no correlation")
    else:
        reasons += _correlation_reasons(reference, prediction)
    abnormal = sum(wanted.is_abnormal(value) for value in reference)
    if abnormal in (0, n):
        reasons.append(f"{'no' if abnormal == 0 else 'every'} reference is {wanted.criterion}: no AUC")
    return reasons


def _correlation_reasons(reference: FloatArray, prediction: FloatArray) -> list[str]:
    """Why r, its Fisher interval or the calibration line of three patients or more are not defined."""
    reasons = []
    if agreement.is_constant(reference):
        reasons.append("constant references: no r")
    if agreement.is_constant(prediction):
        reasons.append("constant predictions: no r, no calibration line")
    r = float(agreement.pearson(reference, prediction))
    if not np.isnan(r) and np.isnan(agreement.fisher_interval(r, reference.size)[0]):
        few = reference.size < 4
        reasons.append(f"{'three patients' if few else f'r is {r:.0f}'}: no Fisher interval of r")
    return reasons


def mean_correlation(predictions: pd.DataFrame, resamples: int, seed: int) -> MeanCorrelation:
    """Mean signed Pearson correlation over the parameters, with a joint patient bootstrap interval.

    Args:
        resamples: bootstrap resamples; a patient is drawn with all its parameters.
        seed: of the bootstrap; the result does not depend on the order of the rows.

    Raises:
        ValueError: more than one variant or cohort.
    """
    _check_one_group(predictions)
    reference, prediction = wide(predictions, "reference"), wide(predictions, "prediction")
    single = _correlations(reference, prediction, np.ones((1, len(reference))))[0]
    defined = np.isfinite(single)
    note = ", ".join(reference.columns[~defined])
    if not defined.any():
        return MeanCorrelation(np.nan, np.nan, np.nan, 0, "no parameter has a correlation")
    persons = patient_persons(predictions)
    counts = bootstrap_counts(persons, resamples, seed)
    values = _correlations(reference, prediction, counts)[:, defined].mean(axis=1)
    known = reference.loc[:, defined].notna().to_numpy()
    fewest = min(np.unique(persons[column]).size for column in known.T)
    interval = percentile_interval(values, expanded_level(0.95, fewest))
    if fewest < LEAST_PATIENTS:
        interval = Interval(np.nan, np.nan, 0, 0)
    left_out = f"without {note}: no correlation" if note else ""
    return MeanCorrelation(
        r=float(single[defined].mean()),
        low=interval.low,
        high=interval.high,
        parameters=int(defined.sum()),
        note="; ".join(filter(None, [left_out, interval.note])),
    )


def _correlations(reference: pd.DataFrame, prediction: pd.DataFrame, counts: FloatArray) -> FloatArray:
    """Pearson's r of each parameter with patients counted several times, missing references left out.

    Args:
        reference: shape (patients, parameters).
        prediction: shape (patients, parameters).
        counts: how often each patient is drawn, shape (resamples, patients).

    Returns:
        Shape (resamples, parameters).
    """
    columns = [
        weighted_pearson(reference[key].to_numpy(), prediction[key].to_numpy(), counts)
        for key in reference.columns
    ]
    return np.stack(columns, axis=1)


def fold_table(predictions: pd.DataFrame, history: pd.DataFrame | None) -> pd.DataFrame:
    """Correlation and error of each fold on the patients it did not train on, then their mean and SD.

    Args:
        predictions: a checked, out-of-fold predictions table of one variant of Cohort I.
        history: a row for each fold and epoch, with fold, epoch and val_loss; the best epoch is the first
            of the smallest validation loss. May be missing.

    Returns:
        A row for each fold, then "mean" and "SD" (n − 1) over the folds where a value is defined: fold, n
        (patients), best_epoch, best_loss, r_mean (over the parameters that have an r), `r_<key>` (signed
        Pearson), `mae_<key>` (in the parameter's unit) and note. Without folds: no row.
    """
    present = set(predictions["parameter"])
    keys = [key for key in KEYS if key in present]
    names = ["n", "best_epoch", "best_loss", "r_mean"]
    names += [f"r_{key}" for key in keys] + [f"mae_{key}" for key in keys]
    numbers = sorted(int(fold) for fold in predictions["fold"].dropna().unique())
    rows = [_row_folds(predictions[predictions["fold"].eq(fold)], history, fold, keys) for fold in numbers]
    values = pd.DataFrame(rows, columns=names, dtype=np.float64)
    result = pd.concat([values, values.agg(["mean", "std"])], ignore_index=True) if numbers else values
    result.insert(0, "fold", [str(fold) for fold in numbers] + (["mean", "SD"] if numbers else []))
    result["note"] = [_note(row) for row in rows] + ([_summary_note(values)] * 2 if numbers else [])
    return result


def _row_folds(
    own: pd.DataFrame, history: pd.DataFrame | None, fold: int, keys: list[str]
) -> dict[str, float]:
    epoch, loss = _best(history, fold)
    pairs = {key: reference_and_prediction(own, key) for key in keys}
    r = {f"r_{key}": float(pearson(*pair)) for key, pair in pairs.items()}
    defined = [value for value in r.values() if not np.isnan(value)]
    mean = float(np.mean(defined)) if defined else float("nan")
    mae = {f"mae_{key}": float(mean_absolute_error(*pair)) for key, pair in pairs.items()}
    patients = float(own["patient_id"].nunique())
    return {"n": patients, "best_epoch": epoch, "best_loss": loss, "r_mean": mean} | r | mae


def _best(history: pd.DataFrame | None, fold: int) -> tuple[float, float]:
    """Epoch and validation loss of a fold's best epoch, NaN without a history of it."""
    if history is None:
        return float("nan"), float("nan")
    own = history[history["fold"].eq(fold) & history["val_loss"].notna()].sort_values("epoch")
    if own.empty:
        return float("nan"), float("nan")
    at = int(own["val_loss"].to_numpy(np.float64).argmin())
    return float(own["epoch"].iloc[at]), float(own["val_loss"].iloc[at])


def _note(row: dict[str, float]) -> str:
    """The parameters without a correlation or an error in one fold."""
    no_error = [name[4:] for name, value in row.items() if name.startswith("mae_") and np.isnan(value)]
    no_r = [key for key in KEYS if f"r_{key}" in row and np.isnan(row[f"r_{key}"]) and key not in no_error]
    notes = [f"no reference of {', '.join(no_error)}"] if no_error else []
    return "; ".join(notes + ([f"no r of {', '.join(no_r)}"] if no_r else []))


def _summary_note(values: pd.DataFrame) -> str:
    """The values that are missing in some folds, hence whose mean is over fewer."""
    counts = values.notna().sum()
    partly = [f"{name} over {n} of {len(values)} folds" for name, n in counts.items() if 0 < n < len(values)]
    return "; ".join([*partly, *(["one fold: no SD"] if len(values) == 1 else [])])
