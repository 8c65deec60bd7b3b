from __future__ import annotations

import numpy as np
import pytest

from benchmarks.chambers import CARRIERS, CHAMBERS, SEPTUM, chamber_masks
from benchmarks.frames import view_frames
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.synthetic.anatomy import draw_anatomy
from cardio_mlflow.synthetic.hemodynamics import draw_hemodynamics

PHASES = np.array([0.0, 0.4])
SHOWN = {"FC": {*CHAMBERS, SEPTUM}, "TC": {"LA", "LV"}, "SA": {"RV", "LV", SEPTUM},
         "LA": {"LA", "RV", "LV", SEPTUM}}  # fmt: skip


@pytest.fixture(scope="module")
def anatomy():
    return draw_anatomy(draw_hemodynamics(6, 3), 3)


@pytest.mark.parametrize("scale", ["sector", "physical"])
@pytest.mark.parametrize("view", SHOWN)
def test_chambers_are_the_dark_places_of_the_frames_they_lie_in(anatomy, view: str, scale: str) -> None:
    for row in range(3):
        masks = chamber_masks(anatomy.iloc[row], view, PHASES, row, 224, scale)
        assert set(masks) == SHOWN[view]
        _, tissue = view_frames(anatomy.iloc[row], view, PHASES, row, 224, scale)
        inside = np.zeros_like(tissue, dtype=bool)
        for name in set(masks) - {SEPTUM}:
            inside |= masks[name]
        fan = tissue > 0
        assert tissue[inside & fan].mean() < tissue[~inside & fan].mean()
        assert tissue[masks[SEPTUM]].mean() > tissue[masks["LV"]].mean() if SEPTUM in masks else True


def test_a_larger_atrium_has_a_larger_mask(anatomy) -> None:
    assert tuple(CARRIERS) == KEYS
    small, large = (anatomy.iloc[0].copy() for _ in range(2))
    small["ra_area"], large["ra_area"] = 12.0, 30.0
    areas = [chamber_masks(row, "A4C", PHASES, 0, 224)["RA"].sum() for row in (small, large)]
    assert areas[1] > 1.5 * areas[0]


def test_masks_scale_with_the_picture(anatomy) -> None:
    large = chamber_masks(anatomy.iloc[1], "A4C", PHASES, 0, 224)
    small = chamber_masks(anatomy.iloc[1], "A4C", PHASES, 0, 112)
    for name, mask in large.items():
        assert small[name].mean() == pytest.approx(mask.mean(), rel=0.15)
