"""Values of header elements however they are written, and the size, format and colours of the pixels."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from math import isfinite
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from cardio_mlflow.data.outcomes import (
    MAX_FRAME_PIXELS,
    MAX_FRAMES,
    MAX_INFLATED_BYTES,
    MAX_SIDE,
    ClipRefused,
    Outcome,
)
from cardio_mlflow.data.parsing import PARSING_FAULTS

_TEXT_VRS: Final = ("DS", "IS", "LO", "SH", "CS", "ST", "LT", "UT", "AE", "AS", "UC")
_BINARY: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
_PLAIN_VRS: Final = ("CS", "UI")  # ASCII, whatever the character set
_NUMBER: Final = re.compile(rb"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


def bytes_of(dataset: Dataset, keyword: str) -> bytes:
    """The value of an element of text as it stands in the file; empty when absent, or no text."""
    vr, value, _ = _as_stored(dataset.get_item(tag_of(keyword)))
    return value.strip(b"\0 ") if vr in _TEXT_VRS else b""


@cache
def tag_of(keyword: str) -> BaseTag:
    """The tag of a DICOM keyword."""
    return Tag(keyword)


def _as_stored(element: object) -> tuple[str, bytes, str]:
    """VR, value and order of bytes ("<" or ">") of an element that was not converted; else nothing."""
    if not isinstance(element, RawDataElement) or not isinstance(element.value, bytes):
        return "", b"", "<"
    vr = dictionary_VR(element.tag) if element.VR in (None, "UN") else element.VR
    return vr or "", element.value, "<" if element.is_little_endian else ">"


def is_given(dataset: Dataset, keyword: str) -> bool:
    """Whether an element is there and not empty, be it readable or not."""
    try:
        if dataset.get_item(tag_of(keyword)) is None:
            return False
        return bytes_of(dataset, keyword) != b"" or dataset.get(keyword) not in (None, "", b"")
    except PARSING_FAULTS:
        return True


def numbers_of(dataset: Dataset, keyword: str) -> list[float]:
    """The finite numbers of an element, whatever its multiplicity; empty when absent or not numbers.

    A comma counts as a decimal point: values stand apart by backslashes.
    """
    try:
        element = dataset.get_item(tag_of(keyword))
        if element is None:
            return []
        vr, raw, order = _as_stored(element)
        if letter := _BINARY.get(vr):  # converting an element by pydicom takes 20 times as long
            size = struct.calcsize(letter)
            return [float(v) for v in struct.unpack(f"{order}{len(raw) // size}{letter}", raw) if isfinite(v)]
        if text := raw.strip(b"\0 ") if vr in _TEXT_VRS else b"":
            parts = [part.strip() for part in text.rstrip(b"\\").split(b"\\")]
            numeric = all(map(_NUMBER.fullmatch, parts))
            value = [float(part.replace(b",", b".")) for part in parts] if numeric else []
            return [v for v in value if isfinite(v)]
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
        element = dataset.get_item(tag_of(keyword))
        if element is None:
            return ""
        vr, raw, _ = _as_stored(element)
        if vr in _PLAIN_VRS and raw.isascii() and b"\\" not in raw:
            return raw.decode("ascii").strip("\0 ")
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
DEFLATED: Final = f"{STANDARD}.1.99"
CODECS: Final = {
    **dict.fromkeys((STANDARD, f"{STANDARD}.1", DEFLATED, BIG_ENDIAN), Codec.NATIVE),
    f"{STANDARD}.5": Codec.RLE,
    **dict.fromkeys((f"{STANDARD}.4.{n}" for n in (50, 51)), Codec.JPEG),  # of 12 bits it is refused
    **dict.fromkeys((f"{STANDARD}.4.{n}" for n in (57, 70)), Codec.JPEG_LOSSLESS),
    **dict.fromkeys((f"{STANDARD}.4.{n}" for n in (80, 81)), Codec.JPEG_LS),
    **dict.fromkeys((f"{STANDARD}.4.{n}" for n in (90, 91, 201, 202, 203)), Codec.JPEG_2000),
}  # fmt: skip


def codec_of(syntax: str) -> Codec:
    """The codec of a transfer syntax; MPEG, H.264 and H.265 are not among them.

    Raises:
        ClipRefused: UNSUPPORTED_TRANSFER_SYNTAX, with the UID if the standard knows it.
    """
    if syntax in CODECS:
        return CODECS[syntax]
    known = UID(syntax).is_transfer_syntax if syntax.startswith(STANDARD) else False
    raise ClipRefused(Outcome.UNSUPPORTED_TRANSFER_SYNTAX, syntax if known else "not a UID of the standard")


PALETTE: Final = "PALETTE COLOR"
HALVED: Final = ("YBR_FULL_422", "YBR_PARTIAL_422")
_GRAY: Final = ("MONOCHROME1", "MONOCHROME2", PALETTE)
_COMPRESSED_ONLY: Final = ("YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
_COLOUR: Final = ("RGB", "YBR_FULL", *HALVED, *_COMPRESSED_ONLY)
_MIN_SIDE: Final = 32


@dataclass(frozen=True)
class PixelFormat:
    """How one sample of a frame is written.

    Attributes:
        allocated: bits of a sample, 8 or 16, of which ``stored`` carry the value.
        shift: bits below the value, in uncompressed data.
        planar: whether colour planes lie one after another.
        swapped: whether samples of 8 bits are exchanged in pairs, as in big-endian words.
        window: lowest and highest value that the header wants shown, of gray samples of 16 bits; or None.
        palette: RGB of each palette index, uint8, 2**stored × 3, or None.
    """

    codec: Codec
    syntax: str = ""
    photometric: str = "RGB"
    samples: int = 3
    allocated: int = 8
    stored: int = 8
    shift: int = 0
    planar: bool = False
    signed: bool = False
    big_endian: bool = False
    swapped: bool = False
    window: tuple[float, float] | None = None
    palette: NDArray[np.uint8] | None = None


def check_size(dataset: Dataset) -> tuple[int, int, int | None]:
    """Rows, columns and frames of the header; None where it does not say how many frames there are.

    Raises:
        ClipRefused: NO_PIXELS, FRAME_COUNT_MISMATCH, TOO_LARGE or NO_SECTOR.
    """
    rows, columns = (integer_of(dataset, side, 0) or 0 for side in ("Rows", "Columns"))
    frames = integer_of(dataset, "NumberOfFrames", 0)
    given = frames != 0 or bool(numbers_of(dataset, "NumberOfFrames"))
    if rows <= 0 or columns <= 0:
        raise ClipRefused(Outcome.NO_PIXELS, "no image size in the header")
    if frames is None:
        raise ClipRefused(Outcome.FRAME_COUNT_MISMATCH, "the number of frames is no whole number")
    if given and frames < 1:
        raise ClipRefused(Outcome.FRAME_COUNT_MISMATCH, f"the header says {max(frames, -1)} frames")
    check_caps(rows, columns, frames)
    if min(rows, columns) < _MIN_SIDE:
        text = f"an image of {rows} x {columns} pixels is too small for a sector"
        raise ClipRefused(Outcome.NO_SECTOR, text)
    return rows, columns, frames if given else None


def check_caps(rows: int, columns: int, frames: int, pixel_bytes: int = 1) -> None:
    """Refuse what would be too large when decoded: TOO_LARGE."""
    if (
        max(rows, columns) > MAX_SIDE or rows * columns > MAX_FRAME_PIXELS or frames > MAX_FRAMES
        or rows * columns * frames * pixel_bytes > MAX_INFLATED_BYTES
    ):  # fmt: skip
        raise ClipRefused(Outcome.TOO_LARGE, f"{min(frames, 10**9)} frames of {rows} x {columns} pixels")


def check_format(dataset: Dataset, syntax: str, codec: Codec, columns: int) -> PixelFormat:
    """The format of the samples.

    Raises:
        ClipRefused: CORRUPT_FRAME when it cannot exist, UNSUPPORTED_TRANSFER_SYNTAX for JPEG of more
            than 8 bits.
    """
    samples, allocated = integer_of(dataset, "SamplesPerPixel", 1), integer_of(dataset, "BitsAllocated", 8)
    stored = integer_of(dataset, "BitsStored", allocated or 8)
    if (
        samples not in (1, 3) or allocated not in (8, 16) or stored is None or not 1 <= stored <= allocated
        or (allocated == 16 and samples == 3)
    ):  # fmt: skip
        sizes = [v if v is not None and 0 <= v < 2**16 else "?" for v in (samples, stored, allocated)]
        text = "a pixel format that cannot be read: {} x {} of {} bits".format(*sizes)
        raise ClipRefused(Outcome.CORRUPT_FRAME, text)
    photometric = text_of(dataset, "PhotometricInterpretation")
    if not photometric:
        raise ClipRefused(Outcome.CORRUPT_FRAME, "the photometric interpretation is missing")
    compressed = photometric in _COMPRESSED_ONLY or (photometric in HALVED and columns % 2)
    if photometric not in (_GRAY if samples == 1 else _COLOUR) or (codec is Codec.NATIVE and compressed):
        text = f"a photometric interpretation that does not fit {samples} samples a pixel"
        raise ClipRefused(Outcome.CORRUPT_FRAME, text)
    if codec is Codec.JPEG and allocated != 8:
        raise ClipRefused(Outcome.UNSUPPORTED_TRANSFER_SYNTAX, f"JPEG of {stored} bits a sample")
    high = integer_of(dataset, "HighBit", stored - 1)
    placed = codec is Codec.NATIVE and high is not None and stored - 1 <= high < allocated
    return PixelFormat(
        codec=codec, syntax=syntax, photometric=photometric, samples=samples, allocated=allocated,
        stored=stored, shift=high + 1 - stored if placed and high is not None else 0,
        planar=integer_of(dataset, "PlanarConfiguration", 0) == 1,
        signed=integer_of(dataset, "PixelRepresentation", 0) == 1,
        window=_window(dataset) if allocated == 16 and photometric != PALETTE else None,
    )  # fmt: skip


def _window(dataset: Dataset) -> tuple[float, float] | None:
    """Lowest and highest stored value shown by the first window (PS3.3, C.11.2.1.2.1), None without one."""
    width, slope = number_of(dataset, "WindowWidth", 0.0), number_of(dataset, "RescaleSlope", 1.0)
    if not numbers_of(dataset, "WindowCenter") or width <= 1 or slope <= 0:
        return None
    centre, intercept = number_of(dataset, "WindowCenter", 0.0), number_of(dataset, "RescaleIntercept", 0.0)
    low = centre - 0.5 - (width - 1) / 2
    return (low - intercept) / slope, (low + width - 1 - intercept) / slope


_BT601: Final = np.array([0.299, 0.587, 0.114])


def gray_table(form: PixelFormat, shown: tuple[float, float] | None = None) -> NDArray[np.uint8] | None:
    """Luma of every bit pattern of a gray or palette sample, uint8, shape (2**allocated,).

    None where the luma is the sample itself. ``shown`` are the values that are black and white; without
    them they are the least and the greatest of ``stored`` bits.
    """
    values = np.arange(2**form.stored)
    sign = len(values) // 2 if form.signed else 0
    ranks = values ^ sign
    if form.palette is not None:
        luma = np.rint(form.palette @ _BT601)
    elif shown is not None:
        luma = np.rint(np.clip((ranks - sign - shown[0]) / (shown[1] - shown[0]), 0, 1) * 255.0)
    else:
        luma = np.rint(ranks * (255.0 / (len(values) - 1)))
    if form.photometric == "MONOCHROME1":
        luma = 255 - luma
    if form.allocated == 8 and len(values) == 256 and np.array_equal(luma, values):
        return None
    table = np.zeros(2**form.allocated, np.uint8)
    table[: len(values)] = np.clip(luma, 0, 255)
    return table


PARTIAL_TABLE: Final = np.rint((np.arange(256.0) - 16) * (255 / 219)).clip(0, 255).astype(np.uint8)
"""Luma of the Y of YBR_PARTIAL, which goes from 16 to 235."""

_PARTIAL_TO_FULL: Final = np.array([[255 / 219, 0, 0, -16 * 255 / 219],
                                    [0, 255 / 224, 0, 128 - 128 * 255 / 224],
                                    [0, 0, 255 / 224, 128 - 128 * 255 / 224]])  # fmt: skip


def to_rgb(samples: NDArray[np.uint8], photometric: str) -> NDArray[np.uint8]:
    """YBR samples of 8 bits, rows × columns × 3, as RGB."""
    if photometric.startswith("YBR_PARTIAL"):
        samples = cv2.transform(samples, _PARTIAL_TO_FULL)
    swapped = np.ascontiguousarray(samples[..., [0, 2, 1]])  # OpenCV's order is Y Cr Cb
    return np.asarray(cv2.cvtColor(swapped, cv2.COLOR_YCrCb2RGB), dtype=np.uint8)
