"""The few elements of a DICOM header that preparation may know, read by pydicom within limits."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Final, NamedTuple

from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement, empty_value_for_VR
from pydicom.dataset import Dataset
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from cardio_mlflow.data.cohort.zip_members import MemberFile, member_of
from cardio_mlflow.data.files.header_values import BIG_ENDIAN, DEFLATED, STANDARD, Codec, codec_of
from cardio_mlflow.data.files.streams import inflated
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.parsing import PARSING_FAULTS

UNDEFINED_LENGTH: Final = 0xFFFFFFFF
_MAX_FILE_BYTES: Final = 2 * 1024**3
_MOST_READ: Final = 64 * 1024**2
_PRICE: Final = 256  # of a read beside its bytes: an element of no bytes takes memory too
_CHUNK: Final = 8192  # what pydicom reads at a time where it does not know what there is
_MEMBER_BUFFER: Final = 64 * 1024  # inflated at a time
_NO_WAIT: Final = getattr(os, "O_NONBLOCK", 0)  # a pipe put in the file's place must not block either


class ClipFile(BufferedReader):
    """A file that is open for reading; of its header no more is read than any sound one has.

    Attributes:
        size: bytes of the file, when inflated.
        deflated_at: from where on it was deflated; 0 for a file that was not.
        torn: whether the last read came upon the end of the file.
    """

    def __init__(self, path: Path, deflated_at: int = 0) -> None:
        """Open a file or a zip file's member; a pipe, a device or a folder is refused before it can block.

        Raises:
            ClipRefused: NOT_DICOM when it is no regular file, TOO_LARGE beyond 2 GiB, or as `inflate`.
            OSError: when it cannot be opened.
        """
        if member := member_of(path):
            raw = MemberFile(*member)
            self.size = raw.size
            super().__init__(raw, _MEMBER_BUFFER)
        else:
            self.size = _size_of(path)
            super().__init__(FileIO(path, opener=lambda name, flags: os.open(name, flags | _NO_WAIT)))
        self.torn = False
        self._left = _MOST_READ
        self.deflated_at = 0
        if deflated_at:
            self.inflate(deflated_at)

    def inflate(self, start: int) -> None:
        """Go on with the inflated file, in memory; it raises as `inflated`."""
        self.seek(0)
        content = inflated(super().read, start, self.size)
        self.detach().close()
        self.size = len(content.getbuffer())
        self.deflated_at = start
        super().__init__(content)

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes of the header.

        Raises:
            ClipRefused: TRUNCATED where the file has fewer, TOO_LARGE behind 64 MiB or 250,000 reads.
        """
        wanted = self.size if size is None or size < 0 else size
        if wanted > _CHUNK and wanted > self.size - self.tell():
            raise _truncated()
        self._left -= wanted + _PRICE
        if self._left < 0:
            raise ClipRefused(Outcome.TOO_LARGE, "more elements or bytes in the header than a clip can have")
        data = super().read(size)
        self.torn = 0 < len(data) < wanted
        return data

    def read_at(self, start: int, length: int) -> bytes:
        """Bytes of the pixel data, fewer where the file ends."""
        self.seek(start)
        return super().read(length)


def _size_of(path: Path) -> int:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ClipRefused(Outcome.NOT_DICOM, "not a regular file")
    if status.st_size > _MAX_FILE_BYTES:
        text = f"the file has {status.st_size} bytes, at most {_MAX_FILE_BYTES}"
        raise ClipRefused(Outcome.TOO_LARGE, text)
    return status.st_size


_COLOURS: Final = ("Red", "Green", "Blue")
_ALLOWED: Final = (
    "SOPClassUID", "SOPInstanceUID", "Modality", "Manufacturer",
    "RecommendedDisplayFrameRate", "CineRate", "FrameTime", "FrameTimeVector", "FrameIncrementPointer",
    "HeartRate", "RWaveTimeVector", "RWavePointer", "SequenceOfUltrasoundRegions", "WaveformSequence",
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames",
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "ExtendedOffsetTable",
    *(f"{colour}PaletteColorLookupTable{part}" for colour in _COLOURS for part in ("Descriptor", "Data")),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in _COLOURS),
)  # fmt: skip
_TAGS: Final = frozenset(tag for keyword in _ALLOWED if (tag := tag_for_keyword(keyword)) is not None)
_SHAPE_NOTHING: Final = ("SOPClassUID", "SOPInstanceUID", "Modality", "Manufacturer", "HeartRate")
_WAVEFORM: Final = tag_for_keyword("WaveformSequence")
_MAX_ELEMENT_BYTES: Final = 256 * 1024  # a palette of 65,536 entries of 16 bits has 128 KiB
_MAX_WAVEFORM_BYTES: Final = 8 * 1024**2
_PIXEL_DATA: Final = 0x7FE00010
_SYNTAX: Final = 0x00020010
_ITEM_END, _SEQUENCE_END = 0xFFFEE00D, 0xFFFEE0DD
_FIRST_GROUPS: Final = (b"\x02\0", b"\x08\0", b"\0\x08")
_MOST_METAS: Final = 64
_Elements = dict[int, RawDataElement | DataElement]


