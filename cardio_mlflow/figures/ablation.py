"""What the parts of the network are worth: variants beside each other, and their differences."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cardio_mlflow.figures.style import (
    NEUTRAL,
    PARAMETER_COLOURS,
    SERIES,
    TWO_COLUMNS,
    new_figure,
    say_empty,
    signed,
    styled,
    with_interval,
)
from cardio_mlflow.parameters import KEYS

COLUMNS: Final = (*KEYS, "mean")
PLACES: Final = np.array([*range(len(KEYS)), len(KEYS) + 0.3])
"""Where the nine parameters and, set apart, their mean stand along x."""
_R: Final = ("r", "r_low", "r_high")
_MAE: Final = ("mae", "mae_low", "mae_high")
_VARIANTS: Final = ("variant", "parameter", "n", "r_seed_sd", *_R, *_MAE)
_R_GAIN: Final = ("r_difference", "r_low", "r_high", "r_p_holm")
_MAE_GAIN: Final = ("mae_difference", "mae_low", "mae_high", "mae_p_holm")
DIFFERENCES: Final = ("variant", "against", "parameter", *_R_GAIN, *_MAE_GAIN)
"""The columns that are drawn; a table without them counts as empty."""
_COLOURS: Final = colormaps["cividis"].with_extremes(bad="#EDEDED")

Floats = NDArray[np.float64]


def ablation_means(variants: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw mean r (left) and mean MAE in SDs (right) with 95 % intervals, a row a variant.

    A dotted line stands at the value of "full"; a pale bar is r ± its SD over seeds.

    Args:
        variants: a row a variant and parameter: variant, parameter (a key or "mean"), n, r, r_low, r_high,
            r_seed_sd, mae, mae_low, mae_high. Only the rows "mean" are drawn, in their order.
    """
    rows = variants.reindex(columns=list(_VARIANTS))
    rows = rows[rows["parameter"] == "mean"]
    with styled():
        height = 1.2 + row_pitch(rows["variant"], 0.24) * max(len(rows), 2)
        figure = new_figure(TWO_COLUMNS, height, synthetic=synthetic)
        if not np.isfinite(rows[["r", "mae"]].to_numpy(np.float64)).any():
            say_empty(figure.subplots(), "no variant has a mean over the parameters")
            return figure
        left, right = figure.subplots(1, 2)
        sd = rows["r_seed_sd"].to_numpy(np.float64)
        if np.isfinite(sd).any():
            bars = left.hlines(range(len(rows)), rows["r"] - sd, rows["r"] + sd, color="#BBCCEE", zorder=1.5)
            bars.set(linewidth=7, label="± SD over seeds (r)")
        for axes, columns in ((left, _R), (right, _MAE)):
            _draw_rows(axes, rows, columns, SERIES[0], named=axes is left)
            for full in rows.loc[rows["variant"] == "full", columns[0]].dropna():
                axes.axvline(full, color=NEUTRAL, linewidth=0.8, linestyle=":", zorder=1, label="full")
        left.set(xlabel="mean r (no unit), higher is better", title=f"signed r, {_patients(rows)}")
        right.set(xlabel="mean MAE (SD of the references), lower is better", title="mean absolute error")
        dots = Line2D([], [], color=SERIES[0], marker="o", markersize=4, label="95 % interval")
        handles = [dots, *left.get_legend_handles_labels()[0]]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def ablation_heat_map(variants: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw signed r as colour and number, variants by parameters, with the mean set apart.

    Below each number stands its 95 % interval; the best of each column is bold.

    Args:
        variants: as in `ablation_means`; all rows are drawn.
    """
    table = variants.reindex(columns=list(_VARIANTS))
    names = list(dict.fromkeys(table["variant"]))
    cells = pd.MultiIndex.from_product([names, COLUMNS])
    found = table.set_index(["variant", "parameter"]).reindex(cells)[list(_R)]
    grid = found.to_numpy(np.float64).reshape(-1, len(COLUMNS), 3)
    with styled():
        figure = new_figure(TWO_COLUMNS, 1.1 + 0.44 * max(len(names), 1), synthetic=synthetic)
        axes = figure.subplots()
        if not np.isfinite(grid[..., 0]).any():
            say_empty(axes, "no correlation is defined")
            return figure
        colours = Normalize(min(0.0, float(np.nanmin(grid[..., 0]))), 1)
        _draw_cells(axes, grid, colours)
        axes.set_xticks(PLACES, COLUMNS)
        axes.set_yticks(range(len(names)), variant_names(names))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        title = f"signed r and its 95 % interval, {_patients(table)}; bold: best of a column"
        axes.set(ylim=(len(names) - 0.5, -0.5), title=title)
        scale = ScalarMappable(colours, _COLOURS)
        bar = figure.colorbar(scale, ax=axes, location="bottom", shrink=0.5, pad=0.02, aspect=40)
        bar.set_label("signed r (no unit)", fontsize=7)
        bar.outline.set_visible(False)
    return figure


def ablation_improvement(differences: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw what each variant gains over "no_attention": mean r and MAE, below them r of each parameter.

    Dots are differences with 95 % intervals; filled ones have p < 0.05 after Holm's correction (of r or MAE).

    Args:
        differences: a row a variant, the one it is set against, and parameter: variant, against, parameter,
            r_difference (variant minus against), r_low, r_high, r_p_holm, and the same of the MAE.
    """
    table = differences.reindex(columns=list(DIFFERENCES))
    rows = table[table["against"] == "no_attention"]
    order = list(dict.fromkeys(rows["variant"]))
    large, small = (0.62 + row_pitch(order, pitch) * max(len(order), 2) for pitch in (0.2, 0.14))
    with styled():
        figure = new_figure(TWO_COLUMNS, large + 3 * small + 0.25 if order else 2.0, synthetic=synthetic)
        if not order:
            say_empty(figure.subplots(), "no variant was set against no_attention")
            return figure
        parts = figure.subfigures(2, 1, squeeze=False, height_ratios=[large, 3 * small + 0.2])
        left, right = parts[0, 0].subplots(1, 2)
        _draw_rows(left, _of(rows, "mean", order), _R_GAIN, "black", named=True)
        _draw_rows(right, _of(rows, "mean", order), _MAE_GAIN, "black", named=False)
        left.set(title="mean over parameters, variant − no_attention", xlabel="difference in r (no unit)")
        right.set(title="the same, of the MAE: below 0 is better", xlabel="difference in MAE (SD)")
        spans = rows.loc[rows["parameter"] != "mean", list(_R_GAIN[:3])].to_numpy(np.float64)
        limits = np.nanmin(spans, initial=-0.02) - 0.01, np.nanmax(spans, initial=0.02) + 0.01
        for place, (axes, key) in enumerate(zip(parts[1, 0].subplots(3, 3).flat, KEYS, strict=True)):
            found, colour = _of(rows, key, order), PARAMETER_COLOURS[key]
            _draw_rows(axes, found, _R_GAIN, colour, named=place % 3 == 0, small=True)
            axes.set(title=key, xlim=limits)
        parts[1, 0].supxlabel("difference in r (no unit), variant − no_attention", fontsize=8)
        figure.legend(handles=holm_handles(), loc="outside lower center", ncols=2)
    return figure


def variant_names(variants: Iterable[str]) -> list[str]:
    r"""Names for an axis: a long one goes on in a second line after an underscore.

    >>> variant_names(["full", "a4c_only_four_frames"])
    ['full', 'a4c_only_four_\nframes']
    """
    lines = (textwrap.wrap(name.replace("_", "_ "), 18, max_lines=2, placeholder="…") for name in variants)
    return ["\n".join(parts).replace("_ ", "_") for parts in lines]


def row_pitch(variants: Iterable[str], height: float) -> float:
    """Height of a row in inches: as given, and more when a name has two lines."""
    return max([height, *(0.23 for name in variant_names(variants) if "\n" in name)])


def _of(rows: pd.DataFrame, key: str, order: list[str]) -> pd.DataFrame:
    """The rows of one parameter, one for each variant of ``order``; NaN where there is none."""
    return pd.DataFrame({"variant": order}).merge(rows[rows["parameter"] == key], how="left", on="variant")


def _draw_rows(
    axes: Axes, rows: pd.DataFrame, columns: Sequence[str], colour: str, *, named: bool, small: bool = False
) -> None:
    """Draw a dot and its interval in each row; the numbers beside them unless the axes are small."""
    spans = rows[list(columns[:3])].to_numpy(np.float64)
    if np.isfinite(spans[:, 0]).any():
        filled = np.ones(len(rows), np.bool_)
        if len(columns) > 3:
            filled = rows[columns[3]].to_numpy(np.float64) < 0.05
            axes.axvline(0, color=NEUTRAL, linewidth=0.7, zorder=1)
        draw_spans(axes, np.arange(float(len(rows))), spans, filled, colour)
        axes.locator_params(axis="x", nbins=5)
        axes.grid(axis="y", color="#EEEEEE", linewidth=0.6)
        for place, span in enumerate([] if small else spans):
            beside = axes.get_yaxis_transform()
            axes.text(
                1.02,
                place,
                with_interval(*span, undefined="n/a"),
                transform=beside,
                va="center",
                fontsize=6.5,
            )
    else:
        say_empty(axes, "not defined")
    names = variant_names(rows["variant"]) if named else [""] * len(rows)
    axes.set_yticks(range(len(rows)), names, fontsize=6.5 if small else 7)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def draw_spans(
    axes: Axes, places: Floats, spans: Floats, filled: NDArray[np.bool_], colour: str,
    marker: str = "o", *, upright: bool = False,
) -> None:  # fmt: skip
    """Draw dots at ``places`` (n,) with value, low and high (n, 3); those not filled are white inside."""
    lines = axes.vlines if upright else axes.hlines
    whole = np.isfinite(spans).all(1)
    lines(places[whole], spans[whole, 1], spans[whole, 2], color=colour, linewidth=1.3, zorder=2)
    faces = [colour if full else "white" for full in filled]
    x, y = (places, spans[:, 0]) if upright else (spans[:, 0], places)
    axes.scatter(x, y, s=18, c=faces, marker=marker, edgecolors=colour, linewidths=1, zorder=3)


def _draw_cells(axes: Axes, grid: Floats, colours: Normalize) -> None:
    """Draw cells (variants, parameters and mean, value and interval) with their numbers."""
    rows = np.arange(len(grid) + 1) - 0.5  # meshes, since an image would make EPS files huge
    for part in (slice(0, len(KEYS)), slice(len(KEYS), None)):
        edges = np.append(PLACES[part] - 0.5, PLACES[part][-1] + 0.5)
        axes.pcolormesh(edges, rows, np.ma.masked_invalid(grid[:, part, 0]), cmap=_COLOURS, norm=colours)
    best = np.max(np.nan_to_num(grid[..., 0], nan=-np.inf), axis=0)
    for (row, column), value in np.ndenumerate(grid[..., 0]):
        ink = "white" if float(colours(np.nan_to_num(value, nan=1.0))) < 0.55 else "black"
        number = "n/a" if np.isnan(value) else signed(value)
        weight = "bold" if value == best[column] and len(grid) > 1 else "normal"
        x, (low, high) = float(PLACES[column]), grid[row, column, 1:]
        axes.text(x, row - 0.04, number, ha="center", va="bottom", color=ink, fontweight=weight)
        if np.isfinite(low) and np.isfinite(high):
            interval = f"{signed(low)}, {signed(high)}" if high >= 0 else f"{signed(low)},\n{signed(high)}"
            axes.text(x, row + 0.04, interval, ha="center", va="top", color=ink, fontsize=6.5)


def _patients(rows: pd.DataFrame) -> str:
    """Number of patients, as a span when it differs."""
    low, high = rows["n"].min(), rows["n"].max()
    return f"n = {low:.0f} patients" if low == high else f"n = {low:.0f} to {high:.0f} patients"


def dot(label: str, colour: str, marker: str = "o", *, filled: bool = True) -> Line2D:
    """A legend's entry for the dots of `draw_spans`."""
    return Line2D(
        [], [], linestyle="", label=label, marker=marker, markersize=4.5, markeredgecolor=colour,
        markerfacecolor=colour if filled else "white",
    )  # fmt: skip


def holm_handles() -> list[Line2D]:
    """A legend's entries that tell filled dots from hollow ones."""
    return [dot("p < 0.05 after Holm", NEUTRAL), dot("p ≥ 0.05, or not tested", NEUTRAL, filled=False)]
