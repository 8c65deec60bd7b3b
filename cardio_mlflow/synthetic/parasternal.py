"""The parasternal views: short axis at papillary level, and long axis."""

from __future__ import annotations

import numpy as np

from cardio_mlflow.synthetic import levels
from cardio_mlflow.synthetic.apical import REFERENCE_VOLUME, flattening
from cardio_mlflow.synthetic.scene import (
    Anatomy,
    Array,
    Cycle,
    Layer,
    Motion,
    Scene,
    oval,
    polygon_area,
    stack,
)

CENTRE = (1.3, 8.2)
SEPTAL_DIRECTION = np.deg2rad(218.0)
"""Where the septum lies seen from the centre of the left ventricle: up and to the left."""
RIGHT_SPAN = 1.38
"""Half the angle over which the right ventricle wraps the left, radians."""


def cavity_radius(anatomy: Anatomy, cycle: Cycle) -> Array:
    """Radius of the left ventricle across its axis, (T,), cm."""
    relaxed = 2.4 * (anatomy["lv_volume"] / REFERENCE_VOLUME) ** (1 / 3)
    return np.asarray(relaxed * (1 - anatomy["lv_ejection"] * cycle.contraction) ** 0.40)


def short_axis(anatomy: Anatomy, cycle: Cycle) -> Scene:
    """Short axis: round left ventricle, crescent right ventricle, septum flat where pressures are equal."""
    flat = flattening(anatomy, cycle)
    radius = cavity_radius(anatomy, cycle)
    wall = anatomy["lv_wall"] * (1 + 0.42 * cycle.contraction)
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)[None]
    inner = _left_radius(radius, flat, angle)
    cavity, outer = _ring(inner, angle), _ring(inner + wall[:, None], angle)
    right, right_wall = _right_crescent(anatomy, cycle, radius, wall, flat)
    layers = (
        Layer(right_wall, levels.MYOCARDIUM - 4), Layer(right_wall[:, :40], levels.PERICARDIUM - 30, 1),
        Layer(right, levels.BLOOD + 4, part="RV"), Layer(right, levels.ENDOCARDIUM, 1),
        Layer(outer, levels.MYOCARDIUM, part="LV wall"), Layer(outer[:, :36], levels.PERICARDIUM - 4, 2),
        Layer(cavity, levels.BLOOD, part="LV"),
        Layer(np.concatenate([cavity, cavity[:, :1]], 1), levels.ENDOCARDIUM, 1),
        *(_papillary(radius, cycle, np.deg2rad(a)) for a in (28.0, 122.0)),
    )  # fmt: skip
    geometry = {
        "rv_area": polygon_area(right), "lv_area": polygon_area(cavity), "lv_wall": wall,
        "rv_wall": np.full_like(flat, anatomy["rv_wall"]), "septal_flattening": flat,
    }  # fmt: skip
    return Scene(layers, cycle.contraction, radial_motion(CENTRE, 0.26), geometry)


def radial_motion(centre: tuple[float, float], share: float) -> Motion:
    """Motion of tissue towards a centre by a share of its distance, fading far from it."""

    def motion(x: Array, y: Array) -> tuple[Array, Array]:
        dx, dy = x - centre[0], y - centre[1]
        fade = -share * np.exp(-(dx**2 + dy**2) / 30)
        return dx * fade, dy * fade

    return motion


def _septal_offset(angle: Array) -> Array:
    return np.asarray(np.mod(angle - SEPTAL_DIRECTION + np.pi, 2 * np.pi) - np.pi)


def _left_radius(radius: Array, flat: Array, angle: Array) -> Array:
    """Endocardial radius (T, N): a circle, pressed in on the septal side to a D."""
    offset = _septal_offset(angle)
    press = 0.85 * np.exp(-((offset / 0.72) ** 2)) - 0.16 * np.exp(-(((np.abs(offset) - 1.5) / 0.5) ** 2))
    return np.asarray(radius[:, None] * (1 - flat[:, None] * press))


def _ring(radius: Array, angle: Array) -> Array:
    return stack(CENTRE[0] + radius * np.cos(angle), CENTRE[1] + radius * np.sin(angle))


def _right_crescent(
    anatomy: Anatomy, cycle: Cycle, radius: Array, wall: Array, flat: Array
) -> tuple[Array, Array]:
    """Right ventricular cavity and outer contour, (T, N, 2), the free wall first."""
    offset = np.linspace(-RIGHT_SPAN, RIGHT_SPAN, 40)[None]
    angle = SEPTAL_DIRECTION + offset
    inner = _left_radius(radius, flat, angle) + wall[:, None]
    rest = np.full_like(inner, (radius + wall)[0])
    bulge = np.cos(offset * np.pi / 2 / RIGHT_SPAN) ** 0.75
    area = 0.72 * anatomy["rv_area"] * (1 - anatomy["rv_shortening"] * cycle.right_contraction)
    height = _crescent_height(inner, rest, bulge, area, step=2 * RIGHT_SPAN / 39)
    free = np.maximum(rest + height[:, None] * bulge, inner + 0.05)
    thick = anatomy["rv_wall"] * (1 + 0.25 * cycle.right_contraction)[:, None]
    cavity = np.concatenate([_ring(free, angle), _ring(inner, angle)[:, ::-1]], axis=1)
    outer = np.concatenate([_ring(free + thick, angle), _ring(inner, angle)[:, ::-1]], axis=1)
    return cavity, outer


def _crescent_height(inner: Array, rest: Array, bulge: Array, area: Array, step: float) -> Array:
    """Solve ½∫[(rest + h·bulge)² − inner²] = area for h, (T,)."""
    a = 0.5 * (bulge**2).sum(axis=1) * step
    b = (rest * bulge).sum(axis=1) * step
    c = 0.5 * (rest**2 - inner**2).sum(axis=1) * step - area
    return np.asarray((-b + np.sqrt(np.maximum(b**2 - 4 * a * c, 0))) / (2 * a))


def _papillary(radius: Array, cycle: Cycle, angle: float) -> Layer:
    distance = radius * 0.80
    size = 0.42 + 0.06 * cycle.contraction
    centre = (CENTRE[0] + distance * np.cos(angle), CENTRE[1] + distance * np.sin(angle))
    return Layer(oval(centre, (size, size * 1.15), count=20), levels.MYOCARDIUM + 8)
