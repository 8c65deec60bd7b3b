"""Attribution on a frame, as arrays: which frames, smoothing, the sector's outline, and the blending."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

RAISES: Final = (255, 85, 51)
"""RGB of attribution that raises the prediction."""
LOWERS: Final = (51, 153, 255)
"""RGB of attribution that lowers it; with `RAISES` a pair that colour-blind readers tell apart."""
OPACITY: Final = 0.9
"""Of the strongest attribution."""
APEX_SHARE: Final = 0.08
"""Radius of the half disc at the transducer that carries no colour, over the frame's width."""
_SMOOTHING: Final = 1 / 80
_EASE: Final = 0.7
"""Power of the relative attribution that is its opacity, so that the weaker is seen as well."""


@dataclass(frozen=True)
class Meaning:
    """What the numbers of a map are, in words for its colour bar and note.

    Attributes:
        label: name and unit.
        low: what −1 stands for; empty where no number is below 0.
        high: what 1 stands for.
        cells: what the map is made of.
    """

    label: str
    low: str
    high: str
    cells: str


ATTRIBUTION: Final = Meaning("attribution (SD per pixel)", "lowers", "raises", "pixels")
GRADIENT_ROLLOUT: Final = Meaning("gradient-weighted rollout (no unit)", "", "", "patches")
ROLLOUT: Final = Meaning("attention rollout less its mean (no unit)", "below", "above", "patches")

Floats = NDArray[np.floating[Any]]
Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def top_frames(importance: Floats, count: int) -> NDArray[np.intp]:
    """The frames of largest absolute importance, the largest first, of equal ones the earlier.

    Args:
        importance: (..., T), signed, such as 9 parameters × V views × T frames; NaN counts as least.
        count: how many frames, 1 to T.

    Returns:
        (..., count) positions of frames, from 0.

    Raises:
        ValueError: there are fewer than ``count`` frames.
    """
    if not 1 <= count <= importance.shape[-1]:
        raise ValueError(f"cannot take {count} of {importance.shape[-1]} frames")
    return np.argsort(-np.abs(importance), axis=-1, kind="stable")[..., :count]


def smooth(attribution: Floats, sigma: float) -> Floats:
    """Smooth maps with a Gaussian that is reflected at the edges, so each map's sum stays the same.

    Args:
        attribution: (..., h, w), signed.
        sigma: of the Gaussian in pixels of the map; 0 leaves the maps as they are.
    """
    if sigma <= 0:
        return attribution
    return np.asarray(gaussian_filter(attribution, sigma, mode="reflect", axes=(-2, -1)))


def usual_smoothing(attribution: Floats) -> float:
    """The sigma in pixels that makes single pixels of a map (..., h, w) readable: an 80th of its width."""
    return _SMOOTHING * int(attribution.shape[-1])


def to_frame_size(attribution: Floats, size: int = 224) -> Floats:
    """Resize a map (h, w) to (size, size); values stay those of one pixel of the network's image."""
    way = cv2.INTER_AREA if min(attribution.shape) > size else cv2.INTER_LINEAR
    whole = np.ascontiguousarray(attribution, np.float64)
    return np.asarray(cv2.resize(whole, (size, size), interpolation=way), np.float64)


def apex_mask(size: int, share: float = APEX_SHARE) -> Mask:
    """Where a square frame may be coloured: everywhere but in the transducer's near field.

    Args:
        size: height and width of the frame.
        share: radius of the half disc at the top centre over the frame's width.

    Returns:
        (size, size), False in the half disc.
    """
    down, across = np.ogrid[:size, :size]
    return np.asarray((down + 0.5) ** 2 + (across + 0.5 - size / 2) ** 2 > (share * size) ** 2)


