"""Tissue in place of what is drawn over it, from the nearest pixels around."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

_REACH: Final = 5
"""Distance in pixels from which values are taken; wider holes are filled from their border inward."""


def _neighbourhood() -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Offsets (row, column) within reach, K × 2, and their weights: the inverse cube of the distance."""
    rows, columns = np.mgrid[-_REACH : _REACH + 1, -_REACH : _REACH + 1]
    distance = np.hypot(rows, columns)
    near = (distance > 0) & (distance <= _REACH)
    return np.stack([rows[near], columns[near]], axis=1), (distance[near] ** -3).astype(np.float32)


_OFFSETS, _WEIGHTS = _neighbourhood()


def inpaint(
    frame: NDArray[np.uint8], mask: NDArray[np.uint8], sector_mask: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Replace masked pixels by the distance-weighted mean of the tissue around them.

    Only the masked pixels are computed, so the cost goes with their number. The cube of the distance
    leaves most of the say to the two or three nearest pixels: the speckle goes on, it is not smoothed.

    Args:
        frame: luma, uint8, rows × columns; left as it is.
        mask: pixels to replace, not 0; same shape.
        sector_mask: pixels that show tissue, not 0; same shape. Values are taken from these only.

    Returns:
        A copy with the masked pixels replaced, black where no tissue is near; the frame itself where the
        mask is empty.
    """
    found = cv2.findNonZero(mask)  # a tenth of the time of np.argwhere
    if found is None:
        return frame
    holes = found.reshape(-1, 2)[:, ::-1].astype(np.intp)  # from x, y to row, column
    padded = np.pad(frame, _REACH).astype(np.float32)
    known = np.pad((sector_mask != 0) & (mask == 0), _REACH)
    holes += _REACH
    while len(holes):
        at = holes[:, None, :] + _OFFSETS
        weights = known[at[..., 0], at[..., 1]] * _WEIGHTS
        total = weights.sum(axis=1)
        ready = total > 0
        if not ready.any():
            break
        values = (weights * padded[at[..., 0], at[..., 1]]).sum(axis=1)[ready] / total[ready]
        filled = holes[ready]
        padded[filled[:, 0], filled[:, 1]] = values
        known[filled[:, 0], filled[:, 1]] = True
        holes = holes[~ready]
    padded[holes[:, 0], holes[:, 1]] = 0.0
    inner = padded[_REACH:-_REACH, _REACH:-_REACH]
    return np.asarray(np.where(mask != 0, np.rint(inner).astype(np.uint8), frame))
