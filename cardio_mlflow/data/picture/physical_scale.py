"""Prepared frames shown at one physical scale, so that a heart keeps its size whatever the depth."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import ArrayLike

from cardio_mlflow.data.picture.sector import PREPARED_SIZE, Array, Image

FIELD_MM: Final = 200.0
"""What a frame shows at one physical scale: so many mm across and down, the sector's apex top centre."""
NOMINAL_MM: Final = 2 * 160.0 * math.sin(math.radians(40.0)) / PREPARED_SIZE
"""A pixel of a prepared clip whose sector is 16 cm deep and opens by 80 degrees, in mm: 0.918."""

_FINEST: Final = 6  # samples a pixel across: enough for a sector 4 cm deep, the least that is trusted
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PhysicalScale:
    """What `at_physical_scale` takes for clips without a scale of their own."""

    fallback_mm: tuple[float, ...]  # a pixel of the prepared clip in mm, per view


def median_scale(placement: ArrayLike, present: ArrayLike) -> PhysicalScale:
    """The median scale of a cohort's prepared clips, view by view.

    A view without any trusted scale takes the median over all views; a cohort without any takes `NOMINAL_MM`,
    with a warning. The placement is that of `at_physical_scale`, (N, V, 3); present clips (N, V) count.
    """
    size = np.where(np.asarray(present, bool), np.asarray(placement, np.float64)[..., 0], np.nan)
    known = np.isfinite(size)
    if not known.any():
        _log.warning(
            "No clip has a trusted scale: all are shown as if 16 cm deep. scale=sector is as good here."
        )
        return PhysicalScale((NOMINAL_MM,) * size.shape[1])
    overall = float(np.median(size[known]))
    views = zip(size.T, known.T, strict=True)
    return PhysicalScale(
        tuple(float(np.median(mm[there])) if there.any() else overall for mm, there in views)
    )


def mm_shown(placement: Array, fallback_mm: ArrayLike) -> Array:
    """A pixel of each view's prepared clip in mm, (V,); arguments as of `at_physical_scale`."""
    size = placement[:, 0]
    return np.where(np.isfinite(size), size, np.asarray(fallback_mm, np.float64))


def at_physical_scale(clips: Image, placement: Array, fallback_mm: ArrayLike) -> Image:
    """Show a patient's prepared clips with every frame `FIELD_MM` across.

    The apex comes to lie in the middle of the upper border; what lies deeper than the field is cut off, and
    what the sector does not fill is 0.

    Args:
        clips: (V, T, S, S) uint8; a view that is 0 stays so.
        placement: (V, 3): mm per pixel, and x and y of the sector's apex in pixels, the upper left corner at
            0; NaN where unknown: the fallback, and the middle of the upper border.
        fallback_mm: (V,) mm per pixel.

    Returns:
        (V, T, S, S) uint8.
    """
    side, shown = clips.shape[-1], np.zeros_like(clips)
    sizes = mm_shown(placement, fallback_mm)
    for view in np.flatnonzero(clips.any(axis=(1, 2, 3))):
        x, y = placement[view, 1:].tolist() if np.isfinite(placement[view, 1:]).all() else (side / 2, 0.0)
        zoom = float(sizes[view]) * side / FIELD_MM
        for frame, out in zip(clips[view], shown[view], strict=True):
            out[:] = _zoomed(frame, zoom, (x, y))
    return shown


def _zoomed(frame: Image, zoom: float, apex: tuple[float, float]) -> Image:
    """A square frame enlarged about its apex, which moves to the middle of the upper border.

    Made smaller, it is sampled 2 × 2 times or more per pixel and averaged, so that nothing is left to alias.
    """
    side, finer = len(frame), min(_FINEST, max(1, math.ceil(1.0 / zoom - 1e-9)))
    step = 1.0 / (zoom * finer)  # pixels of the frame from one sample to the next
    across = apex[0] + 0.5 * step - 0.5 * side / zoom - 0.5
    down = apex[1] + 0.5 * step - 0.5
    sampled = cv2.warpAffine(
        frame, np.array([[step, 0.0, across], [0.0, step, down]]), (finer * side, finer * side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )  # fmt: skip
    if finer > 1:
        sampled = cv2.resize(sampled, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(sampled, dtype=np.uint8)
