"""How the nine parameters correlate with one another, among the references and among the predictions."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from cardio_mlflow.analysis.agreement import pearson
from cardio_mlflow.analysis.predictions import wide


def correlation_matrix(predictions: pd.DataFrame, side: Literal["reference", "prediction"]) -> pd.DataFrame:
    """Signed Pearson correlation of each pair of parameters, over the patients that have both values.

    Args:
        predictions: a checked predictions table of one variant and one cohort.
        side: the values to correlate.

    Returns:
        A row for each parameter that occurs, in table order: parameter, then a column for each of them.
        NaN for a pair with fewer than three patients or a constant side, the diagonal included.

    Raises:
        ValueError: another side.
    """
    if side not in ("reference", "prediction"):
        raise ValueError(f"side must be reference or prediction, not {side}")
    values = wide(predictions, side).astype(np.float64)
    matrix = [[_pairwise(values, a, b) for b in values.columns] for a in values.columns]
    result = pd.DataFrame(matrix, columns=values.columns, dtype=np.float64)
    result.insert(0, "parameter", list(values.columns))
    return result


def _pairwise(values: pd.DataFrame, first: str, second: str) -> float:
    x, y = values[first].to_numpy(np.float64), values[second].to_numpy(np.float64)
    present = np.isfinite(x) & np.isfinite(y)
    return float(pearson(x[present], y[present]))
