"""The luma of a clip's frames, decoded one by one."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.pixels import iter_pixels

from cardio_mlflow.data.dicom import JPEG_BASELINE, NATIVE, PARSING_FAULTS, ClipHeader
from cardio_mlflow.data.outcomes import ClipRefused, Outcome

Luma = NDArray[np.uint8]

_BT601: Final = np.array([[0.299, 0.587, 0.114]], dtype=np.float32)
_KEPT_BYTES: Final = 64 * 1024**2


class LumaFrames:
    """The frames of a clip as luma, uint8 rows × columns.

    Short clips are decoded once and kept (up to 64 MiB); of longer ones the frames that are asked
    for are decoded again, so memory does not grow with the clip.
    """

    def __init__(self, header: ClipHeader) -> None:
        self.header = header
        small = header.frames * header.rows * header.columns <= _KEPT_BYTES
        self._kept: list[Luma] | None = [] if small else None

    def __iter__(self) -> Iterator[Luma]:
        """All frames in order.

        Raises:
            ClipRefused: CORRUPT_FRAME.
        """
        if self._kept is not None and len(self._kept) == self.header.frames:
            yield from self._kept
            return
        if self._kept is not None:
            self._kept = []
        for frame in decode_luma(self.header, range(self.header.frames)):
            if self._kept is not None:
                self._kept.append(frame)
            yield frame

    def pick(self, indices: Sequence[int]) -> Iterator[Luma]:
        """The frames of rising 0-based indices.

        Raises:
            ClipRefused: CORRUPT_FRAME.
        """
        if self._kept is not None and len(self._kept) == self.header.frames:
            yield from (self._kept[i] for i in indices)
        else:
            yield from decode_luma(self.header, indices)


def decode_luma(header: ClipHeader, indices: Sequence[int]) -> Iterator[Luma]:
    """Decode frames to luma: uint8, rows × columns.

    JPEG Baseline is decoded by OpenCV straight to its Y channel, uncompressed data by numpy, the rest
    by pydicom's plugins. RGB becomes ITU-R BT.601 luma, YBR its Y, MONOCHROME1 is inverted, PALETTE
    COLOR goes through its table, more than 8 bits are scaled by BitsStored.

    Args:
        header: the checked header.
        indices: rising 0-based frame numbers.

    Raises:
        ClipRefused: CORRUPT_FRAME, with the frame's 1-based number.
    """
    if header.transfer_syntax == JPEG_BASELINE:
        decoded = _jpeg_frames(header, indices)
    elif header.transfer_syntax in NATIVE:
        decoded = _native_frames(header, indices)
    else:
        decoded = _plugin_frames(header, indices)
    done = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for samples in decoded:
                yield _to_luma(header, samples)
                done += 1
    except (*PARSING_FAULTS, cv2.error):
        raise _corrupt(indices[min(done, len(indices) - 1)]) from None
    if done != len(indices):
        raise _corrupt(indices[done])


def _corrupt(index: int) -> ClipRefused:
    return ClipRefused(Outcome.CORRUPT_FRAME, f"frame {index + 1} cannot be decoded")


def _jpeg_frames(header: ClipHeader, indices: Iterable[int]) -> Iterator[NDArray[np.generic]]:
    with header.path.open("rb") as file:
        for index in indices:
            data = header.spans.read(file, index)
            rows, columns, adobe, jfif = _jpeg_facts(data)
            if (rows, columns) != (header.rows, header.columns) or b"\xff\xd9" not in data[-64:]:
                raise _corrupt(index)
            stored_rgb = header.photometric == "RGB" and not jfif and adobe != 1
            yield _decode_jpeg(data, stored_rgb)


def _decode_jpeg(data: bytes, stored_rgb: bool) -> NDArray[np.generic]:
    """The Y channel, or rows × columns × 3 when the stream holds RGB samples."""
    buffer = np.frombuffer(data, np.uint8)
    if not stored_rgb:
        image = cv2.imdecode(buffer, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    else:
        # An Adobe segment with transform 0 tells the decoder that the samples are RGB already.
        marked = data[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00" + data[2:]
        image = cv2.imdecode(
            np.frombuffer(marked, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
        )
    if image is None:
        raise ValueError("not a JPEG stream")
    return np.asarray(image)


def _jpeg_facts(data: bytes) -> tuple[int, int, int | None, bool]:
    """Rows, columns, Adobe colour transform (or None) and whether a JFIF segment stands there."""
    position, adobe, jfif = 2, None, False
    while position + 9 < len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + length]
        if marker in (0xC0, 0xC1, 0xC2):
            return int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big"), adobe, jfif
        if marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        jfif = jfif or (marker == 0xE0 and body[:4] == b"JFIF")
        position += 2 + length
    raise ValueError("no start of frame")


def _native_frames(header: ClipHeader, indices: Iterable[int]) -> Iterator[NDArray[np.generic]]:
    kind = np.dtype(f"<{'i' if header.signed else 'u'}{header.bits_allocated // 8}")
    shape = (header.rows, header.columns)
    with header.path.open("rb") as file:
        for index in indices:
            values = np.frombuffer(header.spans.read(file, index), kind)
            if header.photometric == "YBR_FULL_422":  # stored as Y Y Cb Cr
                yield values.reshape(-1, 4)[:, :2].reshape(shape)
            elif header.samples == 1:
                yield values.reshape(shape)
            elif header.planar:
                yield values.reshape(3, *shape).transpose(1, 2, 0)
            else:
                yield values.reshape(*shape, 3)


def _plugin_frames(header: ClipHeader, indices: Sequence[int]) -> Iterator[NDArray[np.generic]]:
    yield from iter_pixels(header.path, indices=list(indices), raw=True)


def _to_luma(header: ClipHeader, samples: NDArray[np.generic]) -> Luma:
    if samples.shape[:2] != (header.rows, header.columns):
        raise ValueError("the frame has another size than the header says")
    if samples.ndim == 3:
        if header.photometric.startswith("YBR") and not header.photometric.endswith("CT"):
            return np.ascontiguousarray(samples[..., 0], dtype=np.uint8)
        return np.asarray(
            cv2.transform(np.ascontiguousarray(samples, dtype=np.uint8), _BT601), dtype=np.uint8
        )
    if header.palette is not None:
        return np.asarray(np.take(header.palette, samples.astype(np.int64), mode="clip"), dtype=np.uint8)
    gray = _to_eight_bits(header, samples)
    return np.asarray(255 - gray, dtype=np.uint8) if header.photometric == "MONOCHROME1" else gray


def _to_eight_bits(header: ClipHeader, samples: NDArray[np.generic]) -> Luma:
    if header.bits_stored == 8 and samples.dtype == np.uint8:
        return np.array(samples, dtype=np.uint8)
    low = -(2 ** (header.bits_stored - 1)) if header.signed else 0
    scaled = (samples.astype(np.float32) - low) * (255.0 / (2**header.bits_stored - 1))
    return np.asarray(np.clip(np.rint(scaled), 0, 255), dtype=np.uint8)
