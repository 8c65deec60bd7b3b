"""Frames of synthetic hearts as a prepared clip shows them, with their true geometry."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.parameters import view as find_view
from cardio_mlflow.synthetic.acquisition import Acquisition, draw_acquisition
from cardio_mlflow.synthetic.cine import paint_scene, render_cine
from cardio_mlflow.synthetic.heart import view_scene
from cardio_mlflow.synthetic.scene import Array
from cardio_mlflow.synthetic.sector import ScanConverter, Sector

Image = NDArray[np.uint8]
Scale = Literal["sector", "physical"]
"""How a clip is cut out: its fan fills the square, or every square shows FIELD_CM."""

FIELD_CM: Final = 20.0
"""Side of what a square picture at physical scale shows, apex top centre."""
NOMINAL_RATE: Final = 75.0
"""Heart rate of the rendered clips, beats/min; their phases are given."""


GEOMETRY: Final[dict[str, str]] = {
    "ra_area": "cm²", "la_area": "cm²", "rv_area": "cm²", "lv_area": "cm²",
    "lv_wall": "cm", "rv_wall": "cm",
    "septal_flattening": "0 round, 1 pressed to the centre",
    "atrial_septum": "-1 to 1, positive to the right",
    "valve_opening": "atrioventricular, 0 to 1", "mitral_motion": "cm", "tricuspid_motion": "cm",
    "outflow_tract": "cm", "aortic_root": "cm", "aortic_opening": "0 to 1",
}  # fmt: skip
"""Names of the true geometry of a frame, in the order of `chamber_geometry`'s last axis, with units."""


def view_frames(
    anatomy_row: pd.Series, view: str, phases: Array, seed: int, side: int = 224, scale: Scale = "sector"
) -> tuple[Image, Image]:
    """Render frames of one view as a prepared clip shows them, and what they are made from.

    With `chamber_geometry` of the same row and phases they make frames with true geometry. Probe
    position, gain and speckle are one draw for all frames, as in a clip.

    Args:
        anatomy_row: one row of `draw_anatomy`.
        view: a view's code or another name of it.
        phases: (T,), 0 and 1 are R waves.
        seed: of probe position, gain and speckle.
        side: of the picture, pixels.
        scale: at which the fan lies in a black square.

    Returns:
        Two (T, side, side) arrays: the frames, and the true
        echogenicity of the same tissue without speckle, noise, shadow or attenuation.

    Raises:
        KeyError: no such view, or a latent is missing.
    """
    code = find_view(view).code
    acquisition, rng = frame_acquisition(code, phases, seed)
    scene = view_scene(anatomy_row, code, phases)
    polar = render_cine(scene, acquisition, rng)
    sector = square_sector(acquisition.half_angle, acquisition.depth, side, scale)
    convert = ScanConverter(sector, (polar.shape[1], polar.shape[2]))
    return _fans(polar, convert, side), _fans(paint_scene(scene, acquisition), convert, side)


def frame_acquisition(code: str, phases: Array, seed: int) -> tuple[Acquisition, np.random.Generator]:
    """How `view_frames` takes its frames, and the generator that goes on to draw their speckle."""
    rng = np.random.default_rng([seed, VIEW_CODES.index(code)])
    return replace(draw_acquisition(code, NOMINAL_RATE, rng), phases=phases), rng


def magnification(acquisition: Acquisition, side: int, scale: Scale) -> float:
    """Length of the heart in a picture of `view_frames` over what it would be at physical scale on its axis.

    A picture whose depth is not known shows no more of a size than this many times it.
    """
    radius = square_sector(acquisition.half_angle, acquisition.depth, side, scale).radius
    turn = float(np.sqrt(np.linalg.det(acquisition.turn)))
    return turn * radius / acquisition.depth * FIELD_CM / side


def _fans(polar: Image, convert: ScanConverter, side: int) -> Image:
    frames = np.zeros((len(polar), side, side), dtype=np.uint8)
    frames[:, *convert.box] = [convert(picture) for picture in polar]
    return frames


def square_sector(half_angle: float, depth: float, side: int, scale: Scale) -> Sector:
    """A fan in a square of so many pixels, as a prepared clip holds it; half opening in radians, depth in cm.

    At sector scale it is the largest whose box fits the middle. At physical scale the apex is top centre,
    what lies deeper than FIELD_CM is cut, and below a shallower fan it is black.
    """
    if scale == "physical":
        return Sector(((side - 1) / 2, 0.0), depth * side / FIELD_CM, 0.0, half_angle, (side, side))
    radius = min(side - 1.0, (side - 1.0) / (2 * np.sin(half_angle)))
    return Sector(((side - 1) / 2, (side - 1 - radius) / 2), radius, 0.0, half_angle, (side, side))


def chamber_geometry(anatomy_row: pd.Series, view: str, phases: Array) -> tuple[Array, tuple[str, ...]]:
    """True geometry of each frame, before probe position and zoom.

    Args:
        anatomy_row: one row of `draw_anatomy`.
        view: a view's code or another name of it.
        phases: (T,), 0 and 1 are R waves.

    Returns:
        (T, G) values, NaN where the view does not show them, and the G names (units in GEOMETRY).

    Raises:
        KeyError: no such view, or a latent is missing.
    """
    geometry = view_scene(anatomy_row, view, phases).geometry
    unseen = np.full(len(phases), np.nan)
    return np.stack([geometry.get(name, unseen) for name in GEOMETRY], axis=1), tuple(GEOMETRY)
