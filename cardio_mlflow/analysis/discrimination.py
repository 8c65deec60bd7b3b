"""Discrimination: areas under the ROC curve at cut-offs that are fixed beforehand, and for PH."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats
from sklearn.metrics import roc_curve

from cardio_mlflow.analysis.agreement import is_constant
from cardio_mlflow.analysis.bootstrap import Interval, Statistic, bootstrap_interval
from cardio_mlflow.analysis.predictions import FloatArray, IntArray, person_codes
from cardio_mlflow.parameters import PARAMETERS, PULMONARY_HYPERTENSION, Parameter

COLUMNS: Final = (
    "parameter", "unit", "outcome", "criterion", "n", "positives", "auc", "auc_delong_low",
    "auc_delong_high", "auc_low", "auc_high", "note",
)  # fmt: skip


def area_under_curve(
    reference: FloatArray, prediction: FloatArray, *, cutoff: float, abnormal: Literal["above", "below"]
) -> FloatArray:
    """Area under the ROC curve of a prediction for an abnormal reference.

    The probability that an abnormal patient's prediction lies further on the abnormal side than a
    normal patient's, ties counted half (Mann-Whitney): Hanley JA, McNeil BJ. Radiology 1982;143:29-36.
    Predictions that agree to single precision are ties, see `is_constant`.

    Args:
        reference: shape (..., n).
        prediction: shape (..., n).
        cutoff: in the parameter's unit; abnormal lies strictly beyond it.
        abnormal: "above" or, as for CO and CI, "below" the cut-off.

    Returns:
        Shape (...); NaN where all patients are normal or all abnormal.

    >>> float(area_under_curve(np.array([3.0, 5.0]), np.array([3.5, 4.5]), cutoff=4, abnormal="below"))
    1.0
    """
    sign = 1.0 if abnormal == "above" else -1.0
    positive = (sign * reference > sign * cutoff).astype(np.float64)
    positives = positive.sum(axis=-1)
    pairs = positives * (reference.shape[-1] - positives)
    if reference.shape[-1] == 0:
        return np.full(reference.shape[:-1], np.nan)
    ranks = stats.rankdata(sign * prediction, axis=-1)
    ranks = np.where(is_constant(prediction)[..., None] > 0, ranks.mean(axis=-1, keepdims=True), ranks)
    wins = (ranks * positive).sum(axis=-1) - positives * (positives + 1) / 2
    result = np.full(np.shape(pairs), np.nan)
    np.divide(wins, pairs, out=result, where=pairs > 0)
    return result


AREA: Final[Statistic] = partial(area_under_curve, cutoff=0.5, abnormal="above")
"""The area under the curve of a score, given 1 for patients with the outcome and 0 for those without."""


def delong_variance(positive: NDArray[np.bool_], score: FloatArray, persons: IntArray) -> float:
    """Variance of the area under the ROC curve, of persons who may have several examinations.

    DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845, by the mid-ranks of Sun X, Xu W.
    Fast implementation of DeLong's algorithm. IEEE Signal Process Lett 2014;21:1389-1393; its components
    summed by person: Obuchowski NA. Nonparametric analysis of clustered ROC curve data. Biometrics
    1997;53:567-578. It is DeLong's variance where everybody has one examination.

    Args:
        positive: whether a patient has the outcome, shape (n,).
        score: higher for the outcome, shape (n,).
        persons: `person_codes`, shape (n,).

    Returns:
        The variance; NaN for fewer than two persons on either side.
    """
    with_outcome, without = score[positive], score[~positive]
    sides = (np.unique(persons[positive]).size, np.unique(persons[~positive]).size)
    if min(sides) < 2:
        return float("nan")
    ranks = stats.rankdata(score)
    wins = (ranks[positive] - stats.rankdata(with_outcome)) / without.size
    losses = 1 - (ranks[~positive] - stats.rankdata(without)) / with_outcome.size
    count = np.unique(persons).size
    if count == positive.size:
        return float(wins.var(ddof=1) / with_outcome.size + losses.var(ddof=1) / without.size)
    away = [
        np.bincount(persons[side], values - wins.mean(), persons.max() + 1) / values.size
        for side, values in ((positive, wins), (~positive, losses))
    ]
    variance = sum((of**2).sum() * n / (n - 1) for of, n in zip(away, sides, strict=True))
    return float(variance + 2 * (away[0] * away[1]).sum() * count / (count - 1))


def delong_interval(positive: NDArray[np.bool_], score: FloatArray, persons: IntArray) -> tuple[float, float]:
    """95 % interval of the area under the ROC curve from DeLong's variance, on the logit scale.

    logit(AUC) ± z·se / (AUC·(1 − AUC)), turned back, so that it stays within 0 and 1: Pepe MS. The
    Statistical Evaluation of Medical Tests for Classification and Prediction, 2003, section 5.2.

    Args:
        positive: whether a patient has the outcome, shape (n,).
        score: higher for the outcome, shape (n,).
        persons: `person_codes`, shape (n,).

    Returns:
        Low and high; NaN where the variance is undefined or zero, as when the area is 0 or 1.
    """
    variance, auc = delong_variance(positive, score, persons), float(AREA(positive.astype(np.float64), score))
    if not (variance > 0 and 0 < auc < 1):
        return (np.nan, np.nan)
    half = stats.norm.ppf(0.975) * np.sqrt(variance) / (auc * (1 - auc))
    centre = special.logit(auc)
    return (float(special.expit(centre - half)), float(special.expit(centre + half)))


@dataclass(frozen=True)
class Task:
    """A parameter's prediction against an outcome, of the patients in which the outcome is known.

    Attributes:
        parameter: whose prediction is judged.
        outcome: "cut-off" (its own) or "PH".
        criterion: the outcome as text.
        positive: whether a patient has the outcome, shape (n,), patients sorted by id.
        score: the prediction, or minus the prediction where low values are abnormal, shape (n,); one value
            for all where the predictions are constant (`is_constant`).
        persons: `person_codes` of the patients, shape (n,).
    """

    parameter: Parameter
    outcome: str
    criterion: str
    positive: NDArray[np.bool_]
    score: FloatArray
    persons: IntArray


def tasks(predictions: pd.DataFrame) -> list[Task]:
    """Each parameter that occurs at its own cut-off, then each but meanPAP for pulmonary hypertension."""
    present = set(predictions["parameter"])
    wanted = [p for p in PARAMETERS if p.key in present]
    own = [_task(predictions, p, p, "cut-off") for p in wanted]
    others = [p for p in wanted if p is not PULMONARY_HYPERTENSION]
    return own + [_task(predictions, p, PULMONARY_HYPERTENSION, "PH") for p in others]


def _task(predictions: pd.DataFrame, judged: Parameter, defining: Parameter, outcome: str) -> Task:
    known = predictions[(predictions["parameter"] == defining.key) & predictions["reference"].notna()]
    reference = known.set_index("patient_id")["reference"]
    rows = predictions[predictions["parameter"] == judged.key].sort_values("patient_id")
    rows = rows[rows["patient_id"].isin(reference.index)]
    values = rows["patient_id"].map(reference).to_numpy(np.float64)
    positive = values > defining.cutoff if defining.abnormal == "above" else values < defining.cutoff
    sign = 1.0 if judged.abnormal == "above" else -1.0
    score = sign * rows["prediction"].to_numpy(np.float64)
    if score.size and is_constant(score):
        score = np.full_like(score, score[0])
    return Task(judged, outcome, f"{defining.key} {defining.criterion}", positive, score, person_codes(rows))


def discrimination_table(predictions: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """Areas under the ROC curve with DeLong's and the bootstrap's 95 % intervals.

    Returns:
        One row for each of `tasks`, with `COLUMNS`; `note` says why a value is NaN.
    """
    rows = [_row(task, resamples, seed) for task in tasks(predictions)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(task: Task, resamples: int, seed: int) -> dict[str, object]:
    labels, score = task.positive.astype(np.float64), task.score
    auc = float(AREA(labels, score))
    interval, delong = Interval(np.nan, np.nan, 0, 0), (np.nan, np.nan)
    if not np.isnan(auc):
        interval = bootstrap_interval(AREA, labels, score, resamples, seed, persons=task.persons)
        delong = delong_interval(task.positive, score, task.persons)
    return {
        "parameter": task.parameter.key,
        "unit": task.parameter.unit,
        "outcome": task.outcome,
        "criterion": task.criterion,
        "n": score.size,
        "positives": int(task.positive.sum()),
        "auc": auc,
        "auc_delong_low": delong[0],
        "auc_delong_high": delong[1],
        "auc_low": interval.low,
        "auc_high": interval.high,
        "note": "; ".join(_notes(task, auc, delong[0], interval)),
    }


def _notes(task: Task, auc: float, delong: float, interval: Interval) -> list[str]:
    """Why values are not defined, in words."""
    n, positives = task.score.size, int(task.positive.sum())
    if n == 0:
        return ["no reference"]
    if positives in (0, n):
        return [f"{'no' if positives == 0 else 'every'} reference has {task.criterion}: no AUC"]
    if is_constant(task.score):
        return ["constant predictions: no interval of the AUC"]
    notes = []
    if auc in (0.0, 1.0):
        notes.append(f"the AUC is {auc:.0f}: no DeLong interval")
    elif np.isnan(delong):
        side = "has" if positives == 1 else "lacks"
        few = min(positives, n - positives) < 2
        notes.append(f"{f'one patient {side} the outcome' if few else 'no variance'}: no DeLong interval")
    return [*notes, interval.note] if interval.note else notes


def roc_points(predictions: pd.DataFrame) -> pd.DataFrame:
    """The corners of the ROC curve of each task that has both outcomes.

    Returns:
        parameter, outcome, threshold (the predicted value, in the parameter's unit, at and beyond which a
        patient counts as positive; at the start infinite, minus infinite where low is abnormal), fpr, tpr.
    """
    parts = [_curve(task) for task in tasks(predictions) if 0 < task.positive.sum() < task.positive.size]
    columns = ["parameter", "outcome", "threshold", "fpr", "tpr"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _curve(task: Task) -> pd.DataFrame:
    fpr, tpr, threshold = roc_curve(task.positive, task.score, drop_intermediate=False)
    sign = 1.0 if task.parameter.abnormal == "above" else -1.0
    return pd.DataFrame({"parameter": task.parameter.key, "outcome": task.outcome,
                         "threshold": sign * threshold, "fpr": fpr, "tpr": tpr})  # fmt: skip
