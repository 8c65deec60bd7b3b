"""Variants of the network beside each other: paired differences on the same patients, with intervals.

Patients are resampled, the same ones for all variants, so what they have in common cancels out. Where a
variant was trained with several seeds, each statistic is its mean over them.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from cardio_mlflow.analysis.bootstrap import (
    LEAST_COMPARED,
    LEAST_PATIENTS,
    Interval,
    expanded_level,
    percentile_interval,
)
from cardio_mlflow.analysis.paired_variants import MEASURES, PairedVariants, Tables, pair_variants
from cardio_mlflow.analysis.predictions import FloatArray
from cardio_mlflow.parameters import parameter

MEAN: Final = "mean"
"""What stands in the column ``parameter`` for the mean over the parameters."""
LEAST_RESAMPLES: Final = 10_000
"""With fewer, no p value could be small enough to be left below 0.05 by Holm's correction of 45."""
AGAINST: Final = ("full", "no_attention")
"""What every variant is set against."""
PATHS: Final = {
    "temporal": ("no_temporal", "temporal attention"),
    "fusion": ("no_fusion", "view fusion"),
    "motion": ("no_motion", "motion"),
}
"""The paths that have a gate, by its name: the variant without the path, and the path in words."""
AT_THE_START: Final = 0.5
"""Alpha of every gate before training."""
_COLUMNS: Final = [
    "variant", "against", "parameter", "unit", "n",
    *(f"{name}_{what}" for name in MEASURES for what in ("difference", "low", "high", "p", "p_holm")),
]  # fmt: skip


