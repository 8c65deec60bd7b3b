"""Whether a new model takes the champion's place: both judged on the same patients, each out of fold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from cardio_mlflow.analysis.bootstrap import LEAST_COMPARED
from cardio_mlflow.analysis.comparison import MEAN, differences, with_sign
from cardio_mlflow.analysis.paired_variants import MEASURES
from cardio_mlflow.analysis.predictions import wide

TAKES_OVER: Final = "It becomes the champion"
NEW: Final = "new"
CHAMPION: Final = "champion"
"""The two variants in the table of a comparison; differences are new minus champion."""


@dataclass(frozen=True)
class Promotion:
    """What becomes of a new model.

    Attributes:
        promoted: whether it becomes the champion; else the challenger.
        sentence: why, in words.
        table: the differences by parameter and of the mean, as `differences` gives them; None where nothing
            could be compared.
    """

    promoted: bool
    sentence: str
    table: pd.DataFrame | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """The differences of the mean, by their MLflow names without prefix: r, and MAE in SD."""
        if self.table is None:
            return {}
        (row,) = self.table[self.table["parameter"] == MEAN].to_dict("records")
        names = [f"{measure}_{end}" for measure in MEASURES for end in ("difference", "low", "high")]
        return {name: float(row[name]) for name in names}


def compare(new: pd.DataFrame, champion: pd.DataFrame, resamples: int, seed: int) -> Promotion:
    """Compare two models on the patients that both judged out of fold.

    The champion gives way unless the new model is shown to be worse: the 95 % interval (paired bootstrap of
    patients) of the difference in mean signed r lies below 0. So a new model on which nothing speaks against
    takes over, and a difference that the patients cannot tell does not keep an old model in place.

    Args:
        new: out-of-fold predictions of the new model.
        champion: those of the champion.
        resamples: bootstrap resamples, at least.
        seed: of the bootstrap.
    """
    same = common_patients(new, champion)
    one, other = _on(new, same, champion), _on(champion, same, new)
    persons = one["person" if "person" in one.columns else "patient_id"].nunique()
    if persons < LEAST_COMPARED:
        had = f"fewer than {LEAST_COMPARED} patients" if same else "no patient"
        return Promotion(True, f"{TAKES_OVER}: it and the champion before it have {had} in common, so they "
                         "cannot be compared.")  # fmt: skip
    table = differences({NEW: [one], CHAMPION: [other]}, resamples, seed, against=(CHAMPION,))
    found = Promotion(promoted=True, sentence="", table=table).metrics
    if np.isnan(found["r_high"]):
        why = f"on the {len(same)} patients of both the difference in mean signed r is not defined"
        return Promotion(True, f"{TAKES_OVER}: {why}.", table)
    return Promotion(found["r_high"] >= 0, _in_words(found, len(same)), table)


def _in_words(found: Mapping[str, float], patients: int) -> str:
    r, mae = (_with_interval(found, measure) for measure in MEASURES)
    told = (
        f"on {patients} patients of both, its mean signed r minus the champion's is {r}, and its mean "
        f"absolute error in SD minus the champion's {mae}"
    )
    if found["r_high"] < 0:
        return f"It becomes the challenger, since it is worse: {told}."
    better = "better" if found["r_low"] > 0 else "not shown to be worse"
    return f"{TAKES_OVER}, since it is {better}: {told}."


def _with_interval(found: Mapping[str, float], measure: str) -> str:
    value, low, high = (with_sign(found[f"{measure}_{end}"]) for end in ("difference", "low", "high"))
    return f"{value} (95 % interval {low} to {high})"


def common_patients(one: pd.DataFrame, other: pd.DataFrame) -> list[str]:
    """The patients in both predictions tables whose references are the same in both, by id.

    Two cohorts may call different patients alike; a patient has the same references in both, all of them.
    """
    first, second = wide(one, "reference"), wide(other, "reference")
    ids = first.index.intersection(second.index)
    keys = first.columns.intersection(second.columns)
    first, second = (table.reindex(index=ids, columns=keys) for table in (first, second))
    differ = (first.notna() & second.notna() & first.ne(second)).any(axis=1)
    return [str(patient) for patient in ids[first.eq(second).any(axis=1) & ~differ]]


def _on(table: pd.DataFrame, patients: list[str], other: pd.DataFrame) -> pd.DataFrame:
    """The rows of some patients of which another table has the reference too.

    Without folds: each patient is out of fold in both tables, whichever the folds were.
    """
    known = other.loc[other["reference"].notna(), ["patient_id", "parameter"]]
    chosen = table[table["patient_id"].isin(patients) & table["reference"].notna()].merge(known)
    return chosen.assign(fold=pd.array([None] * len(chosen), dtype="Int64"))
