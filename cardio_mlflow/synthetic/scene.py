"""What a view shows over time, before any ultrasound: painted structures, their motion, their true sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cardio_mlflow.synthetic.contours import Array, Layer

Anatomy = dict[str, float]
"""One patient's latents by name."""

Motion = Callable[[Array, Array], tuple[Array, Array]]
"""Displacement (dx, dy) in cm at full contraction of tissue that lies at (x, y) at end-diastole."""


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
