"""The few elements of a DICOM header that preparation may know, taken without reading the rest."""

from __future__ import annotations

import logging
import os
import stat
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.uid import UID

from cardio_mlflow.data.outcomes import ClipRefused, Outcome

UNDEFINED_LENGTH: Final = 0xFFFFFFFF
DELIMITERS: Final = 0xFFFE
"""The group of items and of the marks that end items and sequences."""

_ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
_SEQUENCE_END: Final = 0xFFFEE0DD
_LONG_VRS: Final = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV",
                              b"UC", b"UN", b"UR", b"UT", b"UV"))  # fmt: skip
_SEQUENCE_VRS: Final = (b"", b"SQ", b"UN")
_FRAGMENT_VRS: Final = (b"OB", b"OW")
_MAX_ELEMENTS: Final = 500_000
_MAX_DEPTH: Final = 32


@dataclass(frozen=True)
class Encoding:
    """How elements are written.

    Attributes:
        implicit: whether they come without a value representation.
        little: whether numbers are little endian.
    """

    implicit: bool
    little: bool

    @property
    def order(self) -> str:
        """The byte order, in the words of ``struct``."""
        return "<" if self.little else ">"


class Element(NamedTuple):
    """One element: its tag as group * 65536 + element, VR, the bytes before its value, and where that is."""

    tag: int
    vr: bytes
    head: bytes
    start: int
    length: int


class ElementWalk:
    """Walks the elements of a file from where the file stands, within limits of number and depth."""

    def __init__(self, file: BinaryIO, size: int, encoding: Encoding) -> None:
        self.file = file
        self.size = size
        self.encoding = encoding
        self._walked = 0

    def next(self) -> Element | None:
        """The next element, with the file left at its value; None at the end of the file.

        Raises:
            ClipRefused: TRUNCATED, NOT_DICOM or TOO_LARGE.
        """
        return self._next(self.encoding)

    def skip(self, element: Element) -> None:
        """Leave the file behind an element's value, whose items are walked when it has no length.

        Raises:
            ClipRefused: TRUNCATED, NOT_DICOM or TOO_LARGE.
        """
        if element.length == UNDEFINED_LENGTH:
            self._skip_items(element)
        else:
            self._skip_bytes(element)

    def _next(self, encoding: Encoding) -> Element | None:
        self._walked += 1
        if self._walked > _MAX_ELEMENTS:
            raise ClipRefused(Outcome.TOO_LARGE, f"more than {_MAX_ELEMENTS} elements in the header")
        head = self.file.read(8)
        if not head:
            return None
        if len(head) < 8:
            raise _truncated()
        group, number = struct.unpack(f"{encoding.order}HH", head[:4])
        if encoding.implicit or group == DELIMITERS:
            vr, length = b"", struct.unpack(f"{encoding.order}I", head[4:])[0]
        else:
            vr, head, length = self._explicit(head, encoding)
        return Element(group << 16 | number, vr, head, self.file.tell(), length)

    def _explicit(self, head: bytes, encoding: Encoding) -> tuple[bytes, bytes, int]:
        vr = head[4:6]
        if not is_vr(vr):
            raise _broken()
        if vr not in _LONG_VRS:
            return vr, head, struct.unpack(f"{encoding.order}H", head[6:])[0]
        more = self.file.read(4)
        if len(more) < 4:
            raise _truncated()
        return vr, head + more, struct.unpack(f"{encoding.order}I", more)[0]

    def _skip_bytes(self, element: Element) -> None:
        end = element.start + element.length
        if end > self.size:
            raise _truncated()
        self.file.seek(end)

    def _skip_items(self, element: Element) -> None:
        """Walk the items of a sequence of undefined length, which may nest (PS3.5, 7.5)."""
        levels = [self._items_of(element, self.encoding)]
        while levels:
            level = levels[-1]
            inner = self._next(level.encoding)
            if inner is None:
                raise _truncated()
            if inner.tag == level.end:
                levels.pop()
            elif level.holds_items != (inner.tag == _ITEM):
                raise _broken()
            elif inner.length != UNDEFINED_LENGTH:
                self._skip_bytes(inner)
            elif level.holds_fragments or len(levels) >= _MAX_DEPTH:
                raise _broken()
            elif level.holds_items:
                levels.append(_Level(_ITEM_END, level.encoding))
            else:
                levels.append(self._items_of(inner, level.encoding))

    def _items_of(self, element: Element, encoding: Encoding) -> _Level:
        if element.vr not in _SEQUENCE_VRS + _FRAGMENT_VRS or element.tag >> 16 == DELIMITERS:
            raise _broken()
        if element.vr == b"UN":  # PS3.5, 6.2.2: a sequence of unknown kind is implicit little endian
            encoding = Encoding(implicit=True, little=True)
        return _Level(_SEQUENCE_END, encoding, element.vr in _FRAGMENT_VRS)


