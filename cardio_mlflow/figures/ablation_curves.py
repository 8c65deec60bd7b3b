"""What each component adds, how the variants trained, and where their gates stand."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from scipy import stats

from cardio_mlflow.figures.ablation import (
    COLUMNS,
    DIFFERENCES,
    PLACES,
    dot,
    draw_spans,
    holm_handles,
    row_pitch,
    variant_names,
)
from cardio_mlflow.figures.style import (
    NEUTRAL,
    SERIES,
    STAGE_BAND,
    TWO_COLUMNS,
    new_figure,
    say_empty,
    signed,
    styled,
    with_interval,
)
from cardio_mlflow.figures.training_curves import draw_stages
from cardio_mlflow.parameters import KEYS

_COMPONENTS: Final = (
    ("no_temporal", "temporal attention", SERIES[0], "o"),
    ("no_fusion", "view fusion", SERIES[1], "s"),
    ("no_motion", "motion", SERIES[2], "^"),
    ("no_attention", "attention in both stages", SERIES[3], "D"),
)
"""The variant without it, the component in words, its colour and marker."""
_ACROSS: Final = 3
"""Panels beside each other."""
_FAR: Final = 20.0
"""A largest loss of more than this many times the smallest is drawn on a logarithmic axis."""
_THIN: Final = "#999999"
_INTERVAL: Final = "#BBCCEE"
_ATTENTION: Final = "0: mean alone, 1: attention alone"
_GATES: Final = {
    "alpha_temporal": ("temporal attention (over frames)", _ATTENTION),
    "alpha_fusion": ("view fusion (over views)", _ATTENTION),
    "alpha_motion": ("motion (over the cycle)", "0: none of it, 1: all of it"),
}
"""The gates by column: the path in words, and what its ends mean."""


def ablation_contributions(differences: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw what each component adds to r: "full" minus the variant without it, by parameter.

    A mark a parameter and component with its 95 % interval, filled where p < 0.05 after Holm's correction.

    Args:
        differences: as in `ablation_improvement`; its rows against "full" are drawn with the sign changed.
    """
    table = differences.reindex(columns=list(DIFFERENCES))
    rows = table[(table["against"] == "full") & table["r_difference"].notna()]
    with styled():
        present = [component for component in _COMPONENTS if component[0] in set(rows["variant"])]
        figure = new_figure(TWO_COLUMNS, 3.3 if present else 2.0, synthetic=synthetic)
        axes = figure.subplots()
        if not present:
            say_empty(axes, "no variant without a component was set against full")
            return figure
        handles = []
        shifts = 0.7 / max(len(present), 3) * (np.arange(len(present)) - (len(present) - 1) / 2)
        for shift, (without, words, colour, marker) in zip(shifts, present, strict=True):
            found = rows[rows["variant"] == without].set_index("parameter").reindex(COLUMNS)
            spans = -found[["r_difference", "r_high", "r_low"]].to_numpy(np.float64)
            significant = found["r_p_holm"].to_numpy(np.float64) < 0.05
            draw_spans(axes, PLACES + shift, spans, significant, colour, marker, upright=True)
            handles.append(dot(f"{words}, mean {with_interval(*spans[-1], undefined='n/a')}", colour, marker))
        axes.axhline(0, color=NEUTRAL, linewidth=0.7, zorder=1)
        axes.axvline(len(KEYS) - 0.35, color=NEUTRAL, linewidth=0.6, linestyle=":", zorder=1)
        axes.set_xticks(PLACES, COLUMNS)
        axes.set_xlim(-0.5, PLACES[-1] + 0.5)
        axes.set_ylabel("r of full − r without it (no unit)")
        figure.legend(
            handles=[*handles, *holm_handles()], loc="outside lower center", ncols=2 + (len(present) < 2)
        )
    return figure


def ablation_losses(history: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw the validation loss by epoch, a panel a variant, one loss axis for all.

    Thin lines are trainings (a fold and seed); the thick one is their mean with its 95 % interval (t), as far
    as every training goes. Every other unfreezing stage is shaded.

    Args:
        history: a row an epoch of each training: variant, fold, repeat, epoch, stage, val_loss.
    """
    table = history.reindex(columns=["variant", "fold", "repeat", "epoch", "stage", "val_loss"])
    finite = table[np.isfinite(table["val_loss"].to_numpy(np.float64))]
    names = list(dict.fromkeys(finite["variant"]))
    across, down = min(max(len(names), 1), _ACROSS), max(-(-len(names) // _ACROSS), 1)
    with styled():
        figure = new_figure(TWO_COLUMNS, 0.5 + max(1.75 * down, 2.2), synthetic=synthetic)
        panels = figure.subplots(down, across, sharey=True, squeeze=False)
        if not names:
            say_empty(panels[0, 0], "no training has a validation loss")
            return figure
        for place, axes in enumerate(panels.flat):
            axes.set_visible(place < len(names))
            if place < len(names):
                _draw_losses(axes, finite[finite["variant"] == names[place]])
                axes.set_xlabel("epoch")
                axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
        for axes in panels[:, 0]:
            axes.set_ylabel("validation loss\n(no unit)")
        _scale_losses(panels[0, 0], float(finite["val_loss"].min()), float(finite["val_loss"].max()))
        figure.legend(handles=_loss_handles(), loc="outside lower center", ncols=4)
    return figure


def _draw_losses(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw one variant's trainings, their mean and its interval; name and lowest mean in the title."""
    training = rows.groupby(["fold", "repeat"], dropna=False).ngroup()
    longest = rows[training == training.value_counts().idxmax()]
    draw_stages(axes, longest.assign(stage=longest["stage"].fillna(0)), numbered=False)
    table = rows.assign(training=training).pivot_table(index="epoch", columns="training", values="val_loss")
    epochs, count = table.index.to_numpy(np.float64), table.shape[1]
    mark = "o" if len(epochs) < 3 else ""
    axes.plot(epochs, table.to_numpy(np.float64), color=_THIN, linewidth=0.5, marker=mark, markersize=2)
    whole = table.dropna()
    mean = whole.mean(axis=1).to_numpy(np.float64)
    if count > 1:
        half = stats.t.ppf(0.975, count - 1) * whole.sem(axis=1).to_numpy(np.float64)
        axes.fill_between(whole.index, mean - half, mean + half, color=_INTERVAL, linewidth=0, zorder=1)
    axes.plot(whole.index, mean, color=SERIES[0], linewidth=1.8, marker=mark, markersize=3.5, zorder=3)
    lowest = f", lowest mean {signed(float(mean.min()), 3)}" if mean.size else ""
    trainings = f"{count} training{'s' if count > 1 else ''}"
    axes.set_title(f"{str(rows['variant'].iloc[0])[:40]}\n{trainings}{lowest}", fontsize=7)


def _scale_losses(axes: Axes, low: float, high: float) -> None:
    """Fit the loss axis to the trainings, not to their interval, which two trainings make very wide."""
    if low > 0 and high > _FAR * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.3, high * 1.3)
        return
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 0.1
    axes.set_ylim(low - margin, high + margin)


