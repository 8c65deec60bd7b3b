"""Colour Doppler: a patch of the sector in colours that no tint of a gray picture has."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.colour_frames import decode_rgb
from cardio_mlflow.data.dicom import ClipHeader
from cardio_mlflow.data.outcomes import ClipRefused, Outcome

Colours = NDArray[np.uint8]

_FRAMES: Final = 8
_REDUCTION: Final = 4
_LEAST_FRAMES: Final = 2
_LEAST_SHARE: Final = 0.008
"""Share of the sector that the patch has at least. A jet that fills less is not seen."""
_AWAY: Final = 24.0
"""Distance of a pixel's chroma from the tint at its luma, of 128, that no compression makes over an area."""
_LEVELS: Final = 16
_FILLED: Final = 5
"""A patch holds whole squares of so many reduced pixels; lines, ticks and words do not."""


def refuse_colour_doppler(header: ClipHeader, sector_mask: NDArray[np.uint8]) -> None:
    """Refuse a clip with a colour velocity map, power or tissue Doppler in its sector.

    A tinted picture has one colour for each luma: its chroma, as a function of luma, is taken from the
    sector itself (the median at each of 16 levels). What lies far from it and fills an area is Doppler.

    Args:
        header: the checked header; gray clips are accepted without decoding.
        sector_mask: the sector, uint8 0 or 255, rows × columns.

    Raises:
        ClipRefused: COLOR_DOPPLER, or CORRUPT_FRAME when a frame cannot be decoded.
    """
    if not header.has_colour:
        return
    indices = sorted({int(i) for i in np.linspace(0, header.frames - 1, _FRAMES)})
    size = (-(-header.columns // _REDUCTION), -(-header.rows // _REDUCTION))
    sector = cv2.resize(sector_mask, size, interpolation=cv2.INTER_AREA) >= 250
    shares = [doppler_share(frame, sector) for frame in decode_rgb(header, indices, _REDUCTION)]
    coloured = sum(share >= _LEAST_SHARE for share in shares)
    if coloured >= min(_LEAST_FRAMES, len(shares)):
        raise ClipRefused(
            Outcome.COLOR_DOPPLER,
            f"{coloured} of {len(shares)} frames have a colour map over up to {100 * max(shares):.0f} % "
            "of the sector",
        )


def doppler_share(frame: Colours, sector: NDArray[np.bool_]) -> float:
    """Share of the sector in colours away from its tint, in patches that are no lines.

    Args:
        frame: RGB, uint8, rows × columns × 3.
        sector: where tissue is, rows × columns.
    """
    inside = int(np.count_nonzero(sector))
    if not inside:
        return 0.0
    ycc = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb)
    luma, chroma = ycc[..., 0], ycc[..., 1:].astype(np.float32) - 128.0
    coloured = sector & (np.abs(chroma).max(axis=2) >= _AWAY / 3)
    if np.count_nonzero(coloured) < _LEAST_SHARE * inside:
        return 0.0
    away = sector & (np.linalg.norm(chroma - _tint(luma, chroma, sector), axis=2) >= _AWAY)
    solid = cv2.morphologyEx(away.astype(np.uint8), cv2.MORPH_OPEN, np.ones((_FILLED, _FILLED), np.uint8))
    return float(np.count_nonzero(solid) / inside)


def _tint(
    luma: NDArray[np.uint8], chroma: NDArray[np.float32], sector: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Chroma of the picture's tint at every pixel's luma: rows × columns × 2.

    The tint of a picture grows with its luma. Where a velocity map has most of the bright pixels their
    median is no tint; it is drawn towards the line through the dark and middling ones.
    """
    level = luma[sector].astype(np.int32) * _LEVELS // 256
    values = chroma[sector]
    slope = _tint_slope(luma[sector], values)
    table = np.zeros((_LEVELS, 2), np.float32)
    for i in range(_LEVELS):
        expected = slope * (i + 0.5) * (256 / _LEVELS)
        here = values[level == i]
        median = np.median(here, axis=0) if len(here) else expected
        table[i] = median if np.linalg.norm(median - expected) < _AWAY / 2 else expected
    return table[luma.astype(np.int32) * _LEVELS // 256]


def _tint_slope(luma: NDArray[np.uint8], chroma: NDArray[np.float32]) -> NDArray[np.float64]:
    """Chroma per gray level of most pixels that are bright enough to have one: (2,)."""
    bright = luma >= 24
    if not bright.any():
        return np.zeros(2)
    return np.asarray(np.median(chroma[bright] / luma[bright, None], axis=0), dtype=np.float64)
