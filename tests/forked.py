"""Code in processes of its own that begin at once: forked from a server that has imported the libraries."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.waiting import PATIENCE

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "cardio_mlflow.pipelines.command_line",
        "cardio_mlflow.pipelines.train_fold",
        "cardio_mlflow.pipelines.tune",
    ]
)


class Done(NamedTuple):
    """How a process ended: its status (a signal's number, negative, where one ended it) and what it said."""

    returncode: int
    stderr: str


class Forked:
    """A process that runs code as ``python -c`` would.

    It has its folder, arguments and environment from its start, and what it writes to stderr goes to a file.
    """

    def __init__(
        self, code: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ):
        with tempfile.NamedTemporaryFile(delete=False) as said:
            self._said = Path(said.name)
        given = dict(os.environ if environment is None else environment)
        self._process = _SERVER.Process(target=_run, args=(code, [*arguments], folder, given, self._said))
        self._process.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.exitcode is None:
            kill_with_children(self.pid)

    def wait(self, timeout: float = PATIENCE) -> Done:
        """Wait for its end; one that takes longer is killed with its children, and that is an error."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            kill_with_children(self.pid)
            raise TimeoutError(self._said.read_text(errors="replace"))
        said = self._said.read_text(errors="replace")
        self._said.unlink()
        return Done(self._process.exitcode, said)


def kill_with_children(pid: int) -> None:
    """End a process that a failed test has left behind, and those that it started: they would slow others."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in [*parent.children(recursive=True), parent]:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _run(code: str, arguments: list[str], folder: Path, environment: dict[str, str], said: Path) -> None:
    with said.open("wb") as file:
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<code of the test>", "exec"), {"__name__": "__main__"})
