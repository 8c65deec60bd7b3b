"""The checked header of a DICOM echo clip: everything that can be refused before decoding."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels.processing import apply_color_lut

from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.pixel_data import FrameSpans, locate_encapsulated, locate_native
from cardio_mlflow.data.regions import Bound, pixel_aspect, region_bound
from cardio_mlflow.data.timing import frame_times, heart_rate, tagged_r_waves

PARSING_FAULTS: Final = (
    InvalidDicomError, BytesLengthException, OSError, EOFError, struct.error, ValueError, TypeError, KeyError,
    IndexError, AttributeError, NotImplementedError, OverflowError, RecursionError, RuntimeError, MemoryError,
)  # fmt: skip
"""What pydicom and its decoders raise on damaged or hostile files."""

JPEG_BASELINE: Final = "1.2.840.10008.1.2.4.50"
NATIVE: Final = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
"""Uncompressed transfer syntaxes: implicit and explicit little endian."""

_ENCAPSULATED: Final = (
    JPEG_BASELINE,
    "1.2.840.10008.1.2.4.57",  # JPEG lossless
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81",  # JPEG-LS near-lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.5",  # RLE
)
_MULTI_FRAME_SOP: Final = ("1.2.840.10008.5.1.4.1.1.3.1", "1.2.840.10008.5.1.4.1.1.3")
_PHOTOMETRIC: Final = ("MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422",
                       "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT")  # fmt: skip
_MANUFACTURERS: Final = ("GE", "Philips", "SonoSite", "Siemens", "Aloka", "Hitachi", "Canon", "Toshiba",
                         "Samsung", "Mindray", "Esaote", "Acuson", "ATL", "Synthetic")  # fmt: skip
_TIMING: Final = ("FrameTimeVector", "FrameTime", "CineRate", "RecommendedDisplayFrameRate", "HeartRate",
                  "RWaveTimeVector", "RWavePointer")  # fmt: skip

_MAX_FILE_BYTES: Final = 2 * 1024**3
_MAX_SIDE: Final = 4096
_MIN_SIDE: Final = 32
_MAX_FRAMES: Final = 2000
_MAX_INFLATED_BYTES: Final = 4 * 1024**3


@dataclass(frozen=True)
class ClipHeader:
    """What the rest of preparation may know about a DICOM clip; no field holds free text of the file.

    Attributes:
        path: the file.
        transfer_syntax: UID of the transfer syntax.
        photometric: photometric interpretation, in the standard's words.
        rows: height of a frame in pixels.
        columns: width of a frame in pixels.
        frames: number of frames.
        samples: samples per pixel, 1 or 3.
        bits_allocated: 8 or 16.
        bits_stored: bits that carry the value.
        planar: whether colour planes lie one after another.
        signed: whether samples are two's complement.
        palette: luma 0-255 of each palette index, or None.
        spans: where the frames lie in the file.
        frame_times_s: seconds since the first frame, or None.
        heart_rate: beats per minute, or None.
        r_waves_s: R-wave times from tags in seconds since the first frame; empty without tags.
        aspect: width of a pixel over its height.
        bound: rectangle that the tags give for the 2-D image, unchecked against the pixels, or None.
        manufacturer: a name of the allow-list, ``other`` or empty.
    """

    path: Path
    transfer_syntax: str
    photometric: str
    rows: int
    columns: int
    frames: int
    samples: int
    bits_allocated: int
    bits_stored: int
    planar: bool
    signed: bool
    palette: NDArray[np.uint8] | None
    spans: FrameSpans
    frame_times_s: NDArray[np.float64] | None
    heart_rate: float | None
    r_waves_s: NDArray[np.float64]
    aspect: float
    bound: Bound | None
    manufacturer: str


def read_header(path: Path) -> ClipHeader:
    """Read and check a clip's header without decoding a pixel.

    Raises:
        ClipRefused: with the outcome code that tells why the clip cannot be used.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_FILE_BYTES:
            raise ClipRefused(Outcome.TOO_LARGE, f"the file has {size} bytes, at most {_MAX_FILE_BYTES}")
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _checked(path, file, size, pydicom.dcmread(file, stop_before_pixels=True))
    except PARSING_FAULTS as fault:
        raise ClipRefused(Outcome.NOT_DICOM, f"not a readable DICOM file ({type(fault).__name__})") from None


def numbers_of(dataset: Dataset, keyword: str) -> list[float]:
    """The numbers of an element, whatever its multiplicity; empty when absent or not numbers."""
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            return []
        values = np.atleast_1d(np.asarray(value, dtype=np.float64))
        return [float(v) for v in values if np.isfinite(v)]
    except PARSING_FAULTS:
        return []


