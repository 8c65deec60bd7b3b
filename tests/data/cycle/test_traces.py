"""Paths and speeds of traces that move at a known one, and the line of a trace whose heights are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardio_mlflow.data.cycle.scroll import find_speed
from cardio_mlflow.data.cycle.strip import Curve, find_runs, read_curve, smoothest_path
from cardio_mlflow.data.cycle.sweep import Rises, SweepPath, find_path, refine_path

WIDTH = 400


def _rises(speed, start, lap, times, noise=40):
    rng = np.random.default_rng(3)
    own = np.mod(start + speed * times, lap)
    columns = np.concatenate([own, rng.uniform(0, lap, noise)])
    frames = np.concatenate([np.arange(len(times)), rng.integers(0, len(times), noise)])
    return Rises(columns, frames, times[frames], np.ones(len(columns)))


@pytest.mark.parametrize(
    ("speed", "start", "lap"), [(120.0, 10.0, 380.0), (200.0, 300.0, 360.0), (60.0, 50.0, 390.0)]
)
def test_the_path_of_a_head_is_found_among_other_things(speed, start, lap):
    times = np.arange(90) / 30
    rises = _rises(speed, start, lap, times)
    head = find_path(rises, WIDTH)
    for tolerance in (12.0, 4.0, 2.0):
        head = refine_path(head, rises, tolerance)
    assert head.speed == pytest.approx(speed, rel=0.01)
    assert np.median(np.abs(head.off(rises)[:90])) < 0.5
    if start + speed * times[-1] > lap + 20:
        assert head.lap == pytest.approx(lap, abs=2)


def test_a_few_arrivals_make_no_head():
    assert find_path(Rises(np.arange(5.0), np.arange(5), np.arange(5) / 30, np.ones(5)), WIDTH) is None


def test_a_head_tells_the_time_of_its_columns():
    head = SweepPath(100.0, 20.0, 300.0)
    assert head.seconds(np.array([20.0, 70.0, 320.0])).tolist() == [0.0, 0.5, 3.0]
    assert head.off(Rises(np.array([25.0]), np.array([90]), np.array([3.0]), np.ones(1))).tolist() == [5.0]


def _pictures(speed, times, noise=0.0):
    """Noise of one row, smooth over columns, that moves left; and noise that does not."""
    rng = np.random.default_rng(0)
    x = np.arange(WIDTH + int(speed * times[-1]) + 2)
    line = np.convolve(rng.normal(size=len(x)), np.hanning(15), mode="same")
    frames = np.stack([np.interp(np.arange(WIDTH) + speed * t, x, line) for t in times])
    frames += noise * rng.normal(size=frames.shape)
    frames -= frames.mean(axis=1, keepdims=True)
    return lambda numbers: frames[numbers][:, None, :].astype(np.float32)


@pytest.mark.parametrize("speed", [45.0, 110.0, 260.0, 430.0])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_the_speed_of_a_moving_picture_is_found(speed, noise):
    times = np.arange(75) / 30
    found = find_speed(_pictures(speed, times, noise), times, WIDTH, 60, 0.3)
    assert found == pytest.approx(speed, rel=0.008)


def test_uneven_times_are_minded():
    times = np.cumsum(np.random.default_rng(2).uniform(0.02, 0.06, 70))
    times -= times[0]
    assert find_speed(_pictures(150.0, times), times, WIDTH, 60, 0.3) == pytest.approx(150.0, rel=0.004)


@pytest.mark.parametrize("still", [False, True])
def test_what_does_not_move_has_no_speed(still):
    times = np.arange(60) / 30
    frames = np.random.default_rng(1).normal(size=(1 if still else 60, WIDTH)).astype(np.float32)
    frames = np.repeat(frames, 60, axis=0) if still else frames
    assert find_speed(lambda numbers: frames[numbers][:, None, :], times, WIDTH, 60, 0.3) is None


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


def test_words_and_a_level_line_beside_the_trace_are_passed_by():
    heights = (20 + 3 * np.sin(np.arange(COLUMNS) / 12)).round().astype(int)
    words, level = _picture(np.full(COLUMNS, 20)), _picture(heights)
    words[4:10, 60:110:2] = 255
    level[ROWS - 1 - 30] = 200
    np.testing.assert_allclose(read_curve(words, 0, COLUMNS).heights, 20, atol=1e-9)
    np.testing.assert_allclose(read_curve(level, 0, COLUMNS).heights, heights, atol=1e-9)


def test_a_line_that_touches_the_border_is_cut_off():
    heights = np.full(COLUMNS, 20)
    heights[50:60] = ROWS - 1
    assert read_curve(_picture(heights), 0, COLUMNS).cut_off


@pytest.mark.parametrize(
    "picture",
    [np.zeros((ROWS, COLUMNS)), np.full((ROWS, COLUMNS), 90), _picture(np.full(COLUMNS, 20), luma=20),
     _picture(np.full(100, 20))],
    ids=["black", "gray", "faint", "half a line"],
)  # fmt: skip
def test_without_a_line_there_is_no_curve(picture):
    assert read_curve(picture.astype(np.uint8), 0, COLUMNS) is None


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
        assert runs.column[smoothest_path(runs)].tolist() == np.flatnonzero(bright.any(axis=0)).tolist()
