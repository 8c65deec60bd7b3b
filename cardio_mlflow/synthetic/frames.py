"""Frames of a synthetic heart without a scanner's screen, for learning from their true geometry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.parameters import view as find_view
from cardio_mlflow.synthetic.acquisition import Acquisition, draw_acquisition
from cardio_mlflow.synthetic.cine import paint_scene, render_cine
from cardio_mlflow.synthetic.contours import Array
from cardio_mlflow.synthetic.heart import as_anatomy, view_scene
from cardio_mlflow.synthetic.sector import FIELD_CM, Scale, ScanConverter, square_sector

NOMINAL_RATE = 75.0


def view_frames(
    anatomy_row: pd.Series, view: str, phases: Array, seed: int, side: int = 224, scale: Scale = "sector"
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Render frames of one view as a prepared clip shows them, and what they are made from.

    With `heart.chamber_geometry` of the same row and phases they make frames with true geometry. Probe
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
    scene = view_scene(as_anatomy(anatomy_row), code, phases)
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


def _fans(polar: NDArray[np.uint8], convert: ScanConverter, side: int) -> NDArray[np.uint8]:
    frames = np.zeros((len(polar), side, side), dtype=np.uint8)
    frames[:, *convert.box] = [convert(picture) for picture in polar]
    return frames
