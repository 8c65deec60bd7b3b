"""Where the frames of a DICOM file lie: the pixel data element walked without decoding it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cardio_mlflow.data.files.header_elements import PARSING_FAULTS, UNDEFINED_LENGTH, Element, numbers_of
from cardio_mlflow.data.outcomes import ClipRefused, Outcome

_MAX_ENTRIES: Final = 65536
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2


def read_palette(dataset: Dataset, bits: int, signed: bool, little: bool) -> NDArray[np.uint8]:
    """The colour of every pixel value.

    A value below the first that the palette maps has the first colour, one above the last the last.

    Args:
        dataset: the header.
        bits: bits of a pixel value.
        signed: whether pixel values are two's complement.
        little: whether the file is little endian.

    Returns:
        RGB of each value's bit pattern, uint8, shape (2**bits, 3).

    Raises:
        ClipRefused: CORRUPT_FRAME when the palette cannot be read.
    """
    try:
        first = int(numbers_of(dataset, "RedPaletteColorLookupTableDescriptor")[1])
        colours = _to_eight_bits(
            np.stack([_table(dataset, c, little) for c in ("Red", "Green", "Blue")], axis=1)
        )
    except PARSING_FAULTS:
        raise ClipRefused(Outcome.CORRUPT_FRAME, "the colour palette cannot be read") from None
    values = np.arange(2**bits)
    if signed:
        values[2 ** (bits - 1) :] -= 2**bits
        first -= 65536 if first >= 32768 else 0
    return np.asarray(colours[np.clip(values - first, 0, len(colours) - 1)])


def _table(dataset: Dataset, colour: str, little: bool) -> NDArray[np.int64]:
    """The entries of one colour."""
    length, _, depth = (int(v) for v in numbers_of(dataset, f"{colour}PaletteColorLookupTableDescriptor"))
    length = length or _MAX_ENTRIES
    plain = dataset.get(f"{colour}PaletteColorLookupTableData")
    if plain is not None:
        entries = _entries(plain, length, depth, little)[:length]
    else:
        words = dataset[f"Segmented{colour}PaletteColorLookupTableData"].value
        entries = np.array(_expand(_segments(words, depth, little), 16 // depth, length), dtype=np.int64)
    if len(entries) != length or not 1 <= length <= _MAX_ENTRIES or depth not in (8, 16):
        raise ValueError("a palette of another length")
    return entries


def _entries(data: bytes, length: int, depth: int, little: bool) -> NDArray[np.int64]:
    """Entries of 16 bits, or of 8 bits packed two into a word, the first one lower."""
    words = np.frombuffer(data, "<u2" if little else ">u2", len(data) // 2)
    if depth == 16 or len(words) >= length > 1:
        return words.astype(np.int64)
    return np.stack([words & 255, words >> 8], axis=1).ravel().astype(np.int64)


def _segments(data: bytes, depth: int, little: bool) -> list[int]:
    words = np.frombuffer(data, "<u2" if little else ">u2", len(data) // 2)
    return (words if depth == 16 else np.stack([words & 255, words >> 8], axis=1)).ravel().tolist()


def _expand(data: list[int], half: int, limit: int) -> list[int]:
    """Entries of a segmented palette, at most ``limit`` and one segment more.

    Args:
        data: the segments.
        half: how many values an offset's 16-bit half takes: 2 in a table of 8 bits, 1 in one of 16.
        limit: number of entries that are wanted.
    """
    entries: list[int] = []
    pending = [(0, len(data))]  # where to go on, and how many segments to take there
    while pending and len(entries) < limit:
        at, count = pending.pop()
        if at + 1 >= len(data) or count < 1:
            continue
        kind, size, body = data[at], data[at + 1], at + 2
        if size < 1:
            raise ValueError("an empty palette segment")
        if kind == _DISCRETE:
            entries += data[body : body + size]
            pending.append((body + size, count - 1))
        elif kind == _LINEAR:
            ramp = np.linspace(entries[-1], data[body], size + 1)[1:]
            entries += np.rint(ramp).astype(np.int64).tolist()
            pending.append((body + 1, count - 1))
        elif kind == _INDIRECT and not pending:  # it may not lead to another one
            start = _offset(data[body : body + 2 * half]) // (2 // half)
            pending += [(body + 2 * half, count - 1), (start, size)]
        else:
            raise ValueError("a palette segment of an unknown kind")
    return entries


def _offset(values: list[int]) -> int:
    """A byte offset, its low half first."""
    bits = 16 if len(values) == 2 else 8
    return sum(value << (bits * place) for place, value in enumerate(values))


def _to_eight_bits(colours: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Scale to 0 to 255; some writers give 16 bits in the descriptor and 8 in the table, or the reverse."""
    largest = 65535 if colours.max() > 255 else 255
    return np.asarray(np.rint(colours * (255.0 / largest)), dtype=np.uint8)


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
