"""Which source of a clip's true size is trusted."""

from __future__ import annotations

import math

import pytest

from cardio_mlflow.data.files.regions import ClaimedRegion, RegionKind
from cardio_mlflow.data.picture.pixel_size import TrueScale, agreed, region_scale
from cardio_mlflow.data.picture.sector import Sector

SECTOR = Sector(160.0, 10.0, -40.0, 40.0, 10.0, 210.0)  # 200 pixels deep
MASK = SECTOR.mask(240, 320)
WHOLE = (20, 4, 300, 236)


def _claim(mm=0.8, rectangle=WHOLE, kind=RegionKind.TWO_D, tissue=True):
    return ClaimedRegion(kind, tissue, rectangle, mm)


def test_the_region_that_holds_the_sector_gives_its_scale():
    assert region_scale([_claim()], SECTOR, MASK, 1.0) == 0.8
    beside = _claim(0.3, (0, 0, 20, 20))
    assert region_scale([beside, _claim()], SECTOR, MASK, 1.0) == 0.8


@pytest.mark.parametrize(
    "claim",
    [
        _claim(None), _claim(kind=RegionKind.M_MODE), _claim(kind=RegionKind.OTHER), _claim(tissue=False),
        _claim(rectangle=(20, 4, 300, 150)), _claim(rectangle=(0, 0, 160, 240)),
    ],
)  # fmt: skip
def test_another_region_gives_none(claim):
    assert region_scale([claim], SECTOR, MASK, 1.0) is None


def test_no_regions_give_none():
    assert region_scale([], SECTOR, MASK, 1.0) is None


def test_two_regions_of_one_picture_must_agree():
    assert region_scale([_claim(0.8), _claim(0.805)], SECTOR, MASK, 1.0) == 0.8
    assert region_scale([_claim(0.8), _claim(0.9)], SECTOR, MASK, 1.0) is None
    assert region_scale([_claim(0.8), _claim(None)], SECTOR, MASK, 1.0) is None


@pytest.mark.parametrize(("mm", "trusted"), [(0.19, False), (0.21, True), (1.74, True), (1.76, False),
                                             (math.inf, False), (1e-300, False)])  # fmt: skip
def test_the_depth_must_be_plausible(mm, trusted):
    assert region_scale([_claim(mm)], SECTOR, MASK, 1.0) == (mm if trusted else None)


@pytest.mark.parametrize(("mm", "trusted"), [(0.09, False), (0.11, True), (0.86, True), (0.89, False)])
def test_the_depth_is_that_of_the_file_where_frames_were_made_smaller(mm, trusted):
    """At half the size the sector is 400 pixels of the file deep, and regions lie in pixels of the file."""
    claim = _claim(mm, tuple(2 * side for side in WHOLE))
    assert region_scale([claim], SECTOR, MASK, 0.5) == (mm if trusted else None)
    assert region_scale([_claim(mm)], SECTOR, MASK, 0.5) is None


def test_two_sources_that_differ_are_both_left_out_with_a_note():
    assert agreed(0.4, None) == TrueScale(0.4, "regions")
    assert agreed(None, 0.4) == TrueScale(0.4, "ticks")
    assert agreed(None, None) == TrueScale()
    assert agreed(0.4, 0.41) == TrueScale(0.4, "regions")
    differing = agreed(0.4, 0.8)
    assert (differing.mm_per_pixel, differing.source) == (None, "")
    assert differing.note == "0.4000 mm a pixel by the region tags, 0.8000 by the drawn depth scale"
