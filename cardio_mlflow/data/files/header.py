"""The checked header of a DICOM echo clip: everything that can be refused before decoding."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cardio_mlflow.data.files.header_elements import ClipFile, HeaderElements, take_elements
from cardio_mlflow.data.files.header_values import (
    HALVED,
    PALETTE,
    Codec,
    PixelFormat,
    bytes_of,
    check_caps,
    check_format,
    check_size,
    codec_of,
    is_given,
    number_of,
    numbers_of,
    text_of,
)
from cardio_mlflow.data.files.pixel_data import Spans, locate_encapsulated, locate_native, read_palette
from cardio_mlflow.data.files.timing import (
    TIMING,
    FrameTiming,
    frame_timing,
    heart_rate,
    tagged_r_waves,
)
from cardio_mlflow.data.files.waveform import ecg_waveform
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.parsing import PARSING_FAULTS, pydicom_silenced

Bound = tuple[int, int, int, int]
"""A rectangle as left, top, right, bottom in pixels; right and bottom lie outside."""


class RegionKind(StrEnum):
    """What a region of the picture shows, by its spatial format (PS3.3, C.8.5.5.1.1)."""

    TWO_D = "2-D"
    M_MODE = "M-mode"
    SPECTRAL = "spectral"
    OTHER = "other"


@dataclass(frozen=True)
class ClaimedRegion:
    """A region as the tags claim it, inside the image but unchecked against the pixels.

    ``tissue`` tells whether its data are tissue; colour flow, Doppler and graphics are not.
    """

    kind: RegionKind
    tissue: bool
    rectangle: Bound


@dataclass(frozen=True)
class ClipHeader:
    """What the rest of preparation may know about a clip; no field holds free text of the file.

    Attributes:
        spans: where the frames lie in the file; empty for a video file.
        deflated_at: from where on the file is deflated, which the spans do not see; 0 if it is not.
        sop_uid: SOP Instance UID, to find two files of one clip; it is never shown.
        r_waves_s: R-wave times from tags in seconds since the first frame; empty without tags.
        waveform: times in seconds since the first frame and voltage of an ECG in the file, or None.
        aspect: width of a pixel over its height.
        bound: rectangle that the tags give for the 2-D image, unchecked against the pixels, or None.
        manufacturer: a name of the allow-list, ``other`` or empty.
        notes: what was bent in the file and read all the same, in fixed words.
    """

    path: Path
    form: PixelFormat
    rows: int
    columns: int
    frames: int
    timing: FrameTiming
    spans: Spans = ()
    deflated_at: int = 0
    sop_uid: str = ""
    heart_rate: float | None = None
    r_waves_s: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    waveform: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    aspect: float = 1.0
    bound: Bound | None = None
    regions: tuple[ClaimedRegion, ...] = ()
    manufacturer: str = ""
    notes: tuple[str, ...] = ()

    @property
    def has_colour(self) -> bool:
        """Whether a pixel can have a colour: three samples, or a palette that is not gray."""
        palette = self.form.palette
        return self.form.samples == 3 or (palette is not None and bool((np.ptp(palette, axis=1) > 0).any()))


_SOP: Final = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{number}"
    for number in ("3", "3.1", "6", "6.1",  # ultrasound, many frames or one; without the 1 retired
                   "7", "7.2", "7.3", "7.4")  # secondary capture, of one frame, gray or true colour
)  # fmt: skip
_MANUFACTURERS: Final = {"ge": "GE", "gems": "GE", "general electric": "GE", "vingmed": "GE"} | {
    name.lower(): name
    for name in ("Philips", "SonoSite", "Siemens", "Aloka", "Hitachi", "Canon", "Toshiba", "Samsung",
                 "Mindray", "Esaote", "Acuson", "ATL", "Synthetic")
}  # fmt: skip
"""Names that the outputs tell, by the words of the tag that mean them."""
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)+", re.ASCII)
_MAX_UID: Final = 64


def read_header(path: Path, stills: bool = False) -> ClipHeader:
    """Read and check a clip's header without decoding a pixel; a file of one frame only with ``stills``.

    Raises:
        ClipRefused: with the outcome code that tells why the clip cannot be used.
    """
    try:
        with ClipFile(path) as file, pydicom_silenced():
            return _checked(path, file, stills)
    except PARSING_FAULTS as fault:
        raise ClipRefused(Outcome.NOT_DICOM, f"not a readable DICOM file ({type(fault).__name__})") from None


def _checked(path: Path, file: ClipFile, stills: bool) -> ClipHeader:
    taken = take_elements(file)
    dataset = taken.dataset
    if text_of(dataset, "Modality") != "US":
        raise ClipRefused(Outcome.WRONG_MODALITY, "the modality is not US")
    if text_of(dataset, "SOPClassUID") not in _SOP:
        raise ClipRefused(Outcome.WRONG_SOP, "not an ultrasound image or clip")
    rows, columns, told = check_size(dataset)
    form = check_format(dataset, taken.syntax, codec_of(taken.syntax), columns)
    form, spans, notes = _locate(file, taken, form, (rows, columns, told))
    frames = len(spans)
    if told is None and frames > 1:
        notes.append("number of frames not given")
    check_caps(rows, columns, frames, form.samples * form.allocated // 8)
    if frames < 2 and not stills:
        raise ClipRefused(Outcome.SINGLE_FRAME, "a still image, not a clip")
    numbers = {keyword: numbers_of(dataset, keyword) for keyword in TIMING}
    unreadable = [keyword for keyword in TIMING if not numbers[keyword] and is_given(dataset, keyword)]
    timing = frame_timing(numbers, frames, unreadable)
    if any(b"," in bytes_of(dataset, keyword) for keyword in TIMING if numbers[keyword]):
        notes.append("decimal commas")
    words = taken.pixels is not None and taken.pixels.vr == "OW"
    form = replace(
        form, big_endian=not taken.little, swapped=words and not taken.little and form.allocated == 8,
        palette=read_palette(dataset, form.stored, form.signed) if form.photometric == PALETTE else None,
    )  # fmt: skip
    return ClipHeader(
        path=path, form=form, rows=rows, columns=columns, frames=frames, timing=timing, spans=spans,
        deflated_at=file.deflated_at, sop_uid=_uid(dataset), heart_rate=heart_rate(numbers),
        r_waves_s=tagged_r_waves(numbers, timing.times_s),
        waveform=ecg_waveform(dataset) if taken.little else None,
        aspect=pixel_aspect(dataset), bound=region_bound(dataset, rows, columns),
        regions=claimed_regions(dataset, rows, columns), manufacturer=_manufacturer(dataset),
        notes=tuple(dict.fromkeys((*taken.notes, *notes, *timing.notes))),
    )  # fmt: skip


def _locate(
    file: ClipFile, taken: HeaderElements, form: PixelFormat, shape: tuple[int, int, int | None]
) -> tuple[PixelFormat, Spans, list[str]]:
    """Where the frames lie, the format with its photometric interpretation set right, and notes."""
    rows, columns, told = shape
    if taken.pixels is None:
        raise ClipRefused(Outcome.NO_PIXELS, "no pixel data")
    if form.codec is not Codec.NATIVE:
        extended = taken.dataset.get("ExtendedOffsetTable") or b""
        return form, locate_encapsulated(file, taken.pixels, told, form.codec, extended), []
    whole = rows * columns * form.samples * form.allocated // 8
    halved = form.photometric in HALVED
    # Some that are said to be subsampled have three samples a pixel.
    sizes = [whole, rows * columns * 2] if halved else [whole]
    spans, size, longer = locate_native(taken.pixels, file.size, told, sizes)
    if halved and size == whole:
        form = replace(form, photometric=form.photometric.replace("_422", ""))
    return form, spans, ["pixel data longer than the frames"] * longer


def _uid(dataset: Dataset) -> str:
    text = text_of(dataset, "SOPInstanceUID")
    return text if len(text) <= _MAX_UID and _UID.fullmatch(text) else ""


def _manufacturer(dataset: Dataset) -> str:
    text = text_of(dataset, "Manufacturer").lower()
    known = (name for word, name in _MANUFACTURERS.items() if re.search(rf"(?<![a-z]){word}(?![a-z])", text))
    return next(known, "other") if text else ""


_TISSUE: Final = 1
_CENTIMETRE: Final = 3
_MAX_REGIONS: Final = 16
_KINDS: Final = {1: RegionKind.TWO_D, 2: RegionKind.M_MODE, 3: RegionKind.SPECTRAL}


def scaled(rectangle: Bound, factor: float) -> Bound:
    """The same rectangle in a picture that is ``factor`` times as large.

    >>> scaled((10, 20, 110, 220), 0.5)
    (5, 10, 55, 110)
    """
    left, top, right, bottom = (round(side * factor) for side in rectangle)
    return left, top, right, bottom


def claimed_regions(dataset: Dataset, rows: int, columns: int) -> tuple[ClaimedRegion, ...]:
    """The regions that the tags claim, at most 16, in their order.

    A region that leaves the image is stale (written for another size) and is left out, and so is one
    without an area.
    """
    found = []
    for region in _regions(dataset):
        left, top, right, bottom = (int(_number(region, f"RegionLocation{name}")) for name in
                                    ("MinX0", "MinY0", "MaxX1", "MaxY1"))  # fmt: skip
        if 0 <= left < right < columns and 0 <= top < bottom < rows:
            kind = _KINDS.get(int(_number(region, "RegionSpatialFormat")), RegionKind.OTHER)
            tissue = _number(region, "RegionDataType") == _TISSUE
            found.append(ClaimedRegion(kind, tissue, (left, top, right + 1, bottom + 1)))
    return tuple(found)


def region_bound(dataset: Dataset, rows: int, columns: int) -> Bound | None:
    """The rectangle of the only 2-D tissue region, or None.

    A second one is no ground to choose the first, even when its place is stale. Whether the
    rectangle holds the sector is for the sector fit to check.
    """
    claimed = [r for r in claimed_regions(dataset, rows, columns) if r.kind is RegionKind.TWO_D and r.tissue]
    if len(claimed) != 1 or len(_tissue_regions(dataset)) != 1:
        return None
    left, top, right, bottom = claimed[0].rectangle
    large = (right - left) * (bottom - top) >= 0.1 * rows * columns
    return claimed[0].rectangle if large else None


def pixel_aspect(dataset: Dataset) -> float:
    """Width of a pixel over its height, 1.0 unless every 2-D region agrees on another value.

    Both physical deltas must be in cm, positive, and their ratio between 1/3 and 3.
    """
    ratios = set()
    for region in _tissue_regions(dataset):
        in_cm = all(_number(region, f"PhysicalUnits{axis}Direction") == _CENTIMETRE for axis in "XY")
        x, y = (abs(_number(region, f"PhysicalDelta{axis}")) for axis in "XY")
        ratios.add(round(x / y, 4) if in_cm and x > 0 and y > 0 else 1.0)
    ratio = ratios.pop() if len(ratios) == 1 else 1.0
    return ratio if 1 / 3 <= ratio <= 3 else 1.0


def _regions(dataset: Dataset) -> list[Dataset]:
    try:
        regions = list(dataset.get("SequenceOfUltrasoundRegions") or [])[:_MAX_REGIONS]
    except PARSING_FAULTS:
        return []
    return [region for region in regions if isinstance(region, Dataset)]


def _tissue_regions(dataset: Dataset) -> list[Dataset]:
    wanted = ("RegionSpatialFormat", "RegionDataType")  # 2-D and tissue are both 1
    return [region for region in _regions(dataset) if all(_number(region, word) == 1 for word in wanted)]


def _number(region: Dataset, keyword: str) -> float:
    return number_of(region, keyword, -1.0)
