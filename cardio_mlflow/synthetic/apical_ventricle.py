"""The left ventricle as the apical views see it: a bullet that shortens, narrows and thickens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cardio_mlflow.synthetic.contours import Array, stack
from cardio_mlflow.synthetic.cycle import Cycle
from cardio_mlflow.synthetic.scene import Anatomy

REFERENCE_VOLUME = 115.0
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
    anatomy: Anatomy, cycle: Cycle, apex: tuple[float, float], lean: float, flattening: Array
) -> ApicalVentricle:
    """Build the ventricle so that its volume, as width² · length, falls by the ejection fraction."""
    scale = (anatomy["lv_volume"] / REFERENCE_VOLUME) ** (1 / 3)
    relaxed = 8.0 * scale
    motion = 0.35 + 1.5 * anatomy["lv_ejection"]
    length = relaxed - motion * cycle.contraction
    volume = 1 - anatomy["lv_ejection"] * cycle.contraction
    half_width = 2.35 * scale * np.sqrt(volume * relaxed / length)
    wall = anatomy["lv_wall"] * (1 + 0.42 * cycle.contraction)
    return ApicalVentricle(apex, lean, length, half_width, wall, 0.9 * flattening)
