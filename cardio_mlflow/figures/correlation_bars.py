"""Signed r of each parameter with its interval, cohorts beside each other, and the ceiling."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cardio_mlflow.figures.style import NEUTRAL, PARAMETER_COLOURS, TWO_COLUMNS, new_figure, signed, styled
from cardio_mlflow.parameters import KEYS

_HATCHES = ("", "////", "....")


def correlation_bars(
    performances: Mapping[str, pd.DataFrame], ceiling: Mapping[str, float] | None = None, *, synthetic: bool
) -> Figure:
    """Draw r of each parameter with its interval.

    Args:
        performances: name (such as "Cohort I") to performance table, one to three of them.
        ceiling: the best r that the data allow, by parameter key, drawn as a mark; None when unknown.
        synthetic: whether the patients are synthetic.
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
