"""Where the frames of a DICOM file lie, found without decoding them; their samples, and their palette."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, parse_basic_offsets, parse_fragments
from pydicom.pixels import apply_color_lut, get_decoder
from pydicom.uid import UID

from cardio_mlflow.data.files.header_elements import UNDEFINED_LENGTH, ClipFile, PixelElement
from cardio_mlflow.data.files.header_values import HALVED, Codec, PixelFormat, numbers_of
from cardio_mlflow.data.outcomes import MAX_FRAMES, ClipRefused, Outcome
from cardio_mlflow.data.parsing import PARSING_FAULTS, pydicom_silenced

Span = tuple[int, int]
"""Offset and length of a piece of the file, in bytes."""
Spans = tuple[tuple[Span, ...], ...]
"""For each frame the pieces of the file that hold it, in order."""

_MAX_FRAGMENTS: Final = 100_000
_MOST_EXCESS: Final = 4096  # some writers fill the last block of the disk
_STREAM_STARTS: Final = (b"\xff\xd8\xff", b"\xff\x4f\xff")  # JPEG and JPEG-LS; JPEG 2000
_END: Final = b"\xfe\xff\xdd\xe0"


def read_frame(file: ClipFile, spans: Sequence[Span]) -> bytes:
    """The bytes of one frame; ValueError when the file became shorter."""
    data = b"".join(file.read_at(*span) for span in spans)
    if len(data) != sum(length for _, length in spans):
        raise ValueError("the file became shorter")
    return data


def locate_native(
    pixels: PixelElement, file_size: int, frames: int | None, sizes: Sequence[int]
) -> tuple[Spans, int, bool]:
    """Find the frames of uncompressed pixel data.

    Args:
        pixels: the pixel data element.
        file_size: bytes.
        frames: as the header says; None when it says nothing.
        sizes: bytes that a frame may have, most likely first.

    Returns:
        The spans, the size of a frame that fits, and whether there are bytes too many.

    Raises:
        ClipRefused: CORRUPT_FRAME, TRUNCATED, TOO_LARGE or FRAME_COUNT_MISMATCH.
    """
    if pixels.length == UNDEFINED_LENGTH:
        text = "the pixel data are compressed, the transfer syntax says they are not"
        raise ClipRefused(Outcome.CORRUPT_FRAME, text)
    if pixels.start + pixels.length > file_size:
        there = file_size - pixels.start
        raise ClipRefused(Outcome.TRUNCATED, f"{there} of {pixels.length} pixel bytes are there")
    for size in sizes:
        count = pixels.length // size if frames is None else frames
        excess = pixels.length - count * size
        if count > MAX_FRAMES:
            raise ClipRefused(Outcome.TOO_LARGE, f"{count} frames")
        if count > 0 and 0 <= excess < min(size, _MOST_EXCESS):
            spans = tuple(((pixels.start + i * size, size),) for i in range(count))
            return spans, size, excess > 1 or (excess == 1 and pixels.length % 2 == 1)
    held = pixels.length / min(sizes)
    told = "no number of frames" if frames is None else f"{frames} frames"
    short = (frames or 1) * min(sizes) - pixels.length
    text = f"{short} bytes of them are missing" if 0 < short < min(sizes) else f"the data hold {held:.2f}"
    raise ClipRefused(Outcome.FRAME_COUNT_MISMATCH, f"the header says {told}, {text}")


def locate_encapsulated(
    file: ClipFile, pixels: PixelElement, frames: int | None, codec: Codec, extended_offsets: bytes = b""
) -> Spans:
    """Find the frames of compressed pixel data (DICOM PS3.5, annex A.4).

    One fragment per frame is the usual case. Otherwise frames are told apart by the extended or the basic
    offset table, and without a sound one by the marker that starts a compressed stream. Empty fragments do
    not count. ``frames`` are those that the header says, None when it says nothing.

    Raises:
        ClipRefused: TRUNCATED, CORRUPT_FRAME, TOO_LARGE or FRAME_COUNT_MISMATCH.
    """
    if pixels.length != UNDEFINED_LENGTH:
        text = "the pixel data are not compressed, the transfer syntax says they are"
        raise ClipRefused(Outcome.CORRUPT_FRAME, text)
    try:
        length = struct.unpack("<4xI", file.read_at(pixels.start, 8))[0]
        file.seek(pixels.start)
        basic = [] if length % 4 else parse_basic_offsets(file)
        if length == UNDEFINED_LENGTH:
            raise ValueError("an item without a length")
        file.seek(pixels.start + 8 + length)
        fragments = _fragments(file)
    except PARSING_FAULTS:
        if file.tell() >= file.size:
            raise ClipRefused(Outcome.TRUNCATED, "the file ends inside its pixel data") from None
        raise ClipRefused(Outcome.CORRUPT_FRAME, "the items of the pixel data are broken") from None
    extended = [int(n) for n in np.frombuffer(extended_offsets, "<u8", len(extended_offsets) // 8)]
    groups = _group(file, (extended, basic), fragments, frames, codec)
    if frames is not None and len(groups) != frames:
        text = f"the header says {frames} frames, the data hold {len(groups)}"
        raise ClipRefused(Outcome.FRAME_COUNT_MISMATCH, text)
    return tuple(groups)


def _fragments(file: ClipFile) -> list[Span]:
    """Spans of all fragments, the file standing at the first one's item."""
    count, items = parse_fragments(file)
    if count > _MAX_FRAGMENTS:
        raise ClipRefused(Outcome.TOO_LARGE, f"more than {_MAX_FRAGMENTS} fragments")
    if not items:
        raise ClipRefused(Outcome.TRUNCATED, "no compressed frame is there")
    end = items[-1] + 8 + struct.unpack("<I", file.read_at(items[-1] + 4, 4))[0]
    if end > file.size:
        raise ClipRefused(Outcome.TRUNCATED, f"the file ends inside item {count}")
    if file.read_at(end, 8)[:4] != _END or end + 8 > file.size:
        raise ClipRefused(Outcome.TRUNCATED, f"the frame sequence does not end; {count} fragments are there")
    return [(start + 8, stop - start - 8) for start, stop in pairwise([*items, end])]


