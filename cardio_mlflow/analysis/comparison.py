"""Variants of the network beside each other: paired differences on the same patients, with intervals.

Patients are resampled, the same ones for all variants, so what they have in common cancels out. Where a
variant was trained with several seeds, each statistic is its mean over them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cardio_mlflow.analysis.agreement import SMALLEST
from cardio_mlflow.analysis.bootstrap import (
    LEAST_PATIENTS,
    Interval,
    expanded_level,
    percentile_interval,
)
from cardio_mlflow.analysis.multiplicity import holm
from cardio_mlflow.analysis.predictions import FloatArray, wide
from cardio_mlflow.analysis.weighted import (
    bootstrap_counts,
    weighted_mean_absolute_error,
    weighted_pearson,
)
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import parameter

MEAN: Final = "mean"
"""What stands in the column ``parameter`` for the mean over the parameters."""
LEAST_RESAMPLES: Final = 10_000
"""With fewer, no p value could be small enough to be left below 0.05 by Holm's correction of 45."""
AGAINST: Final = ("full", "no_attention")
"""What every variant is set against."""

Tables = Mapping[str, Sequence[pd.DataFrame]]
"""Checked predictions tables by variant, one a seed."""

_MEASURES: Final = ("r", "mae")


@dataclass(frozen=True)
class _Values:
    """What is compared, on P patients (sorted by id) and K parameters.

    Attributes:
        keys: the parameters.
        reference: (P, K), NaN where it is missing.
        predictions: (seeds, P, K) by variant, NaN where a patient was not judged.
        counts: (1 + resamples, P), how often each patient is counted; the first row counts each once.
    """

    keys: tuple[str, ...]
    reference: FloatArray
    predictions: Mapping[str, FloatArray]
    counts: FloatArray

    def judged(self, *variants: str) -> NDArray[np.bool_]:
        """(P,) whether a patient was judged by all of these variants."""
        found = [np.isfinite(self.predictions[v]).any(axis=(0, 2)) for v in variants]
        return np.asarray(np.all(found, axis=0))

    def measured(self, variant: str, patients: NDArray[np.bool_]) -> dict[str, FloatArray]:
        """The measures of a variant on these patients, mean over seeds: (1 + resamples, K + 1) by name.

        The last column is the mean over the parameters: of r, and of MAE / SD of the references.
        """
        by_seed = [self._of_seed(seed, patients) for seed in self.predictions[variant]]
        return {name: np.mean([found[name] for found in by_seed], axis=0) for name in _MEASURES}

    def spread_of_seeds(self, variant: str) -> FloatArray:
        """(K + 1,) SD (n − 1) over seeds of r on all patients of a variant; NaN for one seed."""
        first = _Values(self.keys, self.reference, self.predictions, self.counts[:1])
        of = self.judged(variant)
        values = [first._of_seed(seed, of)["r"][0] for seed in self.predictions[variant]]
        return np.std(values, axis=0, ddof=1) if len(values) > 1 else np.full(len(self.keys) + 1, np.nan)

    def _of_seed(self, prediction: FloatArray, patients: NDArray[np.bool_]) -> dict[str, FloatArray]:
        reference = np.where(patients[:, None], self.reference, np.nan)
        columns = range(len(self.keys))
        r = [weighted_pearson(reference[:, k], prediction[:, k], self.counts) for k in columns]
        mae = [weighted_mean_absolute_error(reference[:, k], prediction[:, k], self.counts) for k in columns]
        spread = np.array([_sd(reference[:, k]) for k in columns])
        counted = np.isfinite(spread) & (np.isfinite(reference).sum(axis=0) >= SMALLEST)
        return {
            "r": _with_mean(np.stack(r, axis=1), counted),
            "mae": _with_mean(np.stack(mae, axis=1), counted, spread),
        }


