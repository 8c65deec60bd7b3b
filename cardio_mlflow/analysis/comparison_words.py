"""Which differences between variants are larger than their uncertainty, in words."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import pandas as pd

from cardio_mlflow.analysis.comparison import MEAN


def in_words(table: pd.DataFrame) -> list[str]:
    """Say which differences of mean r are larger than their uncertainty: a sentence for each ``against``.

    Args:
        table: of `differences`.
    """
    sentences = []
    means = table[table["parameter"] == MEAN]
    for against, compared in means.groupby("against", sort=False):
        undefined = compared[compared["r_difference"].isna()]["variant"].astype(str).to_list()
        rows = compared[compared["r_difference"].notna()]
        without = f" {' and '.join(undefined)}: the mean r is not defined." if undefined else ""
        if rows.empty:
            sentences.append(f"Against {against}:{without}")
            continue
        sure = rows[rows["r_p_holm"] < 0.05]
        other = rows[~(rows["r_p_holm"] < 0.05)]
        start = f"Against {against}, {_counted(rows)}: "
        told = "; ".join(_difference(row) for row in sure.to_dict("records"))
        said = f"the mean r differs by more than its uncertainty for {told}" if told else (
            "no difference in mean r is larger than its uncertainty"
        )  # fmt: skip
        rest = "; ".join(_difference(row) for row in other.to_dict("records"))
        untold = f"; these data do not tell a difference for {rest}" if rest and told else ""
        listed = f": {rest}" if rest and not told else ""
        sentences.append(
            f"{start}{said}{listed}{untold} (95 % intervals; p < 0.05 after Holm's correction).{without}"
        )
    return sentences


def _counted(rows: pd.DataFrame) -> str:
    low, high = int(rows["n"].min()), int(rows["n"].max())
    return f"on {low if low == high else f'{low} to {high}'} patients"


def _difference(row: Mapping[Hashable, object]) -> str:
    numbers = [f"{float(str(row[name])):+.2f}" for name in ("r_difference", "r_low", "r_high")]
    change, low, high = (number.replace("-", "−") for number in numbers)
    return f"{row['variant']} {change} ({low} to {high})"
