"""Haemodynamic phenotypes: the reference's class against the prediction's."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cardio_mlflow.figures.matrices import draw_counts
from cardio_mlflow.figures.style import TWO_COLUMNS, new_figure, say_empty, signed, styled


def phenotype_matrix(
    phenotype_confusion: pd.DataFrame, phenotype_agreement: pd.DataFrame, *, synthetic: bool
) -> Figure:
    """Draw patients by class of reference and prediction, with accuracy and kappa in the title.

    Args:
        phenotype_confusion: `cardio_mlflow.analysis.phenotype.phenotype_confusion`'s result.
        phenotype_agreement: `cardio_mlflow.analysis.phenotype.phenotype_agreement`'s result, one row.
        synthetic: whether the patients are synthetic.
    """
    with styled():
        figure = new_figure(TWO_COLUMNS * 0.8, TWO_COLUMNS * 0.56, synthetic=synthetic)
        axes = figure.subplots()
        axes.set(xlabel="phenotype by prediction", ylabel="phenotype by reference")
        row = phenotype_agreement.iloc[0] if len(phenotype_agreement) else None
        if row is None or not row["n"]:
            reason = str(row["note"]) if row is not None else ""
            say_empty(axes, reason or "no patient with every reference that a phenotype needs")
            return figure
        classes = list(dict.fromkeys(phenotype_confusion["reference"]))
        counts = phenotype_confusion.pivot_table(index="reference", columns="prediction", values="n")
        counts = counts.reindex(index=classes, columns=classes)
        names = [name.replace(" ", "\n").replace("-cap", "-\ncap") for name in classes]
        draw_counts(axes, counts.to_numpy(np.float64).astype(np.int64), classes, names)
        axes.set_title(
            f"n = {row['n']}, accuracy {_with_interval(row, 'accuracy')}, "
            f"kappa {_with_interval(row, 'kappa')}\n"
            "patients, and percentage of the reference's row"
        )
    return figure


def _with_interval(row: pd.Series, name: str) -> str:
    if np.isnan(row[name]):
        return "not defined"
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    interval = "no interval" if np.isnan(low) else f"{signed(low)} to {signed(high)}"
    return f"{signed(row[name])} ({interval})"
