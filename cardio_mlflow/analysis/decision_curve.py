"""Decision curve: the net benefit of acting on the predicted probability of pulmonary hypertension."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from cardio_mlflow.analysis.agreement import is_constant
from cardio_mlflow.analysis.bootstrap import bootstrap_counts, count_persons, percentile_interval
from cardio_mlflow.analysis.predictions import FloatArray, IntArray, person_codes, with_reference
from cardio_mlflow.parameters import PULMONARY_HYPERTENSION

COLUMNS: Final = (
    "threshold", "n", "prevalence", "model", "model_low", "model_high", "treat_all", "treat_none",
)  # fmt: skip

THRESHOLDS: Final = tuple(percent / 100 for percent in range(5, 96))
"""Probabilities of PH from which on a patient would be sent to catheterisation."""

PARTS: Final = 5
"""Parts to split patients without folds into."""

SPLIT_SEED: Final = 0
"""Of that split; one for all, so that whether there is a curve does not depend on the bootstrap's seed."""


def net_benefit_of_each(positive: NDArray[np.bool_], probability: FloatArray) -> FloatArray:
    """What each patient adds: 1 if treated with, −t/(1 − t) if treated without the outcome, else 0.

    The mean over patients is the net benefit: Vickers AJ, Elkin EB. Decision curve analysis. Med Decis
    Making 2006;26:565-574. A patient is treated when the probability is at least the threshold t.

    Args:
        positive: whether a patient has the outcome, shape (n,).
        probability: of the outcome, shape (n,).

    Returns:
        Shape (thresholds, n).
    """
    threshold = np.array(THRESHOLDS)[:, None]
    worth = np.where(positive, 1.0, -threshold / (1 - threshold))
    return np.asarray(np.where(probability >= threshold, worth, 0.0))


def decision_curve(predictions: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """Net benefit for pulmonary hypertension at each threshold, per patient.

    The probability comes from a logistic regression on the predicted meanPAP, without penalty, fitted on
    the other folds, so never on the patient itself. Patients without folds are split into five parts by
    `SPLIT_SEED`, with the same share of PH in each, a person in one. The intervals resample persons with
    their probabilities.

    Returns:
        One row for each of `THRESHOLDS`, with `COLUMNS`; no row where `decision_note` says why.
    """
    predicted, positive, parts, persons = _patients(predictions)
    if _problem(predicted, positive, parts):
        return pd.DataFrame(columns=list(COLUMNS))
    probability = _probabilities(predicted, positive, parts)
    each = net_benefit_of_each(positive, probability)
    counts = bootstrap_counts(persons, resamples, seed)
    values = counts @ each.T / counts.sum(axis=1, keepdims=True)
    intervals = [percentile_interval(column) for column in values.T]
    threshold, prevalence = np.array(THRESHOLDS), float(positive.mean())
    return pd.DataFrame({
        "threshold": threshold,
        "n": positive.size,
        "prevalence": prevalence,
        "model": each.mean(axis=1),
        "model_low": [interval.low for interval in intervals],
        "model_high": [interval.high for interval in intervals],
        "treat_all": prevalence - (1 - prevalence) * threshold / (1 - threshold),
        "treat_none": 0.0,
    })  # fmt: skip


def decision_note(predictions: pd.DataFrame) -> str:
    """Why there is no decision curve, in words; empty when there is one."""
    predicted, positive, parts, _ = _patients(predictions)
    return _problem(predicted, positive, parts)


def _patients(predictions: pd.DataFrame) -> tuple[FloatArray, NDArray[np.bool_], IntArray, IntArray]:
    """Predicted meanPAP, PH, fold or part, and person of the patients whose reference is known."""
    rows = with_reference(predictions, PULMONARY_HYPERTENSION.key)
    persons = person_codes(rows)
    positive = np.array([PULMONARY_HYPERTENSION.is_abnormal(v) for v in rows["reference"]], dtype=bool)
    without_folds = bool(rows["fold"].isna().any())
    parts = _stratified_parts(positive, persons) if without_folds else rows["fold"].to_numpy(np.int64)
    return rows["prediction"].to_numpy(np.float64), positive, parts, persons


def _stratified_parts(positive: NDArray[np.bool_], persons: IntArray) -> IntArray:
    generator = np.random.default_rng(SPLIT_SEED)
    ever = np.bincount(persons, weights=positive, minlength=count_persons(persons)) > 0
    parts = np.zeros(ever.size, dtype=np.int64)
    for group in (ever, ~ever):
        parts[generator.permutation(np.flatnonzero(group))] = np.arange(group.sum()) % PARTS
    return parts[persons]


def _problem(predicted: FloatArray, positive: NDArray[np.bool_], parts: NDArray[np.int64]) -> str:
    """What keeps the probability from being fitted, in words; nothing where it can be."""
    if whole := _problem_of_all(predicted, positive, parts):
        return whole
    for part in np.unique(parts):
        others = parts != part
        if reason := _problem_without(predicted[others], positive[others]):
            return f"without one of the folds {reason}: no decision curve"
    return ""


def _problem_of_all(predicted: FloatArray, positive: NDArray[np.bool_], parts: NDArray[np.int64]) -> str:
    criterion = f"{PULMONARY_HYPERTENSION.key} {PULMONARY_HYPERTENSION.criterion}"
    if positive.size == 0:
        return f"no reference of {PULMONARY_HYPERTENSION.key}: no decision curve"
    if positive.all() or not positive.any():
        return f"{'every' if positive.all() else 'no'} reference has {criterion}: no decision curve"
    if np.unique(parts).size < 2:
        return "one fold only, so no other patients to fit the probability on: no decision curve"
    if is_constant(predicted):
        return "constant predictions: no decision curve"
    return ""


def _problem_without(predicted: FloatArray, positive: NDArray[np.bool_]) -> str:
    """What keeps the probability from being fitted on the patients outside one fold."""
    if positive.all() or not positive.any():
        return "all patients are alike in PH"
    if is_constant(predicted):
        return "the predictions are constant"
    if _separated(predicted, positive):
        return "the prediction separates PH fully"
    return ""


def _separated(predicted: FloatArray, positive: NDArray[np.bool_]) -> bool:
    """Whether one value separates the groups, so that a logistic regression has no estimate.

    Albert A, Anderson JA. On the existence of maximum likelihood estimates in logistic regression models.
    Biometrika 1984;71:1-10.
    """
    yes, no = predicted[positive], predicted[~positive]
    return bool(yes.min() >= no.max() or no.min() >= yes.max())


def _probabilities(
    predicted: FloatArray, positive: NDArray[np.bool_], parts: NDArray[np.int64]
) -> FloatArray:
    """Each patient's probability of PH by the patients of the other folds, shape (n,)."""
    probability = np.full(predicted.size, np.nan)
    for part in np.unique(parts):
        others = parts != part
        centre, scale = predicted[others].mean(), predicted[others].std(ddof=1)
        scaled = ((predicted - centre) / scale)[:, None]
        model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(scaled[others], positive[others])
        probability[~others] = model.predict_proba(scaled[~others])[:, 1]
    return probability
