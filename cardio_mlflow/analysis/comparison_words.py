"""What the differences between variants come to, in words."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Final

import numpy as np
import pandas as pd

from cardio_mlflow.analysis.comparison import MEAN

PATHS: Final = {
    "temporal": ("no_temporal", "temporal attention"),
    "fusion": ("no_fusion", "view fusion"),
    "motion": ("no_motion", "motion"),
}
"""The paths that have a gate, by its name: the variant without the path, and the path in words."""
AT_THE_START: Final = 0.5
"""Alpha of every gate before training."""


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


def paths_in_words(table: pd.DataFrame, alphas: pd.DataFrame) -> list[str]:
    """Say what each path adds to the mean r, and where the gates of "full" stand after training.

    Args:
        table: of `differences`; what a path adds is "full" minus the variant without it.
        alphas: a row a training: variant, and alpha_<path> of each of `PATHS`, NaN where there is none.

    Returns:
        A sentence for each of the two, none where there is nothing to say.
    """
    means = table[(table["parameter"] == MEAN) & (table["against"] == "full")]
    means = means[means["r_difference"].notna()].set_index("variant")
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
