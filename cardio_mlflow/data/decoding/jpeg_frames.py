"""Frames of JPEG Baseline and Extended, decoded by OpenCV at full or reduced size."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.decoding.stream_facts import StreamFacts

_ADOBE_RGB, _ADOBE_YCC = 0, 1
_YCC_NAMES: Final = b"\x01\x02\x03"
_COLOUR_FLAGS: Final = {
    1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8,
}  # fmt: skip


def holds_rgb(photometric: str, facts: StreamFacts | None) -> bool:
    """Whether three samples that a codec gives are R, G and B; else they are Y, Cb and Cr.

    JPEG: a JFIF or Adobe segment, or components called R, G and B, go before the photometric
    interpretation, as libjpeg judges it. JPEG 2000: its decoder undoes the colour transform that the
    stream names; samples tagged YBR_ICT or YBR_RCT without one were RGB.
    """
    if facts is not None and (facts.jfif or facts.adobe == _ADOBE_YCC):
        return False
    if facts is not None and (
        facts.adobe == _ADOBE_RGB or facts.component_ids == b"RGB" or facts.transformed
    ):
        return True
    return photometric in ("RGB", "YBR_ICT", "YBR_RCT")


def decode_jpeg(data: bytes, facts: StreamFacts, photometric: str) -> NDArray[np.uint8]:
    """The luma of a JPEG frame, rows × columns: its Y channel, or BT.601 luma of RGB samples.

    Raises:
        ValueError: when the codec cannot decode it.
    """
    return _decode(data, facts, photometric, cv2.IMREAD_GRAYSCALE)


def decode_jpeg_colour(
    data: bytes, facts: StreamFacts, photometric: str, reduction: int = 1
) -> NDArray[np.uint8]:
    """RGB of a JPEG frame at 1/1, 1/2, 1/4 or 1/8 of its size.

    Raises:
        ValueError: when the codec cannot decode it.
    """
    image = _decode(data, facts, photometric, _COLOUR_FLAGS[reduction])
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _decode(data: bytes, facts: StreamFacts, photometric: str, flag: int) -> NDArray[np.uint8]:
    marked = facts.jfif or facts.adobe is not None or facts.samples == 1
    if not marked:
        # An Adobe segment tells the decoder what the samples are, where it would only guess.
        kind = b"\0" if holds_rgb(photometric, facts) else b"\1"
        data = data[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + kind + data[2:]
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise ValueError("not a JPEG stream")
    return np.asarray(image, dtype=np.uint8)
