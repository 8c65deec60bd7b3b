"""Intervals that hold a stated share of new patients' values, from errors on patients not trained on.

CV+ of Barber RF, Candès EJ, Ramdas A, Tibshirani RJ. Predictive inference with the jackknife+. Ann Stat
2021;49:486-507, section 3: each out-of-fold error goes with the network that did not see its patient. Errors
are divided by a spread that grows with the prediction where they do (`cardio_mlflow.analysis.spread`), and
are those of patients on the same side of predicted pulmonary hypertension where there are enough (Mondrian:
Vovk V, Gammerman A, Shafer G. Algorithmic Learning in a Random World, 2005, section 4.5).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from cardio_mlflow.analysis.predictions import FloatArray, IntArray
from cardio_mlflow.analysis.scores import BoolArray, Scores, smallest, together
from cardio_mlflow.analysis.spread import Spread, fit_spread, moved, transformed
from cardio_mlflow.parameters import KEYS, PULMONARY_HYPERTENSION, VIEWS, parameter

LEVEL: Final = 0.9
"""Share of patients whose value an interval holds, unless another is asked for."""
SUBSET_COLUMNS: Final = ("patient_id", "fold", "views", "parameter", "reference", "prediction")

_PH: Final = KEYS.index(PULMONARY_HYPERTENSION.key)
ByNetwork = Mapping[str, FloatArray]
"""(N, 9) predictions in their units by the name of the network, such as ``fold-2``."""


@dataclass(frozen=True)
class Calibration:
    """What intervals are made from. It names no patient.

    Attributes:
        scores: by the views that were shown, such as ``A4C+PLAX``, then by parameter.
        spreads: by parameter.
        ranges: smallest and largest reference of each parameter, in its unit.
    """

    scores: Mapping[str, Mapping[str, Scores]]
    spreads: Mapping[str, Spread]
    ranges: Mapping[str, tuple[float, float]]

    def intervals(
        self, by_network: ByNetwork, present: BoolArray, level: float = LEVEL
    ) -> tuple[FloatArray, FloatArray]:
        """Lower and upper ends, (N, 9) each in their units, that hold the prediction (the networks' mean).

        NaN of a parameter that has no prediction, or fewer errors than the level needs (`smallest`).

        Args:
            by_network: the networks' predictions for N patients.
            present: (N, V) bool, the views that the networks saw.
            level: share of patients whose value the interval is to hold, below 1.
        """
        centre = mean_over_networks(by_network)
        lower, upper = np.full(centre.shape, np.nan), np.full(centre.shape, np.nan)
        for row, views in enumerate(views_shown(present)):
            above = bool(centre[row, _PH] > PULMONARY_HYPERTENSION.cutoff)
            for column, key in self._judged(centre[row]):
                scores = self._scores_of(views, key, level).of_group(above, level)
                centres = _centres(by_network, scores.folds, row, column, centre[row, column])
                lower[row, column], upper[row, column] = interval_about(
                    key, centre[row, column], centres, scores.errors, self.spreads[key], level
                )
        return lower, upper

    def probability_above(
        self, key: str, cutoff: float, by_network: ByNetwork, present: BoolArray
    ) -> FloatArray:
        """Probability that a parameter's value lies above a cut-off, (N,); NaN where it is not calibrated.

        The conformal predictive distribution of Vovk V et al. Mach Learn 2019;108:445-474, each error
        with its network as in CV+, of patients on both sides of predicted pulmonary hypertension.
        """
        column, centre = KEYS.index(key), mean_over_networks(by_network)
        found = np.full(len(centre), np.nan)
        for row, views in enumerate(views_shown(present)):
            scores = self._scores_of(views, key, LEVEL)
            if len(scores) and np.isfinite(centre[row, column]):
                centres = _centres(by_network, scores.folds, row, column, centre[row, column])
                values = moved(key, centres, scores.errors, self.spreads[key])
                found[row] = (np.sum(values > cutoff) + 0.5) / (len(values) + 1)
        return found

    def training_range(self) -> Mapping[str, tuple[float, float]]:
        """Smallest and largest reference of each parameter, in its unit."""
        return self.ranges

    def _judged(self, predictions: FloatArray) -> Iterator[tuple[int, str]]:
        """Column and key of the parameters that a patient, (9,), can have an interval of."""
        for column, key in enumerate(KEYS):
            if key in self.spreads and np.isfinite(predictions[column]):
                yield column, key

    def _scores_of(self, views: str, key: str, level: float) -> Scores:
        """Errors with the same views; where the level needs more, with as many views, then with any.

        A patient has errors with several subsets, so that the largest subset tells how many patients there
        are at least. None where they are too few.
        """
        count = views.count("+")
        for is_like in (
            lambda name: name == views,
            lambda name: name.count("+") == count,
            lambda _: True,
        ):
            found = [of[key] for name, of in self.scores.items() if key in of and is_like(name)]
            if max(map(len, found), default=0) >= smallest(level):
                return together(found)
        return together([])

    def to_json(self) -> str:
        """As JSON, in an order that is not the patients'."""
        scores = {
            views: {key: of.to_lists() for key, of in by_key.items()} for views, by_key in self.scores.items()
        }
        spreads = {key: spread.to_list() for key, spread in self.spreads.items()}
        return json.dumps({"scores": scores, "spreads": spreads, "ranges": dict(self.ranges)})

    @staticmethod
    def from_json(text: str) -> Calibration:
        """Read what ``to_json`` wrote."""
        stored = json.loads(text)
        scores = {
            views: {key: Scores.from_lists(of) for key, of in by_key.items()}
            for views, by_key in stored["scores"].items()
        }
        spreads = {key: Spread(*values) for key, values in stored["spreads"].items()}
        return Calibration(
            scores, spreads, {key: (low, high) for key, (low, high) in stored["ranges"].items()}
        )


def calibrate(subsets: pd.DataFrame) -> Calibration:
    """Calibrate on out-of-fold predictions from subsets of the views.

    Args:
        subsets: `SUBSET_COLUMNS`: one row per patient, views that were shown (such as ``A4C+PLAX``) and
            parameter, by the network that was not trained on the patient; rows without reference are left
            out. The spread is that of the patients' predictions from the most views they have.
    """
    table = _with_groups(subsets)
    spreads, ranges = {}, {}
    scores: dict[str, dict[str, Scores]] = {}
    for key, rows in table.groupby("parameter", sort=False):
        reference, prediction = (rows[name].to_numpy(np.float64) for name in ("reference", "prediction"))
        spread = fit_spread(str(key), reference[rows["fullest"]], prediction[rows["fullest"]])
        spreads[str(key)] = spread
        ranges[str(key)] = (float(reference.min()), float(reference.max()))
        values = scores_of(str(key), reference, prediction, spread)
        every = Scores(rows["fold"].to_numpy(np.int64), rows["above"].to_numpy(bool), values)
        for views in rows["views"].unique():
            scores.setdefault(views, {})[str(key)] = every.only((rows["views"] == views).to_numpy())
    return Calibration(scores, spreads, ranges)


def scores_of(key: str, reference: FloatArray, prediction: FloatArray, spread: Spread) -> FloatArray:
    """Errors over their spread, (n,), of values in the parameter's unit."""
    values = transformed(key, prediction)
    return (transformed(key, reference) - values) / spread.at(values)


def interval_about(
    key: str, prediction: float, centres: FloatArray, scores: FloatArray, spread: Spread, level: float
) -> tuple[float, float]:
    """The CV+ interval of one patient, in the parameter's unit; NaN of fewer errors than the level needs.

    Widened, where it must be, to hold the prediction; cut to what is physiologically plausible.

    Args:
        key: of the parameter.
        prediction: the one that is shown.
        centres: (n,) for each error, the prediction for this patient by that error's network.
        scores: (n,) errors over their spread.
        spread: of the errors.
        level: share of patients whose value the interval is to hold.
    """
    count = len(scores)
    if count < smallest(level):
        return math.nan, math.nan
    rank = math.ceil(round(level * (count + 1), 9))
    upper = np.sort(moved(key, centres, np.abs(scores), spread))[rank - 1]
    lower = np.sort(moved(key, centres, -np.abs(scores), spread))[count - rank]
    low, high = np.clip((lower, upper), *parameter(key).plausible)
    return float(min(low, prediction)), float(max(high, prediction))


def mean_over_networks(by_network: ByNetwork) -> FloatArray:
    """(N, 9) mean over the networks that have a prediction; NaN where none has."""
    stacked = np.stack(list(by_network.values()))
    given = np.isfinite(stacked)
    mean = np.full(stacked.shape[1:], np.nan)
    np.divide(np.where(given, stacked, 0).sum(0), given.sum(0), out=mean, where=given.any(0))
    return mean


def views_shown(present: BoolArray) -> list[str]:
    """What the views of N patients, (N, V) bool, are called together.

    >>> views_shown(np.array([[True, False, False, True]]))
    ['A4C+PLAX']
    """
    return ["+".join(v.name for v, shown in zip(VIEWS, row, strict=True) if shown) for row in present]


def _centres(by_network: ByNetwork, folds: IntArray, row: int, column: int, otherwise: float) -> FloatArray:
    """For each error, the prediction of a value by the network of its fold; ``otherwise`` where none is."""
    found = np.full(len(folds), otherwise)
    for name, predictions in by_network.items():
        value = predictions[row, column]
        if np.isfinite(value):
            found[folds == _fold_of(name)] = value
    return found


def _fold_of(network: str) -> int:
    """The fold of a network's name; 0 of any other name.

    >>> _fold_of("fold-2")
    2
    """
    number = network.removeprefix("fold-")
    return int(number) if number.isdecimal() else 0


def _with_groups(subsets: pd.DataFrame) -> pd.DataFrame:
    """The rows with reference and prediction.

    With whether PH was predicted (above), and whether by the most views that the patient has (fullest).
    """
    table = subsets.assign(fold=subsets["fold"].fillna(0).astype(np.int64))
    of_ph = table[table["parameter"] == PULMONARY_HYPERTENSION.key].set_index(["patient_id", "views"])
    above = of_ph["prediction"] > PULMONARY_HYPERTENSION.cutoff
    keys = pd.MultiIndex.from_frame(table[["patient_id", "views"]])
    table["above"] = above.reindex(keys).fillna(False).to_numpy(bool)
    count = table["views"].str.count(r"\+")
    table["fullest"] = count == count.groupby(table["patient_id"]).transform("max")
    return table[table["reference"].notna() & table["prediction"].notna()]
