"""Bland-Altman figures: one parameter, or a page of all nine."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cardio_mlflow.analysis.bland_altman import limits_of_agreement
from cardio_mlflow.figures.pairs import Pairs, draw_page, draw_points, group_handles, pairs_of
from cardio_mlflow.figures.style import (
    BAND,
    NEUTRAL,
    ONE_COLUMN,
    PALE,
    PARAMETER_COLOURS,
    new_figure,
    say_empty,
    signed,
    styled,
)


def bland_altman(predictions: pd.DataFrame, key: str, *, synthetic: bool, stratified: bool = True) -> Figure:
    """Draw one parameter's differences against means, with bias, limits (ddof 1) and the limits' intervals.

    Args:
        predictions: a checked predictions table of one variant and cohort.
        key: the parameter.
        synthetic: whether the patients are synthetic.
        stratified: patients with and without pulmonary hypertension apart; else all in its colour.
    """
    with styled():
        figure = new_figure(ONE_COLUMN, ONE_COLUMN * 0.98, synthetic=synthetic)
        axes = figure.subplots()
        pairs = pairs_of(predictions, key)
        _draw(axes, pairs, size=16, colour=None if stratified else PARAMETER_COLOURS[key])
        axes.set_xlabel(f"mean of reference and prediction ({pairs.parameter.unit})")
        axes.set_ylabel(f"prediction − reference ({pairs.parameter.unit})")
        handles = [*(group_handles([pairs]) if stratified else []), *_line_handles()]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def bland_altman_page(predictions: pd.DataFrame, *, synthetic: bool, stratified: bool = True) -> Figure:
    """Draw all nine parameters on one page; arguments as in `bland_altman`."""

    def draw(axes: Axes, pairs: Pairs) -> None:
        _draw(axes, pairs, size=9, colour=None if stratified else PARAMETER_COLOURS[pairs.parameter.key])
        axes.set_xlabel(f"mean ({pairs.parameter.unit})", fontsize=7)
        axes.set_ylabel(f"difference ({pairs.parameter.unit})", fontsize=7)

    with styled():
        return draw_page(predictions, draw, _line_handles(), synthetic=synthetic, stratified=stratified)


def _line_handles() -> list[Line2D]:
    return [
        Line2D([], [], color="black", label="bias"),
        Line2D([], [], color=NEUTRAL, linestyle="--", label="95 % limits"),
        Line2D([], [], color=BAND, linewidth=5, label="their 95 % CI"),
    ]


def _draw(axes: Axes, pairs: Pairs, size: float, colour: str | None) -> None:
    limits = limits_of_agreement(pairs.reference, pairs.prediction)
    name = f"{pairs.parameter.key}, n = {pairs.reference.size}"
    if np.isnan(limits.bias):
        axes.set_title(name)
        say_empty(axes, "fewer than three patients")
        return
    numbers = [_rounded(v, limits.sd) for v in (limits.bias, limits.lower, limits.upper)]
    axes.set_title(f"{name}\nbias {numbers[0]} ({numbers[1]} to {numbers[2]})")
    for limit, interval in ((limits.lower, limits.lower_interval), (limits.upper, limits.upper_interval)):
        axes.axhspan(*interval, color=BAND, linewidth=0, zorder=0)
        axes.axhline(limit, color=NEUTRAL, linestyle="--", linewidth=1, zorder=2)
    axes.axhline(0, color=PALE, linewidth=0.7, zorder=1)
    axes.axhline(limits.bias, color="black", linewidth=1.2, zorder=2)
    means, differences = (pairs.reference + pairs.prediction) / 2, pairs.prediction - pairs.reference
    draw_points(axes, pairs, means, differences, size, colour)
    reach = 1.08 * max(
        float(np.abs(differences).max()), *map(abs, limits.lower_interval + limits.upper_interval)
    )
    axes.set_ylim(-max(reach, 1e-6), max(reach, 1e-6))
    axes.locator_params(nbins=6)


def _rounded(value: float, sd: float) -> str:
    """As many decimals as the spread deserves: three significant figures of the standard deviation."""
    decimals = int(np.clip(2 - np.floor(np.log10(sd)), 0, 3)) if sd > 0 else 2
    return signed(value, min(decimals, 2))
