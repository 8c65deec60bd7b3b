"""Training curves: losses and mean validation r by epoch, the unfreezing stages as bands."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cardio_mlflow.figures.style import NEUTRAL, SERIES, TWO_COLUMNS, new_figure, styled

MOST_STAGE_NUMBERS: Final = 14
"""More numbers than this do not fit above one axes."""


def training_curves(history: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw training and validation loss beside the mean validation r.

    Args:
        history: a row for each epoch: epoch, stage, train_loss, val_loss, val_r_mean and, for several
            folds, fold. The epoch of the lowest validation loss, whose weights are kept, is marked.
        synthetic: whether the patients are synthetic.
    """
    with styled():
        figure = new_figure(TWO_COLUMNS, 2.9, synthetic=synthetic)
        losses, correlations = figure.subplots(1, 2, sharex=True)
        folds = _by_fold(history)
        for axes in (losses, correlations):
            _draw_stages(axes, next(iter(folds.values())))
        for rows, colour in zip(folds.values(), _colours(len(folds)), strict=True):
            _draw_fold(losses, correlations, rows, colour)
        losses.set(xlabel="epoch", ylabel="loss")
        correlations.set(xlabel="epoch", ylabel="mean validation r")
        correlations.set_ylim(min(0.0, *correlations.get_ylim()), 1.0)
        figure.legend(handles=_handles(list(folds)), loc="outside lower center", ncols=9)
    return figure


def _by_fold(history: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The epochs of each fold in order; one entry without a name when there is no fold column."""
    ordered = history.sort_values("epoch")
    if "fold" not in ordered:
        return {"": ordered}
    return {f"fold {fold}": ordered[ordered["fold"] == fold] for fold in sorted(set(ordered["fold"]))}


def _colours(count: int) -> list[str]:
    return [SERIES[i % len(SERIES)] for i in range(count)]


def _draw_fold(losses: Axes, correlations: Axes, rows: pd.DataFrame, colour: str) -> None:
    epochs, train, val, r = (
        rows[name].to_numpy(np.float64) for name in ("epoch", "train_loss", "val_loss", "val_r_mean")
    )
    dot = "o" if len(rows) < 3 else ""
    losses.plot(epochs, train, color=colour, linestyle=":", linewidth=0.9, marker=dot, markersize=2)
    losses.plot(epochs, val, color=colour, linewidth=0.9, marker=dot, markersize=2)
    correlations.plot(epochs, r, color=colour, linewidth=0.9, marker=dot, markersize=2)
    if np.isfinite(val).any():
        best = int(np.nanargmin(val))
        for axes, value in ((losses, val[best]), (correlations, r[best])):
            axes.plot(
                epochs[best], value, marker="D", markersize=4, color=colour, markeredgecolor="white",
                zorder=4, clip_on=False,
            )  # fmt: skip


def _draw_stages(axes: Axes, rows: pd.DataFrame) -> None:
    """Shade every other stage and number the stages above the axes as far as there is room."""
    spans = rows.groupby("stage")["epoch"].agg(["min", "max"])
    first, last = float(spans["min"].min()) - 0.5, float(spans["max"].max()) + 0.5
    every = -(-len(spans) // MOST_STAGE_NUMBERS)
    for position, (stage, start, end) in enumerate(spans.itertuples()):
        left, right = float(start) - 0.5, float(end) + 0.5
        if position % 2:
            axes.axvspan(left, right, color="#EEEEEE", linewidth=0, zorder=0)
        if position % every:
            continue
        axes.text(
            (left + right) / 2, 1.01, f"{stage}", transform=axes.get_xaxis_transform(),
            ha="center", va="bottom", fontsize=7, color=NEUTRAL,
        )  # fmt: skip
    axes.set_xlim(first, last)
    axes.set_title("stage", loc="left", fontsize=7, color=NEUTRAL, pad=12)


def _handles(names: list[str]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=NEUTRAL, linestyle=":", label="training"),
        Line2D([], [], color=NEUTRAL, label="validation"),
        Line2D([], [], color=NEUTRAL, linestyle="", marker="D", markersize=4, label="kept epoch"),
    ]
    if len(names) == 1:
        return handles
    named = zip(names, _colours(len(names)), strict=True)
    return [*handles, *(Line2D([], [], color=colour, label=name) for name, colour in named)]
