"""The apical views: four-chamber and two-chamber."""

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
    flattening,
    grown,
    leaflet,
    left_wall,
    oval,
    polygon_area,
    stack,
)

POINTS = 40


@dataclass(frozen=True)
class ApicalVentricle:
    """The left ventricle over T frames, in cm; the long axis runs down from the apex.

    Attributes:
        apex: (x, y) of the endocardial apex.
        lean: shift of the axis to the right from apex to base.
        length: (T,) apex to mitral annulus.
        half_width: (T,) largest distance of the endocardium from the axis.
        wall: (T,) wall thickness.
        septal_shift: (T,) displacement of the left (septal) wall towards the cavity.
    """

    apex: tuple[float, float]
    lean: float
    length: Array
    half_width: Array
    wall: Array
    septal_shift: Array

    @property
    def base(self) -> Array:
        """(T,) depth of the mitral annulus."""
        return self.apex[1] + self.length

    @property
    def base_x(self) -> float:
        """Where the axis meets the annulus."""
        return self.apex[0] + self.lean

    def edge(self, side: int, y: Array, outer: bool) -> Array:
        """Position x of the left (-1) or right (+1) wall surface at depths y (T, N)."""
        wall = self.wall[:, None]
        top = self.apex[1] - (0.8 * wall if outer else 0.0)
        share = np.clip((y - top) / (self.base[:, None] - top), 0, 1)
        width = (self.half_width[:, None] + (wall if outer else 0.0)) * bullet(share)
        axis = self.apex[0] + self.lean * (y - self.apex[1]) / self.length.max()
        shift = self.septal_shift[:, None] * np.sin(np.pi * share) if side < 0 else 0.0
        return np.asarray(axis + side * width + shift)

    def contour(self, outer: bool) -> Array:
        """Closed endocardial or epicardial contour, (T, 2·POINTS, 2), apex in the middle."""
        share = (np.linspace(0, 1, POINTS)[None]) ** 1.6
        top = self.apex[1] - (0.8 * self.wall[:, None] if outer else 0.0)
        y = top + share * (self.base[:, None] - top)
        left, right = (stack(self.edge(side, y, outer), y) for side in (-1, 1))
        return np.concatenate([left[:, ::-1], right], axis=1)


def bullet(share: Array) -> Array:
    """Relative half-width from apex (0) to base (1): round apex, widest above the base."""
    cap = np.sqrt(np.clip(1 - (1 - np.minimum(share / 0.62, 1)) ** 2, 0, 1))
    return np.asarray(cap * (1 - 0.20 * np.clip((share - 0.6) / 0.4, 0, 1) ** 2))


def apical_ventricle(
    anatomy: Anatomy, cycle: Cycle, apex: tuple[float, float], lean: float, flat: Array
) -> ApicalVentricle:
    """Build the ventricle so that its volume, as width² · length, falls by the ejection fraction."""
    scale = (anatomy["lv_volume"] / REFERENCE_VOLUME) ** (1 / 3)
    relaxed = 8.0 * scale
    motion = 0.35 + 1.5 * anatomy["lv_ejection"]
    length = relaxed - motion * cycle.contraction
    volume = 1 - anatomy["lv_ejection"] * cycle.contraction
    half_width = 2.35 * scale * np.sqrt(volume * relaxed / length)
    return ApicalVentricle(apex, lean, length, half_width, left_wall(anatomy, cycle), 0.9 * flat)


RIGHT_PROFILE = ((0, 0.12, 0.35, 0.7, 0.9, 1), (0, 0.34, 0.74, 1, 0.97, 0.88))
"""Width of the right ventricle from its apex to the tricuspid annulus, relative to the largest."""


