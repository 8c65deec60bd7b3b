"""The colours of a clip's frames, at full or reduced size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.files.frame_samples import (
    Samples,
    decode_jpeg_colour,
    each_frame,
    holds_rgb,
    samples_of,
)
from cardio_mlflow.data.files.header import ClipHeader
from cardio_mlflow.data.files.header_values import Codec
from cardio_mlflow.data.files.luma import luma_maker
from cardio_mlflow.data.files.stream_facts import StreamFacts
from cardio_mlflow.data.files.video import video_rgb

Colours = NDArray[np.uint8]

REDUCTIONS: Final = (1, 2, 4, 8)
"""By how much frames can be made smaller."""

_PARTIAL_TO_FULL: Final = np.array([[255 / 219, 0, 0], [0, 255 / 224, 0], [0, 0, 255 / 224]])
_PARTIAL_SHIFT: Final = np.array([-16 * 255 / 219, 128 - 128 * 255 / 224, 128 - 128 * 255 / 224])


def decode_rgb(header: ClipHeader, indices: Sequence[int], reduction: int = 1) -> Iterator[Colours]:
    """Decode frames to RGB: uint8, ceil(rows / reduction) × ceil(columns / reduction) × 3.

    A gray clip gives three equal channels. Reduced frames are averages over squares of pixels; JPEG
    frames are decoded at the reduced size, which is several times faster.

    Raises:
        ValueError: when the reduction is another.
        ClipRefused: CORRUPT_FRAME, with the frame's 1-based number, or UNSUPPORTED_TRANSFER_SYNTAX.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"frames can be reduced by {REDUCTIONS}, not by {reduction}")
    if header.form.codec is Codec.VIDEO:
        yield from video_rgb(header.path, indices, reduction)
    else:
        yield from each_frame(header, indices, _colour_maker(header, reduction))


def _colour_maker(header: ClipHeader, reduction: int) -> Callable[[bytes, StreamFacts | None], Colours]:
    luma = luma_maker(header)

    def make(data: bytes, facts: StreamFacts | None) -> Colours:
        if header.form.samples == 3 and header.form.codec is Codec.JPEG and facts is not None:
            return decode_jpeg_colour(data, facts, header.form.photometric, reduction)
        if header.form.samples == 1 and header.form.palette is None:
            return _threefold(_reduce(luma(data, facts), reduction))
        samples = samples_of(header, data, facts)
        if header.form.palette is not None:
            return _reduce(header.form.palette[samples.astype(np.uint16)], reduction)
        smaller = _reduce(np.ascontiguousarray(samples, dtype=np.uint8), reduction)
        return (
            smaller
            if holds_rgb(header.form.photometric, facts)
            else _to_rgb(smaller, header.form.photometric)
        )

    return make


def _to_rgb(samples: Samples, photometric: str) -> Colours:
    if photometric.startswith("YBR_PARTIAL"):
        matrix = np.column_stack([_PARTIAL_TO_FULL, _PARTIAL_SHIFT])
        samples = cv2.transform(samples, matrix)
    swapped = np.ascontiguousarray(samples[..., [0, 2, 1]])  # OpenCV's order is Y Cr Cb
    return np.asarray(cv2.cvtColor(swapped, cv2.COLOR_YCrCb2RGB), dtype=np.uint8)


def _reduce(image: NDArray[np.uint8], reduction: int) -> NDArray[np.uint8]:
    if reduction == 1:
        return image
    size = (-(-image.shape[1] // reduction), -(-image.shape[0] // reduction))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _threefold(image: NDArray[np.uint8]) -> Colours:
    return np.asarray(cv2.merge([image, image, image]), dtype=np.uint8)
