"""What is won by letting CO, CI and SVRI follow from stroke volume, beside their own heads' predictions."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from cardio_mlflow.analysis.comparison import differences, variant_table
from cardio_mlflow.analysis.comparison_words import with_sign
from cardio_mlflow.analysis.predictions import BY_IDENTITY
from cardio_mlflow.parameters import parameter

COLUMNS: Final = (
    "parameter", "unit", "patients", "by_identity", "n",
    "r", "r_direct", "r_difference", "r_difference_low", "r_difference_high",
    "mae", "mae_direct", "mae_difference", "mae_difference_low", "mae_difference_high", "note",
)  # fmt: skip
ENDS: Final = ("", "_low", "_high")
"""A difference and the ends of its interval, by what a column's name has at its end."""


def has_identities(predictions: pd.DataFrame) -> bool:
    """Whether any prediction followed by an identity."""
    return "way" in predictions.columns and bool(predictions["way"].eq("identity").any())


def identities_used_table(predictions: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """How well CO, CI and SVRI are predicted by identity and by their own heads, on the same patients.

    Patients are resampled, both ways together, so the interval is that of the difference (`differences`).

    Args:
        predictions: a checked predictions table of one variant and one cohort, with `way` and `direct`.
        resamples: bootstrap resamples of persons, at least.
        seed: of the bootstrap.

    Returns:
        A row for each of `BY_IDENTITY`, with `COLUMNS`: how many patients have a prediction, of how many it
        came by identity, and n of these with a reference and a direct prediction; of the n, signed Pearson r
        and MAE (in `unit`) by identity and direct, and identity minus direct with its 95 % interval.
    """
    direct = predictions.get("direct", pd.Series(np.nan, predictions.index))
    rows = predictions.assign(direct=direct)[predictions["way"].eq("identity") & direct.notna()]
    tables = {
        "identity": [rows.assign(variant="identity")],
        "direct": [rows.assign(variant="direct", prediction=rows["direct"])],
    }
    if rows.empty:
        of = apart = pd.DataFrame(columns=["variant", "parameter"])
    else:
        of, apart = variant_table(tables, 0, seed), differences(tables, resamples, seed, ("direct",))
    return pd.DataFrame([_row(key, predictions, of, apart) for key in BY_IDENTITY], columns=list(COLUMNS))


def _row(key: str, predictions: pd.DataFrame, of: pd.DataFrame, apart: pd.DataFrame) -> dict[str, object]:
    """The row of one parameter, from the tables of `variant_table` and `differences`."""
    own = predictions[predictions["parameter"] == key]
    row: dict[str, object] = {"parameter": key, "unit": parameter(key).unit, "patients": len(own)}
    row |= {"by_identity": int(own["way"].eq("identity").sum()), "n": 0}
    ways = of[of["parameter"] == key].set_index("variant")
    for pair in apart[apart["parameter"] == key].to_dict("records"):
        row["n"] = pair["n"]
        for name in ("r", "mae"):
            row |= {name: ways.loc["identity", name], f"{name}_direct": ways.loc["direct", name]}
            row |= {f"{name}_difference{end}": pair[name + (end or "_difference")] for end in ENDS}
    defined = np.isfinite(float(str(row.get("r_difference_low", np.nan))))
    return row | {"note": "" if defined else "too few patients, or all have one value: no r or no interval"}


def identities_in_words(table: pd.DataFrame, body_surface: pd.Series | None = None) -> list[str]:
    """Which values followed by identity, and what that has brought.

    Args:
        table: of `identities_used_table`.
        body_surface: of the patients, m², NaN where it is not known; None where nothing is known of it.

    Returns:
        A sentence or two.
    """
    rows = table.to_dict("records")
    counts = ", ".join(
        f"{row['parameter']} of {row['by_identity']} of {row['patients']} patients" for row in rows
    )
    known = (
        f" Body surface was known of {body_surface.notna().sum()} of {body_surface.size} patients; CI of the "
        "others followed from the stroke volume index."
        if body_surface is not None
        else ""
    )
    first = (
        "Stroke volume was predicted. CO and CI followed from it where heart rate was known, SVRI where mean "
        "arterial pressure was known too, and were predicted by their own heads elsewhere. By identity came "
        f"{counts}.{known}"
    )
    told = "; ".join(_with_and_without(row) for row in rows if np.isfinite(row["r_difference"]))
    return [first, *([f"Signed r with the identities, and by the own head alone: {told}."] if told else [])]


def _with_and_without(row: Mapping[Hashable, Any]) -> str:
    change, low, high = (with_sign(row[f"r_difference{end}"]) for end in ("", "_low", "_high"))
    interval = "no interval" if np.isnan(row["r_difference_low"]) else f"95 % CI {low} to {high}"
    ways = " against ".join(f"{row[name]:.2f}".replace("-", "−") for name in ("r", "r_direct"))
    return f"{row['parameter']} {ways} (difference {change}, {interval}; n = {row['n']})"
