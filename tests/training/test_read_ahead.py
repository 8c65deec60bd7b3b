from __future__ import annotations

import threading
import time

import pytest

from cardio_mlflow.training.read_ahead import read_ahead


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_results_come_in_order(workers):
    def slow(number):
        time.sleep(0.01 if number % 2 else 0)
        return number * 10

    assert list(read_ahead(slow, range(7), workers)) == [0, 10, 20, 30, 40, 50, 60]


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_is_read_ahead_than_there_are_workers(workers):
    started = []

    def read(number):
        started.append(number)
        return number

    results = read_ahead(read, range(20), workers)
    next(results)
    time.sleep(0.2)
    assert len(started) == workers + 1
    results.close()
    assert threading.active_count() < 20


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_reaches_the_reader_in_its_place(workers):
    def read(number):
        if number == 2:
            raise ValueError("no")
        return number

    results = read_ahead(read, range(5), workers)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="no"):
        next(results)
