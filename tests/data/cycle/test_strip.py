"""The line of a trace in a picture whose heights are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardio_mlflow.data.cycle.strip import Curve, find_runs, read_curve, smoothest

ROWS, COLUMNS = 60, 200


def _picture(heights, first=0, luma=200, background=0):
    picture = np.full((ROWS, COLUMNS), background, np.uint8)
    picture[ROWS - 1 - np.asarray(heights), first + np.arange(len(heights))] = luma
    return picture


@pytest.mark.parametrize("background", [0, 60])
def test_heights_are_read_exactly(background):
    heights = (20 + 8 * np.sin(np.arange(COLUMNS) / 9)).round().astype(int)
    curve = read_curve(_picture(heights, background=background), 0, COLUMNS)
    assert curve.first == 0
    np.testing.assert_allclose(curve.heights, heights, atol=1e-9)
    assert not curve.cut_off


def test_a_trace_ends_where_its_line_ends():
    curve = read_curve(_picture(np.full(120, 25), first=40), 60, 140)
    assert (curve.first, len(curve.heights)) == (40, 120)
    np.testing.assert_array_equal(curve.columns, np.arange(40, 160))


def test_gaps_are_bridged_straight():
    picture = _picture(np.arange(COLUMNS) // 8 + 10)
    picture[:, 100:105] = 0
    curve = read_curve(picture, 0, COLUMNS)
    assert np.abs(curve.heights - (np.arange(COLUMNS) // 8 + 10)).max() <= 1


def test_an_r_wave_keeps_its_height_and_a_thick_line_does_not_step():
    picture = np.zeros((ROWS, COLUMNS), np.uint8)
    picture[45:50] = 200  # a level line, five rows thick
    picture[10:50, 100:102] = 200  # an R wave
    heights = read_curve(picture, 0, COLUMNS).heights
    assert heights[:99] == pytest.approx(np.full(99, ROWS - 1 - 47))
    assert heights[100] == pytest.approx(ROWS - 1 - 12)


def test_words_beside_the_line_are_passed_by():
    picture = _picture(np.full(COLUMNS, 20))
    picture[4:10, 60:110:2] = 255
    np.testing.assert_allclose(read_curve(picture, 0, COLUMNS).heights, 20, atol=1e-9)


def test_a_level_line_beside_the_trace_is_passed_by():
    heights = (20 + 3 * np.sin(np.arange(COLUMNS) / 12)).round().astype(int)
    picture = _picture(heights)
    picture[ROWS - 1 - 30] = 200
    np.testing.assert_allclose(read_curve(picture, 0, COLUMNS).heights, heights, atol=1e-9)


def test_a_line_that_touches_the_border_is_cut_off():
    heights = np.full(COLUMNS, 20)
    heights[50:60] = ROWS - 1
    assert read_curve(_picture(heights), 0, COLUMNS).cut_off


@pytest.mark.parametrize(
    "picture",
    [np.zeros((ROWS, COLUMNS)), np.full((ROWS, COLUMNS), 90), _picture(np.full(COLUMNS, 20), luma=20)],
)
def test_without_a_line_there_is_no_curve(picture):
    assert read_curve(picture.astype(np.uint8), 0, COLUMNS) is None


def test_half_a_line_is_no_curve():
    assert read_curve(_picture(np.full(100, 20)), 0, COLUMNS) is None


def test_a_part_of_a_curve_keeps_its_columns():
    curve = Curve(10, np.arange(50.0), False)
    part = curve.part(20, 29)
    np.testing.assert_array_equal(part.columns, np.arange(20, 30))
    np.testing.assert_array_equal(part.heights, np.arange(10.0, 20.0))
    assert curve.part(0, 500).columns.tolist() == curve.columns.tolist()
    assert len(curve.part(100, 120).heights) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.5))
def test_the_smoothest_path_takes_one_run_of_each_column(seed, share):
    bright = np.random.default_rng(seed).uniform(size=(20, 40)) < share
    runs = find_runs(bright, np.ones((20, 40), np.float32))
    assert len(runs.column) == np.count_nonzero(np.diff(bright.astype(int), axis=0, prepend=0) == 1)
    if len(runs.column):
        assert runs.column[smoothest(runs)].tolist() == np.flatnonzero(bright.any(axis=0)).tolist()
