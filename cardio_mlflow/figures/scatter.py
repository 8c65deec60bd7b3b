"""Reference and prediction of each patient: scatter plots, Bland-Altman plots and residuals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cardio_mlflow.analysis.bland_altman import (
    SIGNIFICANT,
    LimitsOfAgreement,
    ProportionalBias,
    limits_of_agreement,
    proportional_bias,
)
from cardio_mlflow.figures.pairs import (
    POINT_EDGE,
    Pairs,
    draw_points,
    every_parameter,
    one_parameter,
    pairs_of,
)
from cardio_mlflow.figures.style import (
    BAND,
    NEUTRAL,
    PALE,
    PARAMETER_COLOURS,
    TWO_COLUMNS,
    label_with_unit,
    parameter_page,
    r_with_interval,
    say_empty,
    signed,
    styled,
)
from cardio_mlflow.parameters import Parameter


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
        stratified: patients with and without pulmonary hypertension apart; else all in its colour.
    """

    def draw(axes: Axes, pairs: Pairs, size: float, colour: str | None) -> None:
        _draw_scatter(axes, pairs, r_with_interval(performance, key), size, colour)
        axes.set_xlabel(label_with_unit(pairs.parameter, "reference"))
        axes.set_ylabel(label_with_unit(pairs.parameter, "predicted"))

    height = 1.22 if stratified else 1.14
    return one_parameter(predictions, key, draw, _scatter_lines, height,
                         synthetic=synthetic, stratified=stratified)  # fmt: skip


def scatter_page(
    predictions: pd.DataFrame, performance: pd.DataFrame, *, synthetic: bool, stratified: bool = True
) -> Figure:
    """Draw all nine parameters on one page; arguments as in `scatter`."""

    def draw(axes: Axes, pairs: Pairs, size: float, colour: str | None) -> None:
        _draw_scatter(axes, pairs, r_with_interval(performance, pairs.parameter.key), size, colour)
        _label(axes, pairs.parameter, "reference", "predicted")

    return every_parameter(predictions, draw, _scatter_lines, synthetic=synthetic, stratified=stratified)


def bland_altman(predictions: pd.DataFrame, key: str, *, synthetic: bool, stratified: bool = True) -> Figure:
    """Draw one parameter's differences against means, with bias, limits (ddof 1) and the limits' intervals.

    Where the bias depends on the value (p < 0.05), bias and limits are sloped.

    Arguments as in `scatter`.
    """

    def draw(axes: Axes, pairs: Pairs, size: float, colour: str | None) -> None:
        _draw_bland_altman(axes, pairs, size, colour)
        axes.set_xlabel(f"mean of reference and prediction ({pairs.parameter.unit})")
        axes.set_ylabel(f"prediction − reference ({pairs.parameter.unit})")

    return one_parameter(predictions, key, draw, _bland_altman_lines, 0.98,
                         synthetic=synthetic, stratified=stratified)  # fmt: skip


def bland_altman_page(predictions: pd.DataFrame, *, synthetic: bool, stratified: bool = True) -> Figure:
    """Draw all nine parameters on one page; arguments as in `scatter`."""

    def draw(axes: Axes, pairs: Pairs, size: float, colour: str | None) -> None:
        _draw_bland_altman(axes, pairs, size, colour)
        _label(axes, pairs.parameter, "mean", "difference")

    return every_parameter(predictions, draw, _bland_altman_lines, synthetic=synthetic, stratified=stratified)


def residual_page(
    predictions: pd.DataFrame,
    residual_quartiles: pd.DataFrame,
    heteroscedasticity: pd.DataFrame,
    *,
    synthetic: bool,
) -> Figure:
    """Draw residuals against predictions, with mean and SD in each quartile of the prediction.

    Args:
        residual_quartiles: `cardio_mlflow.analysis.heteroscedasticity.residual_quartiles`'s result.
        heteroscedasticity: `cardio_mlflow.analysis.heteroscedasticity.heteroscedasticity_table`'s
            result, for the p-values of Breusch-Pagan and White in the titles.
    """
    tests = heteroscedasticity.set_index("parameter")

    def draw(axes: Axes, wanted: Parameter) -> None:
        bands = residual_quartiles[residual_quartiles["parameter"] == wanted.key]
        rows = tests[tests.index == wanted.key]
        _draw_residuals(axes, predictions, bands, rows.iloc[0] if len(rows) else None, wanted)

    handles = [
        Line2D([], [], color="black", label="mean of a quartile of the prediction"),
        Line2D([], [], color=BAND, linewidth=6, label="± its SD"),
    ]
    with styled():
        return parameter_page(
            draw, handles, synthetic=synthetic, height=TWO_COLUMNS, shown=set(predictions["parameter"])
        )


def _label(axes: Axes, parameter: Parameter, x: str, y: str) -> None:
    axes.set_xlabel(f"{x} ({parameter.unit})", fontsize=7)
    axes.set_ylabel(f"{y} ({parameter.unit})", fontsize=7)


def _scatter_lines() -> list[Line2D]:
    return [
        Line2D([], [], color=NEUTRAL, linestyle="--", linewidth=0.9, label="identity"),
        Line2D([], [], color="black", linewidth=1.2, label="regression"),
        Line2D([], [], color=PALE, linestyle=":", linewidth=1.2, label="cut-off"),
    ]


def _draw_scatter(axes: Axes, pairs: Pairs, title: str, size: float, colour: str | None) -> None:
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
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.set_box_aspect(1)
    axes.locator_params(nbins=6)


