"""The elements of a DICOM file, walked one by one without reading or inflating their values."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple

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
