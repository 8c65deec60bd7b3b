"""Small clips of a moving fan in every transfer syntax that can be decoded, for tests and for fuzzing."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

import cv2
import gdcm
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UltrasoundMultiFrameImageStorage, generate_uid

from cardio_mlflow.data.picture.sector import Sector

Frames = NDArray[np.uint8]
PLANTED: Final = "NOBODY^KNOWN"
"""A name that stands in every file and must never be seen again."""

NATIVE: Final = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
JPEG: Final = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
BY_GDCM: Final = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (57, 70, 80, 81))
BY_PYDICOM: Final = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.5")
SYNTAXES: Final = NATIVE + JPEG + BY_GDCM + BY_PYDICOM


def fan(frames: int = 24, rows: int = 240, columns: int = 320, period: int = 20, words: str = "") -> Frames:
    """Gray speckle that swings with a period in a sector; words at the top left, outside of it."""
    noise = np.random.default_rng(5).integers(20, 200, (rows + 40, columns)).astype(np.uint8)
    noise = np.maximum(cv2.GaussianBlur(noise, (0, 0), 1.2), np.uint8(1))
    mask = Sector(columns / 2, rows / 24, -40.0, 40.0, rows / 30, rows * 5 / 6).mask(rows, columns)
    shifts = [round(16 + 15 * np.sin(2 * np.pi * i / period)) for i in range(frames)]
    out = np.stack([noise[shift : shift + rows] & mask for shift in shifts])
    for frame in out:
        cv2.putText(frame, words, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1)
    return out


def write_clip(path: Path, frames: Frames, syntax: str = NATIVE[1], **tags: object) -> Path:
    """Write gray (T, H, W) or RGB (T, H, W, 3) frames, uint8 or uint16.

    ``tags`` are elements by keyword to set, or to leave out (None), after all others; a TransferSyntaxUID
    among them is only said.
    """
    data = _dataset(path, frames, little=syntax != NATIVE[2])
    if syntax in JPEG:
        data.PhotometricInterpretation = "YBR_FULL_422" if frames.ndim == 4 else "MONOCHROME2"
        data.PixelData = encapsulate([jpeg(frame, extended=syntax == JPEG[1]) for frame in frames])
        data["PixelData"].VR = "OB"
    elif syntax in BY_PYDICOM:
        options = {"j2k_psnr": [60]} if syntax == BY_PYDICOM[1] else {}
        data.compress(syntax, generate_instance_uid=False, **options)
    elif syntax in BY_GDCM:
        data.PixelData = encapsulate(_by_gdcm(path, frames, syntax))
        data["PixelData"].VR = "OB"
    elif syntax == NATIVE[2]:
        data.PixelData = np.frombuffer(data.PixelData, np.uint16).byteswap().tobytes()
    data.file_meta.TransferSyntaxUID = tags.pop("TransferSyntaxUID", syntax)
    for keyword, value in tags.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    data.save_as(
        path, implicit_vr=syntax == NATIVE[0], little_endian=syntax != NATIVE[2], enforce_file_format=False
    )
    return path


def dataset(**elements: object) -> Dataset:
    """A dataset of elements by keyword, without those that are None."""
    made = Dataset()
    for keyword, value in elements.items():
        if value is not None:
            setattr(made, keyword, value)
    return made


def region(place: tuple[int, ...], x: float = 0.05, y: float = 0.05, **changes: object) -> Dataset:
    """A region of 2-D tissue, its place as left, top, right and bottom, its pixels' size in cm."""
    elements = {"RegionSpatialFormat": 1, "RegionDataType": 1, "PhysicalUnitsXDirection": 3,
                "PhysicalUnitsYDirection": 3, "PhysicalDeltaX": x, "PhysicalDeltaY": y}  # fmt: skip
    corners = ("MinX0", "MinY0", "MaxX1", "MaxY1")
    elements |= {f"RegionLocation{corner}": side for corner, side in zip(corners, place, strict=True)}
    return dataset(**elements | changes)


def jpeg(frame: Frames, extended: bool = False, progressive: bool = False, quality: int = 90) -> bytes:
    """One frame as a JPEG stream; the extended one has another start-of-frame marker."""
    image = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    stream = cv2.imencode(".jpg", image, options)[1].tobytes()
    return stream.replace(b"\xff\xc0", b"\xff\xc1", 1) if extended else stream


def fragments(pieces: list[bytes], table: bytes = b"") -> bytes:
    """The value of compressed pixel data: an offset table, and one item a piece."""
    padded = [table, *(piece + b"\0" * (len(piece) % 2) for piece in pieces)]
    items = [b"\xfe\xff\x00\xe0" + struct.pack("<I", len(piece)) + piece for piece in padded]
    return b"".join(items)


def _dataset(path: Path, frames: Frames, little: bool) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = NATIVE[1]
    meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    data = FileDataset(
        str(path), {}, file_meta=meta, is_implicit_VR=False, preamble=b"\0" * 128, is_little_endian=little
    )
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Modality, data.PatientName, data.PatientID = "US", PLANTED, "X"
    colour, bits = frames.ndim == 4, frames.dtype.itemsize * 8
    data.Rows, data.Columns, data.NumberOfFrames = frames.shape[1], frames.shape[2], len(frames)
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    data.PlanarConfiguration, data.PixelRepresentation = 0, 0
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.FrameTime = "40"
    data.PixelData = frames.tobytes()
    data["PixelData"].VR = "OW"
    return data


def _by_gdcm(path: Path, frames: Frames, syntax: str) -> list[bytes]:
    """Compressed frames, by way of an uncompressed file."""
    plain = path.with_name(path.name + ".plain")
    write_clip(plain, frames)
    reader, change = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax()
    reader.SetFileName(str(plain))
    kind = gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax))
    change.SetTransferSyntax(kind)
    if not reader.Read():
        raise ValueError(f"GDCM cannot read {plain.name}")
    change.SetInput(reader.GetImage())
    if not change.Change():
        raise ValueError(f"GDCM cannot write {syntax}")
    plain.unlink()
    fragments = change.GetOutput().GetDataElement().GetSequenceOfFragments()
    pieces = [fragments.GetFragment(i) for i in range(fragments.GetNumberOfFragments())]
    return [piece.GetByteValue().GetBuffer().encode("utf-8", "surrogateescape") for piece in pieces]