def four_chamber(anatomy: Anatomy, cycle: Cycle) -> Scene:
    """Apical four-chamber view: right heart on the left of the screen, apex near the probe."""
    flat = flattening(anatomy, cycle)
    aside = 0.07 * (anatomy["rv_area"] - 18)  # the sonographer brings a wide right heart into the sector
    left = apical_ventricle(anatomy, cycle, (0.9 + aside, 2.0), 0.9, flat)
    right, right_wall, tricuspid, width = _right_ventricle(anatomy, cycle, left)
    septum = left.edge(-1, left.base[:, None] - 0.05, outer=True)[:, 0] + 0.45 * left.wall
    right_atrium = _atrium(anatomy["ra_area"], cycle, septum - 0.12, -1, tricuspid[:, 1] + 0.1)
    left_atrium = _atrium(anatomy["la_area"], cycle, septum + 0.12, 1, left.base + 0.1)
    right_atrium, left_atrium = (_bow(a, septum, left.base, anatomy["atrial_septum"])
                                 for a in (right_atrium, left_atrium))  # fmt: skip
    layers = (
        *_atrial_layers(right_atrium, "RA"), *_atrial_layers(left_atrium, "LA"),
        Layer(right_wall, Level.MYOCARDIUM - 6), Layer(_open(right_wall, 0.5), Level.PERICARDIUM - 26, 1),
        Layer(left.contour(outer=True), Level.MYOCARDIUM, part="LV wall"),
        Layer(left.contour(outer=True)[:, 42:], Level.PERICARDIUM, 2),
        Layer(right, Level.BLOOD + 4, part="RV"), Layer(right, Level.ENDOCARDIUM, 1),
        *_ventricle_layers(left),
        _orifice(tricuspid, 0.40 * width), *_leaflets(tricuspid, 0.46 * width, cycle.mitral),
        _orifice(_annulus(left), 0.72 * left.half_width),
        *_leaflets(_annulus(left), 0.80 * left.half_width, cycle.mitral),
    )  # fmt: skip
    geometry = {
        "ra_area": polygon_area(right_atrium), "la_area": polygon_area(left_atrium),
        "rv_area": polygon_area(right), "lv_area": polygon_area(left.contour(outer=False)),
        "lv_wall": left.wall, "rv_wall": np.full_like(flat, anatomy["rv_wall"]), "septal_flattening": flat,
        "atrial_septum": np.full_like(flat, anatomy["atrial_septum"]), "valve_opening": cycle.mitral,
        "mitral_motion": left.length.max() - left.length,
        "tricuspid_motion": anatomy["tricuspid_motion"] * cycle.right_contraction,
    }  # fmt: skip
    return Scene(layers, cycle.contraction, _apical_motion(left), geometry)


def two_chamber(anatomy: Anatomy, cycle: Cycle) -> Scene:
    """Apical two-chamber view: left ventricle and left atrium only."""
    left = apical_ventricle(anatomy, cycle, (0.1, 2.0), 0.3, np.zeros_like(cycle.contraction))
    size = np.sqrt(anatomy["la_area"] / np.pi / 1.18)
    atrium = _atrium(
        anatomy["la_area"], cycle, left.base_x - size * np.ones_like(left.base), 1, left.base + 0.1
    )
    outer = left.contour(outer=True)
    layers = (
        *_atrial_layers(atrium, "LA"), Layer(outer, Level.MYOCARDIUM, part="LV wall"),
        Layer(outer, Level.PERICARDIUM - 10, 2),
        *_ventricle_layers(left), _orifice(_annulus(left), 0.72 * left.half_width),
        *_leaflets(_annulus(left), 0.80 * left.half_width, cycle.mitral),
    )  # fmt: skip
    geometry = {
        "la_area": polygon_area(atrium), "lv_area": polygon_area(left.contour(outer=False)),
        "lv_wall": left.wall, "valve_opening": cycle.mitral, "mitral_motion": left.length.max() - left.length,
    }  # fmt: skip
    return Scene(layers, cycle.contraction, _apical_motion(left), geometry)


def _right_ventricle(
    anatomy: Anatomy, cycle: Cycle, left: ApicalVentricle
) -> tuple[Array, Array, Array, Array]:
    """Cavity and outer contour (T, N, 2), centre of the annulus (T, 2) and its width (T,)."""
    share = np.linspace(0, 1, 32)[None]
    top = left.apex[1] + 0.14 * left.length.max()
    base = left.apex[1] + left.length.max() - 0.35 - anatomy["tricuspid_motion"] * cycle.right_contraction
    height = (base - top)[:, None]
    y = top + share * height
    profile = np.interp(share, *RIGHT_PROFILE)
    area = anatomy["rv_area"] * (1 - anatomy["rv_shortening"] * cycle.right_contraction)
    width = area / (height[:, 0] * profile.mean())
    septal = left.edge(-1, y, outer=True)
    free = septal - profile * width[:, None]
    cavity = np.concatenate([stack(septal, y)[:, ::-1], stack(free, y)], axis=1)
    thick = anatomy["rv_wall"] * (1 + 0.25 * cycle.right_contraction)[:, None]
    wall = np.concatenate(
        [stack(septal + 0.1, y)[:, ::-1], stack(free - thick, y - thick * (1 - share))], axis=1
    )
    annulus = np.stack([(septal[:, -1] + free[:, -1]) / 2, base], axis=1)
    return cavity, wall, annulus, width * RIGHT_PROFILE[1][-1]


