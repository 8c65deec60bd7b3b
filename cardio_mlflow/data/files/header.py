"""The checked header of a DICOM echo clip: everything that can be refused before decoding."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cardio_mlflow.data.files.header_elements import (
    PARSING_FAULTS,
    Codec,
    HeaderElements,
    codec_of,
    numbers_of,
    open_regular,
    pydicom_silenced,
    take_elements,
    text_of,
)
from cardio_mlflow.data.files.pixel_data import (
    FrameSpans,
    held_frames,
    locate_encapsulated,
    locate_native,
    read_palette,
)
from cardio_mlflow.data.files.pixel_format import PixelFormat, check_format, check_size
from cardio_mlflow.data.files.regions import Bound, ClaimedRegion, claimed_regions, pixel_aspect, region_bound
from cardio_mlflow.data.files.timing import frame_times, heart_rate, tagged_r_waves, timing_source
from cardio_mlflow.data.files.waveform import ecg_waveform
from cardio_mlflow.data.outcomes import ClipRefused, Outcome

_MULTI_FRAME_SOP: Final = ("1.2.840.10008.5.1.4.1.1.3.1", "1.2.840.10008.5.1.4.1.1.3")
_SINGLE_FRAME_SOP: Final = ("1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.6")
_MANUFACTURERS: Final = {"ge": "GE", "gems": "GE", "general electric": "GE", "vingmed": "GE"} | {
    name.lower(): name
    for name in ("Philips", "SonoSite", "Siemens", "Aloka", "Hitachi", "Canon", "Toshiba", "Samsung",
                 "Mindray", "Esaote", "Acuson", "ATL", "Synthetic")
}  # fmt: skip
"""Names that the outputs tell, by the words of the tag that mean them."""
_TIMING: Final = ("FrameTimeVector", "FrameTime", "CineRate", "RecommendedDisplayFrameRate", "HeartRate",
                  "RWaveTimeVector", "RWavePointer")  # fmt: skip
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)+", re.ASCII)
_MAX_UID: Final = 64
_MAX_FILE_BYTES: Final = 2 * 1024**3


@dataclass(frozen=True)
class ClipHeader:
    """What the rest of preparation may know about a DICOM clip; no field holds free text of the file.

    Attributes:
        path: the file.
        transfer_syntax: UID of the transfer syntax.
        codec: how the frames are coded.
        photometric: photometric interpretation, in the standard's words.
        rows: height of a frame in pixels.
        columns: width of a frame in pixels.
        frames: number of frames.
        samples: samples per pixel, 1 or 3.
        has_colour: whether a pixel can have a colour: three samples, or a palette that is not gray.
        bits_allocated: 8 or 16.
        bits_stored: bits that carry the value.
        shift: bits below the value, in uncompressed data.
        planar: whether colour planes lie one after another.
        signed: whether samples are two's complement.
        big_endian: whether samples of 16 bits have their high byte first.
        swapped: whether samples of 8 bits are exchanged in pairs, as in big-endian words.
        palette: RGB of each palette index, uint8, 2**bits_stored × 3, or None.
        spans: where the frames lie in the file.
        sop_uid: SOP Instance UID, to find two files of one clip; it is never shown.
        frame_times_s: seconds since the first frame, or None.
        timing_source: where the frame times come from; empty without.
        heart_rate: beats per minute, or None.
        r_waves_s: R-wave times from tags in seconds since the first frame; empty without tags.
        waveform: times in seconds since the first frame and voltage of an ECG in the file, or None.
        aspect: width of a pixel over its height.
        bound: rectangle that the tags give for the 2-D image, unchecked against the pixels, or None.
        regions: what the region tags say the picture is made of.
        manufacturer: a name of the allow-list, ``other`` or empty.
    """

    path: Path
    transfer_syntax: str
    codec: Codec
    photometric: str
    rows: int
    columns: int
    frames: int
    samples: int
    has_colour: bool
    bits_allocated: int
    bits_stored: int
    shift: int
    planar: bool
    signed: bool
    big_endian: bool
    swapped: bool
    palette: NDArray[np.uint8] | None
    spans: FrameSpans
    sop_uid: str
    frame_times_s: NDArray[np.float64] | None
    timing_source: str
    heart_rate: float | None
    r_waves_s: NDArray[np.float64]
    waveform: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    aspect: float
    bound: Bound | None
    regions: tuple[ClaimedRegion, ...]
    manufacturer: str


def read_header(path: Path, stills: bool = False) -> ClipHeader:
    """Read and check a clip's header without decoding a pixel.

    Args:
        path: the file.
        stills: whether a file of one frame is accepted.

    Raises:
        ClipRefused: with the outcome code that tells why the clip cannot be used.
    """
    try:
        with open_regular(path) as file, pydicom_silenced():
            size = path.stat().st_size
            if size > _MAX_FILE_BYTES:
                raise ClipRefused(Outcome.TOO_LARGE, f"the file has {size} bytes, at most {_MAX_FILE_BYTES}")
            return _checked(path, file, size, stills)
    except PARSING_FAULTS as fault:
        raise ClipRefused(Outcome.NOT_DICOM, f"not a readable DICOM file ({type(fault).__name__})") from None


def _checked(path: Path, file: BinaryIO, size: int, stills: bool) -> ClipHeader:
    taken = take_elements(file, size)
    dataset, codec, little = taken.dataset, codec_of(taken.syntax), taken.encoding.little
    _check_kind(dataset)
    rows, columns, frames = check_size(dataset)
    form = check_format(dataset, codec, rows, columns, frames)
    form, spans = _locate(file, size, taken, form, (rows, columns, frames))
    if frames < 2 and not stills:
        raise ClipRefused(Outcome.SINGLE_FRAME, "a still image, not a clip")
    timing = {keyword: numbers_of(dataset, keyword) for keyword in _TIMING}
    times = frame_times(timing, frames)
    palette = None
    if form.photometric == "PALETTE COLOR":
        palette = read_palette(dataset, form.bits_stored, form.signed, little)
    return ClipHeader(
        path=path, transfer_syntax=taken.syntax, codec=codec, photometric=form.photometric,
        rows=rows, columns=columns, frames=frames, samples=form.samples,
        has_colour=form.samples == 3 or (palette is not None and bool((np.ptp(palette, axis=1) > 0).any())),
        bits_allocated=form.bits_allocated, bits_stored=form.bits_stored, shift=form.shift,
        planar=form.planar, signed=form.signed, big_endian=not little,
        swapped=not little and form.bits_allocated == 8 and taken.words,
        palette=palette, spans=spans, sop_uid=_uid(dataset), frame_times_s=times,
        timing_source=timing_source(timing, frames), heart_rate=heart_rate(timing),
        r_waves_s=tagged_r_waves(timing, times), waveform=ecg_waveform(dataset) if little else None,
        aspect=pixel_aspect(dataset), bound=region_bound(dataset, rows, columns),
        regions=claimed_regions(dataset, rows, columns), manufacturer=_manufacturer(dataset),
    )  # fmt: skip


def _check_kind(dataset: Dataset) -> None:
    """A clip of an ultrasound scanner; some write clips under the class for single images."""
    if text_of(dataset, "Modality") != "US":
        raise ClipRefused(Outcome.WRONG_MODALITY, "the modality is not US")
    if text_of(dataset, "SOPClassUID") not in _MULTI_FRAME_SOP + _SINGLE_FRAME_SOP:
        raise ClipRefused(Outcome.WRONG_SOP, "not an ultrasound image or clip")


def _locate(
    file: BinaryIO, size: int, taken: HeaderElements, form: PixelFormat, shape: tuple[int, int, int]
) -> tuple[PixelFormat, FrameSpans]:
    """Where the frames lie, and the format with its photometric interpretation set right."""
    rows, columns, frames = shape
    if taken.pixels is None:
        raise ClipRefused(Outcome.NO_PIXELS, "no pixel data")
    if codec_of(taken.syntax) is not Codec.NATIVE:
        return form, locate_encapsulated(file, taken.pixels, size, frames, taken.extended_offsets)
    whole = rows * columns * form.samples * form.bits_allocated // 8
    if form.halved and held_frames(taken.pixels, size, whole) == frames:
        # Said to be subsampled, but with three samples a pixel.
        full = form.photometric.replace("_422", "")
        return replace(form, photometric=full), locate_native(taken.pixels, size, frames, whole)
    stored = rows * columns * 2 if form.halved else whole
    return form, locate_native(taken.pixels, size, frames, stored)


def _uid(dataset: Dataset) -> str:
    text = text_of(dataset, "SOPInstanceUID")
    return text if len(text) <= _MAX_UID and _UID.fullmatch(text) else ""


def _manufacturer(dataset: Dataset) -> str:
    text = text_of(dataset, "Manufacturer").lower()
    known = (name for word, name in _MANUFACTURERS.items() if re.search(rf"(?<![a-z]){word}(?![a-z])", text))
    return next(known, "other") if text else ""
