"""Reference against prediction: one parameter, or a page of all nine."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cardio_mlflow.figures.pairs import Pairs, draw_page, draw_points, group_handles, pairs_of
from cardio_mlflow.figures.style import (
    NEUTRAL,
    ONE_COLUMN,
    PALE,
    PARAMETER_COLOURS,
    label_with_unit,
    new_figure,
    r_with_interval,
    say_empty,
    styled,
)


def scatter(
    predictions: pd.DataFrame,
    performance: pd.DataFrame,
    key: str,
    *,
    synthetic: bool,
    stratified: bool = True,
) -> Figure:
    """Draw one parameter with identity line, regression line and cut-offs; PH in its own colour and marker.

    Args:
        predictions: a checked predictions table of one variant and cohort.
        performance: its performance table, for r and its interval.
        key: the parameter.
        synthetic: whether the patients are synthetic.
        stratified: patients with and without pulmonary hypertension apart; else all in its colour.
    """
    with styled():
        figure = new_figure(ONE_COLUMN, ONE_COLUMN * (1.22 if stratified else 1.14), synthetic=synthetic)
        axes = figure.subplots()
        pairs = pairs_of(predictions, key)
        colour = None if stratified else PARAMETER_COLOURS[key]
        _draw(axes, pairs, r_with_interval(performance, key), size=16, colour=colour)
        axes.set_xlabel(label_with_unit(pairs.parameter, "reference"))
        axes.set_ylabel(label_with_unit(pairs.parameter, "predicted"))
        handles = [*(group_handles([pairs]) if stratified else []), *_line_handles()]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def scatter_page(
    predictions: pd.DataFrame, performance: pd.DataFrame, *, synthetic: bool, stratified: bool = True
) -> Figure:
    """Draw all nine parameters on one page; arguments as in `scatter`."""

    def draw(axes: Axes, pairs: Pairs) -> None:
        colour = None if stratified else PARAMETER_COLOURS[pairs.parameter.key]
        _draw(axes, pairs, r_with_interval(performance, pairs.parameter.key), size=9, colour=colour)
        axes.set_xlabel(f"reference ({pairs.parameter.unit})", fontsize=7)
        axes.set_ylabel(f"predicted ({pairs.parameter.unit})", fontsize=7)

    with styled():
        return draw_page(predictions, draw, _line_handles(), synthetic=synthetic, stratified=stratified)


def _line_handles() -> list[Line2D]:
    return [
        Line2D([], [], color=NEUTRAL, linestyle="--", linewidth=0.9, label="identity"),
        Line2D([], [], color="black", linewidth=1.2, label="regression"),
        Line2D([], [], color=PALE, linestyle=":", linewidth=1.2, label="cut-off"),
    ]


def _draw(axes: Axes, pairs: Pairs, title: str, size: float, colour: str | None) -> None:
    axes.set_title(f"{pairs.parameter.key}, n = {pairs.reference.size}\n{title}")
    if pairs.reference.size == 0:
        say_empty(axes, "no reference")
        return
    values = np.concatenate([pairs.reference, pairs.prediction])
    margin = 0.05 * max(float(np.ptp(values)), 1e-6)
    low, high = float(values.min()) - margin, float(values.max()) + margin
    axes.plot([low, high], [low, high], color=NEUTRAL, linestyle="--", linewidth=0.9, zorder=2)
    for line in (axes.axvline, axes.axhline):
        if low < pairs.parameter.cutoff < high:
            line(pairs.parameter.cutoff, color=PALE, linestyle=":", linewidth=1.2, zorder=1)
    draw_points(axes, pairs, pairs.reference, pairs.prediction, size, colour)
    _draw_regression(axes, pairs)
    axes.set(
        xlim=(low, high),
        ylim=(low, high),
    )
    axes.set_box_aspect(1)
    axes.locator_params(nbins=6)


def _draw_regression(axes: Axes, pairs: Pairs) -> None:
    """The least-squares line of prediction on reference, over the references' range."""
    if np.ptp(pairs.reference) == 0:
        return
    slope, intercept = np.polyfit(pairs.reference, pairs.prediction, 1)
    ends = np.array([pairs.reference.min(), pairs.reference.max()])
    axes.plot(ends, intercept + slope * ends, color="black", zorder=4)
