"""Where the frames of a DICOM file lie: the pixel data element walked without decoding it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO, Final

from cardio_mlflow.data.outcomes import ClipRefused, Outcome

_PIXEL_DATA: Final = (0x7FE0, 0x0010)
_ITEM: Final = (0xFFFE, 0xE000)
_END: Final = (0xFFFE, 0xE0DD)
_UNDEFINED: Final = 0xFFFFFFFF
_MAX_FRAGMENTS: Final = 100_000
_STREAM_STARTS: Final = (b"\xff\xd8", b"\xff\x4f")  # JPEG and JPEG-LS; JPEG 2000

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


def locate_native(
    file: BinaryIO, file_size: int, frames: int, frame_bytes: int, explicit: bool
) -> FrameSpans:
    """Find the frames of uncompressed pixel data.

    Args:
        file: open file that stands at the pixel data element's tag.
        file_size: size of the file in bytes.
        frames: number of frames that the header promises.
        frame_bytes: size of one frame in bytes.
        explicit: whether the transfer syntax writes value representations.

    Raises:
        ClipRefused: NO_PIXELS, TRUNCATED or FRAME_COUNT_MISMATCH.
    """
    length = _element_length(file, explicit)
    start = file.tell()
    if length == _UNDEFINED:
        raise ClipRefused(Outcome.CORRUPT_FRAME, "uncompressed pixel data without a length")
    if start + length > file_size:
        raise ClipRefused(Outcome.TRUNCATED, f"{file_size - start} of {length} pixel bytes are there")
    if length - frames * frame_bytes not in (0, 1):
        held = length / frame_bytes
        raise ClipRefused(
            Outcome.FRAME_COUNT_MISMATCH, f"the header says {frames} frames, the data hold {held:.2f}"
        )
    return FrameSpans(tuple(((start + i * frame_bytes, frame_bytes),) for i in range(frames)))


def locate_encapsulated(file: BinaryIO, file_size: int, frames: int) -> FrameSpans:
    """Find the frames of compressed pixel data (DICOM PS3.5, annex A.4).

    A fragment a frame is the usual case. Otherwise frames are told apart by the basic offset table,
    and without one by the marker that starts a compressed stream.

    Args:
        file: open file that stands at the pixel data element's tag.
        file_size: size of the file in bytes.
        frames: number of frames that the header promises.

    Raises:
        ClipRefused: NO_PIXELS, TRUNCATED, CORRUPT_FRAME or FRAME_COUNT_MISMATCH.
    """
    if _element_length(file, explicit=True) != _UNDEFINED:
        raise ClipRefused(Outcome.CORRUPT_FRAME, "compressed pixel data with a fixed length")
    items, ended = _walk_items(file, file_size)
    if not items:
        raise ClipRefused(Outcome.TRUNCATED, "no compressed frame is there")
    table, fragments = items[0], items[1:]
    grouped = _group(file, table, fragments, frames)
    if len(grouped) != frames:
        outcome = Outcome.FRAME_COUNT_MISMATCH if ended else Outcome.TRUNCATED
        raise ClipRefused(outcome, f"the header says {frames} frames, the data hold {len(grouped)}")
    return FrameSpans(tuple(grouped))


def _element_length(file: BinaryIO, explicit: bool) -> int:
    head = file.read(12 if explicit else 8)
    if len(head) < (12 if explicit else 8) or struct.unpack_from("<HH", head) != _PIXEL_DATA:
        raise ClipRefused(Outcome.NO_PIXELS, "no pixel data")
    return int(struct.unpack("<I", head[-4:])[0])


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
        if (group, element) != _ITEM or length == _UNDEFINED:
            raise ClipRefused(Outcome.CORRUPT_FRAME, f"the frame sequence breaks after {len(items)} items")
        if start + length > file_size:
            raise ClipRefused(Outcome.TRUNCATED, f"the file ends inside item {len(items)}")
        items.append((start, length))
        file.seek(start + length)
    raise ClipRefused(Outcome.TOO_LARGE, f"more than {_MAX_FRAGMENTS} fragments")


def _group(file: BinaryIO, table: Span, fragments: list[Span], frames: int) -> list[tuple[Span, ...]]:
    if len(fragments) <= frames:
        return [(fragment,) for fragment in fragments]
    starts = _starts_by_table(file, table, fragments, frames) or _starts_by_marker(file, fragments)
    bounds = [*starts, len(fragments)]
    return [tuple(fragments[a:b]) for a, b in pairwise(bounds)]


def _starts_by_table(file: BinaryIO, table: Span, fragments: list[Span], frames: int) -> list[int]:
    if table[1] != 4 * frames:
        return []
    offsets = struct.unpack(f"<{frames}I", _read_at(file, table))
    base = fragments[0][0] - 8
    index = {start - 8 - base: i for i, (start, _) in enumerate(fragments)}
    found = [index.get(offset, -1) for offset in offsets]
    return found if found == sorted(set(found)) and found[0] == 0 else []


def _starts_by_marker(file: BinaryIO, fragments: list[Span]) -> list[int]:
    return [i for i, (start, _) in enumerate(fragments) if _read_at(file, (start, 2)) in _STREAM_STARTS]


def _read_at(file: BinaryIO, span: Span) -> bytes:
    file.seek(span[0])
    return file.read(span[1])
