"""Signed r of each parameter with its interval, cohorts beside each other, and the ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch
from numpy.typing import NDArray

from cardio_mlflow.figures.style import (
    NEUTRAL,
    PALE,
    PARAMETER_COLOURS,
    TWO_COLUMNS,
    new_figure,
    say_empty,
    signed,
    styled,
)
from cardio_mlflow.parameters import KEYS

_HATCHES = ("", "////", "....")


def correlation_bars(
    performances: Mapping[str, pd.DataFrame], ceiling: Mapping[str, float] | None = None, *, synthetic: bool
) -> Figure:
    """Draw r of each parameter with its interval.

    Args:
        performances: name (such as "Cohort I") to performance table, one to three of them.
        ceiling: the best r that the data allow, by parameter key, drawn as a mark; None when unknown.
    """
    with styled():
        figure = new_figure(TWO_COLUMNS, 3.0, synthetic=synthetic)
        axes = figure.subplots()
        width = 0.8 / len(performances)
        lowest = 0.0
        for position, (table, hatch) in enumerate(zip(performances.values(), _HATCHES, strict=False)):
            offset = (position - (len(performances) - 1) / 2) * width
            lowest = min(lowest, _draw_bars(axes, table, offset, width, hatch))
        for position, key in enumerate(KEYS):
            best = np.nan if ceiling is None else ceiling.get(key, np.nan)
            axes.plot(
                [position - 0.43, position + 0.43], [best, best], color="black", linewidth=1.6, zorder=5
            )
        axes.axhline(0, color=NEUTRAL, linewidth=0.7)
        axes.set_xticks(range(len(KEYS)), _tick_labels(performances), fontsize=7)
        axes.set(
            ylabel="signed r", ylim=(lowest - 0.08 if lowest < 0 else 0.0, 1.05), xlim=(-0.6, len(KEYS) - 0.4)
        )
        handles = _handles(list(performances), with_ceiling=ceiling is not None)
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _tick_labels(performances: Mapping[str, pd.DataFrame]) -> list[str]:
    """Each parameter's key, and below it r of each table in the order of the bars."""
    tables = [table.set_index("parameter")["r"].reindex(KEYS) for table in performances.values()]
    values = [["n/a" if np.isnan(table[key]) else signed(table[key]) for table in tables] for key in KEYS]
    return [f"{key}\n{'  '.join(row)}" for key, row in zip(KEYS, values, strict=True)]


def _draw_bars(axes: Axes, table: pd.DataFrame, offset: float, width: float, hatch: str) -> float:
    """Draw one table's bars; returns the lowest point drawn."""
    rows = table.set_index("parameter").reindex(KEYS)
    r, low, high = (rows[name].to_numpy(np.float64) for name in ("r", "r_low", "r_high"))
    places = np.arange(len(KEYS)) + offset
    colours = [PARAMETER_COLOURS[key] for key in KEYS]
    axes.bar(places, r, width * 0.92, color=colours, hatch=hatch, edgecolor="white", linewidth=0, zorder=2)
    errors = np.nan_to_num(np.abs(np.stack([r - low, high - r])))
    shown = np.isfinite(r)
    axes.errorbar(
        places[shown],
        r[shown],
        yerr=errors[:, shown],
        fmt="none",
        ecolor="black",
        elinewidth=0.8,
        capsize=2,
        zorder=3,
    )
    return float(np.nanmin(np.concatenate([low, r, [0.0]])))


def _handles(names: list[str], *, with_ceiling: bool) -> list[Patch | Line2D]:
    handles: list[Patch | Line2D] = [
        Patch(facecolor="#999999", edgecolor="white", hatch=hatch, label=name)
        for name, hatch in zip(names, _HATCHES, strict=False)
    ]
    if with_ceiling:
        handles.append(Line2D([], [], color="black", linewidth=1.6, label="ceiling"))
    return handles


def draw_counts(axes: Axes, counts: NDArray[np.int64], rows: Sequence[str], columns: Sequence[str]) -> None:
    """Draw counts and row percentages, the darker the larger a cell's share of its row.

    Args:
        axes: empty.
        counts: patients, shape (rows, columns); row: the reference; column: the prediction.
    """
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    edges = [np.arange(size + 1) - 0.5 for size in (len(columns), len(rows))]
    axes.pcolormesh(*edges, shares, cmap="Blues", vmin=0, vmax=1.25)  # an image would make EPS files huge
    axes.set_ylim(len(rows) - 0.5, -0.5)
    for (row, column), count in np.ndenumerate(counts):
        share = f"{100 * shares[row, column]:.0f} %" if totals[row, 0] else "–"
        dark = shares[row, column] > 0.72
        axes.text(
            column, row, f"{count}\n{share}", ha="center", va="center", fontsize=7,
            color="white" if dark else "black",
        )  # fmt: skip
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for edge in range(1, max(counts.shape)):
        axes.axhline(edge - 0.5, color="white", linewidth=1.5)
        axes.axvline(edge - 0.5, color="white", linewidth=1.5)


