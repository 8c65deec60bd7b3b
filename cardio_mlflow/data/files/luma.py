"""The luma of a clip's frames, decoded one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.files.frame_samples import decode_jpeg, each_frame, holds_rgb, samples_of
from cardio_mlflow.data.files.header import ClipHeader
from cardio_mlflow.data.files.header_values import Codec
from cardio_mlflow.data.files.pixel_format import PixelFormat
from cardio_mlflow.data.files.stream_facts import StreamFacts
from cardio_mlflow.data.files.video import video_luma

Luma = NDArray[np.uint8]
Maker = Callable[[bytes, StreamFacts | None], Luma]

_KEPT_BYTES: Final = 48 * 1024**2
_LONGEST_SIDE: Final = 1280
_BT601: Final = np.array([0.299, 0.587, 0.114])
_BITS_UNUSED: Final = 2  # fewer may be a dark clip
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
        notes: what was bent in the frames decoded so far, in fixed words.
    """

    def __init__(self, header: ClipHeader) -> None:
        self.notes: set[str] = set()
        self._header = header
        self._make: Maker | None = None
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
        if indices and self._make is None and self._header.form.codec is not Codec.VIDEO:
            self._make = luma_maker(self._header, self.notes)
        for frame in decode_luma(self._header, indices, self._make, self.notes):
            if self.scale == 1.0:
                yield frame
            else:
                size = (self.columns, self.rows)
                yield np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def decode_luma(
    header: ClipHeader, indices: Sequence[int], make: Maker | None = None, notes: set[str] | None = None
) -> Iterator[Luma]:
    """Decode frames to luma: uint8, rows × columns, of the file's own size.

    JPEG Baseline is decoded by OpenCV straight to its Y channel, uncompressed data by numpy, the rest
    by pydicom's plugins. RGB becomes ITU-R BT.601 luma, YBR its Y (stretched from 16–235 when it is
    YBR_PARTIAL), MONOCHROME1 is inverted, PALETTE COLOR goes through its table, and samples are scaled
    by BitsStored, or where their upper bits are never used, by the window or the range used. What a
    JPEG's own markers or a JPEG 2000's own header say of the colours goes before the header.

    ``make`` is what `luma_maker` gave, where it is at hand; ``notes`` gets words on what was bent.

    Raises:
        ClipRefused: CORRUPT_FRAME, with the frame's 1-based number, or UNSUPPORTED_TRANSFER_SYNTAX.
    """
    if header.form.codec is Codec.VIDEO:
        yield from video_luma(header.path, indices)
    else:
        yield from each_frame(header, indices, make or luma_maker(header, notes), notes)


def luma_maker(header: ClipHeader, notes: set[str] | None = None) -> Maker:
    """A function that makes the luma of one frame from its bytes and its own header."""
    form = header.form
    table = gray_table(form, _shown(header, notes))

    def make(data: bytes, facts: StreamFacts | None) -> Luma:
        if form.codec is Codec.JPEG and facts is not None:
            luma = decode_jpeg(data, facts, form.photometric)
            return luma if form.samples == 3 else _through(table, luma)
        samples = samples_of(header, data, facts)
        if form.samples == 1:
            return _through(table, samples)
        if holds_rgb(form.photometric, facts):
            return np.asarray(cv2.cvtColor(np.ascontiguousarray(samples), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        y = np.array(samples[..., 0], dtype=np.uint8)
        return _through(_partial_table(), y) if form.photometric.startswith("YBR_PARTIAL") else y

    return make


def _shown(header: ClipHeader, notes: set[str] | None) -> tuple[float, float] | None:
    """Values of gray samples of 16 bits to be shown black and white, where their upper bits are not used.

    Some scanners store 8 bits in 16 and say that all are used: scaled by BitsStored, the clip would be
    black. None where BitsStored is right.
    """
    form = header.form
    if form.allocated != 16 or form.palette is not None:
        return None

    sign = 2 ** (form.stored - 1) if form.signed else 0

    def extremes(data: bytes, facts: StreamFacts | None) -> tuple[int, int]:
        samples: NDArray[Any] = samples_of(header, data, facts)
        ranked = samples ^ np.uint16(sign)
        return int(ranked.min()) - sign, int(ranked.max()) - sign

    found = list(each_frame(header, range(header.frames), extremes))
    low, high = min(0, *(pair[0] for pair in found)), max(1, *(pair[1] for pair in found))
    if high - low >= 2 ** (form.stored - _BITS_UNUSED):
        return None
    window = form.window
    fits = window is not None and window[0] < high <= 4 * window[1] and window[1] <= 4 * high
    if notes is not None:
        notes.add(f"samples of 16 bits scaled by the {'window' if fits else 'range used'}")
    return window if fits and window is not None else (low, high)


def gray_table(form: PixelFormat, shown: tuple[float, float] | None = None) -> Luma | None:
    """Luma of every bit pattern of a gray or palette sample, uint8, shape (2**allocated,).

    None where the luma is the sample itself. ``shown`` are the values that are black and white; without
    them they are the least and the greatest of ``stored`` bits.
    """
    values = np.arange(2**form.stored)
    sign = len(values) // 2 if form.signed else 0
    ranks = values ^ sign
    if form.palette is not None:
        luma = np.rint(form.palette @ _BT601)
    elif shown is not None:
        luma = np.rint(np.clip((ranks - sign - shown[0]) / (shown[1] - shown[0]), 0, 1) * 255.0)
    else:
        luma = np.rint(ranks * (255.0 / (len(values) - 1)))
    if form.photometric == "MONOCHROME1":
        luma = 255 - luma
    if form.allocated == 8 and len(values) == 256 and np.array_equal(luma, values):
        return None
    table = np.zeros(2**form.allocated, np.uint8)
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
