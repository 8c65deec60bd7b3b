"""Ways to damage a clip's file, drawn by a seed; most know DICOM, all take any file."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence

import numpy as np
from pydicom.datadict import tag_for_keyword

PIXEL_DATA = b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"
ITEM = b"\xfe\xff\x00\xe0"
IMAGE_TAGS = [
    struct.pack("<HH", 0x0028, number) for number in (2, 4, 6, 8, 9, 0x10, 0x11, 0x100, 0x101, 0x103)
]
TEXTS = ["FrameTime", "FrameTimeVector", "NumberOfFrames", "HeartRate", "RWaveTimeVector", "CineRate",
         "SamplingFrequency", "ChannelSensitivity", "MultiplexGroupTimeOffset"]  # fmt: skip
ODD_TEXTS = (b"", b"0", b"-1", b"1e400", b"nan", b"inf", b"1e-300", b"\\\\", b"40\\-40", b"9" * 60,
             b"\xff\xfe", b"1", b"2000", b"24.5")  # fmt: skip
ODD_NUMBERS = (0, 1, 2, 3, 7, 8, 16, 255, 4096, 32767, 65535)


def pixels_at(content: bytes) -> int:
    """Where the pixel data element starts; a tenth of the file where there is none."""
    found = max(content.rfind(tag, 0, 20_000) for tag in PIXEL_DATA)
    return found if found >= 0 else len(content) // 10


def flip_bits(content: bytes, rng: np.random.Generator) -> bytes:
    """One to eight bits anywhere."""
    return _flipped(content, rng, 0, len(content))


def flip_header_bits(content: bytes, rng: np.random.Generator) -> bytes:
    """One to eight bits before the pixels."""
    return _flipped(content, rng, min(128, pixels_at(content)), pixels_at(content) + 12)


def flip_pixel_bits(content: bytes, rng: np.random.Generator) -> bytes:
    """One to eight bits behind the header."""
    return _flipped(content, rng, pixels_at(content), len(content))


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


def insert_element(content: bytes, rng: np.random.Generator) -> bytes:
    """An element stands twice, or one more is there: empty, nested without end, or longer than the file."""
    starts = _elements(content)
    if not starts:
        return splice(content, rng)
    at, source = (int(starts[i]) for i in rng.integers(len(starts), size=2))
    end = next((start for start in starts if start > source), source + 16)
    head = b"\x09\x00\x10\x00"
    odd = (
        content[source:end],
        content[source:end] * 2,
        head + b"LO\x00\x00",
        head + b"SQ\x00\x00\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff" * int(rng.integers(1, 60)),
        head + b"UN\x00\x00\xff\xff\xff\xff" + rng.bytes(12) + b"\xfe\xff\xdd\xe0\x00\x00\x00\x00",
        head + b"OB\x00\x00\xf0\xff\xff\x7f",
        rng.bytes(int(rng.integers(1, 20))),
    )
    return content[:at] + odd[rng.integers(len(odd))] + content[at:]


def change_length(content: bytes, rng: np.random.Generator) -> bytes:
    """The length of an element or an item is another."""
    places = [at + 4 for at in _all(content, ITEM)] or [pixels_at(content) + 8]
    places += [content.find(tag) + 6 for tag in IMAGE_TAGS if tag in content] + [
        at + 6 for at in _elements(content)
    ]
    at = places[rng.integers(len(places))]
    length = (0, 1, 3, 0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFF, int(rng.integers(65536)))[rng.integers(7)]
    width = 2 if at >= 6 and content[at - 2 : at].isalpha() else 4
    return content[:at] + struct.pack("<I", length)[:width] + content[at + width :]


def change_image_tag(content: bytes, rng: np.random.Generator) -> bytes:
    """One of the elements that describe the image has another value."""
    tags = [tag for tag in IMAGE_TAGS if tag in content[: pixels_at(content)]]
    if not tags:
        return flip_header_bits(content, rng)
    at = content.find(tags[rng.integers(len(tags))]) + 8
    number = int(ODD_NUMBERS[rng.integers(len(ODD_NUMBERS))])
    return content[:at] + struct.pack("<H", number) + content[at + 2 :]


def change_text(content: bytes, rng: np.random.Generator) -> bytes:
    """A number written as text (a frame time, a count, a rate) is another one, or none."""
    tags = [tag for tag in map(_packed, TEXTS) if tag in content[: pixels_at(content)]]
    if not tags:
        return flip_header_bits(content, rng)
    at = content.find(tags[rng.integers(len(tags))]) + 4
    text = ODD_TEXTS[rng.integers(len(ODD_TEXTS))]
    text += b" " * (len(text) % 2)
    explicit = content[at : at + 2].isalpha()
    start = at + 2 if explicit else at
    width = 2 if explicit else 4
    old = int.from_bytes(content[start : start + width], "little")
    return content[:start] + len(text).to_bytes(width, "little") + text + content[start + width + old :]


def change_item(content: bytes, rng: np.random.Generator) -> bytes:
    """A compressed frame is missing, doubled, has lost its head, changed places or is split in two."""
    items = _all(content, ITEM)
    if len(items) < 3:
        return overwrite_run(content, rng)
    a = int(rng.integers(0, len(items) - 1))
    frame, other = content[items[a] : items[a + 1]], content[items[-2] : items[-1]]
    middle = 8 + len(frame) // 4 * 2
    parts = frame[8:middle], frame[middle:]
    split = b"".join(ITEM + struct.pack("<I", len(part)) + part for part in parts)
    empty = ITEM + bytes(4)
    changes = (b"", frame * 2, frame[:8] + frame[40:], frame[:8] + bytes(32) + frame[40:], other, split,
               empty + frame, ITEM + b"\xff\xff\xff\xff" + frame, frame + b"\xfe\xff\xdd\xe0" + bytes(4),
               frame[:8] + rng.bytes(max(0, len(frame) - 8)))  # fmt: skip
    return content[: items[a]] + changes[rng.integers(len(changes))] + content[items[a + 1] :]


def swap_pictures(content: bytes, rng: np.random.Generator) -> bytes:
    """Bands of pixels change places, are inverted, black, white or noise: a sound file, an odd picture."""
    start = pixels_at(content) + 12
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 20))):
        length = int(2 ** rng.uniform(6, 17))
        a, b = (int(v) for v in rng.integers(start, max(start + 1, len(content) - length), 2))
        band = content[b : b + length]
        odd = (band, bytes(length), b"\xff" * length, rng.bytes(length), bytes(255 - v for v in band))
        piece = odd[rng.integers(len(odd))][: len(content) - a]
        changed[a : a + len(piece)] = piece
    return bytes(changed)


def _packed(keyword: str) -> bytes:
    tag = tag_for_keyword(keyword) or 0
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF)


def _elements(content: bytes) -> list[int]:
    """Where elements of an explicit little-endian header may start."""
    header = content[: pixels_at(content)]
    return [match.start() for match in re.finditer(rb"[\x02\x08\x18\x28]\x00..[A-Z]{2}", header, re.DOTALL)]


def _all(content: bytes, mark: bytes) -> list[int]:
    found, at = [], content.find(mark)
    while at >= 0:
        found.append(at)
        at = content.find(mark, at + 1)
    return found


MUTATIONS: Sequence[Callable[[bytes, np.random.Generator], bytes]] = (
    flip_bits, flip_header_bits, flip_pixel_bits, overwrite_run, cut, splice, insert_element, change_length,
    change_image_tag, change_text, change_item, swap_pictures,
)  # fmt: skip
