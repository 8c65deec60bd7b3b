"""The few elements of a DICOM header that preparation may know, taken without reading the rest."""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from cardio_mlflow.data.decoding.elements import (
    DELIMITERS,
    UNDEFINED_LENGTH,
    Element,
    ElementWalk,
    Encoding,
    is_vr,
)
from cardio_mlflow.data.decoding.transfer_syntaxes import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    codec_of,
)
from cardio_mlflow.data.outcomes import ClipRefused, Outcome

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
