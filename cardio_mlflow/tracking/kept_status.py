"""The status of a run that ``mlflow run`` would overwrite.

After a child that did not exit with 0, ``mlflow run`` 3.17 marks its run FAILED, also where the child has
ended it as KILLED (it compares the status' name with numbers). This module, run as a detached process, puts
the status back once that has happened.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Final

import psutil
from mlflow.tracking import MlflowClient

PATIENCE: Final = 60.0
"""Seconds that it waits at most."""
AFTERWARDS: Final = 5.0
"""Seconds that it waits at most when the parent has gone."""


def keep_status(run_id: str, status: str, uri: str) -> None:
    """Start a process that outlives this one and its parent, ``mlflow run``, and keeps the run's status."""
    command = [sys.executable, "-m", __name__, run_id, status, uri, str(os.getppid())]
    subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_and_restore(run_id: str, status: str, uri: str, parent: int) -> None:
    """Wait until the status is overwritten or the parent has gone, and set it again."""
    client, end = MlflowClient(uri), time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if client.get_run(run_id).info.status != status:
            client.set_terminated(run_id, status)
            return
        if not psutil.pid_exists(parent):  # its own parent, a shell between, may go before mlflow run does
            end = min(end, time.monotonic() + AFTERWARDS)
        time.sleep(0.2)


if __name__ == "__main__":
    wait_and_restore(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
