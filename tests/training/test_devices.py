from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import ExitStack

import pytest
import torch

from cardio_mlflow.training import devices as module
from cardio_mlflow.training.devices import available_devices, claimed_device
from tests.waiting import PATIENCE, wait_for

GPUS = [torch.device("cuda", i) for i in range(2)]


@pytest.fixture(autouse=True)
def _own_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "lock_folder", lambda: tmp_path)
    monkeypatch.setattr(module, "name_of", str)


def test_workers_get_a_gpu_each_and_the_next_one_waits(monkeypatch):
    with ExitStack() as first, claimed_device(GPUS) as second_device:
        first_device = first.enter_context(claimed_device(GPUS))
        assert {first_device, second_device} == set(GPUS)
        got, looks, look = [], [], module._acquired

        def looked(lock):
            found = look(lock)
            looks.append(found)
            return found

        monkeypatch.setattr(module, "_acquired", looked)

        def third():
            with claimed_device(GPUS) as device:
                got.append(device)

        waiting = threading.Thread(target=third)
        waiting.start()
        wait_for(lambda: len(looks) > len(GPUS))
        assert not got
        assert not any(looks)
        first.close()
        waiting.join(PATIENCE)
        assert got == [first_device]


def test_the_gpu_of_a_killed_worker_is_free_again(tmp_path):
    code = (
        "import pathlib, sys, torch\n"
        "from cardio_mlflow.training import devices\n"
        "from cardio_mlflow.training.devices import claimed_device\n"
        f"devices.lock_folder = lambda: pathlib.Path({str(tmp_path)!r})\n"
        "devices.name_of = str\n"
        "with claimed_device([torch.device('cuda', i) for i in range(2)]) as device:\n"
        "    print(device, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        held = [worker.stdout.readline().strip() for worker in workers]
        assert sorted(held) == ["cuda:0", "cuda:1"]
        workers[0].kill()
        workers[0].wait()
        with claimed_device(GPUS) as device:
            assert str(device) == held[0]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def test_a_cpu_is_shared():
    cpu = [torch.device("cpu")]
    with claimed_device(cpu) as one, claimed_device(cpu) as two:
        assert one == two == cpu[0]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_every_gpu_is_seen(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    expected = [torch.device("cuda", i) for i in range(count)] or [torch.device("cpu")]
    assert available_devices() == expected