def variant_table(tables: Tables, resamples: int, seed: int) -> pd.DataFrame:
    """Signed Pearson r and MAE of each variant, with patient-bootstrap percentile intervals.

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
    family each. Fewer persons than `LEAST_COMPARED` are not tested: p is NaN.

    Args:
        resamples: bootstrap resamples, at least.
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
            table.loc[rows.index, f"{name}_p_holm"] = _holm(rows[f"{name}_p"].to_numpy(np.float64))
    return table


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
            interval = _interval(apart[1:], persons, 0.95)  # without correction, so that it agrees with p
            row |= {
                f"{name}_difference": apart[0],
                f"{name}_low": interval.low,
                f"{name}_high": interval.high,
            }
            untested = persons < LEAST_COMPARED or np.isnan(apart[0] + interval.low)
            row[f"{name}_p"] = np.nan if untested else _two_sided(apart[1:])
        rows.append(row)
    return rows


def _two_sided(apart: FloatArray) -> float:
    defined = apart[np.isfinite(apart)]
    beyond = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0))
    return min(1.0, 2 * (beyond + 1) / (defined.size + 1))


def _holm(p: FloatArray) -> FloatArray:
    """Holm's step-down correction (Scand J Stat 1979;6:65-70); NaN is no test, and stays.

    >>> _holm(np.array([0.04, 0.01, np.nan, 0.03])).round(3).tolist()
    [0.06, 0.03, nan, 0.06]
    """
    corrected, known = p.copy(), np.isfinite(p)
    if known.any():
        corrected[known] = multipletests(p[known], method="holm")[1]
    return corrected


def _unit(key: str) -> str:
    return "SD" if key == MEAN else parameter(key).unit


def in_words(table: pd.DataFrame) -> list[str]:
    """Say which differences of mean r are larger than their uncertainty: a sentence for each ``against``.

    Fewer than `LEAST_COMPARED` patients have their difference named, and nothing said of it.

    Args:
        table: of `differences`.
    """
    means = table[table["parameter"] == MEAN]
    return [_compared(str(against), rows) for against, rows in means.groupby("against", sort=False)]


def _compared(against: str, compared: pd.DataFrame) -> str:
    undefined = compared.loc[compared["r_difference"].isna(), "variant"].astype(str)
    without = f" {' and '.join(undefined)}: the mean r is not defined." if len(undefined) else ""
    rows = compared[compared["r_difference"].notna()]
    if rows.empty:
        return f"Against {against}:{without}"
    too_few = rows["n"] < LEAST_COMPARED
    is_sure = (rows["r_p_holm"] < 0.05) & ~too_few
    sure, other, few = (_listed(rows[group]) for group in (is_sure, ~is_sure & ~too_few, too_few))
    told = [f"the mean r differs by more than its uncertainty for {sure}"] if sure else []
    if other:
        none = "no difference in mean r is larger than its uncertainty: "
        told.append(f"{'these data do not tell a difference for ' if sure else none}{other}")
    if few:
        told.append(f"fewer than {LEAST_COMPARED} patients tell no difference: {few}")
    return (
        f"Against {against}, {_counted(rows)}: {'; '.join(told)} (95 % intervals; p < 0.05 after Holm's "
        f"correction).{without}"
    )


def _listed(rows: pd.DataFrame) -> str:
    return "; ".join(_difference(row) for row in rows.to_dict("records"))


def paths_in_words(table: pd.DataFrame, alphas: pd.DataFrame) -> list[str]:
    """Say what each path adds to the mean r, and where the gates of "full" stand after training.

    Fewer than `LEAST_COMPARED` patients carry no sentence on what a path adds.

    Args:
        table: of `differences`; what a path adds is "full" minus the variant without it.
        alphas: one row per training: variant, and alpha_<path> of each of `PATHS`, NaN where there is none.

    Returns:
        A sentence for each of the two, none where there is nothing to say.
    """
    means = table[(table["parameter"] == MEAN) & (table["against"] == "full")]
    known = means["r_difference"].notna() & (means["n"] >= LEAST_COMPARED)
    means = means[known].set_index("variant")
    added = [(words, means.loc[without]) for without, words in PATHS.values() if without in means.index]
    sentences = []
    if added:
        ends = {words: -row[["r_difference", "r_high", "r_low"]].to_numpy(np.float64) for words, row in added}
        numbers = {words: map(with_sign, three.tolist()) for words, three in ends.items()}
        told = ", ".join(f"{words} {d} ({low} to {high})" for words, (d, low, high) in numbers.items())
        rows = pd.DataFrame([row for _, row in added])
        start = _counted(rows).capitalize()
        sentences.append(
            f"{start}, each path adds to the mean r: {told} (full minus the variant without it)."
        )
    full = alphas[alphas["variant"] == "full"]
    gates = [_gate(full[f"alpha_{path}"], words) for path, (_, words) in PATHS.items()]
    if stand := ", ".join(filter(None, gates)):
        sentences.append(
            f"The gates of full started at α = {AT_THE_START:.2f} and stand at {stand}: mean and SD over "
            "trainings, and how far the mean has moved."
        )
    return sentences


def _gate(alphas: pd.Series, words: str) -> str:
    """Where a gate stands, such as "0.62 ± 0.03 (motion, +0.12)"; nothing where no training has one."""
    known = alphas.dropna().to_numpy(np.float64)
    if not known.size:
        return ""
    spread = f" ± {known.std(ddof=1):.2f}" if known.size > 1 else ""
    return f"{known.mean():.2f}{spread} ({words}, {with_sign(known.mean() - AT_THE_START)})"


def _counted(rows: pd.DataFrame) -> str:
    low, high = int(rows["n"].min()), int(rows["n"].max())
    return f"on {low if low == high else f'{low} to {high}'} patients"


def _difference(row: Mapping[Hashable, object]) -> str:
    change, low, high = (with_sign(float(str(row[n]))) for n in ("r_difference", "r_low", "r_high"))
    return f"{row['variant']} {change} ({low} to {high})"


def with_sign(value: float) -> str:
    """A number with its sign, a true minus.

    >>> with_sign(-0.0123), with_sign(0.2)
    ('−0.01', '+0.20')
    """
    return f"{value:+.2f}".replace("-", "−")
