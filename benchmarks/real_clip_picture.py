"""Draw the README's before/after picture of the real echo clip that pydicom carries.

    python -m benchmarks.real_clip_picture docs/images/real_clip.png

The clip is public. Its screen shows three letters where a scanner writes the patient's name; they are covered
in the left half, as a name would be. Both halves are brightened alike, because the clip is dark.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom.examples import get_path

from cardio_mlflow.data.clips import PreparedClip, prepare_clip
from cardio_mlflow.data.review.lettering import font

_NAME_BOX: Final = (0, 2, 32, 12)
"""Left, top, right and bottom of the letters in the name's place, pixels of the 320 × 240 frame."""
_HEIGHT: Final = 480
_MARGIN: Final = 12
_CAPTION: Final = 48
_GAMMA: Final = 0.7
_GROUND: Final = (24, 24, 27)
_INK: Final = (235, 235, 238)
_SOFT: Final = (170, 170, 176)
_COVER: Final = (58, 58, 64)
_OUTLINE: Final = (255, 212, 0)


def main(target: Path) -> None:
    path = Path(get_path("ybr_color"))
    dataset = pydicom.dcmread(path)
    raw, prepared = dataset.pixel_array[0], prepare_clip(path)
    left, right = _file_frame(raw), _prepared_frame(prepared)
    width = left.width + right.width + 3 * _MARGIN
    page = Image.new("RGB", (width, _HEIGHT + _CAPTION + 2 * _MARGIN), _GROUND)
    second = left.width + 2 * _MARGIN
    page.paste(left, (_MARGIN, _MARGIN + _CAPTION))
    page.paste(right, (second, _MARGIN + _CAPTION))
    side = prepared.frames.shape[1]
    size = f"{raw.shape[1]} × {raw.shape[0]}"
    texts = (
        (_MARGIN, "Before: a frame of the file", f"{size}; the name's place is covered, both are brightened"),
        (second, "After: the prepared frame", f"{side} × {side}, all 0 outside the sector (yellow line)"),
    )
    draw = ImageDraw.Draw(page)
    for x, title, text in texts:
        draw.text((x, _MARGIN), title, _INK, font(17, bold=True))
        draw.text((x, _MARGIN + 23), text, _SOFT, font(14))
    page.save(target, optimize=True)


def _file_frame(frame: NDArray[np.uint8]) -> Image.Image:
    left, top, right, bottom = _NAME_BOX
    covered = _brightened(frame)
    covered[top:bottom, left:right] = _COVER
    return _enlarged(covered)


def _prepared_frame(clip: PreparedClip) -> Image.Image:
    frame = clip.frames[0]
    picture = np.asarray(_enlarged(cv2.cvtColor(_brightened(frame), cv2.COLOR_GRAY2RGB))).copy()
    # The outline runs from edge to edge of the frame; OpenCV counts from the first pixel's centre.
    points = np.asarray(clip.review.outline) * _HEIGHT / frame.shape[0] - 0.5
    cv2.polylines(picture, [np.round(points * 16).astype(np.int32)], True, _OUTLINE, 1, cv2.LINE_AA, 4)
    return Image.fromarray(picture)


def _brightened(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    levels = 255.0 * (np.arange(256) / 255.0) ** _GAMMA
    return np.asarray(cv2.LUT(frame, np.round(levels).astype(np.uint8)), np.uint8)


def _enlarged(frame: NDArray[np.uint8]) -> Image.Image:
    size = (_HEIGHT * frame.shape[1] // frame.shape[0], _HEIGHT)
    return Image.fromarray(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