def variant_table(tables: Tables, resamples: int, seed: int) -> pd.DataFrame:
    """Signed Pearson r and MAE of each variant, with patient-bootstrap percentile intervals.

    Args:
        tables: predictions by variant and seed.
        resamples: bootstrap resamples.
        seed: of the bootstrap.

    Returns:
        A row for each variant and parameter that occurs, and for the mean over parameters: variant,
        parameter, unit, n (patients), r, r_low, r_high, mae, mae_low, mae_high, r_seed_sd. The MAE of the
        row "mean" is the mean of MAE / SD of the references, in SD.

    Raises:
        InputError: as `differences`.
    """
    values = _values(tables, resamples, seed)
    rows = []
    for variant in values.predictions:
        of = values.judged(variant)
        measured, spread = values.measured(variant, of), values.spread_of_seeds(variant)
        for k, key in enumerate((*values.keys, MEAN)):
            n = _patients(values, of, k)
            row: dict[str, object] = {"variant": variant, "parameter": key, "unit": _unit(key), "n": n}
            for name in _MEASURES:
                interval = _interval(measured[name][1:, k], n, expanded_level(0.95, max(n, LEAST_PATIENTS)))
                row |= {
                    name: measured[name][0, k],
                    f"{name}_low": interval.low,
                    f"{name}_high": interval.high,
                }
            rows.append(row | {"r_seed_sd": spread[k]})
    columns = ["variant", "parameter", "unit", "n", "r", "r_low", "r_high", "mae", "mae_low", "mae_high"]
    return pd.DataFrame(rows, columns=[*columns, "r_seed_sd"])


def differences(tables: Tables, resamples: int, seed: int, against: Sequence[str] = AGAINST) -> pd.DataFrame:
    """Paired differences of each variant to some of them, on the patients that both judged.

    Intervals are percentiles of the differences of `LEAST_RESAMPLES` resamples or more; p is the level at
    which such an interval would just hold 0 (Efron B, Tibshirani RJ. An Introduction to the Bootstrap, 1993,
    chapters 13 and 15), so p < 0.05 where the interval leaves 0 out. p_holm corrects p by Holm's method
    (Scand J Stat 1979;6:65-70): the means of all variants against one, and their single parameters, are a
    family each.

    Args:
        tables: predictions by variant and seed.
        resamples: bootstrap resamples, at least.
        seed: of the bootstrap.
        against: what every variant is set against, as far as it is there.

    Returns:
        A row for each pair and parameter, and for the mean: variant, against, parameter, unit, n,
        r_difference, r_low, r_high, r_p, r_p_holm, and the same of the MAE. Differences are variant minus
        the other: a better variant has a positive one in r, a negative one in MAE.

    Raises:
        InputError: variants were judged on other folds, or differ in folds or references of a patient.
    """
    values = _values(tables, max(resamples, LEAST_RESAMPLES), seed)
    pairs = [(v, a) for a in against if a in values.predictions for v in values.predictions if v != a]
    table = pd.DataFrame([row for pair in pairs for row in _pair(values, *pair)], columns=_COLUMNS)
    for _, rows in table.groupby(["against", table["parameter"].eq(MEAN)]):
        for name in _MEASURES:
            table.loc[rows.index, f"{name}_p_holm"] = holm(rows[f"{name}_p"].to_numpy(np.float64))
    return table


_COLUMNS: Final = [
    "variant", "against", "parameter", "unit", "n",
    *(f"{name}_{what}" for name in _MEASURES for what in ("difference", "low", "high", "p", "p_holm")),
]  # fmt: skip


def _interval(values: FloatArray, patients: int, level: float) -> Interval:
    """A percentile interval; none of too few patients."""
    if patients < LEAST_PATIENTS:
        return Interval(np.nan, np.nan, 0, 0)
    return percentile_interval(values, level)


