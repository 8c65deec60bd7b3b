"""The beating heart in each view, and its true geometry."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from cardio_mlflow.parameters import view as find_view
from cardio_mlflow.synthetic.anatomy import LATENT_NAMES
from cardio_mlflow.synthetic.apical import four_chamber, two_chamber
from cardio_mlflow.synthetic.long_axis import long_axis
from cardio_mlflow.synthetic.parasternal import short_axis
from cardio_mlflow.synthetic.scene import Anatomy, Array, Cycle, Scene, cardiac_cycle

GEOMETRY: dict[str, str] = {
    "ra_area": "cm²", "la_area": "cm²", "rv_area": "cm²", "lv_area": "cm²",
    "lv_wall": "cm", "rv_wall": "cm",
    "septal_flattening": "0 round, 1 pressed to the centre",
    "atrial_septum": "-1 to 1, positive to the right",
    "valve_opening": "atrioventricular, 0 to 1", "mitral_motion": "cm", "tricuspid_motion": "cm",
    "outflow_tract": "cm", "aortic_root": "cm", "aortic_opening": "0 to 1",
}  # fmt: skip
"""Names of the true geometry of a frame, in the order of `chamber_geometry`'s last axis, with units."""

_BUILDERS: dict[str, Callable[[Anatomy, Cycle], Scene]] = {
    "FC": four_chamber,
    "TC": two_chamber,
    "SA": short_axis,
    "LA": long_axis,
}


def view_scene(anatomy: Anatomy, view: str, phases: Array) -> Scene:
    """Build a view of the heart at phases (T,), where 0 and 1 are R waves.

    Args:
        anatomy: latents by name, a row of `draw_anatomy`.
        view: a view's code or another name of it.
        phases: (T,), taken modulo 1.

    Raises:
        KeyError: no such view, or a latent is missing.
    """
    cycle = cardiac_cycle(phases, anatomy["systole"], anatomy["early_filling"])
    return _BUILDERS[find_view(view).code](anatomy, cycle)


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
    geometry = view_scene(as_anatomy(anatomy_row), view, phases).geometry
    unseen = np.full(len(phases), np.nan)
    return np.stack([geometry.get(name, unseen) for name in GEOMETRY], axis=1), tuple(GEOMETRY)


def as_anatomy(row: pd.Series) -> Anatomy:
    """Turn a row of `draw_anatomy` into plain numbers by name."""
    return {name: float(row[name]) for name in LATENT_NAMES}
