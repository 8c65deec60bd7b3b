from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from cardio_mlflow.errors import InputError
from cardio_mlflow.training import devices as module
from cardio_mlflow.training.devices import (
    available_devices,
    claimed_device,
    enough_memory,
    fitting_step,
    step_bytes,
)

CPU = torch.device("cpu")
TWO_GPUS = """
import pathlib, sys, torch
from cardio_mlflow.training import devices
devices.lock_folder = lambda: pathlib.Path(sys.argv[1])
devices.name_of = str
devices.available_devices = lambda: [torch.device("cuda", i) for i in range(2)]
print("asks", flush=True)
held = [devices.claimed_device(int(sys.argv[2])) for job in range(2)]
assert held[0] == held[1], "a worker keeps its GPU from job to job"
print(held[0], flush=True)
sys.stdin.read()
"""


@contextmanager
def worker(folder: Path, sharing: int = 1) -> Iterator[tuple[Callable[[], str], Callable[[], None]]]:
    """A process that claims a GPU: how to read its next line, and how to kill it."""
    process = subprocess.Popen(
        [sys.executable, "-c", TWO_GPUS, str(folder), str(sharing)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield lambda: process.stdout.readline().strip(), process.kill
    finally:
        process.kill()
        process.wait()


def test_workers_keep_a_gpu_each_and_that_of_a_killed_one_is_free_again(tmp_path: Path) -> None:
    with worker(tmp_path) as (one, kill), worker(tmp_path) as (two, _):
        assert one() == two() == "asks"
        held = one()
        assert {held, two()} == {"cuda:0", "cuda:1"}
        with worker(tmp_path, sharing=2) as (shares, _), worker(tmp_path) as (late, _):
            assert shares() == late() == "asks"
            assert shares() in ("cuda:0", "cuda:1"), "who may share waits for nobody"
            kill()
            assert late() == held


@pytest.mark.parametrize("count", [0, 1, 3])
def test_every_gpu_is_seen_and_a_single_device_is_shared(monkeypatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert available_devices() == ([torch.device("cuda", i) for i in range(count)] or [CPU])
    if count < 2:
        assert claimed_device() == claimed_device() == available_devices()[0]


def test_a_step_takes_what_the_device_has_for_it(monkeypatch) -> None:
    fitting_step.cache_clear()
    monkeypatch.setattr(module, "free_memory", lambda: 23 * 2**30)
    total = SimpleNamespace(total_memory=141 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: total)
    gpu = torch.device("cuda", 0)
    assert [fitting_step(CPU, sharing) for sharing in (1, 2, 9)] == [16, 8, 1]
    assert [fitting_step(gpu, sharing) for sharing in (1, 4)] == [64, 16]
    assert [step_bytes(3.0, CPU, 1.0), step_bytes(0.0, CPU, 4.0), step_bytes(0.0, gpu, 4.0)] == [
        3 * 2**30, 4 * 2**30, 64 * 2**30,
    ]  # fmt: skip
    fitting_step.cache_clear()


def test_memory_that_ran_out_says_what_to_lower() -> None:
    lower = r"memory of the machine ran out.*batch_size.*step_memory.*jobs"
    with pytest.raises(InputError, match=lower), enough_memory():
        torch.empty(2**52, dtype=torch.uint8)  # refused by torch itself
    with pytest.raises(InputError, match="memory of the machine"), enough_memory():
        bytearray(2**60)
    with pytest.raises(InputError, match="memory of the GPU"), enough_memory():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    with pytest.raises(RuntimeError, match="size"), enough_memory():
        torch.zeros(2) @ torch.zeros(3)
