"""Clips prepared in a process of their own, with limits on memory and time."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from cardio_mlflow.data.clips import PreparedClip
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.sandbox.answers import BadAnswerError, Head, clip_or_refusal, digest_of, fault_of
from cardio_mlflow.data.sandbox.child_process import ChildDiedError, ChildProcess
from cardio_mlflow.errors import InputError

_CHILD: Final = "cardio_mlflow.data.sandbox.child"
_PREPARATION = "cardio_mlflow.data.clips"  # the module whose prepare_clip the child calls
_START_SECONDS: Final = 120.0
_KILLED: Final = -getattr(signal, "SIGKILL", 9)
_OVERRUN: Final = -getattr(signal, "SIGXCPU", 24)

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Limits:
    """What the preparation of one clip may take.

    Attributes:
        seconds: of time.
        memory: MiB over what the process uses when it starts (kept on Linux only).
    """

    seconds: float = 120.0
    memory: int = 1024


class ClipStopped(ClipRefused):
    """A clip that was given up because of a limit; with a higher one it might be prepared."""


class SandboxClosedError(Exception):
    """The sandbox was closed while it worked: nothing is known about the clip."""


class Sandbox:
    """One child process that prepares clips one at a time; a context manager.

    The child starts with the first clip and serves all that follow. One that dies, hangs, takes too much
    memory or sends what it should not is replaced, and its clip is refused. Its answers are checked as
    the files are: a decoder that a file has taken over can send wrong pixels, and nothing that runs.

    A sandbox serves one thread; ``close`` may be called from another.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._child: ChildProcess | None = None
        self._closed = False
        self._starting = threading.Lock()
        self._number = 0

    def prepare(self, path: Path, check_text: bool = False) -> PreparedClip:
        """Prepare a clip as ``clips.prepare_clip`` does.

        Args:
            path: the DICOM, video or tensor file.
            check_text: look for text left inside the sector.

        Raises:
            ClipRefused: with the outcome code; also when the child died (CORRUPT_FRAME).
            ClipStopped: it took too long (CORRUPT_FRAME) or too much memory (TOO_LARGE).
            SandboxClosedError: the sandbox has been closed.
            InputError: the child cannot be started.
        """
        return self._ask("prepare", path, check_text, clip_or_refusal)

    def instance(self, path: Path) -> str:
        """Digest of a DICOM file's SOP Instance UID, 32 hexadecimal digits; empty where there is none.

        Raises:
            ClipRefused, SandboxClosedError, InputError: as ``prepare``.
        """
        return self._ask("instance", path, False, lambda head, _: digest_of(head))

    def close(self) -> None:
        """End the child; a clip that is being prepared is given up."""
        with self._starting:
            self._closed = True
            child = self._child
        if child is not None:
            child.kill()

    def __enter__(self) -> Self:
        """Nothing is started yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _ask(self, task: str, path: Path, check_text: bool, read: Callable[[Head, bytes], _Found]) -> _Found:
        child = self._running()
        self._number += 1
        place = str(path.absolute())
        request = {"number": self._number, "task": task, "path": place, "check_text": check_text}
        failure: Exception
        try:
            head, pixels = child.ask(request, self.limits.seconds)
            if not {"fault", "stopped"} & set(head):
                return read(_of(self._number, head), pixels)
            failure = self._failure(head)
        except ChildDiedError as death:
            failure = self._death(death)
        except BadAnswerError:
            failure = _corrupt("the decoder sent an answer that makes no sense")
        self._discard()
        raise failure

    def _running(self) -> ChildProcess:
        """The child, started where there is none that lives."""
        if self._child is not None and self._child.lives:
            return self._child
        self._discard()
        limits = (str(self.limits.memory), str(self.limits.seconds))
        try:
            with self._starting:
                if self._closed:
                    raise SandboxClosedError
                self._child = child = ChildProcess(_CHILD, (_PREPARATION, *limits))
            _of(0, child.ask(None, _START_SECONDS)[0])  # it says when it is ready
        except (OSError, ChildDiedError, BadAnswerError) as fault:
            raise SandboxClosedError if self._closed else _no_start(fault) from None
        return child

    def _discard(self) -> None:
        """Have the child gone, so that the next clip gets a new one."""
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def _failure(self, head: Head) -> ClipRefused:
        """Why a child gives up that still could say so."""
        return _corrupt(f"the program failed: {fault_of(head)}") if "fault" in head else self._too_large()

    def _death(self, death: ChildDiedError) -> Exception:
        """Why a child is gone that said nothing."""
        if self._closed:
            return SandboxClosedError()
        if death.late or death.status == _OVERRUN:
            return ClipStopped(Outcome.CORRUPT_FRAME, f"took longer than {self.limits.seconds:g} s")
        if death.status == _KILLED:  # by the system, for want of memory
            return self._too_large()
        return _corrupt("the decoder died")

    def _too_large(self) -> ClipStopped:
        return ClipStopped(Outcome.TOO_LARGE, f"needs more than {self.limits.memory} MiB of memory")


def _of(number: int, head: Head) -> Head:
    if head.get("number") != number:
        raise BadAnswerError("an answer to another question")
    return head


def _corrupt(message: str) -> ClipRefused:
    return ClipRefused(Outcome.CORRUPT_FRAME, message)


def _no_start(fault: Exception) -> InputError:
    reason = fault.strerror if isinstance(fault, OSError) else "it ended at once"
    return InputError(
        f"The process that decodes clips could not be started ({reason}). "
        "Is the installation whole? Try: python -m pip check"
    )
