"""The figure of the known chambers: a ratio to chance a parameter, with its interval."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cardio_mlflow.figures.ablation import dot, draw_spans
from cardio_mlflow.figures.style import (
    NEUTRAL,
    SERIES,
    TWO_COLUMNS,
    new_figure,
    say_empty,
    signed,
    styled,
)

_CHAMBERS: Final = (
    "parameter", "chamber", "share", "area", "ratio", "ratio_low", "ratio_high", "ratio_strongest",
    "ratio_randomised",
)  # fmt: skip
_RATIOS: Final = ("ratio", "ratio_low", "ratio_high", "ratio_randomised", "ratio_strongest")
_CLEAR: Final = 3.0
"""A chamber with this many times its share of chance is clearly looked at."""


def chamber_shares(chambers: pd.DataFrame, *, synthetic: bool, note: str = "") -> Figure:
    """Draw how much more attribution lies on a parameter's chamber than chance puts there, a row each.

    A dot with its interval is the ratio of the chamber's share of attribution to its share of the sector; a
    hollow diamond is the same of a network with randomised weights. Lines stand at 1 (chance) and 3.

    Args:
        chambers: a row a parameter and chamber: parameter, chamber, share (of absolute attribution), area (of
            the sector), ratio, ratio_low, ratio_high, ratio_strongest, ratio_randomised.
        synthetic: whether the patients are synthetic.
        note: the title; empty leaves it out.
    """
    table = chambers.reindex(columns=list(_CHAMBERS))
    table = table[table["parameter"].notna()].reset_index(drop=True)
    numbers = table[list(_RATIOS)].to_numpy(np.float64)
    with styled():
        height = 1.15 + 0.22 * max(len(table), 3) if len(table) else 2.0
        figure = new_figure(TWO_COLUMNS, height, synthetic=synthetic)
        axes = figure.subplots()
        if not np.isfinite(numbers[:, [0, 3]]).any():
            say_empty(axes, "no chamber has a share of the attribution")
            return figure
        places = np.arange(float(len(table)))
        for at, style in ((1.0, "-"), (_CLEAR, ":")):
            axes.axvline(at, color=NEUTRAL, linewidth=0.8, linestyle=style, zorder=1)
        draw_spans(axes, places + 0.24, numbers[:, [3, 3, 3]], places < 0, NEUTRAL, "D")
        draw_spans(axes, places + 0.02, numbers[:, [4, 4, 4]], places < 0, SERIES[1], "^")
        draw_spans(axes, places - 0.2, numbers[:, :3], places >= 0, SERIES[0])
        axes.set_yticks(places, [f"{row.parameter}, {row.chamber}" for row in table.itertuples()])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", color="#EEEEEE", linewidth=0.6)
        top = float(np.nanmax(numbers, initial=_CLEAR))
        axes.set(ylim=(len(table) - 0.5, -0.5), xlim=(0, 1.06 * top))
        axes.set(title=note, xlabel="attribution on the chamber / its area: ratio to chance (no unit)")
        for place, row in zip(places, table.to_dict("records"), strict=True):
            beside = axes.get_yaxis_transform()
            axes.text(1.02, place, ratio_words(row), transform=beside, va="center", fontsize=6.5)
        figure.legend(handles=_chamber_handles(), loc="outside lower center", ncols=5)
    return figure


def ratio_words(row: dict[object, float]) -> str:
    """Text such as ``2.41 (1.90 to 2.88): 31 % on 13 % of the sector``."""
    if np.isnan(row["ratio"]):
        return "n/a"
    low, high = row["ratio_low"], row["ratio_high"]
    interval = "no interval" if np.isnan([low, high]).any() else f"{signed(low)} to {signed(high)}"
    shares = "" if np.isnan([row["share"], row["area"]]).any() else (
        f": {row['share']:.0%} on {row['area']:.0%} of the sector".replace("%", " %")
    )  # fmt: skip
    return f"{signed(row['ratio'])} ({interval}){shares}"


def _chamber_handles() -> list[Line2D]:
    return [
        dot("attribution, with interval", SERIES[0]),
        dot("its strongest tenth", SERIES[1], "^", filled=False),
        dot("randomised weights", NEUTRAL, "D", filled=False),
        Line2D([], [], color=NEUTRAL, linewidth=0.8, label="chance"),
        Line2D([], [], color=NEUTRAL, linewidth=0.8, linestyle=":", label="3 times chance"),
    ]
