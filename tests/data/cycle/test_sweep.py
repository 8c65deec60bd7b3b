"""Paths of heads that move at a known speed."""

from __future__ import annotations

import numpy as np
import pytest

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
