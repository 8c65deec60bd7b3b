"""Values of header elements that may be written in any way, and the codecs that transfer syntaxes mean."""

from __future__ import annotations

import logging
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

import numpy as np
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID

from cardio_mlflow.data.outcomes import ClipRefused, Outcome

PARSING_FAULTS: Final = (
    InvalidDicomError, BytesLengthException, OSError, EOFError, struct.error, ValueError, TypeError,
    LookupError, AttributeError, OverflowError, RuntimeError, MemoryError,
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


_TEXT_VRS: Final = ("DS", "IS", "LO", "SH", "CS", "ST", "LT", "UT", "AE", "AS", "UC")
_NUMBER: Final = re.compile(rb"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


def bytes_of(dataset: Dataset, keyword: str) -> bytes:
    """The value of an element of text as it stands in the file; empty when absent, or no text."""
    tag = tag_for_keyword(keyword)
    element = dataset.get_item(tag) if tag in dataset else None
    if not isinstance(element, RawDataElement) or not isinstance(element.value, bytes):
        return b""
    vr = dictionary_VR(element.tag) if element.VR in (None, "UN") else element.VR
    return element.value.strip(b"\0 ") if vr in _TEXT_VRS else b""


def is_given(dataset: Dataset, keyword: str) -> bool:
    """Whether an element is there and not empty, be it readable or not."""
    try:
        return bytes_of(dataset, keyword) != b"" or dataset.get(keyword) not in (None, "", b"")
    except PARSING_FAULTS:
        return True


def numbers_of(dataset: Dataset, keyword: str) -> list[float]:
    """The finite numbers of an element, whatever its multiplicity; empty when absent or not numbers.

    A comma counts as a decimal point: values stand apart by backslashes.
    """
    try:
        text = bytes_of(dataset, keyword)
        if text:
            parts = [part.strip() for part in text.rstrip(b"\\").split(b"\\")]
            value = [float(part.replace(b",", b".")) for part in parts if _NUMBER.fullmatch(part)]
            value = value if len(value) == len(parts) else []
        else:
            value = dataset.get(keyword)
            value = [] if value is None or value == "" else value
        return [float(v) for v in np.atleast_1d(np.asarray(value, dtype=np.float64)) if np.isfinite(v)]
    except PARSING_FAULTS:
        return []


def number_of(dataset: Dataset, keyword: str, default: float) -> float:
    """The first number of an element, the default when there is none."""
    return next(iter(numbers_of(dataset, keyword)), default)


def integer_of(dataset: Dataset, keyword: str, default: int | None) -> int | None:
    """The whole number of an element, the default when it is absent or empty, None when it is neither."""
    numbers = numbers_of(dataset, keyword)
    if not numbers and not is_given(dataset, keyword):
        return default
    return int(numbers[0]) if len(numbers) == 1 and numbers[0].is_integer() else None


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


STANDARD: Final = "1.2.840.10008.1.2"
BIG_ENDIAN: Final = f"{STANDARD}.2"
_CODECS: Final = {
    **dict.fromkeys((STANDARD, f"{STANDARD}.1", BIG_ENDIAN), Codec.NATIVE), f"{STANDARD}.5": Codec.RLE,
    **dict.fromkeys((f"{STANDARD}.4.{n}" for n in (50, 51)), Codec.JPEG),  # of 12 bits it is refused
    **dict.fromkeys((f"{STANDARD}.4.{n}" for n in (57, 70)), Codec.JPEG_LOSSLESS),
    **dict.fromkeys((f"{STANDARD}.4.{n}" for n in (80, 81)), Codec.JPEG_LS),
    **dict.fromkeys((f"{STANDARD}.4.{n}" for n in (90, 91, 201, 202, 203)), Codec.JPEG_2000),
}  # fmt: skip


def codec_of(syntax: str) -> Codec:
    """The codec of a transfer syntax.

    Deflated files (1.2.840.10008.1.2.1.99) are not among them: a few kilobytes can inflate to
    gigabytes, and frames could not be read one by one. MPEG, H.264 and H.265 are not either.

    Raises:
        ClipRefused: UNSUPPORTED_TRANSFER_SYNTAX, with the UID if the standard knows it.
    """
    if syntax in _CODECS:
        return _CODECS[syntax]
    known = UID(syntax).is_transfer_syntax if syntax.startswith(STANDARD) else False
    raise ClipRefused(Outcome.UNSUPPORTED_TRANSFER_SYNTAX, syntax if known else "not a UID of the standard")
