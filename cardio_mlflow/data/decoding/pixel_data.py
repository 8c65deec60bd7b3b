"""Where the frames of a DICOM file lie: the pixel data element walked without decoding it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO, Final

from cardio_mlflow.data.decoding.elements import UNDEFINED_LENGTH, Element
from cardio_mlflow.data.outcomes import ClipRefused, Outcome

_ITEM: Final = (0xFFFE, 0xE000)
_END: Final = (0xFFFE, 0xE0DD)
_MAX_FRAGMENTS: Final = 100_000
_STREAM_STARTS: Final = (b"\xff\xd8\xff", b"\xff\x4f\xff")  # JPEG and JPEG-LS; JPEG 2000

Span = tuple[int, int]
"""Offset and length of a piece of the file, in bytes."""


@dataclass(frozen=True)
class FrameSpans:
    """Where each frame lies in the file.

    Attributes:
        frames: for each frame the spans of the file that hold it, in order.
    """

    frames: tuple[tuple[Span, ...], ...]

    def read(self, file: BinaryIO, index: int) -> bytes:
        """The bytes of one frame (0-based)."""
        return b"".join(_read_at(file, span) for span in self.frames[index])

    def bytes_of(self, index: int) -> int:
        """How many bytes a frame (0-based) takes in the file."""
        return sum(length for _, length in self.frames[index])


def held_frames(pixels: Element, file_size: int, frame_bytes: int) -> float:
    """How many frames of a size the uncompressed pixel data hold.

    Raises:
        ClipRefused: CORRUPT_FRAME or TRUNCATED.
    """
    if pixels.length == UNDEFINED_LENGTH:
        raise ClipRefused(Outcome.CORRUPT_FRAME, "uncompressed pixel data without a length")
    if pixels.start + pixels.length > file_size:
        there = file_size - pixels.start
        raise ClipRefused(Outcome.TRUNCATED, f"{there} of {pixels.length} pixel bytes are there")
    padding = pixels.length % frame_bytes  # an odd length is padded by one byte
    return (pixels.length - padding if padding == 1 else pixels.length) / frame_bytes


def locate_native(pixels: Element, file_size: int, frames: int, frame_bytes: int) -> FrameSpans:
    """Find the frames of uncompressed pixel data.

    Args:
        pixels: the pixel data element.
        file_size: size of the file in bytes.
        frames: number of frames that the header promises.
        frame_bytes: size of one frame in bytes.

    Raises:
        ClipRefused: CORRUPT_FRAME, TRUNCATED or FRAME_COUNT_MISMATCH.
    """
    held = held_frames(pixels, file_size, frame_bytes)
    if held != frames:
        raise ClipRefused(
            Outcome.FRAME_COUNT_MISMATCH, f"the header says {frames} frames, the data hold {held:.2f}"
        )
    return FrameSpans(tuple(((pixels.start + i * frame_bytes, frame_bytes),) for i in range(frames)))


def locate_encapsulated(
    file: BinaryIO, pixels: Element, file_size: int, frames: int, extended_offsets: bytes = b""
) -> FrameSpans:
    """Find the frames of compressed pixel data (DICOM PS3.5, annex A.4).

    A fragment a frame is the usual case. Otherwise frames are told apart by the extended or the basic
    offset table, and without a sound one by the marker that starts a compressed stream. Empty
    fragments do not count.

    Args:
        file: the open file.
        pixels: the pixel data element.
        file_size: size of the file in bytes.
        frames: number of frames that the header promises.
        extended_offsets: value of the Extended Offset Table, 8 bytes a frame; empty without one.

    Raises:
        ClipRefused: TRUNCATED, CORRUPT_FRAME, TOO_LARGE or FRAME_COUNT_MISMATCH.
    """
    if pixels.length != UNDEFINED_LENGTH:
        raise ClipRefused(Outcome.CORRUPT_FRAME, "compressed pixel data with a fixed length")
    file.seek(pixels.start)
    items, ended = _walk_items(file, file_size)
    if not items:
        raise ClipRefused(Outcome.TRUNCATED, "no compressed frame is there")
    table = b"" if items[0][1] > 4 * _MAX_FRAGMENTS else _read_at(file, items[0])
    grouped = _group(file, table, extended_offsets, items[1:], frames)
    if not ended:
        raise ClipRefused(
            Outcome.TRUNCATED, f"the frame sequence does not end; {len(grouped)} frames are there"
        )
    if len(grouped) != frames:
        raise ClipRefused(
            Outcome.FRAME_COUNT_MISMATCH, f"the header says {frames} frames, the data hold {len(grouped)}"
        )
    return FrameSpans(tuple(grouped))


def _walk_items(file: BinaryIO, file_size: int) -> tuple[list[Span], bool]:
    """Spans of all items, the offset table first, and whether the sequence was closed."""
    items: list[Span] = []
    while len(items) <= _MAX_FRAGMENTS:
        head = file.read(8)
        if len(head) < 8:
            return items, False
        group, element, length = struct.unpack("<HHI", head)
        if (group, element) == _END:
            return items, True
        start = file.tell()
        if (group, element) != _ITEM or length == UNDEFINED_LENGTH:
            raise ClipRefused(Outcome.CORRUPT_FRAME, f"the frame sequence breaks after {len(items)} items")
        if start + length > file_size:
            raise ClipRefused(Outcome.TRUNCATED, f"the file ends inside item {len(items)}")
        items.append((start, length))
        file.seek(start + length)
    raise ClipRefused(Outcome.TOO_LARGE, f"more than {_MAX_FRAGMENTS} fragments")


def _group(
    file: BinaryIO, table: bytes, extended: bytes, fragments: list[Span], frames: int
) -> list[tuple[Span, ...]]:
    filled = [fragment for fragment in fragments if fragment[1] > 0]
    if len(filled) <= frames:
        return [(fragment,) for fragment in filled]
    if frames == 1:
        return [tuple(filled)]
    starts = (
        _starts_by_table(extended, "Q", fragments, frames)
        or _starts_by_table(table, "I", fragments, frames)
        or _starts_by_marker(file, fragments)
    )
    groups = [tuple(f for f in fragments[a:b] if f[1] > 0) for a, b in pairwise([*starts, len(fragments)])]
    return [group for group in groups if group]


def _starts_by_table(table: bytes, kind: str, fragments: list[Span], frames: int) -> list[int]:
    """The fragment each frame starts with, by a table of offsets from the first fragment's item."""
    if len(table) != struct.calcsize(kind) * frames:
        return []
    base = fragments[0][0]
    index = {start - base: i for i, (start, _) in enumerate(fragments)}
    found = [index.get(offset, -1) for offset in struct.unpack(f"<{frames}{kind}", table)]
    return found if found == sorted(set(found)) and found[0] == 0 else []


def _starts_by_marker(file: BinaryIO, fragments: list[Span]) -> list[int]:
    starts = [i for i, (start, _) in enumerate(fragments) if _read_at(file, (start, 3)) in _STREAM_STARTS]
    if not starts or any(length > 0 for _, length in fragments[: starts[0]]):
        raise ClipRefused(Outcome.CORRUPT_FRAME, "the fragments cannot be told apart into frames")
    return starts


def _read_at(file: BinaryIO, span: Span) -> bytes:
    file.seek(span[0])
    return file.read(span[1])
