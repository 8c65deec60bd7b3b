"""Two-dimensional maps of the network's features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cardio_mlflow.figures.pairs import GROUPS, POINT_EDGE
from cardio_mlflow.figures.style import (
    NEUTRAL,
    PALE,
    SERIES,
    TWO_COLUMNS,
    new_figure,
    parameter_page,
    say_empty,
    signed,
    styled,
)
from cardio_mlflow.parameters import PULMONARY_HYPERTENSION, Parameter

_METHODS: Final = {"umap": "UMAP", "tsne": "t-SNE"}
_CLUSTERS: Final = {"kmeans": "KMeans", "dbscan": "DBSCAN"}
_MARKERS: Final = ("o", "^", "s", "D", "v", "P", "X", "<")


def embedding_overview(
    embedding: pd.DataFrame, predictions: pd.DataFrame, clusters: pd.DataFrame, *, synthetic: bool
) -> Figure:
    """Draw UMAP above t-SNE, coloured by pulmonary hypertension, by KMeans and by DBSCAN.

    Args:
        embedding: `cardio_mlflow.analysis.embedding.embed`'s result.
        predictions: a checked predictions table of one variant and cohort, for the references.
        clusters: `cardio_mlflow.analysis.embedding.cluster_table`'s result.
    """
    pressure = _reference(embedding, predictions, PULMONARY_HYPERTENSION.key)
    hypertension = np.where(np.isnan(pressure), np.nan, pressure > PULMONARY_HYPERTENSION.cutoff)
    with styled():
        figure = new_figure(TWO_COLUMNS, TWO_COLUMNS * 0.78, synthetic=synthetic)
        for row, method in zip(figure.subplots(2, 3), _METHODS, strict=True):
            _draw_hypertension(row[0], embedding, hypertension, method)
            row[0].set_title("pulmonary hypertension by reference")
            for axes, name in zip(row[1:], _CLUSTERS, strict=True):
                _draw_clusters(axes, embedding, method, name)
                axes.set_title(_cluster_title(clusters, name))
    return figure


def embedding_page(
    embedding: pd.DataFrame, predictions: pd.DataFrame, method: Literal["umap", "tsne"], *, synthetic: bool
) -> Figure:
    """Draw one map nine times, coloured by each parameter's reference, grey where it is missing.

    Args:
        embedding: `cardio_mlflow.analysis.embedding.embed`'s result.
        predictions: a checked predictions table of one variant and cohort, for the references.
        method: which map.
    """

    def draw(axes: Axes, wanted: Parameter) -> None:
        _draw_values(axes, embedding, _reference(embedding, predictions, wanted.key), method, wanted)

    with styled():
        shown = set(predictions["parameter"])
        return parameter_page(draw, synthetic=synthetic, height=TWO_COLUMNS * 0.92, shown=shown)


def _reference(embedding: pd.DataFrame, predictions: pd.DataFrame, key: str) -> NDArray[np.float64]:
    rows = predictions[predictions["parameter"] == key].set_index("patient_id")["reference"]
    return rows.reindex(embedding["patient_id"]).to_numpy(np.float64)


def _places(embedding: pd.DataFrame, method: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = (embedding[f"{method}_{axis}"].to_numpy(np.float64) for axis in (1, 2))
    return first, second


def _name_axes(axes: Axes, method: str) -> None:
    axes.set_xlabel(f"{_METHODS[method]} 1 (no unit)", fontsize=7)
    axes.set_ylabel(f"{_METHODS[method]} 2 (no unit)", fontsize=7)
    axes.locator_params(nbins=5)
    axes.margins(0.07)


def _legend(axes: Axes, entries: int) -> None:
    """Below the axes, so that it hides no patient."""
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=min(max(entries, 1), 3), fontsize=6.5,
        handletextpad=0.1, columnspacing=0.8, borderaxespad=0.0,
    )  # fmt: skip


def _draw_hypertension(
    axes: Axes, embedding: pd.DataFrame, hypertension: NDArray[np.float64], method: str
) -> None:
    x, y = _places(embedding, method)
    drawn = 0
    for value, name, marker, colour in GROUPS:
        chosen = np.isnan(hypertension) if np.isnan(value) else hypertension == value
        if chosen.any():
            drawn += 1
            axes.scatter(
                x[chosen], y[chosen], s=11, marker=marker, color=colour,
                label=f"{name} ({chosen.sum()})", **POINT_EDGE,
            )  # fmt: skip
    _name_axes(axes, method)
    _legend(axes, drawn)


def _draw_clusters(axes: Axes, embedding: pd.DataFrame, method: str, name: str) -> None:
    x, y = _places(embedding, method)
    labels = embedding[name].to_numpy(np.int64)
    found: Sequence[int] = sorted(set(labels.tolist()))
    for cluster in found:
        chosen = labels == cluster
        noise = cluster < 0
        axes.scatter(
            x[chosen], y[chosen], s=7 if noise else 11,
            marker="o" if noise else _MARKERS[cluster % len(_MARKERS)],
            color=PALE if noise else SERIES[cluster % 6],
            label=f"{'noise' if noise else cluster + 1} ({chosen.sum()})", **POINT_EDGE,
        )  # fmt: skip
    _name_axes(axes, method)
    if len(found) <= 9:
        _legend(axes, len(found))


def _cluster_title(clusters: pd.DataFrame, name: str) -> str:
    """The method, its clusters and its agreement with pulmonary hypertension."""
    rows = clusters[clusters["method"].str.lower().str.startswith(name)]
    if rows.empty:
        return _CLUSTERS[name]
    row = rows.iloc[0]
    count = int(row["clusters"])
    head = f"{_CLUSTERS[name]}: {count} cluster{'' if count == 1 else 's'}"
    agreement = "not defined" if np.isnan(row["ari_ph"]) else signed(row["ari_ph"])
    return f"{head}\nadjusted Rand with PH {agreement}"


def _draw_values(
    axes: Axes, embedding: pd.DataFrame, values: NDArray[np.float64], method: str, wanted: Parameter
) -> None:
    x, y = _places(embedding, method)
    known = np.isfinite(values)
    axes.set_title(f"{wanted.key}, n = {known.sum()}")
    if not known.any():
        say_empty(axes, "no reference")
        return
    axes.scatter(x[~known], y[~known], s=9, color=PALE, **POINT_EDGE)
    low, high = np.percentile(values[known], [2, 98])
    if low == high:
        low, high = low - 0.5, high + 0.5
    dots = axes.scatter(
        x[known], y[known], s=9, c=values[known], cmap="viridis", vmin=low, vmax=high, **POINT_EDGE
    )
    bar = axes.figure.colorbar(dots, ax=axes, fraction=0.06, pad=0.03, extend="both")
    bar.set_label(wanted.unit, fontsize=7)
    bar.ax.tick_params(labelsize=6.5, color=NEUTRAL)
    bar.outline.set_visible(False)
    _name_axes(axes, method)
