"""Motion of an overlay, and what stays the same along it or for a while."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardio_mlflow.data.picture.moving_overlays import (
    compared_frames,
    horizontal_speed,
    temporal_opening,
)

ROWS, COLUMNS = 120, 200


def _speckle(count, seed=0):
    rng = np.random.default_rng(seed)
    noise = rng.rayleigh(30, (count, ROWS, COLUMNS)).clip(0, 255).astype(np.uint8)
    return [cv2.GaussianBlur(frame, (5, 5), 0) for frame in noise]


def _trace(frame, offset):
    """An ECG-like line whose picture lies ``offset`` pixels to the right."""
    x = np.arange(-300, COLUMNS + 300)
    phase = np.mod(x, 97.0)
    y = 60 - 25 * np.exp(-(((phase - 40) / 3) ** 2)) + 3 * np.sin(x / 31)
    points = np.stack([x + offset, y], axis=1)
    cv2.polylines(frame, [np.round(points * 16).astype(np.int32)], False, 230, 1, cv2.LINE_AA, 4)


def _scrolling(speed, count=12, seed=0):
    frames = _speckle(count, seed)
    for i, frame in enumerate(frames):
        _trace(frame, speed * i)
    return frames


@pytest.mark.parametrize("speed", [-9.0, -4.0, -2.3, 2.0, 3.7, 12.0])
def test_the_speed_of_a_scrolling_trace(speed):
    windows = [_scrolling(speed, seed=seed) for seed in range(3)]
    found = horizontal_speed(windows)
    assert found is not None
    assert abs(found - speed) <= 0.34


@pytest.mark.parametrize("speeds", [(), (None,) * 3, (0.0,) * 3, (5.0, -7.0, 14.0)], ids=str)
def test_speckle_what_stands_still_and_windows_that_disagree_have_no_speed(speeds):
    windows = [_speckle(12, i) if v is None else _scrolling(v, seed=i) for i, v in enumerate(speeds)]
    assert horizontal_speed(windows) is None


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 60), st.integers(1, 60), st.floats(0.4, 20) | st.floats(-20, -0.4))
def test_a_frame_is_compared_with_its_nearest_neighbours(index, more, speed):
    count = index + more
    others = compared_frames(index, count, speed)
    step = max(1, round(2 / abs(speed)))
    assert others == sorted(set(others))
    assert all(0 <= i < count and i != index and (i - index) % step == 0 for i in others)
    away = sorted(abs(k) * step for k in range(-4, 5) if k and 0 <= index + k * step < count)
    assert sorted(abs(i - index) for i in others) == away[:4]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 2**16))
def test_temporal_opening_by_its_definition(count, length, seed):
    frames = list(np.random.default_rng(seed).integers(0, 256, (count, 2, 3)).astype(np.uint8))
    for i in range(count):
        near = {k: frames[k] for k in range(max(0, i - length + 1), min(count, i + length))}
        picture = temporal_opening(i, near, count, length)
        runs = [frames[max(0, s) : s + length] for s in range(i - length + 1, i + 1)]
        assert np.array_equal(picture, np.max([np.min(run, axis=0) for run in runs], axis=0))
        assert np.all(picture <= frames[i])
