"""How much of each view the network takes: one patient's weights, and those of a cohort."""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cardio_mlflow.figures.frame_attention import VIEW_COLOURS, Floats, Mask, count_of
from cardio_mlflow.figures.style import BAND, NEUTRAL, ONE_COLUMN, new_figure, say_empty, signed, styled
from cardio_mlflow.parameters import VIEWS

_NAMES: Final = tuple(view.name for view in VIEWS)
_SPREAD: Final = 0.28
"""How far from a view's place the dots of a cohort may stand."""


def view_fusion(view_weights: Floats, alpha: float, present: Mask, *, synthetic: bool) -> Figure:
    """Draw one patient's weight of each view as bars with their numbers.

    The band is what each view has from the mean over views, (1 − α) / views present; the dotted line is equal
    weights.

    Args:
        view_weights: (V,) weights, which sum to 1 over the views present.
        alpha: share of attention, 0 to 1.
        present: (V,) whether the patient has the view.
    """
    drawn = present & np.isfinite(view_weights)
    with styled():
        figure = new_figure(ONE_COLUMN, 2.5, synthetic=synthetic)
        axes = figure.subplots()
        if not drawn.any():
            say_empty(axes, "no view has a weight")
            return figure
        places, count = np.flatnonzero(drawn), int(present.sum())
        _draw_mean(axes, alpha, count)
        colours = [VIEW_COLOURS[place] for place in places]
        axes.bar(places, view_weights[drawn], width=0.5, color=colours, zorder=2)
        for place in range(len(VIEWS)):
            weight = float(view_weights[place]) if drawn[place] else 0.0
            words = signed(weight) if drawn[place] else f"no {_NAMES[place]}"
            axes.annotate(
                words, (place, weight), (0, 2), textcoords="offset points", ha="center", va="bottom",
                fontsize=7, color="black" if drawn[place] else NEUTRAL,
            )  # fmt: skip
        _finish(axes, max(float(view_weights[drawn].max()), 1 / count), list(_NAMES))
        handles = [_mean_handle(alpha), _equal_handle(f", 1 / {count}")]
        figure.legend(handles=handles, loc="outside lower center")
    return figure


def cohort_view_fusion(view_weights: Floats, present: Mask, alpha: float, *, synthetic: bool) -> Figure:
    """Draw a cohort's weights of each view: a dot a patient, boxes of quartiles with the median's number.

    Dots of patients who lack a view are hollow, since their weights share out over fewer views; a dotted line
    stands at the equal weights of each number of views that occurs. The band is that of `view_fusion`.

    Args:
        view_weights: (N, V) weights, which sum to 1 over a patient's views.
        present: (N, V) whether a patient has the view.
        alpha: share of attention, 0 to 1.
    """
    drawn = present & np.isfinite(view_weights)
    counts = present.sum(axis=1)
    with styled():
        figure = new_figure(ONE_COLUMN, 3.6, synthetic=synthetic)
        axes = figure.subplots()
        if not drawn.any():
            say_empty(axes, "no view has a weight")
            return figure
        _draw_mean(axes, alpha, *np.unique(counts[drawn.any(axis=1)]).tolist())
        for view in np.flatnonzero(drawn.any(axis=0)):
            rows = drawn[:, view]
            _draw_patients(axes, int(view), view_weights[rows, view], counts[rows] == len(VIEWS))
        numbers = drawn.sum(axis=0)
        _finish(
            axes, float(view_weights[drawn].max()),
            [f"{name}\nn = {n}" if n else f"no {name}" for name, n in zip(_NAMES, numbers, strict=True)],
        )  # fmt: skip
        axes.set_title(count_of(int(drawn.any(axis=1).sum()), "patient"))
        fewer = bool((counts[drawn.any(axis=1)] < len(VIEWS)).any())
        figure.legend(handles=_cohort_handles(alpha, fewer), loc="outside lower center")
    return figure


def _draw_patients(axes: Axes, view: int, weights: Floats, whole: Mask) -> None:
    """Draw one view's dots and, over them, the box (quartiles, 10–90 % whiskers) of more than one."""
    colour = VIEW_COLOURS[view]
    faces, edges = np.where(whole[:, None], [[colour, "white"]], [["white", colour]]).T
    places = view + _SPREAD * _spread(len(weights))
    axes.scatter(places, weights, s=11, c=faces, edgecolors=edges, linewidths=0.6, zorder=2)
    low, lower, median, upper, high = np.quantile(weights, (0.1, 0.25, 0.5, 0.75, 0.9))
    if len(weights) > 1:
        left, right = view - _SPREAD, view + _SPREAD
        corners = [left, right, right, left, left], [lower, lower, upper, upper, lower]
        axes.plot(*corners, color="black", linewidth=0.9, zorder=3)
        axes.vlines([view, view], [low, upper], [lower, high], color="black", linewidth=0.9, zorder=3)
    axes.hlines(median, view - _SPREAD, view + _SPREAD, color="black", linewidth=1.8, zorder=4)
    axes.text(
        view + _SPREAD + 0.03, median, signed(float(median)), va="center", fontsize=6.5, fontweight="bold"
    )


def _spread(count: int) -> Floats:
    """Numbers over −1 to 1 in no visible order, the same each time (golden ratio); 0 for one."""
    return 2 * ((np.arange(count) * 0.6180339887498949 + 0.5) % 1) - 1


def _draw_mean(axes: Axes, alpha: float, *counts: int) -> None:
    """Draw the mean's band for the largest number of views, and equal weights for each."""
    axes.axhspan(0, (1 - alpha) / max(counts), color=BAND, linewidth=0, zorder=0)
    for count in counts:
        axes.axhline(1 / count, color=NEUTRAL, linewidth=0.8, linestyle=":", zorder=1)
        if len(counts) > 1:
            beside = axes.get_yaxis_transform()
            axes.text(1.01, 1 / count, f"1 / {count}", transform=beside, va="center", fontsize=6.5)


def _finish(axes: Axes, top: float, names: list[str]) -> None:
    axes.set_xticks(range(len(VIEWS)), names)
    axes.tick_params(axis="x", length=0)
    axes.set(xlim=(-0.5, len(VIEWS) - 0.25), ylim=(0, 1.14 * top), ylabel="weight of a view (no unit)")


def _mean_handle(alpha: float) -> Patch:
    return Patch(color=BAND, label=f"mean, 1 − α = {signed(1 - alpha)}: equal for all views")


def _equal_handle(which: str = "") -> Line2D:
    return Line2D([], [], color=NEUTRAL, linewidth=0.8, linestyle=":", label=f"equal weights{which}")


def _cohort_handles(alpha: float, fewer: bool) -> list[Line2D | Patch]:
    def dots(label: str, face: str) -> Line2D:
        return Line2D(
            [], [], linestyle="", marker="o", markersize=4, markerfacecolor=face, markeredgecolor=NEUTRAL,
            label=label,
        )  # fmt: skip

    missing = [dots("a patient who lacks a view", "white")] if fewer else []
    return [
        dots("a patient", NEUTRAL),
        *missing,
        Line2D([], [], color="black", linewidth=1.8, label="median, quartiles, 10–90 %"),
        _equal_handle(),
        _mean_handle(alpha),
    ]
