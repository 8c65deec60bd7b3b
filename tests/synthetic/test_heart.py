from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.synthetic.anatomy import draw_anatomy
from cardio_mlflow.synthetic.heart import GEOMETRY, chamber_geometry
from cardio_mlflow.synthetic.hemodynamics import draw_hemodynamics

PHASES = np.linspace(0, 1, 41)
SEEN = {
    "FC": {"ra_area", "la_area", "rv_area", "lv_area", "septal_flattening", "valve_opening"},
    "TC": {"la_area", "lv_area"},
    "SA": {"rv_area", "lv_area", "septal_flattening"},
    "LA": {"la_area", "lv_area", "outflow_tract", "aortic_opening"},
}


@pytest.fixture(scope="module")
def row() -> pd.Series:
    return draw_anatomy(draw_hemodynamics(1, seed=2), seed=2).iloc[0]


def column(row: pd.Series, view: str, name: str, **changes: float) -> np.ndarray:
    changed = row.copy()
    changed.update(pd.Series(changes))
    values, names = chamber_geometry(changed, view, PHASES)
    return values[:, names.index(name)]


@pytest.mark.parametrize("view", VIEW_CODES)
def test_each_view_shows_its_own_structures(row: pd.Series, view: str) -> None:
    values, names = chamber_geometry(row, view, PHASES)
    assert names == tuple(GEOMETRY)
    assert values.shape == (41, len(names))
    shown = {n for n, v in zip(names, values.T, strict=True) if np.isfinite(v).all()}
    hidden = {n for n, v in zip(names, values.T, strict=True) if np.isnan(v).all()}
    assert shown >= SEEN[view]
    assert shown | hidden == set(names)


@pytest.mark.parametrize(
    ("view", "target", "latent", "low", "high"),
    [
        ("FC", "ra_area", "ra_area", 12.0, 25.0),
        ("TC", "la_area", "la_area", 12.0, 25.0),
        ("LA", "la_area", "la_area", 12.0, 25.0),
        ("FC", "rv_area", "rv_area", 14.0, 28.0),
        ("SA", "rv_area", "rv_area", 14.0, 28.0),
        ("SA", "septal_flattening", "systolic_flattening", 0.0, 0.5),
        ("SA", "lv_area", "lv_volume", 80.0, 160.0),
        ("LA", "outflow_tract", "outflow_tract", 2.0, 3.5),
        ("LA", "aortic_opening", "aortic_opening", 0.4, 0.9),
        ("FC", "tricuspid_motion", "tricuspid_motion", 1.0, 2.4),
    ],
)
def test_geometry_rises_with_its_latent(row, view, target, latent, low, high) -> None:
    steps = [column(row, view, target, **{latent: x}).max() for x in np.linspace(low, high, 5)]
    assert (np.diff(steps) > 0).all()


@pytest.mark.parametrize("view", VIEW_CODES)
def test_left_ventricle_ejects_and_refills(row: pd.Series, view: str) -> None:
    area = column(row, view, "lv_area")
    assert area.min() < 0.85 * area[0]
    assert area[0] == pytest.approx(area[-1])
    assert abs(PHASES[area.argmin()] - row["systole"]) < 0.06


def test_right_sided_areas_are_the_latents(row: pd.Series) -> None:
    assert column(row, "FC", "rv_area", rv_area=20.0).max() == pytest.approx(20.0, rel=0.06)
    assert column(row, "FC", "ra_area", ra_area=20.0, atrial_septum=0.0).max() == pytest.approx(
        20.0, rel=0.08
    )


def test_unknown_view_is_refused(row: pd.Series) -> None:
    with pytest.raises(KeyError):
        chamber_geometry(row, "subcostal", PHASES)
