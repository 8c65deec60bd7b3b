"""Forest plot: the mean absolute error of each parameter by subgroup of patients."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cardio_mlflow.figures.style import (
    PALE,
    PARAMETER_COLOURS,
    TWO_COLUMNS,
    new_figure,
    say_empty,
    styled,
)
from cardio_mlflow.parameters import PARAMETERS, Parameter


def subgroup_forest(subgroups: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw the mean absolute error with its interval for each level of each subgroup, n at the right.

    Args:
        subgroups: `cardio_mlflow.analysis.subgroups.subgroup_table`'s result; up to 14 levels are legible.
        synthetic: whether the patients are synthetic.
    """
    levels = list(dict.fromkeys(zip(subgroups["subgroup"], subgroups["level"], strict=True)))
    with styled():
        if not levels:
            figure = new_figure(TWO_COLUMNS, 2.0, synthetic=synthetic)
            say_empty(figure.subplots(), "no subgroups")
            return figure
        height = 3 * (0.62 + 0.15 * max(len(levels), 3))
        figure = new_figure(TWO_COLUMNS, height, synthetic=synthetic)
        grid = figure.subplots(3, 3)
        for position, (axes, wanted) in enumerate(zip(grid.flat, PARAMETERS, strict=True)):
            rows = subgroups[subgroups["parameter"] == wanted.key].set_index(["subgroup", "level"])
            _draw(axes, rows, levels, wanted, named=position % 3 == 0)
    return figure


def _draw(
    axes: Axes, rows: pd.DataFrame, levels: list[tuple[str, str]], wanted: Parameter, *, named: bool
) -> None:
    axes.set_title(wanted.key)
    rows = rows.reindex(pd.MultiIndex.from_tuples(levels, names=["subgroup", "level"]))
    mae, low, high, n = (rows[name].to_numpy(np.float64) for name in ("mae", "mae_low", "mae_high", "n"))
    places = np.arange(len(levels))
    colour = PARAMETER_COLOURS[wanted.key]
    names = [f"{subgroup}: {level}" for subgroup, level in levels] if named else []
    if not np.isfinite(mae).any():
        say_empty(axes, "no reference")
        axes.set_yticks(places, names or [""] * len(places), fontsize=6.5)
    else:
        spans = np.isfinite(low) & np.isfinite(high)
        axes.hlines(places[spans], low[spans], high[spans], color=colour, linewidth=1.6, zorder=2)
        axes.scatter(mae, places, s=16, color=colour, edgecolors="black", linewidths=0.5, zorder=3)
        axes.set_yticks(places, names or [""] * len(places), fontsize=6.5)
        axes.set_xlim(0, 1.05 * float(np.nanmax([*high, *mae])) or 1.0)
        axes.locator_params(axis="x", nbins=5)
        for place, count in zip(places, n, strict=True):
            axes.text(
                1.02, float(place), f"{count:.0f}" if np.isfinite(count) else "0", fontsize=6.5, va="center",
                transform=axes.get_yaxis_transform(),
            )  # fmt: skip
        axes.text(1.02, 1.01, "n", fontsize=6.5, va="bottom", transform=axes.transAxes)
    axes.set_ylim(len(levels) - 0.4, -0.6)
    axes.set_xlabel(f"MAE ({wanted.unit})", fontsize=7)
    axes.tick_params(axis="y", length=0)
    for border in range(1, len(levels)):
        if levels[border][0] != levels[border - 1][0]:
            axes.axhline(border - 0.5, color=PALE, linewidth=0.5, zorder=0)
