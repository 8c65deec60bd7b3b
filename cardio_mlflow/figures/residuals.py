"""Residuals against predictions: does the spread grow with the value?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cardio_mlflow.figures.pages import parameter_page
from cardio_mlflow.figures.pairs import POINT_EDGE, pairs_of
from cardio_mlflow.figures.style import BAND, NEUTRAL, PARAMETER_COLOURS, TWO_COLUMNS, say_empty, styled
from cardio_mlflow.parameters import Parameter


def residual_page(
    predictions: pd.DataFrame,
    residual_quartiles: pd.DataFrame,
    heteroscedasticity: pd.DataFrame,
    *,
    synthetic: bool,
) -> Figure:
    """Draw residuals against predictions, with mean and SD in each quartile of the prediction.

    Args:
        predictions: a checked predictions table of one variant and cohort.
        residual_quartiles: `cardio_mlflow.analysis.heteroscedasticity.residual_quartiles`'s result.
        heteroscedasticity: `cardio_mlflow.analysis.heteroscedasticity.heteroscedasticity_table`'s
            result, for the p-values of Breusch-Pagan and White in the titles.
        synthetic: whether the patients are synthetic.
    """
    tests = heteroscedasticity.set_index("parameter")

    def draw(axes: Axes, wanted: Parameter) -> None:
        bands = residual_quartiles[residual_quartiles["parameter"] == wanted.key]
        rows = tests[tests.index == wanted.key]
        _draw(axes, predictions, bands, rows.iloc[0] if len(rows) else None, wanted)

    handles = [
        Line2D([], [], color="black", label="mean of a quartile of the prediction"),
        Line2D([], [], color=BAND, linewidth=6, label="± its SD"),
    ]
    with styled():
        return parameter_page(
            draw, handles, synthetic=synthetic, height=TWO_COLUMNS, shown=set(predictions["parameter"])
        )


def _draw(
    axes: Axes, predictions: pd.DataFrame, bands: pd.DataFrame, tested: pd.Series | None, wanted: Parameter
) -> None:
    pairs = pairs_of(predictions, wanted.key)
    axes.set_title(f"{wanted.key}, n = {pairs.reference.size}\n{_p_values(tested)}")
    if pairs.reference.size == 0:
        say_empty(axes, "no reference")
        return
    residual = pairs.prediction - pairs.reference
    for low, high, mean, sd in bands[
        ["prediction_low", "prediction_high", "residual_mean", "residual_sd"]
    ].itertuples(index=False):
        if np.isfinite(sd):
            axes.fill_between([low, high], mean - sd, mean + sd, color=BAND, linewidth=0, zorder=0)
        axes.plot([low, high], [mean, mean], color="black", linewidth=1.2, zorder=4)
    axes.axhline(0, color=NEUTRAL, linestyle="--", linewidth=0.8, zorder=1)
    axes.scatter(pairs.prediction, residual, s=8, color=PARAMETER_COLOURS[wanted.key], **POINT_EDGE)
    axes.set_xlabel(f"predicted ({wanted.unit})", fontsize=7)
    gap = "\n" if len(wanted.unit) > 8 else " "
    axes.set_ylabel(f"prediction − reference{gap}({wanted.unit})", fontsize=7)
    axes.locator_params(nbins=6)


def _p_values(tested: pd.Series | None) -> str:
    if tested is None:
        return "not tested"
    named = {"BP": tested["bp_p"], "White": tested["white_p"]}
    return ", ".join(f"{name} {_p(float(value))}" for name, value in named.items())


def _p(value: float) -> str:
    if np.isnan(value):
        return "not defined"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"
