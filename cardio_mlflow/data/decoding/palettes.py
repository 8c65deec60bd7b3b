"""The colour palette of a PALETTE COLOR clip (DICOM PS3.3, C.7.6.3.1.5 and C.7.9)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cardio_mlflow.data.decoding.header_values import PARSING_FAULTS, numbers_of
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
