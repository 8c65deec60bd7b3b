"""What an epoch left: losses, validation r and learning rates, the unfreezing stages as bands."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cardio_mlflow.figures.style import (
    NEUTRAL,
    SERIES,
    STAGE_BAND,
    TWO_COLUMNS,
    new_figure,
    parameter_page,
    say_empty,
    signed,
    styled,
)
from cardio_mlflow.parameters import Parameter

MOST_STAGE_NUMBERS: Final = 14
"""More numbers than this do not fit above one axes."""
_RATES: Final = {"lr_task": "task layers", "lr_backbone": "topmost block"}
ALL: Final = "all folds"


def training_curves(history: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw training and validation loss beside the mean validation r.

    Args:
        history: a row for each epoch: epoch, stage, train_loss, val_loss, val_r_mean and, for several
            folds, fold. The epoch of the lowest validation loss is marked.
    """
    with styled():
        figure = new_figure(TWO_COLUMNS, 2.9, synthetic=synthetic)
        losses, correlations = figure.subplots(1, 2, sharex=True)
        folds = by_fold(history)
        for axes in (losses, correlations):
            draw_stages(axes, longest(folds))
        for rows, colour in zip(folds.values(), series_colours(len(folds)), strict=True):
            _draw_fold(losses, correlations, rows, colour)
        losses.set(xlabel="epoch", ylabel="loss: squared error of scaled targets (SD²)")
        correlations.set(xlabel="epoch", ylabel="mean validation r")
        correlations.set_ylim(min(0.0, *correlations.get_ylim()), 1.0)
        figure.legend(handles=_handles(list(folds)), loc="outside lower center", ncols=9)
    return figure