def _group(
    file: ClipFile, tables: Sequence[list[int]], fragments: list[Span], frames: int | None, codec: Codec
) -> list[tuple[Span, ...]]:
    filled = [fragment for fragment in fragments if fragment[1] > 0]
    if (frames is not None and len(filled) <= frames) or (frames is None and codec is Codec.RLE):
        return [(fragment,) for fragment in filled]
    if frames == 1:
        return [tuple(filled)]
    index = {start - fragments[0][0]: i for i, (start, _) in enumerate(fragments)}
    for table in tables:
        starts = [index.get(offset, -1) for offset in table]
        if starts == sorted(set(starts)) and starts[:1] == [0] and frames in (None, len(starts)):
            break
    else:
        starts = _starts_by_marker(file, fragments)
    groups = [tuple(f for f in fragments[a:b] if f[1] > 0) for a, b in pairwise([*starts, len(fragments)])]
    return [group for group in groups if group]


def _starts_by_marker(file: ClipFile, fragments: list[Span]) -> list[int]:
    starts = [i for i, (start, _) in enumerate(fragments) if file.read_at(start, 3) in _STREAM_STARTS]
    if not starts or any(length > 0 for _, length in fragments[: starts[0]]):
        raise ClipRefused(Outcome.CORRUPT_FRAME, "the fragments cannot be told apart into frames")
    return starts


Unsigned = NDArray[np.uint8] | NDArray[np.uint16]

# One plugin per codec: with several, pydicom hands a frame that one refuses to the next, less strict one. RLE
# goes to pydicom's own decoder: pylibjpeg's, in Rust, panics on damaged frames and is only 1.8 times as
# fast. (It still writes the synthetic clips, where the input is our own.)
_PLUGINS: Final = {Codec.JPEG_2000: "pylibjpeg", Codec.RLE: "pydicom",
                   Codec.JPEG_LS: "gdcm", Codec.JPEG_LOSSLESS: "gdcm"}  # fmt: skip
_SURPLUS: Final = "The decoded RLE segment contains"
"""How pydicom's warning begins when a frame holds more samples than rows × columns and it drops the rest:
those sizes are wrong then, and the picture would come out sheared."""


