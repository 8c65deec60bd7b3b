"""What the region tags give a pixel's size as, whatever stands in them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.files.regions import claimed_regions, pixel_aspect, region_bound
from tests.data.small_clips import dataset, region

ROWS, COLUMNS = 240, 320
HOSTILE = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, -0.05, 1e308, -1e308, 5e-324])


def _region(x=0.05, y=0.05, units=(3, 3), place=(10, 20, 300, 200), **changes):
    names = ("PhysicalUnitsXDirection", "PhysicalUnitsYDirection")
    return region(place, x, y, **dict(zip(names, units, strict=True)) | changes)


def _header(*regions):
    return dataset(SequenceOfUltrasoundRegions=list(regions))


def _size(*regions):
    return [one.mm_per_pixel for one in claimed_regions(_header(*regions), ROWS, COLUMNS)]


@given(st.floats(0.001, 1.0), st.floats(-0.019, 0.019))
def test_centimetres_become_millimetres(delta, unequal):
    assert _size(_region(delta * (1 + unequal), delta)) == [pytest.approx(10 * delta)]


@given(st.floats(0.001, 1.0), st.floats(0.021, 20.0))
def test_pixels_that_are_not_square_have_no_size(delta, unequal):
    assert _size(_region(delta * (1 + unequal), delta)) == [None]


@pytest.mark.parametrize("units", [(3, 4), (0, 0), (4, 3), (5, 3), (2, 2), (9, 9)])
def test_other_units_than_centimetres_give_no_size(units):
    assert _size(_region(units=units)) == [None]


@given(HOSTILE, st.one_of(HOSTILE, st.just(0.05)))
def test_a_hostile_delta_gives_no_size_or_an_absurd_one(one, other):
    for x, y in ((one, other), (other, one)):
        (size,) = _size(_region(x, y))
        assert size is None or not 0.01 < size < 10


@pytest.mark.parametrize("keyword", ["PhysicalDeltaX", "PhysicalDeltaY", "PhysicalUnitsXDirection"])
def test_what_is_missing_gives_no_size(keyword):
    assert _size(_region(**{keyword: None})) == [None]


@pytest.mark.parametrize("corner", [(COLUMNS, ROWS - 1), (COLUMNS - 1, ROWS), (COLUMNS + 163, ROWS + 177)])
def test_a_stale_region_is_none(corner):
    stale = _region(place=(0, 0, *corner))
    assert _size(stale) == []
    assert _size(stale, _region(0.04, 0.04)) == [0.4]
    assert region_bound(_header(stale), ROWS, COLUMNS) is None
    assert region_bound(_header(stale, _region()), ROWS, COLUMNS) is None, "which one is meant?"
    assert region_bound(_header(_region()), ROWS, COLUMNS) == (10, 20, 301, 201)


@pytest.mark.parametrize(("x", "aspect"), [(0.06, 1.2), (5.0, 1.0), (0.05, 1.0)])
def test_pixel_aspect_needs_sensible_deltas(x, aspect):
    assert pixel_aspect(_header(_region(x=x, y=0.05))) == pytest.approx(aspect)
    assert pixel_aspect(_header(_region(x=x, y=0.05), _region())) == 1.0