def _pair(values: _Values, variant: str, against: str) -> list[dict[str, object]]:
    """The rows of one pair, without Holm's correction."""
    of = values.judged(variant, against)
    one, other = values.measured(variant, of), values.measured(against, of)
    rows = []
    for k, key in enumerate((*values.keys, MEAN)):
        row: dict[str, object] = {
            "variant": variant,
            "against": against,
            "parameter": key,
            "unit": _unit(key),
        }
        row["n"] = n = _patients(values, of, k)
        for name in _MEASURES:
            apart = one[name][:, k] - other[name][:, k]
            interval = _interval(apart[1:], n, 0.95)  # as it is, so that p goes with it
            row |= {
                f"{name}_difference": apart[0],
                f"{name}_low": interval.low,
                f"{name}_high": interval.high,
            }
            row[f"{name}_p"] = np.nan if np.isnan(apart[0] + interval.low) else _two_sided(apart[1:])
        rows.append(row)
    return rows


def _two_sided(apart: FloatArray) -> float:
    defined = apart[np.isfinite(apart)]
    beyond = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0))
    return min(1.0, 2 * (beyond + 1) / (defined.size + 1))


def _values(tables: Tables, resamples: int, seed: int) -> _Values:
    _check_comparable(tables)
    everything = pd.concat([table for seeds in tables.values() for table in seeds])
    first = everything.drop_duplicates(["patient_id", "parameter"])
    reference = wide(first, "reference")

    def aligned(table: pd.DataFrame) -> FloatArray:
        found = wide(table, "prediction").reindex(index=reference.index, columns=reference.columns)
        return found.to_numpy(np.float64)

    predictions = {
        variant: np.stack([aligned(table) for table in seeds]) for variant, seeds in tables.items()
    }
    counts = bootstrap_counts(len(reference), resamples, seed)
    return _Values(
        tuple(reference.columns), reference.to_numpy(np.float64), predictions,
        np.concatenate([np.ones((1, len(reference))), counts]),
    )  # fmt: skip


def _check_comparable(tables: Tables) -> None:
    """Refuse variants that were trained on other folds, or whose patients differ in folds or references."""
    named = [(variant, table) for variant, seeds in tables.items() for table in seeds]
    first, one = named[0]
    for variant, table in named[1:]:
        if missing := set(one["fold"].dropna()) ^ set(table["fold"].dropna()):
            raise InputError(
                f"Variants {first} and {variant} were not trained on the same folds: only one has "
                f"{', '.join(str(fold) for fold in sorted(missing))}. Run the missing folds of each variant."
            )
        both = one.merge(table, on=["patient_id", "parameter"], suffixes=("", "_2"))
        same = both["reference"].eq(both["reference_2"]) | (
            both["reference"].isna() & both["reference_2"].isna()
        )
        if not (same & both["fold"].eq(both["fold_2"]).fillna(value=True)).all():
            raise InputError(
                f"Variants {first} and {variant} differ in folds or references of the same patients: train "
                "both on one cohort with one split."
            )


def _with_mean(values: FloatArray, counted: NDArray[np.bool_], scale: FloatArray | float = 1.0) -> FloatArray:
    """Add a last column: the mean over the counted columns of the values over a scale.

    It is NaN where one of them is, so that no variant is favoured by leaving a parameter out.
    """
    scaled = (values / scale)[:, counted]
    mean = scaled.mean(axis=1) if counted.any() else np.full(len(values), np.nan)
    return np.column_stack([values, mean])


def _sd(values: FloatArray) -> float:
    """SD (n − 1) of what is there; NaN where it is 0 or not defined."""
    known = values[np.isfinite(values)]
    spread = float(np.std(known, ddof=1)) if known.size > 1 else 0.0
    return spread if spread > 0 else float("nan")


def _patients(values: _Values, of: NDArray[np.bool_], column: int) -> int:
    known = np.isfinite(values.reference)
    counted = known.any(axis=1) if column == len(values.keys) else known[:, column]
    return int((counted & of).sum())


def _unit(key: str) -> str:
    return "SD" if key == MEAN else parameter(key).unit
