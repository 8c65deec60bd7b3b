"""The size and format of a clip's pixels, checked in the header before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset

from cardio_mlflow.data.files.header_elements import Codec, integer_of, text_of
from cardio_mlflow.data.outcomes import (
    MAX_FRAME_PIXELS,
    MAX_FRAMES,
    MAX_INFLATED_BYTES,
    MAX_SIDE,
    ClipRefused,
    Outcome,
)

_GRAY: Final = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_COLOUR: Final = (
    "RGB",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_PARTIAL_420",
    "YBR_PARTIAL_422",
    "YBR_ICT",
    "YBR_RCT",
)
_HALVED: Final = ("YBR_FULL_422", "YBR_PARTIAL_422")
_COMPRESSED_ONLY: Final = ("YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")

_MIN_SIDE: Final = 32


@dataclass(frozen=True)
class PixelFormat:
    """How one sample of a frame is written; the fields are those of ``ClipHeader``."""

    photometric: str
    samples: int
    bits_allocated: int
    bits_stored: int
    shift: int
    planar: bool
    signed: bool

    @property
    def halved(self) -> bool:
        """Whether two neighbouring pixels share their colour."""
        return self.photometric in _HALVED


def check_size(dataset: Dataset) -> tuple[int, int, int]:
    """Rows, columns and frames of the header.

    Raises:
        ClipRefused: NO_PIXELS, FRAME_COUNT_MISMATCH, TOO_LARGE or NO_SECTOR.
    """
    rows, columns = integer_of(dataset, "Rows", 0) or 0, integer_of(dataset, "Columns", 0) or 0
    frames = integer_of(dataset, "NumberOfFrames", 1)
    if rows <= 0 or columns <= 0:
        raise ClipRefused(Outcome.NO_PIXELS, "no image size in the header")
    if frames is None:
        raise ClipRefused(Outcome.FRAME_COUNT_MISMATCH, "the number of frames is no whole number")
    if frames < 1:
        raise ClipRefused(Outcome.FRAME_COUNT_MISMATCH, f"the header says {max(frames, -1)} frames")
    if max(rows, columns) > MAX_SIDE or rows * columns > MAX_FRAME_PIXELS or frames > MAX_FRAMES:
        raise _too_large(rows, columns, frames)
    if min(rows, columns) < _MIN_SIDE:
        raise ClipRefused(
            Outcome.NO_SECTOR, f"an image of {rows} x {columns} pixels is too small for a sector"
        )
    return rows, columns, frames


def check_format(dataset: Dataset, codec: Codec, rows: int, columns: int, frames: int) -> PixelFormat:
    """The format of the samples.

    Raises:
        ClipRefused: CORRUPT_FRAME when it cannot exist, TOO_LARGE when the frames inflate too far,
            UNSUPPORTED_TRANSFER_SYNTAX for JPEG of more than 8 bits.
    """
    samples, allocated = integer_of(dataset, "SamplesPerPixel", 1), integer_of(dataset, "BitsAllocated", 8)
    stored = integer_of(dataset, "BitsStored", allocated or 8)
    photometric = text_of(dataset, "PhotometricInterpretation")
    known = (_GRAY if samples == 1 else _COLOUR) if samples in (1, 3) and allocated in (8, 16) else ()
    if photometric not in known or samples is None or allocated is None or stored is None:
        raise _unknown(samples, stored, allocated)
    if not 1 <= stored <= allocated or (allocated == 16 and samples == 3):
        raise _unknown(samples, stored, allocated)
    if codec is Codec.NATIVE and (
        photometric in _COMPRESSED_ONLY or (photometric in _HALVED and columns % 2)
    ):
        raise _unknown(samples, stored, allocated)
    if codec is Codec.JPEG and allocated != 8:
        raise ClipRefused(Outcome.UNSUPPORTED_TRANSFER_SYNTAX, f"JPEG of {stored} bits a sample")
    if rows * columns * frames * samples * (allocated // 8) > MAX_INFLATED_BYTES:
        raise _too_large(rows, columns, frames)
    return PixelFormat(
        photometric=photometric, samples=samples, bits_allocated=allocated, bits_stored=stored,
        shift=_shift(dataset, stored, allocated) if codec is Codec.NATIVE else 0,
        planar=integer_of(dataset, "PlanarConfiguration", 0) == 1,
        signed=integer_of(dataset, "PixelRepresentation", 0) == 1,
    )  # fmt: skip


def _shift(dataset: Dataset, stored: int, allocated: int) -> int:
    """How far above bit 0 a sample lies; other bits of it may hold overlays."""
    high = integer_of(dataset, "HighBit", stored - 1)
    return high + 1 - stored if high is not None and stored - 1 <= high < allocated else 0


def _unknown(samples: int | None, stored: int | None, allocated: int | None) -> ClipRefused:
    sizes = [
        value if value is not None and 0 <= value < 2**16 else "?" for value in (samples, stored, allocated)
    ]
    text = "a pixel format that cannot be read: {} x {} of {} bits".format(*sizes)
    return ClipRefused(Outcome.CORRUPT_FRAME, text)


def _too_large(rows: int, columns: int, frames: int) -> ClipRefused:
    return ClipRefused(Outcome.TOO_LARGE, f"{min(frames, 10**9)} frames of {rows} x {columns} pixels")
