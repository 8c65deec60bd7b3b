"""Correction of p-values for how many there are."""

from __future__ import annotations

import numpy as np

from cardio_mlflow.analysis.predictions import FloatArray


def holm(p: FloatArray) -> FloatArray:
    """Correct a family of p-values by Holm's step-down method.

    Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65-70: the i-th
    smallest of m is multiplied by m − i + 1; none is smaller than the one before, or larger than 1.

    Args:
        p: (m,); NaN is no test, and stays.

    Returns:
        (m,) corrected, in the same order.

    >>> holm(np.array([0.04, 0.01, np.nan, 0.03])).round(3).tolist()
    [0.06, 0.03, nan, 0.06]
    """
    corrected, known = np.full(p.size, np.nan), np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    stepped = np.maximum.accumulate(p[order] * np.arange(order.size, 0, -1))
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected
