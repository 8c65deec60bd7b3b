"""What tuning found, drawn by Optuna: losses by trial, epoch and setting, and which settings matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib import RcParams
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import library
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from optuna import Study
from optuna.importance import BaseImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import matplotlib as draw

from cardio_mlflow.figures.style import (
    NEUTRAL,
    PALE,
    SERIES,
    TWO_COLUMNS,
    fit_to_page,
    new_figure,
    say_empty,
    styled,
)

_OBJECTIVE: Final = "lowest validation loss,\nmean over folds (no unit)"
_STAR: Final[dict[str, Any]] = {"ls": "", "marker": "*", "c": SERIES[1], "ms": 11, "mec": "k", "zorder": 5}
_RING: Final[dict[str, Any]] = {"ls": "", "marker": "D", "mfc": "none", "ms": 7, "mec": "k", "zorder": 4}


@contextmanager
def _drawn_by_optuna() -> Iterator[None]:
    """Have Optuna draw in the project's style in place of ggplot, on no screen; pyplot keeps no figure."""
    backend, ggplot = plt.get_backend(), library["ggplot"]
    library["ggplot"] = RcParams()
    plt.switch_backend("agg")
    try:
        with styled():
            yield
    finally:
        plt.close("all")
        plt.switch_backend(backend)
        library["ggplot"] = ggplot


def tuning_history(study: Study, defaults: FrozenTrial | None, *, synthetic: bool) -> Figure:
    """Draw the objective by trial, the best so far, and that of the default settings dotted.

    Pruned trials stand at their last loss. Losses far above the others are off the scale, and counted.

    Args:
        study: with a complete trial.
        defaults: the complete trial of the default settings, where there is one.
        synthetic: whether the patients are synthetic.
    """
    with _drawn_by_optuna():
        axes = draw.plot_optimization_history(study, target_name=_OBJECTIVE)
        figure = _placed(TWO_COLUMNS, 3.3, synthetic=synthetic)
        marks, (best_so_far,) = axes.collections[0], axes.lines
        marks.set(color=SERIES[0], sizes=[20], label="complete", zorder=3)
        best_so_far.set(color=SERIES[1], alpha=1, drawstyle="steps-post", label="best so far")
        last = {t.number: t.intermediate_values[max(t.intermediate_values)] for t in _pruned(study)}
        if last:
            numbers, losses, label = list(last), list(last.values()), "pruned, at the last loss"
            axes.scatter(numbers, losses, marker="x", s=20, c="#888888", label=label)
        axes.plot(study.best_trial.number, study.best_value, label=f"best: {study.best_value:.4g}", **_STAR)
        if defaults is not None and defaults.value is not None:
            label = f"default settings: {defaults.value:.4g}"
            axes.axhline(defaults.value, color="black", lw=0.9, ls=":", zorder=1, label=label)
        _leave_out_the_worst(axes, [*_losses(study), *last.values()], defaults)
        axes.set(xlabel="trial (number)")
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
        figure.legend(loc="outside lower center", ncols=5)
        return figure


def tuning_importance(
    study: Study, importance: Mapping[str, float], evaluator: BaseImportanceEvaluator, *, synthetic: bool
) -> Figure:
    """Draw how much each setting matters for the objective: one bar per setting, the largest on top.

    Args:
        study: with enough complete trials, where there is an importance.
        importance: by setting; empty where it is not known.
        evaluator: that has found it.
        synthetic: whether the patients are synthetic.
    """
    size = TWO_COLUMNS * 0.75, 0.7 + 0.24 * max(len(importance), 3)
    with _drawn_by_optuna():
        if not importance:
            figure = new_figure(*size, synthetic=synthetic)
            say_empty(figure.subplots(), "too few trials to say which settings matter")
            return figure
        axes = draw.plot_param_importances(study, evaluator, list(importance))
        axes.set(xlabel="importance for the objective (share of 1, no unit)", ylabel="", xlim=(0, 1.05))
        for bar, label in zip(axes.patches, axes.texts, strict=True):
            bar.set_color(SERIES[0])
            label.set_text(f" {label.get_text()}")
        return _placed(*size, synthetic=synthetic)


