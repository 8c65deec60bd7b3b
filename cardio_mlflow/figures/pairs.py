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

from cardio_mlflow.figures.style import (
    NEUTRAL,
    ONE_COLUMN,
    PARAMETER_COLOURS,
    WITH_PH,
    WITHOUT_PH,
    new_figure,
    parameter_page,
    styled,
)  # fmt: skip
from cardio_mlflow.parameters import KEYS, PULMONARY_HYPERTENSION, Parameter, parameter


@dataclass(frozen=True)
class Pairs:
    """Patients with a reference for one parameter.

    Attributes:
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


Draw = Callable[[Axes, Pairs, float, str | None], None]
"""Draws the pairs of a parameter, with points of a size and a colour as `draw_points` takes them."""

Lines = Callable[[], Sequence[Line2D]]


def one_parameter(
    predictions: pd.DataFrame, key: str, draw: Draw, lines: Lines, height: float,
    *, synthetic: bool, stratified: bool,
) -> Figure:  # fmt: skip
    """One parameter in a printed column, with the legend of groups and lines below.

    Args:
        predictions: a checked predictions table of one variant and cohort.
        key: the parameter.
        draw: draws its pairs.
        lines: makes the handles of the lines for the legend.
        height: of the figure in widths.
        stratified: patients with and without pulmonary hypertension apart; else all in its colour.
    """
    pairs = pairs_of(predictions, key)
    with styled():
        figure = new_figure(ONE_COLUMN, ONE_COLUMN * height, synthetic=synthetic)
        draw(figure.subplots(), pairs, 16, None if stratified else PARAMETER_COLOURS[key])
        handles = [*(group_handles([pairs]) if stratified else []), *lines()]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def every_parameter(
    predictions: pd.DataFrame, draw: Draw, lines: Lines, *, synthetic: bool, stratified: bool
) -> Figure:
    """A page of 3×3 axes, one parameter each in table order; arguments as in `one_parameter`."""
    pairs = {key: pairs_of(predictions, key) for key in KEYS}

    def draw_axes(axes: Axes, wanted: Parameter) -> None:
        draw(axes, pairs[wanted.key], 9, None if stratified else PARAMETER_COLOURS[wanted.key])

    with styled():
        handles = [*(group_handles(list(pairs.values())) if stratified else []), *lines()]
        return parameter_page(draw_axes, handles, synthetic=synthetic, shown=set(predictions["parameter"]))
