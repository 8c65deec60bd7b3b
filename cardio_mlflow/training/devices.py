"""Which device a worker process computes on: GPUs are taken one a worker."""

from __future__ import annotations

import getpass
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch
from filelock import FileLock, Timeout

_EVERY: Final = 0.2


@contextmanager
def claimed_device(devices: Sequence[torch.device]) -> Iterator[torch.device]:
    """Hold a device that no other worker of this user on this machine holds; waits until one is free.

    The system drops the lock of a worker that dies.

    Args:
        devices: those to choose from; where there is one, as a CPU, it is shared.
    """
    if len(devices) == 1:
        yield devices[0]
        return
    folder = Path(tempfile.gettempdir()) / f"cardio_mlflow-{getpass.getuser()}"
    folder.mkdir(exist_ok=True)
    locks = [FileLock(folder / f"{name_of(device)}.lock") for device in devices]
    taken = -1
    while taken < 0:
        taken = next((i for i, lock in enumerate(locks) if _acquired(lock)), -1)
    try:
        yield devices[taken]
    finally:
        locks[taken].release()


def name_of(device: torch.device) -> str:
    """What tells a GPU from the others of a machine, whichever of them this process sees."""
    return str(torch.cuda.get_device_properties(device).uuid)


def available_devices() -> list[torch.device]:
    """The GPUs that this process sees, or the CPU."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [torch.device("cuda", i) for i in range(count)] or [torch.device("cpu")]


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=_EVERY)
    except Timeout:
        return False
    return True
