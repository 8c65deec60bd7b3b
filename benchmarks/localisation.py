"""How much of an attribution falls on a region, beside the region's share of the area."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
STRONGEST: Final = 0.1
"""Share of the sector that counts as where the attribution is strongest."""


def share_on(attribution: FloatArray, region: NDArray[np.bool_]) -> float:
    """Share of the absolute attribution that falls on a region; NaN where there is none.

    Args:
        attribution: any shape.
        region: the same shape.
    """
    total = float(np.abs(attribution).sum())
    return float(np.abs(attribution[region]).sum()) / total if total > 0 else float("nan")


def strongest_on(attribution: FloatArray, region: NDArray[np.bool_], sector: NDArray[np.bool_]) -> float:
    """Share of the `STRONGEST` absolute attribution of the sector, by area, that lies on a region.

    NaN where there is no sector or no attribution.

    Args:
        attribution: any shape.
        region: the same shape.
        sector: the same shape.
    """
    strength = np.abs(attribution[sector])
    if not strength.size or not strength.any():
        return float("nan")
    strongest = strength >= np.quantile(strength, 1 - STRONGEST)
    return float(region[sector][strongest].mean())


def area_of(region: NDArray[np.bool_], sector: NDArray[np.bool_]) -> float:
    """A region's share of the sector, which is the share that an attribution without preference has on it.

    Args:
        region: any shape.
        sector: the same shape, where there is a picture at all.
    """
    total = int(sector.sum())
    return float((region & sector).sum()) / total if total else float("nan")