class _Level(NamedTuple):
    """One level of nesting: what ends it, and how the elements in it are written."""

    end: int
    encoding: Encoding
    holds_fragments: bool = False

    @property
    def holds_items(self) -> bool:
        return self.end == _SEQUENCE_END


def is_vr(text: bytes) -> bool:
    """Whether two bytes can be a value representation: two capital letters."""
    return len(text) == 2 and text.isalpha() and text.isupper()


def _truncated() -> ClipRefused:
    return ClipRefused(Outcome.TRUNCATED, "the file ends inside its header")


def _broken() -> ClipRefused:
    return ClipRefused(Outcome.NOT_DICOM, "the elements of the header do not follow one another")


PARSING_FAULTS: Final = (
    InvalidDicomError, BytesLengthException, OSError, EOFError, struct.error, ValueError, TypeError, KeyError,
    IndexError, AttributeError, NotImplementedError, OverflowError, RecursionError, RuntimeError, MemoryError,
)  # fmt: skip
"""What pydicom and its decoders raise on damaged or hostile files."""


@contextmanager
def pydicom_silenced() -> Iterator[None]:
    """Keep pydicom from logging and warning, in words that repeat what stands in the file."""
    logger = logging.getLogger("pydicom")  # those of its modules take their level from it
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def numbers_of(dataset: Dataset, keyword: str) -> list[float]:
    """The finite numbers of an element, whatever its multiplicity; empty when absent or not numbers."""
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            return []
        values = np.atleast_1d(np.asarray(value, dtype=np.float64))
        return [float(v) for v in values if np.isfinite(v)]
    except PARSING_FAULTS:
        return []


def integer_of(dataset: Dataset, keyword: str, default: int) -> int | None:
    """The whole number of an element, the default when it is absent or empty, None when it is neither."""
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            return default
        number = float(value)
        return int(number) if number.is_integer() else None
    except PARSING_FAULTS:
        return None


def text_of(dataset: Dataset, keyword: str) -> str:
    """The text of an element for comparing it with known words, never for showing; empty when absent."""
    try:
        return str(dataset.get(keyword) or "").strip("\0 ")
    except PARSING_FAULTS:
        return ""


class Codec(StrEnum):
    """How the frames of a clip are coded."""

    NATIVE = "uncompressed"
    JPEG = "JPEG"
    JPEG_LOSSLESS = "JPEG lossless"
    JPEG_LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"
    RLE = "RLE"
    VIDEO = "video"  # a video file, which is no DICOM


IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"