def parameter_curves(history: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw each parameter's validation r by epoch, a line a fold, its last value's mean in the title.

    Args:
        history: a row for each epoch: epoch, stage, val_r_<key> and, for several folds, fold.
    """
    folds = by_fold(history)

    def draw(axes: Axes, wanted: Parameter) -> None:
        _draw_parameter(axes, folds, wanted)

    with styled():
        handles = _fold_handles(folds) if len(folds) > 1 else []
        return parameter_page(draw, handles, synthetic=synthetic, height=TWO_COLUMNS * 0.9)


def learning_rate_curves(history: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw both learning rates on a log scale, with the longest fold's stages as bands.

    One line per fold, or one for all where their rates are equal.

    Args:
        history: a row for each epoch: epoch, stage, lr_task, lr_backbone and, for several folds, fold;
            a rate of zero (a frozen backbone) leaves a gap.
    """
    folds = _distinct(by_fold(history))
    with styled():
        figure = new_figure(TWO_COLUMNS, 2.8, synthetic=synthetic)
        for axes, (column, name) in zip(figure.subplots(1, 2), _RATES.items(), strict=True):
            _draw_rates(axes, folds, column)
            axes.set_xlabel("epoch")
            whose = f"{name}{', all folds' if ALL in folds else ''}"
            axes.set_ylabel(f"learning rate, {whose} (no unit)", fontsize=7)
        if len(folds) > 1:
            figure.legend(handles=_fold_handles(folds), loc="outside lower center", ncols=8)
    return figure


def _draw_parameter(axes: Axes, folds: dict[str, pd.DataFrame], wanted: Parameter) -> None:
    column = f"val_r_{wanted.key}"
    values = {name: rows[column].to_numpy(np.float64) for name, rows in folds.items() if column in rows}
    axes.set_title(wanted.key)
    if not any(bool(np.isfinite(r).any()) for r in values.values()):
        say_empty(axes, "no validation r")
        return
    draw_stages(axes, longest(folds), numbered=False)
    for (name, r), colour in zip(values.items(), series_colours(len(folds)), strict=True):
        dot = "o" if len(r) < 3 else ""
        axes.plot(folds[name]["epoch"], r, color=colour, linewidth=0.9, marker=dot, markersize=2)
    last = np.array([r[np.isfinite(r)][-1] for r in values.values() if np.isfinite(r).any()])
    axes.set_title(f"{wanted.key}, last r {signed(float(last.mean()))}")
    axes.axhline(0, color=NEUTRAL, linewidth=0.6, zorder=1)
    axes.set_ylim(min(-0.05, axes.get_ylim()[0]), 1.0)
    axes.set_xlabel("epoch", fontsize=7)
    axes.set_ylabel("validation r (no unit)", fontsize=7)


def _draw_rates(axes: Axes, folds: dict[str, pd.DataFrame], column: str) -> None:
    rates = {name: rows[column].to_numpy(np.float64) for name, rows in folds.items() if column in rows}
    if not any(bool((values > 0).any()) for values in rates.values()):
        say_empty(axes, "no learning rate above zero")
        return
    draw_stages(axes, longest(folds))
    axes.set_yscale("log")
    colours = series_colours(len(folds))
    for (name, values), colour in zip(rates.items(), colours, strict=False):
        shown = np.where(values > 0, values, np.nan)
        dot = "o" if len(shown) < 3 else ""
        axes.plot(folds[name]["epoch"], shown, color=colour, linewidth=0.9, marker=dot, markersize=2)


def _distinct(folds: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The folds; one of them as `ALL` where several have the same rates, which would hide one another."""
    rates = [
        rows[["epoch", *filter(rows.columns.__contains__, _RATES)]].to_numpy(np.float64)
        for rows in folds.values()
    ]
    same = len(rates) > 1 and all(np.array_equal(rates[0], other) for other in rates)
    return {ALL: next(iter(folds.values()))} if same else folds


def by_fold(history: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The epochs of each fold in order; one entry without a name when there is no fold column."""
    ordered = history.sort_values("epoch")
    if "fold" not in ordered:
        return {"": ordered}
    return {f"fold {fold}": ordered[ordered["fold"] == fold] for fold in sorted(set(ordered["fold"]))}


def longest(folds: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The fold with the most epochs, whose stages are drawn; the first of them."""
    return max(folds.values(), key=len)


def series_colours(count: int) -> list[str]:
    """A colour a fold, the first again after the last."""
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


def draw_stages(axes: Axes, rows: pd.DataFrame, *, numbered: bool = True) -> None:
    """Shade every other stage and, if wanted, number the stages above the axes as far as there is room."""
    spans = rows.groupby("stage")["epoch"].agg(["min", "max"])
    first, last = float(spans["min"].min()) - 0.5, float(spans["max"].max()) + 0.5
    every = -(-len(spans) // MOST_STAGE_NUMBERS)
    for position, (stage, start, end) in enumerate(spans.itertuples()):
        left, right = float(start) - 0.5, float(end) + 0.5
        if position % 2:
            axes.axvspan(left, right, color=STAGE_BAND, linewidth=0, zorder=0)
        if position % every or not numbered:
            continue
        axes.text(
            (left + right) / 2, 1.01, f"{stage:g}", transform=axes.get_xaxis_transform(),
            ha="center", va="bottom", fontsize=7, color=NEUTRAL,
        )  # fmt: skip
    axes.set_xlim(first, last)
    if numbered:
        axes.set_title("stage", loc="left", fontsize=7, color=NEUTRAL, pad=12)


def _handles(names: list[str]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=NEUTRAL, linestyle=":", label="training"),
        Line2D([], [], color=NEUTRAL, label="validation"),
        Line2D([], [], color=NEUTRAL, linestyle="", marker="D", markersize=4, label="lowest loss"),
    ]
    return [*handles, *(_fold_handles(names) if len(names) > 1 else [])]


def _fold_handles(names: Collection[str]) -> list[Line2D]:
    named = zip(names, series_colours(len(names)), strict=True)
    return [Line2D([], [], color=colour, label=name) for name, colour in named]
