"""The pairs of reference and prediction that scatter and Bland-Altman figures draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cardio_mlflow.figures.style import NEUTRAL, WITH_PH, WITHOUT_PH, parameter_page
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


POINT_EDGE: Final[Mapping[str, Any]] = MappingProxyType(
    {"edgecolors": "white", "linewidths": 0.3, "zorder": 3}
)
"""A thin white edge keeps overlapping opaque points apart."""

GROUPS = ((0.0, "no PH", "o", WITHOUT_PH), (1.0, "PH", "^", WITH_PH), (np.nan, "PH unknown", "s", NEUTRAL))
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
    axes: Axes,
    pairs: Pairs,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    size: float,
    colour: str | None = None,
) -> None:
    """Draw one point a patient: all in `colour`, or by pulmonary hypertension when it is None."""
    if colour is not None:
        axes.scatter(x, y, s=size, color=colour, **POINT_EDGE)
        return
    for value, _, marker, own in GROUPS:
        chosen = np.isnan(pairs.hypertension) if np.isnan(value) else pairs.hypertension == value
        axes.scatter(x[chosen], y[chosen], s=size, marker=marker, color=own, **POINT_EDGE)


def group_handles(drawn: Sequence[Pairs]) -> list[Line2D]:
    """Legend entries of the groups of patients that occur in what is drawn."""
    present = np.concatenate([pairs.hypertension for pairs in drawn])
    return [
        Line2D([], [], linestyle="", marker=marker, markersize=4, color=colour, label=name)
        for value, name, marker, colour in GROUPS
        if np.any(np.isnan(present) if np.isnan(value) else present == value)
    ]


def draw_page(
    predictions: pd.DataFrame,
    draw: Callable[[Axes, Pairs], None],
    line_handles: Sequence[Line2D],
    *,
    synthetic: bool,
    stratified: bool = True,
) -> Figure:
    """A page of 3×3 axes, one parameter each in table order, with one legend below."""
    every = {key: pairs_of(predictions, key) for key in KEYS}
    handles = [*(group_handles(list(every.values())) if stratified else []), *line_handles]
    return parameter_page(
        lambda axes, wanted: draw(axes, every[wanted.key]), handles, synthetic=synthetic,
        shown=set(predictions["parameter"]),
    )  # fmt: skip
