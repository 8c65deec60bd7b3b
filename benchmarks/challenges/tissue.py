"""The moving tissue of a hard clip in polar space: dimming, and blood flow in colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.challenges.plan import DEPTH_CM, Plan
from cardio_mlflow.synthetic.acquisition import draw_acquisition
from cardio_mlflow.synthetic.anatomy import draw_anatomy
from cardio_mlflow.synthetic.cine import SHAPE, render_cine
from cardio_mlflow.synthetic.heart import view_scene
from cardio_mlflow.synthetic.hemodynamics import draw_hemodynamics
from cardio_mlflow.synthetic.scene import Array

Image = NDArray[np.uint8]

_DROP = 70.0
"""Gray levels that a dim part loses, about a quarter of the dynamic range."""


def _edge(beam: Array, depth: Array) -> Array:
    return np.clip((0.25 - beam) / 0.25, 0, 1) + 0 * depth


def _shadow(beam: Array, depth: Array) -> Array:
    across = 1 / (1 + np.exp((np.abs(beam - 0.62) - 0.165) / 0.02))
    return np.asarray(across / (1 + np.exp(-(depth - 0.12) / 0.03)))


DIMMING: dict[str, Callable[[Array, Array], Array]] = {
    "left_edge": _edge,
    "right_edge": lambda beam, depth: _edge(1 - beam, depth),
    "near_field": lambda beam, depth: np.clip((0.22 - depth) / 0.1, 0, 1) + 0 * beam,
    "shadow": _shadow,
}
"""Share of the loss at a beam (0 left to 1 right, (1, B)) and a depth (0 to 1, (D, 1)), by name."""


def render_tissue(plan: Plan, rng: np.random.Generator, view: str | None = None) -> Image:
    """Render the heart of a synthetic patient: (T, depths, beams) gray levels.

    Args:
        plan: of the clip.
        rng: draws the patient, the probe's position and the speckle.
        view: instead of the plan's.
    """
    seed = int(rng.integers(2**31))
    hemodynamics = draw_hemodynamics(1, seed)
    anatomy = draw_anatomy(hemodynamics, seed).iloc[0]
    code = view or plan.view
    acquisition = draw_acquisition(code, float(hemodynamics["HR"].iloc[0]), rng)
    phases = plan.rhythm.phases(plan.frame_times)
    acquisition = replace(
        acquisition, depth=float(DEPTH_CM), frame_times=plan.frame_times, phases=phases,
        half_angle=float(np.deg2rad(plan.fan.right - plan.fan.left)) / 2,
        brightness=plan.brightness or acquisition.brightness,
    )  # fmt: skip
    polar = render_cine(view_scene(anatomy, code, phases), acquisition, rng)
    return _dimmed(polar, plan.dimming)


def _dimmed(polar: Image, names: tuple[str, ...]) -> Image:
    beam, depth = np.linspace(0, 1, SHAPE[1])[None], np.linspace(0, 1, SHAPE[0])[:, None]
    loss = np.zeros(SHAPE)
    for name in names:
        loss = np.maximum(loss, DIMMING[name](beam, depth))
    if not loss.any():
        return polar
    drop = np.round(_DROP * loss).astype(np.uint8)
    return np.stack([cv2.subtract(picture, drop) for picture in polar])


def coloured_flow(polar: Image, phases: Array, rng: np.random.Generator) -> Image:
    """Lay flow in colour over the dark blood of a box of beams and depths.

    Red flows towards the probe, blue away from it; flow fades outside of systole and of early filling.

    Args:
        polar: (T, depths, beams).
        phases: (T,).
        rng: of the flow.

    Returns:
        (T, depths, beams, 3) RGB.
    """
    depths, beams = slice(70, 220), slice(36, 108)
    size = (beams.stop - beams.start, depths.stop - depths.start)
    fields = [cv2.resize(rng.normal(0, 1, (7, 5)), size, interpolation=cv2.INTER_CUBIC) for _ in range(2)]
    out = np.repeat(polar[..., None], 3, axis=3)
    for frame, picture, phase in zip(out, polar, phases, strict=True):
        strength = np.exp(-(((phase - 0.2) / 0.13) ** 2)) + 0.7 * np.exp(-(((phase - 0.6) / 0.09) ** 2))
        mix = np.cos(2 * np.pi * phase) * fields[0] + np.sin(2 * np.pi * phase) * fields[1]
        speed = np.clip(mix * strength + rng.normal(0, 0.12, mix.shape), -1.5, 1.5)
        flowing = (np.abs(speed) > 0.18) & (picture[depths, beams] < 80)
        level = np.clip(110 + 120 * np.abs(speed), 0, 255)
        green = np.clip(170 * (np.abs(speed) - 0.5), 0, 255)
        red, blue = np.where(speed > 0, level, 0), np.where(speed < 0, level, 20)
        colour = np.stack([red, green, blue], axis=-1).astype(np.uint8)
        frame[depths, beams][flowing] = colour[flowing]
    return out