def _loss_handles() -> list[Artist]:
    return [
        Line2D([], [], color=_THIN, linewidth=0.5, label="a fold and seed"),
        Line2D([], [], color=SERIES[0], linewidth=1.8, label="mean"),
        Patch(color=_INTERVAL, label="95 % interval of the mean (t)"),
        Patch(color=STAGE_BAND, label="every other unfreezing stage"),
    ]


def ablation_alphas(alphas: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw alpha of each path: a row a variant that learned one, a dot a training.

    An alpha that is fixed (0: the mean alone, 1: attention alone) has one hollow dot. Motion has a panel
    where some variant has such a path.

    Args:
        alphas: a row a training: variant, fold, repeat, seed, alpha_temporal, alpha_fusion, alpha_motion; NaN
            where there is no such path.
    """
    table = alphas.reindex(columns=["variant", *_GATES])
    values = table[list(_GATES)].to_numpy(np.float64)
    learned = table[((values > 0) & (values < 1)).any(axis=1)]
    names = list(dict.fromkeys(learned["variant"]))
    with styled():
        height = 1.35 + row_pitch(names, 0.3) * max(len(names), 2)
        figure = new_figure(TWO_COLUMNS, height, synthetic=synthetic)
        if not names:
            say_empty(figure.subplots(), "no variant learns a gate")
            return figure
        shown = [column for column in _GATES if column != "alpha_motion" or table[column].notna().any()]
        for axes, column in zip(figure.subplots(1, len(shown)), shown, strict=True):
            words, ends = _GATES[column]
            for row, name in enumerate(names):
                _draw_alphas(axes, row, table.loc[table["variant"] == name, column])
            axes.axvline(0.5, color=NEUTRAL, linewidth=0.8, linestyle=":", zorder=1)
            axes.set(title=words, xlabel=f"alpha (no unit)\n{ends}")
            first = column == shown[0]
            axes.set_yticks(range(len(names)), variant_names(names) if first else [""] * len(names))
            axes.set(xlim=(-0.04, 1.04), ylim=(len(names) - 0.5, -0.5))
            axes.tick_params(axis="y", length=0)
        figure.legend(handles=_alpha_handles(), loc="outside lower center", ncols=4)
    return figure


def _draw_alphas(axes: Axes, row: int, alphas: pd.Series) -> None:
    """Draw one gate of one variant in a row, mean and SD (or what it is fixed at) at the right."""
    values = alphas.dropna().to_numpy(np.float64)
    fixed = values.size > 0 and values[0] in (0.0, 1.0) and bool((values == values[0]).all())
    if fixed:
        axes.scatter(values[0], row, s=18, c="white", edgecolors=SERIES[0], linewidths=1, clip_on=False)
        words = f"fixed at {values[0]:g}"
    elif values.size:
        spread = np.linspace(-0.2, 0.2, values.size) if values.size > 1 else np.zeros(1)
        axes.scatter(values, row + spread, s=14, c=SERIES[0], edgecolors="white", linewidths=0.3, zorder=3)
        axes.vlines(values.mean(), row - 0.32, row + 0.32, color="black", linewidth=1.4, zorder=4)
        words = signed(float(values.mean()))
        words += f" ± {signed(float(values.std(ddof=1)))}" if values.size > 1 else ""
    else:
        words = "no path" if alphas.name == "alpha_motion" else "n/a"
    axes.text(1.02, row, words, transform=axes.get_yaxis_transform(), va="center", fontsize=6.5)


def _alpha_handles() -> list[Line2D]:
    return [
        dot("learned, a fold and seed", SERIES[0]),
        dot("fixed", SERIES[0], filled=False),
        Line2D(
            [], [], color="black", linestyle="", marker="|", markersize=9, label="mean (± SD at the right)"
        ),
        Line2D([], [], color=NEUTRAL, linewidth=0.8, linestyle=":", label="at the start of training"),
    ]
