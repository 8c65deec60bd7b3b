"""How much of an attribution falls on a region, beside the region's share of the area."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def share_on(attribution: FloatArray, region: NDArray[np.bool_]) -> float:
    """Share of the absolute attribution that falls on a region; NaN where there is none.

    Args:
        attribution: any shape.
        region: the same shape.
    """
    total = float(np.abs(attribution).sum())
    return float(np.abs(attribution[region]).sum()) / total if total > 0 else float("nan")


def area_of(region: NDArray[np.bool_], sector: NDArray[np.bool_]) -> float:
    """A region's share of the sector, which is the share that an attribution without preference has on it.

    Args:
        region: any shape.
        sector: the same shape, where there is a picture at all.
    """
    total = int(sector.sum())
    return float((region & sector).sum()) / total if total else float("nan")