def _draw_regression(axes: Axes, pairs: Pairs) -> None:
    """The least-squares line of prediction on reference, over the references' range."""
    if np.ptp(pairs.reference) == 0:
        return
    slope, intercept = np.polyfit(pairs.reference, pairs.prediction, 1)
    ends = np.array([pairs.reference.min(), pairs.reference.max()])
    axes.plot(ends, intercept + slope * ends, color="black", zorder=4)


def _bland_altman_lines() -> list[Line2D]:
    return [
        Line2D([], [], color="black", label="bias"),
        Line2D([], [], color=NEUTRAL, linestyle="--", label="95 % limits"),
        Line2D([], [], color=BAND, linewidth=5, label="their 95 % CI"),
    ]


def _draw_bland_altman(axes: Axes, pairs: Pairs, size: float, colour: str | None) -> None:
    limits = limits_of_agreement(pairs.reference, pairs.prediction)
    name = f"{pairs.parameter.key}, n = {pairs.reference.size}"
    if np.isnan(limits.bias):
        axes.set_title(name)
        say_empty(axes, "fewer than three patients")
        return
    means, differences = (pairs.reference + pairs.prediction) / 2, pairs.prediction - pairs.reference
    line = proportional_bias(pairs.reference, pairs.prediction)
    axes.set_title(f"{name}\n{_agreement(limits, line)}")
    axes.axhline(0, color=PALE, linewidth=0.7, zorder=1)
    if line.is_shown:
        _draw_sloped_limits(axes, line, means)
    else:
        _draw_level_limits(axes, limits)
    draw_points(axes, pairs, means, differences, size, colour)
    ends = np.array([means.min(), means.max()])
    shown = line.limits(ends)[1:] if line.is_shown else (*limits.lower_interval, *limits.upper_interval)
    reach = 1.08 * float(np.abs(np.append(differences, np.ravel(shown))).max())
    axes.set_ylim(-max(reach, 1e-6), max(reach, 1e-6))
    axes.locator_params(nbins=6)


def _agreement(limits: LimitsOfAgreement, line: ProportionalBias) -> str:
    """Bias with its interval; and the limits, or how the bias changes with the value."""
    bias, low, high, lower, upper = (
        _rounded(value, limits.sd)
        for value in (limits.bias, *limits.bias_interval, limits.lower, limits.upper)
    )
    words = f"bias {bias} (CI {low} to {high})"
    if line.is_shown:
        return f"{words}\nslope {signed(line.slope)} ({signed(line.low)} to {signed(line.high)})"
    return f"{words}\nlimits {lower} to {upper}"


def _draw_level_limits(axes: Axes, limits: LimitsOfAgreement) -> None:
    for limit, interval in ((limits.lower, limits.lower_interval), (limits.upper, limits.upper_interval)):
        axes.axhspan(*interval, color=BAND, linewidth=0, zorder=0)
        axes.axhline(limit, color=NEUTRAL, linestyle="--", linewidth=1, zorder=2)
    axes.axhline(limits.bias, color="black", linewidth=1.2, zorder=2)


def _draw_sloped_limits(axes: Axes, line: ProportionalBias, means: NDArray[np.float64]) -> None:
    """The line through the differences and 1.96 SD about it: Bland and Altman 1999, section 3.2."""
    ends = np.array([means.min(), means.max()])
    bias, lower, upper = line.limits(ends)
    axes.plot(ends, bias, color="black", linewidth=1.2, zorder=2)
    for limit in (lower, upper):
        axes.plot(ends, limit, color=NEUTRAL, linestyle="--", linewidth=1, zorder=2)


def _rounded(value: float, sd: float) -> str:
    """As many decimals as the spread deserves: three significant figures of the standard deviation."""
    decimals = int(np.clip(2 - np.floor(np.log10(sd)), 0, 3)) if sd > 0 else 2
    return signed(value, min(decimals, 2))


def _draw_residuals(
    axes: Axes, predictions: pd.DataFrame, bands: pd.DataFrame, tested: pd.Series | None, wanted: Parameter
) -> None:
    pairs = pairs_of(predictions, wanted.key)
    name = f"{wanted.key}, n = {pairs.reference.size}"
    axes.set_title(name)
    if pairs.reference.size == 0:
        say_empty(axes, "no reference")
        return
    residual = pairs.prediction - pairs.reference
    spread = f"SD {residual.std(ddof=1):.3g}" if residual.size > 1 else "one patient"
    axes.set_title(f"{name}, {spread}\n{_spread_in_words(tested)}")
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


def _spread_in_words(tested: pd.Series | None) -> str:
    """The spread of the topmost quartile over the lowest's, what the tests say of it, and their p-values."""
    if tested is None or (np.isnan(tested["bp_p"]) and np.isnan(tested["white_p"])):
        return "not tested"
    changes = bool(np.nanmin([tested["bp_p"], tested["white_p"]]) < SIGNIFICANT)
    verdict = "spread changes" if changes else "no change shown"
    ratio = f"Q4/Q1 {tested['sd_ratio']:.2g}: " if np.isfinite(tested["sd_ratio"]) else ""
    named = {"BP": tested["bp_p"], "White": tested["white_p"]}
    return f"{ratio}{verdict}\n{', '.join(f'{name} {_p(float(p))}' for name, p in named.items())}"


def _p(value: float) -> str:
    if np.isnan(value):
        return "not defined"
    return "p < 0.001" if value < 0.001 else f"p {value:.3f}" if value < 0.1 else f"p {value:.2f}"
