from __future__ import annotations

import threading

import pytest

from cardio_mlflow.training.forward import read_ahead
from tests.waiting import PATIENCE


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_results_come_in_order(workers):
    overtaken = threading.Event()

    def read(number):
        if number == 0 and workers > 1:
            assert overtaken.wait(PATIENCE)
        overtaken.set()
        return number * 10

    assert list(read_ahead(read, range(7), workers)) == [0, 10, 20, 30, 40, 50, 60]


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_is_read_ahead_than_there_are_workers(workers):
    asked = []

    class Items(list):
        def __iter__(self):
            for item in super().__iter__():
                asked.append(item)
                yield item

    results = read_ahead(str, Items(range(20)), workers)
    for given in range(1, 4):
        next(results)
        assert len(asked) == workers + given
    results.close()
    assert len(asked) == workers + 3
    assert not [thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name]


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
