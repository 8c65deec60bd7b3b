"""Learning rates of the task layers and of the backbone by epoch."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cardio_mlflow.figures.style import TWO_COLUMNS, new_figure, say_empty, styled
from cardio_mlflow.figures.training_curves import by_fold, draw_stages, longest, series_colours

_NAMES = {"lr_task": "task layers", "lr_backbone": "backbone"}


def learning_rate_curves(history: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw both learning rates on a log scale, a line a fold, with the longest fold's stages as bands.

    Args:
        history: a row for each epoch: epoch, stage, lr_task, lr_backbone and, for several folds, fold;
            a rate of zero (a frozen backbone) leaves a gap.
        synthetic: whether the patients are synthetic.
    """
    folds = by_fold(history)
    with styled():
        figure = new_figure(TWO_COLUMNS, 2.8, synthetic=synthetic)
        for axes, (column, name) in zip(figure.subplots(1, 2), _NAMES.items(), strict=True):
            _draw(axes, folds, column)
            axes.set_xlabel("epoch")
            axes.set_ylabel(f"learning rate, {name} (no unit)", fontsize=7)
        if len(folds) > 1:
            handles = [
                Line2D([], [], color=colour, label=fold)
                for fold, colour in zip(folds, series_colours(len(folds)), strict=True)
            ]
            figure.legend(handles=handles, loc="outside lower center", ncols=8)
    return figure


def _draw(axes: Axes, folds: dict[str, pd.DataFrame], column: str) -> None:
    rates = {name: rows[column].to_numpy(np.float64) for name, rows in folds.items() if column in rows}
    if not any(bool((values > 0).any()) for values in rates.values()):
        say_empty(axes, "no learning rate above zero")
        return
    draw_stages(axes, longest(folds))
    axes.set_yscale("log")
    colours = series_colours(len(folds))
    widths = np.linspace(0.9 + 0.5 * (len(folds) - 1), 0.9, len(folds))  # equal rates stay visible
    for (name, values), colour, width in zip(rates.items(), colours, widths, strict=False):
        shown = np.where(values > 0, values, np.nan)
        axes.plot(
            folds[name]["epoch"], shown, color=colour, linewidth=width, marker="o" if len(shown) < 3 else "",
            markersize=2,
        )  # fmt: skip
