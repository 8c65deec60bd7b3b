"""What the decoding process sends back: bytes that are checked on arrival, since the sender is not trusted.

An answer is two lengths, a head in JSON and, for a prepared clip, its pixels as raw bytes. Nothing in it is
ever unpickled, and no length is believed before it is compared with what is allowed.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import IO, Any, Final, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from cardio_mlflow.data.clips import PREPARED_FRAMES, PREPARED_SIZE, PreparedClip
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.quality import Quality
from cardio_mlflow.data.review.clip_review import ClipReview

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
