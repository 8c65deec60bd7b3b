"""The checked header of a DICOM echo clip: everything that can be refused before decoding."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    numbers_of,
    text_of,
)
from cardio_mlflow.data.files.pixel_data import Spans, locate_encapsulated, locate_native, read_palette
from cardio_mlflow.data.files.regions import Bound, ClaimedRegion, claimed_regions, pixel_aspect, region_bound
from cardio_mlflow.data.files.timing import TIMING, FrameTiming, frame_timing, heart_rate, tagged_r_waves
from cardio_mlflow.data.files.waveform import ecg_waveform
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.parsing import PARSING_FAULTS, pydicom_silenced


@dataclass(frozen=True)
class ClipHeader:
    """What the rest of preparation may know about a clip; no field holds free text of the file.

    Attributes:
        spans: where the frames lie in the file; empty for a video file.
        deflated_at: from where on the file is deflated, which the spans do not see; 0 if it is not.
        sop_uid: SOP Instance UID, to find two files of one clip; it is never shown.
        heart_rate: beats per minute.
        r_waves_s: R-wave times from tags, and the times of ``waveform``: seconds since the first frame.
        waveform: times and voltage of an ECG in the file.
        aspect: width of a pixel over its height.
        bound: rectangle that the tags give for the 2-D image, unchecked against the pixels.
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
"""Names that the outputs may hold, by the words of the tag that mean them."""
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)+", re.ASCII)
_MAX_UID: Final = 64


def read_header(path: Path, stills: bool = False) -> ClipHeader:
    """Read and check a clip's header without decoding a pixel; a file of one frame only with ``stills``.

    Raises:
        ClipRefused: with the outcome code that says why the clip cannot be used.
    """
    try:
        with ClipFile(path) as file, pydicom_silenced():
            return _checked(path, file, stills)
    except PARSING_FAULTS as fault:
        raise ClipRefused(Outcome.NOT_DICOM, f"not a readable DICOM file ({type(fault).__name__})") from None


def _checked(path: Path, file: ClipFile, stills: bool) -> ClipHeader:
    taken = take_elements(file)
    dataset = taken.dataset
    form, (rows, columns, declared) = check_claims(taken)
    form, spans, notes = locate_frames(file, taken, form, (rows, columns, declared))
    frames = len(spans)
    if declared is None and frames > 1:
        notes.append("number of frames not given")
    check_caps(rows, columns, frames, form.samples * form.allocated // 8)
    if frames < 2 and not stills:
        raise ClipRefused(Outcome.SINGLE_FRAME, "a still image, not a clip")
    numbers = {keyword: numbers_of(dataset, keyword) for keyword in TIMING}
    timing = timing_of(dataset, numbers, frames)
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


def check_claims(taken: HeaderElements) -> tuple[PixelFormat, tuple[int, int, int | None]]:
    """The format of the pixels, and rows, columns and frames (or None), as a header claims them.

    Raises:
        ClipRefused: as `read_header`, of what can be told without a look at the pixel data.
    """
    dataset = taken.dataset
    if text_of(dataset, "Modality") != "US":
        raise ClipRefused(Outcome.WRONG_MODALITY, "the modality is not US")
    if text_of(dataset, "SOPClassUID") not in _SOP:
        raise ClipRefused(Outcome.WRONG_SOP, "not an ultrasound image or clip")
    rows, columns, declared = check_size(dataset)
    return check_format(dataset, taken.syntax, codec_of(taken.syntax), columns), (rows, columns, declared)


def timing_of(dataset: Dataset, numbers: Mapping[str, Sequence[float]], frames: int) -> FrameTiming:
    """When the frames of a header were taken, of which the numbers of `TIMING` are given."""
    unreadable = [keyword for keyword in TIMING if not numbers[keyword] and is_given(dataset, keyword)]
    return frame_timing(numbers, frames, unreadable)


def locate_frames(
    file: ClipFile, taken: HeaderElements, form: PixelFormat, shape: tuple[int, int, int | None]
) -> tuple[PixelFormat, Spans, list[str]]:
    """Where the frames lie, the format with its photometric interpretation set right, and notes."""
    rows, columns, declared = shape
    if taken.pixels is None:
        raise ClipRefused(Outcome.NO_PIXELS, "no pixel data")
    if form.codec is not Codec.NATIVE:
        extended = taken.dataset.get("ExtendedOffsetTable") or b""
        return form, locate_encapsulated(file, taken.pixels, declared, form.codec, extended), []
    whole = rows * columns * form.samples * form.allocated // 8
    halved = form.photometric in HALVED
    # Some that are said to be subsampled have three samples a pixel.
    sizes = [whole, rows * columns * 2] if halved else [whole]
    spans, size, longer = locate_native(taken.pixels, file.size, declared, sizes)
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
