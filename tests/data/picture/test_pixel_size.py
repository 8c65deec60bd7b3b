"""The true size of a pixel: by region tags and by the depth scale drawn beside the sector, or not at all."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cardio_mlflow.data.files.regions import ClaimedRegion, RegionKind
from cardio_mlflow.data.picture.pixel_size import TrueScale, combined_scale, region_scale, tick_scale
from cardio_mlflow.data.picture.sector import ClipStatistics, Sector

SECTOR = Sector(160.0, 10.0, -40.0, 40.0, 10.0, 210.0)  # 200 pixels deep
MASK = SECTOR.mask(240, 320)
WHOLE = (20, 4, 300, 236)


def _claim(mm=0.8, rectangle=WHOLE, kind=RegionKind.TWO_D, tissue=True):
    return ClaimedRegion(kind, tissue, rectangle, mm)


@pytest.mark.parametrize(
    ("claims", "mm"),
    [
        ([], None), ([_claim()], 0.8), ([_claim(0.3, (0, 0, 20, 20)), _claim()], 0.8),
        *(([claim], None) for claim in (
            _claim(None), _claim(kind=RegionKind.M_MODE), _claim(kind=RegionKind.OTHER), _claim(tissue=False),
            _claim(rectangle=(20, 4, 300, 150)), _claim(rectangle=(0, 0, 160, 240)),
        )),
        ([_claim(0.8), _claim(0.805)], 0.8), ([_claim(0.8), _claim(0.9)], None),
        ([_claim(0.8), _claim(None)], None),
        # The sector's 200 pixels must be plausibly deep.
        *(([_claim(mm)], mm if trusted else None) for mm, trusted in (
            (0.19, False), (0.21, True), (1.74, True), (1.76, False), (math.inf, False), (1e-300, False),
        )),
    ],
)  # fmt: skip
def test_the_region_that_holds_the_sector_gives_its_scale(claims, mm):
    assert region_scale(claims, SECTOR, MASK, 1.0) == mm


@pytest.mark.parametrize(("mm", "trusted"), [(0.09, False), (0.11, True), (0.86, True), (0.89, False)])
def test_the_depth_is_that_of_the_file_where_frames_were_made_smaller(mm, trusted):
    """At half the size the sector is 400 pixels of the file deep, and regions lie in pixels of the file."""
    claim = _claim(mm, tuple(2 * side for side in WHOLE))
    assert region_scale([claim], SECTOR, MASK, 0.5) == (mm if trusted else None)
    assert region_scale([_claim(mm)], SECTOR, MASK, 0.5) is None


def test_two_sources_that_differ_are_both_left_out_with_a_note():
    assert combined_scale(0.4, None) == TrueScale(0.4, "regions")
    assert combined_scale(None, 0.4) == TrueScale(0.4, "ticks")
    assert combined_scale(None, None) == TrueScale()
    assert combined_scale(0.4, 0.41) == TrueScale(0.4, "regions")
    differing = combined_scale(0.4, 0.8)
    assert (differing.mm_per_pixel, differing.source) == (None, "")
    assert differing.note == "0.4000 mm a pixel by the region tags, 0.8000 by the drawn depth scale"


ROWS, COLUMNS = 480, 700


def _sector(half_angle=40.0, inner=10.0):
    return Sector(340.0, 24.0, -half_angle, half_angle, inner, 400.0)


def _marks(picture, sector, step, place="upright", larger=5, first=1, last=None, zero=None, off=0.0):
    """Draw marks from the sector's top on; each so-manieth is larger."""
    zero = sector.inner if zero is None else zero
    last = int((sector.outer - zero) / step + 0.01) if last is None else last
    for number in range(first, last + 1):
        length = 8 if larger and number % larger == 0 else 4
        distance, side = zero + number * step + off * (-1) ** number, -1 if place == "left" else 1
        angle = np.deg2rad(sector.right if side > 0 else sector.left)
        if place == "upright":
            x, y = 640, sector.apex_y + distance
        else:
            x = round(sector.apex_x + distance * np.sin(angle) + side * 5)
            y = sector.apex_y + distance * np.cos(angle)
        cv2.line(picture, (x, round(y)), (x + side * length, round(y)), 200, 1)
    return picture


def _words(picture):
    lines = ["NOBODY KNOWN", "ID 0177-1951", "02/04/2023", "HOSPITAL", "MI 1.2", "TIS 0.7"]
    for x in (6, 566):
        for i, line in enumerate(lines):
            cv2.putText(picture, line, (x, 40 + 16 * i), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 220, 1)
    return picture


def _read(picture, sector):
    mask = sector.mask(ROWS, COLUMNS)
    nothing = np.zeros_like(picture)
    statistics = ClipStatistics(picture, picture, picture, nothing.astype(np.float32), nothing[None])
    return tick_scale(statistics, sector, mask)


def _black():
    return np.zeros((ROWS, COLUMNS), np.uint8)


@given(
    st.floats(16.0, 36.0), st.floats(30.0, 44.0), st.floats(0.0, 30.0), st.booleans(),
    st.sampled_from(["upright", "left", "right"]), st.booleans(),
)  # fmt: skip
@hypothesis_settings(max_examples=40)
def test_a_scale_is_read_right_or_not_at_all(step, half_angle, inner, from_apex, place, words):
    sector = _sector(half_angle, inner)
    picture = _words(_black()) if words else _black()
    found = _read(_marks(picture, sector, step, place, zero=0.0 if from_apex else None), sector)
    assert found is None or found == pytest.approx(10.0 / step, rel=0.01)
    if not words:
        assert found is not None


@pytest.mark.parametrize("place", ["upright", "left", "right"])
@pytest.mark.parametrize(
    "bent",
    [
        {"larger": 0}, {"larger": 2}, {"larger": 3}, {"larger": 4}, {"larger": 10}, {"larger": 1},
        {"last": 9}, {"first": 6}, {"off": 4.0}, {"zero": 20.0},
    ],
    ids=str,
)  # fmt: skip
def test_what_could_mean_something_else_is_no_scale(place, bent):
    sector = _sector()
    assert _read(_marks(_black(), sector, 25.0, place), sector) is not None
    assert _read(_marks(_black(), sector, 25.0, place, **bent), sector) is None


@given(st.floats(4.0, 60.0), st.integers(0, 12), st.sampled_from(["upright", "left", "right"]))
@hypothesis_settings(max_examples=40)
def test_no_other_pattern_is_taken_for_centimetres(step, larger, place):
    """Only each fifth mark larger, and at least two of them, is a scale."""
    sector = _sector()
    found = _read(_marks(_black(), sector, step, place, larger), sector)
    assert found is None or (larger == 5 and found == pytest.approx(10.0 / step, rel=0.01))


def test_words_and_bars_are_no_scale():
    picture = _words(_black())
    picture[100:300, 660:670] = np.linspace(255, 5, 200).astype(np.uint8)[:, None]
    assert [_read(one, _sector()) for one in (picture, _black(), np.full_like(picture, 255))] == [None] * 3


def test_two_scales_must_agree_and_a_hidden_mark_is_no_harm():
    sector = _sector()
    both = _marks(_marks(_black(), sector, 25.0, "left"), sector, 25.0)
    hidden = _marks(_black(), sector, 25.0)
    hidden[90:106] = hidden[240:260] = 0
    assert [_read(one, sector) for one in (both, hidden)] == [pytest.approx(0.4, rel=0.01)] * 2
    assert _read(_marks(_marks(_black(), sector, 25.0, "left"), sector, 20.0), sector) is None
