"""Identities that the haemodynamic values must meet: both sides against each other."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cardio_mlflow.figures.pairs import POINT_EDGE
from cardio_mlflow.figures.style import (
    NEUTRAL,
    PARAMETER_COLOURS,
    TWO_COLUMNS,
    new_figure,
    say_empty,
    signed,
    styled,
)

_SIDES: Final = ("references", "predictions")


def identity_page(identity_pairs: pd.DataFrame, identities: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw the left against the right side of each identity, of references above and predictions below.

    Args:
        identity_pairs: `cardio_mlflow.analysis.identities.identity_pairs`'s result.
        identities: `cardio_mlflow.analysis.identities.identity_table`'s result.
        synthetic: whether the patients are synthetic.
    """
    names = list(dict.fromkeys(identities["identity"]))
    with styled():
        figure = new_figure(TWO_COLUMNS, TWO_COLUMNS * 0.76, synthetic=synthetic)
        if not names:
            say_empty(figure.subplots(), "no identity can be tested")
            return figure
        grid = figure.subplots(2, len(names), squeeze=False)
        for row, side in zip(grid, _SIDES, strict=True):
            for axes, name in zip(row, names, strict=True):
                tested = identities[(identities["identity"] == name) & (identities["side"] == side)]
                pairs = identity_pairs[
                    (identity_pairs["identity"] == name) & (identity_pairs["side"] == side)
                ]
                _draw(axes, pairs.dropna(subset=["left", "right"]), tested, side)
    return figure


def _draw(axes: Axes, pairs: pd.DataFrame, tested: pd.DataFrame, side: str) -> None:
    axes.set_box_aspect(1)
    name = str(tested["identity"].iloc[0]) if len(tested) else side
    left_name, _, right_name = name.replace("-", "−").partition(" = ")
    if pairs.empty:
        axes.set_title(f"{side}: {left_name}")
        note = str(tested["note"].iloc[0]) if len(tested) else ""
        say_empty(axes, note or "no patient with every value")
        return
    row = tested.iloc[0]
    axes.set_title(f"{side}, n = {row['n']}\n{_numbers(row)}")
    left, right = pairs["left"].to_numpy(np.float64), pairs["right"].to_numpy(np.float64)
    values = np.concatenate([left, right])
    margin = 0.05 * max(float(np.ptp(values)), 1e-6)
    ends = (float(values.min()) - margin, float(values.max()) + margin)
    axes.plot(ends, ends, color=NEUTRAL, linestyle="--", linewidth=0.9, zorder=2)
    axes.scatter(right, left, s=9, color=PARAMETER_COLOURS[left_name], **POINT_EDGE)
    axes.set(xlim=ends, ylim=ends)
    axes.set_xlabel(f"{right_name} ({row['unit']})", fontsize=7)
    axes.set_ylabel(f"{left_name} ({row['unit']})", fontsize=7)
    axes.locator_params(nbins=6)


def _numbers(row: pd.Series) -> str:
    """Such as ``r 0.98, bias −0.1 (−1.2 to 1.0)``: r, and bias with the limits of agreement."""
    r = "r not defined" if np.isnan(row["r"]) else f"r {signed(row['r'])}"
    if np.isnan(row["bias"]):
        return r
    bias = f"{r}, bias {signed(row['bias'])}"
    if np.isnan(row["lower"]):
        return bias
    return f"{bias} ({signed(row['lower'])} to {signed(row['upper'])})"
