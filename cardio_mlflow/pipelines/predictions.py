"""Building the predictions table, and what every judged step logs from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cardio_mlflow.analysis.predictions import COLUMNS, check_predictions
from cardio_mlflow.analysis.summary import mean_correlation, performance_table
from cardio_mlflow.figures.bland_altman import bland_altman, bland_altman_page
from cardio_mlflow.figures.correlation_bars import correlation_bars
from cardio_mlflow.figures.scatter import scatter, scatter_page
from cardio_mlflow.parameters import KEYS, PARAMETERS
from cardio_mlflow.synthetic.ceiling import anatomical_ceiling
from cardio_mlflow.tracking.runs import Run

FloatArray = NDArray[np.float64]


def build_predictions(
    patients: Sequence[str],
    references: FloatArray,
    predictions: FloatArray,
    *,
    cohort: str,
    variant: str,
    fold: int | None = None,
) -> pd.DataFrame:
    """The predictions table of one model.

    Args:
        patients: N ids.
        references: (N, 9) in the units of the parameter table, NaN where missing.
        predictions: (N, 9) in the same units.
        cohort: I or II.
        variant: the network's variant.
        fold: the fold whose validation patients these are; none for Cohort II.

    Returns:
        9 N rows, a patient's parameters together.
    """
    count = len(patients)
    columns = {
        "patient_id": np.repeat(np.asarray(patients, dtype=object), len(KEYS)),
        "cohort": cohort,
        "fold": pd.array([fold] * count * len(KEYS), dtype="Int64"),
        "variant": variant,
        "parameter": list(KEYS) * count,
        "unit": [p.unit for p in PARAMETERS] * count,
        "reference": references.ravel(),
        "prediction": predictions.ravel(),
    }
    return pd.DataFrame(columns)[list(COLUMNS)]


@dataclass(frozen=True)
class Evaluation:
    """How a step judges its predictions.

    Attributes:
        prefix: ``cohort1`` or ``cohort2``, the metrics' prefix.
        name: the cohort in words, for the figures.
        resamples: bootstrap resamples.
        seed: seed of the bootstrap.
        synthetic: whether the cohort is the synthetic one.
    """

    prefix: str
    name: str
    resamples: int
    seed: int
    synthetic: bool

    @property
    def ceiling(self) -> dict[str, float] | None:
        """The best possible r of each parameter, where it is known: for the synthetic cohort."""
        return anatomical_ceiling() if self.synthetic else None


def log_performance(run: Run, predictions: pd.DataFrame, evaluation: Evaluation) -> pd.DataFrame:
    """Judge predictions and log the metrics, tables and figures of the step.

    Args:
        run: where to.
        predictions: a predictions table of one variant and one cohort.
        evaluation: how to judge it.

    Returns:
        The performance table.
    """
    checked, prefix = check_predictions(predictions), evaluation.prefix
    table = performance_table(checked, evaluation.resamples, evaluation.seed)
    mean = mean_correlation(checked, evaluation.resamples, evaluation.seed)
    metrics = {
        f"{prefix}/r_mean": mean.r,
        f"{prefix}/r_mean_low": mean.low,
        f"{prefix}/r_mean_high": mean.high,
    }
    for row in table.to_dict("records"):
        metrics |= {f"{prefix}/{name}_{row['parameter']}": float(row[name]) for name in ("r", "mae", "auc")}
    run.log_metrics(metrics)
    run.log_table(checked, "predictions.csv")
    run.log_table(table, "tables/performance.csv")
    run.log_figures(_figures(checked, table, evaluation))
    return table


def _figures(predictions: pd.DataFrame, table: pd.DataFrame, evaluation: Evaluation) -> dict[str, Figure]:
    synthetic = evaluation.synthetic
    pages = {
        "scatter": scatter_page(predictions, table, synthetic=synthetic),
        "bland_altman": bland_altman_page(predictions, synthetic=synthetic),
        "correlation": correlation_bars({evaluation.name: table}, evaluation.ceiling, synthetic=synthetic),
    }
    for key in KEYS:
        pages[f"scatter_{key}"] = scatter(predictions, table, key, synthetic=synthetic)
        pages[f"bland_altman_{key}"] = bland_altman(predictions, key, synthetic=synthetic)
    return pages