class PixelElement(NamedTuple):
    """The pixel data element (7FE0,0010): its VR, and where its value lies."""

    vr: str | None
    start: int
    length: int


@dataclass(frozen=True)
class HeaderElements:
    """What was taken from a file, elements of the allow-list only; ``notes`` say what was bent in it."""

    syntax: str
    little: bool
    dataset: Dataset
    pixels: PixelElement | None
    notes: tuple[str, ...]


def take_elements(file: ClipFile, more: Collection[int] = (), any_syntax: bool = False) -> HeaderElements:
    """Read a file up to its pixel data and take the elements of the allow-list, and ``more``.

    A deflated file is inflated. What is not on the list, or is larger than any sound one, is skipped. With
    ``any_syntax`` a transfer syntax that cannot be decoded is not refused yet.

    Raises:
        ClipRefused: NOT_DICOM, UNSUPPORTED_TRANSFER_SYNTAX, TRUNCATED or TOO_LARGE.
    """
    try:
        return _take(file, frozenset(more), any_syntax)
    except PARSING_FAULTS as fault:
        if isinstance(fault, EOFError) or file.tell() >= file.size:
            raise _truncated() from None
        raise


def _take(file: ClipFile, more: frozenset[int], any_syntax: bool) -> HeaderElements:
    head = file.read_at(0, 132)
    if head[128:] != b"DICM" and not head.startswith(_FIRST_GROUPS):
        raise ClipRefused(Outcome.NOT_DICOM, "no DICOM file: the mark DICM is missing")
    file.seek(132 if head[128:] == b"DICM" else 0)
    syntaxes = _read_meta(file)
    notes = ["a second set of file-meta elements"] if len(syntaxes) > 1 else []
    different = list(dict.fromkeys(syntaxes))
    for syntax in () if any_syntax else different:
        codec_of(syntax)
    start = file.tell()
    if different == [DEFLATED]:
        file.inflate(start)
    first = file.read_at(start, 6)
    implicit = not _is_vr(first[4:])
    little = BIG_ENDIAN not in different and (bool(different) or first[:2] != b"\0\x08")
    walk = _Walk(file, implicit, little, notes, more)
    dataset = walk.dataset(start)
    packed = walk.pixels is not None and walk.pixels.length == UNDEFINED_LENGTH
    if not different:
        notes.append("no transfer syntax")
        if packed:
            text = "the pixel data are compressed, and no transfer syntax is given"
            raise ClipRefused(Outcome.UNSUPPORTED_TRANSFER_SYNTAX, text)
        different = [STANDARD if implicit else f"{STANDARD}.1" if little else BIG_ENDIAN]
    if len(different) > 1:  # the one that the form of the pixel data fits
        different = [s for s in different if s != DEFLATED and (codec_of(s) is not Codec.NATIVE) == packed]
        if len(different) != 1 or BIG_ENDIAN in syntaxes:
            raise ClipRefused(Outcome.NOT_DICOM, "two sets of file-meta elements that contradict each other")
    return HeaderElements(different[0], little, dataset, walk.pixels, tuple(notes))


def _read_meta(file: ClipFile) -> list[str]:
    """The transfer syntaxes that the file-meta elements (group 2) give.

    Some programs leave the elements of the file that they changed behind their own, with or without its
    preamble. The file is left at the first element after them.
    """

    def ends(tag: int, _vr: str | None, length: int) -> bool:
        if tag >> 16 == 2 and file.tell() + length > file.size:
            raise _truncated()
        return tag >> 16 != 2

    syntaxes: list[str] = []
    number = 0
    while (head := file.read_at(at := file.tell(), 132)).startswith(b"\x02\0") or _is_preamble(head):
        file.seek(at + 132 if _is_preamble(head) else at)
        implicit = not _is_vr(head[4:6]) and not _is_preamble(head)
        meta = data_element_generator(file, implicit, True, ends)
        for number, element in enumerate(meta, number + 1):  # noqa: B020 - it counts on
            if element.tag == _SYNTAX and isinstance(element.value, bytes):
                syntaxes.append(element.value.decode("ascii", "replace").strip("\0 ") or "empty")
            if number > _MOST_METAS:
                raise ClipRefused(Outcome.NOT_DICOM, "the file meta information does not end")
    file.seek(at)
    return syntaxes