def tuning_slices(
    study: Study, defaults: FrozenTrial | None, settings: Sequence[str], *, synthetic: bool
) -> Figure:
    """Draw the objective of complete trials against each setting, coloured by the trial's number.

    Arguments as in `tuning_history`; ``settings`` in the order of the panels.
    """
    with _drawn_by_optuna():
        draw.plot_slice(study, list(settings), target_name=_OBJECTIVE)
        figure = _placed(TWO_COLUMNS, 2.6, synthetic=synthetic)
        *panels, colours = figure.axes
        for axes in panels:
            name = axes.get_xlabel()
            axes.collections[0].set(sizes=[18], linewidths=0.4)
            axes.plot(study.best_trial.params[name], study.best_value, label="best", **_STAR)
            if defaults is not None and defaults.value is not None:
                axes.plot(defaults.params[name], defaults.value, label="default settings", **_RING)
            axes.set(xlabel=f"{name}\n(no unit)", ylabel=_OBJECTIVE if axes is panels[0] else "")
            axes.xaxis.set_major_locator(MaxNLocator(3))
            if axes.get_xscale() == "log":
                axes.xaxis.set(minor_locator=NullLocator(), major_formatter=FuncFormatter(_power))
                low, high = axes.get_xlim()
                axes.xaxis.set_major_locator(LogLocator(subs=(1,) if high > 50 * low else (1, 3), numticks=4))
        _leave_out_the_worst(panels[0], _losses(study), defaults)  # the others share its scale
        colours.set_ylabel("trial (number)")
        colours.yaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(handles=list(panels[0].lines), loc="outside lower center", ncols=2)
        return figure


def tuning_curves(study: Study, defaults: FrozenTrial | None, *, synthetic: bool) -> Figure:
    """Draw the validation loss of every trial by epoch, as far as trials are compared by it.

    Arguments as in `tuning_history`.
    """
    with _drawn_by_optuna():
        axes = draw.plot_intermediate_values(study)
        figure = _placed(TWO_COLUMNS, 3.3, synthetic=synthetic)
        best = study.best_trial.number
        for line in axes.lines:
            trial = str(line.get_label())
            line.set(c=PALE, lw=0.8, ms=2, alpha=1, label="_")
            if trial == f"Trial{best}":
                line.set(c=SERIES[1], lw=1.8, zorder=4, label=f"best: trial {best}")
            if defaults is not None and trial == f"Trial{defaults.number}":
                line.set(c="black", ls=":", lw=1.5, zorder=5, label="default settings")
        losses = [loss for t in study.get_trials(deepcopy=False) for loss in t.intermediate_values.values()]
        _leave_out_the_worst(axes, losses, None)
        axes.set(xlabel="epoch", ylabel="validation loss,\nmean over folds (no unit)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside lower center", ncols=2)
        return figure


def _placed(width: float, height: float, *, synthetic: bool) -> Figure:
    """The figure that Optuna has just drawn, in the page's size and layout, without its titles and legend."""
    figure = plt.gcf()
    figure.suptitle("")
    for axes in figure.axes:
        if legend := axes.get_legend():
            legend.remove()
        axes.set_title("")
        axes.set_title("", loc="left")
    return fit_to_page(figure, width, height, synthetic=synthetic)


def _pruned(study: Study) -> list[FrozenTrial]:
    """The trials that were pruned after an epoch."""
    pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    return [trial for trial in pruned if trial.intermediate_values]


def _losses(study: Study) -> list[float]:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial.value for trial in complete if trial.value is not None]


def _leave_out_the_worst(axes: Axes, losses: Sequence[float], defaults: FrozenTrial | None) -> None:
    """End the scale where a few losses, of rates that are far too high, would squeeze the others."""
    shown = pd.Series([loss for loss in losses if np.isfinite(loss)], dtype=np.float64)
    if shown.empty:
        return
    upper, least = float(shown.quantile(0.75)), float(shown.min())
    far = upper + 3 * max(upper - least, 0.1 * abs(upper))
    if defaults is not None and defaults.value is not None:
        far = max(far, defaults.value)
    if above := int((shown > far).sum()):
        top = shown[shown <= far].max()
        margin = 0.06 * ((top - least) or abs(top) or 1)
        axes.set_ylim(least - margin, top + margin)
        axes.set_title(f"{above} off the scale", loc="left", color=NEUTRAL)


def _power(value: float, _place: int) -> str:
    """A tick's number, such as ``3e−5``."""
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}".replace("-", "−")
