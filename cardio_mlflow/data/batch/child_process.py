"""A child process that works on files nobody vouches for, with limits on memory and time."""

from __future__ import annotations

import json
import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict

from cardio_mlflow.data.batch.child import serve
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.quality import Quality
from cardio_mlflow.errors import InputError

_MAX_HEAD: Final = 4 * 1024**2
_START_SECONDS: Final = 120.0
_DYING_SECONDS: Final = 2.0  # between the end of a child's answers and its own end
_KILLED: Final = -getattr(signal, "SIGKILL", 9)
_OVERRUN: Final = -getattr(signal, "SIGXCPU", 24)
_SPAWN: Final = multiprocessing.get_context("spawn")
_ONE_AT_A_TIME: Final = threading.Lock()  # multiprocessing's list of processes is not made for threads


class Head(BaseModel):
    """The head of what a child says of a file: each field of its type.

    Attributes:
        number: of the request.
        quality: of a refused file, outcome and message.
        stopped: whether a limit stopped the work.
        last: whether the child is of no more use.
    """

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    number: int
    quality: Quality = Quality()
    stopped: bool = False
    last: bool = False

    def refusal(self) -> ClipRefused:
        """What a head of a refused file says."""
        refused = ClipStopped if self.stopped else ClipRefused
        return refused(self.quality.outcome, self.quality.message)


AHead = TypeVar("AHead", bound=Head)


@dataclass(frozen=True)
class Limits:
    """What one clip may take: time, and MiB over what a process starts with (kept on Linux only)."""

    seconds: float = 120.0
    memory: int = 1024


class ClipStopped(ClipRefused):
    """A clip that was given up because of a limit; with a higher one it might be prepared."""


