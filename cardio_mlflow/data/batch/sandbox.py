"""Clips prepared in a process of their own, with limits on memory and time."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from cardio_mlflow.data.clips import PREPARED_FRAMES, PREPARED_SIZE, PreparedClip
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.quality import ClipReview, Quality
from cardio_mlflow.errors import InputError

_LENGTHS: Final = struct.Struct(">II")
_MAX_HEAD: Final = 4 * 1024**2
_MAX_ITEMS: Final = 100_000
_SHAPE: Final = (PREPARED_FRAMES, PREPARED_SIZE, PREPARED_SIZE)
_PIXEL_BYTES: Final = PREPARED_FRAMES * PREPARED_SIZE**2
_PLAIN: Final = re.compile(r"[ -~]{0,300}")
_DIGEST: Final = re.compile(r"([0-9a-f]{32})?")
_NAME: Final = re.compile(r"[A-Za-z_.]{1,60}")

_IN_BOUNDS: Final[dict[Any, Callable[[Any], bool]]] = {
    str: lambda value: _PLAIN.fullmatch(value) is not None,
    Outcome: lambda value: value in set(Outcome),
    bool: lambda _: True,
    int: lambda value: abs(value) < 2**31,
    float: lambda value: abs(value) < 1e12,  # so neither infinite nor NaN
}

Head = Mapping[str, Any]
_Record = TypeVar("_Record", Quality, ClipReview)


class BadAnswerError(Exception):
    """An answer that no sound process sends."""


def send_answer(stream: IO[bytes], head: Head, pixels: bytes = b"") -> None:
    """Write one answer and flush it."""
    text = json.dumps(head, allow_nan=False, default=_scalar).encode()
    stream.write(_LENGTHS.pack(len(text), len(pixels)) + text)
    stream.write(pixels)
    stream.flush()


def receive_answer(stream: IO[bytes]) -> tuple[Head, bytes]:
    """Read one answer.

    Raises:
        EOFError: the stream ends before the answer does.
        BadAnswerError: the lengths are not allowed, or the head is no JSON object.
    """
    head_bytes, pixel_bytes = _LENGTHS.unpack(_exactly(stream, _LENGTHS.size))
    if head_bytes > _MAX_HEAD or pixel_bytes not in (0, _PIXEL_BYTES):
        raise BadAnswerError("lengths")
    text, pixels = _exactly(stream, head_bytes), _exactly(stream, pixel_bytes)
    try:
        head = json.loads(text)
    except (ValueError, RecursionError):
        raise BadAnswerError("no JSON") from None
    if not isinstance(head, dict):
        raise BadAnswerError("no JSON object")
    return head, pixels


def clip_head(clip: PreparedClip) -> dict[str, Any]:
    """The head that goes with a prepared clip's pixels."""
    return {"quality": asdict(clip.quality), "review": asdict(clip.review)}


def clip_or_refusal(head: Head, pixels: bytes) -> PreparedClip:
    """The prepared clip of an answer.

    Raises:
        ClipRefused: the answer is a refusal.
        BadAnswerError: a field is missing, or has another type than it must have.
    """
    if not pixels:
        raise _refusal(head)
    quality = _record(Quality, head.get("quality"))
    if quality.outcome != Outcome.OK:
        raise BadAnswerError("pixels of a refused clip")
    frames = np.frombuffer(pixels, np.uint8).reshape(_SHAPE)
    return PreparedClip(frames, quality, _record(ClipReview, head.get("review")))


def fault_of(head: Head) -> str:
    """Which fault of the program ended the preparation, in words.

    Raises:
        BadAnswerError: it is not well formed.
    """
    kind, file, line = head.get("fault"), head.get("file"), head.get("line")
    named = all(isinstance(name, str) and _NAME.fullmatch(name) for name in (kind, file))
    if not named or type(line) is not int:
        raise BadAnswerError("no fault")
    return f"{kind} in {file}, line {line}"


def digest_of(head: Head) -> str:
    """The digest of an answer: 32 hexadecimal digits, or nothing.

    Raises:
        BadAnswerError: it is not well formed.
    """
    digest = head.get("digest")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise BadAnswerError("no digest")
    return digest


def _refusal(head: Head) -> ClipRefused:
    outcome, message = _value(Outcome, head.get("outcome")), _value(str, head.get("message"))
    if outcome == Outcome.OK:
        raise BadAnswerError("a refusal without a reason")
    return ClipRefused(outcome, message)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def _scalar(value: object) -> object:
    """A numpy number as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(type(value).__name__)


def _record(kind: type[_Record], given: object) -> _Record:
    hints = get_type_hints(kind)
    if not isinstance(given, dict) or set(given) != {field.name for field in fields(kind)}:
        raise BadAnswerError("fields")
    return kind(**{name: _value(hints[name], value) for name, value in given.items()})


def _value(hint: Any, value: object) -> Any:
    """The value, if it is of the type; JSON's lists become tuples, and whole numbers floats."""
    options = get_args(hint)
    if get_origin(hint) is tuple:
        return _items(options, value)
    if type(None) in options:
        return None if value is None else _value(options[0], value)
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is (str if hint is Outcome else hint) and _IN_BOUNDS[hint](value):
        return hint(value)
    raise BadAnswerError("a field of another type")


def _items(options: tuple[Any, ...], value: object) -> tuple[Any, ...]:
    if not isinstance(value, list) or len(value) > _MAX_ITEMS:
        raise BadAnswerError("no list")
    kinds = options[:1] * len(value) if options[-1] is Ellipsis else options
    if len(kinds) != len(value):
        raise BadAnswerError("a list of another length")
    return tuple(_value(kind, entry) for kind, entry in zip(kinds, value, strict=True))


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


_CHILD: Final = "cardio_mlflow.data.batch.child"
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
