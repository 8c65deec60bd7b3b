"""The parasternal views: short axis at papillary level, and long axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cardio_mlflow.synthetic.scene import (
    REFERENCE_VOLUME,
    Anatomy,
    Array,
    Cycle,
    Layer,
    Level,
    Motion,
    Scene,
    band,
    flattening,
    grown,
    leaflet,
    left_wall,
    oval,
    polygon_area,
    ring,
    stack,
)

CENTRE = (1.3, 8.2)
"""Of the left ventricle in short axis, cm."""
SEPTAL_DIRECTION = np.deg2rad(218.0)
"""Where the septum lies seen from the centre of the left ventricle: up and to the left."""
RIGHT_SPAN = 1.38
"""Half the angle over which the right ventricle wraps the left, radians."""
AXIS_Y, BASE_X, APEX_X = 8.3, 1.2, -7.5
"""Of the left ventricle in long axis, cm."""


def cavity_radius(anatomy: Anatomy, cycle: Cycle) -> Array:
    """Radius of the left ventricle across its axis, (T,), cm."""
    relaxed = 2.4 * (anatomy["lv_volume"] / REFERENCE_VOLUME) ** (1 / 3)
    return np.asarray(relaxed * (1 - anatomy["lv_ejection"] * cycle.contraction) ** 0.40)


def short_axis(anatomy: Anatomy, cycle: Cycle) -> Scene:
    """Short axis: round left ventricle, crescent right ventricle, septum flat where pressures are equal."""
    flat = flattening(anatomy, cycle)
    radius = cavity_radius(anatomy, cycle)
    wall = left_wall(anatomy, cycle)
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)[None]
    inner = _left_radius(radius, flat, angle)
    cavity, outer = _around_centre(inner, angle), _around_centre(inner + wall[:, None], angle)
    right, right_wall = _right_crescent(anatomy, cycle, radius, wall, flat)
    layers = (
        Layer(right_wall, Level.MYOCARDIUM - 4), Layer(right_wall[:, :40], Level.PERICARDIUM - 30, 1),
        Layer(right, Level.BLOOD + 4, part="RV"), Layer(right, Level.ENDOCARDIUM, 1),
        Layer(outer, Level.MYOCARDIUM, part="LV wall"), Layer(outer[:, :36], Level.PERICARDIUM - 4, 2),
        Layer(cavity, Level.BLOOD, part="LV"), Layer(ring(cavity), Level.ENDOCARDIUM, 1),
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


def _left_radius(radius: Array, flat: Array, angle: Array) -> Array:
    """Endocardial radius (T, N): a circle, pressed in on the septal side to a D."""
    offset = np.mod(angle - SEPTAL_DIRECTION + np.pi, 2 * np.pi) - np.pi
    press = 0.85 * np.exp(-((offset / 0.72) ** 2)) - 0.16 * np.exp(-(((np.abs(offset) - 1.5) / 0.5) ** 2))
    return np.asarray(radius[:, None] * (1 - flat[:, None] * press))


def _around_centre(radius: Array, angle: Array) -> Array:
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
    septum = _around_centre(inner, angle)[:, ::-1]
    cavity, outer = (
        np.concatenate([_around_centre(wall, angle), septum], axis=1) for wall in (free, free + thick)
    )
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
    return Layer(oval(centre, (size, size * 1.15), count=20), Level.MYOCARDIUM + 8)


@dataclass(frozen=True)
class _LongAxis:
    """Surfaces of the left ventricle in long axis; x is (1, N), heights are (T, N)."""

    x: Array
    septum_top: Array
    septum: Array
    posterior: Array
    posterior_outer: Array


def _surfaces(anatomy: Anatomy, cycle: Cycle, flat: Array) -> _LongAxis:
    x = np.linspace(APEX_X, BASE_X, 40)[None]
    radius = cavity_radius(anatomy, cycle)[:, None]
    wall = left_wall(anatomy, cycle)[:, None]
    along = (x + 1.0) / (APEX_X + 1.0)
    profile = np.where(along > 0, np.sqrt(np.clip(1 - np.abs(along) ** 2.4, 0, 1)), 1 - 0.10 * along**2)
    axis = AXIS_Y + 0.07 * (x + 3)
    septum = axis - radius * profile * (1 - 0.45 * flat[:, None])
    posterior = axis + radius * profile * 1.02
    thin = np.clip((BASE_X + 0.6 - x) / 1.8, 0.35, 1)
    return _LongAxis(x, septum - wall * thin, septum, posterior, posterior + wall * thin)


def long_axis(anatomy: Anatomy, cycle: Cycle) -> Scene:
    """Parasternal long axis, apex to the left of the screen."""
    flat = flattening(anatomy, cycle)
    left = _surfaces(anatomy, cycle, flat)
    root_top = left.septum[:, -1] - 0.35
    root = np.stack([root_top, root_top + anatomy["aortic_root"]], axis=1)
    atrium = _left_atrium(anatomy, cycle, root[:, 1])
    cavity = band(left.x, left.septum, left.posterior)
    diameter = anatomy["outflow_tract"] * (1 - 0.22 * cycle.right_contraction)
    layers = (
        *_outflow_layers(anatomy, left, diameter), *_atrium_layers(atrium), *_descending_aorta(atrium),
        Layer(band(left.x, left.septum_top, left.posterior_outer), Level.MYOCARDIUM, part="LV wall"),
        Layer(stack(left.x, left.posterior_outer), Level.PERICARDIUM + 12, 3),
        Layer(cavity, Level.BLOOD, part="LV"), Layer(stack(left.x, left.septum), Level.ENDOCARDIUM, 1),
        Layer(stack(left.x, left.posterior), Level.ENDOCARDIUM + 8, 1),
        *_root_layers(root), *_cusps(root, cycle.aortic * anatomy["aortic_opening"]),
        *_mitral_layers(root[:, 1], left.posterior[:, -1], cycle.mitral),
    )  # fmt: skip
    geometry = {
        "la_area": polygon_area(atrium), "lv_area": polygon_area(cavity),
        "lv_wall": left_wall(anatomy, cycle), "rv_wall": np.full_like(flat, anatomy["rv_wall"]),
        "septal_flattening": flat,
        "valve_opening": cycle.mitral, "outflow_tract": diameter,
        "aortic_root": np.full_like(flat, anatomy["aortic_root"]),
        "aortic_opening": cycle.aortic * anatomy["aortic_opening"],
    }  # fmt: skip
    return Scene(layers, cycle.contraction, radial_motion((-1.5, AXIS_Y), 0.24), geometry)


def _outflow_layers(anatomy: Anatomy, left: _LongAxis, diameter: Array) -> tuple[Layer, ...]:
    """Right ventricular outflow tract above septum and root, with its free wall."""
    x = np.concatenate([left.x, np.array([[2.4, 3.6, 4.8]])], axis=1)
    floor = np.concatenate([left.septum_top, left.septum_top[:, -1:] - np.array([[0.05, 0.2, 0.5]])], axis=1)
    shape = np.exp(-(((x - 0.6) / 5.2) ** 2))
    roof = floor - diameter[:, None] * shape
    wall = roof - anatomy["rv_wall"]
    return (
        Layer(band(x, wall, floor + 0.2), Level.MYOCARDIUM - 6),
        Layer(stack(x, wall), Level.PERICARDIUM - 26, 1),
        Layer(band(x, roof, floor), Level.BLOOD + 6, part="RV"),
        Layer(stack(x, roof), Level.ENDOCARDIUM, 1),
        Layer(stack(x, floor), Level.ENDOCARDIUM, 1),
    )


def _left_atrium(anatomy: Anatomy, cycle: Cycle, root_floor: Array) -> Array:
    a = np.sqrt(0.85 * anatomy["la_area"] * (0.60 + 0.40 * cycle.atrial) * 1.2 / np.pi)
    b = a / 1.2
    return oval((BASE_X + 0.15 + a, root_floor + 0.18 + b), (a, b), power=2.3)


def _atrium_layers(atrium: Array) -> tuple[Layer, ...]:
    outer = grown(atrium, 0.25)
    return (
        Layer(outer, Level.ATRIAL_WALL),
        Layer(outer[:, 2:22], Level.PERICARDIUM - 10, 2),
        Layer(atrium, Level.BLOOD + 4, part="LA"),
        Layer(atrium[:, 2:22], Level.ENDOCARDIUM, 1),
    )


def _descending_aorta(atrium: Array) -> tuple[Layer, ...]:
    bottom = atrium[..., 1].max(axis=1)
    size = np.full_like(bottom, 0.95)
    vessel = oval((np.full_like(bottom, 1.6), bottom + 1.15), (size, size), count=28)
    return Layer(vessel, Level.BLOOD + 6), Layer(ring(vessel), Level.FIBROUS, 1)


def _root_layers(root: Array) -> tuple[Layer, ...]:
    """The aortic root: a tube to the right, its sinuses slightly wider; root is (T, 2) top and bottom."""
    x = np.linspace(BASE_X - 0.1, 6.0, 20)[None]
    sinus = 0.22 * np.exp(-(((x - BASE_X - 1.0) / 0.6) ** 2))
    rise = 0.10 * (x - BASE_X)
    top, bottom = root[:, :1] - sinus - rise, root[:, 1:] + sinus - rise
    return (
        Layer(band(x, top - 0.2, bottom + 0.2), Level.ATRIAL_WALL + 10),
        Layer(band(x, top, bottom), Level.BLOOD + 2),
        Layer(stack(x, top), Level.FIBROUS, 2),
        Layer(stack(x, bottom), Level.FIBROUS, 2),
    )


def _cusps(root: Array, opening: Array) -> tuple[Layer, ...]:
    """Two aortic cusps: closed they meet mid-lumen, open they lie along the walls."""
    length = 0.52 * (root[:, 1] - root[:, 0])
    layers = []
    for side, edge in ((1, root[:, 0]), (-1, root[:, 1])):
        hinge = np.stack([np.full_like(edge, BASE_X + 0.25), edge], axis=1)
        angle = side * 1.15 * (1 - 0.92 * opening)
        cusp = leaflet(hinge, length, angle, np.full_like(edge, -side * 0.2))
        layers.append(Layer(cusp, Level.VALVE - 24, 2))
    return tuple(layers)


def _mitral_layers(root_floor: Array, posterior: Array, opening: Array) -> tuple[Layer, ...]:
    """The orifice, a long anterior leaflet from the root and a short posterior one."""
    gap = posterior - root_floor
    x = np.array([[BASE_X - 0.5, BASE_X + 0.8, BASE_X + 0.8, BASE_X - 0.5]])
    share = np.array([[0.12, 0.12, 0.9, 0.9]])
    orifice = Layer(stack(x, root_floor[:, None] + share * gap[:, None]), Level.BLOOD + 2)
    top = np.stack([np.full_like(gap, BASE_X), root_floor + 0.05], axis=1)
    bottom = np.stack([np.full_like(gap, BASE_X + 0.1), posterior - 0.05], axis=1)
    anterior = leaflet(top, 0.45 + 0.80 * gap, np.pi - 0.95 + 1.25 * opening, 0.25 - 0.7 * opening)
    short = leaflet(bottom, 0.25 + 0.45 * gap, np.pi + 0.75 - 1.1 * opening, -0.2 + 0.5 * opening)
    return orifice, Layer(anterior, Level.VALVE - 12, 2), Layer(short, Level.VALVE - 12, 2)
