"""The luma of a clip's frames, decoded one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.decoding.frame_samples import decoded_samples, each_frame, native_samples
from cardio_mlflow.data.decoding.jpeg_frames import decode_jpeg, holds_rgb
from cardio_mlflow.data.decoding.stream_facts import StreamFacts
from cardio_mlflow.data.decoding.transfer_syntaxes import Codec
from cardio_mlflow.data.dicom import ClipHeader
from cardio_mlflow.data.video.frames import video_luma

Luma = NDArray[np.uint8]

_KEPT_BYTES: Final = 48 * 1024**2
_LONGEST_SIDE: Final = 1280
_BT601: Final = np.array([0.299, 0.587, 0.114])
_BLACK, _WHITE = 16, 235  # of YBR_PARTIAL


class LumaFrames:
    """The frames of a clip as luma, uint8 rows × columns.

    Frames whose longer side is over 1280 pixels are made smaller: nothing after this needs more. Decoded
    frames are kept, up to 48 MiB: of a short clip all, so each is decoded once; of a longer one those that
    were picked, which are of one heart cycle, so memory does not grow with the clip.

    Attributes:
        scale: pixels given per pixel of the file; 1.0 for frames that are not made smaller.
        rows: height of a frame as given.
        columns: width of a frame as given.
    """

    def __init__(self, header: ClipHeader) -> None:
        self._header = header
        self.scale = min(1.0, _LONGEST_SIDE / max(header.rows, header.columns))
        self.rows, self.columns = (max(1, round(n * self.scale)) for n in (header.rows, header.columns))
        self._most_kept = _KEPT_BYTES // (self.rows * self.columns)
        self._kept: dict[int, Luma] = {}

    def __iter__(self) -> Iterator[Luma]:
        """All frames in order.

        Raises:
            ClipRefused: CORRUPT_FRAME or UNSUPPORTED_TRANSFER_SYNTAX.
        """
        yield from self._frames(range(self._header.frames), self._header.frames <= self._most_kept)

    def pick(self, indices: Sequence[int]) -> Iterator[Luma]:
        """The frames of rising 0-based indices.

        Raises:
            ClipRefused: CORRUPT_FRAME or UNSUPPORTED_TRANSFER_SYNTAX.
        """
        yield from self._frames(indices, keep=True)

    def _frames(self, indices: Sequence[int], keep: bool) -> Iterator[Luma]:
        missing = [index for index in indices if index not in self._kept]
        absent, decoded = frozenset(missing), self._decode(missing)
        for index in indices:
            if index not in absent:
                yield self._kept[index]
                continue
            frame = next(decoded)
            if keep and len(self._kept) < self._most_kept:
                self._kept[index] = frame
            yield frame

    def _decode(self, indices: Sequence[int]) -> Iterator[Luma]:
        for frame in decode_luma(self._header, indices):
            if self.scale == 1.0:
                yield frame
            else:
                size = (self.columns, self.rows)
                yield np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def decode_luma(header: ClipHeader, indices: Sequence[int]) -> Iterator[Luma]:
    """Decode frames to luma: uint8, rows × columns, of the file's own size.

    JPEG Baseline is decoded by OpenCV straight to its Y channel, uncompressed data by numpy, the rest
    by pydicom's plugins. RGB becomes ITU-R BT.601 luma, YBR its Y (stretched from 16–235 when it is
    YBR_PARTIAL), MONOCHROME1 is inverted, PALETTE COLOR goes through its table, and samples are scaled
    by BitsStored. What a JPEG's own markers or a JPEG 2000's own header say of the colours goes before
    the header.

    Args:
        header: the checked header.
        indices: rising 0-based frame numbers.

    Raises:
        ClipRefused: CORRUPT_FRAME, with the frame's 1-based number, or UNSUPPORTED_TRANSFER_SYNTAX.
    """
    if header.codec is Codec.VIDEO:
        yield from video_luma(header.path, indices)
    else:
        yield from each_frame(header, indices, luma_maker(header))


def luma_maker(header: ClipHeader) -> Callable[[bytes, StreamFacts | None], Luma]:
    """A function that makes the luma of one frame from its bytes and its own header."""
    table = gray_table(header)

    def make(data: bytes, facts: StreamFacts | None) -> Luma:
        if header.codec is Codec.JPEG and facts is not None:
            luma = decode_jpeg(data, facts, header.photometric)
            return luma if header.samples == 3 else _through(table, luma)
        samples = native_samples(header, data) if facts is None else decoded_samples(header, data)
        if header.samples == 1:
            return _through(table, samples)
        if holds_rgb(header.photometric, facts):
            return np.asarray(cv2.cvtColor(np.ascontiguousarray(samples), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        y = np.array(samples[..., 0], dtype=np.uint8)
        return _through(_partial_table(), y) if header.photometric.startswith("YBR_PARTIAL") else y

    return make


def gray_table(header: ClipHeader) -> Luma | None:
    """Luma of every bit pattern of a gray or palette sample, uint8, shape (2**bits_allocated,).

    None where the luma is the sample itself.
    """
    values = np.arange(2**header.bits_stored)
    if header.palette is not None:
        luma = np.rint(header.palette @ _BT601)
    else:
        low = 2 ** (header.bits_stored - 1) if header.signed else 0
        luma = np.rint((values + low) % len(values) * (255.0 / (len(values) - 1)))
    if header.photometric == "MONOCHROME1":
        luma = 255 - luma
    if header.bits_allocated == 8 and len(values) == 256 and np.array_equal(luma, values):
        return None
    table = np.zeros(2**header.bits_allocated, np.uint8)
    table[: len(values)] = np.clip(luma, 0, 255)
    return table


def _partial_table() -> Luma:
    return np.clip(np.rint((np.arange(256.0) - _BLACK) * (255.0 / (_WHITE - _BLACK))), 0, 255).astype(
        np.uint8
    )


def _through(table: Luma | None, samples: NDArray[np.generic]) -> Luma:
    if table is None:
        return np.array(samples, dtype=np.uint8)
    return np.asarray(cv2.LUT(np.ascontiguousarray(samples), table), dtype=np.uint8)
