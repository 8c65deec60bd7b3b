"""Waiting for what another process does: for a state, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

import psutil

PATIENCE: Final = 300.0
"""Seconds after which a state has failed to come, however busy the machine is."""

Found = TypeVar("Found")


def wait_for(look: Callable[[], Found], every: float = 0.05) -> Found:
    """What a look finds, once it finds something; one that costs much is had seconds apart."""
    end = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < end, "it has not come"
        time.sleep(every)
    return found


def wait_for_the_end_of(processes: Iterable[psutil.Process]) -> None:
    """Wait until processes have ended, also where nobody asks for their exit status."""
    for process in processes:
        wait_for(lambda process=process: _has_ended(process))


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