_COLOURS = ScalarMappable(Normalize(-1, 1), colormaps["RdBu_r"])


def correlation_heat_maps(references: pd.DataFrame, predictions: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw the signed correlations as two heat maps with numbers, references left, predictions right.

    Args:
        references: `cardio_mlflow.analysis.agreement.correlation_matrix` of the references.
        predictions: the same of the predictions.
    """
    with styled():
        figure = new_figure(TWO_COLUMNS, TWO_COLUMNS * 0.53, synthetic=synthetic)
        row = figure.subplots(1, 2)
        for axes, table, name in zip(
            row, (references, predictions), ("references", "predictions"), strict=True
        ):
            axes.set_title(f"signed r between the {name}")
            _draw_numbers(axes, _matrix(table))
        for axes in row[1:]:
            axes.set_yticklabels([])
        bar = figure.colorbar(_COLOURS, ax=row, fraction=0.03, pad=0.01, shrink=0.8)
        bar.set_label("signed r (no unit)", fontsize=7)
        bar.outline.set_visible(False)
    return figure


def correlation_bubbles(references: pd.DataFrame, predictions: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw r as circles, area by |r|: references above the diagonal, predictions below it.

    Arguments as in `correlation_heat_maps`.
    """
    upper, lower = _matrix(references), _matrix(predictions)
    with styled():
        figure = new_figure(TWO_COLUMNS * 0.75, TWO_COLUMNS * 0.68, synthetic=synthetic)
        axes = figure.subplots()
        if not (np.isfinite(upper).any() or np.isfinite(lower).any()):
            say_empty(axes, "no correlation is defined")
            return figure
        values = np.where(np.triu(np.ones((len(KEYS), len(KEYS))), 1) > 0, upper, lower)
        _draw_circles(axes, values)
        axes.set_title("above the diagonal: references; below: predictions", loc="center")
        bar = figure.colorbar(_COLOURS, ax=axes, fraction=0.045, pad=0.02, shrink=0.8)
        bar.set_label("signed r (no unit); area: |r|", fontsize=7)
        bar.outline.set_visible(False)
    return figure


def _matrix(table: pd.DataFrame) -> NDArray[np.float64]:
    """Shape (9, 9) in table order, NaN for a parameter that does not occur."""
    return table.set_index("parameter").reindex(index=KEYS, columns=KEYS).to_numpy(np.float64)


def _draw_numbers(axes: Axes, values: NDArray[np.float64]) -> None:
    edges = np.arange(len(KEYS) + 1) - 0.5  # a mesh, since an image would make EPS files huge
    shown = np.ma.masked_invalid(values)
    axes.pcolormesh(edges, edges, shown, cmap=_COLOURS.cmap, vmin=-1, vmax=1)
    axes.set_facecolor("#EDEDED")
    axes.set_ylim(len(KEYS) - 0.5, -0.5)
    axes.set_aspect("equal")
    for (row, column), value in np.ndenumerate(values):
        axes.text(
            column, row, "n/a" if np.isnan(value) else signed(value), ha="center", va="center", fontsize=6.5,
            color="white" if abs(value) > 0.65 else "black",
        )  # fmt: skip
    axes.set_xticks(range(len(KEYS)), KEYS, fontsize=6.5, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(KEYS)), KEYS, fontsize=6.5)
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_visible(False)


def _draw_circles(axes: Axes, values: NDArray[np.float64]) -> None:
    size = len(KEYS)
    for edge in range(size + 1):
        axes.plot([edge - 0.5] * 2, [-0.5, size - 0.5], color=PALE, linewidth=0.4, zorder=0)
        axes.plot([-0.5, size - 0.5], [edge - 0.5] * 2, color=PALE, linewidth=0.4, zorder=0)
    circles, colours = [], []
    for (row, column), value in np.ndenumerate(values):
        if row == column:
            axes.text(row, row, KEYS[row], ha="center", va="center", fontsize=6.5)
        elif np.isnan(value):
            axes.text(column, row, "n/a", ha="center", va="center", fontsize=6.5)
        else:
            circles.append(Circle((column, row), 0.46 * np.sqrt(abs(value))))
            colours.append(_COLOURS.to_rgba(np.asarray(value)))
    axes.add_collection(PatchCollection(circles, facecolors=colours, edgecolors="#888888", linewidths=0.4))
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), xticks=[], yticks=[])
    axes.set_aspect("equal")
    axes.spines[:].set_visible(False)
