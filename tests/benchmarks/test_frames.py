"""Rendered frames of a heart: their scale is what is said, and their geometry follows the anatomy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.chambers import chamber_masks
from benchmarks.frames import (
    FIELD_CM,
    GEOMETRY,
    chamber_geometry,
    frame_acquisition,
    magnification,
    square_sector,
    view_frames,
)
from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.synthetic.clip import patient_rows

STILL = np.array([0.0])
CYCLE = np.linspace(0, 1, 41)
SEEDS = range(12)
SEEN = {
    "FC": {"ra_area", "la_area", "rv_area", "lv_area", "septal_flattening", "valve_opening"},
    "TC": {"la_area", "lv_area"},
    "SA": {"rv_area", "lv_area", "septal_flattening"},
    "LA": {"la_area", "lv_area", "outflow_tract", "aortic_opening"},
}


@pytest.fixture(scope="module")
def row() -> pd.Series:
    return patient_rows(4, 1)[1].iloc[0]


def column(row: pd.Series, view: str, name: str, **changes: float) -> np.ndarray:
    values, names = chamber_geometry(pd.Series(row.to_dict() | changes), view, CYCLE)
    return values[:, names.index(name)]


def test_frames_are_repeatable_fans(row: pd.Series) -> None:
    phases = np.array([0.0, 0.3])
    frames, _ = view_frames(row, "A4C", phases, seed=9)
    assert frames.shape == (2, 224, 224)
    assert frames[:, 0, 0].max() == 0
    assert (frames == view_frames(row, "FC", phases, seed=9)[0]).all()
    assert (frames != view_frames(row, "FC", phases, seed=10)[0]).any()


@pytest.mark.parametrize("view", VIEW_CODES)
def test_a_frame_at_physical_scale_shows_its_depth(row: pd.Series, view: str) -> None:
    for seed in SEEDS:
        depth = frame_acquisition(view, STILL, seed)[0].depth
        tissue = view_frames(row, view, STILL, seed, 224, "physical")[1][0]
        shown = np.flatnonzero(tissue[:, 110:114].any(axis=1))[-1] + 1
        assert shown == pytest.approx(min(depth, FIELD_CM) * 224 / FIELD_CM, abs=1.5)
        assert tissue[2, 112] > 0


def test_a_chamber_is_as_large_as_the_magnification_says(row: pd.Series) -> None:
    ratios, seen = [], []
    for seed in SEEDS:
        acquisition = frame_acquisition("TC", STILL, seed)[0]
        areas = [chamber_masks(row, "TC", STILL, seed, 224, s)["LV"].sum() for s in ("physical", "sector")]
        expected = [magnification(acquisition, 224, s) ** 2 for s in ("physical", "sector")]
        ratios.append(areas[1] / areas[0] / (expected[1] / expected[0]))
        seen.append((*areas, *expected))
    assert np.median(ratios) == pytest.approx(1, abs=0.05)
    physical, sector, *_ = np.std(np.log(seen), axis=0)
    assert physical < 0.6 * sector  # the depth is gone


def test_magnification_at_physical_scale_is_that_of_the_plane_alone() -> None:
    acquisition = frame_acquisition("SA", STILL, 3)[0]
    expected = np.sqrt(np.linalg.det(acquisition.turn))
    assert magnification(acquisition, 112, "physical") == pytest.approx(expected)
    sides = [magnification(acquisition, side, "sector") for side in (112, 224)]
    assert sides[1] == pytest.approx(sides[0], rel=0.01)


@pytest.mark.parametrize("degrees", [30.0, 40.0, 48.0])
def test_the_fan_fills_the_square_at_sector_scale(degrees: float) -> None:
    rows, columns = square_sector(np.deg2rad(degrees), 17.0, 224, "sector").box()
    assert max(rows.stop - rows.start, columns.stop - columns.start) >= 222


@pytest.mark.parametrize("view", VIEW_CODES)
def test_each_view_shows_its_own_structures(row: pd.Series, view: str) -> None:
    values, names = chamber_geometry(row, view, CYCLE)
    assert names == tuple(GEOMETRY)
    assert values.shape == (len(CYCLE), len(names))
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
    assert abs(CYCLE[area.argmin()] - row["systole"]) < 0.06


@pytest.mark.parametrize("name", ["rv_area", "ra_area"])
def test_right_sided_areas_are_the_latents(row: pd.Series, name: str) -> None:
    largest = column(row, "FC", name, **{name: 20.0, "atrial_septum": 0.0}).max()
    assert largest == pytest.approx(20.0, rel=0.08)


def test_unknown_view_is_refused(row: pd.Series) -> None:
    with pytest.raises(KeyError):
        chamber_geometry(row, "subcostal", CYCLE)
