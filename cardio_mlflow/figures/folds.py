"""Signed r of each fold, with the mean and standard deviation over folds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cardio_mlflow.figures.style import (
    NEUTRAL,
    PARAMETER_COLOURS,
    TWO_COLUMNS,
    new_figure,
    say_empty,
    signed,
    styled,
)
from cardio_mlflow.parameters import KEYS

_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<", ">", "p")


def fold_summary(folds: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw the mean r over parameters and each parameter's r, a mark a fold; mean and SD in black.

    Args:
        folds: `cardio_mlflow.analysis.summary.fold_table`'s result; its rows "mean" and "SD" are drawn
            as they are.
    """
    single = folds[~folds["fold"].isin(["mean", "SD"])]
    ends = folds.set_index("fold")
    columns = ["r_mean", *(f"r_{key}" for key in KEYS)]
    values = single.reindex(columns=columns).to_numpy(np.float64)
    with styled():
        figure = new_figure(TWO_COLUMNS, 3.1, synthetic=synthetic)
        axes = figure.subplots()
        axes.set_ylabel("signed r (no unit)")
        if not np.isfinite(values).any():
            say_empty(axes, "no fold has a correlation")
            return figure
        colours = [NEUTRAL, *PARAMETER_COLOURS.values()]
        shifts = np.linspace(-0.25, 0.1, max(len(single), 2))
        labels = []
        for place, (name, colour) in enumerate(zip(columns, colours, strict=True)):
            for fold, shift in enumerate(shifts[: len(single)]):
                axes.scatter(
                    place + shift, values[fold, place], s=18, color=colour, marker=_MARKERS[fold % 10],
                    edgecolors="white", linewidths=0.3, zorder=3,
                )  # fmt: skip
            mean, sd = (_value(ends, row, name) for row in ("mean", "SD"))
            axes.errorbar(
                place + 0.3, mean, yerr=None if np.isnan(sd) else sd, color="black", marker="_", markersize=9,
                capsize=2, elinewidth=0.9, zorder=4,
            )  # fmt: skip
            labels.append(f"{'mean r' if place == 0 else KEYS[place - 1]}\n{_text(mean, sd)}")
        axes.set_xticks(range(len(columns)), labels, fontsize=6.5)
        axes.tick_params(axis="x", length=0)
        axes.axhline(0, color=NEUTRAL, linewidth=0.6, zorder=1)
        axes.axvline(0.5, color=NEUTRAL, linewidth=0.6, linestyle=":", zorder=1)
        axes.set(xlim=(-0.5, len(columns) - 0.4), ylim=(min(0.0, axes.get_ylim()[0]), 1.0))
        handles = _handles([str(fold) for fold in single["fold"]])
        figure.legend(handles=handles, loc="outside lower center", ncols=6)
    return figure


def _value(ends: pd.DataFrame, row: str, column: str) -> float:
    return float(ends[column][row]) if row in ends.index and column in ends else float("nan")


def _text(mean: float, sd: float) -> str:
    """Mean over SD in two lines, so that ten stand beside each other."""
    if np.isnan(mean):
        return "n/a"
    return signed(mean) if np.isnan(sd) else f"{signed(mean)}\n± {signed(sd)}"


def _handles(names: list[str]) -> list[Line2D]:
    marks = [
        Line2D(
            [], [], linestyle="", marker=_MARKERS[i % 10], color=NEUTRAL, markersize=4, label=f"fold {name}"
        )
        for i, name in enumerate(names)
    ]
    return [*marks, Line2D([], [], color="black", marker="_", markersize=9, label="mean ± SD")]
