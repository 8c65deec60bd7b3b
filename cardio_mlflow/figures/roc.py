"""Predictions as tests: ROC curves, two-by-two tables, and the decision curve for pulmonary hypertension."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cardio_mlflow.figures.correlation import draw_counts
from cardio_mlflow.figures.style import (
    NEUTRAL,
    ONE_COLUMN,
    PALE,
    PARAMETER_COLOURS,
    TWO_COLUMNS,
    WITHOUT_PH,
    new_figure,
    parameter_page,
    say_empty,
    styled,
    with_interval,
)
from cardio_mlflow.parameters import PULMONARY_HYPERTENSION, Parameter, parameter

_OUTCOMES: Final = ("cut-off", "PH")
_SPLITS: Final = {
    "cut-off": "split at the clinical cut-off",
    "median": "split at the references' median, not a clinical cut-off",
}
_PALE_BLUE: Final = "#D3DFEB"


def roc_curves(roc: pd.DataFrame, discrimination: pd.DataFrame, key: str, *, synthetic: bool) -> Figure:
    """Draw one parameter's ROC curves, with each area and its bootstrap interval in the legend.

    Args:
        roc: `cardio_mlflow.analysis.discrimination.roc_points`'s result.
        discrimination: `cardio_mlflow.analysis.discrimination.discrimination_table`'s result.
    """
    with styled():
        figure = new_figure(ONE_COLUMN, ONE_COLUMN * 1.2, synthetic=synthetic)
        axes = figure.subplots()
        _draw_curves(axes, roc, discrimination, parameter(key))
        axes.set(xlabel="1 − specificity (no unit)", ylabel="sensitivity (no unit)")
    return figure


def roc_page(roc: pd.DataFrame, discrimination: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw all nine parameters on one page; arguments as in `roc_curves`."""

    def draw(axes: Axes, wanted: Parameter) -> None:
        _draw_curves(axes, roc, discrimination, wanted)
        axes.set_xlabel("1 − specificity", fontsize=7)
        axes.set_ylabel("sensitivity", fontsize=7)

    with styled():
        shown = set(discrimination["parameter"])
        return parameter_page(draw, synthetic=synthetic, height=TWO_COLUMNS * 1.3, shown=shown)


def _draw_curves(axes: Axes, roc: pd.DataFrame, discrimination: pd.DataFrame, wanted: Parameter) -> None:
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
    return f"{row['criterion']}\nAUC {with_interval(*row[['auc', 'auc_low', 'auc_high']])}"


def confusion_page(
    classification: pd.DataFrame, split: Literal["cut-off", "median"], *, synthetic: bool
) -> Figure:
    """Draw a 2×2 matrix for each parameter: patients, and their share of the reference's row.

    Args:
        classification: `cardio_mlflow.analysis.classification.classification_table`'s result.
        split: which of its splits.
    """
    chosen = classification[classification["split"] == split].set_index("parameter")

    def draw(axes: Axes, wanted: Parameter) -> None:
        rows = chosen[chosen.index == wanted.key]
        _draw_confusion(axes, rows.iloc[0] if len(rows) else None, wanted)

    with styled():
        title = f"{_SPLITS[split]}: patients, and percentage of the reference's row"
        return parameter_page(
            draw, synthetic=synthetic, height=TWO_COLUMNS * 0.95, title=title, shown=set(chosen.index)
        )


def _draw_confusion(axes: Axes, row: pd.Series | None, wanted: Parameter) -> None:
    if row is None or not row["n"]:
        axes.set_title(wanted.key)
        say_empty(axes, "no reference")
        return
    axes.set_title(f"{row['criterion']}, n = {row['n']}")
    counts = np.array([[row["tp"], row["fn"]], [row["fp"], row["tn"]]], np.int64)
    draw_counts(axes, counts, ("yes", "no"), ("yes", "no"))
    axes.set_xlabel("prediction", fontsize=7)
    axes.set_ylabel("reference", fontsize=7)


def decision_curve_figure(decision_curve: pd.DataFrame, note: str, *, synthetic: bool) -> Figure:
    """Draw net benefit by threshold probability: by prediction, for treating all, for treating none.

    Args:
        decision_curve: `cardio_mlflow.analysis.decision_curve.decision_curve`'s result.
        note: why it is empty; "" when it is not.
    """
    with styled():
        figure = new_figure(ONE_COLUMN, ONE_COLUMN * 0.95, synthetic=synthetic)
        axes = figure.subplots()
        axes.set(xlabel="threshold probability (no unit)", ylabel="net benefit (per patient)")
        if decision_curve.empty:
            say_empty(axes, note or "no decision curve")
            return figure
        threshold, model, low, high, treat_all = (
            decision_curve[name].to_numpy(np.float64)
            for name in ("threshold", "model", "model_low", "model_high", "treat_all")
        )
        axes.plot(threshold, model, color=WITHOUT_PH, linewidth=1.6, zorder=3, label="by prediction")
        axes.fill_between(threshold, low, high, color=_PALE_BLUE, linewidth=0, zorder=0, label="its 95 % CI")
        axes.plot(threshold, treat_all, color=NEUTRAL, linestyle="--", linewidth=1, label="treat all")
        axes.axhline(0, color="black", linestyle=":", linewidth=1, label="treat none")
        prevalence = float(decision_curve["prevalence"].iloc[0])
        floor = -0.25 * max(prevalence, 0.1)
        axes.set(xlim=(0, 1), ylim=(floor, 1.15 * float(np.nanmax([prevalence, *high, *model, 0.05]))))
        criterion = f"{PULMONARY_HYPERTENSION.key} {PULMONARY_HYPERTENSION.criterion}"
        n = int(decision_curve["n"].iloc[0])
        axes.set_title(f"{criterion}, n = {n}, {100 * prevalence:.0f} % have it")
        figure.legend(loc="outside lower center", ncols=2)
    return figure
