"""Pictures that a person sees at once are none of the four views, of the same synthetic hearts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from cardio_mlflow.synthetic.acquisition import Acquisition
from cardio_mlflow.synthetic.heart import view_scene
from cardio_mlflow.synthetic.scene import Array, Layer, Level, Scene, cardiac_cycle, oval, ring, stack

LIVER = 112
"""Echo level: even, between the surroundings and the heart's muscle."""


def other_scene(kind: str, anatomy: pd.Series, acquisition: Acquisition) -> tuple[Scene, Acquisition]:
    """Build one of `view_words.OTHER_VIEWS`, and the probe's position that goes with it.

    Raises:
        KeyError: no such view.
    """
    return _BUILDERS[kind](anatomy, acquisition)


def _rotated(acquisition: Acquisition, degrees: float, shift: tuple[float, float]) -> Acquisition:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (acquisition.shift[0] + shift[0], acquisition.shift[1] + shift[1])
    return replace(acquisition, turn=turn @ acquisition.turn, shift=moved)


def _apical_long_axis(anatomy: pd.Series, acquisition: Acquisition) -> tuple[Scene, Acquisition]:
    """The parasternal long axis from the apex: a quarter turn, left ventricle on top, aorta to the right."""
    return view_scene(anatomy, "LA", acquisition.phases), _rotated(acquisition, 90, (0, 0.5))


def _subcostal(anatomy: pd.Series, acquisition: Acquisition) -> tuple[Scene, Acquisition]:
    """Four chambers lying on their side below the liver."""
    scene, probe = view_scene(anatomy, "FC", acquisition.phases), _rotated(acquisition, 62, (-0.5, 2.0))
    x = np.linspace(-14, 14, 80)  # many points: what is straight here is bent in the polar picture
    top = np.concatenate([stack(x, np.full_like(x, 0.05)), stack(x, 3.0 - 0.06 * x)[::-1]])
    liver = np.repeat(probe.unplace(top)[None], len(scene.contraction), axis=0)
    return replace(scene, layers=(*scene.layers, Layer(liver, LIVER))), probe


def _great_vessels(anatomy: pd.Series, acquisition: Acquisition) -> tuple[Scene, Acquisition]:
    """Short axis at the aortic valve: a round root with three cusps, the outflow tract around its top."""
    cycle = cardiac_cycle(acquisition.phases, float(anatomy["systole"]), float(anatomy["early_filling"]))
    ones = np.ones_like(cycle.contraction)
    root = float(anatomy["aortic_root"]) / 2 * ones
    atrium = np.sqrt(float(anatomy["la_area"]) * (0.65 + 0.35 * cycle.atrial) / np.pi / 1.3)
    centre = (0.2 * ones, 6.6 * ones)
    tract = _arc(root + 0.3, 0.75 * float(anatomy["outflow_tract"]) * (1 - 0.2 * cycle.right_contraction))
    vessel, left = oval(centre, (root, root)), oval((0.4 * ones, 6.9 + root + atrium), (1.3 * atrium, atrium))
    right = oval((-2.4 - atrium, 7.6 * ones), (0.9 * atrium, 1.1 * atrium))
    layers = [Layer(oval((0 * ones, 7.5 * ones), (6.0 * ones, 5.6 * ones)), Level.ATRIAL_WALL - 8)]
    layers += [Layer(shape, Level.BLOOD + 4) for shape in (tract, left, right, vessel)]
    layers += [
        Layer(ring(shape), level, 2) for shape, level in ((vessel, Level.FIBROUS), (left, Level.ENDOCARDIUM))
    ]
    layers += [_cusp(root, centre, turn, cycle.aortic) for turn in (0.5, 2.6, 4.7)]
    return Scene(tuple(layers), cycle.contraction, lambda x, y: (0.02 * x, 0.05 * (y - 7)), {}), acquisition


def _arc(inner: Array, width: Array) -> Array:
    """A band (T, N, 2) around the upper half of the root."""
    angle = np.linspace(np.pi * 0.9, np.pi * 2.15, 36)[None]
    radii = (inner[:, None], (inner + width)[:, None])
    edges = [stack(0.2 + r * np.cos(angle), 6.6 + r * np.sin(angle)) for r in radii]
    return np.concatenate([edges[0], edges[1][:, ::-1]], axis=1)


def _cusp(root: Array, centre: tuple[Array, Array], turn: float, opening: Array) -> Layer:
    """A line from the wall to the middle while the valve is closed, short while it is open."""
    share = np.stack([np.ones_like(root), 0.85 * opening], axis=1) * root[:, None]
    points = stack(centre[0][:, None] + share * np.cos(turn), centre[1][:, None] + share * np.sin(turn))
    return Layer(points, Level.VALVE, 2)


def _vena_cava(anatomy: pd.Series, acquisition: Acquisition) -> tuple[Scene, Acquisition]:
    """A dark vessel across the liver, opening into the right atrium; it narrows as the atrium fills."""
    cycle = cardiac_cycle(acquisition.phases, float(anatomy["systole"]), float(anatomy["early_filling"]))
    ones = np.ones_like(cycle.contraction)
    half = 0.065 * float(anatomy["ra_area"]) ** 0.8 * (1 - 0.25 * cycle.contraction)
    liver = np.array([[-16.0, 0.0], [16.0, 0.0], [16.0, 13.0], [-16.0, 15.0]])
    x = np.linspace(-8, 3.5, 24)[None] * ones[:, None]
    middle = 8.0 - 0.12 * x
    vessel = np.concatenate(
        [stack(x, middle - half[:, None]), stack(x, middle + half[:, None])[:, ::-1]], axis=1
    )
    size = np.sqrt(float(anatomy["ra_area"]) * (0.7 + 0.3 * cycle.atrial) / np.pi)
    atrium = oval((3.4 + size, 7.2 * ones), (size, 1.1 * size))
    branch = np.stack([stack(-2.0 * ones, 7.6 * ones), stack(-5.5 * ones, 3.2 * ones)], axis=1)
    layers = (
        Layer(np.repeat(liver[None], len(ones), axis=0), LIVER), Layer(branch, Level.BLOOD, 5),
        Layer(vessel, Level.BLOOD), Layer(ring(vessel), Level.ENDOCARDIUM, 1),
        Layer(atrium, Level.BLOOD + 4), Layer(ring(atrium), Level.ATRIAL_WALL + 20, 2),
    )  # fmt: skip
    return Scene(layers, cycle.contraction, lambda x, y: (0.04 * x, 0.03 * (y - 8)), {}), acquisition


_BUILDERS = {
    "apical long axis": _apical_long_axis, "subcostal": _subcostal, "great vessels": _great_vessels,
    "vena cava": _vena_cava,
}  # fmt: skip
