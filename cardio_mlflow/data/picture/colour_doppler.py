"""Colour Doppler: a patch of the sector in colours that no tint of a gray picture has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.files.frames import decode_rgb
from cardio_mlflow.data.files.header import ClipHeader
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
_MOST_PIXELS: Final = 1 << 18
"""From so many pixels the tint is taken at most."""
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
    shares = doppler_shares(list(decode_rgb(header, indices, _REDUCTION)), sector)
    coloured = sum(share >= _LEAST_SHARE for share in shares)
    if coloured >= min(_LEAST_FRAMES, len(shares)):
        raise ClipRefused(
            Outcome.COLOR_DOPPLER,
            f"{coloured} of {len(shares)} frames have a colour map over up to {100 * max(shares):.0f} % "
            "of the sector",
        )


def doppler_shares(frames: Sequence[Colours], sector: NDArray[np.bool_]) -> list[float]:
    """Share of the sector in colours away from the clip's tint, in patches that are no lines, of each frame.

    Args:
        frames: RGB, uint8, rows × columns × 3.
        sector: where tissue is, rows × columns.
    """
    inside = max(1, int(np.count_nonzero(sector)))
    pictures = [cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb) for frame in frames]
    if not any(np.count_nonzero(_is_coloured(p)[sector]) >= _LEAST_SHARE * inside for p in pictures):
        return [0.0] * len(frames)
    pixels = np.concatenate([picture[sector] for picture in pictures])
    table = _tint(pixels[:: 1 + len(pixels) // _MOST_PIXELS])
    return [float(np.count_nonzero(_patches(picture, table, sector)) / inside) for picture in pictures]


def _is_coloured(picture: Colours) -> NDArray[np.bool_]:
    return np.asarray(np.abs(picture[..., 1:].astype(np.int16) - 128).max(axis=-1) >= _AWAY / 3)


def _patches(picture: Colours, table: NDArray[np.float32], sector: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Where whole squares of a Y Cr Cb picture are away from the tint: 0 or 1."""
    tint = table[picture[..., 0].astype(np.int32) * _LEVELS // 256]
    distance = np.linalg.norm(picture[..., 1:].astype(np.float32) - 128.0 - tint, axis=-1)
    away = (sector & (distance >= _AWAY)).astype(np.uint8)
    return np.asarray(cv2.morphologyEx(away, cv2.MORPH_OPEN, np.ones((_FILLED, _FILLED), np.uint8)))


def _tint(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Chroma of the clip's tint at each of 16 levels of luma: 16 × 2.

    A tint grows with its luma, or changes little from one level to the next. Where a velocity map has most
    of the bright pixels their median does neither; the line through the dark and middling ones stands for it.

    Args:
        pixels: Y Cr Cb of the sector in all frames, N × 3.
    """
    luma, chroma = pixels[:, 0], pixels[:, 1:].astype(np.float32) - 128.0
    level = luma.astype(np.int32) * _LEVELS // 256
    slope = _tint_slope(luma, chroma)
    table = np.zeros((_LEVELS, 2), np.float32)
    for i in range(_LEVELS):
        expected = slope * (i + 0.5) * (256 / _LEVELS)
        here = chroma[level == i]
        median = np.median(here, axis=0) if len(here) else expected
        nearest = min(np.linalg.norm(median - expected), np.linalg.norm(median - table[i - 1]))
        table[i] = median if nearest < _AWAY / 2 else expected
    return table


def _tint_slope(luma: NDArray[np.uint8], chroma: NDArray[np.float32]) -> NDArray[np.float64]:
    """Chroma per gray level of most pixels that are bright enough to have one: (2,)."""
    bright = luma >= 24
    if not bright.any():
        return np.zeros(2)
    return np.asarray(np.median(chroma[bright] / luma[bright, None], axis=0), dtype=np.float64)
