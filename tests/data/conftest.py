"""Small DICOM clips of a moving fan, made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

from cardio_mlflow.data.picture.sector import Sector

Frames = NDArray[np.uint8]
SECTOR = Sector(160.0, 10.0, -40.0, 40.0, 8.0, 200.0)


def _fan(
    frames: int = 24,
    rows: int = 240,
    columns: int = 320,
    sector: Sector = SECTOR,
    period: int = 20,
    words: str = "",
) -> Frames:
    """Speckle that swings with a period, in a sector; words at the top left, outside of it."""
    noise = np.random.default_rng(5).integers(20, 200, (rows + 40, columns)).astype(np.uint8)
    mask = sector.mask(rows, columns)
    out = np.zeros((frames, rows, columns), np.uint8)
    for i in range(frames):
        shift = round(16 + 15 * np.sin(2 * np.pi * i / period))
        out[i] = noise[shift : shift + rows] & mask
        if words:
            cv2.putText(out[i], words, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1)
    return out


def _write(path: Path, frames: Frames, jpeg: bool = False, **tags: object) -> Path:
    """Write gray (T, H, W) or colour (T, H, W, 3) frames as an ultrasound multi-frame file."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50" if jpeg else ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Modality, data.PatientName, data.PatientID = "US", "Nobody^Known", "X"
    data.Rows, data.Columns, data.NumberOfFrames = frames.shape[1], frames.shape[2], len(frames)
    data.SamplesPerPixel = 3 if frames.ndim == 4 else 1
    data.PhotometricInterpretation = "RGB" if frames.ndim == 4 else "MONOCHROME2"
    data.PlanarConfiguration, data.PixelRepresentation = 0, 0
    bits = frames.dtype.itemsize * 8
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.FrameTime = "40"
    if jpeg:
        data.PixelData = encapsulate([cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames])
    else:
        data.PixelData = frames.tobytes()
    for keyword, value in tags.items():
        if keyword == "TransferSyntaxUID":
            meta.TransferSyntaxUID = value
        elif value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    data.save_as(path, enforce_file_format=False)
    return path


@pytest.fixture(scope="session")
def fan() -> Callable[..., Frames]:
    return _fan


@pytest.fixture(scope="session")
def write_dicom() -> Callable[..., Path]:
    return _write


@pytest.fixture(scope="session")
def fan_sector() -> Sector:
    return SECTOR
