"""The containers of video clips: told by their first bytes, and checked for being whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import BinaryIO, Final

from cardio_mlflow.data.outcomes import ClipRefused, Outcome

_MATROSKA: Final = bytes.fromhex("1a45dfa3")
_SEGMENT: Final = bytes.fromhex("18538067")
_WINDOWS_MEDIA: Final = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_QUICKTIME: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_MAX_PARTS: Final = 10_000
_HEAD_BYTES: Final = 24  # enough of a part to tell its length


def container_of(file: BinaryIO) -> str | None:
    """The container's name by the first bytes of a file: avi, mp4, mkv, wmv, or None.

    Playlists, and every kind of file that only points to others, are none of these.
    """
    file.seek(0)
    start = file.read(16)
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return "avi"
    if start[4:8] in _QUICKTIME:
        return "mp4"
    if start[:4] == _MATROSKA:
        return "mkv"
    return "wmv" if start == _WINDOWS_MEDIA else None


def check_whole(file: BinaryIO, container: str, size: int) -> None:
    """Check that a file is as long as its container says, by the lengths of its outermost parts.

    AVI: RIFF chunks (Microsoft's RIFF; OpenDML 1.02 for a second one). MP4 and QuickTime: boxes (ISO/IEC
    14496-12, 4.2). Matroska: the EBML header and the segment (RFC 8794 and 9559), where its length is
    given. Windows Media: objects (Microsoft's ASF 01.20.03, 2).

    Args:
        file: the open file.
        container: what `container_of` gave.
        size: the file's size in bytes.

    Raises:
        ClipRefused: TRUNCATED, or BAD_VIDEO when there is no end of parts.
    """
    position, parts = 0, 0
    while size - position >= 8 and parts < _MAX_PARTS:
        file.seek(position)
        length = _LENGTHS[container](file.read(_HEAD_BYTES), size - position)
        if length is None:
            return
        if position + length > size:
            raise ClipRefused(Outcome.TRUNCATED, f"{size} of {position + length} bytes are there")
        position += length
        parts += 1
    if parts == _MAX_PARTS:
        raise ClipRefused(Outcome.BAD_VIDEO, f"more than {_MAX_PARTS} parts")


def _riff_length(head: bytes, _left: int) -> int | None:
    """Length of the RIFF chunk that begins so; None behind the last one."""
    return 8 + int.from_bytes(head[4:8], "little") if head[:4] == b"RIFF" else None


def _box_length(head: bytes, left: int) -> int | None:
    """Length of the box that begins so; None when it is no box, as padding behind the last one."""
    length, kind = int.from_bytes(head[:4], "big"), head[4:8]
    if not kind.isalnum() and kind.strip(b" ") == b"":
        return None
    if length == 0:  # to the end of the file
        return left
    if length == 1:
        length = int.from_bytes(head[8:16], "big")
    return length if length >= 8 else None


def _element_length(head: bytes, _left: int) -> int | None:
    """Length of Matroska's header or segment; None behind it, and where a segment does not tell it."""
    if head[:4] not in (_MATROSKA, _SEGMENT) or not head[4]:
        return None
    width = 9 - head[4].bit_length()  # bytes of the length, by the place of its first bit
    number = int.from_bytes(head[4 : 4 + width], "big") & ((1 << 7 * width) - 1)
    return None if number == (1 << 7 * width) - 1 else 4 + width + number


def _object_length(head: bytes, _left: int) -> int | None:
    """Length of the Windows Media object that begins so; None where it cannot be one."""
    length = int.from_bytes(head[16:24], "little")
    return length if length >= _HEAD_BYTES else None


_LENGTHS: Final[Mapping[str, Callable[[bytes, int], int | None]]] = {
    "avi": _riff_length, "mp4": _box_length, "mkv": _element_length, "wmv": _object_length,
}  # fmt: skip
