"""Speeds of pictures and heads that move at a known speed."""

from __future__ import annotations

import numpy as np
import pytest

from cardio_mlflow.data.cycle.head import Arrivals, Head, find_head, refine_head
from cardio_mlflow.data.cycle.scroll import find_speed

WIDTH = 400


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
    found, likeness = find_speed(_pictures(speed, times, noise), times, WIDTH, 60, 0.3)
    assert found == pytest.approx(speed, rel=0.008)
    assert 0.3 <= likeness <= 1.2


def test_uneven_times_are_minded():
    times = np.cumsum(np.random.default_rng(2).uniform(0.02, 0.06, 70))
    times -= times[0]
    assert find_speed(_pictures(150.0, times), times, WIDTH, 60, 0.3)[0] == pytest.approx(150.0, rel=0.004)


@pytest.mark.parametrize("still", [False, True])
def test_what_does_not_move_has_no_speed(still):
    times = np.arange(60) / 30
    frames = np.random.default_rng(1).normal(size=(1 if still else 60, WIDTH)).astype(np.float32)
    frames = np.repeat(frames, 60, axis=0) if still else frames
    assert find_speed(lambda numbers: frames[numbers][:, None, :], times, WIDTH, 60, 0.3) is None


def _arrivals(speed, start, lap, times, noise=40):
    rng = np.random.default_rng(3)
    own = np.mod(start + speed * times, lap)
    columns = np.concatenate([own, rng.uniform(0, lap, noise)])
    frames = np.concatenate([np.arange(len(times)), rng.integers(0, len(times), noise)])
    return Arrivals(columns, frames, np.ones(len(columns)))


@pytest.mark.parametrize(
    ("speed", "start", "lap"), [(120.0, 10.0, 380.0), (200.0, 300.0, 360.0), (60.0, 50.0, 390.0)]
)
def test_the_path_of_a_head_is_found_among_other_things(speed, start, lap):
    times = np.arange(90) / 30
    arrivals = _arrivals(speed, start, lap, times)
    now = times[arrivals.frames]
    head = find_head(arrivals, times, WIDTH)
    for tolerance in (12.0, 4.0, 2.0):
        head = refine_head(head, arrivals, now, tolerance)
    assert head.speed == pytest.approx(speed, rel=0.01)
    assert np.median(np.abs(head.off(arrivals.columns[:90], now[:90]))) < 0.5
    if start + speed * times[-1] > lap + 20:
        assert head.lap == pytest.approx(lap, abs=2)


def test_a_few_arrivals_make_no_head():
    assert find_head(Arrivals(np.arange(5.0), np.arange(5), np.ones(5)), np.arange(10) / 30, WIDTH) is None


def test_a_head_tells_the_time_of_its_columns():
    head = Head(100.0, 20.0, 300.0)
    assert head.seconds(np.array([20.0, 70.0, 320.0])).tolist() == [0.0, 0.5, 3.0]
    assert head.off(np.array([25.0]), np.array([3.0])).tolist() == [5.0]
