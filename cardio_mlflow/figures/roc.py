"""ROC curves: one parameter, or a page of all nine, at the own cut-off and for pulmonary hypertension."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cardio_mlflow.figures.pages import parameter_page
from cardio_mlflow.figures.style import (
    NEUTRAL,
    ONE_COLUMN,
    PALE,
    PARAMETER_COLOURS,
    TWO_COLUMNS,
    new_figure,
    say_empty,
    signed,
    styled,
)
from cardio_mlflow.parameters import Parameter, parameter

_OUTCOMES: Final = ("cut-off", "PH")


def roc_curves(roc: pd.DataFrame, discrimination: pd.DataFrame, key: str, *, synthetic: bool) -> Figure:
    """Draw one parameter's ROC curves, with each area and its bootstrap interval in the legend.

    Args:
        roc: `cardio_mlflow.analysis.discrimination.roc_points`'s result.
        discrimination: `cardio_mlflow.analysis.discrimination.discrimination_table`'s result.
        key: the parameter.
        synthetic: whether the patients are synthetic.
    """
    with styled():
        figure = new_figure(ONE_COLUMN, ONE_COLUMN * 1.2, synthetic=synthetic)
        axes = figure.subplots()
        _draw(axes, roc, discrimination, parameter(key))
        axes.set(xlabel="1 − specificity (no unit)", ylabel="sensitivity (no unit)")
    return figure


def roc_page(roc: pd.DataFrame, discrimination: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw all nine parameters on one page; arguments as in `roc_curves`."""

    def draw(axes: Axes, wanted: Parameter) -> None:
        _draw(axes, roc, discrimination, wanted)
        axes.set_xlabel("1 − specificity", fontsize=7)
        axes.set_ylabel("sensitivity", fontsize=7)

    with styled():
        shown = set(discrimination["parameter"])
        return parameter_page(draw, synthetic=synthetic, height=TWO_COLUMNS * 1.3, shown=shown)


def _draw(axes: Axes, roc: pd.DataFrame, discrimination: pd.DataFrame, wanted: Parameter) -> None:
    axes.set_title(wanted.key)
    axes.set_box_aspect(1)
    rows = discrimination[discrimination["parameter"] == wanted.key].set_index("outcome")
    defined = [name for name in _OUTCOMES if name in rows.index and np.isfinite(rows["auc"][name])]
    if not defined:
        notes = [str(note) for note in rows["note"] if note]
        say_empty(axes, "; ".join(dict.fromkeys(notes)) or "no reference")
        return
    axes.plot([0, 1], [0, 1], color=PALE, linestyle=":", linewidth=0.9, zorder=1)
    for name in defined:
        points = roc[(roc["parameter"] == wanted.key) & (roc["outcome"] == name)]
        own = name == "cut-off"
        axes.plot(
            points["fpr"], points["tpr"], color=PARAMETER_COLOURS[wanted.key] if own else NEUTRAL,
            linestyle="-" if own else "--", linewidth=1.4 if own else 1.0, zorder=3 if own else 2,
            label=_label(rows[rows.index == name].iloc[0]), clip_on=False,
        )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[0, 0.25, 0.5, 0.75, 1], yticks=[0, 0.25, 0.5, 0.75, 1])
    axes.set_xticklabels(["0", "", "0.5", "", "1"])
    axes.set_yticklabels(["0", "", "0.5", "", "1"])
    axes.legend(  # below, where it hides no curve
        loc="upper left", bbox_to_anchor=(-0.05, -0.22), fontsize=6.5, handlelength=1.4, borderaxespad=0.0,
        labelspacing=0.35,
    )  # fmt: skip


def _label(row: pd.Series) -> str:
    interval = "no interval"
    if np.isfinite(row["auc_low"]):
        interval = f"{signed(row['auc_low'])} to {signed(row['auc_high'])}"
    return f"{row['criterion']}\nAUC {signed(row['auc'])} ({interval})"
