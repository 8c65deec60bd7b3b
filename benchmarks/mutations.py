"""Ways to damage a DICOM file, drawn by a seed."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import numpy as np

PIXEL_DATA = b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"
ITEM = b"\xfe\xff\x00\xe0"
IMAGE_TAGS = [
    struct.pack("<HH", 0x0028, number) for number in (2, 4, 6, 8, 9, 0x10, 0x11, 0x100, 0x101, 0x103)
]
ODD_NUMBERS = (0, 1, 2, 3, 7, 8, 16, 255, 4096, 32767, 65535)


def pixels_at(content: bytes) -> int:
    """Where the pixel data element starts."""
    return max(content.rfind(tag, 0, 20_000) for tag in PIXEL_DATA)


def flip_bits(content: bytes, rng: np.random.Generator) -> bytes:
    """One to eight bits anywhere."""
    return _flipped(content, rng, 0, len(content))


def flip_header_bits(content: bytes, rng: np.random.Generator) -> bytes:
    """One to eight bits before the pixels."""
    return _flipped(content, rng, 128, pixels_at(content) + 12)


def _flipped(content: bytes, rng: np.random.Generator, first: int, last: int) -> bytes:
    changed = bytearray(content)
    for at in rng.integers(first, last, rng.integers(1, 9)):
        changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def overwrite_run(content: bytes, rng: np.random.Generator) -> bytes:
    """A run of zeros, ones or noise, half of them in the header."""
    last = pixels_at(content) + 200 if rng.random() < 0.5 else len(content)
    at, length = int(rng.integers(128, last)), int(2 ** rng.uniform(0, 12))
    run = (bytes(length), b"\xff" * length, rng.bytes(length))[rng.integers(3)]
    return (content[:at] + run + content[at + length :])[: len(content)]


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    """The end is missing."""
    last = pixels_at(content) + 200 if rng.random() < 0.5 else len(content)
    return content[: rng.integers(0, last)]


def splice(content: bytes, rng: np.random.Generator) -> bytes:
    """A piece is taken out, doubled, or put elsewhere."""
    a, b, c = (int(v) for v in rng.integers(0, len(content), 3))
    piece = content[a : a + int(2 ** rng.uniform(0, 14))]
    if rng.random() < 0.3:
        return content[:a] + content[a + len(piece) :]
    return content[:b] + piece + content[b + (len(piece) if rng.random() < 0.5 else 0) :] if c else content


def change_length(content: bytes, rng: np.random.Generator) -> bytes:
    """The length of an element or an item is another."""
    places = [at + 4 for at in _all(content, ITEM)] or [pixels_at(content) + 8]
    places += [content.find(tag) + 6 for tag in IMAGE_TAGS if tag in content]
    at = places[rng.integers(len(places))]
    length = (0, 1, 3, 0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFF, int(rng.integers(65536)))[rng.integers(7)]
    width = 2 if content[at - 6 : at - 2] in IMAGE_TAGS else 4
    return content[:at] + struct.pack("<I", length)[:width] + content[at + width :]


def change_image_tag(content: bytes, rng: np.random.Generator) -> bytes:
    """One of the elements that describe the image has another value."""
    tags = [tag for tag in IMAGE_TAGS if tag in content[: pixels_at(content)]]
    if not tags:
        return flip_header_bits(content, rng)
    at = content.find(tags[rng.integers(len(tags))]) + 8
    number = int(ODD_NUMBERS[rng.integers(len(ODD_NUMBERS))])
    return content[:at] + struct.pack("<H", number) + content[at + 2 :]


def shuffle_items(content: bytes, rng: np.random.Generator) -> bytes:
    """A compressed frame is missing, doubled, or has lost its head."""
    items = _all(content, ITEM)
    if len(items) < 3:
        return overwrite_run(content, rng)
    a = int(rng.integers(1, len(items) - 1))
    frame = content[items[a] : items[a + 1]]
    change = ("", frame * 2, frame[:8] + frame[40:], frame[:8] + bytes(32) + frame[40:])[rng.integers(4)]
    return content[: items[a]] + (change or b"") + content[items[a + 1] :]


def _all(content: bytes, mark: bytes) -> list[int]:
    found, at = [], content.find(mark)
    while at >= 0:
        found.append(at)
        at = content.find(mark, at + 1)
    return found


MUTATIONS: Sequence[Callable[[bytes, np.random.Generator], bytes]] = (
    flip_bits, flip_header_bits, overwrite_run, cut, splice, change_length, change_image_tag, shuffle_items,
)  # fmt: skip
