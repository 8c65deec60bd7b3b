"""The regions that the tags of an echo clip claim, and the size that they give a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydicom.dataset import Dataset

from cardio_mlflow.data.files.header_values import number_of
from cardio_mlflow.data.files.sequence_items import items_of

Bound = tuple[int, int, int, int]
"""A rectangle as left, top, right, bottom in pixels; right and bottom lie outside."""


class RegionKind(StrEnum):
    """What a region of the picture shows, by its spatial format (PS3.3, C.8.5.5.1.1)."""

    TWO_D = "2-D"
    M_MODE = "M-mode"
    SPECTRAL = "spectral"
    OTHER = "other"


@dataclass(frozen=True)
class ClaimedRegion:
    """A region as the tags claim it, inside the image but unchecked against the pixels.

    Data of ``tissue`` are not colour flow, Doppler or graphics. ``mm_per_pixel`` is None where the tags give
    no size of square pixels; ``flow`` says that its data are colour flow.
    """

    kind: RegionKind
    tissue: bool
    rectangle: Bound
    mm_per_pixel: float | None = None
    flow: bool = False


_TISSUE, _FLOW = 1, 2
_CENTIMETRE: Final = 3
_MAX_REGIONS: Final = 16
_MOST_UNEQUAL: Final = 0.02  # width and height of square pixels, whose last digits scanners round
_KINDS: Final = {1: RegionKind.TWO_D, 2: RegionKind.M_MODE, 3: RegionKind.SPECTRAL}


def scaled(rectangle: Bound, factor: float) -> Bound:
    """The same rectangle in a picture that is ``factor`` times as large.

    >>> scaled((10, 20, 110, 220), 0.5)
    (5, 10, 55, 110)
    """
    left, top, right, bottom = (round(side * factor) for side in rectangle)
    return left, top, right, bottom


def claimed_regions(
    dataset: Dataset, rows: int, columns: int, sizes: bool = True
) -> tuple[ClaimedRegion, ...]:
    """The regions that the tags claim, at most 16, without those that leave the image or have no area.

    A region that leaves the image is stale: written for another size. Without ``sizes`` that of a pixel,
    which takes as long as the rest, is not read.
    """
    found = []
    for region in _regions(dataset):
        left, top, right, bottom = (int(_number(region, f"RegionLocation{name}")) for name in
                                    ("MinX0", "MinY0", "MaxX1", "MaxY1"))  # fmt: skip
        if 0 <= left < right < columns and 0 <= top < bottom < rows:
            kind = _KINDS.get(int(_number(region, "RegionSpatialFormat")), RegionKind.OTHER)
            data = _number(region, "RegionDataType")
            place = (left, top, right + 1, bottom + 1)
            size = _mm_per_pixel(region) if sizes else None
            found.append(ClaimedRegion(kind, data == _TISSUE, place, size, data == _FLOW))
    return tuple(found)


def region_bound(dataset: Dataset, rows: int, columns: int) -> Bound | None:
    """The rectangle of the only 2-D tissue region, or None.

    A second one is no ground to choose the first, even when its place is stale. Whether the
    rectangle holds the sector is for the sector fit to check.
    """
    claimed = [r for r in claimed_regions(dataset, rows, columns) if r.kind is RegionKind.TWO_D and r.tissue]
    if len(claimed) != 1 or len(_tissue_regions(dataset)) != 1:
        return None
    left, top, right, bottom = claimed[0].rectangle
    large = (right - left) * (bottom - top) >= 0.1 * rows * columns
    return claimed[0].rectangle if large else None


def pixel_aspect(dataset: Dataset) -> float:
    """Width of a pixel over its height, 1.0 unless every 2-D region agrees on another value.

    Both physical deltas must be in cm, positive, and their ratio between 1/3 and 3.
    """
    ratios = set()
    for region in _tissue_regions(dataset):
        x, y = (abs(_number(region, f"PhysicalDelta{axis}")) for axis in "XY")
        ratios.add(round(x / y, 4) if _is_in_cm(region) and x > 0 and y > 0 else 1.0)
    ratio = ratios.pop() if len(ratios) == 1 else 1.0
    return ratio if 1 / 3 <= ratio <= 3 else 1.0


def _is_in_cm(region: Dataset) -> bool:
    return all(_number(region, f"PhysicalUnits{axis}Direction") == _CENTIMETRE for axis in "XY")


def _mm_per_pixel(region: Dataset) -> float | None:
    """Height of a pixel in mm, where both deltas are in cm, positive, and equal within 2 %; else None."""
    x, y = (_number(region, f"PhysicalDelta{axis}") for axis in "XY")
    square = x > 0 and y > 0 and abs(x - y) <= _MOST_UNEQUAL * y
    return 10.0 * y if square and _is_in_cm(region) else None


def _regions(dataset: Dataset) -> list[Dataset]:
    return items_of(dataset, "SequenceOfUltrasoundRegions", _MAX_REGIONS)


def _tissue_regions(dataset: Dataset) -> list[Dataset]:
    wanted = ("RegionSpatialFormat", "RegionDataType")  # 2-D and tissue are both 1
    return [region for region in _regions(dataset) if all(_number(region, word) == 1 for word in wanted)]


def _number(region: Dataset, keyword: str) -> float:
    return number_of(region, keyword, -1.0)
