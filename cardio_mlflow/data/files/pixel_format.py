"""The size and format of a clip's pixels, checked in the header before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cardio_mlflow.data.files.header_values import Codec, integer_of, number_of, numbers_of, text_of
from cardio_mlflow.data.outcomes import (
    MAX_FRAME_PIXELS,
    MAX_FRAMES,
    MAX_INFLATED_BYTES,
    MAX_SIDE,
    ClipRefused,
    Outcome,
)

PALETTE: Final = "PALETTE COLOR"
_GRAY: Final = ("MONOCHROME1", "MONOCHROME2", PALETTE)
HALVED: Final = ("YBR_FULL_422", "YBR_PARTIAL_422")
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
    rows, columns = integer_of(dataset, "Rows", 0) or 0, integer_of(dataset, "Columns", 0) or 0
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
    photometric = text_of(dataset, "PhotometricInterpretation")
    if (
        samples not in (1, 3) or allocated not in (8, 16) or stored is None or not 1 <= stored <= allocated
        or (allocated == 16 and samples == 3)
    ):  # fmt: skip
        sizes = [v if v is not None and 0 <= v < 2**16 else "?" for v in (samples, stored, allocated)]
        text = "a pixel format that cannot be read: {} x {} of {} bits".format(*sizes)
        raise ClipRefused(Outcome.CORRUPT_FRAME, text)
    if photometric not in (_GRAY if samples == 1 else _COLOUR) or (
        codec is Codec.NATIVE and (photometric in _COMPRESSED_ONLY or (photometric in HALVED and columns % 2))
    ):
        text = "the photometric interpretation is missing" if not photometric else (
            f"a photometric interpretation that does not fit {samples} samples a pixel")  # fmt: skip
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