def _checked(path: Path, file: BinaryIO, size: int, dataset: FileDataset) -> ClipHeader:
    syntax = _check_kind(dataset)
    rows, columns, frames = _check_size(dataset)
    samples, allocated, stored, photometric = _check_format(dataset)
    if syntax in NATIVE:
        frame_bytes = rows * columns * allocated // 8 * (2 if photometric == "YBR_FULL_422" else samples)
        spans = locate_native(file, size, frames, frame_bytes, explicit=syntax == NATIVE[1])
    else:
        spans = locate_encapsulated(file, size, frames)
    if frames < 2:
        raise ClipRefused(Outcome.SINGLE_FRAME, "a still image, not a clip")
    timing = {keyword: numbers_of(dataset, keyword) for keyword in _TIMING}
    times = frame_times(timing, frames)
    return ClipHeader(
        path=path, transfer_syntax=syntax, photometric=photometric, rows=rows, columns=columns, frames=frames,
        samples=samples, bits_allocated=allocated, bits_stored=stored,
        planar=_integer(dataset, "PlanarConfiguration", 0) == 1,
        signed=_integer(dataset, "PixelRepresentation", 0) == 1,
        palette=_palette(dataset, stored) if photometric == "PALETTE COLOR" else None,
        spans=spans, frame_times_s=times, heart_rate=heart_rate(timing),
        r_waves_s=tagged_r_waves(timing, times), aspect=pixel_aspect(dataset),
        bound=region_bound(dataset, rows, columns), manufacturer=_manufacturer(dataset),
    )  # fmt: skip


def _check_kind(dataset: FileDataset) -> str:
    if dataset.get("Modality") != "US":
        raise ClipRefused(Outcome.WRONG_MODALITY, "the modality is not US")
    if dataset.get("SOPClassUID") not in _MULTI_FRAME_SOP:
        raise ClipRefused(Outcome.WRONG_SOP, "not an ultrasound multi-frame image")
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    if syntax not in NATIVE + _ENCAPSULATED:
        known = pydicom.uid.UID(syntax).is_transfer_syntax if syntax.startswith("1.2.840.10008.") else False
        raise ClipRefused(
            Outcome.UNSUPPORTED_TRANSFER_SYNTAX, syntax if known else "not a UID of the standard"
        )
    return syntax


def _check_size(dataset: FileDataset) -> tuple[int, int, int]:
    rows, columns = _integer(dataset, "Rows", 0), _integer(dataset, "Columns", 0)
    frames = _integer(dataset, "NumberOfFrames", 1)
    if rows <= 0 or columns <= 0:
        raise ClipRefused(Outcome.NO_PIXELS, "no image size in the header")
    samples = max(1, _integer(dataset, "SamplesPerPixel", 1))
    inflated = rows * columns * frames * samples * max(1, _integer(dataset, "BitsAllocated", 8) // 8)
    if max(rows, columns) > _MAX_SIDE or frames > _MAX_FRAMES or inflated > _MAX_INFLATED_BYTES:
        raise ClipRefused(Outcome.TOO_LARGE, f"{frames} frames of {rows} x {columns} pixels")
    if min(rows, columns) < _MIN_SIDE:
        raise ClipRefused(
            Outcome.NO_SECTOR, f"an image of {rows} x {columns} pixels is too small for a sector"
        )
    if frames < 1:
        raise ClipRefused(Outcome.FRAME_COUNT_MISMATCH, f"the header says {frames} frames")
    return rows, columns, frames


def _check_format(dataset: FileDataset) -> tuple[int, int, int, str]:
    samples, allocated = _integer(dataset, "SamplesPerPixel", 1), _integer(dataset, "BitsAllocated", 8)
    stored = _integer(dataset, "BitsStored", allocated)
    photometric = dataset.get("PhotometricInterpretation")
    gray = photometric in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    sound = photometric in _PHOTOMETRIC and samples == (1 if gray else 3) and allocated in (8, 16)
    if not sound or not 1 <= stored <= allocated or (allocated == 16 and not gray):
        raise ClipRefused(
            Outcome.CORRUPT_FRAME,
            f"a pixel format that does not exist: {samples} x {stored} of {allocated} bits",
        )
    return samples, allocated, stored, str(photometric)


def _integer(dataset: Dataset, keyword: str, default: int) -> int:
    values = numbers_of(dataset, keyword)
    return int(values[0]) if values else default


def _palette(dataset: FileDataset, stored: int) -> NDArray[np.uint8]:
    """Luma (ITU-R BT.601) of every palette index, shape (2**stored,)."""
    try:
        colours = apply_color_lut(np.arange(2**stored, dtype=np.uint16), dataset)
    except PARSING_FAULTS:
        raise ClipRefused(Outcome.CORRUPT_FRAME, "the colour palette cannot be read") from None
    scale = 255.0 / (65535.0 if colours.dtype == np.uint16 else 255.0)
    luma = colours.astype(np.float64) @ np.array([0.299, 0.587, 0.114]) * scale
    return np.asarray(np.clip(np.rint(luma), 0, 255), dtype=np.uint8)


def _manufacturer(dataset: FileDataset) -> str:
    text = str(dataset.get("Manufacturer") or "").lower()
    named = next((name for name in _MANUFACTURERS if name.lower() in text), "other")
    return named if text else ""
