"""Where the chambers lie in the frames of a synthetic heart, and which of them carries a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.frames import Scale, frame_acquisition, square_sector
from cardio_mlflow.parameters import view as find_view
from cardio_mlflow.synthetic.acquisition import Acquisition, polar_indices
from cardio_mlflow.synthetic.cine import SHAPE
from cardio_mlflow.synthetic.heart import view_scene
from cardio_mlflow.synthetic.scene import Array, Scene
from cardio_mlflow.synthetic.sector import ScanConverter, Sector

Masks = NDArray[np.bool_]

CHAMBERS: Final = ("RA", "LA", "RV", "LV")
SEPTUM: Final = "septum"
CARRIERS: Final[Mapping[str, tuple[str, ...]]] = {
    "RAP": ("RA",), "SPAP": ("RV", SEPTUM), "dPAP": ("RV", SEPTUM), "meanPAP": ("RV", SEPTUM),
    "PCWP": ("LA",), "CO": ("LV",), "CI": ("LV",), "SVRI": ("LV",), "PVR": ("RV", SEPTUM),
}  # fmt: skip
"""The chambers whose size, shape or motion the synthetic anatomy ties most to each parameter
(`anatomy.LATENTS`); the right ventricle includes its outflow tract."""
BORDER: Final = 0.4
"""Centimetres about a chamber that belong to it: its size shows in its border."""
SEPTUM_REACH: Final = 1.4
"""Centimetres from the right ventricle within which left ventricular wall is septum."""


def chamber_masks(
    anatomy_row: pd.Series, view: str, phases: Array, seed: int, side: int, scale: Scale = "sector"
) -> dict[str, Masks]:
    """Where chambers and septum lie in the frames that `frames.view_frames` renders of the same arguments.

    Args:
        anatomy_row: one row of `draw_anatomy`.
        view: a view's code or another name of it.
        phases: (T,), 0 and 1 are R waves.
        seed: of the probe's position.
        side: of the picture, pixels.
        scale: at which the fan lies in it.

    Returns:
        (T, side, side) masks by name, of the chambers that the view shows; they may overlap in their borders.

    Raises:
        KeyError: no such view, or a latent is missing.
    """
    code = find_view(view).code
    acquisition, _ = frame_acquisition(code, phases, seed)
    scene = view_scene(anatomy_row, code, phases)
    sector = square_sector(acquisition.half_angle, acquisition.depth, side, scale)
    centimetre = sector.radius / acquisition.depth
    found = {name: _part(scene, acquisition, name, sector) for name in (*CHAMBERS, "LV wall")}
    masks = {name: _grown(found[name], BORDER * centimetre) for name in CHAMBERS if found[name].any()}
    if found["RV"].any():
        near = _grown(found["RV"], SEPTUM_REACH * centimetre)
        masks[SEPTUM] = found["LV wall"] & ~found["LV"] & near
    return masks


def _part(scene: Scene, acquisition: Acquisition, part: str, sector: Sector) -> Masks:
    """The pixels of a part of the heart, (T, *sector.shape)."""
    polar = np.zeros((len(scene.contraction), *SHAPE), np.uint8)
    for layer in scene.layers:
        if layer.part != part:
            continue
        indices = np.round(polar_indices(acquisition.place(layer.points), acquisition, SHAPE))
        for picture, points in zip(polar, np.clip(indices, -2000, 2000).astype(np.int32), strict=True):
            cv2.fillPoly(picture, [points], 255)
    convert = ScanConverter(sector, SHAPE)
    masks = np.zeros((len(polar), *sector.shape), dtype=bool)
    masks[:, *convert.box] = [convert(picture) >= 128 for picture in polar]
    return masks


def _grown(masks: Masks, pixels: float) -> Masks:
    """Masks with all that lies within some pixels of them."""
    reach = max(1, round(pixels))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.stack([cv2.dilate(mask.astype(np.uint8), disc) > 0 for mask in masks])
