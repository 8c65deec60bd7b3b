"""Variants of the network beside each other: paired differences on the same patients, with intervals.

Patients are resampled, the same ones for all variants, so what they have in common cancels out. Where a
variant was trained with several seeds, each statistic is its mean over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from cardio_mlflow.analysis.bootstrap import (
    LEAST_PATIENTS,
    Interval,
    expanded_level,
    percentile_interval,
)
from cardio_mlflow.analysis.multiplicity import holm
from cardio_mlflow.analysis.paired_variants import MEASURES, PairedVariants, Tables, pair_variants
from cardio_mlflow.analysis.predictions import FloatArray
from cardio_mlflow.parameters import parameter

MEAN: Final = "mean"
"""What stands in the column ``parameter`` for the mean over the parameters."""
LEAST_RESAMPLES: Final = 10_000
"""With fewer, no p value could be small enough to be left below 0.05 by Holm's correction of 45."""
AGAINST: Final = ("full", "no_attention")
"""What every variant is set against."""


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
    values = pair_variants(tables, resamples, seed)
    rows = []
    for variant in values.predictions:
        of = values.judged(variant)
        measured, spread = values.measured(variant, of), values.spread_of_seeds(variant)
        for k, key in enumerate((*values.keys, MEAN)):
            n, persons = values.patients(of, k)
            row: dict[str, object] = {"variant": variant, "parameter": key, "unit": _unit(key), "n": n}
            for name in MEASURES:
                interval = _interval(
                    measured[name][1:, k], persons, expanded_level(0.95, max(persons, LEAST_PATIENTS))
                )
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
    values = pair_variants(tables, max(resamples, LEAST_RESAMPLES), seed)
    pairs = [(v, a) for a in against if a in values.predictions for v in values.predictions if v != a]
    table = pd.DataFrame([row for pair in pairs for row in _pair(values, *pair)], columns=_COLUMNS)
    for _, rows in table.groupby(["against", table["parameter"].eq(MEAN)]):
        for name in MEASURES:
            table.loc[rows.index, f"{name}_p_holm"] = holm(rows[f"{name}_p"].to_numpy(np.float64))
    return table


_COLUMNS: Final = [
    "variant", "against", "parameter", "unit", "n",
    *(f"{name}_{what}" for name in MEASURES for what in ("difference", "low", "high", "p", "p_holm")),
]  # fmt: skip


def _interval(values: FloatArray, persons: int, level: float) -> Interval:
    """A percentile interval; none of too few persons."""
    if persons < LEAST_PATIENTS:
        return Interval(np.nan, np.nan, 0, 0)
    return percentile_interval(values, level)


def _pair(values: PairedVariants, variant: str, against: str) -> list[dict[str, object]]:
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
        row["n"], persons = values.patients(of, k)
        for name in MEASURES:
            apart = one[name][:, k] - other[name][:, k]
            interval = _interval(apart[1:], persons, 0.95)  # as it is, so that p goes with it
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


def _unit(key: str) -> str:
    return "SD" if key == MEAN else parameter(key).unit
