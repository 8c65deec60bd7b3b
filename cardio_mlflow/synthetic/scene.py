"""What a view shows over time, before any ultrasound: painted structures, their motion, their true sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Array = NDArray[np.float64]
Anatomy = dict[str, float]
"""One patient's latents by name."""

Motion = Callable[[Array, Array], tuple[Array, Array]]
"""Displacement (dx, dy) in cm at full contraction of tissue that lies at (x, y) at end-diastole."""

REFERENCE_VOLUME = 115.0
"""Left ventricular volume, ml, at which the views' lengths are those written in their code."""
RELAXATION = 0.06
"""Isovolumic relaxation, as a share of the cycle."""


class Level(IntEnum):
    """Echo levels of the tissues, 0 to 255; what a level is in decibels is `cine.LEVEL_DECIBELS`."""

    BLOOD = 10
    SURROUNDINGS = 84
    MYOCARDIUM = 126
    ATRIAL_WALL = 130
    ENDOCARDIUM = 144
    VALVE = 166
    FIBROUS = 178
    PERICARDIUM = 192


@dataclass(frozen=True)
class Layer:
    """One structure, painted over those before it.

    Attributes:
        points: (T, N, 2) contour of each frame, cm.
        level: echo level, 0 to 255 (see `Level`).
        line: 0 fills the closed contour; otherwise the thickness of an open line in polar pixels.
        part: what of the heart it is, where that is asked for: RA, LA, RV, LV or "LV wall"; empty otherwise.
    """

    points: Array
    level: int
    line: int = 0
    part: str = ""


@dataclass(frozen=True)
class Scene:
    """A view of one heart at T phases.

    Attributes:
        layers: structures in painting order.
        contraction: (T,) by which `motion` is scaled.
        motion: how the tissue, and with it the speckle, moves.
        geometry: (T,) true values by name; names the view does not show are left out.
    """

    layers: tuple[Layer, ...]
    contraction: Array
    motion: Motion
    geometry: dict[str, Array]


@dataclass(frozen=True)
class Cycle:
    """State of the heart at T phases; every field has shape (T,).

    Attributes:
        contraction: left ventricle, 0 at end-diastole, 1 at end-systole.
        right_contraction: right ventricle, a little later.
        atrial: atrial filling, 1 just before the mitral valve opens, 0 after the atrial kick.
        mitral: opening of the atrioventricular valves, 0 to 1.
        aortic: opening of the aortic valve, 0 to 1.
    """

    contraction: Array
    right_contraction: Array
    atrial: Array
    mitral: Array
    aortic: Array


def cardiac_cycle(phases: Array, systole: float, early_filling: float) -> Cycle:
    """Evaluate the cycle.

    Args:
        phases: (T,), 0 at an R wave, 1 at the next; any real number is taken modulo 1.
        systole: share of the cycle that systole takes.
        early_filling: share of the stroke volume that returns in the early wave, the rest in the atrial kick.
    """
    phase = np.mod(phases, 1.0)
    start = systole + RELAXATION
    early_end, kick = start + 0.42 * (1 - start), start + 0.68 * (1 - start)
    left = 1 - early_filling
    early, late = np.clip(1.25 * early_filling, 0, 1), np.clip(1.6 * left, 0.15, 1)
    knots = (0, 0.04, systole, start, early_end, kick, 0.99)
    volume = (0, 0.02, 1, 0.97, left + 0.02, left, 0)
    contraction = _curve(phase, knots, volume)
    right = _curve(np.mod(phase - 0.015, 1.0), knots, volume)
    atrial = _curve(phase, (0, start, early_end, kick, 0.97), (0.03, 1, 0.48, 0.45, 0))
    mitral = _curve(
        phase,
        (0, start - 0.01, start + 0.3 * (early_end - start), early_end, kick, (kick + 0.99) / 2, 0.995),
        (0, 0, early, 0.35 * early, 0.3 * early, late, 0),
    )
    aortic = _curve(phase, (0, 0.04, 0.09, 0.75 * systole, systole), (0, 0, 1, 0.85, 0))
    return Cycle(contraction, right, atrial, mitral, aortic)


def _curve(phase: Array, knots: tuple[float, ...], values: tuple[float, ...]) -> Array:
    """Periodic shape-preserving curve through knots in [0, 1); the value at 1 is that at 0."""
    x = np.concatenate([np.asarray(knots[-2:]) - 1, knots, 1 + np.asarray(knots[:2])])
    y = np.concatenate([values[-2:], values, values[:2]])
    return np.asarray(PchipInterpolator(x, y)(phase), dtype=np.float64)


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


def oval(
    centre: tuple[Array, Array], radii: tuple[Array, Array], power: float = 2.0, count: int = 48
) -> Array:
    """Superellipses of T frames: centre and radii are pairs of (T,) arrays; (T, N, 2).

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


def grown(contour: Array, distance: float) -> Array:
    """Contours (T, N, 2) moved outwards from their centres by a distance, cm."""
    outward = contour - contour.mean(axis=1, keepdims=True)
    return np.asarray(contour + distance * outward / np.linalg.norm(outward, axis=2, keepdims=True))


def ring(contour: Array) -> Array:
    """A closed contour (T, N, 2) as a line that returns to its first point."""
    return np.concatenate([contour, contour[:, :1]], axis=1)


def band(x: Array, top: Array, bottom: Array) -> Array:
    """The closed contour between two lines over the same x."""
    return np.concatenate([stack(x, top), stack(x, bottom)[:, ::-1]], axis=1)


def left_wall(anatomy: Anatomy, cycle: Cycle) -> Array:
    """Thickness of the left ventricle's wall over the cycle, (T,), cm."""
    return np.asarray(anatomy["lv_wall"] * (1 + 0.42 * cycle.contraction))


def flattening(anatomy: Anatomy, cycle: Cycle) -> Array:
    """Septal flattening over the cycle, (T,): between the diastolic and the systolic latent."""
    diastolic, systolic = anatomy["diastolic_flattening"], anatomy["systolic_flattening"]
    return np.asarray(diastolic + (systolic - diastolic) * cycle.right_contraction)
