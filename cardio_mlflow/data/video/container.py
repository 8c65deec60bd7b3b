"""The containers of video clips: told by their first bytes, and checked for being whole."""

from __future__ import annotations

from typing import BinaryIO, Final

from cardio_mlflow.data.outcomes import ClipRefused, Outcome

_MATROSKA: Final = bytes.fromhex("1a45dfa3")
_WINDOWS_MEDIA: Final = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_QUICKTIME: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_MAX_BOXES: Final = 10_000


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
    """Check that a file is as long as its container says, where the container says it.

    AVI: the length of each RIFF chunk (Microsoft's RIFF; OpenDML 1.02 for a second one). MP4 and
    QuickTime: the lengths of the boxes of the outermost level (ISO/IEC 14496-12, 4.2).

    Args:
        file: the open file.
        container: what `container_of` gave.
        size: the file's size in bytes.

    Raises:
        ClipRefused: TRUNCATED, or BAD_VIDEO when there is no end of boxes.
    """
    if container not in ("avi", "mp4"):
        return
    position, boxes = 0, 0
    while size - position >= 8 and boxes < _MAX_BOXES:
        length = _riff_length(file, position) if container == "avi" else _box_length(file, position, size)
        if length is None:
            return
        if position + length > size:
            raise ClipRefused(Outcome.TRUNCATED, f"{size} of {position + length} bytes are there")
        position += length
        boxes += 1
    if boxes == _MAX_BOXES:
        raise ClipRefused(Outcome.BAD_VIDEO, f"more than {_MAX_BOXES} boxes")


def _riff_length(file: BinaryIO, position: int) -> int | None:
    """Length of the RIFF chunk that begins here; None behind the last one."""
    file.seek(position)
    head = file.read(8)
    return 8 + int.from_bytes(head[4:8], "little") if head[:4] == b"RIFF" else None


def _box_length(file: BinaryIO, position: int, size: int) -> int | None:
    """Length of the box that begins here; None when it is no box, as padding behind the last one."""
    file.seek(position)
    head = file.read(16)
    length, kind = int.from_bytes(head[:4], "big"), head[4:8]
    if not kind.isalnum() and kind.strip(b" ") == b"":
        return None
    if length == 0:  # to the end of the file
        return size - position
    if length == 1:
        length = int.from_bytes(head[8:16], "big")
    return length if length >= 8 else None
