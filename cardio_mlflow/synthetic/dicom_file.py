"""Ultrasound multi-frame DICOM files in the encodings that scanners write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)
from rle.rle import encode_frame  # type: ignore[import-not-found]

from cardio_mlflow.files import whole_file
from cardio_mlflow.synthetic.acquisition import Acquisition
from cardio_mlflow.synthetic.layouts import Encoding, Layout
from cardio_mlflow.synthetic.sector import Sector

Image = NDArray[np.uint8]

JPEG_QUALITY = 80
PHOTOMETRIC: dict[Encoding, str] = {
    "jpeg_422": "YBR_FULL_422", "jpeg_444": "YBR_FULL", "jpeg_420": "YBR_FULL_422",
    "jpeg_gray": "MONOCHROME2", "rle_gray": "MONOCHROME2", "rle_rgb": "RGB", "raw_gray": "MONOCHROME2",
}  # fmt: skip
SAMPLING: dict[str, int] = {
    "jpeg_422": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "jpeg_444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "jpeg_420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
}


@dataclass(frozen=True)
class Header:
    """What a file says beside its pixels. Names, identifiers and dates are made up.

    Attributes:
        name: in DICOM's form.
        birth: YYYYMMDD.
        sex: F or M.
        date: of the study, YYYYMMDD.
        identity: from which every UID follows.
        r_wave_tag: whether R-wave times are written.
        time_vector: whether frame times are a vector in place of one interval.
        heart_rate: written in the tag; 0 as some scanners do when they do not know it.
        annotated: value of BurnedInAnnotation, or None to leave it out.
    """

    patient_id: str
    name: str
    birth: str
    sex: str
    date: str
    hospital: str
    identity: tuple[str, ...]
    r_wave_tag: bool
    time_vector: bool
    heart_rate: int
    annotated: str | None


def write_dicom(
    path: Path, frames: Sequence[Image], encoding: Encoding, header: Header, acquisition: Acquisition,
    layout: Layout, quality: int = JPEG_QUALITY,
) -> None:  # fmt: skip
    """Write one clip; `frames` are T pictures, rows × columns, or rows × columns × 3 (RGB)."""
    data = make_dataset(frames, encoding, header, layout, quality)
    _describe_time(data, header, acquisition, len(frames))
    _describe_regions(data, acquisition, layout)
    save_dataset(path, data)


def make_dataset(
    frames: Sequence[Image], encoding: Encoding, header: Header, layout: Layout, quality: int = JPEG_QUALITY
) -> Dataset:
    """Describe one clip but for its times and regions; arguments as `write_dicom`, `quality` of JPEG."""
    data = Dataset()
    _identify(data, header, layout)
    _describe_pixels(data, frames, encoding)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = _transfer_syntax(encoding)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    _store_pixels(data, frames, encoding, quality)
    return data


def save_dataset(path: Path, data: Dataset) -> None:
    """Write a file, under a temporary name first."""
    with whole_file(path) as part:
        data.save_as(part, enforce_file_format=True)


def _transfer_syntax(encoding: Encoding) -> str:
    family = encoding.split("_")[0]
    return str({"jpeg": JPEGBaseline8Bit, "rle": RLELossless, "raw": ExplicitVRLittleEndian}[family])


def _identify(data: Dataset, header: Header, layout: Layout) -> None:
    data.SOPClassUID = UltrasoundMultiFrameImageStorage
    data.SOPInstanceUID = generate_uid(entropy_srcs=[*header.identity, "instance"])
    data.StudyInstanceUID = generate_uid(entropy_srcs=[*header.identity[:-1], "study"])
    data.SeriesInstanceUID = generate_uid(entropy_srcs=[*header.identity, "series"])
    data.SpecificCharacterSet = "ISO_IR 192"
    data.ImageType = ["ORIGINAL", "PRIMARY"]
    data.StudyDate = data.ContentDate = header.date
    data.StudyTime = data.ContentTime = "093000"
    data.AccessionNumber = ""
    data.Modality = "US"
    data.Manufacturer, data.ManufacturerModelName = layout.manufacturer, layout.model
    data.InstitutionName = header.hospital
    data.ReferringPhysicianName = ""
    data.PatientName, data.PatientID = header.name, header.patient_id
    data.PatientBirthDate, data.PatientSex = header.birth, header.sex
    data.StudyID, data.SeriesNumber, data.InstanceNumber = "1", 1, 1
    data.PatientOrientation = ""
    if header.annotated:
        data.BurnedInAnnotation = header.annotated


def _describe_pixels(data: Dataset, frames: Sequence[Image], encoding: Encoding) -> None:
    colour = frames[0].ndim == 3
    data.NumberOfFrames = len(frames)
    data.Rows, data.Columns = frames[0].shape[:2]
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = PHOTOMETRIC[encoding]
    if colour:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.LossyImageCompression = "00"
    if encoding.startswith("jpeg"):
        data.LossyImageCompression = "01"
        data.LossyImageCompressionMethod = "ISO_10918_1"


def _describe_time(data: Dataset, header: Header, acquisition: Acquisition, frames: int) -> None:
    interval = float(acquisition.frame_times[1]) * 1000
    if header.time_vector:
        data.FrameTimeVector = [0.0, *[round(interval, 3)] * (frames - 1)]
        data.FrameIncrementPointer = Tag("FrameTimeVector")
    else:
        data.FrameTime = round(interval, 3)
        data.FrameIncrementPointer = Tag("FrameTime")
    data.CineRate = data.RecommendedDisplayFrameRate = round(1000 / interval)
    data.HeartRate = header.heart_rate
    if header.r_wave_tag:
        data.RWaveTimeVector = [round(float(t) * 1000, 3) for t in acquisition.r_waves]


def _describe_regions(data: Dataset, acquisition: Acquisition, layout: Layout) -> None:
    """Write the 2D region as this scanner does: right, nearly the whole screen, stale, or not at all."""
    if layout.regions == "absent":
        return
    rows, columns = layout.shape
    box = (2, 2, columns - 3, rows - 3)
    if layout.regions == "stale":
        box = (0, 0, columns + 163, rows + 177)
    elif layout.regions == "sector":
        sector = Sector(layout.apex, layout.radius, layout.inner, acquisition.half_angle, layout.shape).box()
        box = (sector[1].start, sector[0].start, sector[1].stop - 1, sector[0].stop - 1)
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 2
    region.RegionLocationMinX0, region.RegionLocationMinY0 = box[0], box[1]
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = box[2], box[3]
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = region.PhysicalDeltaY = acquisition.depth / layout.radius
    data.SequenceOfUltrasoundRegions = DicomSequence([region])


def _store_pixels(data: Dataset, frames: Sequence[Image], encoding: Encoding, quality: int) -> None:
    if encoding.startswith("raw"):
        raw = b"".join(frame.tobytes() for frame in frames)
        data.PixelData = raw + b"\0" * (len(raw) % 2)
    elif encoding.startswith("jpeg"):
        data.PixelData = encapsulate([_encode_jpeg(frame, encoding, quality) for frame in frames])
    else:
        data.PixelData = encapsulate([_encode_rle(frame) for frame in frames])
    data["PixelData"].VR = "OB"


def _encode_rle(frame: Image) -> bytes:
    samples = 3 if frame.ndim == 3 else 1
    return bytes(encode_frame(frame.tobytes(), *frame.shape[:2], samples, 8, "<"))


def _encode_jpeg(frame: Image, encoding: Encoding, quality: int) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if frame.ndim == 3:
        frame = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING[encoding]]
    return bytes(cv2.imencode(".jpg", frame, options)[1])
