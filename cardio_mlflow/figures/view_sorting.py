"""How well views are suggested: labels against suggestions."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from cardio_mlflow.figures.correlation import draw_counts
from cardio_mlflow.figures.style import ONE_COLUMN, new_figure, styled
from cardio_mlflow.parameters import view_name


def view_confusion(confusion: pd.DataFrame, *, synthetic: bool) -> Figure:
    """Draw the labelled clips by label and by what was suggested for patients not seen in training.

    Args:
        confusion: `cardio_mlflow.data.sorting.suggestions.Suggestions.confusion`.
    """
    counts = confusion.to_numpy()
    names = [view_name(str(code)) for code in confusion.index]
    with styled():
        figure = new_figure(ONE_COLUMN, ONE_COLUMN * 0.95, synthetic=synthetic)
        axes = figure.subplots()
        draw_counts(axes, counts, names, names)
        total = int(counts.sum())
        share = f", {100 * counts.trace() / total:.1f} % suggested as labelled" if total else ""
        suggested = "suggested, from other patients' labels"
        axes.set(title=f"{total} clips{share}", xlabel=suggested, ylabel="labelled")
    return figure
