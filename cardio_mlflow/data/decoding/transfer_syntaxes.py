"""The DICOM transfer syntaxes that can be decoded, by the codec that their frames are made with."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydicom.uid import UID

from cardio_mlflow.data.outcomes import ClipRefused, Outcome


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
