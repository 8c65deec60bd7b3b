"""The parasternal long axis: outflow tract on top, left ventricle, aortic root, left atrium."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cardio_mlflow.synthetic import levels
from cardio_mlflow.synthetic.apical import flattening
from cardio_mlflow.synthetic.parasternal import cavity_radius, radial_motion
from cardio_mlflow.synthetic.scene import (
    Anatomy,
    Array,
    Cycle,
    Layer,
    Scene,
    leaflet,
    oval,
    polygon_area,
    stack,
)

AXIS_Y = 8.3
BASE_X = 1.2
APEX_X = -7.5


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
    wall = (anatomy["lv_wall"] * (1 + 0.42 * cycle.contraction))[:, None]
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
    cavity = _band(left.x, left.septum, left.posterior)
    diameter = anatomy["outflow_tract"] * (1 - 0.22 * cycle.right_contraction)
    layers = (
        *_outflow_layers(anatomy, left, diameter), *_atrium_layers(atrium), *_descending_aorta(atrium),
        Layer(_band(left.x, left.septum_top, left.posterior_outer), levels.MYOCARDIUM, part="LV wall"),
        Layer(_line(left.x, left.posterior_outer), levels.PERICARDIUM + 12, 3),
        Layer(cavity, levels.BLOOD, part="LV"), Layer(_line(left.x, left.septum), levels.ENDOCARDIUM, 1),
        Layer(_line(left.x, left.posterior), levels.ENDOCARDIUM + 8, 1),
        *_root_layers(root), *_cusps(root, cycle.aortic * anatomy["aortic_opening"]),
        *_mitral_layers(root[:, 1], left.posterior[:, -1], cycle.mitral),
    )  # fmt: skip
    geometry = {
        "la_area": polygon_area(atrium), "lv_area": polygon_area(cavity),
        "lv_wall": anatomy["lv_wall"] * (1 + 0.42 * cycle.contraction),
        "rv_wall": np.full_like(flat, anatomy["rv_wall"]), "septal_flattening": flat,
        "valve_opening": cycle.mitral, "outflow_tract": diameter,
        "aortic_root": np.full_like(flat, anatomy["aortic_root"]),
        "aortic_opening": cycle.aortic * anatomy["aortic_opening"],
    }  # fmt: skip
    return Scene(layers, cycle.contraction, radial_motion((-1.5, AXIS_Y), 0.24), geometry)


def _line(x: Array, y: Array) -> Array:
    return stack(x, y)


def _band(x: Array, top: Array, bottom: Array) -> Array:
    return np.concatenate([stack(x, top), stack(x, bottom)[:, ::-1]], axis=1)


def _outflow_layers(anatomy: Anatomy, left: _LongAxis, diameter: Array) -> tuple[Layer, ...]:
    """Right ventricular outflow tract above septum and root, with its free wall."""
    x = np.concatenate([left.x, np.array([[2.4, 3.6, 4.8]])], axis=1)
    floor = np.concatenate([left.septum_top, left.septum_top[:, -1:] - np.array([[0.05, 0.2, 0.5]])], axis=1)
    shape = np.exp(-(((x - 0.6) / 5.2) ** 2))
    roof = floor - diameter[:, None] * shape
    wall = roof - anatomy["rv_wall"]
    return (
        Layer(_band(x, wall, floor + 0.2), levels.MYOCARDIUM - 6),
        Layer(_line(x, wall), levels.PERICARDIUM - 26, 1),
        Layer(_band(x, roof, floor), levels.BLOOD + 6, part="RV"),
        Layer(_line(x, roof), levels.ENDOCARDIUM, 1),
        Layer(_line(x, floor), levels.ENDOCARDIUM, 1),
    )


def _left_atrium(anatomy: Anatomy, cycle: Cycle, root_floor: Array) -> Array:
    a = np.sqrt(0.85 * anatomy["la_area"] * (0.60 + 0.40 * cycle.atrial) * 1.2 / np.pi)
    b = a / 1.2
    return oval((BASE_X + 0.15 + a, root_floor + 0.18 + b), (a, b), power=2.3)


def _atrium_layers(atrium: Array) -> tuple[Layer, ...]:
    centre = atrium.mean(axis=1, keepdims=True)
    outward = atrium - centre
    outer = atrium + 0.25 * outward / np.linalg.norm(outward, axis=2, keepdims=True)
    return (
        Layer(outer, levels.ATRIAL_WALL),
        Layer(outer[:, 2:22], levels.PERICARDIUM - 10, 2),
        Layer(atrium, levels.BLOOD + 4, part="LA"),
        Layer(atrium[:, 2:22], levels.ENDOCARDIUM, 1),
    )


def _descending_aorta(atrium: Array) -> tuple[Layer, ...]:
    bottom = atrium[..., 1].max(axis=1)
    size = np.full_like(bottom, 0.95)
    ring = oval((np.full_like(bottom, 1.6), bottom + 1.15), (size, size), count=28)
    return Layer(ring, levels.BLOOD + 6), Layer(np.concatenate([ring, ring[:, :1]], 1), levels.FIBROUS, 1)


def _root_layers(root: Array) -> tuple[Layer, ...]:
    """The aortic root: a tube to the right, its sinuses slightly wider; root is (T, 2) top and bottom."""
    x = np.linspace(BASE_X - 0.1, 6.0, 20)[None]
    sinus = 0.22 * np.exp(-(((x - BASE_X - 1.0) / 0.6) ** 2))
    rise = 0.10 * (x - BASE_X)
    top, bottom = root[:, :1] - sinus - rise, root[:, 1:] + sinus - rise
    return (
        Layer(_band(x, top - 0.2, bottom + 0.2), levels.ATRIAL_WALL + 10),
        Layer(_band(x, top, bottom), levels.BLOOD + 2),
        Layer(_line(x, top), levels.FIBROUS, 2),
        Layer(_line(x, bottom), levels.FIBROUS, 2),
    )


def _cusps(root: Array, opening: Array) -> tuple[Layer, ...]:
    """Two aortic cusps: closed they meet mid-lumen, open they lie along the walls."""
    length = 0.52 * (root[:, 1] - root[:, 0])
    closed = 1.15
    layers = []
    for side, edge in ((1, root[:, 0]), (-1, root[:, 1])):
        hinge = np.stack([np.full_like(edge, BASE_X + 0.25), edge], axis=1)
        angle = side * closed * (1 - 0.92 * opening)
        layers.append(
            Layer(leaflet(hinge, length, angle, -side * 0.2 * np.ones_like(edge)), levels.VALVE - 24, 2)
        )
    return tuple(layers)


def _mitral_layers(root_floor: Array, posterior: Array, opening: Array) -> tuple[Layer, ...]:
    """The orifice, a long anterior leaflet from the root and a short posterior one."""
    gap = posterior - root_floor
    x = np.array([[BASE_X - 0.5, BASE_X + 0.8, BASE_X + 0.8, BASE_X - 0.5]])
    share = np.array([[0.12, 0.12, 0.9, 0.9]])
    orifice = Layer(stack(x, root_floor[:, None] + share * gap[:, None]), levels.BLOOD + 2)
    top = np.stack([np.full_like(gap, BASE_X), root_floor + 0.05], axis=1)
    bottom = np.stack([np.full_like(gap, BASE_X + 0.1), posterior - 0.05], axis=1)
    anterior = leaflet(top, 0.45 + 0.80 * gap, np.pi - 0.95 + 1.25 * opening, 0.25 - 0.7 * opening)
    short = leaflet(bottom, 0.25 + 0.45 * gap, np.pi + 0.75 - 1.1 * opening, -0.2 + 0.5 * opening)
    return orifice, Layer(anterior, levels.VALVE - 12, 2), Layer(short, levels.VALVE - 12, 2)
