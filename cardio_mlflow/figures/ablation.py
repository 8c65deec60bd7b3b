"""Variants by parameters: a heat map of signed r."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cardio_mlflow.figures.style import TWO_COLUMNS, new_figure, signed, styled
from cardio_mlflow.parameters import KEYS


def ablation_heat_map(comparison: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw signed r of each variant and parameter, with the mean over parameters in a column of its own.

    Args:
        comparison: `cardio_mlflow.analysis.comparison.comparison_table`'s result.
        synthetic: whether the patients are synthetic.
    """
    columns = [name for name in (*KEYS, "mean_r") if name in comparison]
    values = comparison[columns].to_numpy(np.float64)
    with styled():
        figure = new_figure(TWO_COLUMNS, 1.1 + 0.3 * len(comparison), synthetic=synthetic)
        axes = figure.subplots()
        lowest = float(np.nanmin([0.0, *values[np.isfinite(values)]]))
        image = axes.imshow(values, cmap="cividis", vmin=lowest, vmax=1.0, aspect="auto")
        _write_numbers(axes, values, lowest)
        axes.set_xticks(range(len(columns)), [*columns[:-1], "mean"], fontsize=8)
        axes.set_yticks(range(len(comparison)), list(comparison["variant"]), fontsize=8)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.axvline(len(columns) - 1.5, color="white", linewidth=3)
        axes.set_title(f"signed r, n = {int(comparison['n'].max())} patients", loc="left")
        figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02)
    return figure


def _write_numbers(axes: Axes, values: np.ndarray, lowest: float) -> None:
    best = np.max(np.nan_to_num(values, nan=-np.inf), axis=0)
    for (row, column), value in np.ndenumerate(values):
        dark = (value - lowest) / (1 - lowest) < 0.55
        axes.text(
            column, row, "n/a" if np.isnan(value) else signed(value), ha="center", va="center", fontsize=7.5,
            color="white" if dark else "black", fontweight="bold" if value == best[column] else "normal",
        )  # fmt: skip
