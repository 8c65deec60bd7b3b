"""The life of the process that decodes: started with next to nothing, asked, timed, ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cardio_mlflow.data.sandbox.answers import Head, receive_answer

_DYING_SECONDS: Final = 2.0  # between the end of a child's output and its own end
# Passed on to the child. It sees nothing else of the environment: no addresses of servers, no passwords.
_PASSED_ON: Final = (
    "PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT",
)  # fmt: skip
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class ChildDiedError(Exception):
    """The child process is gone, without an answer.

    Attributes:
        status: its exit status, negative for a signal; None where it had to be killed.
        late: whether its time was over.
    """

    def __init__(self, status: int | None, late: bool) -> None:
        super().__init__(status, late)
        self.status = status
        self.late = late


class ChildProcess:
    """A Python process that reads requests on its standard input and answers on its standard output.

    It is started anew, not forked, so it holds no memory, lock or open file of this process.
    """

    def __init__(self, module: str, arguments: Sequence[str]) -> None:
        """Start ``python -m module arguments``.

        Raises:
            OSError: the system starts no process.
        """
        kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        places = {"PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-B", "-m", module, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=kept | _ONE_THREAD | places,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout

    @property
    def lives(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def ask(self, request: dict[str, object] | None, seconds: float) -> tuple[Head, bytes]:
        """Send a request, if there is one, and wait for an answer.

        Raises:
            ChildDiedError: there is none; after ``seconds`` the process is killed.
            BadAnswerError: the answer is not well formed.
        """
        with _Clock(self._process, seconds) as clock:
            try:
                if request is not None:
                    self._requests.write(json.dumps(request).encode() + b"\n")
                    self._requests.flush()
                return receive_answer(self._answers)
            except (EOFError, OSError):
                raise ChildDiedError(self._last_status(), clock.struck) from None

    def kill(self) -> None:
        """End the process, from any thread; who waits for an answer gets a ChildDiedError."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End the process and give back its pipes; by the thread that asks."""
        self.kill()
        for pipe in (self._requests, self._answers):
            with suppress(OSError):  # of a request that was never read
                pipe.close()

    def _last_status(self) -> int | None:
        try:
            return self._process.wait(_DYING_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return None


class _Clock:
    """Kills a process when its time is over; ``struck`` tells that it did."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self.struck = False
        self._process = process
        self._timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self._strike)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()  # so that it cannot kill a process that has gone on to the next clip

    def _strike(self) -> None:
        self.struck = True
        self._process.kill()
