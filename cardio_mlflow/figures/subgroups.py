"""How errors differ between groups of patients, and how identities and phenotypes come out."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cardio_mlflow.figures.correlation import draw_counts
from cardio_mlflow.figures.pairs import POINT_EDGE
from cardio_mlflow.figures.style import (
    NEUTRAL,
    PALE,
    PARAMETER_COLOURS,
    TWO_COLUMNS,
    new_figure,
    say_empty,
    signed,
    styled,
    with_interval,
)
from cardio_mlflow.parameters import PARAMETERS, Parameter

_SIDES: Final = ("references", "predictions")


def subgroup_forest(subgroups: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw the mean absolute error with its interval for each level of each subgroup, n at the right.

    Args:
        subgroups: `cardio_mlflow.analysis.subgroups.subgroup_table`'s result; up to 14 levels are legible.
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
            _draw_errors(axes, rows, levels, wanted, named=position % 3 == 0)
    return figure


def _draw_errors(
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


def identity_page(identity_pairs: pd.DataFrame, identities: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw the left against the right side of each identity, of references above and predictions below.

    Args:
        identity_pairs: `cardio_mlflow.analysis.identities.identity_pairs`'s result.
        identities: `cardio_mlflow.analysis.identities.identity_table`'s result.
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
                _draw_identity(axes, pairs.dropna(subset=["left", "right"]), tested, side)
    return figure


def _draw_identity(axes: Axes, pairs: pd.DataFrame, tested: pd.DataFrame, side: str) -> None:
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
    """Such as ``r 0.98, bias −0.1`` over ``limits of agreement −1.2 to 1.0``."""
    r = "r not defined" if np.isnan(row["r"]) else f"r {signed(row['r'])}"
    if np.isnan(row["bias"]):
        return r
    bias = f"{r}, bias {signed(row['bias'])}"
    if np.isnan(row["lower"]):
        return bias
    return f"{bias}\nlimits of agreement {signed(row['lower'])} to {signed(row['upper'])}"


def phenotype_matrix(
    phenotype_confusion: pd.DataFrame, phenotype_agreement: pd.DataFrame, *, synthetic: bool
) -> Figure:
    """Draw patients by class of reference and prediction, with accuracy and kappa in the title.

    Args:
        phenotype_confusion: `cardio_mlflow.analysis.phenotype.phenotype_confusion`'s result.
        phenotype_agreement: `cardio_mlflow.analysis.phenotype.phenotype_agreement`'s result, one row.
    """
    with styled():
        figure = new_figure(TWO_COLUMNS * 0.8, TWO_COLUMNS * 0.56, synthetic=synthetic)
        axes = figure.subplots()
        axes.set(xlabel="phenotype by prediction", ylabel="phenotype by reference")
        row = phenotype_agreement.iloc[0] if len(phenotype_agreement) else None
        if row is None or not row["n"]:
            reason = str(row["note"]) if row is not None else ""
            say_empty(axes, reason or "no patient with every reference that a phenotype needs")
            return figure
        classes = list(dict.fromkeys(phenotype_confusion["reference"]))
        counts = phenotype_confusion.pivot_table(index="reference", columns="prediction", values="n")
        counts = counts.reindex(index=classes, columns=classes)
        names = [name.replace(" ", "\n").replace("-cap", "-\ncap") for name in classes]
        draw_counts(axes, counts.to_numpy(np.float64).astype(np.int64), classes, names)
        agreement = [
            f"{name} {with_interval(*row[[name, f'{name}_low', f'{name}_high']])}"
            for name in ("accuracy", "kappa")
        ]
        axes.set_title(
            f"n = {row['n']}, {', '.join(agreement)}\npatients, and percentage of the reference's row"
        )
    return figure
