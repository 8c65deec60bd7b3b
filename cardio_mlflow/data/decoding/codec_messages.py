"""What a codec written in C complains about while it decodes."""

from __future__ import annotations

import os
import tempfile
from types import TracebackType
from typing import Final, Self

_STDERR: Final = 2
_READ_BYTES: Final = 4096


class CodecMessages:
    """Catches what codecs write to the error stream of the process.

    libjpeg fills the rest of a cut frame with gray, tells it only on the error stream, and reports
    success; neither OpenCV nor Pillow passes that on. So the stream is caught for the milliseconds
    that a frame takes. Meant for a process that decodes on one thread.

    >>> with CodecMessages() as messages:
    ...     with messages.caught():
    ...         _ = os.write(2, b"Corrupt JPEG data")
    ...     messages.take()
    'Corrupt JPEG data'
    """

    def __enter__(self) -> Self:
        self._file = tempfile.TemporaryFile(buffering=0)
        self._written = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def caught(self) -> _Redirected:
        """A context in which the error stream is caught."""
        return _Redirected(self._file.fileno())

    def take(self) -> str:
        """What was written since the last call, up to 4096 characters; usually empty."""
        end = os.fstat(self._file.fileno()).st_size
        if end == self._written:
            return ""
        self._file.seek(self._written)
        text = self._file.read(_READ_BYTES) or b""
        self._written = end
        self._file.seek(end)
        return text.decode("ascii", "replace")


class _Redirected:
    """The error stream of the process, sent to a file until the context ends."""

    def __init__(self, target: int) -> None:
        self._target = target

    def __enter__(self) -> None:
        try:
            self._saved = os.dup(_STDERR)
        except OSError:  # a process without an error stream
            self._saved = -1
        os.dup2(self._target, _STDERR)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._saved < 0:
            os.close(_STDERR)
            return
        os.dup2(self._saved, _STDERR)
        os.close(self._saved)