_CODECS: Final = {
    IMPLICIT_LITTLE: Codec.NATIVE,
    EXPLICIT_LITTLE: Codec.NATIVE,
    EXPLICIT_BIG: Codec.NATIVE,
    "1.2.840.10008.1.2.4.50": Codec.JPEG,  # baseline
    "1.2.840.10008.1.2.4.51": Codec.JPEG,  # extended; its 12-bit form is refused
    "1.2.840.10008.1.2.4.57": Codec.JPEG_LOSSLESS,
    "1.2.840.10008.1.2.4.70": Codec.JPEG_LOSSLESS,  # first-order prediction
    "1.2.840.10008.1.2.4.80": Codec.JPEG_LS,  # lossless
    "1.2.840.10008.1.2.4.81": Codec.JPEG_LS,  # near-lossless
    "1.2.840.10008.1.2.4.90": Codec.JPEG_2000,  # lossless
    "1.2.840.10008.1.2.4.91": Codec.JPEG_2000,
    "1.2.840.10008.1.2.4.201": Codec.JPEG_2000,  # high throughput, lossless
    "1.2.840.10008.1.2.4.202": Codec.JPEG_2000,  # high throughput, lossless, RPCL order
    "1.2.840.10008.1.2.4.203": Codec.JPEG_2000,  # high throughput
    "1.2.840.10008.1.2.5": Codec.RLE,
}


def codec_of(syntax: str) -> Codec:
    """The codec of a transfer syntax.

    Deflated files (1.2.840.10008.1.2.1.99) are not among them: a few kilobytes can inflate to
    gigabytes. MPEG, H.264 and H.265 are not either.

    Raises:
        ClipRefused: UNSUPPORTED_TRANSFER_SYNTAX, with the UID if the standard knows it.
    """
    if syntax in _CODECS:
        return _CODECS[syntax]
    known = UID(syntax).is_transfer_syntax if syntax.startswith("1.2.840.10008.") else False
    raise ClipRefused(Outcome.UNSUPPORTED_TRANSFER_SYNTAX, syntax if known else "not a UID of the standard")


_ALLOWED: Final = (
    "SOPClassUID", "SOPInstanceUID", "Modality", "Manufacturer",
    "RecommendedDisplayFrameRate", "CineRate", "FrameTime", "FrameTimeVector",
    "HeartRate", "RWaveTimeVector", "RWavePointer",
    "SequenceOfUltrasoundRegions", "WaveformSequence",
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames",
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    *(f"{colour}PaletteColorLookupTable{part}" for colour in ("Red", "Green", "Blue")
      for part in ("Descriptor", "Data")),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
)  # fmt: skip
_ALLOWED_TAGS: Final = frozenset(tag_for_keyword(keyword) for keyword in _ALLOWED)
_WAVEFORM: Final = tag_for_keyword("WaveformSequence")
_MAX_ELEMENT_BYTES: Final = 256 * 1024  # a palette of 65,536 entries of 16 bits has 128 KiB
_MAX_WAVEFORM_BYTES: Final = 8 * 1024**2

_PIXEL_DATA: Final = 0x7FE00010
_EXTENDED_OFFSETS: Final = 0x7FE00001
_TRANSFER_SYNTAX: Final = 0x00020010
_META_GROUP: Final = 0x0002
_FIRST_GROUPS: Final = (b"\x02\x00", b"\x08\x00")
_MAX_META_ELEMENTS: Final = 64
_MAX_UID: Final = 64

_BINARY: Final = getattr(os, "O_BINARY", 0)  # only Windows has it
_NO_WAIT: Final = getattr(os, "O_NONBLOCK", 0)  # a pipe put in the file's place must not block either


@dataclass(frozen=True)
class HeaderElements:
    """What was taken from a file.

    Attributes:
        syntax: UID of a transfer syntax that can be decoded.
        encoding: how the elements are written.
        dataset: the elements of the allow-list, nothing else.
        pixels: the pixel data element (7FE0,0010), its value not read; or None.
        extended_offsets: value of the Extended Offset Table (7FE0,0001), empty without one.
    """

    syntax: str
    encoding: Encoding
    dataset: Dataset
    pixels: Element | None
    extended_offsets: bytes

    @property
    def words(self) -> bool:
        """Whether the pixel data are written as words of 16 bits."""
        return self.pixels is not None and self.pixels.vr == b"OW"


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; a pipe, a device or a folder is refused before it can block.

    Raises:
        ClipRefused: NOT_DICOM when it is not a regular file.
        OSError: when it cannot be opened.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ClipRefused(Outcome.NOT_DICOM, "not a regular file")
    return os.fdopen(os.open(path, os.O_RDONLY | _BINARY | _NO_WAIT), "rb")


