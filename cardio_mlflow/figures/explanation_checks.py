"""Whether the explanations can be trusted: deletion and insertion, and sanity checks."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cardio_mlflow.figures.style import (
    NEUTRAL,
    SERIES,
    TWO_COLUMNS,
    new_figure,
    parameter_page,
    say_empty,
    signed,
    styled,
)
from cardio_mlflow.parameters import KEYS, Parameter

_KINDS: Final = (("deletion", SERIES[0], "#C3D1E2"), ("insertion", SERIES[1], "#FAD3B9"))
"""Each kind of curve, its colour, and the colour of the band over random orders."""
_ORDERS: Final = (("random", "--", 0.9), ("attribution", "-", 1.5))
_ORDER_WORDS: Final = (
    "Solid: patches in the order of their attribution. Dashed: in random order, with its band over orders.\n"
    "1 is the whole prediction, 0 the baseline's."
)
_CURVES: Final = ("parameter", "order", "kind", "share", "value", "low", "high")
_CHECKS: Final = ("check", "parameter", "correlation")
_GOOD: Final = {"randomised weights": "near 0 is good", "small noise": "near 1 is good"}
"""What to wish for in a check's Spearman correlation."""


def deletion_insertion(curves: pd.DataFrame, *, synthetic: bool, note: str = "") -> Figure:
    """Draw what is left of the prediction as pixels are deleted or inserted: 3×3 axes.

    Solid lines take the pixels by attribution, dashed ones in random order, with their band where there is
    one. If the attribution is right, the solid deletion falls faster and the solid insertion rises faster.

    Args:
        curves: a row a point: parameter, order ("attribution" or "random"), kind ("deletion" or "insertion"),
            share (of the patches changed, 0 to 1), value (1: the whole prediction, 0: the baseline's), low
            and high (over random orders, NaN where there is none).
        note: one more line of the title; empty leaves it out.
    """
    table = curves.reindex(columns=list(_CURVES))
    with styled():
        return parameter_page(
            lambda axes, wanted: _draw_curves(axes, table[table["parameter"] == wanted.key], wanted),
            [Line2D([], [], color=colour, linewidth=1.5, label=kind) for kind, colour, _ in _KINDS],
            synthetic=synthetic,
            height=TWO_COLUMNS * 0.98,
            title=f"{_ORDER_WORDS}\n{note}".strip(),
        )


def sanity_bars(checks: pd.DataFrame, *, synthetic: bool, note: str = "") -> Figure:
    """Draw how alike the maps stay when the network's weights are randomised or the clip gets a little noise.

    Args:
        checks: a row a check and parameter: check ("randomised weights", "small noise" or another),
            parameter, correlation (Spearman's of the map with the original, −1 to 1; NaN: not defined).
        note: the title; empty leaves it out.
    """
    table = checks.reindex(columns=list(_CHECKS))
    table = table[table["correlation"].notna() & table["parameter"].isin(KEYS)]
    names = list(dict.fromkeys(table["check"]))
    with styled():
        figure = new_figure(TWO_COLUMNS, 2.9 if names else 2.0, synthetic=synthetic)
        axes = figure.subplots()
        if not names:
            say_empty(axes, "no check has a correlation")
            return figure
        width = 0.8 / len(names)
        for place, name in enumerate(names):
            rows = table[table["check"] == name].drop_duplicates("parameter").set_index("parameter")
            values = rows["correlation"].reindex(KEYS).to_numpy(np.float64)
            x = np.arange(len(KEYS)) + width * (place - (len(names) - 1) / 2)
            wish = f": {_GOOD[name]}" if name in _GOOD else ""
            label = f"{name}{wish} (median {signed(float(np.nanmedian(values)))})"
            axes.bar(x, np.nan_to_num(values), 0.92 * width, color=SERIES[place % len(SERIES)], label=label)
            _write_bars(axes, x, values)
        axes.axhline(0, color="black", linewidth=0.6)
        axes.set_xticks(range(len(KEYS)), KEYS)
        axes.tick_params(axis="x", length=0)
        lowest = float(np.nanmin(table["correlation"].to_numpy(np.float64), initial=0))
        axes.set(xlim=(-0.5, len(KEYS) - 0.5), ylim=(-1.15 if lowest < -0.12 else -0.25, 1.15))
        axes.set_yticks([tick for tick in (-1, -0.5, 0, 0.5, 1) if tick >= axes.get_ylim()[0]])
        axes.set_ylabel("Spearman's correlation\nwith the original map (no unit)")
        axes.set_title(note)
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def _draw_curves(axes: Axes, rows: pd.DataFrame, wanted: Parameter) -> None:
    """Draw one parameter's curves, attribution over random order, over the bands."""
    axes.set_title(wanted.key)
    rows = rows[rows["value"].notna() & rows["share"].notna()].sort_values("share", kind="stable")
    if rows.empty:
        say_empty(axes, "no curve")
        return
    for level in (0, 1):
        axes.axhline(level, color=NEUTRAL, linewidth=0.5, linestyle=":", zorder=1)
    for kind, colour, pale in _KINDS:
        for order, style, width in _ORDERS:
            found = rows[(rows["kind"] == kind) & (rows["order"] == order)]
            x, value, low, high = (
                found[name].to_numpy(np.float64) for name in ("share", "value", "low", "high")
            )
            if np.isfinite(low).any():
                axes.fill_between(x, low, high, color=pale, linewidth=0, zorder=1.5)
            marker = "o" if len(found) == 1 else ""
            axes.plot(x, value, color=colour, linestyle=style, linewidth=width, marker=marker, markersize=2.5)
    bottom, top = axes.get_ylim()
    axes.set(xlim=(0, 1), ylim=(min(bottom, -0.08), max(top, 1.08)))
    axes.set_xlabel("share of the patches changed", fontsize=7)
    axes.set_ylabel("share of the prediction", fontsize=7)


def _write_bars(axes: Axes, x: np.ndarray, values: np.ndarray) -> None:
    """Write each bar's number at its end, ``n/a`` where there is none."""
    for at, value in zip(x, values, strict=True):
        below = round(float(np.nan_to_num(value)), 2) < 0
        axes.annotate(
            "n/a" if np.isnan(value) else signed(float(value)), (at, np.nan_to_num(value)),
            (0, -1.5 if below else 1.5), textcoords="offset points", ha="center",
            va="top" if below else "bottom", fontsize=6.5,
        )  # fmt: skip