def _atrium(area: float, cycle: Cycle, medial: Array, side: int, top: Array) -> Array:
    """Atrium below its annulus, its largest area at the end of systole: (T, N, 2)."""
    a = np.sqrt(area * (0.60 + 0.40 * cycle.atrial) / (np.pi * 1.18 * 1.063))
    b = 1.18 * a
    return oval((medial + side * a, top + 0.94 * b), (a, b), power=2.4)


def _bow(contour: Array, septum: Array, top: Array, bowing: float) -> Array:
    """Push the atrial septum to the side of the lower pressure: positive bows to the right atrium."""
    dx, dy = contour[..., 0] - septum[:, None], contour[..., 1] - top[:, None] - 2.3
    push = -0.75 * bowing * np.exp(-((dx / 0.9) ** 2) - (dy / 1.5) ** 2)
    return stack(contour[..., 0] + push, contour[..., 1])


def _atrial_layers(contour: Array, part: str) -> tuple[Layer, ...]:
    return (
        Layer(grown(contour, 0.22), Level.ATRIAL_WALL),
        Layer(contour, Level.BLOOD + 4, part=part),
        Layer(_open(contour, 1.0), Level.ENDOCARDIUM, 1),
    )


def _ventricle_layers(left: ApicalVentricle) -> tuple[Layer, ...]:
    cavity = left.contour(outer=False)
    return Layer(cavity, Level.BLOOD, part="LV"), Layer(cavity, Level.ENDOCARDIUM, 1)


def _annulus(left: ApicalVentricle) -> Array:
    return np.stack([np.full_like(left.base, left.base_x), left.base], axis=1)


def _orifice(centre: Array, half: Array) -> Layer:
    """The blood between ventricle and atrium inside the annulus."""
    x, y = centre[:, :1], centre[:, 1:]
    dx = half[:, None] * np.array([[-1, 1, 1, -1]])
    return Layer(stack(x + dx, y + np.array([[-0.3, -0.3, 0.75, 0.75]])), Level.BLOOD + 4)


def _leaflets(centre: Array, half: Array, opening: Array) -> tuple[Layer, ...]:
    """Two leaflets, which meet when closed and swing towards the apex when open, and their hinges."""
    layers = []
    for side in (-1, 1):
        hinge = np.stack([centre[:, 0] + side * half, centre[:, 1]], axis=1)
        swing = 0.12 + 1.25 * opening
        angle = -swing if side < 0 else np.pi + swing
        line = leaflet(hinge, 1.04 * half, angle, -side * (0.25 - 0.5 * opening))
        layers += [Layer(line, Level.VALVE, 1), Layer(_dot(hinge), Level.FIBROUS)]
    return tuple(layers)


def _dot(centre: Array, radius: float = 0.17) -> Array:
    size = np.full(len(centre), radius)
    return oval((centre[:, 0], centre[:, 1]), (size, size), count=10)


def _open(contour: Array, share: float) -> Array:
    """The last part of a contour as a line."""
    count = contour.shape[1]
    return contour[:, count - int(count * share) :]


def _apical_motion(left: ApicalVentricle) -> Motion:
    shortening, length = float(np.ptp(left.length)), float(left.length.max())
    x0, y0 = left.base_x - left.lean / 2, left.apex[1]

    def motion(x: Array, y: Array) -> tuple[Array, Array]:
        depth = np.clip((y - y0) / length, 0, 1.15)
        fade = np.exp(-(((x - x0) / 6) ** 2))
        return -0.18 * (x - x0) * fade * (depth < 1.1), -shortening * depth * fade

    return motion