def sector_mask(frames: Bytes | Mask) -> Mask:
    """The sector, which is convex: all that is not black, and the dark places between.

    Args:
        frames: (H, W) or (T, H, W), where anything above 0 is inside; several frames miss less of a sector
            whose edge is dark.

    Returns:
        (H, W).
    """
    hull = _hull(frames)
    if not len(hull):
        return np.zeros(frames.shape[-2:], np.bool_)
    y, x = np.mgrid[: frames.shape[-2], : frames.shape[-1]].astype(np.int32)
    (left, top), (right, bottom) = hull.min(axis=0), hull.max(axis=0)
    (x0, y0), (dx, dy) = hull.T[..., None, None], (np.roll(hull, -1, axis=0) - hull).T[..., None, None]
    sides = dx * (y - y0) - dy * (x - x0)
    within = (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
    return np.asarray(within & ((sides >= 0).all(axis=0) | (sides <= 0).all(axis=0)))


def sector_outline(frames: Bytes | Mask) -> NDArray[np.float64]:
    """The sector's outline as a closed polygon, the convex hull of all that is not black.

    Args:
        frames: as in `sector_mask`.

    Returns:
        (N, 2) columns and rows, counted from the first pixel's centre, the first point once more at the end;
        (0, 2) when all is black.
    """
    hull = _hull(frames).astype(np.float64)
    return np.concatenate([hull, hull[:1]])


def lowest_row(masks: Mask) -> int:
    """Number of rows down to the end of the lowest of some sectors (..., H, W), at least half of H."""
    height, width = (int(length) for length in masks.shape[-2:])
    rows = np.flatnonzero(masks.reshape(-1, height, width).any(axis=(0, 2)))
    return max(int(rows[-1]) + 1 if rows.size else height, height // 2)


def visible_heat(attribution: Floats, sector: Mask, sigma: float | None = None) -> Floats:
    """An attribution map as it is drawn: smoothed, at the frame's size, 0 where nothing is drawn.

    Args:
        attribution: (h, w), signed; NaN counts as 0.
        sector: (H, H), True inside.
        sigma: of the smoothing in pixels of the map; None takes `usual_smoothing`.

    Returns:
        (H, H), 0 outside the sector and in the transducer's near field.
    """
    values = np.nan_to_num(np.asarray(attribution, np.float64), posinf=0, neginf=0)
    softened = smooth(values, usual_smoothing(values) if sigma is None else sigma)
    return to_frame_size(softened, len(sector)) * (sector & apex_mask(len(sector)))


def blend(
    frame: Bytes, heat: Floats, scale: float, opacity: float = OPACITY, sector: Mask | None = None
) -> Bytes:
    """Colour a frame by attribution: blue lowers the prediction, red raises it.

    A pixel's colour is the more opaque the stronger its attribution, up to ``scale``. Where there is none, as
    outside the sector and in the transducer's near field, the plain frame is left.

    Args:
        frame: (H, H) gray.
        heat: (H, H), signed.
        scale: the absolute attribution that is fully coloured; 0 leaves the plain frame.
        opacity: of the full colour, 0 to 1.
        sector: (H, H), True inside; None takes it from the frame.

    Returns:
        (H, H, 3) RGB.

    Raises:
        ValueError: frame and heat are not squares of one size, or the opacity is not in 0 to 1.
    """
    if frame.shape != heat.shape or frame.shape != frame.shape[::-1]:
        raise ValueError(f"frame {frame.shape} and heat {heat.shape} must be squares of one size")
    if not 0 <= opacity <= 1:
        raise ValueError(f"an opacity is 0 to 1, not {opacity:g}")
    drawn = (sector_mask(frame) if sector is None else sector) & apex_mask(len(frame))
    strength = np.where(drawn, np.nan_to_num(heat / scale), 0.0) if scale > 0 else np.zeros(frame.shape)
    return coloured(frame, np.clip(strength, -1, 1), opacity)


def coloured(gray: Bytes, strength: Floats, opacity: float = OPACITY) -> Bytes:
    """Blend the two colours into gray values.

    Args:
        gray: any shape.
        strength: the same shape, −1 (all `LOWERS`) to 1 (all `RAISES`).
        opacity: of the full colour.

    Returns:
        RGB in a last axis more.
    """
    colour = np.where((strength > 0)[..., None], np.array(RAISES), np.array(LOWERS))
    share = opacity * np.abs(strength)[..., None] ** _EASE
    return np.asarray(np.rint((1 - share) * gray[..., None] + share * colour), np.uint8)


def _hull(frames: Bytes | Mask) -> NDArray[np.int32]:
    """Corners (N, 2), column and row, of the convex hull of all pixels ever above 0; (0, 2) of none."""
    lit = frames.astype(np.bool_).reshape(-1, *frames.shape[-2:]).any(axis=0)
    points = np.argwhere(lit)[:, ::-1].astype(np.int32)
    return np.asarray(cv2.convexHull(points)[:, 0] if len(points) else points, np.int32)
