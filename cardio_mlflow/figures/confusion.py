"""Confusion matrices of all nine parameters, at the clinical cut-off or at the references' median."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cardio_mlflow.figures.matrices import draw_counts
from cardio_mlflow.figures.pages import parameter_page
from cardio_mlflow.figures.style import TWO_COLUMNS, say_empty, styled
from cardio_mlflow.parameters import Parameter

_TITLES = {
    "cut-off": "split at the clinical cut-off",
    "median": "split at the references' median, not a clinical cut-off",
}


def confusion_page(
    classification: pd.DataFrame, split: Literal["cut-off", "median"], *, synthetic: bool
) -> Figure:
    """Draw a 2×2 matrix for each parameter: patients, and their share of the reference's row.

    Args:
        classification: `cardio_mlflow.analysis.classification.classification_table`'s result.
        split: which of its splits.
        synthetic: whether the patients are synthetic.
    """
    chosen = classification[classification["split"] == split].set_index("parameter")

    def draw(axes: Axes, wanted: Parameter) -> None:
        rows = chosen[chosen.index == wanted.key]
        _draw(axes, rows.iloc[0] if len(rows) else None, wanted)

    with styled():
        title = f"{_TITLES[split]}: patients, and percentage of the reference's row"
        return parameter_page(
            draw, synthetic=synthetic, height=TWO_COLUMNS * 0.95, title=title, shown=set(chosen.index)
        )


def _draw(axes: Axes, row: pd.Series | None, wanted: Parameter) -> None:
    if row is None or not row["n"]:
        axes.set_title(wanted.key)
        say_empty(axes, "no reference")
        return
    axes.set_title(f"{row['criterion']}, n = {row['n']}")
    counts = np.array([[row["tp"], row["fn"]], [row["fp"], row["tn"]]], np.int64)
    draw_counts(axes, counts, ("yes", "no"), ("yes", "no"))
    axes.set_xlabel("prediction", fontsize=7)
    axes.set_ylabel("reference", fontsize=7)