def take_elements(file: BinaryIO, size: int) -> HeaderElements:
    """Walk a file up to its pixel data and take the elements of the allow-list.

    The transfer syntax is judged first, so that nothing is inflated. Elements that are not on the
    list, or are larger than any sound one, are skipped by their length.

    Args:
        file: the open file.
        size: its size in bytes.

    Raises:
        ClipRefused: NOT_DICOM, UNSUPPORTED_TRANSFER_SYNTAX, TRUNCATED or TOO_LARGE.
    """
    syntax = _read_meta(file, size)
    encoding = _encoding(file, syntax)
    syntax = syntax or (IMPLICIT_LITTLE if encoding.implicit else EXPLICIT_LITTLE)
    codec_of(syntax)
    walk = ElementWalk(file, size, encoding)
    taken: dict[int, bytes] = {}
    pixels = None
    while element := walk.next():
        if element.tag == _PIXEL_DATA:
            pixels = element
            break
        if element.tag >> 16 == DELIMITERS:
            raise ClipRefused(Outcome.NOT_DICOM, "the elements of the header do not follow one another")
        walk.skip(element)
        if element.tag in _ALLOWED_TAGS or element.tag == _EXTENDED_OFFSETS:
            _take(file, element, taken)
    offsets = taken.pop(_EXTENDED_OFFSETS, b"")[12:]
    dataset = read_dataset(BytesIO(b"".join(taken.values())), encoding.implicit, encoding.little)
    return HeaderElements(syntax, encoding, dataset, pixels, offsets)


def _take(file: BinaryIO, element: Element, taken: dict[int, bytes]) -> None:
    if element.tag in taken:
        raise ClipRefused(Outcome.NOT_DICOM, "an element of the image stands twice in the header")
    end = file.tell()
    limit = _MAX_WAVEFORM_BYTES if element.tag == _WAVEFORM else _MAX_ELEMENT_BYTES
    if end - element.start <= limit:
        file.seek(element.start)
        taken[element.tag] = element.head + file.read(end - element.start)


def _read_meta(file: BinaryIO, size: int) -> str:
    """The transfer syntax, empty when none is given, with the file left at the first element after it."""
    head = file.read(132)
    if head[128:] == b"DICM":
        start = 132
    elif head.startswith(_FIRST_GROUPS):
        start = 0  # written without a preamble
    else:
        raise ClipRefused(Outcome.NOT_DICOM, "no DICOM file: the mark DICM is missing")
    file.seek(start)
    walk = ElementWalk(file, size, Encoding(implicit=False, little=True))
    syntax = ""
    for _ in range(_MAX_META_ELEMENTS):
        position = file.tell()
        group = file.read(2)
        file.seek(position)
        if group != struct.pack("<H", _META_GROUP):
            return syntax
        element = walk.next()
        if element is None or element.length == UNDEFINED_LENGTH:
            break
        walk.skip(element)
        if element.tag == _TRANSFER_SYNTAX:
            syntax = _uid_at(file, element)
    raise ClipRefused(Outcome.NOT_DICOM, "the file meta information does not end")


def _uid_at(file: BinaryIO, element: Element) -> str:
    end = file.tell()
    file.seek(element.start)
    text = file.read(min(element.length, _MAX_UID)).decode("ascii", "replace").rstrip("\0 ")
    file.seek(end)
    return text or "empty"


def _encoding(file: BinaryIO, syntax: str) -> Encoding:
    """How the elements are written, judged from the first one where the syntax and the file disagree."""
    if syntax == EXPLICIT_BIG:
        return Encoding(implicit=False, little=False)
    start = file.tell()
    head = file.read(6)
    file.seek(start)
    return Encoding(implicit=not is_vr(head[4:6]), little=True)
