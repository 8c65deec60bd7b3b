"""What samples mean: which of their bits the picture is, and their colours."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.files.header_values import PALETTE, PixelFormat

_FEW: Final = 16  # steps between neighbours that must speak for it, of which a marked pixel gives two


def may_be_deeper(form: PixelFormat) -> bool:
    """Whether samples have bits above those of the value; signed ones have their sign there."""
    free = form.allocated - form.shift - form.stored
    return form.samples == 1 and free > 0 and not form.signed and form.photometric != PALETTE


def bits_used(form: PixelFormat, samples: NDArray[np.generic]) -> int:
    """Bits of the values of a frame: ``stored``, or more, where bits above them are part of the picture.

    They may as well hold something else, such as an overlay of text. A picture that loses its highest bit
    jumps wherever it gets bright; one that is given somebody else's bit jumps there. The smoother one counts.

    Args:
        form: what the header says.
        samples: rows × columns, all bits of which are kept above the shift.
    """
    whole = samples.astype(np.int64)
    used = int(whole.max()).bit_length()
    if used <= form.stored:
        return form.stored
    cut = whole & 2**form.stored - 1
    steps, cut_steps = np.abs(np.diff(whole)), np.abs(np.diff(cut))
    speak = np.count_nonzero(steps != cut_steps) >= _FEW
    return used if speak and steps.sum() < cut_steps.sum() else form.stored


PARTIAL_TABLE: Final = np.rint((np.arange(256.0) - 16) * (255 / 219)).clip(0, 255).astype(np.uint8)
"""Luma of the Y of YBR_PARTIAL, which goes from 16 to 235."""

_PARTIAL_TO_FULL: Final = np.array([[255 / 219, 0, 0, -16 * 255 / 219],
                                    [0, 255 / 224, 0, 128 - 128 * 255 / 224],
                                    [0, 0, 255 / 224, 128 - 128 * 255 / 224]])  # fmt: skip


def to_rgb(samples: NDArray[np.uint8], photometric: str) -> NDArray[np.uint8]:
    """YBR samples of 8 bits, rows × columns × 3, as RGB."""
    if photometric.startswith("YBR_PARTIAL"):
        samples = cv2.transform(samples, _PARTIAL_TO_FULL)
    swapped = np.ascontiguousarray(samples[..., [0, 2, 1]])  # OpenCV's order is Y Cr Cb
    return np.asarray(cv2.cvtColor(swapped, cv2.COLOR_YCrCb2RGB), dtype=np.uint8)