class _ChildEnded(Exception):  # noqa: N818 - what happened
    """The child died or was killed over a clip, of which the clip need not be the reason."""

    def __init__(self, refusal: ClipRefused) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class _Clock(threading.Thread):
    """Ends a process that has not been heard of for too long; a context manager."""

    def __init__(self, process: SpawnProcess, seconds: float) -> None:
        super().__init__(daemon=True)
        self._process, self._seconds = process, min(seconds, threading.TIMEOUT_MAX)
        self._stopped = threading.Event()
        self.wind()

    def wind(self) -> None:
        """Give it the full time from now on."""
        self._end = time.monotonic() + self._seconds

    def is_over(self) -> bool:
        """Whether it was too long."""
        return time.monotonic() >= self._end

    def run(self) -> None:
        """Wait, and end the process."""
        while not self._stopped.wait(max(0.0, self._end - time.monotonic())):
            if self.is_over():
                _end(self._process)
                return

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, so that it cannot end a process that has gone on to the next files."""
        self._stopped.set()
        self.join()


class SandboxClosedError(Exception):
    """The sandbox was closed while it worked: nothing is known about the clip."""


class ChildProcess(AbstractContextManager["ChildProcess"]):
    """One child process that works on files one at a time; a context manager.

    The child starts with the first file and serves all that follow. One that dies, hangs, takes too much
    memory or sends what it should not is replaced, and its file is refused. Of what it sends only bytes are
    taken, never an object, and checked as files are: a decoder that a file has taken over can send wrong
    pixels or texts, and nothing that runs.

    It serves one thread; ``close`` may be called from another.
    """

    def __init__(self, module: str, function: str, limits: Limits | None = None) -> None:
        """A child that will call a function of a module; see `child.serve`."""
        self.limits = limits or Limits()
        self._work = module, function
        self._process: SpawnProcess | None = None
        self._closed = False
        self._starting = threading.Lock()
        self._number = 0

    def ask(self, kind: type[AHead], path: Path, content: int = 0, **options: object) -> tuple[AHead, bytes]:
        """What the function says of a file; once more by a new child, where one dies over it.

        Args:
            kind: of the answer's head.
            path: of the file.
            content: bytes that follow the head of a file that is not refused.
            options: of the function.

        Raises:
            ClipRefused: with the outcome code; also when the child died twice (CORRUPT_FRAME).
            ClipStopped: it took too long (CORRUPT_FRAME) or too much memory (TOO_LARGE).
            SandboxClosedError: it has been closed.
            InputError: the child cannot be started.
        """
        (answer,) = self.ask_all(kind, [path], content, **options)
        if isinstance(answer, ClipRefused):
            raise answer
        return answer

    def ask_all(
        self, kind: type[AHead], paths: Sequence[Path], content: int = 0, **options: object
    ) -> list[tuple[AHead, bytes] | ClipRefused]:
        """As `ask` of each of a few files, which the child need not wait for: the limits are each file's."""
        found: list[tuple[AHead, bytes] | ClipRefused] = []
        died_over = -1
        while len(found) < len(paths):
            try:
                for answer in self._ask(kind, paths[len(found) :], content, options):
                    found.append(answer)
            except _ChildEnded as ended:  # somebody may have killed it
                if died_over == len(found):
                    found.append(ended.refusal)
                else:
                    died_over = len(found)
        return found

    def _ask(
        self, kind: type[AHead], paths: Sequence[Path], content: int, options: dict[str, object]
    ) -> Iterator[tuple[AHead, bytes] | ClipRefused]:
        """What the child says of the files, in order, as long as it is of use."""
        process = self._running()
        with _Clock(process, self.limits.seconds) as clock:
            try:
                for number in self._send(paths, options):
                    answer, data = self._answer(kind, number, content)
                    clock.wind()
                    yield (answer, data) if answer.quality.outcome == Outcome.OK else answer.refusal()
                    if answer.last:
                        return self._discard()
            except (ValueError, EOFError, OSError) as fault:
                failure = self._failure(fault, process, clock.is_over())
                self._discard()
                if not isinstance(failure, ClipRefused):
                    raise failure from None
                yield failure

    def close(self) -> None:
        """End the child; a file that is being worked on is given up."""
        with self._starting:
            self._closed = True
            process = self._process
        if process is not None:
            _end(process)

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _running(self) -> SpawnProcess:
        """The child, started where there is none that lives."""
        if self._process is not None and _status(self._process, 0.0) is None:
            return self._process
        self._discard()
        with self._starting:
            if self._closed:
                raise SandboxClosedError
            self._pipe, self._process = _spawned(*self._work, self.limits)
        try:
            if self._pipe.poll(_START_SECONDS) and self._pipe.recv_bytes(_MAX_HEAD):
                return self._process
        except (EOFError, OSError):
            pass
        self._discard()
        raise SandboxClosedError if self._closed else _no_start("it ended at once")

    def _send(self, paths: Sequence[Path], options: dict[str, object]) -> list[int]:
        """Send a request for each file, and give their numbers."""
        for path in paths:
            self._number += 1
            request = {"path": str(path.absolute()), "options": options, "number": self._number}
            self._pipe.send_bytes(json.dumps(request).encode())
        return list(range(self._number - len(paths) + 1, self._number + 1))

    def _answer(self, kind: type[AHead], number: int, content: int) -> tuple[AHead, bytes]:
        """An answer: its head and, of a file that is not refused, its content.

        It raises ValueError where it makes no sense, EOFError or OSError where the child has gone or sends
        more than is allowed.
        """
        answer = kind.model_validate_json(self._pipe.recv_bytes(_MAX_HEAD))
        follows = content and answer.quality.outcome == Outcome.OK
        data = self._pipe.recv_bytes(content) if follows else b""
        if answer.number != number or (follows and len(data) != content):
            raise ValueError("an answer to another question, or a part of one")
        return answer, data

    def _failure(self, fault: Exception, process: SpawnProcess, late: bool) -> Exception:
        """Why there is no answer, of a child that was closed, killed or died, or sent what makes no sense."""
        senseless = isinstance(fault, ValueError) or not self._pipe.readable  # the latter: it sends too much
        status = None if senseless else _status(process, _DYING_SECONDS)
        if self._closed:
            return SandboxClosedError()
        if late or status == _OVERRUN:
            return ClipStopped(Outcome.CORRUPT_FRAME, f"took longer than {self.limits.seconds:g} s")
        if status == _KILLED:  # by the system, for want of memory
            words = f"needs more than {self.limits.memory} MiB of memory"
            return _ChildEnded(ClipStopped(Outcome.TOO_LARGE, words))
        if senseless:
            return ClipRefused(Outcome.CORRUPT_FRAME, "the decoder sent an answer that makes no sense")
        return _ChildEnded(ClipRefused(Outcome.CORRUPT_FRAME, "the decoder died"))

    def _discard(self) -> None:
        """Have the child gone, so that the next file gets a new one."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)
            self._pipe.close()


def _spawned(module: str, function: str, limits: Limits) -> tuple[Connection, SpawnProcess]:
    """A new child, and the connection to it; InputError where none can be started."""
    if multiprocessing.current_process().daemon:
        raise _no_start("a worker of multiprocessing.Pool or of Dask may start none: prepare before")
    ours, theirs = _SPAWN.Pipe()
    given = (theirs, module, function, limits.memory, limits.seconds)
    process = _SPAWN.Process(target=serve, args=given, daemon=True)
    try:
        with theirs, _ONE_AT_A_TIME, _nothing_of_ours():
            process.start()
    except OSError as fault:
        raise _no_start(str(fault.strerror)) from None
    return ours, process


@contextmanager
def _nothing_of_ours() -> Iterator[None]:
    """Keep spawn from running the user's script again in the child, and from telling it loky's start method.

    Spawn leaves a main module alone that is called ``__main__``, as that of a folder or an archive is; and
    knows no start method of others, so that in a worker of joblib nothing would start.
    """
    main, method = sys.modules["__main__"], multiprocessing.get_start_method(allow_none=True)
    spec, main.__spec__ = main.__spec__, ModuleSpec("__main__", None)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        yield
    finally:
        main.__spec__ = spec
        multiprocessing.set_start_method(method, force=True)


def _status(process: SpawnProcess, seconds: float) -> int | None:
    """Exit status of a process; None where it has none after so many seconds.

    Not by ``join``, which waits for ever for a process that closes its files and lives on.
    """
    end = time.monotonic() + seconds
    while True:
        with _ONE_AT_A_TIME:
            status = process.exitcode
        if status is not None or time.monotonic() >= end:
            return status
        time.sleep(0.005)


def _end(process: SpawnProcess) -> None:
    """End a process, from any thread."""
    with _ONE_AT_A_TIME:
        process.kill()
    _status(process, _DYING_SECONDS)


def _no_start(reason: str) -> InputError:
    return InputError(
        f"The process that decodes clips could not be started ({reason}). "
        "Is the installation whole? Try: python -m pip check"
    )
