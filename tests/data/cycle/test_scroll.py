"""Speeds of pictures that move at a known speed."""

from __future__ import annotations

import numpy as np
import pytest

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
