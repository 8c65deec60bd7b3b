"""Each patient's interval with the reference; and what each subset of the views is worth."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cardio_mlflow.analysis.view_subsets import MEAN
from cardio_mlflow.figures.style import (
    PALE,
    TWO_COLUMNS,
    WITH_PH,
    WITHOUT_PH,
    new_figure,
    parameter_page,
    say_empty,
    styled,
)
from cardio_mlflow.parameters import KEYS, Parameter

_BAR: Final = "#C9D3DF"
"""Colour of an interval; solid, because EPS holds no transparency."""
_R_COLOURS: Final = "YlGnBu"
_WIDTH_COLOURS: Final = "OrRd"
_LUMINANCE: Final = np.array([0.299, 0.587, 0.114])


def interval_page(predictions: pd.DataFrame, intervals: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw every patient's interval, in the order of the prediction, and the reference in or outside it.

    Args:
        predictions: a checked predictions table of one variant and cohort, with ``lower`` and ``upper``.
        intervals: `cardio_mlflow.analysis.intervals.interval_table`'s result, for the titles.
    """
    told = {str(row["parameter"]): row for row in intervals.to_dict("records")}

    def draw(axes: Axes, wanted: Parameter) -> None:
        rows = predictions[predictions["parameter"] == wanted.key].dropna(
            subset=["reference", "lower", "upper"]
        )
        axes.set_title(_title(wanted, told.get(wanted.key)))
        if rows.empty:
            say_empty(axes, "no interval")
            return
        _draw_patients(axes, rows.sort_values("prediction"))
        axes.set_xlabel("patients by prediction", fontsize=7)
        axes.set_ylabel(wanted.unit, fontsize=7)
        axes.locator_params(axis="y", nbins=6)

    handles = [
        Line2D([], [], color=_BAR, linewidth=3, label="interval"),
        Line2D([], [], color="black", linewidth=1, label="prediction"),
        Line2D([], [], color=WITHOUT_PH, marker="o", markersize=3, linestyle="", label="reference in it"),
        Line2D([], [], color=WITH_PH, marker="X", markersize=4, linestyle="", label="reference outside"),
    ]
    with styled():
        return parameter_page(
            draw, handles, synthetic=synthetic, height=TWO_COLUMNS, shown=set(predictions["parameter"])
        )


def _title(wanted: Parameter, row: Mapping[Hashable, Any] | None) -> str:
    if row is None or not row["n"]:
        return f"{wanted.key}\n"
    width = f"{row['width']:.0f}" if row["width"] >= 100 else f"{row['width']:.3g}"
    return f"{wanted.key}, n = {row['n']}\nholds {100 * row['coverage']:.0f} %, mean width {width}"


def _draw_patients(axes: Axes, rows: pd.DataFrame) -> None:
    names = ("reference", "prediction", "lower", "upper")
    reference, prediction, lower, upper = (rows[name].to_numpy(np.float64) for name in names)
    places = np.arange(len(rows))
    held = (lower <= reference) & (reference <= upper)
    width = float(np.clip(120 / max(len(rows), 1), 0.4, 4))
    axes.vlines(places, lower, upper, color=_BAR, linewidth=width, zorder=1)
    axes.plot(places, prediction, color="black", linewidth=0.9, zorder=2)
    axes.scatter(places[held], reference[held], s=5, color=WITHOUT_PH, linewidths=0, zorder=3)
    axes.scatter(places[~held], reference[~held], s=12, marker="X", color=WITH_PH, linewidths=0, zorder=4)
    axes.set_xlim(-1, len(rows))
    axes.set_xticks([])


def view_subset_page(accuracy: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw signed r and the widening of intervals, subsets of the views by parameters, the mean set apart.

    Args:
        accuracy: `cardio_mlflow.analysis.view_subsets.view_subset_accuracy`'s result.
    """
    names = list(dict.fromkeys(accuracy["views"]))
    present = set(accuracy["parameter"])
    columns = [key for key in (*KEYS, MEAN) if key in present]
    with styled():
        figure = new_figure(TWO_COLUMNS, 0.9 + 0.2 * max(len(names), 5), synthetic=synthetic)
        if not names:
            say_empty(figure.subplots(), "no patient has a view")
            return figure
        left, right = figure.subplots(1, 2, sharey=True)
        grids = [
            accuracy.pivot_table(value, "views", "parameter").reindex(names, columns=columns)
            for value in ("r", "width_ratio")
        ]
        _draw_grid(left, grids[0], _R_COLOURS, (0.0, 1.0))
        _draw_grid(right, grids[1], _WIDTH_COLOURS, (0.9, 2.0))
        left.set_title("signed r")
        right.set_title("width of intervals, over that from all four views")
        left.set_yticks(range(len(names)), [name.replace("+", " + ") for name in names])
    return figure


def _draw_grid(axes: Axes, grid: pd.DataFrame, colours: str, limits: tuple[float, float]) -> None:
    """Numbers on colours, subsets by parameters; an undefined one is an empty cell."""
    values = grid.to_numpy(np.float64)
    shades = Normalize(*limits, clip=True)(np.nan_to_num(values, nan=limits[0]))
    rgb = colormaps[colours](0.8 * np.asarray(shades))[..., :3]
    rgb[np.isnan(values)] = 1.0
    axes.imshow(rgb, aspect="auto")
    for row, column in np.argwhere(np.isfinite(values)):
        ink = "white" if rgb[row, column] @ _LUMINANCE < 0.5 else "black"
        axes.text(column, row, f"{values[row, column]:.2f}".replace("-", "−"), ha="center", va="center",
                  fontsize=5.5, color=ink)  # fmt: skip
    axes.set_xticks(range(grid.shape[1]), list(grid.columns), rotation=60, ha="right", rotation_mode="anchor")
    if grid.columns[-1] == MEAN:
        axes.axvline(grid.shape[1] - 1.5, color="white", linewidth=3)
    for row in range(1, len(grid)):
        if grid.index[row].count("+") != grid.index[row - 1].count("+"):
            axes.axhline(row - 0.5, color=PALE, linewidth=1)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
