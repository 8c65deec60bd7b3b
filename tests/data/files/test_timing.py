"""Frame times, heart rate and R waves by the tags, and which interval of an irregular rhythm is taken."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.files.timing import (
    frame_timing,
    heart_rate,
    plausible,
    tagged_r_waves,
    typical_interval,
    usual_interval,
)

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


def test_golden_frame_times():
    assert frame_timing({"FrameTimeVector": [33, 20, 30]}, 3).times_s.tolist() == [0, 0.02, 0.05]
    assert frame_timing({"CineRate": [1e-307]}, 2).times_s is None, "too small to divide by"


@given(
    st.dictionaries(st.sampled_from(["FrameTimeVector", "FrameTime", "CineRate"]), st.lists(NUMBERS)),
    st.integers(2, 12),
)
def test_times_rise_from_zero_or_are_absent(numbers, frames):
    times = frame_timing(numbers, frames).times_s
    if times is not None:
        assert (times.shape, times[0]) == ((frames,), 0)
        assert (np.diff(times) > 0).all()


@given(NUMBERS)
def test_a_heart_rate_is_plausible_or_absent(value):
    rate = heart_rate({"HeartRate": [value]})
    assert rate is None or 25 <= rate <= 250


def test_r_wave_pointers_count_frames_from_one_and_one_time_does_not_hide_two_of_them():
    times = np.arange(50) * 0.04
    np.testing.assert_allclose(tagged_r_waves({"RWavePointer": [1, 21]}, times), [0, 0.8])
    found = tagged_r_waves({"RWaveTimeVector": [120], "RWavePointer": [4, 28]}, times)
    np.testing.assert_allclose(found, [0.12, 1.08])


@given(st.lists(NUMBERS), st.lists(NUMBERS))
def test_r_waves_rise_or_are_absent(vector, pointer):
    found = tagged_r_waves({"RWaveTimeVector": vector, "RWavePointer": pointer}, np.arange(50) * 0.04)
    assert np.isfinite(found).all()
    assert (np.diff(found) > 0).all()


def _typical(r_waves, start=0.0, stop=10.0, heart_rate=None):
    r_waves = np.asarray(r_waves, float)
    return typical_interval(r_waves, r_waves[(r_waves >= start) & (r_waves <= stop)], heart_rate)


@pytest.mark.parametrize(
    ("r_waves", "expected"),
    [
        ([0.1, 0.9, 1.7], True),
        ([0.1], False),
        ([], False),
        ([0.0, 0.1, 0.2, 0.3], False),
        ([0.0, 5.0, 10.0], False),
        ([0.0, 0.8, 1.6, 1.7, 1.8], False),  # half of them are no heart's
        ([0.0, 0.8, 1.6, 2.4, 2.5], True),  # a quarter
    ],
)
def test_plausible(r_waves, expected):
    assert plausible(np.asarray(r_waves, float)) is expected


def test_the_usual_interval_is_a_median_that_a_heart_rate_decides():
    unlike = np.array([0.0, 0.6, 1.6])
    assert usual_interval(unlike) == pytest.approx(0.8)
    assert usual_interval(unlike, 60.0) == pytest.approx(1.0)
    assert usual_interval(unlike, 100.0) == pytest.approx(0.6)
    assert usual_interval(np.array([0.0, 0.8, 1.6, 9.0])) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("r_waves", "start", "rate", "expected"),
    [
        ([0.2, 0.65, 1.8, 2.6, 3.4], 0, None, (2.6, 3.4, 4)),  # an ectopic beat and its pause are passed by
        ([0.0, 0.8, 1.25, 2.4, 3.2], 0, None, (0.0, 0.8, 4)),  # a beat after a pause is less typical
        ([-4, -3, -2, -1, 0.0, 0.6, 1.6], -0.01, None, (0.6, 1.6, 2)),  # by the beats before the clip
        ([0.0, 0.6, 1.6], 0, 60.0, (0.6, 1.6, 2)),  # of two unlike ones the heart rate chooses
        ([0.0, 0.6, 1.6], 0, 100.0, (0.0, 0.6, 2)),
        ([0.1, 0.9, 1.7, 2.5], 0, None, (0.1, 0.9, 3)),  # of equals the first
    ],
)
def test_the_most_typical_interval_is_taken(r_waves, start, rate, expected):
    assert _typical(r_waves, start, heart_rate=rate) == pytest.approx(expected)


@pytest.mark.parametrize("r_waves", [[0.3], [0.3, 0.4], [0.3, 4.0]])
def test_without_a_whole_interval_in_the_clip_there_is_none(r_waves):
    assert _typical([-1.6, -0.8, *r_waves], start=0.0) is None


@given(
    st.lists(st.floats(0.26, 2.4), min_size=1, max_size=30), st.floats(-5, 5), st.none() | st.floats(30, 220)
)
def test_the_chosen_interval_is_one_between_neighbours_and_near_the_usual(steps, first, rate):
    r_waves = first + np.concatenate([[0.0], np.cumsum(steps)])
    start, stop, whole = typical_interval(r_waves, r_waves, rate)
    at = int(np.flatnonzero(r_waves == start)[0])
    assert r_waves[at + 1] == stop
    assert whole == len(steps)
    usual = usual_interval(r_waves, rate)
    off = np.abs(np.diff(r_waves) / usual - 1)
    assert off[at] <= off.min() + 0.05 + 1e-9