def _is_preamble(head: bytes) -> bool:
    return head[128:] == b"DICM" and not head.startswith(_FIRST_GROUPS)


def _is_vr(text: bytes) -> bool:
    return len(text) == 2 and text.isalpha() and text.isupper()


class _Walk:
    """Goes from element to element, up to the pixel data, and keeps what is on the list.

    It takes elements for what pydicom's own `data_element_generator` does, in a third of its time.
    """

    def __init__(
        self, file: ClipFile, implicit: bool, little: bool, notes: list[str], more: frozenset[int]
    ) -> None:
        self.pixels: PixelElement | None = None
        self._tags = _TAGS | more
        self._little = little
        self._implicit = implicit
        self._file = file
        self._notes = notes

    def dataset(self, start: int) -> Dataset:
        """The elements from a place in the file on."""
        found: _Elements = {}
        self._file.seek(start)
        for element in self._elements(start):
            self._keep(element, found)
        if self.pixels is None and (self._file.torn or self._file.tell() < self._file.size):
            raise _truncated() if self._file.torn else _broken()
        dataset = Dataset(found)
        dataset.set_original_encoding(self._implicit, self._little, "iso8859")
        return dataset

    def _elements(self, at: int) -> Iterator[RawDataElement | DataElement]:
        file, order = self._file, "<" if self._little else ">"
        whole, short, long = (struct.Struct(f"{order}{form}").unpack for form in ("HHI", "H", "I"))
        while len(head := file.read(8)) == 8:
            start, at = at, at + 8
            group, number, length = whole(head)
            tag, vr = group << 16 | number, None
            if not self._implicit and b"AA" <= head[4:6] <= b"ZZ":
                vr = head[4:6].decode("latin-1")
                if vr in EXPLICIT_VR_LENGTH_32:
                    (length,), at = long(file.read(4)), at + 4
                else:
                    (length,) = short(head[6:])
            if tag == _PIXEL_DATA:
                self.pixels = PixelElement(vr, at, length)
            if tag in (_PIXEL_DATA, _ITEM_END):
                return
            if length == UNDEFINED_LENGTH:
                if tag in self._tags or not self._skips_items():
                    file.seek(start)
                    yield next(data_element_generator(file, self._implicit, self._little))
                at = file.tell()
                continue
            self._check(tag, vr, at, length)
            most = _MAX_WAVEFORM_BYTES if tag == _WAVEFORM else _MAX_ELEMENT_BYTES
            if tag in self._tags and length <= most:
                value = file.read(length) if length else empty_value_for_VR(vr, raw=True)
                yield RawDataElement(BaseTag(tag), vr, length, value, at, self._implicit, self._little)
            else:
                file.seek(at + length)
            at += length

    def _check(self, tag: int, vr: str | None, at: int, length: int) -> None:
        """Refuse an element that goes beyond the file, or cannot stand where it does."""
        if at + length > self._file.size:
            raise _truncated() if vr or self._implicit else _broken()
        if tag >> 16 == _SEQUENCE_END >> 16 and (tag != _SEQUENCE_END or length):
            raise _broken()

    def _keep(self, element: RawDataElement | DataElement, found: _Elements) -> None:
        tag = int(element.tag)
        if tag not in self._tags:
            return
        if element.tag in found:
            name, same = keyword_for_tag(tag), found[element.tag].value == element.value
            if not same and tag in _TAGS and name not in _SHAPE_NOTHING:
                raise ClipRefused(Outcome.NOT_DICOM, f"{name} stands twice in the header, and differs")
            self._notes.append("an element twice" if same else f"{name} twice, the last taken")
        found[element.tag] = element

    def _skips_items(self) -> bool:
        """Go behind a value of undefined length if each of its items has a length: they may hold anything."""
        order = "<" if self._little else ">"
        item, end = (struct.pack(f"{order}HH", 0xFFFE, number) for number in (0xE000, 0xE0DD))
        while len(head := self._file.read(8)) == 8:
            length = struct.unpack(f"{order}I", head[4:])[0]
            if head[:4] == end:
                return True
            if head[:4] != item or length == UNDEFINED_LENGTH:
                return False
            self._file.seek(length, os.SEEK_CUR)
        return False


def _truncated() -> ClipRefused:
    return ClipRefused(Outcome.TRUNCATED, "the file ends inside its header")


def _broken() -> ClipRefused:
    return ClipRefused(Outcome.NOT_DICOM, "the elements of the header do not follow one another")
