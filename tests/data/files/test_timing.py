"""Which interval of an irregular rhythm is taken."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.files.timing import plausible, typical_interval, usual_interval


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


def test_an_ectopic_beat_and_its_pause_are_passed_by():
    assert _typical([0.2, 0.65, 1.8, 2.6, 3.4]) == (pytest.approx(2.6), pytest.approx(3.4), 4)


def test_a_beat_after_a_pause_is_not_taken_when_another_is_as_typical():
    start, stop, _ = _typical([0.0, 0.8, 1.25, 2.4, 3.2])
    assert (start, stop) == (pytest.approx(0.0), pytest.approx(0.8))


def test_beats_before_the_clip_say_what_is_typical():
    before = [-4.0, -3.0, -2.0, -1.0, 0.0]
    start, stop, whole = _typical([*before, 0.6, 1.6], start=-0.01)
    assert (start, stop, whole) == (pytest.approx(0.6), pytest.approx(1.6), 2)


def test_of_two_unlike_intervals_the_heart_rate_chooses():
    assert _typical([0.0, 0.6, 1.6], heart_rate=60.0)[:2] == pytest.approx((0.6, 1.6))
    assert _typical([0.0, 0.6, 1.6], heart_rate=100.0)[:2] == pytest.approx((0.0, 0.6))


def test_of_equals_the_first_is_taken():
    assert _typical([0.1, 0.9, 1.7, 2.5])[:2] == pytest.approx((0.1, 0.9))


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
