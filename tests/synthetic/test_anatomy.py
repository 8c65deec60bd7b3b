from __future__ import annotations

import pandas as pd
import pytest

from cardio_mlflow.synthetic.anatomy import LATENT_NAMES, LATENTS, draw_anatomy
from cardio_mlflow.synthetic.hemodynamics import draw_hemodynamics


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    hemodynamics = draw_hemodynamics(1500, seed=3)
    return hemodynamics, draw_anatomy(hemodynamics, seed=3)


def test_columns_and_limits(tables) -> None:
    anatomy = tables[1]
    assert tuple(anatomy.columns) == LATENT_NAMES
    for latent in LATENTS:
        assert anatomy[latent.name].between(*latent.limits).all()


def test_prefix(tables) -> None:
    hemodynamics, anatomy = tables
    pd.testing.assert_frame_equal(draw_anatomy(hemodynamics.head(4), seed=3), anatomy.head(4))


@pytest.mark.parametrize(
    ("latent", "key", "sign"),
    [
        ("ra_area", "RAP", 1),
        ("la_area", "PCWP", 1),
        ("rv_area", "meanPAP", 1),
        ("rv_wall", "SPAP", 1),
        ("systolic_flattening", "SPAP", 1),
        ("diastolic_flattening", "PVR", 1),
        ("rv_shortening", "PVR", -1),
        ("tricuspid_motion", "CI", 1),
        ("aortic_opening", "CI", 1),
        ("lv_wall", "MAP", 1),
        ("systole", "HR", 1),
    ],
)
def test_anatomy_follows_hemodynamics(tables, latent: str, key: str, sign: int) -> None:
    hemodynamics, anatomy = tables
    r = anatomy[latent].corr(hemodynamics[key], method="spearman")
    assert 0.4 < sign * r < 0.97
