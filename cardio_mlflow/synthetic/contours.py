"""Closed and open contours of the heart over time, in cm, x to the right and y away from the probe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """One structure, painted over those before it.

    Attributes:
        points: (T, N, 2) contour of each frame, cm.
        level: echo level, 0 to 255 (see `cine.LEVEL_DECIBELS`).
        line: 0 fills the closed contour; otherwise the thickness of an open line in polar pixels.
        part: what of the heart it is, where that is asked for: RA, LA, RV, LV or "LV wall"; empty otherwise.
    """

    points: Array
    level: int
    line: int = 0
    part: str = ""


def polygon_area(points: Array) -> Array:
    """Area of closed contours by the shoelace formula: (T, N, 2) to (T,).

    >>> float(polygon_area(np.array([[[0, 0], [2, 0], [2, 1], [0, 1]]]))[0])
    2.0
    """
    x, y = points[..., 0], points[..., 1]
    cross = x * np.roll(y, -1, axis=-1) - y * np.roll(x, -1, axis=-1)
    return np.asarray(np.abs(cross.sum(axis=-1)) / 2)


def stack(x: Array, y: Array) -> Array:
    """Join coordinates that broadcast against each other into (..., 2)."""
    return np.stack(np.broadcast_arrays(x, y), axis=-1)


def per_frame(value: Array | float, frames: int) -> Array:
    """Make a (T, 1) column from a number or a (T,) array."""
    return np.broadcast_to(np.asarray(value, dtype=np.float64), (frames,))[:, None]


def oval(
    centre: tuple[Array, Array], radii: tuple[Array, Array], power: float = 2.0, count: int = 48
) -> Array:
    """Superellipses of T frames: centre and radii are pairs of (T,) arrays; gives (T, N, 2).

    Power 2 is an ellipse, more is squarer.
    """
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)[None]
    cosine, sine = (np.sign(f) * np.abs(f) ** (2 / power) for f in (np.cos(angle), np.sin(angle)))
    x = centre[0][:, None] + radii[0][:, None] * cosine
    return stack(x, centre[1][:, None] + radii[1][:, None] * sine)


def leaflet(hinge: Array, length: Array, angle: Array, bend: Array, count: int = 7) -> Array:
    """A valve leaflet: an arc from its hinge.

    Args:
        hinge: (T, 2), cm.
        length: (T,), cm.
        angle: (T,) direction at the hinge, radians from +x towards +y.
        bend: (T,) by how much the direction turns along the leaflet, radians.
        count: points on the line.

    Returns:
        (T, count, 2).
    """
    u = np.linspace(0, 1, count)[None]
    direction = angle[:, None] + bend[:, None] * u
    step = length[:, None] / (count - 1)
    x = np.cumsum(np.cos(direction) * step, axis=1) - np.cos(direction[:, :1]) * step
    y = np.cumsum(np.sin(direction) * step, axis=1) - np.sin(direction[:, :1]) * step
    return stack(hinge[:, :1] + x, hinge[:, 1:] + y)


def tapered(points: Array) -> Array:
    """Close an open line of (T, N, 2) into a thin contour by running back over it."""
    return np.concatenate([points, points[:, ::-1]], axis=1)