def samples_of(form: PixelFormat, rows: int, columns: int, data: bytes) -> NDArray[np.generic]:
    """The samples of a frame that is not JPEG Baseline or Extended: rows × columns, or rows × columns × 3.

    Subsampled frames, stored as Y Y Cb Cr, get the colour of each pair for both of its pixels; the colour
    space is not changed. Samples of 16 bits come as unsigned ones; bits beside the value are cleared.

    Raises:
        ValueError or another of ``PARSING_FAULTS``: when the frame cannot be decoded.
    """
    if form.codec is not Codec.NATIVE:
        return _decoded(form, rows, columns, data)
    if form.allocated == 16:
        words = np.frombuffer(data, ">u2" if form.big_endian else "<u2").astype(np.uint16, copy=False)
        return _value_bits(form, words).reshape(rows, columns)
    values = np.frombuffer(data, np.uint8)
    if form.swapped:
        values = np.pad(values, (0, len(values) % 2)).view(np.uint16).byteswap().view(np.uint8)[: len(data)]
    if form.photometric in HALVED:
        pairs = values.reshape(rows, columns // 2, 4)
        return np.stack([pairs[..., [0, 2, 3]], pairs[..., [1, 2, 3]]], axis=2).reshape(rows, columns, 3)
    if form.samples == 1:
        return _value_bits(form, values).reshape(rows, columns)
    planes = values.reshape(3, rows, columns).transpose(1, 2, 0)
    return planes if form.planar else values.reshape(rows, columns, 3)


def _value_bits(form: PixelFormat, values: Unsigned) -> Unsigned:
    if form.stored == form.allocated:
        return values
    shifted: Unsigned = np.right_shift(values, form.shift)
    shifted &= 2**form.stored - 1
    return shifted


def _decoded(form: PixelFormat, rows: int, columns: int, data: bytes) -> NDArray[np.generic]:
    with pydicom_silenced():
        warnings.filterwarnings("error", _SURPLUS)
        samples, _ = get_decoder(UID(form.syntax)).as_array(
            encapsulate([data]), index=0, raw=True, number_of_frames=1, pixel_keyword="PixelData",
            decoding_plugin=_PLUGINS[form.codec], rows=rows, columns=columns, samples_per_pixel=form.samples,
            photometric_interpretation=form.photometric, planar_configuration=int(form.planar),
            bits_allocated=form.allocated, bits_stored=form.stored, pixel_representation=int(form.signed),
        )  # fmt: skip
    shape = (rows, columns) + ((3,) if form.samples == 3 else ())
    if samples.shape != shape or samples.dtype.itemsize * 8 != form.allocated:
        raise ValueError("the decoded frame has another size than the header says")
    unsigned = samples.view(np.dtype(f"u{samples.dtype.itemsize}"))
    return unsigned if form.samples == 3 else _value_bits(form, unsigned)


_MAX_ENTRIES: Final = 65536
_LINEAR, _INDIRECT = 1, 2


def read_palette(dataset: Dataset, bits: int, signed: bool) -> NDArray[np.uint8]:
    """RGB of every pixel value's bit pattern, uint8, shape (2**bits, 3), by pydicom.

    Raises:
        ClipRefused: CORRUPT_FRAME when the palette cannot be read.
    """
    values = np.arange(2**bits)
    if signed:
        values[2 ** (bits - 1) :] -= 2**bits
    try:
        _check_segments(dataset)
        _swap_words(dataset)
        colours = apply_color_lut(values, dataset)[..., :3].astype(np.int64)
    except PARSING_FAULTS:
        raise ClipRefused(Outcome.CORRUPT_FRAME, "the colour palette cannot be read") from None
    # Some writers give 16 bits in the descriptor and 8 in the table, or the reverse.
    largest = 65535 if colours.max() > 255 else 255
    return np.asarray(np.rint(colours * (255.0 / largest)), dtype=np.uint8)


def _swap_words(dataset: Dataset) -> None:
    """Palettes of big-endian files in the order of bytes that pydicom takes them for."""
    for colour in ("Red", "Green", "Blue") if dataset.original_encoding[1] is False else ():
        if (data := dataset.get(f"{colour}PaletteColorLookupTableData")) is not None:
            value = np.frombuffer(data, "<u2", len(data) // 2).byteswap().tobytes()
            dataset[f"{colour}PaletteColorLookupTableData"].value = value


def _check_segments(dataset: Dataset) -> None:
    """See, before a segmented palette is expanded, that it is no larger than a palette can be.

    An indirect segment repeats others (PS3.3, C.7.9.2.3); one that repeats another indirect one could stand
    for gigabytes, and pydicom takes the offset of one in a palette of 16 bits for another than it is.
    """
    eight = numbers_of(dataset, "RedPaletteColorLookupTableDescriptor")[2] == 8
    for colour in ("Red", "Green", "Blue"):
        data = dataset.get(f"Segmented{colour}PaletteColorLookupTableData") or b""
        kind = "u1" if eight else "<u2" if dataset.original_encoding[1] else ">u2"
        words = np.frombuffer(data, kind, len(data) // np.dtype(kind).itemsize).tolist()
        at, entries = 0, 0
        plain: dict[int, int] = {}  # entries of the segments by where they start
        while at + 1 < len(words):
            opcode, size = words[at : at + 2]
            if opcode == _INDIRECT and (eight or not any(words[at + 2 : at + 4])):
                offset = sum(n << 8 * i for i, n in enumerate(words[at + 2 : at + 6])) if eight else 0
                first = list(plain).index(offset)
                repeated = list(plain.values())[first : first + size]
                plain[at] = -_MAX_ENTRIES  # not to be repeated
                size, at = sum(repeated) if len(repeated) == size else 0, at + (6 if eight else 4)
            elif opcode <= _LINEAR:
                plain[at] = size
                at += 2 + (1 if opcode == _LINEAR else size)
            else:
                size = 0
            entries += size
            if not 0 < size <= _MAX_ENTRIES or entries > _MAX_ENTRIES:
                raise ValueError("a palette segment that is not read")
