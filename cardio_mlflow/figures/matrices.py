"""Matrices of counts with the percentage of their row, as classification and phenotypes need them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray


def draw_counts(axes: Axes, counts: NDArray[np.int64], rows: Sequence[str], columns: Sequence[str]) -> None:
    """Draw counts and row percentages, the darker the larger a cell's share of its row.

    Args:
        axes: empty.
        counts: patients, shape (rows, columns); row: the reference; column: the prediction.
        rows: the rows' names.
        columns: the columns' names.
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
