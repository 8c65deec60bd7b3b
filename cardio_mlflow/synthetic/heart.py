"""The beating heart in each view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import pandas as pd

from cardio_mlflow.parameters import view as find_view
from cardio_mlflow.synthetic.anatomy import LATENT_NAMES
from cardio_mlflow.synthetic.apical import four_chamber, two_chamber
from cardio_mlflow.synthetic.parasternal import long_axis, short_axis
from cardio_mlflow.synthetic.scene import Anatomy, Array, Cycle, Scene, cardiac_cycle

_BUILDERS: Final[Mapping[str, Callable[[Anatomy, Cycle], Scene]]] = {
    "FC": four_chamber, "TC": two_chamber, "SA": short_axis, "LA": long_axis,
}  # fmt: skip


def view_scene(anatomy_row: pd.Series, view: str, phases: Array) -> Scene:
    """Build a view of the heart.

    Args:
        anatomy_row: one row of `draw_anatomy`.
        view: a view's code or another name of it.
        phases: (T,), 0 and 1 are R waves; taken modulo 1.

    Raises:
        KeyError: no such view, or a latent is missing.
    """
    anatomy = {name: float(anatomy_row[name]) for name in LATENT_NAMES}
    cycle = cardiac_cycle(phases, anatomy["systole"], anatomy["early_filling"])
    return _BUILDERS[find_view(view).code](anatomy, cycle)
