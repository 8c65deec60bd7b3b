"""Clips prepared in a process of their own, with limits on memory and time."""

from __future__ import annotations

import json
import math
import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cardio_mlflow.data.batch.child import serve
from cardio_mlflow.data.clips import PREPARED_FRAMES, PREPARED_SIZE, PreparedClip
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.quality import ClipReview, Quality
from cardio_mlflow.errors import InputError

_MAX_HEAD: Final = 4 * 1024**2
_MAX_ITEMS: Final = 100_000
_MAX_NOTES: Final = 1000  # characters; of other texts 300
_SHAPE: Final = (PREPARED_FRAMES, PREPARED_SIZE, PREPARED_SIZE)
_PREPARATION = "cardio_mlflow.data.clips"  # the module whose prepare_clip the child calls
_START_SECONDS: Final = 120.0
_DYING_SECONDS: Final = 2.0  # between the end of a child's answers and its own end
_KILLED: Final = -getattr(signal, "SIGKILL", 9)
_OVERRUN: Final = -getattr(signal, "SIGXCPU", 24)
_SPAWN: Final = multiprocessing.get_context("spawn")
_ONE_AT_A_TIME: Final = threading.Lock()  # multiprocessing's list of processes is not made for threads


class Answer(BaseModel):
    """The head of what a child says of a clip: each field of its type, all texts and numbers within bounds.

    Attributes:
        number: of the request.
        quality: as in ``PreparedClip``, like review and instance; of a refused clip, outcome and message.
        stopped: whether a limit stopped the clip.
        last: whether the child is of no more use.
    """

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    number: int
    quality: Quality
    review: ClipReview = ClipReview()
    instance: str = Field("", pattern="^([0-9a-f]{32})?$")
    stopped: bool = False
    last: bool = False

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        rest = self.model_dump(exclude={"quality": {"notes"}})
        if not (_within_bounds(rest) and _within_bounds(self.quality.notes, _MAX_NOTES)):
            raise ValueError("out of bounds")
        return self


def _within_bounds(value: object, longest: int = 300) -> bool:
    """Whether texts are short printable ASCII, numbers have a size that occurs, and lists have an end."""
    match value:
        case str():
            return len(value) <= longest and value.isascii() and value.isprintable()
        case int() | float():
            return abs(value) < 2**31
        case dict():
            return all(map(_within_bounds, value.values()))
        case tuple():
            return len(value) <= _MAX_ITEMS and all(map(_within_bounds, value))
    return value is None


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


class SandboxClosedError(Exception):
    """The sandbox was closed while it worked: nothing is known about the clip."""


class Sandbox(AbstractContextManager["Sandbox"]):
    """One child process that prepares clips one at a time; a context manager.

    The child starts with the first clip and serves all that follow. One that dies, hangs, takes too much
    memory or sends what it should not is replaced, and its clip is refused. Of what it sends only bytes are
    taken, never an object, and checked as files are: a decoder that a file has taken over can send wrong
    pixels, and nothing that runs.

    A sandbox serves one thread; ``close`` may be called from another.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._process: SpawnProcess | None = None
        self._closed = False
        self._starting = threading.Lock()
        self._number = 0

    def prepare(self, path: Path, check_text: bool = False) -> PreparedClip:
        """Prepare a clip as ``clips.prepare_clip`` does; once more in a new child, where one dies over it.

        Raises:
            ClipRefused: with the outcome code; also when the child died twice (CORRUPT_FRAME).
            ClipStopped: it took too long (CORRUPT_FRAME) or too much memory (TOO_LARGE).
            SandboxClosedError: the sandbox has been closed.
            InputError: the child cannot be started.
        """
        with suppress(_ChildEnded):  # somebody may have killed it
            return self._prepare(path, check_text)
        try:
            return self._prepare(path, check_text)
        except _ChildEnded as ended:
            raise ended.refusal from None

    def _prepare(self, path: Path, check_text: bool) -> PreparedClip:
        process = self._running()
        end = time.monotonic() + self.limits.seconds
        clock = threading.Timer(min(self.limits.seconds, threading.TIMEOUT_MAX), _end, [process])
        clock.daemon = True
        clock.start()
        try:
            answer, frames = self._answer({"path": str(path.absolute()), "check_text": check_text})
        except (ValueError, EOFError, OSError) as fault:
            failure = self._failure(fault, process, late=time.monotonic() >= end)
            self._discard()
            raise failure from None
        finally:
            clock.cancel()
            clock.join()  # so that it cannot kill a process that has gone on to the next clip
        if answer.last:
            self._discard()
        if answer.quality.outcome == Outcome.OK:
            return PreparedClip(frames, answer.quality, answer.review, answer.instance)
        refused = ClipStopped if answer.stopped else ClipRefused
        raise refused(answer.quality.outcome, answer.quality.message)

    def close(self) -> None:
        """End the child; a clip that is being prepared is given up."""
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
            self._pipe, self._process = _spawned(self.limits)
        try:
            if self._pipe.poll(_START_SECONDS) and self._pipe.recv_bytes(_MAX_HEAD):
                return self._process
        except (EOFError, OSError):
            pass
        self._discard()
        raise SandboxClosedError if self._closed else _no_start("it ended at once")

    def _answer(self, request: dict[str, object]) -> tuple[Answer, NDArray[np.uint8]]:
        """An answer: its head and, of a prepared clip, the frames.

        It raises ValueError where it makes no sense, EOFError or OSError where the child has gone or sends
        more than is allowed.
        """
        self._number += 1
        self._pipe.send_bytes(json.dumps(request | {"number": self._number}).encode())
        answer = Answer.model_validate_json(self._pipe.recv_bytes(_MAX_HEAD))
        prepared = answer.quality.outcome == Outcome.OK
        frames = np.frombuffer(self._pipe.recv_bytes(math.prod(_SHAPE)) if prepared else b"", np.uint8)
        if answer.number != self._number:
            raise ValueError("an answer to another question")
        return answer, frames.reshape(_SHAPE) if prepared else frames

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
        """Have the child gone, so that the next clip gets a new one."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)
            self._pipe.close()


def _spawned(limits: Limits) -> tuple[Connection, SpawnProcess]:
    """A new child, and the connection to it; InputError where none can be started."""
    if multiprocessing.current_process().daemon:
        raise _no_start("a worker of multiprocessing.Pool or of Dask may start none: prepare before")
    ours, theirs = _SPAWN.Pipe()
    given = (theirs, _PREPARATION, limits.memory, limits.seconds)
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
