"""Long straight lines among thin bright pixels: cursor lines, M-mode lines, the line of an ECG's cursor."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Ends = tuple[float, float, float, float]

_THIN: Final = 7
_CANDIDATE: Final = 40
_LEAST_CONTRAST: Final = 50.0
"""A drawn line is so much brighter than what lies four pixels beside it, gray levels, median and mean."""
_BESIDE: Final = 4
_LIT: Final = 20
_FLICKER: Final = 0.2
"""Largest range over time of a drawn line, as a share of its luma."""
_BODY: Final = 0.6
"""Share of a line's luma from which a pixel belongs to it and not to the tissue beside it."""
_GAP: Final = 10
_FILLED: Final = 0.6


def straight_strokes(picture: Image, unrest: Image, shortest: int) -> Image:
    """The middles of straight drawn lines, solid or dotted: uint8 0 or 255.

    Tissue has hardly a straight edge of this length that is bright on the line and dark on both sides, and
    none that keeps its luma over time.

    Args:
        picture: smallest luma of each pixel over some frames, uint8, rows × columns.
        unrest: range of each pixel over the frames, uint8, rows × columns.
        shortest: least length of a line, pixels.
    """
    out = np.zeros_like(picture)
    height = cv2.morphologyEx(picture, cv2.MORPH_TOPHAT, np.ones((_THIN, _THIN), np.uint8))
    thin = cv2.threshold(height, _CANDIDATE, 255, cv2.THRESH_BINARY)[1]
    found = cv2.HoughLinesP(
        thin, 1, np.pi / 360, round(_FILLED * shortest), minLineLength=shortest, maxLineGap=_GAP
    )
    for ends in [] if found is None else found.reshape(-1, 4):
        luma = _drawn_luma(picture, unrest, tuple(float(e) for e in ends))  # type: ignore[arg-type]
        if luma is not None:
            line = cv2.line(np.zeros_like(out), ends[:2].tolist(), ends[2:].tolist(), 255, 3)
            out |= np.where(picture >= _BODY * luma, line, np.uint8(0))
    return np.asarray(cv2.bitwise_and(out, thin))


def _drawn_luma(picture: Image, unrest: Image, ends: Ends) -> float | None:
    """Median luma of a line that is brighter all along than either side of it and stays so, else None."""
    x0, y0, x1, y1 = ends
    length = int(np.hypot(x1 - x0, y1 - y0))
    share = np.linspace(0.0, 1.0, length)
    across = np.array([y0 - y1, x1 - x0]) / max(1, length)
    x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
    offsets = np.array([-_BESIDE, -1, 0, 1, _BESIDE])
    columns = (x + offsets[:, None] * across[0]).astype(np.float32)
    rows = (y + offsets[:, None] * across[1]).astype(np.float32)
    samples = _sampled(picture, columns, rows)
    contrast = samples[1:4].max(axis=0) - samples[[0, -1]].max(axis=0)
    lit = contrast > _LIT
    if np.mean(lit) < _FILLED or contrast.mean() < _LEAST_CONTRAST:
        return None
    on, along = samples[1:4].argmax(axis=0), np.arange(length)
    luma = samples[1:4][on, along][lit]
    flicker = _sampled(unrest, columns, rows)[1:4][on, along][lit] / luma
    return float(np.median(luma)) if np.median(flicker) <= _FLICKER else None


def _sampled(picture: Image, columns: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
    samples = cv2.remap(picture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(samples, dtype=np.float32)
