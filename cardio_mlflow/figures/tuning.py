"""What tuning found: the objective by trial and by setting, and which settings matter."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cardio_mlflow.figures.style import NEUTRAL, PALE, SERIES, TWO_COLUMNS, new_figure, say_empty, styled

_SETTINGS: Final = ("task_lr", "vit_lr", "layer_decay", "weight_decay", "dropout")
_LOGARITHMIC: Final = ("task_lr", "vit_lr", "weight_decay")
_OBJECTIVE: Final = "lowest validation loss,\nmean over folds (no unit)"
_KINDS: Final = {"COMPLETE": "complete", "PRUNED": "pruned", "RUNNING": "running", "WAITING": "running"}
_STAR: Final[dict[str, Any]] = {"ls": "", "marker": "*", "c": SERIES[1], "ms": 11, "mec": "k", "zorder": 5}
_RING: Final[dict[str, Any]] = {"ls": "", "marker": "D", "mfc": "none", "ms": 7, "mec": "k", "zorder": 4}


def tuning_history(trials: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw the objective by trial, the best so far as steps, and that of the default settings dotted.

    Pruned trials stand at their last loss. Losses far above the others, and trials without one, stand above
    the line at the top.

    Args:
        trials: a row a trial: number, is_default, state (COMPLETE, PRUNED, FAIL, RUNNING), value (NaN unless
            complete) and last_loss.
        synthetic: whether the patients are synthetic.
    """
    table = _by_kind(trials)
    with styled():
        figure = new_figure(TWO_COLUMNS, 3.3, synthetic=synthetic)
        axes = figure.subplots()
        if table["loss"].isna().all():
            say_empty(axes, f"none of {len(table)} trials has a loss")
            return figure
        _draw_kinds(axes, table)
        complete, last = table[table["kind"] == "complete"], table["number"].max()
        if len(complete):
            steps = np.append(complete["y"].cummin(), complete["y"].min())
            numbers = np.append(complete["number"], last)
            axes.step(numbers, steps, where="post", color=SERIES[1], zorder=2, label="best so far")
        for number, loss in complete.nsmallest(1, "loss")[["number", "loss"]].to_numpy(np.float64):
            axes.plot(number, loss, label=f"best: trial {number:.0f}, {loss:.4g}", **_STAR)
        for loss in complete.loc[complete["is_default"], "loss"]:
            label = f"default settings, {loss:.4g}"
            axes.axhline(loss, color="black", linewidth=0.9, linestyle=":", zorder=1, label=label)
        _fit(axes, table)
        axes.set(xlabel="trial (number)", ylabel=_OBJECTIVE, xlim=(-0.5 - 0.02 * last, last * 1.02 + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
        figure.legend(loc="outside lower center", ncols=4)
    return figure


def _draw_kinds(axes: Axes, table: pd.DataFrame) -> None:
    """Draw a mark a trial, and say how many have a loss that is off the scale."""
    looks: dict[str, dict[str, Any]] = {
        "complete": {"c": SERIES[0], "edgecolors": "white", "linewidths": 0.3, "zorder": 3},
        "pruned": {"c": "#888888", "marker": "x"},
        "failed": {"c": "#CC3311", "marker": "X", "linewidths": 0},
        "running": {"c": "white", "edgecolors": NEUTRAL},
    }
    for kind, look in looks.items():
        rows = table[table["kind"] == kind]
        where = ", at the last loss" if kind == "pruned" else ""
        if len(rows):
            axes.scatter(rows["number"], rows["y"], s=20, label=f"{kind}{where} ({len(rows)})", **look)
    above = table["kind"].isin(["complete", "pruned"]) & (table["y"] != table["loss"])
    if above.any():
        axes.set_title(f"above the line: {above.sum()} off the scale or pruned without a loss", loc="right")


def tuning_importance(importance: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw how much each setting matters for the objective: a bar a setting, the largest on top.

    Args:
        importance: a row a setting: setting, importance (shares that sum to 1).
        synthetic: whether the patients are synthetic.
    """
    table = importance.reindex(columns=["setting", "importance"]).dropna().sort_values("importance")
    with styled():
        figure = new_figure(TWO_COLUMNS * 0.75, 0.7 + 0.24 * max(len(table), 3), synthetic=synthetic)
        axes = figure.subplots()
        if table.empty:
            say_empty(axes, "too few trials to tell which settings matter")
            return figure
        bars = axes.barh(range(len(table)), table["importance"], height=0.65, color=SERIES[0])
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=7)
        axes.set_yticks(range(len(table)), list(table["setting"]))
        axes.set(xlabel="importance for the objective (share of 1, no unit)", xlim=(0, 1.05))
    return figure


def tuning_slices(trials: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw the objective against each setting, complete trials coloured by their number.

    Arguments as in `tuning_history`; the trials have a column a setting, too.
    """
    table = _by_kind(trials)
    with styled():
        figure = new_figure(TWO_COLUMNS, 4.4, synthetic=synthetic)
        if not (table["kind"] == "complete").any():
            say_empty(figure.subplots(), f"none of {len(table)} trials is complete")
            return figure
        *panels, last = figure.subplots(2, 3).flat
        colours = ScalarMappable(Normalize(0, max(1, table["number"].max())), "viridis")
        for place, (axes, name) in enumerate(zip(panels, _SETTINGS, strict=True)):
            _draw_slice(axes, table, name, colours)
            axes.set(xlabel=f"{name} (no unit)", ylabel="" if place % 3 else _OBJECTIVE)
            axes.tick_params(labelleft=place % 3 == 0)
        last.set_axis_off()
        last.legend(*panels[0].get_legend_handles_labels(), loc="upper left")
        last.text(0, 0.3, "above a line: off the scale,\nor pruned without a loss", fontsize=6.5)
        strip, words = last.inset_axes((0, 0.1, 0.9, 0.06)), "number of a complete trial"
        figure.colorbar(colours, cax=strip, orientation="horizontal", label=words).outline.set_visible(False)
    return figure


def _draw_slice(axes: Axes, table: pd.DataFrame, name: str, colours: ScalarMappable) -> None:
    """Draw one setting's panel; 0 has a place of its own at the left of a logarithmic axis."""
    complete, pruned = (table[table["kind"] == kind] for kind in ("complete", "pruned"))
    values = pd.concat([complete[name], pruned[name]]).dropna().to_numpy(np.float64)
    positive = values[values > 0]
    if name in _LOGARITHMIC and positive.size:
        zero = {"linthresh": positive.min(), "linscale": 0.5} if positive.size < values.size else {}
        axes.set_xscale("symlog" if zero else "log", **zero)
    axes.scatter(pruned[name], pruned["y"], s=14, c="#999999", marker="x", linewidths=0.8, label="pruned")
    rgba = colours.to_rgba(complete["number"].to_numpy())
    axes.scatter(complete[name], complete["y"], s=18, c=rgba, ec="white", lw=0.3, zorder=3, label="complete")
    best, default = complete.nsmallest(1, "loss"), complete[complete["is_default"]]
    axes.plot(best[name], best["y"], label="best", **_STAR)
    axes.plot(default[name], default["y"], label="default settings", **_RING)
    ticks = _ticks(values, name)
    axes.set_xticks(ticks, [_label(tick) for tick in ticks])
    axes.minorticks_off()
    _fit(axes, pd.concat([complete, pruned]))


def tuning_parallel(trials: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw each complete trial as a line over the settings and the objective, coloured by the objective.

    Arguments as in `tuning_slices`.
    """
    table = _by_kind(trials).query("kind == 'complete'").sort_values("loss", kind="stable")[::-1]
    with styled():
        figure = new_figure(TWO_COLUMNS, 3.5, synthetic=synthetic)
        axes = figure.subplots()
        if table.empty:
            say_empty(axes, f"none of {len(trials)} trials is complete")
            return figure
        inside = table["y"] == table["loss"]
        shown = table["loss"].clip(upper=table.loc[inside, "loss"].max())
        if not inside.all():
            axes.set_title(f"at the top: {(~inside).sum()} with an objective off the scale", loc="right")
        columns = [*(table[name] for name in _SETTINGS), shown.rename("objective")]
        heights = np.column_stack([_draw_scale(axes, i, values) for i, values in enumerate(columns)])
        colours = ScalarMappable(Normalize(shown.min(), max(shown.max(), shown.min() + 1e-3)), "viridis")
        lines = [np.column_stack([range(len(columns)), line]) for line in heights]
        rgba = colours.to_rgba(shown.to_numpy(np.float64))
        axes.add_collection(LineCollection(lines, colors=rgba, linewidths=0.7))
        axes.plot(heights[-1], color="black", linewidth=4, zorder=3)
        label = f"best: trial {table['number'].iloc[-1]:.0f}"
        axes.plot(heights[-1], color=rgba[-1], linewidth=2.6, zorder=3, label=label)
        for line in heights[table["is_default"].to_numpy(bool)]:
            axes.plot(line, c=SERIES[1], ls="--", lw=1.8, zorder=4, label="default settings")
        axes.set_xticks(range(len(columns)), [f"{values.name}\n(no unit)" for values in columns])
        axes.set(yticks=[], xlim=(-0.5, len(columns) - 0.9), ylim=(-0.05, 1.05))
        axes.spines[:].set_visible(False)
        bar = figure.colorbar(colours, ax=axes, aspect=30, label=f"objective: {_OBJECTIVE}")
        bar.outline.set_visible(False)
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def _draw_scale(axes: Axes, place: int, values: pd.Series) -> NDArray[np.float64]:
    """Draw one upright axis with its ticks; returns the heights, 0 to 1, of ``values``: shape (n,)."""
    finite = values.dropna().to_numpy(np.float64)
    ticks = _ticks(finite, str(values.name))
    both = np.array([*values, *ticks], np.float64)
    if values.name in _LOGARITHMIC and (finite > 0).any():
        both = np.log10(np.where(both <= 0, finite[finite > 0].min() / 3, both))
    low, high = np.nanmin(both, initial=np.inf), np.nanmax(both, initial=-np.inf)
    heights = (both - low) / (high - low) if high > low else both * 0 + 0.5
    axes.axvline(place, color=NEUTRAL, linewidth=0.8, zorder=2)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
    for tick, height in zip(ticks, heights[len(values) :], strict=True):
        axes.text(place - 0.05, height, _label(tick), ha="right", va="center", zorder=5, bbox=box, size=6.5)
        axes.plot(place, height, marker="_", color="black", zorder=5)
    return heights[: len(values)]


def _by_kind(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials by number, with kind, loss (the objective, or the last loss if pruned) and y, where it is drawn.

    A complete trial without a finite objective counts as failed. Losses of more than three times the third
    quartile's distance from the best, and missing ones, are drawn in one row above the others.
    """
    table = trials.reindex(columns=["number", "state", "is_default", "value", "last_loss", *_SETTINGS])
    table["is_default"] = table["is_default"].eq(True)
    table = table.sort_values("number", ignore_index=True).replace([np.inf, -np.inf], np.nan)
    kind = table["state"].where(table["value"].notna() | (table["state"] != "COMPLETE"))
    kind = kind.map(_KINDS).fillna("failed")
    last = table["last_loss"].where(kind == "pruned")
    loss = table["value"].where(kind == "complete", last).astype(np.float64)
    judged = loss[kind == "complete"] if (kind == "complete").any() else loss
    upper, least = judged.quantile(0.75), judged.min()
    far = upper + 3 * max(upper - least, 0.1 * abs(upper))
    top = loss[(loss <= far) | ((kind == "complete") & table["is_default"])].max()
    y = loss.where(loss <= top, top + 0.14 * ((top - loss.min()) or abs(top) or 1))
    return table.assign(kind=kind, loss=loss, y=y)


def _fit(axes: Axes, table: pd.DataFrame) -> None:
    """Fit an axes to the losses, and draw a line between them and those in the row above, if any."""
    inside = table["y"] == table["loss"]
    low, top = table["loss"].min(), table.loc[inside, "y"].max()
    tenth = ((top - low) or abs(top) or 1) / 10
    axes.axhline(top + 0.8 * tenth, color=PALE, linewidth=0.5, zorder=0)
    axes.set_ylim(low - 0.7 * tenth, top + (0.7 if inside.all() else 2.1) * tenth)


def _ticks(values: NDArray[np.float64], name: str) -> list[float]:
    """A few round values within a setting's ``values`` (n,), or the lowest and the highest of them."""
    if len(set(values)) < 2:
        return [float(value) for value in values[:1]]
    least, high, zero = float(values.min()), float(values.max()), []
    if name in _LOGARITHMIC and high > 0:
        least, zero = float(values[values > 0].min()), [0.0] if least <= 0 else []
        steps = [float(f"{digit}e{power}") for power in range(-12, 4) for digit in (1, 2, 5)]
        powers = [step for step in steps[::3] if least <= step <= high]
        found = powers if len(powers) > 1 else steps
    else:
        found = [round(tick, 12) for tick in MaxNLocator(4).tick_values(least, high)]
    inside = [tick for tick in found if least <= tick <= high]
    return zero + (inside[:: -(-len(inside) // 4)] if len(inside) > 1 else sorted({least, high}))


def _label(value: float) -> str:
    """A tick's number, such as ``3e−5`` or ``0.15``."""
    mantissa, exponent = f"{value:.1e}".split("e")
    small = value != 0 and int(exponent) < -3
    return (f"{float(mantissa):g}e{int(exponent)}" if small else f"{value:.3g}").replace("-", "−")
