"""The pairs of reference and prediction that scatter and Bland-Altman figures draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cardio_mlflow.figures.style import NEUTRAL, TWO_COLUMNS, WITH_PH, WITHOUT_PH, new_figure
from cardio_mlflow.parameters import KEYS, PULMONARY_HYPERTENSION, Parameter, parameter


@dataclass(frozen=True)
class Pairs:
    """Patients with a reference for one parameter.

    Attributes:
        parameter: the parameter.
        reference, prediction: shape (n,), in its unit.
        hypertension: shape (n,), 1 with pulmonary hypertension by reference, 0 without, NaN unknown.
    """

    parameter: Parameter
    reference: NDArray[np.float64]
    prediction: NDArray[np.float64]
    hypertension: NDArray[np.float64]


GROUPS = (
    (0.0, "no PH", "o", WITHOUT_PH),
    (1.0, "PH", "^", WITH_PH),
    (np.nan, "PH unknown", "s", NEUTRAL),
)
"""Value of `Pairs.hypertension`, name, marker and colour of each group of patients."""


def pairs_of(predictions: pd.DataFrame, key: str) -> Pairs:
    """The pairs of one parameter from a checked predictions table of one variant."""
    measured = predictions[predictions["parameter"] == PULMONARY_HYPERTENSION.key]
    pressure = measured.set_index("patient_id")["reference"]
    rows = predictions[(predictions["parameter"] == key) & predictions["reference"].notna()]
    own = pressure.reindex(rows["patient_id"]).to_numpy(np.float64)
    hypertension = np.where(np.isnan(own), np.nan, own > PULMONARY_HYPERTENSION.cutoff)
    return Pairs(
        parameter(key),
        rows["reference"].to_numpy(np.float64),
        rows["prediction"].to_numpy(np.float64),
        hypertension,
    )


def draw_points(
    axes: Axes, pairs: Pairs, x: NDArray[np.float64], y: NDArray[np.float64], size: float
) -> None:
    """Draw one point a patient, its colour and marker by pulmonary hypertension."""
    for value, _, marker, colour in GROUPS:
        chosen = np.isnan(pairs.hypertension) if np.isnan(value) else pairs.hypertension == value
        axes.scatter(
            x[chosen], y[chosen], s=size, marker=marker, color=colour, alpha=0.65, linewidths=0, zorder=3
        )


def group_handles(drawn: Sequence[Pairs]) -> list[Line2D]:
    """Legend entries of the groups of patients that occur in what is drawn."""
    present = np.concatenate([pairs.hypertension for pairs in drawn])
    return [
        Line2D([], [], linestyle="", marker=marker, markersize=4, color=colour, alpha=0.8, label=name)
        for value, name, marker, colour in GROUPS
        if np.any(np.isnan(present) if np.isnan(value) else present == value)
    ]


def draw_page(
    predictions: pd.DataFrame,
    draw: Callable[[Axes, Pairs], None],
    line_handles: Sequence[Line2D],
    *,
    synthetic: bool,
) -> Figure:
    """A page of 3×3 axes, one parameter each in table order, with one legend below."""
    figure = new_figure(TWO_COLUMNS, TWO_COLUMNS * 1.02, synthetic=synthetic)
    every = [pairs_of(predictions, key) for key in KEYS]
    for axes, pairs in zip(figure.subplots(3, 3).flat, every, strict=True):
        draw(axes, pairs)
    handles = [*group_handles(every), *line_handles]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure
