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


def test_predictions_do_not_depend_on_the_batch(
    tiny_settings, tiny_fold, tiny_network, predicted, monkeypatch
):
    settings = tiny_settings()
    data, network = tiny_fold(settings), tiny_network(settings)
    whole = predicted(network, data, settings, 1, range(10))
    monkeypatch.setattr("cardio_mlflow.training.forward.VALIDATION_BATCH", 3)
    assert predicted(network, data, settings, 1, range(10)) == pytest.approx(whole, abs=1e-5)
    assert predicted(network, data, settings, 1, [7, 2]) == pytest.approx(whole[[7, 2]], abs=1e-5)


@pytest.mark.parametrize("workers", [1, 3])
def test_data_workers_change_nothing(tiny_settings, tiny_fold, tiny_network, records_of, workers):
    changes = {"augmented_copies": 1, "speckle": 0.2, "view_dropout": 0.3, "batch_size": 2, "dropout": 0.2}

    def run(number):
        settings = tiny_settings(data_workers=number, **changes)
        records = records_of(tiny_network(settings), tiny_fold(settings), settings, 4)
        return [(r.train_loss, r.val_loss, *r.predictions.ravel()) for r in records]

    assert run(workers) == run(0)
