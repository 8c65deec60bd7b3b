"""Correlations between the parameters: of the references, and of the predictions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from cardio_mlflow.figures.style import PALE, TWO_COLUMNS, new_figure, say_empty, signed, styled
from cardio_mlflow.parameters import KEYS

_COLOURS = ScalarMappable(Normalize(-1, 1), colormaps["RdBu_r"])


def correlation_heat_maps(references: pd.DataFrame, predictions: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw the signed correlations as two heat maps with numbers, references left, predictions right.

    Args:
        references: `cardio_mlflow.analysis.correlation.correlation_matrix` of the references.
        predictions: the same of the predictions.
        synthetic: whether the patients are synthetic.
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
