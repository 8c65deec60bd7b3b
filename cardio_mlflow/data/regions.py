"""What the ultrasound region tags say about the image, read with distrust."""

from __future__ import annotations

from typing import Final

import numpy as np
from pydicom.dataset import Dataset

Bound = tuple[int, int, int, int]
"""A rectangle as left, top, right, bottom in pixels; right and bottom lie outside."""

_FAULTS: Final = (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, OverflowError)
_TWO_D: Final = 1
_TISSUE: Final = 1
_CENTIMETRE: Final = 3


def region_bound(dataset: Dataset, rows: int, columns: int) -> Bound | None:
    """The rectangle of the only 2-D tissue region, or None.

    A region that leaves the image is stale (written for another size) and is not used. Whether the
    rectangle holds the sector is for the sector fit to check.
    """
    found = []
    for region in _tissue_regions(dataset):
        left, top, right, bottom = (int(_number(region, f"RegionLocation{name}")) for name in
                                    ("MinX0", "MinY0", "MaxX1", "MaxY1"))  # fmt: skip
        found.append((left, top, right + 1, bottom + 1))
    if len(found) != 1:
        return None
    left, top, right, bottom = found[0]
    inside = 0 <= left < right <= columns and 0 <= top < bottom <= rows
    large = (right - left) * (bottom - top) >= 0.1 * rows * columns
    return found[0] if inside and large else None


def pixel_aspect(dataset: Dataset) -> float:
    """Width of a pixel over its height, 1.0 unless every 2-D region agrees on another value.

    Both physical deltas must be in cm, positive, and their ratio between 1/3 and 3.
    """
    ratios = set()
    for region in _tissue_regions(dataset):
        in_cm = all(_number(region, f"PhysicalUnits{axis}Direction") == _CENTIMETRE for axis in "XY")
        x, y = abs(_number(region, "PhysicalDeltaX")), abs(_number(region, "PhysicalDeltaY"))
        ratios.add(round(x / y, 4) if in_cm and x > 0 and y > 0 else 1.0)
    ratio = ratios.pop() if len(ratios) == 1 else 1.0
    return ratio if 1 / 3 <= ratio <= 3 else 1.0


def _tissue_regions(dataset: Dataset) -> list[Dataset]:
    try:
        regions = list(dataset.get("SequenceOfUltrasoundRegions") or [])[:16]
        return [region for region in regions if isinstance(region, Dataset) and _is_tissue(region)]
    except _FAULTS:
        return []


def _is_tissue(region: Dataset) -> bool:
    return _number(region, "RegionSpatialFormat") == _TWO_D and _number(region, "RegionDataType") == _TISSUE


def _number(region: Dataset, keyword: str) -> float:
    try:
        value = float(region.get(keyword, -1))
    except _FAULTS:
        return -1.0
    return value if np.isfinite(value) else -1.0
